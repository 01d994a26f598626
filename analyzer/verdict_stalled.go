package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// receiverStalled holds where one end's window is shut at the end, for long.
func receiverStalled(s *Subject) Answer {
	for i := range s.Seen {
		f := s.Seen[i].Flow
		for side := uint8(0); side < 2; side++ {
			r, w := &f.Sides[side], &f.Sides[1-side]
			if r.Win != 0 || w.WindowProbes < 2 || r.Segments == 0 || r.FIN {
				continue
			}
			return s.stalled(&s.Seen[i], side)
		}
	}
	return Answer{}
}

func (s *Subject) stalled(seen *pairing.Sighting, side uint8) Answer {
	f := seen.Flow
	var refs []pairing.Ref
	var first, last tcp.Instant
	answered := 0
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind != flows.ZeroWindowProbe && ev.Kind != flows.ZeroWindowACK {
			continue
		}
		if first == 0 {
			first = ev.At
		}
		last = ev.End()
		if ev.Kind == flows.ZeroWindowACK {
			answered++
		}
		if len(refs) < 12 {
			refs = append(refs, s.ref(seen, ev.Ord, ev.Kind, ev.At))
		}
	}
	stall := last.Sub(first)
	if t, vain := findTail(s); stall < time.Second || vain && t.side != side && len(t.asked) >= 3 {
		return Answer{} // too short, or the path died as well
	}
	v := &Verdict{ID: ReceiverStalled, Confidence: Proven, At: first, Between: [2]int{seen.Vantage, seen.Vantage},
		Summary: fmt.Sprintf("The %s's window has been shut for %s: its application does not read. The path works; what the %s sends are window probes, not keepalives (%d of them).",
			sideName(side), facts.Compact(stall), sideName(other(side)), f.Sides[other(side)].WindowProbes)}
	if answered == 0 && s.countAnswers(flows.ZeroWindowACK) == 0 {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, "whether the window probes arrive: none was answered")
	}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "window-shut", Says: fmt.Sprintf("the %s offers a window of 0", sideName(side)),
		Suggests: "its application has stopped reading", Evidence: refs}}}
}

func (s *Subject) countAnswers(k flows.Kind) int {
	n := 0
	for i := range s.Seen {
		for j := range s.Seen[i].Flow.Events {
			if s.Seen[i].Flow.Events[j].Kind == k {
				n++
			}
		}
	}
	return n
}
