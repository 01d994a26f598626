package flows

import (
	"math/bits"
	"time"

	"kaflow/capture"
)

// beats takes the bare frames of a batch, as far as they are the next beats of steady runs,
// and reports whether all are. From the first on that is none it leaves packets.
func (t *Table) beats(b *capture.Batch) bool {
	w, p, n, all := &t.plan, &t.narrow, 0, b.Bare.N
	if b.Bare.Wide {
		p = &t.wide
	}
	if w.inOrder == p && t.takeTurns(all) {
		n = t.inStep(p, b, 0)
	}
	if n < all { // others may still be beats
		w.turns = false
		t.lookBare(p, b, n)
		n = t.inStep(p, b, n)
	}
	if n > 0 {
		last := &b.Pkts[n-1]
		t.now, t.last = max(t.now, last.At), last.Ord
	}
	if n == all {
		w.batches++
		return true
	}
	if b.Unfold(n); 2*n < all { // and prepare counts the batch
		w.bareAt = w.batches + sampleEach
	}
	return false
}

// wantsBare reports whether the next batch may well be one for beats.
func (t *Table) wantsBare() bool { return t.short && int32(t.plan.batches-t.plan.bareAt) >= 0 }

// lookBare is prepare for the bare frames of a batch from one on, whose flows take no turns
// so far as is known.
func (t *Table) lookBare(p *pool, b *capture.Batch, from int) {
	w, entries, all := &t.plan, p.index.entries, b.Bare.N
	mask := uint32(len(entries) - 1)
	for i := from; i < all; i++ {
		head, hash := capture.HeadAt(b.Buf, b.Pkts[i].Data), uint32(0)
		if p.wide {
			k, end := head.Key6()
			hash, w.end[i] = p.index.hash(&k), end
		} else {
			src, dst, ports := head.Source(), head.Destination(), head.TCP().Ports()
			if w.end[i] = 0; src > dst {
				src, dst, ports, w.end[i] = dst, src, bits.RotateLeft32(ports, 16), 1
			}
			hash = hash4(p.index.seed, src, dst, ports)
		}
		w.hash[i], w.entry[i] = hash, entries[hash&mask]
	}
	w.look(entries, from, all)
	if w.batches%sampleEach == 0 && from == 0 && w.ordered(all, all) {
		w.inOrder, w.missed = p, 0
	}
	if p.live < crowd {
		return
	}
	for _, slot := range w.slot[from:all] {
		if slot != 0 {
			w.sum += p.record(slot - 1).near()
		}
	}
}

// inStep takes bare frames from one on that are beats, up to the first that is
// none, which it returns. Their flows are found as the plan has it. Of IPv6 it leaves them to
// inStep6: one loop for both takes a call more for each frame, 35 steps of 361.
func (t *Table) inStep(p *pool, b *capture.Batch, from int) int {
	if p.wide {
		return t.inStep6(p, b, from)
	}
	w, buf, pkts := &t.plan, b.Buf, b.Pkts[:b.Bare.N]
	for n := from; n < len(pkts); n++ {
		pkt := &pkts[n]
		head, d := capture.HeadAt(buf, pkt.Data), 0
		src, dst := head.Source(), head.Destination()
		if src > dst {
			d = 1
		}
		slot := w.place(n, d, p.used)
		if slot >= p.used {
			return n
		}
		r, seg := p.record(slot), head.TCP()
		if r.hot.addr[d] != src || r.hot.addr[1-d] != dst || r.hot.ports != bits.RotateLeft32(seg.Ports(), d*16) ||
			!r.beat(d, seg, head.TTL(), head.IPID(), pkt) {
			return n
		}
		w.next[d] = slot + 1
	}
	return len(pkts)
}

// inStep6 is inStep for IPv6.
func (t *Table) inStep6(p *pool, b *capture.Batch, from int) int {
	w, buf, pkts := &t.plan, b.Buf, b.Pkts[:b.Bare.N]
	for n := from; n < len(pkts); n++ {
		pkt := &pkts[n]
		head := capture.HeadAt(buf, pkt.Data)
		d := head.From6() & 1
		slot := w.place(n, d, p.used)
		if slot >= p.used || !head.Of6(&p.keys[slot>>chunkBits][slot&(chunkSize-1)], d) ||
			!p.record(slot).beat(d, head.TCP6(), head.HopLimit(), 0, pkt) {
			return n
		}
		w.next[d] = slot + 1
	}
	return len(pkts)
}

// place returns the slot of packet n, which end d sends, of a pool that has used so many; it is
// none of them where no flow was found.
func (w *plan) place(n, d int, used uint32) uint32 {
	slot := w.next[d]
	if slot >= used {
		slot = 0 // the next round
	}
	if !w.turns {
		slot = w.slot[n] - 1
	}
	return slot
}

// beat is steady for a bare frame of end d, where the flow's last segment came by the short
// way, from the other end.
func (r *record) beat(d int, seg *capture.TCPHead, ttl uint8, id uint16, pkt *capture.Packet) bool {
	h, c := &r.hot, &r.cold
	d &= 1
	e := d ^ 1
	flags := c.flags
	if flags&(coldSteady|coldSteadyHi) != coldSteady|coldSteadyHi*uint16(e) || h.win[d] != seg.Win() || h.next[e] != seg.Ack() ||
		c.ttl[d] != ttl || c.way[d] != 0 {
		return false
	}
	stamp, echo := uint32(0), uint32(0)
	if h.state[d]&stTimestamps != 0 {
		stamp, echo = seg.TSVal(), seg.TSEcr()
		if !seg.Stamped() || int32(stamp-h.tsval[d]) < 0 {
			return false
		}
	} else if seg.Stamped() {
		return false
	}
	since := uint64(pkt.At - h.last)
	if h.next[d] != seg.Seq() {
		if h.next[d]-1 != seg.Seq() || flags&coldWaits != 0 || c.probe != 0 || int64(since) < int64(gapMin) {
			return false
		}
		h.echo = echo
		flags |= coldWaits | coldQuiet
	} else {
		if flags&coldWaits == 0 || !c.keeps(e) || since > steadyRTT*1e9 || !c.goesOn(e, h, pkt, inSeconds(time.Duration(since))) {
			return false
		}
		flags &^= coldWaits | coldQuiet
	}
	c.segments[d]++
	if id != c.ipid[d] {
		h.state[d] |= stIDVaries
		c.ipid[d] = id
	}
	c.flags = flags&^coldSteadyHi | coldSteady | coldSteadyHi*uint16(d)
	h.tsval[d] = stamp
	h.last, h.ord = pkt.At, pkt.Ord
	return true
}
