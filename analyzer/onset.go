package analyzer

import (
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// onset is the moment from which on nothing of a connection crosses, as two or
// more captures prove it.
type onset struct {
	lost      [2][]int      // passages lost since then, by sender
	crossed   [2][]int      // passages that crossed since then
	first     int           // the first lost passage
	tail      pairing.Ref   // the segment before it that was lost, too: the last one of a run; zero where none was
	last      int           // the last passage before it that crossed or was answered; -1 none
	silence   time.Duration // see quietKnown
	assumed   bool          // the loss that matters rests on recording that is assumed only
	between   [2]int
	survived  time.Duration // longest silence before that was survived
	at        tcp.Instant
	explained bool // a silence longer than every one survived lies right before
	revived   int  // a passage that crossed after an end had given up; -1 none
	unseen    bool // frames right before it are missing in its capture: whether it was silent is not known
}

// deadDirections says which directions are dead since the onset.
func (o *onset) dead(side uint8) bool {
	return len(o.lost[side]) > 0 && len(o.crossed[side]) == 0
}

// quietKnown reports whether the silence before the onset is known: what crossed last
// is, or that the first loss came amid traffic.
func (o *onset) quietKnown() bool { return o.last >= 0 || o.tail.Frame != 0 }

// find looks for the onset: the losses after which nothing of the same
// direction crosses any more. One lost segment proves nothing; two do where
// nothing else crosses.
func findOnset(s *Subject) (o onset, ok bool) {
	if !s.TwoSided() {
		return o, false
	}
	first, over := -1, s.gaveUpAt()
	for side := uint8(0); side < 2; side++ {
		among := s.lastAmong(side)
		for i := len(s.Passages) - 1; i >= 0; i-- {
			p := &s.Passages[i]
			if i <= over && (s.cameFrom(p, side) || p.At <= among) {
				break
			}
			if p.From != side || !p.Known || p.Kind == flows.ICMPError || p.Kind == flows.Duplicate || p.Kind == flows.Stale {
				continue
			}
			if p.How == pairing.Crossed && i <= over {
				break
			}
			if p.How == pairing.Lost && (first < 0 || i < first) {
				first = i
			}
		}
	}
	if first < 0 {
		return o, false
	}
	o.first, o.at = first, s.Passages[first].At
	o.silence, o.last = s.silence(first)
	if tail, of := s.lostTail(first); of >= 0 {
		o.tail, o.at, o.silence = tail, s.Passages[of].Until, 0
	}
	if o.last >= 0 && s.lostOf(o.last) == &s.Passages[first] { // it ends a run: the silence is that before what it answers
		o.silence = pauseWithin(s.Passages[o.last].Event.Run)
	}
	if o.last >= 0 && s.unseenBefore(first) {
		o.silence, o.last, o.unseen = 0, -1, true
	}
	for o.last >= 0 && s.openProbe(o.last, s.Passages[first].From) {
		o.silence, o.last = s.silence(o.last) // nothing says whether it arrived, but it was not answered either
	}
	if o.last >= 0 && !s.alive(o.last) {
		o.silence, o.last = 0, -1 // what was sent last may not have arrived: how long the path was idle is not known
	}
	lost := 0
	o.revived = -1
	for i := first; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		for side := uint8(0); side < 2 && i <= over; side++ {
			if s.cameFrom(p, side) || s.answersUnseen(p, side) && p.At.Sub(o.at) > min(time.Second, s.roundTrip(time.Second)) {
				o.crossed[side] = append(o.crossed[side], i)
			}
		}
		if p.From > flows.Server || !p.Known || p.Kind == flows.ICMPError {
			continue
		}
		if p.How == pairing.Unknowable && i <= over && passed(s, i) && !s.answeredBehind(i, over) { // it arrived, whatever the other capture holds
			o.crossed[p.From] = append(o.crossed[p.From], i)
		}
		switch p.How {
		case pairing.Lost:
			o.lost[p.From] = append(o.lost[p.From], i)
			lost += max(1, p.Count)
		case pairing.Crossed:
			if i > over || s.follows(p, over) {
				if o.revived < 0 {
					o.revived = i
				}
				continue
			}
			o.crossed[p.From] = append(o.crossed[p.From], i)
		}
	}
	o.assumed = s.Passages[first].Assumed && s.Passages[first].Sure == 0 || s.provenLost(&o) < 2
	o.between = s.narrowest(&o)
	if lost < 2 {
		return o, false
	}
	o.survived = longestSurvived(s, first)
	o.explained = outlasts(o.silence, o.survived)
	return o, true
}

// openProbe reports whether passage i is a probe of a side that its own capture shows to be
// unanswered, and of which another one does not tell.
func (s *Subject) openProbe(i int, side uint8) bool {
	p := &s.Passages[i]
	return p.From == side && p.Kind == flows.KeepaliveProbe && p.Event.Run == nil && p.Event.AnsweredBy == 0 && p.Known && p.How == pairing.Unknowable && p.Refs[0].Vantage == s.nearestSighting(side).Vantage
}

// narrowest returns the two vantage points between which the losses since the onset lie,
// as far as the best of them tells.
func (s *Subject) narrowest(o *onset) [2]int {
	best, of := s.Passages[o.first].Between, s.Passages[o.first].From
	for side := range o.lost {
		for _, i := range o.lost[side] {
			p := &s.Passages[i]
			if !p.Assumed && s.tellsBetter(p, best, of) {
				best, of = p.Between, p.From
			}
		}
	}
	return best
}

// tellsBetter reports whether a lost passage tells better where the losses lie than that
// they are between two vantage points, by a side's: those that saw and missed it are nearer
// to each other, or as near, and it came farther. A capture may miss what passed it.
func (s *Subject) tellsBetter(p *Passage, between [2]int, side uint8) bool {
	place := func(vantage int) int { return slices.Index(s.Path, vantage) }
	apart := func(between [2]int) int {
		d := place(between[0]) - place(between[1])
		return max(d, -d)
	}
	came := func(between [2]int) int { // so far from its sender
		if side == flows.Server {
			return -max(place(between[0]), place(between[1]))
		}
		return min(place(between[0]), place(between[1]))
	}
	if d := apart(p.Between) - apart(between); d != 0 {
		return d < 0
	}
	return p.From == side && came(p.Between) > came(between)
}

// quietFrom returns when the last of a connection had crossed before the onset; where
// that is not known, when the onset was.
func (s *Subject) quietFrom(o *onset) tcp.Instant {
	first := s.Passages[o.first].At
	if o.last < 0 {
		return first
	}
	p := &s.Passages[o.last]
	return min(max(p.At, p.Until), first)
}

// lostTail returns the last segment of the run before a lost passage, where that
// one is the same sent again, and which passage the run is: the run, whose
// segments are not told apart any more, ends with the first that was lost. It is
// -1 where there is none.
func (s *Subject) lostTail(first int) (tail pairing.Ref, of int) {
	again := &s.Passages[first]
	if again.Kind != flows.Retransmission {
		return tail, -1
	}
	for i := first - 1; i >= 0; i-- {
		p := &s.Passages[i]
		if p.First().Vantage != again.First().Vantage || p.Kind == flows.ICMPError {
			continue // what another capture has folded otherwise
		}
		if run := p.Event.Run; run != nil && p.Kind != flows.KeepaliveProbe && run.LastFrom == again.From && run.Seq == again.Event.Seq {
			tail = p.Last
			tail.Kind = flows.Data // it is sent again
			return tail, i
		}
		return tail, -1
	}
	return tail, -1
}

// losesTail reports whether the run of passage i ends with a segment that is sent
// again.
func (s *Subject) losesTail(i int) bool {
	for j := i + 1; j < len(s.Passages); j++ {
		if _, of := s.lostTail(j); of == i {
			return true
		}
	}
	return false
}

// provenLost returns how many segments are lost since the onset beyond doubt.
func (s *Subject) provenLost(o *onset) (n int) {
	for side := range o.lost {
		for _, i := range o.lost[side] {
			if p := &s.Passages[i]; !p.Assumed {
				n += max(1, p.Count)
			} else {
				n += p.Sure
			}
		}
	}
	return n
}

// cameFrom reports whether passage p shows that something of a side arrived,
// though nothing says where it was before: the capture at the other end holds
// it, as a segment of its own or among the answers of a run, and a capture on
// its way has only missed it. A RST may be somebody else's.
func (s *Subject) cameFrom(p *Passage, side uint8) bool {
	if p.Known || p.Kind == flows.RST || p.Kind == flows.ICMPError || len(s.Seen) < 2 {
		return false
	}
	receiver := &s.Seen[0]
	if side == flows.Client {
		receiver = &s.Seen[len(s.Seen)-1]
	}
	if p.Refs[0].Vantage != receiver.Vantage {
		return false
	}
	return p.From == side || p.Event.Run != nil && p.Event.Run.Count[side] > 0
}

// answersUnseen reports whether passage p is an answer, in the capture of the end
// that gives it, to a question of a side which is not there: it arrived, and was
// not recorded. A host answers at once, so a question that is there from long
// before is not the one.
func (s *Subject) answersUnseen(p *Passage, side uint8) bool {
	at := s.nearestSighting(1 - side)
	if p.Known && p.How == pairing.Lost || p.From != 1-side || p.Kind != flows.KeepaliveACK || p.Event.Run != nil ||
		len(s.Seen) < 2 || p.First().Vantage != at.Vantage {
		return false
	}
	for i := range at.Flow.Events {
		if ev := &at.Flow.Events[i]; p.Event.Answers != 0 && ev.Ord == p.Event.Answers {
			return p.Event.At.Sub(ev.At) > time.Second
		}
	}
	return p.Event.Answers == 0
}

// roundTrip returns how long an answer takes at most, as far as the connection
// shows; where it does not, what the caller takes for it.
func (s *Subject) roundTrip(unknown time.Duration) time.Duration {
	longest := time.Duration(0)
	for i := range s.flow.Sides {
		if r := &s.flow.Sides[i].RTT; r.Known {
			longest = max(longest, r.Max)
		}
	}
	if longest == 0 {
		return unknown
	}
	return longest
}

// gaveUpAt returns the first RST by which an end gave up after probes in vain;
// behind the last passage where none did. What crosses later finds a connection
// that was already dead.
func (s *Subject) gaveUpAt() int {
	at := len(s.Passages)
	for side := uint8(0); side < 2; side++ {
		if !s.endingOf(side).GaveUp() {
			continue
		}
		at = min(at, s.ownRST(side))
	}
	return at
}

// answeredBehind reports whether what is taken for the answer to the probe of passage
// i came when its sender had given up, at passage over: it came by itself.
func (s *Subject) answeredBehind(i, over int) bool {
	p := &s.Passages[i]
	if over >= len(s.Passages) || p.Kind != flows.KeepaliveProbe || p.Event.AnsweredBy == 0 {
		return false
	}
	answer := s.passageAt(p.Refs[0].Vantage, p.Event.AnsweredBy)
	return answer != nil && answer.At > s.Passages[over].At
}

// ownRST returns a side's first RST in its own capture, which holds all that it
// sent; where that holds none the first of all. It is behind the last passage
// where there is none.
func (s *Subject) ownRST(side uint8) int {
	first := len(s.Passages)
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind != flows.RST || p.From != side {
			continue
		}
		first = min(first, i)
		if p.First().Vantage == s.nearestSighting(side).Vantage {
			return i
		}
	}
	return first
}

// follows reports whether a capture that holds passage i, such as the RST by which
// an end gave up, holds p behind it: there no two clocks are compared.
func (s *Subject) follows(p *Passage, i int) bool {
	if i >= len(s.Passages) {
		return false
	}
	for _, a := range p.Refs {
		for _, b := range s.Passages[i].Refs {
			if a.Vantage == b.Vantage && a.Ord > b.Ord {
				return true
			}
		}
	}
	return false
}
