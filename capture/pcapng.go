package capture

import (
	"fmt"
	"math/bits"

	"kaflow/tcp"
)

// Types of pcapng blocks (draft-ietf-opsawg-pcapng).
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6

	// Blocks that hold no packet, and that Wireshark numbers as frames.
	blockJournal     = 9
	blockCustom      = 0xbad
	blockCustomLocal = 0x40000bad
	blockSysdig      = 0x204
	blockSysdigFlags = 0x208
	blockSysdig2     = 0x216
	blockSysdig2Fl   = 0x217
	blockSysdigLarge = 0x221
	blockSysdigLrgFl = 0x222
)

const (
	sectionMagic = 0x1a2b3c4d
	minBlock     = 12
	maxBlock     = 16 << 20
	maxIfaces    = 100_000 // of one section
)

// Options that are read.
const (
	ngEnd     = 0
	ngComment = 1

	ifName        = 2
	ifDescription = 3
	ifTsResol     = 9
	ifFilter      = 11
	ifOS          = 12
	ifFCSLen      = 13
	ifTsOffset    = 14

	epbDropCount = 4

	isbStart  = 2
	isbIfDrop = 5
	isbOSDrop = 7
)

// pcapng reads pcapng files. What it knows belongs to the section at hand:
// another section can have another byte order and has interfaces of its own.
type pcapng struct {
	swap    bool // the section is big-endian
	section int  // from 1
	dropped uint64
}

// isPcapng reports whether a file that begins with b is a pcapng file.
func isPcapng(b []byte) bool {
	return len(b) >= 12 && be32(b) == blockSection && (be32(b[8:]) == sectionMagic || le32(b[8:]) == sectionMagic)
}

func openPcapng(*reader) (container, string, error) { return &pcapng{}, "pcapng", nil }

func (g *pcapng) unit() string { return "pcapng block" }

func (g *pcapng) u16(b []byte) uint16 {
	if g.swap {
		return be16(b)
	}
	return le16(b)
}

func (g *pcapng) u32(b []byte) uint32 {
	x := le32(b)
	if g.swap {
		x = bits.ReverseBytes32(x)
	}
	return x
}

// u64 reads a number in the section's byte order.
func (g *pcapng) u64(b []byte) uint64 {
	if g.swap {
		return be64(b)
	}
	return uint64(le32(b)) | uint64(le32(b[4:]))<<32
}

// stamp reads a time: two words, the upper first in either byte order.
func (g *pcapng) stamp(b []byte) uint64 {
	return uint64(g.u32(b))<<32 | uint64(g.u32(b[4:]))
}

func (g *pcapng) records(r *reader, b *Batch) (int, error) {
	for b.N < BatchSize {
		if r.asIs && !g.swap && r.empty == 0 {
			if r.at = takePlainBlocks(r, b); b.N == BatchSize || b.Bare.N > 0 {
				break
			}
		}
		rest := r.buf[r.at:r.end]
		if len(rest) < minBlock {
			return minBlock, nil
		}
		kind := g.u32(rest)
		swap := g.swap
		if kind == blockSection {
			switch { // the block's own magic tells the order of its length, too
			case be32(rest[8:]) == sectionMagic:
				swap = true
			case le32(rest[8:]) == sectionMagic:
				swap = false
			default:
				return 0, fmt.Errorf("section header has no byte order mark: %#08x", be32(rest[8:]))
			}
		} else if g.section == 0 {
			return 0, fmt.Errorf("pcapng block type %#x before any section header", kind)
		}
		size := le32(rest[4:])
		if swap {
			size = bits.ReverseBytes32(size)
		}
		if size < minBlock || size > maxBlock || size%4 != 0 {
			return 0, fmt.Errorf("pcapng block type %#x has a length of %d", kind, size)
		}
		if len(rest) < int(size) {
			return int(size), nil
		}
		if trailer := le32(rest[size-4:]); trailer != le32(rest[4:]) {
			return 0, fmt.Errorf("pcapng block type %#x has lengths %d and, at its end, %d", kind, size, order32(trailer, swap))
		}
		if kind == blockSection {
			g.swap = swap
		}
		taken, err := g.block(r, b, kind, rest[8:size-4])
		if err != nil || !taken {
			return 0, err
		}
		r.at += int(size)
	}
	return 0, nil
}

// takePlainBlocks takes the enhanced packet blocks without options that stand in
// a row, are of one interface and hold plain frames, up to the first that
// is anything else.
func takePlainBlocks(r *reader, b *Batch) (next int) {
	if r.left() < blockHead+blockTail {
		return r.at
	}
	number := le32(r.buf[r.at+8:])
	if uint64(number) >= uint64(len(r.ifaces)) {
		return r.at
	}
	f := &r.ifaces[number]
	if !f.plain || f.fcs != 0 || f.mul == 0 || f.div > 1 || f.shift != 0 || f.offset != 0 {
		return r.at
	}
	return r.takeRows(b, f, blockStride, func(w *row) { lineUpBlocks(r, f, number, w) })
}

const (
	blockHead = 28 // octets of an enhanced packet block before the frame
	blockTail = 4  // behind the frame and its padding
)

var blockStride = stride{length: 4}

// lineUpBlocks lines up the blocks of a row that may hold plain frames. They are
// of interface f, the section's with that number.
func lineUpBlocks(r *reader, f *iface, number uint32, w *row) {
	buf, pkts, at, mul, most, iface := r.buf[:r.end], w.pkts, w.at, f.mul, uint64(tcp.MaxInstant)/f.mul, f.number
	n, soonest := 0, max(w.last, 1)
	for n < len(pkts) && at <= len(buf) && len(buf)-at >= blockHead+plainRoom {
		h := (*[blockHead]byte)(buf[at : at+blockHead : at+blockHead])
		size, held, wire := le32(h[4:]), le32(h[20:]), le32(h[24:])
		stamp := uint64(le32(h[12:]))<<32 | uint64(le32(h[16:]))
		if le32(h[0:]) != blockEnhanced || le32(h[8:]) != number || held > maxRecord || size != blockHead+blockTail+(held+3)&^3 ||
			len(buf)-at < int(size) || le32(buf[at+int(size)-blockTail:]) != size || stamp > most || tcp.Instant(stamp*mul) < soonest {
			break
		}
		k := &pkts[n]
		n++
		if w.bare {
			k.Note = 0
		} else {
			*k = Packet{}
		}
		soonest = tcp.Instant(stamp * mul)
		k.At, k.Ord, k.Iface, k.Rec = soonest, w.ord+tcp.Ordinal(n), iface, uint32(at)
		k.Data, k.DataLen = uint32(at)+blockHead, held
		if held != wire {
			if held > wire {
				n--
				break
			}
			k.Note = NoteCut
		}
		at += int(size)
	}
	w.n, w.at = n, at
}

func order32(x uint32, swap bool) uint32 {
	if swap {
		return bits.ReverseBytes32(x)
	}
	return x
}

// block takes one block's body. It reports false, having changed nothing,
// where the block belongs into the next batch.
func (g *pcapng) block(r *reader, b *Batch, kind uint32, body []byte) (bool, error) {
	switch kind {
	case blockEnhanced:
		return g.enhanced(r, b, body)
	case blockSimple:
		return true, g.simple(r, b, body)
	case blockPacket:
		return g.obsolete(r, b, body)
	}
	taken, err := g.noPacket(r, b, kind, body)
	if taken && err == nil && r.other != nil {
		r.other(Block{Kind: kind, Swap: g.swap, Body: body})
	}
	return taken, err
}

// noPacket takes the body of a block that holds no packet.
func (g *pcapng) noPacket(r *reader, b *Batch, kind uint32, body []byte) (bool, error) {
	switch kind {
	case blockInterface:
		return true, g.describe(r, body)
	case blockStatistics:
		return g.statistics(r, b, body)
	case blockSection:
		return true, g.header(r, body)
	case blockJournal:
		r.noPacket(b, "systemd journal entry")
	case blockCustom, blockCustomLocal:
		r.noPacket(b, "custom pcapng block")
	case blockSysdig, blockSysdigFlags, blockSysdig2, blockSysdig2Fl, blockSysdigLarge, blockSysdigLrgFl:
		r.noPacket(b, "sysdig event")
	}
	return true, nil
}

// short is the error of a block whose body is too small.
func short(name string, need int, body []byte) error {
	return fmt.Errorf("%s needs %d octets, %d left", name, need, len(body))
}

func (g *pcapng) header(r *reader, body []byte) error {
	if len(body) < 16 {
		return short("section header", 16, body)
	}
	if major, minor := g.u16(body[4:]), g.u16(body[6:]); major != 1 {
		return fmt.Errorf("pcapng version %d.%d is not supported", major, minor)
	}
	g.section++
	r.ifaces = r.ifaces[:0]
	for o := g.options(body[16:]); o.next(); {
		if o.code == ngComment && r.rewrite == nil && len(r.file.Comments) < maxListed {
			r.file.Comments = append(r.file.Comments, text(o.value))
		}
	}
	return nil
}

func (g *pcapng) describe(r *reader, body []byte) error {
	if len(body) < 8 {
		return short("interface description", 8, body)
	}
	if len(r.ifaces) >= maxIfaces {
		return fmt.Errorf("more than %d interfaces in one section", maxIfaces)
	}
	f := iface{link: uint32(g.u16(body)), snap: g.u32(body[4:]), mul: 1000}
	var told Interface
	for o := g.options(body[8:]); o.next(); {
		switch {
		case o.code == ifName:
			told.Name = text(o.value)
		case o.code == ifDescription:
			told.Description = text(o.value)
		case o.code == ifOS:
			told.OS = text(o.value)
		case o.code == ifFilter && len(o.value) > 1 && o.value[0] == 0: // else compiled
			told.Filter = text(o.value[1:])
		case o.code == ifTsResol && len(o.value) >= 1:
			f.resolution(o.value[0])
		case o.code == ifFCSLen && len(o.value) >= 1:
			f.fcs = uint32(o.value[0])
			if f.fcs >= 8 { // the draft says bits, Wireshark writes octets
				f.fcs /= 8
			}
		case o.code == ifTsOffset && len(o.value) >= 8:
			f.offset = int64(g.u64(o.value))
		}
	}
	r.addIface(f, told, g.section)
	return nil
}

// resolution sets the factors that turn times into nanoseconds from the
// option if_tsresol: a negative power of 10 or, with the highest bit, of 2.
func (f *iface) resolution(v byte) {
	const nano = 9
	f.mul, f.div, f.shift = 1, 1, 0
	exponent := int(v & 0x7f)
	switch {
	case v&0x80 != 0:
		f.mul, f.shift = 1_000_000_000, uint8(exponent)
	case exponent <= nano:
		f.mul = pow10(nano - exponent)
	case exponent-nano <= 19:
		f.div = pow10(exponent - nano)
	default: // all times there are lie within the first nanosecond
		f.mul = 0
	}
}

func pow10(n int) uint64 {
	p := uint64(1)
	for ; n > 0; n-- {
		p *= 10
	}
	return p
}

// on returns the interface of a packet.
func (g *pcapng) on(r *reader, index uint32) (*iface, error) {
	if uint64(index) >= uint64(len(r.ifaces)) {
		return nil, fmt.Errorf("packet on interface %d of %d", index, len(r.ifaces))
	}
	return &r.ifaces[index], nil
}

// checkCaptured reports whether n octets of packet data fit behind a block's
// fields.
func checkCaptured(r *reader, n uint32, room int) error {
	switch {
	case n > maxRecord:
		return fmt.Errorf("packet block claims %d octets, more than %d", n, maxRecord)
	case int(n) > room:
		return fmt.Errorf("packet block claims %d octets, %d left", n, room)
	case r.tooEmpty(n):
		return errEmpty
	}
	return nil
}

func (g *pcapng) enhanced(r *reader, b *Batch, body []byte) (bool, error) {
	const fields = 20
	if len(body) < fields {
		return false, short("enhanced packet block", fields, body)
	}
	f, err := g.on(r, g.u32(body))
	if err != nil {
		return false, err
	}
	n, wire := g.u32(body[12:]), g.u32(body[16:])
	if err := checkCaptured(r, n, len(body)-fields); err != nil {
		return false, err
	}
	at := r.instant(f, g.stamp(body[4:]))
	if padded := fields + int(n+3)&^3; len(body) > padded {
		if drops := g.packetDrops(body[padded:]); drops > 0 {
			if b.N > 0 {
				return false, nil
			}
			g.lose(r, f, drops, at)
		}
	}
	if r.each != nil {
		g.tell(r, g.u32(body), g.stamp(body[4:]), body[min(len(body), fields+int(n+3)&^3):])
	}
	r.packet(b, f, record{r.at, r.at + 8 + fields, int(n), wire}, at)
	return true, nil
}

// packetDrops reads from an enhanced packet block's options how many packets
// were lost before it.
func (g *pcapng) packetDrops(list []byte) (drops uint64) {
	for o := g.options(list); o.next(); {
		if o.code == epbDropCount && len(o.value) >= 8 {
			drops = g.u64(o.value)
		}
	}
	return drops
}

// lose notes packets dropped between the frame before on an interface and
// the one seen at an instant.
func (g *pcapng) lose(r *reader, f *iface, drops uint64, at tcp.Instant) {
	r.file.DropsKnown = true
	g.dropped = addSaturating(g.dropped, drops)
	r.file.Drops = max(r.file.Drops, g.dropped)
	r.hole(f.last, at, WhyDropped)
}

func addSaturating(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return ^uint64(0)
}

func (g *pcapng) obsolete(r *reader, b *Batch, body []byte) (bool, error) {
	const fields = 20
	if len(body) < fields {
		return false, short("packet block", fields, body)
	}
	f, err := g.on(r, uint32(g.u16(body)))
	if err != nil {
		return false, err
	}
	n, wire := g.u32(body[12:]), g.u32(body[16:])
	if err := checkCaptured(r, n, len(body)-fields); err != nil {
		return false, err
	}
	at := r.instant(f, g.stamp(body[4:]))
	if drops := g.u16(body[2:]); drops != 0 && drops != 0xffff { // all ones: not known
		if b.N > 0 {
			return false, nil
		}
		g.lose(r, f, uint64(drops), at)
	}
	if r.each != nil {
		g.tell(r, uint32(g.u16(body)), g.stamp(body[4:]), body[min(len(body), fields+int(n+3)&^3):])
	}
	r.packet(b, f, record{r.at, r.at + 8 + fields, int(n), wire}, at)
	return true, nil
}

// simple takes a simple packet block: the first interface, no time, and no
// captured length but what the snap length and the block leave.
func (g *pcapng) simple(r *reader, b *Batch, body []byte) error {
	const fields = 4
	if len(body) < fields {
		return short("simple packet block", fields, body)
	}
	f, err := g.on(r, 0)
	if err != nil {
		return err
	}
	wire := g.u32(body)
	n := min(wire, uint32(len(body)-fields))
	if f.snap != 0 {
		n = min(n, f.snap)
	}
	if err := checkCaptured(r, n, len(body)-fields); err != nil {
		return err
	}
	if r.each != nil {
		g.tell(r, 0, 0, nil)
	}
	r.packet(b, f, record{r.at, r.at + 8 + fields, int(n), wire}, 0)
	return nil
}

// tell notes what a block says of its frame beside the octets.
func (g *pcapng) tell(r *reader, index uint32, stamp uint64, options []byte) {
	r.told = PacketBlock{Known: true, Swap: g.swap, Index: index, Stamp: stamp, Options: options}
}

// statistics takes an interface statistics block. Its counters count from the
// start of the capture: what they grew by was lost since they were last told.
func (g *pcapng) statistics(r *reader, b *Batch, body []byte) (bool, error) {
	const fields = 12
	if len(body) < fields {
		return false, short("interface statistics block", fields, body)
	}
	f, err := g.on(r, g.u32(body))
	if err != nil {
		return false, err
	}
	var (
		drops uint64
		known bool
		since = f.told
	)
	for o := g.options(body[fields:]); o.next(); {
		switch {
		case len(o.value) < 8:
		case o.code == isbIfDrop || o.code == isbOSDrop:
			drops, known = addSaturating(drops, g.u64(o.value)), true
		case o.code == isbStart && since == 0:
			since = r.instant(f, g.stamp(o.value))
		}
	}
	if !known {
		return true, nil
	}
	if drops > f.drops && b.N > 0 {
		return false, nil
	}
	r.file.DropsKnown = true
	at := r.instant(f, g.stamp(body[4:]))
	if drops > f.drops {
		r.file.Drops = addSaturating(r.file.Drops, drops-f.drops)
		if since == 0 {
			since = f.first
		}
		r.hole(since, max(at, f.last), WhyDropped)
		f.drops = drops
	}
	f.told = max(at, f.last)
	return true, nil
}

// options is a walk through an option list. Damage ends the walk: it costs
// the options behind it and nothing else.
type options struct {
	g     *pcapng
	rest  []byte
	code  uint16
	value []byte
}

func (g *pcapng) options(list []byte) options { return options{g: g, rest: list} }

// next goes to the next option and reports whether there is one.
func (o *options) next() bool {
	if len(o.rest) < 4 {
		return false
	}
	var n int
	o.code, n = o.g.u16(o.rest), int(o.g.u16(o.rest[2:]))
	if o.code == ngEnd || 4+n > len(o.rest) {
		return false
	}
	o.value = o.rest[4 : 4+n]
	o.rest = o.rest[min(4+(n+3)&^3, len(o.rest)):]
	return true
}
