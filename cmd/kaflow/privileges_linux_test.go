package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needRoot skips without root, and fails there with LAB=require.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("LAB") == "require":
		t.Fatal("LAB=require, but this is not root")
	default:
		t.Skip("not root: privileges cannot be given up")
	}
}

// inNamespace moves the test's thread into a network namespace of its own;
// processes that it starts are there too. The thread ends with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip link set lo up: %v %s", err, out)
	}
}

// open gives a folder of the test to everybody, whoever the program becomes.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// statusLines returns some lines of /proc/PID/task/*/status, by thread.
func statusLines(t *testing.T, pid int, keys ...string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	out := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that ended
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			for _, k := range keys {
				if k == key {
					lines = append(lines, key+" "+strings.Join(strings.Fields(value), " "))
				}
			}
		}
		out[file] = strings.Join(lines, ", ")
	}
	return out
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for asked := time.Now(); time.Since(asked) < hangGuard; time.Sleep(100 * time.Millisecond) {
		if yes() {
			return
		}
	}
	t.Fatalf("%s: not after %v", what, hangGuard)
}

// Once the ring is open, no thread has a capability left, nor root's user.
func TestWatchGivesUpItsRights(t *testing.T) {
	inNamespace(t)
	dir := open(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Uid 0 0 0 0, Gid 0 0 0 0, CapInh 0000000000000000, CapPrm 0000000000000000, CapEff 0000000000000000, CapAmb 0000000000000000, NoNewPrivs 1"},
		{[]string{"--user", "nobody"}, "Uid 65534 65534 65534 65534, Gid 65534 65534 65534 65534, CapInh 0000000000000000, CapPrm 0000000000000000, CapEff 0000000000000000, CapAmb 0000000000000000, NoNewPrivs 1"},
	} {
		report := filepath.Join(dir, fmt.Sprintf("report%d.txt", len(c.args)))
		p, _ := start(t, io.Discard, append([]string{"watch", "-i", "lo", "--report", report}, c.args...)...)
		var got map[string]string
		wrong := func() (list []string) {
			got = statusLines(t, p.Process.Pid, "Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
			for thread, is := range got {
				if is != c.want {
					list = append(list, thread+": "+is)
				}
			}
			return list
		}
		eventually(t, "giving up rights", func() bool { return len(wrong()) == 0 })
		time.Sleep(200 * time.Millisecond)
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, p).ExitCode(); got != 143 {
			t.Errorf("%v: exit status %d, want 143", c.args, got)
		}
		if _, err := os.Stat(report); err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}

// TestHelperAfterDrop is no test: it is the process that the next one starts.
func TestHelperAfterDrop(t *testing.T) {
	dir := os.Getenv("KAFLOW_TEST_DROP")
	if dir == "" {
		t.Skip("runs as a helper only")
	}
	if err := (rights{folders: []string{dir}, readable: []string{"/etc/hosts"}}).drop(); err != nil {
		t.Fatal(err)
	}
	_, unrelated := os.ReadFile("/etc/passwd")
	_, allowed := os.ReadFile("/etc/hosts")
	own := os.WriteFile(filepath.Join(dir, "own"), []byte("x"), 0o600)
	moved := os.Rename(filepath.Join(dir, "own"), filepath.Join(dir, "moved"))
	other := os.WriteFile(filepath.Join(filepath.Dir(dir), "other"), []byte("x"), 0o600)
	ran := exec.Command("/bin/true").Run()
	fmt.Printf("denied: read %v, write %v, run %v; allowed: read %v, write %v, rename %v\n", os.IsPermission(unrelated), os.IsPermission(other), ran != nil, allowed, own, moved)
}

func TestFilesAreOutOfReachAfterwards(t *testing.T) {
	needRoot(t)
	if v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1); e != 0 || v < 1 {
		t.Skipf("this kernel has no Landlock: %v", e)
	}
	dir := filepath.Join(t.TempDir(), "own")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run=^TestHelperAfterDrop$", "-test.v")
	c.Env = append(os.Environ(), "KAFLOW_TEST_DROP="+dir)
	out, _ := c.CombinedOutput() // it cannot tidy up behind itself any more, and says so
	if want := "denied: read true, write true, run true; allowed: read <nil>, write <nil>, rename <nil>\n"; !bytes.Contains(out, []byte(want)) {
		t.Errorf("want %sgot %s", want, out)
	}
}

// Without rights, one line says what to run.
func TestWatchWithoutRights(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(open(t), "kaflow")
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "watch", "-i", "lo")
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Skipf("cannot run as another user here: %v", err)
	}
	if got := outcome(t, c).ExitCode(); got != statusLive {
		t.Errorf("exit status %d, want %d", got, statusLive)
	}
	if want := "kaflow: capture on lo: operation not permitted; give the program the right: sudo setcap cap_net_raw+ep " + program + "\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", stderr.String(), want)
	}
}
