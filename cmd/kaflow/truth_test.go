package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// said is the part of a JSON report that the truth of a capture set can judge.
type said struct {
	Paths []struct{ Note string }
	Flows []saidFlow
}

// saidFlow is what a report says of one connection.
type saidFlow struct {
	Client, Server string
	Pairing        struct{ Method string }
	Partner        *struct {
		Client *string
		By     string
	} `json:"proxy_partner"`
	Seen    []struct{ Client string }
	Verdict struct {
		ID, Confidence, Cause string
		Between               []string
		CauseConfidence       string `json:"cause_confidence"`
		Summary               string
		Unknown               []string
	}
	Findings   []struct{ Rule string }
	Hypotheses []reading
	Endings    struct{ Client, Server string }
	Policies   []struct {
		End, Mechanism string
		Idle           *float64  `json:"idle_s"`
		Interval       *float64  `json:"interval_s"`
		Idles          []float64 `json:"idle_candidates_s"`
		Intervals      []float64 `json:"interval_candidates_s"`
		Count          *int
		GaveUpAfter    *int        `json:"gave_up_after"`
		UserTimeout    *float64    `json:"user_timeout_s"`
		UserTimeoutIn  *[2]float64 `json:"user_timeout_range_s"`
	}
	Idle struct {
		Survived *float64 `json:"survived_s"`
		Killed   *float64 `json:"killed_s"`
	}
}

// ask runs the program as a user would, with JSON as the answer.
func ask(t *testing.T, captures ...string) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"--json"}, captures...), strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("kaflow %s: status %d, %s", strings.Join(captures, " "), code, stderr.String())
	}
	var answer said
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// judge holds what kaflow says of a capture set against its truth: with both
// captures, in either order, it must be right; with one alone it may be
// silent, but never confidently wrong.
func judge(t *testing.T, set *lab.Run) {
	client, server := set.Captures[lab.AtClient], set.Captures[lab.AtServer]
	for _, order := range [][]string{{client, server}, {server, client}} {
		answer := ask(t, order...)
		for _, f := range set.Truth.Flows {
			judgeFlow(t, set, answer, f, strings.Join(bases(order), " "))
		}
		judgePairs(t, set, answer, order)
		judgePaths(t, set, answer, order)
	}
	for _, one := range []string{client, server} {
		answer := ask(t, one)
		if one == client {
			judgeReadings(t, set, answer)
		}
		for i := range answer.Flows {
			got := &answer.Flows[i]
			judgeReasons(t, got.Verdict.ID, got.Hypotheses, filepath.Base(one)+" alone")
			for _, f := range set.Truth.Flows {
				sure := got.Verdict.Confidence == "proven" || got.Verdict.Confidence == "likely"
				if got.Client == f.Client && sure && f.Expect.Verdict != "" && got.Verdict.ID != f.Expect.Verdict {
					t.Errorf("%s alone, %s: %s %s, and that is wrong: %s", filepath.Base(one), f.Client, got.Verdict.ID, got.Verdict.Confidence, f.Expect.Verdict)
				}
			}
		}
	}
}

// judgePaths says that silences which contradict each other are named with
// their reason, and that no others are.
func judgePaths(t *testing.T, set *lab.Run, answer said, order []string) {
	t.Helper()
	named := false
	for _, p := range answer.Paths {
		reason := set.Truth.Path.Relearns != "" && strings.Contains(p.Note, "anew from the "+set.Truth.Path.Relearns+"'s side")
		named = named || reason
		if strings.HasPrefix(p.Note, "contradiction") && !reason {
			t.Errorf("%v: %s", bases(order), p.Note)
		}
	}
	ends := set.Truth.Ends // where the end that it learns from asks first, nothing contradicts
	if r := set.Truth.Path.Relearns; r == lab.AtClient && ends[lab.AtClient].Keepalive.Idle > ends[lab.AtServer].Keepalive.Idle && !named {
		t.Errorf("%v: paths %+v do not tell that the device learns anew from the %s", bases(order), answer.Paths, set.Truth.Path.Relearns)
	}
}

// judgeReadings says that the client's capture alone leads to the truth at
// least among the readings that remain, where it cannot lead to it alone.
func judgeReadings(t *testing.T, set *lab.Run, answer said) {
	t.Helper()
	for _, f := range set.Truth.Flows {
		switch f.Expect.Verdict {
		case "nat-rebind", "one-way-drop", "host-drop", "proxy-answer":
		case "peer-gone", "silent-drop", "path-cut", "forged-reset":
		default:
			continue
		}
		if slices.Contains(f.Expect.Findings, "host-suspended") {
			continue // it was the client that slept
		}
		for i := range answer.Flows {
			got := &answer.Flows[i]
			if got.Client != f.Client {
				continue
			}
			readings := []string{got.Verdict.ID}
			for _, h := range got.Hypotheses {
				readings = append(readings, h.Verdict)
			}
			silent := got.Verdict.ID == "idle" || got.Verdict.ID == "healthy" // the client may not have asked
			switch f.Expect.Verdict {
			case "nat-rebind", "one-way-drop", "host-drop", "proxy-answer":
				silent = false
			}
			if !slices.Contains(readings, f.Expect.Verdict) && !silent {
				t.Errorf("client alone, %s: %s is not among the readings %v", f.Client, f.Expect.Verdict, readings)
			}
			break
		}
	}
}

// judgePairs counts the connections behind a translation that were paired
// rightly: none may be paired wrongly, and here none need be left alone.
func judgePairs(t *testing.T, set *lab.Run, answer said, order []string) {
	t.Helper()
	truth := set.Truth.Translated
	if len(truth) == 0 {
		return
	}
	right, wrong, alone := 0, 0, 0
	for i := range answer.Flows {
		switch seen := answer.Flows[i].Seen; {
		case len(seen) < 2:
			alone++
		case truth[seen[0].Client] == seen[1].Client:
			right++
		default:
			wrong++
		}
	}
	t.Logf("%v: of %d connections %d paired rightly, %d wrongly, %d not", bases(order), len(truth), right, wrong, alone)
	if wrong > 0 || right != len(truth) {
		t.Errorf("%v: of %d connections %d paired rightly, %d wrongly, %d not", bases(order), len(truth), right, wrong, alone)
	}
}

func bases(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = filepath.Base(p)
	}
	return out
}

func judgeFlow(t *testing.T, set *lab.Run, answer said, f lab.Flow, order string) {
	t.Helper()
	for i := range answer.Flows {
		got := &answer.Flows[i]
		if got.Client != f.Client {
			continue
		}
		v, want := got.Verdict, f.Expect
		if want.Verdict != "" && v.ID != want.Verdict || want.Confidence != "" && v.Confidence != want.Confidence ||
			want.Cause != "" && v.Cause != want.Cause || want.CauseConfidence != "" && v.CauseConfidence != want.CauseConfidence {
			t.Errorf("%s, %s: %+v, want %+v (%s)", order, f.Client, v, want, f.Happened)
		}
		for _, rule := range want.Findings {
			if !slices.ContainsFunc(got.Findings, func(f struct{ Rule string }) bool { return f.Rule == rule }) {
				t.Errorf("%s, %s: %s is not among the findings %v (%s)", order, f.Client, rule, got.Findings, f.Happened)
			}
		}
		judgeReasons(t, v.ID, got.Hypotheses, order)
		if v.ID == "silent-drop" && v.Cause == "idle-expiry" {
			judgeBracket(t, set, f, got.Idle.Survived, got.Idle.Killed, order)
		}
		timeout := set.Truth.Path.StateTimeout
		if timeout > 0 && got.Idle.Killed != nil {
			if *got.Idle.Killed < timeout || got.Idle.Survived != nil && *got.Idle.Survived >= timeout {
				t.Errorf("%s, %s: idle limit in (%v, %v], the device forgets after %v s", order, f.Client, show(got.Idle.Survived), *got.Idle.Killed, timeout)
			}
		}
		for _, p := range got.Policies {
			if p.Mechanism != "tcp-keepalive" {
				judgeBeats(t, set.Truth.Ends[p.End].Alive, p.Mechanism, p.Intervals, p.Count, order)
				continue
			}
			want := set.Truth.Ends[p.End].Keepalive
			judgePolicy(t, want, p.End, p.Idle, p.Interval, p.Idles, p.Intervals, p.Count, order)
			judgeGivingUp(t, want, p.End, p.GaveUpAfter, p.UserTimeout, p.UserTimeoutIn, order)
		}
		return
	}
	t.Errorf("%s: nothing is said of %s", order, f.Client)
}

// judgeBeats compares what is said of ssh's own heartbeats with the settings:
// the true interval must be among the readings.
func judgeBeats(t *testing.T, want *lab.Beats, mechanism string, intervals []float64, count *int, order string) {
	t.Helper()
	if want == nil {
		t.Errorf("%s: %s where no heartbeat was set", order, mechanism)
		return
	}
	if !slices.Contains(intervals, want.Interval) || len(intervals) > 2 || count != nil && *count != want.Count {
		t.Errorf("%s: %s every %v s, count %v; set to %+v", order, mechanism, intervals, count, *want)
	}
}

// judgePolicy compares a policy with the settings. What was not seen may be
// unknown, not wrong: the kernel's timers are late by up to an eighth, so of
// several round values that fit the true one must at least be among them.
func judgePolicy(t *testing.T, want lab.Keepalive, end string, idle, interval *float64, idles, intervals []float64, count *int, order string) {
	t.Helper()
	if idle != nil && want.Idle > 0 && *idle != want.Idle {
		found := false
		for _, v := range idles {
			found = found || v == want.Idle
		}
		if !found {
			t.Errorf("%s: %s idle %v s of %v, set to %v s", order, end, *idle, idles, want.Idle)
		}
	}
	if interval != nil && want.Interval > 0 && !slices.Contains(intervals, want.Interval) {
		t.Errorf("%s: %s interval %v s of %v, set to %v s", order, end, *interval, intervals, want.Interval)
	}
	if count != nil && *count != want.Count && (want.Count > 0 || want.UserTimeout > 0) {
		t.Errorf("%s: %s count %d, set to %d", order, end, *count, want.Count)
	}
}

// judgeFour asks about the captures of both ends and of both sides of the
// router, in two orders: what the router did must be laid at its door.
func judgeFour(t *testing.T, set *lab.Run) {
	t.Helper()
	way := []string{set.Captures[lab.AtClient], set.Captures[lab.AtRouterClient], set.Captures[lab.AtRouterServer], set.Captures[lab.AtServer]}
	for _, order := range [][]string{way, {way[2], way[0], way[3], way[1]}} {
		answer := ask(t, order...)
		for _, f := range set.Truth.Flows {
			judgeFlow(t, set, answer, f, strings.Join(bases(order), " "))
		}
		for i := range answer.Flows {
			v := &answer.Flows[i].Verdict
			switch v.ID {
			case "silent-drop", "path-cut", "one-way-drop":
				if want := bases(way[1:3]); !slices.Equal(v.Between, want) {
					t.Errorf("%v: %s is laid between %v, want %v", bases(order), v.ID, v.Between, want)
				}
			}
		}
	}
}

// judgeThinned takes frames at random out of both captures of many connections:
// healthy ones must not be called dead for it. Of thousands of verdicts one or
// two may be called likely by chance, none proven.
func judgeThinned(t *testing.T, set *lab.Run, seed uint64) {
	t.Helper()
	for i, share := range []float64{0.02, 0.1, 0.3} {
		dir := t.TempDir()
		var paths []string
		for j, at := range []string{lab.AtClient, lab.AtServer} {
			frames, err := lab.ReadPcap(set.Captures[at])
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, filepath.Join(dir, at+".pcap"))
			if err := lab.WritePcap(paths[j], lab.Thinned(frames, seed+uint64(2*i+j), share), 262_144); err != nil {
				t.Fatal(err)
			}
		}
		truth, wrong, right := map[string]string{}, map[string]int{}, 0
		var pairs [3]int // right, wrong, at one point only
		for _, f := range set.Truth.Flows {
			truth[f.Client] = f.Expect.Verdict
		}
		for _, f := range ask(t, paths...).Flows {
			switch {
			case len(f.Seen) < 2:
				pairs[2]++
			case set.Truth.Translated[f.Seen[0].Client] == f.Seen[1].Client:
				pairs[0]++
			default:
				pairs[1]++
			}
			switch want, is := truth[f.Client], f.Verdict; {
			case want == "":
			case want == is.ID:
				right++
			case is.Confidence == "likely" || is.Confidence == "proven":
				wrong[is.ID+" "+is.Confidence+", was "+want]++
			}
		}
		t.Logf("%.0f %% of the frames missing in both captures: %d pairs right, %d wrong, %d connections at one point only", 100*share, pairs[0], pairs[1], pairs[2])
		if pairs[1] > 0 {
			t.Errorf("%.0f %% of the frames missing: %d connections are paired wrongly", 100*share, pairs[1])
		}
		t.Logf("%.0f %% of the frames missing in both captures: of %d verdicts %d right, wrong and sure %v", 100*share, len(set.Truth.Flows), right, wrong)
		if right < len(set.Truth.Flows)*3/4 {
			t.Errorf("%.0f %% missing: only %d of %d right", 100*share, right, len(set.Truth.Flows))
		}
		total := 0
		for what, n := range wrong {
			if total += n; strings.Contains(what, "proven") {
				t.Errorf("%.0f %% missing: %s", 100*share, what)
			}
		}
		if total > 2 {
			t.Errorf("%.0f %% missing: %v", 100*share, wrong)
		}
	}
}

// judgeRouter asks about one file that holds what came into the router and what
// went out of it, as a capture on all its interfaces does: what the router did
// is seen there, and nothing else may be called sure.
func judgeRouter(t *testing.T, set *lab.Run) {
	t.Helper()
	var frames []lab.Frame
	for _, at := range []string{lab.AtRouterClient, lab.AtRouterServer} {
		more, err := lab.ReadPcap(set.Captures[at])
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, more...)
	}
	slices.SortStableFunc(frames, func(a, b lab.Frame) int { return a.At.Compare(b.At) })
	path := filepath.Join(t.TempDir(), "router.pcap")
	if err := lab.WritePcap(path, frames, 262_144); err != nil {
		t.Fatal(err)
	}
	answer := ask(t, path)
	for _, f := range set.Truth.Flows {
		for i := range answer.Flows {
			got := &answer.Flows[i]
			if got.Client != f.Client || f.Expect.Verdict == "" || len(got.Verdict.Between) < 2 {
				continue
			}
			sure := got.Verdict.Confidence == "proven" || got.Verdict.Confidence == "likely"
			switch f.Expect.Verdict {
			case "silent-drop", "one-way-drop", "path-cut":
				if got.Verdict.ID != f.Expect.Verdict {
					t.Errorf("the router's capture, %s: %s %s, and it was %s", f.Client, got.Verdict.ID, got.Verdict.Confidence, f.Expect.Verdict)
				}
			default:
				if sure && got.Verdict.ID != f.Expect.Verdict {
					t.Errorf("the router's capture, %s: %s %s, and that is wrong: %s", f.Client, got.Verdict.ID, got.Verdict.Confidence, f.Expect.Verdict)
				}
			}
		}
	}
}

func show(f *float64) any {
	if f == nil {
		return "unknown"
	}
	return *f
}

// storedSets are the captures of testdata/pcaps with their truth.
func storedSets(t *testing.T) (sets []*lab.Run) {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/pcaps/*/" + lab.TruthFile)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no capture sets in testdata/pcaps: %v", err)
	}
	for _, path := range paths {
		set, err := lab.ReadRun(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	return sets
}

func TestStoredCapturesGiveTheTruth(t *testing.T) {
	for _, set := range storedSets(t) {
		t.Run(set.Truth.Scenario+"/"+filepath.Base(set.Dir), func(t *testing.T) {
			judge(t, set)
			judgeFates(t, set)
		})
	}
}

// TestFreshCapturesGiveTheTruth plays every scenario of the lab, its timers
// drawn at random, and asks kaflow about the captures. -seed or LAB_SEED play
// one run again; the captures of what fails are kept.
func TestFreshCapturesGiveTheTruth(t *testing.T) {
	switch why := lab.Missing(); {
	case why == "":
	case os.Getenv("LAB") == "require":
		t.Fatalf("LAB=require, but there is no lab: %s", why)
	default:
		t.Skipf("no lab: %s", why)
	}
	t.Parallel()
	seed := labSeed(t)
	scenarios := lab.Scenarios()
	for i := range scenarios {
		scenarios[i].Seed = seed
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute) // a hang guard
	defer cancel()
	var told confusion
	for _, outcome := range lab.Play(ctx, t.TempDir(), scenarios) {
		t.Run(outcome.Scenario.Name, func(t *testing.T) {
			defer keepFailed(t, outcome, seed)
			for _, err := range outcome.Thrown {
				t.Logf("thrown away: %v", err)
			}
			if outcome.Err != nil {
				t.Fatal(outcome.Err)
			}
			judge(t, outcome.Run)
			judgeFates(t, outcome.Run)
			judgeAny(t, outcome.Run)
			judgePartners(t, outcome.Run)
			judgeFour(t, outcome.Run)
			judgeRouter(t, outcome.Run)
			if len(outcome.Run.Truth.Flows) > 100 {
				judgeThinned(t, outcome.Run, seed)
			}
			judgeAlive(t, outcome.Run)
			told.add(t, outcome.Run)
		})
	}
	told.print(t)
	told.printWeights(t)
	told.check(t)
}

// judgeAlive verifies ssh's own heartbeats against what the ends were set to:
// that must never fail, at the end itself it must pass where it was asked often
// enough, and what they were not set to must never pass.
func judgeAlive(t *testing.T, set *lab.Run) {
	t.Helper()
	for end, host := range set.Truth.Ends {
		if host.Alive == nil {
			continue
		}
		name := map[string]string{lab.AtClient: "ServerAlive", lab.AtServer: "ClientAlive"}[end]
		right := fmt.Sprintf("%sInterval=%g,%sCountMax=%d", name, host.Alive.Interval, name, host.Alive.Count)
		wrong := fmt.Sprintf("%sInterval=%g,%sCountMax=%d", name, 3*host.Alive.Interval, name, host.Alive.Count+1)
		for _, captures := range [][]string{{set.Captures[end]}, {set.Captures[lab.AtClient], set.Captures[lab.AtServer]}} {
			told, status := verify(t, right, captures...)
			if status != statusDone || len(told.Flows) == 0 || len(told.Flows[0].Ends) != 1 || told.Flows[0].Ends[0].Result != "pass" {
				t.Errorf("%v: %s: status %d, %+v", bases(captures), right, status, told)
			}
			if told, status := verify(t, wrong, captures...); status != statusMatched || len(told.Flows[0].Ends) != 1 || told.Flows[0].Ends[0].Result == "pass" {
				t.Errorf("%v: %s was never set: status %d, %+v", bases(captures), wrong, status, told)
			}
		}
	}
}
