package analyzer

import (
	"fmt"
	"math"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// answerDue is how long an answer to a SYN is waited for: what a sender waits
// before it sends another one (RFC 6298, section 2.1). Older systems wait for
// oldAnswerDue (section 2 of RFC 2988).
const (
	answerDue    = time.Second
	oldAnswerDue = 3 * time.Second
)

// A handshake is what there is of a connection of which nothing was seen but segments
// that begin or end one: the first of each kind, -1 where there is none. Of RSTs it is the
// first behind the last SYN-ACK: those before refuse what was tried before.
type handshake struct {
	syn, synack, reset, icmp int
	last                     int // the last SYN-ACK
	fin                      [2]bool
}

// handshakeAlone returns it; ok is false where there is more, or no SYN.
func (s *Subject) handshakeAlone() (h handshake, ok bool) {
	h = handshake{syn: -1, synack: -1, reset: -1, icmp: -1, last: -1}
	first := func(at *int, i int) {
		if *at < 0 {
			*at = i
		}
	}
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.Kind == flows.SYN:
			first(&h.syn, i)
		case p.Kind == flows.SYNACK:
			first(&h.synack, i)
			h.last, h.reset = i, -1
		case p.Kind == flows.RST:
			first(&h.reset, i)
		case p.Kind == flows.ICMPError:
			first(&h.icmp, i)
		case p.Kind == flows.FIN && p.From <= flows.Server:
			h.fin[p.From] = true
		case p.Event.Len > 0, p.Kind == flows.KeepaliveProbe, p.Event.Run != nil:
			return h, false
		case h.syn >= 0 && p.From == s.Passages[h.syn].From && p.Event.Flags.Has(tcp.ACK):
			return h, false // what it answers is not in the capture
		}
	}
	return h, h.syn >= 0 && (!s.flow.Midway || len(s.Seen) > 1)
}

// notEstablished holds where a SYN was sent and no connection came of it.
func notEstablished(s *Subject) Answer {
	h, ok := s.handshakeAlone()
	completed := func(x pairing.Sighting) bool { return x.Flow.Complete }
	if !ok || slices.ContainsFunc(s.Seen, completed) || s.wasMore(&h) != "" {
		return Answer{}
	}
	p := &s.Passages[h.syn]
	asked := p // what nobody has answered, by those who would hold the answer
	if h.synack >= 0 {
		asked = &s.Passages[h.synack]
	}
	if h.reset < 0 && h.icmp < 0 && s.goesOn(asked) < answerDue {
		return Answer{} // the captures end before the handshake could
	}
	v := &Verdict{ID: NotEstablished, Confidence: Proven, At: p.At, FirstLost: p.First(), Between: p.Between}
	switch {
	case h.synack < 0 && h.reset >= 0 && s.Passages[h.reset].From != p.From:
		v.Cause, v.CauseConfidence = "refused", Proven
		v.Summary = "The connection was refused: a RST answers the SYN. Nothing listens on that port, or a firewall rejects it with a RST."
	case h.icmp >= 0:
		v.Cause, v.CauseConfidence = "rejected", Proven
		e := s.Passages[h.icmp].Event
		v.Summary = fmt.Sprintf("The connection was rejected: %s answers the SYN with ICMP %d/%d.", e.Source, e.Len>>8, e.Len&0xff)
	case h.synack < 0 && len(s.challenges(p.From)) > 0:
		return s.heldByAnother(v, p.From)
	case h.synack < 0 && !s.holdsAnswers(&h):
		return s.askedUnheard()
	case h.synack < 0:
		v.Cause, v.CauseConfidence = "unanswered", Proven
		v.Summary = fmt.Sprintf("No SYN-ACK ever came: %s went unanswered.", times(s.countOf(flows.SYN), "SYN"))
		s.whereSYNDied(v, p)
	default:
		s.notCompleted(v, &h)
	}
	return Answer{Verdict: v}
}

// neverTaken holds where the server sent nothing but SYN-ACKs until it answered with a RST,
// as a host that has no socket: it had not taken what completes the handshake.
func (s *Subject) neverTaken() Answer {
	synack, rst := s.firstOf(flows.SYNACK), s.firstRSTOf(flows.Server)
	if synack < 0 || rst < 0 || s.Passages[rst].Event.Flags.Has(tcp.ACK) || !s.neverTook(flows.Server, rst) {
		return Answer{}
	}
	acked, again := -1, -1 // the client's first segment behind the SYN-ACK, and a SYN-ACK long behind that
	for i := synack + 1; i < rst; i++ {
		switch p := &s.Passages[i]; {
		case acked < 0 && p.From == flows.Client && p.Event.Flags.Has(tcp.ACK) && !p.Event.Flags.Has(tcp.RST):
			acked = i
		case acked >= 0 && p.Kind == flows.SYNACK && p.At.Sub(s.Passages[acked].At) >= answerDue/2:
			again = i
		}
	}
	if acked < 0 {
		return Answer{}
	}
	v := &Verdict{ID: NotEstablished, Confidence: Possible, Cause: "unknown", At: s.Passages[rst].At, FirstLost: s.Passages[acked].First(), Between: [2]int{s.Base, s.Base},
		Summary: "Nothing shows that the server ever took the connection: it sent nothing but SYN-ACKs, and what came in the end in its name is a RST, as a host sends that has no socket for it.",
		Unknown: []string{"why: its queue of connections to accept was full (nstat: TcpExtListenOverflows), it waits for data before it takes one, or what completes the handshake was lost; or it had taken it and lost it"}}
	found := Finding{Rule: "never-taken", Says: "the server acknowledged nothing of what the client sent behind the SYN-ACK", Suggests: "it holds no connection: the handshake was never completed there",
		Evidence: []pairing.Ref{s.Passages[synack].First(), s.Passages[acked].First(), s.Passages[rst].First()}}
	if !s.own(flows.Server) {
		v.Unknown = append(v.Unknown, "whether the RST is the server's own: needs a capture there")
	}
	if again >= 0 {
		v.Confidence = Likely
		v.Summary = "The server never took the connection: it sent its SYN-ACK again behind what completes the handshake, acknowledged nothing, and answered in the end with a RST, as a host sends that has no socket for it."
		found.Says += ", and sent the SYN-ACK again"
		found.Evidence = append(found.Evidence, s.Passages[again].First())
	}
	return Answer{Verdict: v, Findings: []Finding{found}}
}

// challenges lists acknowledgments that the peer of a SYN's sender answers it with, of
// another connection on these ports, by the capture that holds most of them.
func (s *Subject) challenges(asker uint8) (most []pairing.Ref) {
	for i := range s.Seen {
		var refs []pairing.Ref
		for j := range s.Seen[i].Flow.Events {
			if ev := &s.Seen[i].Flow.Events[j]; ev.Kind == flows.Stale && ev.From == other(asker) && ev.Flags.Has(tcp.ACK) {
				refs = append(refs, s.ref(&s.Seen[i], ev.Ord, ev.Kind, ev.At))
			}
		}
		if len(refs) > len(most) {
			most = refs
		}
	}
	return most
}

// heldByAnother is the verdict where a SYN is answered so, and nothing came of it.
func (s *Subject) heldByAnother(v *Verdict, asker uint8) Answer {
	who, all := sideName(other(asker)), s.challenges(asker)
	refs := all[:min(len(all), 8)]
	v.Cause = "unknown"
	v.Summary = fmt.Sprintf("No SYN-ACK ever came: the %s answers with an acknowledgment of another connection on these ports, which it still holds or has just closed.", who)
	v.Unknown = []string{fmt.Sprintf("why the %s keeps it: a RST of the %s should end it, unless it does not arrive", who, sideName(asker))}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "syn-challenged", Says: fmt.Sprintf("the %s answers the SYN with %s that acknowledge nothing of it", who, plural(len(all), "segment")),
		Suggests: fmt.Sprintf("the %s holds an older connection on these ports (RFC 9293, section 3.10.7.4)", who), Evidence: refs}},
		Hypotheses: []Hypothesis{{Verdict: HalfOpen, For: because("such an acknowledgment tells of a connection that its sender holds", refs...)}}}
}

// notCompleted says of a verdict what became of a SYN that was answered.
func (s *Subject) notCompleted(v *Verdict, h *handshake) {
	v.Cause, v.CauseConfidence = "unanswered", Proven
	switch q := &s.Passages[h.synack]; {
	case q.Known && q.How == pairing.Lost:
		v.Summary = fmt.Sprintf("The SYN arrived and was answered, but the SYN-ACK is lost between %s and %s.", s.Points[q.Between[0]].Name, s.Points[q.Between[1]].Name)
		v.Between = q.Between
		return
	case h.reset >= 0 && s.Passages[h.reset].From == q.From:
		v.Cause, v.CauseConfidence = "refused", Likely
		v.Summary = "The server answered, and sent a RST before the client had completed the handshake."
	case h.reset >= 0 && s.Passages[h.reset].From == s.Passages[h.syn].From:
		v.Cause, v.CauseConfidence = "unknown", ""
		v.Summary = "The server answered, and the client turned the connection down with a RST, as a check does that asks only whether the port is open, or a client that no longer waits."
	default:
		v.Summary = "The server answered, but the client never completed the handshake."
	}
	if !s.turnsDown(h) && !s.asksOn(h) && !s.holdsOrdinary() {
		v.Confidence = Likely
		v.Unknown = append(v.Unknown, "whether the client completed it after the last SYN-ACK: of these hosts the captures hold SYN, FIN and RST alone")
	}
}

// unseenMiddle holds where a connection's beginning and end are all that was captured of
// it, and show that there was more.
func unseenMiddle(s *Subject) Answer {
	h, ok := s.handshakeAlone()
	if !ok || h.fin[flows.Client] && h.fin[flows.Server] {
		return Answer{}
	}
	why := s.wasMore(&h)
	if why == "" {
		return Answer{}
	}
	if h.synack >= 0 && h.reset < 0 && !h.fin[flows.Client] && !h.fin[flows.Server] && s.goesOn(&s.Passages[h.last]) < answerDue {
		return Answer{Verdict: &Verdict{ID: CaptureGap, Confidence: None, At: s.lastActivity(), Between: [2]int{s.Base, s.Base},
			Summary: "The captures end before the handshake could be completed.",
			Unknown: []string{"what came next: let the captures run longer, without a filter on flags"}}}
	}
	return Answer{Verdict: &Verdict{ID: CaptureGap, Confidence: None, At: s.lastActivity(), Between: [2]int{s.Base, s.Base},
		Summary: "Of this connection nothing but SYN, FIN and RST was captured: " + why,
		Unknown: []string{"what it carried, and how it fared: capture its other segments, too, without a filter on flags"}}}
}

// wasMore says what shows that more was sent than such a handshake holds, or that it may
// have been; "" where nothing does.
func (s *Subject) wasMore(h *handshake) string {
	if h.fin[flows.Client] || h.fin[flows.Server] {
		return "a FIN closes what was established."
	}
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Kind == flows.RST && p.From <= flows.Server && s.liesBeyond(p) {
			return fmt.Sprintf("the numbers of its RST (%s) tell that octets were sent before it.", frameWord(s, p.First()))
		}
	}
	switch {
	case h.synack < 0:
		return s.answerUnseen(h)
	case s.Passages[h.last].Known && s.Passages[h.last].How == pairing.Lost || s.turnsDown(h):
		return ""
	case s.Passages[h.last].At.Sub(s.Passages[h.synack].At) >= oldAnswerDue:
		return "" // nobody had acknowledged it until then, and servers give up
	case s.repeatOverdue(h):
		return "a SYN-ACK that nobody acknowledges is sent again, unless the server keeps no state for it, and this one was not."
	case !s.holdsOrdinary():
		return "the captures hold nothing else of these hosts, so they would not show whether the handshake was completed."
	}
	return ""
}

// answerUnseen is wasMore where no SYN-ACK was seen.
func (s *Subject) answerUnseen(h *handshake) string {
	if h.reset >= 0 {
		rst := &s.Passages[h.reset]
		if asked := s.lastBeforeOf(flows.SYN, h.reset); asked >= 0 && rst.From != s.Passages[asked].From && rst.At.Sub(s.Passages[asked].At) > oldAnswerDue {
			return fmt.Sprintf("its RST (%s) comes too late to answer the SYN.", frameWord(s, rst.First()))
		}
	}
	return ""
}

// lastBeforeOf returns the last passage of a kind before passage i; -1 where there is none.
func (s *Subject) lastBeforeOf(k flows.Kind, i int) int {
	for i--; i >= 0 && s.Passages[i].Kind != k; i-- {
	}
	return i
}

// liesBeyond reports whether a RST's numbers lie beyond those of the handshake, as the
// capture has them that holds it.
func (s *Subject) liesBeyond(rst *Passage) bool {
	f, ev := s.sightingAt(rst.First().Vantage).Flow, rst.Event
	own, peer := &f.Sides[rst.From], &f.Sides[other(rst.From)]
	unsent := ev.Seq == 0 && ev.Flags.Has(tcp.ACK) // of a host without the socket (RFC 9293, section 3.10.7.1)
	return own.ISNKnown && !unsent && ev.Seq.Sub(own.ISN) > 1 ||
		peer.ISNKnown && ev.Flags.Has(tcp.ACK) && ev.Ack.Sub(peer.ISN) > 1
}

// turnsDown reports whether the client's host answers the SYN-ACK at once as one that has
// no socket for it: its RST acknowledges nothing, as that of a socket would.
func (s *Subject) turnsDown(h *handshake) bool {
	if h.reset < 0 {
		return false
	}
	rst := &s.Passages[h.reset]
	return rst.From == s.Passages[h.syn].From && !rst.Event.Flags.Has(tcp.ACK) && rst.At.Sub(s.Passages[h.last].At) < answerDue
}

// asksOn reports whether the client goes on to send its SYN behind the SYN-ACK, as one that
// does not hear it.
func (s *Subject) asksOn(h *handshake) bool {
	last := s.lastBeforeOf(flows.SYN, len(s.Passages))
	return s.Passages[last].At.Sub(s.Passages[h.synack].At) >= oldAnswerDue
}

// repeatOverdue reports whether the last SYN-ACK would have been sent again if nobody had
// acknowledged it: the capture that holds it went on for long enough.
func (s *Subject) repeatOverdue(h *handshake) bool {
	p := &s.Passages[h.last]
	at := p.First().Vantage
	until := clockwork(s.Clocks).to(s.Base, at, s.recordedUntil(at))
	if h.reset >= 0 {
		until = min(until, s.Passages[h.reset].At)
	}
	wait := oldAnswerDue
	if before := s.lastBeforeOf(flows.SYNACK, h.last); before >= 0 {
		wait = max(wait, 3*p.At.Sub(s.Passages[before].At))
	}
	return until.Sub(p.At) > wait+answerDue
}

// someOfHosts is how many connections of two hosts are looked at to see what the captures
// hold of them.
const someOfHosts = 16

// holdsOrdinary reports whether a capture of the connection holds segments of its hosts
// that neither begin nor end a connection.
func (s *Subject) holdsOrdinary() bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		table := s.Points[x.Vantage].Table
		return table != nil && slices.ContainsFunc(table.SomeOfHosts(&x.Flow.Key, someOfHosts), func(id flows.FlowID) bool {
			for kind := range table.Kinds(id) {
				if isOrdinary(kind) {
					return true
				}
			}
			return false
		})
	})
}

func isOrdinary(kind flows.Kind) bool {
	switch kind {
	case flows.SYN, flows.SYNACK, flows.FIN, flows.RST, flows.Duplicate, flows.Stale, flows.ICMPError:
		return false
	}
	return true
}

// holdsAnswers reports whether an answer to the SYN would be known: a capture holds both
// directions of some traffic, or the SYN was sent again as one is that was not answered,
// or lost.
func (s *Subject) holdsAnswers(h *handshake) bool {
	asked, last := &s.Passages[h.syn], s.lastBeforeOf(flows.SYN, len(s.Passages))
	if asked.Known && asked.How == pairing.Lost || s.Passages[last].At.Sub(asked.At) >= answerDue*9/10 {
		return true
	}
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		table := s.Points[x.Vantage].Table
		return table == nil || table.BothWays()
	})
}

// askedUnheard is the answer where a SYN was captured, and nothing that would show whether
// it was answered.
func (s *Subject) askedUnheard() Answer {
	return Answer{Verdict: &Verdict{ID: CaptureGap, Confidence: None, At: s.lastActivity(), Between: [2]int{s.Base, s.Base},
		Summary: "Only one direction was captured, so it cannot be said whether the SYN was answered.",
		Unknown: []string{"everything about the other direction: capture on the host itself, or mirror both directions"}}}
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
		far := p.Refs[len(p.Refs)-1].Vantage
		if table := s.Points[far].Table; s.lacksSide(far, flows.Server) && table != nil && !table.BothWays() {
			v.Summary += fmt.Sprintf(" It arrived at %s.", s.Points[far].Name)
			v.Unknown = append(v.Unknown, fmt.Sprintf("whether an answer left from there: %s holds nothing that the server sends", s.Points[far].Name))
			return
		}
		v.Summary += fmt.Sprintf(" It arrived at %s, and no answer left from there.", s.Points[far].Name)
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
