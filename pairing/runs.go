package pairing

import (
	"fmt"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// withinRun says whether a single segment of the near point lies in a run of
// the far one, which no longer lists its segments.
func (l *leg) withinRun(f *Fate, e *flows.Event, from, to tcp.Instant) bool {
	for j := range l.far.Events {
		g := &l.far.Events[j]
		if g.Run == nil || g.Run.Count[l.from] == 0 || to.Add(l.slack) < g.At || g.Run.Until < from || !fitsRun(e, g) {
			continue
		}
		f.Reason = InRun
		f.Why = fmt.Sprintf("within a run of %d segments in %s", g.Run.Count[l.from], l.farName())
		if g.At <= from && to <= g.Run.Until && steady(g) && l.sentWithin(g) <= int(g.Run.Count[l.from]) || l.fills(j) {
			f.How = Crossed
			f.Seen = l.m.sides[l.y].refAt(l.y, 0, g.Kind, 0)
		}
		return true
	}
	return false
}

// folded reports whether the far point folded traffic of the sender's between two moments:
// what is repeated in it may stand anywhere, and what it ends with does not tell how far
// it went.
func (l *leg) folded(from, to tcp.Instant) bool {
	return l.far != nil && slices.ContainsFunc(l.far.Events, func(g flows.Event) bool {
		return g.Run != nil && g.Kind != flows.KeepaliveProbe && g.Run.Count[l.from] > 0 && g.At <= to && g.Run.Until >= from
	})
}

// fitsRun reports whether e can be one of the segments of run g.
func fitsRun(e, g *flows.Event) bool {
	r := g.Run
	switch {
	case g.Kind == flows.KeepaliveProbe && e.From == g.From:
		return e.Seq == g.Seq && e.Len <= 1 && !e.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST)
	case g.Kind == flows.KeepaliveProbe:
		return e.Len == 0 && !e.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) && (!isProbe(e.Kind) || e.Kind == flows.KeepaliveUnclear && e.Seq == g.Ack)
	case e.Flags.Any(tcp.SYN | tcp.FIN | tcp.RST):
		return false
	case e.From == g.From && r.LastFrom == e.From:
		return !e.Seq.Before(g.Seq) && !e.Seq.After(r.Seq)
	case e.From == g.From:
		return !e.Seq.Before(g.Seq) && !e.Seq.After(r.Ack)
	}
	return true
}

// steady reports whether no probe can be missing from a keepalive run: one
// lost would double the spacing. Other runs have no rhythm to tell.
func steady(g *flows.Event) bool {
	p := g.Run.Period
	return g.Kind != flows.KeepaliveProbe || (p.Known && 2*p.Max < 3*p.Min)
}

// sentWithin counts the sender's segments at the near point that fall into the
// time of a run at the far one.
func (l *leg) sentWithin(g *flows.Event) int {
	from := l.m.clocks.estimate(l.y, l.x, g.At)
	to := l.m.clocks.estimate(l.y, l.x, g.Run.Until)
	return countSent(l.near, l.from, from, to)
}

// fills reports whether the prober's segments at the near point that can be those of
// the keepalive run that is far event j are no more than it holds: then all of them
// are, however little the clocks tell. What was sent before the run's first one is
// none of them.
func (l *leg) fills(j int) bool {
	g := &l.far.Events[j]
	if g.Kind != flows.KeepaliveProbe || g.From != l.from {
		return false
	}
	sent := 0
	for i := max(0, l.takenBy[j]); i < len(l.near.Events); i++ {
		e := &l.near.Events[i]
		if !comparableEvent(e) || l.partner[i] >= 0 && l.partner[i] != j {
			continue
		}
		from, _, known := l.m.clocks.window(l.x, l.y, e.At)
		_, to, _ := l.m.clocks.window(l.x, l.y, e.End())
		switch {
		case !known:
			return false
		case to.Add(l.slack) < g.At || g.Run.Until < from:
		case e.Run != nil:
			sent += int(e.Run.Count[l.from])
		case e.From == l.from && fitsRun(e, g):
			sent++
		}
	}
	return sent <= int(g.Run.Count[l.from])
}

// countSent counts one side's segments between two instants: single ones, and
// those of runs that lie wholly between.
func countSent(f *flows.Flow, side uint8, from, to tcp.Instant) (n int) {
	for i := range f.Events {
		e := &f.Events[i]
		switch {
		case !comparableEvent(e) || e.At < from || e.End() > to:
		case e.Run != nil:
			n += int(e.Run.Count[side])
		case e.From == side:
			n++
		}
	}
	return n
}

// runFate fills in the fate of a run. Its segments were answered or
// acknowledged, so they arrived; the question is whether the far capture holds
// as many.
func (l *leg) runFate(f *Fate, i int, e *flows.Event) {
	f.Count = int(e.Run.Count[l.from])
	if l.far == nil {
		f.Reason, f.Why = Acknowledged, fmt.Sprintf("a run of %d answered or acknowledged segments that %s misses", f.Count, l.farName())
		return
	}
	from, _, _ := l.m.clocks.window(l.x, l.y, e.At)
	_, to, _ := l.m.clocks.window(l.x, l.y, e.Run.Until)
	seen := countSeen(l.far, l.from, from, to.Add(l.slack))
	if seen < f.Count {
		if l.tailAcked(e) {
			late := countSeen(l.far, l.from, from, to.Add(longestDelay)) // what came late was not missed
			f.Missing = max(0, l.sentBefore(e, l.recordedUntil(from, to))-late)
		}
		f.Reason, f.Why = InRun, fmt.Sprintf("a run of %d segments, of which %s holds %d in that time", f.Count, l.farName(), seen)
		return
	}
	f.How = Crossed
	if l.partner[i] >= 0 {
		f.Seen = l.m.sides[l.y].ref(l.y, &l.far.Events[l.partner[i]])
		return
	}
	f.Reason, f.Why = InRun, fmt.Sprintf("a run of %d segments, paired by count and time", f.Count)
	f.Seen = l.m.sides[l.y].refAt(l.y, 0, e.Kind, 0)
}

// recordedUntil returns how far between two moments the far point provably
// recorded these hosts; 0 where it did not. Of a run that goes on after its
// capture ends, or after what a stream has told so far, it misses nothing there.
func (l *leg) recordedUntil(from, to tcp.Instant) tcp.Instant {
	side, names := l.m.sides[l.y], l.m.namesAt(l.s, l.y)
	if r := side.recorded(names, nil, from, to); r.how == Lost && !r.assumed {
		return to
	}
	until := to
	for _, k := range names {
		_, last, _ := side.proven(&capture.Key{Lo: k.lo, Hi: k.hi})
		until = min(until, last)
	}
	for _, h := range side.holes {
		if h.To >= from {
			until = min(until, h.From-1)
		}
	}
	if r := side.recorded(names, nil, from, until); len(names) == 0 || until <= from || r.how != Lost || r.assumed {
		return 0
	}
	return until
}

// sentBefore returns how many segments of a run had surely been sent before a
// moment at the far point: all, or of the even steps of keepalives those before.
func (l *leg) sentBefore(e *flows.Event, until tcp.Instant) int {
	_, to, _ := l.m.clocks.window(l.x, l.y, e.Run.Until)
	_, from, _ := l.m.clocks.window(l.x, l.y, e.At)
	from = from.Add(l.slack) // the first one has arrived
	switch p := e.Run.Period; {
	case until == 0:
		return 0
	case until >= to:
		return int(e.Run.Count[l.from])
	case e.Kind != flows.KeepaliveProbe || !p.Known || p.Max <= 0 || until < from:
		return 0
	default:
		n := int(until.Sub(from) / p.Max)
		if e.From == l.from {
			n++
		}
		return min(int(e.Run.Count[l.from]), n)
	}
}

// tailAcked reports whether the last segment of a run of the sender's was
// acknowledged, as far as that is known: what was not need not have arrived.
func (l *leg) tailAcked(e *flows.Event) bool {
	if e.Run.Unheard {
		return false
	}
	if e.Kind == flows.KeepaliveProbe || e.Run.LastFrom != l.from {
		return true
	}
	for _, a := range l.acks {
		if a.any && a.ever.After(e.Run.Seq) {
			return true
		}
	}
	return false
}

// countSeen counts one side's segments between two instants, with every run
// that touches that time counted whole.
func countSeen(f *flows.Flow, side uint8, from, to tcp.Instant) (n int) {
	for i := range f.Events {
		e := &f.Events[i]
		switch {
		case !comparableEvent(e) || e.End() < from || e.At > to:
		case e.Run != nil:
			n += int(e.Run.Count[side])
		case e.From == side:
			n++
		}
	}
	return n
}

// farRunNear reports whether the far point folded data near e's position, so
// that octets not listed there may have passed.
func (l *leg) farRunNear(e *flows.Event) bool {
	from, to, _ := l.m.clocks.window(l.x, l.y, e.At)
	for j := range l.far.Events {
		g := &l.far.Events[j]
		if g.Run != nil && g.Run.Count[l.from] > 0 && g.At <= to.Add(longestDelay) && from <= g.Run.Until {
			return true
		}
	}
	return false
}
