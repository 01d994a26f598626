package pairing

import (
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// Two other points show the same pause, each by the pings that it holds.
func TestAPauseIsNotedOnce(t *testing.T) {
	at := func(d time.Duration) tcp.Instant { return tcp.Instant(1).Add(d) }
	k := hostsKey{lo: [4]uint32{1}, hi: [4]uint32{2}}
	hp := flows.HostPair{Controls: []flows.Control{{At: at(time.Second)}, {At: at(time.Minute)}, {At: at(2 * time.Minute)}}}
	s := &side{}
	s.pause(k, &hp, at(10*time.Second), at(40*time.Second))
	s.pause(k, &hp, at(20*time.Second), at(50*time.Second))
	s.pause(k, &hp, at(70*time.Second), at(80*time.Second))
	if got := s.pauses[k]; len(got) != 2 || got[0].From != at(time.Second)+1 || got[0].To != at(time.Minute)-1 {
		t.Errorf("pauses %v, want two", got)
	}
}
