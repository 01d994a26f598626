package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// meddlings are the scenarios in which a device between does something else
// than forget, or an end comes back as somebody else.
func meddlings() []Scenario {
	return []Scenario{
		{
			Name:   "ssh-nat-rebind",
			Doc:    "A source NAT loses its table during the silence and gives the client's next probe another port. The server knows no such connection and resets it.",
			Look:   "In the server's capture the session's sequence numbers go on from another port of the router's address, and are answered with a RST.",
			Stored: true, timers: Timers{Idle: 6 * time.Second, Interval: time.Second, Count: 5}, draw: drawDeath, play: natRebind,
		},
		{
			Name:   "half-open-same-port",
			Doc:    "The client's host loses its socket without a word and opens a new connection from the same port, while the server holds the old one.",
			Look:   "A SYN amid the old connection is answered by an ACK of the old numbers, that by a RST, and the SYN sent again succeeds.",
			timers: Timers{}, draw: drawNothing, play: halfOpenSamePort,
		},
		{
			Name:   "half-open-one-login",
			Doc:    "A server that allows one session holds that of a client which has rebooted. New sessions are accepted and closed at once.",
			Look:   "The old connection is silent. Each new one is closed by the server right after the handshake, and the old one is reset when the server asks.",
			Stored: true, timers: Timers{Idle: 9 * time.Second, Interval: time.Second, Count: 5}, draw: drawSlow, play: halfOpenOneLogin,
		},
		{
			Name:   "ssh-proxy-answer",
			Doc:    "Something between the hosts swallows the client's probes and answers them in the server's name; the server's kernel never sees one.",
			Look:   "Probes and answers in the client's capture, neither in the server's. The answers do not carry the server's timestamps.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 5}, draw: drawLife, play: proxyAnswersProbes,
		},
		{
			Name:   "mtu-black-hole",
			Doc:    "From some moment on the router drops what is larger than 1300 octets, and tells nobody. Small requests pass, a large one never arrives.",
			Look:   "The full-sized segments are repeated and are in the client's capture only; a shorter one behind them crosses and is acknowledged by SACK.",
			Stored: true, timers: Timers{}, draw: drawNothing, play: mtuBlackHole,
		},
		{
			Name:   "firewall-relearns",
			Doc:    "A firewall forgets two idle connections. It takes up again what the inside sends in mid-connection, and drops what comes from outside: the one that the client probes lives, the one that only the server probes dies.",
			Look:   "The client's probes are answered after silences longer than the firewall's timer; the server's probes of the other connection are in its own capture only.",
			Stored: true, timers: Timers{Idle: 7 * time.Second, Interval: time.Second, Count: 4, State: 4 * time.Second, Peer: Probing{7 * time.Second, time.Second, 4}}, draw: drawRelearning, play: relearns,
		},
		{
			Name:   "ssh-client-hung",
			Doc:    "The client's ssh is stopped (SIGSTOP) during a session with ClientAlive. Its kernel acknowledges the server's requests, nobody answers, and sshd gives up.",
			Look:   "The last requests of the server are followed by empty acknowledgments alone, then by its FIN.",
			timers: Timers{ClientAlive: Alive{2 * time.Second, 2}}, play: clientHangs,
		},
	}
}

func natRebind(s *stage) error {
	if err := s.router.feed(`
table inet lab {
	counter dropped { }
}
table ip translate {
	chain out {
		type nat hook postrouting priority 100; policy accept;
		oifname "rs" meta l4proto tcp snat to `+routerOutside.String()+`:20000-59999 fully-random
	}
}
`, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := s.router.sysctl("net.netfilter.nf_conntrack_tcp_loose=1"); err != nil {
		return err
	}
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	if err := s.router.run("conntrack", "-F"); err != nil {
		return err
	}
	s.note("the translator's table is flushed")
	s.tell(x.flow("the translator gave it another port", Expect{Verdict: "nat-rebind", Confidence: "proven"}))
	return x.waitDeath(s.time.patience())
}

// forgetSocket destroys the client's socket of a pipe as a reboot does, without
// a packet leaving.
func (s *stage) forgetSocket(p *pipe) error {
	if err := s.client.feed(`
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
	if err := s.client.run("ss", "-K", "-Htn", "state", "established", "sport", "=", fmt.Sprintf(":%d", p.local.Port())); err != nil {
		return err
	}
	_ = p.client.Close() // its socket is gone already; the port is free now
	if err := s.sleep(settled); err != nil {
		return err
	}
	if err := s.count(-1); err != nil {
		return err
	}
	s.note("the client has lost its socket")
	return s.client.run("nft", "delete", "table", "inet", "dark")
}

// used is a pipe in which a request was made, and that has been silent since.
func (s *stage) used() (*pipe, error) {
	p, err := s.connect(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
		return nil, err
	}
	return p, s.sleep(3 * time.Second)
}

func halfOpenSamePort(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.used()
	if err != nil {
		return err
	}
	if err := s.forgetSocket(p); err != nil {
		return err
	}
	l, err := s.server.listen(netip.AddrPortFrom(serverAddr, servicePort), 0)
	if err != nil {
		return err
	}
	s.later(func() { l.Close() })
	s.tell(p.flow("the client rebooted and came back from the same port", Expect{Verdict: "half-open", Confidence: "proven"}))
	again, _, err := s.client.dialFrom(p.local, netip.AddrPortFrom(serverAddr, servicePort), 5*time.Second)
	if err != nil {
		return fmt.Errorf("the client's second connection: %w", err)
	}
	s.later(func() { again.Close() })
	s.note("the client is back")
	if _, err := again.Write([]byte("a request\r\n")); err != nil {
		return err
	}
	return s.sleep(2 * time.Second)
}

func halfOpenOneLogin(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.used()
	if err != nil {
		return err
	}
	if err := s.probe(AtServer, p.server); err != nil {
		return err
	}
	if err := s.forgetSocket(p); err != nil {
		return err
	}
	at := netip.AddrPortFrom(serverAddr, servicePort)
	l, err := s.server.listen(at, 0)
	if err != nil {
		return err
	}
	s.later(func() { l.Close() })
	go func() {
		for {
			extra, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			_ = extra.Close() // one session is all it allows
		}
	}()
	s.tell(p.flow("the client rebooted, the server did not notice", Expect{Verdict: "half-open"}))
	for range 2 {
		conn, local, err := s.client.dial(at, 5*time.Second)
		if err != nil {
			return err
		}
		s.tell(Flow{local.String(), at.String(), "", "accepted and closed at once, as the old session is still held", Expect{}})
		if err := s.sleep(settled); err != nil {
			return err
		}
		_ = conn.Close()
		if err := s.sleep(time.Second); err != nil {
			return err
		}
	}
	return s.sleep(s.time.Idle + time.Second) // the server asks, and learns
}

func proxyAnswersProbes(s *stage) error {
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	s.tell(x.flow("a device answered its probes", Expect{Verdict: "proxy-answer"}))
	s.note("a device answers the client's probes from now on")
	next := map[flowKey]uint32{}
	s.relay.dropTCP(func(f *Frame) bool {
		if f.Src.Addr() != clientAddr || f.Len > 0 || f.Flags != FlagACK {
			if f.Src.Addr() == clientAddr {
				next[f.flow()] = f.next()
			}
			return false
		}
		known, ok := next[f.flow()]
		if ok && f.Seq+1 != known || !ok && f.Src.Port() != x.local.Port() {
			return false
		}
		if answer := answerTo(f); answer != nil {
			_, _ = s.relay.ends[0].Write(answer) // what the device cannot send is lost
		}
		return true
	})
	if err := s.sleep(9*s.time.Idle + s.time.Idle/2); err != nil {
		return err
	}
	s.note("a ping")
	if err := s.client.ping(serverAddr); err != nil { // shows that the server's capture still records
		return err
	}
	return s.sleep(settled)
}

// answerTo makes the frame with which a device answers a probe in the name of
// its receiver: numbers as they should be, no options.
func answerTo(probe *Frame) []byte {
	const ipAt, tcpLen, ipLen = etherHeader, 20, 20
	if len(probe.Data) < ipAt+ipLen+tcpLen || probe.Data[ipAt] != 0x45 {
		return nil
	}
	out := make([]byte, etherHeader+ipLen+tcpLen)
	copy(out[0:6], probe.Data[6:12])
	copy(out[6:12], probe.Data[0:6])
	copy(out[12:14], probe.Data[12:14])
	ip, be := out[ipAt:], binary.BigEndian
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	be.PutUint16(ip[2:], ipLen+tcpLen)
	copy(ip[12:16], probe.Data[ipAt+16:ipAt+20])
	copy(ip[16:20], probe.Data[ipAt+12:ipAt+16])
	be.PutUint16(ip[10:], inetSum(ip[:ipLen], 0))
	t := ip[ipLen:]
	be.PutUint16(t[0:], probe.Dst.Port())
	be.PutUint16(t[2:], probe.Src.Port())
	be.PutUint32(t[4:], probe.Ack)
	be.PutUint32(t[8:], probe.Seq+1)
	t[12], t[13] = tcpLen/4<<4, FlagACK
	be.PutUint16(t[14:], 8192)
	pseudo := append(append([]byte(nil), ip[12:20]...), 0, unix.IPPROTO_TCP, 0, tcpLen)
	be.PutUint16(t[16:], inetSum(append(pseudo, t[:tcpLen]...), 0))
	return out
}

// inetSum is the Internet checksum (RFC 1071).
func inetSum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func mtuBlackHole(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := p.client.Write([]byte("a small request\r\n")); err != nil {
			return err
		}
		if err := s.sleep(settled); err != nil {
			return err
		}
	}
	s.tell(p.flow("its large segments were dropped", Expect{Verdict: "mtu-black-hole"}))
	if err := s.cut("meta length > 1300", "the router drops what is larger than 1300 octets"); err != nil {
		return err
	}
	if _, err := p.client.Write(make([]byte, 5000)); err != nil {
		return err
	}
	return s.sleep(5500 * time.Millisecond) // between two repetitions
}

func clientHangs(s *stage) error {
	x, err := beatingSession(s)
	if err != nil {
		return err
	}
	s.tell(x.flow("the client's ssh was stopped, its kernel went on", Expect{Verdict: "app-hung"}))
	if err := unix.Kill(-x.proc.Process.Pid, unix.SIGSTOP); err != nil {
		return err
	}
	s.later(func() { _ = unix.Kill(-x.proc.Process.Pid, unix.SIGCONT) }) // it may have ended
	s.note("the client's application is stopped")
	// sshd 9.2 asks at every second interval only.
	for end := time.Now().Add(2*s.time.ClientAlive.patience() + 5*time.Second); ; {
		switch n, err := s.established(sshPort); {
		case err != nil || n == 0:
			return errors.Join(err, s.sleep(settled))
		case time.Now().After(end):
			return errors.New("sshd has not given up")
		}
		if err := s.sleep(settled); err != nil {
			return err
		}
	}
}

func relearns(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	if err := errors.Join(
		s.router.sysctl("net.netfilter.nf_conntrack_tcp_loose=1"),
		s.router.run("nft", "insert", "rule", "inet", "lab", "forward", "iifname", "rc", "accept"),
		s.capture(),
	); err != nil {
		return err
	}
	inside, err := s.connect(0)
	if err != nil {
		return err
	}
	outside, err := s.connect(0)
	if err != nil {
		return err
	}
	for _, p := range []*pipe{inside, outside} {
		for range 2 { // a pause that passes either way
			if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
				return err
			}
			if err := s.sleep(1300 * time.Millisecond); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(s.probe(AtClient, inside.client), s.probeWith(AtServer, outside.server, s.time.Peer)); err != nil {
		return err
	}
	s.truth.Path.Died, s.truth.Path.Relearns = "server to client", AtClient
	s.tell(
		inside.flow("the firewall forgot it and learned it anew from the client's probes", Expect{Verdict: "healthy"}),
		outside.flow("the firewall forgot it and dropped the server's probes", Expect{Verdict: "silent-drop", Confidence: "proven", Cause: "idle-expiry"}),
	)
	patient := Timers{Idle: s.time.Peer.Idle, Interval: s.time.Peer.Interval, Count: s.time.Peer.Count}
	return s.sleep(max(3*s.time.Idle, patient.patience()) + 2*time.Second)
}
