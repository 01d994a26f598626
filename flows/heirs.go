package flows

import (
	"cmp"
	"slices"

	"kaflow/tcp"
)

// edge is where a flow begins and ends, by its numbers.
type edge struct {
	begins   bool       // in the midst, as one does that continues another
	seq, ack tcp.Seq    // of its first segment, where it does
	next     [2]tcp.Seq // where each end stood last, where that is known,
	una      [2]tcp.Seq // and what was acknowledged of it
	known    [2]bool
}

// meets reports whether another flow begins where this one stood: with the number of one end,
// or the one below, which a keepalive has, and acknowledges what the other end had sent,
// or what of it had come.
func (e *edge) meets(after *edge) bool {
	for d := range e.next {
		if p := 1 - d; after.begins && e.known[d] && e.known[p] && e.next[d]-after.seq <= 1 && (after.ack == e.next[p] || after.ack == e.una[p]) {
			return true
		}
	}
	return false
}

func (t *Table) edge(p *pool, slot uint32) (e edge) {
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	e.next, e.una = h.next, h.una
	if r.young() {
		e.known = [2]bool{true, true} // of an end that was not seen too many meet, not too few
		return e
	}
	for end := range e.known {
		e.known[end] = h.state[end]&stKnown != 0
	}
	if evs := t.arena.events(c.story); c.flags&coldMidway != 0 && len(evs) > 0 {
		first := &evs[0]
		e.begins = first.kind != ICMPError && first.kind != RST && tcp.Flags(first.flags).Has(tcp.ACK)
		e.seq, e.ack = first.seq, first.ack
	}
	return e
}

// standing is the number at which a flow begins, or where one end of it stood last.
type standing struct {
	seq    tcp.Seq
	handle uint32
}

func (a standing) compare(b standing) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.handle, b.handle))
}

// standings are those of all flows of two hosts, in order.
type standings struct{ begin, stood []standing }

// Heirs returns the flows between the same hosts that may be the continuation of one under
// another port, or that it may be the continuation of, in stream order: by the numbers at which
// they begin and stood last, which does not prove it. The connections of two hosts can be a
// hundred thousand, and each of them asks; of those that have the same numbers by the
// hundred, as in a test that replays one, a few are told.
func (t *Table) Heirs(id FlowID) []FlowID {
	p, slot, ok := t.resolve(id)
	if !ok {
		return nil
	}
	k := p.key(slot)
	all := t.between(&k)
	if len(all.handles) < 2 {
		return nil
	}
	mine := t.edge(p, slot)
	var heirs []FlowID
	take := func(handle uint32) (more bool) {
		q, at := t.at(handle)
		if its := t.edge(q, at); (q != p || at != slot) && (mine.meets(&its) || its.meets(&mine)) {
			if id := makeID(handle, q.cold(at).stream); !slices.Contains(heirs, id) {
				heirs = append(heirs, id)
			}
		}
		return len(heirs) < mostHeirs
	}
	if len(all.handles) < manyBetween {
		for i := 0; i < len(all.handles) && take(all.handles[i]); i++ {
		}
		return heirs
	}
	if all.edges == nil {
		all.edges = t.standings(all.handles)
	}
	for end, next := range mine.next {
		if mine.known[end] {
			standingAt(all.edges.begin, next, take)
			standingAt(all.edges.begin, next-1, take)
		}
	}
	if mine.begins {
		standingAt(all.edges.stood, mine.seq, take)
		standingAt(all.edges.stood, mine.seq+1, take)
	}
	slices.SortFunc(heirs, func(a, b FlowID) int { return cmp.Compare(uint32(a), uint32(b)) })
	return heirs
}

// How many flows that stand at one number are looked at, and how many heirs are told.
const (
	mostAlike = 512
	mostHeirs = 8
)

func (t *Table) standings(handles []uint32) *standings {
	x := &standings{}
	for _, handle := range handles {
		e := t.edge(t.at(handle))
		if e.begins {
			x.begin = append(x.begin, standing{e.seq, handle})
		}
		for end, next := range e.next {
			if e.known[end] {
				x.stood = append(x.stood, standing{next, handle})
			}
		}
	}
	slices.SortFunc(x.begin, standing.compare)
	slices.SortFunc(x.stood, standing.compare)
	return x
}

// standingAt takes the flows that stand at a number, until no more are wanted.
func standingAt(sorted []standing, seq tcp.Seq, take func(handle uint32) (more bool)) {
	at, _ := slices.BinarySearchFunc(sorted, standing{seq: seq}, standing.compare)
	for most := min(len(sorted), at+mostAlike); at < most && sorted[at].seq == seq && take(sorted[at].handle); at++ {
	}
}
