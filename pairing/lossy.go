package pairing

import (
	"fmt"
	"math"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// A capture that provably misses segments which arrived may miss others too.
// How many it misses of those that are known to have arrived says how likely it
// is that a row of lost ones merely went unrecorded.

const (
	surelyLost = 1e-6 // a row that is less likely to have gone unrecorded is lost
	hardlyLost = 1e-3 // of one that is more likely nothing is known
)

// recorder counts what a capture holds and what it misses of what arrived while
// it was recording.
type recorder struct{ held, missed int }

// missRate returns the share of arrived segments that the capture misses, a
// little above what was counted.
func (r recorder) missRate() float64 {
	if r.missed == 0 {
		return 0
	}
	return float64(r.missed+1) / float64(r.held+r.missed+1)
}

// way is one direction between two neighbours, for one connection or for all of
// two hosts.
type way struct {
	near, far int
	from      uint8
	pair      *Pair // nil: all of the hosts
	hosts     hostsKey
}

// doubtLossy weakens losses that a capture's own gaps explain as well.
func (m *matcher) doubtLossy(pairs []*Pair) {
	counts := m.countMissed(pairs)
	if !slices.ContainsFunc(counts, func(r recorder) bool { return r.missed > 0 }) {
		return
	}
	misses := make([]float64, len(counts))
	m.misses = misses
	for v, c := range counts {
		misses[v] = c.missRate()
	}
	type sent struct {
		fate *Fate
		at   tcp.Instant
	}
	ways := map[way][]sent{}
	for _, p := range pairs {
		p.Misses, p.Elsewhere = misses, m.missesElsewhere(p, counts)
		for i := range p.Fates {
			f := &p.Fates[i]
			if counts[f.Between[1]].missed == 0 || f.How == Unknowable {
				continue
			}
			own := way{near: f.Between[0], far: f.Between[1], from: f.From, pair: p}
			all := way{near: f.Between[0], far: f.Between[1], from: f.From, hosts: p.hostsAt(f.Between[0])}
			ways[own], ways[all] = append(ways[own], sent{f, f.Sent.At}), append(ways[all], sent{f, f.Sent.At})
		}
	}
	longest := map[*Fate]int{} // the row that a loss belongs to
	for _, list := range ways {
		slices.SortStableFunc(list, func(a, b sent) int { return cmpOrd(a.at, b.at) })
		for len(list) > 0 {
			n := 0
			for n < len(list) && list[n].fate.How == Lost {
				n++
			}
			for _, s := range list[:n] {
				longest[s.fate] = max(longest[s.fate], n)
			}
			list = list[max(n, 1):]
		}
	}
	doubt := Pair{Misses: misses}
	for f, n := range longest {
		if how, assumed, why := doubt.Doubt(f.Between[1], n); why != "" {
			f.How, f.Assumed, f.Reason, f.Why = how, assumed, Dropped, why
		}
	}
}

// hostsAt returns what a connection's hosts are called at a point that saw it.
func (p *Pair) hostsAt(v int) hostsKey {
	for i := range p.Seen {
		if p.Seen[i].Vantage == v {
			return hostsOf(&p.Seen[i].Flow.Key)
		}
	}
	return hostsKey{}
}

// countMissed counts, by point, what it holds and misses: by what other points
// know to have arrived, or by what its own acknowledgments tell, whichever is
// more.
func (m *matcher) countMissed(pairs []*Pair) []recorder {
	counts := make([]recorder, len(m.sides))
	own := make([]recorder, len(m.sides))
	for _, p := range pairs {
		m.countFates(p, counts)
		m.countUnsent(p, counts)
		for i := range p.Seen {
			s := &p.Seen[i]
			own[s.Vantage].held += int(s.Flow.Frames)
			for _, x := range s.Flow.Missing {
				if x.Why == capture.WhyDropped && !slices.Contains(m.sides[s.Vantage].holes, x) {
					own[s.Vantage].missed++
				}
			}
		}
	}
	for v := range counts {
		if own[v].missRate() > counts[v].missRate() {
			counts[v] = own[v]
		}
	}
	return counts
}

// countFates adds what a connection's fates tell of each point.
func (m *matcher) countFates(p *Pair, counts []recorder) {
	for i := range p.Fates {
		f := &p.Fates[i]
		far := f.Between[1]
		switch {
		case f.How == Crossed:
			counts[far].held += f.Count
		case f.Missing > 0 && m.covered(p, f):
			counts[far].missed += f.Missing
			counts[far].held += f.Count - f.Missing
		case f.Count == 1 && f.Reason == Acknowledged && m.covered(p, f):
			counts[far].missed++
		}
	}
}

// countUnsent adds the keepalives that a point holds and the one nearer to their
// sender does not: they passed there, too. Answers and RSTs may be a device's.
func (m *matcher) countUnsent(p *Pair, counts []recorder) {
	if p.SamePoint || len(p.Seen) < 2 {
		return
	}
	type sighting struct {
		vantage int
		ord     tcp.Ordinal
	}
	arrived := map[sighting]bool{}
	for i := range p.Fates {
		if f := &p.Fates[i]; f.Seen.Ord != 0 {
			arrived[sighting{f.Seen.Vantage, f.Seen.Ord}] = true
		}
	}
	for side := uint8(0); side < 2; side++ {
		for i := range p.Seen[1:] {
			near, far := &p.Seen[i], &p.Seen[i+1]
			if side == flows.Server {
				near, far = far, near
			}
			for j := range far.Flow.Events {
				e := &far.Flow.Events[j]
				if e.From != side || e.Kind != flows.KeepaliveProbe || e.Run != nil || arrived[sighting{far.Vantage, e.Ord}] {
					continue
				}
				from, to, known := m.clocks.window(far.Vantage, near.Vantage, e.At)
				from, to = from.Add(-longestDelay), to.Add(time.Second)
				hidden := slices.ContainsFunc(near.Flow.Events, func(g flows.Event) bool { return g.Run != nil && g.At <= to && g.Run.Until >= from })
				r := m.sides[near.Vantage].recorded([]hostsKey{hostsOf(&near.Flow.Key)}, nil, from, to)
				if known && !hidden && r.how == Lost && !r.assumed {
					counts[near.Vantage].missed++
				}
			}
		}
	}
}

// missesElsewhere returns the share that each point misses of what arrived of
// other connections than p.
func (m *matcher) missesElsewhere(p *Pair, counts []recorder) []float64 {
	own := make([]recorder, len(counts))
	m.countFates(p, own)
	out := make([]float64, len(counts))
	for v := range counts {
		out[v] = recorder{max(0, counts[v].held-own[v].held), max(0, counts[v].missed-own[v].missed)}.missRate()
	}
	return out
}

// covered reports whether the far point was recording when a segment must have
// passed it, and did not stop while it was on its way.
func (m *matcher) covered(p *Pair, f *Fate) bool {
	for i := range p.Seen {
		if s := &p.Seen[i]; s.Vantage == f.Between[1] {
			from, to, known := m.clocks.window(f.Between[0], s.Vantage, f.Sent.At)
			side := m.sides[s.Vantage]
			r := side.recorded([]hostsKey{hostsOf(&s.Flow.Key)}, nil, from, to)
			_, stopped := side.hole(nil, from, to.Add(m.clocks.slack(f.Between[0], s.Vantage)))
			return known && r.how == Lost && !r.assumed && !stopped
		}
	}
	return false
}

// MissRate returns the share of what arrived at a vantage point that its capture
// provably lacks.
func (p *Pair) MissRate(vantage int) float64 {
	if p.Misses == nil {
		return 0
	}
	return p.Misses[vantage]
}

// Doubt says what becomes of the loss of n segments in a row that a vantage
// point does not hold, where its own gaps may explain that: it stands, is
// assumed, or nothing is known.
func (p *Pair) Doubt(vantage, n int) (how How, assumed bool, why string) {
	if p.MissRate(vantage) == 0 {
		return Lost, false, ""
	}
	why = fmt.Sprintf("%.0f %% of what arrived there is not in that capture: what it misses need not be lost", max(1, 100*p.Misses[vantage]))
	switch unrecorded := math.Pow(p.Misses[vantage], float64(n)); {
	case unrecorded <= surelyLost:
		return Lost, false, ""
	case unrecorded <= hardlyLost:
		return Lost, true, why
	}
	return Unknowable, false, why
}
