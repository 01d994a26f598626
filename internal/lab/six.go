package lab

import (
	"encoding/binary"
	"net/netip"
)

// wellKnown is the prefix under which a NAT64 shows IPv4 hosts (RFC 6052).
var wellKnown = netip.MustParsePrefix("64:ff9b::/96")

// Sixed shows IPv4 TCP frames as IPv6, as a NAT64 does: addresses of the
// well-known prefix, TTL as hop limit, no identification, and the TCP checksum
// corrected by the difference of the pseudo headers.
func Sixed(frames []Frame) []Frame {
	out := make([]Frame, len(frames))
	for i := range frames {
		out[i] = frames[i]
		switch f := &out[i]; {
		case f.TCP && f.ip():
			f.toSix()
		case len(f.Data) >= arpEnd && binary.BigEndian.Uint16(f.Data[12:]) == 0x0806:
			f.toSolicitation()
		}
	}
	return out
}

const arpEnd = etherHeader + 28

// toSolicitation makes an ARP frame the message of neighbour discovery (RFC
// 4861) that asks or tells the same.
func (f *Frame) toSolicitation() {
	arp := f.Data[etherHeader:]
	four := func(at int) [16]byte { return sixOf(netip.AddrFrom4([4]byte(arp[at : at+4]))) }
	sender, target := four(14), four(24)
	kind, option, about := byte(135), byte(1), target
	if arp[7] == 2 { // a reply
		kind, option, about = 136, 2, sender
	}
	body := append([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, about[:]...)
	body = append(append(body, option, 1), arp[8:14]...)
	d := append([]byte(nil), f.Data[:12]...)
	d = append(d, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), 58, 255)
	d = append(append(d, sender[:]...), target[:]...)
	sum := uint32(len(body)) + 58
	for _, part := range [][]byte{sender[:], target[:], body} {
		for k := 0; k < len(part); k += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[k:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum))
	f.Data = append(d, body...)
	f.Orig = len(f.Data)
}

// toSix rewrites one frame.
func (f *Frame) toSix() {
	be := binary.BigEndian
	ip, tcp := f.Data[etherHeader:f.tcpAt], f.Data[f.tcpAt:]
	src, dst := sixOf(f.Src.Addr()), sixOf(f.Dst.Addr())
	rest := int(be.Uint16(ip[2:])) - len(ip)
	d := append([]byte(nil), f.Data[:12]...)
	d = append(d, 0x86, 0xdd, 0x60, 0, 0, 0)
	d = be.AppendUint16(d, uint16(rest))
	d = append(d, 6, ip[8])
	d = append(d, src[:]...)
	d = append(d, dst[:]...)
	at := len(d)
	d = append(d, tcp...)
	sum := uint32(^be.Uint16(d[at+16:]))
	for k := 12; k < 20; k += 2 { // the IPv4 addresses leave the sum, the IPv6 ones come in
		sum += uint32(^be.Uint16(ip[k:]))
	}
	for k := 0; k < 16; k += 2 {
		sum += uint32(be.Uint16(src[k:])) + uint32(be.Uint16(dst[k:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	be.PutUint16(d[at+16:], ^uint16(sum))
	f.Orig += len(d) - len(f.Data)
	f.Data, f.IPID = d, 0
	f.decode()
}

func sixOf(a netip.Addr) [16]byte {
	b := wellKnown.Addr().As16()
	four := a.As4()
	copy(b[12:], four[:])
	return b
}
