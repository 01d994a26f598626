package analyzer

import (
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// A run may begin before another capture's run and end behind it: the flow was not
// silent since the end of the one that comes last in the list.
func TestSilenceCountsFromTheLatestEnd(t *testing.T) {
	const second = tcp.Instant(time.Second)
	event := &flows.Event{}
	s := &Subject{Passages: []Passage{
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
