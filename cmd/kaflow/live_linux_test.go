package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// far is a network namespace at the other end of a cable, held by a process.
type far struct {
	t   *testing.T
	pid int
}

// newFar joins the test's namespace (c0, 192.0.2.1) with another one (s0,
// 192.0.2.2).
func newFar(t *testing.T) *far {
	t.Helper()
	inNamespace(t)
	f := newNamespace(t)
	f.here("ip link add c0 type veth peer name s0 netns " + fmt.Sprint(f.pid))
	f.here("ip address add 192.0.2.1/24 dev c0")
	f.here("ip link set c0 up")
	f.there("ip address add 192.0.2.2/24 dev s0")
	f.there("ip link set s0 up")
	return f
}

// newNamespace makes a network namespace, held by a process of its own.
func newNamespace(t *testing.T) *far {
	t.Helper()
	holder := exec.Command("unshare", "-n", "sleep", "600")
	if err := holder.Start(); err != nil {
		t.Skipf("no second namespace: %v", err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	f := &far{t: t, pid: holder.Process.Pid}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second namespace", func() bool {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", f.pid))
		return err == nil && theirs != own
	})
	return f
}

func (f *far) here(line string) {
	f.t.Helper()
	fields := strings.Fields(line)
	if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v %s", line, err, out)
	}
}

func (f *far) there(line string) {
	f.t.Helper()
	f.here(fmt.Sprintf("nsenter -t %d -n %s", f.pid, line))
}

// listen opens a port there; what connects is held.
func (f *far) listen(port int) {
	f.t.Helper()
	f.listenOn(fmt.Sprintf("192.0.2.2:%d", port))
}

// listenOn opens an address there.
func (f *far) listenOn(address string) {
	f.t.Helper()
	opened := make(chan error, 1)
	var l net.Listener
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", f.pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			l, err = net.Listen("tcp4", address)
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Close() })
	go func() {
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			c.Close()
		}
	}()
}

// dial connects from here, with keepalives after a second, each second, three
// in vain.
func (f *far) dial(port int) net.Conn {
	f.t.Helper()
	return f.dialTo(fmt.Sprintf("192.0.2.2:%d", port))
}

func (f *far) dialTo(address string) net.Conn {
	f.t.Helper()
	d := net.Dialer{Timeout: hangGuard, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}}
	c, err := d.Dial("tcp4", address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// told is an event line of kaflow watch, with the time at which it was read.
type told struct {
	Event, Client, Server, Says string
	At                          time.Time
	Verdict                     *struct{ ID, Confidence string }
	read                        time.Time
}

// events reads a watch's lines as they come.
func events(t *testing.T, args ...string) (*exec.Cmd, <-chan told) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, w, args...)
	w.Close()
	out := make(chan told, 10_000)
	go func() {
		defer close(out)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			ev := told{read: time.Now()}
			if json.Unmarshal(lines.Bytes(), &ev) == nil {
				out <- ev
			}
		}
	}()
	return c, out
}

// await collects events until one fits.
func await(t *testing.T, from <-chan told, all *[]told, what string, fits func(told) bool) {
	t.Helper()
	limit := time.After(hangGuard)
	for {
		select {
		case ev, open := <-from:
			if !open {
				t.Fatalf("%s: the watch ended after %+v", what, *all)
			}
			if *all = append(*all, ev); fits(ev) {
				return
			}
		case <-limit:
			t.Fatalf("%s: not within %v; the newest of %d: %+v", what, hangGuard, len(*all), (*all)[max(0, len(*all)-5):])
		}
	}
}

// Twenty connections of real sockets die under a watch when what they send is
// silently dropped; one beside them lives. Each death is told once, with its
// proof; an interface that goes down and comes back is told of.
func TestDeathsSeenLive(t *testing.T) {
	const dying, living, number = 7001, 7002, 20
	f := newFar(t)
	f.listen(dying)
	f.listen(living)
	dir := open(t)
	report := filepath.Join(dir, "end.json")
	proof := filepath.Join(dir, "proof")
	if err := os.Mkdir(proof, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(proof, 0o777); err != nil {
		t.Fatal(err)
	}
	hook, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var posted atomic.Int32
	receiver := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && strings.Contains(string(body), `"event":"died"`) {
			posted.Add(1)
		}
	})}
	go func() { _ = receiver.Serve(hook) }()
	t.Cleanup(func() { receiver.Close() })
	_, port, _ := net.SplitHostPort(hook.Addr().String())
	watch, from := events(t, "watch", "--webhook", "http://localhost:"+port+"/", "-i", "c0", "--format", "ndjson", "--user", "nobody", "--report", report, "--save", proof, "--path-limit", "1h")
	eventually(t, "capturing", func() bool { // it has given up its rights: the ring is open
		lines := statusLines(t, watch.Process.Pid, "NoNewPrivs")
		for _, line := range lines {
			if line != "NoNewPrivs 1" {
				return false
			}
		}
		return len(lines) > 0
	})
	var all []told
	clients := map[string]bool{}
	for range number {
		clients[f.dial(dying).LocalAddr().String()] = true
		time.Sleep(100 * time.Millisecond) // so that they do not die at once
	}
	control := f.dial(living).LocalAddr().String()
	seen := 0
	await(t, from, &all, "all connections are seen", func(ev told) bool {
		if ev.Event == "seen" {
			seen++
		}
		return seen == number+1
	})
	time.Sleep(2500 * time.Millisecond) // answered keepalives
	f.there("nft add table inet silent")
	f.there("nft add chain inet silent in { type filter hook input priority 0 ; }")
	f.there(fmt.Sprintf("nft add rule inet silent in tcp dport %d drop", dying))
	died := map[string]int{}
	var delays []time.Duration
	await(t, from, &all, "all deaths are told", func(ev told) bool {
		if ev.Event == "died" {
			died[ev.Client]++
			delays = append(delays, ev.read.Sub(ev.At))
			if ev.Verdict == nil || ev.Verdict.ID != "silent-drop" || ev.Verdict.Confidence == "proven" {
				t.Errorf("%s died of %+v; the control shows that the path works, and one end alone proves nothing", ev.Client, ev.Verdict)
			}
		}
		return len(died) == number
	})
	f.here("ip link set c0 down")
	await(t, from, &all, "the interface is down", func(ev told) bool {
		return ev.Event == "not-observed" && ev.Says == "c0 is down; waiting for it"
	})
	f.here("ip link set c0 up")
	back, hole := false, false // packets can come before it is noticed that they may
	await(t, from, &all, "the interface is back, and the hole is told", func(ev told) bool {
		back = back || ev.Event == "not-observed" && ev.Says == "c0 is back"
		hole = hole || ev.Event == "not-observed" && strings.HasPrefix(ev.Says, "not recorded since ")
		return back && hole
	})
	eventually(t, "all deaths are posted", func() bool { return posted.Load() >= number })
	if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, watch).ExitCode(); got != 143 {
		t.Errorf("exit status %d, want 143", got)
	}
	for client := range clients {
		if died[client] != 1 {
			t.Errorf("the death of %s was told %d times", client, died[client])
		}
	}
	if died[control] != 0 || len(died) != number {
		t.Errorf("died: %v; the control is %s", died, control)
	}
	lost := map[string]int{}
	for _, ev := range all {
		if ev.Event == "probe-lost" {
			lost[ev.Client]++
		}
	}
	for client := range clients {
		if lost[client] != 3 {
			t.Errorf("%s lost %d probes, the kernel sent 3 in vain", client, lost[client])
		}
	}
	if n := posted.Load(); n != number { // the name was looked up with no more rights than are left
		t.Errorf("%d deaths were posted, want %d", n, number)
	}
	slices.Sort(delays)
	t.Logf("told after the last packet: median %v, longest %v", delays[len(delays)/2], delays[len(delays)-1])
	checkReport(t, report, clients, control)
	saved, err := filepath.Glob(filepath.Join(proof, "kaflow-*.pcapng"))
	if err != nil || len(saved) != number {
		t.Errorf("%d proofs, want %d: %v", len(saved), number, err)
	}
	for _, file := range saved {
		if got := run([]string{"frames", "--summary", file}, nil, io.Discard, io.Discard); got != statusDone {
			t.Errorf("%s: exit status %d", file, got)
		}
	}
}

// checkReport looks whether the report at the end says what was told.
func checkReport(t *testing.T, path string, clients map[string]bool, control string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Flows []struct {
			Client  string
			Verdict struct{ ID string }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Flows) != len(clients)+1 {
		t.Errorf("%d flows in the report", len(doc.Flows))
	}
	for _, f := range doc.Flows {
		if _, err := netip.ParseAddrPort(f.Client); err != nil {
			t.Error(err)
		}
		if dead := f.Verdict.ID == "silent-drop"; dead != clients[f.Client] || f.Client == control && dead {
			t.Errorf("%s: %s", f.Client, f.Verdict.ID)
		}
	}
}
