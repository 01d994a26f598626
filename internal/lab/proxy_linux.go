package lab

import (
	"io"
	"net"
	"net/netip"
	"time"
)

// proxies are the scenarios in which the router ends connections itself.
func proxies() []Scenario {
	return []Scenario{{
		Name: "ssh-through-proxy",
		Doc:  "An ssh session through a proxy on the router: two TCP connections, each with keepalives of its own end that the router's kernel answers.",
		Look: "The client talks to 10.1.1.254:2222 in its capture, and 10.2.2.254 to the server in the server's. Ports, sequence numbers and timestamps have nothing in common; the numbers of octets each way do.",

		timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, draw: drawLife, play: throughProxy,
	}}
}

func throughProxy(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	s.service = netip.AddrPortFrom(routerInside, 2222)
	s.truth.Path.Proxy = true
	if err := s.proxy(); err != nil {
		return err
	}
	x, err := s.idleSession(true, true)
	if err != nil {
		return err
	}
	s.tell(x.flow("ended at the proxy, which answers its probes", Expect{Verdict: "healthy"}))
	return s.sleep(4*s.time.Idle + time.Second)
}

// proxy hands what comes to the service on to sshd, from the router.
func (s *stage) proxy() error {
	l, err := s.router.listen(s.service, 0)
	if err != nil {
		return err
	}
	s.later(func() { l.Close() })
	go func() {
		for {
			inside, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			go s.relayOctets(inside)
		}
	}()
	return nil
}

// relayOctets joins a connection with one to sshd until either ends.
func (s *stage) relayOctets(inside *net.TCPConn) {
	defer inside.Close()
	_ = inside.SetKeepAlive(false) // package net turned it on; so is it below
	outside, _, err := s.router.dial(netip.AddrPortFrom(serverAddr, sshPort), 5*time.Second)
	if err != nil {
		return
	}
	defer outside.Close()
	go func() {
		defer outside.Close()
		_, _ = io.Copy(outside, inside)
	}()
	_, _ = io.Copy(inside, outside)
}
