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

// FitsConfigured reports whether a silence of observed can come from a timer
// configured as v: v(1 − 500 ppm) <= observed <= v + g(v) + rtt, with the
// largest granule g and room for a slow clock. rtt is how long the answer that
// started the silence may have been on its way.
func FitsConfigured(v, observed, rtt time.Duration) bool {
	return v > 0 && v-v/2000 <= observed && observed <= v+LargestGranule(v)+rtt
}

// maxCandidates bounds what Candidates returns.
const maxCandidates = 8

// Candidates returns the values that somebody may have configured where a
// silence of observed was seen: the round values that FitsConfigured accepts,
// at most eight, the likeliest first.
//
// Round means, in this order: the default of a system in the table (so 7200
// comes before 7100 and 45 before 40), whole hours, whole minutes, multiples
// of ten seconds, of five seconds, whole seconds, and below five seconds
// tenths. A value that matches almost exactly moves up one place, since most
// systems are not late at all; one that needs a kernel frequency which is
// rare (100 or 300 Hz) moves down one. Among equals the one nearest to
// observed comes first.
func Candidates(observed, rtt time.Duration) []time.Duration {
	if observed <= 0 {
		return nil
	}
	type candidate struct {
		v           time.Duration
		place, kind int
	}
	step, kinds := time.Second, roundness[:]
	if observed < 5*time.Second {
		step = 100 * time.Millisecond
	}
	highest := (observed + observed/1000).Truncate(step) // a little above what FitsConfigured accepts
	lowest := observed - observed/5 - rtt - time.Second  // a granule is at most 8/63 of the delay
	var fit []candidate
	for v := highest; v >= max(lowest, step); v -= step {
		if !FitsConfigured(v, observed, rtt) {
			continue
		}
		kind := slices.IndexFunc(kinds, func(round func(time.Duration) bool) bool { return round(v) })
		fit = append(fit, candidate{v, kind + plausibility(v, observed, rtt), kind})
		fit = keepBest(fit, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.kind, b.kind),
				cmp.Compare((observed-a.v).Abs(), (observed-b.v).Abs()))
		})
	}
	values := make([]time.Duration, len(fit))
	for i := range fit {
		values[i] = fit[i].v
	}
	return values
}

// keepBest sorts rows and drops what lies beyond maxCandidates. The last row
// is the new one, so insertion costs little.
func keepBest[T any](rows []T, compare func(a, b T) int) []T {
	slices.SortStableFunc(rows, compare)
	return rows[:min(len(rows), maxCandidates)]
}

// roundness is the order in which people choose numbers. The last accepts all.
var roundness = [...]func(time.Duration) bool{
	isDefault,
	func(v time.Duration) bool { return v%time.Hour == 0 },
	func(v time.Duration) bool { return v%time.Minute == 0 },
	func(v time.Duration) bool { return v%(10*time.Second) == 0 },
	func(v time.Duration) bool { return v%(5*time.Second) == 0 },
	func(v time.Duration) bool { return v%time.Second == 0 },
	func(time.Duration) bool { return true },
}

// isDefault reports whether a system in the table uses v without being told.
func isDefault(v time.Duration) bool {
	for i := range defaults {
		d := &defaults[i]
		if d.Confidence != Guess && (d.Idle == v || d.Interval == v) {
			return true
		}
	}
	return false
}

// plausibility returns how many places v moves down (or up, where negative)
// because of how late it would have been.
func plausibility(v, observed, rtt time.Duration) int {
	late := observed - v
	switch {
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
