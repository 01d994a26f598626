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
	return sum + uint64(bits.ReverseBytes16(fold(swappedSum(b))))
}

// swappedSum returns the ones' complement sum over b, padded to whole 16-bit
// words, in 33 bits, as if the octets of each word stood the other way round
// (RFC 1071, section 2): times 256 it is the sum, modulo 2^16-1.
func swappedSum(b []byte) uint64 {
	var s, carry uint64
	whole := b
	for ; len(b) >= 32; b = b[32:] {
		s, carry = bits.Add64(s, le64(b), 0)
		s, carry = bits.Add64(s, le64(b[8:16]), carry)
		s, carry = bits.Add64(s, le64(b[16:24]), carry)
		s, carry = bits.Add64(s, le64(b[24:32]), carry)
		s += carry // of 64 bits: worth 1
	}
	for ; len(b) >= 8; b = b[8:] {
		s, carry = bits.Add64(s, le64(b), 0)
		s += carry
	}
	s = s>>32 + s&0xffffffff
	if n := len(b); n > 0 {
		var last uint64
		if len(whole) >= 8 {
			last = le64(whole[len(whole)-8:]) >> (64 - 8*uint(n)&63)
		} else {
			for i, octet := range b {
				last |= uint64(octet) << (8 * i & 63)
			}
		}
		s += last>>32 + last&0xffffffff
	}
	return s>>32 + s&0xffffffff
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
