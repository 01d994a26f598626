package rewrite

import (
	"encoding/binary"
	"net/netip"

	"kaflow/capture"
)

// LINKTYPE_ numbers of frames that keep their link header.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw      = 101
	linkLoop     = 108
	linkSLL      = 113
	linkSLL2     = 276
)

// PublicWords returns the stretches of a segment's payload, as offsets, by which
// its protocol is recognised and which hold nothing of a user's. length is the
// segment's, payload what was captured of it.
type PublicWords func(payload []byte, length int, ports ...uint16) [][2]int

// Sanitiser takes out of frames what tells who and what: addresses are
// replaced, payload goes, and so does every octet that is not known to be
// harmless. What a diagnosis stands on stays: lengths, times, TTL, IP ID, ports,
// TCP headers, the words by which a protocol is recognised. It serves one
// goroutine.
type Sanitiser struct {
	Map     *Addresses
	Words   PublicWords // nil: no payload is kept at all
	headers []capture.Header
	old     []byte
}

// shortestFrame is what is kept of a frame of which nothing is known.
const shortestFrame = 14

// Frame rewrites a frame in place. Frames of links other than Ethernet, Linux
// cooked, BSD loopback and raw IP lose their link header and become raw IP.
func (s *Sanitiser) Frame(f *capture.Frame) {
	var p capture.Packet
	p, s.headers = capture.Headers(s.headers[:0], f.Link, f.Data, f.Wire)
	s.old = append(s.old[:0], f.Data...)
	start := s.linkEnd(f.Link)
	f.Link = LinkOf(f.Link)
	f.Data = f.Data[:len(f.Data)-start]
	f.Wire = max(f.Wire, uint32(len(s.old))) - uint32(start)
	clear(f.Data)
	c := copier{addresses: s.Map, words: s.Words, headers: s.headers, in: s.old[start:], out: f.Data, start: start}
	for i := range c.headers {
		c.header(i)
	}
	c.payload(&p)
	f.Data = f.Data[:c.end(&p)]
	c.sums(f.Data)
}

// LinkOf returns the link type that frames of a link type have afterwards.
func LinkOf(link uint32) uint32 {
	if keepsLink(link) {
		return link
	}
	return linkRaw
}

func keepsLink(link uint32) bool {
	switch link {
	case linkNull, linkEthernet, linkRaw, linkLoop, linkSLL, linkSLL2, 12, 14, 228, 229: // the last four: raw IP
		return true
	}
	return false
}

// linkEnd returns how many octets of link header go: all up to the first IP
// header. Of a frame with none, everything.
func (s *Sanitiser) linkEnd(link uint32) int {
	if keepsLink(link) {
		return 0
	}
	for _, h := range s.headers {
		if h.Kind == capture.HeaderIPv4 || h.Kind == capture.HeaderIPv6 {
			return h.At
		}
	}
	return len(s.old)
}

// copier copies what is harmless of one frame. Offsets of headers count from
// the old frame's beginning, of which the first start octets are gone.
type copier struct {
	addresses *Addresses
	words     PublicWords
	headers   []capture.Header
	in, out   []byte
	start     int
	last      int // end of what was copied
}

// header copies header i. What is not copied stays zero.
func (c *copier) header(i int) {
	h := &c.headers[i]
	at := h.At - c.start
	if at < 0 {
		return
	}
	in, out := c.in[at:at+h.Size], c.out[at:at+h.Size]
	c.last = max(c.last, at+h.Size)
	switch h.Kind {
	case capture.HeaderTag:
		copy(out, in)
	case capture.HeaderUDP:
		copy(out, in[:min(6, len(in))]) // without a checksum
	case capture.HeaderEthernet:
		copy(out, in)
		c.addresses.MAC(out[:6])
		c.addresses.MAC(out[6:12])
	case capture.HeaderSLL:
		copy(out, in)
		c.cookedMAC(out[6:14], int(binary.BigEndian.Uint16(in[4:])))
	case capture.HeaderSLL2:
		copy(out, in)
		c.cookedMAC(out[12:20], int(in[11]))
	case capture.HeaderIPv4:
		c.ip4(in, out)
	case capture.HeaderIPv6:
		copy(out, in)
		c.ip6Addr(out[8:])
		c.ip6Addr(out[24:])
	case capture.HeaderIPv6Ext:
		c.extension(h.Protocol, in, out)
	case capture.HeaderTCP:
		tcpHeader(in, out)
	case capture.HeaderICMP:
		c.icmp(i, in, out)
	case capture.HeaderARP:
		c.arp(in, out)
	case capture.HeaderND:
		c.last = max(c.last-len(in), at+c.neighbour(in, out))
	}
}

// icmp copies an ICMP header; that of a redirect names a gateway.
func (c *copier) icmp(i int, in, out []byte) {
	const redirect = 5
	copy(out, in)
	if ip := c.innermost(i); in[0] == redirect && len(in) == 8 && ip != nil && ip.Kind == capture.HeaderIPv4 {
		c.ip4Addr(out[4:])
	}
}

// cookedMAC replaces the first n octets of a cooked header's address field and
// blanks the rest.
func (c *copier) cookedMAC(b []byte, n int) {
	n = min(n, len(b))
	c.addresses.MAC(b[:n])
	clear(b[n:])
}

func (c *copier) ip4Addr(b []byte) {
	a := c.addresses.Addr(netip.AddrFrom4([4]byte(b[:4]))).As4()
	copy(b, a[:])
}

func (c *copier) ip6Addr(b []byte) {
	a := c.addresses.Addr(netip.AddrFrom16([16]byte(b[:16]))).As16()
	copy(b, a[:])
}

// ip4 copies an IPv4 header. Options, which can hold a route, become NOPs. A
// wrong checksum stays wrong: hosts drop such packets.
func (c *copier) ip4(in, out []byte) {
	good := sum(0, in) == 0xffff
	copy(out, in[:20])
	for i := 20; i < len(out); i++ {
		out[i] = 1
	}
	c.ip4Addr(out[12:])
	c.ip4Addr(out[16:])
	setSum(out[10:], 0, out, good)
}

// setSum sets the checksum field at the beginning of field, which lies in
// data, or a wrong one. more is added to the sum.
func setSum(field []byte, more uint64, data []byte, good bool) {
	field[0], field[1] = 0, 0
	x := ^sum(more, data)
	if !good {
		x ^= 0x5555
	}
	binary.BigEndian.PutUint16(field, x)
}

// sum returns the internet checksum of data (RFC 1071), not inverted.
func sum(more uint64, data []byte) uint16 {
	for ; len(data) >= 2; data = data[2:] {
		more += uint64(data[0])<<8 | uint64(data[1])
	}
	if len(data) == 1 {
		more += uint64(data[0]) << 8
	}
	for more>>16 != 0 {
		more = more&0xffff + more>>16
	}
	return uint16(more)
}

// IPv6 extension headers whose content matters.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAH          = 51
	extDestination = 60
)

// extension copies what of an IPv6 extension header is needed to read on:
// its length, a fragment's place, a jumbogram's length, the addresses of a route.
func (c *copier) extension(protocol byte, in, out []byte) {
	switch protocol {
	case extFragment:
		copy(out, in)
		return
	case extAH:
		copy(out, in[:8]) // the rest is a signature
		return
	case extRouting:
		copy(out, in[:8])
		for at := 8; at+16 <= len(in); at += 16 {
			copy(out[at:], in[at:at+16])
			c.ip6Addr(out[at:])
		}
		return
	}
	copy(out, in[:2])
	if protocol == extHopByHop || protocol == extDestination {
		jumbo := jumboOption(in)
		pad(out[2:jumbo])
		copy(out[jumbo:], in[jumbo:min(len(in), jumbo+jumboSize)])
		pad(out[min(len(in), jumbo+jumboSize):])
	}
}

const jumboSize = 6

// jumboOption returns the offset of a jumbo payload option (RFC 2675) in an
// extension header, or its end where there is none.
func jumboOption(in []byte) int {
	for at := 2; at+jumboSize <= len(in); {
		if in[at] == 0 {
			at++
			continue
		}
		if in[at] == 0xc2 && in[at+1] == jumboSize-2 {
			return at
		}
		at += int(in[at+1]) + 2
	}
	return len(in)
}

// pad fills an option area with padding (RFC 8200, section 4.2).
func pad(b []byte) {
	for len(b) > 1 {
		n := min(len(b), 2+255)
		if len(b)-n == 1 {
			n--
		}
		b[0], b[1] = 1, byte(n-2)
		b = b[n:]
	}
}

// TCP options (IANA) whose values are kept. Of all others the kind and the
// length stay.
var keptOptions = [256]bool{2: true, 3: true, 4: true, 5: true, 8: true, 28: true}

// tcpHeader copies a TCP header.
func tcpHeader(in, out []byte) {
	copy(out, in[:min(20, len(in))])
	if len(in) <= 20 {
		return
	}
	o, to := in[20:], out[20:]
	for len(o) > 0 {
		kind := o[0]
		to[0] = kind
		if kind == 0 {
			return
		}
		if kind == 1 {
			o, to = o[1:], to[1:]
			continue
		}
		if len(o) < 2 {
			return
		}
		to[1] = o[1]
		n := int(o[1])
		if n < 2 || n > len(o) {
			return
		}
		if keptOptions[kind] {
			copy(to[:n], o)
		}
		o, to = o[n:], to[n:]
	}
}

// arp copies an ARP message for IPv4.
func (c *copier) arp(in, out []byte) {
	copy(out, in[:8])
	mac := int(in[4])
	for _, at := range []int{8, 8 + mac + 4} {
		copy(out[at:], in[at:at+mac])
		c.addresses.MAC(out[at : at+mac])
		copy(out[at+mac:], in[at+mac:at+mac+4])
		c.ip4Addr(out[at+mac:])
	}
}

// neighbour copies a neighbour solicitation or advertisement, of its options
// the link-layer addresses, and returns how many octets that were.
func (c *copier) neighbour(in, out []byte) int {
	const fixed, sourceLink, targetLink = 24, 1, 2
	if len(in) < fixed {
		return 0
	}
	copy(out, in[:fixed])
	c.ip6Addr(out[8:])
	at := fixed
	for at+8 <= len(in) {
		size := int(in[at+1]) * 8
		if size == 0 || at+size > len(in) {
			break
		}
		out[at], out[at+1] = in[at], in[at+1]
		if in[at] == sourceLink || in[at] == targetLink {
			copy(out[at+2:], in[at+2:at+size])
			c.addresses.MAC(out[at+2 : at+size])
		}
		at += size
	}
	return at
}

// payload keeps of a segment's payload the words that every implementation of
// a protocol sends, and nothing that is a user's.
func (c *copier) payload(p *capture.Packet) {
	if p.Proto != capture.TCP || p.DataLen == 0 || p.HeaderLen == 0 || c.words == nil {
		return
	}
	at := int(p.Data) - c.start
	in := c.in[at : at+int(p.DataLen)]
	for _, r := range c.words(in, int(p.Seg.Len), uint16(p.Key.Ports>>16), uint16(p.Key.Ports)) {
		copy(c.out[at+r[0]:at+r[1]], in[r[0]:r[1]])
		c.last = max(c.last, at+r[1])
	}
}

// end returns how long the new frame is: all of it where the packet carries
// no payload (what follows is padding), else up to what was copied last.
func (c *copier) end(p *capture.Packet) int {
	if p.Proto == capture.TCP && p.DataLen == 0 {
		return len(c.out)
	}
	return max(c.last, min(len(c.out), shortestFrame))
}

// sums makes checksums right again, as if the payload that is left out were
// zero.
func (c *copier) sums(frame []byte) {
	for i := range c.headers {
		h, ip := &c.headers[i], c.innermost(i)
		at := h.At - c.start
		if ip == nil || at < 0 {
			continue
		}
		length := ip.End - h.At
		if length < h.Size {
			continue
		}
		body := frame[at:max(at, min(len(frame), at+length))]
		switch {
		case h.Kind == capture.HeaderTCP && len(body) >= 18:
			setSum(body[16:], c.pseudo(frame, ip, protocolTCP, length), body, c.keptGood(h, ip, length))
		case h.Kind == capture.HeaderICMP && len(body) >= 8:
			more := uint64(0)
			if ip.Kind == capture.HeaderIPv6 {
				more = c.pseudo(frame, ip, protocolICMPv6, length)
			}
			setSum(body[2:], more, body, true)
		}
	}
}

// keptGood reports whether the checksum of an empty segment was right, as far
// as that can be seen; that of others counts as right.
func (c *copier) keptGood(h, ip *capture.Header, length int) bool {
	at := h.At - c.start
	return length != h.Size || at+length > len(c.in) || sum(c.pseudo(c.in, ip, protocolTCP, length), c.in[at:at+length]) == 0xffff
}

// innermost returns the IP header before header i; nil where there is none.
func (c *copier) innermost(i int) *capture.Header {
	for i--; i >= 0; i-- {
		if h := &c.headers[i]; h.Kind == capture.HeaderIPv4 || h.Kind == capture.HeaderIPv6 {
			return h
		}
	}
	return nil
}

const (
	protocolTCP    = 6
	protocolICMPv6 = 58
)

// pseudo returns the sum of the pseudo header of what an IP header carries.
func (c *copier) pseudo(frame []byte, ip *capture.Header, protocol, length int) uint64 {
	at := ip.At - c.start
	more := uint64(protocol) + uint64(length)>>16 + uint64(length)&0xffff
	if ip.Kind == capture.HeaderIPv4 {
		return more + uint64(sum(0, frame[at+12:at+20]))
	}
	return more + uint64(sum(0, frame[at+8:at+40]))
}
