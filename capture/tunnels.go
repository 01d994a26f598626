package capture

// UDP ports of the tunnels that are looked for (IANA; 8472 is what Linux used
// for VXLAN before it had a number).
const (
	portVXLAN      = 4789
	portVXLANLinux = 8472
	portGeneve     = 6081
	portGTPU       = 2152
	portTeredo     = 3544
	portAYIYA      = 5072
)

// More EtherTypes: those that other headers of tunnels carry.
const (
	etherBridged  = 0x6558 // transparent Ethernet bridging
	etherPPP      = 0x880b
	etherMPLS     = 0x8847
	etherMPLSMul  = 0x8848
	etherPPPoE    = 0x8864
	etherERSPAN   = 0x88be // types I and II
	etherERSPAN3  = 0x22eb
	etherPPPoEDis = 0x8863
)

// tunnel reads an IP protocol that can hold another packet. The outer hosts
// stand in p as Other until what is inside has checked out: addresses and
// lengths of a packet, not a port number alone, make a tunnel.
func (w *walk) tunnel(protocol byte, at int) (layer, int) {
	w.other(at)
	next, in := done, 0
	switch protocol {
	case protoUDP:
		next, in = w.udp(at)
	case protoGRE:
		next, in = w.gre(at)
	default:
		next, in = w.inner(layerIP, at)
	}
	if next != done {
		w.inTunnel, w.bound = true, 0
		w.p.Note &^= NoteFragment | NoteTSO // the inner header has lengths of its own
	}
	return next, in
}

// inner returns the layer l at offset at where what stands there checks out,
// and done elsewhere.
func (w *walk) inner(l layer, at int) (layer, int) {
	good := true
	switch l {
	case layerIP:
		good = w.looksIP(at)
	case layerEthernet:
		good = w.looksEthernet(at)
	case layerEtherType:
		good = w.looksEtherType(w.etherType, at)
	}
	if !good {
		return done, 0
	}
	return l, at
}

// innerBehind is inner for what follows a tunnel's header at offset outer.
func (w *walk) innerBehind(l layer, outer, at int) (layer, int) {
	next, in := w.inner(l, at)
	if next != done {
		w.pass(HeaderTag, outer, at-outer)
	}
	return next, in
}

// looksIP reports whether an IP header stands at offset at whose lengths agree
// with themselves and with what surrounds it. An IPv4 header longer than its
// surroundings needs a right checksum: some probes forward the beginning alone.
func (w *walk) looksIP(at int) bool {
	if !w.has(at, 20) {
		return false
	}
	h, room := w.b[at:], w.end-at
	bare := w.p.Note&NoteTSO != 0 // the outer length is missing: the inner one may be
	switch h[0] >> 4 {
	case 4:
		size, total := int(h[0]&15)*4, int(be16(h[2:]))
		return size >= 20 && w.has(at, size) && (total >= size || total == 0 && bare) &&
			(w.fits(total, room) || ipv4Sum(h[:size]) == 0xffff)
	case 6:
		length := int(be16(h[4:]))
		if length == 0 && h[6] != protoHopByHop && h[6] != protoNone && !bare {
			return false
		}
		return w.has(at, 40) && w.fits(40+length, room)
	}
	return false
}

// fits reports whether n octets fit in room. In a first fragment the rest
// comes later; of what is mirrored the rest may have been left out.
func (w *walk) fits(n, room int) bool {
	return n <= room || w.mirrored || w.p.Note&NoteFragment != 0
}

// looksEthernet reports whether an Ethernet header at offset at leads to an IP
// or ARP header that checks out.
func (w *walk) looksEthernet(at int) bool {
	return w.has(at, 14) && w.looksEtherType(be16(w.b[at+12:]), at+14)
}

// looksEtherType reports whether what stands at offset at is what an EtherType
// says. More tags than the budget allows pass: the walk tells of them.
func (w *walk) looksEtherType(t uint16, at int) bool {
	for tags := 0; t == etherVLAN || t == etherQinQ || t == etherQinQ1; tags++ {
		if tags == maxHeaders {
			return true
		}
		if !w.has(at, 4) {
			return false
		}
		t, at = be16(w.b[at+2:]), at+4
	}
	switch t {
	case etherIPv4, etherIPv6:
		return w.looksIP(at)
	case etherARP:
		return w.has(at, 28) && be16(w.b[at+2:]) == arpIPv4 && w.b[at+5] == 4
	case etherMPLS, etherMPLSMul:
		_, _, good := w.labels(at)
		return good
	case etherPPPoE:
		return w.has(at, 8) && be16(w.b[at:]) == 0x1100
	}
	return false
}

// udp looks for the tunnels that run over UDP.
func (w *walk) udp(at int) (layer, int) {
	if !w.has(at, 8) {
		return done, 0
	}
	w.pass(HeaderUDP, at, 8)
	port := tunnelPort(be32(w.b[at:]))
	switch at += 8; port {
	case portVXLAN, portVXLANLinux:
		return w.vxlan(at)
	case portGeneve:
		return w.geneve(at)
	case portGTPU:
		return w.gtp(at)
	case portTeredo:
		return w.teredo(at)
	case portAYIYA:
		return w.ayiya(at)
	}
	return done, 0
}

// tunnelPort returns which of two ports of UDP, source << 16 | destination, is a tunnel's; 0
// where none is. Of two it is the destination: where a tunnel picks its source by what it
// carries, that can be any.
func tunnelPort(ports uint32) uint16 {
	for _, port := range [2]uint16{uint16(ports), uint16(ports >> 16)} {
		switch port {
		case portVXLAN, portVXLANLinux, portGeneve, portGTPU, portTeredo, portAYIYA:
			return port
		}
	}
	return 0
}

// channelMix spreads the numbers of tunnels over 32 bits (2^32 divided by the
// golden ratio).
const channelMix = 0x9e3779b9

// through notes the number by which a tunnel tells its channels apart.
func (w *walk) through(number uint32) { w.channel = (w.channel^number)*channelMix | 1 }

// vxlan reads a VXLAN header (RFC 7348), with the group policy extension's
// bits allowed.
func (w *walk) vxlan(at int) (layer, int) {
	if !w.has(at, 8) || w.b[at]&^0x80 != 0x08 || w.b[at+7] != 0 {
		return done, 0
	}
	next, in := w.inner(layerEthernet, at+8)
	if next != done {
		w.pass(HeaderTag, at, 8)
		w.overlay = be32(w.b[at+4:])>>8 + 1
	}
	return next, in
}

// geneve reads a GENEVE header (RFC 8926).
func (w *walk) geneve(at int) (layer, int) {
	if !w.has(at, 8) || w.b[at]>>6 != 0 || w.b[at+1]&0x80 != 0 { // version 0; no control messages
		return done, 0
	}
	in := at + 8 + int(w.b[at]&0x3f)*4
	if !w.has(in, 0) {
		return done, 0
	}
	next := layerEtherType
	if w.etherType = be16(w.b[at+2:]); w.etherType == etherBridged {
		next = layerEthernet
	}
	next, in = w.inner(next, in)
	if next != done {
		w.pass(HeaderTag, at, 8) // its options are left out
		w.overlay = be32(w.b[at+4:])>>8 + 1
	}
	return next, in
}

// gtp reads a GTPv1-U header (3GPP TS 29.281, section 5) with its extension
// headers.
func (w *walk) gtp(at int) (layer, int) {
	const userPacket = 255
	if !w.has(at, 8) || w.b[at]>>4 != 3 || w.b[at+1] != userPacket {
		return done, 0
	}
	w.through(be32(w.b[at+4:]))
	in := at + 8
	if flags := w.b[at]; flags&7 != 0 {
		in += 4
		if !w.has(in, 0) {
			return done, 0
		}
		for flags&4 != 0 && w.b[in-1] != 0 {
			if !w.has(in, 1) || w.b[in] == 0 || !w.has(in, int(w.b[in])*4) {
				return done, 0
			}
			if !w.enter() {
				return w.fail(tooDeep)
			}
			in += int(w.b[in]) * 4
		}
	}
	return w.innerBehind(layerIP, at, in)
}

// teredo reads the headers that Teredo puts before an IPv6 packet (RFC 4380,
// section 5.1.1).
func (w *walk) teredo(at int) (layer, int) {
	const authentication, origin = 1, 0
	if w.has(at, 4) && w.b[at] == 0 && w.b[at+1] == authentication {
		w.pass(HeaderTag, at, 4) // what identifies the client is left out
		at += 4 + int(w.b[at+2]) + int(w.b[at+3]) + 9
	}
	if w.has(at, 8) && w.b[at] == 0 && w.b[at+1] == origin {
		at += 8
	}
	if !w.has(at, 1) || w.b[at]>>4 != 6 {
		return done, 0
	}
	return w.inner(layerIP, at)
}

// ayiya reads the header that tunnel brokers put before an IPv6 packet
// (draft-massar-v6ops-ayiya): identity and signature have lengths of their own.
func (w *walk) ayiya(at int) (layer, int) {
	const forward = 1
	if !w.has(at, 8) || w.b[at+2]&0x0f != forward || w.b[at+3] != protoIPv6 {
		return done, 0
	}
	identity, signature := 1<<(w.b[at]>>4), int(w.b[at+1]>>4)*4
	w.pass(HeaderTag, at, 8) // what identifies the client is left out
	return w.inner(layerIP, at+8+identity+signature)
}

// Flags of a GRE header (RFC 2784, RFC 2890, RFC 2637).
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080 // version 1 alone
	greVersion  = 0x0007
)

// gre reads a GRE header, version 0, or 1 as PPTP and some clouds use it.
func (w *walk) gre(at int) (layer, int) {
	if !w.has(at, 4) {
		return done, 0
	}
	flags := be16(w.b[at:])
	w.etherType = be16(w.b[at+2:])
	in := at + 4
	for _, field := range [...]uint16{greChecksum | greRouting, greKey, greSequence} {
		if flags&field == 0 {
			continue
		}
		if field == greKey && version0(flags) && w.has(in, 4) {
			w.through(be32(w.b[in:]))
		}
		in += 4
	}
	switch version := flags & greVersion; {
	case version > 1 || flags&greRouting != 0:
		return done, 0
	case version == 1 && flags&greAck != 0:
		in += 4
	}
	if !w.has(in, 0) {
		return done, 0
	}
	switch w.etherType {
	case etherPPP:
		return w.pptp(at, in)
	case etherERSPAN:
		if flags&greSequence != 0 {
			in += 8 // type II has a header, type I none
		}
		w.mirrored = true
		return w.innerBehind(layerEthernet, at, in)
	case etherERSPAN3:
		return w.erspan3(at, in)
	case etherBridged:
		return w.innerBehind(layerEthernet, at, in)
	}
	return w.innerBehind(layerEtherType, at, in)
}

// version0 reports whether a GRE header is one of RFC 2784; that of PPTP has a
// payload length and a call number in the place of the key.
func version0(flags uint16) bool { return flags&greVersion == 0 }

// pptp goes on with PPP in GRE, whose header is at offset gre; an acknowledgment alone has none.
func (w *walk) pptp(gre, at int) (layer, int) {
	protocol, in := w.pppProtocol(at)
	if protocol != pppIPv4 && protocol != pppIPv6 {
		return done, 0
	}
	return w.innerBehind(layerIP, gre, in)
}

// erspan3 reads an ERSPAN type III header (draft-foschiano-erspan) behind the
// GRE header at offset gre.
func (w *walk) erspan3(gre, at int) (layer, int) {
	if !w.has(at, 12) || w.b[at]>>4 != 2 {
		return done, 0
	}
	w.mirrored = true
	in := at + 12
	if w.b[at+11]&1 != 0 { // platform specific subheader
		in += 8
	}
	return w.innerBehind(layerEthernet, gre, in)
}

// MPLS labels with a meaning (RFC 3032, section 2.1).
const (
	labelIPv4 = 0
	labelIPv6 = 2
)

// labels passes a stack of MPLS labels and returns the layer behind it. Labels
// do not name it: an IP header that checks out is one, else an Ethernet header
// that leads to one, behind a control word (RFC 4448) or not.
func (w *walk) labels(at int) (layer, int, bool) {
	last, bottom := uint32(0), false
	for n := 0; !bottom; n++ {
		if n == maxHeaders || !w.has(at, 4) {
			return done, 0, false
		}
		last = be32(w.b[at:])
		at, bottom = at+4, last&0x100 != 0
	}
	switch {
	case w.looksIP(at):
		return layerIP, at, true
	case last>>12 == labelIPv4 || last>>12 == labelIPv6:
		return done, 0, false
	case w.looksEthernet(at):
		return layerEthernet, at, true
	case w.has(at, 4) && w.b[at] == 0 && w.looksEthernet(at+4):
		return layerEthernet, at + 4, true
	}
	return done, 0, false
}

// mpls reads a stack of MPLS labels.
func (w *walk) mpls(at int) (layer, int) {
	next, in, good := w.labels(at)
	w.pass(HeaderTag, at, in-at)
	if !good {
		return w.reject("MPLS payload is neither IP nor Ethernet with IP")
	}
	return next, in
}

// PPP protocol numbers (IANA).
const (
	pppIPv4    = 0x0021
	pppIPv6    = 0x0057
	pppMPLS    = 0x0281
	pppMPLSMul = 0x0283
)

// pppProtocol reads the protocol field of a PPP frame, behind address and
// control where they are there, and returns the offset of what follows. It
// returns 0 where it was cut.
func (w *walk) pppProtocol(at int) (protocol uint16, in int) {
	if w.has(at, 2) && be16(w.b[at:]) == 0xff03 {
		at += 2
	}
	switch {
	case w.has(at, 1) && w.b[at]&1 != 0: // compressed to one octet
		return uint16(w.b[at]), at + 1
	case w.has(at, 2):
		return be16(w.b[at:]), at + 2
	}
	return 0, at
}

// ppp reads a PPP header (RFC 1661, RFC 1662).
func (w *walk) ppp(at int) (layer, int) {
	protocol, in := w.pppProtocol(at)
	w.pass(HeaderTag, at, in-at)
	switch protocol {
	case 0:
		return w.reject("PPP header cut")
	case pppIPv4, pppIPv6:
		return layerIP, in
	case pppMPLS, pppMPLSMul:
		return layerMPLS, in
	}
	return w.rejectf("PPP protocol 0x%04x is not supported", uint32(protocol))
}

// pppoe reads a PPPoE session header (RFC 2516).
func (w *walk) pppoe(at int) (layer, int) {
	if !w.has(at, 6) {
		return w.reject("PPPoE header cut")
	}
	if be16(w.b[at:]) != 0x1100 { // version 1, type 1, session data
		return w.reject("PPPoE frame without session data")
	}
	w.pass(HeaderTag, at, 6)
	w.limit(at + 6 + int(be16(w.b[at+4:])))
	return layerPPP, at + 6
}
