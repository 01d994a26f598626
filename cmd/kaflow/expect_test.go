package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kaflow/internal/lab"
)

// verified is the answer of policy --expect.
type verified struct {
	Flows []struct {
		Client string
		Ends   []struct {
			End, Result string
			Checks      []struct{ What, Result, Why string }
		}
	}
}

// verify runs policy --expect and returns its answer and exit status.
func verify(t *testing.T, wanted string, captures ...string) (verified, int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(append([]string{"policy", "--json", "--expect", wanted}, captures...), strings.NewReader(""), &stdout, &stderr)
	var answer verified
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatalf("policy --expect %s: status %d, %v: %s", wanted, status, err, stderr.String())
	}
	return answer, status
}

// What real kernels were told must never fail, and what they were not told
// must never pass, with both captures and with one.
func TestRealKernelsAgainstWhatTheyWereTold(t *testing.T) {
	sets, err := filepath.Glob("../../testdata/pcaps/*/truth.json")
	if err != nil || len(sets) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	passed := 0
	for _, truth := range sets {
		text, err := os.ReadFile(truth)
		if err != nil {
			t.Fatal(err)
		}
		var what lab.Truth
		if err := json.Unmarshal(text, &what); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(truth)
		client, server := filepath.Join(dir, "client.pcap"), filepath.Join(dir, "server.pcap")
		for end, host := range what.Ends {
			k := host.Keepalive
			if k.Idle == 0 {
				continue
			}
			for _, captures := range [][]string{{client, server}, {client}, {server}} {
				right, _ := verify(t, fmt.Sprintf("%s:idle=%g,interval=%g,count=%d", end, k.Idle, k.Interval, k.Count), captures...)
				for _, f := range right.Flows {
					for _, e := range f.Ends {
						if e.Result == "fail" {
							t.Errorf("%s, %s of %s: the kernel's own settings fail: %+v", dir, end, f.Client, e.Checks)
						}
						if e.Result == "pass" {
							passed++
						}
					}
				}
				wrong, status := verify(t, fmt.Sprintf("%s:idle=%g,interval=%g,count=%d", end, k.Idle*3, k.Interval*3, k.Count+1), captures...)
				for _, f := range wrong.Flows {
					for _, e := range f.Ends {
						if e.Result == "pass" {
							t.Errorf("%s, %s of %s: settings that it never had pass: %+v", dir, end, f.Client, e.Checks)
						}
					}
				}
				if status != statusMatched {
					t.Errorf("%s, %s: status %d for settings that it never had", dir, end, status)
				}
			}
		}
	}
	if passed < 20 {
		t.Errorf("%d ends pass, expected most of them", passed)
	}
}
