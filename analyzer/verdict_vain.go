package analyzer

import (
	"fmt"
	"slices"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

// askedInVain holds where one capture has an end that asks in vain, or from in
// between two, or one that waits for what its peer sent in vain.
func askedInVain(s *Subject) Answer {
	for _, ask := range []func(*Subject) Answer{deathSeenFromOneEnd, bothAskInVain, heardTooLate} {
		if a := ask(s); a.Verdict != nil {
			s.atBothEnds(a.Hypotheses)
			return a
		}
	}
	return holeStaysOpen(s)
}

// atBothEnds asks for no capture at an end that has one.
func (s *Subject) atBothEnds(list []Hypothesis) {
	for side := uint8(0); side < 2; side++ {
		if !s.capturedBeside(other(side)) {
			continue
		}
		for i := range list {
			if list[i].Next == nextCapture(side) {
				list[i].Next = decide
			}
		}
	}
}

// capturedBeside reports whether one of several captures was taken beside a side.
func (s *Subject) capturedBeside(side uint8) bool {
	return s.TwoSided() && len(s.Seen) > 1 && beside(s.nearest(side), side)
}

// needs says what would tell whether a side's questions, of which none is seen to arrive,
// reached its peer.
func (s *Subject) needs(side uint8) string {
	if peer := other(side); s.capturedBeside(peer) {
		return s.Points[s.nearestSighting(peer).Vantage].Name + " does not hold them, and does not prove that they were lost"
	}
	return "needs a capture there over the same time"
}

// heardTooLate holds where a capture has an end that gave up after probes in vain,
// of which no other one shows what became, and something of its peer comes later: the
// peer lives and holds the connection, what was asked or answered meanwhile was lost.
func heardTooLate(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		if !s.endingOf(side).GaveUp() {
			continue
		}
		first, end := s.lastTry(side)
		if first < 0 {
			continue
		}
		for j := end + 1; j < len(s.Passages); j++ {
			if p := &s.Passages[j]; p.From == 1-side && p.Kind != flows.ICMPError && p.Kind != flows.RST {
				return s.gaveUpThenHeard(side, first, end, p)
			}
		}
	}
	return Answer{}
}

func (s *Subject) gaveUpThenHeard(side uint8, first, end int, late *Passage) Answer {
	who, peer := sideName(side), sideName(1-side)
	asked, over := &s.Passages[first], &s.Passages[end]
	v := &Verdict{ID: Undecided, Confidence: Possible, At: asked.At, FirstLost: asked.First(), Between: [2]int{s.Base, s.Base},
		Unknown: []string{"whether the " + who + "'s questions reached the " + peer + ": " + s.needs(side)}}
	v.Silence, _ = s.silence(first)
	v.Summary = fmt.Sprintf("The %s gave up after questions that got no answer; %s later the %s is heard again and still holds the connection. An outage passed, the %s's host was away for a while, or a device between let nothing through until the %s spoke.",
		who, facts.Compact(late.At.Sub(over.At)), peer, peer, peer)
	asks := s.unansweredIn(side, first, end)
	vain := append(slices.Clone(asks[:min(len(asks), 8)]), over.Refs...)
	next := nextCapture(side)
	found := []Finding{{Rule: "probes-unanswered", Says: fmt.Sprintf("the %s's last %s got no answer before it gave up", who, plural(len(asks), "probe")),
		Suggests: "questions or answers were lost, or nobody was there for a while", Evidence: vain}}
	alive, dead := s.controlsSay(over.At)
	cut := Hypothesis{Verdict: PathCut, For: because("the "+peer+" is heard again later: an outage of some length", late.Refs...), Next: next}
	drop := Hypothesis{Verdict: SilentDrop, For: because("a device that the other end teaches anew looks the same", append(vain, late.Refs...)...), Next: next}
	gone := Hypothesis{Verdict: PeerGone, For: because("a host that slept, or had no link, is heard again when that is over", late.Refs...), Next: next}
	for _, n := range s.naps() {
		if n.side == 1-side && s.covers(&n, asked.At, over.At) {
			f := n.finding()
			gone.For = append(gone.For, because(f.Says, f.Evidence...)...)
		}
	}
	switch {
	case alive != nil:
		says := aControl(alive) + " between the same hosts lives meanwhile"
		cut.Against, gone.Against = because(says, alive.Refs...), because(says, alive.Refs...)
		drop.For = append(drop.For, because(says, alive.Refs...)...)
	case dead != nil:
		says := aControl(dead) + " between the same hosts is dead as well"
		drop.Against = because(says, dead.Refs...)
		cut.For = append(cut.For, because(says, dead.Refs...)...)
	default:
		for _, h := range []*Hypothesis{&cut, &drop, &gone} {
			h.Against = because("no control: nothing else between the hosts was seen meanwhile")
		}
	}
	if name, ok := s.allArrive(side, first, end); ok {
		v.Summary = fmt.Sprintf("The %s gave up after questions that got no answer, though all of them are in %s, and no answer leaves from there; %s later the %s is heard again and still holds the connection. The %s's host was away for a while, or does not take what reaches it.",
			who, name, facts.Compact(late.At.Sub(over.At)), peer, peer)
		v.Unknown = []string{"why the " + peer + "'s host did not answer: look on the host itself"}
		gone.For = append(gone.For, because("the questions are in the capture taken beside the "+peer+", which shows no answer", vain...)...)
		return Answer{Verdict: v, Findings: found, Hypotheses: []Hypothesis{gone, hostDropHypothesis(side, vain)}}
	}
	return Answer{Verdict: v, Findings: found, Hypotheses: []Hypothesis{cut, drop, gone}}
}

// unansweredIn lists a side's unanswered probes among the passages from first to end.
func (s *Subject) unansweredIn(side uint8, first, end int) (refs []pairing.Ref) {
	for i := first; i < end; i++ {
		if p := &s.Passages[i]; p.From == side && p.Kind == flows.KeepaliveProbe && p.Event.Run == nil && p.Event.AnsweredBy == 0 {
			refs = append(refs, p.First())
		}
	}
	return refs
}

// allArrive reports whether the capture beside a side's peer holds all that the side asked
// among the passages from first to end, and returns its name.
func (s *Subject) allArrive(side uint8, first, end int) (name string, ok bool) {
	if !s.capturedBeside(other(side)) {
		return "", false
	}
	for i := first; i < end; i++ {
		if p := &s.Passages[i]; p.From == side && p.Kind == flows.KeepaliveProbe && !s.reached(p, other(side)) {
			return "", false
		}
	}
	return s.Points[s.nearestSighting(other(side)).Vantage].Name, true
}

// bothAskInVain holds where one capture, taken between the ends, has the probes
// of both and no answer to either: each end is alive to send its own, so what
// the other sends does not reach it.
func bothAskInVain(s *Subject) Answer {
	f := s.flow
	asked := [2]int{lastUnanswered(f, flows.Client), lastUnanswered(f, flows.Server)}
	if s.TwoSided() || asked[0] < 2 || asked[1] < 2 {
		return Answer{}
	}
	first := -1
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Kind == flows.KeepaliveProbe && p.Event.Run == nil && p.Event.AnsweredBy == 0 {
			first = i
			break
		}
	}
	if first < 0 {
		return Answer{}
	}
	p := &s.Passages[first]
	v := &Verdict{ID: Undecided, Confidence: Possible, At: p.At, Between: [2]int{s.Base, s.Base}, FirstLost: p.Refs[0],
		Summary: "Both ends probe, both live to do so, and neither gets an answer: what passes here reaches neither of them. Something at this place, or on both sides of it, lets nothing of the connection through.",
		Unknown: []string{"which: needs captures at both ends, or on both sides of the device at which this was taken"}}
	v.Silence, _ = s.silence(first)
	return Answer{Verdict: v, Findings: []Finding{{Rule: "both-ask-in-vain", Says: fmt.Sprintf("the client's last %d probes and the server's last %d got no answer", asked[0], asked[1]),
		Suggests: "the device at which this was captured forgot the connection", Evidence: p.Refs}},
		Hypotheses: []Hypothesis{{Verdict: SilentDrop, For: because("both ends hold the connection and probe it", p.Refs...), Against: because("not seen: what arrives at either end"), Next: nextCapture(other(p.From))}}}
}

// gaveUpEarly fills in the verdict on an end that gave up after questions of which
// nothing tells why they got no answer.
func (s *Subject) gaveUpEarly(v *Verdict) bool {
	for side := uint8(0); side < 2; side++ {
		first, end := s.lastTry(side)
		if first < 0 || !s.endingOf(side).GaveUp() {
			continue
		}
		n := s.probesBetween(side, first, end)
		v.ID, v.Confidence, v.At, v.FirstLost = Undecided, Possible, s.Passages[first].At, s.Passages[first].First()
		proves := "So little proves nothing of the path (RFC 9293, section 3.8.4): what was asked, or answered, may have been lost by chance."
		if n > fewProbes {
			proves = fmt.Sprintf("What was asked, or answered, was lost, or nobody was there to answer at the %s.", sideName(1-side))
		}
		v.Summary = fmt.Sprintf("The %s gave up with a RST, %s after %s that got no answer. %s",
			sideName(side), facts.Compact(s.Passages[end].At.Sub(s.Passages[first].At)), plural(n, "probe"), proves)
		needs := "a capture at the " + sideName(1-side) + " as well, and a ping beside it"
		if s.TwoSided() {
			needs = "a ping, or a fresh login, beside it"
		}
		v.Unknown = []string{"whether anything else between the hosts crossed then: needs " + needs}
		return true
	}
	return false
}

// fewProbes is how many may be lost by chance.
const fewProbes = 2

// probesBetween counts a side's probes from one passage to another.
func (s *Subject) probesBetween(side uint8, first, end int) (n int) {
	for i := first; i < end; i++ {
		if p := &s.Passages[i]; p.From == side && p.Kind == flows.KeepaliveProbe {
			n++
		}
	}
	return n
}

// givenUp returns the RST by which the sender of a question, passage i, gave up after
// it; nil where it did not.
func (s *Subject) givenUp(i int) *Passage {
	side := s.Passages[i].From
	if side > flows.Server || !s.endingOf(side).GaveUp() {
		return nil
	}
	for j := i + 1; j < len(s.Passages); j++ {
		if p := &s.Passages[j]; p.Kind == flows.RST && p.From == side {
			return p
		}
	}
	return nil
}

// askedInVain reports whether a side's RST came after its own unanswered
// probes or data.
func (s *Subject) askedInVain(side uint8) bool {
	t, ok := findTail(s)
	return ok && t.side == side
}

// gaveUp reports whether a side, as its own capture has it, had given up before.
func (s *Subject) gaveUp(side uint8) bool {
	return len(s.Seen) > 1 && s.endingOf(side).GaveUp()
}

// unanswered counts the last questions of both sides that got no answer.
func (s *Subject) unanswered() int {
	return lastUnanswered(s.flow, flows.Client) + lastUnanswered(s.flow, flows.Server)
}

// lastUnanswered counts a side's open probes behind the last one that was
// answered. An answer proves life for those before it, too, though it answers
// the one alone.
func lastUnanswered(f *flows.Flow, side uint8) (n int) {
	open := int(f.Sides[side].Unanswered)
	for i := len(f.Events) - 1; i >= 0 && n < open; i-- {
		ev := &f.Events[i]
		if ev.From != side || ev.Kind != flows.KeepaliveProbe {
			continue
		}
		if ev.Run != nil || ev.AnsweredBy != 0 {
			break
		}
		n++
	}
	return n
}
