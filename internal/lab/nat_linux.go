package lab

import "net/netip"

// What the router calls itself on either side.
var (
	routerInside  = netip.MustParseAddr("10.1.1.254")
	routerOutside = netip.MustParseAddr("10.2.2.254")
)

// translations are the scenarios in which the router rewrites addresses.
func translations() []Scenario {
	return []Scenario{
		{
			Name: "ssh-snat-silent-drop",
			Doc:  "The silent drop behind a source NAT: the router gives the client's connection its own address and another port, and forgets it during the silence.",
			Look: "The client is 10.1.1.1 in its own capture and 10.2.2.254 with another port in the server's. After the silence each capture holds the probes and the RST of its own end only.",

			timers: deadly, play: snatSilentDrop,
		},
		{
			Name: "ssh-dnat-silent-drop",
			Doc:  "The silent drop behind a destination NAT: the client asks the router, which hands the connection on to a server with another address and port, and forgets it during the silence.",
			Look: "The server is 10.1.1.254:2222 in the client's capture and 10.2.2.2:22 in its own. After the silence each capture holds the probes and the RST of its own end only.",

			timers: deadly, play: dnatSilentDrop,
		},
	}
}

// translator makes the router a stateful firewall that translates by a rule.
// What comes for the router itself, as all packets of a forgotten connection
// do, is dropped like the rest.
func (s *stage) translator(rule string) error {
	if err := s.firewall(); err != nil {
		return err
	}
	return s.router.feed(`
table inet lab {
	chain own {
		type filter hook input priority 0; policy accept;
		meta l4proto tcp counter name dropped drop
	}
}
table ip translate {
	`+rule+`
}
`, "nft", "-f", "-")
}

func snatSilentDrop(s *stage) error {
	if err := s.translator(`chain out {
		type nat hook postrouting priority 100; policy accept;
		oifname "rs" meta l4proto tcp snat to ` + routerOutside.String() + `:61000-61999
	}`); err != nil {
		return err
	}
	return translatedDrop(s)
}

func dnatSilentDrop(s *stage) error {
	s.service = netip.AddrPortFrom(routerInside, 2222)
	if err := s.translator(`chain in {
		type nat hook prerouting priority -100; policy accept;
		iifname "rc" tcp dport 2222 dnat to ` + netip.AddrPortFrom(serverAddr, sshPort).String() + `
	}`); err != nil {
		return err
	}
	return translatedDrop(s)
}

func translatedDrop(s *stage) error {
	x, err := s.idleSession(true, true)
	if err != nil {
		return err
	}
	s.forgotten()
	s.truth.Path.Died = "both"
	s.tell(x.flow("the translator forgot it during the silence and dropped what came later", droppedFlow("likely")))
	return x.die()
}
