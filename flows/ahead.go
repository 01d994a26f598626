package flows

import "kaflow/capture"

// Each batch is walked ahead of the work, one step at a time for all of its
// packets, key to hash to slot: loads and multiplications that do not wait for
// each other overlap. Reading the records ahead, too, costs more than it gives:
// the work on one packet does not wait for that on the one before.

// plan is what was found out about the packets of a batch before the work. A
// slot is a hint: the flow may have left, or another have come, by the time.
type plan struct {
	hash  [capture.BatchSize]uint32
	slot  [capture.BatchSize]uint32 // plus 1; 0: none was found
	which [capture.BatchSize]uint8  // packets of the pool at hand
	old   bool                      // an instance was replaced by a newer one since: slots may be of the older
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
