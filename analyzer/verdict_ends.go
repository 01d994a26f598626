package analyzer

import (
	"fmt"
	"math"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// answerDue is how long an answer to a SYN is waited for: what a sender waits
// before it sends another one (RFC 6298, section 2.1).
const answerDue = time.Second

// notEstablished holds where a SYN was sent and no connection came of it.
func notEstablished(s *Subject) Answer {
	syn, synack, reset := -1, -1, -1
	icmp := -1
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.Kind == flows.SYN && syn < 0:
			syn = i
		case p.Kind == flows.SYNACK && synack < 0:
			synack = i
		case p.Kind == flows.RST && reset < 0:
			reset = i
		case p.Kind == flows.ICMPError:
			if icmp < 0 {
				icmp = i
			}
		case p.Event.Len > 0, p.Kind == flows.KeepaliveProbe, p.Event.Run != nil:
			return Answer{}
		}
		if syn >= 0 && s.shakesHands(&s.Passages[syn], p) {
			return Answer{} // what it answers is not in the capture
		}
	}
	if syn < 0 || s.flow.Midway && len(s.Seen) == 1 || s.flow.Complete {
		return Answer{}
	}
	p := &s.Passages[syn]
	if slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Complete }) {
		return Answer{} // another capture shows that it was
	}
	asked := p // what nobody has answered, by those who would hold the answer
	if synack >= 0 {
		asked = &s.Passages[synack]
	}
	if reset < 0 && icmp < 0 && s.goesOn(asked) < answerDue {
		return Answer{} // the captures end before the handshake could
	}
	v := &Verdict{ID: NotEstablished, Confidence: Proven, At: p.At, FirstLost: p.First(), Between: p.Between}
	switch {
	case reset >= 0 && s.Passages[reset].From != p.From:
		v.Cause, v.CauseConfidence = "refused", Proven
		v.Summary = "The connection was refused: a RST answers the SYN. Nothing listens on that port, or a firewall rejects it with a RST."
	case icmp >= 0:
		v.Cause, v.CauseConfidence = "rejected", Proven
		e := s.Passages[icmp].Event
		v.Summary = fmt.Sprintf("The connection was rejected: %s answers the SYN with ICMP %d/%d.", e.Source, e.Len>>8, e.Len&0xff)
	case synack < 0:
		v.Cause, v.CauseConfidence = "unanswered", Proven
		v.Summary = fmt.Sprintf("No SYN-ACK ever came: %s went unanswered.", times(s.countOf(flows.SYN), "SYN"))
		s.whereSYNDied(v, p)
	default:
		q := &s.Passages[synack]
		v.Cause, v.CauseConfidence = "unanswered", Proven
		v.Summary = "The server answered, but the client never completed the handshake."
		if q.Known && q.How == pairing.Lost {
			v.Summary = fmt.Sprintf("The SYN arrived and was answered, but the SYN-ACK is lost between %s and %s.", s.Points[q.Between[0]].Name, s.Points[q.Between[1]].Name)
			v.Between = q.Between
		}
	}
	return Answer{Verdict: v}
}

// shakesHands reports whether a passage shows that the SYN's sender had got its
// answer: it acknowledges something, and is no RST that only refuses that.
func (s *Subject) shakesHands(syn, p *Passage) bool {
	if p.From != syn.From || !p.Event.Flags.Has(tcp.ACK) || p.Kind == flows.ICMPError {
		return false
	}
	return p.Kind != flows.RST || p.Event.Seq.Sub(syn.Event.Seq) > 1
}

// asksToTheEnd reports whether all that is known is a SYN, for an answer to which
// the captures do not go on for long enough.
func (s *Subject) asksToTheEnd() bool {
	syn := s.firstOf(flows.SYN)
	return syn >= 0 && s.flow.Sides[flows.Server].Segments == 0 && s.goesOn(&s.Passages[syn]) < answerDue
}

// goesOn returns for how long every capture that holds the connection went on
// after a passage.
func (s *Subject) goesOn(p *Passage) time.Duration {
	c, least := clockwork(s.Clocks), time.Duration(math.MaxInt64)
	for i := range s.Seen {
		v := s.Seen[i].Vantage
		least = min(least, c.to(s.Base, v, s.recordedUntil(v)).Sub(p.At))
	}
	return least
}

func (s *Subject) whereSYNDied(v *Verdict, p *Passage) {
	switch {
	case p.Known && p.How == pairing.Lost:
		v.Summary += fmt.Sprintf(" It is lost between %s and %s.", s.Points[p.Between[0]].Name, s.Points[p.Between[1]].Name)
		if p.Assumed {
			v.Confidence = Likely
		}
	case p.Known && p.How == pairing.Crossed:
		v.Summary += fmt.Sprintf(" It arrived at %s, and no answer left from there.", s.Points[p.Refs[len(p.Refs)-1].Vantage].Name)
	default:
		v.Unknown = append(v.Unknown, "where the SYN died: needs a capture at the server as well")
	}
}

func (s *Subject) countOf(k flows.Kind) int {
	n := 0
	for i := range s.Passages {
		if s.Passages[i].Kind == k {
			n++
		}
	}
	return n
}

func times(n int, what string) string {
	if n == 1 {
		return "the " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

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

// closedByEnds holds where a FIN of both ends, or an application's RST, ended
// the connection.
func closedByEnds(s *Subject) Answer {
	f := s.flow
	v := &Verdict{ID: ClosedNormally, Confidence: None, At: f.Last, Between: [2]int{s.Base, s.Base}}
	for side := uint8(0); side < 2; side++ {
		if (f.Sides[side].Ending == flows.EndRST || s.endingOf(side) == flows.EndRST) && !s.askedInVain(side) && !s.gaveUp(side) {
			return s.closedByRST(v, side)
		}
	}
	if f.Sides[0].FIN && f.Sides[1].FIN {
		v.Summary = "Both ends closed the connection with a FIN."
		if first := s.firstOf(flows.FIN); first >= 0 {
			v.At = s.Passages[first].At
			v.Summary = fmt.Sprintf("Both ends closed the connection; the %s sent its FIN first.", sideName(s.Passages[first].From))
		}
		return Answer{Verdict: v}
	}
	for side := uint8(0); side < 2; side++ {
		if f.Sides[side].FIN && f.Sides[side].SndUna == f.Sides[side].SndNxt && f.Sides[side].NxtKnown && s.unanswered() == 0 {
			v.Summary = fmt.Sprintf("The %s closed its direction with a FIN, which was acknowledged; the %s had not closed its own by the end of the capture.", sideName(side), sideName(other(side)))
			return Answer{Verdict: v}
		}
	}
	return Answer{}
}

// closedByRST tells how a side's own RST ended the connection, and whether its peer
// was told.
func (s *Subject) closedByRST(v *Verdict, side uint8) Answer {
	who, peer := sideName(side), sideName(1-side)
	i := s.rstOf(side)
	v.Summary = fmt.Sprintf("The %s's application ended the connection with a RST.", who)
	if s.flow.Sides[side].FIN {
		v.Summary = fmt.Sprintf("The %s had closed the connection with a FIN, and answered what came later with a RST.", who)
	} else if silence := s.silenceBeforeKind(flows.RST); silence >= time.Second {
		v.Summary = fmt.Sprintf("The %s ended the connection with a RST, after %s of silence.", who, facts.Compact(silence))
	}
	if j := s.firstOf(flows.RST); !s.TwoSided() && !s.own(side) && j >= 0 && s.Passages[j].From == side {
		if a := s.attribute(j, s.trigger(j)); a.score(byProgram) <= a.score(byDevice) {
			v.Confidence = Possible
			v.Unknown = append(v.Unknown, "whether the "+who+" itself sent that RST: it looks as much like a device's; needs a capture there")
		}
	}
	if i < 0 {
		return Answer{Verdict: v}
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

// fellSilent reports whether a side's own keepalives stay away, until its capture ends,
// from about an instant on.
func (s *Subject) fellSilent(side uint8, at tcp.Instant) bool {
	c := clockwork(s.Clocks)
	return slices.ContainsFunc(s.absences(side), func(a absence) bool {
		return a.after.Frame == 0 && c.to(s.Base, a.seen.Vantage, a.from) <= at.Add(time.Second)
	})
}

// rstOf returns the last RST of a side that its peer would accept; -1 where there is none.
func (s *Subject) rstOf(side uint8) int {
	for i := len(s.Passages) - 1; i >= 0; i-- {
		if p := &s.Passages[i]; p.Kind == flows.RST && p.From == side && p.Event.Note&flows.NoteOutOfWindow == 0 {
			return i
		}
	}
	return -1
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

// gaveUpEarly fills in the verdict on an end that gave up after too few questions
// for anything to be said of the path.
func (s *Subject) gaveUpEarly(v *Verdict) bool {
	for side := uint8(0); side < 2; side++ {
		first, end := s.lastTry(side)
		if first < 0 || s.givenUp(first) == nil {
			continue
		}
		n := 0
		for i := first; i < end; i++ {
			if p := &s.Passages[i]; p.From == side && p.Kind == flows.KeepaliveProbe {
				n++
			}
		}
		v.ID, v.Confidence, v.At, v.FirstLost = Undecided, Possible, s.Passages[first].At, s.Passages[first].First()
		v.Summary = fmt.Sprintf("The %s gave up with a RST, %s after %s that got no answer. So little proves nothing of the path (RFC 9293, section 3.8.4): what was asked, or answered, may have been lost by chance.",
			sideName(side), facts.Compact(s.Passages[end].At.Sub(s.Passages[first].At)), plural(n, "probe"))
		v.Unknown = []string{"whether anything else between the hosts crossed then: needs a capture at the " + sideName(1-side) + " as well, and a ping beside it"}
		return true
	}
	return false
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

func (s *Subject) firstOf(k flows.Kind) int {
	for i := range s.Passages {
		if s.Passages[i].Kind == k {
			return i
		}
	}
	return -1
}

func (s *Subject) silenceBeforeKind(k flows.Kind) time.Duration {
	if i := s.firstOf(k); i >= 0 {
		d, _ := s.silence(i)
		return d
	}
	return 0
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
		if passed(s, i) || p.Event.Answers != 0 || p.Event.Run != nil && p.Event.Run.Count[0] > 0 && p.Event.Run.Count[1] > 0 {
			return i
		}
	}
	return -1
}

// askedInVain holds where one capture has an end that asks in vain, or from in
// between two, or one that waits for what its peer sent in vain.
func askedInVain(s *Subject) Answer {
	if a := deathSeenFromOneEnd(s); a.Verdict != nil {
		return a
	}
	if a := bothAskInVain(s); a.Verdict != nil {
		return a
	}
	if a := heardTooLate(s); a.Verdict != nil {
		return a
	}
	return holeStaysOpen(s)
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
		Unknown: []string{"whether the " + who + "'s questions reached the " + peer + ": needs a capture there over the same time"}}
	v.Silence, _ = s.silence(first)
	v.Summary = fmt.Sprintf("The %s gave up after questions that got no answer; %s later the %s is heard again and still holds the connection. An outage passed, the %s's host was away for a while, or a device between let nothing through until the %s spoke.",
		who, facts.Compact(late.At.Sub(over.At)), peer, peer, peer)
	vain := append(s.vainProbes(side, end), over.Refs...)
	next := nextCapture(side)
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
	return Answer{Verdict: v, Findings: []Finding{{Rule: "probes-unanswered", Says: fmt.Sprintf("the %s's last %s got no answer before it gave up", who, plural(len(vain)-len(over.Refs), "probe")),
		Suggests: "questions or answers were lost, or nobody was there for a while", Evidence: vain}}, Hypotheses: []Hypothesis{cut, drop, gone}}
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
	if f.Count(flows.KeepaliveProbe) > 0 && tail < 2*longestPeriod(f) {
		return Answer{}
	}
	longest := longestSurvived(s, len(s.Passages))
	if s.repeatsAgain() || tail < shortIdle || tail <= longest && f.Count(flows.KeepaliveProbe) == 0 && tail < longIdle {
		return Answer{}
	}
	v := &Verdict{ID: Idle, Confidence: None, At: s.lastActivity(), Silence: tail, Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("Silent for the last %s of the capture. Nothing was asked, so nothing is known: the connection may be dead already without either end knowing.", facts.Compact(tail)),
		Unknown: []string{"whether it is still alive: only a probe, a heartbeat or data would tell"}}
	return Answer{Verdict: v, Findings: []Finding{noKeepalive(s)}}
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
	for side := uint8(0); s.repeatsInVain() && side < 2; side++ {
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
	if i < 0 || s.repeatsInVain() || s.flow.Sides[0].RST || s.flow.Sides[1].RST {
		return Answer{}
	}
	v := &Verdict{ID: Healthy, Confidence: None, At: s.Passages[i].At, Between: [2]int{s.Base, s.Base}}
	if lastUnanswered(f, flows.Client) >= 2 || lastUnanswered(f, flows.Server) >= 2 {
		return Answer{} // the other side's own probes are life, and no answer
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
	}
	return Answer{Verdict: v}
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
