package analyzer

import (
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// policies infers the keepalive policy of each end from what it sent. What was
// not seen stays unknown: a default is never filled in for it.
func policies(s *Subject) []Policy {
	var out []Policy
	for side := uint8(0); side < 2; side++ {
		if p, ok := policyOf(s, side); ok {
			out = append(out, p)
		}
		if p, ok := beatPolicyOf(s, side); ok {
			out = append(out, p)
		}
	}
	return out
}

// nearest returns the flow as seen nearest to a side: its own probes are all
// there, whatever the path lost.
func (s *Subject) nearest(side uint8) *flows.Flow {
	if side == flows.Server {
		return s.Seen[len(s.Seen)-1].Flow
	}
	return s.Seen[0].Flow
}

// nearestSighting is where that was.
func (s *Subject) nearestSighting(side uint8) *pairing.Sighting {
	if side == flows.Server {
		return &s.Seen[len(s.Seen)-1]
	}
	return &s.Seen[0]
}

// train is one series of probes of a side: the silence before the first and
// the times of those that went unanswered.
type train struct {
	first      tcp.Instant   // its first probe
	idle       time.Duration // since the side last received something that counts; 0 unknown
	unanswered []tcp.Instant
	reset      tcp.Instant // its own RST right behind; 0 none
	alive      tcp.Instant // what shows that no question was open before the unanswered ones; 0 nothing
}

// whole reports whether a side's unanswered probes of the train are all that there were:
// none before the first can be missing in the capture, nor one among them, nor the answers.
func (t *train) whole(f *flows.Flow, side uint8) bool {
	return t.alive != 0 && f.Sides[other(side)].Segments > 0 && !holesAt(f.Missing, t.alive, t.reset)
}

// trains collects the probe series of a side.
func trains(f *flows.Flow, side uint8) []train {
	var out []train
	var heard tcp.Instant // the peer's last segment, its own probes not counted
	var alive tcp.Instant // the last segment of either that is no unanswered probe
	var active *train
	for i := range f.Events {
		ev := &f.Events[i]
		if joinsWithAnswer(f, i) {
			continue
		}
		switch {
		case ev.Kind == flows.ICMPError || ev.From > flows.Server || ev.Kind == flows.Stale:
		case ev.From == side && ev.Kind == flows.KeepaliveProbe:
			if active == nil {
				out = append(out, train{first: ev.At})
				active = &out[len(out)-1]
				if heard != 0 && !holesAt(f.Missing, heard, ev.At) {
					active.idle = ev.At.Sub(heard)
				}
			}
			if ev.Run == nil && ev.AnsweredBy == 0 {
				if len(active.unanswered) == 0 {
					active.alive = alive
				}
				active.unanswered = append(active.unanswered, ev.At)
			} else {
				alive = ev.End()
			}
			if ev.Run != nil {
				heard = ev.Run.Until
			}
			if len(active.unanswered) > 0 && f.AnsweredInTime(ev) {
				active = nil // healed: the idle time runs anew
			}
		case ev.From == side && ev.Kind == flows.RST:
			if active != nil && len(active.unanswered) > 0 {
				active.reset = ev.At
			}
			active = nil
		case ev.From != side && ev.Kind == flows.RST:
			// Where it arrived nothing is asked any more; where it did not, it is no activity.
		case ev.From != side && (ev.Kind == flows.KeepaliveProbe || ev.Kind == flows.ZeroWindowProbe && ev.Run == nil):
			// Receiving a probe, of either kind, does not count as activity; a run of them neither.
		case ev.From != side && (ev.Kind == flows.KeepaliveACK || ev.Answers != 0):
			heard, alive = ev.At, ev.At
		default:
			active = nil
			if alive = ev.End(); ev.From != side {
				heard = ev.At
			}
			if ev.Run != nil && ev.Kind != flows.KeepaliveProbe {
				heard = ev.Run.OtherUntil
				if ev.Run.LastFrom != side {
					heard = ev.Run.Until
				}
			}
		}
	}
	return out
}

// joinsWithAnswer reports whether an event is the empty segment with which the capture joins
// a connection: it may answer a probe from before, in the middle of a train.
func joinsWithAnswer(f *flows.Flow, i int) bool {
	ev := &f.Events[i]
	return i == 0 && f.Midway && ev.Run == nil && ev.Len == 0 && ev.Kind != flows.KeepaliveProbe && ev.Flags&(tcp.SYN|tcp.FIN|tcp.RST) == 0
}

func policyOf(s *Subject, side uint8) (Policy, bool) {
	f := s.nearest(side)
	end := &f.Sides[side]
	if end.Probes == 0 {
		return Policy{}, false
	}
	if _, foreign, ok := s.foreignProbes(side); ok && foreign >= int(end.Probes) {
		return Policy{}, false // a device's, not the host's
	}
	p := Policy{End: side, Mechanism: TCPKeepalive, ProbeOctets: int(end.ProbeLen), Confidence: Likely}
	doubling := true
	ticks := s.ticksOf(s.nearestSighting(side), side)
	for _, t := range trains(f, side) {
		t.idle = s.trueIdle(ticks, s.nearestSighting(side).Vantage, &t)
		if t.idle >= 500*time.Millisecond && !sleptBefore(ticks, &t) {
			p.ObservedIdle.Add(t.idle)
		}
		var last time.Duration
		for i := 1; i < len(t.unanswered); i++ {
			gap := t.unanswered[i].Sub(t.unanswered[i-1])
			p.ObservedInterval.Add(gap)
			if last > 0 && float64(gap) < 1.4*float64(last) {
				doubling = false
			}
			last = gap
		}
		if t.reset != 0 {
			p.gaveUp(&t, t.whole(f, side))
		}
	}
	rtt := end.RTT.Max
	p.IdleCandidates = candidates(p.ObservedIdle, rtt)
	p.IntervalCandidates = candidates(p.ObservedInterval, rtt)
	if len(p.IdleCandidates) > 0 {
		p.Idle = p.IdleCandidates[0]
	}
	if len(p.IntervalCandidates) > 0 {
		p.Interval = p.IntervalCandidates[0]
	}
	p.Backoff = p.ObservedInterval.Known && doubling && p.ObservedInterval.Max >= 2*p.ObservedInterval.Min
	if p.Idle == 0 && !p.ObservedInterval.Known && !end.Period.Known {
		p.Confidence = Possible
	}
	p.ObservedPace = end.Period
	if p.usual() {
		p.Count = p.GaveUpAfter
	}
	if p.Idle > 0 && p.Interval > 0 && p.GaveUpAfter > 0 {
		p.Detection = facts.Detection(p.Idle, p.Interval, p.GaveUpAfter)
		p.Outage[0], p.Outage[1] = facts.Plan{Idle: p.Idle, Interval: p.Interval, Count: p.GaveUpAfter}.Outages()
	}
	return p, true
}

// gaveUp reads how a side ended a train of probes. Linux looks at a user timeout
// (TCP_USER_TIMEOUT) only when a probe is due, and at no count then: the RST
// that comes one interval after the last of n probes tells of a count of n, or
// of a user timeout that ran out since that probe. One that comes sooner tells
// of no count at all. Where the capture may lack probes of the train, those that
// it holds are the fewest that there were.
func (p *Policy) gaveUp(t *train, whole bool) {
	n := len(t.unanswered)
	first, last := t.unanswered[0], t.unanswered[n-1]
	wait := t.reset.Sub(last)
	if p.ObservedInterval.Known && wait < p.ObservedInterval.Min*8/10 {
		if t.idle > 0 {
			p.UserTimeout = (t.idle + t.reset.Sub(first)).Truncate(time.Second)
		}
		return
	}
	if n > 1 {
		p.ObservedInterval.Add(wait)
	}
	if !whole {
		p.GaveUpAtLeast = max(p.GaveUpAtLeast, n)
		return
	}
	p.GaveUpAfter = n
	if t.idle > 0 {
		p.UserTimeoutIn = flows.Range{Max: t.idle + t.reset.Sub(first), Known: true}
		if n > 1 { // when the last probe was due it had not run out
			p.UserTimeoutIn.Min = t.idle + last.Sub(first)
		}
	}
}

// usual reports whether idle time, interval and the probes before the RST are
// together what a system has by default: no user timeout meets that by chance.
func (p *Policy) usual() bool {
	if p.GaveUpAfter == 0 || p.Idle == 0 || p.Interval == 0 {
		return false
	}
	return slices.ContainsFunc(facts.Defaults(), func(d facts.Default) bool {
		return d.Count == p.GaveUpAfter && slices.Contains(p.IdleCandidates, d.Idle) && slices.Contains(p.IntervalCandidates, d.Interval)
	})
}

// sleptBefore reports whether a side's clock of timestamps stood in the silence
// before a train, as that of a host that slept: its timers stood as well, and the
// silence tells nothing of them.
func sleptBefore(ticks []tick, t *train) bool {
	for i := 1; i < len(ticks); i++ {
		if ticks[i].at != t.first {
			continue
		}
		pause := ticks[i].at.Sub(ticks[i-1].at)
		perSecond, ok := rate(ticks, pause)
		ran := time.Duration(float64(ticks[i].val-ticks[i-1].val) / max(perSecond, 1) * float64(time.Second))
		return ok && pause-ran >= max(leastSleep, pause/sleepShare)
	}
	return false
}

// trueIdle returns how long the silence before a train was, where the clock of the
// side's capture was set in it: what that clock and the step leave, as the side's clock
// of timestamps bears out, which nobody sets. It is 0 where that is not known.
func (s *Subject) trueIdle(ticks []tick, vantage int, t *train) time.Duration {
	step, stepped := s.stepWithin(vantage, t.first.Add(-t.idle), t.first)
	i := slices.IndexFunc(ticks, func(k tick) bool { return k.at == t.first })
	if i < 1 {
		if stepped {
			return 0
		}
		return t.idle
	}
	pause := ticks[i].at.Sub(ticks[i-1].at)
	perSecond, ok := rate(ticks, pause)
	ran := time.Duration(float64(ticks[i].val-ticks[i-1].val) / max(perSecond, 1) * float64(time.Second))
	fits := func(length time.Duration) bool { return ok && (ran-length).Abs() < max(time.Second, length/200) }
	switch {
	case fits(pause):
		return t.idle
	case stepped && fits(pause-step):
		return t.idle - step
	case stepped, ok && ran-pause >= max(leastSleep, pause/50): // ahead of it no such clock goes
		return 0
	}
	return t.idle
}

// stepWithin returns by how much the clock of a vantage point was set forward between two
// moments of it, if it was that one and no other that was set, and whether one was.
func (s *Subject) stepWithin(vantage int, from, to tcp.Instant) (step time.Duration, ok bool) {
	for i := 1; i < len(s.Clocks); i++ {
		a, b := &s.Clocks[i-1], &s.Clocks[i]
		step := b.Offset - a.Offset
		if a.From != b.From || a.To != b.To || a.Until >= b.Since || step.Abs() < time.Second {
			continue
		}
		since, until := a.Until, b.Since
		switch vantage {
		case a.From:
			step = -step
		case a.To:
			since, until = a.Map(since), b.Map(until)
		default:
			continue
		}
		if max(from, min(since, until)) < min(to, max(since, until)) {
			return step, true
		}
	}
	return 0, false
}

// candidates returns the round values that explain a whole observed range.
func candidates(r flows.Range, rtt time.Duration) []time.Duration {
	if !r.Known {
		return nil
	}
	low := facts.Candidates(r.Min, rtt)
	return slices.DeleteFunc(low, func(v time.Duration) bool {
		return !facts.FitsConfigured(v, r.Max, rtt)
	})
}

// nameLikes names the systems that the keepalives of policies resemble. That takes most of
// the time that policies take, and is asked of connections alone that are told.
func (s *Subject) nameLikes(policies []Policy) {
	for i := range policies {
		if p := &policies[i]; p.Mechanism == TCPKeepalive {
			p.Resembles = resembles(p, &s.nearest(p.End).Sides[p.End])
		}
	}
}

func resembles(p *Policy, end *flows.Side) []string {
	rtt := end.RTT.Max
	o := facts.Observed{
		Idle: p.ObservedIdle.Min, IntervalMin: p.ObservedInterval.Min, IntervalMax: p.ObservedInterval.Max,
		RTT: rtt, Count: p.GaveUpAfter, ProbeOctets: p.ProbeOctets, OctetsKnown: true,
	}
	if end.Period.Known {
		o.Period = end.Period.Min
	}
	if p.ObservedInterval.Known && p.ObservedInterval.Max > p.ObservedInterval.Min {
		o.Backoff = facts.No
		if p.Backoff {
			o.Backoff = facts.Yes
		}
	}
	var names []string
	for _, m := range facts.Resembles(o) {
		if len(names) == 3 {
			break
		}
		if m.Default.Shaky() {
			continue
		}
		names = append(names, m.Default.Name)
	}
	return names
}

// remark says what a policy means on a path of which the idle limit is known.
func remark(p *Policy, b *IdleBracket) string {
	idle := p.Idle
	if p.beats() {
		idle = p.Interval
	}
	switch {
	case b.Killed == 0 || idle == 0:
		return ""
	case idle >= b.Killed*95/100:
		return "too slow for this path"
	case idle > b.Survived:
		return "perhaps too slow for this path"
	}
	return ""
}
