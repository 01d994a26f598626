package pairing

import (
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
	} {
		t.Run(tc.name, func(t *testing.T) {
			taps := []tap{{name: "client.pcap"}, tc.far}
			taps[1].name, taps[1].ttl = "server.pcap", 2
			s := busyTalk(taps)
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
				if _, _, steps := stepNear(tc.far, when); !steps {
					got, _ := r.Map(0, 1, x)
					worst, width = max(worst, (got.Sub(x)-want).Abs()), max(width, to.Sub(from))
				}
			}
			t.Logf("%-36s %d pieces, error at most %v, bounds at most %v wide", tc.name, len(r.Clocks), worst.Round(time.Microsecond), width.Round(time.Microsecond))
		})
	}
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
