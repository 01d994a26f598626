package pairing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kaflow/flows"
)

// busyTalk is an hour of exchanges once a minute over jittery hops.
func busyTalk(taps []tap) *script {
	n := 0
	s := talk(taps, func(uint8, int) time.Duration {
		n++
		return 4*time.Millisecond + time.Duration(n*7919%1500)*time.Microsecond
	}).handshake()
	for range 60 {
		s.data(flows.Client, 10, never).data(flows.Server, 10, never).wait(time.Minute)
	}
	return s
}

// TestClockErrorAgainstTruth prints the table of errors; what it asks is that
// no truth lies outside the bounds.
func TestClockErrorAgainstTruth(t *testing.T) {
	at := func(minutes int) time.Duration { return time.Duration(minutes)*time.Minute + 30*time.Second }
	for _, tc := range []struct {
		name   string
		far    tap
		pieces int
	}{
		{"equal clocks", tap{}, 1},
		{"five hours ahead", tap{offset: 5 * time.Hour}, 1},
		{"five hours behind, 500 ppm fast", tap{offset: -5 * time.Hour, ppm: 500}, 1},
		{"500 ppm slow", tap{ppm: -500}, 1},
		{"50 ppm fast, microseconds", tap{offset: time.Second, ppm: 50, tick: 1000}, 1},
		{"half a minute forward in the middle", tap{steps: map[time.Duration]time.Duration{at(30): 30 * time.Second}}, 2},
		{"two seconds back, 200 ppm fast", tap{ppm: 200, steps: map[time.Duration]time.Duration{at(20): -2 * time.Second}}, 2},
		{"an hour forward and back", tap{offset: time.Minute, steps: map[time.Duration]time.Duration{at(15): time.Hour, at(40): -time.Hour}}, 3},
		{"four steps", tap{ppm: -100, steps: map[time.Duration]time.Duration{at(10): time.Second, at(20): 90 * time.Second, at(35): -5 * time.Second, at(50): 20 * time.Second}}, 5},
		{"slewed by 0.3 s at 500 ppm", tap{offset: 2 * time.Hour, slew: slewed(at(15), 10*time.Minute, 500)}, 1},
		{"slewed forth and back at 499 ppm", tap{slew: both(slewed(at(10), 5*time.Minute, 499), slewed(at(40), 5*time.Minute, -499))}, 1},
		{"suspended, goes on where it stopped", tap{steps: map[time.Duration]time.Duration{at(30): -10 * time.Minute}}, 2},
		{"suspended, and set right later", tap{ppm: 80, steps: map[time.Duration]time.Duration{at(30): -10 * time.Minute, at(45): 10 * time.Minute}}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			taps := []tap{{name: "client.pcap"}, tc.far}
			taps[1].name, taps[1].ttl = "server.pcap", 2
			s := busyTalk(taps)
			if strings.HasPrefix(tc.name, "suspended") {
				s.w.taps[1].drop = func(i int) bool { return s.w.wires[i].at > at(20) && s.w.wires[i].at < at(30) } // it records nothing then
			}
			r := matchSides(sidesOf(s.w), Options{})
			if len(r.Clocks) != tc.pieces {
				t.Fatalf("%d pieces, want %d: %+v", len(r.Clocks), tc.pieces, r.Clocks)
			}
			worst, width := time.Duration(0), time.Duration(0)
			for when := time.Duration(0); when < s.now; when += 37 * time.Second {
				x, want := offsetAt(taps[0], taps[1], when)
				from, to, _ := r.Window(0, 1, x)
				if x.Add(want) < from || x.Add(want) > to {
					t.Errorf("after %v the offset is %v, outside of [%v, %v]", when, want, from.Sub(x), to.Sub(x))
				}
				asleep := strings.HasPrefix(tc.name, "suspended") && when > at(18) && when < at(32)
				if _, _, steps := stepNear(tc.far, when); !steps && !asleep {
					got, _ := r.Map(0, 1, x)
					worst, width = max(worst, (got.Sub(x)-want).Abs()), max(width, to.Sub(from))
				}
			}
			var rates []string
			for _, c := range r.Clocks {
				if c.Stamps.Flows > 0 {
					rates = append(rates, fmt.Sprintf("%.1f ± %.1f", c.Stamps.PPM, c.Stamps.Err))
				}
			}
			t.Logf("%-36s %d pieces, error at most %v, bounds at most %v wide; by timestamps %s ppm", tc.name, len(r.Clocks), worst.Round(time.Microsecond), width.Round(time.Microsecond), strings.Join(rates, ", "))
		})
	}
}

// slewed is a clock that NTP slews from a moment on.
func slewed(from, lasting time.Duration, ppm float64) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		return time.Duration(ppm * 1e-6 * float64(min(max(at-from, 0), lasting)))
	}
}

func both(a, b func(time.Duration) time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration { return a(at) + b(at) }
}

// stepNear reports whether a tap's clock steps within two minutes of a moment.
func stepNear(t tap, when time.Duration) (at, by time.Duration, near bool) {
	for at, by := range t.steps {
		if (at - when).Abs() < 2*time.Minute {
			return at, by, true
		}
	}
	return 0, 0, false
}

func TestSkewAndOffsetAreFoundWithinTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taps := []tap{{name: "client.pcap"}, {name: "server.pcap", ttl: 2}}
		k := rapid.IntRange(0, 1).Draw(t, "which is off")
		taps[k].offset = time.Duration(rapid.Int64Range(int64(-12*time.Hour), int64(12*time.Hour)).Draw(t, "offset"))
		taps[k].ppm = float64(rapid.IntRange(-499, 499).Draw(t, "ppm"))
		s := talk(taps, steadyHop(time.Duration(rapid.IntRange(10, 50_000).Draw(t, "hop µs"))*time.Microsecond)).handshake()
		for range rapid.IntRange(1, 30).Draw(t, "exchanges") {
			s.data(flows.Client, 10, never).wait(time.Duration(rapid.IntRange(1, 600).Draw(t, "pause")) * time.Second)
		}
		r := matchSides(sidesOf(s.w), Options{})
		if len(r.Clocks) != 1 || r.Clocks[0].Contradiction {
			t.Fatalf("clocks %+v, want one", r.Clocks)
		}
		c := &r.Clocks[0]
		skew := ((1+taps[1].ppm*1e-6)/(1+taps[0].ppm*1e-6) - 1) * 1e6
		if skew < c.PPMMin-1e-3 || skew > c.PPMMax+1e-3 {
			t.Errorf("skew %v ppm, bounds [%v, %v]", skew, c.PPMMin, c.PPMMax)
		}
		for _, at := range []time.Duration{0, s.now / 2, s.now, s.now + time.Hour} {
			x, want := offsetAt(taps[0], taps[1], at)
			least, greatest := c.Bounds(x)
			if want < least-2 || want > greatest+2 {
				t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, least, greatest)
			}
		}
	})
}

func TestSeveralStepsStayWithinTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taps := []tap{{name: "client.pcap"}, {name: "server.pcap", ttl: 2}}
		k := rapid.IntRange(0, 1).Draw(t, "which steps")
		taps[k].offset = time.Duration(rapid.Int64Range(int64(-3*time.Hour), int64(3*time.Hour)).Draw(t, "offset"))
		taps[1-k].ppm = float64(rapid.IntRange(-240, 240).Draw(t, "ppm"))
		taps[k].steps = map[time.Duration]time.Duration{}
		s := talk(taps, steadyHop(5*time.Millisecond)).handshake()
		for piece := range rapid.IntRange(1, 5).Draw(t, "pieces") {
			if piece > 0 {
				by := time.Duration(rapid.IntRange(2, 4000).Draw(t, "step")) * time.Second
				if rapid.Bool().Draw(t, "back") {
					by = -by
				}
				taps[k].steps[s.now] = by
				s.wait(time.Second)
			}
			for range rapid.IntRange(4, 8).Draw(t, "exchanges") {
				s.data(flows.Client, 10, never).data(flows.Server, 10, never).wait(time.Second)
			}
		}
		r := matchSides(sidesOf(s.w), Options{})
		for at := time.Duration(0); at < s.now; at += s.now / 30 {
			x, want := offsetAt(taps[0], taps[1], at)
			from, to, known := r.Window(0, 1, x)
			if known && (x.Add(want) < from.Add(-2) || x.Add(want) > to.Add(2)) {
				t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, from.Sub(x), to.Sub(x))
			}
		}
	})
}

// TestSlewStaysWithinTheBounds: where no constant rate explains all crossings
// the bounds hold for any rate. A slew that one can hide among delays moves the
// truth out of them by no more than a round trip, and the drift to the nearest
// crossing.
func TestSlewStaysWithinTheBounds(t *testing.T) {
	const hidden = 2*2*5500*time.Microsecond + 15*time.Millisecond
	wandered := 0
	rapid.Check(t, func(t *rapid.T) {
		taps := []tap{{name: "client.pcap"}, {name: "server.pcap", ttl: 2}}
		k := rapid.IntRange(0, 1).Draw(t, "which is slewed")
		taps[k].offset = time.Duration(rapid.Int64Range(int64(-3*time.Hour), int64(3*time.Hour)).Draw(t, "offset"))
		from := time.Duration(rapid.IntRange(0, 40).Draw(t, "from, min")) * time.Minute
		lasting := time.Duration(rapid.IntRange(1, 40).Draw(t, "for, min")) * time.Minute
		taps[k].slew = slewed(from, lasting, float64(rapid.IntRange(-499, 499).Draw(t, "ppm")))
		s := busyTalk(taps)
		r := matchSides(sidesOf(s.w), Options{})
		if len(r.Clocks) != 1 || r.Clocks[0].Contradiction {
			t.Fatalf("%+v", r.Clocks)
		}
		slack := hidden
		if r.Clocks[0].fit.wanders {
			wandered++
			slack = 2
		}
		for at := time.Duration(0); at < s.now; at += 53 * time.Second {
			x, want := offsetAt(taps[0], taps[1], at)
			least, greatest := r.Clocks[0].Bounds(x)
			if want < least-slack || want > greatest+slack {
				t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, least, greatest)
			}
		}
	})
	if wandered < 10 {
		t.Errorf("%d clocks of 100 with a rate that changes", wandered)
	}
}
