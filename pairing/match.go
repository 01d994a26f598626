package pairing

import (
	"fmt"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// place names one flow of one vantage point.
type place struct{ point, flow int }

// connection is a set of flows at different points that are one connection.
type connection struct {
	at            []place
	method        string
	score, margin float64
	ambiguous     []flows.FlowID
	shifted       bool // a box may have shifted sequence numbers between some of its views, whatever its method says
}

// The words for what matched.
const (
	byISN       = "addresses+isn"
	bySequence  = "addresses+sequence"
	byRawISN    = "isn"
	byPositions = "sequence"
	byStamps    = "timestamps"
	byIPID      = "addresses+ipid"
	byPayload   = "payload"
	alone       = "single"
)

// despiteShift reports whether a method goes by what a shift of sequence numbers
// leaves alone.
func despiteShift(method string) bool {
	return method == byStamps || method == byIPID || method == byPayload
}

// manyInstances is the number of instances of one address pair beyond which
// those without a handshake are no longer compared one by one.
const manyInstances = 500

// matchFlows groups flows of all points into connections. notes tells what was
// left out.
func matchFlows(sides []*side, all []place) (found []connection, notes []string) {
	byKey := map[capture.Key][]place{}
	for _, p := range all {
		key := sides[p.point].cards[p.flow].Key
		byKey[key] = append(byKey[key], p)
	}
	left := 0
	for _, places := range byKey { // sorted at the end
		some, skipped := connect(sides, places)
		found = append(found, some...)
		left += skipped
	}
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d flows without a handshake of their own numbers were not compared by their addresses: those have more than %d instances each", left, manyInstances))
	}
	sortConnections(found)
	found, more := translate(sides, found)
	return found, append(notes, more...)
}

// link is a possible match of two flows of different points.
type link struct {
	a, b   place
	score  float64
	shared int // segments found in both
	byISN  bool
}

// connect groups the instances of one address pair.
func connect(sides []*side, places []place) (found []connection, skipped int) {
	if len(places) == 1 || samePointOnly(places) {
		for _, p := range places {
			found = append(found, connection{at: []place{p}, method: alone})
		}
		return found, 0
	}
	var links []link
	rest, rivals := places, repeated(places)
	if len(places) > manyInstances {
		rest = nil
		links, skipped = handshakeLinks(sides, places)
	}
	for i, a := range rest {
		for _, b := range rest[i+1:] {
			if a.point == b.point {
				continue
			}
			f, g := sides[a.point].flow(a.flow), sides[b.point].flow(b.flow)
			if l, ok := compare(f, g); ok {
				l.a, l.b = a, b
				if l.score < 1 || rivals {
					l.weigh(f, g)
				}
				links = append(links, l)
			}
		}
	}
	slices.SortStableFunc(links, func(x, y link) int {
		switch {
		case x.score != y.score:
			return sign(y.score - x.score)
		default:
			return y.shared - x.shared
		}
	})
	groups := newGroups(places, links)
	for i := range links {
		groups.join(sides, &links[i])
	}
	return groups.connections(), skipped
}

// repeated reports whether a point has more than one instance.
func repeated(places []place) bool {
	seen := map[int]bool{}
	for _, p := range places {
		if seen[p.point] {
			return true
		}
		seen[p.point] = true
	}
	return false
}

func samePointOnly(places []place) bool {
	for _, p := range places[1:] {
		if p.point != places[0].point {
			return false
		}
	}
	return true
}

// handshakeLinks links flows whose two ISNs are known and equal, without comparing every two
// of them, and returns how many are left out: of those without a handshake, and where a
// crowd has the same numbers, nothing is known.
func handshakeLinks(sides []*side, places []place) (links []link, left int) {
	of := map[[2]tcp.Seq][]place{}
	for _, p := range places {
		lo, hi := ends(sides[p.point].flow(p.flow))
		if !lo.ISNKnown || !hi.ISNKnown {
			left++
			continue
		}
		isn := [2]tcp.Seq{lo.ISN, hi.ISN}
		of[isn] = append(of[isn], p)
	}
	for _, p := range places {
		lo, hi := ends(sides[p.point].flow(p.flow))
		same := of[[2]tcp.Seq{lo.ISN, hi.ISN}]
		switch {
		case !lo.ISNKnown || !hi.ISNKnown:
		case len(same) > crowd:
			left++
		default:
			for _, q := range same[slices.Index(same, p)+1:] {
				if q.point != p.point {
					links = append(links, link{a: p, b: q, score: 1, byISN: true})
				}
			}
		}
	}
	return links, left
}

// ends returns the flow's sides by the key's order, which every point shares.
func ends(f *flows.Flow) (lo, hi *flows.Side) {
	if clientIsHi(f) {
		return &f.Sides[flows.Server], &f.Sides[flows.Client]
	}
	return &f.Sides[flows.Client], &f.Sides[flows.Server]
}

// compare says whether two flows of one address pair can be one connection, by
// handshake and sequence space.
func compare(a, b *flows.Flow) (l link, ok bool) {
	if clientIsHi(a) != clientIsHi(b) {
		b = mirrored(b)
	}
	isns := 0
	for s := range a.Sides {
		x, y := &a.Sides[s], &b.Sides[s]
		if !x.ISNKnown || !y.ISNKnown {
			continue
		}
		if x.ISN != y.ISN {
			return link{}, false
		}
		isns++
	}
	if !spacesMeet(a, b) {
		return link{}, false
	}
	l.score, l.byISN = [3]float64{0.6, 0.95, 1}[isns], isns > 0
	return l, true
}

// weigh counts the segments that both views hold; without a handshake the
// score rests on them.
func (l *link) weigh(a, b *flows.Flow) {
	if clientIsHi(a) != clientIsHi(b) {
		b = mirrored(b)
	}
	l.shared = len(identify(a, b))
	if !l.byISN {
		l.score += 0.3 * float64(min(l.shared, 8)) / 8
	}
}

// spacesMeet reports whether the positions that the two views saw overlap in
// every direction that both of them know, and that there is one.
func spacesMeet(a, b *flows.Flow) bool {
	known := false
	for s := range a.Sides {
		x, xok := spaceOf(a, uint8(s))
		y, yok := spaceOf(b, uint8(s))
		if !xok || !yok {
			continue
		}
		if !x.meets(y) {
			return false
		}
		known = true
	}
	return known
}

// space is a stretch of one direction's sequence space, both ends included.
type space struct {
	from  tcp.Seq
	width int
	all   bool // more than half the space: it meets everything
}

// meets reports whether two stretches touch; a probe lies one octet below what
// the other capture may have seen.
func (s space) meets(t space) bool {
	if s.all || t.all {
		return true
	}
	d := t.from.Sub(s.from)
	return d <= s.width+1 && -d <= t.width+1
}

// spaceOf returns the positions of one sender that the view knows: its own
// sequence numbers and what the peer acknowledged.
func spaceOf(f *flows.Flow, from uint8) (space, bool) {
	var base tcp.Seq
	low, high, known := 0, 0, false
	add := func(p tcp.Seq) {
		if !known {
			base, known = p, true
			return
		}
		d := p.Sub(base)
		low, high = min(low, d), max(high, d)
	}
	side := &f.Sides[from]
	if side.Octets > 1<<30 {
		return space{all: true}, true
	}
	if side.ISNKnown {
		add(side.ISN)
	}
	if side.NxtKnown {
		add(side.SndNxt)
	}
	for i := range f.Events {
		e := &f.Events[i]
		if e.Kind == flows.Stale || e.Kind == flows.ICMPError || e.Kind == flows.RST || e.From == flows.Unclear {
			continue
		}
		if e.From == from {
			add(e.Seq)
			add(endOf(e))
		} else if e.Flags.Has(tcp.ACK) {
			add(e.Ack)
		}
		if r := e.Run; r != nil && r.LastFrom == from {
			add(r.Seq)
		} else if r != nil && r.LastFrom == opposite(from) {
			add(r.Ack)
		}
	}
	return space{from: base.Add(low), width: high - low}, known
}

// endOf returns the position after the event's last octet.
func endOf(e *flows.Event) tcp.Seq {
	seg := tcp.Segment{Seq: e.Seq, Len: e.Len, Flags: e.Flags}
	return seg.End()
}

// groups joins places, at most one of each point to a group.
type groups struct {
	places []place
	of     map[place]int
	conns  []connection
	claims map[claim][]*link // the strongest first
}

// claim is what links compete for: a flow, to be joined with one of a point.
type claim struct {
	flow place
	with int
}

func (l *link) claims() [2]claim { return [2]claim{{l.a, l.b.point}, {l.b, l.a.point}} }

// newGroups makes a group of each place. The links, the strongest first, are to join them.
func newGroups(places []place, links []link) *groups {
	g := &groups{places: places, of: make(map[place]int, len(places)), claims: make(map[claim][]*link, 2*len(links))}
	for i, p := range places {
		g.of[p] = i
		g.conns = append(g.conns, connection{at: []place{p}, method: alone})
	}
	for i := range links {
		for _, c := range links[i].claims() {
			g.claims[c] = append(g.claims[c], &links[i])
		}
	}
	return g
}

// join merges the groups of a link's two flows, unless a point would be in
// them twice or another link of the same strength competes for either flow:
// then nothing is picked.
func (g *groups) join(sides []*side, l *link) {
	i, j := g.of[l.a], g.of[l.b]
	if i == j || g.clash(sides, i, j) {
		return
	}
	margin, rivals := g.runnerUp(l)
	if len(rivals) > 0 && margin == 0 {
		g.conns[i].mayBe(sides, rivals)
		g.conns[j].mayBe(sides, rivals)
		return
	}
	a, b := &g.conns[i], &g.conns[j]
	method := bySequence
	if l.byISN {
		method = byISN
	}
	if a.method == bySequence || b.method == bySequence {
		method = bySequence
	}
	score, best := l.score, margin
	for _, c := range []*connection{a, b} {
		if c.method != alone {
			score, best = min(score, c.score), min(best, c.margin)
		}
	}
	a.at = append(a.at, b.at...)
	a.method, a.score, a.margin = method, score, best
	for _, p := range b.at {
		g.of[p] = i
	}
	b.at = nil
}

// mayBe notes flows that a connection may be, each once and no more than a crowd.
func (c *connection) mayBe(sides []*side, rivals []place) {
	for _, p := range rivals {
		if len(c.ambiguous) >= crowd {
			return
		}
		if id := sides[p.point].flow(p.flow).ID; !slices.Contains(c.ambiguous, id) {
			c.ambiguous = append(c.ambiguous, id)
		}
	}
}

// clash reports whether two groups cannot be one connection.
func (g *groups) clash(sides []*side, i, j int) bool {
	for _, a := range g.conns[i].at {
		for _, b := range g.conns[j].at {
			if a.point == b.point {
				return true
			}
			if len(g.conns[i].at)+len(g.conns[j].at) > 2 {
				if _, ok := compare(sides[a.point].flow(a.flow), sides[b.point].flow(b.flow)); !ok {
					return true
				}
			}
		}
	}
	return false
}

// runnerUp returns by how much the link beats the best other link between the same two
// points for one of its flows, and which flows those that it ties with have.
func (g *groups) runnerUp(l *link) (margin float64, rivals []place) {
	margin = l.score
	for _, c := range l.claims() {
		for _, o := range g.claims[c] {
			if o == l || o.score > l.score || o.score == l.score && o.shared > l.shared {
				continue
			}
			gap := l.score - o.score
			if gap == 0 && o.shared < l.shared {
				gap = 1 - float64(o.shared)/float64(l.shared)
			}
			if gap < margin {
				margin, rivals = gap, nil
			}
			if gap == 0 {
				rivals = append(rivals, o.besides(c.flow))
			}
		}
	}
	return margin, rivals
}

// besides returns the flow of a link that is not the one given.
func (l *link) besides(p place) place {
	if l.a == p {
		return l.b
	}
	return l.a
}

func (g *groups) connections() []connection {
	var out []connection
	for _, c := range g.conns {
		if len(c.at) > 0 {
			slices.Sort(c.ambiguous)
			slices.SortFunc(c.at, func(a, b place) int { return a.point - b.point })
			out = append(out, c)
		}
	}
	return out
}
