package pairing

import (
	"cmp"
	"fmt"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// Connections whose addresses or sequence numbers a box between two points
// rewrites are matched by what it leaves alone. All candidates are found by
// equal keys and weighed before any is taken, and one is taken only where it
// beats every rival.

// Scores of the ways to match. What is proven by 64 random bits is above what
// several segments bear out together.
const (
	scoreISN       = 1.0
	scorePositions = 0.7
	scoreStamps    = 0.6
	scorePerMatch  = 0.05
	scoreMatches   = 5 // so many raise the score
)

// crowd is how many connections of all points may share a key before it is no
// longer looked at: such a key tells nothing.
const crowd = 32

// tie is a possible match of two connections that no point has both of.
type tie struct {
	a, b   int // indexes of connections, a < b
	score  float64
	agree  int
	method string
	points [2]int // where the two views lie that are so alike
	ids    idWord
	shared bool // what makes them alike other connections of one of the points share, too
}

// over returns by how much t beats o, from 0 to 1; 0 where it does not.
func (t *tie) over(o *tie) float64 {
	switch {
	case t.score > o.score:
		return t.score - o.score
	case t.score == o.score && t.agree >= 2*o.agree && t.agree >= fewStamps:
		return 1 - float64(o.agree)/float64(t.agree)
	}
	return 0
}

// translator matches connections that are not yet seen at every point.
type translator struct {
	sides  []*side
	conns  []connection
	joined []int // by connection: the one that it became part of; itself at first
	ties   []tie
	common map[stamp]bool  // stamps that several connections of one point carry
	keeps  map[[2]int]bool // points between which IP IDs are kept
	class  uint8           // of the digests of open connections
	polls  map[uint64]bool // digests of octets that several connections of one point send
}

// translate joins the connections that the addresses did not. notes tells what
// stayed ambiguous.
func translate(sides []*side, conns []connection) (_ []connection, notes []string) {
	t := &translator{sides: sides, conns: conns, joined: make([]int, len(conns)), common: map[stamp]bool{}, keeps: map[[2]int]bool{}, polls: map[uint64]bool{}}
	for i := range t.joined {
		t.joined[i] = i
	}
	if !t.severalPoints() {
		return conns, nil
	}
	round(t, byISNs)
	round(t, func(f *flows.Flow, put func(position)) {
		if p, ok := standing(f); ok {
			put(p)
		}
		for i := range f.Events {
			if p, ok := positionOf(f, &f.Events[i], 0); ok {
				put(p)
			}
		}
	})
	t.findCommon()
	round(t, func(f *flows.Flow, put func(stamp)) {
		for i := range f.Events {
			if s, ok := stampOf(&f.Events[i], 0); ok {
				put(s)
			}
		}
	})
	if t.class = t.digests(); t.class > 0 {
		t.findPolls()
		round(t, func(f *flows.Flow, put func(uint64)) {
			for i := range f.Anchors {
				if a := &f.Anchors[i]; !a.Again {
					put(digest(a, t.class))
				}
			}
		})
	}
	round(t, func(f *flows.Flow, put func(capture.Key)) { put(f.Key) })
	if n := t.markAmbiguous(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d connections may each be one of several at another capture: they are not paired", n))
	}
	var out []connection
	for i := range t.conns {
		if t.joined[i] == i {
			out = append(out, t.conns[i])
		}
	}
	return out, notes
}

// open reports whether a connection may still be joined with another.
func (t *translator) open(i int) bool {
	if t.joined[i] != i {
		return false
	}
	c := &t.conns[i]
	return len(c.at) < len(t.sides) && len(c.ambiguous) == 0 && !selfConnected(t.flow(c.at[0]))
}

func (t *translator) flow(p place) *flows.Flow { return t.sides[p.point].flow(p.flow) }

// digests returns how many octets' digests all open connections have.
func (t *translator) digests() (class uint8) {
	for i := range t.conns {
		if !t.open(i) {
			continue
		}
		for _, p := range t.conns[i].at {
			if k := digests(t.flow(p)); k > 0 && (class == 0 || k < class) {
				class = k
			}
		}
	}
	return class
}

// severalPoints reports whether open connections lie at more than one point.
func (t *translator) severalPoints() bool {
	first := -1
	for i := range t.conns {
		if !t.open(i) {
			continue
		}
		for _, p := range t.conns[i].at {
			if first >= 0 && p.point != first {
				return true
			}
			first = p.point
		}
	}
	return false
}

// round finds candidates by the keys of one kind that a view has, weighs them
// and joins those that beat their rivals, until no more do.
func round[K comparable](t *translator, keys func(f *flows.Flow, put func(K))) {
	buckets := map[K][]int{}
	for c := range t.conns {
		if !t.open(c) {
			continue
		}
		for _, p := range t.conns[c].at {
			keys(t.flow(p), func(key K) {
				if b := buckets[key]; len(b) <= crowd && (len(b) == 0 || b[len(b)-1] != c) {
					buckets[key] = append(b, c)
				}
			})
		}
	}
	known := map[[2]int]bool{}
	for i := range t.ties {
		known[[2]int{t.ties[i].a, t.ties[i].b}] = true
	}
	for _, b := range buckets { // sorted below
		if len(b) > 1 && len(b) <= crowd {
			t.meet(b, known)
		}
	}
	slices.SortFunc(t.ties, func(x, y tie) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	t.refuseOtherIDs()
	for t.settle() {
		for i := range t.ties {
			t.ties[i].a, t.ties[i].b = t.root(t.ties[i].a), t.root(t.ties[i].b)
		}
		t.ties = slices.DeleteFunc(t.ties, func(x tie) bool { return !t.possible(&x) })
	}
}

// meet weighs every two of the connections that share a key, once.
func (t *translator) meet(some []int, known map[[2]int]bool) {
	for i, x := range some {
		for _, y := range some[i+1:] {
			ab := [2]int{min(x, y), max(x, y)}
			if known[ab] || t.apart(ab[0], ab[1]) {
				continue
			}
			known[ab] = true
			if k, ok := t.weigh(ab[0], ab[1]); ok {
				t.ties = append(t.ties, k)
			}
		}
	}
}

// apart reports whether two connections cannot be one because a point has
// both.
func (t *translator) apart(a, b int) bool {
	for _, p := range t.conns[a].at {
		for _, q := range t.conns[b].at {
			if p.point == q.point {
				return true
			}
		}
	}
	return false
}

// weigh relates every view of one connection to every view of the other and
// keeps the best word; SYNs of different hosts spoil it.
func (t *translator) weigh(a, b int) (best tie, ok bool) {
	best = tie{a: a, b: b}
	for _, p := range t.conns[a].at {
		for _, q := range t.conns[b].at {
			f, g := t.flow(p), t.flow(q)
			if !sameStack(f, g) {
				return best, false
			}
			r, related := relate(f, g)
			if !related {
				continue
			}
			s, ids := scoreOf(&r), idWord{}
			if r.method == byStamps || r.method == byPayload {
				ids = idsOf(f, g, &r)
				s += ids.score()
			}
			if s > best.score || s == best.score && r.agree > best.agree {
				best.score, best.agree, best.method, ok = s, r.agree, r.method, true
				best.points, best.ids = [2]int{min(p.point, q.point), max(p.point, q.point)}, ids
				best.shared = f.Key != g.Key && (r.method == byStamps && !ids.same() && t.unshared(f, g, &r) < fewStamps || r.method == byPayload && !ids.same() && t.sharedPayload(f, g, &r))
			}
		}
	}
	return best, ok
}

// sameStack reports whether the SYNs that two views hold can be of the same
// hosts: a box may change addresses, ports, ISNs and the MSS, hardly the rest.
func sameStack(a, b *flows.Flow) bool {
	if !a.RolesKnown || !b.RolesKnown {
		return true
	}
	for s := range a.Sides {
		x, y := &a.Sides[s], &b.Sides[s]
		if x.ISNKnown && y.ISNKnown && x.ISN != y.ISN && x.Fingerprint != 0 && y.Fingerprint != 0 && x.Fingerprint != y.Fingerprint {
			return false
		}
	}
	return true
}

func scoreOf(r *relation) float64 {
	raised := scorePerMatch * float64(min(r.agree, scoreMatches))
	switch r.method {
	case byRawISN:
		return scoreISN
	case byPositions:
		return scorePositions + raised
	}
	return scoreStamps + raised
}

// settle joins the ties that beat all their rivals; it reports whether there
// was one.
func (t *translator) settle() (joined bool) {
	of := map[int][]int{}
	for i := range t.ties {
		of[t.ties[i].a] = append(of[t.ties[i].a], i)
		of[t.ties[i].b] = append(of[t.ties[i].b], i)
	}
	margins := make([]float64, len(t.ties))
	for i := range t.ties {
		margins[i] = t.margin(&t.ties[i], of)
	}
	for i := range t.ties {
		if k := &t.ties[i]; margins[i] > 0 && !k.shared && t.possible(k) {
			t.join(k, margins[i])
			joined = true
		}
	}
	return joined
}

// margin returns by how much a tie beats its best rival: another tie of one of
// the two connections with one that lies at the same point.
func (t *translator) margin(k *tie, of map[int][]int) float64 {
	least := k.score
	for _, end := range [2][2]int{{k.a, k.b}, {k.b, k.a}} {
		for _, i := range of[end[0]] {
			o := &t.ties[i]
			other := o.a + o.b - end[0]
			if other == end[1] || !t.apart(other, end[1]) {
				continue
			}
			least = min(least, k.over(o))
		}
	}
	return least
}

// possible reports whether both connections of a tie can still be joined.
func (t *translator) possible(k *tie) bool {
	a, b := t.root(k.a), t.root(k.b)
	return a != b && t.open(a) && t.open(b) && !t.apart(a, b)
}

// join makes one connection of two.
func (t *translator) join(k *tie, margin float64) {
	into, from := t.root(k.a), t.root(k.b)
	a, b := &t.conns[into], &t.conns[from]
	method, score, best := k.method, k.score, margin
	for _, c := range []*connection{a, b} {
		if c.method == alone {
			continue
		}
		if c.score < score {
			method = c.method
		}
		score, best = min(score, c.score), min(best, c.margin)
	}
	a.at = append(a.at, b.at...)
	slices.SortFunc(a.at, func(x, y place) int { return x.point - y.point })
	a.method, a.score, a.margin = method, score, best
	a.shifted = a.shifted || b.shifted || despiteShift(k.method) // the method tells of the weakest join alone
	t.joined[from] = into
}

// root returns the connection that one has become part of.
func (t *translator) root(i int) int {
	for t.joined[i] != i {
		t.joined[i] = t.joined[t.joined[i]]
		i = t.joined[i]
	}
	return i
}

// markAmbiguous notes, for every connection that could be one of several, which
// they are, and returns how many such connections there are.
func (t *translator) markAmbiguous() (n int) {
	rivals := map[int][]flows.FlowID{}
	for i := range t.ties {
		k := &t.ties[i]
		if !t.possible(k) {
			continue
		}
		rivals[k.a] = append(rivals[k.a], t.ids(k.b)...)
		rivals[k.b] = append(rivals[k.b], t.ids(k.a)...)
	}
	for c, ids := range rivals {
		slices.Sort(ids)
		t.conns[c].ambiguous = slices.Compact(ids)
	}
	return len(rivals)
}

func (t *translator) ids(c int) (ids []flows.FlowID) {
	for _, p := range t.conns[c].at {
		ids = append(ids, t.flow(p).ID)
	}
	return ids
}

// byISNs offers the raw initial sequence numbers of both ends.
func byISNs(f *flows.Flow, put func([2]tcp.Seq)) {
	if f.RolesKnown && f.Sides[0].ISNKnown && f.Sides[1].ISNKnown {
		put([2]tcp.Seq{f.Sides[0].ISN, f.Sides[1].ISN})
	}
}
