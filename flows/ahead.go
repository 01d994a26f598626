package flows

import (
	"kaflow/capture"
)

// Each batch is walked ahead of the work, one step at a time for all of its
// packets: loads and multiplications that do not wait for each other overlap.
// The first steps, key to hash to slot, are the same for any number of flows.
// A branch on what the index holds stands behind all loads from it.
// Where the records of many flows do not fit into a cache, two more steps read
// what each packet will need: the record, and the end of the story.
//
// Connections that are idle ask at one pace, and so in the same order round by
// round: that in which they lie in memory. There the next segment of a direction
// is most likely of the flow behind the one of the segment before, which a look
// at that record tells; index and steps are not needed.

// crowd is how many flows make the last steps worth their cost.
const crowd = 8192

// afar is how many flows lie so far away, beyond the last cache, that those whose turn is next are
// asked for: of fewer the processor fetches in time what it needs, and what it does not stays where it is.
const afar = 1 << 18

// soon is how many flows' segments and their answers a batch holds.
const soon = capture.BatchSize / 2

// sampleEach is how many batches go by between two looks at their order.
const sampleEach = 16

// plan is what was found out about the packets of a batch before the work. A
// slot is a hint: the flow may have left, or another have come, by the time.
type plan struct {
	hash  [capture.BatchSize]uint32
	entry [capture.BatchSize]uint64 // of the index, where the search for the hash begins
	slot  [capture.BatchSize]uint32 // plus 1; 0: none was found
	end   [capture.BatchSize]uint8  // which sent it, where the order of flows is looked at
	pool  *pool                     // of all segments, if they are of one; nil while turns are taken
	short bool                      // the slots can be trusted as far as the key tells, and the short ways are open

	turns     bool      // the slots are found in turn, while the work goes on, and nothing was hashed
	batches   uint32    // so many were taken
	next      [2]uint32 // the slot behind that of the last segment, by direction
	inOrder   *pool     // of whose flows most segments of the last batch that was looked at came so; nil: they did not
	missed    int       // packets of the last batch that took turns whose flow's turn it was not,
	sought    int       // of so many
	bareAt    uint32    // so many batches have to be taken before bare frames are wanted
	scattered bool      // the flows of that batch lie apart
	sum       uint64    // of what was read ahead, so that it is
}

// prepare makes the plan for a batch.
func (t *Table) prepare(b *capture.Batch) {
	w, seed := &t.plan, t.narrow.index.seed
	pkts, plain := b.Pkts[:b.N], 0
	w.pool, w.short = &t.narrow, t.short
	sample := w.batches%sampleEach == 0 && len(pkts) > 0 // an empty one tells nothing
	w.batches++
	if w.inOrder != nil && !sample && t.takeTurns(len(pkts)) {
		return
	}
	entries := t.narrow.index.entries
	mask := uint32(len(entries) - 1)
	for i := range pkts {
		p := &pkts[i]
		if p.Plain {
			hash := hash4(seed, p.Key.Lo[3], p.Key.Hi[3], p.Key.Ports)
			w.hash[i], w.entry[i] = hash, entries[hash&mask]
			plain++
		} else {
			w.entry[i] = 0
		}
	}
	w.turns = false
	if plain > 0 {
		w.look(entries, 0, len(pkts))
	}
	if plain < len(pkts) {
		t.lookMixed(pkts, plain)
	}
	if sample {
		if w.inOrder = nil; w.pool != nil && w.short && !t.again && w.ordered(len(pkts), w.sent(pkts)) {
			w.inOrder, w.missed = w.pool, 0
		}
		w.scattered = w.inOrder == nil && t.narrow.live+t.wide.live >= crowd && w.apart(len(pkts))
	}
	if w.scattered {
		t.touch(pkts)
	}
}

// anew notes that a flow has taken the ports of another one: what the plan says of
// the older one holds for it.
func (w *plan) anew(older, slot uint32) {
	if w.turns { // of which nothing is written down
		w.short = false
		return
	}
	for i := range w.slot {
		if w.slot[i] == older+1 {
			w.slot[i] = slot + 1
		}
	}
}

// takeTurns reports whether the flows of a batch of n packets are to be looked for
// in turn, as those of the one before were.
func (t *Table) takeTurns(n int) bool {
	w, p := &t.plan, t.plan.inOrder
	if t.again || 2*w.missed > w.sought {
		w.inOrder = nil
		return false
	}
	w.turns, w.pool, w.missed, w.sought = true, nil, 0, n
	if next := w.next[0] + soon; next < p.used && p.live >= afar {
		first := next % chunkSize
		capture.Prefetch(p.chunks[next/chunkSize][first:min(first+soon, chunkSize)])
	}
	return true
}

// mayHold reports whether a packet is a segment of the kind that a pool holds.
func (p *pool) mayHold(pkt *capture.Packet) bool {
	return pkt.Plain != p.wide && (!p.wide || pkt.Proto == capture.TCP)
}

// outOfTurn counts a packet whose flow's turn it is not, and returns its slot, plus 1;
// 0 where that pool has none.
func (w *plan) outOfTurn(pkt *capture.Packet) uint32 {
	w.missed++
	p := w.inOrder
	if !p.mayHold(pkt) {
		return 0
	}
	if slot, ok := p.find(p.index.hash(&pkt.Key), &pkt.Key); ok {
		return slot + 1
	}
	return 0
}

// ordered reports whether most segments of a batch of n packets come in the order of
// their flows' slots. What is no segment has no slot.
func (w *plan) ordered(n, segments int) bool {
	found := 0
	for i, slot := range w.slot[:n] {
		if end := w.end[i] & 1; slot != 0 {
			if slot-1 == w.next[end] {
				found++
			}
			w.next[end] = slot
		}
	}
	return 4*found > 3*segments
}

// sent notes which end has sent each packet, and returns how many are segments.
func (w *plan) sent(pkts []capture.Packet) (segments int) {
	for i := range pkts {
		w.end[i] = 0
		if pkts[i].Reversed {
			w.end[i] = 1
		}
		if pkts[i].Proto == capture.TCP {
			segments++
		}
	}
	return segments
}

// hashOf returns the hash of a segment's key in its pool.
func (t *Table) hashOf(p *pool, pkts []capture.Packet, i int) uint32 {
	if t.plan.turns {
		return p.index.hash(&pkts[i].Key)
	}
	return t.plan.hash[i]
}

// look looks up the slots of packets from one up to another, all of one pool, by their
// hashes, from where the search for each begins. Two keys of one hash are
// for segment to tell apart.
func (w *plan) look(entries []uint64, from, to int) {
	mask := uint32(len(entries) - 1)
	for i := from; i < to; i++ {
		hash, e := w.hash[i], w.entry[i]
		for at := hash; e != 0 && uint32(e>>32) != hash; e = entries[at&mask] {
			at++
		}
		w.slot[i] = uint32(e)
	}
}

// lookMixed is look for the packets that are not plain, where so many are.
func (t *Table) lookMixed(pkts []capture.Packet, plain int) {
	w, segments := &t.plan, [2]int{}
	segments[t.narrow.number()] = plain
	for i := range pkts {
		p := &pkts[i]
		if p.Plain {
			continue
		}
		w.slot[i] = 0
		if p.Proto == capture.TCP {
			in := t.poolOf(&p.Key)
			w.hash[i] = in.index.hash(&p.Key)
			w.slot[i] = in.index.look(w.hash[i])
			segments[in.number()]++
		}
	}
	switch narrow, wide := segments[t.narrow.number()], segments[t.wide.number()]; {
	case wide == 0:
	case narrow == 0:
		w.pool = &t.wide
	default:
		w.pool = nil
	}
}

// apart reports whether most of the flows of a batch lie nowhere near those of
// the packets just before.
func (w *plan) apart(n int) bool {
	const back, near = 4, 4
	found := 0
	for k := back; k < n; k++ {
		for _, slot := range w.slot[k-back : k] {
			if w.slot[k]-slot+near <= 2*near {
				found++
				break
			}
		}
	}
	return 2*found < n
}

// near reads what the short ways need of a record.
func (r *record) near() uint64 { return uint64(r.hot.ports) + uint64(r.cold.runAt) }

// touch reads the records and the ends of the stories.
func (t *Table) touch(pkts []capture.Packet) {
	w, sum := &t.plan, uint64(0)
	for i, slot := range w.slot[:len(pkts)] {
		if slot != 0 {
			sum += t.poolOf(&pkts[i].Key).record(slot - 1).near()
		}
	}
	for i, slot := range w.slot[:len(pkts)] {
		if slot == 0 {
			continue
		}
		if c := t.poolOf(&pkts[i].Key).cold(slot - 1); c.flags&coldRun == 0 && c.story.held {
			story := t.arena.events(c.story)
			last := &story[len(story)-1]
			sum += uint64(last.at) + uint64(last.kind)
		}
	}
	w.sum += sum
}
