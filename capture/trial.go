package capture

import (
	"slices"
	"time"
)

// trial finds out which way of getting at a file costs less: some legs of it are gone
// either way, then a long one the way whose octets took less time, with all that is
// done with them. How the system keeps a file decides, which need not be the same
// everywhere in it, so behind that a trial begins anew.
type trial struct {
	leg   int   // so many were gone
	until int64 // where in the file the one at hand ends
	best  bool
	costs [2 * tries]float64 // nanoseconds an octet of the legs
	from  int64              // where the second stretch of the leg begins; the first one finds caches as the other way left them
	begun time.Time          // and when; zero: it did not yet
}

const (
	tries    = 4 // legs of each way, an even number
	shortLeg = 8 << 20
	longLeg  = 512 << 20
	edge     = 1.03 // so many times as dear mapping may be: less is a matter of luck
)

// tried reports whether a leg of a trial is mapped. Of each four the outer ones are
// not: of two pairs, one begins with either way.
func tried(leg int) (mapped bool) { return (leg+1)&2 != 0 }

// mapped reports whether the next stretch, which begins at an offset of the file, is
// to be mapped. The one before ends there, and now.
func (t *trial) mapped(at int64, now time.Time) bool {
	switch {
	case t.until == 0:
		t.until = at + shortLeg
	case at >= t.until:
		t.ended(at, now)
	case t.begun.IsZero():
		t.from, t.begun = at, now
	}
	if t.leg < len(t.costs) {
		return tried(t.leg)
	}
	return t.best
}

// ended begins another leg, or prolongs one whose first stretch was all of it.
func (t *trial) ended(at int64, now time.Time) {
	if t.begun.IsZero() && t.leg < len(t.costs) {
		t.from, t.begun, t.until = at, now, at+shortLeg
		return
	}
	if t.leg < len(t.costs) {
		t.costs[t.leg] = float64(now.Sub(t.begun)) / float64(max(at-t.from, 1))
	}
	t.leg, t.until, t.begun = t.leg+1, at+shortLeg, time.Time{}
	switch t.leg {
	case len(t.costs):
		t.best, t.until = t.compare(), at+longLeg
	case len(t.costs) + 1:
		t.leg = 0
	}
}

// compare reports whether octets cost less if they are mapped. Each leg is held against
// the one beside it. Where all becomes dearer or cheaper meanwhile, as while a table of
// flows is filled, half of the pairs say too much and half too little, and what
// something else interrupted stands at either end.
func (t *trial) compare() (mapped bool) {
	var dearer [tries]float64 // reading than mapping, as a multiple
	for i := range dearer {
		read, mapped := t.costs[2*i], t.costs[2*i+1]
		if tried(2 * i) {
			read, mapped = mapped, read
		}
		dearer[i] = read / max(mapped, 1e-9)
	}
	slices.Sort(dearer[:])
	return dearer[tries/2-1]*dearer[tries/2] >= 1/(edge*edge)
}
