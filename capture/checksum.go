package capture

import "math/bits"

// ipv4Sum returns the ones' complement sum over an IPv4 header: 0xffff where
// its checksum is right (RFC 1071).
func ipv4Sum(h []byte) uint16 {
	if len(h) == 20 { // no options: nearly always
		sum := uint64(be32(h)) + uint64(be32(h[4:])) + uint64(be32(h[8:])) + uint64(be32(h[12:])) + uint64(be32(h[16:]))
		return fold(sum)
	}
	return fold(sum16(0, h))
}

// sum16 adds b, padded to whole 16-bit words, to a ones' complement sum.
func sum16(sum uint64, b []byte) uint64 {
	var carry uint64 // of 64 bits: worth 1 in ones' complement
	for ; len(b) >= 16; b = b[16:] {
		sum, carry = bits.Add64(sum, be64(b), carry)
		sum, carry = bits.Add64(sum, be64(b[8:16]), carry)
	}
	if len(b) >= 8 {
		sum, carry = bits.Add64(sum, be64(b), carry)
		b = b[8:]
	}
	sum = sum>>32 + sum&0xffffffff + carry
	if len(b) >= 4 {
		sum += uint64(be32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(be16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold brings a ones' complement sum to 16 bits.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// tcpChecksumOK reports whether the checksum of a TCP segment is right. src
// and dst are its addresses in network order, 4 or 16 octets each; segment is
// the whole segment, header and payload, captured in full. Offload makes wrong
// checksums normal in captures taken on the sending host.
func tcpChecksumOK(src, dst, segment []byte) bool {
	sum := sum16(sum16(0, src), dst) + uint64(len(segment)) + protoTCP
	return fold(sum16(sum, segment)) == 0xffff
}
