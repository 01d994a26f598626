package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// injections are the scenarios in which a third party ends a connection, and
// those in which an end hears too late that it is over.
func injections() []Scenario {
	return []Scenario{
		{
			Name:   "injected-reset",
			Doc:    "A device on the router does not like what a client says: it drops that segment and sends each end a RST in the other's name, with a TTL and an IP identification of its own.",
			Look:   "Each capture holds a RST of the other end that the other end's capture does not; its TTL is not that of the rest of that end's packets, and at the client it comes sooner than the server can answer.",
			Stored: true, timers: Timers{Idle: 8 * time.Second, Interval: time.Second, Count: 5, Pause: 2 * time.Second, TTL: 61}, draw: drawInjection, play: injectedReset,
		},
		{
			Name:   "late-rst",
			Doc:    "Everything between the hosts stops for longer than the client has patience; it gives up and its RST is lost. When the path works again the server, whose keepalives come later, asks, and the client's host answers with a RST.",
			Look:   "The client's probes and its RST are in its capture alone, as is a fresh SYN. The server's probe afterwards is in both, and so is the RST that answers it.",
			Stored: true, timers: Timers{Idle: 5 * time.Second, Interval: time.Second, Count: 3, Peer: Probing{14 * time.Second, time.Second, 5}}, draw: drawLate, play: lateReset,
		},
	}
}

// drawInjection draws when a device interferes, and the TTL that it uses.
func drawInjection(t *Timers, rng *rand.Rand) {
	t.Pause = time.Duration(1+rng.IntN(2)) * time.Second
	t.TTL = []uint8{63, 61, 60, 128, 255}[rng.IntN(5)]
}

// drawLate draws an impatient client and a server that asks when it is gone.
func drawLate(t *Timers, rng *rand.Rand) {
	t.Idle = time.Duration(4+rng.IntN(3)) * time.Second
	t.Interval = time.Second
	t.Count = 3 + rng.IntN(2)
	t.Peer = Probing{t.Idle + time.Duration(t.Count+5)*t.Interval, time.Second, 4}
}

// An injector sends packets in the name of others.
type injector struct {
	file *os.File
	ttl  uint8
	id   uint16
}

// newInjector opens a raw socket in the router.
func (s *stage) newInjector() (*injector, error) {
	x := &injector{ttl: s.time.TTL, id: 0x2a2a}
	err := s.router.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return fmt.Errorf("raw socket: %w", err)
		}
		x.file = os.NewFile(uintptr(fd), "injector")
		return nil
	})
	if err == nil {
		s.later(func() { x.file.Close() })
	}
	return x, err
}

// reset sends a RST from one end of a connection to the other.
func (x *injector) reset(from, to netip.AddrPort, seq, ack uint32) error {
	const ipLen, tcpLen = 20, 20
	be := binary.BigEndian
	b := make([]byte, ipLen+tcpLen)
	b[0], b[8], b[9] = 0x45, x.ttl, unix.IPPROTO_TCP
	be.PutUint16(b[2:], uint16(len(b)))
	be.PutUint16(b[4:], x.id)
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	be.PutUint16(b[10:], inetSum(b[:ipLen], 0))
	t := b[ipLen:]
	be.PutUint16(t[0:], from.Port())
	be.PutUint16(t[2:], to.Port())
	be.PutUint32(t[4:], seq)
	be.PutUint32(t[8:], ack)
	t[12], t[13] = tcpLen/4<<4, FlagRST|FlagACK
	pseudo := append(append([]byte(nil), b[12:20]...), 0, unix.IPPROTO_TCP, 0, tcpLen)
	be.PutUint16(t[16:], inetSum(append(pseudo, t...), 0))
	return unix.Sendto(int(x.file.Fd()), b, 0, &unix.SockaddrInet4{Addr: dst})
}

func injectedReset(s *stage) error {
	x, err := s.newInjector()
	if err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	for range 4 {
		if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
			return err
		}
		if err := s.sleep(settled); err != nil {
			return err
		}
		if _, err := p.server.Write([]byte("an answer\r\n")); err != nil {
			return err
		}
		if err := s.sleep(s.time.Pause); err != nil {
			return err
		}
	}
	s.tell(p.flow("a device between reset it for what the client said", Expect{Verdict: "forged-reset", Confidence: "proven", Cause: "injected"}))
	var once sync.Once
	injected := make(chan error, 1)
	s.relay.dropTCP(func(f *Frame) bool {
		if f.Len == 0 || f.Src != p.local {
			return false
		}
		once.Do(func() {
			injected <- errors.Join(x.reset(f.Dst, f.Src, f.Ack, f.next()), x.reset(f.Src, f.Dst, f.Seq, f.Ack))
		})
		return true
	})
	s.note("the client says what the device does not like")
	if _, err := p.client.Write([]byte("something forbidden\r\n")); err != nil {
		return err
	}
	select {
	case err := <-injected:
		if err != nil {
			return err
		}
	case <-time.After(5 * time.Second):
		return errors.New("the device did not see the client's segment")
	}
	if err := s.sleep(settled); err != nil {
		return err
	}
	s.relay.dropTCP(nil)
	again, err := s.connect(0) // shows that both captures still record
	if err != nil {
		return err
	}
	s.tell(again.flow("opened after it; the device did not mind", Expect{}))
	if _, err := again.client.Write([]byte("a request\r\n")); err != nil {
		return err
	}
	return s.sleep(time.Second)
}

func lateReset(s *stage) error {
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
	if err := errors.Join(s.probe(AtClient, p.client), s.probeWith(AtServer, p.server, s.time.Peer)); err != nil {
		return err
	}
	for range 2 {
		if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
			return err
		}
		if err := s.sleep(1500 * time.Millisecond); err != nil {
			return err
		}
	}
	s.idleSince = time.Now().Add(-1500 * time.Millisecond)
	s.truth.Path.Died, s.truth.Path.Control = "both", "lost"
	// Nothing shows that the port of the SYN ever answers: it is no proof.
	s.tell(p.flow("an outage outlasted the client's patience; the server asked when it was over", Expect{Verdict: "path-cut", Confidence: "likely", Findings: []string{"late-rst"}}))
	if err := s.cut("", "the router drops everything from now on"); err != nil {
		return err
	}
	if err := s.midTrain(1); err != nil {
		return err
	}
	to := netip.AddrPortFrom(serverAddr, sshPort)
	_, local, err := s.client.dial(to, 300*time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a SYN that must be lost: %w", err)
	}
	s.tell(Flow{local.String(), to.String(), "ssh", "its SYN was lost in the outage", Expect{Verdict: "not-established", Cause: "unanswered"}})
	if err := s.until("the client gives up", func() bool {
		text, err := s.client.output("ss", "-Htn", "state", "established", "dport", "=", fmt.Sprintf(":%d", servicePort))
		return err == nil && len(text) == 0
	}); err != nil {
		return err
	}
	if err := s.sleep(settled); err != nil {
		return err
	}
	if err := s.mend(); err != nil {
		return err
	}
	return s.until("the server hears of it", func() bool {
		n, err := s.established(servicePort)
		return err == nil && n == 0
	})
}
