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
	out := squeeze(evs, &waiting{})
	if len(out) != 40-26+2 || out[6].kind != ICMPError || out[9].kind != ICMPError {
		t.Fatalf("%d events, the seventh %v, the tenth %v", len(out), out[6].kind, out[9].kind)
	}
	run := tail{&out[8]}
	if seq, ack := run.lastSeq(); run.at != 32*60e9 || seq != 99 || ack != 900 || run.count != 26 {
		t.Errorf("a run until %v of %d segments, the last %d, %d", run.at, run.count, seq, ack)
	}
}

// Octets that are never acknowledged, and repeated for ever, fill a story: the first of
// them stays, and the story has no hole.
func TestTheFirstThatWaitsStays(t *testing.T) {
	for _, answers := range []int{0, 1, 2} {
		var table feeder
		next := tcp.Seq(100)
		for range 40 { // answered
			table.send(1, false, tcp.Segment{Seq: next, Ack: 900, Len: 10, Flags: tcp.ACK, Win: 500, TTL: 64})
			next = next.Add(10)
			table.send(1, true, tcp.Segment{Seq: 900, Ack: next, Flags: tcp.ACK, Win: 500, TTL: 60})
			table.ord += 2000
		}
		waits := next
		first := table.ord + 1
		for i := range 400 {
			table.send(1, false, tcp.Segment{Seq: next, Ack: 900, Len: 10, Flags: tcp.ACK, Win: 500, TTL: 64})
			if next = next.Add(10); i%40 != 0 {
				next = waits.Add(10) // sent again
			}
			for range answers { // what came before is all that the peer has
				table.send(1, true, tcp.Segment{Seq: 900, Ack: waits, Flags: tcp.ACK, Win: 500, TTL: 60})
			}
			table.ord += 3000
		}
		ids := slices.Collect(table.Flows())
		f, _ := table.Flow(ids[0])
		i := slices.IndexFunc(f.Events, func(e Event) bool { return e.Ord == first })
		if i < 0 || f.Events[i].Run != nil || f.Events[i].Kind != Data {
			t.Fatalf("%d answers each: the first that waits, frame %d, is not in the story: %+v", answers, first, f.Events)
		}
		if answers > 0 && (f.Events[i+1].Ord != first+1 || f.Events[i+1].Run != nil) {
			t.Errorf("%d answers each: the first that came after it is not in the story", answers)
		}
		for _, ev := range f.Events[i+1:] {
			if ev.Run != nil && !ev.Run.Unheard && ev.Run.Octets[Client] > 0 {
				t.Errorf("%d answers each: a run from frame %d on that passes for answered", answers, ev.Ord)
			}
		}
		for j := 1; j < len(f.Events); j++ {
			if pause := f.Events[j].At.Sub(f.Events[j-1].End()); pause > 3010*time.Millisecond {
				t.Errorf("%d answers each: %v before frame %d", answers, pause, f.Events[j].Ord)
			}
		}
		if hit := table.Limits(); len(hit) > 0 {
			t.Errorf("%d answers each: limits: %v", answers, hit)
		}
	}
}
