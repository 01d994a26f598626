package capture

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
	for ; len(b) >= 16; b = b[16:] {
		x, y := be64(b), be64(b[8:16])
		sum += x>>32 + x&0xffffffff + y>>32 + y&0xffffffff
	}
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(be32(b))
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
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// tcpChecksumOK reports whether the checksum of a TCP segment is right. src
// and dst are its addresses in network order, 4 or 16 octets each; segment is
// the whole segment, header and payload, captured in full. Offload makes wrong
// checksums normal in captures taken on the sending host.
func tcpChecksumOK(src, dst, segment []byte) bool {
	sum := sum16(sum16(0, src), dst) + uint64(len(segment)) + protoTCP
	return fold(sum16(sum, segment)) == 0xffff
}
