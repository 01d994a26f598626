//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kaflow/internal/dialogue"
)

// hangGuard is how long a test waits for what must come: so long that no build
// server, however busy, is taken for a program that hangs.
const hangGuard = 3 * time.Minute

// start runs kaflow with a pipe as its stdin.
func start(t *testing.T, stdout io.Writer, args ...string) (*exec.Cmd, io.WriteCloser) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), actAsKaflow+"=1")
	c.Stdout, c.Stderr = stdout, io.Discard
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	return c, in
}

// firstWord is closed by the first output of a program, which then handles
// signals, however slow the machine was to start it.
type firstWord struct {
	once sync.Once
	said chan struct{}
}

func newFirstWord() *firstWord { return &firstWord{said: make(chan struct{})} }

// Write implements io.Writer.
func (w *firstWord) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.said) })
	return len(b), nil
}

// wait returns when there was output, or fails where that takes too long.
func (w *firstWord) wait(t *testing.T) {
	t.Helper()
	select {
	case <-w.said:
	case <-time.After(hangGuard):
		t.Fatal("no output")
	}
}

// drained waits until a program has taken all that was written into its stdin.
func drained(t *testing.T, in io.WriteCloser) {
	t.Helper()
	pipe, ok := in.(*os.File)
	if !ok {
		t.Fatalf("stdin is a %T", in)
	}
	request := uint(0x4004667f) // FIONREAD
	if runtime.GOOS == "linux" {
		request = 0x541b
	}
	for asked := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left, err := unix.IoctlGetInt(int(pipe.Fd()), request)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		if time.Since(asked) > hangGuard {
			t.Fatalf("%d octets are not read", left)
		}
	}
}

// talk returns a capture with probes of a connection, one a minute.
func talk(t *testing.T, probes string) []byte {
	t.Helper()
	s, err := dialogue.Parse("0 C > S SYN seq 99\n+1ms S > C SYN,ACK seq 899 ack 100\n+1ms C > S ACK seq 100 ack 900\n+1m C > S ACK seq 99 ack 900 x " + probes)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.WritePcap(&b, ""); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// outcome waits for the end of c, and fails where that takes too long.
func outcome(t *testing.T, c *exec.Cmd) *os.ProcessState {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
	case <-time.After(hangGuard):
		c.Process.Kill()
		t.Fatalf("%s: still running after %v", c, hangGuard)
	}
	return c.ProcessState
}

func TestInterruptedOnAQuietPipe(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		var out bytes.Buffer
		c, in := start(t, &out, "frames", "-")
		if _, err := in.Write(talk(t, "3")); err != nil {
			t.Fatal(err)
		}
		drained(t, in)
		time.Sleep(1500 * time.Millisecond) // it is worked on; nothing more comes, and the pipe stays open
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, c).ExitCode(); got != want {
			t.Errorf("%v: exit status %d, want %d", signal, got, want)
		}
		if n := strings.Count(out.String(), "keepalive-probe"); n != 3 {
			t.Errorf("%v: %d probes reported of the 3 that came:\n%s", signal, n, out.String())
		}
	}
}

func TestWatchInterruptedWritesItsReport(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		path := filepath.Join(t.TempDir(), "night.txt")
		begun := newFirstWord()
		c, in := start(t, begun, "watch", "-r", "-", "--report", path)
		if _, err := in.Write(talk(t, "3")); err != nil {
			t.Fatal(err)
		}
		begun.wait(t)
		time.Sleep(300 * time.Millisecond) // nothing more comes, and the pipe stays open
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, c).ExitCode(); got != want {
			t.Errorf("%v: exit status %d, want %d", signal, got, want)
		}
		if report, err := os.ReadFile(path); err != nil || !strings.Contains(string(report), "UNDECIDED") {
			t.Errorf("%v: the report: %v\n%s", signal, err, report)
		}
	}
}

// A signal in the middle of a stream that does not stop ends it as well.
func TestWatchInterruptedInAStream(t *testing.T) {
	capture := talk(t, "5000")
	const record = 16 + 54
	if (len(capture)-24)%record != 0 {
		t.Fatalf("%d octets are no file of records of %d", len(capture), record)
	}
	more := bytes.Repeat(capture[len(capture)-record:], 10_000) // so that it is busy when the signal comes
	for i := range 8 {
		path := filepath.Join(t.TempDir(), "night.txt")
		begun := newFirstWord()
		c, in := start(t, begun, "watch", "-r", "-", "--report", path)
		go func() {
			_, _ = in.Write(capture) // it ends with the reader
			for err := error(nil); err == nil; {
				_, err = in.Write(more)
			}
		}()
		begun.wait(t)
		time.Sleep(time.Duration(20*i) * time.Millisecond)
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, c).ExitCode(); got != 143 {
			t.Errorf("exit status %d, want 143", got)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestClosedStdoutEndsByPipeSignal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.pcap")
	if err := os.WriteFile(path, talk(t, "20000"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, w, "frames", path)
	w.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	status, _ := outcome(t, c).Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("ended with %v, want SIGPIPE", status)
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here: writing to a full disk is not tested")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c, in := start(t, full, "frames", "-")
	if _, err := in.Write(talk(t, "3")); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if got := outcome(t, c).ExitCode(); got != statusOutput {
		t.Errorf("exit status %d, want %d", got, statusOutput)
	}
}

// A pipe, or a device, that -o names is written into; --force does not make a
// file of it.
func TestOutputIntoWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, capture := filepath.Join(dir, "pipe"), filepath.Join(dir, "talk.pcap")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	if err := os.WriteFile(capture, talk(t, "3"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		got, err := os.ReadFile(pipe)
		if err != nil {
			got = []byte(err.Error())
		}
		read <- string(got)
	}()
	if status := run([]string{"frames", "--summary", "--force", "-o", pipe, capture}, nil, io.Discard, io.Discard); status != statusDone {
		t.Fatalf("exit status %d", status)
	}
	if got := <-read; !strings.Contains(got, "talk.pcap") {
		t.Errorf("read from the pipe: %q", got)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe became %v, %v", info, err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		return
	}
	if status := run([]string{"frames", "--force", "-o", "/dev/full", capture}, nil, io.Discard, io.Discard); status != statusOutput {
		t.Errorf("on a full disk the exit status is %d, want %d", status, statusOutput)
	}
}
