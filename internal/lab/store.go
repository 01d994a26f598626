package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// serverClock is how far the server's clock is ahead in stored sets: two hosts
// never agree.
const serverClock = 121 * time.Millisecond

// oneWayDelay is the relay's delay per direction.
const oneWayDelay = 9 * time.Millisecond

// snapLength is how many octets are captured of a frame: headers and some
// more, as the tree is no place for whole sessions.
const snapLength = 200

// labPrefix begins the names of what labs leave for a while on a machine.
const labPrefix = "kaflab"

// slowest is how long a packet of a stored set may be on its way. The first one
// waits for the router's ARP exchange through the relay and takes three delays.
// On a busy machine the relay falls behind, and such a run is not worth keeping.
const slowest = 5 * oneWayDelay

// tries is how often Store plays a scenario before it gives up.
const tries = 6

// Update stores scenarios under dir, several at the same time; those that are
// not meant to be stored are left out.
func Update(ctx context.Context, dir string, scenarios []Scenario) error {
	errs := make([]error, len(scenarios))
	each(scenarios, func(i int, s Scenario) {
		if s.Stored {
			errs[i] = s.Store(ctx, dir)
		}
	})
	return errors.Join(errs...)
}

// Store plays a scenario and leaves it under dir in a folder of its name as it
// is shipped: the captures of the two ends, stretched, the server's clock set
// off, with truth and note. A run that a busy machine has spoilt is played
// again, a few times.
func (s Scenario) Store(ctx context.Context, dir string) error {
	var err error
	for range tries {
		if err = s.storeOnce(ctx, dir); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("%d times in vain: %w", tries, err)
}

func (s Scenario) storeOnce(ctx context.Context, dir string) error {
	tmp, err := tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	run, err := s.Run(ctx, tmp)
	if err != nil {
		return err
	}
	client, err := ReadPcap(run.Captures[AtClient])
	if err != nil {
		return err
	}
	server, err := ReadPcap(run.Captures[AtServer])
	if err != nil {
		return err
	}
	truth := run.Truth
	for _, flight := range flights(client, server, truth.Ends) {
		if d := flight.until.Sub(flight.from); d > slowest {
			return fmt.Errorf("%s: a packet was %s on its way", s.Name, d)
		}
	}
	client, server, err = s.lengthen(client, server, &truth)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	if err := truth.check(client, server); err != nil {
		return fmt.Errorf("after stretching: %w", err)
	}
	if err := save(filepath.Join(dir, s.Name), s.Look, truth, client, server); err != nil {
		return err
	}
	if s.Late == "" {
		return nil
	}
	truth.startLate(s.Late)
	began := truth.CountersSince
	client, server = after(client, began), after(server, began)
	if err := truth.check(client, server); err != nil {
		return fmt.Errorf("after cutting: %w", err)
	}
	return save(filepath.Join(dir, s.Late), s.LateLook, truth, client, server)
}

// lengthen stretches captures and truth as the scenario asks.
func (s Scenario) lengthen(client, server []Frame, truth *Truth) ([]Frame, []Frame, error) {
	if s.Stretch == (Stretching{}) {
		return client, server, nil
	}
	busy := activity(client, server, truth.Ends)
	_, onset := pause(busy, truth.idleSince)
	state := time.Duration(truth.Path.StateTimeout * float64(time.Second))
	plan, err := s.Stretch.plan(busy, trainAfter(onset, client, server), truth.typed, truth.idleSince, state)
	if err != nil {
		return nil, nil, err
	}
	clocks := tsClocks(client, server, truth.Ends)
	truth.stretch(plan, s.Stretch)
	return stretch(client, plan, clocks), stretch(server, plan, clocks), nil
}

// tempDir makes a directory whose name tells the process it belongs to.
func tempDir() (string, error) {
	return os.MkdirTemp("", fmt.Sprintf("%s%d-", labPrefix, os.Getpid()))
}

// startLate makes a truth that of captures begun in the middle of the longest
// silence.
func (t *Truth) startLate(name string) {
	silent := slices.IndexFunc(t.Moments, func(m Moment) bool { return m.What == fallsSilent })
	t.Scenario = name
	t.About += " Both captures begin in the middle of the silence: what was before it is cut away."
	t.CountersSince = t.Moments[silent].At.Add(time.Second)
	for i := range t.Flows {
		t.Flows[i].Expect = Expect{}
	}
}

// after returns the frames from an instant on.
func after(frames []Frame, at time.Time) []Frame {
	return frames[slices.IndexFunc(frames, func(f Frame) bool { return !f.At.Before(at) }):]
}

// save writes one capture set.
func save(dir, look string, truth Truth, client, server []Frame) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	truth.Clocks = map[string]float64{AtServer: serverClock.Seconds()}
	truth.Find = landmarks(client, server, truth.Ends)
	server = slices.Clone(server)
	for i := range server {
		server[i].At = server[i].At.Add(serverClock)
	}
	if err := WritePcap(filepath.Join(dir, AtClient+".pcap"), client, snapLength); err != nil {
		return err
	}
	if err := WritePcap(filepath.Join(dir, AtServer+".pcap"), server, snapLength); err != nil {
		return err
	}
	if err := writeTruth(dir, &truth); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "NOTE.md"), []byte(note(look, &truth, len(client), len(server))), 0o644)
}

// landmarks finds the frames that the note points at.
func landmarks(client, server []Frame, ends map[string]End) map[string][]Landmark {
	find := map[string][]Landmark{}
	for _, end := range []struct {
		at          string
		here, there []Frame
	}{{AtClient, client, server}, {AtServer, server, client}} {
		me := netip.MustParseAddr(ends[end.at].Address)
		sent := crossings(end.here, end.there, me)
		came := crossings(end.here, end.there, netip.MustParseAddr(ends[other(end.at)].Address))
		find[end.at] = marks(end.here, me, sent, came)
	}
	return find
}

func other(at string) string {
	if at == AtClient {
		return AtServer
	}
	return AtClient
}

// marks walks one capture: which frames are the last that crossed, the first
// and last that were lost, the probes' first and the resets.
func marks(frames []Frame, me netip.Addr, sent, came []bool) []Landmark {
	first := slices.IndexFunc(frames, func(f Frame) bool { return f.TCP })
	if first < 0 {
		return nil
	}
	main := frames[first].flow()
	var crossed, firstLost, lastLost, probe, resets int
	next := firstNexts(frames, me)
	for i := range frames {
		f := &frames[i]
		if !f.TCP || f.flow() != main {
			continue
		}
		mine := f.Src.Addr() == me
		switch {
		case sent[i] || came[i]:
			if firstLost == 0 {
				crossed = i + 1
			}
		case mine:
			if firstLost == 0 {
				firstLost = i + 1
			}
			lastLost = i + 1
		}
		if mine && f.Len == 0 && f.Flags == FlagACK && f.Seq == next[main]-1 && probe == 0 {
			probe = i + 1
		}
		if mine && int32(f.next()-next[main]) > 0 {
			next[main] = f.next()
		}
		if f.Flags&FlagRST != 0 {
			resets = i + 1
		}
	}
	var out []Landmark
	for _, m := range []Landmark{
		{"last frame that crossed before anything was lost", crossed},
		{"first empty segment of this end with a probe's shape", probe},
		{"first frame of this end that was lost", firstLost},
		{"last frame of this end that was lost", lastLost},
		{"the RST", resets},
	} {
		if m.Frame > 0 {
			out = append(out, m)
		}
	}
	return out
}

// note writes the text beside a capture set.
func note(look string, t *Truth, client, server int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s\n", t.Scenario)
	line("%s\n", t.About)
	line("**Who.** Client %s, server %s, a router and a relay (%.0f ms per round trip) between them, each in a Linux network namespace of its own.", t.Ends[AtClient].Address, t.Ends[AtServer].Address, t.Path.RoundTrip*1000)
	for _, f := range t.Flows {
		line("`%s` to `%s`%s: %s.", f.Client, f.Server, parenthesised(f.Application), f.Happened)
	}
	line("\n**Systems.** %s.", strings.Join(t.Systems, "; "))
	line("\n**How.** Made by `internal/lab`; `go run ./internal/lab/cmd/lab update %s` makes it anew. tcpdump at both ends (%d and %d frames, at most %d octets each), segmentation and checksum offload off.", t.Scenario, client, server, snapLength)
	line("The server's clock was set %.3f s ahead afterwards.", t.Clocks[AtServer])
	if len(t.Stretched) > 0 {
		line("Silence was put in at %d places where no capture has a frame, %s in all, the TCP timestamps moved with it and the checksums corrected; between those places every distance is the kernel's own.", len(t.Stretched), total(t.Stretched).Round(time.Second))
	}
	line("\n**Settings.**")
	for _, at := range []string{AtClient, AtServer} {
		line("- %s: %s%s; its kernel counted %d keepalive probes, %d window probes, %d retransmissions, %d resets", at, policy(t.Ends[at].Keepalive), beating(at, t.Ends[at].Alive),
			t.Ends[at].Counters.KeepaliveProbes, t.Ends[at].Counters.WindowProbes, t.Ends[at].Counters.Retransmissions, t.Ends[at].Counters.OutRsts)
	}
	if t.Path.StateTimeout > 0 {
		line("- router: forgets an established connection after %.0f s, drops what it does not know", t.Path.StateTimeout)
	}
	line("- %d TCP packets were dropped on the way", t.Path.Dropped)
	line("\n**What to find.** %s", look)
	for _, at := range []string{AtClient, AtServer} {
		line("\n| %s.pcap | frame |\n|---|---|", at)
		for _, m := range t.Find[at] {
			line("| %s | %d |", m.What, m.Frame)
		}
	}
	line("\n**When** (the client's clock).")
	for _, m := range t.Moments {
		line("- %s %s", m.At.UTC().Format("2006-01-02 15:04:05.000"), m.What)
	}
	return b.String()
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func total(plan []Insertion) (sum time.Duration) {
	for _, in := range plan {
		sum += in.Extra
	}
	return sum
}

// beating says how an end's ssh asks its peer itself.
func beating(at string, b *Beats) string {
	if b == nil {
		return ""
	}
	name := "ServerAlive"
	if at == AtServer {
		name = "ClientAlive"
	}
	return fmt.Sprintf(", %sInterval %.0f, %sCountMax %d", name, b.Interval, name, b.Count)
}

func policy(k Keepalive) string {
	if k == (Keepalive{}) {
		return "no TCP keepalive"
	}
	return fmt.Sprintf("TCP keepalive after %.0f s, then %d times every %.0f s", k.Idle, k.Count, k.Interval)
}
