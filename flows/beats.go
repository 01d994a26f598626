package flows

import (
	"math/bits"
	"time"

	"kaflow/capture"
)

// beats takes the bare frames of a batch, as far as they are the next beats of steady runs
// whose flows take turns, and reports whether all are. From the first on that is none it
// leaves packets.
func (t *Table) beats(b *capture.Batch) bool {
	n, all := 0, b.Bare.N
	if p := t.plan.inOrder; p != nil && p.wide == b.Bare.Wide && t.takeTurns(all) {
		if p.wide {
			n = t.inStep6(p, b)
		} else {
			n = t.inStep(p, b)
		}
	}
	if n > 0 {
		last := &b.Pkts[n-1]
		t.now, t.last = max(t.now, last.At), last.Ord
	}
	if n == all {
		return true
	}
	if b.Unfold(n); 2*n < all {
		t.plan.bareAt = t.plan.batches + sampleEach
	}
	return false
}

// wantsBare reports whether the next batch may well be one for beats.
func (w *plan) wantsBare() bool {
	return w.inOrder != nil && int32(w.batches-w.bareAt) >= 0
}

// inStep is inTurn for bare frames of IPv4, and returns how many it took.
func (t *Table) inStep(p *pool, b *capture.Batch) int {
	w, buf, pkts := &t.plan, b.Buf, b.Pkts[:b.Bare.N]
	for n := range pkts {
		pkt := &pkts[n]
		head, d := capture.HeadAt(buf, pkt.Data), 0
		src, dst := head.Source(), head.Destination()
		if src > dst {
			d = 1
		}
		slot := w.next[d]
		if slot >= p.used {
			slot = 0 // the next round
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
func (t *Table) inStep6(p *pool, b *capture.Batch) int {
	w, buf, pkts := &t.plan, b.Buf, b.Pkts[:b.Bare.N]
	for n := range pkts {
		pkt := &pkts[n]
		head := capture.HeadAt(buf, pkt.Data)
		d := head.From6() & 1
		slot := w.next[d]
		if slot >= p.used {
			slot = 0
		}
		if !head.Of6(&p.keys[slot>>chunkBits][slot&(chunkSize-1)], d) || !p.record(slot).beat(d, head.TCP6(), head.HopLimit(), 0, pkt) {
			return n
		}
		w.next[d] = slot + 1
	}
	return len(pkts)
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
	at, ord := pkt.At, pkt.Ord
	since := uint64(at - h.last)
	if h.next[d] != seg.Seq() {
		if h.next[d]-1 != seg.Seq() || flags&coldWaits != 0 || c.probe != 0 || int64(since) < int64(gapMin) {
			return false
		}
		h.echo = echo
		flags |= coldWaits | coldQuiet
	} else {
		if flags&coldWaits == 0 || !c.keeps(e) || since > steadyRTT*1e9 || !c.goesOn(h, e, at, ord, inSeconds(time.Duration(since))) {
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
	h.last, h.ord = at, ord
	return true
}
