package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// TestAdvisedSettingsSaveTheSession lets a firewall kill a session, takes the
// line that kaflow prints for the host, and plays the session again with it: it
// must live through several timeouts of the firewall.
func TestAdvisedSettingsSaveTheSession(t *testing.T) {
	switch why := lab.Missing(); {
	case why == "":
	case os.Getenv("LAB") == "require":
		t.Fatalf("LAB=require, but there is no lab: %s", why)
	default:
		t.Skipf("no lab: %s", why)
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a hang guard
	defer cancel()
	before := played(ctx, t, lab.BeforeAdvice())
	judge(t, before)
	line := advisedLine(t, before)
	idle, interval, count := settingsOf(t, line)
	t.Logf("advised: %s", line)
	after := played(ctx, t, lab.AfterAdvice(time.Duration(idle)*time.Second, time.Duration(interval)*time.Second, count))
	judge(t, after)
	if after.Truth.Path.Dropped != 0 {
		t.Errorf("the firewall dropped %d packets of the advised session", after.Truth.Path.Dropped)
	}
	wanted := fmt.Sprintf("client:idle=%d,interval=%d", idle, interval)
	checked, status := verify(t, wanted, after.Captures[lab.AtClient], after.Captures[lab.AtServer])
	if status != statusDone {
		t.Errorf("policy --expect %s: status %d, %+v", wanted, status, checked)
	}
}

// played runs one scenario, again where a busy machine spoiled it.
func played(ctx context.Context, t *testing.T, s lab.Scenario) *lab.Run {
	t.Helper()
	outcome := lab.Play(ctx, t.TempDir(), []lab.Scenario{s})[0]
	for _, err := range outcome.Thrown {
		t.Logf("thrown away: %v", err)
	}
	if outcome.Err != nil {
		t.Fatal(outcome.Err)
	}
	t.Cleanup(func() { keepFailed(t, outcome, s.Seed) })
	return outcome.Run
}

// advisedLine returns the line that the report gives for the Linux host.
func advisedLine(t *testing.T, set *lab.Run) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := []string{"--json", set.Captures[lab.AtClient], set.Captures[lab.AtServer]}
	if status := run(args, strings.NewReader(""), &stdout, &stderr); status != statusDone {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	var answer struct {
		Flows []struct {
			Remedies []struct {
				System string
				Lines  []string
			}
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	for _, f := range answer.Flows {
		for _, r := range f.Remedies {
			if r.System == "Linux" && len(r.Lines) == 1 {
				return r.Lines[0]
			}
		}
	}
	t.Fatalf("no line for Linux in %s", stdout.String())
	return ""
}

// settingsOf reads the values out of a line that sets sysctls.
func settingsOf(t *testing.T, line string) (idle, interval, count int) {
	t.Helper()
	found := regexp.MustCompile(`tcp_keepalive_time=(\d+) .*tcp_keepalive_intvl=(\d+) .*tcp_keepalive_probes=(\d+)`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("no sysctls in %q", line)
	}
	var numbers [3]int
	for i := range numbers {
		n, err := strconv.Atoi(found[i+1])
		if err != nil {
			t.Fatal(err)
		}
		numbers[i] = n
	}
	return numbers[0], numbers[1], numbers[2]
}
