package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// deaths are the ways to die that are no silent drop: somebody says so, or
// somebody else is to blame.
func deaths() []Scenario {
	short := Timers{Idle: 6 * time.Second, Interval: time.Second, Count: 5, State: 4 * time.Second}
	stateless := short
	stateless.State = 0
	return []Scenario{
		{
			Name:   "ssh-reject-reset",
			Doc:    "A stateful firewall forgets an idle ssh session and answers what comes later with a RST in the peer's name.",
			Look:   "The client's capture holds a RST of the server that the server's capture does not; the probe that it answers is in the client's capture only.",
			timers: short, play: rejected("reject with tcp reset", Expect{Verdict: "forged-reset", Confidence: "proven", Cause: "idle-expiry"}),
		},
		{
			Name:   "ssh-reject-icmp",
			Doc:    "A stateful firewall forgets an idle ssh session and answers what comes later with ICMP: prohibited by a filter.",
			Look:   "An ICMP error 3/13 of the router quotes the client's probes; none of them is in the server's capture.",
			timers: short, play: rejected("reject with icmp type admin-prohibited", Expect{Verdict: "path-rejected", Confidence: "proven", Cause: "idle-expiry"}),
		},
		{
			Name:   "ssh-host-filter",
			Doc:    "The server's own firewall forgets an idle ssh session and drops its packets behind the capture; fresh connections are let in.",
			Look:   "The probes are in both captures and nothing answers them; a fresh connection to the same port is answered meanwhile.",
			timers: stateless, draw: drawDeath, play: hostFilter,
		},
		{
			Name:   "ssh-prober-filter",
			Doc:    "The client's own firewall drops the answers to its probes behind the capture. The client gives up.",
			Look:   "Probes and answers are in both captures, yet the probes come at the interval, echo one old timestamp, and end with the client's RST.",
			timers: stateless, draw: drawDeath, play: proberFilter,
		},
		{
			Name:   "idle-close",
			Doc:    "A service closes each connection that was idle for some seconds.",
			Look:   "Two connections, begun at different times, that end with the server's FIN as long after their last octet.",
			timers: Timers{Pause: 11 * time.Second}, draw: drawLimit, play: closesIdle,
		},
	}
}

// rejected plays a firewall that answers what it has forgotten.
func rejected(how string, expect Expect) func(*stage) error {
	return func(s *stage) error {
		if err := s.firewall(); err != nil {
			return err
		}
		if err := s.router.run("nft", "flush", "chain", "inet", "lab", "forward"); err != nil {
			return err
		}
		if err := s.router.feed(`
add rule inet lab forward ct state established,related accept
add rule inet lab forward tcp flags & (fin|syn|rst|ack) == syn ct state new accept
add rule inet lab forward meta l4proto tcp counter name dropped `+how+`
`, "nft", "-f", "-"); err != nil {
			return err
		}
		x, err := s.idleSession(true, false)
		if err != nil {
			return err
		}
		s.forgotten()
		s.truth.Path.Died = "both"
		s.tell(x.flow("the firewall forgot it during the silence and rejected what came later", expect))
		if err := s.midTrain(2); err != nil {
			return err
		}
		local, err := s.readBanner() // shows that both captures still record
		if err != nil {
			return err
		}
		s.truth.Path.Control = "crossed"
		s.tell(Flow{local.String(), netip.AddrPortFrom(serverAddr, sshPort).String(), "ssh",
			"opened after the firewall rejected the session; read the banner and closed", Expect{Verdict: "closed"}})
		return x.waitDeath(s.time.patience())
	}
}

// filterHost makes a host drop what reaches it, behind its captures.
func (s *stage) filterHost(n *netns, match, what string) error {
	err := n.feed(fmt.Sprintf(`
table inet host {
	chain in {
		type filter hook input priority 0; policy accept;
		%s drop
	}
}
`, match), "nft", "-f", "-")
	s.note(what)
	return err
}

func hostFilter(s *stage) error {
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	match := fmt.Sprintf("tcp sport %d tcp dport %d", x.local.Port(), sshPort)
	if err := s.filterHost(s.server, match, "the server's own firewall drops the session's packets from now on"); err != nil {
		return err
	}
	s.truth.Path.Control = "crossed"
	s.tell(x.flow("the server's own firewall dropped it", Expect{Verdict: "host-drop", Confidence: "proven"}))
	if err := s.midTrain(2); err != nil {
		return err
	}
	local, err := s.readBanner()
	if err != nil {
		return err
	}
	s.tell(Flow{local.String(), netip.AddrPortFrom(serverAddr, sshPort).String(), "ssh",
		"opened while the session's probes went unanswered; read the banner and closed", Expect{Verdict: "closed"}})
	return x.waitDeath(s.time.patience())
}

func proberFilter(s *stage) error {
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	match := fmt.Sprintf("tcp sport %d tcp dport %d", sshPort, x.local.Port())
	if err := s.filterHost(s.client, match, "the client's own firewall drops the session's packets from now on"); err != nil {
		return err
	}
	s.tell(x.flow("the client's own firewall dropped the answers", Expect{Verdict: "host-drop", Confidence: "proven"}))
	return x.waitDeath(s.time.patience())
}

func closesIdle(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	limit := s.time.Pause
	var closed []error
	done := make(chan error, 2)
	for n := range 2 {
		p, err := s.connect(0)
		if err != nil {
			return err
		}
		if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
			return err
		}
		s.tell(p.flow(fmt.Sprintf("the service closed it after %s without data", limit), Expect{Verdict: "idle-close", Confidence: "likely"}))
		go func() {
			time.Sleep(limit)
			err := p.server.CloseWrite()
			time.Sleep(settled)
			done <- errors.Join(err, p.client.CloseWrite())
		}()
		if n == 0 {
			if err := s.sleep(2 * time.Second); err != nil {
				return err
			}
		}
	}
	for range 2 {
		closed = append(closed, <-done)
	}
	return errors.Join(append(closed, s.sleep(settled))...)
}
