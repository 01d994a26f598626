package lab

import "time"

// Numbers of the advised session: a pause that passes and leaves room for
// keepalives in whole seconds, and a router that forgets soon after.
const (
	knownToPass = 3200 * time.Millisecond
	forgetful   = 6 * time.Second
	timesLonger = 3 // the silence after the advice, in timeouts of the router
)

// BeforeAdvice is a silent drop from which advice follows.
func BeforeAdvice() Scenario {
	return Scenario{
		Name:   "before-advice",
		Doc:    "An ssh session that pauses for a while in use, then falls silent for longer than the stateful firewall between remembers it.",
		timers: Timers{Idle: 9 * time.Second, Interval: time.Second, Count: 3, State: forgetful},
		play: func(s *stage) error {
			x, err := pausingSession(s)
			if err != nil {
				return err
			}
			s.forgotten()
			s.truth.Path.Died = "both"
			s.tell(x.flow("the firewall forgot it during the silence and dropped what came later", droppedFlow("likely")))
			return x.die()
		},
	}
}

// AfterAdvice is the same session on the same path with the keepalives that
// were advised, silent for several timeouts of the firewall and then used
// again: it fails unless the session still works.
func AfterAdvice(idle, interval time.Duration, count int) Scenario {
	return Scenario{
		Name:   "after-advice",
		Doc:    "The session of before-advice with the keepalives that were advised.",
		timers: Timers{Idle: idle, Interval: interval, Count: count, State: forgetful},
		play: func(s *stage) error {
			x, err := pausingSession(s)
			if err != nil {
				return err
			}
			s.tell(x.flow("its keepalives held the firewall's state, and the user logged out", Expect{Verdict: "closed"}))
			if err := s.sleep(timesLonger * forgetful); err != nil {
				return err
			}
			if err := x.echo("still here"); err != nil {
				return err
			}
			if err := x.logout(); err != nil {
				return err
			}
			return s.sleep(settled)
		},
	}
}

// pausingSession starts a session behind the firewall in which a pause of
// knownToPass is survived.
func pausingSession(s *stage) (*session, error) {
	if err := s.firewall(); err != nil {
		return nil, err
	}
	x, err := s.idleSession(true, true)
	if err != nil {
		return nil, err
	}
	return x, x.work(knownToPass)
}
