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

// answeredTooLate is the verdict where the peer's application is heard again when
// nobody waits any more: path, host and application work.
func (s *Subject) answeredTooLate(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) Answer {
	v, finding := s.beatTimeout(seen, side, b)
	f, late, peer := seen.Flow, &seen.Flow.Events[b.Late], sideName(other(side))
	v.Confidence = Likely
	switch {
	case b.Overdue > 0 && b.Answered:
		return s.overdue(v, finding, side, b)
	case b.Acked:
		s.answeredSlowly(v, seen, side, b)
	default:
		s.outlasted(v, seen, side, b)
	}
	heard := s.ref(seen, late.Ord, late.Kind, late.At)
	if b.End > b.Late {
		finding.Says = metByRST(f, side, b)
		finding.Evidence = append(finding.Evidence, heard)
	}
	if !b.Answered {
		return Answer{Verdict: v, Findings: []Finding{finding}}
	}
	answer := Finding{Rule: "answered-too-late", Says: fmt.Sprintf("an answer of the %s's application comes %s after the heartbeat", peer, beatWait(f, b)),
		Suggests: "path, host and application work; only the patience was too short", Evidence: []pairing.Ref{heard}}
	if s.answersLost(seen, side, b) {
		answer.Says += ", and earlier ones get lost"
	}
	return Answer{Verdict: v, Findings: []Finding{finding, answer}}
}

// beatWait is the time from the first heartbeat in vain to what came too late.
func beatWait(f *flows.Flow, b *flows.BeatEnd) string {
	return facts.Compact(f.Events[b.Late].At.Sub(f.Events[b.Asked[0]].At))
}

// metByRST says how the heartbeats ended where the asker's host meets what came too
// late with a RST.
func metByRST(f *flows.Flow, side uint8, b *flows.BeatEnd) string {
	late := "the answer that comes %s after it is met by a RST"
	if !b.Answered {
		late = "what the " + sideName(other(side)) + " sends %s after it does not acknowledge it and is met by a RST"
	}
	repeated := ""
	if b.Repeated > 0 {
		repeated = ", one in vain is repeated for " + facts.Compact(b.Repeated)
	}
	return fmt.Sprintf("the %s's heartbeats came every %s%s, and "+late, sideName(side), facts.Compact(b.Pace), repeated, beatWait(f, b))
}

// answeredSlowly fills in the verdict where the peer's host acknowledged the
// heartbeats, and its application took long to answer them.
func (s *Subject) answeredSlowly(v *Verdict, seen *pairing.Sighting, side uint8, b *flows.BeatEnd) {
	f := seen.Flow
	who, peer := sideName(side), sideName(other(side))
	if s.TwoSided() && len(s.Seen) > 1 && s.crossedAt(seen, f.Events[b.End].Ord) && s.crossedAt(seen, f.Events[b.Late].Ord) {
		v.Confidence = Proven
	}
	v.Summary = fmt.Sprintf("The %s's application closed the connection because its heartbeats went unanswered. The path works: the %s's host acknowledged them at once, and its application answered after %s, when it was too late.", who, peer, beatWait(f, b))
	v.Unknown = append(v.Unknown, "what kept the "+peer+"'s application so long: look at the process there")
}

// outlasted fills in the verdict where the heartbeats, or the answers to them, were
// lost for a while. Whether one arrived the peer's acknowledgment tells, and when, a
// capture there.
func (s *Subject) outlasted(v *Verdict, seen *pairing.Sighting, side uint8, b *flows.BeatEnd) {
	f := seen.Flow
	who, peer := sideName(side), sideName(other(side))
	asked, lost := "the heartbeat", s.answersLost(seen, side, b)
	if b.Repeated > 0 {
		asked = "what it repeated for " + facts.Compact(b.Repeated)
	}
	how := asked + " arrived, and the answer came only"
	why := fmt.Sprintf("An outage passed, or the %s's host was away for a while", peer)
	switch {
	case !b.Answered:
		how = fmt.Sprintf("%s did not arrive, and the %s sent something of its own", asked, peer)
	case s.arrivedLate(seen, b):
		how, why = asked+" arrived in the end, and the answer came only", "An outage passed"
	case lost && s.crossedAt(seen, f.Events[b.Asked[0]].Ord):
		how = "the first in vain arrived at once, the answers to it got lost, and one came only"
	}
	slept := s.sleptOver(seen, other(side), b)
	switch {
	case slept:
		why = fmt.Sprintf("The %s's host slept meanwhile", peer)
	case lost:
		why = fmt.Sprintf("An outage of the way to the %s passed", who)
	}
	v.Summary = fmt.Sprintf("The %s's application gave up while its heartbeats went unanswered: %s %s after the heartbeat, when nobody at the %s knew the connection any more. %s, and the heartbeats had less patience.",
		who, how, beatWait(f, b), who, why)
	if !slept {
		v.Unknown = append(v.Unknown, "what interrupted the path for so long")
	}
	if b.End > b.Late {
		v.Unknown = append(v.Unknown, "when the "+who+"'s application left: its FIN waited behind the heartbeat that was not acknowledged")
	}
}

// arrivedLate reports whether the first heartbeat in vain is not known to have crossed,
// and its last repetition is.
func (s *Subject) arrivedLate(seen *pairing.Sighting, b *flows.BeatEnd) bool {
	asked := &seen.Flow.Events[b.Asked[0]]
	for i := b.Late; i > b.Asked[0]; i-- {
		if ev := &seen.Flow.Events[i]; ev.From == asked.From && ev.Kind == flows.Retransmission && ev.Seq == asked.Seq {
			return s.crossedAt(seen, ev.Ord) && !s.crossedAt(seen, asked.Ord)
		}
	}
	return false
}

// answersLost reports whether another capture holds what acknowledges the first
// heartbeat in vain, and its sender's does not and has it repeated afterwards.
func (s *Subject) answersLost(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) bool {
	asked := &seen.Flow.Events[b.Asked[0]]
	until := clockwork(s.Clocks).to(s.Base, seen.Vantage, asked.At.Add(b.Repeated))
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.From != other(side) || p.At >= until || p.Kind == flows.ICMPError || p.Kind == flows.RST || p.Event.Run != nil {
			continue
		}
		if !p.heldAt(seen.Vantage) && p.Event.Flags.Has(tcp.ACK) && !p.Event.Ack.Before(asked.Seq.Add(int(asked.Len))) {
			return s.TwoSided()
		}
	}
	return false
}

// sleptOver reports whether a side's host slept while the heartbeat was repeated.
func (s *Subject) sleptOver(seen *pairing.Sighting, side uint8, b *flows.BeatEnd) bool {
	asked := clockwork(s.Clocks).to(s.Base, seen.Vantage, seen.Flow.Events[b.Asked[0]].At)
	return slices.ContainsFunc(s.naps(), func(n nap) bool { return n.side == side && s.covers(&n, asked, asked.Add(b.Repeated)) })
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
