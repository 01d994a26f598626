package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// headroom keeps what the garbage collector lets pile up beside a large table
// within bounds: by itself it would let the heap grow to twice what is in use. A
// table has next to no pointers, so collecting more often costs little.
type headroom struct {
	asked   time.Time
	percent int
	sample  []metrics.Sample
}

const (
	mostGarbage   = 24 << 20 // octets beside what is in use
	leastPercent  = 5
	usualPercent  = 100
	headroomEvery = 50 * time.Millisecond
)

// pace sets how far the heap may grow, by how much of it is in use.
func (h *headroom) pace(now time.Time) {
	if now.Sub(h.asked) < headroomEvery {
		return
	}
	h.asked = now
	if h.sample == nil {
		h.sample = []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		h.percent = usualPercent
		debug.SetGCPercent(usualPercent)
	}
	metrics.Read(h.sample)
	if h.sample[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	want := usualPercent
	if live := h.sample[0].Value.Uint64(); live > 0 {
		want = int(min(usualPercent, max(leastPercent, mostGarbage*100/live)))
	}
	if want < h.percent*9/10 || want > h.percent*11/10 {
		h.percent = want
		debug.SetGCPercent(want)
	}
}
