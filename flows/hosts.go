package flows

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"

	"kaflow/capture"
	"kaflow/tcp"
)

// hostTable holds what was seen between pairs of hosts beside their live
// flows: frames that are no TCP as they come, flows when they leave the table.
// Live flows are added when somebody asks, so that a segment costs nothing
// here.
type hostTable struct {
	rows    []*hostRow               // as the pairs came
	index   index                    // of them
	recent  [256]*hostRow            // of rows, by a hash of the addresses: the same hosts come again
	asked   map[netip.Addr][]Control // for a host's hardware address, by the host
	cards   map[netip.Addr]uint32    // a digest of the hardware address that a host named last
	moves   []Move
	dropped uint64

	controls int // of all rows
}

// Move is a moment at which a host's address came to another network card, or
// was announced to all (gratuitous ARP, unsolicited neighbour advertisement), as
// where one router takes over from another.
type Move struct {
	Host    netip.Addr
	At      tcp.Instant
	Ord     tcp.Ordinal
	Changed bool // another hardware address than it named before
}

// maxMoves bounds the moves that are remembered; those of the beginning stay.
const maxMoves = 1024

type hostKey struct{ a, b [4]uint32 }

type hostRow struct {
	key         hostKey
	is4         bool
	first, last [2]tcp.Instant
	frames      [2]uint64
	controls    []Control
	thinned     uint8 // of echoes those are kept that EchoKept names
}

const (
	maxHosts     = 65_536
	maxControls  = 64     // of two hosts, once there are
	manyControls = 512    // of two hosts, until there are
	allControls  = 65_536 // of all hosts
	maxThinned   = 12
)

func (t *hostTable) row(a, b [4]uint32) *hostRow {
	k := hostKey{a, b}
	recent := t.recently(a[3], b[3])
	if r := *recent; r != nil && r.key == k {
		return r
	}
	r, hash := t.find(&k)
	if r == nil {
		if len(t.rows) >= maxHosts {
			t.dropped++
			return nil
		}
		r = &hostRow{key: k, is4: (&capture.Key{Lo: a}).Is4()}
		t.index.put(hash, uint32(len(t.rows)))
		t.rows = append(t.rows, r)
	}
	*recent = r
	return r
}

// find returns the row of two hosts, nil where there is none, and the hash that it has in the index.
func (t *hostTable) find(k *hostKey) (*hostRow, uint32) {
	if t.index.entries == nil {
		t.index.init()
	}
	hash := t.index.hash(&capture.Key{Lo: k.a, Hi: k.b})
	if at, ok := t.index.find(hash, func(at uint32) bool { return t.rows[at].key == *k }); ok {
		return t.rows[at], hash
	}
	return nil, hash
}

// row4 is row for IPv4 addresses. It does not make a key of them where they came
// just before.
func (t *hostTable) row4(a, b uint32) *hostRow {
	if r := *t.recently(a, b); r != nil && r.key.a[3] == a && r.key.b[3] == b && r.is4 {
		return r
	}
	return t.row(capture.V4Words(a), capture.V4Words(b))
}

// recently returns where the row of two hosts is, if they came just before, by
// the last words of their addresses.
func (t *hostTable) recently(a, b uint32) **hostRow {
	return &t.recent[mix(uint64(a)<<32|uint64(b), 0x9e3779b97f4a7c15)>>56]
}

func (r *hostRow) saw(end int, first, last tcp.Instant, frames uint64) {
	if frames == 0 {
		return
	}
	if r.frames[end] == 0 || first < r.first[end] {
		r.first[end] = first
	}
	if r.frames[end] == 0 || last > r.last[end] {
		r.last[end] = last
	}
	r.frames[end] += frames
}

// control keeps one of a row. Where there are too many, of echoes fewer are kept, from
// the beginning to the end, and at every vantage point the same; of all else the first
// ones and those that follow the end.
func (t *hostTable) control(r *hostRow, c Control) {
	if c.skipped(r.thinned) {
		return
	}
	limit := maxControls
	if t.controls < allControls {
		limit = manyControls
	}
	before := len(r.controls)
	for len(r.controls) >= limit && r.thinned < maxThinned && r.mostlyEchoes() {
		r.thinned++
		r.controls = slices.DeleteFunc(r.controls, func(c Control) bool { return c.skipped(r.thinned) })
	}
	switch {
	case c.skipped(r.thinned):
	case len(r.controls) < limit:
		r.controls = append(r.controls, c)
	default:
		half := len(r.controls) / 2
		copy(r.controls[half:], r.controls[half+1:])
		r.controls[len(r.controls)-1] = c
	}
	t.controls += len(r.controls) - before
}

// mostlyEchoes reports whether at least half of the controls are.
func (r *hostRow) mostlyEchoes() bool {
	n := 0
	for i := range r.controls {
		if r.controls[i].Echo() {
			n++
		}
	}
	return 2*n >= len(r.controls)
}

// Echo reports whether a control is a ping or the answer to one.
func (c *Control) Echo() bool { return c.What == ControlEchoRequest || c.What == ControlEchoReply }

// skipped reports whether a control is an echo that is not kept where echoes are
// thinned so far.
func (c *Control) skipped(thinned uint8) bool {
	return c.Echo() && !EchoKept(c.ID, thinned)
}

// EchoKept reports whether an echo is among those that are kept where they are thinned to
// one in 2 to a power: those of one row whose sequence number is that apart, and as many of
// single ones, each with an identifier of its own. A request and its answer share both.
func EchoKept(id uint32, thinned uint8) bool { return (id+id>>16)&(1<<thinned-1) == 0 }

// add takes a frame that is no TCP.
func (t *hostTable) add(p *capture.Packet) {
	if p.Key.Lo == ([4]uint32{}) && p.Key.Hi == ([4]uint32{}) {
		return
	}
	r := t.row(p.Key.Lo, p.Key.Hi)
	if r == nil {
		return
	}
	end := 0
	if p.Reversed {
		end = 1
	}
	r.saw(end, p.At, p.At, 1)
	c := Control{At: p.At, Ord: p.Ord, From: uint8(end), ID: uint32(p.Seg.Seq)}
	switch p.Proto {
	case capture.Echo:
		switch p.ICMP >> 8 {
		case 8, 128:
			c.What = ControlEchoRequest
		case 0, 129:
			c.What = ControlEchoReply
		default:
			return
		}
	case capture.ARP:
		switch p.ICMP {
		case 1, 135 << 8:
			c.What = ControlARPRequest
		case 2, 136 << 8:
			c.What = ControlARPReply
		default:
			return
		}
	default:
		return
	}
	t.control(r, c)
	if p.Proto == capture.ARP {
		t.named(capture.Addr([2][4]uint32{p.Key.Lo, p.Key.Hi}[end]), c, p.Key.Lo == p.Key.Hi)
	}
	if c.What == ControlARPRequest {
		t.askedFor(capture.Addr([2][4]uint32{p.Key.Hi, p.Key.Lo}[end]), c)
	}
}

// named remembers the hardware address that a host named, and when it was
// another one than before.
func (t *hostTable) named(host netip.Addr, c Control, toAll bool) {
	if c.ID == 0 {
		return // not told
	}
	before, known := t.cards[host]
	changed := known && before != c.ID
	if (changed || toAll) && len(t.moves) < maxMoves {
		t.moves = append(t.moves, Move{host, c.At, c.Ord, changed})
	}
	switch {
	case !known && len(t.cards) >= maxHosts:
		return
	case t.cards == nil:
		t.cards = map[netip.Addr]uint32{}
	}
	t.cards[host] = c.ID
}

// Moves returns the addresses that moved to another network card between two
// instants, or were announced to all.
func (t *Table) Moves(from, to tcp.Instant) (list []Move) {
	for _, m := range t.hosts.moves {
		if m.At >= from && m.At <= to {
			list = append(list, m)
		}
	}
	return list
}

// askedFor remembers who asked for a host's hardware address last.
func (t *hostTable) askedFor(host netip.Addr, c Control) {
	list := t.asked[host]
	switch {
	case list == nil && len(t.asked) >= maxHosts:
		return
	case t.asked == nil:
		t.asked = map[netip.Addr][]Control{}
	case len(list) == maxControls:
		list = append(list[:0], list[1:]...)
	}
	t.asked[host] = append(list, c)
}

// flow adds a flow that leaves the table, whose record is r.
func (t *hostTable) flow(p *pool, r *record, slot uint32) {
	var row *hostRow
	if p.wide {
		k := &p.keys[slot>>chunkBits][slot&(chunkSize-1)]
		row = t.row(k.Lo, k.Hi)
	} else {
		row = t.row4(r.hot.addr[0], r.hot.addr[1])
	}
	if row == nil {
		return
	}
	for end := range 2 {
		row.saw(end, r.cold.first, r.hot.last, uint64(r.sent(end)))
	}
}

// HostPair returns what was seen between the two hosts of a key, over all
// protocols; false where nothing was.
func (t *Table) HostPair(k *capture.Key) (HostPair, bool) {
	var seen hostRow
	if all := t.between(k); all != nil {
		seen = all.seen
	}
	if r, _ := t.hosts.find(&hostKey{k.Lo, k.Hi}); r != nil {
		for end := range 2 {
			seen.saw(end, r.first[end], r.last[end], r.frames[end])
		}
		seen.controls, seen.thinned = r.controls, r.thinned
	}
	if seen.frames[0]+seen.frames[1] == 0 {
		return HostPair{}, false
	}
	return HostPair{
		A: capture.Addr(k.Lo), B: capture.Addr(k.Hi),
		First: seen.first, Last: seen.last, Frames: seen.frames,
		Controls: append([]Control(nil), seen.controls...), Thinned: seen.thinned,
	}, true
}

// between is what the table holds of two hosts' flows.
type between struct {
	handles []uint32   // in the order in which the flows began
	seen    hostRow    // of them alone
	edges   *standings // nil: nobody asked (see Heirs)
}

// manyBetween is how many flows of two hosts make what was found out about them
// worth keeping until the table changes: a report asks for each flow, and all
// connections of a test are of the same two hosts.
const manyBetween = 32

// between looks the flows of two hosts up; nil where the table is empty.
func (t *Table) between(k *capture.Key) *between {
	if !t.ready {
		return nil
	}
	hosts := hostKey{k.Lo, k.Hi}
	if all := t.byHosts.told[hosts]; all != nil {
		return all
	}
	all := &between{handles: t.flowsOf(k)}
	for _, handle := range all.handles {
		p, slot := t.at(handle)
		r := p.record(slot)
		for end := range 2 {
			all.seen.saw(end, r.cold.first, r.hot.last, uint64(r.sent(end)))
		}
	}
	if len(all.handles) >= manyBetween {
		if t.byHosts.told == nil {
			t.byHosts.told = map[hostKey]*between{}
		}
		t.byHosts.told[hosts] = all
	}
	return all
}

// flowsOf looks the host pair up in an index that is made when it is asked for
// the second time, and kept from then on: live, whoever floods a table with
// connections that end at once would else have it read whole for each.
func (t *Table) flowsOf(k *capture.Key) []uint32 {
	x := &t.byHosts
	switch {
	case !x.asked:
		x.asked = true
		return t.scanHosts(k)
	case x.heads == nil || t.narrow.live+t.wide.live > 2*len(x.heads):
		t.indexHosts()
	}
	var rows []streamed
	for next := x.heads[x.bucket(k)]; next != 0; {
		p, slot := t.at(next - 1)
		if key := p.key(slot); key.Lo == k.Lo && key.Hi == k.Hi {
			rows = append(rows, streamed{p.cold(slot).stream, next - 1})
		}
		next = x.links[p.number()][slot].next
	}
	return inOrder(rows)
}

// byHosts is an index of flows by their hosts: chains of handles plus 1, one for
// each hash of a host pair.
type byHosts struct {
	asked bool
	heads []uint32             // nil: not made yet
	links [2][]link            // by slot, narrow and wide
	told  map[hostKey]*between // what was found out of those with many, since the table changed last
}

// link is a flow's place in its chain: its neighbours' handles plus 1, 0 at
// either end.
type link struct{ prev, next uint32 }

func (x *byHosts) bucket(k *capture.Key) uint32 {
	h := mix(uint64(k.Lo[3])<<32|uint64(k.Hi[3]), 0xa0761d6478bd642f)
	if !k.Is4() {
		h = mix(h^uint64(k.Lo[2])<<32^uint64(k.Hi[2]), uint64(k.Lo[1])<<32^uint64(k.Hi[1])^0xe7037ed1a0b428db)
	}
	return uint32(h>>32) & uint32(len(x.heads)-1)
}

func (t *Table) indexHosts() {
	x := &t.byHosts
	x.heads = make([]uint32, 1<<bits.Len(uint(t.narrow.live+t.wide.live)))
	for i, p := range []*pool{&t.narrow, &t.wide} {
		x.links[i] = make([]link, p.used)
		for slot := range p.used {
			if p.cold(slot).flags&coldUsed != 0 {
				key := p.key(slot)
				t.indexHost(p, slot, &key)
			}
		}
	}
}

// indexHost adds a flow to the index.
func (t *Table) indexHost(p *pool, slot uint32, k *capture.Key) {
	x := &t.byHosts
	links := &x.links[p.number()]
	if int(slot) >= len(*links) {
		*links = append(*links, make([]link, int(slot)+1-len(*links))...)
	}
	head := &x.heads[x.bucket(k)]
	(*links)[slot] = link{next: *head}
	if *head != 0 {
		*t.linkOf(*head) = link{prev: p.handle(slot) + 1, next: t.linkOf(*head).next}
	}
	*head = p.handle(slot) + 1
}

// unindexHost takes a flow out of the index.
func (t *Table) unindexHost(p *pool, slot uint32, k *capture.Key) {
	x := &t.byHosts
	l := x.links[p.number()][slot]
	if l.next != 0 {
		t.linkOf(l.next).prev = l.prev
	}
	if l.prev != 0 {
		t.linkOf(l.prev).next = l.next
	} else {
		x.heads[x.bucket(k)] = l.next
	}
}

// linkOf returns the place of a flow that is named as links name it.
func (t *Table) linkOf(named uint32) *link {
	p, slot := t.at(named - 1)
	return &t.byHosts.links[p.number()][slot]
}

// number is the pool's place among the two.
func (p *pool) number() int {
	if p.wide {
		return 1
	}
	return 0
}

// streamed is a flow and when it began among the others.
type streamed struct{ stream, handle uint32 }

func inOrder(rows []streamed) []uint32 {
	slices.SortFunc(rows, func(a, b streamed) int { return cmp.Compare(a.stream, b.stream) })
	handles := make([]uint32, len(rows))
	for i := range rows {
		handles[i] = rows[i].handle
	}
	return handles
}

// scanHosts is flowsOf without an index.
func (t *Table) scanHosts(k *capture.Key) []uint32 {
	var rows []streamed
	for _, p := range []*pool{&t.narrow, &t.wide} {
		for slot := range p.used {
			if key := p.key(slot); key.Lo == k.Lo && key.Hi == k.Hi && p.cold(slot).flags&coldUsed != 0 {
				rows = append(rows, streamed{p.cold(slot).stream, p.handle(slot)})
			}
		}
	}
	return inOrder(rows)
}

// routerAddr is the source of an ICMP error.
type routerAddr = netip.Addr

// icmpError writes an ICMP error into the story of the flow that it quotes,
// and among the controls of its hosts.
func (t *Table) icmpError(b *capture.Batch, i int) {
	pkt := &b.Pkts[i]
	router := outerSource(b.Payload(i))
	end := 0
	if pkt.Reversed {
		end = 1
	}
	if r := t.hosts.row(pkt.Key.Lo, pkt.Key.Hi); r != nil {
		t.hosts.control(r, Control{At: pkt.At, Ord: pkt.Ord, From: uint8(1 - end), What: ControlICMPError, ID: uint32(pkt.ICMP), By: router})
	}
	p := t.poolOf(&pkt.Key)
	slot, ok := p.find(p.index.hash(&pkt.Key), &pkt.Key)
	if !ok {
		return
	}
	t.grow(p, slot)
	s := &t.step
	*s = step{t: t, pool: p, pkt: pkt, seg: &pkt.Seg, at: pkt.At, d: end, p: 1 - end}
	s.use(slot)
	t.flush(p, slot)
	if s.h.state[end]&(stKnown|stTentative) != 0 {
		if off := pkt.Seg.Seq.Sub(s.h.next[end]); off > seqNear || off < -seqNear {
			return // of another connection, or made up
		}
	}
	if s.c.icmps < 255 {
		s.c.icmps++
	}
	ev := s.append(ICMPError)
	if ev == nil {
		return
	}
	ev.ack = tcp.Seq(pkt.ICMP)
	ev.count = t.router(router)
	ev.flags, ev.flagsHi = 0, 0
	if pkt.Note&capture.NoteBadTCPSum != 0 {
		ev.note |= NoteBadSum
	}
	if t.Options.Touched != nil {
		t.Options.Touched(makeID(s.handle, s.c.stream))
	}
}

// router interns an address; at most 4,096 are told apart.
func (t *Table) router(a netip.Addr) uint32 {
	for i, x := range t.routers {
		if x == a {
			return uint32(i)
		}
	}
	if len(t.routers) >= 4096 {
		return 0
	}
	if len(t.routers) == 0 {
		t.routers = append(t.routers, netip.Addr{})
	}
	t.routers = append(t.routers, a)
	return uint32(len(t.routers) - 1)
}

// outerSource reads the source address of an IP header.
func outerSource(ip []byte) netip.Addr {
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(ip[12:16]))
	case len(ip) >= 40 && ip[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(ip[8:24]))
	}
	return netip.Addr{}
}
