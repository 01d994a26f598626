package facts

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Observed is a keepalive policy as far as it was seen on the wire. A zero
// field was not seen and counts neither for nor against anything.
type Observed struct {
	Idle        time.Duration // silence before the first probe
	IntervalMin time.Duration // shortest and longest spacing of unanswered probes
	IntervalMax time.Duration
	Period      time.Duration // spacing of answered probes: max(idle, interval) of the policy
	RTT         time.Duration // slack for the answer that started a silence
	Count       int           // unanswered probes before the prober's reset, no user timeout fitting
	Backoff     Tri           // Yes: the spacing of unanswered probes doubled; No: it stayed
	ProbeOctets int           // payload of the probes, if OctetsKnown
	OctetsKnown bool
}

// Match is a system whose defaults resemble an observed policy. It is a hint,
// never an identification: many systems share their numbers, and all of them
// can be told others.
type Match struct {
	Default Default
	Score   int      // higher is closer; comparable within one answer of Resembles
	For     []string // what fits
	Against []string // what does not
	timed   bool     // a timer fits, or a doubling one does: empty probes at a fixed pace are sent by most
}

// What fits earns. What does not fit rules a row out, since its default is then
// not what was seen; only the count of probes and a shaky row merely cost.
const (
	scoreIdle     = 3
	scoreInterval = 3
	scorePeriod   = 3
	scoreOctets   = 2
	scoreBackoff  = 2
	scoreCount    = 2
	scoreGrid     = 1
	leastScore    = 3
)

// Resembles returns the systems whose defaults resemble p, the closest first,
// among equals the best founded, then in the order of the table. Rows that only repeat the values of
// another system, or are about payload heartbeats, are left out.
func Resembles(p Observed) []Match {
	var found []Match
	lo, _ := p.intervals()
	wheel := OnGrid(cmp.Or(lo, p.Period))
	for i := range defaults {
		d := &defaults[i]
		if d.OSValues || d.Payload || d.rulesOut(p) {
			continue
		}
		if m := weigh(d, p, wheel); m.Score >= leastScore && m.timed {
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, func(a, b Match) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Default.rank(), b.Default.rank()))
	})
	return found
}

// rulesOut reports whether p shows something that d by default never does.
func (d *Default) rulesOut(p Observed) bool {
	lo, hi := p.intervals()
	return p.Idle > 0 && d.Idle > 0 && !d.allows(d.Idle, p.Idle, p.RTT) ||
		hi > 0 && d.Interval > 0 && !(d.allows(d.Interval, lo, p.RTT) && d.allows(d.Interval, hi, p.RTT)) ||
		p.Period > 0 && d.Idle > 0 && !d.allows(d.period(), p.Period, p.RTT) ||
		p.OctetsKnown && d.ProbeOctets >= 0 && d.ProbeOctets != p.ProbeOctets ||
		p.Backoff != Unknown && d.Backoff != "" && (p.Backoff == Yes) != (d.Backoff == "exponential")
}

// intervals returns the range of spacings, from whichever bound is known.
func (p *Observed) intervals() (lo, hi time.Duration) {
	return cmp.Or(p.IntervalMin, p.IntervalMax), cmp.Or(p.IntervalMax, p.IntervalMin)
}

// period is the spacing of answered probes.
func (d *Default) period() time.Duration { return max(d.Idle, d.Interval) }

// weigh scores a row that nothing rules out. wheel is how the spacing of the
// probes can come from a Linux kernel.
func weigh(d *Default, p Observed, wheel []Grid) Match {
	m := Match{Default: *d}
	if p.Idle > 0 && d.Idle > 0 {
		m.timed = true
		m.fits(scoreIdle, "first probe after %s s, default %s s", seconds(p.Idle), seconds(d.Idle))
	}
	if _, hi := p.intervals(); hi > 0 && d.Interval > 0 {
		m.timed = true
		m.fits(scoreInterval, "unanswered probes %s s apart, default %s s", seconds(hi), seconds(d.Interval))
	}
	if p.Period > 0 && d.Idle > 0 {
		m.timed = true
		m.fits(scorePeriod, "answered probes %s s apart, default %s s", seconds(p.Period), seconds(d.period()))
	}
	if p.OctetsKnown && d.ProbeOctets >= 0 {
		m.fits(scoreOctets, "payload of the probes: %d", p.ProbeOctets)
	}
	if p.Backoff != Unknown && d.Backoff != "" {
		m.timed = m.timed || d.Backoff == "exponential"
		m.fits(scoreBackoff, "%s spacing of unanswered probes", d.Backoff)
	}
	m.count(p)
	m.grid(wheel)
	if d.Shaky() {
		m.differs(1, "the row itself is shaky")
	}
	return m
}

func (m *Match) fits(score int, format string, args ...any) {
	m.Score += score
	m.For = append(m.For, fmt.Sprintf(format, args...))
}

func (m *Match) differs(cost int, format string, args ...any) {
	m.Score -= cost
	m.Against = append(m.Against, fmt.Sprintf(format, args...))
}

// allows reports whether the system's timer of v can show as observed. Timers
// of systems other than Linux have coarser or finer ticks than its wheel; half
// a second and one part in twenty (FreeBSD coalesces callouts) cover those
// that are known.
func (d *Default) allows(v, observed, rtt time.Duration) bool {
	if d.mayRunOnLinux() || d.Kind == "stack" {
		return FitsConfigured(v, observed, rtt)
	}
	slack := max(500*time.Millisecond, v/20)
	return v-min(slack, v/10) <= observed && observed <= v+slack+rtt
}

// mayRunOnLinux reports whether the row is about Linux, or about programs that
// leave the probes to whatever system is below.
func (d *Default) mayRunOnLinux() bool {
	return d.TimerWheel || (d.Kind == "app" || d.Kind == "runtime") && d.ProbeOctets <= 0
}

// count never rules a row out: a user timeout or a lost frame changes it.
func (m *Match) count(p Observed) {
	switch {
	case p.Count == 0 || m.Default.Count == 0:
	case p.Count == m.Default.Count:
		m.fits(scoreCount, "%d unanswered probes before giving up", p.Count)
	default:
		m.differs(scoreCount, "gave up after %d unanswered probes, default %d", p.Count, m.Default.Count)
	}
}

// grid credits a Linux kernel with a spacing on its timer wheel. Being off the
// grid costs nothing: exact spacings and stretched captures are.
func (m *Match) grid(wheel []Grid) {
	if !m.Default.mayRunOnLinux() {
		return
	}
	for _, on := range wheel {
		if on.Configured == m.Default.Interval || on.Configured == m.Default.Idle {
			m.fits(scoreGrid, "a spacing of %s s on the timer wheel at %d Hz", seconds(on.Configured), on.HZ)
			return
		}
	}
}
