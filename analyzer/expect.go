package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
)

// Expectation is a keepalive policy that somebody says an end has. A zero
// field is not asked about.
type Expectation struct {
	End            uint8 // flows.Client, flows.Server, or flows.Unclear for both
	Idle, Interval time.Duration
	Count          int
	Alive          [2]Alive // of ssh: ServerAlive of the client, ClientAlive of the server
}

// Result of a check.
type Result string

// Results. What was not seen neither passes nor fails.
const (
	Pass    Result = "pass"
	Fail    Result = "fail"
	NotSeen Result = "not seen"
)

// EndCheck compares one end with an Expectation.
type EndCheck struct {
	End    uint8
	Result Result // Fail where any item fails, Pass where one passes
	Items  []CheckItem
}

// CheckItem is one number of an Expectation.
type CheckItem struct {
	What   string // "idle", "interval", "count", or ssh's word such as "ServerAliveInterval"
	Want   time.Duration
	Count  int // wanted, of a count; then Want is 0
	Seen   flows.Range
	Counts int // seen, of a count; 0 not seen
	Result Result
	Why    string
}

// expect compares the ends of a connection with what was asked.
func expect(s *Subject, e *Expectation) []EndCheck {
	var out []EndCheck
	for side := uint8(0); side < 2; side++ {
		if e.End != flows.Unclear && e.End != side {
			continue
		}
		if c := checkEnd(s, side, e); len(c.Items) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func checkEnd(s *Subject, side uint8, e *Expectation) EndCheck {
	c := EndCheck{End: side, Result: NotSeen}
	end := &s.nearest(side).Sides[side]
	p, probes := policyOf(s, side)
	if e.Idle > 0 {
		item := checkIdle(&p, end, e)
		if !probes {
			item = checkSilence(s, side, e)
		}
		c.Items = append(c.Items, item)
	}
	if e.Interval > 0 {
		c.Items = append(c.Items, checkInterval(&p, end, e))
	}
	if e.Count > 0 {
		c.Items = append(c.Items, checkCount(s, side, &p, e))
	}
	c.Items = append(c.Items, checkAlive(s, side, e.Alive[side])...)
	if !initialTTL(end.TTL) {
		c.fromAfar()
	}
	for _, item := range c.Items {
		switch {
		case item.Result == Fail:
			c.Result = Fail
		case item.Result == Pass && c.Result == NotSeen:
			c.Result = Pass
		}
	}
	return c
}

// fromAfar takes failures back: a capture that was not taken on the host shows
// segments that never reached it, and misses probes that were lost before.
func (c *EndCheck) fromAfar() {
	for i := range c.Items {
		if item := &c.Items[i]; item.Result == Fail {
			item.Result = NotSeen
			item.Why += ", but this capture was not taken on that host: it may show what never arrived there, and miss what was lost on the way"
		}
	}
}

// checkIdle compares the silence before first probes, or the spacing of
// answered ones, which is the longer of idle time and interval.
func checkIdle(p *Policy, end *flows.Side, e *Expectation) CheckItem {
	item := CheckItem{What: "idle", Want: e.Idle, Seen: p.ObservedIdle, Result: NotSeen,
		Why: "no probe was seen after other traffic: let the connection fall silent while the capture runs"}
	switch {
	case p.ObservedIdle.Known:
		item.compare(end.RTT.Max)
	case end.Period.Known && e.Interval <= e.Idle:
		// One lost probe lengthens a spacing, nothing shortens it.
		item.Seen = flows.Range{Min: end.Period.Min, Max: end.Period.Min, Known: true}
		item.compare(end.RTT.Max)
		item.Why += ", by the spacing of answered probes"
	}
	return item
}

// checkInterval compares the spacing of unanswered probes.
func checkInterval(p *Policy, end *flows.Side, e *Expectation) CheckItem {
	item := CheckItem{What: "interval", Want: e.Interval, Seen: p.ObservedInterval, Result: NotSeen,
		Why: "it shows only while probes go unanswered: break the path beyond this host's capture and wait"}
	switch {
	case p.ObservedInterval.Known:
		item.compare(end.RTT.Max)
	case end.Period.Known && e.Idle > 0 && e.Interval > e.Idle:
		item.Seen = flows.Range{Min: end.Period.Min, Max: end.Period.Min, Known: true}
		item.compare(end.RTT.Max)
		item.Why += ", by the spacing of answered probes"
	}
	return item
}

// compare sets the result by what a timer of the wanted value can look like.
func (c *CheckItem) compare(rtt time.Duration) {
	fits := facts.FitsConfigured(c.Want, c.Seen.Min, rtt) && facts.FitsConfigured(c.Want, c.Seen.Max, rtt)
	c.Result, c.Why = Pass, "seen "+spread(c.Seen)
	if !fits {
		c.Result = Fail
	}
}

// spread writes a measured range in seconds.
func spread(r flows.Range) string {
	lo, hi := fmt.Sprintf("%.1f s", r.Min.Seconds()), fmt.Sprintf("%.1f s", r.Max.Seconds())
	if lo == hi {
		return lo
	}
	return lo + " to " + hi
}

// checkCount compares the number of unanswered probes before the end's own
// RST. Without one, more probes than wanted fail already.
func checkCount(s *Subject, side uint8, p *Policy, e *Expectation) CheckItem {
	item := CheckItem{What: "count", Count: e.Count, Counts: p.GaveUpAfter, Result: NotSeen,
		Why: "it shows only when the end gives up with a RST: break the path beyond this host's capture and wait"}
	longest := 0
	for _, t := range trains(s.nearest(side), side) {
		longest = max(longest, len(t.unanswered))
	}
	switch {
	case p.GaveUpAfter > 0 && p.GaveUpAfter == e.Count:
		item.Result, item.Why = Pass, fmt.Sprintf("gave up after %d unanswered probes", p.GaveUpAfter)
	case p.GaveUpAfter > 0:
		item.Result, item.Why = Fail, fmt.Sprintf("gave up after %d unanswered probes", p.GaveUpAfter)
		if p.GaveUpAfter < e.Count && p.ObservedInterval.Known {
			item.Why += fmt.Sprintf("; a user timeout (TCP_USER_TIMEOUT) of up to %s would end it alike", facts.Compact(p.ObservedIdle.Min+time.Duration(p.GaveUpAfter)*p.ObservedInterval.Min))
		}
	case p.GaveUpAtLeast > 0 && p.GaveUpAtLeast <= e.Count:
		item.Why = fmt.Sprintf("gave up after %d unanswered probes at least: the capture may lack the first of them", p.GaveUpAtLeast)
	case longest > e.Count:
		item.Result, item.Counts = Fail, longest
		item.Why = fmt.Sprintf("%d probes in a row went unanswered and it had not given up", longest)
	}
	return item
}

// repeatsAcross reports whether a side repeats, before or after a gap, what was not
// acknowledged: while anything is not, no stack sends probes.
func repeatsAcross(f *flows.Flow, side uint8, g *flows.Gap) bool {
	return slices.ContainsFunc(f.Events, func(ev flows.Event) bool {
		return ev.Kind == flows.Retransmission && ev.From == side && (ev.Ord == g.ToOrd || ev.EndOrd() == g.FromOrd)
	})
}

// checkSilence looks for a silence in which an end should have probed and did
// not.
func checkSilence(s *Subject, side uint8, e *Expectation) CheckItem {
	item := CheckItem{What: "idle", Want: e.Idle, Result: NotSeen, Why: "this end sent no probe, and no silence was long enough to call for one"}
	f := s.nearest(side)
	longest := time.Duration(0)
	for _, g := range f.Gaps {
		if !repeatsAcross(f, side, &g) {
			longest = max(longest, g.Duration())
		}
	}
	due := e.Idle + facts.LargestGranule(e.Idle) + time.Second
	switch {
	case longest <= due:
	case holesAt(f.Missing, f.First, f.Last):
		item.Why = fmt.Sprintf("no probe in a silence of %s, but the capture misses frames", facts.Compact(longest))
	default:
		item.Result = Fail
		item.Why = fmt.Sprintf("no probe in a silence of %s: keepalive is off for this connection (SO_KEEPALIVE), or the timer that ran was an older, longer one", facts.Compact(longest))
	}
	return item
}

// initialTTL reports whether a TTL is one that hosts give their packets: the
// capture was taken on the host itself.
func initialTTL(ttl uint8) bool { return ttl == 64 || ttl == 128 || ttl == 255 }
