package analyzer

import (
	"fmt"
	"net/netip"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// pingsBefore is how many pings show at what pace a host sends them.
const pingsBefore = 4

// pinger is one program that pings.
type pinger struct {
	n     int
	pause time.Duration // the longest between two
	last  *flows.Control
}

// pingless finds pings that a host sent at an even pace to its peer and that are missing from the
// capture taken on it from first to last, on the capture's clock, while the same program sends more of
// them later.
func (s *Subject) pingless(near *pairing.Sighting, host netip.Addr, first, last tcp.Instant) (why Finding, ok bool) {
	hp, known := s.Points[near.Vantage].Table.HostPair(&near.Flow.Key)
	if side, is := s.sideOf(host); !known || !is || !beside(near.Flow, side) {
		return why, false
	}
	programs := map[uint16]*pinger{}
	for i := range hp.Controls {
		x := &hp.Controls[i]
		if x.What != flows.ControlEchoRequest || (x.From == 0) != (hp.A == host) {
			continue
		}
		p := programs[uint16(x.ID>>16)]
		if p == nil {
			p = &pinger{}
			programs[uint16(x.ID>>16)] = p
		}
		if p.n++; p.last != nil {
			pause := x.At.Sub(p.last.At)
			if p.n > pingsBefore && p.last.At <= first.Add(clockSlack) && x.At >= last && pause > 2*p.pause+time.Second {
				return Finding{Rule: "own-silence", Evidence: []pairing.Ref{s.ref(near, p.last.Ord, flows.Unknown, p.last.At), s.ref(near, x.Ord, flows.Unknown, x.At)},
					Says: fmt.Sprintf("pings of that host came every %s and are missing for %s from %s, which was taken on it, as is all else that it sent",
						facts.Compact(p.pause), facts.Compact(pause), s.Points[near.Vantage].Name),
					Suggests: "its link was down, its host slept, or the capture paused"}, true
			}
			p.pause = max(p.pause, pause)
		}
		p.last = x
	}
	return why, false
}
