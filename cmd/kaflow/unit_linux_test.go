package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const unitFile = "../../contrib/kaflow-watch@.service"

// unitLines returns the values of a key of the shipped unit.
func unitLines(t *testing.T, key string) (values []string) {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		t.Fatalf("the unit has no %s", key)
	}
	return values
}

// program makes kaflow a file of its own, as a service has it.
func program(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kaflow")
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// systemd finds nothing wrong with the unit.
func TestUnitIsVerified(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "the unit is not verified")
	dir := t.TempDir()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	good := bytes.Replace(text, []byte("ExecStart=/usr/local/bin/kaflow "), []byte("ExecStart="+program(t, dir)+" "), 1)
	bad := bytes.Replace(good, []byte("SystemCallFilter=@system-service"), []byte("SystemCallFilter=@no-such-set"), 1)
	for _, c := range []struct {
		name  string
		text  []byte
		wrong bool
	}{{"kaflow-watch@eth0.service", good, false}, {"wrong@eth0.service", bad, true}} {
		unit := filepath.Join(dir, c.name)
		if err := os.WriteFile(unit, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", unit).CombinedOutput()
		if found := err != nil || bytes.Contains(out, []byte(c.name)); found != c.wrong {
			t.Errorf("systemd-analyze verify %s: %v\n%s", c.name, err, out)
		}
	}
}

// unitCommand is the unit's ExecStart for an interface, with what systemd puts
// into it.
func unitCommand(t *testing.T, iface, state, kaflow string) []string {
	t.Helper()
	line := strings.NewReplacer("%I", iface, "%i", iface, "${STATE_DIRECTORY}", state, "$KAFLOW_OPTIONS", "--port 22", "/usr/local/bin/kaflow", kaflow).Replace(unitLines(t, "ExecStart")[0])
	if strings.ContainsAny(line, "%$") {
		t.Fatalf("ExecStart holds more than is known here: %s", line)
	}
	return strings.Fields(line)
}

// The unit's command runs with the unit's rights, CAP_NET_RAW alone, as nobody;
// it gives that up, and ends as the unit expects.
func TestUnitRunsWithItsRights(t *testing.T) {
	setpriv := tool(t, "setpriv", "the unit's rights are not tried")
	inNamespace(t)
	for _, key := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
		if got := unitLines(t, key); fmt.Sprint(got) != "[CAP_NET_RAW]" {
			t.Errorf("%s=%v", key, got)
		}
	}
	dir := open(t)
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw",
		"--bounding-set=-all,+net_raw", "--no-new-privs"}, unitCommand(t, "lo", state, program(t, dir))...)
	c := exec.Command(setpriv, args...)
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	const want = "Uid 65534 65534 65534 65534, Gid 65534 65534 65534 65534, CapInh 0000000000000000, CapPrm 0000000000000000, CapEff 0000000000000000, CapAmb 0000000000000000, NoNewPrivs 1"
	eventually(t, "no right is left", func() bool {
		lines := statusLines(t, c.Process.Pid, "Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
		for _, line := range lines {
			if line != want {
				return false
			}
		}
		return len(lines) > 1 // of Go's threads
	})
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, c).ExitCode(); fmt.Sprint(got) != unitLines(t, "SuccessExitStatus")[0] {
		t.Errorf("exit status %d: %s", got, stderr.String())
	}
	if _, err := os.Stat(filepath.Join(state, "lo.html")); err != nil {
		t.Errorf("the report: %v", err)
	}
}

// The unit's filter of system calls lets all pass that a watch makes, from its
// start to its report.
func TestUnitAllowsItsSystemCalls(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "what the unit's filter of system calls allows is not known")
	strace := tool(t, "strace", "which system calls a watch makes is not known")
	inNamespace(t)
	allowed := map[string]bool{}
	var expand func(name string)
	expand = func(name string) {
		if !strings.HasPrefix(name, "@") {
			allowed[name] = true
			return
		}
		out, err := exec.Command(analyze, "syscall-filter", name).Output()
		if err != nil {
			t.Fatalf("systemd-analyze syscall-filter %s: %v", name, err)
		}
		for i, line := range strings.Split(string(out), "\n") {
			if line = strings.TrimSpace(line); i > 0 && line != "" && !strings.HasPrefix(line, "#") {
				expand(line)
			}
		}
	}
	for _, name := range strings.Fields(unitLines(t, "SystemCallFilter")[0]) {
		expand(name)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	words := append([]string{"-f", "-qq", "-o", trace}, unitCommand(t, "lo", dir, self)...)
	said := newFirstWord()
	c := exec.Command(strace, append(words, "--metrics", "127.0.0.1:0", "--save", dir)...)
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	c.Stdout = said
	if err := c.Start(); err != nil {
		t.Skipf("strace does not work here: %v", err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	var watch string
	eventually(t, "the watch gives up its rights", func() bool {
		text, err := os.ReadFile(trace)
		if err != nil {
			return false
		}
		if m := regexp.MustCompile(`(?m)^(\d+) .*landlock_restrict_self`).FindSubmatch(text); m != nil {
			watch = strings.Fields(string(text))[0]
		}
		return watch != ""
	})
	var pid int
	if _, err := fmt.Sscan(watch, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	outcome(t, c)
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]`).FindAllSubmatch(text, -1) {
		used[string(m[1])] = true
	}
	if !used["landlock_restrict_self"] || !used["socket"] || !used["exit_group"] || len(used) < 20 {
		t.Errorf("seen: %v", used)
	}
	for name := range used {
		if !allowed[name] {
			t.Errorf("a watch calls %s, which the unit does not allow", name)
		}
	}
}
