package pairing

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kaflow/tcp"
)

// drawSamples draws crossings of a path whose clocks are off by a line.
func drawSamples(t *rapid.T) []sample {
	theta := rapid.Int64Range(-1e12, 1e12).Draw(t, "offset")
	rho := rapid.Float64Range(-400e-6, 400e-6).Draw(t, "skew")
	var out []sample
	for n := range rapid.IntRange(1, 40).Draw(t, "samples") {
		x := rapid.Int64Range(0, 1e13).Draw(t, "x")
		delay := rapid.Int64Range(1, 1e9).Draw(t, "delay") // 1 ns for the rounding of the line
		s := sample{x: epoch + tcp.Instant(x), ord: tcp.Ordinal(n + 1), up: rapid.Bool().Draw(t, "up")}
		if !s.up {
			delay = -delay
		}
		s.v = time.Duration(theta + int64(rho*float64(x)) + delay)
		out = append(out, s)
	}
	return out
}

func TestBoundsAreThoseOfAllFeasibleLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := drawSamples(t)
		f, ok := fitSamples(samples)
		if !ok {
			t.Fatal("a feasible set of samples has no fit")
		}
		if f.wanders {
			t.Skip("rounded to nanoseconds, samples this close to each other fit no line exactly")
		}
		at := epoch + tcp.Instant(rapid.Int64Range(-1e12, 2e13).Draw(t, "at"))
		low, high := f.bounds(at)
		// The slow way: over many slopes, the highest line below every upper
		// bound, where it clears every lower one.
		bestHigh, bestLow := math.Inf(-1), math.Inf(1)
		for k := 0; k <= 2000; k++ {
			rho := f.least + (f.great-f.least)*float64(k)/2000
			h, l := math.Inf(1), math.Inf(-1)
			for _, s := range samples {
				v := float64(s.v-f.v0) + rho*float64(at.Sub(s.x))
				if s.up {
					h = math.Min(h, v)
				} else {
					l = math.Max(l, v)
				}
			}
			if l > h+1e-3*(1+math.Abs(h)) {
				t.Fatalf("slope %v within [%v, %v] is not feasible: %v above %v", rho, f.least, f.great, l, h)
			}
			bestHigh, bestLow = math.Max(bestHigh, h), math.Min(bestLow, l)
		}
		step := (f.great - f.least) / 2000 * 3e13 // what one slope may miss
		if !math.IsInf(high, 1) && (bestHigh > high+1 || bestHigh < high-step-1) {
			t.Errorf("upper bound %v, by trial %v", high, bestHigh)
		}
		if !math.IsInf(low, -1) && (bestLow < low-1 || bestLow > low+step+1) {
			t.Errorf("lower bound %v, by trial %v", low, bestLow)
		}
	})
}

// crossings builds samples both ways at the given times over a path of 1 ms.
func crossings(offset func(at time.Duration) time.Duration, times ...time.Duration) (out []sample) {
	for n, at := range times {
		for k, delay := range []time.Duration{time.Millisecond, -time.Millisecond} {
			out = append(out, sample{x: epoch.Add(at), v: offset(at) + delay, up: k == 0, ord: tcp.Ordinal(2*n + k + 1)})
		}
	}
	return out
}

func TestRateThatChangesIsNoContradiction(t *testing.T) {
	// 10 ppm for an hour, then −10 ppm: no line is within 1 ms of that.
	offset := func(at time.Duration) time.Duration {
		if at < time.Hour {
			return at / 100_000
		}
		return (2*time.Hour - at) / 100_000
	}
	clocks := fitClocks(0, 1, crossings(offset, 0, 30*time.Minute, time.Hour, 90*time.Minute, 2*time.Hour))
	if len(clocks) != 1 || clocks[0].Contradiction || clocks[0].Note == "" {
		t.Fatalf("%+v", clocks)
	}
	c := clocks[0]
	for at := time.Duration(0); at <= 2*time.Hour; at += 7 * time.Minute {
		least, greatest := c.Bounds(epoch.Add(at))
		if want := offset(at); want < least || want > greatest {
			t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, least, greatest)
		}
		there := epoch.Add(at)
		if back := c.Unmap(c.Map(there)); back.Sub(there).Abs() > time.Microsecond {
			t.Errorf("after %v there and back is off by %v", at, back.Sub(there))
		}
	}
}

func TestCrossingsThatFitNoClockAreNotHidden(t *testing.T) {
	wild := func(at time.Duration) time.Duration { return time.Duration(at/time.Minute%3) * time.Second }
	var times []time.Duration
	for n := range 20 {
		times = append(times, time.Duration(n)*time.Minute)
	}
	clocks := fitClocks(0, 1, crossings(wild, times...))
	if len(clocks) != 1 || !clocks[0].Contradiction || clocks[0].Note == "" {
		t.Errorf("%+v", clocks)
	}
}

func TestOneDirectionBoundsFromOneSide(t *testing.T) {
	all := crossings(func(time.Duration) time.Duration { return time.Second }, 0, time.Minute)
	clocks := fitClocks(0, 1, []sample{all[0], all[2]})
	c := clocks[0]
	least, greatest := c.Bounds(c.At)
	if !c.NoMin || c.NoMax || least != math.MinInt64 || greatest != c.Max || c.Max != time.Second+time.Millisecond || c.Offset != c.Max {
		t.Errorf("%+v, bounds [%v, %v]", c, least, greatest)
	}
	if least, greatest = c.usable(c.At); greatest-least != longestDelay {
		t.Errorf("usable bounds [%v, %v]", least, greatest)
	}
}

func TestGivenOffset(t *testing.T) {
	w := silentDrop(twoTaps(3 * time.Second)).w
	for _, c := range []struct {
		situation string
		given     time.Duration
		notes     int
	}{
		{"within what the packets say", 3*time.Second + 5*time.Millisecond, 0},
		{"against what the packets say: it holds, and that is said", 10 * time.Second, 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			r := matchSides(sidesOf(w), Options{ClockOffset: &c.given})
			clock := r.Between(0, 1)[0]
			if clock.Offset != c.given || !clock.Given || len(r.Notes) != c.notes {
				t.Errorf("%+v, notes %q", clock, r.Notes)
			}
		})
	}
}
