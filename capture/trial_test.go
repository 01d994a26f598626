package capture

import (
	"testing"
	"time"
)

// goThrough goes through octets of a file as a trial says, a stretch of a mebibyte at a
// time, each of which takes what cost says, and returns how many octets of the
// second half were mapped.
func goThrough(t *trial, octets int64, cost func(mapped bool, at int64) time.Duration) (mapped int64) {
	const step = 1 << 20
	now := time.Unix(1_700_000_000, 0)
	for at := int64(0); at < octets; at += step {
		way := t.mapped(at, now)
		if way && at >= octets/2 {
			mapped += step
		}
		now = now.Add(cost(way, at))
	}
	return mapped
}

func TestTheCheaperWayIsTaken(t *testing.T) {
	const file = 512 << 20
	for name, c := range map[string]struct {
		mapped bool // what is cheaper
		cost   func(mapped bool, at int64) time.Duration
	}{
		"mapping": {true, func(mapped bool, _ int64) time.Duration {
			if mapped {
				return 100
			}
			return 105
		}},
		"reading": {false, func(mapped bool, _ int64) time.Duration {
			if mapped {
				return 105
			}
			return 100
		}},
		"reading, while all becomes cheaper": {false, func(mapped bool, at int64) time.Duration {
			cost := 100 + time.Duration(file-at)>>22
			if mapped {
				cost += 8
			}
			return cost
		}},
		"mapping, while a table is filled": {true, func(mapped bool, at int64) time.Duration {
			cost := 100 + time.Duration(2000*(8<<20)/(at+1<<20))
			if !mapped {
				cost += cost / 20
			}
			return cost
		}},
		"mapping, with interruptions": {true, func(mapped bool, at int64) time.Duration {
			switch {
			case mapped && at%(24<<20) == 0:
				return 5000
			case mapped:
				return 100
			}
			return 110
		}},
		"reading, but for the first stretch of a leg": {false, func(mapped bool, at int64) time.Duration {
			switch {
			case mapped:
				return 105
			case at%shortLeg == 0:
				return 200
			}
			return 100
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := goThrough(new(trial), file, c.cost), int64(0)
			if c.mapped {
				want = file / 2
			}
			if got != want {
				t.Errorf("%d octets of the second half were mapped, want %d", got, want)
			}
		})
	}
}

// A file of which the rest is kept otherwise than the beginning.
func TestATrialBeginsAnew(t *testing.T) {
	const file = 4 << 30
	mapped := goThrough(new(trial), file, func(mapped bool, at int64) time.Duration {
		if mapped == (at < file/4) {
			return 100
		}
		return 120
	})
	if mapped > file/16 {
		t.Errorf("%d octets of the second half were mapped", mapped)
	}
}

// A leg that one stretch fills is not measured by that stretch.
func TestALegIsMeasuredBehindItsFirstStretch(t *testing.T) {
	var x trial
	now, mapped := time.Unix(1_700_000_000, 0), 0
	for at, n := int64(0), 0; n < 40; n++ {
		way := x.mapped(at, now)
		if n >= 30 && way {
			mapped++
		}
		cost := int64(1000)
		if way {
			cost = 1500
		}
		now = now.Add(time.Duration(cost))
		at += 2 * shortLeg
	}
	if mapped > 0 {
		t.Errorf("mapped %d of the last ten stretches, which costs more", mapped)
	}
	for leg, cost := range x.costs {
		if cost <= 0 || cost > 1 {
			t.Errorf("leg %d cost %g ns an octet", leg, cost)
		}
	}
}
