package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reportOf runs kaflow and returns the JSON report that it wrote, without what
// tells of the command line.
func reportOf(t *testing.T, args ...string) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	var stderr bytes.Buffer
	if status := run(append(args, "-o", path), nil, io.Discard, &stderr); status != statusDone {
		t.Fatalf("kaflow %v: exit status %d: %s", args, status, stderr.String())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// What is watched gets the verdicts that the file gets: the reports are equal,
// and a connection that was told as dead is dead in the report too.
func TestWatchJudgesAsAnalyzeDoes(t *testing.T) {
	files, err := filepath.Glob("../../testdata/pcaps/*/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	deaths := 0
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			want := reportOf(t, "analyze", "--json", "--all", file)
			got := reportOf(t, "watch", "--all", "-r", file)
			delete(want, "command")
			delete(got, "command")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("analyze against watch (-analyze +watch):\n%s", diff)
			}
			var events bytes.Buffer
			if status := run([]string{"watch", "--json", "-r", file}, nil, &events, io.Discard); status != statusDone {
				t.Fatalf("exit status %d", status)
			}
			told := map[string]string{} // newest of each connection
			for line := range strings.Lines(events.String()) {
				var ev struct {
					Event, Client, Server string
					Verdict               struct{ ID string }
				}
				if err := json.Unmarshal([]byte(line), &ev); err != nil {
					t.Fatal(err)
				}
				switch ends := ev.Client + " " + ev.Server; ev.Event {
				case "died":
					told[ends] = ev.Verdict.ID
				case "seen", "recovered":
					told[ends] = ""
				}
			}
			flows, _ := want["flows"].([]any)
			for _, x := range flows {
				f := x.(map[string]any)
				ends := f["client"].(string) + " " + f["server"].(string)
				id := f["verdict"].(map[string]any)["id"].(string)
				dead := told[ends]
				if dead != "" {
					deaths++
				}
				if dead != "" && dead != id {
					t.Errorf("%s was told to have died of %s, and the report says %s", ends, dead, id)
				}
			}
			if len(flows) == 0 || len(told) == 0 {
				t.Errorf("%d flows and %d connections told of", len(flows), len(told))
			}
		})
	}
	if deaths == 0 {
		t.Error("no death was told of in any of the captures")
	}
}
