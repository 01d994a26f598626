package facts_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kaflow/facts"
)

func TestSumsOfTheField(t *testing.T) {
	for _, c := range []struct {
		name string
		sum  facts.Sum
		plan facts.Plan
		step time.Duration
		want string
	}{
		{"Linux", facts.IdleAndProbes, facts.Plan{Idle: 7200 * s, Interval: 75 * s, Count: 9}, s, "7200 + 9 × 75 = 7875 s (2 h 11 min 15 s)"},
		{"milliseconds", facts.IdleAndProbes, facts.Plan{Idle: 10 * s, Interval: 5 * s, Count: 8}, ms, "10000 + 8 × 5000 = 50000 ms = 50 s"},
		{"half-seconds", facts.IdleAndProbes, facts.Plan{Idle: 60 * s, Interval: 10 * s, Count: 3}, 500 * ms, "120 + 3 × 20 = 180 half-seconds = 90 s (1 min 30 s)"},
		{"a step that has no name here", facts.IdleAndProbes, facts.Plan{Idle: 60 * s, Interval: 10 * s, Count: 3}, time.Minute, "60 + 3 × 10 = 90 s (1 min 30 s)"},
		{"ssh, by the manual", facts.Probes, facts.Plan{Interval: 15 * s, Count: 3}, s, "3 × 15 = 45 s"},
		{"ssh, by the code", facts.ProbesAndOne, facts.Plan{Interval: 15 * s, Count: 3}, s, "(3 + 1) × 15 = 60 s (1 min)"},
		{"Solaris", facts.IdleAndAbort, facts.Plan{Idle: 60 * s, Abort: 480 * s}, s, "60 + 480 = 540 s (9 min)"},
		{"parts of a second", facts.Probes, facts.Plan{Interval: 1500 * ms, Count: 2}, s, "2 × 1.5 = 3 s"},
		{"no count", facts.IdleAndProbes, facts.Plan{Idle: 60 * s, Interval: 10 * s}, s, ""},
		{"nothing known", facts.IdleAndAbort, facts.Plan{}, s, ""},
	} {
		if got := c.sum.Write(c.plan, c.step); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWhatBecomesOfAnIdleConnectionBehindADevice(t *testing.T) {
	behind := func(limit time.Duration, refreshes facts.Tri) *facts.Timeout {
		return &facts.Timeout{Idle: limit, KeepaliveRefreshes: refreshes}
	}
	minute := facts.Plan{Idle: 60 * s, Interval: 10 * s, Count: 3}
	for _, c := range []struct {
		name    string
		plan    facts.Plan
		t       *facts.Timeout
		payload bool
		want    facts.Outcome
	}{
		{"room for a lost probe", minute, behind(240*s, facts.Yes), false, facts.Outlives},
		{"no room for one", minute, behind(70*s, facts.Yes), false, facts.OutlivesBare},
		{"within the lateness of timers", minute, behind(61*s, facts.Yes), false, facts.MayDie},
		{"exactly the limit", minute, behind(60*s, facts.Yes), false, facts.Dies},
		{"the interval is the longer one", facts.Plan{Idle: 10 * s, Interval: 75 * s}, behind(60*s, facts.Yes), false, facts.Dies},
		{"a device that counts data", minute, behind(240*s, facts.No), false, facts.NeedsPayload},
		{"the same, and the probes are data", minute, behind(240*s, facts.No), true, facts.Outlives},
		{"nobody knows whether it counts probes", minute, behind(240*s, facts.Unknown), false, facts.NotTold},
		{"no idle time", facts.Plan{Interval: 6 * s, Count: 10}, behind(240*s, facts.Yes), false, facts.NotTold},
		{"retries at the retransmission timer's pace", facts.Plan{Idle: 60 * s, Abort: 480 * s}, behind(120*s, facts.Yes), false, facts.OutlivesBare},
	} {
		if got := c.plan.On(c.t, c.payload); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A shorter idle time never does worse, and a longer limit never kills what a
// shorter one spared.
func TestShorterSilencesNeverDoWorse(t *testing.T) {
	rank := map[facts.Outcome]int{facts.Dies: 0, facts.MayDie: 1, facts.OutlivesBare: 2, facts.Outlives: 3}
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(1, 20000).Draw(t, name)) * s
		}
		p := facts.Plan{Idle: seconds("idle"), Interval: seconds("interval"), Count: 3}
		device := facts.Timeout{Idle: seconds("limit"), KeepaliveRefreshes: facts.Yes}
		shorter, longer := p, device
		shorter.Idle = max(s, p.Idle-seconds("less"))
		longer.Idle += seconds("more")
		if now, then := p.On(&device, false), shorter.On(&device, false); rank[then] < rank[now] {
			t.Fatalf("%+v behind %v: %v, with %v idle: %v", p, device.Idle, now, shorter.Idle, then)
		}
		if now, then := p.On(&device, false), p.On(&longer, false); rank[then] < rank[now] {
			t.Fatalf("%+v behind %v: %v, behind %v: %v", p, device.Idle, now, longer.Idle, then)
		}
	})
}

func TestOutagesThatAPolicySitsOut(t *testing.T) {
	sure, best := facts.Plan{Idle: 60 * s, Interval: 10 * s, Count: 3}.Outages()
	if sure != 20*s || best != 80*s {
		t.Errorf("60/10/3: %v and %v, want 20s and 1m20s", sure, best)
	}
	if sure, best := (facts.Plan{Idle: 60 * s, Abort: 480 * s}).Outages(); sure != 0 || best != 0 {
		t.Errorf("without a count: %v and %v", sure, best)
	}
}

// The list of a report is short, and yet shows the range.
func TestSpreadOfDevices(t *testing.T) {
	rows := facts.TimeoutsBetween(41*s, 7202*s)
	var got []string
	for _, i := range facts.Spread(rows, 6) {
		got = append(got, rows[i].Label())
	}
	want := []string{"Azure LB", "SonicWall", "AWS NLB", "IPVS", "GCP Cloud NAT", "ASA"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of %d devices:\n%s", len(rows), diff)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(rows)+2).Draw(t, "n")
		picked := facts.Spread(rows, n)
		if len(picked) > n {
			t.Fatalf("%d of %d asked for", len(picked), n)
		}
		for i := 1; i < len(picked); i++ {
			if rows[picked[i-1]].Idle >= rows[picked[i]].Idle {
				t.Fatalf("%v: not one of each timeout, in order", picked)
			}
		}
	})
}

func TestReadingsComeWithASourceAndOneIsTaken(t *testing.T) {
	claims := 0
	for _, d := range facts.Defaults() {
		taken := 0
		for _, r := range d.Readings {
			claims++
			if r.Claim == "" || r.Source.Title == "" || r.Source.Address == "" {
				t.Errorf("%s: %+v", d.ID, r)
			}
			if r.Taken {
				taken++
			}
			if sums := r.Write(facts.Plan{}, d.Plan(), d.Step()); len(sums) != len(r.Sums) {
				t.Errorf("%s: %q: %d sums of %d come out", d.ID, r.Claim, len(sums), len(r.Sums))
			}
		}
		if len(d.Readings) > 0 && taken != 1 {
			t.Errorf("%s: %d readings are taken", d.ID, taken)
		}
	}
	if claims < 16 {
		t.Errorf("%d claims, expected the known contradictions", claims)
	}
}
