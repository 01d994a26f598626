package capture

// HeaderKind says what a Header is.
type HeaderKind uint8

// Headers that Headers tells of.
const (
	HeaderTag      HeaderKind = iota // numbers without a host in them: a VLAN or MPLS label, PPPoE, PPP, LLC, GRE, UDP, a tunnel's own
	HeaderEthernet                   // destination and source MAC, EtherType
	HeaderSLL                        // Linux cooked, version 1
	HeaderSLL2                       // Linux cooked, version 2
	HeaderIPv4                       // with its options
	HeaderIPv6                       // without extension headers
	HeaderIPv6Ext                    // an extension header; Header.Protocol says which
	HeaderTCP                        // with its options, as far as captured
	HeaderUDP
	HeaderICMP // type, code, checksum and four octets, of either family; what an error quotes follows
	HeaderARP  // the whole message
	HeaderND   // a neighbour solicitation or advertisement with its options
)

// Header is one header of a frame: where it lies, and for IP where the packet
// that it begins ends.
type Header struct {
	Kind     HeaderKind
	Protocol byte // of HeaderIPv6Ext: its own number
	At, Size int  // offset in the frame, octets that were captured of it
	End      int  // of HeaderIPv4, HeaderIPv6: end of the packet on the link; may lie beyond what was captured
	Quoted   bool // within an ICMP error
}

// Headers returns the packet that a frame holds, as DecodeFrame does, and the
// headers on the way to it, outermost first, appended to list. What lies
// between and behind them is no header, or one of a link that is not told of:
// the first IP header or ARP message is where such a link's packet begins.
func Headers(list []Header, link uint32, data []byte, wire uint32) (Packet, []Header) {
	var (
		d decoder
		p Packet
	)
	w := walk{d: &d, p: &p, b: data, end: int(max(wire, uint32(len(data)))), seen: &list}
	if uint32(len(data)) < wire {
		p.Note |= NoteCut
	}
	w.run(w.link(link), 0)
	return p, list
}

// pass tells of a header, where somebody asked. One that begins behind what was
// captured is at its end, and empty.
func (w *walk) pass(kind HeaderKind, at, size int) {
	if w.seen != nil {
		at = min(at, len(w.b))
		size = min(size, len(w.b)-at)
		*w.seen = append(*w.seen, Header{Kind: kind, At: at, Size: size, End: w.end, Quoted: w.quoted})
	}
}

// passExtension tells of an IPv6 extension header.
func (w *walk) passExtension(protocol byte, at, size int) {
	if w.seen != nil {
		w.pass(HeaderIPv6Ext, at, size)
		(*w.seen)[len(*w.seen)-1].Protocol = protocol
	}
}
