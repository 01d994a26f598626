package facts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Detection returns how long a host needs to notice a dead peer: idle + count
// × interval, from the last segment it received to giving up.
func Detection(idle, interval time.Duration, count int) time.Duration {
	return idle + time.Duration(count)*interval
}

// LatestDetection returns Detection as it can show on the wire on Linux: the
// first timer late by a granule, every interval rounded up to its own.
func LatestDetection(idle, interval time.Duration, count int) time.Duration {
	var latest time.Duration
	for _, hz := range linuxHZ {
		latest = max(latest, idle+Granule(idle, hz)+time.Duration(count)*Steady(interval, hz))
	}
	return latest
}

// Arithmetic writes out Detection: "7200 + 9 × 75 = 7875 s (2 h 11 min 15 s)".
func Arithmetic(idle, interval time.Duration, count int) string {
	return sum(fmt.Sprintf("%s + %d × %s", seconds(idle), count, seconds(interval)), Detection(idle, interval, count))
}

// Arithmetic writes out how the system comes to its detection time. Where no
// sum of its numbers gives it, the formula's words are returned.
func (d *Default) Arithmetic() string {
	switch {
	case d.Idle > 0 && d.Interval > 0 && d.Count > 0 && Detection(d.Idle, d.Interval, d.Count) == d.Detection:
		return Arithmetic(d.Idle, d.Interval, d.Count)
	case d.Idle > 0 && d.Abort > 0 && d.Idle+d.Abort == d.Detection:
		return sum(seconds(d.Idle)+" + "+seconds(d.Abort), d.Detection)
	default:
		return d.Formula
	}
}

func sum(terms string, total time.Duration) string {
	if total < time.Minute {
		return fmt.Sprintf("%s = %s s", terms, seconds(total))
	}
	return fmt.Sprintf("%s = %s s (%s)", terms, seconds(total), Human(total))
}

// seconds writes d in seconds with up to three decimals.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(time.Millisecond).Seconds(), 'f', -1, 64)
}

// Human writes d in words: "2 h 11 min 15 s", "2 h 0 min 5 s", "2 h 10 min",
// "41 s", "20.5 s". From one minute on it counts whole seconds, and zeros at
// the end are left out.
func Human(d time.Duration) string {
	if d < 0 {
		return "-" + Human(-d)
	}
	if d.Round(time.Second/10) < time.Minute {
		return small(d)
	}
	total := int64(d.Round(time.Second) / time.Second)
	var parts []string
	for _, unit := range []struct {
		name string
		size int64
	}{{"h", 3600}, {"min", 60}, {"s", 1}} {
		if total == 0 {
			break
		}
		if n := total / unit.size; n > 0 || parts != nil {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
		}
		total %= unit.size
	}
	return strings.Join(parts, " ")
}

// Compact writes d in few columns: "2h00m02s", "12m05s", "41 s", "20.5 s".
func Compact(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Compact(-d)
	case d.Round(time.Second/10) < time.Minute:
		return small(d)
	}
	total := int64(d.Round(time.Second) / time.Second)
	if total < 3600 {
		return fmt.Sprintf("%dm%02ds", total/60, total%60)
	}
	return fmt.Sprintf("%dh%02dm%02ds", total/3600, total/60%60, total%60)
}

// small writes durations below a minute: tenths of seconds from one second
// on, whole milliseconds below, microseconds below those.
func small(d time.Duration) string {
	number := func(value float64, decimals int) string {
		text := strconv.FormatFloat(value, 'f', decimals, 64)
		return strings.TrimSuffix(text, ".0")
	}
	switch {
	case d == 0:
		return "0 s"
	case d.Round(time.Millisecond) >= time.Second:
		return number(d.Seconds(), 1) + " s"
	case d.Round(time.Microsecond) >= time.Millisecond:
		return number(float64(d)/1e6, 0) + " ms"
	default:
		return number(float64(d)/1e3, 0) + " µs"
	}
}
