package capture

import (
	"math/bits"

	"kaflow/tcp"
)

// straight decodes the case that nearly all frames are, where they are not taken
// in rows: Ethernet with at most one VLAN tag, a Linux cooked header or none, then
// IPv4 without options or IPv6 without extension headers, then a TCP header
// captured whole. It reports whether the frame is such a one; of any other it
// writes nothing, and walk reads it from the start. Both give the same Packet,
// which a test checks.
func straight(link, base uint32, frame []byte, p *Packet) bool {
	if len(frame) < 40 {
		return false
	}
	at, vlan := 0, uint16(0)
	switch link {
	case linkEthernet:
		t := be16(frame[12:])
		at = 14
		if t == etherVLAN {
			vlan, t, at = be16(frame[14:])&0x0fff, be16(frame[16:]), 18
		}
		if t != etherIPv4 && t != etherIPv6 {
			return false
		}
	case linkSLL:
		if t := be16(frame[14:]); t != etherIPv4 && t != etherIPv6 {
			return false
		}
		at = 16
	case linkSLL2:
		if t := be16(frame); t != etherIPv4 && t != etherIPv6 {
			return false
		}
		at = 20
	case linkRaw, linkRawBSD, linkIPv4, linkIPv6:
	default:
		return false
	}
	b := frame[at:]
	var whole bool
	if len(b) >= 60 && b[0]>>4 == 6 {
		whole = straight6(b, base+uint32(at), p)
	} else {
		whole = straight4(b, base+uint32(at), p)
	}
	if whole {
		p.VLAN, p.Way = vlan, vlan
		p.Settle()
	}
	return whole
}

// straight4 decodes b where it is an IPv4 header of 20 octets with a whole TCP
// header behind it. base is the offset of b in the batch's buffer.
func straight4(b []byte, base uint32, p *Packet) bool {
	if len(b) < 40 {
		return false
	}
	h := (*[20]byte)(b)
	if h[0] != 0x45 || h[9] != protoTCP || be16(h[6:])&0x3fff != 0 || !straightTCP(b[20:], int(be16(h[2:]))-20, base+20, p) {
		return false
	}
	if !straightSum(h) {
		p.Note |= NoteBadIPSum
	}
	p.Seg.TTL, p.Seg.IPID = h[8], be16(h[4:])
	src, dst, ports := be32(h[12:]), be32(h[16:]), be32(b[20:])
	if src > dst || src == dst && ports>>16 > ports&0xffff {
		src, dst, ports = dst, src, bits.RotateLeft32(ports, 16)
		p.Reversed = true
	}
	k := &p.Key
	k.Lo[2], k.Lo[3] = v4Prefix, src
	k.Hi[2], k.Hi[3] = v4Prefix, dst
	k.Ports = ports
	return true
}

// straight6 is straight4 for IPv6.
func straight6(b []byte, base uint32, p *Packet) bool {
	length := int(be16(b[4:]))
	if b[6] != protoTCP || length == 0 || !straightTCP(b[40:], length, base+40, p) {
		return false
	}
	p.Seg.TTL = b[7]
	ports := be32(b[40:])
	srcHi, srcLo, dstHi, dstLo := be64(b[8:]), be64(b[16:]), be64(b[24:]), be64(b[32:])
	switch {
	case srcHi != dstHi:
		p.Reversed = srcHi > dstHi
	case srcLo != dstLo:
		p.Reversed = srcLo > dstLo
	default:
		p.Reversed = ports>>16 > ports&0xffff
	}
	if p.Reversed {
		srcHi, srcLo, dstHi, dstLo = dstHi, dstLo, srcHi, srcLo
		ports = bits.RotateLeft32(ports, 16)
	}
	k := &p.Key
	k.Lo = [4]uint32{uint32(srcHi >> 32), uint32(srcHi), uint32(srcLo >> 32), uint32(srcLo)}
	k.Hi = [4]uint32{uint32(dstHi >> 32), uint32(dstHi), uint32(dstLo >> 32), uint32(dstLo)}
	k.Ports = ports
	return true
}

// straightTCP decodes b, a segment of total octets by its IP header, where its
// TCP header is whole. base is the offset of b in the batch's buffer.
func straightTCP(b []byte, total int, base uint32, p *Packet) bool {
	if len(b) < 20 {
		return false
	}
	h := (*[20]byte)(b)
	size := int(h[12]>>4) * 4
	if size < 20 || size > total || size > len(b) {
		return false
	}
	s := &p.Seg
	s.Seq, s.Ack = tcp.Seq(be32(h[4:])), tcp.Seq(be32(h[8:]))
	flagsWin := be32(h[12:])
	s.Flags, s.Win = tcp.Flags(flagsWin>>16&0x1ff), uint16(flagsWin)
	s.Len = uint32(total - size)
	if size == 32 && be32(b[20:32]) == nopNopTimestamps {
		s.TSVal, s.TSEcr = be32(b[24:32]), be32(b[28:32])
		s.Opts, s.OptHash = tcp.OptTimestamps, hashNopNopTS
	} else if size > 20 {
		readOptions(s, b[20:size])
	}
	p.Data, p.DataLen = base+uint32(size), uint32(min(total, len(b))-size)
	p.HeaderLen = uint8(size)
	p.Proto = TCP
	return true
}

// straightSum reports whether the checksum of an IPv4 header of 20 octets is
// right: the sum of its words is a multiple of 2^16-1, in any byte order.
func straightSum(h *[20]byte) bool {
	return (uint64(le32(h[0:]))+uint64(le32(h[4:]))+uint64(le32(h[8:]))+uint64(le32(h[12:]))+uint64(le32(h[16:])))%0xffff == 0
}
