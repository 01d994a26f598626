package analyzer

import (
	"fmt"
	"slices"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Outages that pass: what is lost then is no sign of a lost state, and a host that sleeps looks
// like one.

// outageBehind returns something fresh that is lost while the connection is, with nothing that crosses
// behind it, where of the connection no more than one loss lies before what crossed last: an
// outage explains the others, and one may happen to any. It is nil where there is none.
func (s *Subject) outageBehind(o *onset) (began *Control) {
	last, crossed := s.lastLoss(o), tcp.Instant(0)
	for i := range s.Controls {
		if c := &s.Controls[i]; c.Alive && c.Proof && c.At <= last {
			crossed = max(crossed, c.At)
		}
	}
	for i := range s.Controls {
		if c := &s.Controls[i]; c.freshLost(last) && crossed < c.At && c.At <= last {
			began = c
			break
		}
	}
	before := 0
	for side := range o.lost {
		for _, i := range o.lost[side] {
			if s.Passages[i].At < crossed {
				before += max(1, s.Passages[i].Count)
			}
		}
	}
	if before > 1 {
		return nil
	}
	return began
}

// mayHaveStood makes a cut path that works again less sure where the host that was asked sent nothing to
// anybody while the connection and what is fresh were lost, by its own capture: while a host sleeps or
// restarts, nothing arrives there either.
func (s *Subject) mayHaveStood(v *Verdict, o *onset) {
	c, to := clockwork(s.Clocks), s.lastLoss(o)
	var began *Control
	for i := range s.Controls {
		if x := &s.Controls[i]; x.freshLost(to) {
			if !x.Passed && !s.crossesBehind(to) {
				return
			}
			if began == nil {
				began = x
			}
		}
	}
	if began == nil {
		return
	}
	for side := range o.lost {
		if len(o.lost[side]) == 0 {
			continue
		}
		first := &s.Passages[o.lost[side][0]]
		far, asked, from := first.Between[1], other(uint8(side)), first.At
		if began.At < to {
			from = max(from, began.At)
		}
		if seen := s.sightingAt(far); seen == nil || s.Points[far].Table.Heard(seen.Flow.Sides[asked].Addr.Addr(), c.to(far, s.Base, from), c.to(far, s.Base, to)) {
			continue
		}
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s's host ran meanwhile: %s holds nothing that it sent then, to anybody, and what is asked later is answered again", sideName(asked), s.Points[far].Name))
	}
}

// crossesBehind reports whether anything of the connection crosses after an instant.
func (s *Subject) crossesBehind(at tcp.Instant) bool {
	return slices.ContainsFunc(s.Passages, func(p Passage) bool {
		return p.Known && p.How == pairing.Crossed && p.From <= flows.Server && p.At > at
	})
}
