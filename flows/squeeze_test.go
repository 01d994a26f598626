package flows

import (
	"slices"
	"testing"
	"time"

	"kaflow/tcp"
)

// A connection of which every second probe is lost once has no pair of rounds that
// are alike, and no silence but those that it had.
func TestAStoryThatIsFullHasNoHole(t *testing.T) {
	var table feeder
	const round = 60_000 // ms
	for range 400 {
		table.send(1, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64}) // lost
		table.ord += 1000
		table.send(1, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64})
		table.send(1, true, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK, Win: 500, TTL: 60})
		table.ord += round
		table.send(1, false, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK, Win: 500, TTL: 64})
		table.send(1, true, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK, Win: 500, TTL: 60})
		table.ord += round
	}
	ids := slices.Collect(table.Flows())
	if len(ids) != 1 {
		t.Fatalf("%d flows", len(ids))
	}
	f, _ := table.Flow(ids[0])
	for _, g := range f.Gaps {
		if g.Duration() > (round+10)*time.Millisecond {
			t.Errorf("a silence of %v from %v on", g.Duration(), g.From)
		}
	}
	if f.Frames != 2000 {
		t.Errorf("%d frames", f.Frames)
	}
	var last tcp.Instant
	for i := range f.Events {
		ev := &f.Events[i]
		if i > 0 && ev.At.Sub(last) > (round+10)*time.Millisecond {
			t.Errorf("event %d: %v after the one before", i, ev.At.Sub(last))
		}
		last = ev.End()
	}
	if hit := table.Limits(); len(hit) > 0 {
		t.Errorf("limits: %v", hit)
	}
}

// What a router said at either end of the dullest stretch is no part of the run.
func TestWhatARouterSaidIsNoEndOfARun(t *testing.T) {
	evs := make([]event, 40)
	for i := range evs {
		evs[i] = event{at: tcp.Instant(i) * 60e9, kind: KeepaliveProbe, seq: 99, ack: 900, flags: uint8(tcp.ACK)}
		evs[i].setOrdinal(tcp.Ordinal(i + 1))
	}
	for _, i := range []int{6, 33} { // the first and the last that may be merged
		evs[i].kind, evs[i].ack, evs[i].count = ICMPError, 3<<8|1, 7
	}
	out := squeeze(evs)
	if len(out) != 40-26+2 || out[6].kind != ICMPError || out[9].kind != ICMPError {
		t.Fatalf("%d events, the seventh %v, the tenth %v", len(out), out[6].kind, out[9].kind)
	}
	run := tail{&out[8]}
	if seq, ack := run.lastSeq(); run.at != 32*60e9 || seq != 99 || ack != 900 || run.count != 26 {
		t.Errorf("a run until %v of %d segments, the last %d, %d", run.at, run.count, seq, ack)
	}
}
