package analyzer

import (
	"fmt"
	"slices"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// heartbeatTimeout holds where an application closed the connection because
// its own heartbeats went unanswered, and nothing tells why they did: the
// answer came too late, or one capture is all there is. Where a cause is found
// that is the verdict, and this only an ending.
func heartbeatTimeout(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		seen := s.nearestSighting(side)
		b, ok := seen.Flow.BeatEnd(side)
		if !ok {
			continue
		}
		if b.Late >= 0 {
			return s.answeredTooLate(seen, side, &b)
		}
		if s.TwoSided() && len(s.Seen) > 1 && !b.Acked {
			continue // whether they arrived is known, and says more
		}
		if a := deathSeenFromOneEnd(s); a.Verdict != nil && a.Verdict.ID != Undecided {
			continue
		}
		return s.gaveUpOnBeats(seen, side, &b)
	}
	return Answer{}
}

// beatTimeout is what both forms of the verdict say.
func (s *Subject) beatTimeout(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) (*Verdict, Finding) {
	f := seen.Flow
	asked := &f.Events[b.Asked[0]]
	first := s.ref(seen, asked.Ord, asked.Kind, asked.At)
	end := &f.Events[b.End]
	v := &Verdict{ID: HeartbeatTimeout, Confidence: Possible, Cause: "unknown", FirstLost: first, Between: [2]int{seen.Vantage, seen.Vantage},
		At: clockwork(s.Clocks).to(s.Base, seen.Vantage, asked.At)}
	finding := Finding{Rule: "gave-up-on-heartbeats",
		Says:     fmt.Sprintf("the %s's heartbeats came every %s; %s got no answer from the application for %s, then the %s sent a %s", sideName(side), facts.Compact(b.Pace), plural(len(b.Asked), "heartbeat"), facts.Compact(end.At.Sub(asked.At)), sideName(side), end.Kind),
		Suggests: "its application gave up on its own heartbeats; OpenSSH does after (CountMax + 1) × Interval"}
	for _, i := range append(slices.Clone(b.Asked[:min(len(b.Asked), 8)]), b.End) {
		ev := &f.Events[i]
		finding.Evidence = append(finding.Evidence, s.ref(seen, ev.Ord, ev.Kind, ev.At))
	}
	return v, finding
}

// answeredTooLate is the verdict where the peer's application did answer, when
// nobody waited any more: path, host and application work.
func (s *Subject) answeredTooLate(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) Answer {
	v, finding := s.beatTimeout(seen, side, b)
	f := seen.Flow
	late, asked := &f.Events[b.Late], &f.Events[b.Asked[0]]
	who, peer := sideName(side), sideName(other(side))
	waited := facts.Compact(late.At.Sub(asked.At))
	v.Confidence = Likely
	if b.Overdue > 0 {
		return s.overdue(v, finding, side, b)
	}
	if b.Acked {
		if s.TwoSided() && len(s.Seen) > 1 && s.crossedAt(seen, f.Events[b.End].Ord) && s.crossedAt(seen, late.Ord) {
			v.Confidence = Proven
		}
		v.Summary = fmt.Sprintf("The %s's application closed the connection because its heartbeats went unanswered. The path works: the %s's host acknowledged them at once, and its application answered after %s, when it was too late.", who, peer, waited)
		v.Unknown = append(v.Unknown, "what kept the "+peer+"'s application so long: look at the process there")
	} else {
		v.Summary = fmt.Sprintf("The %s's application gave up while its heartbeats went unanswered: what it repeated for %s arrived in the end and was answered, and then nobody at the %s knew the connection any more. An outage passed, and the heartbeats had less patience.", who, waited, who)
		v.Unknown = append(v.Unknown, "what interrupted the path for so long", "when the "+who+"'s application left: its FIN waited behind the heartbeat that was not acknowledged")
	}
	answer := Finding{Rule: "answered-too-late", Says: fmt.Sprintf("the %s's application answers %s after the heartbeat", peer, waited),
		Suggests: "path, host and application work; only the patience was too short", Evidence: []pairing.Ref{s.ref(seen, late.Ord, late.Kind, late.At)}}
	return Answer{Verdict: v, Findings: []Finding{finding, answer}}
}

// overdue is the verdict where the heartbeats stayed away, seen from beyond what
// held them up, and the answer to the next one finds nobody.
func (s *Subject) overdue(v *Verdict, finding Finding, side uint8, b *flows.BeatEnd) Answer {
	who := sideName(side)
	v.Confidence = Possible
	finding.Says = fmt.Sprintf("the %s's heartbeats came every %s, stayed away for %s, and the answer to the next one is met by a RST", who, facts.Compact(b.Pace), facts.Compact(b.Overdue))
	v.Summary = fmt.Sprintf("The %s's heartbeats stayed away for %s although they came every %s before; then one arrives, and its answer is met by a RST: nobody at the %s waits for it any more. Most likely an outage held them up and its application gave up meanwhile.",
		who, facts.Compact(b.Overdue), facts.Compact(b.Pace), who)
	v.Unknown = append(v.Unknown, "what held the "+who+"'s heartbeats up: needs a capture there over the same time")
	next := nextCapture(other(side))
	return Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: []Hypothesis{
		{Verdict: HeartbeatTimeout, For: because(finding.Says, finding.Evidence...), Next: next},
		{Verdict: PeerLostState, For: because("a program that was ended by hand leaves the same RST", finding.Evidence[len(finding.Evidence)-1]), Against: because("its host still repeated what the program had written", finding.Evidence...), Next: next},
	}}
}

// gaveUpOnBeats is the verdict where no answer was seen at all.
func (s *Subject) gaveUpOnBeats(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) Answer {
	v, finding := s.beatTimeout(seen, side, b)
	who, peer := sideName(side), sideName(other(side))
	next := nextCapture(side)
	silence := seen.Flow.Events[b.End].At.Sub(seen.Flow.Events[b.Asked[0]].At)
	a := Answer{Verdict: v, Findings: []Finding{finding}}
	if b.Acked {
		v.Summary = fmt.Sprintf("The %s's application closed the connection itself after %s without an answer to its heartbeats, which the %s's host acknowledged.", who, facts.Compact(silence), peer)
		v.Unknown = append(v.Unknown, "why the "+peer+"'s application did not answer: look at the process there")
		a.Hypotheses = []Hypothesis{
			{Verdict: AppHung, For: because("the peer's kernel acknowledges, its application says nothing", finding.Evidence...), Against: because(fmt.Sprintf("%s without an answer are too few to tell a hang from a pause", plural(len(b.Asked), "heartbeat")), finding.Evidence...)},
			{Verdict: ProxyAnswer, For: because("a proxy on the way acknowledges for the peer just so", finding.Evidence...), Against: because("the heartbeats before were answered by an application"), Next: next},
		}
		return a
	}
	v.Summary = fmt.Sprintf("The %s's application closed the connection itself after %s without an answer to its heartbeats. Why there was none one capture cannot tell.", who, facts.Compact(silence))
	v.Unknown = append(v.Unknown, "whether the heartbeats reached the "+peer+": needs a capture there over the same time")
	a.Hypotheses = []Hypothesis{{Verdict: HeartbeatTimeout, For: because(finding.Says, finding.Evidence...)}}
	if t, ok := findTail(s); ok {
		alive, dead := s.controlsSay(0)
		a.Hypotheses = append(a.Hypotheses, tailHypotheses(s, t, false, alive, dead)...)
	}
	return a
}

// crossedAt reports whether the segment of an ordinal at a vantage point
// crossed to another.
func (s *Subject) crossedAt(seen *pairing.Sighting, ord tcp.Ordinal) bool {
	p := s.passageAt(seen.Vantage, ord)
	return p != nil && p.Known && p.How == pairing.Crossed
}
