package flows

import (
	"iter"
	"net/netip"
	"slices"

	"kaflow/capture"
	"kaflow/tcp"
)

// Table follows every TCP flow of one vantage point. Its zero value is an
// empty table with default Options; set Options before the first Add.
//
// A Table is not safe for concurrent use.
type Table struct {
	Options Options

	narrow, wide pool
	arena        arena
	rare         map[uint32]*rare // by handle, for flows with coldRare
	rares        rareRing
	samples      map[uint32]*samples // by handle, for flows with data and without timestamps
	sampled      int                 // samples of all flows
	hosts        hostTable
	copies       copies
	banners      []tcp.Untrusted
	bannerIDs    map[tcp.Untrusted]uint16
	lastNames    [16]uint16 // of banners: those that came last
	routers      []routerAddr
	splits       map[capture.Key]uint32 // conversations told apart by their ways, by their common key
	again        bool                   // some flow took the ports of one that is still here
	midway       bool                   // some flow began without a SYN
	ways         bool                   // some packet came by a VLAN or a numbered tunnel
	ended        []uint32               // handles of flows that ended well: a ring, once it is full
	oldest       int                    // in that ring
	closed       closedRows
	byHosts      byHosts
	heard        map[netip.Addr][]capture.Interval // see spells
	heardAt      tcp.Instant
	directions   directions // see BothWays
	holes        []capture.Interval
	streams      uint32
	sweep        [2]uint32 // where the search for a flow to evict goes on, narrow and wide
	now          tcp.Instant
	last         tcp.Ordinal
	evicted      uint64
	folded       uint64      // events that a full arena turned away
	foldedAt     tcp.Instant // when the first of them came,
	foldedUntil  tcp.Instant // and the last
	beyond       uint64      // events that a full story turned away
	ready        bool
	short        bool // nobody asks for every label: the short way is open
	step         step
	plan         plan   // for the batch at hand
	buf          []byte // its octets
	nursery      nursery
	replay       struct { // of the young flow that grows up
		told [youngMost]youngSegment
		pkt  capture.Packet
	}
	cradle []uint32 // handles plus 1 of the flows that were born young last and have not ended, in a ring; 0 of others
	born   uint32   // place in it of the next one
}

// handle names a slot of either pool in 32 bits.
const wideBit = 1 << 31

func (t *Table) at(handle uint32) (*pool, uint32) {
	if handle&wideBit != 0 {
		return &t.wide, handle &^ wideBit
	}
	return &t.narrow, handle
}

func (t *Table) init() {
	t.ready = true
	t.narrow.index.init()
	t.wide.index.init()
	t.wide.wide = true
	t.arena.limit = uint32(t.Options.MaxEvents)
	if t.arena.limit == 0 {
		t.arena.limit = 2_000_000
	}
	if t.Options.MaxFlows == 0 {
		t.Options.MaxFlows = 1_000_000
	}
	t.short = t.Options.Label == nil && t.Options.Revise == nil && t.Options.Touched == nil && t.Options.Prior == nil
	t.rare = make(map[uint32]*rare)
	t.bannerIDs = map[tcp.Untrusted]uint16{"": 0}
	t.banners = append(t.banners, "")
}

// Add takes a batch of packets in capture order.
func (t *Table) Add(b *capture.Batch) {
	if !t.ready {
		t.init()
	}
	for _, h := range b.Holes {
		if n := len(t.holes); n > 0 && t.holes[n-1].Why == h.Why && h.From >= t.holes[n-1].From && h.From <= t.holes[n-1].To {
			t.holes[n-1].To = max(t.holes[n-1].To, h.To) // it goes on
			continue
		}
		t.holes = append(t.holes, h)
	}
	t.byHosts.told, t.buf = nil, b.Buf
	t.room()
	if b.Bare.N > 0 && t.beats(b) {
		return
	}
	b.Bare.Wanted = b.Bare.Wanted && t.wantsBare()
	t.prepare(b)
	now, seen := t.now, 0 // the latest of so many packets and before, where that is asked
	for i := 0; i < b.N; i++ {
		if i = t.shortly(b, i); i == b.N {
			break
		}
		p, segment := t.plan.pool, b.Pkts[i].Proto == capture.TCP
		if p == nil || !t.plan.short || !segment {
			for ; seen <= i; seen++ {
				now = max(now, b.Pkts[seen].At)
			}
			t.now, t.last = now, b.Pkts[i].Ord
			if !segment {
				t.other(b, i)
				continue
			}
			p = t.poolOf(&b.Pkts[i].Key)
		}
		t.segment(b, i, p)
	}
	if b.N > 0 {
		t.now, t.last = max(now, b.Latest()), b.Pkts[b.N-1].Ord
	}
}

// noSlot is what the plan's 0 comes to.
const noSlot = ^uint32(0)

// shortly takes the packets of a batch from i on that go one of the short ways, and
// returns the first that goes none. No short way begins a flow, so what the plan says
// holds meanwhile.
func (t *Table) shortly(b *capture.Batch, i int) int {
	w, p := &t.plan, t.plan.pool
	if !w.short {
		return i
	}
	if w.turns {
		return t.inTurn(b, i)
	}
	rest := b.Pkts[i:b.N]
	slots := w.slot[i:][:len(rest)]
	for k := range rest {
		pkt, slot := &rest[k], slots[k]-1
		if slot == noSlot {
			if t.beside(pkt) {
				continue
			}
			return i + k
		}
		if w.pool == nil {
			p = t.poolOf(&pkt.Key)
		}
		r := p.record(slot)
		if !p.holds(r, slot, &pkt.Key) {
			return i + k
		}
		if r.hot.state != [2]uint16{} { // otherwise in place: calls of it cost short connections 19 steps of 702
			if !t.steady(r, pkt) && !t.orderly(r, p.handle(slot), b, pkt) {
				return i + k
			}
		} else if r.hot.echo == 0 || !t.youth(p, r, slot, b, pkt) {
			return i + k
		}
	}
	return b.N
}

// inTurn is shortly where flows take turns: the next segment of a direction is
// looked for where the one before was, one flow on.
func (t *Table) inTurn(b *capture.Batch, i int) int {
	w, p := &t.plan, t.plan.inOrder
	rest := b.Pkts[i:b.N]
	for k := range rest {
		pkt, d, r := &rest[k], 0, (*record)(nil)
		if pkt.Reversed {
			d = 1
		}
		slot := w.next[d]
		if slot < p.used {
			r = p.record(slot)
		}
		if r == nil || !p.mayHold(pkt) || !p.holds(r, slot, &pkt.Key) {
			if t.beside(pkt) {
				continue
			}
			if slot = w.outOfTurn(pkt) - 1; slot == noSlot {
				w.slot[i+k] = 0
				return i + k
			}
			r = p.record(slot)
		}
		w.next[d] = slot + 1
		if !t.steady(r, pkt) && !t.otherwise(p, r, slot, b, pkt) {
			w.slot[i+k] = slot + 1
			return i + k
		}
	}
	return b.N
}

// otherwise takes a segment another short way than steady, which has refused it, as
// it does any of a young flow.
func (t *Table) otherwise(p *pool, r *record, slot uint32, b *capture.Batch, pkt *capture.Packet) bool {
	if r.hot.state != [2]uint16{} {
		return t.orderly(r, p.handle(slot), b, pkt)
	}
	return r.hot.echo != 0 && t.youth(p, r, slot, b, pkt)
}

// other takes a frame that is no TCP segment.
func (t *Table) other(b *capture.Batch, i int) {
	if !t.beside(&b.Pkts[i]) {
		t.icmpError(b, i)
	}
}

// beside takes a frame that concerns no flow, and reports whether it is one.
func (t *Table) beside(pkt *capture.Packet) bool {
	switch pkt.Proto {
	case capture.TCP, capture.ICMPError:
		return false
	case capture.Echo, capture.ARP, capture.Other:
		t.hosts.add(pkt)
	}
	return true
}

// Advance tells the table that packet time has come to now without a packet:
// a timer of a live capture, or the end of a file.
func (t *Table) Advance(now tcp.Instant) { t.now = max(t.now, now) }

// Now returns the latest packet time.
func (t *Table) Now() tcp.Instant { return t.now }

// Streams returns how many flows have begun.
func (t *Table) Streams() int { return int(t.streams) }

// Midway reports whether any flow began without a SYN, as one does that the capture
// joined, or that goes on under another name.
func (t *Table) Midway() bool { return t.midway }

// Live returns how many flows the table holds whole.
func (t *Table) Live() int { return t.narrow.live + t.wide.live }

// Limits tells which limits were hit, in words; it is empty when none was.
func (t *Table) Limits() []string {
	var hit []string
	if t.evicted > 0 {
		hit = append(hit, plural(t.evicted, "flow")+" dropped at --max-flows")
	}
	if t.folded > 0 {
		hit = append(hit, plural(t.folded, "event")+" folded away, the story arena being full")
	}
	if t.beyond > 0 {
		hit = append(hit, plural(t.beyond, "event")+" left out, the stories of their flows being full")
	}
	if t.rares.dropped > 0 {
		hit = append(hit, plural(t.rares.dropped, "flow")+" without side notes (missing octets, shut windows, heartbeats), too many having some")
	}
	if t.closed.settle(); t.closed.dropped > 0 {
		hit = append(hit, plural(t.closed.dropped, "closed flow")+" no longer listed")
	}
	return hit
}

// FoldedUntil returns when the last event of a story came that the table turned away, being full; 0
// where there was none.
func (t *Table) FoldedUntil() tcp.Instant { return t.foldedUntil }

// turnAway notes that a story lacks an event of an instant.
func (t *Table) turnAway(c *cold, at tcp.Instant) {
	if t.folded == 0 {
		t.foldedAt = at
	}
	t.folded++
	t.foldedUntil = max(t.foldedUntil, at)
	c.cutShort()
}

// cutShort notes that something of the flow was not kept.
func (c *cold) cutShort() { c.cut = max(c.cut, c.cut+1) }

// Evicted returns how many live flows --max-flows made the table forget.
func (t *Table) Evicted() int { return int(t.evicted) }

// ClosedCount returns how many flows ended well and were shrunk or dropped.
func (t *Table) ClosedCount() int {
	return len(t.closed.prints) - len(t.closed.spare) + int(t.closed.dropped)
}

// ClosedFlows yields what remains of flows that ended well, in stream order.
func (t *Table) ClosedFlows() iter.Seq[*Closed] {
	t.closed.settle()
	rows := make([]*Closed, len(t.closed.prints))
	for i := range rows {
		rows[i] = t.closed.row(uint32(i))
	}
	slices.SortFunc(rows, func(a, b *Closed) int { return int(a.Stream) - int(b.Stream) })
	return slices.Values(rows)
}

// Flows yields the flows that the table holds whole, in stream order.
func (t *Table) Flows() iter.Seq[FlowID] {
	if t.wide.used == 0 && !t.narrow.reused { // they lie in that order
		return t.narrow.flows
	}
	ids := make([]FlowID, 0, t.narrow.live+t.wide.live)
	for _, p := range []*pool{&t.narrow, &t.wide} {
		for slot := range p.used {
			if c := p.cold(slot); c.flags&coldUsed != 0 {
				ids = append(ids, makeID(p.handle(slot), c.stream))
			}
		}
	}
	slices.SortFunc(ids, func(a, b FlowID) int { return int(uint32(a)) - int(uint32(b)) })
	return slices.Values(ids)
}

// flows yields the flows of a pool by slot.
func (p *pool) flows(yield func(FlowID) bool) {
	for slot := range p.used {
		if c := p.cold(slot); c.flags&coldUsed != 0 && !yield(makeID(p.handle(slot), c.stream)) {
			return
		}
	}
}

func (p *pool) handle(slot uint32) uint32 {
	if p.wide {
		return slot | wideBit
	}
	return slot
}

// makeID builds a FlowID: the stream serves as the slot's generation.
func makeID(handle, stream uint32) FlowID { return FlowID(handle)<<32 | FlowID(stream+1) }

// resolve returns where a flow lies, false where it has left the table.
func (t *Table) resolve(id FlowID) (*pool, uint32, bool) {
	if id == 0 || !t.ready {
		return nil, 0, false
	}
	p, slot := t.at(uint32(id >> 32))
	if slot >= p.used {
		return nil, 0, false
	}
	c := p.cold(slot)
	return p, slot, c.flags&coldUsed != 0 && c.stream+1 == uint32(id)
}

// Holds reports whether the table holds a flow whole.
func (t *Table) Holds(id FlowID) bool {
	_, _, ok := t.resolve(id)
	return ok
}

// open begins a flow with its first segment.
func (t *Table) open(p *pool, hash uint32, k *capture.Key, older uint32, hasOlder bool, pkt *capture.Packet) uint32 {
	if t.narrow.live+t.wide.live >= t.Options.MaxFlows {
		t.evict()
		hasOlder = hasOlder && p.isOlder(older, k) // else it was the one that had to leave
	}
	slot := p.take(k)
	c := p.cold(slot)
	c.flags = coldUsed
	c.stream = t.streams
	c.first, c.firstOrd = pkt.At, pkt.Ord
	t.streams++
	if t.byHosts.heads != nil {
		t.indexHost(p, slot, k)
	}
	if hasOlder {
		t.again = true
		t.plan.anew(older, slot)
		c.older = older + 1
		p.index.replace(hash, older, slot)
		p.cut(slot)
	} else {
		p.index.put(hash, slot)
	}
	return slot
}

// knownInstances is how many earlier connections on the same ports a late
// segment is held against.
const knownInstances = 3

// cut ends the chain of instances that begins at slot: those before the last
// few are flows as all others, but no segment is theirs any more.
func (p *pool) cut(slot uint32) {
	c := p.cold(slot)
	for range knownInstances {
		if c.older == 0 {
			return
		}
		c = p.cold(c.older - 1)
	}
	c.older = 0
}

// drop frees a slot and all that hangs on it.
func (t *Table) drop(p *pool, slot uint32) {
	r, handle := p.record(slot), p.handle(slot)
	h, c := &r.hot, &r.cold
	t.hosts.flow(p, r, slot)
	if t.byHosts.heads != nil {
		k := p.key(slot)
		t.unindexHost(p, slot, &k)
	}
	if hash := p.hash(slot); c.older != 0 || !p.index.remove(hash, slot) {
		t.unlink(p, hash, slot)
	}
	if r.young() {
		t.outgrow(h)
	} else {
		t.arena.release(&c.story)
	}
	if c.flags&coldRare != 0 {
		delete(t.rare, handle)
	}
	t.dropSamples(handle)
	c.flags, h.state, h.echo = 0, [2]uint16{}, 0 // take clears the rest
	p.free = append(p.free, slot)
	p.live--
}

// unlink takes a flow that has company on its ports out of the index or of the
// chain of instances.
func (t *Table) unlink(p *pool, hash, slot uint32) {
	k, c := p.key(slot), p.cold(slot)
	if c.older != 0 && p.isOlder(c.older-1, &k) && p.index.replace(hash, slot, c.older-1) || p.index.remove(hash, slot) {
		return // it was the current instance of its key
	}
	if current, ok := p.find(hash, &k); ok {
		t.unchain(p, current, slot)
	}
}

// isOlder reports whether slot still holds an instance of the key.
func (p *pool) isOlder(slot uint32, k *capture.Key) bool {
	r := p.record(slot)
	return p.holds(r, slot, k) && r.cold.flags&coldUsed != 0
}

// unchain takes slot out of the chain of instances that begins at current.
func (t *Table) unchain(p *pool, current, slot uint32) {
	for range knownInstances {
		c := p.cold(current)
		if c.older == 0 {
			return
		}
		if c.older-1 == slot {
			c.older = p.cold(slot).older
			return
		}
		current = c.older - 1
	}
}

// evict makes room for one flow: of a stretch of slots the one that matters
// least goes. The order depends on the traffic alone.
func (t *Table) evict() {
	p, i := &t.narrow, 0
	if t.wide.live > t.narrow.live {
		p, i = &t.wide, 1
	}
	if p.used == 0 {
		return
	}
	best, bestWorth := uint32(0), 1<<30
	for range min(64, p.used) {
		t.sweep[i] = (t.sweep[i] + 1) % p.used
		c := p.cold(t.sweep[i])
		if c.flags&coldUsed == 0 {
			continue
		}
		if w := worth(p.record(t.sweep[i])); w < bestWorth {
			best, bestWorth = t.sweep[i], w
		}
	}
	if bestWorth == 1<<30 {
		return
	}
	if c := p.cold(best); c.flags&coldEnded != 0 && c.flags&coldOddEnd == 0 {
		t.shrink(p, best)
		return
	}
	t.evicted++
	if t.Options.Retired != nil {
		var row Closed
		t.closedRow(&row, p, best)
		t.Options.Retired(&row, LimitFlows)
	}
	t.drop(p, best)
}

// worth ranks flows for eviction: embryonic ones leave first, those with
// keepalives last.
func worth(r *record) int {
	c, segments := &r.cold, [2]uint32{r.sent(0), r.sent(1)}
	switch {
	case segments[0]+segments[1] <= 1:
		return 0
	case c.flags&coldEnded != 0 && c.flags&coldOddEnd == 0:
		return 1
	case segments[0] == 0 || segments[1] == 0:
		return 2
	case c.probes[0]+c.probes[1] == 0:
		return 3
	}
	return 4
}
