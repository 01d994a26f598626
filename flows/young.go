package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// The short way for connections that come and go. Most of the connections of a
// busy server live for a dozen segments, end well, and are never asked about.
// From its SYN on a connection is young: its segments are put down as they come
// and nothing is made of them, as long as each is the next in order. One that
// ends so leaves its row and has cost little. At anything else, and when
// somebody asks, it grows up: what was put down goes the long way, segment by
// segment, as if it came then.
//
// A young flow's story holds the segments, kind Unknown. Of hot it uses next,
// una, last and ord, of cold what open sets, the client, segments, octets, app
// and what the SYNs announce; state is zero, which it is for no other flow with
// a story.

const (
	youngMost  = 16   // segments of a young flow
	youngClass = 4    // the block that holds as many
	youngFlows = 8192 // that are young at a time; the oldest grow up
)

// Of a young flow's events: next holds the last payload octet where it is known.
const octetKnown = 1 << 8

// Of a young flow's afterGap: who has sent a FIN.
const youngFIN = 1

func (r *record) young() bool {
	return r.hot.state == [2]uint16{} && r.cold.story.n > 0 && r.cold.story.class == youngClass
}

// bear begins a flow young, where its first segment is a SYN as all are, and
// reports whether it did.
func (t *Table) bear(p *pool, hash uint32, b *capture.Batch, i int) bool {
	pkt := &b.Pkts[i]
	seg := &pkt.Seg
	if t.arena.held+youngMost > t.arena.limit/2 { // the room that segments are put down in is wanted
		return false
	}
	if seg.Flags != tcp.SYN || seg.Len != 0 || seg.Opts&^synOptions != 0 || pkt.Note&steadyNotes != 0 || pkt.Way != 0 || seg.Win == 0 || pkt.Key.Lo == pkt.Key.Hi {
		return false
	}
	if t.cradle == nil {
		t.cradle = make([]FlowID, youngFlows)
	}
	if id := t.cradle[t.born%youngFlows]; id != 0 {
		if q, slot, ok := t.resolve(id); ok && q.cold(slot).flags&coldEnded == 0 {
			t.grow(q, slot)
		}
	}
	slot := t.open(p, hash, &pkt.Key, 0, false, pkt)
	r := p.record(slot)
	at, ok := t.arena.take(youngClass)
	if !ok {
		return t.stillborn(p, slot)
	}
	h, c := &r.hot, &r.cold
	c.story = block{at: at, class: youngClass, held: true}
	t.cradle[t.born%youngFlows] = makeID(p.handle(slot), c.stream)
	t.born++
	d := 0
	if pkt.Reversed {
		d, c.flags = 1, c.flags|coldReversed
	}
	c.flags |= coldRoles
	h.next[d], h.una[d] = seg.Seq+1, seg.Seq
	c.announce(d, seg)
	t.putDown(r, d, b, i)
	return true
}

// stillborn takes back a flow for whose segments there is no room.
func (t *Table) stillborn(p *pool, slot uint32) bool {
	t.streams--
	t.drop(p, slot)
	return false
}

const synOptions = tcp.OptMSS | tcp.OptWScale | tcp.OptSACKPermitted | tcp.OptTimestamps

// announce keeps what a SYN announces.
func (c *cold) announce(d int, seg *tcp.Segment) {
	c.isn[d], c.mss[d], c.fingerprint[d] = seg.Seq, seg.MSS, fingerprint(seg)
	if seg.Opts.Has(tcp.OptWScale) {
		c.scale[d] = min(seg.WScale, 14) + 1
	}
}

// youth takes the next segment of a young flow and reports whether the flow
// stays young; where it does not it has grown up, and the segment is still to be
// taken.
func (t *Table) youth(p *pool, slot uint32, b *capture.Batch, i int) bool {
	pkt := &b.Pkts[i]
	r := p.record(slot)
	h, c, seg := &r.hot, &r.cold, &pkt.Seg
	d := 0
	if pkt.Reversed {
		d = 1
	}
	if !t.nextInYouth(r, d, pkt) {
		t.grow(p, slot)
		return false
	}
	e := 1 - d
	switch {
	case seg.Flags&tcp.SYN != 0:
		h.una[d] = seg.Seq
		h.next[d] = seg.Seq + 1
		c.announce(d, seg)
	case seg.Flags&tcp.FIN != 0:
		h.next[d]++
		c.afterGap |= youngFIN << d
	default:
		h.next[d] += tcp.Seq(seg.Len)
		c.octets[d] += uint64(seg.Len)
		if seg.Len > 0 && c.app[d] == 0 && c.octets[d] <= 4096 {
			c.app[d] = t.speaks(b.Payload(i))
		}
	}
	h.una[e] = seg.Ack
	t.putDown(r, d, b, i)
	if c.afterGap == youngFIN|youngFIN<<1 && h.una == h.next {
		c.flags |= coldEnded
		t.finished(p, slot)
	}
	return true
}

// nextInYouth reports whether a segment is what the long way would take without
// a second thought: the next in order, that tells its peer something new.
func (t *Table) nextInYouth(r *record, d int, pkt *capture.Packet) bool {
	h, c, seg := &r.hot, &r.cold, &pkt.Seg
	e := 1 - d
	quiet := pkt.At.Sub(h.last)
	if c.story.n == youngMost || quiet < 0 || quiet >= gapMin || seg.Win == 0 || pkt.Note&steadyNotes != 0 || pkt.Way != 0 || t.digests(seg) ||
		c.flags&coldEnded != 0 || seg.Flags&^(tcp.SYN|tcp.FIN|tcp.PSH) != tcp.ACK {
		return false
	}
	client := int(c.flags & coldReversed / coldReversed)
	if c.story.n == 1 {
		return d != client && seg.Flags == tcp.SYN|tcp.ACK && seg.Opts&^synOptions == 0 && seg.Len == 0 && seg.Ack == h.next[e]
	}
	answered, fresh := seg.Ack.Sub(h.una[e]), seg.Ack.Sub(h.next[e])
	if seg.Flags&tcp.SYN != 0 || seg.Opts&^tcp.OptTimestamps != 0 || seg.Seq != h.next[d] || answered < 0 || fresh > 0 {
		return false
	}
	if c.story.n == 2 {
		return d == client && seg.Flags == tcp.ACK && seg.Len == 0 && fresh == 0
	}
	if seg.Flags&tcp.FIN != 0 {
		return seg.Len == 0 && c.afterGap&(youngFIN<<d) == 0
	}
	if seg.Len == 0 {
		return answered > 0
	}
	return c.afterGap&(youngFIN<<d) == 0
}

// putDown writes a segment into a young flow's story.
func (t *Table) putDown(r *record, d int, b *capture.Batch, i int) {
	h, c, pkt := &r.hot, &r.cold, &b.Pkts[i]
	seg := &pkt.Seg
	ev := &t.arena.room(c.story)[c.story.n]
	c.story.n++
	ev.copy(seg)
	ev.at, ev.kind, ev.note, ev.next, ev.bits = pkt.At, Unknown, 0, 0, uint8(d)
	ev.setOrdinal(pkt.Ord)
	if seg.Opts.Has(tcp.OptTimestamps) {
		ev.bits |= evTS
	}
	if pkt.DataLen == seg.Len && seg.Len > 0 {
		ev.next = octetKnown | uint32(b.Buf[pkt.Data+pkt.DataLen-1])
	}
	if b.WrongTCPSum(i) {
		ev.note = NoteBadSum
	}
	c.segments[d]++
	h.last, h.ord = pkt.At, pkt.Ord
}

// grow makes of a young flow one like all others.
func (t *Table) grow(p *pool, slot uint32) {
	r := p.record(slot)
	if !r.young() {
		return
	}
	var raw [youngMost]event
	told := raw[:copy(raw[:], t.arena.events(r.cold.story))]
	t.arena.release(&r.cold.story)
	was := r.cold
	key := p.key(slot)
	r.hot = hot{lo: r.hot.lo, hi: r.hot.hi, ports: r.hot.ports}
	r.cold = cold{flags: coldUsed, stream: was.stream, first: was.first, firstOrd: was.firstOrd, app: was.app}
	for i := range told {
		ev := &told[i]
		pkt := capture.Packet{At: ev.at, Ord: ev.ordinal(), Proto: capture.TCP, Key: key, Reversed: ev.from() == 1}
		pkt.Seg = ev.segment(&was)
		s := &t.step
		*s = step{t: t, pool: p, pkt: &pkt, seg: &pkt.Seg, at: ev.at, d: ev.from(), p: 1 - ev.from(), replayed: ev}
		s.use(slot)
		if i == 0 {
			s.begin()
		}
		s.take(s.name(false))
	}
	r.cold.fingerprint = was.fingerprint
	t.step = step{}
}

// segment is what a young flow's event was made of.
func (ev *event) segment(c *cold) tcp.Segment {
	d := ev.from()
	seg := tcp.Segment{
		Seq: ev.seq, Ack: ev.ack, TSVal: ev.tsval, TSEcr: ev.tsecr, Len: ev.count, Win: ev.win, IPID: ev.ipid,
		Flags: tcp.Flags(ev.flags) | tcp.Flags(ev.flagsHi)<<8, TTL: ev.ttl,
	}
	if ev.bits&evTS != 0 {
		seg.Opts |= tcp.OptTimestamps
	}
	if seg.Flags.Has(tcp.SYN) {
		seg.MSS = c.mss[d]
		if c.scale[d] > 0 {
			seg.Opts, seg.WScale = seg.Opts|tcp.OptWScale, c.scale[d]-1
		}
	}
	return seg
}
