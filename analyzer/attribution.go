package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Who can have sent a RST.
const (
	byDevice     = "device between"
	bySocketless = "host without the socket"
	byGivingUp   = "end that gave up"
	byProgram    = "application"
)

// suspects in the order in which equal scores are shown.
var suspects = [...]string{bySocketless, byGivingUp, byProgram, byDevice}

// A clue is one item of the evidence about who sent a RST.
type clue struct {
	suspect string
	points  int
	says    string
	refs    []pairing.Ref
}

// attribution weighs the RST of a passage.
type attribution struct {
	rst   *Passage
	clues []clue
}

func (a *attribution) add(suspect string, points int, refs []pairing.Ref, format string, args ...any) {
	a.clues = append(a.clues, clue{suspect, points, fmt.Sprintf(format, args...), refs})
}

// score sums up what speaks for a suspect.
func (a *attribution) score(suspect string) (sum int) {
	for i := range a.clues {
		if a.clues[i].suspect == suspect {
			sum += a.clues[i].points
		}
	}
	return sum
}

// reasons lists what speaks for a suspect (sign +1) or against it (-1).
func (a *attribution) reasons(suspect string, sign int) (out []Reason) {
	for i := range a.clues {
		if c := &a.clues[i]; c.suspect == suspect && c.points*sign > 0 {
			out = append(out, Reason{c.worded(), c.refs})
		}
	}
	return out
}

func (c *clue) worded() string { return fmt.Sprintf("%s (%+d)", c.says, c.points) }

// ranked lists the suspects, the likeliest first.
func (a *attribution) ranked() []string {
	list := slices.Clone(suspects[:])
	slices.SortStableFunc(list, func(x, y string) int { return a.score(y) - a.score(x) })
	return list
}

// decisive is what a clue that no end can give weighs, and what it takes to call
// a RST a device's.
const decisive = 3

// finding shows the whole table: each suspect with its score and its items.
func (a *attribution) finding(trigger *Passage) Finding {
	var says []string
	for _, who := range a.ranked() {
		var items []string
		for i := range a.clues {
			if c := &a.clues[i]; c.suspect == who {
				items = append(items, c.worded())
			}
		}
		text := fmt.Sprintf("%s %d", who, a.score(who))
		if len(items) > 0 {
			text += ": " + strings.Join(items, ", ")
		}
		says = append(says, text)
	}
	f := Finding{Rule: "rst-attribution", Says: "who sent the RST, by score: " + strings.Join(says, "; "), Evidence: slices.Clone(a.rst.Refs)}
	if trigger != nil {
		f.Evidence = append(slices.Clone(trigger.Refs), f.Evidence...)
	}
	switch list := a.ranked(); {
	case a.score(list[0]) <= 0:
		f.Suggests = "nothing tells who sent it"
	case a.score(list[0]) == a.score(list[1]):
		f.Suggests = fmt.Sprintf("%s or %s, nothing tells which", list[0], list[1])
	default:
		f.Suggests = "most like that of the " + list[0]
	}
	return f
}

// attribute weighs the RST of passage i as one capture shows it (WIRE: flags,
// numbers, window, TTL, IP ID, time); trigger is the segment that it answers,
// -1 where it answers none.
func (s *Subject) attribute(i, trigger int) attribution {
	rst := &s.Passages[i]
	a := attribution{rst: rst}
	var t *Passage
	if trigger >= 0 {
		t = &s.Passages[trigger]
	}
	s.weighShape(&a, t)
	s.weighPlace(&a, i)
	if t != nil {
		s.weighTime(&a, t)
		s.weighCopies(&a, t)
	}
	vain := s.vainProbes(rst.From, i)
	switch {
	case !s.endingOf(rst.From).GaveUp():
		a.add(byGivingUp, -2, nil, "no unanswered probes of the %s lie before it", sideName(rst.From))
	case len(vain) == 0:
		a.add(byGivingUp, decisive, rst.Refs, "it ends probes of the %s, to which it heard no answer by its pace", sideName(rst.From))
	default:
		a.add(byGivingUp, decisive, vain, "it ends the %s's own unanswered probes", sideName(rst.From))
	}
	return a
}

// looks weighs the RST of passage i as the capture alone would in which it was seen
// nearest to its alleged sender: TTLs, IP IDs and round trips are compared with that
// capture's own.
func (s *Subject) looks(i, trigger int) attribution {
	if at := s.Passages[i].First(); len(s.Seen) > 1 {
		one := s.partAt(at.Vantage)
		if j := slices.IndexFunc(one.Passages, func(p Passage) bool { return p.First().Ord == at.Ord }); j >= 0 {
			return one.attribute(j, one.trigger(j))
		}
	}
	return s.attribute(i, trigger)
}

// vainProbes lists the first of a side's unanswered probes before passage i.
func (s *Subject) vainProbes(side uint8, i int) []pairing.Ref {
	refs := s.unansweredIn(side, 0, i)
	return refs[:min(len(refs), 8)]
}

// weighShape looks at flags, numbers, window and options.
func (s *Subject) weighShape(a *attribution, t *Passage) {
	ev, refs := a.rst.Event, a.rst.Refs
	own := &s.flow.Sides[a.rst.From]
	switch {
	case t == nil:
		a.add(byProgram, 1, refs, "it answers no segment")
		a.add(bySocketless, -2, refs, "it answers no segment")
	case acksBelow(ev, t.Event) && socketless(ev, t.Event):
		a.add(bySocketless, 1, refs, "its ACK is the SEQ of the segment that it answers, one below what had come before, and no socket's")
	case socketless(ev, t.Event):
		a.add(bySocketless, 3, refs, "no ACK, SEQ taken from the segment that it answers, window 0, no options")
	case !ev.Flags.Has(tcp.ACK):
		a.add(bySocketless, 1, refs, "it has no ACK")
	default:
		a.add(bySocketless, -2, refs, "it has an ACK, which such a host sends only to what has none")
	}
	if !ev.Flags.Has(tcp.ACK) {
		return
	}
	switch {
	case own.Timestamps && ev.HasTS:
		a.add(byProgram, 1, refs, "window and timestamp are those of a socket")
		a.add(byGivingUp, 1, refs, "window and timestamp are those of a socket")
	case own.Timestamps:
		a.add(byDevice, 1, refs, "it lacks the timestamp that the %s's segments carry", sideName(a.rst.From))
		a.add(byProgram, -1, refs, "it lacks the timestamp that the %s's segments carry", sideName(a.rst.From))
	case ev.Win != 0 && (t == nil || !acksBelow(ev, t.Event)):
		a.add(byProgram, 1, refs, "its window is that of a socket")
		a.add(byGivingUp, 1, refs, "its window is that of a socket")
	}
}

// weighPlace looks at how far the sender is, and at its counter of packets.
func (s *Subject) weighPlace(a *attribution, i int) {
	ev, refs, who := a.rst.Event, a.rst.Refs, sideName(a.rst.From)
	peer, constant := s.distance(a.rst.From, i)
	switch from := hops(ev.TTL); {
	case !constant:
	case from < peer:
		a.add(byDevice, decisive, refs, "its TTL of %d tells of %s, the %s's own of %s", ev.TTL, plural(from, "hop"), who, plural(peer, "hop"))
	case from != peer:
		a.add(byDevice, 1, refs, "its TTL of %d does not fit the %s's %s", ev.TTL, who, plural(peer, "hop"))
	default:
		a.add(byDevice, -1, refs, "its TTL is that of the %s's other segments, or one that begins as far away", who)
	}
	switch sequel, last := nextPacket(s.sightingAt(a.rst.Refs[0].Vantage).Flow, ev); {
	case ev.IPID == 0:
		a.add(bySocketless, 1, refs, "IP ID 0")
	case sequel == breaksOff && ev.Flags.Has(tcp.ACK): // a host counts those without a socket apart
		a.add(byDevice, 1, refs, "its IP ID of %d does not go on from the %s's %d", ev.IPID, who, last)
	case sequel == goesOn:
		a.add(byProgram, 1, refs, "its IP ID goes on from the %s's last", who)
		a.add(byGivingUp, 1, refs, "its IP ID goes on from the %s's last", who)
	}
}

// weighTime holds how soon the RST came against the fastest answer of its
// alleged sender. A handshake is no sharp minimum: its SYN may have waited for
// ARP, or the path may have been set up for it.
func (s *Subject) weighTime(a *attribution, t *Passage) {
	least, answers := s.flow.Sides[1-a.rst.From].RTT, s.flow.Sides[1-a.rst.From].Answered
	until := max(t.At, t.Until)
	if run := t.Event.Run; run != nil && run.LastFrom == a.rst.From { // its last segment is no question
		if run.OtherUntil == 0 {
			return
		}
		until = clockwork(s.Clocks).to(s.Base, t.First().Vantage, run.OtherUntil)
	}
	wait := a.rst.At.Sub(until)
	if !least.Known || least.Min <= 2*time.Millisecond || wait < 0 {
		return
	}
	refs := append(slices.Clone(t.Refs), a.rst.Refs...)
	text := "it comes %s after the segment that it answers, the fastest answer of the %s took %s"
	switch {
	case wait < least.Min/3, answers >= 3 && wait < least.Min*8/10:
		a.add(byDevice, decisive, refs, text, facts.Compact(wait), sideName(a.rst.From), facts.Compact(least.Min))
	case wait < least.Min*8/10:
		a.add(byDevice, 1, refs, text, facts.Compact(wait), sideName(a.rst.From), facts.Compact(least.Min))
	}
}

// weighCopies looks for fields that were copied from the segment that the RST
// answers.
func (s *Subject) weighCopies(a *attribution, t *Passage) {
	ev, refs := a.rst.Event, append(slices.Clone(t.Refs), a.rst.Refs...)
	if ev.IPID != 0 && ev.IPID == t.Event.IPID {
		a.add(byDevice, 2, refs, "its IP ID is that of the segment that it answers")
	}
	if ev.Flags.Has(tcp.ACK) && s.flow.Sides[a.rst.From].Timestamps && !ev.HasTS && ev.Win == t.Event.Win && ev.Win != 0 {
		a.add(byDevice, 2, refs, "its window is that of the segment that it answers")
	}
}

// forgedByItsLooks weighs the RST of passage i against its alleged sender: a
// device's, where one clue that no end can give or several lesser ones say so,
// and no end is as likely.
func (s *Subject) forgedByItsLooks(i, trigger int) Answer {
	rst := &s.Passages[i]
	a := s.looks(i, trigger)
	if a.score(byDevice) < decisive || a.ranked()[0] != byDevice || a.score(byDevice) == a.score(a.ranked()[1]) {
		return Answer{}
	}
	who, next := sideName(rst.From), nextCapture(other(rst.From))
	v := &Verdict{ID: ForgedReset, Confidence: Possible, At: rst.At, FirstLost: rst.First(), Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The RST that ended the connection bears the %s's address, but it does not look like the %s's: something between may have sent it.", who, who),
		Unknown: []string{"whether the " + who + " sent it after all: needs a capture there"}}
	if a.decidesOn(byDevice) {
		v.Confidence = Likely
		v.Summary = fmt.Sprintf("The RST that ended the connection bears the %s's address, but it does not look like the %s's: something nearer sent it.", who, who)
	}
	if near := s.nearestSighting(rst.From).Vantage; s.TwoSided() && near != rst.First().Vantage {
		v.Between, next = [2]int{rst.First().Vantage, rst.First().Vantage}, ""
		v.Unknown = []string{fmt.Sprintf("whether the %s sent it after all: %s, nearer to it, does not hold it, and may lack other segments as well", who, s.Points[near].Name)}
	}
	s.whyReset(v, trigger)
	var t *Passage
	if trigger >= 0 {
		t = &s.Passages[trigger]
	}
	return Answer{Verdict: v, Findings: []Finding{a.finding(t)}, Hypotheses: []Hypothesis{
		{Verdict: ForgedReset, For: a.reasons(byDevice, +1), Against: a.reasons(byDevice, -1), Next: next},
		{Verdict: PeerLostState, For: append(a.reasons(bySocketless, +1), because("a host without the socket answers with a RST, too", rst.Refs...)...), Against: append(a.reasons(bySocketless, -1), a.reasons(byDevice, +1)...), Next: next},
		{Verdict: ClosedNormally, For: a.reasons(byProgram, +1), Against: a.reasons(byDevice, +1), Next: next},
	}}
}

// decidesOn reports whether a suspect is the likeliest by a clue that no other can give.
func (a *attribution) decidesOn(suspect string) bool {
	return a.ranked()[0] == suspect && slices.ContainsFunc(a.clues, func(c clue) bool { return c.suspect == suspect && c.points >= decisive })
}

// attributed tells of every other connection that a RST ended who may have sent
// it, as far as its looks tell.
func attributed(s *Subject, d *Diagnosis) []Finding {
	if slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Rule == "rst-attribution" || f.Rule == "rst-not-sent" }) {
		return nil
	}
	for i := range s.Passages {
		rst := &s.Passages[i]
		if s.TwoSided() {
			return nil // where it was seen says more
		}
		if rst.Kind != flows.RST || rst.From > flows.Server || rst.Event.Note&flows.NoteOutOfWindow != 0 || !s.established(i) {
			continue
		}
		if s.own(rst.From) {
			return nil // taken where it was sent
		}
		a, trigger := s.attribute(i, s.trigger(i)), s.trigger(i)
		var t *Passage
		if trigger >= 0 {
			t = &s.Passages[trigger]
		}
		return []Finding{a.finding(t)}
	}
	return nil
}
