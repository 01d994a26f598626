package capture

import "kaflow/tcp"

// IP protocol numbers (IANA), extension headers among them.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPIP     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoDstOpts  = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
)

// ip reads an IPv4 or IPv6 header, whichever the version says: some systems
// and links name only one of them.
func (w *walk) ip(at int) (layer, int) {
	if !w.has(at, 1) {
		return w.reject("IP header cut")
	}
	switch w.b[at] >> 4 {
	case 4:
		return w.ipv4(at)
	case 6:
		return w.ipv6(at)
	}
	return w.reject("IP version is neither 4 nor 6")
}

func (w *walk) ipv4(at int) (layer, int) {
	if !w.has(at, 20) {
		return w.reject("IPv4 header cut")
	}
	h := w.b[at:]
	size, total := int(h[0]&15)*4, int(be16(h[2:]))
	if total == 0 { // left to the network card (TSO), or BIG TCP
		w.p.Note |= NoteTSO
		total = w.end - at
	}
	switch {
	case size < 20:
		return w.reject("IPv4 header length below 20")
	case total < size:
		return w.reject("IPv4 total length shorter than its header")
	case len(h) < size:
		return w.reject("IPv4 header cut")
	}
	if ipv4Sum(h[:size]) != 0xffff {
		w.p.Note |= NoteBadIPSum
	}
	w.endAt(at + total)
	w.pass(HeaderIPv4, at, size)
	w.is6, w.src, w.dst = false, at+12, at+16
	w.p.Seg.TTL, w.p.Seg.IPID = h[8], be16(h[4:])
	fragment := be16(h[6:]) & 0x3fff
	if fragment != 0 {
		if fragment&0x1fff != 0 {
			return w.other(at + size)
		}
		w.p.Note |= NoteFragment
	}
	return w.transport(h[9], at, at+size)
}

// endAt ends an IP packet at offset end, by its own header. A frame's length
// may be a lie and does not shorten it; a length in a header around it does:
// some access concentrators count the padding of a short frame in.
func (w *walk) endAt(end int) {
	if w.bound != 0 {
		end = min(end, w.bound)
	}
	w.end = end
	if end < len(w.b) {
		w.b = w.b[:end]
	}
}

// transport goes on with what an IP header at offset ip carries at offset at.
func (w *walk) transport(protocol byte, ip, at int) (layer, int) {
	switch protocol {
	case protoTCP:
		return w.tcp(at)
	case protoICMP:
		if !w.is6 {
			return w.icmp(ip, at)
		}
	case protoICMPv6:
		if w.is6 {
			return w.icmp(ip, at)
		}
	case protoIPIP, protoIPv6, protoGRE, protoUDP:
		return w.tunnel(protocol, at)
	}
	return w.other(at)
}

// other ends the way at a protocol that is only evidence of two hosts.
func (w *walk) other(at int) (layer, int) {
	w.setKey(0, 0)
	w.p.Proto = Other
	w.p.Seg.Len = uint32(max(0, w.end-at))
	return done, 0
}

func (w *walk) ipv6(at int) (layer, int) {
	if !w.has(at, 40) {
		return w.reject("IPv6 header cut")
	}
	h := w.b[at:]
	w.is6, w.src, w.dst = true, at+8, at+24
	w.p.Seg.TTL, w.p.Seg.IPID = h[7], 0
	protocol, length := h[6], int(be16(h[4:]))
	if length != 0 {
		w.endAt(at + 40 + length)
	}
	w.pass(HeaderIPv6, at, 40)
	if protocol == protoTCP && length != 0 {
		return w.tcp(at + 40)
	}
	c := chain{protocol: protocol, at: at + 40}
	if reason := w.extensions(&c); reason == tooDeep {
		return w.fail(reason)
	} else if reason != "" {
		return w.reject(reason)
	}
	switch {
	case length != 0:
	case c.jumbo > 65535:
		w.endAt(at + 40 + int(c.jumbo))
	case c.protocol != protoNone: // BIG TCP without its option
		w.p.Note |= NoteTSO
	default:
		w.endAt(c.at)
	}
	if c.final != 0 {
		w.dst = c.final
	}
	switch c.fragment {
	case fragmentLater:
		return w.other(c.at)
	case fragmentFirst:
		w.p.Note |= NoteFragment
	}
	return w.transport(c.protocol, at, c.at)
}

// chain is the way through IPv6 extension headers (RFC 8200, section 4).
type chain struct {
	protocol byte
	fragment fragment
	at       int    // of the header that protocol names
	final    int    // offset of the final destination where a routing header holds it
	jumbo    uint32 // jumbo payload length (RFC 2675)
}

// fragment says which part of a datagram a packet holds.
type fragment uint8

const (
	fragmentNone fragment = iota
	fragmentFirst
	fragmentLater
)

// extensions walks to the first header that is none of IPv6's own, and
// returns why it could not, or "".
func (w *walk) extensions(c *chain) string {
	for {
		size := 0
		switch c.protocol {
		case protoHopByHop, protoRouting, protoDstOpts, protoMobility, protoHIP, protoShim6, protoFragment, protoAH:
			if !w.has(c.at, 8) {
				return "IPv6 extension header cut"
			}
			size = int(w.b[c.at+1])*8 + 8
		default:
			return ""
		}
		if !w.enter() {
			return tooDeep
		}
		h := w.b[c.at:]
		switch c.protocol {
		case protoAH:
			size = int(h[1])*4 + 8
		case protoFragment:
			size = 8
			switch offset := be16(h[2:]); {
			case offset&^7 != 0:
				c.fragment = fragmentLater
			case offset&1 != 0:
				c.fragment = fragmentFirst
			}
		}
		if len(h) < size {
			return "IPv6 extension header cut"
		}
		w.passExtension(c.protocol, c.at, size)
		switch c.protocol {
		case protoHopByHop:
			c.jumbo = max(c.jumbo, jumboLength(h[2:size]))
		case protoRouting:
			if to := finalDestination(h[:size]); to != 0 {
				c.final = c.at + to
			}
		}
		c.protocol, c.at = h[0], c.at+size
		if c.fragment == fragmentLater {
			return ""
		}
	}
}

// jumboLength returns the value of a jumbo payload option, or 0.
func jumboLength(options []byte) uint32 {
	for len(options) >= 2 {
		if options[0] == 0 { // Pad1
			options = options[1:]
			continue
		}
		size := int(options[1]) + 2
		if options[0] == 0xc2 && size == 6 && len(options) >= 6 {
			return be32(options[2:])
		}
		if size > len(options) {
			return 0
		}
		options = options[size:]
	}
	return 0
}

// finalDestination returns the offset, within a routing header, of the address
// that the packet goes to in the end, or 0 where the IPv6 header holds it: it
// is that address that TCP knows.
func finalDestination(h []byte) int {
	kind, left := h[2], h[3]
	switch {
	case left == 0 || len(h) < 24:
		return 0
	case kind == 4: // segment routing (RFC 8754): the list is in reverse order
		return 8
	case kind == 0 || kind == 2: // RFC 2460, RFC 6275
		return len(h) - 16
	}
	return 0
}

// setKey sets the packet's key from the innermost addresses and the ports.
func (w *walk) setKey(sport, dport uint16) {
	p := w.p
	p.Way = p.VLAN
	if w.channel != 0 {
		p.Way = MinDigest | uint16((w.channel^uint32(p.VLAN)*channelMix)>>17)
	}
	if w.is6 {
		p.Key, p.Reversed = canonical(w.words(w.src), w.words(w.dst), sport, dport, w.overlay)
		return
	}
	src, dst := be32(w.b[w.src:]), be32(w.b[w.dst:])
	p.Reversed = src > dst || src == dst && sport > dport
	if p.Reversed {
		src, dst, sport, dport = dst, src, dport, sport
	}
	p.Key.SetIPv4(src, dst, uint32(sport)<<16|uint32(dport)) // field by field: a whole one would be made elsewhere and copied
	p.Key.Overlay = w.overlay
}

// words reads the IPv6 address at an offset.
func (w *walk) words(at int) [4]uint32 { return words(w.b[at : at+16]) }

// words reads an IPv6 address.
func words(b []byte) [4]uint32 {
	_ = b[15]
	return [4]uint32{be32(b), be32(b[4:]), be32(b[8:]), be32(b[12:])}
}

// tcp reads a TCP header. The payload's length is the IP header's, whatever
// was captured of it.
func (w *walk) tcp(at int) (layer, int) {
	switch {
	case at+20 > w.end:
		return w.fail("IP packet too short for a TCP header")
	case !w.has(at, 20):
		return w.fail("TCP header cut")
	}
	p, h := w.p, w.b[at:]
	size := int(h[12]>>4) * 4
	if size < 20 {
		return w.fail("TCP header length below 20")
	}
	if at+size > w.end {
		return w.fail("TCP header length beyond the segment")
	}
	w.pass(HeaderTCP, at, size)
	w.setKey(be16(h), be16(h[2:]))
	s := &p.Seg
	s.Seq, s.Ack = tcp.Seq(be32(h[4:])), tcp.Seq(be32(h[8:]))
	s.Flags = tcp.Flags(be16(h[12:]) & 0x1ff)
	s.Win = be16(h[14:])
	s.Len = uint32(w.end - at - size)
	if size > 20 {
		w.options(h[20:min(len(h), size)], size-20)
	}
	if data := at + size; data < len(w.b) {
		p.Data, p.DataLen = w.base+uint32(data), uint32(len(w.b)-data)
	} else {
		p.Data = w.base + uint32(len(w.b))
	}
	if len(h) >= size {
		p.HeaderLen = uint8(size)
	}
	p.Proto = TCP
	return done, 0
}

// options reads what was captured of size octets of TCP options.
func (w *walk) options(o []byte, size int) {
	if len(o) < size {
		w.p.Note |= NoteHeaderCut
		w.p.Seg.Opts |= tcp.OptCut
	}
	readOptions(&w.p.Seg, o)
}

// TCP option kinds (IANA).
const (
	kindEnd           = 0
	kindNop           = 1
	kindMSS           = 2
	kindWScale        = 3
	kindSACKPermitted = 4
	kindSACK          = 5
	kindTimestamps    = 8
	kindMD5           = 19
	kindUserTimeout   = 28
	kindAO            = 29
)

const (
	hashStart = 2166136261 // FNV-1a
	hashPrime = 16777619

	// nopNopTimestamps begins the option list that nearly every segment
	// carries (RFC 7323, appendix A), hashNopNopTS is its hash.
	nopNopTimestamps = 0x0101080a

	hashNopNopTS = ((((hashStart^kindNop)*hashPrime&wrap)^kindNop)*hashPrime&wrap ^ kindTimestamps) * hashPrime & wrap
	wrap         = 1<<32 - 1

	// linuxSYN is the option list of SYNs that Linux sends, but for the values:
	// MSS, SACK permitted, timestamps; then a NOP and the window scale.
	linuxSYN     = 0x02040000_0402080a
	linuxSYNMask = 0xffff0000_ffffffff
	linuxSYNEnd  = 0x010303
	hashLinuxSYN = (((((((hashStart^kindMSS)*hashPrime&wrap^kindSACKPermitted)*hashPrime&wrap^kindTimestamps)*hashPrime&wrap)^kindNop)*hashPrime&wrap ^
		kindWScale) * hashPrime & wrap)

	maxWScale = 14 // larger shifts count as this one (RFC 7323, section 2.3)
)

// hashKind adds an option kind to a hash of option kinds.
func hashKind(hash uint32, kind byte) uint32 { return (hash ^ uint32(kind)) * hashPrime }

// readOptions reads TCP options into s. A length that can't be ends the list
// and sets OptCut; the header's fields stay good.
func readOptions(s *tcp.Segment, o []byte) {
	if len(o) == 12 && be32(o) == nopNopTimestamps {
		s.TSVal, s.TSEcr = be32(o[4:]), be32(o[8:])
		s.Opts |= tcp.OptTimestamps
		s.OptHash = hashNopNopTS
		return
	}
	if len(o) == 20 && be64(o)&linuxSYNMask == linuxSYN && be32(o[16:])>>8 == linuxSYNEnd {
		s.MSS, s.TSVal, s.TSEcr, s.WScale = be16(o[2:]), be32(o[8:]), be32(o[12:]), min(o[19], maxWScale)
		s.Opts |= tcp.OptMSS | tcp.OptSACKPermitted | tcp.OptTimestamps | tcp.OptWScale
		s.OptHash = hashLinuxSYN
		return
	}
	walkOptions(s, o)
}

// walkOptions is readOptions for any list.
func walkOptions(s *tcp.Segment, o []byte) {
	if len(o) == 0 {
		return
	}
	hash := uint32(hashStart)
	for len(o) > 0 {
		kind := o[0]
		hash = hashKind(hash, kind)
		if kind == kindEnd {
			break
		}
		if kind == kindNop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			s.Opts |= tcp.OptCut
			break
		}
		readOption(s, kind, o[2:o[1]])
		o = o[o[1]:]
	}
	s.OptHash = max(hash, 1)
}

// readOption reads the value of one option. A value of the wrong size is
// passed over.
func readOption(s *tcp.Segment, kind byte, v []byte) {
	switch {
	case kind == kindMSS && len(v) == 2:
		s.MSS, s.Opts = be16(v), s.Opts|tcp.OptMSS
	case kind == kindWScale && len(v) == 1:
		s.WScale, s.Opts = min(v[0], maxWScale), s.Opts|tcp.OptWScale
	case kind == kindSACKPermitted && len(v) == 0:
		s.Opts |= tcp.OptSACKPermitted
	case kind == kindSACK && len(v) >= 8 && len(v)%8 == 0:
		if !s.Opts.Has(tcp.OptSACK) {
			s.SackL, s.SackR = tcp.Seq(be32(v)), tcp.Seq(be32(v[4:]))
		}
		s.Opts |= tcp.OptSACK
	case kind == kindTimestamps && len(v) == 8:
		s.TSVal, s.TSEcr, s.Opts = be32(v), be32(v[4:]), s.Opts|tcp.OptTimestamps
	case kind == kindUserTimeout && len(v) == 2:
		s.Opts |= tcp.OptUserTimeout
	case kind == kindMD5 || kind == kindAO:
		s.Opts |= tcp.OptAuth
	}
}
