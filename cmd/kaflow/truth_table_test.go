package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// seedFlag draws the timers of the lab; LAB_SEED does the same. 0 draws a seed.
var seedFlag = flag.Uint64("seed", 0, "draw the lab's timers from this seed; 0: a new one every time")

// labSeed returns the seed of this run and prints it.
func labSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *seedFlag
	if text := os.Getenv("LAB_SEED"); seed == 0 && text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LAB_SEED=%s: %v", text, err)
		}
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("timers drawn from -seed %d", seed)
	return seed
}

// keepFailed leaves the captures of a run that failed where they can be looked
// at when the test is over.
func keepFailed(t *testing.T, outcome lab.Outcome, seed uint64) {
	t.Helper()
	if !t.Failed() || outcome.Run == nil {
		return
	}
	to := filepath.Join(os.TempDir(), "kaflow-lab-failed", fmt.Sprintf("%s-%d", outcome.Scenario.Name, seed))
	if err := os.CopyFS(to, os.DirFS(outcome.Run.Dir)); err != nil {
		t.Logf("the captures are not kept: %v", err)
		return
	}
	t.Logf("the captures are kept in %s; -seed %d plays them again", to, seed)
}

// reading is a hypothesis of a JSON report.
type reading struct {
	Verdict         string
	For, Against    []string
	ForEvidence     [][]struct{ Frame int } `json:"for_evidence"`
	AgainstEvidence [][]struct{ Frame int } `json:"against_evidence"`
}

// judgeReasons says that every reading has a reason, and one at least that
// stands on frames.
func judgeReasons(t *testing.T, verdict string, readings []reading, order string) {
	t.Helper()
	for _, r := range readings {
		if len(r.For) != len(r.ForEvidence) || len(r.Against) != len(r.AgainstEvidence) {
			t.Fatalf("%s: %s: %d and %d reasons, %d and %d lists of frames", order, r.Verdict, len(r.For), len(r.Against), len(r.ForEvidence), len(r.AgainstEvidence))
		}
		shown := false
		for _, frames := range slices.Concat(r.ForEvidence, r.AgainstEvidence) {
			for _, f := range frames {
				shown = shown || f.Frame > 0
			}
		}
		if !shown {
			t.Errorf("%s: %s: nothing for or against the reading %s stands on frames: %v, %v", order, verdict, r.Verdict, r.For, r.Against)
		}
	}
}

// judgeBracket holds an idle limit against the silences that the captures hold:
// it may be no wider than what crossed and what was lost allow.
func judgeBracket(t *testing.T, set *lab.Run, f lab.Flow, survived, killed *float64, order string) {
	t.Helper()
	if killed == nil || len(set.Truth.Translated) > 0 {
		return
	}
	gaps, ok, err := lab.Gaps(set, f.Client)
	if err != nil {
		t.Fatal(err)
	}
	const slack = 0.15 // a round trip, seen from either end
	if !ok {
		return
	}
	if *killed > gaps.Killed+slack {
		t.Errorf("%s, %s: the limit is said to be %v s at most, a silence of %.3f s killed", order, f.Client, *killed, gaps.Killed)
	}
	if gaps.Survived > 1.1 && (survived == nil || *survived < gaps.Survived-slack) {
		t.Errorf("%s, %s: the limit is said to be above %v s, a silence of %.3f s was survived", order, f.Client, show(survived), gaps.Survived)
	}
}

// judgeGivingUp holds what is said of how an end gave up against its settings: a
// user timeout must not be called a count, and where it is a count that must be
// among the readings.
func judgeGivingUp(t *testing.T, want lab.Keepalive, end string, after *int, timeout *float64, in *[2]float64, order string) {
	t.Helper()
	switch {
	case want.UserTimeout > 0:
		fits := timeout != nil && *timeout <= want.UserTimeout+1 && *timeout >= want.UserTimeout-1 ||
			in != nil && in[0] < want.UserTimeout*1.13 && in[1] >= want.UserTimeout
		if after != nil && !fits {
			t.Errorf("%s: %s gave up after %d probes, user timeout %v or in %v, set to %v s", order, end, *after, show(timeout), in, want.UserTimeout)
		}
	case after != nil && want.Count > 0 && *after != want.Count:
		t.Errorf("%s: %s gave up after %d probes, set to %d", order, end, *after, want.Count)
	}
}

// confusion counts verdicts by what truly happened: with both captures, and
// with one alone.
type confusion [2]map[string]map[string]int

func (c *confusion) add(t *testing.T, set *lab.Run) {
	t.Helper()
	client, server := set.Captures[lab.AtClient], set.Captures[lab.AtServer]
	for i, captures := range [][]string{{client, server}, {client}, {server}} {
		answer := ask(t, captures...)
		for _, f := range set.Truth.Flows {
			for j := range answer.Flows {
				if got := &answer.Flows[j]; got.Client == f.Client && f.Expect.Verdict != "" {
					c.count(min(i, 1), f.Expect.Verdict, strings.TrimSpace(got.Verdict.ID+" "+got.Verdict.Confidence))
					break // a later one on the same ports is another connection
				}
			}
		}
	}
}

func (c *confusion) count(sides int, truth, told string) {
	if c[sides] == nil {
		c[sides] = map[string]map[string]int{}
	}
	if c[sides][truth] == nil {
		c[sides][truth] = map[string]int{}
	}
	c[sides][truth][told]++
}

// print logs the tables: a line for each truth, with what was said of it.
func (c *confusion) print(t *testing.T) {
	t.Helper()
	for sides, name := range []string{"both captures", "one capture alone"} {
		t.Logf("%s:", name)
		for _, truth := range slices.Sorted(maps.Keys(c[sides])) {
			var said []string
			for _, told := range slices.Sorted(maps.Keys(c[sides][truth])) {
				said = append(said, fmt.Sprintf("%s %d", told, c[sides][truth][told]))
			}
			t.Logf("  %-18s %s", truth, strings.Join(said, ", "))
		}
	}
}

// weights sums up a table: of each verdict how often it was told, how often
// rightly, and how often something happened of which it was not told.
type weights struct{ told, right, happened, abstained int }

// leftOpen reports whether a verdict leaves open what happened: "idle" does,
// where something did.
func leftOpen(truth, id, confidence string) bool {
	return id == "undecided" || id == "capture-gap" || confidence == "possible" || id == "idle" && truth != id
}

// sum returns the weights by verdict, of all that a table counts.
func (c *confusion) sum(sides int) map[string]*weights {
	out := map[string]*weights{}
	of := func(id string) *weights {
		if out[id] == nil {
			out[id] = &weights{}
		}
		return out[id]
	}
	for truth, told := range c[sides] {
		for says, n := range told {
			id, confidence, _ := strings.Cut(says, " ")
			of(truth).happened += n
			if leftOpen(truth, id, confidence) {
				of(truth).abstained += n
				continue
			}
			of(id).told += n
			if id == truth {
				of(id).right += n
			}
		}
	}
	return out
}

// printWeights logs precision and abstention by verdict.
func (c *confusion) printWeights(t *testing.T) {
	t.Helper()
	for sides, name := range []string{"both captures", "one capture alone"} {
		t.Logf("%s: precision of what is told surely, and how often it is left open:", name)
		sums := c.sum(sides)
		for _, id := range slices.Sorted(maps.Keys(sums)) {
			w := sums[id]
			precision := "-"
			if w.told > 0 {
				precision = fmt.Sprintf("%3.0f %%", 100*float64(w.right)/float64(w.told))
			}
			t.Logf("  %-18s told %4d, right %4d, precision %5s; happened %4d, left open %4d", id, w.told, w.right, precision, w.happened, w.abstained)
		}
	}
}

// seenByOne are the verdicts that one capture, of one end or the other, can give
// and must give at least once. (That of a NAT beyond it, too, where the
// connection bears another name.)
var seenByOne = []string{"app-hung", "closed", "forged-reset", "half-open", "healthy", "heartbeat-timeout", "host-drop", "idle-close", "mtu-black-hole",
	"not-established", "path-rejected", "peer-gone", "peer-lost-state", "receiver-stalled"}

// check holds the tables against always leaving it open: with both captures
// nothing is, but for what Expect leaves open; with one alone what one capture
// can tell is told, and what it cannot is not.
func (c *confusion) check(t *testing.T) {
	t.Helper()
	for truth, told := range c[0] {
		for says, n := range told {
			if id, _, _ := strings.Cut(says, " "); id != truth {
				t.Errorf("both captures: %d times %s where it was %s", n, says, truth)
			}
		}
	}
	both, one := c.sum(0), c.sum(1)
	for id, w := range both {
		if w.abstained > 0 {
			t.Errorf("both captures: %s is left open %d of %d times", id, w.abstained, w.happened)
		}
	}
	for _, id := range seenByOne {
		if w := one[id]; w != nil && w.happened > 0 && w.right == 0 {
			t.Errorf("one capture alone: %s happened %d times and is never told", id, w.happened)
		}
	}
}
