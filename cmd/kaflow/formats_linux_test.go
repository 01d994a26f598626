package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// formatsOf lists a command line for every format that is written.
var formatsOf = [][]string{
	{"--format", "text"}, {"--format", "md"}, {"--format", "jira"}, {"--format", "html"}, {"--json"}, {"--format", "ndjson"},
	{"flows"}, {"flows", "--json"}, {"frames"}, {"frames", "--format", "ndjson"}, {"annotate"},
}

const aSet = "../../testdata/pcaps/ssh-silent-drop/client.pcap"

// A full disk ends every format with status 5 and one line, on stdout and in a
// file, and leaves nothing behind.
func TestFullDiskInEveryFormat(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here: writing to a full disk is not tested")
	}
	defer full.Close()
	for _, args := range formatsOf {
		if args[0] != "annotate" {
			var stderr bytes.Buffer
			if code := run(append(args, aSet), nil, full, &stderr); code != statusOutput || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("%v to stdout: status %d, %q", args, code, stderr.String())
			}
		}
		onFullDisk(t, args)
	}
}

// The same holds for what is told without a capture, by cobra too.
func TestFullDiskOfWhatNeedsNoCapture(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here: writing to a full disk is not tested")
	}
	defer full.Close()
	for _, line := range []string{
		"help", "help watch", "--help", "analyze --help", "--version", "version", "completion", "completion bash", "completion zsh",
		"man", "man annotate", "facts", "facts --json", "explain", "explain silent-drop", "policy linux", "policy linux --json", "extcap --extcap-interfaces",
	} {
		var stderr bytes.Buffer
		if code := run(strings.Fields(line), nil, full, &stderr); code != statusOutput || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: status %d, %q", line, code, stderr.String())
		}
	}
}

// onFullDisk runs a command that writes to a file system of one page, in a mount
// namespace of its own.
func onFullDisk(t *testing.T, args []string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	dir := t.TempDir()
	input, err := filepath.Abs(aSet)
	if err != nil {
		t.Fatal(err)
	}
	where := "-o"
	if args[0] == "annotate" {
		where = "-w"
	}
	line := append(append([]string{}, args...), where, filepath.Join(dir, "out"), input)
	script := `mount -t tmpfs -o size=4k,nr_inodes=16 tmpfs "$0" || exit 99; dd if=/dev/zero of="$0/filler" bs=4096 count=1 2>/dev/null; "$@"; code=$?; rm "$0/filler"; ls -A "$0" >&2; exit $code`
	c := exec.Command("sh", append([]string{"-c", script, dir, os.Args[0]}, line...)...)
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	_ = c.Run() // the status says it
	switch code := c.ProcessState.ExitCode(); {
	case code == 99 || code < 0:
		t.Logf("no file system can be mounted here: %s", stderr.String())
	case code != statusOutput || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "no space left"):
		t.Errorf("%v to a file: status %d, %q", args, code, stderr.String())
	}
}

// A reader that goes away ends every format by SIGPIPE.
func TestClosedPipeInEveryFormat(t *testing.T) {
	for _, args := range formatsOf {
		if args[0] == "annotate" { // writes files alone
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := exec.Command(os.Args[0], append(args, aSet)...)
		c.Env = append(os.Environ(), actAsKaflow+"=1")
		c.Stdout = w
		_ = c.Run() // the status says it
		w.Close()
		if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			t.Errorf("%v ended with %v, want SIGPIPE", args, c.ProcessState)
		}
	}
}

// Every report over the captures at hand keeps to the published schema.
func TestReportsKeepToTheSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../render/schema/kaflow-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	check := func(args ...string) {
		t.Helper()
		var stdout bytes.Buffer
		if code := run(append([]string{"--json"}, args...), nil, &stdout, io.Discard); stdout.Len() == 0 {
			if code != statusDamaged && code != statusUsage {
				t.Errorf("%v: status %d and no report", args, code)
			}
			return
		}
		doc, err := jsonschema.UnmarshalJSON(&stdout)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		n++
	}
	sets, err := filepath.Glob("../../testdata/pcaps/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range sets {
		client, server := filepath.Join(set, "client.pcap"), filepath.Join(set, "server.pcap")
		if _, err := os.Stat(server); err == nil {
			check(client, server)
			check("--what-if", "idle=60", "--sanitize", server, client)
		}
	}
	for _, root := range []string{"../../testdata/pcaps", "../../../shared/pcaps"} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.Contains(filepath.Base(path), "cap") {
				check(path)
			}
			return nil
		})
	}
	for _, c := range conversations {
		check(converse(t, c.text)...)
	}
	t.Logf("%d reports", n)
}
