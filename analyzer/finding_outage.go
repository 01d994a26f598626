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

// stretch is a time in which everything that a connection sent was lost or
// went unanswered, with life before and after it.
type stretch struct {
	lost     []int // passages in it
	by       [2]int
	before   int // the last passage that passed before it
	after    int // the first one that passed after it
	from, to tcp.Instant
	proven   bool // two captures show the losses
}

// anOutage is from which length a stretch of losses is an outage: a segment
// that is lost and repeated by its sender's timer is over sooner.
const anOutage = 3 * time.Second

// stretches finds the outages that a connection got over: three questions and
// more in a row that were lost, or not answered, for longer than a repetition
// takes, and then something that passed.
func (s *Subject) stretches() []stretch {
	var out []stretch
	cur := stretch{before: -1, after: -1}
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.From > flows.Server || p.Kind == flows.ICMPError || p.Kind == flows.Stale || p.Kind == flows.Duplicate || p.Kind == flows.SYN {
			continue
		}
		lost := p.Known && p.How == pairing.Lost && !p.Assumed
		switch {
		case lost, !(p.Known && p.How == pairing.Crossed) && s.vain(i):
			if p.Kind == flows.RST {
				continue
			}
			if len(cur.lost) == 0 {
				cur.from = p.At
			}
			cur.lost = append(cur.lost, i)
			cur.by[p.From] += max(1, p.Count)
			cur.proven = cur.proven || lost
		case !s.TwoSided() && len(cur.lost) > 0 && cur.by[p.From] == 0 && s.goesOnInVain(&cur, 1-p.From):
			// One direction may work all along: the other still does not.
		case p.Known && p.How == pairing.Crossed && !s.crossesGap(p, &cur):
			// Of three captures two may hold what a device made, or what is lost further on.
		case s.TwoSided() && p.Known && p.How == pairing.Crossed || passed(s, i) || !s.TwoSided() && len(cur.lost) > 0 && s.answersLast(i, &cur):
			if len(cur.lost) > 0 {
				cur.after, cur.to = i, p.At
				s.provenAlone(&cur)
				if cur.before >= 0 && len(cur.lost) >= 3 && cur.to.Sub(cur.from) >= anOutage {
					out = append(out, cur)
				}
			}
			cur = stretch{before: i, after: -1}
		}
	}
	return out
}

// crossesGap reports whether passage p crossed where the first of a stretch was lost that
// captures show to be.
func (s *Subject) crossesGap(p *Passage, cur *stretch) bool {
	if len(cur.lost) == 0 || !cur.proven {
		return true
	}
	first := slices.IndexFunc(cur.lost, func(i int) bool { return s.Passages[i].Known && s.Passages[i].How == pairing.Lost })
	gap := s.alongPath(s.Passages[cur.lost[first]].Between)
	near, far := slices.Index(s.Path, gap[0]), slices.Index(s.Path, gap[1])
	if near < 0 {
		return true // no place of the path
	}
	return slices.ContainsFunc(s.Path[:near+1], p.heldAt) && slices.ContainsFunc(s.Path[far:], p.heldAt)
}

// provenAlone leaves of a stretch in which two captures show losses what they show to
// be lost: a question that got no answer may have arrived.
func (s *Subject) provenAlone(o *stretch) {
	if !o.proven {
		return
	}
	o.by = [2]int{}
	o.lost = slices.DeleteFunc(o.lost, func(i int) bool { p := &s.Passages[i]; return !p.Known || p.How != pairing.Lost })
	for _, i := range o.lost {
		p := &s.Passages[i]
		o.by[p.From] += max(1, p.Count)
	}
	if len(o.lost) > 0 {
		o.from = s.Passages[o.lost[0]].At
	}
}

// vain reports whether passage i asked and got no answer: a probe that nothing
// is credited to, or what is repeated because nothing came. The capture of the end that
// asked tells: another one may miss the answer.
func (s *Subject) vain(i int) bool {
	p := &s.Passages[i]
	own := s.nearestSighting(p.From).Vantage
	if p.Event.Run != nil || !p.heldAt(own) {
		return false
	}
	if p.Kind == flows.KeepaliveProbe {
		if p.Event.AnsweredBy == 0 {
			return true
		}
		answer := s.passageAt(p.Refs[0].Vantage, p.Event.AnsweredBy)
		return answer != nil && answer.At.Sub(p.At) > promptly // it came by itself
	}
	if p.Event.Len == 0 {
		return false
	}
	end := p.Event.Seq.Add(int(p.Event.Len))
	for j := i + 1; j < len(s.Passages); j++ {
		q := &s.Passages[j]
		switch {
		case q.Kind == flows.ICMPError:
		case q.From == p.From && q.Kind == flows.Retransmission && q.Event.Seq == p.Event.Seq:
			return true
		case q.From == 1-p.From && q.Event.Flags.Has(tcp.ACK) && !q.Event.Ack.Before(end):
			return false
		}
	}
	return false
}

// answersLast reports whether passage i comes from the side that was silent
// while the other asked.
func (s *Subject) answersLast(i int, cur *stretch) bool {
	p := &s.Passages[i]
	if cur.by[1-p.From] == 0 || p.Kind == flows.RST || p.Kind == flows.Retransmission || p.Kind == flows.KeepaliveProbe {
		return false // the other's own question is none
	}
	for _, j := range cur.lost {
		q := &s.Passages[j]
		if q.From == 1-p.From && (q.Event.Len == 0 || p.Event.Flags.Has(tcp.ACK) && !p.Event.Ack.Before(q.Event.Seq.Add(int(q.Event.Len)))) {
			return true
		}
	}
	return p.Event.Len > 0
}

// goesOnInVain reports whether what a side asked in a stretch is asked again when the other
// was heard, and never acknowledged or refused, as far as its own capture tells.
func (s *Subject) goesOnInVain(cur *stretch, side uint8) bool {
	una := s.nearest(side).Sides[side].SndUna
	waits := func(p *Passage) bool {
		return p.From == side && p.Event.Run == nil && p.Event.Len > 0 && p.Kind != flows.KeepaliveProbe && p.Event.Seq.Add(int(p.Event.Len)).After(una)
	}
	if slices.ContainsFunc(cur.lost, func(i int) bool { p := &s.Passages[i]; return p.From == side && !waits(p) }) {
		return false
	}
	heard, again := false, false
	for i := cur.lost[0]; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		switch {
		case p.From == 1-side && p.Kind == flows.RST:
			return false
		case p.From == 1-side && p.Kind != flows.ICMPError:
			heard = true
		case heard && p.Kind == flows.Retransmission && waits(p):
			again = true
		}
	}
	return again
}

// relearnt reports whether a stretch ended because the other side spoke: only
// one side's segments were lost, right after a silence, and none of them got
// through before the other side sent something by itself.
func (s *Subject) relearnt(o *stretch) (asker uint8, silence time.Duration, ok bool) {
	switch {
	case o.by[flows.Client] > 0 && o.by[flows.Server] > 0:
		return 0, 0, false
	case o.by[flows.Server] > 0:
		asker = flows.Server
	}
	first := o.lost[0]
	silence, _ = s.silence(first)
	after := &s.Passages[o.after]
	if silence < time.Second || after.From != 1-asker {
		return 0, 0, false
	}
	if ord := after.Event.Answers; ord != 0 {
		asked := s.passageAt(after.Refs[len(after.Refs)-1].Vantage, ord)
		if asked == nil {
			asked = s.passageAt(after.Refs[0].Vantage, ord)
		}
		if asked == nil || after.At.Sub(asked.At) <= promptly {
			return 0, 0, false
		}
	}
	switch after.Kind {
	case flows.KeepaliveACK, flows.DupACK, flows.RST, flows.HeartbeatReply, flows.ChallengeACK:
		return 0, 0, false // the asker's own segment got there
	case flows.ACK, flows.WindowUpdate:
		if after.Event.Run == nil {
			return 0, 0, false
		}
	}
	if !outlasts(silence, longestSurvived(s, first)) {
		return 0, 0, false
	}
	for j := o.after + 1; j < len(s.Passages); j++ { // and then its own pass again
		if p := &s.Passages[j]; p.From == asker && p.Kind != flows.RST && passed(s, j) {
			return asker, silence, true
		}
	}
	return 0, 0, false
}

// transientOutage tells the outages that a connection got over, or that were
// over when an end had given up.
func transientOutage(s *Subject, d *Diagnosis) []Finding {
	var out []Finding
	for _, o := range s.outages(d) {
		n := len(o.lost)
		f := Finding{Rule: "transient-outage", Evidence: []pairing.Ref{s.Passages[o.before].First(), s.Passages[o.lost[0]].First(), s.Passages[o.lost[n-1]].First(), s.Passages[o.after].First()}}
		lasted := facts.Compact(o.to.Sub(o.from))
		if o.proven {
			f.Says = fmt.Sprintf("%d segments in a row are lost for up to %s, then the connection's segments cross again", n, lasted)
			f.Suggests = "an outage that passed by itself; keepalives must sit out one of that length"
		} else {
			f.Says = fmt.Sprintf("%d questions in a row went unanswered for up to %s, then the %s is heard again", n, lasted, sideName(s.Passages[o.after].From))
			f.Suggests = "an outage that passed by itself, or a peer that paused"
		}
		out = append(out, f)
	}
	return out
}

// outages are the stretches of which nothing else is told.
func (s *Subject) outages(d *Diagnosis) []stretch {
	if d.Verdict.ID == MTUBlackHole || d.Verdict.ID == ReceiverStalled {
		return nil
	}
	return slices.DeleteFunc(s.stretches(), func(o stretch) bool {
		_, _, learnt := s.relearnt(&o)
		return learnt || s.wasAway(&o) || // host-suspended or own-silence tells why
			o.proven && !s.crossesAgain(&o) // the direction that failed never worked again
	})
}

// crossesAgain reports whether something of a side that lost segments in a stretch
// crosses behind it.
func (s *Subject) crossesAgain(o *stretch) bool {
	for j := o.after; j < len(s.Passages); j++ {
		p := &s.Passages[j]
		if p.From > flows.Server || p.Kind == flows.ICMPError || !(p.Known && p.How == pairing.Crossed) && !passed(s, j) {
			continue
		}
		if o.by[p.From] > 0 || p.Event.Run != nil && p.Event.Run.Count[1-p.From] > 0 && o.by[1-p.From] > 0 {
			return true
		}
	}
	return false
}

// wasAway reports whether the host that was asked in a stretch slept, or had no
// link.
func (s *Subject) wasAway(o *stretch) bool {
	c := clockwork(s.Clocks)
	for _, n := range s.naps() {
		if o.by[1-n.side] > 0 && s.covers(&n, o.from, s.Passages[o.lost[len(o.lost)-1]].At) {
			return true
		}
	}
	for host := uint8(0); host < 2; host++ {
		for _, a := range s.absences(host) {
			if o.by[1-host] > 0 && c.to(s.Base, a.seen.Vantage, a.from) <= o.from.Add(clockSlack) && c.to(s.Base, a.seen.Vantage, a.to) >= o.to.Add(-clockSlack) {
				return true
			}
		}
	}
	return false
}

// stateRelearned tells silences after which one side's segments were lost until
// the other side spoke.
func stateRelearned(s *Subject, d *Diagnosis) []Finding {
	var out []Finding
	for _, o := range s.stretches() {
		asker, silence, ok := s.relearnt(&o)
		if !ok {
			continue
		}
		n := len(o.lost)
		says := "are lost"
		if !o.proven {
			says = "go unanswered"
		}
		out = append(out, Finding{Rule: "state-relearned",
			Says: fmt.Sprintf("after %s of silence %d segments of the %s %s, until the %s speaks; from then on both ways work",
				facts.Compact(silence), n, sideName(asker), says, sideName(1-asker)),
			Suggests: fmt.Sprintf("a device forgot the connection and learned it anew from the %s's side; an outage that ended just then looks the same", sideName(1-asker)),
			Evidence: []pairing.Ref{s.Passages[o.before].First(), s.Passages[o.lost[0]].First(), s.Passages[o.lost[n-1]].First(), s.Passages[o.after].First()}})
	}
	return out
}

// glitch is how soon after an end gave up its connection must show life for
// its patience to have been too short.
const glitch = time.Minute

// keepaliveTooEager tells an end that gave up although its connection crossed
// again soon afterwards.
func keepaliveTooEager(s *Subject, d *Diagnosis) []Finding {
	switch d.Verdict.ID {
	case Undecided, HeartbeatTimeout, ClosedNormally, CaptureGap:
	default:
		return nil // something else kept the answers away, for good
	}
	var out []Finding
	for side := uint8(0); side < 2; side++ {
		ending := s.endingOf(side)
		if !ending.GaveUp() && ending != flows.EndHeartbeat {
			continue
		}
		if f, ok := s.beatsTooEager(side); ok {
			out = append(out, f)
			continue
		}
		if ending == flows.EndHeartbeat {
			continue
		}
		first, end := s.lastTry(side)
		if end < 0 || s.heardBetween(1-side, side, first, end) {
			continue // the peer's segments arrived all the while: this was no outage
		}
		for j := end + 1; j < len(s.Passages); j++ {
			p := &s.Passages[j]
			if p.From != 1-side || p.Kind == flows.ICMPError || p.Kind == flows.RST || p.At.Sub(s.Passages[end].At) > glitch {
				continue
			}
			if !s.reached(p, side) {
				continue
			}
			waited := s.Passages[end].At.Sub(s.Passages[first].At)
			out = append(out, Finding{Rule: "keepalive-too-eager",
				Says: fmt.Sprintf("the %s gave up %s after its first unanswered question, and %s later a segment of the %s arrives", sideName(side), facts.Compact(waited),
					facts.Compact(p.At.Sub(s.Passages[end].At)), sideName(1-side)),
				Suggests: "its patience is shorter than an outage that passes: raise the count, not the idle time",
				Evidence: []pairing.Ref{s.Passages[first].First(), s.Passages[end].First(), p.First()}})
			break
		}
	}
	return out
}

// heardBetween reports whether anything of one side reached the other between
// two passages.
func (s *Subject) heardBetween(from, to uint8, first, end int) bool {
	for i := first + 1; i < end; i++ {
		if p := &s.Passages[i]; p.From == from && p.Kind != flows.ICMPError && s.reached(p, to) {
			return true
		}
	}
	return false
}

// beatsTooEager is keepaliveTooEager for an application whose peer's was heard again
// when it had left.
func (s *Subject) beatsTooEager(side uint8) (Finding, bool) {
	seen := s.nearestSighting(side)
	b, ok := seen.Flow.BeatEnd(side)
	if !ok || b.Late < 0 || b.Overdue > 0 {
		return Finding{}, false
	}
	asked, late := &seen.Flow.Events[b.Asked[0]], &seen.Flow.Events[b.Late]
	waited := late.At.Sub(asked.At)
	if waited > 2*glitch {
		return Finding{}, false
	}
	came := "the answer to its heartbeat came"
	if !b.Answered {
		came = "the " + sideName(1-side) + " was heard again"
	}
	return Finding{Rule: "keepalive-too-eager",
		Says:     fmt.Sprintf("the %s's application had left when %s, %s after the question", sideName(side), came, facts.Compact(waited)),
		Suggests: "its patience is shorter than an outage or a pause that passes: raise the count, not the interval",
		Evidence: []pairing.Ref{s.ref(seen, asked.Ord, asked.Kind, asked.At), s.ref(seen, late.Ord, late.Kind, late.At)}}, true
}

// lastTry returns the first question of a side that got no answer before it
// gave up, and the passage by which it did; -1 where the story lacks them.
func (s *Subject) lastTry(side uint8) (first, end int) {
	first, end = -1, -1
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.From > flows.Server || p.Kind == flows.ICMPError:
		case p.From == side && p.Kind == flows.RST:
			if first >= 0 {
				return first, i
			}
		case p.From == side && p.Kind == flows.KeepaliveProbe && p.Event.Run == nil && p.Event.AnsweredBy == 0:
			if first < 0 {
				first = i
			}
		case p.From == 1-side && s.reached(p, side) && p.Kind != flows.KeepaliveProbe:
			first = -1
		}
	}
	return -1, -1
}

// reached reports whether a passage is in the capture nearest to a side.
func (s *Subject) reached(p *Passage, side uint8) bool {
	return p.heldAt(s.nearestSighting(side).Vantage)
}

// lateReset tells the RST by which a side that had given up before answers what
// comes later.
func lateReset(s *Subject, d *Diagnosis) []Finding {
	var out []Finding
	for side := uint8(0); side < 2; side++ {
		ending := s.endingOf(side)
		if !ending.GaveUp() && ending != flows.EndHeartbeat {
			continue
		}
		gone := -1
		for i := range s.Passages {
			p := &s.Passages[i]
			if p.From != side || p.Kind != flows.RST && (p.Kind != flows.FIN || ending != flows.EndHeartbeat) {
				continue
			}
			t := s.trigger(i)
			if gone >= 0 && p.Kind == flows.RST && t > gone && socketless(p.Event, s.Passages[t].Event) && (!s.TwoSided() || s.leftItsSide(p)) {
				out = append(out, Finding{Rule: "late-rst",
					Says: fmt.Sprintf("the %s answers the %s with a RST; it had ended the connection %s before", sideName(side), s.Passages[t].Kind,
						facts.Compact(p.At.Sub(s.Passages[gone].At))),
					Suggests: "the death was earlier; this only tells the other end of it",
					Evidence: []pairing.Ref{s.Passages[gone].First(), s.Passages[t].First(), p.First()}})
				break
			}
			if gone < 0 {
				gone = i
			}
		}
	}
	return out
}
