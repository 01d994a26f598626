package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kaflow/analyzer"
	"kaflow/internal/golden"
)

// README's table of verdicts is made from the pages that kaflow explain prints,
// of the verdicts that this version gives.
func TestREADMEListsTheVerdictsThatArePrinted(t *testing.T) {
	const readme, begin, end = "../../README.md", "<!-- verdicts:begin -->\n", "<!-- verdicts:end -->"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no place for the verdicts")
	}
	want := "| verdict | what happened | captures of both ends prove it | one capture shows it |\n|---|---|---|---|\n"
	for _, p := range analyzer.Pages() {
		if p.Kind == analyzer.OfVerdict && given(&p) {
			want += "| `" + p.ID + "` | " + p.Short + " | " + p.Both + " | " + p.One + " |\n"
		}
	}
	if golden.Updating() {
		if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != want {
		t.Error("README.md lists other verdicts than the program explains; go test ./cmd/kaflow -run README -update writes them")
	}
}

func TestEveryVerdictOfFailOnHasAPage(t *testing.T) {
	for _, id := range verdicts {
		if p, ok := analyzer.PageOf(id); !ok || p.Kind != analyzer.OfVerdict {
			t.Errorf("kaflow explain %s: no page", id)
		}
	}
}

// --fail-on takes every verdict that the analyzer has a name for.
func TestFailOnTakesEveryVerdict(t *testing.T) {
	source, err := os.ReadFile("../../analyzer/report.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(source), "// Verdict ids")
	block, _, closed := strings.Cut(block, "\n)")
	named := regexp.MustCompile(`= "([a-z-]+)"`).FindAllStringSubmatch(block, -1)
	if !found || !closed || len(named) < 12 {
		t.Fatalf("%d verdicts have names in analyzer/report.go", len(named))
	}
	for _, m := range named {
		if !slices.Contains(verdicts, m[1]) {
			t.Errorf("%s is not in the list of verdicts", m[1])
		}
	}
}

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
