package analyzer

import (
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// A run may begin before another capture's run and end behind it: the flow was not
// silent since the end of the one that comes last in the list.
func TestSilenceCountsFromTheLatestEnd(t *testing.T) {
	const second = tcp.Instant(time.Second)
	event := &flows.Event{}
	s := &Subject{Pair: &pairing.Pair{}, Passages: []Passage{
		{Event: event, At: 0, Until: 0},
		{Event: event, At: 10 * second, Until: 900 * second},
		{Event: event, At: 11 * second, Until: 400 * second},
		{Event: event, At: 960 * second, Until: 960 * second},
	}}
	for i, want := range []struct {
		quiet  time.Duration
		before int
	}{{0, -1}, {10 * time.Second, 0}, {0, 1}, {60 * time.Second, 1}} {
		if quiet, before := s.silence(i); quiet != want.quiet || before != want.before {
			t.Errorf("passage %d: %v since %d, want %v since %d", i, quiet, before, want.quiet, want.before)
		}
	}
}

// A row is one passage, as the first capture has it: another one may have more of it.
func TestSilenceCountsFromTheEndOfAnyCapturesRow(t *testing.T) {
	const second = tcp.Instant(time.Second)
	row := func(until tcp.Instant) *flows.Flow {
		return &flows.Flow{Events: []flows.Event{{Run: &flows.Run{Until: until}}}}
	}
	event := &flows.Event{}
	for _, c := range []struct {
		other tcp.Instant // where the row of the other capture ends
		want  time.Duration
	}{{400 * second, 60 * time.Second}, {430 * second, 30 * time.Second}, {500 * second, 60 * time.Second}} {
		s := &Subject{Pair: &pairing.Pair{Seen: []pairing.Sighting{{Vantage: 0, Flow: row(400 * second)}, {Vantage: 1, Flow: row(c.other)}}},
			Passages: []Passage{{Event: event, At: 0, Until: 400 * second}, {Event: event, At: 460 * second, Until: 460 * second}}}
		if quiet, _ := s.silence(1); quiet != c.want {
			t.Errorf("the other row ends at %v: %v, want %v", c.other, quiet, c.want)
		}
	}
}
