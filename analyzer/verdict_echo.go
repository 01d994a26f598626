package analyzer

import (
	"fmt"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// A deafness is what one capture shows of a prober whose TCP takes none of the answers
// to its probes.
type deafness struct {
	side        uint8 // the prober
	first, last int   // events of the capture
	probes      int
	echo        uint32 // the timestamp that all of them echo
	pace        *flows.Unheard
}

// does says by what it is known.
func (d *deafness) does() string {
	if d.pace != nil {
		return fmt.Sprintf("though its idle time is %s, all %d of them come at an interval of %s%s", facts.Compact(d.pace.Idle), d.probes, facts.Compact(d.pace.Interval), d.behind(", and its RST as long after the last", " and echo the same old timestamp"))
	}
	return fmt.Sprintf("all %d of them echo the same old timestamp", d.probes)
}

// behind words what else there is: a RST at the same pace, or one timestamp.
func (d *deafness) behind(rst, echo string) string {
	if d.pace.Reset {
		return rst
	}
	return echo
}

// finding shows it.
func (d *deafness) finding(refs []pairing.Ref) Finding {
	who := sideName(d.side)
	if d.pace != nil {
		return Finding{Rule: "pace-unheard", Says: fmt.Sprintf("%d answered probes of the %s come every %s after %s of silence%s: one that hears an answer waits for its idle time again", d.probes, who, facts.Compact(d.pace.Interval), facts.Compact(d.pace.Idle), d.behind(", and its RST as long after the last", " and echo the same old timestamp")),
			Suggests: "the answers never reach its TCP", Evidence: refs}
	}
	return Finding{Rule: "echo-frozen", Says: fmt.Sprintf("TSecr stays at %d over %d answered probes of the %s", d.echo, d.probes, who),
		Suggests: "the answers never reach its TCP", Evidence: refs}
}

// frozenEcho recognises, at the answering side alone, that the prober accepts
// none of the answers: its TSecr stays while its probes come at the interval
// pace.
func frozenEcho(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		if a := s.deafSide(side); a.Verdict != nil {
			return a
		}
	}
	return Answer{}
}

func (s *Subject) deafSide(side uint8) Answer {
	if len(s.Seen) == 1 {
		if d, ok := deaf(s.flow, side); ok {
			return s.deafAnswer(&d)
		}
		return Answer{}
	}
	near := s.nearestSighting(side)
	if d, ok := deaf(near.Flow, side); ok && beside(near.Flow, side) {
		return s.deafProber(near, &d)
	}
	return s.beyond(side, func(one *Subject) Answer { return one.deafSide(side) })
}

// deaf reports whether a side of a flow takes none of the answers that the flow holds:
// by the timestamp that it echoes, or by its pace.
func deaf(f *flows.Flow, side uint8) (d deafness, ok bool) {
	d = deafness{side: side}
	if d.first, d.last, d.probes, ok = frozen(f, side); ok {
		d.echo = f.Events[d.first].TSEcr
		return d, true
	}
	if u, ok := f.Unheard(side); ok {
		d.first, d.last, d.probes, d.pace = u.First, u.Last, u.Probes, &u
		return d, true
	}
	return d, false
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
		if ev.Kind == flows.RST {
			continue
		}
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

func (s *Subject) deafAnswer(d *deafness) Answer {
	if prober, answerer := s.own(d.side), s.own(other(d.side)); prober && !answerer {
		return s.deafProber(&s.Seen[0], d)
	} else if prober == answerer {
		return s.deafSomewhere(d)
	}
	refs := s.deafRefs(&s.Seen[0], d)
	who := sideName(d.side)
	v := &Verdict{ID: OneWayDrop, Confidence: Possible, Cause: "unknown", At: s.flow.Events[d.first].At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's probes arrive and are answered, but %s: none of the answers is accepted by its TCP. The way back to the %s loses them.", who, d.does(), who),
		Unknown: []string{"whether the path or the " + who + "'s own host filter eats the answers: needs a capture at the " + who}}
	return Answer{Verdict: v, Findings: []Finding{d.finding(refs)},
		Hypotheses: []Hypothesis{{Verdict: OneWayDrop, For: because("probes are answered and the answers are not accepted", refs...), Next: nextCapture(other(d.side))},
			{Verdict: HostDrop, For: because("a filter on the prober's own host looks the same from here", refs...), Next: nextCapture(other(d.side))}}}
}

func (s *Subject) deafRefs(seen *pairing.Sighting, d *deafness) []pairing.Ref {
	a, b := &seen.Flow.Events[d.first], &seen.Flow.Events[d.last]
	return []pairing.Ref{s.ref(seen, a.Ord, a.Kind, a.At), s.ref(seen, b.Ord, b.Kind, b.At)}
}

// deafSince reports whether at an instant, on the clock of the one capture, a prober took
// none of the answers that the capture holds.
func (s *Subject) deafSince() func(tcp.Instant) bool {
	for side := uint8(0); side < 2 && len(s.Seen) == 1; side++ {
		if d, ok := deaf(s.flow, side); ok {
			first := s.flow.Events[d.first].At
			return func(at tcp.Instant) bool { return at >= first }
		}
	}
	return func(tcp.Instant) bool { return false }
}

// own reports whether the first capture was taken beside a side.
func (s *Subject) own(side uint8) bool { return beside(s.flow, side) }

// deafProber is the verdict where answers reach the prober's own interface and
// its TCP takes none of them.
func (s *Subject) deafProber(seen *pairing.Sighting, d *deafness) Answer {
	refs := s.deafRefs(seen, d)
	who := sideName(d.side)
	v := &Verdict{ID: HostDrop, Confidence: Likely, Cause: "unknown", At: clockwork(s.Clocks).to(s.Base, seen.Vantage, seen.Flow.Events[d.first].At), FirstLost: refs[0], Between: [2]int{seen.Vantage, seen.Vantage},
		Summary: fmt.Sprintf("The answers to the %s's probes reach its interface, but its TCP takes none of them: %s. The %s's own host filter drops the answers.", who, d.does(), who),
		Unknown: []string{"what on the " + who + "'s host drops them: its firewall sees packets after tcpdump does"}}
	found := []Finding{d.finding(refs)}
	if len(s.Seen) > 1 && d.pace == nil {
		v.Confidence = Proven
		return Answer{Verdict: v, Findings: found}
	}
	return Answer{Verdict: v, Findings: found,
		Hypotheses: []Hypothesis{{Verdict: HostDrop, For: because("the capture was taken at the prober (its TTL is what hosts begin with), and the answers are in it", refs...)},
			{Verdict: OneWayDrop, For: because("a mirror port before the last device looks the same"), Against: because(fmt.Sprintf("the %s's segments have passed no router yet", who), refs[0]), Next: nextCapture(other(d.side))}}}
}

// deafSomewhere is what remains where the capture's own place is not known.
func (s *Subject) deafSomewhere(d *deafness) Answer {
	refs := s.deafRefs(&s.Seen[0], d)
	who := sideName(d.side)
	v := &Verdict{ID: Undecided, Confidence: Possible, At: s.flow.Events[d.first].At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's probes are answered here, but %s: none of the answers is accepted by its TCP. They are lost on the way back or in the %s's own host.", who, d.does(), who),
		Unknown: []string{"where the answers are lost: needs a capture on the " + who + "'s host"}}
	return Answer{Verdict: v, Findings: []Finding{d.finding(refs)},
		Hypotheses: []Hypothesis{{Verdict: OneWayDrop, For: because("the way back may lose the answers: they are here and not accepted", refs...), Next: nextCapture(other(d.side))},
			{Verdict: HostDrop, For: because("the prober's own host filter may drop them: they are here and not accepted", refs...), Next: nextCapture(other(d.side))}}}
}
