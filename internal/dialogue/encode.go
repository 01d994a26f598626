package dialogue

import (
	"encoding/binary"
	"net/netip"

	"kaflow/tcp"
)

var be = binary.BigEndian

// IP protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// encode returns the frame's octets with its link header, its TTL being lower
// by hops.
func (s *Script) encode(f *frame, hops int) []byte {
	if f.kind == kindARPRequest || f.kind == kindARPReply {
		return s.neighbour(f)
	}
	packet, typ := s.packet(f, hops), etherType(f.from.addr.Addr())
	if f.teid != 0 {
		packet, typ = tunnelled(f, packet), 0x0800
	}
	return s.frameOn(f, f.to.mac, typ, packet)
}

// tunnelled puts a packet into GTP-U (3GPP TS 29.281) between two gateways.
func tunnelled(f *frame, packet []byte) []byte {
	h := be.AppendUint16([]byte{0x30, 255}, uint16(len(packet)))
	body := append(be.AppendUint32(h, f.teid), packet...)
	out := *f
	out.from = &end{addr: netip.MustParseAddrPort("203.0.113.1:2152")}
	out.to = &end{addr: netip.MustParseAddrPort("203.0.113.2:2152")}
	out.data = body
	return ipHeader(&out, 0, out.from.addr.Addr(), out.to.addr.Addr(), protoUDP, datagram(&out))
}

// etherType returns the number of the address's family.
func etherType(a netip.Addr) uint16 {
	if a.Is4() {
		return 0x0800
	}
	return 0x86dd
}

// frameOn puts the link header before a packet.
func (s *Script) frameOn(f *frame, to [6]byte, typ uint16, packet []byte) []byte {
	var h []byte
	switch s.link {
	case linkEthernet:
		h = append(append(h, to[:]...), f.from.mac[:]...)
		if f.vlan != 0 {
			h = be.AppendUint16(be.AppendUint16(h, 0x8100), f.vlan)
		}
		h = be.AppendUint16(h, typ)
	case linkSLL:
		h = append(h, 0, 0, 0, 1, 0, 6)
		h = append(append(h, f.from.mac[:]...), 0, 0)
		h = be.AppendUint16(h, typ)
	case linkNull: // in the writer's byte order: little-endian, as the file
		family := uint32(2)
		if typ == 0x86dd {
			family = 30
		}
		h = binary.LittleEndian.AppendUint32(h, family)
	case linkRaw:
	}
	return append(h, packet...)
}

// packet returns the frame from its IP header on.
func (s *Script) packet(f *frame, hops int) []byte {
	src, dst := f.from.addr.Addr(), f.to.addr.Addr()
	var proto uint8
	var body []byte
	switch f.kind {
	case kindTCP:
		proto, body = protoTCP, s.segment(f)
	case kindUDP:
		proto, body = protoUDP, datagram(f)
	default:
		proto, body = s.icmp(f, src.Is6())
	}
	return ipHeader(f, hops, src, dst, proto, body)
}

// ipHeader puts the IP header before body.
func ipHeader(f *frame, hops int, src, dst netip.Addr, proto uint8, body []byte) []byte {
	ttl := f.seg.TTL - uint8(min(hops, int(f.seg.TTL)))
	if src.Is6() {
		h := be.AppendUint32(nil, 6<<28)
		h = be.AppendUint16(h, uint16(len(body)))
		h = append(h, proto, ttl)
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
		return append(h, body...)
	}
	h := []byte{0x45, 0}
	h = be.AppendUint16(h, uint16(20+len(body)))
	h = be.AppendUint16(h, f.seg.IPID)
	h = append(h, 0x40, 0, ttl, proto, 0, 0) // don't fragment
	h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	be.PutUint16(h[10:], checksum(0, h))
	return append(h, body...)
}

// segment returns the TCP header, its options and the payload.
func (s *Script) segment(f *frame) []byte {
	options := tcpOptions(f)
	h := be.AppendUint16(nil, f.from.addr.Port())
	h = be.AppendUint16(h, f.to.addr.Port())
	h = be.AppendUint32(h, uint32(f.seg.Seq))
	h = be.AppendUint32(h, uint32(f.seg.Ack))
	words := 5 + len(options)/4
	h = be.AppendUint16(h, uint16(words)<<12|uint16(f.seg.Flags))
	h = be.AppendUint16(h, f.seg.Win)
	h = append(h, 0, 0, 0, 0)
	h = append(append(h, options...), f.data...)
	sum := transportSum(f, protoTCP, h)
	if f.badSum {
		sum ^= 0x5555
	}
	be.PutUint16(h[16:], sum)
	return h
}

// tcpOptions returns the options in the order in which Linux sends them,
// padded to whole words.
func tcpOptions(f *frame) []byte {
	var o []byte
	s := &f.seg
	if s.Opts.Has(tcp.OptMSS) {
		o = be.AppendUint16(append(o, 2, 4), s.MSS)
	}
	if s.Opts.Has(tcp.OptSACKPermitted) {
		o = append(o, 4, 2)
	}
	if s.Opts.Has(tcp.OptTimestamps) {
		o = be.AppendUint32(be.AppendUint32(append(o, 8, 10), s.TSVal), s.TSEcr)
	}
	if s.Opts.Has(tcp.OptWScale) {
		o = append(o, 3, 3, s.WScale)
	}
	if len(f.sack) > 0 {
		o = append(o, 5, uint8(2+8*len(f.sack)))
		for _, b := range f.sack {
			o = be.AppendUint32(be.AppendUint32(o, uint32(b[0])), uint32(b[1]))
		}
	}
	for len(o)%4 != 0 {
		o = append(o, 1)
	}
	return o
}

func datagram(f *frame) []byte {
	h := be.AppendUint16(nil, f.from.addr.Port())
	h = be.AppendUint16(h, f.to.addr.Port())
	h = be.AppendUint16(h, uint16(8+len(f.data)))
	h = append(append(h, 0, 0), f.data...)
	be.PutUint16(h[6:], transportSum(f, protoUDP, h))
	return h
}

// icmp returns an echo or an error and the protocol number of its family. An
// error quotes the IP header and, of IPv4, eight octets more at least: here
// the whole TCP header, as RFC 1812 and RFC 4443 ask.
func (s *Script) icmp(f *frame, six bool) (proto uint8, body []byte) {
	proto = protoICMP
	if six {
		proto = protoICMPv6
	}
	switch f.kind {
	case kindPing, kindPong:
		typ := map[bool][2]uint8{false: {8, 0}, true: {128, 129}}[six][f.kind-kindPing]
		body = be.AppendUint16([]byte{typ, 0, 0, 0, 0, 1}, f.echo)
		body = append(body, filler(16)...)
	default:
		quoted := s.packet(&s.frames[f.quotes], s.hops)
		body = append([]byte{f.icmp[0], f.icmp[1], 0, 0, 0, 0, 0, 0}, quoted...)
	}
	if six {
		be.PutUint16(body[2:], transportSum(f, protoICMPv6, body))
	} else {
		be.PutUint16(body[2:], checksum(0, body))
	}
	return proto, body
}

// neighbour returns an ARP packet, or a neighbour solicitation or
// advertisement (RFC 826, RFC 4861).
func (s *Script) neighbour(f *frame) []byte {
	to, target := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, f.target
	if f.to != nil {
		to, target = f.to.mac, f.to
	}
	if f.from.addr.Addr().Is6() {
		return s.neighbour6(f, target)
	}
	h := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	var hardware [6]byte
	if f.kind == kindARPReply {
		h[7], hardware = 2, to
	}
	h = append(append(h, f.from.mac[:]...), f.from.addr.Addr().AsSlice()...)
	h = append(append(h, hardware[:]...), target.addr.Addr().AsSlice()...)
	return s.frameOn(f, to, 0x0806, h)
}

func (s *Script) neighbour6(f *frame, target *end) []byte {
	looked, typ, option := target.addr.Addr(), uint8(135), uint8(1)
	dst, to := solicitedNode(looked)
	if f.kind == kindARPReply {
		looked, typ, option = f.from.addr.Addr(), 136, 2
		dst, to = f.to.addr.Addr(), f.to.mac
	}
	body := append([]byte{typ, 0, 0, 0, 0, 0, 0, 0}, looked.AsSlice()...)
	body = append(append(body, option, 1), f.from.mac[:]...)
	src := f.from.addr.Addr()
	be.PutUint16(body[2:], pseudoSum(src, dst, protoICMPv6, body))
	g := *f
	g.seg.TTL = 255
	return s.frameOn(f, to, 0x86dd, ipHeader(&g, 0, src, dst, protoICMPv6, body))
}

// solicitedNode returns the multicast group that a solicitation for a goes to,
// and its Ethernet address (RFC 4291, section 2.7.1; RFC 2464, section 7).
func solicitedNode(a netip.Addr) (netip.Addr, [6]byte) {
	b := a.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]}
	return netip.AddrFrom16(group), [6]byte{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}

// transportSum is the checksum of a transport header with its pseudo header.
func transportSum(f *frame, proto uint8, body []byte) uint16 {
	return pseudoSum(f.from.addr.Addr(), f.to.addr.Addr(), proto, body)
}

func pseudoSum(src, dst netip.Addr, proto uint8, body []byte) uint16 {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = be.AppendUint32(pseudo, uint32(len(body)))
	pseudo = be.AppendUint32(pseudo, uint32(proto))
	return checksum(uint32(^checksum(0, pseudo)), body)
}

// checksum is the Internet checksum (RFC 1071) of b, begun with sum.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
