package pairing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// Rate is what the hosts' own timestamps tell of how much faster one clock runs
// than another. A sender's TSval is a third clock that both captures hold: how
// fast each of them runs against it needs no packet in common and no traffic
// back. It is an estimate: nothing bounds how long packets were under way.
type Rate struct {
	PPM, Err float64
	Flows    int // connections and directions that tell; 0: not known
}

const (
	rateSegments = 4     // fewer of one sender tell no rate
	ratePlenty   = 9     // of so many the delays can be told apart among themselves
	rateTrips    = 8     // round trips that tell how much delays differ
	rateWorst    = 400.0 // ppm: an estimate that is off by more tells nothing
	rateUsable   = 20.0  // ppm: clocks hardly differ by more, so nothing worse is put in the place of that
)

// reading is a sender's clock as one capture holds it.
type reading struct {
	stamp int64       // TSval, counted from a base
	at    tcp.Instant // on the capture's clock
}

// readings lists what one end's segments tell of its clock between two moments,
// by TSval, which is counted from base.
func readings(f *flows.Flow, from uint8, base uint32, since, until tcp.Instant) (out []reading) {
	add := func(stamp uint32, at tcp.Instant) {
		if since <= at && at <= until && stamp != 0 {
			out = append(out, reading{int64(int32(stamp - base)), at})
		}
	}
	for i := range f.Events {
		e := &f.Events[i]
		if !e.HasTS || !comparableEvent(e) || e.Kind == flows.Stale {
			continue
		}
		if e.From == from {
			add(e.TSVal, e.At)
		}
		switch r := e.Run; {
		case r == nil:
		case e.Kind == flows.KeepaliveProbe && e.From == from && r.RTT.Known: // the run ends with the answer
			add(r.TSVal, r.Until.Add(-r.RTT.Min))
		case e.Kind != flows.KeepaliveProbe && r.LastFrom == from:
			add(r.TSVal, r.Until)
		}
	}
	slices.SortFunc(out, func(a, b reading) int { return cmp.Or(cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.at, b.at)) })
	return out
}

// perTick returns how long a tick of the sender's clock takes on the capture's,
// in nanoseconds, and by how many ppm that may be off: the least delay of the
// first third of the segments is compared with that of the last. Where they are
// few, as those of a connection that only probes, jitter says by how much delays
// differ; negative where that is not known.
func perTick(rs []reading, jitter float64) (tick, ppm float64, ok bool) {
	n := len(rs)
	if n < rateSegments || n < ratePlenty && jitter < 0 || rs[n-1].stamp <= rs[0].stamp || rs[n-1].at <= rs[0].at {
		return 0, 0, false
	}
	tick = float64(rs[n-1].at.Sub(rs[0].at)) / float64(rs[n-1].stamp-rs[0].stamp)
	delay := func(r reading) float64 { return float64(r.at.Sub(rs[0].at)) - tick*float64(r.stamp-rs[0].stamp) }
	quickest := func(some []reading) (r reading, spread float64) {
		all := make([]float64, len(some))
		r = some[0]
		for i := range some {
			all[i] = delay(some[i])
			if all[i] < delay(r) {
				r = some[i]
			}
		}
		slices.Sort(all)
		return r, all[len(all)/2] - all[0]
	}
	a, before := quickest(rs[:n/3])
	b, after := quickest(rs[n-n/3:])
	if n < ratePlenty {
		before, after = max(before, jitter), max(after, jitter)
	}
	span := float64(b.at.Sub(a.at))
	if b.stamp <= a.stamp || span <= 0 {
		return 0, 0, false
	}
	ppm = (tick + before + after) / span * 1e6
	return span / float64(b.stamp-a.stamp), ppm, ppm < rateWorst
}

// within leaves the readings whose stamps lie between those of others, so that
// both captures are compared over the same time of the sender's clock. The
// stamps of both count from the same base.
func within(rs []reading, least, most int64) []reading {
	return slices.DeleteFunc(slices.Clone(rs), func(r reading) bool { return r.stamp < least || r.stamp > most })
}

// rates adds to every clock what timestamps tell of its rate, and who stepped.
func (m *matcher) rates() {
	for ij, pieces := range m.clocks {
		for k := range pieces {
			if c := &pieces[k]; !c.Contradiction && c.fit != nil && !c.fit.wanders {
				c.Stamps = m.rateBetween(ij, c)
				c.takeRate()
			}
		}
		for k := 1; k < len(pieces); k++ {
			if who, ok := m.stepper(ij, &pieces[k-1], &pieces[k]); ok {
				pieces[k].Note += ": the timestamps of the hosts say that it was " + m.sides[ij[who]].name + "'s"
				setGrace(&pieces[k-1], &pieces[k], max(pieces[k].since[1-who], 0))
			}
		}
	}
}

// rateBetween returns what all connections tell on one stretch: the middle of the
// sharpest, of which a single one may have been lucky with its delays.
func (m *matcher) rateBetween(ij [2]int, c *Clock) Rate {
	var all []Rate
	for _, s := range m.strands {
		if s.views[ij[0]] == nil || s.views[ij[1]] == nil || s.self {
			continue
		}
		for from := flows.Client; from <= flows.Server; from++ {
			if r, ok := rateOf(s.views[ij[0]], s.views[ij[1]], from, c); ok {
				all = append(all, r)
			}
		}
	}
	if len(all) == 0 {
		return Rate{}
	}
	slices.SortFunc(all, func(a, b Rate) int { return cmp.Or(cmp.Compare(a.Err, b.Err), cmp.Compare(a.PPM, b.PPM)) })
	sharp := 1
	for sharp < len(all) && all[sharp].Err <= 2*all[0].Err {
		sharp++
	}
	ppm := make([]float64, sharp)
	for i := range ppm {
		ppm[i] = all[i].PPM
	}
	return Rate{PPM: median(ppm), Err: all[sharp/2].Err, Flows: len(all)}
}

// rateOf returns what one sender's timestamps tell on the stretch of a clock.
func rateOf(f, g *flows.Flow, from uint8, c *Clock) (r Rate, ok bool) {
	base, ok := firstStamp(f, from)
	a := readings(f, from, base, c.Since, c.Until)
	b := readings(g, from, base, c.Map(c.Since), c.Map(c.Until))
	if !ok || len(a) < rateSegments || len(b) < rateSegments {
		return r, false
	}
	least, most := max(a[0].stamp, b[0].stamp), min(a[len(a)-1].stamp, b[len(b)-1].stamp)
	x, ex, ok1 := perTick(within(a, least, most), jitterOf(f))
	y, ey, ok2 := perTick(within(b, least, most), jitterOf(g))
	if !ok1 || !ok2 {
		return r, false
	}
	r = Rate{PPM: (y/x - 1) * 1e6, Err: ex + ey}
	return r, r.Err < rateWorst
}

// jitterOf returns by how much the round trips of a flow's probes differ, in
// nanoseconds; −1 where too few were measured.
func jitterOf(f *flows.Flow) float64 {
	jitter := -1.0
	if f.Sides[0].Answered+f.Sides[1].Answered < rateTrips {
		return jitter
	}
	for s := range f.Sides {
		if r := &f.Sides[s].RTT; r.Known {
			jitter = max(jitter, float64(r.Max-r.Min))
		}
		for i := range f.Events {
			if r := f.Events[i].Run; r != nil && r.RTT.Known {
				jitter = max(jitter, float64(r.RTT.Max-r.RTT.Min))
			}
		}
	}
	return jitter
}

// firstStamp returns the first TSval of a side.
func firstStamp(f *flows.Flow, from uint8) (uint32, bool) {
	for i := range f.Events {
		if e := &f.Events[i]; e.From == from && e.HasTS && e.TSVal != 0 {
			return e.TSVal, true
		}
	}
	return 0, false
}

// takeRate narrows the estimate, not the bounds, to what timestamps tell, where
// that is sharper than what crossings do; where both exclude each other it says
// so.
func (c *Clock) takeRate() {
	r := c.Stamps
	switch {
	case r.Flows == 0:
	case r.Err > rateUsable:
	case r.PPM+r.Err < c.PPMMin || r.PPM-r.Err > c.PPMMax:
		note := fmt.Sprintf("the hosts' timestamps tell of a rate of %.0f ± %.0f ppm, packets of %.0f to %.0f: a box between rewrites timestamps, or the rate changes", r.PPM, r.Err, c.PPMMin, c.PPMMax)
		if c.Note != "" {
			note = c.Note + "; " + note
		}
		c.Note = note
	case c.RateByStamps():
		c.PPM = math.Min(math.Max(r.PPM, c.PPMMin), c.PPMMax)
		c.Offset = c.fit.duration(c.fit.centre(c.At, c.PPM*1e-6), 0)
	}
}

// RateByStamps reports whether PPM is what the hosts' timestamps tell, these
// being sharper than the crossings and not contradicted by them.
func (c *Clock) RateByStamps() bool {
	r := &c.Stamps
	return r.Flows > 0 && r.Err <= rateUsable && 4*r.Err < c.PPMMax-c.PPMMin && r.PPM+r.Err >= c.PPMMin && r.PPM-r.Err <= c.PPMMax
}

// stepper tells which of two captures' clocks stepped between two stretches: the
// first (0) or the second (1), by which of them the senders' clocks seem to jump.
func (m *matcher) stepper(ij [2]int, before, after *Clock) (who int, ok bool) {
	step := float64(after.Offset - before.Offset)
	var jumps [2][]float64
	for _, s := range m.strands {
		if s.views[ij[0]] == nil || s.views[ij[1]] == nil || s.self {
			continue
		}
		for from := flows.Client; from <= flows.Server; from++ {
			for k, v := range ij {
				if j, ok := jumpOf(s.views[v], from, before, after, k == 0); ok {
					jumps[k] = append(jumps[k], j)
				}
			}
		}
	}
	if len(jumps[0]) == 0 || len(jumps[1]) == 0 {
		return 0, false
	}
	first, second := median(jumps[0]), median(jumps[1])
	close := func(a, b float64) bool { return math.Abs(a-b) < math.Abs(step)/10 }
	switch { // the offset is the second clock less the first
	case close(first, -step) && close(second, 0):
		return 0, true
	case close(second, step) && close(first, 0):
		return 1, true
	}
	return 0, false
}

// jumpOf returns by how much a capture's clock seems to jump against a sender's
// from the end of one stretch to the beginning of the next.
func jumpOf(f *flows.Flow, from uint8, before, after *Clock, forward bool) (jump float64, ok bool) {
	base, ok := firstStamp(f, from)
	span := func(c *Clock) (since, until tcp.Instant) {
		if forward {
			return c.Since, c.Until
		}
		return c.Map(c.Since).Add(-time.Second), c.Map(c.Until).Add(time.Second)
	}
	since, until := span(before)
	a := readings(f, from, base, since, until)
	since, until = span(after)
	b := readings(f, from, base, since, until)
	if !ok || len(a) < 2 || len(b) < 1 {
		return 0, false
	}
	last, next := a[len(a)-1], b[0]
	elapsed := last.stamp - a[0].stamp
	if elapsed <= 0 || next.stamp < last.stamp {
		return 0, false
	}
	tick := float64(last.at.Sub(a[0].at)) / float64(elapsed)
	return float64(next.at.Sub(last.at)) - tick*float64(next.stamp-last.stamp), true
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
