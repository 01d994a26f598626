package capture

import "kaflow/tcp"

// ICMP and ICMPv6 types that are read (RFC 792, RFC 4443, RFC 4861).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpRedirect     = 5
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12

	icmp6Unreachable = 1
	icmp6Parameter   = 4
	icmp6Echo        = 128
	icmp6EchoReply   = 129
	icmp6Solicit     = 135
	icmp6Advertise   = 136
)

// icmp reads an ICMP or ICMPv6 message at offset at, the IP header being at
// offset ip.
func (w *walk) icmp(ip, at int) (layer, int) {
	if !w.has(at, 8) {
		return w.other(at)
	}
	w.pass(HeaderICMP, at, 8)
	h := w.b[at:]
	isEcho, isError := h[0] == icmpEcho || h[0] == icmpEchoReply, false
	switch {
	case w.is6:
		isEcho = h[0] == icmp6Echo || h[0] == icmp6EchoReply
		isError = h[0] >= icmp6Unreachable && h[0] <= icmp6Parameter
	default:
		switch h[0] {
		case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameter:
			isError = true
		}
	}
	switch {
	case isEcho:
		w.other(at)
		w.p.Proto, w.p.ICMP = Echo, be16(h)
		w.p.Seg.Seq = tcp.Seq(be32(h[4:]))
		return done, 0
	case isError:
		return w.icmpError(ip, at)
	case w.is6 && (h[0] == icmp6Solicit || h[0] == icmp6Advertise):
		return w.neighbour(at)
	}
	w.other(at)
	w.p.ICMP = be16(h)
	return done, 0
}

// icmpError reads the TCP header that an ICMP error quotes. Where it quotes
// anything else, the message is evidence of its two hosts.
func (w *walk) icmpError(ip, at int) (layer, int) {
	code := be16(w.b[at:])
	w.other(at) // as long as nothing better is known
	w.p.ICMP = code
	q := quote{walk: *w}
	q.quoted = true
	var p Packet
	q.p = &p
	if !q.read(at + 8) {
		return done, 0
	}
	w.p.Key, w.p.Reversed, w.p.Seg = p.Key, p.Reversed, p.Seg
	w.p.Note |= p.Note & (NoteHeaderCut | NoteBadTCPSum)
	w.p.Proto = ICMPError
	w.p.Data, w.p.DataLen = w.base+uint32(ip), uint32(len(w.b)-ip)
	return done, 0
}

// quote reads the headers within an ICMP error. The lengths they tell are
// those of the datagram that was quoted, of which a part is there.
type quote struct{ walk }

// read reads the quoted headers at offset at and reports whether they are the
// beginning of a TCP segment, with ports and sequence number at least.
func (q *quote) read(at int) bool {
	if !q.has(at, 20) {
		return false
	}
	switch q.b[at] >> 4 {
	case 4:
		return q.ipv4(at)
	case 6:
		return q.ipv6(at)
	}
	return false
}

func (q *quote) ipv4(at int) bool {
	h := q.b[at:]
	size, total := int(h[0]&15)*4, int(be16(h[2:]))
	if size < 20 {
		return false
	}
	q.passIP(HeaderIPv4, at, size, at+total)
	if h[9] != protoTCP || be16(h[6:])&0x1fff != 0 {
		return false
	}
	q.is6, q.src, q.dst = false, at+12, at+16
	q.p.Seg.TTL, q.p.Seg.IPID = h[8], be16(h[4:])
	return q.tcp(at+size, at+total)
}

func (q *quote) ipv6(at int) bool {
	if !q.has(at, 40) {
		return false
	}
	h := q.b[at:]
	q.is6, q.src, q.dst = true, at+8, at+24
	q.p.Seg.TTL, q.p.Seg.IPID = h[7], 0
	q.passIP(HeaderIPv6, at, 40, at+40+int(be16(h[4:])))
	c := chain{protocol: h[6], at: at + 40}
	if q.extensions(&c) != "" || c.protocol != protoTCP || c.fragment == fragmentLater {
		return false
	}
	if c.final != 0 {
		q.dst = c.final
	}
	return q.tcp(c.at, at+40+int(be16(h[4:])))
}

// tcp reads as much of a quoted TCP header as is there, the segment ending at
// offset end by its own IP header. RFC 792 promises 8 octets; without the
// data offset the payload's length is not known and stays 0.
func (q *quote) tcp(at, end int) bool {
	if !q.has(at, 8) {
		return false
	}
	h := q.b[at:]
	q.pass(HeaderTCP, at, quotedSize(h))
	q.setKey(be16(h), be16(h[2:]))
	s := &q.p.Seg
	s.Seq = tcp.Seq(be32(h[4:]))
	if len(h) >= 12 {
		s.Ack = tcp.Seq(be32(h[8:]))
	}
	if len(h) >= 14 {
		s.Flags = tcp.Flags(be16(h[12:]) & 0x1ff)
	}
	if len(h) >= 16 {
		s.Win = be16(h[14:])
	}
	if len(h) < 20 {
		s.Opts |= tcp.OptCut
		q.p.Note |= NoteHeaderCut
	}
	if len(h) < 14 {
		return true
	}
	size := int(h[12]>>4) * 4
	if size < 20 {
		return true
	}
	s.Len = uint32(max(0, end-at-size))
	if end-at >= size && q.has(at, end-at) && !q.sumOK(at, end) {
		q.p.Note |= NoteBadTCPSum
	}
	if size > 20 && len(h) > 20 {
		q.options(h[20:min(len(h), size)], size-20)
	}
	return true
}

// sumOK reports whether the checksum of a segment that is quoted whole, from
// offset at to offset end, is right. Behind a translator that forgets to
// translate the quote it is not.
func (q *quote) sumOK(at, end int) bool {
	size := 4
	if q.is6 {
		size = 16
	}
	return tcpChecksumOK(q.b[q.src:q.src+size], q.b[q.dst:q.dst+size], q.b[at:end])
}

// passIP tells of a quoted IP header, whose packet ended at offset end.
func (q *quote) passIP(kind HeaderKind, at, size, end int) {
	if q.seen != nil {
		q.pass(kind, at, size)
		(*q.seen)[len(*q.seen)-1].End = end
	}
}

// quotedSize returns how many octets the TCP header has that h begins with,
// as far as h tells.
func quotedSize(h []byte) int {
	if len(h) < 13 {
		return len(h)
	}
	return max(20, int(h[12]>>4)*4)
}
