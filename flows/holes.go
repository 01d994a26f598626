package flows

import (
	"slices"
	"time"

	"kaflow/tcp"
)

// maxHoles bounds the stretches of missing octets that one direction keeps in
// mind; the oldest go first.
const maxHoles = 16

// skipped notes that the sender's octets from..to are missing so far.
func (s *step) skipped(from, to tcp.Seq) {
	r := s.rare()
	list := r.holes[s.d]
	if len(list) == maxHoles {
		list = slices.Delete(list, 0, 1)
	}
	r.holes[s.d] = append(list, hole{from, to, s.at})
	s.c.holed = true
}

// isHole reports whether a segment brings octets that are missing so far.
func (s *step) isHole(from, to tcp.Seq) bool {
	r := s.rareIf()
	if r == nil {
		return false
	}
	for _, x := range r.holes[s.d] {
		if from.Before(x.to) && to.After(x.from) {
			return true
		}
	}
	return false
}

// overtaken reports whether a segment that fills a hole was only reordered:
// sent before what came ahead of it, not sent again because that was lost.
func (s *step) overtaken() bool {
	if s.seg.Opts.Has(tcp.OptTimestamps) && s.h.tsval[s.d] != 0 {
		if newer := int32(s.seg.TSVal - s.h.tsval[s.d]); newer != 0 {
			return newer < 0
		}
	}
	limit := reorderMax
	if rtt := seconds(s.c.rtt[s.d].wide().min); rtt > 0 {
		limit = max(limit, rtt*9/10)
	}
	return s.sinceHole() < limit
}

func (s *step) sinceHole() time.Duration {
	for _, x := range s.rare().holes[s.d] {
		if s.seg.Seq.Before(x.to) && s.seg.End().After(x.from) {
			return s.at.Sub(x.at)
		}
	}
	return time.Hour
}

// fill takes from..to out of the sender's holes and reports whether it was
// missing.
func (s *step) fill(from, to tcp.Seq) bool {
	r := s.rareIf()
	if r == nil {
		return false
	}
	filled := false
	var left []hole
	for _, x := range r.holes[s.d] {
		if !from.Before(x.to) || !to.After(x.from) {
			left = append(left, x)
			continue
		}
		filled = true
		if from.After(x.from) {
			left = append(left, hole{x.from, from, x.at})
		}
		if to.Before(x.to) {
			left = append(left, hole{to, x.to, x.at})
		}
	}
	r.holes[s.d] = left
	s.c.holed = r.holed()
	return filled
}

// holed reports whether octets of either end are missing so far.
func (r *rare) holed() bool { return len(r.holes[0])+len(r.holes[1]) > 0 }

// dropBelow forgets holes that the peer has acknowledged: they arrived, the
// capture only misses them.
func dropBelow(list []hole, ack tcp.Seq) []hole {
	return slices.DeleteFunc(list, func(x hole) bool { return !x.to.After(ack) })
}
