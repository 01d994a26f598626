package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kaflow/internal/dialogue"
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

// Two ends that probe at one pace, now one first and now the other: the probes of
// its peer are no activity, alone or in a row, and neither idle time seems longer
// for them.
func TestBothEndsProbeAtOnePace(t *testing.T) {
	const trip = 18500 * time.Microsecond
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		upTo := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
		type sent struct {
			at   time.Duration
			line string
		}
		var all []sent
		for _, probe := range []string{"C > S ACK seq 99 ack 900", "S > C ACK seq 899 ack 100"} {
			at, answer, later := time.Second+trip, "S > C ACK seq 900 ack 100", trip
			if probe[0] == 'S' { // as the client sees it
				answer, later = "C > S ACK seq 100 ack 900", 40*time.Microsecond
			}
			for at += upTo(30 * time.Millisecond); at < 18*time.Second; {
				busy := time.Duration(0)
				if rng.IntN(5) == 0 {
					busy = upTo(120 * time.Millisecond)
				}
				all = append(all, sent{at, probe}, sent{at + later + busy, answer})
				at += trip + busy + time.Second + upTo(32*time.Millisecond) // timers are late
			}
		}
		slices.SortStableFunc(all, func(a, b sent) int { return cmp.Compare(a.at, b.at) })
		text := "0 C > S SYN seq 99\n+18ms S > C SYN,ACK seq 899 ack 100\n+40us C > S ACK seq 100 ack 900\n"
		for _, s := range all {
			text += fmt.Sprintf("%dus %s\n", s.at.Microseconds(), s.line)
		}
		script, err := dialogue.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := script.WritePcap(&b, "client"); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "client.pcap")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if told, status := verify(t, "client:idle=1,interval=1", path); status != statusDone {
			t.Errorf("seed %d: idle=1 was set: status %d, %+v", seed, status, told)
		}
		if told, status := verify(t, "client:idle=2,interval=1", path); status != statusMatched {
			t.Errorf("seed %d: idle=2 was never set: status %d, %+v", seed, status, told)
		}
	}
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

// While something is not acknowledged no stack sends probes: what is repeated in vain
// for minutes does not show that keepalive is off.
func TestWhatIsRepeatedCallsForNoProbe(t *testing.T) {
	script, err := dialogue.Parse(session + `
drop both
+1s    C > S PSH,ACK seq 157 ack 900 ts 43068 46057 len 36
+1s    C > S PSH,ACK seq 157 ack 900 ts 44068 46057 len 36
+10s   C > S PSH,ACK seq 157 ack 900 ts 54068 46057 len 36
+30s   C > S PSH,ACK seq 157 ack 900 ts 84068 46057 len 36
+60s   C > S PSH,ACK seq 157 ack 900 ts 144068 46057 len 36
+120s  C > S PSH,ACK seq 157 ack 900 ts 264068 46057 len 36
`)
	if err != nil {
		t.Fatal(err)
	}
	path := recorded(t, script, dialogue.Client)
	told, _ := verify(t, "client:idle=60,interval=2,count=3", path)
	if len(told.Flows) != 1 || len(told.Flows[0].Ends) != 1 || told.Flows[0].Ends[0].Result != "not seen" {
		t.Errorf("%+v", told)
	}
}
