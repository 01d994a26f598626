package flows

// Side notes are what few flows need, and what anybody can make each flow need
// with two odd segments. Their number is bounded: beyond it, of a stretch of
// flows that have some, the one that matters least loses its own.

// rareShare is how many flows the limit allows for each one with side notes.
const rareShare = 4

// rareRing remembers which flows got side notes.
type rareRing struct {
	handles []uint32
	hand    int    // where the search for one to forget goes on
	dropped uint64 // flows that lost theirs
}

// rareOf returns a flow's side notes, new ones where it has none.
func (t *Table) rareOf(handle uint32, c *cold) *rare {
	r := t.rare[handle]
	if r == nil {
		t.makeRoom(handle)
		r = &rare{}
		t.rare[handle] = r
		c.flags |= coldRare
	}
	return r
}

// makeRoom gives a flow a place in the ring.
func (t *Table) makeRoom(handle uint32) {
	ring := &t.rares
	if len(ring.handles) < max(1024, t.Options.MaxFlows/rareShare) {
		ring.handles = append(ring.handles, handle)
		return
	}
	best, bestWorth := 0, 1<<30
	for range min(64, len(ring.handles)) {
		ring.hand = (ring.hand + 1) % len(ring.handles)
		other := ring.handles[ring.hand]
		if t.rare[other] == nil || other == handle { // its flow is gone, or it is the same one again
			best, bestWorth = ring.hand, -1
			break
		}
		p, slot := t.at(other)
		if w := worth(p.record(slot)); w < bestWorth {
			best, bestWorth = ring.hand, w
		}
	}
	if bestWorth >= 0 {
		p, slot := t.at(ring.handles[best])
		c := p.cold(slot)
		if c.flags &^= coldRare; t.rare[ring.handles[best]].tells() {
			c.cutShort()
		}
		delete(t.rare, ring.handles[best])
		ring.dropped++
	}
	ring.handles[best] = handle
}

// tells reports whether a verdict may rest on the notes.
func (r *rare) tells() bool {
	return r.holed() || len(r.missing) > 0 || r.windowProbe != [2]uint32{} || r.shut[0].ord|r.shut[1].ord != 0
}
