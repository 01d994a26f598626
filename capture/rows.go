package capture

import (
	"math/bits"

	"kaflow/tcp"
)

// Most frames of most captures are plain: Ethernet frames with at most one tag, or Linux cooked or raw ones,
// IPv4 without options or IPv6 without extension headers, a TCP header that is whole, or UDP. Records of such
// frames that stand in a row are taken some at a time: a container lines them up
// (lineUp), then their frames are decoded (plainRow). Both are short loops whose
// values stay in registers, and what the next rows need of the file is asked for
// meanwhile.

const (
	rowMost    = 12                             // records that are lined up at a time
	rowAhead   = 2                              // rows between the one that is decoded and the one that is asked for
	plainMost  = 86                             // octets that are looked at at fixed offsets, behind a tag
	plainRoom  = plainMost + tagSize + mostLead // that there must be, whatever the frame
	tagSize    = 4
	mostOthers = 64  // frames that are taken one by one, where none was plain, before a row is tried again
	farApart   = 512 // octets from one record to the next from which on headers alone are asked for
)

// Behind other headers than that of Ethernet an IP packet is read as if it lay behind
// one: plain frames begin 14 octets before it, of which the last two may tell nothing.
type lead struct {
	octets  int  // of the frame before what is read as Ethernet; negative where it is shorter
	untyped bool // no EtherType stands before the packet
	first   bool // it stands first in the frame
}

const mostLead = 6 // of Linux cooked headers, version 2

// leadOf returns where plain frames of a link type begin, false where none are looked for.
func leadOf(link uint32) (lead, bool) {
	switch link {
	case linkEthernet:
		return lead{}, true
	case linkSLL:
		return lead{octets: 2}, true
	case linkSLL2:
		return lead{octets: mostLead, untyped: true, first: true}, true
	case linkRaw, linkRawBSD, linkIPv4, linkIPv6:
		return lead{octets: -14, untyped: true}, true
	}
	return lead{}, false
}

// shift has the frames of a row begin behind their lead, up to one that is too short or not
// of IP.
func (w *row) shift(buf []byte, l lead) {
	for i := range w.pkts[:w.n] {
		p := &w.pkts[i]
		if int(p.DataLen) < max(l.octets, 2) || l.first && !holdsIP(buf[p.Data:]) {
			w.n, w.at = i, int(p.Rec)
			return
		}
		p.Data, p.DataLen = uint32(int(p.Data)+l.octets), uint32(int(p.DataLen)-l.octets)
	}
}

// holdsIP reports whether a frame that begins with its EtherType is of IP.
func holdsIP(frame []byte) bool {
	t := be16(frame)
	return t == etherIPv4 || t == etherIPv6
}

// What plain frames hold, as it lies in memory.
const (
	ipv4Type  = 0x0008     // EtherType
	ipv4Plain = 0x45       // version and header length
	tcpWhole  = 0x06000000 // fragment offset and flags but DF, TTL, protocol
	tcpMask   = 0xff00ff3f
	stamps    = 0x0a080101 // NOP, NOP, timestamps of 10 octets
)

// row is a stretch of a batch: records that are lined up. A container sets At, Ord,
// Iface and Rec of a packet, and in Data and DataLen where its frame lies.
type row struct {
	pkts []Packet
	at   int         // offset of the first record within the window, then of the one behind the last
	ord  tcp.Ordinal // of the frame before
	last tcp.Instant // the time of the frame before
	n    int         // packets that are lined up
	bare bool        // of them nothing else is set
}

// takeRows takes the plain frames of interface f that stand in a row, and returns
// where the first record lies that is anything else. lineUp lines up the records
// that may hold some; they follow one another as s says. It does what packet does
// for each, with all that a record changes in registers. Where none was plain
// lately it takes none for a while.
func (r *reader) takeRows(b *Batch, f *iface, s stride, lineUp func(*row)) (next int) {
	if b.Bare.Wanted && b.N == 0 && r.frames > 0 && len(r.holes) == 0 && r.bare.ready() {
		if next := r.takeBare(b, f, s, lineUp); b.Bare.N > 0 {
			return next
		}
	}
	n, others, w := b.N, false, &r.row // others than segments were among them
	w.at, w.last, w.bare = r.at, f.last, false
	if r.single++; r.single < r.others {
		return r.at
	}
	for n < BatchSize {
		begin := w.at
		r.begin(w, f, b.Pkts[n:min(n+max(1, r.inRow), BatchSize)], r.ord+tcp.Ordinal(n-b.N), lineUp)
		plain := plainRow(r.buf, w.pkts[:w.n], f.lead.untyped)
		for plain > 0 && w.pkts[plain-1].Proto != TCP {
			others = true
			more := plainRow(r.buf, w.pkts[plain:w.n], f.lead.untyped)
			if plain += more; more == 0 {
				break
			}
		}
		n += plain
		if !w.end(plain) {
			r.inRow = max(1, plain) // where few are plain, few are tried
			break
		}
		r.inRow = min(2*len(w.pkts), rowMost)
		r.askFor(w, w.at-begin, s)
	}
	if r.single = 0; n > b.N {
		r.others = 0
	} else {
		r.others = min(2*r.others+2, mostOthers)
	}
	if b.N == 0 && !others {
		b.Sorted = n
	}
	r.took(f, b.Pkts[b.N:n], w.last)
	b.N = n
	return w.at
}

// begin lines up the records of a row that is to hold pkts, the first of them behind the
// frame of an ordinal.
func (r *reader) begin(w *row, f *iface, pkts []Packet, ord tcp.Ordinal, lineUp func(*row)) {
	w.pkts, w.ord, w.n = pkts, ord, 0
	if lineUp(w); f.lead != (lead{}) {
		w.shift(r.buf, f.lead)
	}
}

// end notes that so many of a row's packets are taken, and reports whether the row is full of
// them; else the next record is the one behind the last of them.
func (w *row) end(n int) (full bool) {
	if n > 0 {
		w.last = w.pkts[n-1].At
	}
	if n < w.n {
		w.at = int(w.pkts[n].Rec)
	}
	return n == len(w.pkts)
}

// askFor asks for what the rows behind w will need, if they are like w, which
// takes so many octets.
func (r *reader) askFor(w *row, octets int, s stride) {
	if octets > len(w.pkts)*farApart {
		r.peek(w.at, s)
	} else if from := w.at + rowAhead*octets; from < r.end {
		prefetch(&r.buf[from], octets)
	}
}

// took notes that the next frames are those of pkts, plain ones of an interface, the last of
// them seen at an instant.
func (r *reader) took(f *iface, pkts []Packet, last tcp.Instant) {
	if len(pkts) > 0 && f.first == 0 {
		f.first = pkts[0].At
	}
	f.last = last
	r.frames += uint64(len(pkts))
	r.ord += tcp.Ordinal(len(pkts))
}

// plainRow decodes frames of buf that are plain, which lie where their packets'
// Data and DataLen say, until one is not or is no segment, and returns how many were. Behind
// the beginning of each buf holds at least plainMost octets and a tag. untyped is said of
// their lead.
func plainRow(buf []byte, pkts []Packet, untyped bool) int {
	for i := range pkts {
		p := &pkts[i]
		base, size := p.Data, p.DataLen
		at := int(base)
		h := (*[plainMost]byte)(buf[at : at+plainMost : at+plainMost])
		fragment, flags := le32(h[20:]), be32(h[46:])
		header := flags >> 26 & 0x3c // of TCP
		total := uint32(be16(h[16:]))
		if h[14] != ipv4Plain || le16(h[12:]) != ipv4Type && !untyped || fragment&tcpMask != tcpWhole || header < 20 || total < 20+header || 34+header > size {
			if plain6(buf, p, untyped) {
				continue
			}
			switch one := pkts[i : i+1]; plainOtherwise(buf, one, untyped) {
			case TCP:
				continue
			case Other:
				return i + 1
			}
			return i
		}
		s := &p.Seg
		if header == 32 && le32(h[54:]) == stamps {
			x := bits.RotateLeft64(be64(h[58:]), 32) // both are stored at once
			s.TSVal, s.TSEcr = uint32(x), uint32(x>>32)
			s.Opts, s.OptHash = tcp.OptTimestamps, hashNopNopTS
		} else if header > 20 {
			readOptions(s, buf[base+54:base+34+header])
		}
		s.Len = total - header - 20
		p.Data, p.DataLen = base+34+header, min(s.Len, size-34-header) // less where the snap length cut the frame
		x := bits.RotateLeft64(be64(h[38:]), 32)
		s.Seq, s.Ack = tcp.Seq(x), tcp.Seq(x>>32)
		s.Flags, s.Win = tcp.Flags(flags>>16&0x1ff), uint16(flags)
		s.TTL, s.IPID = uint8(fragment>>16), be16(h[18:])
		p.Proto, p.HeaderLen, p.Plain = TCP, uint8(header), true
		to := le32(h[30:])
		sum, carry := bits.Add64(le64(h[14:]), le64(h[22:]), 0)
		sum, carry = bits.Add64(sum, uint64(to), carry)
		if (sum+carry)%0xffff != 0 { // see straightSum
			p.Note |= NoteBadIPSum
		}
		src, dst, ports := be32(h[26:]), bits.ReverseBytes32(to), be32(h[34:])
		_, above := bits.Sub64(uint64(dst), uint64(src), 0)
		if src == dst && ports>>16 > ports&0xffff {
			above = 1
		}
		swap := uint32(-above) // no branch: who is the lower end is a coin toss
		flip := (src ^ dst) & swap
		k := &p.Key
		k.Lo[2], k.Lo[3] = v4Prefix, src^flip
		k.Hi[2], k.Hi[3] = v4Prefix, dst^flip
		k.Ports = ports ^ (ports^bits.RotateLeft32(ports, 16))&swap
		p.Reversed = above != 0
	}
	return len(pkts)
}

// plainOtherwise decodes one frame that is plain in a rarer way, and returns what it is; of
// one that is not plain it writes nothing.
func plainOtherwise(buf []byte, one []Packet, untyped bool) Proto {
	p, plain := &one[0], false
	h := (*[plainMost]byte)(buf[p.Data:])
	switch t := be16(h[12:]); {
	case untyped:
		plain = plainUDP(h, p) || plainUDP6(h, p)
	case t == etherIPv4:
		plain = plainUDP(h, p)
	case t == etherIPv6:
		plain = plainUDP6(h, p)
	case t == etherVLAN:
		plain = plainTagged(buf, one)
	}
	if !plain {
		return Undecoded
	}
	return p.Proto
}

// plainTagged decodes one frame that is plain but for a VLAN tag, and reports
// whether it is such a one; of any other it writes nothing.
func plainTagged(buf []byte, one []Packet) bool {
	p := &one[0]
	base, size := p.Data, p.DataLen
	h := (*[plainMost]byte)(buf[base:])
	if t := be16(h[16:]); size < 14+tagSize || t != etherIPv4 && t != etherIPv6 {
		return false
	}
	p.Data, p.DataLen = base+tagSize, size-tagSize // all that follows lies as much farther
	if plainRow(buf, one, false) == 0 {
		p.Data, p.DataLen = base, size
		return false
	}
	p.VLAN = be16(h[14:]) & 0x0fff
	p.Way = p.VLAN
	return true
}

// plainUDP decodes one frame that is plain but for UDP that is no tunnel, and reports
// whether it is such a one; of any other it writes nothing. Such frames stand between the
// segments of most captures.
func plainUDP(h *[plainMost]byte, p *Packet) bool {
	total := be16(h[16:])
	if h[23] != protoUDP || h[14] != 0x45 || be16(h[20:])&0x3fff != 0 || total < 28 || p.DataLen < 42 || tunnelPort(be32(h[34:])) != 0 {
		return false
	}
	src, dst := be32(h[26:]), be32(h[30:])
	p.Key.SetIPv4(min(src, dst), max(src, dst), 0)
	p.Reversed = src > dst
	p.Seg.TTL, p.Seg.IPID, p.Seg.Len = h[22], be16(h[18:]), uint32(total)-20
	if !straightSum((*[20]byte)(h[14:34])) {
		p.Note |= NoteBadIPSum
	}
	p.Proto, p.Data, p.DataLen = Other, 0, 0
	return true
}

// plainUDP6 is plainUDP for IPv6.
func plainUDP6(h *[plainMost]byte, p *Packet) bool {
	length := be16(h[18:])
	if h[20] != protoUDP || h[14]>>4 != 6 || length < 8 || p.DataLen < 62 || tunnelPort(be32(h[54:])) != 0 {
		return false
	}
	p.Key, p.Reversed = canonical(words(h[22:38]), words(h[38:54]), 0, 0, 0)
	p.Seg.TTL, p.Seg.Len = h[21], uint32(length)
	p.Proto, p.Data, p.DataLen = Other, 0, 0
	return true
}

// plain6 decodes one frame that is plain but for IPv6, and reports whether it is
// such a one; of any other it writes nothing.
func plain6(buf []byte, p *Packet, untyped bool) bool {
	base := p.Data
	h := (*Head)(buf[base:])
	total, size := uint32(be16(h[18:20])), uint32(h[66]>>4)*4
	if be16(h[12:14]) != etherIPv6 && !untyped || h[14]>>4 != 6 || h[20] != protoTCP || total < size || 54+size > p.DataLen {
		return false
	}
	s := &p.Seg
	switch {
	case size == 20:
	case size < 20:
		return false
	case size == 32 && be32(h[74:78]) == nopNopTimestamps:
		s.TSVal, s.TSEcr = be32(h[78:]), be32(h[82:])
		s.Opts, s.OptHash = tcp.OptTimestamps, hashNopNopTS
	default:
		readOptions(s, buf[base+74:base+54+size])
	}
	s.Len = total - size
	p.Data, p.DataLen = base+54+size, min(s.Len, p.DataLen-54-size)
	p.HeaderLen, p.Proto = uint8(size), TCP
	s.Seq, s.Ack = tcp.Seq(be32(h[58:])), tcp.Seq(be32(h[62:]))
	flagsWin := be32(h[66:])
	s.Flags, s.Win = tcp.Flags(flagsWin>>16&0x1ff), uint16(flagsWin)
	s.TTL = h[21]
	p.Reversed = p.Key.setIPv6(h) != 0
	return true
}

// setIPv6 makes the key that of a plain frame of IPv6, and returns which end sent it: 0
// for Lo, 1 for Hi.
func (k *Key) setIPv6(h *Head) uint8 {
	srcHi, srcLo, dstHi, dstLo, ports := be64(h[22:]), be64(h[30:]), be64(h[38:]), be64(h[46:]), be32(h[54:])
	_, above := bits.Sub64(dstLo, srcLo, 0)
	_, above = bits.Sub64(dstHi, srcHi, above)
	if srcHi == dstHi && srcLo == dstLo && ports>>16 > ports&0xffff {
		above = 1
	}
	swapHi, swapLo := (srcHi^dstHi)&-above, (srcLo^dstLo)&-above // as in plainRow
	srcHi, dstHi, srcLo, dstLo = srcHi^swapHi, dstHi^swapHi, srcLo^swapLo, dstLo^swapLo
	k.Lo = [4]uint32{uint32(srcHi >> 32), uint32(srcHi), uint32(srcLo >> 32), uint32(srcLo)}
	k.Hi = [4]uint32{uint32(dstHi >> 32), uint32(dstHi), uint32(dstLo >> 32), uint32(dstLo)}
	k.Ports = bits.RotateLeft32(ports, int(above*16))
	k.Overlay = 0
	return uint8(above)
}
