package tcp

import (
	"math"
	"time"
)

// Instant is a moment of packet time: nanoseconds since 1970-01-01 UTC. Zero
// means "not known". It covers the years 1678 to 2262; what lies outside
// saturates when a capture is read, and is counted there.
type Instant int64

// Limits of packet time.
const (
	MinInstant Instant = math.MinInt64
	MaxInstant Instant = math.MaxInt64
)

// Time returns the instant in UTC.
func (t Instant) Time() time.Time { return time.Unix(0, int64(t)).UTC() }

// Sub returns t − u, saturating instead of wrapping.
func (t Instant) Sub(u Instant) time.Duration {
	d := t - u
	if (d > 0) != (t > u) && t != u { // the subtraction wrapped
		if t > u {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	return time.Duration(d)
}

// Add returns the instant d after t, saturating instead of wrapping.
func (t Instant) Add(d time.Duration) Instant {
	sum := t + Instant(d)
	if d > 0 && sum < t {
		return MaxInstant
	}
	if d < 0 && sum > t {
		return MinInstant
	}
	return sum
}
