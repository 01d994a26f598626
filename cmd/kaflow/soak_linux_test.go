package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sender is a packet socket on the far end of the cable.
type sender struct {
	fd int
	to unix.SockaddrLinklayer
}

// sender opens one there.
func (f *far) sender() *sender {
	f.t.Helper()
	type opened struct {
		s   *sender
		err error
	}
	done := make(chan opened, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		s := &sender{fd: -1}
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", f.pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		var device *net.Interface
		if err == nil {
			device, err = net.InterfaceByName("s0")
		}
		if err == nil {
			s.to = unix.SockaddrLinklayer{Ifindex: device.Index}
			s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		}
		if err == nil { // do not queue for tens of thousands of packets
			err = unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
		}
		done <- opened{s, err}
	}()
	o := <-done
	if o.err != nil {
		f.t.Fatal(o.err)
	}
	f.t.Cleanup(func() { unix.Close(o.s.fd) })
	return o.s
}

// flood sends n keepalive probes of many connections and their answers, so many
// a second where that is not 0, and returns how many the kernel took.
func (s *sender) flood(n, perSecond int) (sent int) {
	probe, answer := ethernet(segment4(0, 22)), ethernet(segment4(22, 0))
	copy(answer[14+12:], "\xc6\x33\x64\x02\xc0\x00\x02\x01")
	for i, f := range [][]byte{probe, answer} {
		binary.BigEndian.PutUint32(f[38:], []uint32{99, 900}[i])
		binary.BigEndian.PutUint32(f[42:], []uint32{900, 100}[i])
		f[48] = 1 // window
	}
	begin := time.Now()
	for i := range n {
		c := i / 2 % 1000 // the client's address and port
		frame := probe
		if i%2 == 0 {
			frame[14+15], frame[34], frame[35] = byte(c>>5), 0x80, byte(c)
		} else {
			frame = answer
			frame[14+19], frame[36], frame[37] = byte(c>>5), 0x80, byte(c)
		}
		if s.send(frame) {
			sent++
		}
		if perSecond == 0 || i%100 != 0 {
			continue
		}
		if ahead := time.Duration(i)*time.Second/time.Duration(perSecond) - time.Since(begin); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	return sent
}

// Every packet is either read or counted as dropped, at a steady rate and in a
// burst as fast as this machine sends. (SOAK=long: 100,000 a second for ten
// minutes, or SOAK_SECONDS.)
func TestSoakEveryPacketCounts(t *testing.T) {
	steady, rate, burst := 60_000, 20_000, 100_000
	if os.Getenv("SOAK") == "long" {
		seconds := 600
		if text := os.Getenv("SOAK_SECONDS"); text != "" {
			var err error
			if seconds, err = strconv.Atoi(text); err != nil {
				t.Fatalf("SOAK_SECONDS: %v", err)
			}
		}
		steady, rate, burst = 100_000*seconds, 100_000, 1_000_000
	}
	f := newFar(t)
	for _, where := range []func(string){f.here, f.there} {
		where("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
	}
	report := filepath.Join(open(t), "report.json")
	const metrics = "127.0.0.1:9469"
	watch, _ := start(t, io.Discard, "watch", "-i", "c0", "--json", "--report", report, "--metrics", metrics)
	capturing(t, watch.Process.Pid)
	s := f.sender()
	begin := time.Now()
	sent := s.flood(steady, rate)
	took := time.Since(begin)
	if sent != steady {
		t.Fatalf("%d of %d were sent", sent, steady)
	}
	busy := cpu(t, watch.Process.Pid)
	time.Sleep(3 * time.Second) // until the metrics are brought up to date
	dropped := metric(t, metrics, "kaflow_capture_drops_total")
	if rate == 100_000 && (dropped != 0 || busy > took) {
		t.Errorf("%d packets dropped at %d a second, %v of processor time in %v", dropped, rate, busy, took)
	}
	sent += s.flood(burst, 0)
	if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	if got := outcome(t, watch).ExitCode(); got != 143 {
		t.Errorf("exit status %d, want 143", got)
	}
	t.Logf("%d in %v, %d of them dropped; processor time of the watch %v; then %d at once; ended within %v", steady, took, dropped, busy, burst, time.Since(ended))
	got := counted(t, report)
	t.Logf("%d frames read and %d dropped of %d sent", got.Frames, got.Drops, sent)
	if got.Frames+got.Drops != sent {
		t.Errorf("%d frames and %d drops, but %d were sent", got.Frames, got.Drops, sent)
	}
}

// metric returns a number that a watch in the test's namespace serves.
func metric(t *testing.T, address, name string) (n int) {
	t.Helper()
	c, err := net.Dial("tcp4", address) // by this thread, which is there
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var x float64
			if _, err := fmt.Sscan(rest, &x); err != nil {
				t.Fatal(err)
			}
			return int(x)
		}
	}
	t.Fatalf("no %s in\n%s", name, text)
	return 0
}

// framesOf is what the report of a live capture counts.
type framesOf struct {
	Frames int
	Drops  int `json:",string"`
}

func counted(t *testing.T, report string) framesOf {
	t.Helper()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Captures []struct{ Files []framesOf } }
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Captures) != 1 || len(doc.Captures[0].Files) != 1 {
		t.Fatalf("report: %v", err)
	}
	return doc.Captures[0].Files[0]
}

// capturing waits until a watch has opened its ring and given up its rights.
func capturing(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "capturing", func() bool {
		for _, line := range statusLines(t, pid, "NoNewPrivs") {
			if line != "NoNewPrivs 1" {
				return false
			}
		}
		return true
	})
}

// cpu returns the processor time that a process took so far.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var skip string
	var user, system int64
	fields := []any{&skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system}
	if _, err := fmt.Sscan(string(text), fields...); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
