package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// closedByEnds holds where a FIN of both ends, or an application's RST, ended
// the connection.
func closedByEnds(s *Subject) Answer {
	f := s.flow
	v := &Verdict{ID: ClosedNormally, Confidence: None, At: f.Last, Between: [2]int{s.Base, s.Base}}
	for side := uint8(0); side < 2; side++ {
		if s.sentRST(side) && !s.askedInVain(side) && !s.gaveUp(side) {
			return s.closedByRST(v, side)
		}
	}
	if s.sentFIN(flows.Client) && s.sentFIN(flows.Server) {
		v.Summary = "Both ends closed the connection with a FIN."
		if first := s.firstOf(flows.FIN); first >= 0 {
			v.At = s.Passages[first].At
			v.Summary = fmt.Sprintf("Both ends closed the connection; the %s sent its FIN first.", sideName(s.Passages[first].From))
		}
		return Answer{Verdict: v}
	}
	for side := uint8(0); side < 2; side++ {
		if slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return closed(&x.Flow.Sides[side]) }) && s.unanswered() == 0 {
			v.Summary = fmt.Sprintf("The %s closed its direction with a FIN, which was acknowledged; the %s had not closed its own by the end of the capture.", sideName(side), sideName(other(side)))
			return Answer{Verdict: v}
		}
	}
	return s.closedUnheard(v)
}

// closed reports whether an end has sent a FIN that its peer acknowledged.
func closed(end *flows.Side) bool { return end.FIN && end.NxtKnown && end.SndUna == end.SndNxt }

// longestRTO is how long a host waits at most before it sends again what nobody acknowledges: two
// minutes on Linux (TCP_RTO_MAX), 60 s at least (RFC 6298, section 2.5).
const longestRTO = 2 * time.Minute

// closedUnheard tells of a FIN of the one end whose segments were captured: what acknowledges
// it is not in the capture, but a host sends a FIN again that nobody acknowledges.
func (s *Subject) closedUnheard(v *Verdict) Answer {
	i := s.firstOf(flows.FIN)
	if i < 0 || s.unanswered() > 0 {
		return Answer{}
	}
	fin, due := &s.Passages[i], shortIdle
	own := &s.flow.Sides[fin.From]
	if own.Segments < 3 && !own.ISNKnown { // a scanner's is no end of a connection
		return Answer{}
	}
	if own.Retrans > 0 {
		due = longestRTO // to which its timer may have backed off
	}
	c := clockwork(s.Clocks)
	if s.goesOn(fin) < due || slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		at := c.to(x.Vantage, s.Base, fin.At)
		return !s.lacksSide(x.Vantage, other(fin.From)) || holesAt(s.Points[x.Vantage].Holes, at, at.Add(due))
	}) {
		return Answer{}
	}
	if slices.ContainsFunc(s.Passages[i+1:], func(p Passage) bool {
		return p.From == fin.From && (p.Kind == flows.FIN || p.Kind == flows.Retransmission)
	}) {
		return Answer{}
	}
	who, peer := sideName(fin.From), sideName(other(fin.From))
	v.At, v.Confidence = fin.At, Likely
	v.Summary = fmt.Sprintf("The %s closed its direction with a FIN and did not send it again, so it was acknowledged. What the %s sent was not captured.", who, peer)
	v.Unknown = []string{"everything about the other direction: capture on the host itself, or mirror both directions"}
	return Answer{Verdict: v}
}

// sentRST reports whether any capture holds the RST with which a side ended the connection.
func (s *Subject) sentRST(side uint8) bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Sides[side].Ending == flows.EndRST })
}

// sentFIN reports whether any capture holds a FIN of a side: another one may have ended before.
func (s *Subject) sentFIN(side uint8) bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Sides[side].FIN })
}

// doubtOfRST says why the RST of passage i may not be its sender's own: the capture
// nearest to that lacks it, or was taken routers away and it looks as much like a
// device's. It is "" where nothing speaks for that.
func (s *Subject) doubtOfRST(i int) string {
	p := &s.Passages[i]
	near := s.nearestSighting(p.From)
	if s.TwoSided() && !s.leftItsSide(p) {
		return fmt.Sprintf("%s, nearer to it, does not hold it, and may have missed it or ended before", s.Points[near.Vantage].Name)
	}
	if beside(near.Flow, p.From) {
		return ""
	}
	if a := s.looks(i, s.trigger(i)); a.score(byProgram) <= a.score(byDevice) {
		return "it looks as much like a device's; needs a capture there"
	}
	return ""
}

// closedByRST tells how a side's own RST ended the connection, and whether its peer
// was told.
func (s *Subject) closedByRST(v *Verdict, side uint8) Answer {
	who, peer := sideName(side), sideName(1-side)
	i, first := s.rstOf(side), s.firstRSTOf(side)
	v.Summary = s.byWhat(side, first)
	if i < 0 {
		return Answer{Verdict: v}
	}
	if !s.begunBefore(i) {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, "who sent it, and why: needs a capture that holds what came before")
		return Answer{Verdict: v}
	}
	if s.answersData(first) && !s.nearest(side).Sides[side].FIN {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, "whether a program there ended it, or its host had lost the connection: some stacks send this RST for want of a socket")
	}
	if doubt := s.doubtOfRST(first); doubt != "" {
		v.Confidence = Possible
		if !s.nearest(side).Sides[side].FIN {
			v.Summary = fmt.Sprintf("A RST in the %s's name ended the connection%s.", who, s.afterSilence())
		}
		v.Unknown = append(v.Unknown, "whether the "+who+" itself sent that RST: "+doubt)
	}
	rst := &s.Passages[i]
	if s.endingOf(1-side) != flows.EndOpen || !rst.Known || rst.How == pairing.Crossed {
		return Answer{Verdict: v}
	}
	switch {
	case rst.How != pairing.Lost || rst.Assumed:
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s was told: %s", peer, rst.Why))
		return Answer{Verdict: v}
	case s.fellSilent(1-side, rst.At):
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s was told: %s does not hold the RST, but its keepalives stay away from then on", peer, s.Points[rst.Between[1]].Name))
		return Answer{Verdict: v}
	}
	from, to := s.Points[rst.Between[0]].Name, s.Points[rst.Between[1]].Name
	v.At = rst.At
	v.Summary += fmt.Sprintf(" It left %s and is not in %s, which was recording: unless that capture missed this one frame it is lost between them, and the %s still holds a connection that is dead.", from, to, peer)
	lost := Finding{Rule: "rst-lost", Says: fmt.Sprintf("the %s's RST left %s and is not in %s, which was recording", who, from, to),
		Suggests: fmt.Sprintf("a RST is sent once: where it is lost, the %s learns that the connection is dead when it next sends something", peer), Evidence: rst.Refs}
	if silence, _ := s.silence(i); outlasts(silence, longestSurvived(s, i)) {
		lost.Suggests += fmt.Sprintf("; after %s of silence, longer than any survived, a device between may have forgotten the connection by then, as well as any single segment may be lost", facts.Compact(silence))
	}
	return Answer{Verdict: v, Findings: []Finding{lost}}
}

// byWhat says how a side ended the connection with the RST of passage i; -1 where the
// story does not hold it. Nothing but an application resets a connection that its host
// knows and that nobody asked in vain on.
func (s *Subject) byWhat(side uint8, i int) string {
	who, after := sideName(side), s.afterSilence()
	switch {
	case s.nearest(side).Sides[side].FIN:
		return fmt.Sprintf("The %s had closed the connection with a FIN, and answered what came later with a RST.", who)
	case i >= 0 && !s.begunBefore(i):
		return fmt.Sprintf("A RST in the %s's name ended the connection; nothing from before it was captured.", who)
	case after != "":
		return fmt.Sprintf("The %s ended the connection with a RST%s.", who, after)
	case i >= 0 && s.answersData(i):
		return fmt.Sprintf("The %s answered data that came after a silence with a RST.", who)
	case i >= 0 && !s.Passages[i].Event.Flags.Has(tcp.ACK):
		return fmt.Sprintf("The %s ended the connection with a RST without ACK, as a host sends that has no socket for it.", who)
	}
	return fmt.Sprintf("The %s's application ended the connection with a RST.", who)
}

// answersData reports whether the RST of passage i answers data out of a silence, and has
// nothing that only a socket knows: lwIP sends the same for want of one.
func (s *Subject) answersData(i int) bool {
	rst, j := s.Passages[i].Event, s.trigger(i)
	if j < 0 || s.Passages[j].Kind != flows.Data || s.Passages[j].Event.Run != nil {
		return false
	}
	data := s.Passages[j].Event
	silence, _ := s.silence(j)
	return silence >= time.Second && rst.Flags.Has(tcp.ACK) && !rst.HasTS && rst.Seq == data.Ack && rst.Ack == data.Seq.Add(int(data.Len))
}

// afterSilence says how long the connection was silent before its RST, where it was.
func (s *Subject) afterSilence() string {
	i := s.firstOf(flows.RST)
	if i < 0 {
		return ""
	}
	if silence, _ := s.silence(i); silence >= time.Second {
		return fmt.Sprintf(", after %s of silence", facts.Compact(silence))
	}
	return ""
}

// begunBefore reports whether anything of the connection but RSTs lies before passage i.
func (s *Subject) begunBefore(i int) bool {
	return slices.ContainsFunc(s.Passages[:i], func(p Passage) bool { return p.Kind != flows.RST && p.Kind != flows.ICMPError })
}

// fellSilent reports whether a side's own keepalives stay away, until its capture ends,
// from about an instant on.
func (s *Subject) fellSilent(side uint8, at tcp.Instant) bool {
	return slices.ContainsFunc(s.absences(side), func(a absence) bool {
		return a.after.Frame == 0 && s.absentFrom(&a) <= at.Add(time.Second)
	})
}

// wasSilent reports whether a side's own keepalives stay away at an instant.
func (s *Subject) wasSilent(side uint8, at tcp.Instant) bool {
	return slices.ContainsFunc(s.absences(side), func(a absence) bool {
		until := clockwork(s.Clocks).to(s.Base, a.seen.Vantage, a.to)
		return s.absentFrom(&a) < at && (a.after.Frame == 0 || until >= at)
	})
}

// absentFrom returns since when keepalives stay away, on Base's clock.
func (s *Subject) absentFrom(a *absence) tcp.Instant {
	return clockwork(s.Clocks).to(s.Base, a.seen.Vantage, a.from)
}

// rstOf returns the last RST of a side that its peer would accept; -1 where there is none.
func (s *Subject) rstOf(side uint8) int {
	for i := len(s.Passages) - 1; i >= 0; i-- {
		if s.Passages[i].resets(side) {
			return i
		}
	}
	return -1
}

// firstRSTOf is rstOf for the first one: those behind it are its echoes.
func (s *Subject) firstRSTOf(side uint8) int {
	return slices.IndexFunc(s.Passages, func(p Passage) bool { return p.resets(side) })
}

// resets reports whether a passage is a RST of a side that its peer would accept.
func (p *Passage) resets(side uint8) bool {
	return p.Kind == flows.RST && p.From == side && p.Event.Note&flows.NoteOutOfWindow == 0
}

func (s *Subject) firstOf(k flows.Kind) int {
	for i := range s.Passages {
		if s.Passages[i].Kind == k {
			return i
		}
	}
	return -1
}
