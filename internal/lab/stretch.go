package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Insertion is silence put into all captures of a run: everything from At on,
// which lies where no capture has a frame, comes Extra later. Between two
// insertions nothing changes, so a kernel's own lateness is kept.
type Insertion struct {
	At    time.Time     `json:"at"`
	Extra time.Duration `json:"extra_ns"`
}

// moved returns where instant t comes to lie.
func moved(plan []Insertion, t time.Time) time.Time {
	return t.Add(shift(plan, t))
}

func shift(plan []Insertion, t time.Time) (sum time.Duration) {
	for _, in := range plan {
		if !t.Before(in.At) {
			sum += in.Extra
		}
	}
	return sum
}

// Stretching says how a run played in seconds becomes one of hours. The zero
// value changes nothing.
type Stretching struct {
	Typing   time.Duration // added to the pause between two keystrokes
	State    time.Duration // added to the router's state timeout
	Idle     time.Duration // added to the silence before the first probe; includes State
	Interval time.Duration // added between two probes of one end
}

// minRoom is the least frame-free time at a place where silence is put in.
const minRoom = 60 * time.Millisecond

// plan finds where silence goes in: busy is what activity gave, train when the
// end that probes first spoke after the silence, typed and idleSince the begins
// of the two pauses, state the router's timeout.
func (s Stretching) plan(busy []span, train []time.Time, typed, idleSince time.Time, state time.Duration) ([]Insertion, error) {
	var plan []Insertion
	put := func(from, until time.Time, extra time.Duration) error {
		if until.Sub(from) < minRoom {
			return fmt.Errorf("no room for silence: %s between two frames at %s", until.Sub(from), from.Format(time.StampMicro))
		}
		if extra > 0 {
			plan = append(plan, Insertion{from.Add(until.Sub(from) / 2), extra})
		}
		return nil
	}
	last, after := pause(busy, typed)
	if s.Typing > 0 {
		if err := put(last, after, s.Typing); err != nil {
			return nil, err
		}
	}
	rest := s.Idle
	last, after = pause(busy, idleSince)
	if gone := last.Add(state); state > 0 && s.State > 0 {
		if err := put(last, gone, s.State); err != nil {
			return nil, err
		}
		last, rest = gone, rest-s.State
	}
	if err := put(last, after, rest); err != nil {
		return nil, err
	}
	if s.Interval == 0 {
		return plan, nil
	}
	for i := 0; i+1 < len(train); i++ {
		last, after = widest(busy, train[i], train[i+1])
		if err := put(last, after, s.Interval); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// A span is a stretch of time that silence must not go into.
type span struct{ from, until time.Time }

// activity returns, in order and without overlap, when something was going on:
// the flight of every IP packet that crossed, the moment of every one that did
// not, and from begin to end every flow but the first, which is too short to
// be torn apart. ARP does not count: a neighbour's question must not cut a
// silence in two.
func activity(client, server []Frame, ends map[string]End) []span {
	var spans []span
	flows := map[flowKey]*span{}
	var main flowKey
	for _, frames := range [][]Frame{client, server} {
		for i := range frames {
			f := &frames[i]
			if !f.ip() {
				continue
			}
			spans = append(spans, span{f.At, f.At})
			if !f.TCP {
				continue
			}
			k := f.flow()
			if len(flows) == 0 {
				main = k
			}
			if known, ok := flows[k]; ok {
				known.extend(span{f.At, f.At})
			} else {
				flows[k] = &span{f.At, f.At}
			}
		}
	}
	for k, whole := range flows {
		if k != main {
			spans = append(spans, *whole)
		}
	}
	return disjoint(append(spans, flights(client, server, ends)...))
}

// extend makes s cover t as well.
func (s *span) extend(t span) {
	if t.from.Before(s.from) {
		s.from = t.from
	}
	if t.until.After(s.until) {
		s.until = t.until
	}
}

// disjoint sorts spans and joins those that touch.
func disjoint(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && !s.from.After(out[n-1].until) {
			out[n-1].extend(s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// flights returns when each TCP packet that crossed was on its way.
func flights(client, server []Frame, ends map[string]End) []span {
	var out []span
	for _, dir := range []struct {
		here, there []Frame
		from        string
	}{{client, server, ends[AtClient].Address}, {server, client, ends[AtServer].Address}} {
		arrivals := map[wire][]time.Time{}
		for i := range dir.there {
			if f := &dir.there[i]; f.TCP && f.Src.Addr().String() == dir.from {
				arrivals[f.wire()] = append(arrivals[f.wire()], f.At)
			}
		}
		for i := range dir.here {
			f := &dir.here[i]
			if !f.TCP || f.Src.Addr().String() != dir.from {
				continue
			}
			if at := arrivals[f.wire()]; len(at) > 0 {
				out = append(out, span{f.At, at[0]})
				arrivals[f.wire()] = at[1:]
			}
		}
	}
	return out
}

// widest returns the end and the begin of the two neighbours that lie farthest
// apart between two instants. The two ends' probes can fall into the same tick,
// in any order; this leaves them together.
func widest(busy []span, from, to time.Time) (last, next time.Time) {
	for i := 0; i+1 < len(busy); i++ {
		a, b := busy[i].until, busy[i+1].from
		if !a.Before(from) && !b.After(to) && b.Sub(a) > next.Sub(last) {
			last, next = a, b
		}
	}
	return last, next
}

// pause returns the bounds of the longest silence that begins until a second
// after since and goes on behind it.
func pause(busy []span, since time.Time) (last, next time.Time) {
	for i := 0; i+1 < len(busy); i++ {
		a, b := busy[i].until, busy[i+1].from
		if b.Before(since) || a.After(since.Add(time.Second)) {
			continue
		}
		if b.Sub(a) > next.Sub(last) {
			last, next = a, b
		}
	}
	return last, next
}

// trainAfter returns when the end that spoke first after an instant spoke on
// that flow: its probes and the reset at the end. What it sends within half a
// second of a probe is an answer to the other end's and is left out.
func trainAfter(from time.Time, captures ...[]Frame) []time.Time {
	var train []time.Time
	var first *Frame
	var at []Frame
	for _, frames := range captures {
		for i := range frames {
			if f := &frames[i]; f.TCP && !f.At.Before(from) && (first == nil || f.At.Before(first.At)) {
				first, at = f, frames
			}
		}
	}
	for i := range at {
		f := &at[i]
		if !f.TCP || f.At.Before(from) || f.Src != first.Src || f.Dst != first.Dst {
			continue
		}
		if n := len(train); n == 0 || f.At.Sub(train[n-1]) > time.Second/2 {
			train = append(train, f.At)
		}
	}
	return train
}

// tsClock ties one sender's timestamps of one flow to the shared clock.
type tsClock struct {
	at  time.Time
	val uint32
}

// sender names one end of one flow.
type sender struct{ src, dst netip.AddrPort }

// tsTick is the unit of Linux's TSval.
const tsTick = time.Millisecond

// tsClocks reads the clocks from the captures taken at the senders themselves.
func tsClocks(client, server []Frame, ends map[string]End) map[sender]tsClock {
	clocks := map[sender]tsClock{}
	for _, c := range []struct {
		frames []Frame
		at     string
	}{{client, AtClient}, {server, AtServer}} {
		for i := range c.frames {
			f := &c.frames[i]
			who := sender{f.Src, f.Dst}
			if _, known := clocks[who]; !known && f.HasTS && f.Src.Addr().String() == ends[c.at].Address {
				clocks[who] = tsClock{f.At, f.TSval}
			}
		}
	}
	return clocks
}

// move returns the timestamp value that the sender would have sent.
func (c tsClock) move(plan []Insertion, val uint32) uint32 {
	sent := c.at.Add(time.Duration(int32(val-c.val)) * tsTick)
	return val + uint32((shift(plan, sent)-shift(plan, c.at))/tsTick)
}

// stretch moves all frames of a capture by the plan, their TCP timestamps with
// them.
func stretch(frames []Frame, plan []Insertion, clocks map[sender]tsClock) []Frame {
	out := slices.Clone(frames)
	for i := range out {
		f := &out[i]
		f.At = moved(plan, f.At)
		if !f.HasTS {
			continue
		}
		val, ecr := f.TSval, f.TSecr
		if c, ok := clocks[sender{f.Src, f.Dst}]; ok {
			val = c.move(plan, val)
		}
		if c, ok := clocks[sender{f.Dst, f.Src}]; ok && f.Flags&FlagACK != 0 {
			ecr = c.move(plan, ecr)
		}
		f.setTimestamps(val, ecr)
	}
	return out
}

// stretch moves a truth by the same plan and says so. The timers that were
// stretched take their new values.
func (t *Truth) stretch(plan []Insertion, s Stretching) {
	for i := range t.Moments {
		t.Moments[i].At = moved(plan, t.Moments[i].At)
	}
	t.CountersSince, t.CountersAt = moved(plan, t.CountersSince), moved(plan, t.CountersAt)
	t.Stretched = plan
	if t.Path.StateTimeout > 0 {
		t.Path.StateTimeout += s.State.Seconds()
	}
	for _, name := range slices.Sorted(maps.Keys(t.Ends)) {
		end := t.Ends[name]
		if end.Keepalive.Count > 0 {
			end.Keepalive.Idle += s.Idle.Seconds()
			if s.Interval > 0 {
				end.Keepalive.Interval = 75 // as toTwoHours has it
			}
			t.Ends[name] = end
		}
	}
}

// What a timer of 1 s and one of 75 s really take at 250 ticks a second.
const (
	wheelSecond = 1024 * time.Millisecond
	wheel75     = 75776 * time.Millisecond
)
