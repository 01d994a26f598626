//go:build unix

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// floodOf is a capture of so many SYNs, each of another connection; the last one
// is answered.
func floodOf(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, 1, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 54)
	copy(frame, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\x00\x00\x0a\x00\x00\x00\xc6\x33\x64\x02")
	copy(frame[36:], "\x00\x16\x00\x00\x00\x00\x00\x00\x00\x00\x50\x02\x01\xf4")
	for i := range n {
		binary.BigEndian.PutUint32(frame[26:], 10<<24|uint32(i>>6))
		binary.BigEndian.PutUint16(frame[34:], 1024+uint16(i&63))
		binary.BigEndian.PutUint32(frame[38:], uint32(i))
		if err := w.Write(tcp.Instant(1_700_000_000e9+int64(i)*5000), frame, len(frame)); err != nil {
			t.Fatal(err)
		}
	}
	answer := bytes.Clone(frame)
	copy(answer[26:30], frame[30:34])
	copy(answer[30:34], frame[26:30])
	copy(answer[34:36], frame[36:38])
	copy(answer[36:38], frame[34:36])
	binary.BigEndian.PutUint32(answer[42:], uint32(n))
	answer[47] = 0x12 // SYN, ACK
	// So late that the others have waited for long enough.
	if err := w.Write(tcp.Instant(1_700_000_002e9+int64(n)*5000), answer, len(answer)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A signal ends a watch that holds a flood of connections, the report being
// written. (SOAK=long: a million.)
func TestSoakInterruptedUnderAFlood(t *testing.T) {
	tuples := 120_000
	if os.Getenv("SOAK") == "long" {
		tuples = 1_000_000
	}
	flood := floodOf(t, tuples)
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		path := filepath.Join(t.TempDir(), "night.json")
		seen := newFirstWord()
		c, in := start(t, seen, "watch", "-r", "-", "--plain", "--report", path)
		go func() { _, _ = in.Write(flood) }() // and the pipe stays open
		seen.wait(t)                           // the answered one, behind all others
		begun := time.Now()
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		state := outcome(t, c)
		took := time.Since(begun)
		peak, _ := state.SysUsage().(*syscall.Rusage)
		t.Logf("%v with %d connections: ended after %v, report included; peak %d MiB", signal, tuples, took.Round(time.Millisecond), peak.Maxrss>>10)
		if state.ExitCode() != want {
			t.Errorf("exit status %d, want %d", state.ExitCode(), want)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Totals struct {
				Flows     int
				ByVerdict map[string]int `json:"by_verdict"`
			}
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Totals.Flows != tuples || doc.Totals.ByVerdict["not-established"] != tuples-1 {
			t.Errorf("the report counts %+v", doc.Totals)
		}
	}
}

// What is asked for is looked for among all connections in danger, however few a
// format shows and a report is to list.
func TestWhatIsAskedForIsFoundAmongMany(t *testing.T) {
	flood := floodOf(t, 200)
	ask := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if status := run(append(args, "-"), bytes.NewReader(flood), &stdout, &stderr); status != 0 {
			t.Fatalf("%v: exit status %d, %s", args, status, stderr.String())
		}
		return stdout.String()
	}
	if text := ask("--flow", "190"); !strings.Contains(text, "flow 190 of 200") {
		t.Errorf("--flow 190 gives\n%s", text)
	}
	for _, args := range [][]string{{"--max-listed", "10"}, {"--all"}} {
		var report struct {
			Flows []struct{ ID int }
		}
		if err := json.Unmarshal([]byte(ask(append(args, "--json", "--port", "1030")...)), &report); err != nil {
			t.Fatal(err)
		}
		if len(report.Flows) != 4 { // of four addresses
			t.Errorf("%v: %d flows of one port, want 4", args, len(report.Flows))
		}
	}
	if n := strings.Count(ask("--all"), " of 200\n"); n != 200 {
		t.Errorf("--all shows %d of 200 flows", n)
	}
}
