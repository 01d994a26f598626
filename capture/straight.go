package capture

import (
	"math/bits"

	"kaflow/tcp"
)

// straight decodes the case that nearly all frames are: Ethernet with at most
// one VLAN tag, a Linux cooked header or none, then IPv4 without options or
// IPv6 without extension headers, then a TCP header captured whole. It reports
// whether the frame is such a one; of any other it writes nothing, and walk
// reads it from the start. Both give the same Packet, which a test checks.
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
	}
	return whole
}

// straight4 decodes b where it is an IPv4 header of 20 octets with a whole TCP
// header behind it. base is the offset of b in the batch's buffer.
func straight4(b []byte, base uint32, p *Packet) bool {
	if len(b) < 40 || b[0] != 0x45 || b[9] != protoTCP || be16(b[6:])&0x3fff != 0 {
		return false
	}
	total := int(be16(b[2:]))
	if !straightTCP(b, 20, total, base, p) {
		return false
	}
	if !straightSum(b) {
		p.Note |= NoteBadIPSum
	}
	p.Seg.TTL, p.Seg.IPID = b[8], be16(b[4:])
	src, dst, ports := be32(b[12:]), be32(b[16:]), be32(b[20:])
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
	if b[6] != protoTCP || length == 0 || !straightTCP(b, 40, 40+length, base, p) {
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

// straightTCP decodes the TCP header at offset at of b, which begins with an
// IP header of total octets in all, where it is whole.
func straightTCP(b []byte, at, total int, base uint32, p *Packet) bool {
	h := b[at:]
	if len(h) < 20 {
		return false
	}
	size := int(h[12]>>4) * 4
	if size < 20 || at+size > total || len(h) < size {
		return false
	}
	s := &p.Seg
	s.Seq, s.Ack = tcp.Seq(be32(h[4:])), tcp.Seq(be32(h[8:]))
	flagsWin := be32(h[12:])
	s.Flags, s.Win = tcp.Flags(flagsWin>>16&0x1ff), uint16(flagsWin)
	s.Len = uint32(total - at - size)
	if size == 32 && be32(h[20:]) == nopNopTimestamps {
		s.TSVal, s.TSEcr = be32(h[24:]), be32(h[28:])
		s.Opts, s.OptHash = tcp.OptTimestamps, hashNopNopTS
	} else if size > 20 {
		readOptions(s, h[20:size])
	}
	data := at + size
	p.Data, p.DataLen = base+uint32(data), uint32(min(total, len(b))-data)
	p.HeaderLen = uint8(size)
	p.Proto = TCP
	return true
}

// straightSum reports whether the checksum of an IPv4 header of 20 octets is
// right. The sum is the same in any byte order.
func straightSum(b []byte) bool {
	sum, carry := bits.Add64(be64(b), be64(b[8:]), 0)
	sum, carry = bits.Add64(sum, uint64(be32(b[16:])), carry)
	sum = sum>>32 + sum&0xffffffff + carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return sum>>16+sum&0xffff == 0xffff
}
