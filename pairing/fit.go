package pairing

import (
	"math"
	"slices"
	"sort"
	"time"

	"kaflow/tcp"
)

// sample is one identified crossing between two vantage points: the
// difference of the two times, which is the clock offset plus the delay where
// it went From→To (up: the offset is at most that), and the offset minus the
// delay where it went To→From.
type sample struct {
	x    tcp.Instant // on From's clock
	v    time.Duration
	ord  tcp.Ordinal // at From: capture order survives a clock that steps back
	up   bool
	conn int // the connection that it comes from
}

// fit bounds the offset of two clocks over one stretch without a step.
//
// Where one constant rate explains every crossing the offset is a line, and
// its bounds are those of all lines between the hulls. Where it does not (NTP
// slewing, a warming crystal) the offset may wander, by at most maxSkew.
type fit struct {
	x0           tcp.Instant
	v0           time.Duration
	up, low      []point // lower hull of the upper bounds, upper hull of the lower ones
	lowFlipped   []point
	least, great float64 // slopes that are possible

	wanders          bool
	ups, lows        []point // all samples by time, where the offset wanders
	upLeft, upRight  []float64
	lowLeft, lowRigh []float64
}

// fitSamples returns the bounds that the samples set; ok is false where no
// offset with a rate within maxSkew satisfies them.
func fitSamples(samples []sample) (f *fit, ok bool) {
	f = &fit{}
	if len(samples) == 0 {
		return f, true
	}
	f.x0, f.v0 = samples[len(samples)/2].x, samples[len(samples)/2].v
	var ups, lows []point
	for _, s := range samples {
		p := point{float64(s.x.Sub(f.x0)), float64(s.v - f.v0)}
		if s.up {
			ups = append(ups, p)
		} else {
			lows = append(lows, p)
		}
	}
	f.up, f.low = lowerHull(ups), upperHull(lows)
	f.lowFlipped = flipped(f.low)
	if f.least, f.great, ok = slopes(f.up, f.low, maxSkew); ok {
		return f, true
	}
	return f, f.wander(ups, lows)
}

// wander prepares bounds under which the offset changes by at most maxSkew,
// at no constant rate. It reports whether the samples allow that.
func (f *fit) wander(ups, lows []point) bool {
	byTime := func(a, b point) int { return sign(a.x - b.x) }
	slices.SortFunc(ups, byTime)
	slices.SortFunc(lows, byTime)
	f.wanders, f.ups, f.lows = true, ups, lows
	f.upLeft, f.upRight = reach(ups, 1)
	f.lowLeft, f.lowRigh = reach(lows, -1)
	for _, p := range lows {
		if p.v > f.wanderMax(p.x) {
			return false
		}
	}
	return true
}

// reach returns, for points sorted by time, the least of s·v − maxSkew·x over
// the points up to each one, and of s·v + maxSkew·x from each one on.
func reach(pts []point, s float64) (left, right []float64) {
	left, right = make([]float64, len(pts)), make([]float64, len(pts))
	low := math.Inf(1)
	for i, p := range pts {
		low = math.Min(low, s*p.v-maxSkew*p.x)
		left[i] = low
	}
	low = math.Inf(1)
	for i := len(pts) - 1; i >= 0; i-- {
		low = math.Min(low, s*pts[i].v+maxSkew*pts[i].x)
		right[i] = low
	}
	return left, right
}

func (f *fit) wanderMax(x float64) float64 { return envelope(f.ups, f.upLeft, f.upRight, x) }
func (f *fit) wanderMin(x float64) float64 { return -envelope(f.lows, f.lowLeft, f.lowRigh, x) }

// envelope returns the least bound that any point sets at x, each loosening by
// maxSkew with distance; +Inf without points.
func envelope(pts []point, left, right []float64, x float64) float64 {
	i := sort.Search(len(pts), func(i int) bool { return pts[i].x > x })
	bound := math.Inf(1)
	if i > 0 {
		bound = left[i-1] + maxSkew*x
	}
	if i < len(pts) {
		bound = math.Min(bound, right[i]-maxSkew*x)
	}
	return bound
}

// bounds returns the least and the greatest offset at t, in nanoseconds from
// v0; infinite where nothing bounds it from that side.
func (f *fit) bounds(t tcp.Instant) (lowest, highest float64) {
	x := float64(t.Sub(f.x0))
	if f.wanders {
		return f.wanderMin(x), f.wanderMax(x)
	}
	return -ceiling(f.lowFlipped, x, -f.great, -f.least), ceiling(f.up, x, f.least, f.great)
}

// centre returns the offset at t of the line of slope rho halfway between the
// hulls, in nanoseconds from v0.
func (f *fit) centre(t tcp.Instant, rho float64) float64 {
	x := float64(t.Sub(f.x0))
	high := touching(f.up, x, rho)
	low := -touching(f.lowFlipped, x, -rho)
	return between(low, high)
}

// between returns the middle of low and high, or the one that is known.
func between(low, high float64) float64 {
	switch {
	case math.IsInf(low, 0) && math.IsInf(high, 0):
		return 0
	case math.IsInf(low, 0):
		return high
	case math.IsInf(high, 0):
		return low
	}
	return low/2 + high/2
}

// duration turns nanoseconds from v0 into an offset, rounded towards dir.
func (f *fit) duration(v, dir float64) time.Duration {
	switch {
	case math.IsInf(v, 1):
		return math.MaxInt64
	case math.IsInf(v, -1):
		return math.MinInt64
	case dir > 0:
		v = math.Ceil(v)
	case dir < 0:
		v = math.Floor(v)
	default:
		v = math.Round(v)
	}
	return f.v0 + time.Duration(v)
}
