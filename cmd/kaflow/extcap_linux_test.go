package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Wireshark's questions get answers in its protocol, and a capture arrives in
// the pipe with labels.
func TestExtcap(t *testing.T) {
	ask := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(append([]string{"extcap"}, args...), nil, &stdout, &stderr); code != want {
			t.Fatalf("%v: status %d, %s", args, code, stderr.String())
		}
		return stdout.String()
	}
	if got := ask(0, "--extcap-interfaces", "--extcap-version=4.4"); !strings.HasPrefix(got, "extcap {version=") || !strings.Contains(got, "\ninterface {value=kaflow-lo}{display=kaflow: lo}\n") {
		t.Errorf("interfaces: %s", got)
	}
	if got := ask(0, "--extcap-interface", "kaflow-lo", "--extcap-dlts"); got != "dlt {number=1}{name=EN10MB}{display=Ethernet}\n" {
		t.Errorf("link type: %s", got)
	}
	if got := ask(0, "--extcap-interface", "kaflow-lo", "--extcap-config"); strings.Count(got, "arg {number=") != 2 {
		t.Errorf("options: %s", got)
	}
	if got := ask(0, "--extcap-interface", "kaflow-lo", "--extcap-capture-filter", "tcp"); !strings.Contains(got, "display filter") {
		t.Errorf("filter: %s", got)
	}
	ask(statusUsage)
	ask(statusUsage, "--extcap-interface", "kaflow-lo", "--capture", "--fifo", "x", "--extcap-capture-filter", "tcp")

	if os.Getuid() != 0 {
		t.Skip("not root: nothing is captured")
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	script := `ip link set lo up || exit 99
cat "$1/fifo" > "$1/out" & reader=$!
"$0" extcap --capture --extcap-interface kaflow-lo --fifo "$1/fifo" & capture=$!
for i in {1..600}; do sleep 0.3; (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; grep -q 'kaflow: rst' "$1/out" && break; done
kill -TERM $capture; wait $capture; code=$?; wait $reader; exit $code`
	c := exec.Command("bash", "-c", script, os.Args[0], dir)
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	_ = c.Run() // the status says it
	switch code := c.ProcessState.ExitCode(); code {
	case 99, -1:
		t.Skipf("no network namespace here: %s", stderr.String())
	case 128 + int(syscall.SIGTERM):
	default:
		t.Fatalf("status %d: %s", code, stderr.String())
	}
	var rows bytes.Buffer
	if code := run([]string{"frames", filepath.Join(dir, "out")}, nil, &rows, &stderr); code != 0 || !strings.Contains(rows.String(), "\trst\t") {
		t.Errorf("status %d, %s\n%s", code, stderr.String(), rows.String())
	}
}
