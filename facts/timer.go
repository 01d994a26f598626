package facts

import (
	"cmp"
	"slices"
	"time"
)

// Timer frequencies with which Linux kernels are built. Observations come
// from kernels whose frequency is not known, so all are allowed for.
var linuxHZ = [...]int{100, 250, 300, 1000}

// Granule returns by how much a Linux timer armed for v can fire late on a
// kernel with hz jiffies per second (kernel/time/timer.c, 4.8 and later). The
// timer wheel holds a delay of j jiffies in level n >= 1 where
// 63·8^(n−1) <= j < 63·8^n, and level n has a granule of 8^n jiffies. It is
// late by up to one granule, never early.
func Granule(v time.Duration, hz int) time.Duration {
	return time.Duration(granuleJiffies(jiffies(v, hz))) * time.Second / time.Duration(hz)
}

// jiffies returns v in ticks, rounded up as the kernel does.
func jiffies(v time.Duration, hz int) int64 {
	whole, part := int64(v/time.Second), int64(v%time.Second)
	return whole*int64(hz) + (part*int64(hz)+int64(time.Second)-1)/int64(time.Second)
}

// wheelLevels bounds the wheel: level 8 is its last.
const wheelLevels = 8

func granuleJiffies(j int64) int64 {
	granule, end := int64(1), int64(63)
	for n := 0; n < wheelLevels && j >= end; n++ {
		granule, end = granule*8, end*8
	}
	return granule
}

// Steady returns the spacing of probes on a Linux kernel with hz jiffies per
// second whose timer is armed for v again each time it fires: v rounded up to
// the granule, since the wheel puts every firing on its grid. 20 s at 250 Hz
// gives 20.480 s.
func Steady(v time.Duration, hz int) time.Duration {
	j := jiffies(v, hz)
	g := granuleJiffies(j)
	return time.Duration((j+g-1)/g*g) * time.Second / time.Duration(hz)
}

// LargestGranule returns the largest Granule of v over the frequencies with
// which Linux is built.
func LargestGranule(v time.Duration) time.Duration {
	var largest time.Duration
	for _, hz := range linuxHZ {
		largest = max(largest, Granule(v, hz))
	}
	return largest
}

// tick is the longest that a kernel counts time in.
const tick = 10 * time.Millisecond

// FitsConfigured reports whether a silence of observed can come from a timer
// configured as v: v(1 − 500 ppm) − one tick <= observed <= v + g(v) + rtt, with
// the largest granule g and room for a slow clock. A tick, of a hundredth of a
// second at most: the kernel counts whole ones, from the one that had begun. rtt
// is how long the answer that started the silence may have been on its way.
func FitsConfigured(v, observed, rtt time.Duration) bool {
	if v <= 0 || observed < v-v/2000-tick || observed-rtt > v+v/7+time.Second {
		return false // the last: beyond any granule, see granuleJiffies
	}
	return observed <= v+LargestGranule(v)+rtt
}

// maxCandidates bounds what Candidates returns.
const maxCandidates = 8

// Candidates returns the values that somebody may have configured where a
// silence of observed was seen: the round values that FitsConfigured accepts,
// at most eight, the likeliest first.
//
// Round means, in this order: the default of a system in the table (so 7200
// comes before 7100 and 45 before 40), whole hours, whole minutes, multiples
// of ten seconds, of five seconds, whole seconds, and tenths below five
// seconds or where nothing else fits. Tens of seconds that are met to the tick come
// first of all: 3700.00 s are these, and not an hour with 100 s of delay. A value that
// matches almost exactly moves up one place, since most systems are not late at all;
// one that needs a kernel frequency which is rare (100 or 300 Hz) moves down one.
// Among equals the one nearest to observed comes first.
func Candidates(observed, rtt time.Duration) []time.Duration {
	fit := candidates{observed: observed, rtt: rtt}
	fit.addDefaults()
	for kind, unit := range roundUnits {
		fit.addMultiples(unit, kind+1)
	}
	if observed < 5*time.Second || len(fit.found) == 0 {
		fit.addMultiples(100*time.Millisecond, len(roundUnits)+1)
	}
	return fit.best()
}

// roundUnits is the order in which people choose numbers, after defaults.
var roundUnits = [...]time.Duration{time.Hour, time.Minute, 10 * time.Second, 5 * time.Second, time.Second}

// candidates collects values that fit one observation.
type candidates struct {
	observed, rtt time.Duration
	found         []candidate
}

type candidate struct {
	v           time.Duration
	place, kind int // lower is likelier, rounder
}

func (c *candidates) add(v time.Duration, kind int) (added bool) {
	if slices.ContainsFunc(c.found, func(f candidate) bool { return f.v == v }) {
		return false
	}
	c.found = append(c.found, candidate{v, kind + plausibility(v, c.observed, c.rtt), kind})
	return true
}

// addDefaults adds the values that a system in the table uses without being
// told.
func (c *candidates) addDefaults() {
	for i := range defaults {
		d := &defaults[i]
		for _, v := range [...]time.Duration{d.Idle, d.Interval} {
			if d.Confidence != Guess && FitsConfigured(v, c.observed, c.rtt) {
				c.add(v, 0)
			}
		}
	}
}

// addMultiples adds the multiples of unit that fit. They lie side by side,
// since v + g(v) grows with v; the highest are the nearest, so that the first
// few are enough.
func (c *candidates) addMultiples(unit time.Duration, kind int) {
	v := (c.observed + c.observed/1000 + tick).Truncate(unit)
	if v > c.observed && !FitsConfigured(v, c.observed, c.rtt) {
		v -= unit
	}
	for added := 0; added < maxCandidates && FitsConfigured(v, c.observed, c.rtt); v -= unit {
		if c.add(v, kind) {
			added++
		}
	}
}

// best returns the likeliest values.
func (c *candidates) best() []time.Duration {
	slices.SortStableFunc(c.found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.kind, b.kind),
			cmp.Compare((c.observed-a.v).Abs(), (c.observed-b.v).Abs()))
	})
	var values []time.Duration
	for _, f := range c.found[:min(len(c.found), maxCandidates)] {
		values = append(values, f.v)
	}
	return values
}

// plausibility returns how many places v moves down (or up, where negative)
// because of how late it would have been.
func plausibility(v, observed, rtt time.Duration) int {
	late := observed - v
	switch {
	case late.Abs() <= 2*tick && v%(10*time.Second) == 0:
		return -4
	case late <= v/400+rtt:
		return -1
	case late <= max(Granule(v, 250), Granule(v, 1000))+rtt:
		return 0
	default:
		return 1
	}
}

// Grid is a configured value and a kernel frequency that explain a spacing.
type Grid struct {
	Configured time.Duration
	HZ         int
}

// OnGrid returns the whole seconds and kernel frequencies for which a steady
// spacing lies on the Linux timer wheel and off the configured value itself:
// 20.480 s is 20 s at 250 Hz. An empty answer says nothing against Linux:
// stretched captures and exact spacings are never on the grid. Round values
// come first.
func OnGrid(interval time.Duration) []Grid {
	tolerance := max(4*time.Millisecond, interval/2000)
	var grids []Grid
	for _, v := range Candidates(interval, tolerance) {
		if v%time.Second != 0 {
			continue
		}
		for _, hz := range linuxHZ {
			steady := Steady(v, hz)
			if steady-v > 2*tolerance && (interval-steady).Abs() <= tolerance {
				grids = append(grids, Grid{v, hz})
			}
		}
	}
	return grids
}
