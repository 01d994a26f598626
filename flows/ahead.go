package flows

import "kaflow/capture"

// The records of many flows do not fit into a cache, and a packet needs four
// of them in a row: index entry, hot line, cold part, story. Where there are
// that many, each batch is walked ahead of the work, one of the four at a time
// for all packets: loads that do not wait for each other overlap.

// crowd is how many flows make that worth its cost: their hot lines and what
// goes with them no longer fit into a core's own cache.
const crowd = 4096

// prepare hashes the keys of a batch and, in a crowd, reads ahead.
func (t *Table) prepare(b *capture.Batch) {
	for i := range b.Pkts[:b.N] {
		if p := &b.Pkts[i]; p.Proto == capture.TCP {
			t.hashes[i] = t.poolOf(&p.Key).index.hash(&p.Key)
		}
	}
	if t.narrow.live >= crowd {
		t.narrow.ahead(b, &t.hashes, &t.arena, &t.touched)
	}
	if t.wide.live >= crowd {
		t.wide.ahead(b, &t.hashes, &t.arena, &t.touched)
	}
}

// ahead touches what the packets of a batch will need. Where it guesses wrong
// (another flow's entry stands in the way) that costs time and nothing else.
func (p *pool) ahead(b *capture.Batch, hashes *[capture.BatchSize]uint32, a *arena, touched *uint64) {
	var (
		which [capture.BatchSize]uint8
		found [capture.BatchSize]uint64
		slots [capture.BatchSize]uint32
	)
	n, sum := 0, uint64(0)
	for i := range b.Pkts[:b.N] {
		if pkt := &b.Pkts[i]; pkt.Proto == capture.TCP && p.wide != (pkt.Key.Overlay == 0 && pkt.Key.Is4()) {
			which[n] = uint8(i)
			n++
		}
	}
	entries := p.index.entries
	mask := uint32(len(entries) - 1)
	for i, k := range which[:n] { // nothing here waits for what was loaded
		found[i] = entries[hashes[k]&mask]
	}
	m := 0
	for i, k := range which[:n] {
		hash, e := hashes[k], found[i]
		for at := hash & mask; e != 0 && uint32(e>>32) != hash; e = entries[at] {
			at = (at + 1) & mask
		}
		if e != 0 {
			slots[m] = uint32(e) - 1
			m++
		}
	}
	n = m
	for _, slot := range slots[:n] {
		h, c := p.hot(slot), p.cold(slot)
		sum += uint64(h.ports) + uint64(c.runAt)
	}
	for _, slot := range slots[:n] {
		if c := p.cold(slot); c.flags&coldRun == 0 && c.story.held {
			story := a.events(c.story)
			last := &story[len(story)-1]
			sum += uint64(last.at) + uint64(last.kind)
		}
	}
	*touched += sum
}
