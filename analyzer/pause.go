package analyzer

import (
	"cmp"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// pause is the longest silence within a run of keepalives, passage i, that the other end's
// keepalives cannot have cut: where they lie within it, what was folded does not tell which
// silence is which, and as much is claimed as lasted in any case.
func (s *Subject) pause(i int) time.Duration {
	p := &s.Passages[i]
	most := pauseWithin(p.Event.Run)
	var cuts []exchange
	for j := range s.Passages {
		if q := &s.Passages[j]; q.From == 1-p.From && q.Kind == flows.KeepaliveProbe && q.At < p.Until && max(q.At, q.Until) > p.At {
			cuts = append(cuts, q.exchanges()...)
		}
	}
	if len(cuts) == 0 {
		return most
	}
	return min(most, longestFree(p.exchanges(), cuts))
}

// uncut shortens a silence that passage i ended to what no keepalive of a run that goes on
// beyond it can have cut.
func (s *Subject) uncut(i int, silence time.Duration) time.Duration {
	p := &s.Passages[i]
	for j := range i {
		q := &s.Passages[j]
		if q.From != 1-p.From || q.Kind != flows.KeepaliveProbe || q.Event.Run == nil || q.Until <= p.At {
			continue
		}
		for _, x := range q.exchanges() {
			if x.from < p.At {
				silence = min(silence, max(0, p.At.Sub(x.to)))
			}
		}
	}
	return silence
}

// exchange is a stretch of time in which a keepalive and its answer passed.
type exchange struct{ from, to tcp.Instant }

// exchangesKept is how many exchanges from either end of a run are told apart.
const exchangesKept = 128

// exchanges returns when the keepalives of a passage, and their answers, can have passed:
// a run of them keeps its first and last, and the range of what lies between two.
func (p *Passage) exchanges() []exchange {
	r := p.Event.Run
	if r == nil {
		return []exchange{{p.At, p.At}}
	}
	n := int(r.Count[p.From])
	if !r.Period.Known || n < 2 {
		return []exchange{{p.At, p.Until}}
	}
	var all []exchange
	for k := range n {
		if k >= exchangesKept && k < n-exchangesKept {
			continue
		}
		before, behind := time.Duration(k), time.Duration(n-1-k)
		all = append(all, exchange{
			max(p.At.Add(before*r.Period.Min), p.Until.Add(-behind*r.Period.Max-r.RTT.Max)),
			min(p.At.Add(before*r.Period.Max+r.RTT.Max), p.Until.Add(-behind*r.Period.Min)),
		})
	}
	if n > 2*exchangesKept {
		all = append(all, exchange{all[exchangesKept-1].to, all[exchangesKept].from})
	}
	return all
}

// longestFree is the longest stretch that ends with an exchange of own and in which
// neither own nor cuts have one.
func longestFree(own, cuts []exchange) time.Duration {
	ends := make(map[tcp.Instant]bool, len(own))
	for _, x := range own {
		ends[x.from] = true
	}
	all := slices.Concat(own, cuts)
	slices.SortFunc(all, func(a, b exchange) int { return cmp.Compare(a.from, b.from) })
	longest, until := time.Duration(0), all[0].to
	for _, x := range all {
		if ends[x.from] {
			longest = max(longest, x.from.Sub(until))
		}
		until = max(until, x.to)
	}
	return longest
}
