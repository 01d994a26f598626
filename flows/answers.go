package flows

import "kaflow/tcp"

// Which keepalive probe of the peer a segment answers.

// answersProbe reports whether a probe of the peer is open that the segment's
// acknowledgment covers. What the peer has sent since need not be; what it asked
// before its own RST nothing answers any more.
func (s *step) answersProbe() bool {
	if s.c.open[s.p] == 0 || s.seg.Flags&tcp.ACK == 0 {
		return false
	}
	ev, reset := s.openProbe()
	switch {
	case reset || ev != nil && s.outlives(ev):
		return false
	case ev != nil:
		return !s.seg.Ack.Before(ev.seq + 1)
	}
	return !s.seg.Ack.Before(s.h.next[s.p])
}

// openProbe returns the newest probe of the peer that is open, nil where the story has
// none any more; reset says that the peer's own RST is behind it.
func (s *step) openProbe() (probe *event, reset bool) {
	evs := s.t.arena.events(s.c.story)
	for i := len(evs) - 1; i >= 0; i-- {
		switch ev := &evs[i]; {
		case ev.from() != s.p || ev.bits&evTail != 0:
		case ev.kind == RST && ev.note&NoteOutOfWindow == 0:
			return nil, true
		case ev.bits&evOpen != 0:
			return ev, false
		}
	}
	return nil, false
}

// outlives reports whether the segment acknowledges what the peer sent behind a probe of
// its own, and so late that an answer to the probe would have come before.
func (s *step) outlives(probe *event) bool {
	return s.seg.Ack.After(probe.seq+1) && s.at.Sub(probe.at) >= s.longSince(s.p)
}

// credit closes an open probe of the peer with this segment: the newest one
// that was sent at least the minimum round trip earlier. Older ones stay
// unanswered unless further answers come.
func (s *step) credit() {
	c, p := s.c, s.p
	if !s.answersProbe() {
		return
	}
	least := seconds(c.rtt[p].wide().min) * 8 / 10
	evs := s.t.arena.events(c.story)
	var newest, chosen *event
	open := int(c.open[p])
	for i := len(evs) - 1; i >= 0 && open > 0; i-- {
		ev := &evs[i]
		if ev.kind == RST && ev.from() == p && ev.note&NoteOutOfWindow == 0 {
			break
		}
		if ev.bits&(evOpen|evTail) != evOpen || ev.from() != p {
			continue
		}
		open--
		if newest == nil {
			newest = ev
		}
		if s.at.Sub(ev.at) >= least {
			chosen = ev
			break
		}
	}
	if chosen == nil {
		if s.seg.Len > 0 {
			return // sent before the probe can have arrived
		}
		chosen = newest
	}
	alone := c.open[p] == 1
	c.open[p]--
	c.answered[p]++
	if c.open[p] > 0 {
		s.h.state[p] |= stLate
	} else {
		s.h.state[p] &^= stLate
	}
	if chosen == nil {
		return
	}
	s.answers = chosen.ordinal()
	chosen.bits = chosen.bits&^evOpen | evAnswered
	chosen.next = uint32(s.pkt.Ord - s.answers)
	if alone && s.seg.Len == 0 && s.seg.Ack == chosen.seq+1 { // nothing else can have been the cause
		c.rtt[p].add(inSeconds(s.at.Sub(chosen.at)))
	}
}
