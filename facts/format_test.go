package facts_test

import (
	"testing"
	"time"

	"kaflow/facts"
)

// The worked examples of the field.
func TestDetectionWrittenOut(t *testing.T) {
	for _, c := range []struct {
		name           string
		idle, interval time.Duration
		count          int
		want           string
	}{
		{"Linux", 7200 * s, 75 * s, 9, "7200 + 9 × 75 = 7875 s (2 h 11 min 15 s)"},
		{"GnuGk's advice", 60 * s, 10 * s, 3, "60 + 3 × 10 = 90 s (1 min 30 s)"},
		{"FreeBSD in milliseconds", 10000 * ms, 5000 * ms, 8, "10 + 8 × 5 = 50 s"},
		{"Windows XP", 7200 * s, 1 * s, 5, "7200 + 5 × 1 = 7205 s (2 h 0 min 5 s)"},
		{"fractions", 1500 * ms, 250 * ms, 2, "1.5 + 2 × 0.25 = 2 s"},
	} {
		if got := facts.Arithmetic(c.idle, c.interval, c.count); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for id, want := range map[string]string{
		"linux":                "7200 + 9 × 75 = 7875 s (2 h 11 min 15 s)",
		"windows-2000-xp-2003": "7200 + 5 × 1 = 7205 s (2 h 0 min 5 s)",
		"windows-vista-plus":   "7200 + 10 × 1 = 7210 s (2 h 0 min 10 s)",
		"solaris-10":           "7200 + 480 = 7680 s (2 h 8 min)",
		"smoltcp":              "socket timeout, if set; no count",
	} {
		d, ok := facts.DefaultByID(id)
		if got := d.Arithmetic(); !ok || got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

func TestDetectionOnTheWireIsLaterThanTheSum(t *testing.T) {
	// 300 Hz: 7200 s late by 262144 jiffies, 75 s rounded up to 44 × 512 jiffies.
	want := (7200*300+262144+9*44*512)*s/300 + 0
	if got := facts.LatestDetection(7200*s, 75*s, 9); (got - want).Abs() > time.Microsecond {
		t.Errorf("LatestDetection(7200, 75, 9) = %v, want %v", got, want)
	}
}

func TestDurationsInWordsAndColumns(t *testing.T) {
	for _, c := range []struct {
		d              time.Duration
		human, compact string
	}{
		{7875 * s, "2 h 11 min 15 s", "2h11m15s"},
		{7202 * s, "2 h 0 min 2 s", "2h00m02s"},
		{7200 * s, "2 h", "2h00m00s"},
		{7800 * s, "2 h 10 min", "2h10m00s"},
		{725 * s, "12 min 5 s", "12m05s"},
		{75776 * ms, "1 min 16 s", "1m16s"},
		{432000 * s, "120 h", "120h00m00s"},
		{41 * s, "41 s", "41 s"},
		{20480 * ms, "20.5 s", "20.5 s"},
		{59970 * ms, "1 min", "1m00s"},
		{9999700 * time.Microsecond / 10, "1 s", "1 s"},
		{32 * ms, "32 ms", "32 ms"},
		{180 * time.Microsecond, "180 µs", "180 µs"},
		{0, "0 s", "0 s"},
		{-41 * s, "-41 s", "-41 s"},
	} {
		if got := facts.Human(c.d); got != c.human {
			t.Errorf("Human(%v) = %q, want %q", c.d, got, c.human)
		}
		if got := facts.Compact(c.d); got != c.compact {
			t.Errorf("Compact(%v) = %q, want %q", c.d, got, c.compact)
		}
	}
}
