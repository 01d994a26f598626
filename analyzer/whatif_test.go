package analyzer

import (
	"strings"
	"testing"
	"time"

	"kaflow/facts"
)

func TestWhatOtherKeepalivesWouldHaveDone(t *testing.T) {
	dropped := circumstances{verdict: SilentDrop, cause: "idle-expiry", limit: IdleBracket{Survived: 41 * time.Second, Killed: 7202 * time.Second, RefreshedBy: "any"}}
	with := func(change func(*circumstances)) circumstances {
		c := dropped
		change(&c)
		return c
	}
	for _, c := range []struct {
		name           string
		idle, interval time.Duration
		c              circumstances
		want, why      string
	}{
		{"below what passed, and probes were seen to refresh the path", 20 * time.Second, 10 * time.Second, dropped, WouldLive, "silences up to 41 s are proven to pass"},
		{"the same, and no probe was seen to", 20 * time.Second, 10 * time.Second, with(func(c *circumstances) { c.limit.RefreshedBy = "unknown" }), WouldLikely, "none was seen to do so here"},
		{"the same, and no known device fits", 20 * time.Second, 10 * time.Second,
			with(func(c *circumstances) { c.limit.RefreshedBy, c.limit.Killed = "unknown", 45*time.Second }), WouldPerhaps, "whether probes refresh this path was not seen"},
		{"below every default that fits", 100 * time.Second, 50 * time.Second, dropped, WouldLikely, "Azure LB 240 s"},
		{"the interval is the longer one", 20 * time.Second, 3600 * time.Second, dropped, WouldPerhaps, "too slow for every known device that fits"},
		{"it depends on the device", 250 * time.Second, 75 * time.Second, dropped, WouldPerhaps, "lives behind SonicWall"},
		{"what was in place", 7200 * time.Second, 75 * time.Second, dropped, WouldDie, "killed it"},
		{"slower still", 8000 * time.Second, 75 * time.Second, dropped, WouldDie, "killed it"},
		{"only data refreshes the path", 60 * time.Second, 10 * time.Second, with(func(c *circumstances) { c.limit.RefreshedBy = "payload" }), WouldNotHelp, "only data refreshes"},
		{"the state was flushed", 60 * time.Second, 10 * time.Second, with(func(c *circumstances) { c.cause = "state-lost" }), WouldNotHelp, "not timed out"},
		{"the path contradicts itself", 60 * time.Second, 10 * time.Second, with(func(c *circumstances) { c.note = "contradiction" }), WouldNotKnow, "contradicts itself"},
		{"no limit known", 60 * time.Second, 10 * time.Second, with(func(c *circumstances) { c.limit.Killed = 0 }), WouldNotKnow, "no idle limit is known"},
		{"a device that sent a RST when its idle timer ran out", 20 * time.Second, 10 * time.Second,
			with(func(c *circumstances) { c.verdict = ForgedReset }), WouldLive, "proven to pass"},
		{"a RST that somebody injected", 20 * time.Second, 10 * time.Second,
			with(func(c *circumstances) { c.verdict, c.cause = ForgedReset, "injected" }), WouldNotHelp, "did not die of silence"},
		{"healthy", 60 * time.Second, 10 * time.Second, circumstances{verdict: Healthy}, NothingToSave, "lived without"},
		{"silent at the end", 60 * time.Second, 10 * time.Second, circumstances{verdict: Idle}, WouldNotKnow, "nothing asked"},
		{"cut path", 60 * time.Second, 10 * time.Second, circumstances{verdict: PathCut}, WouldNotHelp, "noticed it sooner"},
		{"undecided", 60 * time.Second, 10 * time.Second, circumstances{verdict: Undecided}, WouldNotKnow, "not known"},
		{"closed on purpose", 60 * time.Second, 10 * time.Second, circumstances{verdict: IdleClose}, WouldNotHelp, "counts data and not probes"},
	} {
		w := WhatIf{Idle: c.idle, Interval: c.interval}
		if got := w.would(&c.c); got.Answer != c.want || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, got.Answer, got.Why, c.want, c.why)
		}
	}
}

func TestAnIntervalThatIsNotGivenIsTheOneSeen(t *testing.T) {
	for _, c := range []struct {
		seen, want time.Duration
	}{{75 * time.Second, 75 * time.Second}, {0, 60 * time.Second}} {
		got := (&WhatIf{Idle: 60 * time.Second}).would(&circumstances{verdict: Healthy, interval: c.seen})
		if got.Interval != c.want {
			t.Errorf("seen %v: computed with %v, want %v", c.seen, got.Interval, c.want)
		}
	}
	policies := []Policy{{Interval: 75 * time.Second}, {}, {Interval: 10 * time.Second}}
	if got := intervalOf(policies); got != 10*time.Second {
		t.Errorf("of %+v: %v", policies, got)
	}
}

// What the report advises must be an answer that lives: the two never
// contradict each other.
func TestAdvisedKeepalivesWouldHaveLived(t *testing.T) {
	for survived := time.Duration(5); survived < 4000; survived += 37 {
		limit := IdleBracket{Survived: survived * time.Second, Killed: (survived + 900) * time.Second, RefreshedBy: "any"}
		safe, likely := facts.Advise(limit.Survived, limit.Killed, 0)
		c := circumstances{verdict: SilentDrop, cause: "idle-expiry", limit: limit}
		for _, a := range []facts.Advice{safe, likely} {
			if !a.OK {
				continue
			}
			w := WhatIf{Idle: a.Idle, Interval: a.Interval}
			if got := w.would(&c); got.Answer != WouldLive && got.Answer != WouldLikely {
				t.Errorf("bracket (%v, %v]: %+v is advised, and what-if says %s: %s", limit.Survived, limit.Killed, a, got.Answer, got.Why)
			}
		}
	}
}
