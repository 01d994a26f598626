package pairing

import (
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// A capture that holds nothing more may have stopped: two captures never end at
// the same moment. Where nothing was due, its last packet may as well be the
// last that passed, and it is taken to have gone on. Where something was due,
// it is not.

// stopped says why the far point cannot be taken to have recorded e, which may lie
// beyond its last frame of these hosts. ok is false where nothing speaks
// against it.
func (l *leg) stopped(e *flows.Event) (r recording, ok bool) {
	near, far := l.m.sides[l.x], l.m.sides[l.y]
	beyond := l.arrival(e).Sub(far.last)
	switch {
	case beyond <= 0:
		return r, false // the clocks leave it open, no more
	case l.heardLater():
		return unknowable(NoLonger, "%s had ended: %s holds later packets of the host there", far.name, near.name), true
	case l.far != nil && isAsking(l.far):
		return unknowable(NoLonger, "%s had ended: its last packets ask for an answer, and it holds none and nobody asks again", far.name), true
	case !e.Flags.Has(tcp.RST) && near.last.Sub(e.At) < patience && beyond < patience:
		return unknowable(NoLonger, "it is on its way when %s ends", far.name), true
	}
	return r, false
}

// arrival is when e would have passed the far point, as nearly as the clocks
// tell.
func (l *leg) arrival(e *flows.Event) tcp.Instant {
	at := l.m.clocks.estimate(l.x, l.y, e.At)
	if rtt := l.near.Sides[l.from].RTT; rtt.Known {
		at = at.Add(rtt.Max / 2)
	}
	return at
}

// heardLater reports whether the near point holds packets of the receiver's host
// that left when the far point, which must have seen them, recorded no more.
func (l *leg) heardLater() bool {
	far := l.m.sides[l.y]
	end := int(opposite(l.from)) // of the key's two
	if clientIsHi(l.near) {
		end = 1 - end
	}
	heard := l.m.heardAt(l.x)[hostsOf(&l.near.Key)][end]
	left, _, known := l.m.clocks.window(l.x, l.y, heard)
	if heard == 0 || l.near.Key.Lo == l.near.Key.Hi {
		return false
	}
	took := patience
	if rtt := l.near.Sides[l.from].RTT; rtt.Known {
		took = min(took, rtt.Max)
	}
	left = left.Add(-took - l.slack)
	if known { // bounds of a clock to which packets went one way only are far apart
		left = max(left, l.m.clocks.estimate(l.x, l.y, heard).Add(-patience-l.slack))
	}
	names := l.m.namesAt(l.s, l.y)
	for _, k := range names {
		pair, ok := far.hostPair(&capture.Key{Lo: k.lo, Hi: k.hi})
		sees := ok && pair.Frames[0] > 0 && pair.Frames[1] > 0 || l.far != nil && l.far.Sides[opposite(l.from)].Segments > 0
		if !sees || max(pair.Last[0], pair.Last[1]) >= left {
			return false // it does not see that direction, or went on
		}
	}
	return len(names) > 0
}

// heardAt returns when each of two hosts, the lower one first, was last heard at
// a point, on any connection that is looked at closely.
func (m *matcher) heardAt(p int) map[hostsKey][2]tcp.Instant {
	if m.heard == nil {
		m.heard = make([]map[hostsKey][2]tcp.Instant, len(m.sides))
	}
	if m.heard[p] == nil {
		heard := map[hostsKey][2]tcp.Instant{}
		for _, s := range m.strands {
			f := s.seen[p]
			if f == nil {
				continue
			}
			last := heard[hostsOf(&f.Key)]
			for side := range f.Sides {
				end := side
				if clientIsHi(f) {
					end = 1 - side
				}
				last[end] = max(last[end], f.Sides[side].LastSent)
			}
			heard[hostsOf(&f.Key)] = last
		}
		m.heard[p] = heard
	}
	return m.heard[p]
}

// isAsking reports whether a view ends with a question, of either end: a probe,
// data or a FIN that waits for an answer. The one who was asked would answer, the
// one who asked would ask again.
func isAsking(f *flows.Flow) bool {
	for end := range f.Sides {
		if s := &f.Sides[end]; s.RST {
			return false
		}
	}
	for end := range f.Sides {
		if s := &f.Sides[end]; s.Unanswered > 0 || s.NxtKnown && s.SndUna.Before(s.SndNxt) {
			return true
		}
	}
	return false
}
