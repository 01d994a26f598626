package pairing

import (
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// gappy is a session of which the server's capture misses every third segment
// of the client, then so many probes of the client that nothing answers, and a
// last sign of life of the server.
func gappy(probes int) *world {
	s := talk(twoTaps(0), steadyHop(5*time.Millisecond)).handshake()
	for range 30 {
		s.data(flows.Client, 100, never).wait(2 * time.Second)
	}
	s.cut[flows.Client] = 1
	for range probes {
		s.probe(flows.Client).wait(time.Second)
	}
	s.put(flows.Server, flows.KeepaliveProbe, tcp.ACK, s.nxt[flows.Server].Add(-1), 0)
	last := len(s.w.wires) - probes - 1
	s.w.taps[1].drop = func(i int) bool {
		return i < last && i%3 == 0 && s.w.wires[i].from == flows.Client
	}
	return s.w
}

func TestWhatALossyCaptureLacksNeedNotBeLost(t *testing.T) {
	for _, tc := range []struct {
		probes int
		how    How
		sure   bool
	}{
		{1, Unknowable, false},
		{7, Lost, false},
		{40, Lost, true},
	} {
		w := gappy(tc.probes)
		p := matchSides(sidesOf(w), Options{}).Pairs[0]
		fates := fatesBetween(p, flows.Client, 0, 1)
		for _, f := range fates[len(fates)-tc.probes:] {
			if f.How != tc.how || f.How == Lost && f.Assumed == tc.sure {
				t.Errorf("one of %d probes that the server's capture lacks: %+v, want %v, sure %v (it misses %.2f)", tc.probes, f, tc.how, tc.sure, p.Misses[1])
			}
		}
	}
}
