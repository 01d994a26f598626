package lab

import (
	"errors"
	"io"
	"net/netip"
	"time"
)

// Addresses of the lab's IPv6.
var (
	clientSix = netip.MustParseAddr("2001:db8:1::1")
	serverSix = netip.MustParseAddr("2001:db8:2::2")
)

// publicAddr is what the hairpin translator is called.
var publicAddr = netip.MustParseAddr("198.51.100.7")

// paths are silent drops over paths and into captures that are not plain.
func paths() []Scenario {
	return []Scenario{
		{
			Name: "ssh-hairpin-silent-drop",
			Doc:  "Client and server are behind the same translator, and the client asks for the server by the translator's public address: both ends' addresses are rewritten, and the translator forgets the session during the silence.",
			Look: "The client talks to 198.51.100.7:2222; in the server's capture 198.51.100.7 talks to 10.2.2.2:22 from another port.",

			timers: deadly, play: hairpinSilentDrop,
		},
		{
			Name: "ssh-silent-drop-ipv6",
			Doc:  "The silent drop over IPv6, where packets have no identification.",
			Look: "As in ssh-silent-drop, over IPv6.",

			timers: deadly, play: sixSilentDrop,
		},
		{
			Name: "ssh-silent-drop-any",
			Doc:  "The silent drop, captured at the client and at the router on all interfaces at once (tcpdump -i any) besides.",
			Look: "The captures on all interfaces have cooked headers. The router's holds each packet that it forwarded twice, the second time with a TTL lower by one.",

			timers: deadly, play: silentDropAny,
		},
		{
			Name: "offload-silent-drop",
			Doc:  "Bulk data both ways with segmentation offload at the client and coalescing at both ends, then silence behind a firewall that forgets the connection. The router cuts the large segments into small ones.",
			Look: "The client's capture holds segments of many thousand octets that are MTU-sized at the router's other side.",

			timers: deadly, play: offloadSilentDrop,
		},
	}
}

func hairpinSilentDrop(s *stage) error {
	s.service = netip.AddrPortFrom(publicAddr, 2222)
	if err := s.router.feed("address add "+publicAddr.String()+"/32 dev lo\nlink set lo up\n", "ip", "-batch", "-"); err != nil {
		return err
	}
	if err := s.translator(`chain in {
		type nat hook prerouting priority -100; policy accept;
		ip daddr ` + publicAddr.String() + ` tcp dport 2222 dnat to ` + netip.AddrPortFrom(serverAddr, sshPort).String() + `
	}
	chain out {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 10.1.1.0/24 ip daddr ` + serverAddr.String() + ` meta l4proto tcp snat to ` + publicAddr.String() + `:61000-61999
	}`); err != nil {
		return err
	}
	return translatedDrop(s)
}

// numberSix gives the lab IPv6 besides, and the client its server by that.
func (s *stage) numberSix() error {
	for _, place := range []struct {
		n     *netns
		devs  []string
		batch string
	}{
		{s.client, []string{"c0"}, "address add " + clientSix.String() + "/64 dev c0 nodad\nroute add default via 2001:db8:1::fe\n"},
		{s.router, []string{"rc", "rs"}, "address add 2001:db8:1::fe/64 dev rc nodad\naddress add 2001:db8:2::fe/64 dev rs nodad\n"},
		{s.server, []string{"s0"}, "address add " + serverSix.String() + "/64 dev s0 nodad\nroute add default via 2001:db8:2::fe\n"},
	} {
		settings := []string{"net.ipv6.conf.all.disable_ipv6=0"}
		for _, dev := range place.devs {
			conf := "net.ipv6.conf." + dev + "."
			settings = append(settings, conf+"accept_dad=0", conf+"accept_ra=0", conf+"router_solicitations=0", conf+"disable_ipv6=0")
		}
		if err := errors.Join(place.n.sysctl(settings...), place.n.feed(place.batch, "ip", "-6", "-batch", "-")); err != nil {
			return err
		}
	}
	s.serverAt = serverSix
	s.service = netip.AddrPortFrom(serverSix, sshPort)
	s.truth.Ends[AtClient], s.truth.Ends[AtServer] = End{Address: clientSix.String()}, End{Address: serverSix.String()}
	// Neighbours are known for good: to find one takes seconds after an address is
	// given, and the first packet waits for it on its way.
	return errors.Join(
		s.router.sysctl("net.ipv6.conf.all.forwarding=1"),
		knows(s.client, "c0", s.router, "rc", netip.MustParseAddr("2001:db8:1::fe")),
		knows(s.router, "rc", s.client, "c0", clientSix),
		knows(s.router, "rs", s.server, "s0", serverSix),
		knows(s.server, "s0", s.router, "rs", netip.MustParseAddr("2001:db8:2::fe")),
	)
}

func sixSilentDrop(s *stage) error {
	if err := s.numberSix(); err != nil {
		return err
	}
	return silentDrop(s)
}

func silentDropAny(s *stage) error {
	s.more = []tapPoint{{AtClientAny, s.client, "any"}, {AtRouterAny, s.router, "any"}}
	return silentDrop(s)
}

// offload lets hosts and router handle segments larger than the link's: the
// client makes them, the router cuts them on their way to the server, whose card
// puts what comes in a row together again.
func (s *stage) offload() error {
	s.truth.Path.Offload = true
	return errors.Join(
		s.client.run("ethtool", "-K", "c0", "tx", "on", "rx", "on", "tso", "on", "gso", "on", "gro", "on"),
		s.router.run("ethtool", "-K", "rc", "tx", "on", "rx", "on", "tso", "on", "gso", "on", "gro", "on"),
		s.server.run("ethtool", "-K", "s0", "gro", "on"),
	)
}

const bulk = 600_000 // octets

func offloadSilentDrop(s *stage) error {
	if err := errors.Join(s.offload(), s.firewall()); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	if err := s.carryBulk(p); err != nil {
		return err
	}
	if err := s.keepBoth(p); err != nil {
		return err
	}
	s.idleSince = time.Now()
	s.note(fallsSilent)
	s.forgotten()
	s.truth.Path.Died = "both"
	s.tell(p.flow("the firewall forgot it after bulk data", droppedFlow("likely")))
	if err := s.sleep(s.time.patience()); err != nil {
		return err
	}
	_, _ = p.client.Write(nil) // it has given up long ago
	return nil
}

// carryBulk sends bulk data to the server, and back.
func (s *stage) carryBulk(p *pipe) error {
	data := make([]byte, bulk)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
	}{{p.client, p.server}, {p.server, p.client}} {
		got := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.Discard, way.to, bulk)
			got <- err
		}()
		if _, err := way.from.Write(data); err != nil {
			return err
		}
		if err := <-got; err != nil {
			return err
		}
	}
	return s.sleep(200 * time.Millisecond)
}
