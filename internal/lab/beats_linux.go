package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// heartbeats are the scenarios in which ssh asks its peer itself.
func heartbeats() []Scenario {
	client := Timers{ServerAlive: Alive{2 * time.Second, 2}}
	server := Timers{ClientAlive: Alive{2 * time.Second, 2}}
	return []Scenario{
		{
			Name:   "ssh-alive",
			Doc:    "An idle ssh session with ServerAlive, every request answered by the server's application.",
			Look:   "Requests of one size at one pace, each answered by a shorter segment with octets after a round trip.",
			timers: client, play: beatsAnswered,
		},
		{
			Name:   "ssh-client-alive",
			Doc:    "An idle ssh session with ClientAlive at the server, every request answered by the client's application.",
			Look:   "Requests of one size at one pace from the server, each answered by a shorter segment with octets.",
			timers: server, play: beatsAnswered,
		},
		{
			Name:   "ssh-app-hung",
			Doc:    "The sshd of an idle session with ServerAlive is stopped (SIGSTOP). Its kernel acknowledges the client's requests, nobody answers, and ssh gives up.",
			Look:   "The last requests are followed by empty acknowledgments alone, then by the client's FIN.",
			Stored: true, timers: client, play: hangs,
		},
		{
			Name:   "ssh-alive-outage",
			Doc:    "Everything between the hosts stops for as long as ServerAlive has patience, and comes back just after ssh has given up.",
			Look:   "The client's requests are repeated and are in its capture alone; what it sends after the outage is in both.",
			Stored: true, timers: client, play: outageOfBeats,
		},
	}
}

// beatingSession logs in, works, and lets some heartbeats be answered.
func beatingSession(s *stage) (*session, error) {
	x, err := s.idleSession(false, false)
	if err != nil {
		return nil, err
	}
	pace := max(s.time.ServerAlive.Interval, 2*s.time.ClientAlive.Interval) // sshd 9.2 asks at every second interval
	return x, s.sleep(4*pace + pace/2)
}

func beatsAnswered(s *stage) error {
	x, err := beatingSession(s)
	if err != nil {
		return err
	}
	s.tell(x.flow("idle, every heartbeat answered", Expect{Verdict: "healthy"}))
	return nil
}

func hangs(s *stage) error {
	x, err := beatingSession(s)
	if err != nil {
		return err
	}
	s.tell(x.flow("the server's sshd was stopped, its kernel went on", Expect{Verdict: "app-hung", Confidence: "likely"}))
	if err := s.freeze(); err != nil {
		return err
	}
	return x.waitDeath(s.time.ServerAlive.patience() + 3*time.Second)
}

// freeze stops the processes of the session at the server, as a host that
// hangs or swaps does.
func (s *stage) freeze() error {
	pids, err := descendants(s.sshd.Process.Pid)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return errors.New("sshd has no session to stop")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return fmt.Errorf("stop %d: %w", pid, err)
		}
		s.later(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it may have ended
	}
	s.note("the server's application is stopped")
	return nil
}

// descendants returns the processes below one, all generations.
func descendants(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name may hold blanks
		fields := strings.Fields(rest)
		pid, errPid := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(fields) < 2 || errPid != nil {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	var all []int
	for next := []int{root}; len(next) > 0; next = next[1:] {
		all = append(all, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	return all, nil
}

func outageOfBeats(s *stage) error {
	if err := s.plainRouter(); err != nil {
		return err
	}
	x, err := beatingSession(s)
	if err != nil {
		return err
	}
	s.truth.Path.Died = "both"
	s.tell(x.flow("an outage that was over when ssh had given up", Expect{Verdict: "heartbeat-timeout"}))
	if err := s.cut("", "the router drops everything from now on"); err != nil {
		return err
	}
	if err := x.waitDeath(s.time.ServerAlive.patience() + 3*time.Second); err != nil {
		return err
	}
	if err := s.mend(); err != nil {
		return err
	}
	return s.sleep(12 * time.Second)
}

// mend ends what cut began.
func (s *stage) mend() error {
	err := s.router.run("nft", "flush", "chain", "inet", "lab", "early")
	s.note("the router lets everything pass again")
	return err
}
