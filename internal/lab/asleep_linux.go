package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// absences are the scenarios in which a host is there and cannot be reached: it
// sleeps, or its link is down.
func absences() []Scenario {
	sleeper := Timers{Idle: 3 * time.Second, Interval: time.Second, Count: 5,
		Peer: Probing{4 * time.Second, 2 * time.Second, 30}, Pause: 15 * time.Second}
	forsaken := sleeper
	forsaken.Peer.Count = 3
	return []Scenario{
		{
			Name:   "host-suspended",
			Doc:    "The client's host is suspended while a connection is idle, and resumed. It sends, receives, captures and counts no time meanwhile; the server's probes go unanswered, and it has the patience to sit that out.",
			Look:   "The client's capture holds nothing for the time of the sleep, the server's holds its unanswered probes. Afterwards the client's timestamps lack that time, the server's do not.",
			timers: sleeper, draw: drawSleep(30), play: hostSuspended,
		},
		{
			Name:   "host-suspended-gave-up",
			Doc:    "The client's host is suspended for longer than the server has patience. When it is resumed and asks, the server's host knows the connection no more.",
			Look:   "The server's unanswered probes and its RST are in its own capture alone; the client's probe after the sleep is answered by another RST. The client's timestamps lack the time of the sleep.",
			timers: forsaken, draw: drawSleep(3), play: hostSuspended,
		},
		{
			Name:   "carrier-loss-client",
			Doc:    "The client's link is down for some of its probes, and comes back. Probes that the kernel made meanwhile reached no interface, and no capture.",
			Look:   "Nothing of the client for longer than its own keepalives allow, in its own capture too, although its timestamps show that its clock went on.",
			timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9, Pause: 5 * time.Second}, draw: drawOutage, play: carrierLossClient,
		},
		{
			Name:   "carrier-loss-server",
			Doc:    "The server's link goes down during the silence of a connection that both ends probe, until both have given up, and comes back. A fresh connection works.",
			Look:   "The client's probes and its RST are in its capture alone. The server's own probes, answered before, are missing in the capture taken on the server.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 4}, draw: drawShortLife, play: carrierLossServer,
		},
	}
}

// drawSleep draws the timers of a host that sleeps and of a peer that asks it
// at most so many times.
func drawSleep(count int) func(*Timers, *rand.Rand) {
	return func(t *Timers, rng *rand.Rand) {
		t.Idle = time.Duration(2+rng.IntN(2)) * time.Second
		t.Interval = time.Second
		t.Count = 3 + rng.IntN(4)
		t.Peer = Probing{time.Duration(3+rng.IntN(2)) * time.Second, time.Duration(1+rng.IntN(2)) * time.Second, count}
		t.Pause = time.Duration(13+rng.IntN(4)) * time.Second
	}
}

// drawOutage draws an outage that is shorter than the patience and longer than
// two probes.
func drawOutage(t *Timers, rng *rand.Rand) {
	t.Idle = time.Duration(2+rng.IntN(2)) * time.Second
	t.Interval = time.Second
	t.Count = 9
	t.Pause = t.Idle + time.Duration(3+rng.IntN(3))*t.Interval
}

// drawShortLife draws timers that run through many answered probes in a short
// time.
func drawShortLife(t *Timers, rng *rand.Rand) {
	t.Idle = time.Duration(2+rng.IntN(2)) * time.Second
	t.Interval = time.Duration(1+rng.IntN(2)) * time.Second
	t.Count = 3 + rng.IntN(3)
}

// betweenProbes is how long after whole seconds a host wakes up: the probes of
// its peer come at whole seconds, a little later each time, and one that comes
// while it wakes up is neither surely heard nor surely not.
const betweenProbes = 500 * time.Millisecond

// asleep is the time that a host slept.
type asleep struct{ from, until time.Time }

// hostSuspended plays a sleep of the client's host. One kernel cannot sleep for
// one namespace alone: nothing reaches the client or leaves it meanwhile, its
// keepalive timer is stopped and starts again where it was, and what it would
// have seen and counted is taken out of captures and timestamps afterwards.
func hostSuspended(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	// Nobody asks a neighbour that is known for good.
	if err := knows(s.router, "rc", s.client, "c0", clientAddr); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	if err := errors.Join(s.probe(AtClient, p.client), s.probeWith(AtServer, p.server, s.time.Peer)); err != nil {
		return err
	}
	for range 4 { // from which the pace of either clock is known
		if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
			return err
		}
		if err := s.sleep(time.Second); err != nil {
			return err
		}
	}
	if _, err := p.client.Write([]byte("the last request\r\n")); err != nil {
		return err
	}
	if err := s.sleep(100 * time.Millisecond); err != nil { // its acknowledgment is on its way
		return err
	}
	nap := asleep{from: time.Now()}
	if err := s.client.feed(`
table netdev asleep {
	counter dropped { }
	chain in {
		type filter hook ingress device "c0" priority 0; policy drop;
		meta l4proto tcp counter name dropped drop
	}
}
`, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := p.client.SetKeepAlive(false); err != nil {
		return err
	}
	s.note("the client's host is suspended")
	if err := s.sleep(s.time.Pause + betweenProbes); err != nil {
		return err
	}
	n, err := s.established(servicePort)
	if err != nil {
		return err
	}
	gaveUp := n == 0
	if err := s.client.run("nft", "delete", "chain", "netdev", "asleep", "in"); err != nil { // what it counted stays
		return err
	}
	if s.truth.Path.Unheard, err = s.client.droppedHere(); err != nil {
		return err
	}
	if err := p.client.SetKeepAlive(true); err != nil {
		return err
	}
	nap.until = time.Now()
	s.note("the client's host is resumed")
	s.afterwards = func() error { return nap.write(s.dir) }
	if gaveUp != (s.time.Peer.Count < 30) {
		return fmt.Errorf("the server gave up: %v, with a count of %d", gaveUp, s.time.Peer.Count)
	}
	expect := Expect{Verdict: "healthy", Findings: []string{"host-suspended"}}
	happened := "the client's host slept; the server waited for it"
	if gaveUp {
		expect = Expect{Verdict: "peer-gone", Findings: []string{"host-suspended", "late-rst"}}
		happened = "the client's host slept until the server had given up"
	}
	s.tell(p.flow(happened, expect))
	return s.sleep(3*s.time.Idle + time.Second)
}

// write takes out of the captures what a host that slept cannot have seen, and
// out of its timestamps the time that its clock stood.
func (a asleep) write(dir string) error {
	frames := map[string][]Frame{}
	for _, at := range []string{AtClient, AtRouterClient, AtRouterServer, AtServer} {
		list, err := ReadPcap(filepath.Join(dir, at+".pcap"))
		if err != nil {
			return err
		}
		frames[at] = list
	}
	frames[AtClient] = slices.DeleteFunc(frames[AtClient], func(f Frame) bool { return f.At.After(a.from) && f.At.Before(a.until) })
	last := map[sender]uint32{} // the client's clock when it fell asleep, at most
	for i := range frames[AtClient] {
		if f := &frames[AtClient][i]; f.TCP && f.HasTS && f.Src.Addr() == clientAddr && f.At.Before(a.from) {
			last[sender{f.Src, f.Dst}] = f.TSval
		}
	}
	stood := uint32(a.until.Sub(a.from) / tsTick)
	behind := func(who sender, val uint32) uint32 {
		if at, ok := last[who]; ok && int32(val-at) > 0 {
			return val - stood
		}
		return val
	}
	for at, list := range frames {
		for i := range list {
			f := &list[i]
			if !f.TCP || !f.HasTS {
				continue
			}
			val, ecr := f.TSval, f.TSecr
			if f.Src.Addr() == clientAddr {
				val = behind(sender{f.Src, f.Dst}, val)
			} else if f.Flags&FlagACK != 0 {
				ecr = behind(sender{f.Dst, f.Src}, ecr)
			}
			f.setTimestamps(val, ecr)
		}
		if err := WritePcap(filepath.Join(dir, at+".pcap"), list, snapLength); err != nil {
			return err
		}
	}
	return nil
}

// knows makes one namespace's neighbour known to another for good, so that it is
// never asked for.
func knows(n *netns, dev string, neighbour *netns, itsDev string, addr netip.Addr) error {
	mac := ""
	if err := neighbour.do(func() error {
		card, err := net.InterfaceByName(itsDev)
		if err == nil {
			mac = card.HardwareAddr.String()
		}
		return err
	}); err != nil {
		return err
	}
	return n.run("ip", "neigh", "replace", addr.String(), "lladdr", mac, "dev", dev, "nud", "permanent")
}

// unplugged takes a link down, does something, and brings it back. What the
// host's kernel counts meanwhile reaches no interface: it is noted apart.
func (s *stage) unplugged(at string, n *netns, dev string, meanwhile func() error) error {
	host, known := s.client, knows(s.client, "c0", s.router, "rc", routerInside)
	if at == AtServer {
		host, known = s.server, knows(s.server, "s0", s.router, "rs", routerOutside)
	}
	if known != nil { // else what waits for an answer to ARP is sent when the link is up again
		return known
	}
	before, err := host.counters()
	if err != nil {
		return err
	}
	if err := n.run("ip", "link", "set", dev, "down"); err != nil {
		return err
	}
	s.note("the " + at + "'s link is down")
	if err := meanwhile(); err != nil {
		return err
	}
	after, err := host.counters()
	if err != nil {
		return err
	}
	end := s.truth.Ends[at]
	end.Unsent.add(after, +1)
	end.Unsent.add(before, -1)
	s.truth.Ends[at] = end
	err = n.run("ip", "link", "set", dev, "up")
	s.note("the " + at + "'s link is up again")
	return err
}

func carrierLossClient(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
		return err
	}
	if err := s.probe(AtClient, p.client); err != nil {
		return err
	}
	s.tell(p.flow("the client's link was down for a while; its connection survived", Expect{Verdict: "healthy", Findings: []string{"own-silence"}}))
	if err := s.sleep(3*s.time.Idle + s.time.Idle/2); err != nil {
		return err
	}
	if err := s.unplugged(AtClient, s.router, "rc", func() error { return s.sleep(s.time.Pause) }); err != nil {
		return err
	}
	return s.sleep(3*s.time.Idle + s.time.Interval)
}

func carrierLossServer(s *stage) error {
	x, err := s.idleSession(true, true)
	if err != nil {
		return err
	}
	if err := s.sleep(3*s.time.Idle + s.time.Idle/2); err != nil {
		return err
	}
	s.truth.Path.Died = "both"
	s.tell(x.flow("the server's link was down until both ends had given up", Expect{Verdict: "peer-gone", Findings: []string{"own-silence"}}))
	if err := s.unplugged(AtServer, s.wireNS, "wd", func() error {
		return errors.Join(x.die(), s.sleep(settled)) // the client's RST is lost as well
	}); err != nil {
		return err
	}
	if err := s.sleep(settled); err != nil {
		return err
	}
	local, err := s.readBanner()
	if err != nil {
		return err
	}
	s.tell(Flow{local.String(), "10.2.2.2:22", "ssh", "opened when the link was up again; read the banner and closed", Expect{Verdict: "closed"}})
	return nil
}
