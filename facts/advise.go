package facts

import (
	"fmt"
	"time"
)

// Advice is a keepalive policy that keeps a path's state alive.
type Advice struct {
	Idle, Interval time.Duration // whole seconds
	Count          int
	T              time.Duration // the silence that the path is taken to allow
	Why            string        // where T comes from; with OK false, why there is no advice
	OK             bool
}

// Advise returns two policies for a path on which a silence of survived passed
// (without the device learning the flow anew) and one of killed did not; zero
// is not known. safe stays below what was seen to pass, likely below the
// shortest known default between the two, never the value that killed. Rows
// of TimeoutsBetween that hold for particular server ports count where ports
// names one.
//
// Both leave room for one lost probe and for late timers: Idle + g(Idle) +
// Interval + g(Interval) + rtt <= T, where g is LargestGranule. Interval is
// half of Idle, so that probes, which come every max(idle, interval) while
// answered, come every Idle.
func Advise(survived, killed, rtt time.Duration, ports ...int) (safe, likely Advice) {
	return adviseSafe(survived, rtt), adviseLikely(survived, killed, rtt, ports)
}

func adviseSafe(survived, rtt time.Duration) Advice {
	if survived <= 0 {
		return Advice{Why: "no silence was seen to pass on this path"}
	}
	return Below(survived, rtt, fmt.Sprintf("silences up to %s are proven safe here", inSeconds(survived)))
}

func adviseLikely(survived, killed, rtt time.Duration, ports []int) Advice {
	if killed <= 0 {
		return Advice{Why: "no silence was seen to kill on this path"}
	}
	for _, t := range TimeoutsBetween(survived, killed, ports...) {
		if t.Idle < killed {
			return Below(t.Idle, rtt, fmt.Sprintf("shortest documented default in the bracket: %s (%s)",
				inSeconds(t.Idle), t.Label()))
		}
	}
	return Advice{Why: "no documented default lies in the bracket"}
}

// maxIdle is the idle time above which there is nothing to advise: the default
// of nearly every system.
const maxIdle = 7200

// Below returns a policy for a path that allows silences up to limit. Why
// says where the limit comes from and is passed through.
func Below(limit, rtt time.Duration, why string) Advice {
	most := mostSeconds(func(idle int64) bool {
		return longestSilence(idle, rtt) <= limit
	})
	if most == 0 {
		return Advice{T: limit, Why: fmt.Sprintf(
			"%s, which leaves no room for a keepalive in whole seconds: raise the device's timeout instead", why)}
	}
	idle := roundDown(most)
	interval := intervalFor(idle)
	return Advice{
		Idle: time.Duration(idle) * time.Second, Interval: time.Duration(interval) * time.Second,
		Count: countFor(interval), T: limit, Why: why, OK: true,
	}
}

// longestSilence is what the path sees when one probe is lost and both timers
// are as late as they can be.
func longestSilence(idle int64, rtt time.Duration) time.Duration {
	first := time.Duration(idle) * time.Second
	next := time.Duration(intervalFor(idle)) * time.Second
	return first + LargestGranule(first) + next + LargestGranule(next) + rtt
}

func intervalFor(idle int64) int64 { return max(1, idle/2) }

// countFor keeps detection from being so eager that a short outage ends the
// session: a minute of unanswered probes where five of them give that.
func countFor(interval int64) int {
	for count := 3; count < 5; count++ {
		if int64(count)*interval >= 60 {
			return count
		}
	}
	return 5
}

// mostSeconds returns the largest number up to maxIdle that is allowed, 0 if
// none is. A granule never shrinks as a delay grows, so allowed is monotone.
func mostSeconds(allowed func(int64) bool) int64 {
	lo, hi := int64(0), int64(maxIdle)
	for lo < hi {
		middle := (lo + hi + 1) / 2
		if allowed(middle) {
			lo = middle
		} else {
			hi = middle - 1
		}
	}
	return lo
}

// roundDown returns the roundest number not more than a quarter below most.
func roundDown(most int64) int64 {
	for _, unit := range []int64{3600, 600, 60, 10, 5} {
		if round := most / unit * unit; round*4 >= most*3 {
			return round
		}
	}
	return most
}

// inSeconds writes a limit in seconds, rounded down so that it stays one.
func inSeconds(d time.Duration) string {
	unit := time.Second
	if d < 10*time.Second {
		unit = time.Second / 10
	}
	return seconds(d.Truncate(unit)) + " s"
}
