package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// The short way for connections that are idle when the capture begins: a probe, of
// which nobody can know yet that it is one, and its answer, which tells. They come to
// what the long way makes of them, in its order, without the questions whose answers
// are known (TestIdleConnectionsAreJoinedAsTheLongWayDoes, TestShortWaysLeaveTheSameRecords).

// bare reports whether a segment is an acknowledgment and nothing else.
func bare(pkt *capture.Packet) bool {
	seg := &pkt.Seg
	return seg.Flags == tcp.ACK && seg.Len == 0 && seg.Opts&^tcp.OptTimestamps == 0 && seg.Win != 0 && pkt.Note&steadyNotes == 0
}

// join begins a flow whose first segment is a bare one, and reports whether it did.
func (t *Table) join(p *pool, hash uint32, b *capture.Batch, pkt *capture.Packet) bool {
	if !bare(pkt) {
		return false
	}
	slot := t.open(p, hash, &pkt.Key, 0, false, pkt)
	r, d := p.record(slot), 0
	if pkt.Reversed {
		d = 1
	}
	h, c, e, long := &r.hot, &r.cold, 1-d, ticks(pkt.At)-longAgo
	c.advanced[0], c.advanced[1] = long, long
	c.flags |= coldMidway
	t.midway = true
	if guessClient(pkt.Key.Ports, d) == 1 {
		c.flags |= coldReversed
	}
	h.next[d], h.una[e] = pkt.Seg.Seq, pkt.Seg.Ack
	h.state[e] = stAcked
	r.firstOf(d, stSeen|stTentative, pkt)
	t.jot(p.handle(slot), c, d, ACK, evInferred, b, pkt)
	return true
}

// joined takes the answer to the segment that a flow was joined with, and reports
// whether it is one and nothing else came between.
func (t *Table) joined(r *record, handle uint32, b *capture.Batch, pkt *capture.Packet) bool {
	h, c, seg, e := &r.hot, &r.cold, &pkt.Seg, 0
	if pkt.Reversed {
		e = 1
	}
	d := 1 - e
	if c.segments[e] != 0 || c.segments[d] != 1 || h.state[d]&^stTimestamps != stSeen|stTentative || h.state[e] != stAcked || !bare(pkt) ||
		c.flags&^coldReversed != coldUsed|coldMidway || seg.Seq != h.una[e] || seg.Ack != h.next[d]+1 || uint64(pkt.At-h.last) >= uint64(gapMin) || t.Options.Learn {
		return false
	}
	evs := t.arena.events(c.story)
	if len(evs) != 1 || evs[0].kind != ACK || evs[0].count != 0 { // the arena was full, or an ICMP error came; or it may have been an octet of data
		return false
	}
	probe := &evs[0]
	probe.kind, probe.note = KeepaliveProbe, probe.note|NoteRevised
	probe.bits |= evInferred | evAnswered
	probe.next = uint32(pkt.Ord - probe.ordinal())
	c.advanced[d] = ticks(pkt.At) - longAgo // nothing new was sent since the capture began
	c.probes[d], c.answered[d] = c.probes[d]+1, c.answered[d]+1
	c.rtt[d].add(inSeconds(pkt.At.Sub(probe.at)))
	since := probe.next
	h.next[e], h.next[d], h.una[d] = seg.Seq, seg.Ack, seg.Ack
	h.state[d] = h.state[d]&^stTentative | stKnown | stAcked
	r.firstOf(e, stSeen|stKnown|stAcked|stHeard, pkt)
	if ev := t.jot(handle, c, e, KeepaliveACK, 0, b, pkt); ev != nil {
		ev.next = since
	}
	return true
}

// firstOf takes note of the first segment of an end, whose state is as given then.
func (r *record) firstOf(d int, state uint16, pkt *capture.Packet) {
	h, c, seg := &r.hot, &r.cold, &pkt.Seg
	c.segments[d] = 1
	c.ttl[d], c.ttlMin[d], c.ttlMax[d], c.ipid[d] = seg.TTL, seg.TTL, seg.TTL, seg.IPID
	c.way[d] = pkt.Way
	if seg.Opts != 0 {
		state |= stTimestamps
	}
	h.state[d], h.tsval[d], h.win[d] = state, seg.TSVal, seg.Win
	h.last, h.ord = pkt.At, pkt.Ord
}

// jot writes a bare segment of end d into the story, with its copies in mind.
// It returns nil where there is no room.
func (t *Table) jot(handle uint32, c *cold, d int, kind Kind, bits uint8, b *capture.Batch, pkt *capture.Packet) *event {
	t.copies.put(handle, d, &pkt.Seg, pkt.At)
	ev := t.arena.extend(&c.story)
	if ev == nil {
		t.turnAway(c, pkt.At)
		return nil
	}
	ev.copy(&pkt.Seg)
	ev.at, ev.kind, ev.bits = pkt.At, kind, bits|uint8(d)
	ev.setOrdinal(pkt.Ord)
	if pkt.Seg.Opts != 0 {
		ev.bits |= evTS
	}
	if pkt.Note&capture.NoteBadIPSum != 0 || pkt.WrongTCPSum(b.Buf) {
		ev.note = NoteBadSum
	}
	return ev
}
