package render

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// Forms of a moment. A stamp is as wide as stampWidth.
const (
	stampForm  = "15:04:05.000"
	dayForm    = "2006-01-02"
	utcForm    = "2006-01-02T15:04:05.000000000Z"
	stampWidth = len(stampForm)
)

// stamp is the time of day, "" where the moment is not known.
func (o Options) stamp(t tcp.Instant) string {
	if t == 0 {
		return ""
	}
	return t.Time().In(o.location()).Format(stampForm)
}

// day is the date with the zone in force at that moment.
func (o Options) day(t tcp.Instant) string {
	at := t.Time().In(o.location())
	return at.Format(dayForm) + " " + zone(at)
}

// moment is date and time of day.
func (o Options) moment(t tcp.Instant) string {
	return t.Time().In(o.location()).Format(dayForm + " " + stampForm)
}

// zone names the zone in force: "CET", or "UTC+03:30" where it has no letters.
func zone(at time.Time) string {
	name, _ := at.Zone()
	if name == "" || strings.ContainsAny(name[:1], "+-") {
		return "UTC" + at.Format("-07:00")
	}
	return escape(name)
}

// clockwise is a long duration as people say it: "2h00m02s", "3m05s"; short
// ones as seconds says them.
func clockwise(d time.Duration) string {
	whole := d.Round(time.Second)
	switch {
	case whole < time.Minute:
		return seconds(d)
	case whole < time.Hour:
		return fmt.Sprintf("%dm%02ds", whole/time.Minute, whole%time.Minute/time.Second)
	case whole < 24*time.Hour:
		return hours(whole)
	}
	return fmt.Sprintf("%dd%s", whole/(24*time.Hour), hours(whole%(24*time.Hour)))
}

func hours(d time.Duration) string {
	return fmt.Sprintf("%dh%02dm%02ds", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
}

// seconds is a duration in one unit, as precise as a reader can use: "7202 s",
// "75.8 s", "21.4 ms", "312 µs".
func seconds(d time.Duration) string {
	switch size := max(d, -d); {
	case size >= 1000*time.Second:
		return short(d, time.Second, 0) + " s"
	case size >= time.Second:
		return short(d, time.Second, 1) + " s"
	case size >= time.Millisecond:
		return short(d, time.Millisecond, 1) + " ms"
	case size == 0:
		return "0 s"
	case size < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	}
	return short(d, time.Microsecond, 0) + " µs"
}

// short is d in units with so many decimals, less trailing zeros.
func short(d, unit time.Duration, decimals int) string {
	s := strconv.FormatFloat(float64(d)/float64(unit), 'f', decimals, 64)
	if decimals == 0 {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// spread is a measured range: "60.4 s" where both ends read alike, else
// "60.3 s to 60.5 s".
func spread(r flows.Range) string {
	lo, hi := seconds(r.Min), seconds(r.Max)
	if lo == hi {
		return lo
	}
	return lo + " to " + hi
}

// count is a number with its noun, the plural made with s.
func count[N int | uint32 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
