package pairing

import (
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// A capture may stand still, for want of disk or of processor time, with nothing in its
// file that tells. Pings show it: those that another point has with their answers, and
// that passed here before and afterwards, passed here in between, too. So does a row of
// answered keepalives that another point holds without a break, and this one before and
// afterwards.

// fewestPings is how many in a row a capture must lack: a single one may have been dropped,
// and says nothing of what else was.
const fewestPings = 2

// mostPaused bounds the connections of two hosts that are looked through for a frame
// within a pause.
const mostPaused = 1000

// findPauses notes at each point the stretches in which it recorded nothing of two hosts
// though they provably exchanged something past it.
func (m *matcher) findPauses() {
	type hostsAt struct {
		x, y   int
		kx, ky hostsKey
	}
	done := map[hostsAt]bool{}
	for _, s := range m.strands {
		at := s.points()
		for _, x := range at {
			for _, y := range at {
				h := hostsAt{x, y, hostsOf(&s.seen[x].Key), hostsOf(&s.seen[y].Key)}
				if x == y || done[h] {
					continue
				}
				done[h] = true
				m.findPausesOf(x, y, h.kx, h.ky)
			}
		}
		for _, x := range at {
			for _, y := range at {
				if x != y {
					m.findBreaks(s, x, y)
				}
			}
		}
	}
}

// findBreaks looks for pauses of point y in a connection's keepalives, which point x holds
// without a break.
func (m *matcher) findBreaks(s *strand, x, y int) {
	k := hostsOf(&s.seen[y].Key)
	for i := range s.seen[x].Events {
		row := &s.seen[x].Events[i]
		if row.Run == nil || row.Kind != flows.KeepaliveProbe || row.Run.Count[0] < 3 || row.Run.Count[1] < 3 || !row.Run.Period.Known {
			continue
		}
		_, from, ok := m.clocks.window(x, y, row.At)
		to, _, also := m.clocks.window(x, y, row.Run.Until)
		pace := row.Run.Period.Max
		for j := 1; ok && also && j < len(s.seen[y].Events); j++ {
			last, next := s.seen[y].Events[j-1].End(), s.seen[y].Events[j].At
			if last < from || next > to || next.Sub(last) <= 3*pace {
				continue
			}
			if there, known := m.sides[y].hostPair(&capture.Key{Lo: k.lo, Hi: k.hi}); known {
				m.sides[y].pause(k, &there, last.Add(pace), next.Add(-pace))
			}
		}
	}
}

// findPausesOf looks for pauses of point y by what point x holds of the same hosts.
func (m *matcher) findPausesOf(x, y int, kx, ky hostsKey) {
	here, ok := m.sides[x].hostPair(&capture.Key{Lo: kx.lo, Hi: kx.hi})
	there, known := m.sides[y].hostPair(&capture.Key{Lo: ky.lo, Hi: ky.hi})
	if !ok || !known {
		return
	}
	pings, held := here.Pings(tcp.MinInstant), there.Pings(tcp.MinInstant).Held
	level := max(here.Thinned, there.Thinned)
	asked := slices.DeleteFunc(pings.Asked, func(c flows.Control) bool { return !pings.Answered[c.ID] || !flows.EchoKept(c.ID, level) })
	for i := 0; i < len(asked); {
		n := i
		for n < len(asked) && !held[asked[n].ID] {
			n++
		}
		if i > 0 && n < len(asked) && n-i >= fewestPings {
			from, _, ok := m.clocks.window(x, y, asked[i].At)
			_, to, also := m.clocks.window(x, y, asked[n-1].At)
			if ok && also {
				m.sides[y].pause(ky, &there, from, to)
			}
		}
		i = max(n, i+1)
	}
}

// pause notes a pause that holds from..to, unless the side has a frame of the hosts in
// there. It reaches from the frame before to the one behind.
func (s *side) pause(k hostsKey, hp *flows.HostPair, from, to tcp.Instant) {
	before, behind := tcp.MinInstant, tcp.MaxInstant
	within := false
	frames := func(first, last tcp.Instant) {
		switch {
		case last < from:
			before = max(before, last)
		case first > to:
			behind = min(behind, first)
		default:
			within = true
		}
	}
	for i := range hp.Controls {
		frames(hp.Controls[i].At, hp.Controls[i].At)
	}
	read := 0
	for i := range s.cards {
		if hostsOf(&s.cards[i].Key) != k || s.cards[i].Last < from.Add(-longestDelay) && s.cards[i].Last < before || s.cards[i].First > behind {
			continue
		}
		if read++; read > mostPaused {
			return
		}
		f := s.flow(i)
		for j := range f.Events {
			frames(f.Events[j].At, f.Events[j].End())
		}
	}
	if within {
		return
	}
	if s.pauses == nil {
		s.pauses = map[hostsKey][]capture.Interval{}
	}
	h := capture.Interval{From: before + 1, To: behind - 1, Why: capture.WhyUnseen}
	s.pauses[k] = slices.DeleteFunc(s.pauses[k], func(x capture.Interval) bool { // another point has shown it too
		if x.From > h.To || x.To < h.From {
			return false
		}
		h.From, h.To = min(h.From, x.From), max(h.To, x.To)
		return true
	})
	s.pauses[k] = append(s.pauses[k], h)
}

// paused returns a flow with the pauses of its hosts among what its capture misses.
func (s *side) paused(f *flows.Flow) *flows.Flow {
	pauses := s.pauses[hostsOf(&f.Key)]
	if len(pauses) == 0 {
		return f
	}
	g := *f
	g.Missing = slices.Clip(f.Missing)
	for _, h := range pauses {
		if h.To >= f.First {
			g.Missing = append(g.Missing, h)
		}
	}
	return &g
}
