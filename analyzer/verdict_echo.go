package analyzer

import (
	"fmt"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// frozenEcho recognises, at the answering side alone, that the prober accepts
// none of the answers: its TSecr stays while its probes come at the interval
// pace.
func frozenEcho(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		if len(s.Seen) == 1 {
			if first, last, n, ok := frozen(s.flow, side); ok {
				return s.frozenAnswer(side, first, last, n)
			}
			continue
		}
		near := &s.Seen[0]
		if side == flows.Server {
			near = &s.Seen[len(s.Seen)-1]
		}
		ttls := near.Flow.Sides[side].TTLs
		if first, last, n, ok := frozen(near.Flow, side); ok && hops(ttls[0]) == 0 && hops(ttls[1]) == 0 {
			return s.deafProber(near, side, first, last, n)
		}
	}
	return Answer{}
}

// frozen finds the probes of a side that are answered in a capture and all echo
// one old timestamp: the first and the last event, and how many there are.
func frozen(f *flows.Flow, side uint8) (first, last, n int, ok bool) {
	first, last = -1, -1
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From != side || ev.Kind != flows.KeepaliveProbe && ev.Kind != flows.RST || !ev.HasTS {
			continue
		}
		if ev.Kind == flows.KeepaliveProbe && ev.AnsweredBy == 0 && ev.Run == nil {
			continue
		}
		if first >= 0 && ev.TSEcr != f.Events[first].TSEcr {
			n, first = 0, -1
		}
		if first < 0 {
			first = i
		}
		last = i
		n++
		if r := ev.Run; r != nil {
			if r.TSEcr != ev.TSEcr {
				n, first = 0, -1
				continue
			}
			n += int(r.Count[side]) - 1
		}
	}
	return first, last, n, n >= 3 && last >= first && (f.Sides[side].Ending == flows.EndGaveUp || gaveUpAfterAnswers(f, side))
}

// gaveUpAfterAnswers reports whether a side reset the connection at the end of
// probes that this capture shows as answered.
func gaveUpAfterAnswers(f *flows.Flow, side uint8) bool {
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind == flows.RST && ev.From == side && ev.Flags.Has(tcp.ACK) && ev.Win != 0 && i > 0 {
			return true
		}
	}
	return false
}

func (s *Subject) frozenAnswer(side uint8, first, last, n int) Answer {
	if prober, answerer := s.own(side), s.own(other(side)); prober && !answerer {
		return s.deafProber(&s.Seen[0], side, first, last, n)
	} else if prober == answerer {
		return s.frozenSomewhere(side, first, last, n)
	}
	a, b := &s.flow.Events[first], &s.flow.Events[last]
	seen := &s.Seen[0]
	refs := []pairing.Ref{s.ref(seen, a.Ord, a.Kind, a.At), s.ref(seen, b.Ord, b.Kind, b.At)}
	v := &Verdict{ID: OneWayDrop, Confidence: Possible, Cause: "unknown", At: a.At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's probes arrive and are answered, but the %s echoes the same old timestamp in all %d of them: none of the answers is accepted by its TCP. The way back to the %s loses them.",
			sideName(side), sideName(side), n, sideName(side)),
		Unknown: []string{"whether the path or the " + sideName(side) + "'s own host filter eats the answers: needs a capture at the " + sideName(side)}}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "echo-frozen", Says: fmt.Sprintf("TSecr stays at %d over %d answered probes of the %s", a.TSEcr, n, sideName(side)),
		Suggests: "the answers never reach its TCP", Evidence: refs}},
		Hypotheses: []Hypothesis{{Verdict: OneWayDrop, For: because("probes are answered and the answers are not accepted", refs...), Next: nextCapture(other(side))},
			{Verdict: HostDrop, For: because("a filter on the prober's own host looks the same from here", refs...), Next: nextCapture(other(side))}}}
}

// own reports whether a side's segments have passed no router yet: the capture
// was taken on its host, or on its link.
func (s *Subject) own(side uint8) bool {
	ttls := s.flow.Sides[side].TTLs
	return hops(ttls[0]) == 0 && hops(ttls[1]) == 0
}

// deafProber is the verdict where answers reach the prober's own interface and
// its TCP takes none of them.
func (s *Subject) deafProber(seen *pairing.Sighting, side uint8, first, last, n int) Answer {
	a, b := &seen.Flow.Events[first], &seen.Flow.Events[last]
	refs := []pairing.Ref{s.ref(seen, a.Ord, a.Kind, a.At), s.ref(seen, b.Ord, b.Kind, b.At)}
	who := sideName(side)
	v := &Verdict{ID: HostDrop, Confidence: Likely, Cause: "unknown", At: clockwork(s.Clocks).to(s.Base, seen.Vantage, a.At), FirstLost: refs[0], Between: [2]int{seen.Vantage, seen.Vantage},
		Summary: fmt.Sprintf("The answers to the %s's probes reach its interface, but its TCP takes none of them: %d probes echo the same old timestamp. The %s's own host filter drops the answers.", who, n, who),
		Unknown: []string{"what on the " + who + "'s host drops them: its firewall sees packets after tcpdump does"}}
	found := []Finding{{Rule: "echo-frozen", Says: fmt.Sprintf("TSecr stays at %d over %d answered probes of the %s", a.TSEcr, n, who),
		Suggests: "the answers never reach its TCP", Evidence: refs}}
	if len(s.Seen) > 1 {
		v.Confidence = Proven
		return Answer{Verdict: v, Findings: found}
	}
	return Answer{Verdict: v, Findings: found,
		Hypotheses: []Hypothesis{{Verdict: HostDrop, For: because("the capture was taken at the prober (its TTL is what hosts begin with), and the answers are in it", refs...)},
			{Verdict: OneWayDrop, For: because("a mirror port before the last device looks the same"), Against: because(fmt.Sprintf("the %s's segments have passed no router yet", who), refs[0]), Next: nextCapture(other(side))}}}
}

// frozenSomewhere is what remains where the capture's own place is not known.
func (s *Subject) frozenSomewhere(side uint8, first, last, n int) Answer {
	a, b := &s.flow.Events[first], &s.flow.Events[last]
	seen := &s.Seen[0]
	refs := []pairing.Ref{s.ref(seen, a.Ord, a.Kind, a.At), s.ref(seen, b.Ord, b.Kind, b.At)}
	who := sideName(side)
	v := &Verdict{ID: Undecided, Confidence: Possible, At: a.At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's probes are answered here, but it echoes the same old timestamp in all %d of them: none of the answers is accepted by its TCP. They are lost on the way back or in the %s's own host.", who, n, who),
		Unknown: []string{"where the answers are lost: needs a capture on the " + who + "'s host"}}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "echo-frozen", Says: fmt.Sprintf("TSecr stays at %d over %d answered probes of the %s", a.TSEcr, n, who),
		Suggests: "the answers never reach its TCP", Evidence: refs}},
		Hypotheses: []Hypothesis{{Verdict: OneWayDrop, For: because("the way back may lose the answers: they are here and not accepted", refs...), Next: nextCapture(other(side))},
			{Verdict: HostDrop, For: because("the prober's own host filter may drop them: they are here and not accepted", refs...), Next: nextCapture(other(side))}}}
}
