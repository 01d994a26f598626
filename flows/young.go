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
// A young flow's segments are in the nursery. Behind the handshake the next one needs
// the hot line and nothing else of the record: of that it uses next, una, last and ord as others do, and
//
//	state     zero, which it is for no other flow with a story
//	echo      the place in the nursery, plus 1
//	win       segments so far, by end
//	tsval[0]  the bits below
//	tsval[1]  its place in the cradle
//
// Of cold it uses what open sets, the client, app, and what the SYNs announce.

const (
	youngMost  = 16   // segments of a young flow
	youngFlows = 8192 // that are young at a time and have not ended; the oldest grow up
)

// Bits of a young flow's tsval[0]. Those of the Hi end are the next ones.
const (
	youngFIN   uint32 = 1 << 0 // it has sent a FIN
	youngHeard uint32 = 1 << 2 // what it speaks is known, or asked no longer
	youngEnded uint32 = 1 << 4
)

func (r *record) young() bool { return r.hot.state == [2]uint16{} && r.hot.echo != 0 }

// sent returns how many segments an end has sent.
func (r *record) sent(end int) uint32 {
	if r.young() {
		return uint32(r.hot.win[end])
	}
	return r.cold.segments[end]
}

// youngSegment is a segment of a young flow: 64 octets.
type youngSegment struct {
	at    tcp.Instant
	ord   tcp.Ordinal
	seg   tcp.Segment
	octet uint8 // the last of the payload
	bits  uint8
}

// Bits of youngSegment.bits.
const (
	youngHi     uint8 = 1 << iota // sent by the Hi end
	youngOctet                    // octet is known
	youngBadSum                   // its checksum is wrong; known of those that become events of their own
)

func (y *youngSegment) from() int { return int(y.bits & youngHi) }

// put writes a segment of end d down.
func (y *youngSegment) put(pkt *capture.Packet, d int, buf []byte) {
	y.seg = pkt.Seg // by itself: several assignments in one statement go by way of the stack
	y.at, y.ord = pkt.At, pkt.Ord
	y.octet, y.bits = 0, uint8(d)
	if pkt.Seg.Len > 0 && pkt.DataLen == pkt.Seg.Len {
		y.octet, y.bits = buf[pkt.Data+pkt.DataLen-1], uint8(d)|youngOctet
	}
}

// nursery holds the segments of young flows, in places for youngMost each, named by
// where the first one is. How many those are is bounded: youngFlows, and those that
// have ended and are still kept whole.
type nursery struct {
	chunks [][]youngSegment // slices: of an array that is pointed at the beginning would be touched, too
	used   uint32           // segments for which there ever was a place
	free   []uint32
}

const nurseryChunk = 64 * youngMost // segments

// at returns where segment i of a place is.
func (n *nursery) at(place uint32, i uint8) *youngSegment {
	return &n.chunks[place/nurseryChunk][place%nurseryChunk+uint32(i)]
}

// take returns a place.
func (n *nursery) take() uint32 {
	if last := len(n.free) - 1; last >= 0 {
		place := n.free[last]
		n.free = n.free[:last]
		return place
	}
	if int(n.used/nurseryChunk) == len(n.chunks) {
		n.chunks = append(n.chunks, make([]youngSegment, nurseryChunk))
	}
	n.used += youngMost
	return n.used - youngMost
}

// infancy returns the segments of a young flow.
func (t *Table) infancy(h *hot) []youngSegment {
	place := h.echo - 1
	first := place % nurseryChunk
	return t.nursery.chunks[place/nurseryChunk][first : first+uint32(h.win[0]+h.win[1])]
}

// outgrow gives a young flow's place in the nursery back, and that in the cradle.
func (t *Table) outgrow(h *hot) {
	t.nursery.free = append(t.nursery.free, h.echo-1)
	t.arena.held -= youngMost
	if h.tsval[0]&youngEnded == 0 {
		t.cradle[h.tsval[1]] = 0
	}
	h.echo = 0
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
		t.cradle = make([]uint32, youngFlows)
	}
	if handle := t.cradle[t.born]; handle != 0 {
		t.grow(t.at(handle - 1))
	}
	slot := t.open(p, hash, &pkt.Key, 0, false, pkt)
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	h.echo, h.tsval[1] = t.nursery.take()+1, t.born
	t.arena.held += youngMost // they count as events
	t.cradle[t.born] = p.handle(slot) + 1
	t.born = (t.born + 1) % youngFlows
	d := 0
	if pkt.Reversed {
		d, c.flags = 1, c.flags|coldReversed
	}
	c.flags |= coldRoles
	h.next[d], h.una[d] = seg.Seq+1, seg.Seq
	c.announce(d, seg)
	h.last, h.ord, h.win[d] = pkt.At, pkt.Ord, 1
	t.nursery.at(h.echo-1, 0).put(pkt, d, b.Buf)
	t.after(p, r, slot, b, pkt, youngSum)
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

// What youth leaves to do about a segment that it took until it has taken it: for
// a call in the midst of it all values that are at hand would have to be put aside.
const (
	youngSum    uint8 = 1 << iota // to look at its checksum
	youngSpeaks                   // to look what its payload speaks
	youngEnds                     // to note that the flow has ended
)

// youth takes the next segment of a young flow and reports whether it did: it takes
// what the long way would take without a second thought, the next segment in order,
// that tells its peer something new.
func (t *Table) youth(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet) bool {
	h, seg, d := &r.hot, &pkt.Seg, 0
	if pkt.Reversed {
		d = 1
	}
	e, n, bits := 1-d, uint8(h.win[0]+h.win[1]), h.tsval[0]
	fresh, open := uint32(seg.Ack-h.una[e]), uint32(h.next[e]-h.una[e]) // what it acknowledges, of what there is
	if uint64(pkt.At-h.last) >= uint64(gapMin) || seg.Win == 0 || uint32(pkt.Note&steadyNotes)|uint32(pkt.Way)|bits&youngEnded != 0 ||
		n == youngMost || fresh > open {
		return false
	}
	left := uint8(0)
	switch {
	case n <= 2:
		if fresh != open || !r.greets(d, seg) {
			return false
		}
		left |= youngSum
	case seg.Opts&^tcp.OptTimestamps != 0 || seg.Seq != h.next[d]:
		return false
	case seg.Flags&^tcp.PSH == tcp.ACK:
		if seg.Len == 0 {
			if fresh == 0 {
				return false
			}
		} else {
			if bits&(youngFIN<<d) != 0 || t.digests(seg) {
				return false
			}
			h.next[d] += tcp.Seq(seg.Len)
			if bits&(youngHeard<<d) == 0 {
				left |= youngSpeaks
			}
		}
	case seg.Flags&^tcp.PSH == tcp.FIN|tcp.ACK && seg.Len == 0 && bits&(youngFIN<<d) == 0:
		h.next[d]++
		bits |= youngFIN << d
		h.tsval[0] = bits
	default:
		return false
	}
	h.una[e] = seg.Ack
	h.last, h.ord = pkt.At, pkt.Ord
	h.win[d]++
	t.nursery.at(h.echo-1, n).put(pkt, d, b.Buf)
	const both = youngFIN | youngFIN<<1
	if bits&both != 0 { // what comes before is a run, once the flow grows up
		left |= youngSum
		if bits&both == both && fresh == open && h.una[d] == h.next[d] {
			left |= youngEnds
		}
	}
	if left != 0 {
		t.after(p, r, slot, b, pkt, left)
	}
	return true
}

// greets takes a segment of end d that may be the second or third of a handshake,
// and reports whether it is, as far as its acknowledgment is right.
func (r *record) greets(d int, seg *tcp.Segment) bool {
	h := &r.hot
	fromClient := (r.cold.flags&coldReversed != 0) == (d == 1)
	if seg.Len != 0 || fromClient == (h.win[0]+h.win[1] == 1) {
		return false
	}
	if fromClient {
		return seg.Flags == tcp.ACK && seg.Opts&^tcp.OptTimestamps == 0 && seg.Seq == h.next[d]
	}
	if seg.Flags != tcp.SYN|tcp.ACK || seg.Opts&^synOptions != 0 {
		return false
	}
	h.una[d], h.next[d] = seg.Seq, seg.Seq+1
	r.cold.announce(d, seg)
	return true
}

// after does what youth left to do.
func (t *Table) after(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet, left uint8) {
	h, c := &r.hot, &r.cold
	if left&youngSum != 0 && pkt.WrongTCPSum(b.Buf) {
		t.nursery.at(h.echo-1, uint8(h.win[0]+h.win[1]-1)).bits |= youngBadSum
	}
	if left&youngSpeaks != 0 {
		d := 0
		if pkt.Reversed {
			d = 1
		}
		octets := uint32(h.next[d] - c.isn[d] - 1)
		if octets <= askedOctets {
			c.app[d] = t.speaks(b.Buf[pkt.Data : pkt.Data+pkt.DataLen])
		}
		if c.app[d] != 0 || octets > askedOctets {
			h.tsval[0] |= youngHeard << d
		}
	}
	if left&youngEnds != 0 {
		t.cradle[h.tsval[1]] = 0
		h.tsval[0] |= youngEnded
		c.flags |= coldEnded
		t.finished(p, slot)
	}
}

// grow makes of a young flow one like all others.
func (t *Table) grow(p *pool, slot uint32) {
	r := p.record(slot)
	if !r.young() {
		return
	}
	told, pkt := &t.replay.told, &t.replay.pkt // a flow that grows up makes no other one do so
	n := copy(told[:], t.infancy(&r.hot))
	t.outgrow(&r.hot)
	was := r.cold
	key := p.key(slot)
	r.hot = hot{lo: r.hot.lo, hi: r.hot.hi, ports: r.hot.ports}
	r.cold = cold{flags: coldUsed, stream: was.stream, first: was.first, firstOrd: was.firstOrd, app: was.app}
	for i := range told[:n] {
		y := &told[i]
		*pkt = capture.Packet{At: y.at, Ord: y.ord, Proto: capture.TCP, Key: key, Reversed: y.from() == 1}
		pkt.Seg = y.seg
		s := &t.step
		*s = step{t: t, pool: p, pkt: pkt, seg: &pkt.Seg, at: y.at, d: y.from(), p: 1 - y.from(), replayed: y}
		s.use(slot)
		if i == 0 {
			s.begin()
		}
		s.take(s.name(false))
	}
	t.step = step{}
}
