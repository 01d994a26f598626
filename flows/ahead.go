package flows

import "kaflow/capture"

// Each batch is walked ahead of the work, one step at a time for all of its
// packets: loads and multiplications that do not wait for each other overlap.
// The first steps, key to hash to slot, are the same for any number of flows.
// Where the records of many flows do not fit into a cache, two more steps read
// what each packet will need: the record, and the end of the story. Where the
// packets go through the flows in the order in which these lie in memory, as
// keepalives of one pace do, the processor sees that itself, and these steps
// would only cost.

// crowd is how many flows make the last steps worth their cost.
const crowd = 8192

// sampleEach is how many batches go by between two looks at their order.
const sampleEach = 16

// plan is what was found out about the packets of a batch before the work. A
// slot is a hint: the flow may have left, or another have come, by the time.
type plan struct {
	hash  [capture.BatchSize]uint32
	slot  [capture.BatchSize]uint32 // plus 1; 0: none was found
	which [capture.BatchSize]uint8  // packets of the pool at hand
	old   bool                      // an instance was replaced by a newer one since: slots may be of the older

	batches   [2]uint32 // so many were walked, narrow and wide
	scattered [2]bool   // the flows of the last one that was looked at lie apart
	sum       uint64    // of what was read ahead, so that it is
}

// prepare makes the plan for a batch.
func (t *Table) prepare(b *capture.Batch) {
	w := &t.plan
	w.old = false
	n, narrow := 0, &t.narrow.index
	for i := range b.Pkts[:b.N] {
		p := &b.Pkts[i]
		if k := &p.Key; p.Proto == capture.TCP {
			if k.Overlay == 0 && k.Is4() {
				w.hash[i] = narrow.hash4(k.Lo[3], k.Hi[3], k.Ports)
				w.which[n] = uint8(i)
				n++
			} else {
				w.hash[i] = t.wide.index.hash(k)
			}
		}
	}
	w.find(&t.narrow, n)
	w.read(&t.narrow, n, &t.arena)
	if n == b.N {
		return
	}
	n = 0
	for i := range b.Pkts[:b.N] {
		if p := &b.Pkts[i]; p.Proto == capture.TCP && (p.Key.Overlay != 0 || !p.Key.Is4()) {
			w.which[n] = uint8(i)
			n++
		}
	}
	w.find(&t.wide, n)
	w.read(&t.wide, n, &t.arena)
}

// find looks the slots of the first n packets of which up by their hashes. Two
// keys of one hash are for segment to tell apart.
func (w *plan) find(p *pool, n int) {
	entries := p.index.entries
	if len(entries) == 0 {
		for _, i := range w.which[:n] {
			w.slot[i&(capture.BatchSize-1)] = 0
		}
		return
	}
	var found [capture.BatchSize]uint64
	mask := uint32(len(entries) - 1)
	for k, i := range w.which[:n] {
		found[k] = entries[w.hash[i&(capture.BatchSize-1)]&mask]
	}
	for k, i := range w.which[:n] {
		hash, e := w.hash[i&(capture.BatchSize-1)], found[k]
		for at := hash & mask; e != 0 && uint32(e>>32) != hash; e = entries[at] {
			at = (at + 1) & mask
		}
		w.slot[i&(capture.BatchSize-1)] = uint32(e)
	}
}

// read reads what the packets will need of their flows, where that pays.
func (w *plan) read(p *pool, n int, a *arena) {
	if p.live < crowd {
		return
	}
	i := p.number()
	if w.batches[i]%sampleEach == 0 {
		w.scattered[i] = w.apart(n)
	}
	if w.batches[i]++; w.scattered[i] {
		w.touch(p, n, a)
	}
}

// apart reports whether most of the flows of a batch lie nowhere near those of
// the packets just before.
func (w *plan) apart(n int) bool {
	const back, near = 4, 4
	found := 0
	for k := back; k < n; k++ {
		slot := w.slot[w.which[k]&(capture.BatchSize-1)]
		for _, i := range w.which[k-back : k] {
			if slot-w.slot[i&(capture.BatchSize-1)]+near <= 2*near {
				found++
				break
			}
		}
	}
	return 2*found < n
}

// touch reads the records and the ends of the stories.
func (w *plan) touch(p *pool, n int, a *arena) {
	sum := uint64(0)
	for _, i := range w.which[:n] {
		if slot := w.slot[i&(capture.BatchSize-1)]; slot != 0 {
			r := p.record(slot - 1)
			sum += uint64(r.hot.ports) + uint64(r.cold.runAt)
		}
	}
	for _, i := range w.which[:n] {
		if slot := w.slot[i&(capture.BatchSize-1)]; slot != 0 {
			if c := p.cold(slot - 1); c.flags&coldRun == 0 && c.story.held {
				story := a.events(c.story)
				last := &story[len(story)-1]
				sum += uint64(last.at) + uint64(last.kind)
			}
		}
	}
	w.sum += sum
}
