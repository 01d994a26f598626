package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// tick is one reading of a side's clock of timestamps: when a segment was seen
// and what it carried.
type tick struct {
	at  tcp.Instant
	val uint32
	ref pairing.Ref
	own bool // seen at its sender, when it was sent
}

// ticksOf lists the timestamps of a side as one vantage point saw them, in the
// order in which they were sent.
func (s *Subject) ticksOf(seen *pairing.Sighting, side uint8) []tick {
	var out []tick
	ttls := seen.Flow.Sides[side].TTLs
	own := hops(ttls[0]) == 0 && hops(ttls[1]) == 0
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		if ev.From != side || !ev.HasTS || ev.TSVal == 0 || ev.Kind == flows.Duplicate || ev.Kind == flows.Stale {
			continue
		}
		if n := len(out); n > 0 && int32(ev.TSVal-out[n-1].val) < 0 {
			continue // overtaken on the way
		}
		out = append(out, tick{ev.At, ev.TSVal, s.ref(seen, ev.Ord, ev.Kind, ev.At), own})
	}
	return out
}

// Limits of what is said about a clock of timestamps.
const (
	steadySpan  = 2 * time.Second // over which its rate can be told
	leastTicks  = 25              // so many are as good, where they were seen at their sender
	leastSleep  = 5 * time.Second // that it must lack
	sleepShare  = 4               // and this part of the silence: clocks of some kernels lag by a tenth
	mostMissing = 0.9             // of the rate, by which a clock that runs is recognised
)

// tickRates are what kernels count in a second.
var tickRates = [...]float64{1_000_000, 1000, 500, 300, 250, 200, 128, 100, 64, 60, 50, 20, 10, 2}

// rate returns how many ticks a second the clock makes, by the longest stretch
// of readings in which none lies further than a silence from the last. It must
// be a rate that kernels use: what an odd first reading gives is none.
func rate(ticks []tick, limit time.Duration) (perSecond float64, ok bool) {
	var best time.Duration
	measured := 0.0
	for i := 0; i < len(ticks); {
		j := i
		for j+1 < len(ticks) && ticks[j+1].at.Sub(ticks[j].at) < limit {
			j++
		}
		n := ticks[j].val - ticks[i].val
		if d := ticks[j].at.Sub(ticks[i].at); d > best && (d >= steadySpan || ticks[i].own && n >= leastTicks) {
			best, measured = d, float64(n)/d.Seconds()
		}
		i = j + 1
	}
	for _, r := range tickRates {
		if measured > 0.95*r && measured < 1.05*r {
			return r, true
		}
	}
	return 0, false
}

// A nap is a stretch over which a host's clock of timestamps stood still for a
// while and its peer's did not: it slept, or its virtual machine was paused.
// Timestamps count the time that a kernel runs (Linux: the clock that stops in
// suspend).
type nap struct {
	side     uint8
	from, to tick // the last reading before it and the first after it
	ran      time.Duration
	lacks    time.Duration
	vantage  int
	kept     string // who kept time, for the sentence
}

// naps lists the first such stretch of each side, as the first vantage point
// that shows it tells.
func (s *Subject) naps() []nap {
	var out []nap
	for side := uint8(0); side < 2; side++ {
		for i := range s.Seen {
			if n, ok := s.slept(&s.Seen[i], side); ok {
				out = append(out, n)
				break
			}
		}
	}
	return out
}

// covers reports whether a stretch of Base's time lies within a nap, but for
// what clocks are off.
func (s *Subject) covers(n *nap, from, to tcp.Instant) bool {
	c := clockwork(s.Clocks)
	return c.to(s.Base, n.vantage, n.from.at) <= from.Add(clockSlack) && c.to(s.Base, n.vantage, n.to.at) >= to.Add(-clockSlack)
}

// hostSuspended tells silences in which a host slept.
func hostSuspended(s *Subject, d *Diagnosis) []Finding {
	if slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Rule == "host-suspended" }) {
		return nil
	}
	for _, n := range s.naps() {
		return []Finding{n.finding()}
	}
	return nil
}

func (n *nap) finding() Finding {
	return Finding{Rule: "host-suspended",
		Says: fmt.Sprintf("over %s of silence of the %s its clock of timestamps went on by only %s, while %s kept time",
			facts.Compact(n.to.at.Sub(n.from.at)), sideName(n.side), facts.Compact(max(0, n.ran)), n.kept),
		Suggests: fmt.Sprintf("the %s's host was suspended, or paused as a virtual machine is, for about %s", sideName(n.side), facts.Compact(n.lacks)),
		Evidence: []pairing.Ref{n.from.ref, n.to.ref}}
}

func (s *Subject) slept(seen *pairing.Sighting, side uint8) (nap, bool) {
	if !lasts(seen.Flow.Events, leastSleep) {
		return nap{}, false
	}
	own, peer := s.ticksOf(seen, side), s.ticksOf(seen, 1-side)
	for i := 1; i < len(own); i++ {
		pause := own[i].at.Sub(own[i-1].at)
		if pause < leastSleep {
			continue
		}
		perSecond, ok := rate(own, pause)
		if !ok {
			continue
		}
		ran := time.Duration(float64(own[i].val-own[i-1].val) / perSecond * float64(time.Second))
		lacks := pause - ran
		kept, who := keptTime(peer, own[i-1].at, own[i].at), "the "+sideName(1-side)+"'s"
		if !spansOver(peer, own[i-1].at, own[i].at) && s.sameLength(seen.Vantage, own[i-1].at, own[i].at) {
			kept, who = pause, "the clocks of both captures"
		}
		if least := max(leastSleep, pause/sleepShare); lacks < least || kept-ran < least {
			continue
		}
		return nap{side, own[i-1], own[i], ran, lacks, seen.Vantage, who}, true
	}
	return nap{}, false
}

// lasts reports whether the first and the last of some events lie so far apart.
func lasts(events []flows.Event, least time.Duration) bool {
	first, last := tcp.MaxInstant, tcp.MinInstant
	for i := range events {
		first, last = min(first, events[i].At), max(last, events[i].At)
	}
	return last.Sub(first) >= least && len(events) > 0
}

// spansOver reports whether a side's timestamps are known from before a stretch
// and from behind it: then they tell themselves whether they kept time.
func spansOver(ticks []tick, from, to tcp.Instant) bool {
	return len(ticks) > 1 && ticks[0].at <= from.Add(time.Second) && ticks[len(ticks)-1].at >= to.Add(-time.Second)
}

// sameLength reports whether the clocks of two captures agree over a stretch of
// one of them: segments crossed before it and after it, and one offset fits all.
// Then neither clock was set meanwhile.
func (s *Subject) sameLength(vantage int, from, to tcp.Instant) bool {
	c := clockwork(s.Clocks)
	from, to = c.to(s.Base, vantage, from), c.to(s.Base, vantage, to)
	one := func(k pairing.Clock) bool {
		since, until := c.to(s.Base, k.From, k.Since), c.to(s.Base, k.From, k.Until)
		return !k.Contradiction && since <= from.Add(clockSlack) && (until == 0 || until >= to.Add(-clockSlack))
	}
	if !s.TwoSided() || !slices.ContainsFunc(s.Clocks, one) {
		return false
	}
	before, after := false, false
	for i := range s.Passages {
		if p := &s.Passages[i]; len(p.Refs) > 1 {
			before = before || p.At <= from.Add(clockSlack)
			after = after || max(p.At, p.Until) >= to.Add(-clockSlack)
		}
	}
	return before && after
}

// keptTime returns for how long of a stretch of the capture a side's timestamps
// went on as its clock does: else the capture's own clock was set.
func keptTime(ticks []tick, from, to tcp.Instant) time.Duration {
	perSecond, ok := rate(ticks, to.Sub(from))
	before, after := -1, -1
	for i := range ticks {
		if ticks[i].at <= from.Add(time.Second) {
			before = i
		}
		if ticks[i].at <= to.Add(time.Second) {
			after = i
		}
	}
	if !ok || before < 0 || after <= before {
		return 0
	}
	ran := float64(ticks[after].val-ticks[before].val) / perSecond
	stretch := ticks[after].at.Sub(ticks[before].at)
	if ran < mostMissing*stretch.Seconds() {
		return 0
	}
	return stretch
}

// deviceProbes tells keepalive probes that bear a host's name and that the host
// did not send.
func deviceProbes(s *Subject, _ *Diagnosis) []Finding {
	var out []Finding
	for side := uint8(0); side < 2; side++ {
		if f, _, ok := s.foreignProbes(side); ok {
			out = append(out, f)
		}
	}
	return out
}

// foreignProbes finds the probes in a side's name that come from another
// distance than all else of that side; where its own capture is there, which
// was recording, they must be missing in it, or come from elsewhere there, too.
func (s *Subject) foreignProbes(side uint8) (f Finding, n int, ok bool) {
	if !s.TwoSided() || len(s.Seen) < 2 {
		return s.foreignProbesAt(side, &s.Seen[0], nil)
	}
	origin, far := s.nearestSighting(side), s.nearestSighting(other(side))
	if f, n, ok = s.foreignProbesAt(side, far, origin); ok || beside(origin.Flow, side) {
		return f, n, ok
	}
	return s.foreignProbesAt(side, origin, nil)
}

// foreignProbesAt looks for them at one vantage point; origin is the side's own capture,
// nil where none is asked.
func (s *Subject) foreignProbesAt(side uint8, far, origin *pairing.Sighting) (f Finding, n int, ok bool) {
	const fewest = 2
	who := sideName(side)
	ttls := ttlsBut(far.Flow, side)
	var refs []pairing.Ref
	own := 0
	for i := range far.Flow.Events {
		ev := &far.Flow.Events[i]
		if ev.From != side || ev.Kind != flows.KeepaliveProbe {
			continue
		}
		many := 1
		if ev.Run != nil {
			many = int(ev.Run.Count[side])
		}
		if ttls == nil || slices.Contains(ttls, ev.TTL) || origin != nil && !s.neverSent(origin, far, ev) {
			own += many
			continue
		}
		n += many
		refs = append(refs, s.ref(far, ev.Ord, ev.Kind, ev.At))
	}
	if n < fewest || origin == nil && own > 0 {
		return f, 0, false
	}
	f = Finding{Rule: "device-probes", Says: fmt.Sprintf("all %d keepalive probes in the %s's name come from another distance than the rest of its segments", n, who),
		Suggests: "a device on the way sends them, it seems: do not count them as the " + who + "'s policy", Evidence: refs[:min(len(refs), 8)]}
	if origin != nil {
		f.Says = fmt.Sprintf("%d keepalive probes in the %s's name come from another distance than its own segments, and are not in %s, which was recording", n, who, s.Points[origin.Vantage].Name)
		f.Suggests = "a device between sends them: they are not the " + who + "'s policy, and prove nothing of it"
	}
	return f, n, true
}

// neverSent reports whether the capture nearest to a side was recording and
// holds no probe of it at the time of an event of the capture beyond, nor traffic
// in which one may be hidden.
func (s *Subject) neverSent(origin, far *pairing.Sighting, ev *flows.Event) bool {
	c := clockwork(s.Clocks)
	from, to := c.to(s.Base, far.Vantage, ev.At), c.to(s.Base, far.Vantage, ev.End())
	asks := slices.ContainsFunc(origin.Flow.Events, func(x flows.Event) bool {
		mayAsk := x.From == ev.From && x.Kind != flows.ACK && x.Kind != flows.KeepaliveACK
		if x.Run != nil {
			mayAsk = x.Run.Count[ev.From] > 0 && (x.From == ev.From || x.Kind != flows.KeepaliveProbe)
		}
		return mayAsk && c.to(s.Base, origin.Vantage, x.At) <= to.Add(time.Second) && c.to(s.Base, origin.Vantage, x.End()) >= from.Add(-time.Second)
	})
	return !asks && s.recorded(origin, from) && s.recorded(origin, to)
}

// ttlsBut lists the TTLs of all that a side sent but probes and RSTs; nil where
// there is too little of it.
func ttlsBut(f *flows.Flow, side uint8) []uint8 {
	var ttls []uint8
	n := 0
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From != side || ev.Kind == flows.KeepaliveProbe || ev.Kind == flows.RST || ev.Kind == flows.ICMPError {
			continue
		}
		ttls = append(ttls, ev.TTL)
		n++
	}
	if n < 3 {
		return nil
	}
	return ttls
}
