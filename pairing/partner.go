package pairing

import (
	"cmp"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// What speaks for two connections being joined by a proxy. Timing adds to the
// others and stands alone only where nothing else does.
const (
	joinedByAddress = 0.8  // the same addresses, and two handshakes
	joinedByPayload = 0.75 // the same octets at the same places of both streams
	joinedByOctets  = 0.6  // as many octets each way
	joinedByTiming  = 0.5  // times the share of bursts in common
	addedByTiming   = 0.2  // times that share, to the others

	fewBursts     = 4    // fewer in common tell nothing
	burstsAlike   = 0.7  // the share that stands alone
	partnerMargin = 0.05 // over the runner-up
	burstPause    = 20 * time.Millisecond
	burstLag      = time.Second // a proxy hands on within this
	mostNear      = 64          // connections that begin at the same time are compared with each, fewer where there are
	mostCompared  = 1_000_000   // in all
)

// Words for what names a partner.
const (
	partnerByAddress = "addresses"
	partnerByPayload = "payload"
	partnerByOctets  = "octets"
	partnerByTiming  = "timing"
)

// joint is a possible partner of a half.
type joint struct {
	other int // index of the other half
	score float64
	by    string
}

// findPartners finds connections of different points that a proxy joins, by
// strand, and of how many each could be the other half where that is open.
func (m *matcher) findPartners() (partner map[int]*Partner, open map[int]int) {
	halves := m.halves()
	joints := make([][]joint, len(halves))
	for _, xy := range m.likely(halves) {
		if score, by := m.join(&halves[xy[0]], &halves[xy[1]]); score > 0 {
			joints[xy[0]] = append(joints[xy[0]], joint{xy[1], score, by})
			joints[xy[1]] = append(joints[xy[1]], joint{xy[0], score, by})
		}
	}
	for i := range joints {
		slices.SortFunc(joints[i], func(a, b joint) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.other, b.other)) })
	}
	partner, open = map[int]*Partner{}, map[int]int{}
	for i, js := range joints {
		if len(js) == 0 {
			continue
		}
		best := js[0]
		y, margin := &halves[best.other], marginOf(js, best.other)
		back := joints[best.other]
		if margin = min(margin, marginOf(back, i)); margin < partnerMargin || back[0].other != i {
			open[halves[i].strand] = len(js)
			continue
		}
		partner[halves[i].strand] = &Partner{Vantage: y.point, Flow: y.flow, Transparent: best.by == partnerByAddress, By: best.by, Score: best.score, Margin: margin}
	}
	return partner, open
}

// marginOf returns by how much one of the joints beats the best other.
func marginOf(js []joint, other int) float64 {
	own, rival := 0.0, 0.0
	for _, j := range js {
		if j.other == other {
			own = j.score
		} else {
			rival = max(rival, j.score)
		}
	}
	return own - rival
}

// halves lists the connections that not all points hold.
func (m *matcher) halves() (all []half) {
	for n, s := range m.strands {
		at := s.points()
		if len(at) == 0 || len(at) == len(m.sides) || s.self || len(s.conn.ambiguous) > 0 {
			continue
		}
		f := s.seen[at[0]]
		all = append(all, half{strand: n, point: at[0], flow: f, whole: f.RolesKnown && f.Sides[0].ISNKnown && f.Sides[1].ISNKnown, bursts: burstsOf(f)})
	}
	return all
}

// likely lists the pairs of halves that are worth a closer look, each once:
// those of the same addresses, with octets in common, with as many octets each
// way, and those that begin at about the same time.
func (m *matcher) likely(halves []half) [][2]int {
	pairs := map[[2]int]bool{}
	gather := func(group []int) {
		if len(group) > crowd {
			return
		}
		for k, i := range group {
			for _, j := range group[k+1:] {
				if i != j && m.disjoint(&halves[i], &halves[j]) {
					pairs[[2]int{min(i, j), max(i, j)}] = true
				}
			}
		}
	}
	type carried struct{ client, server uint64 }
	byKey, byOctets, byDigest := map[capture.Key][]int{}, map[carried][]int{}, map[uint64][]int{}
	class := uint8(0)
	for i := range halves {
		if k := digests(halves[i].flow); k > 0 && (class == 0 || k < class) {
			class = k
		}
	}
	for i := range halves {
		f := halves[i].flow
		for k := range f.Anchors {
			if a := &f.Anchors[k]; !a.Again && class > 0 {
				byDigest[digest(a, class)] = append(byDigest[digest(a, class)], i)
			}
		}
		if !halves[i].whole {
			continue
		}
		byKey[f.Key] = append(byKey[f.Key], i)
		if k := (carried{f.Sides[flows.Client].Octets, f.Sides[flows.Server].Octets}); k.client > 0 && k.server > 0 && k.client+k.server >= fewOctets {
			byOctets[k] = append(byOctets[k], i)
		}
	}
	for _, group := range byKey { // gathered into a set
		gather(group)
	}
	for _, group := range byOctets {
		gather(group)
	}
	for _, group := range byDigest {
		gather(group)
	}
	m.beginTogether(halves, pairs)
	out := make([][2]int, 0, len(pairs))
	for xy := range pairs {
		out = append(out, xy)
	}
	slices.SortFunc(out, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return out
}

// beginTogether adds the pairs of which one begins so soon after the other that
// a proxy can have opened it.
func (m *matcher) beginTogether(halves []half, pairs map[[2]int]bool) {
	byPoint := make([][]int, len(m.sides))
	for i := range halves {
		if halves[i].whole && len(halves[i].bursts) >= fewBursts {
			byPoint[halves[i].point] = append(byPoint[halves[i].point], i)
		}
	}
	for _, some := range byPoint {
		slices.SortStableFunc(some, func(a, b int) int { return cmpOrd(halves[a].flow.First, halves[b].flow.First) })
	}
	most := min(mostNear, mostCompared/max(len(halves), 1))
	for i := range halves {
		x := &halves[i]
		if !x.whole || len(x.bursts) < fewBursts {
			continue
		}
		for q := range byPoint {
			if q == x.point {
				continue
			}
			from, to, _ := m.clocks.window(x.point, q, x.flow.First)
			some := byPoint[q]
			at, _ := slices.BinarySearchFunc(some, from, func(j int, t tcp.Instant) int { return cmpOrd(halves[j].flow.First, t) })
			for n := 0; at < len(some) && n < most && halves[some[at]].flow.First <= to.Add(promptly); at, n = at+1, n+1 {
				if j := some[at]; m.disjoint(x, &halves[j]) {
					pairs[[2]int{min(i, j), max(i, j)}] = true
				}
			}
		}
	}
}

// join says how likely a proxy joins two halves, and by what.
func (m *matcher) join(x, y *half) (score float64, by string) {
	if !x.whole || !y.whole {
		if sharedOctets(x.flow, y.flow) >= oneSenders {
			return joinedByPayload, partnerByPayload
		}
		return 0, ""
	}
	forth, back := m.follows(x, y), m.follows(y, x)
	if !forth && !back {
		return 0, ""
	}
	alike := 0.0
	if forth {
		alike = m.burstsAlike(x, y)
	}
	if back {
		alike = max(alike, m.burstsAlike(y, x))
	}
	a, b := &x.flow.Sides, &y.flow.Sides
	switch {
	case x.flow.Key == y.flow.Key:
		return joinedByAddress + addedByTiming*alike, partnerByAddress
	case sharedOctets(x.flow, y.flow) >= fewStamps:
		return joinedByPayload + addedByTiming*alike, partnerByPayload
	case a[0].Octets == b[0].Octets && a[1].Octets == b[1].Octets && a[0].Octets > 0 && a[1].Octets > 0 && a[0].Octets+a[1].Octets >= fewOctets:
		return joinedByOctets + addedByTiming*alike, partnerByOctets
	case alike >= burstsAlike:
		return joinedByTiming * alike, partnerByTiming
	}
	return 0, ""
}

// burst is when a side begins to send after it was silent, or after the other
// side sent.
type burst struct {
	at   tcp.Instant
	from uint8
}

// burstsOf lists a flow's bursts, as far as its story tells them.
func burstsOf(f *flows.Flow) (all []burst) {
	var last tcp.Instant
	by := flows.Unclear
	for i := range f.Events {
		e := &f.Events[i]
		if e.From > flows.Server || e.Len == 0 || isProbe(e.Kind) || !comparableEvent(e) || e.Kind == flows.Retransmission {
			continue
		}
		if e.From != by || e.At.Sub(last) >= burstPause {
			all = append(all, burst{e.At, e.From})
		}
		by, last = e.From, e.End()
	}
	return all
}

// burstsAlike returns the share of the bursts of x, which asks a proxy, and of
// y, which the proxy opened, that come at the same distance from each other: the
// clocks of their captures may be far apart, but go alike. 0 where too few do.
func (m *matcher) burstsAlike(x, y *half) (best float64) {
	if len(x.bursts) < fewBursts || len(y.bursts) < fewBursts {
		return 0
	}
	from, to, _ := m.clocks.window(x.point, y.point, x.flow.First)
	least, greatest := from.Sub(x.flow.First)-burstLag, to.Sub(x.flow.First)+burstLag
	for _, b := range x.bursts[:fewBursts] {
		for _, c := range y.bursts[:fewBursts] {
			shift := c.at.Sub(b.at)
			if b.from != c.from || shift < least || shift > greatest {
				continue
			}
			if same := inStep(x.bursts, y.bursts, shift); same >= fewBursts {
				best = max(best, float64(same)/float64(max(len(x.bursts), len(y.bursts))))
			}
		}
	}
	return best
}

// inStep counts the bursts of x that have one of y at a distance.
func inStep(x, y []burst, shift time.Duration) (n int) {
	k := 0
	for _, b := range x {
		for k < len(y) && y[k].at.Sub(b.at) < shift-burstLag/5 {
			k++
		}
		for j := k; j < len(y) && y[j].at.Sub(b.at) <= shift+burstLag/5; j++ {
			if y[j].from == b.from {
				n++
				k = j + 1
				break
			}
		}
	}
	return n
}
