package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Scenario is one thing that can happen to a connection.
type Scenario struct {
	Name string
	Doc  string // what happens, in a sentence or two
	Look string // what to find in the captures, for the note beside them

	// Seed draws the run's timers at random; 0 takes the scenario's own.
	Seed uint64

	// Stored says that the scenario belongs to testdata/pcaps, stretched so.
	Stored  bool
	Stretch Stretching

	// Late names a second stored set, the same captures without what was
	// before the silence; LateLook is its Look.
	Late, LateLook string

	timers Timers
	draw   func(*Timers, *rand.Rand) // draws them; nil draws as a death behind a stateful router does
	play   func(*stage) error
}

// Timers are a run's numbers.
type Timers struct {
	Idle, Interval time.Duration // keepalive, of the ends that use it
	Count          int
	State          time.Duration // established connections in the router

	Peer  Probing       // the server's keepalive, where it is not the client's
	Pause time.Duration // how long lasts what the scenario is about: a sleep, an outage, a service's patience

	TTL uint8 // of what a third party sends

	ServerAlive, ClientAlive Alive // of ssh; the zero value is none
}

// Probing is the keepalive of one end.
type Probing struct {
	Idle, Interval time.Duration
	Count          int
}

// Alive is ssh's own heartbeat at one end: ServerAliveInterval and
// ServerAliveCountMax, or ClientAliveInterval and ClientAliveCountMax.
type Alive struct {
	Interval time.Duration
	Count    int
}

// patience is how long ssh goes on after the last data that it received: it
// gives up where the next heartbeat would be due (OpenSSH, clientloop.c).
func (a Alive) patience() time.Duration { return time.Duration(a.Count+1) * a.Interval }

// Timers returns the run's numbers: the scenario's own, or drawn by Seed. The
// state timeout stays above every pause while a session is in use and below
// the keepalive time; a scenario whose own idle time is short (it shows
// answers or a stall, not a death) keeps it.
func (s Scenario) Timers() Timers {
	t := s.timers
	if s.Seed == 0 {
		return t
	}
	rng := rand.New(rand.NewPCG(s.Seed, uint64(len(s.Name))))
	for _, a := range []*Alive{&t.ServerAlive, &t.ClientAlive} {
		if a.Interval > 0 {
			a.Interval, a.Count = time.Duration(2+rng.IntN(2))*time.Second, 2+rng.IntN(2)
		}
	}
	if s.draw != nil {
		s.draw(&t, rng)
		return t
	}
	if t.State == 0 {
		return t
	}
	t.State = time.Duration(4+rng.IntN(2)) * time.Second
	t.Idle = t.State + time.Duration(2+rng.IntN(3))*time.Second
	t.Interval = time.Duration(1+rng.IntN(2)) * time.Second
	t.Count = 3 + rng.IntN(4)
	return t
}

// Check holds the captures of a run against what the kernels counted: probes,
// resets, repeated segments, and packets dropped on the way. A run that a busy
// machine has held up is an error, too.
func (r *Run) Check() error {
	captures := map[string][]Frame{}
	for _, at := range Points() {
		frames, err := ReadPcap(r.Captures[at])
		if err != nil {
			return err
		}
		captures[at] = frames
	}
	if err := r.Truth.check(captures[AtClient], captures[AtServer]); err != nil || len(r.Truth.Flows) > 100 {
		return err
	}
	if err := r.Truth.onBeat(captures); err != nil {
		return err
	}
	for _, flight := range flights(captures[AtClient], captures[AtServer], r.Truth.Ends) {
		if d := flight.until.Sub(flight.from); d > tooSlow {
			return fmt.Errorf("%s: a packet was %s on its way", r.Truth.Scenario, d.Round(time.Millisecond))
		}
	}
	return nil
}

// tooSlow is how long a packet may be on its way in a run that is judged: on a
// machine that is busy with something else the relay stands still now and then,
// and what was played is another path than the scenario's.
const tooSlow = 150 * time.Millisecond

// offBeat is how much longer one interval between ssh's own heartbeats may be than
// another in a run that is judged: they come when their program gets to run, and
// their rhythm is all that tells them.
const offBeat = 80 * time.Millisecond

// onBeat is an error where the heartbeats of an end, each by its first sending,
// did not come evenly as long as nothing but time went by.
func (t *Truth) onBeat(captures map[string][]Frame) error {
	silent := slices.IndexFunc(t.Moments, func(m Moment) bool { return m.What == fallsSilent })
	for at, end := range t.Ends {
		if end.Alive == nil || silent < 0 {
			continue
		}
		until := t.CountersAt
		if silent+1 < len(t.Moments) {
			until = t.Moments[silent+1].At
		}
		var asked, said time.Time
		var next uint32
		var gaps []time.Duration
		for _, f := range captures[at] {
			if !f.TCP || f.Len == 0 || !within(f.At, t.Moments[silent].At, until) {
				continue
			}
			own := f.Src.Addr().String() == end.Address
			if own && f.At.Sub(said) > time.Second && (asked.IsZero() || int32(f.next()-next) > 0) {
				if !asked.IsZero() {
					gaps = append(gaps, f.At.Sub(asked))
				}
				asked = f.At
			}
			if own {
				next = f.next()
			}
			said = f.At
		}
		if len(gaps) > 0 && slices.Max(gaps)-slices.Min(gaps) > offBeat {
			return fmt.Errorf("%s: the heartbeats of the %s came after %v", t.Scenario, at, gaps)
		}
	}
	return nil
}

func (t *Truth) check(client, server []Frame) error {
	var errs []error
	compare := func(what string, frames, counted int) {
		if frames != counted {
			errs = append(errs, fmt.Errorf("%s: %d %s in the capture, %d counted by the kernel and sent", t.Scenario, frames, what, counted))
		}
	}
	for at, frames := range map[string][]Frame{AtClient: client, AtServer: server} {
		end := t.Ends[at]
		from := netip.MustParseAddr(end.Address)
		since, until := t.CountersSince, t.CountersAt
		n := end.Counters
		n.add(end.Unsent, -1)
		compare("probes of the "+at, ProbeShaped(frames, from, since, until), n.KeepaliveProbes+n.WindowProbes)
		compare("resets of the "+at, Resets(frames, from, since, until), n.OutRsts)
		compare("retransmissions of the "+at, Repeats(frames, from, since, until), n.Retransmissions)
	}
	if !t.Path.Proxy && !t.Path.Offload {
		compare("packets lost on the way", Lost(client, server, t.Ends), t.Path.Dropped)
	}
	return errors.Join(errs...)
}

// Run plays the scenario and leaves its captures and truth in dir, which must
// exist. It needs what Missing asks for, and takes up to a minute of mostly
// sleep. A run whose captures do not agree with the kernel counters is an
// error; tcpdump loses the last frames once in some dozens of runs.
func (s Scenario) Run(ctx context.Context, dir string) (*Run, error) {
	truth := Truth{Scenario: s.Name, About: s.Doc, Seed: s.Seed, Systems: systems(), Ends: map[string]End{}}
	if err := s.perform(ctx, dir, &truth); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	run := &Run{Dir: dir, Captures: map[string]string{}, Truth: truth}
	run.find()
	if err := run.Check(); err != nil {
		return run, err
	}
	return run, writeTruth(dir, &run.Truth)
}

// atOnce is how many scenarios play at the same time. They mostly sleep, but
// their logins keep a small machine busy.
const atOnce = 7

// Outcome is what came of one scenario.
type Outcome struct {
	Scenario Scenario
	Run      *Run
	Err      error
	Thrown   []error // of runs before this one that were thrown away
}

// playTries is how often Play runs a scenario whose captures do not agree with the
// kernel's counters, or whose login a busy machine delayed: such a run says
// nothing, and is thrown away.
const playTries = 5

// Play runs scenarios, several at the same time, each into a folder below that of
// its name in dir, and returns their outcomes in the same order.
func Play(ctx context.Context, dir string, scenarios []Scenario) []Outcome {
	outcomes := make([]Outcome, len(scenarios))
	each(scenarios, func(i int, s Scenario) {
		outcomes[i].Scenario = s
		for n := range playTries {
			outcomes[i].Run, outcomes[i].Err = s.runIn(ctx, filepath.Join(dir, s.Name, strconv.Itoa(n)))
			if outcomes[i].Err == nil || ctx.Err() != nil || n == playTries-1 {
				return
			}
			outcomes[i].Thrown = append(outcomes[i].Thrown, outcomes[i].Err)
		}
	})
	return outcomes
}

func (s Scenario) runIn(ctx context.Context, dir string) (*Run, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return s.Run(ctx, dir)
}

// each does something for every scenario, for several at the same time.
func each(scenarios []Scenario, do func(int, Scenario)) {
	turn := make(chan struct{}, atOnce)
	var work sync.WaitGroup
	for i, s := range scenarios {
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			do(i, s)
		})
	}
	work.Wait()
}
