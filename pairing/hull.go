package pairing

import (
	"math"
	"slices"
)

// maxSkew is the largest relative rate error that two clocks are believed to
// have: what NTP may slew (500 ppm).
const maxSkew = 500e-6

// point is one crossing on the plane of time and offset, in nanoseconds from
// a fit's origin.
type point struct{ x, v float64 }

// lowerHull returns the lower convex hull of pts from left to right (Andrew's
// monotone chain). pts is sorted in place.
func lowerHull(pts []point) []point {
	slices.SortFunc(pts, func(a, b point) int {
		switch {
		case a.x != b.x:
			return sign(a.x - b.x)
		default:
			return sign(a.v - b.v)
		}
	})
	hull := make([]point, 0, 16)
	for _, p := range pts {
		if n := len(hull); n > 0 && hull[n-1].x == p.x {
			continue // the lower of the two is there already
		}
		for len(hull) >= 2 && turnsRight(hull[len(hull)-2], hull[len(hull)-1], p) {
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, p)
	}
	return hull
}

// upperHull returns the upper convex hull of pts from left to right.
func upperHull(pts []point) []point {
	mirrored := make([]point, len(pts))
	for i, p := range pts {
		mirrored[i] = point{p.x, -p.v}
	}
	hull := lowerHull(mirrored)
	for i := range hull {
		hull[i].v = -hull[i].v
	}
	return hull
}

// turnsRight reports whether b lies on or above the line from a to c.
func turnsRight(a, b, c point) bool {
	return (b.v-a.v)*(c.x-a.x) >= (c.v-a.v)*(b.x-a.x)
}

func sign(f float64) int {
	switch {
	case f < 0:
		return -1
	case f > 0:
		return 1
	}
	return 0
}

// slopes returns the least and the greatest slope, within ±limit, of a line
// that lies on or below every point of up and on or above every point of low.
// ok is false where there is no such line.
//
// Eliminating the line's height from "above m, below k" leaves, for each m of
// low and k of up, slope × (xk − xm) ≤ vk − vm: the inner common tangents of
// the two hulls are the pairs for which that is tight.
func slopes(up, low []point, limit float64) (least, greatest float64, ok bool) {
	least, greatest = -limit, limit
	for _, m := range low {
		for _, k := range up {
			dx, dv := k.x-m.x, k.v-m.v
			switch {
			case dx > 0:
				greatest = math.Min(greatest, dv/dx)
			case dx < 0:
				least = math.Max(least, dv/dx)
			case dv < 0:
				return 0, 0, false
			}
		}
	}
	return least, greatest, least <= greatest
}

// ceiling returns the greatest height at x of a line below the lower hull up
// whose slope is within [least, greatest]; +Inf where up is empty.
func ceiling(up []point, x, least, greatest float64) float64 {
	if len(up) == 0 {
		return math.Inf(1)
	}
	best := spanning(up, x)
	return touching(up, x, math.Min(math.Max(best, least), greatest))
}

// spanning returns the slope of the hull's edge that spans x; beyond the ends
// the slope that rises towards x without limit.
func spanning(hull []point, x float64) float64 {
	i, found := slices.BinarySearchFunc(hull, x, func(p point, x float64) int { return sign(p.x - x) })
	switch {
	case found && len(hull) == 1:
		return 0
	case found && i > 0:
		return slope(hull[i-1], hull[i])
	case found:
		return slope(hull[0], hull[1])
	case i == 0:
		return math.Inf(-1)
	case i == len(hull):
		return math.Inf(1)
	}
	return slope(hull[i-1], hull[i])
}

func slope(a, b point) float64 { return (b.v - a.v) / (b.x - a.x) }

// touching returns the height at x of the highest line of slope rho that lies
// on or below every point of the lower hull up; +Inf where up is empty.
func touching(up []point, x, rho float64) float64 {
	lowest := math.Inf(1)
	for _, p := range up {
		lowest = math.Min(lowest, p.v+rho*(x-p.x))
	}
	return lowest
}

// flipped returns the points mirrored at v = 0, so that what is said of a
// lower hull can be asked of an upper one.
func flipped(pts []point) []point {
	out := make([]point, len(pts))
	for i, p := range pts {
		out[i] = point{p.x, -p.v}
	}
	return out
}
