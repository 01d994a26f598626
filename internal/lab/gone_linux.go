package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// vanishings are the scenarios in which a host, or what a device knew, is gone
// at one moment.
func vanishings() []Scenario {
	short := Timers{Idle: 4 * time.Second, Interval: time.Second, Count: 7}
	lived := Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 7}
	return []Scenario{
		{
			Name:   "ssh-peer-gone-icmp",
			Doc:    "The server loses its power during the silence: its own capture ends there. The router finds nobody at the last hop and says so by ICMP.",
			Look:   "The server's capture ends in the silence. The client's probes are answered by ICMP host unreachable of the router, seconds later.",
			timers: short, draw: drawDeath, play: peerGoneICMP,
		},
		{
			Name:   "ssh-peer-gone",
			Doc:    "The server's host dies during the silence; the capture beside it goes on. The router asks for its hardware address in vain and says nothing to the client.",
			Look:   "Nothing of the server from some moment on, though probes and ARP requests for it are in the capture beside it.",
			Stored: true, timers: short, draw: drawDeath, play: peerGone,
		},
		{
			Name:   "ssh-peer-rebooted",
			Doc:    "The server's host loses power and boots again: every process and socket is gone without a FIN, and a new sshd listens. The client's probe meets a host that knows no such connection.",
			Look:   "The probe is answered by a RST without ACK, window 0 and options; a fresh login works.",
			timers: Timers{Idle: 7 * time.Second, Interval: time.Second, Count: 5}, draw: drawSlow, play: peerRebooted,
		},
		{
			Name:   "conntrack-flush",
			Doc:    "A stateful firewall loses its whole table (conntrack -F) while three connections of different keepalives live through it; what they send later is dropped. A fresh connection crosses.",
			Look:   "Probes were answered again and again; from one moment on those of all three are in the client's capture only, and a fresh SYN crosses.",
			Stored: true, timers: lived, draw: drawFlush, play: conntrackFlush,
		},
		{
			Name:   "flush-under-load",
			Doc:    "A stateful firewall loses its whole table while three connections are in use. What they send is dropped and sent again; a fresh connection crosses meanwhile.",
			Look:   "Requests and answers up to one moment; from then on the repetitions of all three are at their sender alone, and a fresh SYN crosses between them.",
			timers: Timers{State: 600 * time.Second, Pause: 150 * time.Millisecond}, draw: drawPace, play: flushUnderLoad,
		},
		{
			Name:   "user-timeout",
			Doc:    "A connection with keepalive and TCP_USER_TIMEOUT behind a firewall that forgets it: the kernel gives up by the clock and not by the count.",
			Look:   "Fewer unanswered probes than the count before the client's RST, which comes at the first tick after the user timeout.",
			timers: Timers{Idle: 6 * time.Second, Interval: time.Second, Count: 9, State: 4 * time.Second, Pause: 7500 * time.Millisecond}, draw: drawPatience, play: userTimeout,
		},
	}
}

// endTap ends one capture before the others.
func (s *stage) endTap(at string) error {
	t := s.taps[at]
	delete(s.taps, at)
	_ = t.proc.Process.Signal(unix.SIGINT)
	return waitOrKill(t.proc, time.Minute)
}

// undelivered counts what the router cannot deliver because nobody answers at
// the last hop, as its kernel does: an ICMP error each.
func (s *stage) undelivered() (int, error) {
	if !s.lastHop {
		return 0, nil
	}
	text, err := s.router.output("cat", "/proc/net/snmp")
	values := map[string]int{}
	addCounters(values, text)
	return values["Icmp:OutDestUnreachs"], err
}

// dark makes the server's host deaf and dumb, as one without power is.
func (s *stage) dark() error {
	s.lastHop = true
	err := s.server.feed(`
table netdev dark {
	chain in {
		type filter hook ingress device "s0" priority 0; policy drop;
	}
}
table inet dark {
	chain out {
		type filter hook output priority 0; policy drop;
	}
}
table arp dark {
	chain out {
		type filter hook output priority 0; policy drop;
	}
}
`, "nft", "-f", "-")
	s.note("the server's host is gone")
	return err
}

func peerGoneICMP(s *stage) error {
	s.lastHop = true
	if err := s.router.sysctl("net.ipv4.icmp_ratelimit=0"); err != nil {
		return err
	}
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	s.tell(x.flow("the server's host lost its power during the silence", Expect{Verdict: "peer-gone", Confidence: "proven"}))
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	if err := errors.Join(s.endTap(AtServer), s.server.run("ip", "link", "set", "s0", "down")); err != nil {
		return err
	}
	s.note("the server's host is gone")
	if err := s.router.run("ip", "neigh", "flush", "dev", "rs"); err != nil {
		return err
	}
	if err := x.waitDeath(s.time.patience()); err != nil {
		return err
	}
	return s.sleep(4 * time.Second) // the last packets wait for ARP
}

func peerGone(s *stage) error {
	if err := s.router.sysctl("net.ipv4.icmp_ratelimit=0"); err != nil {
		return err
	}
	if err := s.router.feed(`
table inet lab {
	chain own {
		type filter hook output priority 0; policy accept;
		icmp type destination-unreachable drop
	}
}
`, "nft", "-f", "-"); err != nil {
		return err
	}
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	s.tell(x.flow("the server's host died during the silence", Expect{Verdict: "peer-gone"}))
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	if err := s.dark(); err != nil {
		return err
	}
	if err := s.router.run("ip", "neigh", "flush", "dev", "rs"); err != nil {
		return err
	}
	if err := x.waitDeath(s.time.patience()); err != nil {
		return err
	}
	return s.sleep(4 * time.Second)
}

func peerLostState(s *stage) error {
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	s.tell(x.flow("the server's socket disappeared during the silence", Expect{Verdict: "peer-lost-state", Confidence: "proven"}))
	if err := s.loseSocket(); err != nil {
		return err
	}
	return x.die()
}

// loseSocket destroys the session's socket at the server. The RST that the
// kernel sends on that occasion is filtered before any wire, as a host without
// power sends none, and is not counted.
func (s *stage) loseSocket() error { return s.loseSocketOf(func() error { return nil }) }

// loseSocketOf does so, and something else before anybody can notice.
func (s *stage) loseSocketOf(meanwhile func() error) error {
	if err := s.server.feed(`
table inet dark {
	chain out {
		type filter hook output priority 0; policy accept;
		meta l4proto tcp drop
	}
}
`, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := s.count(+1); err != nil {
		return err
	}
	if err := s.server.run("ss", "-K", "-Htn", "state", "established", "sport", "=", fmt.Sprintf(":%d", sshPort)); err != nil {
		return err
	}
	if err := meanwhile(); err != nil { // a process that dies before its socket would send a FIN again and again
		return err
	}
	if err := s.sleep(settled); err != nil {
		return err
	}
	if err := s.count(-1); err != nil {
		return err
	}
	s.note("the server has lost its socket")
	return s.server.run("nft", "delete", "table", "inet", "dark")
}

func peerRebooted(s *stage) error {
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	s.tell(x.flow("the server's host rebooted during the silence", Expect{Verdict: "peer-lost-state", Confidence: "proven"}))
	if err := s.loseSocketOf(func() error {
		pids, err := descendants(s.sshd.Process.Pid)
		if err != nil {
			return err
		}
		for _, pid := range append(pids, s.sshd.Process.Pid) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.startSSHD(false); err != nil {
		return err
	}
	s.note("the server has booted again")
	if err := x.waitDeath(s.time.patience()); err != nil {
		return err
	}
	local, err := s.readBanner()
	if err != nil {
		return err
	}
	s.tell(Flow{local.String(), netip.AddrPortFrom(serverAddr, sshPort).String(), "ssh",
		"opened after the reboot; read the banner and closed", Expect{Verdict: "closed"}})
	return nil
}

func conntrackFlush(s *stage) error {
	s.time.State = 600 * time.Second // longer than any silence: what dies is not expired
	if err := s.firewall(); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	var pipes []*pipe
	defer func() { runtime.KeepAlive(pipes) }() // what nobody holds is closed
	idles := []time.Duration{s.time.Idle, s.time.Idle + time.Second, s.time.Idle + 2*time.Second}
	for n := range 3 {
		p, err := s.connect(0)
		if err != nil {
			return err
		}
		if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
			return err
		}
		s.truth.Ends[AtClient] = End{Address: clientAddr.String()}
		if err := p.client.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: idles[n], Interval: s.time.Interval, Count: s.time.Count,
		}); err != nil {
			return err
		}
		s.tell(p.flow("the firewall lost its table", Expect{Verdict: "silent-drop", Confidence: "proven", Cause: "state-lost"}))
		pipes = append(pipes, p)
	}
	if err := s.sleep(2*idles[2] + 3*time.Second); err != nil {
		return err
	}
	if err := s.router.run("conntrack", "-F"); err != nil {
		return err
	}
	s.note("the firewall's table is flushed")
	s.truth.Path.Died, s.truth.Path.Control = "both", "crossed"
	s.truth.Path.StateTimeout = 0 // not what killed
	// Each has lost a probe by then, and none has given up.
	if err := s.sleep(idles[2]*9/8 + settled); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	s.tell(p.flow("opened after the flush", Expect{}))
	if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
		return err
	}
	return s.sleep(s.time.patience() + 2*time.Second)
}

// established returns how many connections to a port of the server its kernel
// holds.
func (s *stage) established(port int) (int, error) {
	text, err := s.server.output("ss", "-Htn", "state", "established", "sport", "=", fmt.Sprintf(":%d", port))
	return strings.Count(text, "\n"), err
}
