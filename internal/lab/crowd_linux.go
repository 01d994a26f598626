package lab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	crowdSize   = 1200
	crowdDead   = 12
	crowdAtOnce = 16 // dials under way at the same time
)

// crowds are the scenarios of many connections at a time.
func crowds() []Scenario {
	return []Scenario{{
		Name: "snat-crowd",
		Doc:  fmt.Sprintf("%d connections with client keepalives behind one address of a source NAT. After some seconds the router drops what belongs to %d of them.", crowdSize, crowdDead),
		Look: "In the server's capture all connections come from 10.2.2.254. Those that die have probes and a RST in the client's capture that the server's lacks; the others go on.",

		timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 3}, draw: drawFlush, play: snatCrowd,
	}}
}

func snatCrowd(s *stage) error {
	if err := s.translator(`chain out {
		type nat hook postrouting priority 100; policy accept;
		oifname "rs" meta l4proto tcp snat to ` + routerOutside.String() + `:20000-59999 fully-random
	}`); err != nil {
		return err
	}
	if err := s.router.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established=600"); err != nil {
		return err // longer than any silence: what dies is killed by hand
	}
	if err := s.capture(); err != nil {
		return err
	}
	pipes, err := s.connectMany(crowdSize)
	if err != nil {
		return err
	}
	s.note("all connections are open")
	if err := s.sleep(5 * time.Second); err != nil {
		return err
	}
	if err := s.forget(pipes[:crowdDead]); err != nil {
		return err
	}
	for i, p := range pipes {
		happened, expect := "idle, every probe answered", Expect{Verdict: "healthy"}
		if i < crowdDead {
			happened, expect = "the router dropped it while idle", Expect{Verdict: "silent-drop", Confidence: "proven"}
		}
		s.tell(p.flow(happened, expect))
	}
	if err := s.sleep(s.time.patience()); err != nil {
		return err
	}
	for _, p := range pipes {
		if err := p.client.SetKeepAlive(false); err != nil {
			return err
		}
	}
	return nil
}

// connectMany opens connections whose clients probe, and learns under which
// address the server knows each: the client says its own.
func (s *stage) connectMany(n int) ([]*pipe, error) {
	at := netip.AddrPortFrom(serverAddr, servicePort)
	l, err := s.server.listen(at, 0)
	if err != nil {
		return nil, err
	}
	s.later(func() { l.Close() })
	s.truth.Translated = map[string]string{}
	guests := make(chan guest, n)
	go hear(l, n, guests)
	pipes, errs := make([]*pipe, n), make([]error, n)
	turn := make(chan struct{}, crowdAtOnce)
	var dials sync.WaitGroup
	for i := range n {
		turn <- struct{}{}
		dials.Go(func() {
			defer func() { <-turn }()
			pipes[i], errs[i] = s.dialIn(at)
		})
	}
	dials.Wait()
	for i := range n {
		if errs[i] != nil {
			return nil, errs[i]
		}
		s.later(func() { pipes[i].client.Close() })
	}
	for range n {
		g := <-guests
		if g.conn != nil {
			s.later(func() { g.conn.Close() })
		}
		if g.err != nil {
			return nil, g.err
		}
		s.truth.Translated[g.line] = g.conn.RemoteAddr().String()
	}
	return pipes, nil
}

// dialIn opens one connection, says in it who it is, and turns its probes on.
func (s *stage) dialIn(at netip.AddrPort) (*pipe, error) {
	conn, local, err := s.client.dial(at, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(conn, local); err != nil {
		return nil, err
	}
	return &pipe{client: conn, local: local}, conn.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: s.time.Idle, Interval: s.time.Interval, Count: s.time.Count,
	})
}

// guest is a connection that the server accepted, and what it said.
type guest struct {
	conn net.Conn
	line string
	err  error
}

// hear accepts connections and reads a line from each.
func hear(l *net.TCPListener, n int, guests chan<- guest) {
	for range n {
		conn, err := l.AcceptTCP()
		if err != nil {
			guests <- guest{err: err}
			continue
		}
		_ = conn.SetKeepAlive(false) // package net turned it on
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(conn).ReadString('\n')
		guests <- guest{conn, strings.TrimSpace(line), err}
	}
}

// forget lets the router drop what belongs to some connections from now on.
func (s *stage) forget(pipes []*pipe) error {
	var ports []string
	for _, p := range pipes {
		ports = append(ports, fmt.Sprint(p.local.Port()))
	}
	set := "{ " + strings.Join(ports, ", ") + " }"
	err := s.router.feed(`
insert rule inet lab forward ip saddr 10.1.1.1 tcp sport `+set+` counter name dropped drop
insert rule inet lab forward ip daddr 10.1.1.1 tcp dport `+set+` counter name dropped drop
`, "nft", "-f", "-")
	s.note(fmt.Sprintf("the router drops what belongs to %d connections", len(pipes)))
	return err
}
