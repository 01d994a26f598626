package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ethernet is a frame to everybody, so that no host takes it for its own.
func ethernet(packet []byte) []byte {
	return append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x02\x08\x00"), packet...)
}

// send sends one frame.
func (s *sender) send(frame []byte) bool { return unix.Sendto(s.fd, frame, 0, &s.to) == nil }

// syns sends n SYNs, each of another connection, so many a second.
func (s *sender) syns(n, perSecond int) (sent int) {
	frame := ethernet(segment4(0, 22))
	frame[14+33] = 2 // SYN
	begin := time.Now()
	for i := range n {
		binary.BigEndian.PutUint32(frame[26:], 10<<24|uint32(i>>6))
		binary.BigEndian.PutUint16(frame[34:], 1024+uint16(i&63))
		binary.BigEndian.PutUint32(frame[38:], uint32(i))
		if s.send(frame) {
			sent++
		}
		if i%100 == 0 {
			if ahead := time.Duration(i)*time.Second/time.Duration(perSecond) - time.Since(begin); ahead > 0 {
				time.Sleep(ahead)
			}
		}
	}
	return sent
}

// A burst that finds the ring full is counted: what was read and what was
// dropped is what was sent, to the packet. Of a probe whose answer was dropped
// nothing is told; of one that is unanswered after that, it is.
func TestBurstsAreCountedExactly(t *testing.T) {
	burst := 400_000
	f := newFar(t)
	for _, where := range []func(string){f.here, f.there} {
		where("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
	}
	report := filepath.Join(open(t), "report.json")
	watch, from := events(t, "watch", "-i", "c0", "--json", "--no-segments", "--report", report)
	capturing(t, watch.Process.Pid)
	s := f.sender()
	sent := 0
	// A connection by hand, 192.0.2.1:200 to 198.51.100.2:22: it is open, and its
	// client probes.
	segment := func(server bool, flags byte, seq, ack uint32) {
		p := segment4(200, 22)
		if server {
			p = segment4(22, 200)
			copy(p[12:], "\xc6\x33\x64\x02\xc0\x00\x02\x01")
		}
		p[33] = flags
		binary.BigEndian.PutUint32(p[24:], seq)
		binary.BigEndian.PutUint32(p[28:], ack)
		p[34], p[35] = 1, 0 // window
		if s.send(ethernet(p)) {
			sent++
		}
	}
	const syn, ack = 2, 16
	segment(false, syn, 99, 0)
	segment(true, syn|ack, 899, 100)
	segment(false, ack, 100, 900)
	time.Sleep(1200 * time.Millisecond)
	segment(false, ack, 99, 900) // answered
	segment(true, ack, 900, 100)
	var all []told
	await(t, from, &all, "the connection is seen", func(ev told) bool { return ev.Event == "seen" })
	time.Sleep(1200 * time.Millisecond)
	if err := watch.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	segment(false, ack, 99, 900) // lies in the ring
	sent += s.flood(burst, 0)
	segment(true, ack, 900, 100) // its answer, dropped
	time.Sleep(time.Second)
	if err := watch.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, from, &all, "the drops are told", func(ev told) bool { return ev.Event == "not-observed" })
	time.Sleep(3 * time.Second) // as long as an answer is waited for
	resumed := time.Now()
	segment(false, ack, 99, 900) // unanswered, and so is the next
	time.Sleep(1200 * time.Millisecond)
	segment(false, ack, 99, 900)
	isProbe := func(ev told) bool {
		return strings.HasPrefix(ev.Client, "192.0.2.1:200") && ev.Event != "seen"
	}
	await(t, from, &all, "the unanswered probe is told", isProbe)
	if ev := all[len(all)-1]; ev.Event != "probe-lost" || ev.At.Before(resumed.Add(-100*time.Millisecond)) {
		t.Errorf("told %+v of what was not recorded; recording went on at %v", ev, resumed)
	}
	if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, watch).ExitCode(); got != 143 {
		t.Errorf("exit status %d, want 143", got)
	}
	for _, ev := range all {
		if ev.Event == "died" {
			t.Errorf("told %+v", ev)
		}
	}
	got := counted(t, report)
	t.Logf("%d sent: %d read and %d dropped", sent, got.Frames, got.Drops)
	if got.Drops == 0 || got.Frames+got.Drops != sent {
		t.Errorf("%d frames and %d drops, but %d were sent", got.Frames, got.Drops, sent)
	}
}

// A flood of SYNs from everywhere on a live interface leaves fifty connections
// of real sockets their verdicts, and takes bounded memory. (SOAK=long: a million
// within 400 MiB.)
func TestSoakFloodLive(t *testing.T) {
	tuples, rate, most := 150_000, 50_000, 320 // the race detector takes its part
	if os.Getenv("SOAK") == "long" {
		tuples, rate, most = 1_100_000, 100_000, 400
	}
	const steady, port = 50, 7001
	f := newFar(t)
	for _, where := range []func(string){f.here, f.there} {
		where("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
	}
	dir := open(t)
	report := filepath.Join(dir, "report.json")
	watch, from := events(t, "watch", "-i", "c0", "--json", "--no-segments", "--report", report)
	capturing(t, watch.Process.Pid)
	f.listen(port)
	clients := map[string]bool{}
	for range steady {
		clients[f.dial(port).LocalAddr().String()] = true
	}
	time.Sleep(2500 * time.Millisecond) // two probes of each
	bad := make(chan told, 1000)
	go func() {
		for ev := range from {
			if ev.Event != "seen" {
				select {
				case bad <- ev:
				default:
				}
			}
		}
		close(bad)
	}()
	sent := f.sender().syns(tuples, rate)
	time.Sleep(3 * time.Second)
	peak := status(t, watch.Process.Pid, "VmHWM")
	begun := time.Now()
	if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, watch).ExitCode(); got != 143 && got != statusLimit {
		t.Errorf("exit status %d, want 143", got)
	}
	took := time.Since(begun)
	for ev := range bad {
		if ev.Event != "not-observed" {
			t.Errorf("told %+v", ev)
		}
	}
	got := counted(t, report)
	t.Logf("%d SYNs at %d a second: peak %d MiB, %d frames and %d drops; ended after %v", sent, rate, peak>>10, got.Frames, got.Drops, took.Round(time.Millisecond))
	if peak>>10 > most {
		t.Errorf("peak %d MiB, more than %d", peak>>10, most)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Totals struct {
			ByVerdict map[string]int `json:"by_verdict"`
		}
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if n := doc.Totals.ByVerdict["healthy"]; n != steady && got.Drops == 0 {
		t.Errorf("%d connections are healthy, want %d: %v", n, steady, doc.Totals.ByVerdict)
	}
	if n := doc.Totals.ByVerdict["not-established"]; n == 0 {
		t.Errorf("no SYN is in the report: %v", doc.Totals.ByVerdict)
	}
}

// status returns a number of /proc/PID/status.
func status(t *testing.T, pid int, key string) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}
