package lab

import (
	"fmt"
	"time"
)

// fleets are the scenarios in which several connections die, each by itself.
func fleets() []Scenario {
	short := Timers{Idle: 6 * time.Second, Interval: time.Second, Count: 4, State: 4 * time.Second}
	return []Scenario{
		{
			Name:   "idle-fleet",
			Doc:    "Four connections with keepalive at both ends fall silent one after the other behind a stateful firewall that forgets each. Nothing else runs between the hosts.",
			Look:   "Each is in both captures up to its own silence; the probes of either end are in that end's capture only. Nothing shows that the path works.",
			timers: short, play: idleFleet,
		},
	}
}

// keepBoth switches keepalive on at both ends.
func (s *stage) keepBoth(p *pipe) error {
	if err := s.probe(AtClient, p.client); err != nil {
		return err
	}
	return s.probe(AtServer, p.server)
}

func idleFleet(s *stage) error {
	if err := s.firewall(); err != nil {
		return err
	}
	if err := s.capture(); err != nil {
		return err
	}
	var pipes []*pipe
	for n := range 4 {
		p, err := s.connect(0)
		if err != nil {
			return err
		}
		pipes = append(pipes, p)
		for range 2 {
			if _, err := p.client.Write([]byte("a request\r\n")); err != nil {
				return err
			}
			if err := s.sleep(300 * time.Millisecond); err != nil {
				return err
			}
		}
		if err := s.keepBoth(p); err != nil {
			return err
		}
		s.tell(p.flow(fmt.Sprintf("the firewall forgot connection %d of 4 during its silence", n+1),
			Expect{Verdict: "silent-drop", Confidence: "proven", Cause: "idle-expiry", CauseConfidence: "likely"}))
	}
	s.truth.Path.Died = "both"
	if err := s.sleep(s.time.Idle + s.time.patience() + 3*time.Second); err != nil {
		return err
	}
	for _, p := range pipes {
		_, _ = p.client.Write(nil) // what nobody holds is closed
	}
	return nil
}
