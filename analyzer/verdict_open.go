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

// idleAtEnd holds where the connection was silent until the capture's end and
// nobody had asked.
func idleAtEnd(s *Subject) Answer {
	f := s.flow
	if name, ok := s.probedAlone(); ok {
		return Answer{Verdict: &Verdict{ID: Idle, Confidence: None, At: s.lastActivity(), Between: [2]int{s.Base, s.Base},
			Summary: fmt.Sprintf("Keepalive probes (%d seen) and their answers are in %s alone, and the other capture went on: a device between may exchange them with that end, or the other capture misses them. Whether the other end still holds the connection is not known.",
				f.Count(flows.KeepaliveProbe), name),
			Unknown: []string{"whether the connection crosses the whole path: nothing of it does since the probes began"}}}
	}
	tail := s.Ends[1].Sub(s.lastActivity())
	if (f.Count(flows.KeepaliveProbe) > 0 || s.onlyHalfSeen()) && tail < 2*longestPeriod(f) {
		return Answer{} // of one direction, too, what comes at a pace is awaited
	}
	longest := longestSurvived(s, len(s.Passages))
	if s.repeatsAgain() || tail < shortIdle || tail <= longest && f.Count(flows.KeepaliveProbe) == 0 && tail < longIdle {
		return Answer{}
	}
	v := &Verdict{ID: Idle, Confidence: None, At: s.lastActivity(), Silence: tail, Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("Silent for the last %s of the capture. Nothing was asked, so nothing is known: the connection may be dead already without either end knowing.", facts.Compact(tail)),
		Unknown: []string{"whether it is still alive: only a probe, a heartbeat or data would tell"}}
	if side, ok := s.owed(); ok {
		who := sideName(side)
		v.Summary = fmt.Sprintf("Silent for the last %s of the capture. What the %s sent last was neither acknowledged in it nor sent again, as a host that runs would have.", facts.Compact(tail), who)
		v.Unknown = []string{fmt.Sprintf("whether the %s's host stopped, or the capture misses what came next: capture on the %s itself, and for longer", who, who)}
	}
	return s.tellWaiting(Answer{Verdict: v, Findings: []Finding{noKeepalive(s)}})
}

// owed returns the side to which an acknowledgment is owed in every capture, of what it
// sent last; of both the client.
func (s *Subject) owed() (side uint8, ok bool) {
	for side := range uint8(2) {
		if !slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
			own := &x.Flow.Sides[side]
			return !own.NxtKnown || !own.SndNxt.After(own.SndUna) || x.Flow.Sides[other(side)].Segments == 0
		}) {
			return side, true
		}
	}
	return 0, false
}

// probedAlone returns the capture that holds keepalive probes, or answers to them, where
// another one that holds the connection has none and recorded when the first was sent.
// What no answer came to is for other rules.
func (s *Subject) probedAlone() (name string, ok bool) {
	first := s.firstOf(flows.KeepaliveProbe)
	if !s.TwoSided() || first < 0 || s.flow.Count(flows.KeepaliveProbe) == 0 || s.unanswered() > 0 {
		return "", false
	}
	return s.Points[s.Base].Name, slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		until := clockwork(s.Clocks).to(s.Base, x.Vantage, s.recordedUntil(x.Vantage))
		return x.Flow.Count(flows.KeepaliveProbe)+x.Flow.Count(flows.KeepaliveACK)+x.Flow.Count(flows.KeepaliveUnclear) == 0 && until > s.Passages[first].At.Add(promptly)
	})
}

func noKeepalive(s *Subject) Finding {
	f := Finding{Rule: "no-keepalive", Says: "no keepalive probe of either end was seen", Suggests: "without one, nobody notices when a device between forgets the connection"}
	if s.flow.Count(flows.KeepaliveProbe) == 0 {
		return f
	}
	for side := uint8(0); side < 2; side++ {
		for _, a := range s.absences(side) {
			if a.after.Frame == 0 {
				return s.ownSilenceFinding(&a)
			}
		}
	}
	f = Finding{Rule: "probes-stopped", Says: "keepalives that were seen before stay away until the capture ends", Suggests: "they are lost or answered before they get here, or their host slept, gave up or has no link"}
	for i := len(s.Passages) - 1; i >= 0; i-- {
		if p := &s.Passages[i]; p.Kind == flows.KeepaliveProbe {
			f.Says = fmt.Sprintf("keepalives of the %s that were seen before stay away until the capture ends", sideName(p.From))
			if f.Evidence = p.Refs; p.Last.Frame != 0 {
				f.Evidence = append(slices.Clone(p.Refs), p.Last)
			}
			break
		}
	}
	return f
}

func longestPeriod(f *flows.Flow) time.Duration {
	var d time.Duration
	for i := range f.Sides {
		d = max(d, f.Sides[i].Period.Max)
	}
	for _, g := range f.Gaps {
		d = max(d, g.Duration())
	}
	return d
}

// repeatsInVain reports whether the capture ends while a side repeats data that
// nobody has acknowledged.
func (s *Subject) repeatsInVain() bool {
	for side := uint8(0); side < 2; side++ {
		n := &s.nearest(side).Sides[side]
		if !n.NxtKnown || !n.SndUna.Before(n.SndNxt) {
			continue
		}
		for i := len(s.Passages) - 1; i >= 0; i-- {
			if p := &s.Passages[i]; p.From == side {
				if p.Kind == flows.Retransmission {
					return true
				}
				break
			}
		}
	}
	return false
}

// repeatsAgain reports whether it repeated the first of these octets more than once: after
// one repetition that it gets no answer to, a sender falls silent only when it had got
// one, which the capture misses.
func (s *Subject) repeatsAgain() bool {
	if !s.repeatsInVain() {
		return false
	}
	for side := uint8(0); side < 2; side++ {
		n, own := 0, &s.nearest(side).Sides[side]
		for i := range s.Passages {
			if p := &s.Passages[i]; p.From == side && p.Kind == flows.Retransmission && p.Event.Seq == own.SndUna {
				n++
			}
		}
		if n > 1 && own.SndUna.Before(own.SndNxt) {
			return true
		}
	}
	return false
}

// healthyAtEnd holds where the connection is open and its last question was
// answered.
func healthyAtEnd(s *Subject) Answer {
	i := s.lastSign()
	f := s.flow
	if s.endingOf(flows.Client).GaveUp() || s.endingOf(flows.Server).GaveUp() || slices.ContainsFunc(s.Seen, s.halfSeen) && !s.bothArrive() {
		return Answer{}
	}
	if i < 0 || s.repeatsInVain() || s.ended() {
		return Answer{}
	}
	v := &Verdict{ID: Healthy, Confidence: None, At: s.Passages[i].At, Between: [2]int{s.Base, s.Base}}
	if lastUnanswered(f, flows.Client) >= 2 || lastUnanswered(f, flows.Server) >= 2 {
		return Answer{} // the other side's own probes are life, and no answer
	}
	if slices.ContainsFunc(s.Seen, s.halfSeen) {
		v.Unknown = append(v.Unknown, "whether anything was lost since: captures of what comes in alone do not hold it, and end where it begins")
	}
	if n := s.unanswered(); n > 0 {
		// One open question at the very end is no sign of anything.
		if _, dead := findTail(s); dead {
			return Answer{}
		}
		v.Unknown = append(v.Unknown, "whether the last question was answered: the capture ends before")
	}
	healed := s.healedTrain()
	if healed != nil && healed.quiet && s.Ends[1].Sub(healed.answered) < healed.pace {
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s took that answer: the capture ends before it would have asked again", sideName(healed.side)))
	}
	switch probes := f.Count(flows.KeepaliveProbe); {
	case probes > 0 && f.Count(flows.KeepaliveACK) == 0 && s.unanswered() > 0:
		v.Summary = "Open when it was last heard; the capture ends before a keepalive probe is answered."
	case probes > 0 && s.TwoSided() && len(s.Seen) > 1 && !s.probesAtBothEnds():
		s.answeredApart(v, i)
	case probes > 0 && s.TwoSided() && len(s.Seen) > 1 && !s.probesCross():
		v.Summary = fmt.Sprintf("Open and well: keepalive probes (%d seen) are answered, and the captures of both ends hold some.", probes)
	case healed != nil && s.TwoSided() && len(s.Seen) > 1:
		v.Summary = fmt.Sprintf("Open and well: the last keepalive probe (of %d seen) crosses and is answered.", probes)
	case healed != nil:
		v.Summary = fmt.Sprintf("Open and well as far as this end sees: the last keepalive probe (of %d seen) is answered.", probes)
	case probes > 0 && s.TwoSided() && len(s.Seen) > 1:
		v.Summary = fmt.Sprintf("Open and well: keepalive probes (%d seen) cross and are answered.", probes)
	case probes > 0:
		v.Summary = fmt.Sprintf("Open and well as far as this end sees: keepalive probes (%d seen) are answered.", probes)
	default:
		v.Summary = "Open at the end of the capture; what was sent last was answered."
		if side, ok := s.owed(); ok {
			v.Summary = fmt.Sprintf("Open at the end of the capture; what the %s sent last is not acknowledged in it yet.", sideName(side))
		}
	}
	return s.tellWaiting(Answer{Verdict: v})
}

// halfSeen reports whether a capture holds one direction of the connection only: what is
// not answered in it may have been.
func (s *Subject) halfSeen(x pairing.Sighting) bool {
	return s.lacksSide(x.Vantage, flows.Client) || s.lacksSide(x.Vantage, flows.Server)
}

// onlyHalfSeen reports whether no capture holds both directions of the connection.
func (s *Subject) onlyHalfSeen() bool {
	return !slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return !s.halfSeen(x) })
}

// bothArrive reports whether captures of what comes in alone, one at each end, show that
// what either sent last arrived, the one as an answer to the other.
func (s *Subject) bothArrive() bool {
	var last [2]tcp.Instant
	for side := uint8(0); side < 2; side++ {
		x := s.nearestSighting(1 - side)
		if from := &x.Flow.Sides[side]; from.Segments > 0 && !from.FIN && !from.RST {
			last[side] = clockwork(s.Clocks).to(s.Base, x.Vantage, from.LastSent)
		}
	}
	return s.TwoSided() && s.wholeView() == nil && last[0] != 0 && last[1] != 0 && last[0].Sub(last[1]).Abs() < promptly
}

// wholeView returns the connection as the first capture that holds both directions of it
// has it, where another one holds a single one; nil where none does, or all.
func (s *Subject) wholeView() *Subject {
	whole := slices.IndexFunc(s.Seen, func(x pairing.Sighting) bool { return !s.halfSeen(x) })
	if whole < 0 || len(s.Seen) < 2 || !slices.ContainsFunc(s.Seen, s.halfSeen) {
		return nil
	}
	return s.seenAt(s.Seen[whole].Vantage)
}

// probesAtBothEnds reports whether the captures of both ends of the path hold keepalives
// in the name of one side.
func (s *Subject) probesAtBothEnds() bool {
	first, last := s.Seen[0].Flow, s.Seen[len(s.Seen)-1].Flow
	return first.Sides[0].Probes > 0 && last.Sides[0].Probes > 0 || first.Sides[1].Probes > 0 && last.Sides[1].Probes > 0
}

// probesAtEnds counts the keepalives in the captures of both ends of the path.
func (s *Subject) probesAtEnds() int {
	return s.Seen[0].Flow.Count(flows.KeepaliveProbe) + s.Seen[len(s.Seen)-1].Flow.Count(flows.KeepaliveProbe)
}

// probesCross reports whether any keepalive is in the captures of both ends of the path.
func (s *Subject) probesCross() bool {
	first, last := s.Seen[0].Vantage, s.Seen[len(s.Seen)-1].Vantage
	return slices.ContainsFunc(s.Passages, func(p Passage) bool {
		return p.Kind == flows.KeepaliveProbe && p.Known && p.How == pairing.Crossed && p.heldAt(first) && p.heldAt(last)
	})
}

// answeredApart tells of keepalives that are answered and of which each is in the capture
// of one end alone; last is the last sign of life.
func (s *Subject) answeredApart(v *Verdict, last int) {
	for _, x := range []*pairing.Sighting{&s.Seen[0], &s.Seen[len(s.Seen)-1]} {
		if probes := x.Flow.Count(flows.KeepaliveProbe); probes == s.probesAtEnds() { // the other capture had ended, see probedAlone
			v.Summary = fmt.Sprintf("Open and well as far as %s shows: keepalive probes (%d seen) are answered.", s.Points[x.Vantage].Name, probes)
			return
		}
	}
	how := "but none is in the captures of both ends"
	for side := uint8(0); side < 2; side++ {
		if _, _, ok := s.foreignProbes(side); ok {
			how = "and do not cross: a device between asks, and takes the answers"
		}
	}
	v.Summary = fmt.Sprintf("Open: keepalive probes (%d seen) are answered where they are seen, %s.", s.probesAtEnds(), how)
	if p := &s.Passages[last]; !p.Known || p.How != pairing.Crossed {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, "whether the connection still crosses the whole path: what was answered last is not seen to")
	}
}

// ended reports whether any capture holds a RST of an end that its peer would accept.
func (s *Subject) ended() bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Sides[0].RST || x.Flow.Sides[1].RST })
}

// healing is a row of probes of which the last one was answered, and those before
// it were not.
type healing struct {
	side     uint8
	pace     time.Duration // between the last two
	answered tcp.Instant
	quiet    bool // the end has sent nothing since
}

// healedTrain returns the train with which the probes of an end stop; nil where the
// last one is open, or was the only one to be asked.
func (s *Subject) healedTrain() *healing {
	f := s.flow
	for side := uint8(0); side < 2; side++ {
		var last *flows.Event // the probe that was answered
		for i := len(f.Events) - 1; i >= 0; i-- {
			ev := &f.Events[i]
			if ev.From != side || ev.Kind != flows.KeepaliveProbe {
				continue
			}
			if last == nil && ev.Run == nil && ev.AnsweredBy != 0 {
				last = ev
				continue
			}
			if last == nil || ev.Run != nil || ev.AnsweredBy != 0 {
				break
			}
			t := &healing{side: side, pace: last.At.Sub(ev.At), answered: last.At, quiet: f.Sides[side].LastSent == last.At}
			if j := slices.IndexFunc(f.Events, func(x flows.Event) bool { return x.Ord == last.AnsweredBy }); j >= 0 {
				t.answered = f.Events[j].At
			}
			return t
		}
	}
	return nil
}

// lastSign returns the last passage that was answered, crossed, or answers
// something: until then the connection provably lived.
func (s *Subject) lastSign() int {
	deaf := s.deafSince()
	for i := len(s.Passages) - 1; i >= 0; i-- {
		p := &s.Passages[i]
		if deaf(p.At) || p.Kind == flows.ICMPError || p.Kind == flows.RST || p.Kind == flows.Stale || p.From > flows.Server || p.Known && p.How == pairing.Lost {
			continue
		}
		if lost := s.lostOf(i); lost != nil && lost.Count >= int(p.Event.Run.Count[lost.From]) {
			continue
		}
		if passed(s, i) || p.Event.Answers != 0 || p.Event.Run != nil && !p.Event.Run.Unheard && p.Event.Run.Count[0] > 0 && p.Event.Run.Count[1] > 0 {
			return i
		}
	}
	return -1
}
