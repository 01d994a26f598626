package lab

import (
	"math/rand/v2"
	"time"
)

// seconds draws a whole number of seconds from least to most.
func seconds(rng *rand.Rand, least, most int) time.Duration {
	return time.Duration(least+rng.IntN(most-least+1)) * time.Second
}

// drawDeath draws an end that asks in vain, where the router keeps no state.
func drawDeath(t *Timers, rng *rand.Rand) {
	t.Idle, t.Interval, t.Count = seconds(rng, 5, 8), seconds(rng, 1, 2), 3+rng.IntN(4)
}

// drawLife draws ends whose probes are answered several times in a short run.
func drawLife(t *Timers, rng *rand.Rand) {
	t.Idle, t.Interval, t.Count = seconds(rng, 2, 3), seconds(rng, 1, 2), 5+rng.IntN(5)
}

// drawSlow draws an end that asks when something else has had time to happen.
func drawSlow(t *Timers, rng *rand.Rand) {
	t.Idle, t.Interval, t.Count = seconds(rng, 9, 11), seconds(rng, 1, 2), 3+rng.IntN(4)
}

// drawPatience draws a user timeout that runs out between two probes, before the
// count is reached.
func drawPatience(t *Timers, rng *rand.Rand) {
	t.State = seconds(rng, 3, 4)
	t.Idle, t.Interval, t.Count = t.State+seconds(rng, 2, 3), time.Second, 9
	t.Pause = t.Idle + time.Duration(1+rng.IntN(4))*t.Interval + t.Interval/2
}

// drawRelearning draws a firewall's timer and the keepalives of two ends that
// come later, each at its own time.
func drawRelearning(t *Timers, rng *rand.Rand) {
	t.State = seconds(rng, 4, 5)
	t.Idle, t.Interval, t.Count = t.State+seconds(rng, 2, 4), time.Second, 3+rng.IntN(3)
	t.Peer = Probing{t.State + seconds(rng, 2, 4), time.Second, t.Count}
}

// drawFlush draws connections that live through a device's table until it is
// emptied, with enough patience that none has given up when all have noticed.
func drawFlush(t *Timers, rng *rand.Rand) {
	t.Idle, t.Interval = seconds(rng, 2, 3), time.Second
	t.Count = int(t.Idle/time.Second) + 4 + rng.IntN(2)
}

// drawPace draws how often a busy connection is used.
func drawPace(t *Timers, rng *rand.Rand) {
	t.Pause = time.Duration(100+rng.IntN(200)) * time.Millisecond
}

// drawLimit draws a service's patience with an idle connection.
func drawLimit(t *Timers, rng *rand.Rand) { t.Pause = seconds(rng, 11, 14) }

// drawNothing is for scenarios without timers of their own.
func drawNothing(*Timers, *rand.Rand) {}
