package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// talk lets both ends of a pipe talk in turns, one segment under way at a time,
// until either is closed.
func (p *pipe) talk(pace time.Duration) {
	const line = "a request\r\n"
	buf := func() []byte { return make([]byte, len(line)) }
	go func() {
		for b := buf(); ; {
			if _, err := io.ReadFull(p.server, b); err != nil {
				return
			}
			if _, err := p.server.Write(b); err != nil {
				return
			}
		}
	}()
	go func() {
		for b := buf(); ; time.Sleep(pace) {
			if _, err := p.client.Write([]byte(line)); err != nil {
				return
			}
			if _, err := io.ReadFull(p.client, b); err != nil {
				return
			}
		}
	}()
}

func flushUnderLoad(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	s.truth.Path.StateTimeout = 0 // not what kills
	if err := s.capture(); err != nil {
		return err
	}
	for range 3 {
		p, err := s.connect(0)
		if err != nil {
			return err
		}
		p.talk(s.time.Pause)
		s.tell(p.flow("the firewall lost its table while it was in use", Expect{Verdict: "silent-drop", Confidence: "proven", Cause: "state-lost"}))
	}
	if err := s.sleep(3 * time.Second); err != nil {
		return err
	}
	if err := s.router.run("conntrack", "-F"); err != nil {
		return err
	}
	s.note("the firewall's table is flushed")
	s.truth.Path.Died, s.truth.Path.Control = "both", "crossed"
	if err := s.sleep(2 * time.Second); err != nil {
		return err
	}
	fresh, err := s.connect(0)
	if err != nil {
		return err
	}
	s.tell(fresh.flow("opened after the flush", Expect{}))
	if _, err := fresh.client.Write([]byte("a request\r\n")); err != nil {
		return err
	}
	if err := s.sleep(3500 * time.Millisecond); err != nil {
		return err
	}
	// Nothing that was sent before is on its way any more when the captures end.
	if _, err := fresh.client.Write([]byte("a last request\r\n")); err != nil {
		return err
	}
	return s.sleep(500 * time.Millisecond)
}

func userTimeout(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
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
	if err := s.sleep(1500 * time.Millisecond); err != nil { // a pause that is survived
		return err
	}
	if _, err := p.client.Write([]byte("another request\r\n")); err != nil {
		return err
	}
	if err := s.sleep(100 * time.Millisecond); err != nil {
		return err
	}
	s.idleSince = time.Now()
	s.note(fallsSilent)
	s.forgotten()
	if err := s.probe(AtClient, p.client); err != nil {
		return err
	}
	end := s.truth.Ends[AtClient]
	patience := s.time.Pause
	end.Keepalive.Count, end.Keepalive.UserTimeout = 0, patience.Seconds() // which ends it sooner
	s.truth.Ends[AtClient] = end
	if err := setUserTimeout(p.client, patience); err != nil {
		return err
	}
	s.truth.Path.Died = "both"
	s.tell(p.flow(fmt.Sprintf("the firewall forgot it during the silence, and the client's user timeout of %s ran out", patience), Expect{Verdict: "silent-drop", Cause: "idle-expiry", CauseConfidence: "likely"}))
	return s.sleep(patience + 5*time.Second)
}

// setUserTimeout sets TCP_USER_TIMEOUT on a connection.
func setUserTimeout(conn *net.TCPConn, d time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d/time.Millisecond))
	})
	return errors.Join(err, set)
}
