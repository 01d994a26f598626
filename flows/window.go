package flows

import (
	"time"

	"kaflow/tcp"
)

// windowProbe decides whether a segment into the peer's shut window is a
// window probe. All three shapes occur: no octet or one below SND.NXT (or below
// SND.UNA), one at SND.NXT. What is empty at the idle pace, nothing being
// queued, is a keepalive all the same.
func (s *step) windowProbe() (Kind, bool) {
	h, seg, d, p := s.h, s.seg, s.d, s.p
	if h.state[p]&stShut == 0 || seg.Len > 1 || seg.Flags&tcp.ACK == 0 || h.state[d]&(stKnown|stTentative) == 0 {
		return 0, false
	}
	outstanding := h.state[d]&stAcked != 0 && h.una[d].Before(h.next[d])
	switch {
	case seg.Len == 1 && seg.Seq == h.next[d]:
		s.h.state[d] = s.h.state[d]&^stIdleMode | stWindowMode
		s.probed()
		return ZeroWindowProbe, true
	case outstanding && seg.Len == 0 && seg.Seq == h.una[d].Add(-1):
		s.h.state[d] = s.h.state[d]&^stIdleMode | stWindowMode
		s.probed()
		return ZeroWindowProbe, true
	case seg.Seq == h.next[d].Add(-1):
		if seg.Len == 1 && outstanding {
			return 0, false // sent while the window was open, and lost
		}
	default:
		return 0, false
	}
	if s.age(d) < minRTO && s.at.Sub(s.rare().shut[p].at) < minRTO/2 {
		return 0, false // an old ACK out of order
	}
	s.pace()
	if h.state[d]&stWindowMode != 0 {
		s.probed()
		return ZeroWindowProbe, true
	}
	return 0, false
}

// pace decides between window probes and keepalives by their spacing: a
// window probe follows the closing within about one RTO (BSD: 5 s) and doubles
// its distance; keepalives keep theirs from the start.
func (s *step) pace() {
	const (
		firstProbe = 900 * time.Millisecond
		bsdProbe   = 5500 * time.Millisecond
	)
	h, d := s.h, s.d
	sh := &s.rare().shut[s.p]
	since := sh.lastProbe
	if since == 0 {
		since = max(sh.at, s.closedSince())
	}
	gap := s.at.Sub(since)
	switch {
	case h.state[d]&stWindowMode != 0:
	case h.state[d]&stIdleMode == 0:
		if gap <= firstProbe {
			h.state[d] |= stWindowMode
		} else {
			h.state[d] |= stIdleMode
		}
	case gap < firstProbe || sh.gap > 0 && gap.Seconds() > 1.4*float64(sh.gap) && gap.Seconds() < 2.6*float64(sh.gap) && float64(sh.gap) <= bsdProbe.Seconds():
		h.state[d] = h.state[d]&^stIdleMode | stWindowMode
		if pr := s.learn(); len(pr.Shut) < 16 {
			pr.Shut = append(pr.Shut, sh.ord)
		}
		s.relabel(sh.ord, d, KeepaliveProbe, ZeroWindowProbe)
	}
	sh.gap = float32(gap.Seconds())
	sh.lastProbe = s.at
}

// closedSince is when the sender last sent something new: window probing
// begins then where data came after the window had shut.
func (s *step) closedSince() tcp.Instant {
	return s.at.Add(-s.age(s.d))
}

func (s *step) probed() {
	sh := &s.rare().shut[s.p]
	sh.lastProbe = s.at
	if sh.open < 1<<15 {
		sh.open++
	}
}

// relabel changes the kind of an end's events since a frame.
func (s *step) relabel(since tcp.Ordinal, e int, was, is Kind) {
	evs := s.t.arena.events(s.c.story)
	for i := range evs {
		ev := &evs[i]
		if ev.bits&(evTail|evRun) != 0 || ev.from() != e || ev.ordinal() < since || ev.kind != was {
			continue
		}
		ev.kind = is
		ev.note |= NoteRevised
		if was == KeepaliveProbe {
			s.c.probes[e]--
			s.rare().windowProbe[e]++
			if ev.bits&evOpen != 0 && s.c.open[e] > 0 {
				s.c.open[e]--
			}
			ev.bits &^= evOpen
		}
		s.revise(ev.ordinal(), is, Inferred, 0)
	}
}
