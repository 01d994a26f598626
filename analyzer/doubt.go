package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// untried returns the end that sent nothing since the onset of a death, where
// one did: that all of this rests on what its peer sent. ok is false where both
// ends tried, or none.
func (o *onset) untried() (side uint8, ok bool) {
	for side := uint8(0); side < 2; side++ {
		if len(o.lost[side]) == 0 && len(o.crossed[side]) == 0 && len(o.lost[1-side]) > 0 {
			return side, true
		}
	}
	return 0, false
}

// openReading returns what two captures leave open of a death of which no control
// tells that it is this connection's alone: a sentence for Unknown. It is "" where
// nothing speaks against something between the ends. Where an outage may have
// begun during the silence that is told as the cause's doubt (see cause).
func (s *Subject) openReading(o *onset) string {
	if c := s.unansweredSYN(s.lastLoss(o)); c != nil {
		return fmt.Sprintf("why %s got no answer either: if it was lost, the path is cut, and no state of this connection is to blame", aControl(c))
	}
	if c := s.unansweredPing(o); c != nil {
		return fmt.Sprintf("why pings between the same hosts, answered before, got no answer either (frame %s and later): if they were lost, the path is cut, or the host is gone, and no state of this connection is to blame", frameWord(s, c.Refs[0]))
	}
	if r := s.laterRST(o); r != nil {
		return fmt.Sprintf("whose RST it is that arrives as frame %s in the %s's name: if it is its own, the path works again by then, and was cut before", frameWord(s, r.First()), sideName(r.From))
	}
	side, ok := o.untried()
	if !ok {
		return ""
	}
	who := sideName(side)
	if s.neverHeard(side) {
		return fmt.Sprintf("whether the %s answers: nothing of it is in any capture, which may hold one direction only", who)
	}
	if p := &s.Passages[o.first]; p.Assumed && s.endingOf(1-side) == flows.EndOpen {
		return fmt.Sprintf("whether it is over: the captures end while the %s still asks, and nothing shows that the %s, or its capture, was there to take that; a host that sleeps, and an outage that passes, look the same until then; captures that go on for longer, or a ping beside them, would tell",
			sideName(1-side), who)
	}
	if probe, since, owed := s.owesProbes(side, o); owed {
		return fmt.Sprintf("why the %s does not ask: it does so when it is idle, as frame %s shows, and nothing of it is in any capture for %s; its link or its host may have been down",
			who, frameWord(s, probe), facts.Compact(since))
	}
	if lacks, slept := s.maySleep(side, s.Passages[o.first].At, s.lastLoss(o)); slept {
		return fmt.Sprintf("whether the %s's host was suspended: its clock of timestamps lacks %s of that time by its capture's own clock, and nothing tells whether that clock was set", who, facts.Compact(lacks))
	}
	if size, large := s.onlyLarge(1-side, o); large {
		return fmt.Sprintf("whether smaller segments would cross: all that are lost have %d octets and more, and none as large crossed before (a path MTU that nobody tells looks the same); a ping with the don't-fragment bit would tell", size)
	}
	return ""
}

// unansweredPing returns the first of two pings and more that nobody answered since the
// onset, where one was answered before it and none since; nil where there are none.
func (s *Subject) unansweredPing(o *onset) *Control {
	c, e, first := clockwork(s.Clocks), s.pingsSince(tcp.MinInstant), s.Passages[o.first].At
	answered, n := false, 0
	var dead *Control
	for i := range e.asked {
		a := &e.asked[i]
		switch alive := e.answered[e.ids[i]]; {
		case alive && a.At >= first:
			return nil
		case alive:
			answered = true
		case a.At >= first && c.to(s.Base, a.Refs[0].Vantage, s.recordedUntil(a.Refs[0].Vantage)).Sub(a.At) >= answerDue && flows.EchoKept(e.ids[i], e.thinned):
			if n++; dead == nil {
				dead = a
			}
		}
	}
	if !answered || n < 2 {
		return nil
	}
	return dead
}

// laterRST returns a RST in the name of an end of which all is lost that arrives
// at the other end afterwards; nil where none does.
func (s *Subject) laterRST(o *onset) *Passage {
	for i := o.first + 1; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		if p.Kind == flows.RST && p.From <= flows.Server && !p.Known && len(o.lost[p.From]) > 0 && len(s.Seen) > 1 &&
			p.First().Vantage == s.nearestSighting(1-p.From).Vantage {
			return p
		}
	}
	return nil
}

// neverHeard reports whether no capture holds anything of a side.
func (s *Subject) neverHeard(side uint8) bool {
	return !slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Sides[side].Segments > 0 })
}

// lacksSide reports whether a vantage point holds nothing that a side's host sent
// to its peer, but something that the other one did: it may see one direction
// only.
func (s *Subject) lacksSide(vantage int, side uint8) bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		f := x.Flow
		if x.Vantage != vantage || f.Sides[side].Segments > 0 || f.Sides[1-side].Segments == 0 {
			return false
		}
		table := s.Points[vantage].Table
		if table == nil {
			return true
		}
		hp, ok := table.HostPair(&f.Key)
		if !ok {
			return true
		}
		if hp.A == f.Sides[side].Addr.Addr() {
			return hp.Frames[0] == 0
		}
		return hp.Frames[1] == 0
	})
}

// oneDirectionOnly says what such a vantage point leaves open.
func (s *Subject) oneDirectionOnly(vantage int, side uint8) string {
	return fmt.Sprintf("whether %s would hold what the %s sends if it arrived: it holds nothing of its host, and may have been taken of one direction only", s.Points[vantage].Name, sideName(side))
}

// onlyLarge reports whether all that a side lost since the onset is payload of a
// size that no path need carry, and larger than what crossed of it before: the
// smallest of them.
func (s *Subject) onlyLarge(side uint8, o *onset) (smallest int, large bool) {
	z := s.sizes(side)
	for _, i := range o.lost[side] {
		if ev := s.Passages[i].Event; ev.Run != nil || ev.Len < smallestLarge || ev.Len <= z.largest {
			return 0, false
		}
	}
	return int(z.smallest), z.smallest > 0
}

// unansweredSYN returns a fresh SYN since the onset that got no answer though the
// capture that holds it goes on for long enough, until soon after the last loss;
// nil where there is none. That it was lost on the way nothing proves.
func (s *Subject) unansweredSYN(last tcp.Instant) *Control {
	c := clockwork(s.Clocks)
	for i := range s.Controls {
		x := &s.Controls[i]
		if x.What != "fresh SYN" || x.Alive || !x.meanwhile(last) {
			continue
		}
		v := x.Refs[0].Vantage
		if c.to(s.Base, v, s.recordedUntil(v)).Sub(x.At) >= answerDue {
			return x
		}
	}
	return nil
}

// owesProbes reports whether a side is known to send keepalives, and is silent
// since before the onset for longer than it ever was before one: the frame of its
// last one, and for how long. Once is enough to know that it asks, not at what
// pace (see absences).
func (s *Subject) owesProbes(side uint8, o *onset) (probe pairing.Ref, silent time.Duration, owes bool) {
	c := clockwork(s.Clocks)
	for i := range s.Seen {
		seen := &s.Seen[i]
		longest := time.Duration(0) // silence after which it asked
		var before tcp.Instant
		for j := range seen.Flow.Events {
			ev := &seen.Flow.Events[j]
			if ev.Kind == flows.ICMPError || ev.From > flows.Server {
				continue
			}
			if c.to(s.Base, seen.Vantage, ev.End()) >= s.Passages[o.first].At {
				break
			}
			if ev.Kind == flows.KeepaliveProbe && ev.From == side {
				if before != 0 {
					longest = max(longest, ev.At.Sub(before))
				}
				if r := ev.Run; r != nil && r.Period.Known {
					longest = max(longest, r.Period.Max)
				}
				probe = s.ref(seen, ev.Ord, flows.KeepaliveProbe, ev.At)
			}
			before = ev.End()
		}
		if probe.Frame == 0 || probe.Vantage != seen.Vantage {
			continue
		}
		silent = s.lastLoss(o).Sub(c.to(s.Base, seen.Vantage, before))
		if silent > longest+longest/5 {
			return probe, silent, true
		}
	}
	return probe, 0, false
}

// maySleep reports whether a side's timestamps went on by less than its capture's
// clock over a stretch of Base's time, by as much as a sleep takes, and what they
// lack. Whether they or that clock are right takes another witness (see slept).
func (s *Subject) maySleep(side uint8, from, to tcp.Instant) (lacks time.Duration, slept bool) {
	seen := s.nearestSighting(side)
	ticks := s.ticksOf(seen, side)
	for i := 1; i < len(ticks); i++ {
		pause := ticks[i].at.Sub(ticks[i-1].at)
		perSecond, ok := rate(ticks, pause)
		if pause < leastSleep || !ok {
			continue
		}
		ran := time.Duration(float64(ticks[i].val-ticks[i-1].val) / perSecond * float64(time.Second))
		n := nap{side: side, from: ticks[i-1], to: ticks[i], vantage: seen.Vantage}
		if lacks := pause - ran; lacks >= max(leastSleep, pause/sleepShare) && s.covers(&n, from, to) {
			return lacks, true
		}
	}
	return 0, false
}

// unseenBefore reports whether the capture in which passage i was first seen
// misses frames of the connection right before it. Then the silence that it shows
// there was none.
func (s *Subject) unseenBefore(i int) bool {
	p := &s.Passages[i]
	for j := range s.Seen {
		if s.Seen[j].Vantage == p.First().Vantage {
			return s.leavesOut(&s.Seen[j], p, p.First())
		}
	}
	return false
}

// leavesOut reports whether a capture misses frames of the connection right before
// its sighting of a passage: octets that are acknowledged there and that it does
// not hold, or octets of the passage's sender that come before its own.
func (s *Subject) leavesOut(seen *pairing.Sighting, p *Passage, at pairing.Ref) bool {
	var next tcp.Seq
	var before tcp.Instant
	known := false
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		if ev.Ord >= at.Ord {
			break
		}
		if ev.Kind == flows.ICMPError || ev.From > flows.Server || ev.Kind == flows.Stale {
			continue
		}
		before = ev.End()
		end := ev.Seq.Add(int(ev.Len))
		if ev.Flags.Has(tcp.SYN) || ev.Flags.Has(tcp.FIN) {
			end = end.Add(1)
		}
		switch {
		case ev.Run != nil:
			known = false // it does not say where its last segment ends
		case ev.From == p.From && (!known || end.After(next)):
			next, known = end, true
		}
	}
	if known && p.Event.Run == nil && p.Event.Seq.After(next) {
		return true
	}
	return before != 0 && slices.ContainsFunc(seen.Flow.Missing, func(h capture.Interval) bool { return h.From >= before && h.To <= at.At })
}
