package flows

import (
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// A transfer one way goes the short way in both directions: data, and the
// acknowledgments of an end that has never sent any.
func TestATransferGoesTheShortWay(t *testing.T) {
	var table feeder
	data := tcp.Segment{Seq: 500, Ack: 100, Len: 1448, Flags: tcp.ACK, Win: 500, TTL: 64}
	ack := tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.ACK, Win: 500, TTL: 60}
	long := 0
	for range 50 {
		for _, reversed := range []bool{true, true, false} {
			seg := &ack
			if reversed {
				seg = &data
			}
			if !table.short(1, reversed, *seg) {
				table.ord-- // again, any way
				table.send(1, reversed, *seg)
				long++
			}
			if reversed {
				data.Seq += 1448
				ack.Ack = data.Seq
			}
		}
	}
	if long > 10 { // the first ones, from which the flow is known
		t.Errorf("%d of 150 segments went the long way", long)
	}
}

// A connection that is idle when the capture begins is joined, and goes on, the short
// way.
func TestAnIdleConnectionIsJoinedTheShortWay(t *testing.T) {
	var table feeder
	for round := range 3 {
		for client := range uint32(100) {
			table.send(client, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64})
			table.send(client, true, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK, Win: 500, TTL: 60})
			if table.step.t != nil {
				t.Fatalf("round %d, client %d: a segment went the long way", round, client)
			}
		}
		table.ord += 60_000
	}
	if n := table.Live(); n != 100 {
		t.Errorf("%d flows, want 100", n)
	}
}

// Where the arena had no room for the first segment, the second goes the long way.
func TestAnIdleConnectionWithoutAStory(t *testing.T) {
	var table feeder
	table.Options.MaxEvents = 1
	for client := range uint32(2) {
		table.send(client, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64})
	}
	table.send(1, true, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK, Win: 500, TTL: 60})
	if n := table.Live(); n != 2 || table.step.t == nil {
		t.Errorf("%d flows, the long way taken: %v", n, table.step.t != nil)
	}
}

// An ICMP error is not taken for the probe that the arena had no room for.
func TestAnICMPErrorIsNoProbe(t *testing.T) {
	var table feeder
	table.Options.MaxEvents = 4
	for client := range uint32(5) {
		table.send(client, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64})
	}
	table.put(4, false, tcp.Segment{Seq: 99})
	p := &table.batch.Pkts[0]
	p.Proto, p.ICMP = capture.ICMPError, 0x0301
	p.Settle()
	table.routers = []routerAddr{{}} // the one that cannot be read has number 0
	table.Add(&table.batch)
	table.send(4, true, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK, Win: 500, TTL: 60})
	kinds := map[Kind]int{}
	for id := range table.Flows() {
		f, _ := table.Flow(id)
		for _, ev := range f.Events {
			kinds[ev.Kind]++
		}
	}
	if kinds[ICMPError] != 1 || kinds[KeepaliveProbe] != 0 {
		t.Errorf("%d ICMP errors and %d probes are told of, want 1 and 0", kinds[ICMPError], kinds[KeepaliveProbe])
	}
}
