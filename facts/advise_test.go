package facts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kaflow/facts"
)

// The case of DESIGN.md, section 7: 41 s survived, 7202 s killed.
func TestAdviceFromABracket(t *testing.T) {
	safe, likely := facts.Advise(41*s, 7202*s, 30*ms)
	if want := (facts.Advice{Idle: 20 * s, Interval: 10 * s, Count: 5, T: 41 * s, OK: true,
		Why: "silences up to 41 s are proven safe here"}); safe != want {
		t.Errorf("safe = %+v, want %+v", safe, want)
	}
	if want := (facts.Advice{Idle: 120 * s, Interval: 60 * s, Count: 3, T: 240 * s, OK: true,
		Why: "shortest documented default in the bracket: 240 s (Azure LB)"}); likely != want {
		t.Errorf("likely = %+v, want %+v", likely, want)
	}
}

func TestNoAdviceWithoutGround(t *testing.T) {
	for _, c := range []struct {
		name             string
		survived, killed time.Duration
		safe, likely     string
	}{
		{"nothing seen", 0, 0, "no silence was seen to pass", "no silence was seen to kill"},
		{"two seconds", 2 * s, 3 * s, "raise the device's timeout instead", "no documented default"},
		{"only the value that killed lies in the bracket", 3600 * s, 7440 * s, "", "no documented default"},
	} {
		safe, likely := facts.Advise(c.survived, c.killed, 30*ms)
		if c.safe != "" && (safe.OK || !strings.Contains(safe.Why, c.safe)) {
			t.Errorf("%s: safe = %+v, want none because %q", c.name, safe, c.safe)
		}
		if likely.OK || !strings.Contains(likely.Why, c.likely) {
			t.Errorf("%s: likely = %+v, want none because %q", c.name, likely, c.likely)
		}
	}
}

// With the advice applied, one lost probe and the latest timers of any kernel
// still leave the silence within the limit.
func TestAdviceSurvivesOneLostProbe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := time.Duration(rapid.Int64Range(int64(s), int64(20000*s)).Draw(t, "limit"))
		rtt := time.Duration(rapid.Int64Range(0, int64(s)).Draw(t, "rtt"))
		a := facts.Below(limit, rtt, "")
		if !a.OK {
			if limit > 4*s {
				t.Fatalf("no advice below %v", limit)
			}
			return
		}
		longest := a.Idle + facts.LargestGranule(a.Idle) + a.Interval + facts.LargestGranule(a.Interval) + rtt
		if longest > limit || a.Idle < s || a.Interval < s || a.Interval > a.Idle || a.Idle%s != 0 || a.Interval%s != 0 ||
			a.Count < 3 || a.Count > 5 {
			t.Fatalf("below %v: %+v, longest silence %v", limit, a, longest)
		}
	})
}

func TestLinesInTheUnitsOfTheSystem(t *testing.T) {
	v := facts.Values{Idle: 90 * s, Interval: 45 * s, Count: 3, TNew: 7440 * s, Port: 22}
	got := facts.Fill([]string{
		"a {IDLE} {INTVL} {COUNT}", "b {IDLE_MS} {INTVL_MS}", "c {IDLE_HALF} {INTVL_HALF}", "d {IDLE_MIN} {ABORT_MS}",
		"e {T_NEW} {T_NEW_MIN} {PORT}", "f {1, {IDLE_MS}, {OTHER}}",
	}, v)
	want := []string{"a 90 45 3", "b 90000 45000", "c 180 90", "d 1 135000", "e 7440 124 22", "f {1, 90000, {OTHER}}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	linux, _ := facts.RemedyByID("linux-sysctl")
	if got, want := facts.Fill(linux.OneOff, facts.Values{Idle: 20 * s, Interval: 10 * s, Count: 5})[0],
		"sysctl -w net.ipv4.tcp_keepalive_time=20 net.ipv4.tcp_keepalive_intvl=10 net.ipv4.tcp_keepalive_probes=5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Zero minutes would switch Oracle's probes off.
func TestValuesASystemCannotTakeStayInBraces(t *testing.T) {
	oracle, _ := facts.RemedyByID("oracle")
	if got := oracle.Unfilled(facts.Values{Idle: 20 * s, Interval: 10 * s, Count: 5}); !cmp.Equal(got, []string{"IDLE_MIN"}) {
		t.Errorf("20 s in whole minutes: unfilled %v, want IDLE_MIN", got)
	}
	if got := oracle.Unfilled(facts.Values{Idle: 120 * s, Interval: 60 * s, Count: 3}); got != nil {
		t.Errorf("120 s in whole minutes: unfilled %v, want none", got)
	}
}

func TestEveryVariableOfEveryRemedyIsKnown(t *testing.T) {
	all := facts.Values{Idle: 120 * s, Interval: 60 * s, Count: 3, TNew: 7440 * s, Port: 22}
	for _, r := range facts.Remedies() {
		for _, lines := range [][]string{r.OneOff, r.Persistent, r.Caveats} {
			for _, line := range facts.Fill(lines, all) {
				if variable.MatchString(line) {
					t.Errorf("%s: %s", r.ID, line)
				}
			}
		}
		if r.OneOff == nil && r.Persistent == nil {
			t.Logf("%s has no line to type", r.ID)
		}
	}
}
