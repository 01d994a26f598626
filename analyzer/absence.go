package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// An absence is a stretch in which a host's own keepalives were due and are
// missing from the capture that was taken on it, with all else of the
// connection: its link was down, it slept, or the capture paused.
type absence struct {
	side     uint8
	seen     *pairing.Sighting
	from, to tcp.Instant // on the vantage point's own clock
	pace     time.Duration
	before   pairing.Ref
	after    pairing.Ref // the first that was there again; Frame 0 where nothing was
	clock    string      // what its clock of timestamps did meanwhile
}

// lateness is by how much a due keepalive may be late: kernels round their
// timers up by an eighth at most.
const lateness = 1.2

// absences lists the stretches in which a side should have been heard in its
// own capture and was not.
func (s *Subject) absences(side uint8) []absence {
	return s.absencesUntil(side, s.lastAt(s.nearestSighting(side).Vantage))
}

// absencesUntil is absences where the side's own capture is taken to have gone on until an
// instant of its clock.
func (s *Subject) absencesUntil(side uint8, until tcp.Instant) []absence {
	seen := s.nearestSighting(side)
	f := seen.Flow
	if own := &f.Sides[side]; own.Segments == 0 || hops(own.TTLs[0]) != 0 || hops(own.TTLs[1]) != 0 {
		return nil // not taken on the host
	}
	var out []absence
	var end, heard tcp.Instant
	var endOrd tcp.Ordinal
	var pace time.Duration
	var idles []time.Duration
	var sent tcp.Seq // one past the last octet of the side
	waits := false   // for its acknowledgment: then retransmissions are due, and no keepalives
	overdue := func(silence time.Duration) bool {
		return pace > 0 && silence > time.Duration(float64(pace)*lateness)+time.Second
	}
	missing := func(at tcp.Instant, ord tcp.Ordinal, kind flows.Kind) {
		if end == 0 || !overdue(at.Sub(end)) || waits || holesAt(f.Missing, end, at) {
			return
		}
		a := absence{side: side, seen: seen, from: end, to: at, pace: pace, before: s.ref(seen, endOrd, flows.Unknown, end)}
		if ord != 0 {
			a.after = s.ref(seen, ord, kind, at)
		}
		a.clock = s.clockOver(seen, side, end, at)
		out = append(out, a)
	}
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind == flows.ICMPError || ev.From > flows.Server || ev.Kind == flows.Stale {
			continue
		}
		missing(ev.At, ev.Ord, ev.Kind)
		switch {
		case ev.Kind == flows.FIN || ev.Kind == flows.RST:
			return out // from here on no keepalives are due
		case ev.Run != nil:
			waits = false
		case ev.From == side && ev.Len > 0 && ev.Kind != flows.KeepaliveProbe:
			sent, waits = ev.Seq.Add(int(ev.Len)), true
		case ev.From != side && waits && ev.Flags.Has(tcp.ACK) && !ev.Ack.Before(sent):
			waits = false
		}
		switch r := ev.Run; {
		case ev.From == side && ev.Kind == flows.KeepaliveProbe && r != nil && r.Count[side] == 2 && overdue(r.Period.Max):
			// Two probes make a run, whatever lies between them.
			end, endOrd = ev.At, ev.Ord
			missing(r.Until, r.UntilOrd, flows.KeepaliveACK)
		case ev.From == side && ev.Kind == flows.KeepaliveProbe && r != nil && r.Count[side] >= 2 && r.Period.Known:
			pace = max(pace, r.Period.Max)
		case ev.From == side && ev.Kind == flows.KeepaliveProbe && ev.AnsweredBy != 0 && heard != 0:
			if idles = append(idles, ev.At.Sub(heard)); len(idles) >= 2 && steady(idles) {
				pace = max(pace, idles[len(idles)-1])
			}
		}
		if ev.From != side && ev.Kind != flows.KeepaliveProbe || ev.Run != nil {
			heard = ev.End()
		}
		if ev.End() >= end {
			end, endOrd = ev.End(), ev.EndOrd()
		}
	}
	missing(until, 0, flows.Unknown)
	return out
}

// steady reports whether pauses are equally long, as far as timers are exact.
func steady(pauses []time.Duration) bool {
	lo, hi := pauses[0], pauses[0]
	for _, d := range pauses[1:] {
		lo, hi = min(lo, d), max(hi, d)
	}
	return float64(hi) <= lateness*float64(lo)
}

// lastAt returns when a vantage point recorded its last frame, on its own clock.
func (s *Subject) lastAt(vantage int) tcp.Instant {
	var last tcp.Instant
	for i := range s.Points[vantage].Files {
		if f := &s.Points[vantage].Files[i]; f.Frames > 0 {
			last = max(last, f.Last)
		}
	}
	return last
}

// recordedUntil returns until when a vantage point recorded, on its own clock: a
// file to its last frame, a live capture to now.
func (s *Subject) recordedUntil(vantage int) tcp.Instant {
	last := s.lastAt(vantage)
	if table := s.Points[vantage].Table; table != nil {
		last = max(last, table.Now())
	}
	return last
}

// clockOver says what a side's clock of timestamps did over a silence; "" where
// nothing tells.
func (s *Subject) clockOver(seen *pairing.Sighting, side uint8, from, to tcp.Instant) string {
	ticks := s.ticksOf(seen, side)
	for i := 1; i < len(ticks); i++ {
		if ticks[i-1].at > from || ticks[i].at < to {
			continue
		}
		perSecond, ok := rate(ticks, to.Sub(from))
		if !ok {
			return ""
		}
		ran := float64(ticks[i].val-ticks[i-1].val) / perSecond
		if ran >= mostMissing*ticks[i].at.Sub(ticks[i-1].at).Seconds() {
			return "went on"
		}
		return "stood"
	}
	return ""
}

// ownSilence tells the keepalives that a host owed and that its own capture
// lacks.
func ownSilence(s *Subject, d *Diagnosis) []Finding {
	for i := range d.Findings {
		if d.Findings[i].Rule == "own-silence" {
			return nil
		}
	}
	naps := s.naps()
	for side := uint8(0); side < 2; side++ {
		for _, a := range s.absences(side) {
			if len(naps) > 0 && naps[0].side == side {
				continue // a host that slept is told as such
			}
			return []Finding{s.ownSilenceFinding(&a)}
		}
	}
	return nil
}

func (s *Subject) ownSilenceFinding(a *absence) Finding {
	f := Finding{Rule: "own-silence", Evidence: []pairing.Ref{a.before},
		Says: fmt.Sprintf("the %s's own keepalives came every %s and are missing for %s from %s, which was taken on its host, as is all else of the connection",
			sideName(a.side), facts.Compact(a.pace), facts.Compact(a.to.Sub(a.from)), s.Points[a.seen.Vantage].Name),
		Suggests: "its link was down, its host slept, or the capture paused"}
	if a.after.Frame != 0 {
		f.Evidence = append(f.Evidence, a.after)
	}
	if a.clock == "went on" {
		f.Suggests = "its link was down, or the capture paused; the host did not sleep, for its clock of timestamps went on"
	}
	return f
}

// absentPeer holds where what one end sends is lost while the other end's host
// was not there to take it: it slept, or its link was down, as its own capture
// tells of this connection, of another one between the two hosts, or of pings.
func absentPeer(s *Subject) Answer {
	o, ok := findOnset(s)
	if !ok || s.endedBefore(o.first) {
		return Answer{}
	}
	for asker := uint8(0); asker < 2; asker++ {
		lost := o.lost[asker]
		if len(lost) < 2 {
			continue
		}
		first, last := s.Passages[lost[0]].At, s.Passages[lost[len(lost)-1]].At
		host := other(asker)
		if why, summary, ok := s.away(host, first, last); ok {
			return s.hostAway(&o, host, why, summary)
		}
		if why, summary, ok := s.awayBeside(host, lost); ok {
			return s.hostAway(&o, host, why, summary)
		}
	}
	return Answer{}
}

// unkept returns the keepalives of a side's own that would be in its capture, of this connection or of
// another one between the two hosts, had its host been there and the capture gone on until an instant.
func (s *Subject) unkept(side uint8, until tcp.Instant) (a absence, ok bool) {
	c := clockwork(s.Clocks)
	at := func(k *Subject, side uint8) bool {
		v := k.nearestSighting(side).Vantage
		list := k.absencesUntil(side, c.to(v, s.Base, until))
		if n := len(list); n > 0 && list[n-1].after.Frame == 0 && list[n-1].to > k.lastAt(v) {
			a, ok = list[n-1], true
		}
		return ok
	}
	if at(s, side) {
		return a, true
	}
	host := s.nearest(side).Sides[side].Addr.Addr()
	for k := range s.company {
		if side, known := k.sideOf(host); known && at(k, side) {
			break
		}
	}
	return a, ok
}

// mostOf returns the end of the greater part of a stretch in which things were lost: what is lost last
// may be so by chance.
func mostOf(first, last tcp.Instant) tcp.Instant { return first.Add(last.Sub(first) * 3 / 4) }

// away reports whether a side's host slept, or was cut off, while what was sent to it from
// first to last was lost, and says why that is known.
func (s *Subject) away(host uint8, first, last tcp.Instant) (why Finding, summary string, ok bool) {
	for _, n := range s.naps() {
		if n.side == host && s.covers(&n, first, last) {
			return n.finding(), fmt.Sprintf("The %s's host was suspended for about %s", sideName(host), facts.Compact(n.lacks)), true
		}
	}
	c := clockwork(s.Clocks)
	for _, a := range s.absences(host) {
		from, to := c.to(s.Base, a.seen.Vantage, a.from), c.to(s.Base, a.seen.Vantage, a.to)
		if from > first.Add(clockSlack) || to < mostOf(first, last) {
			continue
		}
		return s.ownSilenceFinding(&a), fmt.Sprintf("The %s's host was cut off, or away: its own keepalives, due every %s, are missing from the capture taken on it", sideName(host), facts.Compact(a.pace)), true
	}
	return Finding{}, "", false
}

// awayBeside is away by what the host's pings, or another connection of the two hosts, tell, where the
// capture nearest to the host holds nothing that it sent meanwhile, to anybody. lost are the passages
// that were.
func (s *Subject) awayBeside(host uint8, lost []int) (why Finding, summary string, ok bool) {
	first, last := s.Passages[lost[0]].At, s.Passages[lost[len(lost)-1]].At
	from, to := s.Passages[lost[1]].At, mostOf(first, last) // the first may be lost by chance, too
	c, near := clockwork(s.Clocks), s.nearestSighting(host)
	addr := near.Flow.Sides[host].Addr.Addr()
	if s.Points[near.Vantage].Table.Heard(addr, c.to(near.Vantage, s.Base, from), c.to(near.Vantage, s.Base, to)) {
		return Finding{}, "", false
	}
	if why, ok = s.pingless(near, addr, c.to(near.Vantage, s.Base, first), c.to(near.Vantage, s.Base, mostOf(first, last))); ok {
		return why, fmt.Sprintf("The %s's host was cut off, or away: its own pings are missing from the capture taken on it", sideName(host)), true
	}
	for k := range s.company {
		side, known := k.sideOf(addr)
		if !known {
			continue
		}
		if why, summary, ok = k.away(side, c.to(k.Base, s.Base, first), c.to(k.Base, s.Base, last)); ok {
			summary += ", as another connection tells"
			why.Says += fmt.Sprintf(" (of another connection between the two hosts, %s → %s)", k.flow.Sides[flows.Client].Addr, k.nearest(flows.Server).Sides[flows.Server].Addr)
			return why, summary, true
		}
	}
	return Finding{}, "", false
}

func (s *Subject) hostAway(o *onset, host uint8, why Finding, summary string) Answer {
	v := s.pathVerdict(PeerGone, o)
	v.Confidence = Likely
	seen := s.nearestSighting(host)
	v.Between = [2]int{seen.Vantage, seen.Vantage}
	v.Unknown = []string{"why it was away: look at the " + sideName(host) + "'s host and its link, its log of suspend and resume and of its network card"}
	lost := s.nothingCrosses(o)
	v.Summary = fmt.Sprintf("%s. What the %s sent meanwhile, %s of silence after the last that crossed, reached nobody. No device between needs to have forgotten anything.", summary, sideName(other(host)), facts.Compact(o.silence))
	return Answer{Verdict: v, Findings: []Finding{lost, why}}
}
