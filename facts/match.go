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
}

// What fits earns and what does not costs. An idle time or an interval that
// does not fit rules a row out: its default is then not what was seen.
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
// among equals in the order of the table. Rows that only repeat the values of
// the system below them are left out.
func Resembles(p Observed) []Match {
	var found []Match
	for i := range defaults {
		d := &defaults[i]
		if d.OSValues || d.Payload {
			continue
		}
		if m, ok := compare(d, p); ok && m.Score >= leastScore {
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, func(a, b Match) int { return cmp.Compare(b.Score, a.Score) })
	return found
}

// compare scores one row; false where something rules it out.
func compare(d *Default, p Observed) (Match, bool) {
	m := Match{Default: *d}
	possible := m.idle(p) && m.interval(p) && m.period(p) && m.octets(p) && m.backoff(p)
	m.count(p)
	m.grid(p)
	if d.Shaky() {
		m.Score--
		m.Against = append(m.Against, "the row itself is shaky")
	}
	return m, possible
}

func (m *Match) fits(score int, format string, args ...any) {
	m.Score += score
	m.For = append(m.For, fmt.Sprintf(format, args...))
}

func (m *Match) differs(cost int, format string, args ...any) {
	m.Score -= cost
	m.Against = append(m.Against, fmt.Sprintf(format, args...))
}

func (m *Match) idle(p Observed) bool {
	if p.Idle == 0 || m.Default.Idle == 0 {
		return true
	}
	if !m.Default.allows(m.Default.Idle, p.Idle, p.RTT) {
		return false
	}
	m.fits(scoreIdle, "first probe after %s s, default %s s", seconds(p.Idle), seconds(m.Default.Idle))
	return true
}

func (m *Match) interval(p Observed) bool {
	lo, hi := p.IntervalMin, max(p.IntervalMin, p.IntervalMax)
	if hi == 0 || m.Default.Interval == 0 {
		return true
	}
	if lo == 0 {
		lo = hi
	}
	if !m.Default.allows(m.Default.Interval, lo, p.RTT) || !m.Default.allows(m.Default.Interval, hi, p.RTT) {
		return false
	}
	m.fits(scoreInterval, "unanswered probes %s s apart, default %s s", seconds(hi), seconds(m.Default.Interval))
	return true
}

// period compares the spacing of answered probes with max(idle, interval).
func (m *Match) period(p Observed) bool {
	usual := max(m.Default.Idle, m.Default.Interval)
	if p.Period == 0 || m.Default.Idle == 0 {
		return true
	}
	if !m.Default.allows(usual, p.Period, p.RTT) {
		return false
	}
	m.fits(scorePeriod, "answered probes %s s apart, default %s s", seconds(p.Period), seconds(usual))
	return true
}

// allows reports whether the system's timer of v can show as observed. Timers
// of systems other than Linux have coarser or finer ticks than its wheel; half
// a second and one part in twenty (FreeBSD coalesces callouts) cover those
// that are known. Programs run on any system.
func (d *Default) allows(v, observed, rtt time.Duration) bool {
	if d.TimerWheel || d.Kind == "app" || d.Kind == "runtime" || d.Kind == "stack" {
		return FitsConfigured(v, observed, rtt)
	}
	slack := max(500*time.Millisecond, v/20)
	return v-min(slack, v/10) <= observed && observed <= v+slack+rtt
}

func (m *Match) octets(p Observed) bool {
	if !p.OctetsKnown || m.Default.ProbeOctets < 0 {
		return true
	}
	if m.Default.ProbeOctets != p.ProbeOctets {
		return false
	}
	m.fits(scoreOctets, "probes of %d octets", p.ProbeOctets)
	return true
}

func (m *Match) backoff(p Observed) bool {
	if p.Backoff == Unknown || m.Default.Backoff == "" {
		return true
	}
	if (p.Backoff == Yes) != (m.Default.Backoff == "exponential") {
		return false
	}
	m.fits(scoreBackoff, "%s spacing of unanswered probes", m.Default.Backoff)
	return true
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
func (m *Match) grid(p Observed) {
	spacing := cmp.Or(p.IntervalMin, p.Period)
	if !m.Default.TimerWheel || spacing == 0 {
		return
	}
	for _, on := range OnGrid(spacing) {
		if on.Configured == m.Default.Interval || on.Configured == m.Default.Idle {
			m.fits(scoreGrid, "%s s is %s s on the timer wheel at %d Hz", seconds(spacing), seconds(on.Configured), on.HZ)
			return
		}
	}
}
