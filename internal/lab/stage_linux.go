package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses of the lab.
var (
	clientAddr = netip.MustParseAddr("10.1.1.1")
	serverAddr = netip.MustParseAddr("10.2.2.2")
)

const settled = 400 * time.Millisecond // after which nothing is on its way any more

// patience is how long a dying connection needs from its last packet on.
func (t Timers) patience() time.Duration {
	return t.Idle*9/8 + time.Duration(t.Count+1)*t.Interval*9/8 + time.Second
}

// A stage is the scenery of one run.
type stage struct {
	ctx  context.Context
	dir  string
	tmp  string // keys and configuration of sshd
	time Timers

	client, router, wireNS, server *netns
	relay                          *relay
	taps                           map[string]*tap
	sshd                           *exec.Cmd      // that listens
	service                        netip.AddrPort // where the client finds sshd
	serverAt                       netip.Addr     // where it listens
	more                           []tapPoint     // captures besides those of the four interfaces
	cleanups                       []func()
	ends                           sync.Mutex // of cleanups, where goroutines add to them
	truth                          *Truth

	typed, idleSince time.Time    // where stretching puts silence in
	afterwards       func() error // what is done to the captures before they are checked; nil nothing
	stateful         bool
	lastHop          bool // the router may find nobody to deliver to
}

// newStage builds the namespaces, links, addresses and the relay.
func newStage(ctx context.Context, dir string, timers Timers, truth *Truth) (*stage, error) {
	removeStale()
	s := &stage{ctx: ctx, dir: dir, time: timers, truth: truth, taps: map[string]*tap{}, service: netip.AddrPortFrom(serverAddr, sshPort), serverAt: serverAddr}
	if err := s.build(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// later registers what close does, last first.
func (s *stage) later(f func()) { s.cleanups = append(s.cleanups, f) }

// close takes everything down again.
func (s *stage) close() {
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	s.cleanups = nil
}

func (s *stage) build() error {
	tmp, err := tempDir()
	if err != nil {
		return err
	}
	s.tmp = tmp
	s.later(func() { os.RemoveAll(tmp) })
	run := runs.Add(1)
	for _, place := range []struct {
		ns   **netns
		role string
	}{{&s.client, "client"}, {&s.router, "router"}, {&s.wireNS, "wire"}, {&s.server, "server"}} {
		n, err := newNetns(run, place.role)
		if err != nil {
			return err
		}
		*place.ns = n
		s.later(func() { _ = n.remove() }) // removeStale of a later process tries again
	}
	if err := s.link(); err != nil {
		return err
	}
	s.relay, err = newRelay(s.wireNS, "wc", "wd", oneWayDelay)
	if err != nil {
		return err
	}
	s.later(s.relay.close)
	s.truth.Path.RoundTrip = (2 * oneWayDelay).Seconds()
	s.truth.Ends[AtClient] = End{Address: clientAddr.String()}
	s.truth.Ends[AtServer] = End{Address: serverAddr.String()}
	return nil
}

// link joins client, router and server: c0 - rc, rs - wc [relay] wd - s0.
func (s *stage) link() error {
	for _, n := range []*netns{s.client, s.router, s.wireNS, s.server} {
		if err := n.sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"); err != nil {
			return err
		}
	}
	for _, pair := range []struct {
		a, b       *netns
		devA, devB string
	}{{s.client, s.router, "c0", "rc"}, {s.router, s.wireNS, "rs", "wc"}, {s.wireNS, s.server, "wd", "s0"}} {
		if err := command("ip", "link", "add", pair.devA, "netns", pair.a.name, "type", "veth",
			"peer", "name", pair.devB, "netns", pair.b.name).run(); err != nil {
			return err
		}
		// Offloads leave unfinished checksums, which the relay would carry on.
		for _, end := range []struct {
			n   *netns
			dev string
		}{{pair.a, pair.devA}, {pair.b, pair.devB}} {
			if err := end.n.run("ethtool", "-K", end.dev, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"); err != nil {
				return err
			}
		}
	}
	for _, ns := range []struct {
		n     *netns
		batch string
	}{
		{s.client, "link set lo up\nlink set c0 up\naddress add 10.1.1.1/24 dev c0\nroute add default via 10.1.1.254\n"},
		{s.router, "link set rc up\nlink set rs up\naddress add 10.1.1.254/24 dev rc\naddress add 10.2.2.254/24 dev rs\n"},
		{s.wireNS, "link set wc up\nlink set wd up\n"},
		{s.server, "link set lo up\nlink set s0 up\naddress add 10.2.2.2/24 dev s0\nroute add default via 10.2.2.254\n"},
	} {
		if err := ns.n.feed(ns.batch, "ip", "-batch", "-"); err != nil {
			return err
		}
	}
	return s.router.sysctl("net.ipv4.ip_forward=1")
}

// keepalive sets an end's policy, and notes it. It holds for sockets whose
// program asks for keepalives and sets no times of its own.
func (s *stage) keepalive(at string) error {
	n := s.client
	if at == AtServer {
		n = s.server
	}
	t := s.time
	end := s.truth.Ends[at]
	end.Keepalive = Keepalive{Idle: t.Idle.Seconds(), Interval: t.Interval.Seconds(), Count: t.Count}
	s.truth.Ends[at] = end
	return n.sysctl(
		fmt.Sprintf("net.ipv4.tcp_keepalive_time=%d", t.Idle/time.Second),
		fmt.Sprintf("net.ipv4.tcp_keepalive_intvl=%d", t.Interval/time.Second),
		fmt.Sprintf("net.ipv4.tcp_keepalive_probes=%d", t.Count),
	)
}

// firewall makes the router stateful: connections are let through when they
// begin with a SYN and as long as conntrack knows them; the rest is dropped
// without a word.
func (s *stage) firewall() error {
	s.stateful = true
	s.truth.Path.StateTimeout = s.time.State.Seconds()
	if err := s.router.feed(`
table inet lab {
	counter dropped { }
	chain forward {
		type filter hook forward priority 0; policy accept;
		ct state established,related accept
		tcp flags & (fin|syn|rst|ack) == syn ct state new accept
		meta l4proto tcp counter name dropped drop
	}
}
`, "nft", "-f", "-"); err != nil {
		return err
	}
	return s.router.sysctl(
		"net.netfilter.nf_conntrack_tcp_loose=0", // else a probe in mid-stream makes a new entry
		fmt.Sprintf("net.netfilter.nf_conntrack_tcp_timeout_established=%d", s.time.State/time.Second),
	)
}

// plainRouter gives the router a chain that drops nothing yet.
func (s *stage) plainRouter() error {
	return s.router.feed(`
table inet lab {
	counter dropped { }
	chain early {
		type filter hook prerouting priority -400; policy accept;
	}
}
`, "nft", "-f", "-")
}

// cut adds a drop rule to a plain router: match says what to, "" everything.
func (s *stage) cut(match, what string) error {
	rule := strings.Fields("add rule inet lab early " + match)
	if match == "" {
		// Whatever else is lost too, the counter counts TCP.
		if err := s.router.run("nft", strings.Fields("add rule inet lab early meta l4proto tcp counter name dropped drop")...); err != nil {
			return err
		}
		rule = append(rule, "drop")
	} else {
		rule = append(rule, strings.Fields("meta l4proto tcp counter name dropped drop")...)
	}
	err := s.router.run("nft", rule...)
	s.note(what)
	return err
}

var packets = regexp.MustCompile(`packets (\d+)`)

// dropped returns how many TCP packets the router's rules and the relay lost.
func (s *stage) dropped() (int, error) {
	n, err := s.undelivered()
	if err != nil {
		return n, err
	}
	n += int(s.relay.dropped.Load()) + s.truth.Path.Unheard
	inRouter, err := s.router.droppedHere()
	return n + inRouter, err
}

// droppedHere returns what the counter of that name has counted in a namespace.
func (n *netns) droppedHere() (int, error) {
	text, err := n.output("nft", "list", "counters")
	if m := packets.FindStringSubmatch(text); m != nil && err == nil {
		return strconv.Atoi(m[1])
	}
	return 0, err
}

// note adds a moment to the truth.
func (s *stage) note(what string) {
	s.truth.Moments = append(s.truth.Moments, Moment{time.Now().UTC(), what})
}

// sleep waits, or less when the run is called off.
func (s *stage) sleep(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A tap is a running tcpdump.
type tap struct {
	proc *exec.Cmd
	path string
}

// tapPoint is where a tcpdump runs.
type tapPoint struct {
	at  string
	n   *netns
	dev string
}

// capture starts tcpdump at every interface, and the period that the kernel
// counters are read for.
func (s *stage) capture() error {
	for _, point := range append([]tapPoint{
		{AtClient, s.client, "c0"},
		{AtRouterClient, s.router, "rc"},
		{AtRouterServer, s.router, "rs"},
		{AtServer, s.server, "s0"},
	}, s.more...) {
		path := filepath.Join(s.dir, point.at+".pcap")
		c := exec.Command("tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-s", strconv.Itoa(snapLength), "-w", path, "-i", point.dev)
		if err := point.n.do(c.Start); err != nil {
			return fmt.Errorf("start tcpdump at %s: %w", point.dev, err)
		}
		s.taps[point.at] = &tap{c, path}
	}
	s.later(func() { _ = s.endTaps() }) // ends those of an abandoned run
	for _, t := range s.taps {
		if err := s.until("tcpdump writes "+t.path, func() bool {
			info, err := os.Stat(t.path)
			return err == nil && info.Size() >= pcapHeader
		}); err != nil {
			return err
		}
	}
	return s.startCounting()
}

// startCounting remembers what the kernels have counted so far, as negative
// numbers.
func (s *stage) startCounting() error {
	s.truth.CountersSince = time.Now().UTC()
	return s.count(-1)
}

// count adds the kernels' counters, times sign, to the truth.
func (s *stage) count(sign int) error {
	for _, e := range []struct {
		at string
		n  *netns
	}{{AtClient, s.client}, {AtServer, s.server}} {
		c, err := e.n.counters()
		if err != nil {
			return err
		}
		end := s.truth.Ends[e.at]
		end.Counters.add(c, sign)
		s.truth.Ends[e.at] = end
	}
	return nil
}

// finish reads the counters and ends the captures at a moment when nothing has
// been sent for a while, so that whole files can be held against the counters.
func (s *stage) finish() error {
	if err := s.awaitQuiet(); err != nil {
		return err
	}
	s.truth.CountersAt = time.Now().UTC()
	if err := errors.Join(s.endTaps(), s.count(+1)); err != nil {
		return err
	}
	var err error
	s.truth.Path.Dropped, err = s.dropped()
	return err
}

// awaitQuiet waits until neither end has sent anything for as long as packets
// are on their way.
func (s *stage) awaitQuiet() error {
	for range 20 {
		before, err := s.sent()
		if err != nil {
			return err
		}
		if err := s.sleep(settled); err != nil {
			return err
		}
		after, err := s.sent()
		if err != nil || after == before {
			return err
		}
	}
	return errors.New("the ends do not fall quiet")
}

// sent returns how many segments both ends have sent.
func (s *stage) sent() (int, error) {
	client, errClient := s.client.counters()
	server, errServer := s.server.counters()
	return client.OutSegs + client.Retransmissions + client.OutRsts + server.OutSegs + server.Retransmissions + server.OutRsts,
		errors.Join(errClient, errServer)
}

// endTaps ends the tcpdumps, all at one moment, and waits until they have written
// all.
func (s *stage) endTaps() error {
	var errs []error
	for _, t := range s.taps {
		_ = t.proc.Process.Signal(syscall.SIGTERM) // not SIGINT, which may be ignored where tests run in the background
	}
	for at, t := range s.taps {
		if err := waitOrKill(t.proc, time.Minute); err != nil {
			errs = append(errs, fmt.Errorf("tcpdump at %s: %w", at, err))
		}
		delete(s.taps, at)
	}
	return errors.Join(errs...)
}

// waitOrKill waits for a process, and kills it after patience.
func waitOrKill(c *exec.Cmd, patience time.Duration) error {
	timer := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	return c.Wait()
}

// until polls for something that takes moments to come about.
func (s *stage) until(what string, ready func() bool) error {
	deadline := time.Now().Add(time.Minute)
	for !ready() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain until %s", what)
		}
		if err := s.sleep(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// systems says what the captures were made with.
func systems() []string {
	var u unix.Utsname
	_ = unix.Uname(&u) // an empty name is told as such
	out := []string{"Linux " + unix.ByteSliceToString(u.Release[:])}
	for _, c := range []*exec.Cmd{exec.Command("ssh", "-V"), exec.Command("tcpdump", "--version"), exec.Command("nft", "--version")} {
		text, _ := c.CombinedOutput() // a missing program is told by Missing
		line, _, _ := strings.Cut(string(text), "\n")
		out = append(out, line)
	}
	return out
}

// tools are the programs that a lab needs.
var tools = []string{"ip", "nft", "conntrack", "ethtool", "tcpdump", "ss", "ssh", "sshd", "ssh-keygen"}

// Missing says what this machine lacks for a lab, "" where all is there.
func Missing() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "no " + tool
		}
	}
	removeStale()
	n, err := newNetns(runs.Add(1), "try")
	if err != nil {
		return "no network namespaces: " + err.Error()
	}
	defer func() { _ = n.remove() }()
	if err := n.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"); err != nil {
		return "no veth: " + err.Error()
	}
	if err := n.feed("table inet t { chain c { ct state established accept\n }\n }\n", "nft", "-f", "-"); err != nil {
		return "no nftables with conntrack: " + err.Error()
	}
	if err := n.do(func() error { _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_tcp_loose"); return err }); err != nil {
		return "no conntrack: " + err.Error()
	}
	return ""
}

// kill ends a process and everything in its group.
func kill(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait() // a killed process always fails
}
