package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// The short way for data that flows: a segment that is next in order, or an
// acknowledgment, in the middle of a run of traffic. It is what the long way
// comes to for such a segment, in the long way's order, without the questions
// whose answers are known (TestTheShortWayIsTheSame, FuzzTable).

// disorder are the flags of a flow that end this short way.
const disorder = coldEnded | coldSteady | coldBeat | coldBeatHi

// orderly tries this short way and reports whether the packet is done with.
func (t *Table) orderly(r *record, handle uint32, b *capture.Batch, pkt *capture.Packet) bool {
	seg := &pkt.Seg
	if seg.Flags&^tcp.PSH != tcp.ACK || seg.Opts&^tcp.OptTimestamps != 0 || seg.Win == 0 || pkt.Note&steadyNotes != 0 {
		return false
	}
	h, c := &r.hot, &r.cold
	d := 0
	if pkt.Reversed {
		d = 1
	}
	e := 1 - d
	const settled = stKnown | stSeen | stAcked
	quiet, ahead := pkt.At.Sub(h.last), seg.Ack.Sub(h.next[e])
	if (h.state[0]|h.state[1])&unsteady != 0 || h.state[0]&h.state[1]&settled != settled ||
		pkt.Way != c.way[d] || quiet < 0 || quiet >= gapMin || seg.Seq != h.next[d] || ahead > 0 || ahead < -(1<<30) ||
		c.flags&disorder != 0 || c.holed || c.older != 0 && ahead != 0 && t.staleAt(handle, seg, d) || c.afterGap != 0 || c.open != [2]uint16{} ||
		c.flags&(coldMidway|coldHandshake) == 0 || t.digests(seg) {
		return false
	}
	evs := t.arena.events(c.story)
	if len(evs) == 0 {
		return false
	}
	tl := &evs[len(evs)-1]
	if tl.bits&evTail == 0 || tl.kind != Data {
		return false
	}
	if seg.Len > 0 || seg.Ack.After(h.una[e]) {
		t.copies.put(handle, d, seg, pkt.At) // what tells something new is no copy
	} else if t.copies.seen(handle, d, seg, pkt.At, trust(h.state[d]&stIDVaries != 0 || seg.IPID != c.ipid[d], c.segments[d])) {
		return false
	}

	// Nothing below can fail.
	c.segments[d]++
	if seg.TTL != c.ttl[d] {
		c.ttl[d] = seg.TTL
		c.ttlMin[d], c.ttlMax[d] = min(c.ttlMin[d], seg.TTL), max(c.ttlMax[d], seg.TTL)
	}
	if seg.IPID != c.ipid[d] {
		h.state[d] |= stIDVaries
		c.ipid[d] = seg.IPID
	}
	if seg.Opts != 0 {
		h.state[d] |= stTimestamps
		if int32(seg.TSVal-h.tsval[d]) > 0 || h.tsval[d] == 0 {
			h.tsval[d] = seg.TSVal
		}
	}
	h.last, h.ord, h.win[d] = pkt.At, pkt.Ord, seg.Win
	if seg.Len > 0 {
		c.octets[d] += uint64(seg.Len)
		h.next[d] = seg.End()
		c.advanced[d] = ticks(pkt.At)
		h.state[d] &^= stHeard | stOctet
		c.full = max(c.full, uint16(min(seg.Len, 0xffff)))
		if pkt.DataLen == seg.Len {
			c.lastOctet[d] = b.Buf[pkt.Data+pkt.DataLen-1]
			h.state[d] |= stOctet
		}
		if c.app[d] == 0 && c.octets[d] <= askedOctets {
			c.app[d] = t.speaks(b.Buf[pkt.Data : pkt.Data+pkt.DataLen])
		}
	}
	if seg.Ack.After(h.una[e]) {
		h.una[e] = seg.Ack
		if seg.Len == 0 {
			h.state[d] |= stHeard
		}
	}
	tail{tl}.lengthen(d, seg, pkt)
	return true
}

// staleAt is isStale by a handle.
func (t *Table) staleAt(handle uint32, seg *tcp.Segment, d int) bool {
	p, slot := t.at(handle)
	return t.isStale(p, slot, seg, d)
}

// digests reports whether digests of a segment's octets are asked for.
func (t *Table) digests(seg *tcp.Segment) bool {
	return t.Options.Digests && seg.Len >= shortestData && !seg.Opts.Has(tcp.OptTimestamps)
}
