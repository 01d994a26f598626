package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// unanswered writes a capture of so many connections that nobody answered, from the
// ports 20001 on, and returns its path.
func unanswered(t *testing.T, connections int) string {
	t.Helper()
	var file bytes.Buffer
	w, err := capture.NewWriter(&file, 1, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 54)
	copy(frame[12:], "\x08\x00\x45\x00\x00\x28\x00\x01\x40\x00\x40\x06\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x00\x00\x16")
	frame[46], frame[47], frame[48] = 0x50, 0x02, 0x10
	for again := range 4 {
		for i := range connections {
			binary.BigEndian.PutUint16(frame[34:], uint16(20_001+i))
			at := tcp.Instant(1_700_000_000e9 + int64(again)*20e9 + int64(i)*1e6)
			if err := w.Write(at, frame, len(frame)); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "unanswered.pcap")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is asked for is looked for among all connections in danger, however few a
// format shows and a report is to list.
func TestWhatIsAskedForIsFoundAmongMany(t *testing.T) {
	path := unanswered(t, 200)
	ask := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if status := run(append(args, path), strings.NewReader(""), &stdout, &stderr); status != 0 {
			t.Fatalf("%v: exit status %d, %s", args, status, stderr.String())
		}
		return stdout.String()
	}
	if text := ask("--flow", "190"); !strings.Contains(text, "flow 190 of 200") {
		t.Errorf("--flow 190 gives\n%s", text)
	}
	for _, args := range [][]string{{"--max-listed", "10"}, {"--all"}} {
		var report struct {
			Flows []struct{ Client any }
		}
		if err := json.Unmarshal([]byte(ask(append(args, "--json", "--port", "20150")...)), &report); err != nil {
			t.Fatal(err)
		}
		if len(report.Flows) != 1 {
			t.Errorf("%v: %d flows of one port", args, len(report.Flows))
		}
	}
	if n := strings.Count(ask("--all"), " of 200\n"); n != 200 {
		t.Errorf("--all shows %d of 200 flows", n)
	}
}
