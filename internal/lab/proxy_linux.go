package lab

import (
	"fmt"
	"io"
	"math/rand/v2"
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
	}, {
		Name: "proxy-crowd",
		Doc:  fmt.Sprintf("%d connections through a proxy on the router that writes octets of its own besides, as one that encrypts anew does. Each sends at moments of its own.", proxiedCrowd),
		Look: "No connection is in both captures, and no two carry as many octets. What a client sends is followed within milliseconds by what the router sends to the server.",

		timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, play: proxyCrowd,
	}}
}

const (
	proxiedCrowd = 24
	requests     = 7 // of each
)

// proxyCrowd opens connections at random moments, each of which sends at random
// moments, and notes which the proxy opened for each.
func proxyCrowd(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	s.truth.Path.Proxy = true
	s.truth.Partners = map[string]string{}
	if err := s.capture(); err != nil {
		return err
	}
	if err := s.answerAll(); err != nil {
		return err
	}
	opened := make(chan [2]string, proxiedCrowd)
	at := netip.AddrPortFrom(routerInside, servicePort)
	if err := s.padding(at, opened); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(s.truth.Seed, 24))
	errs := make(chan error, proxiedCrowd)
	var lives []func() error
	for range proxiedCrowd {
		var pauses []time.Duration
		for range requests + 1 {
			pauses = append(pauses, time.Duration(1100+rng.IntN(1500))*time.Millisecond)
		}
		lives = append(lives, func() error { return s.askThrough(at, pauses) })
	}
	for _, live := range lives {
		go func() { errs <- live() }()
	}
	for range proxiedCrowd {
		if err := <-errs; err != nil {
			return err
		}
	}
	for range proxiedCrowd {
		pair := <-opened
		s.truth.Partners[pair[0]] = pair[1]
		s.tell(Flow{pair[0], at.String(), "", "through a proxy", Expect{}})
	}
	return nil
}

// askThrough opens a connection and sends after each pause.
func (s *stage) askThrough(at netip.AddrPort, pauses []time.Duration) error {
	time.Sleep(pauses[0])
	conn, _, err := s.client.dial(at, 5*time.Second)
	if err != nil {
		return err
	}
	s.closing(conn)
	answer := make([]byte, 4096)
	for n, pause := range pauses[1:] {
		time.Sleep(pause)
		if _, err := conn.Write(make([]byte, 50+n)); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Read(answer); err != nil {
			return err
		}
	}
	return nil
}

// answerAll answers whatever comes to the service with 200 octets.
func (s *stage) answerAll() error {
	l, err := s.server.listen(netip.AddrPortFrom(serverAddr, servicePort), 0)
	if err != nil {
		return err
	}
	s.closing(l)
	go func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			_ = conn.SetKeepAlive(false)
			s.closing(conn)
			go func() {
				for buf := make([]byte, 4096); ; {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					_, _ = conn.Write(make([]byte, 200))
				}
			}()
		}
	}()
	return nil
}

// padding proxies a service and adds octets to all that it hands on. Which
// connection it opened for which is told to opened.
func (s *stage) padding(at netip.AddrPort, opened chan<- [2]string) error {
	l, err := s.router.listen(at, 0)
	if err != nil {
		return err
	}
	s.closing(l)
	hand := func(from io.Reader, to io.Writer) {
		for buf := make([]byte, 4096); ; {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			_, _ = to.Write(make([]byte, n+9+n%7))
		}
	}
	go func() {
		for {
			inside, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			_ = inside.SetKeepAlive(false)
			s.closing(inside)
			go func() {
				outside, local, err := s.router.dial(netip.AddrPortFrom(serverAddr, servicePort), 5*time.Second)
				if err != nil {
					return
				}
				s.closing(outside)
				opened <- [2]string{inside.RemoteAddr().String(), local.String()}
				go hand(outside, inside)
				hand(inside, outside)
			}()
		}
	}()
	return nil
}

// closing closes something with the stage; several goroutines may ask for it.
func (s *stage) closing(c io.Closer) {
	s.ends.Lock()
	defer s.ends.Unlock()
	s.later(func() { c.Close() })
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
