package capture

import "kaflow/tcp"

const arpIPv4 = 0x0800 // ARP's protocol type

// arp reads an ARP message for IPv4 (RFC 826). Sender and target make the
// key; a probe for a free address (RFC 5227) has no sender and so no key.
func (w *walk) arp(at int) (layer, int) {
	if !w.has(at, 8) {
		return w.reject("ARP header cut")
	}
	h := w.b[at:]
	hlen, plen := int(h[4]), int(h[5])
	if be16(h[2:]) != arpIPv4 || plen != 4 {
		return w.reject("ARP for another protocol than IPv4")
	}
	if len(h) < 8+2*hlen+8 {
		return w.reject("ARP message cut")
	}
	w.pass(HeaderARP, at, 8+2*hlen+8)
	sender, target := at+8+hlen, at+8+2*hlen+4
	w.is6, w.src, w.dst = false, sender, target
	known := be32(w.b[sender:]) != 0 && be32(w.b[target:]) != 0
	return w.neighbourIs(known, be16(h[6:]), h[8:8+hlen])
}

// neighbourIs ends the way at an ARP or ND message; known says that w.src and
// w.dst are the addresses of two hosts. What an outer packet left behind goes.
func (w *walk) neighbourIs(known bool, operation uint16, mac []byte) (layer, int) {
	p := w.p
	p.Key, p.Reversed, p.Seg = Key{}, false, tcp.Segment{}
	if known {
		w.setKey(0, 0)
	}
	p.Proto, p.ICMP = ARP, operation
	p.Seg.Seq, p.Seg.Ack = digest(mac)
	return done, 0
}

// digest condenses a link-layer address: equal for equal addresses, and zero
// where the address is not known.
func digest(mac []byte) (hi, lo tcp.Seq) {
	if len(mac) == 0 {
		return 0, 0
	}
	const (
		start = 14695981039346656037 // FNV-1a, 64 bits
		prime = 1099511628211
	)
	sum := uint64(start)
	for _, octet := range mac {
		sum = (sum ^ uint64(octet)) * prime
	}
	return tcp.Seq(sum >> 32), tcp.Seq(sum)
}

// Options of neighbour discovery that hold the sender's link-layer address.
const (
	ndSourceLink = 1
	ndTargetLink = 2
)

// neighbour reads a neighbour solicitation or advertisement (RFC 4861,
// section 4.3). The key holds who asks and who is asked for, or who answers
// and who is answered; of an answer to all nodes, as of a gratuitous ARP, the
// sender twice. A solicitation from the unspecified address has no key.
func (w *walk) neighbour(at int) (layer, int) {
	if !w.has(at, 24) {
		return w.other(at)
	}
	w.pass(HeaderND, at, len(w.b)-at)
	kind, target, option := w.b[at], at+8, byte(ndSourceLink)
	if kind == icmp6Advertise {
		to := w.dst
		if w.b[to] == 0xff { // multicast
			to = target
		}
		w.src, w.dst, option = target, to, ndTargetLink
	} else {
		w.dst = target
	}
	known := w.words(w.src) != [4]uint32{}
	return w.neighbourIs(known, uint16(kind)<<8, linkAddress(w.b[at+24:], option))
}

// linkAddress finds a link-layer address among ND options; nil where it is
// not there.
func linkAddress(options []byte, kind byte) []byte {
	for len(options) >= 8 {
		size := int(options[1]) * 8
		if size == 0 || size > len(options) {
			return nil
		}
		if options[0] == kind {
			return options[2:size]
		}
		options = options[size:]
	}
	return nil
}
