package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
)

// WhatIf asks whether connections would have lived with other keepalives.
type WhatIf struct {
	Idle     time.Duration
	Interval time.Duration // 0: the one seen on the connection, else Idle
}

// Answers to a WhatIf.
const (
	WouldLive     = "lives"         // by what was seen to pass
	WouldLikely   = "likely-lives"  // by the documented defaults of all devices that fit
	WouldPerhaps  = "perhaps"       // it depends on which of the devices that fit it is
	WouldDie      = "dies"          // its first probe would come too late
	WouldNotHelp  = "does-not-help" // it did not die of silence
	WouldNotKnow  = "unknown"
	NothingToSave = "lived" // it lived without
)

// Would is the answer for one connection.
type Would struct {
	Idle, Interval time.Duration // as computed with
	Answer         string
	Why            string
}

// circumstances are what a WhatIf needs to know of a connection.
type circumstances struct {
	verdict, cause string
	note           string // a contradiction on its path
	limit          IdleBracket
	interval       time.Duration // seen at either end; 0 unknown
	port           int
}

// would answers for one connection.
func (w *WhatIf) would(c *circumstances) Would {
	a := Would{Idle: w.Idle, Interval: w.Interval}
	if a.Interval == 0 {
		a.Interval = c.interval
	}
	if a.Interval == 0 {
		a.Interval = a.Idle
	}
	if forgotten(&Verdict{ID: c.verdict, Cause: c.cause}) {
		a.onPath(c)
		return a
	}
	switch c.verdict {
	case Healthy, ClosedNormally:
		a.Answer, a.Why = NothingToSave, "it lived without them"
	case Idle:
		a.Answer, a.Why = WouldNotKnow, "it was silent and nothing asked: with these keepalives the capture would tell"
	case Undecided, CaptureGap:
		a.Answer, a.Why = WouldNotKnow, "what happened to it is not known"
	case IdleClose:
		a.Answer, a.Why = WouldNotHelp, "an end closed it on a timer of its own, which counts data and not probes"
	case ReceiverStalled:
		a.Answer, a.Why = WouldNotHelp, "an end stopped reading; nothing was lost to silence"
	default:
		a.Answer, a.Why = WouldNotHelp, "it did not die of silence; they would only have noticed it sooner"
	}
	return a
}

// onPath answers for a connection that something between the ends forgot.
func (a *Would) onPath(c *circumstances) {
	steady, oneLost := facts.Plan{Idle: a.Idle, Interval: a.Interval}.Silences()
	period := max(a.Idle, a.Interval)
	switch {
	case c.cause == "state-lost":
		a.Answer, a.Why = WouldNotHelp, "the state was lost, not timed out: they would only have noticed it sooner"
		return
	case c.note != "":
		a.Answer, a.Why = WouldNotKnow, "what is seen of the path's idle limit contradicts itself"
		return
	case c.limit.Killed == 0:
		a.Answer, a.Why = WouldNotKnow, "no idle limit is known for its path"
		return
	case period >= c.limit.Killed || facts.FitsConfigured(period, c.limit.Killed, 0):
		a.Answer, a.Why = WouldDie, fmt.Sprintf("the path would see silences of %s and more, and %s killed it", facts.Compact(period), facts.Compact(c.limit.Killed))
		return
	case c.limit.RefreshedBy == "payload":
		a.Answer, a.Why = WouldNotHelp, "only data refreshes this path; an application's heartbeat would help"
		return
	case steady <= c.limit.Survived:
		a.Answer = WouldLive
		a.Why = fmt.Sprintf("silences up to %s are proven to pass here, and these would be at most %s", facts.Compact(c.limit.Survived), facts.Compact(steady))
		if oneLost > c.limit.Survived {
			a.Why += fmt.Sprintf("; with one probe lost %s, which is not proven", facts.Compact(oneLost))
		}
	default:
		a.byDefaults(c, steady)
	}
	if c.limit.RefreshedBy != "any" && a.Answer != WouldPerhaps {
		a.unlessData(c)
	}
}

// unlessData takes back certainty where no probe was seen to refresh the
// path: some devices count data alone.
func (a *Would) unlessData(c *circumstances) {
	rows := facts.TimeoutsBetween(c.limit.Survived, c.limit.Killed, c.port)
	sure := !slices.ContainsFunc(rows, func(t facts.Timeout) bool { return t.KeepaliveRefreshes != facts.Yes })
	switch {
	case len(rows) > 0 && sure:
		a.Answer = WouldLikely
		a.Why += "; probes refresh all of the known devices that fit, but none was seen to do so here"
	case a.Answer == WouldLive:
		a.Answer = WouldPerhaps
		a.Why += "; whether probes refresh this path was not seen, and no known device tells"
	}
}

// byDefaults answers by the devices whose documented timeouts fit what killed.
func (a *Would) byDefaults(c *circumstances, steady time.Duration) {
	var outlived, not, data []string
	for _, t := range facts.TimeoutsBetween(c.limit.Survived, c.limit.Killed, c.port) {
		name := fmt.Sprintf("%s %d s", t.Label(), int(t.Idle/time.Second))
		switch o := (facts.Plan{Idle: a.Idle, Interval: a.Interval}).On(&t, false); {
		case o == facts.Outlives || o == facts.OutlivesBare:
			outlived = append(outlived, name)
		case o == facts.NeedsPayload || o == facts.NotTold:
			data = append(data, name)
		default:
			not = append(not, name)
		}
	}
	switch {
	case len(outlived)+len(not)+len(data) == 0:
		a.Answer = WouldPerhaps
		a.Why = fmt.Sprintf("silences of %s lie between what passed and what killed, and no known device's default does", facts.Compact(steady))
	case len(not)+len(data) == 0:
		a.Answer = WouldLikely
		a.Why = "shorter than the default of every known device that fits: " + few(outlived)
	case len(outlived) == 0 && len(data) == 0:
		a.Answer = WouldPerhaps
		a.Why = "too slow for every known device that fits: " + few(not)
	default:
		a.Answer = WouldPerhaps
		a.Why = "it depends on the device: "
		var parts []string
		for _, p := range []struct {
			says  string
			names []string
		}{{"lives behind ", outlived}, {"dies behind ", not}, {"needs data behind ", data}} {
			if len(p.names) > 0 {
				parts = append(parts, p.says+few(p.names))
			}
		}
		a.Why += strings.Join(parts, "; ")
	}
}

// few lists the first names and counts the rest.
func few(names []string) string {
	const most = 3
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// intervalOf is the interval that was seen on a connection: the shorter one
// where both ends have one, 0 where none was.
func intervalOf(policies []Policy) time.Duration {
	var seen []time.Duration
	for _, p := range policies {
		if p.Interval > 0 && !p.beats() {
			seen = append(seen, p.Interval)
		}
	}
	if len(seen) == 0 {
		return 0
	}
	return slices.Min(seen)
}
