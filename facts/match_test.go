package facts_test

import (
	"slices"
	"testing"
	"time"

	"kaflow/facts"
)

// names returns the ids of matches, in order.
func names(matches []facts.Match) []string {
	var ids []string
	for _, m := range matches {
		ids = append(ids, m.Default.ID)
	}
	return ids
}

func TestSystemsThatAPolicyResembles(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      facts.Observed
		first  string
		absent []string
	}{
		{"Linux, late, on the wheel", facts.Observed{Idle: 7202 * s, IntervalMin: 75776 * ms, IntervalMax: 75778 * ms,
			Count: 9, OctetsKnown: true}, "linux", []string{"windows-vista-plus", "solaris-10", "chrome"}},
		{"BSD: exact, eight probes", facts.Observed{Idle: 7200 * s, IntervalMin: 75 * s, IntervalMax: 75 * s,
			Count: 8, OctetsKnown: true}, "freebsd", []string{"windows-vista-plus"}},
		{"ten probes of one octet, a second apart", facts.Observed{IntervalMin: 1 * s, IntervalMax: 1010 * ms,
			Count: 10, ProbeOctets: 1, OctetsKnown: true}, "windows-vista-plus", []string{"linux", "freebsd"}},
		{"five of them", facts.Observed{Idle: 7200 * s, IntervalMin: 1 * s, Count: 5, ProbeOctets: 1, OctetsKnown: true},
			"windows-2000-xp-2003", []string{"linux"}},
		{"doubling with one octet", facts.Observed{Backoff: facts.Yes, ProbeOctets: 1, OctetsKnown: true},
			"solaris-10", []string{"linux", "windows-vista-plus"}},
		{"numbers that somebody set, with libuv's interval among them", facts.Observed{Idle: 8100 * ms, IntervalMin: 1020 * ms, IntervalMax: 1024 * ms,
			Count: 9, OctetsKnown: true, Backoff: facts.No}, "node-setkeepalive", []string{"cisco-ios-xe", "nginx-listen", "linux"}},
		{"answered every 15.36 s", facts.Observed{Period: 15360 * ms}, "go-net", []string{"linux"}},
	} {
		got := names(facts.Resembles(c.p))
		if len(got) == 0 || got[0] != c.first {
			t.Errorf("%s: %v, want %s first", c.name, got, c.first)
		}
		for _, id := range c.absent {
			if slices.Contains(got, id) {
				t.Errorf("%s: %s is listed", c.name, id)
			}
		}
	}
}

func TestNothingSeenResemblesNothing(t *testing.T) {
	for _, p := range []facts.Observed{
		{}, {RTT: time.Second}, {OctetsKnown: true}, {Count: 9}, {Backoff: facts.No},
		{Backoff: facts.No, OctetsKnown: true}, {Backoff: facts.No, OctetsKnown: true, Count: 4},
		{Idle: 20500 * ms}, {IntervalMin: 7 * time.Minute},
	} {
		if got := facts.Resembles(p); len(got) != 0 {
			t.Errorf("Resembles(%+v) = %v, want none", p, names(got))
		}
	}
}

// What was not seen never counts: telling less can only lower a score.
func TestUnknownFieldsNeverCountFor(t *testing.T) {
	full := facts.Observed{Idle: 7202 * s, IntervalMin: 75776 * ms, IntervalMax: 75776 * ms, Count: 9, OctetsKnown: true,
		Backoff: facts.No}
	score := func(p facts.Observed) int {
		for _, m := range facts.Resembles(p) {
			if m.Default.ID == "linux" {
				return m.Score
			}
		}
		return 0
	}
	for name, forget := range map[string]func(*facts.Observed){
		"idle":     func(p *facts.Observed) { p.Idle = 0 },
		"interval": func(p *facts.Observed) { p.IntervalMin, p.IntervalMax = 0, 0 },
		"count":    func(p *facts.Observed) { p.Count = 0 },
		"octets":   func(p *facts.Observed) { p.OctetsKnown = false },
		"backoff":  func(p *facts.Observed) { p.Backoff = facts.Unknown },
	} {
		less := full
		forget(&less)
		if got, want := score(less), score(full); got >= want {
			t.Errorf("without %s Linux scores %d, with it %d", name, got, want)
		}
	}
}

func TestMatchSaysWhatFitsAndWhatDoesNot(t *testing.T) {
	matches := facts.Resembles(facts.Observed{IntervalMin: 75776 * ms, Count: 4, OctetsKnown: true})
	if len(matches) == 0 || matches[0].Default.ID != "linux" {
		t.Fatalf("%v, want linux first", names(matches))
	}
	wantFor := []string{
		"unanswered probes 75.776 s apart, default 75 s",
		"payload of the probes: 0",
		"a spacing of 75 s on the timer wheel at 250 Hz",
	}
	wantAgainst := []string{"gave up after 4 unanswered probes, default 9"}
	if m := matches[0]; !slices.Equal(m.For, wantFor) || !slices.Equal(m.Against, wantAgainst) {
		t.Errorf("for %q against %q, want %q and %q", m.For, m.Against, wantFor, wantAgainst)
	}
}
