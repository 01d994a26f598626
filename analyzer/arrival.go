package analyzer

import (
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// What of a connection arrived, and which silences it survived by that.

// outlasts reports whether a silence was longer than any survived, by more than
// the slack of the timers that end silences.
func outlasts(silence, survived time.Duration) bool {
	return silence >= time.Second && silence > survived+survived/50
}

// alive reports whether at passage i the connection provably still worked: it
// crossed, was answered, or came right after the other side was heard.
func (s *Subject) alive(i int) bool {
	p := &s.Passages[i]
	if p.Known && p.How == pairing.Crossed || passed(s, i) {
		return true
	}
	if p.Known && p.How == pairing.Lost || p.Kind == flows.KeepaliveProbe || p.Event.Elsewhere() {
		return false
	}
	for j := i - 1; j >= 0 && p.At.Sub(s.Passages[j].At) < time.Second; j-- {
		q := &s.Passages[j]
		if q.From == 1-p.From && q.Kind != flows.KeepaliveProbe && !q.Event.Elsewhere() && !(q.Known && q.How == pairing.Lost) || passed(s, j) {
			return true
		}
	}
	return false
}

// longestSurvived returns the longest silence before passage limit after which
// the flow went on, both ways.
func longestSurvived(s *Subject, limit int) time.Duration {
	var longest time.Duration
	for _, g := range survivedSilences(s, limit) {
		longest = max(longest, g.length)
	}
	return longest
}

// quiet is one silence of a flow.
type quiet struct {
	length time.Duration
	sender uint8 // who ended it
	at     pairing.Ref
	when   tcp.Instant
}

// survivedSilences lists the silences before passage limit that the flow
// survived: what ended them crossed, or was answered.
func survivedSilences(s *Subject, limit int) []quiet {
	var all []quiet
	deaf := s.deafSince()
	for i := 0; i < limit && i < len(s.Passages); i++ {
		p := &s.Passages[i]
		if p.Kind == flows.ICMPError || p.From > flows.Server || deaf(p.At) {
			continue
		}
		if r := p.Event.Run; r != nil && p.Kind == flows.KeepaliveProbe && r.Period.Known && runPassed(s, p) {
			if length := s.pause(i); length > 0 {
				all = append(all, quiet{length, p.From, p.First(), p.At})
			}
		}
		length, before := s.silence(i)
		if before < 0 || length <= 0 || !passed(s, i) {
			continue
		}
		if length = s.uncut(i, length); length > 0 {
			all = append(all, quiet{length, p.From, p.First(), p.At})
		}
	}
	return all
}

// passed reports whether passage i provably reached the other end: it crossed
// between two captures, or it was answered.
func passed(s *Subject, i int) bool {
	p := &s.Passages[i]
	if p.Known && p.How == pairing.Lost || p.Strayed || p.Event.Elsewhere() {
		return false
	}
	if p.Kind == flows.KeepaliveProbe && p.Event.Run == nil {
		return p.Event.AnsweredBy != 0 // a probe that arrives and is not answered survives nothing
	}
	if p.Known && p.How == pairing.Crossed {
		return true
	}
	if r := p.Event.Run; r != nil && !r.Unheard && r.Count[0] > 0 && r.Count[1] > 0 {
		return true
	}
	if p.Kind == flows.RST {
		return false
	}
	return s.arrivedAtOnce(i) || p.Kind == flows.ZeroWindowProbe && s.windowTold(i)
}

// arrivedAtOnce reports whether the payload of passage i is acknowledged before any of it was
// sent again: where it was, the copy that arrived may be a later one.
func (s *Subject) arrivedAtOnce(i int) bool {
	p := &s.Passages[i]
	for j := i + 1; j < len(s.Passages); j++ {
		q := &s.Passages[j]
		if q.acknowledges(p) {
			return true
		}
		if q.repeats(p) {
			return false
		}
	}
	return false
}

// repeats reports whether a passage brings the first octet of another one's payload again,
// or is a run that begins with it.
func (p *Passage) repeats(earlier *Passage) bool {
	if p.From != earlier.From || p.Kind == flows.ICMPError || p.Kind == flows.KeepaliveProbe {
		return false
	}
	off := earlier.Event.Seq.Sub(p.Event.Seq)
	return off == 0 && p.Event.Run != nil || off >= 0 && off < int(p.Event.Len)
}

// acknowledges reports whether a passage acknowledges all the payload of another one, of
// the other end.
func (p *Passage) acknowledges(earlier *Passage) bool {
	return p.From == 1-earlier.From && p.Kind != flows.RST && p.Kind != flows.ICMPError && !p.Event.Elsewhere() && p.Event.Flags.Has(tcp.ACK) &&
		earlier.Event.Len > 0 && p.Event.Ack.Sub(earlier.Event.Seq.Add(int(earlier.Event.Len))) >= 0
}

// windowTold reports whether the window probe of passage i was answered: what the
// other end says next, before another probe, is its window.
func (s *Subject) windowTold(i int) bool {
	p := &s.Passages[i]
	for j := i + 1; j < len(s.Passages); j++ {
		switch q := &s.Passages[j]; {
		case q.Kind == flows.ICMPError || q.From > flows.Server:
		case q.From == p.From || q.At.Sub(p.At) > promptly:
			return false
		default:
			return q.Kind == flows.ZeroWindowACK || q.Kind == flows.WindowUpdate
		}
	}
	return false
}

// acknowledged reports whether the payload of passage i is acknowledged later
// on, whichever of its transmissions arrived.
func (s *Subject) acknowledged(i int) bool {
	return slices.ContainsFunc(s.Passages[i+1:], func(p Passage) bool { return p.acknowledges(&s.Passages[i]) })
}

func runPassed(s *Subject, p *Passage) bool {
	return !(p.Known && p.How == pairing.Lost) && p.Event.Run.Count[0] > 0 && p.Event.Run.Count[1] > 0
}
