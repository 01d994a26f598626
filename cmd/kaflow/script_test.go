package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"kaflow/internal/dialogue"
)

func TestMain(m *testing.M) {
	if os.Getenv(actAsKaflow) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"kaflow": main})
}

// actAsKaflow makes the test binary behave as kaflow does.
const actAsKaflow = "KAFLOW_TEST_MAIN"

func TestScripts(t *testing.T) {
	for _, dir := range []string{"testdata/script", "testdata/script/wire"} {
		testscript.Run(t, testscript.Params{
			Dir: dir,
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"dialogue": cmdDialogue,
				"labels":   cmdLabels,
				"status":   cmdStatus,
				"cut":      cmdCut,
				"glob":     cmdGlob,
				"rename":   cmdRename,
			},
			Setup: func(e *testscript.Env) error {
				e.Setenv("TZ", "UTC")
				return nil
			},
			RequireUniqueNames: true,
		})
	}
}

// cmdDialogue makes a capture of a conversation: dialogue NAME FILE [POINT].
func cmdDialogue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: dialogue NAME FILE [client|server]")
	}
	point := ""
	if len(args) == 3 {
		point = args[2]
	}
	writeCapture(ts, parse(ts, args[0]), point, args[1])
}

func parse(ts *testscript.TestScript, name string) *dialogue.Script {
	s, err := dialogue.Parse(ts.ReadFile(name))
	ts.Check(err)
	return s
}

func writeCapture(ts *testscript.TestScript, s *dialogue.Script, point, name string) {
	var b bytes.Buffer
	ts.Check(s.WritePcap(&b, point))
	ts.Check(os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o644))
}

// label is one row of kaflow frames, without what the dialogue leaves open.
type label struct{ Frame, Stream, Sender, Kind, Confidence string }

// cmdLabels compares kaflow's label of every frame with what the dialogue
// calls the truth: labels NAME [POINT].
func cmdLabels(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: labels NAME [client|server]")
	}
	point := ""
	if len(args) == 2 {
		point = args[1]
	}
	script := parse(ts, args[0])
	name := args[0] + ".pcap"
	writeCapture(ts, script, point, name)
	frames, err := script.Packets(point)
	ts.Check(err)
	ts.Check(ts.Exec("kaflow", "frames", name))
	if diff := compareLabels(frames, ts.ReadFile("stdout")); diff != "" {
		ts.Fatalf("kaflow frames against %s (-truth +kaflow):\n%s", args[0], diff)
	}
}

// compareLabels returns the difference between the truth and the rows printed.
func compareLabels(frames []dialogue.Frame, printed string) string {
	rows := map[string]label{}
	for _, line := range strings.Split(strings.TrimSpace(printed), "\n")[1:] {
		c := strings.Split(line, "\t")
		rows[c[1]] = label{c[1], c[2], c[3], c[4], c[5]}
	}
	var want, got []label
	for i, f := range frames {
		number := strconv.Itoa(i + 1)
		row, found := rows[number]
		delete(rows, number)
		if f.Want.Kind == "" && !found {
			continue // no segment
		}
		w := label{number, strconv.Itoa(f.Want.Stream), f.Want.Sender, f.Want.Kind, f.Want.Confidence}
		if slices.Contains(strings.Split(w.Kind, "|"), row.Kind) {
			w.Kind = row.Kind
		}
		if f.Want.Stream < 0 {
			w.Stream, row.Stream = "", ""
		}
		if f.Want.Confidence == "" {
			row.Confidence = ""
		}
		want, got = append(want, w), append(got, row)
	}
	for _, row := range rows {
		got = append(got, row)
	}
	return cmp.Diff(want, got)
}

// cmdStatus runs a command that must end with one exit status: status N kaflow ….
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
}

// cmdCut makes a file that lacks the last octets of another: cut FROM TO N.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut FROM TO N")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	whole := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(whole[:len(whole)-n]), 0o644))
}

// cmdGlob checks whether a pattern names any file.
func cmdGlob(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if neg == (len(found) > 0) {
		ts.Fatalf("%s names %q", args[0], found)
	}
}

// cmdRename gives a file a name written as a Go string: rename FILE NAME.
func cmdRename(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rename FILE NAME")
	}
	name, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.Rename(ts.MkAbs(args[0]), ts.MkAbs(name)))
}
