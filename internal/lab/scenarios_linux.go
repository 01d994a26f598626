package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// perform plays a scenario on a fresh stage.
func (s Scenario) perform(ctx context.Context, dir string, truth *Truth) error {
	st, err := newStage(ctx, dir, s.Timers(), truth)
	if err != nil {
		return err
	}
	defer st.close()
	if err := s.play(st); err != nil {
		return err
	}
	truth.typed, truth.idleSince = st.typed, st.idleSince
	if err := st.finish(); err != nil {
		return err
	}
	if st.afterwards != nil {
		return st.afterwards()
	}
	return nil
}

const (
	typingPause = 2200 * time.Millisecond
	stretched   = 7192 * time.Second // makes 2 h of 8 s
)

// toTwoHours is how a death after 8 s becomes one after 2 h, with Linux's
// default timers and a firewall that forgets after an hour.
var toTwoHours = Stretching{
	Typing:   39 * time.Second,
	State:    3595 * time.Second,
	Idle:     stretched,
	Interval: wheel75 - wheelSecond,
}

// deadly are the timers that toTwoHours is made for.
var deadly = Timers{Idle: 8 * time.Second, Interval: time.Second, Count: 9, State: 5 * time.Second}

// Scenarios returns all scenarios. They are independent of each other and may
// run at the same time.
func Scenarios() []Scenario {
	stateless := deadly
	stateless.State = 0
	return append(slices.Concat(translations(), proxies(), crowds(), deaths(), heartbeats(), vanishings(), meddlings(), fleets(), paths(), absences(), injections()), []Scenario{
		{
			Name:   "ssh-silent-drop",
			Doc:    "An ssh session with TCP keepalive at both ends falls silent for longer than the stateful firewall between remembers it. Everything later is dropped without a word, both ends probe in vain and give up with a RST.",
			Look:   "Both captures show the session up to the same last acknowledgment. After the silence each capture holds the probes and the final RST of its own end only.",
			Stored: true, Stretch: toTwoHours, timers: deadly, play: silentDrop,
			Late:     "ssh-silent-drop-late",
			LateLook: "Each capture holds the probes and the final RST of its own end and nothing else of the session; the RST's sequence number is one above the probes'.",
		},
		{
			Name:   "ssh-silent-drop-with-control",
			Doc:    "The silent drop again; while the old session's probes are lost, a fresh connection to the same port crosses, answers, and is closed.",
			Look:   "As in ssh-silent-drop, and a second connection that is in both captures between two probes: the path works, the old session's state is gone.",
			Stored: true, Stretch: toTwoHours, timers: deadly, play: silentDropWithControl,
		},
		{
			Name:   "ssh-path-cut-unseen",
			Doc:    "Everything between the hosts stops during the silence of an ssh session, and nothing but that session asks. The captures are those of a silent drop.",
			Look:   "The same picture as ssh-silent-drop. Nothing in the captures can tell an idle firewall from an outage that began during the silence.",
			Stored: true, Stretch: toTwoHours, timers: stateless, draw: drawDeath, play: pathCutUnseen,
		},
		{
			Name:   "ssh-path-cut-syn-lost",
			Doc:    "Everything between the hosts stops during the silence of an ssh session; fresh connections that are tried meanwhile are lost as well.",
			Look:   "As in ssh-silent-drop, and between the probes SYNs of new connections, one for every three probes, that are in the client's capture only.",
			Stored: true, Stretch: toTwoHours, timers: stateless, draw: drawDeath, play: pathCutSYNLost,
		},
		{
			Name:   "ssh-one-way-drop",
			Doc:    "From some moment of the silence on the router drops what the server sends to the client. The client's probes arrive and are answered; the answers are lost, and the client gives up.",
			Look:   "The server's capture shows probes and answers and, at the end, the client's RST; the client's capture shows the probes alone. The probes' TSecr stands still.",
			Stored: true, Stretch: toTwoHours, timers: stateless, draw: drawDeath, play: oneWayDrop,
		},
		{
			Name:   "ssh-healthy",
			Doc:    "An idle ssh session whose two ends probe and are answered until the captures end.",
			Look:   "Probes from both ends on timers of their own, each answered after a round trip; neither end's probe delays the other's.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, draw: drawLife, play: healthy,
		},
		{
			Name:   "ssh-clean-close",
			Doc:    "An ssh session with a few answered probes that the user ends.",
			Look:   "FINs from both ends in both captures.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, draw: drawLife, play: cleanClose,
		},
		{
			Name:   "ssh-no-keepalive",
			Doc:    "An ssh session without keepalive at either end, silent until the captures end. A ping shows that the hosts still reach each other.",
			Look:   "Nothing of the session after the last acknowledgment; an echo request and its reply at the very end.",
			Stored: true, Stretch: Stretching{Typing: 39 * time.Second, Idle: 3 * time.Hour}, timers: Timers{State: 0}, draw: drawNothing, play: noKeepalive,
		},
		{
			Name:   "zero-window-stall",
			Doc:    "The server's program stops reading. Its window shuts, the client's kernel sends window probes at doubling distances, all answered with window 0; the server's kernel sends keepalives of its own meanwhile.",
			Look:   "The client's empty segments one below its next octet are window probes (the server's window is 0), the server's of the same shape are keepalive probes.",
			Stored: true, timers: Timers{Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 9}, draw: drawLife, play: zeroWindow,
		},
		{
			Name:   "one-octet-loss",
			Doc:    "Writes of one octet, some of which are lost once and one several times over, and repeated by tail loss probes and retransmission timeouts; then silence with answered keepalives.",
			Look:   "One-octet segments whose sequence number is one below the next: they are retransmissions, as the octet is not acknowledged. The empty ones later are keepalive probes.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, draw: drawLife, play: oneOctetLoss,
		},
		{
			Name:   "ssh-peer-lost-state",
			Doc:    "The server's socket disappears during the silence, as by a power cut and reboot. The client's first probe is answered with the RST of a host that knows no such connection.",
			Look:   "A RST without ACK, window 0, no options and IP identification 0, right after the first probe, in both captures.",
			Stored: true, timers: Timers{Idle: 5 * time.Second, Interval: time.Second, Count: 9}, draw: drawDeath, play: peerLostState,
		},
		{
			Name:   "not-established",
			Doc:    "One port refuses with a RST, SYNs to another one are dropped by the router and never answered, and the first refuses again.",
			Look:   "SYN and RST in both captures for the first and the third connection; the second one's SYNs are in the client's capture only.",
			Stored: true, draw: drawNothing, play: notEstablished,
		},
		{
			Name:   "healthy-started-late",
			Doc:    "An idle ssh session with answered probes, captured from the middle of the silence on.",
			Look:   "No handshake, no octet: empty segments only. The probe is the one whose sequence number lies one below what the other side acknowledges.",
			Stored: true, timers: Timers{Idle: 2 * time.Second, Interval: time.Second, Count: 9}, draw: drawLife, play: healthyLate,
		},
		{
			Name:   "silent-drop-started-late",
			Doc:    "The silent drop of an ssh session, captured from the middle of the silence on.",
			Look:   "Each capture holds the probes and the final RST of its own end, and nothing else of the session.",
			timers: deadly, play: silentDropLate,
		},
	}...)
}

// dropped is what a lost session must be said to be; how sure the cause is
// depends on the rest of the captures.
func droppedFlow(cause string) Expect {
	return Expect{Verdict: "silent-drop", Confidence: "proven", Cause: "idle-expiry", CauseConfidence: cause}
}

// idleSession starts sshd and captures, logs in, works and falls silent.
func (s *stage) idleSession(client, server bool) (*session, error) {
	for _, end := range []struct {
		at string
		on bool
	}{{AtClient, client}, {AtServer, server}} {
		if end.on {
			if err := s.keepalive(end.at); err != nil {
				return nil, err
			}
		}
	}
	if err := s.startSSHD(server); err != nil {
		return nil, err
	}
	if err := s.capture(); err != nil {
		return nil, err
	}
	x, err := s.login(client)
	if err != nil {
		return nil, err
	}
	return x, x.work(typingPause)
}

// die waits until both ends have given up.
func (x *session) die() error {
	if err := x.waitDeath(x.stage.time.patience()); err != nil {
		return err
	}
	return x.stage.until("the server has given up", func() bool {
		text, err := x.stage.server.output("ss", "-Htn", "state", "established", "sport", "=", fmt.Sprintf(":%d", sshPort))
		return err == nil && strings.TrimSpace(text) == ""
	})
}

// tell appends to the truth's flows.
func (s *stage) tell(flows ...Flow) { s.truth.Flows = append(s.truth.Flows, flows...) }

// forgotten notes when the router's state of the session is gone: one timeout
// after the last packet that crossed.
func (s *stage) forgotten() {
	s.truth.Moments = append(s.truth.Moments, Moment{
		s.idleSince.Add(s.time.State).UTC(), "the router has forgotten the session, at the latest"})
}

func silentDrop(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	x, err := s.idleSession(true, true)
	if err != nil {
		return err
	}
	s.forgotten()
	s.truth.Path.Died = "both"
	s.tell(x.flow("the firewall forgot it during the silence and dropped what came later", droppedFlow("likely")))
	return x.die()
}

// midTrain waits until the probes of the session are under way, between two of
// them. n counts the probes of one end before.
func (s *stage) midTrain(n int) error {
	step := s.time.Interval*128/125 + 2*time.Millisecond // as the timer wheel rounds seconds
	return s.sleep(time.Until(s.idleSince.Add(s.time.Idle + time.Duration(n)*step + s.time.Interval/2 - 100*time.Millisecond)))
}

func silentDropWithControl(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	x, err := s.idleSession(true, true)
	if err != nil {
		return err
	}
	s.forgotten()
	s.truth.Path.Died, s.truth.Path.Control = "both", "crossed"
	s.tell(x.flow("the firewall forgot it during the silence and dropped what came later", droppedFlow("proven")))
	if err := s.midTrain(2); err != nil {
		return err
	}
	local, err := s.readBanner()
	if err != nil {
		return err
	}
	s.tell(Flow{local.String(), netip.AddrPortFrom(serverAddr, sshPort).String(), "ssh",
		"opened while the session's probes were lost; read the banner and closed", Expect{Verdict: "closed"}})
	return x.die()
}

// readBanner opens a connection to sshd, reads what it says and closes.
func (s *stage) readBanner() (netip.AddrPort, error) {
	s.note("a fresh connection to the same port is tried")
	conn, local, err := s.client.dial(netip.AddrPortFrom(serverAddr, sshPort), 5*time.Second)
	if err != nil {
		return local, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return local, err
	}
	if _, err := conn.Read(make([]byte, 256)); err != nil {
		return local, fmt.Errorf("read banner: %w", err)
	}
	s.note("it is answered with a banner")
	return local, nil
}

// cutInSilence lets a session fall silent, then cuts everything.
func cutInSilence(s *stage) (*session, error) {
	if err := s.plainRouter(); err != nil {
		return nil, err
	}
	x, err := s.idleSession(true, true)
	if err != nil {
		return nil, err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return nil, err
	}
	s.truth.Path.Died = "both"
	return x, s.cut("", "the router drops everything from now on")
}

func pathCutUnseen(s *stage) error {
	x, err := cutInSilence(s)
	if err != nil {
		return err
	}
	s.tell(x.flow("the path was cut during the silence; the captures cannot show that it was not the idle time", droppedFlow("likely")))
	return x.die()
}

func pathCutSYNLost(s *stage) error {
	x, err := cutInSilence(s)
	if err != nil {
		return err
	}
	s.truth.Path.Control = "lost"
	s.tell(x.flow("the path was cut during the silence", Expect{Verdict: "path-cut", Confidence: "proven"}))
	for n := 1; n <= s.time.Count-2; n += 3 { // the captures go on for a second at least
		if err := s.midTrain(n); err != nil {
			return err
		}
		s.note("a fresh connection to the same port is tried")
		to := netip.AddrPortFrom(serverAddr, sshPort)
		_, local, err := s.client.dial(to, 300*time.Millisecond)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("a SYN that must be lost: %w", err)
		}
		s.tell(Flow{local.String(), to.String(), "ssh", "its SYN was lost in the cut",
			Expect{Verdict: "not-established", Cause: "unanswered"}})
	}
	return x.die()
}

func oneWayDrop(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	x, err := s.idleSession(true, false)
	if err != nil {
		return err
	}
	if err := s.sleep(s.time.Idle / 2); err != nil {
		return err
	}
	s.truth.Path.Died = "server to client"
	s.tell(x.flow("from the middle of the silence on the router dropped what the server sent", Expect{
		Verdict: "one-way-drop", Confidence: "proven", Cause: "idle-expiry", CauseConfidence: "likely"}))
	if err := s.cut(`iifname "rs"`, "the router drops what comes from the server"); err != nil {
		return err
	}
	return x.die()
}

// sessionThatLives starts an idle session with keepalive at both ends.
func sessionThatLives(s *stage) (*session, error) {
	x, err := s.idleSession(true, true)
	if err != nil {
		return nil, err
	}
	s.tell(x.flow("idle, every probe answered", Expect{Verdict: "healthy"}))
	return x, s.sleep(4*s.time.Idle + time.Second)
}

func healthy(s *stage) error {
	_, err := sessionThatLives(s)
	return err
}

func cleanClose(s *stage) error {
	x, err := sessionThatLives(s)
	if err != nil {
		return err
	}
	s.truth.Flows[0].Happened = "idle, every probe answered, then the user logged out"
	s.truth.Flows[0].Expect = Expect{Verdict: "closed"}
	s.note("the user logs out")
	if err := x.logout(); err != nil {
		return err
	}
	return s.sleep(settled)
}

func noKeepalive(s *stage) error {
	x, err := s.idleSession(false, false)
	if err != nil {
		return err
	}
	s.tell(x.flow("silent until the captures ended", Expect{Verdict: "idle"}))
	if err := s.sleep(4 * time.Second); err != nil {
		return err
	}
	s.truth.Path.Control = "crossed"
	s.note("a ping")
	if err := s.client.ping(serverAddr); err != nil {
		return err
	}
	return s.sleep(settled)
}

// pipe is a plain connection between two programs of the lab.
type pipe struct {
	client, server *net.TCPConn
	local          netip.AddrPort
}

const servicePort = 7000

// connect opens a connection to a service port.
func (s *stage) connect(receiveBuffer int) (*pipe, error) {
	at := netip.AddrPortFrom(serverAddr, servicePort)
	l, err := s.server.listen(at, receiveBuffer)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p := &pipe{}
	if p.client, p.local, err = s.client.dial(at, 5*time.Second); err != nil {
		return nil, err
	}
	s.later(func() { p.client.Close() })
	if err := l.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if p.server, err = l.AcceptTCP(); err != nil {
		return nil, err
	}
	s.later(func() { p.server.Close() })
	s.note("the connection is open")
	return p, p.server.SetKeepAlive(false) // package net turned it on
}

// probe turns keepalive on at one end of a pipe and notes the policy.
func (s *stage) probe(at string, conn *net.TCPConn) error {
	return s.probeWith(at, conn, Probing{s.time.Idle, s.time.Interval, s.time.Count})
}

// probeWith does so with values of its own.
func (s *stage) probeWith(at string, conn *net.TCPConn, k Probing) error {
	end := s.truth.Ends[at]
	end.Keepalive = Keepalive{Idle: k.Idle.Seconds(), Interval: k.Interval.Seconds(), Count: k.Count}
	s.truth.Ends[at] = end
	return conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count})
}

func (p *pipe) flow(happened string, expect Expect) Flow {
	return Flow{p.local.String(), netip.AddrPortFrom(serverAddr, servicePort).String(), "", happened, expect}
}

func zeroWindow(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(4096)
	if err != nil {
		return err
	}
	if err := s.probe(AtServer, p.server); err != nil {
		return err
	}
	s.tell(p.flow("the server's program stopped reading", Expect{Verdict: "receiver-stalled", Confidence: "proven"}))
	s.note("the client writes more than the server's buffer holds; nobody reads")
	if err := p.client.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if n, err := p.client.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("write to a full peer: %d octets, %w", n, err)
	}
	return s.sleep(14 * time.Second)
}

func oneOctetLoss(s *stage) error {
	if err := s.capture(); err != nil {
		return err
	}
	p, err := s.connect(0)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, p.server) }() // ends when the stage closes the pipe
	if err := errors.Join(s.probe(AtClient, p.client), s.probe(AtServer, p.server)); err != nil {
		return err
	}
	s.tell(p.flow("single octets were lost and repeated", Expect{Verdict: "healthy"}))
	for _, losses := range []int64{0, 0, 1, 0, 4, 1, 0} {
		if err := p.type1(s, losses); err != nil {
			return err
		}
	}
	return s.sleep(3*s.time.Idle + time.Second)
}

// type1 writes one octet whose first transmissions the relay loses, and waits
// until it must have arrived.
func (p *pipe) type1(s *stage, losses int64) error {
	var lost atomic.Int64
	s.relay.dropTCP(func(f *Frame) bool {
		return f.Len == 1 && f.Src.Addr() == clientAddr && lost.Add(1) <= losses
	})
	if losses > 0 {
		s.note(fmt.Sprintf("an octet whose first %d transmissions are lost", losses))
	}
	if _, err := p.client.Write([]byte{'x'}); err != nil {
		return err
	}
	wait := 300 * time.Millisecond
	if err := s.sleep(wait << losses); err != nil {
		return err
	}
	s.relay.dropTCP(nil)
	if losses > 0 && lost.Load() <= losses {
		return fmt.Errorf("an octet was not sent again often enough: %d transmissions", lost.Load())
	}
	return nil
}

func notEstablished(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	const refused, unanswered = 7001, 7002
	if err := s.cut(fmt.Sprintf("tcp dport %d", unanswered), "the router drops what goes to port 7002"); err != nil {
		return err
	}
	for _, try := range []struct {
		port     uint16
		err      error
		happened string
		cause    string
	}{
		{refused, syscall.ECONNREFUSED, "the server had no such service", "refused"},
		{unanswered, os.ErrDeadlineExceeded, "its SYNs were dropped by the router", "unanswered"},
		{refused, syscall.ECONNREFUSED, "the server had no such service", "refused"},
	} {
		to := netip.AddrPortFrom(serverAddr, try.port)
		_, local, err := s.client.dial(to, 3500*time.Millisecond)
		if !errors.Is(err, try.err) {
			return fmt.Errorf("connect to port %d: %w, want %w", try.port, err, try.err)
		}
		s.tell(Flow{local.String(), to.String(), "", try.happened, Expect{Verdict: "not-established", Cause: try.cause}})
	}
	return nil
}

// lateSession is a session that is silent already when the captures begin.
func (s *stage) lateSession() (*session, error) {
	if err := errors.Join(s.keepalive(AtClient), s.keepalive(AtServer), s.startSSHD(true)); err != nil {
		return nil, err
	}
	x, err := s.login(true)
	if err != nil {
		return nil, err
	}
	if err := x.work(0); err != nil {
		return nil, err
	}
	if err := s.sleep(time.Second); err != nil {
		return nil, err
	}
	s.note("the captures begin")
	return x, s.capture()
}

func healthyLate(s *stage) error {
	x, err := s.lateSession()
	if err != nil {
		return err
	}
	s.tell(x.flow("idle, every probe answered; captured from the silence on", Expect{Verdict: "healthy"}))
	return s.sleep(4*s.time.Idle + time.Second)
}

func silentDropLate(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	x, err := s.lateSession()
	if err != nil {
		return err
	}
	s.forgotten()
	s.truth.Path.Died = "both"
	// Nothing in these captures shows that the session ever crossed: no
	// verdict is asked for.
	s.tell(x.flow("the firewall forgot it during the silence; captured from the silence on", Expect{}))
	return x.die()
}
