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
