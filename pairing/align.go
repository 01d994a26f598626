package pairing

import (
	"fmt"
	"slices"

	"kaflow/flows"
	"kaflow/tcp"
)

// likeness is what segments have in common that only their order and time can
// tell apart.
type likeness struct {
	flags    tcp.Flags
	seq, ack tcp.Seq
	length   uint32
	ts       uint32
	hasTS    bool
	ipid     uint16
}

// alignRest pairs what is left over: segments that look alike, in order and
// within the bounds of the clocks.
func (l *leg) alignRest() {
	if l.far == nil {
		return
	}
	near, far := map[likeness][]int{}, map[likeness][]int{}
	collect(l.near, l.from, l.partner, l.ipid == ipidKept, near)
	collect(l.far, l.from, l.takenBy, l.ipid == ipidKept, far)
	for k, xs := range near { // the order does not matter: groups share nothing
		if ys := far[k]; len(ys) > 0 {
			l.alignGroup(xs, ys)
			l.lateOnes(xs, ys)
		}
	}
}

// ipidHabit is what crossings tell of the IP ID between two points.
type ipidHabit uint8

// The habits. Where nothing tells, segments that differ in the IP ID alone may
// be one packet or two.
const (
	ipidUnknown ipidHabit = iota
	ipidKept
	ipidRewritten
)

// passage is one direction between two points.
type passage struct {
	ij   [2]int
	from uint8
}

// ipidHabits returns what the crossings of all connections tell, by points and
// direction.
func ipidHabits(strands []*strand) map[passage]ipidHabit {
	habits := map[passage]ipidHabit{}
	for _, s := range strands {
		for ij, crossings := range s.meet {
			for k := range crossings {
				c := &crossings[k]
				if c.event[0] < 0 {
					continue
				}
				x, y := &s.views[ij[0]].Events[c.event[0]], &s.views[ij[1]].Events[c.event[1]]
				way := passage{ij, x.From}
				switch {
				case x.Len != y.Len: // cut anew on the host
				case x.IPID != y.IPID:
					habits[way] = ipidRewritten // one is enough: a box that keeps it keeps it always
				case x.IPID != 0 && habits[way] == ipidUnknown:
					habits[way] = ipidKept
				}
			}
		}
	}
	return habits
}

// collect files the sender's unmatched single segments by likeness.
func collect(f *flows.Flow, from uint8, match []int, byIPID bool, into map[likeness][]int) {
	for i := range f.Events {
		e := &f.Events[i]
		if e.From != from || match[i] >= 0 || e.Run != nil || !comparableEvent(e) {
			continue
		}
		k := likeness{flags: e.Flags &^ tcp.PSH, seq: e.Seq, ack: e.Ack, length: e.Len, hasTS: e.HasTS}
		if e.HasTS {
			k.ts = e.TSVal
		}
		if byIPID {
			k.ipid = e.IPID
		}
		into[k] = append(into[k], i)
	}
}

// alignGroup pairs alike segments: xs at the near point, ys at the far one,
// both in capture order. A stretch in which as many arrived as were sent is
// paired in order; one in which fewer arrived is settled where the clocks are
// sharper than half the spacing, else it is unsure which of them did.
func (l *leg) alignGroup(xs, ys []int) {
	byTime := func(f *flows.Flow) func(a, b int) int {
		return func(a, b int) int { return cmpOrd(f.Events[a].At, f.Events[b].At) }
	}
	slices.SortStableFunc(xs, byTime(l.near))
	slices.SortStableFunc(ys, byTime(l.far))
	for len(xs) > 0 {
		n, lo, hi := l.component(xs, ys)
		l.settle(xs[:n], ys[lo:hi])
		xs, ys = xs[n:], ys[hi:]
	}
}

// component returns how many of xs, from the first on, compete for the same
// ys, and which ys those are.
func (l *leg) component(xs, ys []int) (n, lo, hi int) {
	for n < len(xs) {
		from, to, _ := l.m.clocks.window(l.x, l.y, l.near.Events[xs[n]].At)
		to = to.Add(l.slack)
		a, b := 0, 0
		for a < len(ys) && l.far.Events[ys[a]].At < from {
			a++
		}
		for b = a; b < len(ys) && l.far.Events[ys[b]].At <= to; {
			b++
		}
		switch {
		case n == 0:
			lo, hi = a, b
		case a >= hi || a == b:
			return n, lo, hi
		default:
			hi = max(hi, b)
		}
		n++
		if lo == hi {
			return n, lo, hi
		}
	}
	return n, lo, hi
}

// settle pairs the segments of one component.
func (l *leg) settle(xs, ys []int) {
	switch {
	case len(ys) == 0:
		return
	case len(xs) <= len(ys):
		for k := range xs {
			l.pair(xs[k], ys[k])
		}
		return
	}
	if l.spacious(xs) {
		l.nearest(xs, ys)
		return
	}
	for _, i := range xs {
		l.unsure[i] = fmt.Sprintf("identical probes, clock uncertainty exceeds half their spacing: %d of %d are in %s", len(ys), len(xs), l.farName())
	}
}

// pair takes far event j for near event i, unless their IP IDs differ and
// nothing tells whether the path keeps it.
func (l *leg) pair(i, j int) {
	if l.ipid == ipidUnknown && l.near.Events[i].IPID != l.far.Events[j].IPID {
		l.unsure[i] = fmt.Sprintf("%s holds a segment that differs in the IP ID alone, and nothing tells whether the path keeps that", l.farName())
		return
	}
	l.partner[i], l.takenBy[j] = j, i
}

// spacious reports whether the clocks tell neighbours of xs apart.
func (l *leg) spacious(xs []int) bool {
	for k := 1; k < len(xs); k++ {
		a, b := l.near.Events[xs[k-1]].At, l.near.Events[xs[k]].At
		from, to, known := l.m.clocks.window(l.x, l.y, a)
		if !known || 2*to.Sub(from) >= b.Sub(a) {
			return false
		}
	}
	return true
}

// nearest gives each arrival to the last segment that can have been sent
// before it.
func (l *leg) nearest(xs, ys []int) {
	for _, j := range ys {
		best := -1
		for _, i := range xs {
			from, _, _ := l.m.clocks.window(l.x, l.y, l.near.Events[i].At)
			if from <= l.far.Events[j].At && l.partner[i] < 0 {
				best = i
			}
		}
		if best >= 0 {
			l.pair(best, j)
		}
	}
}

// lateOnes marks segments whose like arrived unpaired and later than the
// bounds allow, but not so late that it cannot be they.
func (l *leg) lateOnes(xs, ys []int) {
	for _, j := range ys {
		if l.takenBy[j] >= 0 {
			continue
		}
		for _, i := range xs {
			if _, there := l.unsure[i]; there || l.partner[i] >= 0 || !l.inTime(&l.near.Events[i], &l.far.Events[j]) {
				continue
			}
			l.unsure[i] = fmt.Sprintf("an identical segment passed %s later than this one should have", l.farName())
		}
	}
}
