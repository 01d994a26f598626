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
