package flows

import (
	"testing"

	"kaflow/tcp"
)

// Young connections that go on while those that ended before stay whole fill no more
// of the nursery than is allowed, and what is counted of each chunk holds.
func TestNurseryIsBounded(t *testing.T) {
	var table feeder
	table.Options.MaxEvents = 20_000_000 // no other limit
	open := func(client uint32) {
		table.send(client, false, tcp.Segment{Seq: 99, Flags: tcp.SYN, Win: 100})
		table.send(client, true, tcp.Segment{Seq: 499, Ack: 100, Flags: tcp.SYN | tcp.ACK, Win: 100})
		table.send(client, false, tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.ACK, Win: 100})
	}
	use := func(client uint32) { // twenty segments
		for octet := range tcp.Seq(10) {
			table.send(client, false, tcp.Segment{Seq: 100 + octet, Ack: 500, Len: 1, Flags: tcp.ACK, Win: 100})
			table.send(client, true, tcp.Segment{Seq: 500, Ack: 101 + octet, Flags: tcp.ACK, Win: 100})
		}
	}
	young := func() (n int, ofChunk []uint32) {
		ofChunk = make([]uint32, len(table.nursery.births))
		for slot := range table.narrow.used {
			if r := table.narrow.record(slot); r.young() {
				ofChunk[r.hot.bornIn()]++
				n++
			}
		}
		return n, ofChunk
	}
	check := func(want int) {
		t.Helper()
		n, ofChunk := young()
		if n != want {
			t.Errorf("%d young flows, want %d", n, want)
		}
		for chunk, births := range table.nursery.births {
			if births != ofChunk[chunk] {
				t.Errorf("chunk %d: %d births, but %d young flows began in it", chunk, births, ofChunk[chunk])
			}
		}
		if got := len(table.nursery.chunks); got > nurseryMost+2 {
			t.Errorf("%d chunks, want at most %d", got, nurseryMost+2)
		}
	}
	const ended = 50
	for client := range uint32(ended) {
		open(client)
		table.send(client, false, tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.FIN | tcp.ACK, Win: 100})
		table.send(client, true, tcp.Segment{Seq: 500, Ack: 101, Flags: tcp.FIN | tcp.ACK, Win: 100})
		table.send(client, false, tcp.Segment{Seq: 101, Ack: 501, Flags: tcp.ACK, Win: 100})
	}
	client := uint32(ended)
	for range 8000 {
		open(client)
		client++
	}
	check(ended + 8000)
	for client < ended+youngFlows+1000 {
		open(client)
		client++
	}
	check(ended + youngFlows)
	most := 0
	for range 60_000 {
		open(client)
		use(client)
		most = max(most, len(table.nursery.full))
		client++
	}
	if most < nurseryMost-1 {
		t.Errorf("%d chunks were full at most: the test tests nothing", most)
	}
	n, _ := young()
	check(min(n, youngFlows))
	for slot := range uint32(ended) {
		if table.narrow.record(slot).young() {
			t.Fatal("what ended first is young")
		}
	}
	for id := range table.Flows() {
		if f, ok := table.Flow(id); !ok || len(f.Events) == 0 {
			t.Fatalf("flow %v has no story", id)
		}
	}
	check(0)
}
