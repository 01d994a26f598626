package flows

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/facts"
	"kaflow/tcp"
)

// The short way for connections that come and go. Most of the connections of a
// busy server live for some dozen segments, end well, and are never asked about.
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
//	echo      the place of its last segment in the nursery
//	win       segments so far, by end
//	tsval[0]  the bits below, and in its upper half the capture.Packet.Way of all of them
//	tsval[1]  its place in the cradle, and the chunk of the nursery in which it began
//
// Of cold it uses what open sets, the client, app, what the SYNs announce, and for its longest
// idle gap runAt, when it began, runTS and runEcho, the halves of how long it was.

const (
	youngMost   = 32    // segments of a young flow
	youngEvents = 16    // that it counts as: most have fewer segments
	youngFlows  = 60000 // that are young at a time and have not ended; the oldest grow up. By default the arena has room for few more (see bear)
)

// Bits of a young flow's tsval[0]. Those of the Hi end are the next ones.
const (
	youngFIN   uint32 = 1 << 0 // it has sent a FIN
	youngHeard uint32 = 1 << 2 // what it speaks is known, or asked no longer
	youngEnded uint32 = 1 << 4
	youngRST   uint32 = 1 << 5 // it has sent the RST that ended the flow

	youngPaused uint32 = 1 << 7 // nobody sent for as long as an idle gap is

	youngWay = 16 // from here on its way
)

// cradled returns a young flow's place in the cradle, bornIn the chunk of the nursery in which
// it began. Both are small: see youngFlows and nurseryMost.
func (h *hot) cradled() uint32 { return h.tsval[1] & 0xffff }
func (h *hot) bornIn() uint32  { return h.tsval[1] >> 16 }

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
	ord   uint32 // the lower half of its ordinal, which is less than 2^32 above that of the segment before
	prev  uint32 // the place of the flow's segment before; 0: it is the first
	seg   tcp.Segment
	octet uint8 // the last of the payload
	bits  uint8
}

// Bits of youngSegment.bits.
const (
	youngHi     uint8 = 1 << iota // sent by the Hi end
	youngOctet                    // octet is known
	youngBadSum                   // its IP checksum is wrong, or that of TCP, which is known of those that become events of their own
)

func (y *youngSegment) from() int { return int(y.bits & youngHi) }

// put writes a segment of end d down.
func (y *youngSegment) put(pkt *capture.Packet, d int, buf []byte) {
	y.seg = pkt.Seg // by itself: several assignments in one statement go by way of the stack
	y.at, y.ord = pkt.At, uint32(pkt.Ord)
	y.octet, y.bits = 0, uint8(d)|uint8(pkt.Note&capture.NoteBadIPSum)*(youngBadSum/uint8(capture.NoteBadIPSum))
	if pkt.Seg.Len > 0 && pkt.DataLen == pkt.Seg.Len {
		y.octet = buf[pkt.Data+pkt.DataLen-1]
		y.bits |= youngOctet
	}
}

// nursery holds the segments of young flows, of all of them one behind the other as
// they came; each names the one before of its flow. Flows that have ended are kept
// whole until thousands of others have: with a place for each flow every segment
// would go to memory that is far by then, and memory that is written in order never is.
//
// A chunk is used again when no flow is young that began in it or before.
type nursery struct {
	page   []youngSegment   // the chunk that is being filled
	used   uint32           // segments in it
	base   uint32           // the place of its first one
	chunks [][]youngSegment // slices: of an array that is pointed at the beginning would be touched, too
	births []uint32         // of each chunk: flows that began in it and are young
	full   []uint32         // chunks that wait to be used again, the oldest first
	free   []uint32
}

const (
	nurseryChunk = 4096 // segments
	nurseryMost  = 256  // chunks, before flows grow up to make room
)

// at returns the segment at a place; places are counted from 1.
func (n *nursery) at(place uint32) *youngSegment {
	return &n.chunks[(place-1)/nurseryChunk][(place-1)%nurseryChunk]
}

// chunk returns which chunk is being filled.
func (n *nursery) chunk() uint32 { return n.base / nurseryChunk }

// turn begins another chunk.
func (n *nursery) turn() {
	if n.page != nil {
		n.full = append(n.full, n.chunk())
	}
	gone := 0
	for gone < len(n.full) && n.births[n.full[gone]] == 0 {
		gone++
	}
	n.free = append(n.free, n.full[:gone]...)
	n.full = slices.Delete(n.full, 0, gone)
	if len(n.free) == 0 {
		n.free = append(n.free, uint32(len(n.chunks)))
		fresh := make([]youngSegment, nurseryChunk)
		if len(n.chunks) > 0 { // the first may stay nearly empty
			populate(fresh)
		}
		n.chunks, n.births = append(n.chunks, fresh), append(n.births, 0)
	}
	last := len(n.free) - 1
	chunk := n.free[last]
	n.free = n.free[:last]
	n.page, n.used, n.base = n.chunks[chunk], 0, chunk*nurseryChunk+1
}

// next returns where the next segment of a young flow goes. There is room for those of a
// batch: see Table.room.
func (n *nursery) next(h *hot) *youngSegment {
	y := &n.page[n.used]
	y.prev, h.echo = h.echo, n.base+n.used
	n.used++
	return y
}

// infancy returns the segments of a young flow, until it is called again.
func (t *Table) infancy(h *hot) []youngSegment {
	segments := t.replay.told[:h.win[0]+h.win[1]]
	for i, place := len(segments)-1, h.echo; i >= 0; i-- {
		y := t.nursery.at(place)
		segments[i], place = *y, y.prev
	}
	return segments
}

// outgrow takes a young flow out of the nursery and the cradle.
func (t *Table) outgrow(h *hot) {
	t.nursery.births[h.bornIn()]--
	t.arena.held -= youngEvents
	if h.tsval[0]&youngEnded == 0 {
		t.cradle[h.cradled()] = 0
	}
	h.echo = 0
}

// room makes room for the segments of a batch.
func (t *Table) room() {
	n := &t.nursery
	if !t.short || n.used+capture.BatchSize <= uint32(len(n.page)) {
		return
	}
	if n.turn(); len(n.full) >= nurseryMost {
		t.growOld()
	}
}

// growOld makes the flows grow up that keep the older half of the nursery from being
// used again: the cradle has those that go on, t.ended the others.
func (t *Table) growOld() {
	n := &t.nursery
	old := make([]bool, len(n.chunks))
	for _, chunk := range n.full[:len(n.full)/2] {
		old[chunk] = true
	}
	grow := func(handle uint32) {
		p, slot := t.at(handle)
		if r := p.record(slot); r.young() && old[r.hot.bornIn()] {
			t.grow(p, slot)
		}
	}
	for _, handle := range t.cradle {
		if handle != 0 {
			grow(handle - 1)
		}
	}
	for _, handle := range t.ended {
		grow(handle)
	}
}

// reborn is bear where the ports are those of a flow that is at slot: it has ended, and the
// SYN can be none of its own (see opensAnew).
func (t *Table) reborn(p *pool, hash, slot uint32, b *capture.Batch, i int) bool {
	pkt, r, d := &b.Pkts[i], p.record(slot), 0
	if pkt.Reversed {
		d = 1
	}
	const seen = stSeen | stSYN
	if r.cold.flags&(coldEnded|coldRare) != coldEnded || r.cold.isn[d] == pkt.Seg.Seq || !r.young() && r.hot.state[0]&r.hot.state[1]&seen != seen {
		return false
	}
	return t.bear(p, hash, b, i, slot, true)
}

// bear begins a flow young, where its first segment is a SYN as all are, and
// reports whether it did. See open for older.
func (t *Table) bear(p *pool, hash uint32, b *capture.Batch, i int, older uint32, hasOlder bool) bool {
	pkt := &b.Pkts[i]
	seg := &pkt.Seg
	if t.arena.held+youngEvents > t.arena.limit/2 { // the room that segments are put down in is wanted
		return false
	}
	if seg.Flags != tcp.SYN || seg.Len != 0 || seg.Opts&^synOptions != 0 || pkt.Note&steadyNotes != 0 || seg.Win == 0 || pkt.Key.Lo == pkt.Key.Hi {
		return false
	}
	if t.cradle == nil {
		t.cradle = make([]uint32, youngFlows)
	}
	if handle := t.cradle[t.born]; handle != 0 {
		t.grow(t.at(handle - 1))
	}
	slot := t.open(p, hash, &pkt.Key, older, hasOlder, pkt)
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	t.arena.held += youngEvents
	place := t.born // in the cradle
	t.cradle[place] = p.handle(slot) + 1
	t.born = (t.born + 1) % youngFlows
	d := 0
	if pkt.Reversed {
		d, c.flags = 1, c.flags|coldReversed
	}
	c.flags |= coldRoles
	h.next[d], h.una[d] = seg.Seq+1, seg.Seq
	c.announce(d, seg)
	h.last, h.ord, h.win[d] = pkt.At, pkt.Ord, 1
	t.nursery.next(h).put(pkt, d, b.Buf)
	h.tsval[0], h.tsval[1] = uint32(pkt.Way)<<youngWay, place|t.nursery.chunk()<<16
	t.nursery.births[h.bornIn()]++
	if pkt.WrongTCPSum(b.Buf) {
		t.nursery.at(h.echo).bits |= youngBadSum
	}
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
	youngGap                      // to note the pause before it
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
	if seg.Win == 0 || uint32(pkt.Note&steadyNotes)|(uint32(pkt.Way)^bits>>youngWay)|bits&youngEnded|uint32((pkt.Ord-h.ord)>>32) != 0 || n == youngMost || fresh > open {
		return seg.Flags&tcp.RST != 0 && t.broken(p, r, slot, b, pkt)
	}
	left := uint8(0)
	if uint64(pkt.At-h.last) >= uint64(gapMin) {
		if !t.takePause(r, b, pkt) {
			return false
		}
		left = youngGap | youngSum
	}
	switch {
	case fresh != open && r.cold.older != 0: // it might be of the connection before
		return false
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
	case seg.Flags&^tcp.PSH == tcp.FIN|tcp.ACK && bits&(youngFIN<<d) == 0:
		if seg.Len > 0 {
			if t.digests(seg) {
				return false
			}
			if bits&(youngHeard<<d) == 0 {
				left |= youngSpeaks
			}
		}
		h.next[d] += tcp.Seq(seg.Len) + 1
		bits |= youngFIN << d
		h.tsval[0] = bits
	default:
		return seg.Flags&tcp.RST != 0 && t.broken(p, r, slot, b, pkt)
	}
	h.una[e] = seg.Ack
	h.last, h.ord = pkt.At, pkt.Ord
	h.win[d]++
	t.nursery.next(h).put(pkt, d, b.Buf)
	const both = youngFIN | youngFIN<<1
	if bits&(both|youngPaused) != 0 { // what comes before is a run, once the flow grows up
		left |= youngSum
		if bits&both == both && fresh == open && h.una[d] == h.next[d] {
			left |= youngEnds
		}
	}
	if left&youngSum != 0 && pkt.WrongTCPSum(b.Buf) {
		t.nursery.at(h.echo).bits |= youngBadSum
	}
	if left&^youngSum != 0 {
		t.after(p, r, slot, b, pkt, left)
	}
	return true
}

// takePause notes the idle gap before the next segment of a young flow, and reports whether that may
// come behind one: none of the handshake may, which would tell a round trip, nor one that could be
// a heartbeat, which is known by a payload that is gone when the flow grows up.
func (t *Table) takePause(r *record, b *capture.Batch, pkt *capture.Packet) bool {
	h, seg := &r.hot, &pkt.Seg
	if pkt.At < h.last || h.win[0]+h.win[1] <= 2 || seg.Flags.Has(tcp.RST) || t.Options.Learn {
		return false
	}
	if length := int(seg.Len); length > 0 {
		if length <= recordHead+smallRecord || pkt.DataLen == 0 {
			return false
		}
		if request, _ := facts.EncryptedBeat(sshPort, length); request {
			return false
		}
		if _, beat := facts.HeartbeatIn(b.Buf[pkt.Data:pkt.Data+pkt.DataLen], length, uint16(pkt.Key.Ports>>16), uint16(pkt.Key.Ports)); beat {
			return false
		}
	}
	if pause := pkt.At.Sub(h.last); pause > r.pause() { // where it is not taken after all, it grows up
		r.cold.runAt, r.cold.runTS, r.cold.runEcho = h.last, uint32(pause), uint32(pause>>32)
	}
	return true
}

// pause returns the longest idle gap of a young flow, which began at cold.runAt; 0 where there was none.
func (r *record) pause() time.Duration {
	return time.Duration(r.cold.runTS) | time.Duration(r.cold.runEcho)<<32
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

// after does what youth left to do, but for the checksum.
func (t *Table) after(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet, left uint8) {
	h, c := &r.hot, &r.cold
	if left&youngGap != 0 {
		h.tsval[0] |= youngPaused
	}
	if left&youngSpeaks != 0 {
		d := 0
		if pkt.Reversed {
			d = 1
		}
		octets := h.carried(c, d)
		if octets <= askedOctets {
			c.app[d] = t.speaks(b.Buf[pkt.Data : pkt.Data+pkt.DataLen])
		}
		if c.app[d] != 0 || octets > askedOctets {
			h.tsval[0] |= youngHeard << d
		}
	}
	if left&youngEnds != 0 {
		t.die(p, r, slot)
	}
}

// carried returns how many octets an end of a young flow has sent behind the handshake.
func (h *hot) carried(c *cold, d int) uint32 {
	return uint32(h.next[d]-c.isn[d]) - 1 - h.tsval[0]>>d&youngFIN
}

// die notes that a young flow has ended well.
func (t *Table) die(p *pool, r *record, slot uint32) {
	t.cradle[r.hot.cradled()] = 0
	r.hot.tsval[0] |= youngEnded
	r.cold.flags |= coldEnded
	t.finished(p, slot)
}

// broken takes the RST that ends a young flow, and reports whether it did: the peer takes
// it, for it is next in order, and nobody would ask about it (see endedOddly).
func (t *Table) broken(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet) bool {
	h, c, seg, d := &r.hot, &r.cold, &pkt.Seg, 0
	if pkt.Reversed {
		d = 1
	}
	n, bits := h.win[0]+h.win[1], h.tsval[0]
	if seg.Flags&^(tcp.ACK|tcp.PSH) != tcp.RST || seg.Seq != h.next[d] || seg.Len != 0 || seg.Opts&^tcp.OptTimestamps != 0 || n <= 2 || n == youngMost ||
		uint64(pkt.At-h.last) >= uint64(gapMin) || uint32(pkt.Note&steadyNotes)|(uint32(pkt.Way)^bits>>youngWay)|bits&youngEnded|uint32((pkt.Ord-h.ord)>>32) != 0 ||
		h.carried(c, 0)+h.carried(c, 1) == 0 {
		return false
	}
	h.last, h.ord = pkt.At, pkt.Ord
	h.win[d]++
	h.tsval[0] |= youngRST << d
	t.nursery.next(h).put(pkt, d, b.Buf)
	if pkt.WrongTCPSum(b.Buf) {
		t.nursery.at(h.echo).bits |= youngBadSum
	}
	t.die(p, r, slot)
	return true
}

// grow makes of a young flow one like all others.
func (t *Table) grow(p *pool, slot uint32) {
	r := p.record(slot)
	if !r.young() {
		return
	}
	segments, pkt := t.infancy(&r.hot), &t.replay.pkt // a flow that grows up makes no other one do so
	t.outgrow(&r.hot)
	was, way := r.cold, uint16(r.hot.tsval[0]>>youngWay)
	key, ord := p.key(slot), was.firstOrd
	r.hot = hot{addr: r.hot.addr, ports: r.hot.ports}
	r.cold = cold{flags: coldUsed, stream: was.stream, first: was.first, firstOrd: was.firstOrd, app: was.app, older: was.older}
	for i := range segments {
		y := &segments[i]
		ord += tcp.Ordinal(y.ord - uint32(ord))
		*pkt = capture.Packet{At: y.at, Ord: ord, Proto: capture.TCP, Key: key, Way: way, Reversed: y.from() == 1}
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
