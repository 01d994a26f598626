package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestTablesInFactsAreUpToDate(t *testing.T) {
	rows, err := load(os.DirFS("data"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := rows.code()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "facts", "tables_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("facts/tables_gen.go is not what the data gives: run go generate ./facts")
	}
}

// good is the smallest set of tables; each case below spoils one thing.
const (
	backed  = ", confidence: documented, checked: true, source: [{title: T, address: A}]}\n"
	head    = "as_of: '2026-11-20'\nrows:\n"
	good    = head + "- {id: a, idle_s: 10, interval_s: 5, count: 2, detection_s: 20, remedies: [r]" + backed
	timeout = head + "- {id: a" + backed
	remedy  = head + "- {id: r" + backed
	closer  = head + "- {id: a, idle_s: 5, sends: FIN, who: server, setting: s, change: [c]" + backed
	logged  = head + "- {id: a, search: [x], timeouts: [a]" + backed
)

func TestRowsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, file, text, want string
	}{
		{"nothing wrong", "defaults.yaml", good, ""},
		{"an id twice", "defaults.yaml", good + "- {id: a" + backed, `row "a": id is empty or used twice`},
		{"no id", "timeouts.yaml", head + "- {name: b" + backed, "id is empty or used twice"},
		{"misspelt key", "timeouts.yaml", head + "- {id: a, idle_timeout: 5" + backed, "field idle_timeout not found"},
		{"no source", "heartbeats.yaml", head + "- {id: a, confidence: guess, shaky: true}\n", "no source"},
		{"source without address", "remedies.yaml",
			head + "- {id: r, confidence: documented, checked: true, source: [{title: T}]}\n", "without title or address"},
		{"unchecked but not marked", "timeouts.yaml",
			head + "- {id: a, confidence: documented, source: [{title: T, address: A}]}\n", "shaky must be true"},
		{"marked without reason", "timeouts.yaml", head + "- {id: a, shaky: true" + backed, "shaky must be false"},
		{"made-up confidence", "timeouts.yaml",
			head + "- {id: a, confidence: sure, checked: true, source: [{title: T, address: A}]}\n", `unknown confidence "sure"`},
		{"remedy that does not exist", "defaults.yaml", head + "- {id: a, remedies: [x]" + backed, `no remedy "x"`},
		{"numbers that do not add up", "defaults.yaml",
			head + "- {id: a, idle_s: 10, interval_s: 5, count: 3, detection_s: 20" + backed, "10 + 3 × 5 is not 20"},
		{"abort time that does not add up", "defaults.yaml",
			head + "- {id: a, idle_s: 10, abort_s: 5, detection_s: 20" + backed, "10 + 5 is not 20"},
		{"signature that is not hex", "heartbeats.yaml", head + "- {id: a, prefixes_hex: [xyz]" + backed, `row "a": "xyz"`},
		{"unknown sum", "defaults.yaml", head + "- {id: a, sum: idle" + backed, `unknown sum "idle"`},
		{"claims of which none is followed", "defaults.yaml",
			head + "- {id: a, readings: [{claim: c, source: {title: T, address: A}}]" + backed, "0 readings are taken"},
		{"claim without source", "defaults.yaml", head + "- {id: a, readings: [{claim: c, taken: true}]" + backed, "a reading without claim or source"},
		{"closer without time", "closers.yaml", head + "- {id: a, sends: FIN, who: server, setting: s, change: [c]" + backed, "want either a default time"},
		{"closer of nobody", "closers.yaml", head + "- {id: a, idle_s: 5, sends: FIN, who: me, setting: s, change: [c]" + backed, `unknown side "me"`},
		{"closer that nobody can change", "closers.yaml", head + "- {id: a, idle_s: 5, sends: FIN, who: server, setting: s" + backed, "how to change it"},
		{"log of a device that does not exist", "logs.yaml", head + "- {id: a, search: [x], timeouts: [b]" + backed, `no timeout "b"`},
		{"log without anything to search for", "logs.yaml", head + "- {id: a, timeouts: [a]" + backed, "nothing to search for"},
		{"no rows", "remedies.yaml", "as_of: '2026-11-20'\nrows: []\n", "no rows"},
	} {
		files := map[string]string{"defaults.yaml": good, "timeouts.yaml": timeout, "heartbeats.yaml": timeout, "remedies.yaml": remedy,
			"closers.yaml": closer, "logs.yaml": logged}
		files[c.file] = c.text
		if err := codeOf(files); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func codeOf(files map[string]string) error {
	dir := make(fstest.MapFS)
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	rows, err := load(dir)
	if err != nil {
		return err
	}
	_, err = rows.code()
	return err
}

// Our copies say what the sources in ../shared/facts say, key by key; only
// the keys and rows named here differ, on purpose.
func TestDataAgreesWithWhatItWasCopiedFrom(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared", "facts")
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("the tables that ours were copied from are not here: %v", err)
	}
	reworded := map[string]bool{"source": true, "cisco-ios/notes": true, "openssh-client/notes": true}
	for ours, theirs := range map[string]string{
		"defaults.yaml": "keepalive-defaults.yaml", "timeouts.yaml": "middlebox-timeouts.yaml",
		"heartbeats.yaml": "app-heartbeats.yaml", "remedies.yaml": "remedies.yaml",
	} {
		copied, original := rowsByID(t, filepath.Join("data", ours)), rowsByID(t, filepath.Join(shared, theirs))
		if len(copied) != len(original) {
			t.Errorf("%s: %d rows, %d in the original", ours, len(copied), len(original))
		}
		for id, row := range copied {
			for key, value := range row {
				was, known := original[id][key]
				if !known || reworded[key] || reworded[id+"/"+key] {
					continue
				}
				if diff := cmp.Diff(was, value); diff != "" {
					t.Errorf("%s: row %s: %s differs:\n%s", ours, id, key, diff)
				}
			}
		}
	}
}

func rowsByID(t *testing.T, file string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Rows []map[string]any `yaml:"rows"`
	}
	if err := yaml.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]map[string]any, len(table.Rows))
	for _, row := range table.Rows {
		id, _ := row["id"].(string)
		rows[id] = row
	}
	return rows
}
