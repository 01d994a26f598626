package facts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kaflow/facts"
)

const ms = time.Millisecond

var frequencies = []int{100, 250, 300, 1000}

// The worked figures of WIRE.md, sections 2.1 and 5.
func TestTwoHoursFireLateByUpToOneGranule(t *testing.T) {
	want := map[int]time.Duration{
		100: 327680 * ms, 250: 131072 * ms, 300: 873813333333, 1000: 262144 * ms,
	}
	for hz, late := range want {
		if got := facts.Granule(7200*s, hz); got != late {
			t.Errorf("Granule(7200 s, %d Hz) = %v, want %v", hz, got, late)
		}
	}
	if got := facts.LargestGranule(7200 * s); got != want[300] {
		t.Errorf("LargestGranule(7200 s) = %v, want %v", got, want[300])
	}
}

func TestWheelLevelsBeginWhereTheKernelBeginsThem(t *testing.T) {
	for _, c := range []struct{ jiffies, granule int64 }{
		{1, 1}, {62, 1}, {63, 8}, {503, 8}, {504, 64}, {4031, 64}, {4032, 512}, {32255, 512}, {32256, 4096}, {258048, 32768},
	} {
		got := facts.Granule(time.Duration(c.jiffies)*ms, 1000)
		if want := time.Duration(c.granule) * ms; got != want {
			t.Errorf("a delay of %d jiffies has a granule of %v, want %v", c.jiffies, got, want)
		}
	}
}

func TestSteadySpacingIsTheValueRoundedUpToTheGranule(t *testing.T) {
	for _, c := range []struct {
		v    time.Duration
		hz   int
		want time.Duration
	}{
		{20 * s, 250, 20480 * ms},
		{75 * s, 250, 75776 * ms},
		{75 * s, 1000, 77824 * ms},
		{60 * s, 250, 61440 * ms},
		{60 * s, 1000, 61440 * ms},
		{15 * s, 250, 15104 * ms},
		{15 * s, 1000, 15360 * ms},
		{8 * s, 250, 8192 * ms},
	} {
		if got := facts.Steady(c.v, c.hz); got != c.want {
			t.Errorf("Steady(%v, %d Hz) = %v, want %v", c.v, c.hz, got, c.want)
		}
	}
}

func TestGranuleIsNeverMoreThanAnEighthOfTheDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.SampledFrom(frequencies).Draw(t, "hz")
		v := time.Duration(rapid.Int64Range(int64(s), int64(100*time.Hour)).Draw(t, "v"))
		g := facts.Granule(v, hz)
		if tick := s / time.Duration(hz); g > (v+tick)*8/63 {
			t.Fatalf("Granule(%v, %d) = %v, more than 8/63", v, hz, g)
		}
		if steady := facts.Steady(v, hz); steady < v-time.Microsecond || steady > v+g+s/time.Duration(hz) {
			t.Fatalf("Steady(%v, %d) = %v, granule %v", v, hz, steady, g)
		}
	})
}

func TestSilencesThatFitAConfiguredValue(t *testing.T) {
	for _, c := range []struct {
		name        string
		v, observed time.Duration
		want        bool
	}{
		{"on time", 20 * s, 20 * s, true},
		{"measured first probes, earliest", 20 * s, 20198 * ms, true},
		{"measured first probes, latest", 20 * s, 21876 * ms, true},
		{"17 s, earliest of sixty sockets", 17 * s, 17030 * ms, true},
		{"17 s, latest of sixty sockets", 17 * s, 19040 * ms, true},
		{"a clock 400 ppm slow", 7200 * s, 7197120 * ms, true},
		{"early by more than a clock can be", 7200 * s, 7196 * s, false},
		{"two hours, latest at 300 Hz", 7200 * s, 8073800 * ms, true},
		{"later than any kernel", 7200 * s, 8075 * s, false},
		{"20 s is not 23", 20 * s, 23 * s, false},
		{"no value", 0, 5 * ms, false},
	} {
		if got := facts.FitsConfigured(c.v, c.observed, 10*ms); got != c.want {
			t.Errorf("%s: FitsConfigured(%v, %v) = %v, want %v", c.name, c.v, c.observed, got, c.want)
		}
	}
}

func TestRoundCandidatesComeFirst(t *testing.T) {
	for _, c := range []struct {
		name     string
		observed time.Duration
		want     time.Duration
	}{
		{"the default, just after", 7202 * s, 7200 * s},
		{"the default, latest at 250 Hz", 7331 * s, 7200 * s},
		{"the default, latest at 1000 Hz", 7462 * s, 7200 * s},
		{"the default, latest at 100 Hz", 7527 * s, 7200 * s},
		{"steady 75 s at 250 Hz", 75776 * ms, 75 * s},
		{"steady 75 s at 1000 Hz", 77824 * ms, 75 * s},
		{"steady 60 s", 61440 * ms, 60 * s},
		{"steady 20 s", 20480 * ms, 20 * s},
		{"steady 15 s at 1000 Hz", 15360 * ms, 15 * s},
		{"Chrome's 45 s, which 40 s at 100 Hz could be too", 45040 * ms, 45 * s},
		{"interval of a second", 1020 * ms, 1 * s},
		{"half a second", 500 * ms, 500 * ms},
		{"no whole second fits", 9900 * ms, 9900 * ms},
		{"tens of seconds to the tick, which an hour could be too", 3700 * s, 3700 * s},
		{"nothing special", 17030 * ms, 17 * s},
	} {
		got := facts.Candidates(c.observed, 10*ms)
		if len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: Candidates(%v) = %v, want %v first", c.name, c.observed, got, c.want)
		}
	}
	if got := facts.Candidates(20480*ms, 0); !cmp.Equal(got, []time.Duration{20 * s, 19 * s}) {
		t.Errorf("Candidates(20.48 s) = %v, want 20 s and 19 s", got)
	}
	if got := facts.Candidates(0, 0); got != nil {
		t.Errorf("Candidates(0) = %v, want none", got)
	}
}

// Whatever round value was configured and however late the timer is, it is
// among what fits; and nothing else is listed.
func TestCandidatesHoldWhatWasConfigured(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.SampledFrom(frequencies).Draw(t, "hz")
		v := time.Duration(rapid.SampledFrom([]int{1, 5, 10, 15, 20, 30, 45, 60, 75, 120, 300, 600, 3600, 7200}).Draw(t, "v")) * s
		late := time.Duration(rapid.Int64Range(0, int64(facts.Granule(v, hz))).Draw(t, "late"))
		got := facts.Candidates(v+late, 0)
		if !slices.Contains(got, v) {
			t.Fatalf("%v late by %v: Candidates = %v", v, late, got)
		}
		if len(got) > 8 {
			t.Fatalf("%d candidates", len(got))
		}
		for _, c := range got {
			if !facts.FitsConfigured(c, v+late, 0) {
				t.Fatalf("%v late by %v: %v does not fit", v, late, c)
			}
		}
	})
}

func TestSpacingsOnTheTimerWheel(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
		want     facts.Grid
	}{
		{"75 s at 250 Hz", 75776 * ms, facts.Grid{Configured: 75 * s, HZ: 250}},
		{"75 s at 1000 Hz, two milliseconds off", 77826 * ms, facts.Grid{Configured: 75 * s, HZ: 1000}},
		{"15 s at 250 Hz", 15104 * ms, facts.Grid{Configured: 15 * s, HZ: 250}},
	} {
		if got := facts.OnGrid(c.interval); len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: OnGrid(%v) = %v, want %v first", c.name, c.interval, got, c.want)
		}
	}
	for _, exact := range []time.Duration{75 * s, 7200 * s, 45 * s, 10 * s, 1 * s} {
		if got := facts.OnGrid(exact); got != nil {
			t.Errorf("OnGrid(%v) = %v, want none: exact values say nothing", exact, got)
		}
	}
}
