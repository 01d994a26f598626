package pairing

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"kaflow/tcp"
)

const (
	// assumedClock is how far two clocks are taken to be apart when no packet
	// compares them.
	assumedClock = 10 * time.Second
	// longestDelay is the one-way delay beyond which a packet is not believed
	// to be still under way.
	longestDelay = 10 * time.Second
)

// Map converts an instant of From's clock into To's by the point estimate.
func (c *Clock) Map(t tcp.Instant) tcp.Instant { return t.Add(c.estimate(t)) }

// Unmap converts an instant of To's clock into From's: the inverse of Map.
func (c *Clock) Unmap(t tcp.Instant) tcp.Instant {
	if c.fit != nil && c.fit.wanders && !c.Given {
		s := t.Add(-c.Offset)
		for range 3 { // each round leaves maxSkew of the error before it
			s = t.Add(-c.estimate(s))
		}
		return s
	}
	since := t.Add(-c.Offset).Sub(c.At)
	drift := time.Duration(math.Round(float64(since) * c.PPM * 1e-6 / (1 + c.PPM*1e-6)))
	return t.Add(-c.Offset - drift)
}

// estimate returns the point estimate of the offset at t, on From's clock.
func (c *Clock) estimate(t tcp.Instant) time.Duration {
	if c.fit != nil && c.fit.wanders && !c.Given {
		low, high := c.fit.bounds(t)
		return c.fit.duration(between(low, high), 0)
	}
	return c.Offset + time.Duration(c.PPM*1e-6*float64(t.Sub(c.At)))
}

// Bounds returns the least and the greatest offset at t, on From's clock, that
// no crossing contradicts, the rate being constant within 500 ppm. A side that
// nothing bounds gives math.MinInt64 or math.MaxInt64.
func (c *Clock) Bounds(t tcp.Instant) (least, greatest time.Duration) {
	if c.fit == nil {
		return c.drifted(t)
	}
	low, high := c.fit.bounds(t)
	return c.fit.duration(low, -1), c.fit.duration(high, 1)
}

// drifted widens Min and Max by the drift since At, for a clock without
// crossings.
func (c *Clock) drifted(t tcp.Instant) (least, greatest time.Duration) {
	since := float64(t.Sub(c.At))
	slow, fast := c.PPMMin*1e-6*since, c.PPMMax*1e-6*since
	least, greatest = math.MinInt64, math.MaxInt64
	if !c.NoMin {
		least = c.Min + time.Duration(math.Floor(math.Min(slow, fast)))
	}
	if !c.NoMax {
		greatest = c.Max + time.Duration(math.Ceil(math.Max(slow, fast)))
	}
	return least, greatest
}

// usable returns bounds that are always finite: where one direction alone
// crossed, a delay is taken to be at most longestDelay.
func (c *Clock) usable(t tcp.Instant) (least, greatest time.Duration) {
	least, greatest = c.Bounds(t)
	switch {
	case least == math.MinInt64 && greatest == math.MaxInt64:
		return c.Offset - assumedClock, c.Offset + assumedClock
	case least == math.MinInt64:
		least = greatest - longestDelay
	case greatest == math.MaxInt64:
		greatest = least + longestDelay
	}
	return least, greatest
}

// newClock turns a fit over samples into a Clock.
func newClock(from, to int, samples []sample, f *fit) Clock {
	c := Clock{From: from, To: to, fit: f}
	c.Since, c.Until = samples[0].x, samples[0].x
	var sum float64
	for _, s := range samples {
		c.Since, c.Until = min(c.Since, s.x), max(c.Until, s.x)
		sum += float64(s.x.Sub(f.x0))
		if s.up {
			c.Samples[0]++
		} else {
			c.Samples[1]++
		}
	}
	c.At = f.x0.Add(time.Duration(sum / float64(len(samples))))
	low, high := f.bounds(c.At)
	c.Min, c.Max = f.duration(low, -1), f.duration(high, 1)
	c.NoMin, c.NoMax = math.IsInf(low, 0), math.IsInf(high, 0)
	if f.wanders {
		c.PPMMin, c.PPMMax = -maxSkew*1e6, maxSkew*1e6
		c.Offset = f.duration(between(low, high), 0)
		c.Note = "the rate of the two clocks changes within the captures; bounds come from the nearest crossings"
		return c
	}
	c.PPMMin, c.PPMMax = f.least*1e6, f.great*1e6
	rho := (f.least + f.great) / 2
	c.PPM = rho * 1e6
	c.Offset = f.duration(f.centre(c.At, rho), 0)
	if c.NoMin || c.NoMax {
		c.Note = "only one direction crossed: the offset is bounded from one side"
	}
	return c
}

// fitClocks returns the clock between two points over all samples: one piece,
// several around steps, or one marked as a contradiction.
func fitClocks(from, to int, samples []sample) []Clock {
	slices.SortFunc(samples, func(a, b sample) int {
		if a.ord != b.ord {
			return cmpOrd(a.ord, b.ord)
		}
		return cmpOrd(a.v, b.v)
	})
	if f, ok := fitSamples(samples); ok {
		return []Clock{newClock(from, to, samples, f)}
	}
	if clocks, ok := splitAtSteps(from, to, samples); ok {
		return clocks
	}
	if kept := withoutOdd(samples); len(kept) < len(samples) {
		if f, ok := fitSamples(kept); ok {
			c := newClock(from, to, kept, f)
			c.Note = strings.TrimPrefix(fmt.Sprintf("%s; %d of %d crossings contradict all others and are left out: frames taken for others", c.Note, len(samples)-len(kept), len(samples)), "; ")
			return []Clock{c}
		}
	}
	low, high := samples[0].v, samples[0].v
	for _, s := range samples {
		low, high = min(low, s.v), max(high, s.v)
	}
	c := Clock{From: from, To: to, Since: samples[0].x, Until: samples[len(samples)-1].x, At: samples[0].x,
		Min: low, Max: high, Offset: low/2 + high/2, Contradiction: true,
		Note: fmt.Sprintf("no clock fits all %d crossings, even with steps: a wrong pair, or a clock that is set again and again", len(samples))}
	for _, s := range samples {
		c.Since, c.Until = min(c.Since, s.x), max(c.Until, s.x)
	}
	return []Clock{c}
}

// oddShare is how many of all crossings can be left out as mistaken: one in so
// many.
const oddShare = 50

// withoutOdd returns the samples less the few that no offset near the one which
// most of them allow explains. A capture that misses frames can make two frames
// look like one. Where more than a few would have to go, all are returned.
func withoutOdd(samples []sample) []sample {
	byValue := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return cmpOrd(a.v, b.v) })
	// Below an offset no crossing from From may lie, above it none to From. Going
	// up through the values, those from From that were passed are violated, and
	// those to From that are still ahead.
	ahead := 0
	for _, s := range byValue {
		if !s.up {
			ahead++
		}
	}
	least, offset, passed := len(samples)+1, time.Duration(0), 0
	for _, s := range byValue {
		if violated := passed + ahead; violated < least {
			least, offset = violated, s.v
		}
		if s.up {
			passed++
		} else {
			ahead--
			if violated := passed + ahead; violated < least {
				least, offset = violated, s.v
			}
		}
	}
	if least == 0 || least > len(samples)/oddShare {
		return samples
	}
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.up && s.v < offset || !s.up && s.v > offset })
}

const (
	mostPieces = 8 // of a clock that steps
	pieceLeast = 4 // crossings that each of several steps must have on either side: one odd crossing makes no two steps
)

// splitAtSteps fits a clock that steps. Pieces are as few as possible: each
// made as long as it fits from the beginning on, which ends it at the latest
// possible moment, and from the end on, which begins it at the earliest. A step
// lies somewhere between, so a piece holds what surely came after the step
// before it and surely before the next.
func splitAtSteps(from, to int, samples []sample) ([]Clock, bool) {
	ends, ok := latestEnds(samples)
	if !ok {
		return nil, false
	}
	begins := earliestBegins(samples, len(ends))
	if len(begins) != len(ends) {
		return nil, false
	}
	var clocks []Clock
	var cores [][2]int
	for k := range ends {
		core := [2]int{0, len(samples)}
		if k > 0 {
			core[0] = ends[k-1]
		}
		if k+1 < len(begins) {
			core[1] = begins[k+1]
		}
		if core[0] >= core[1] || len(ends) > 2 && core[1]-core[0] < pieceLeast {
			return nil, false
		}
		f, _ := fitSamples(samples[core[0]:core[1]])
		clocks, cores = append(clocks, newClock(from, to, samples[core[0]:core[1]], f)), append(cores, core)
	}
	for k := 1; k < len(clocks); k++ {
		last, next := samples[cores[k-1][1]-1], samples[cores[k][0]]
		clocks[k].since = [2]time.Duration{next.x.Sub(last.x), next.x.Sub(last.x) + next.v - last.v}
		setGrace(&clocks[k-1], &clocks[k], max(clocks[k].since[0], clocks[k].since[1])) // on the clock that did not step
		step := clocks[k].Offset - clocks[k-1].Offset
		clocks[k].Note = fmt.Sprintf("one of the two clocks steps by about %v before this stretch", step.Round(time.Microsecond))
	}
	return clocks, true
}

// setGrace says how far two stretches may reach into the time between them.
func setGrace(before, after *Clock, grace time.Duration) {
	before.grace[1], after.grace[0] = grace, grace
}

// latestEnds returns where the pieces end, each at the latest place; ok is
// false where there would be too many.
func latestEnds(samples []sample) (ends []int, ok bool) {
	for at := 0; at < len(samples); {
		if len(ends) == mostPieces {
			return nil, false
		}
		at += longestFitting(len(samples)-at, func(n int) []sample { return samples[at : at+n] })
		ends = append(ends, at)
	}
	return ends, true
}

// earliestBegins returns where the pieces begin, each at the earliest place.
func earliestBegins(samples []sample, most int) (begins []int) {
	for at := len(samples); at > 0 && len(begins) <= most; {
		at -= longestFitting(at, func(n int) []sample { return samples[at-n : at] })
		begins = append(begins, at)
	}
	slices.Reverse(begins)
	return begins
}

// longestFitting returns the greatest n for which part(n) can be fitted; what
// fits still fits with samples taken away.
func longestFitting(n int, part func(int) []sample) int {
	low, high := 0, n
	for low < high {
		mid := (low + high + 1) / 2
		if _, ok := fitSamples(part(mid)); ok {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

func cmpOrd[T ~int64 | ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// clockSet holds the clocks of every two points, by From and To (From < To).
type clockSet map[[2]int][]Clock

// piecesAt returns the clocks that may hold at t on From's clock: those whose
// stretch holds t, the time around a step belonging to both its sides.
func piecesAt(pieces []Clock, t tcp.Instant) []Clock {
	if len(pieces) < 2 {
		return pieces
	}
	var holding []Clock
	for k, c := range pieces {
		since, until := c.Since.Add(-c.grace[0]), c.Until.Add(c.grace[1])
		if (k == 0 || since <= t) && (k == len(pieces)-1 || t <= until) {
			holding = append(holding, c)
		}
	}
	if len(holding) == 0 {
		return pieces
	}
	return holding
}

// window returns the span of instants on y's clock that an instant of x's
// clock may be. known is false where no packet and no user compares the
// clocks and they are taken as about equal.
func (cs clockSet) window(x, y int, t tcp.Instant) (from, to tcp.Instant, known bool) {
	if x == y {
		return t, t, true
	}
	i, j := min(x, y), max(x, y)
	pieces := cs[[2]int{i, j}]
	if len(pieces) == 0 {
		return t.Add(-assumedClock), t.Add(assumedClock), false
	}
	from, to, known = tcp.MaxInstant, tcp.MinInstant, true
	for _, c := range cs.possible(pieces, x == i, t) {
		f, u := spanOf(&c, x == i, t)
		from, to = min(from, f), max(to, u)
		known = known && !c.Contradiction
	}
	return from, to, known
}

// possible returns the pieces that may hold at t, which is on From's clock
// where forward is set, else on To's.
func (cs clockSet) possible(pieces []Clock, forward bool, t tcp.Instant) []Clock {
	if forward || len(pieces) < 2 {
		return piecesAt(pieces, t)
	}
	var all []Clock
	for k := range pieces {
		for _, c := range piecesAt(pieces, pieces[k].Unmap(t)) {
			if !slices.ContainsFunc(all, func(d Clock) bool { return d.Since == c.Since }) {
				all = append(all, c)
			}
		}
	}
	return all
}

// spanOf maps t through one clock, forward or back, by its bounds.
func spanOf(c *Clock, forward bool, t tcp.Instant) (from, to tcp.Instant) {
	if forward {
		least, greatest := c.usable(t)
		return t.Add(least), t.Add(greatest)
	}
	at := c.Unmap(t)
	least, greatest := c.usable(at)
	// The bounds were read at the estimate of the other clock's time: what the
	// offset can drift while that estimate is off is added.
	drift := time.Duration(maxSkew * float64(greatest-least))
	return t.Add(-greatest - drift), t.Add(-least + drift)
}

// estimate maps t from x's clock to y's by the point estimate.
func (cs clockSet) estimate(x, y int, t tcp.Instant) tcp.Instant {
	if x == y {
		return t
	}
	i, j := min(x, y), max(x, y)
	pieces := cs.possible(cs[[2]int{i, j}], x == i, t)
	if len(pieces) == 0 {
		return t
	}
	if x == i {
		return nearestPiece(pieces, func(*Clock) tcp.Instant { return t }).Map(t)
	}
	return nearestPiece(pieces, func(c *Clock) tcp.Instant { return c.Unmap(t) }).Unmap(t)
}

// nearestPiece returns the first of the pieces whose crossings lie around an
// instant of From's clock, or that has one least far away.
func nearestPiece(pieces []Clock, at func(*Clock) tcp.Instant) (best *Clock) {
	var least time.Duration
	for k := range pieces {
		c := &pieces[k]
		t := at(c)
		if away := max(c.Since.Sub(t), t.Sub(c.Until), 0); best == nil || away < least {
			best, least = c, away
		}
	}
	return best
}

// doubt says why the clocks of two points cannot be relied on.
func (cs clockSet) doubt(near, far string, x, y int) string {
	if len(cs[[2]int{min(x, y), max(x, y)}]) > 0 {
		return fmt.Sprintf("the packets that passed %s and %s fit no clock", near, far)
	}
	return fmt.Sprintf("no packet compares the clocks of %s and %s; they are taken as equal within %v", near, far, assumedClock)
}
