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
// A young flow's segments are in the nursery, in the place that its story names.
// Of hot it uses next, una, last and ord, of cold what open sets, the client,
// segments, octets, app and what the SYNs announce; state is zero, which it is
// for no other flow with a story.

const (
	youngMost  = 16   // segments of a young flow
	youngClass = 0xff // the story's class while the flow is young
	youngFlows = 8192 // that are young at a time; the oldest grow up
)

// Of a young flow's afterGap: who has sent a FIN.
const youngFIN = 1

func (r *record) young() bool {
	return r.hot.state == [2]uint16{} && r.cold.story.class == youngClass
}

// youngSegment is a segment of a young flow, as it was sent: 48 octets.
type youngSegment struct {
	at             tcp.Instant
	ord            tcp.Ordinal
	seq, ack       tcp.Seq
	tsval, tsecr   uint32
	win, ipid, mss uint16
	flags          tcp.Flags
	count          uint32 // exact payload length
	ttl            uint8
	opts           tcp.Options
	octet          uint8 // the last of the payload
	bits           uint8
}

// Bits of youngSegment.bits.
const (
	youngHi     uint8 = 1 << iota // sent by the Hi end
	youngOctet                    // octet is known
	youngBadSum                   // its checksum is wrong
)

func (y *youngSegment) from() int { return int(y.bits & youngHi) }

// nursery holds the segments of young flows. How many those are is bounded:
// youngFlows, and those that have ended and are still kept whole.
type nursery struct {
	chunks []*[nurseryChunk][youngMost]youngSegment
	used   uint32 // places ever handed out
	free   []uint32
}

const nurseryChunk = 64

func (n *nursery) at(place uint32) *[youngMost]youngSegment {
	return &n.chunks[place/nurseryChunk][place%nurseryChunk]
}

func (n *nursery) take() uint32 {
	if last := len(n.free) - 1; last >= 0 {
		place := n.free[last]
		n.free = n.free[:last]
		return place
	}
	if int(n.used/nurseryChunk) == len(n.chunks) {
		n.chunks = append(n.chunks, new([nurseryChunk][youngMost]youngSegment))
	}
	n.used++
	return n.used - 1
}

// infancy returns the segments of a young flow.
func (t *Table) infancy(c *cold) []youngSegment { return t.nursery.at(c.story.at)[:c.story.n] }

// outgrow gives a young flow's place in the nursery back.
func (t *Table) outgrow(c *cold) {
	t.nursery.free = append(t.nursery.free, c.story.at)
	t.arena.held -= youngMost
	c.story = block{}
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
	h, c := &r.hot, &r.cold
	c.story = block{at: t.nursery.take(), class: youngClass}
	t.arena.held += youngMost // they count as events
	t.cradle[t.born%youngFlows] = makeID(p.handle(slot), c.stream)
	t.born++
	d := 0
	if pkt.Reversed {
		d, c.flags = 1, c.flags|coldReversed
	}
	c.flags |= coldRoles
	h.next[d], h.una[d] = seg.Seq+1, seg.Seq
	c.announce(d, seg)
	t.putDown(r, d, b.Buf, pkt)
	return true
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
// taken. It stays young with what the long way would take without a second
// thought: the next segment in order, that tells its peer something new.
func (t *Table) youth(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet) bool {
	d := 0
	if pkt.Reversed {
		d = 1
	}
	h, c, seg, e := &r.hot, &r.cold, &pkt.Seg, 1-d
	answered, fresh := int32(seg.Ack-h.una[e]), int32(seg.Ack-h.next[e])
	switch {
	case pkt.At < h.last || uint64(pkt.At-h.last) >= uint64(gapMin) || seg.Win == 0 || uint16(pkt.Note&steadyNotes)|pkt.Way != 0 ||
		c.flags&coldEnded != 0 || c.story.n == youngMost || t.digests(seg):
		t.grow(p, slot)
		return false
	case c.story.n > 2 && seg.Flags&^tcp.PSH == tcp.ACK && seg.Opts&^tcp.OptTimestamps == 0 && seg.Seq == h.next[d] && answered >= 0 && fresh <= 0 &&
		(answered > 0 || seg.Len > 0) && (seg.Len == 0 || c.afterGap&(youngFIN<<d) == 0):
		if seg.Len > 0 {
			h.next[d] += tcp.Seq(seg.Len)
			c.octets[d] += uint64(seg.Len)
			if c.app[d] == 0 && c.octets[d] <= 4096 {
				c.app[d] = t.speaks(b.Buf[pkt.Data : pkt.Data+pkt.DataLen])
			}
		}
	case !c.greets(h, d, seg):
		t.grow(p, slot)
		return false
	}
	h.una[e] = seg.Ack
	t.putDown(r, d, b.Buf, pkt)
	if c.afterGap == youngFIN|youngFIN<<1 && h.una == h.next {
		c.flags |= coldEnded
		t.finished(p, slot)
	}
	return true
}

// greets takes a segment of end d that belongs to the handshake or to the end of a
// young flow, and reports whether it is such a one and the next.
func (c *cold) greets(h *hot, d int, seg *tcp.Segment) bool {
	fromClient := (c.flags&coldReversed != 0) == (d == 1)
	switch n, e := c.story.n, 1-d; {
	case n == 1 && !fromClient && seg.Flags == tcp.SYN|tcp.ACK && seg.Opts&^synOptions == 0 && seg.Len == 0 && seg.Ack == h.next[e]:
		h.una[d], h.next[d] = seg.Seq, seg.Seq+1
		c.announce(d, seg)
		return true
	case n < 2 || seg.Opts&^tcp.OptTimestamps != 0 || seg.Len != 0 || seg.Seq != h.next[d] || seg.Ack.Sub(h.una[e]) < 0 || seg.Ack.Sub(h.next[e]) > 0:
		return false
	case n == 2:
		return fromClient && seg.Flags == tcp.ACK && seg.Ack == h.next[e]
	case seg.Flags&^tcp.PSH == tcp.FIN|tcp.ACK && c.afterGap&(youngFIN<<d) == 0:
		h.next[d]++
		c.afterGap |= youngFIN << d
		return true
	}
	return false
}

// putDown writes a segment down.
func (t *Table) putDown(r *record, d int, buf []byte, pkt *capture.Packet) {
	h, c, seg := &r.hot, &r.cold, &pkt.Seg
	y := &t.nursery.at(c.story.at)[c.story.n%youngMost]
	c.story.n++
	c.segments[d&1]++
	h.last, h.ord = pkt.At, pkt.Ord
	y.at, y.ord = pkt.At, pkt.Ord
	y.seq, y.ack, y.tsval, y.tsecr, y.count = seg.Seq, seg.Ack, seg.TSVal, seg.TSEcr, seg.Len
	y.win, y.ipid, y.mss, y.flags = seg.Win, seg.IPID, seg.MSS, seg.Flags
	y.ttl, y.opts, y.octet = seg.TTL, seg.Opts, 0
	bits := uint8(d)
	if seg.Len > 0 && pkt.DataLen == seg.Len {
		bits |= youngOctet
		y.octet = buf[pkt.Data+pkt.DataLen-1]
	}
	if pkt.WrongTCPSum(buf) {
		bits |= youngBadSum
	}
	y.bits = bits
}

// grow makes of a young flow one like all others.
func (t *Table) grow(p *pool, slot uint32) {
	r := p.record(slot)
	if !r.young() {
		return
	}
	told, pkt := &t.replay.told, &t.replay.pkt // a flow that grows up makes no other one do so
	n := copy(told[:], t.infancy(&r.cold))
	t.outgrow(&r.cold)
	was := r.cold
	key := p.key(slot)
	r.hot = hot{lo: r.hot.lo, hi: r.hot.hi, ports: r.hot.ports}
	r.cold = cold{flags: coldUsed, stream: was.stream, first: was.first, firstOrd: was.firstOrd, app: was.app}
	for i := range told[:n] {
		y := &told[i]
		*pkt = capture.Packet{At: y.at, Ord: y.ord, Proto: capture.TCP, Key: key, Reversed: y.from() == 1}
		pkt.Seg = y.segment(&was)
		s := &t.step
		*s = step{t: t, pool: p, pkt: pkt, seg: &pkt.Seg, at: y.at, d: y.from(), p: 1 - y.from(), replayed: y}
		s.use(slot)
		if i == 0 {
			s.begin()
		}
		s.take(s.name(false))
	}
	r.cold.fingerprint = was.fingerprint
	t.step = step{}
}

// segment is what was put down.
func (y *youngSegment) segment(c *cold) tcp.Segment {
	seg := tcp.Segment{
		Seq: y.seq, Ack: y.ack, TSVal: y.tsval, TSEcr: y.tsecr, Len: y.count, Win: y.win, IPID: y.ipid,
		Flags: y.flags, TTL: y.ttl, Opts: y.opts, MSS: y.mss,
	}
	if scale := c.scale[y.from()]; seg.Flags.Has(tcp.SYN) && scale > 0 {
		seg.WScale = scale - 1
	}
	return seg
}
