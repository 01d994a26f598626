package pairing

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// PlainPair is a connection that every point holds and in which nothing happened at
// any of them. Of many such connections a few are read whole, for the clocks
// and the order of the points; the others cost a glance.
type PlainPair struct {
	Ends     [2]int        // the vantage points nearest to client and server
	Key      capture.Key   // its addresses at the first point
	Closed   bool          // it ended well
	Survived time.Duration // longest silence that was followed by more, both ways, at every point
	Period   time.Duration // longest pause between its events
	at       []int         // by point: its place among the flows
	method   string
}

// How many plain connections are read whole: of any two hosts, and in all where
// all connections of the hosts fare well.
const (
	plainOfHosts = 4
	plainInAll   = 512
)

// setAside takes the plain connections out of what is compared in detail, and
// returns what is left.
func (m *matcher) setAside() (left []place) {
	taken := make([][]bool, len(m.sides))
	for p, s := range m.sides {
		taken[p] = make([]bool, len(s.cards))
	}
	plain := plainBy(m, taken, func(g *flows.Glance) (capture.Key, bool) { return g.Key, true })
	plain = append(plain, plainBy(m, taken, func(g *flows.Glance) ([2]tcp.Seq, bool) {
		return g.ISN, g.RolesKnown && g.ISNKnown[0] && g.ISNKnown[1]
	})...)
	plain = append(plain, plainBy(m, taken, func(g *flows.Glance) ([2]tcp.Seq, bool) { return g.Next, g.Plain })...)
	plain = append(plain, plainBy(m, taken, func(g *flows.Glance) ([2]uint32, bool) { return g.Stamp, g.Stamp[0] != 0 && g.Stamp[1] != 0 })...)
	m.settled = map[place]bool{}
	whole := m.readWhole(plain, taken)
	for i := range plain {
		if !whole[i] {
			m.plain = append(m.plain, plain[i])
			continue
		}
		for p, k := range plain[i].at {
			taken[p][k] = false
			m.settled[place{p, k}] = true
		}
	}
	for p := range taken {
		for k, is := range taken[p] {
			if !is {
				left = append(left, place{p, k})
			}
		}
	}
	return left
}

// plainBy finds the connections that each point holds exactly once under one
// key and that are plain everywhere, and marks them as taken.
func plainBy[K comparable](m *matcher, taken [][]bool, keyOf func(*flows.Glance) (K, bool)) (found []PlainPair) {
	const none, several = -1, -2
	rows := map[K]int{}
	var at []int // as many for each row as there are points
	for p, s := range m.sides {
		for i := range s.cards {
			key, ok := keyOf(&s.cards[i])
			if !ok || taken[p][i] {
				continue
			}
			row, known := rows[key]
			switch {
			case !known && p > 0:
				continue
			case !known:
				row = len(at)
				rows[key] = row
				for range m.sides {
					at = append(at, none)
				}
				at[row] = i
			case at[row+p] == none:
				at[row+p] = i
			default:
				at[row+p] = several
			}
		}
	}
	for ; len(at) > 0; at = at[len(m.sides):] {
		if x, ok := m.plainAt(at[:len(m.sides)]); ok {
			for p, i := range x.at {
				taken[p][i] = true
			}
			found = append(found, x)
		}
	}
	return found
}

// plainAt reports whether flows, one of each point, are one plain connection of
// which no point has seen more than another.
func (m *matcher) plainAt(at []int) (x PlainPair, ok bool) {
	var first *flows.Glance
	for p, i := range at {
		if i < 0 {
			return x, false
		}
		g := &m.sides[p].cards[i]
		if !g.Settled(m.sides[p].last) {
			return x, false
		}
		if first == nil {
			first = g
			x = PlainPair{Key: g.Key, Closed: g.Closed, Survived: g.Survived, Period: g.Period, at: at}
			continue
		}
		method := sameAtAGlance(first, g)
		if method == "" || g.Closed != first.Closed || g.Segments != first.Segments {
			return x, false
		}
		if x.method == "" || x.method == byISN {
			x.method = method
		}
		x.Survived, x.Period = min(x.Survived, g.Survived), max(x.Period, g.Period)
	}
	return x, first != nil
}

// marks are what neither a translation nor a shift of sequence numbers changes
// of a connection. Hosts whose connections share one clock may give the same
// stamps to several: then nothing is picked.
type marks struct {
	stamp, segments, fingerprint [2]uint32
	octets                       [2]uint64
}

func marksOf(g *flows.Glance) marks {
	return marks{g.Stamp, g.Segments, g.Fingerprint, g.Octets}
}

// sameAtAGlance says by what two flows are one connection without a look at
// their events: "" where that takes one.
func sameAtAGlance(a, b *flows.Glance) string {
	handshakes := a.ISNKnown[0] && a.ISNKnown[1] && b.ISNKnown[0] && b.ISNKnown[1]
	stamped := a.Stamp[0] != 0 && a.Stamp[1] != 0 && (a.Key == b.Key && a.ClientHi == b.ClientHi && a.Stamp == b.Stamp || marksOf(a) == marksOf(b))
	switch {
	case handshakes && a.ISN != b.ISN && stamped:
		return byStamps
	case handshakes && a.ISN != b.ISN:
		return ""
	case handshakes && a.Key == b.Key:
		return byISN
	case handshakes:
		return byRawISN
	case a.Next != b.Next && stamped:
		return byStamps
	case a.Next != b.Next:
		return ""
	case a.Key != b.Key:
		return byPositions
	case a.ClientHi == b.ClientHi:
		return bySequence
	}
	return ""
}

// readWhole chooses the plain connections that are compared in detail all the
// same, by what every point knows of them alike.
func (m *matcher) readWhole(plain []PlainPair, taken [][]bool) []bool {
	suspect := map[hostsKey]bool{}
	for p := range taken {
		for k, is := range taken[p] {
			if !is {
				suspect[hostsOf(&m.sides[p].cards[k].Key)] = true
			}
		}
	}
	order := make([]int, len(plain))
	prints := make([]uint64, len(plain))
	for i := range plain {
		g := &m.sides[0].cards[plain[i].at[0]]
		order[i] = i
		prints[i] = spread(uint64(g.Next[0])<<32|uint64(g.Next[1])) ^ spread(uint64(g.Next[1])<<32|uint64(g.Next[0]))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(prints[a], prints[b]) })
	whole := make([]bool, len(plain))
	count, all := map[hostsKey]int{}, 0
	for _, i := range order {
		odd, n := false, 0
		for p, k := range plain[i].at {
			hosts := hostsOf(&m.sides[p].cards[k].Key)
			odd, n = odd || suspect[hosts], max(n, count[hosts])
		}
		if n >= plainOfHosts || !odd && all >= plainInAll {
			continue
		}
		whole[i] = true
		all++
		for p, k := range plain[i].at {
			count[hostsOf(&m.sides[p].cards[k].Key)]++
		}
	}
	return whole
}

// spread mixes the bits of x (the finalizer of SplitMix64).
func spread(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// passPlain tells the atlas which points the plain connections' hosts pass.
func (m *matcher) passPlain() {
	all := make([]int, len(m.sides))
	for p := range all {
		all[p] = p
	}
	names := make([]hostsKey, len(all))
	done := map[hostsKey]bool{}
	for i := range m.plain {
		same := true
		for p, k := range m.plain[i].at {
			names[p] = hostsOf(&m.sides[p].cards[k].Key)
			same = same && names[p] == names[0]
		}
		if same && done[names[0]] {
			continue
		}
		done[names[0]] = done[names[0]] || same
		m.atlas.passes(all, names)
	}
}

// arrangePlain finds the ends of the plain connections' paths and sorts them.
func (m *matcher) arrangePlain() []PlainPair {
	type hostsTo struct {
		hosts hostsKey
		hi    bool
	}
	ends := map[hostsTo][2]int{}
	for i := range m.plain {
		x := &m.plain[i]
		g := &m.sides[0].cards[x.at[0]]
		k := hostsTo{hostsOf(&g.Key), g.ClientHi}
		e, known := ends[k]
		if !known {
			e = m.endsOf(x)
			ends[k] = e
		}
		x.Ends, x.Key = e, m.sides[e[0]].cards[x.at[e[0]]].Key
	}
	slices.SortFunc(m.plain, func(a, b PlainPair) int {
		f, g := &m.sides[a.Ends[0]].cards[a.at[a.Ends[0]]], &m.sides[b.Ends[0]].cards[b.at[b.Ends[0]]]
		return cmp.Or(cmp.Compare(f.First, g.First), slices.Compare(f.Key.Lo[:], g.Key.Lo[:]), slices.Compare(f.Key.Hi[:], g.Key.Hi[:]), cmp.Compare(f.Key.Ports, g.Key.Ports))
	})
	return m.plain
}

// endsOf returns the first and last point on a plain connection's path, by what
// other connections tell.
func (m *matcher) endsOf(x *PlainPair) [2]int {
	s := &strand{seen: make([]*flows.Flow, len(m.sides))}
	var at []int
	for p, k := range x.at {
		g := &m.sides[p].cards[k]
		f := &flows.Flow{Key: g.Key}
		f.Sides[0].Addr, f.Sides[1].Addr = endsOfKey(g)
		s.seen[p], at = f, append(at, p)
	}
	order, _ := m.atlas.arrange(s, at)
	return [2]int{order[0], order[len(order)-1]}
}

// endsOfKey returns client and server of a glance.
func endsOfKey(g *flows.Glance) (client, server netip.AddrPort) {
	if g.ClientHi {
		return g.Key.HiEnd(), g.Key.LoEnd()
	}
	return g.Key.LoEnd(), g.Key.HiEnd()
}

// PlainOf returns the one of r.Plain of which a vantage point has a flow; nil where that is of
// none. An index of them is made when it is called first.
func (r *Result) PlainOf(vantage int, id flows.FlowID) *PlainPair {
	m := r.matcher
	if m == nil || len(r.Plain) == 0 {
		return nil
	}
	if m.plainOf == nil {
		for p, s := range m.sides {
			m.plainOf = append(m.plainOf, make([]int32, len(s.cards)))
			for i := range r.Plain {
				m.plainOf[p][r.Plain[i].at[p]] = int32(i) + 1
			}
		}
	}
	s := m.sides[vantage] // its cards are in stream order, which the generations are
	k := sort.Search(len(s.cards), func(k int) bool { return uint32(s.cards[k].ID) >= uint32(id) })
	if k == len(s.cards) || s.cards[k].ID != id || m.plainOf[vantage][k] == 0 {
		return nil
	}
	return &r.Plain[m.plainOf[vantage][k]-1]
}

// Pair builds what there is to know of a plain connection.
func (r *Result) Pair(x *PlainPair) *Pair {
	m := r.matcher
	c := connection{method: x.method, score: scoreISN, margin: scoreISN}
	if !byHandshake(x.method) {
		c.score, c.margin = scorePositions, scorePositions
	}
	kept := make([]bool, len(x.at))
	for p, k := range x.at {
		c.at = append(c.at, place{p, k})
		kept[p] = m.sides[p].flows[k] != nil
	}
	s := newStrand(m.sides, c)
	s.own = map[[2]int]evidence{}
	for i := range x.at {
		for j := i + 1; j < len(x.at); j++ {
			s.own[[2]int{i, j}] = weigh(m.sides, s, i, j)
		}
	}
	for p, k := range x.at {
		if !kept[p] {
			m.sides[p].flows[k] = nil // the caller holds it now
		}
	}
	p := m.pair(s, newSameness(len(m.sides)))
	p.Settled, p.Misses = true, m.misses
	return p
}
