package flows

import (
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// Young connections that go on while those that ended before stay whole fill no more
// of the nursery than is allowed, and what is counted of each chunk holds.
func TestNurseryIsBounded(t *testing.T) {
	var table Table
	var b capture.Batch
	ord := tcp.Ordinal(0)
	send := func(client uint32, reversed bool, seg tcp.Segment) {
		ord++
		k := capture.Key{Ports: 40000<<16 | 22}
		k.Lo[2], k.Hi[2], k.Lo[3], k.Hi[3] = 0xffff, 0xffff, 0x0a000000+client, 0x0b000001
		seg.Win = 100
		b.Pkts[b.N] = capture.Packet{Proto: capture.TCP, At: tcp.Instant(ord) * 1e3, Ord: ord, Key: k, Reversed: reversed, Seg: seg, Plain: true}
		if b.N++; b.N == capture.BatchSize {
			table.Add(&b)
			b.N = 0
		}
	}
	open := func(client uint32) {
		send(client, false, tcp.Segment{Seq: 99, Flags: tcp.SYN})
		send(client, true, tcp.Segment{Seq: 499, Ack: 100, Flags: tcp.SYN | tcp.ACK})
		send(client, false, tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.ACK})
	}
	young := func() (n int, ofChunk []uint32) {
		ofChunk = make([]uint32, len(table.nursery.births))
		for slot := range table.narrow.used {
			if r := table.narrow.record(slot); r.young() {
				ofChunk[r.hot.tsval[1]>>youngBirth]++
				n++
			}
		}
		return n, ofChunk
	}
	check := func(least, most int) {
		t.Helper()
		n, ofChunk := young()
		if n < least || n > most {
			t.Errorf("%d young flows, want %d to %d", n, least, most)
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
		send(client, false, tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.FIN | tcp.ACK})
		send(client, true, tcp.Segment{Seq: 500, Ack: 101, Flags: tcp.FIN | tcp.ACK})
		send(client, false, tcp.Segment{Seq: 101, Ack: 501, Flags: tcp.ACK})
	}
	client := uint32(ended)
	for range 8000 {
		open(client)
		client++
	}
	check(ended+7900, ended+8000) // some segments wait for their batch
	for len(table.nursery.full) < nurseryMost-1 {
		open(client)
		client++
	}
	if n, _ := young(); n < ended+youngFlows/2 || !table.narrow.record(0).young() {
		t.Errorf("before the nursery is full: %d young flows; the first is young: %v", n, table.narrow.record(0).young())
	}
	for range 20_000 {
		open(client)
		client++
	}
	check(youngFlows/2, youngFlows)
	if table.narrow.record(0).young() {
		t.Error("a flow that ended first thing is young although the nursery was full")
	}
	for range 200_000 {
		open(client)
		client++
	}
	check(youngFlows/2, youngFlows)
	for id := range table.Flows() {
		if f, ok := table.Flow(id); !ok || len(f.Events) == 0 {
			t.Fatalf("flow %v has no story", id)
		}
	}
	check(0, 0)
}
