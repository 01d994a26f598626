package facts

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Plan is a keepalive policy in numbers, to be computed with. Zero is not
// known.
type Plan struct {
	Idle     time.Duration // silence before the first probe
	Interval time.Duration // spacing of unanswered probes; 0 where it follows the retransmission timer
	Count    int           // unanswered probes before giving up
	Abort    time.Duration // give-up time after Idle where no count rules it
}

// Or returns p with what it lacks taken from q.
func (p Plan) Or(q Plan) Plan {
	return Plan{
		Idle: cmp.Or(p.Idle, q.Idle), Interval: cmp.Or(p.Interval, q.Interval),
		Count: cmp.Or(p.Count, q.Count), Abort: cmp.Or(p.Abort, q.Abort),
	}
}

// Plan returns the default policy of the system.
func (d *Default) Plan() Plan {
	return Plan{Idle: d.Idle, Interval: d.Interval, Count: d.Count, Abort: d.Abort}
}

// Step is what one step of the system's settings is worth.
func (d *Default) Step() time.Duration { return cmp.Or(d.Unit, time.Second) }

// Sum is how a detection time follows from a policy.
type Sum uint8

// The sums. The zero value is that of TCP keepalives on most systems.
const (
	IdleAndProbes Sum = iota // idle + count × interval
	Probes                   // count × interval, from the first probe on
	ProbesAndOne             // (count + 1) × interval: the timer that finds one too many gives up
	IdleAndAbort             // idle + abort time, whatever the number of probes
)

// Of returns the detection time of p, and what it is the sum of, in steps of a
// system's settings: "7200000 + 5 × 1000". Without all of its numbers there is
// no sum.
func (s Sum) Of(p Plan, step time.Duration) (terms string, total time.Duration, ok bool) {
	n := func(d time.Duration) string { return steps(d, step) }
	switch s {
	case IdleAndProbes:
		terms = fmt.Sprintf("%s + %d × %s", n(p.Idle), p.Count, n(p.Interval))
		return terms, Detection(p.Idle, p.Interval, p.Count), p.Idle > 0 && p.Interval > 0 && p.Count > 0
	case Probes:
		return fmt.Sprintf("%d × %s", p.Count, n(p.Interval)), time.Duration(p.Count) * p.Interval, p.Interval > 0 && p.Count > 0
	case ProbesAndOne:
		terms = fmt.Sprintf("(%d + 1) × %s", p.Count, n(p.Interval))
		return terms, time.Duration(p.Count+1) * p.Interval, p.Interval > 0 && p.Count > 0
	default:
		return n(p.Idle) + " + " + n(p.Abort), p.Idle + p.Abort, p.Idle > 0 && p.Abort > 0
	}
}

// Write writes out the sum of p: "60 + 3 × 10 = 90 s (1 min 30 s)", in steps
// of a millisecond "10000 + 8 × 5000 = 50000 ms = 50 s"; "" where a number of
// it is missing.
func (s Sum) Write(p Plan, step time.Duration) string {
	name, known := map[time.Duration]string{time.Second: "s", time.Millisecond: "ms", time.Second / 2: "half-seconds"}[step]
	if !known {
		step, name = time.Second, "s"
	}
	terms, total, ok := s.Of(p, step)
	if !ok {
		return ""
	}
	text := fmt.Sprintf("%s = %s %s", terms, steps(total, step), name)
	if step != time.Second {
		text += " = " + seconds(total) + " s"
	}
	if total >= time.Minute {
		text += " (" + Human(total) + ")"
	}
	return text
}

// steps writes d in steps, with decimals where it is no whole number of them.
func steps(d, step time.Duration) string {
	if d%step == 0 {
		return fmt.Sprint(int64(d / step))
	}
	return seconds(d * (time.Second / step))
}

// Reading is what one source claims of a policy where sources contradict each
// other or leave room.
type Reading struct {
	Claim  string
	Plan   Plan  // its own numbers; the policy's where it has none
	Sums   []Sum // ways to count, shortest first; nil where no time follows
	Taken  bool  // the row follows this one
	Source Source
}

// Write writes out the claim's sums for a policy. Numbers in asked are the
// user's and stand above the claim's own, which stand above the system's.
func (r *Reading) Write(asked, system Plan, step time.Duration) []string {
	var out []string
	for _, s := range r.Sums {
		if text := s.Write(asked.Or(r.Plan).Or(system), step); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// Outages returns for how long the path may be dead without the policy giving
// up: sure where the outage begins at the worst moment, best where it begins
// right after an answer. Both are 0 where the policy's probes cannot be
// counted.
func (p Plan) Outages() (sure, best time.Duration) {
	if p.Interval == 0 || p.Count == 0 {
		return 0, 0
	}
	sure = time.Duration(p.Count-1) * p.Interval
	return sure, max(p.Idle, p.Interval) + sure
}

// maxRTO is the largest retransmission timeout of systems whose probes follow
// the retransmission timer.
const maxRTO = 60 * time.Second

// Silences returns the longest silences that a path sees while a host keeps to
// the policy and the other answers: with all probes passing, and with one lost
// on the way. Timers may be as late as a Linux kernel's.
func (p Plan) Silences() (steady, oneLost time.Duration) {
	period := max(p.Idle, p.Interval)
	if period == 0 {
		return 0, 0
	}
	next := cmp.Or(p.Interval, maxRTO)
	steady = period + LargestGranule(period)
	return steady, steady + next + LargestGranule(next)
}

// Outcome is what a policy means on a path with an idle limit.
type Outcome uint8

// The outcomes.
const (
	NotTold      Outcome = iota // whether probes refresh the device's timer is not known
	Outlives                    // also where one probe is lost
	OutlivesBare                // while no probe is lost
	MayDie                      // the timers of some systems are late enough to miss the limit
	Dies                        // the silence before a probe is as long as the limit
	NeedsPayload                // the device counts data alone
)

// String returns the outcome in a word.
func (o Outcome) String() string {
	return [...]string{"unknown", "outlives", "outlives-unless-lost", "may-die", "dies", "needs-payload"}[o]
}

// On returns what becomes of an idle connection behind a device. payload says
// that the probes are data, as those of ssh are.
func (p Plan) On(t *Timeout, payload bool) Outcome {
	steady, oneLost := p.Silences()
	switch {
	case steady == 0 || t.Idle == 0 || p.Idle == 0 && !payload:
		return NotTold
	case t.KeepaliveRefreshes == No && !payload:
		return NeedsPayload
	case t.KeepaliveRefreshes == Unknown && !payload:
		return NotTold
	case max(p.Idle, p.Interval) >= t.Idle:
		return Dies
	case steady >= t.Idle:
		return MayDie
	case oneLost >= t.Idle:
		return OutlivesBare
	}
	return Outlives
}

// PathLimits returns the timeouts that an idle connection meets on its way,
// the shortest first, guesses and timers of particular ports or of connections
// in trouble left out. A device appears once per timeout.
func PathLimits() []Timeout {
	var all []int
	for i := range timeouts {
		t := &timeouts[i]
		idle := t.State == Established || t.State == "idle" || t.KeepaliveRefreshes == No && t.Class != "firewall/NAT"
		if idle && t.Idle > 0 && t.Confidence != Guess && t.Ports == nil {
			all = append(all, i)
		}
	}
	return byIdle(all)
}

// Spread returns the positions of at most n rows that stand for all of them:
// one of each timeout, the devices that are often met first, over the whole
// range. The rows must be in order of their timeouts.
func Spread(rows []Timeout, n int) []int {
	stands := oneOfEach(rows)
	if len(stands) > n {
		often := slices.DeleteFunc(slices.Clone(stands), func(i int) bool { return !rows[i].Common })
		for _, i := range stands {
			if len(often) >= n {
				break
			}
			if !slices.Contains(often, i) {
				often = append(often, i)
			}
		}
		slices.Sort(often)
		stands = often
	}
	return evenly(stands, n)
}

// oneOfEach returns the position of one row for each timeout.
func oneOfEach(rows []Timeout) []int {
	var out []int
	for i := range rows {
		last := len(out) - 1
		switch {
		case last < 0 || rows[out[last]].Idle != rows[i].Idle:
			out = append(out, i)
		case rows[i].Common && !rows[out[last]].Common:
			out[last] = i
		}
	}
	return out
}

// evenly returns n of the positions, the first and the last among them.
func evenly(all []int, n int) []int {
	if len(all) <= n {
		return all
	}
	if n < 2 {
		return all[:n]
	}
	out := make([]int, n)
	for i := range out {
		out[i] = all[i*(len(all)-1)/(n-1)]
	}
	return out
}
