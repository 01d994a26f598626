package analyzer

import (
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// lostLast finds the answers with which a run of keepalives ends at the answering side
// and which the prober's capture lacks, though it holds those before and the probes.
func (s *Subject) lostLast(near, far *pairing.Sighting, run *flows.Event, from, to tcp.Instant, c clockwork) (Passage, bool) {
	answerer, period := other(run.From), run.Run.Period
	all := int(run.Run.Count[answerer])
	missing := all - s.countOfSide(c, near, answerer, from.Add(-time.Second), to.Add(time.Second))
	last := s.lastHeard(c, near, answerer, to.Add(time.Second))
	if missing <= 0 || missing >= all || !period.Known || 2*period.Max >= 3*period.Min || period.Min <= 2*time.Second ||
		to.Sub(last) < time.Duration(missing)*period.Min-period.Min/2 {
		return Passage{}, false
	}
	p := s.lostRun(near, far, run, from, last, to, c)
	p.Count, p.Row, p.At = missing, missing > 1, max(from, to.Add(-time.Duration(missing-1)*period.Max))
	if _, _, why := s.Doubt(near.Vantage, missing); why != "" {
		return Passage{}, false // so few it may as well have missed
	}
	return p, p.How == pairing.Lost
}

// lastHeard returns when a vantage point last saw anything of a side until an instant,
// on Base's clock.
func (s *Subject) lastHeard(c clockwork, seen *pairing.Sighting, side uint8, until tcp.Instant) (last tcp.Instant) {
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		if ev.From != side && (ev.Run == nil || ev.Run.Count[side] == 0) {
			continue
		}
		if at := c.to(s.Base, seen.Vantage, ev.End()); at <= until {
			last = max(last, at)
		}
	}
	return last
}

// lastAmong returns when the capture that a side's segments are sent to last holds some of
// them within a run of keepalives, of which the passages tell the probes alone.
func (s *Subject) lastAmong(side uint8) (last tcp.Instant) {
	near, c := s.nearestSighting(1-side), clockwork(s.Clocks)
	for i := range near.Flow.Events {
		if ev := &near.Flow.Events[i]; ev.Run != nil && ev.Kind == flows.KeepaliveProbe && ev.From != side && ev.Run.Count[side] > 0 {
			last = max(last, c.to(s.Base, near.Vantage, ev.Run.Until))
		}
	}
	return last
}

// lostOf returns the answers that are lost of those with which the run that is passage i
// ends; nil where none is.
func (s *Subject) lostOf(i int) *Passage {
	run := &s.Passages[i]
	if run.Event.Run == nil || run.Kind != flows.KeepaliveProbe {
		return nil
	}
	for j := range s.Passages {
		p := &s.Passages[j]
		if p.Kind == flows.KeepaliveACK && p.Known && p.How == pairing.Lost && p.Last.Vantage == run.Last.Vantage && p.Last.Ord == run.Last.Ord {
			return p
		}
	}
	return nil
}

// pauseWithin is the longest silence within a run of keepalives: every probe ended one of a
// period less the round trip.
func pauseWithin(r *flows.Run) time.Duration { return max(0, r.Period.Max-r.RTT.Max) }
