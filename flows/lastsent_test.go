package flows

import (
	"testing"
	"time"

	"kaflow/tcp"
)

// Within a run of answered probes the prober sends to the end, although the last segment
// is an answer.
func TestLastSentOfARun(t *testing.T) {
	at := func(d time.Duration) tcp.Instant { return tcp.Instant(d) }
	f := &Flow{Events: []Event{{At: at(10 * time.Second), From: Client, Kind: KeepaliveProbe, Run: &Run{
		Count: [2]uint32{5, 5}, LastFrom: Server, Until: at(250*time.Second + 20*time.Millisecond),
		Period: Range{60 * time.Second, 60 * time.Second, true}, RTT: Range{10 * time.Millisecond, 20 * time.Millisecond, true},
	}}}}
	f.timeSides()
	if got, want := f.Sides[Client].LastSent, at(250*time.Second); got != want {
		t.Errorf("the client sent last at %v, want %v", got, want)
	}
	if got, want := f.Sides[Server].LastSent, at(250*time.Second+20*time.Millisecond); got != want {
		t.Errorf("the server sent last at %v, want %v", got, want)
	}
}
