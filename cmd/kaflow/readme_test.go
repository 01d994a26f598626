package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"kaflow/internal/golden"
)

// TestREADMEShowsTheRealReport runs the README's command and compares. Its
// report is in UTC, whatever the zone of the machine: -update writes it.
func TestREADMEShowsTheRealReport(t *testing.T) {
	const readme, begin, end = "README.md", "<!-- report:begin -->\n", "<!-- report:end -->"
	t.Chdir("../..")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no place for the report")
	}
	var stdout, stderr bytes.Buffer
	args := []string{"--utc", "--width", "100", "testdata/pcaps/ssh-silent-drop/client.pcap", "testdata/pcaps/ssh-silent-drop/server.pcap"}
	if code := run(args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("status %d: %s", code, stderr.String())
	}
	want := "```text\n" + strings.TrimRight(stdout.String(), "\n") + "\n```\n"
	if golden.Updating() {
		if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != want {
		t.Errorf("README.md shows another report than the program prints; go test ./cmd/kaflow -run README -update writes it")
	}
}
