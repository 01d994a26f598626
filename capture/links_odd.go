package capture

// cHDLC reads what synchronous serial lines carry: PPP in HDLC framing (RFC
// 1662) or Cisco's HDLC, told apart by the address octet.
func (w *walk) cHDLC(at int) (layer, int) {
	if !w.has(at, 4) {
		return w.reject("HDLC header cut")
	}
	switch w.b[at] {
	case 0x0f, 0x8f: // unicast, broadcast
		w.etherType = be16(w.b[at+2:])
		return layerEtherType, at + 4
	}
	return layerPPP, at
}

// Network layer protocol identifiers (ISO/IEC TR 9577) that Frame Relay uses.
const (
	nlpidSNAP = 0x80
	nlpidIPv6 = 0x8e
	nlpidIPv4 = 0xcc
	nlpidPPP  = 0xcf
)

// frameRelay reads a Q.922 address and RFC 2427's header, or the EtherType
// that Cisco puts there.
func (w *walk) frameRelay(at int) (layer, int) {
	for n := 0; ; n++ {
		if n == 4 || !w.has(at, 1) {
			return w.reject("Frame Relay address cut or longer than 4 octets")
		}
		at++
		if w.b[at-1]&1 != 0 { // the address's last octet
			break
		}
	}
	if !w.has(at, 2) {
		return w.reject("Frame Relay header cut")
	}
	if w.b[at] != 0x03 { // no unnumbered information
		w.etherType = be16(w.b[at:])
		return layerEtherType, at + 2
	}
	if at++; w.b[at] == 0 { // padding
		at++
	}
	if !w.has(at, 1) {
		return w.reject("Frame Relay header cut")
	}
	switch nlpid := w.b[at]; nlpid {
	case nlpidIPv4, nlpidIPv6:
		return layerIP, at + 1
	case nlpidPPP:
		return layerPPP, at + 1
	case nlpidSNAP:
		return w.snap(at + 1)
	default:
		return w.rejectf("Frame Relay NLPID 0x%02x is not supported", uint32(nlpid))
	}
}

// fddi reads an FDDI header; only asynchronous LLC frames hold packets.
func (w *walk) fddi(at int) (layer, int) {
	if !w.has(at, 13) {
		return w.reject("FDDI header cut")
	}
	if w.b[at]&0xf0 != 0x50 {
		return w.reject("FDDI frame without LLC")
	}
	return layerLLC, at + 13
}

// ARCNET protocol types (RFC 1051, RFC 1201).
const (
	arcIPOld  = 240
	arcARPOld = 241
	arcIP     = 212
	arcARP    = 213
	arcIPv6   = 196
)

// arcnet reads an ARCNET header: two addresses, with Linux the packet's offset
// in the card's buffer, the type, and with RFC 1201 flag and sequence number
// of a fragment.
func (w *walk) arcnet(at int, linux bool) (layer, int) {
	at += 2
	if linux {
		at += 2
	}
	if !w.has(at, 4) {
		return w.reject("ARCNET header cut")
	}
	kind := w.b[at]
	w.etherType = etherIPv4
	switch kind {
	case arcIPOld, arcARPOld: // without fragments
		if kind == arcARPOld {
			w.etherType = etherARP
		}
		return layerEtherType, at + 1
	case arcARP:
		w.etherType = etherARP
	case arcIPv6:
		w.etherType = etherIPv6
	case arcIP:
	default:
		return w.rejectf("ARCNET type %d is not supported", uint32(kind))
	}
	if !linux && w.b[at+1] == 0xff { // exception frame: padded, the header comes again
		at += 4
		if !w.has(at, 4) {
			return w.reject("ARCNET header cut")
		}
	}
	if w.b[at+1] != 0 {
		return w.reject("ARCNET fragment")
	}
	return layerEtherType, at + 4
}

// nflogPayload is the attribute of a netfilter log message that holds the
// packet.
const nflogPayload = 9

// nflog finds the packet among the attributes of a Linux netfilter log
// message. Their lengths and types are in the byte order of the capturing
// host; types are small and none is 0, which tells it.
func (w *walk) nflog(at int) (layer, int) {
	for at += 4; w.has(at, 4); {
		size, kind := int(le16(w.b[at:])), le16(w.b[at+2:])
		if kind&0xff == 0 {
			size, kind = int(be16(w.b[at:])), be16(w.b[at+2:])
		}
		if size < 4 {
			return w.reject("NFLOG attribute shorter than its header")
		}
		if kind == nflogPayload {
			w.b = w.b[:min(len(w.b), at+size)] // what was copied of it
			return layerIP, at + 4
		}
		at += (size + 3) &^ 3
	}
	return w.reject("NFLOG message without a packet")
}

// pktap reads the header that Darwin puts before frames of any interface.
func (w *walk) pktap(at int) (layer, int) {
	const packet = 1
	if !w.has(at, 12) {
		return w.reject("PKTAP header cut")
	}
	size := int(le32(w.b[at:]))
	if size < 12 || !w.has(at, size) {
		return w.reject("PKTAP header cut")
	}
	if le32(w.b[at+4:]) != packet {
		return w.reject("PKTAP record without a packet")
	}
	return w.link(le32(w.b[at+8:])), at + size
}

// switchTag reads a tag that a switch chip puts behind the Ethernet addresses
// of frames to its host: Marvell's DSA and EDSA, Broadcom's.
func (w *walk) switchTag(at, size int) (layer, int) {
	if !w.has(at, 14+size) {
		return w.reject("switch tag cut")
	}
	t := be16(w.b[at+12+size:])
	at += 14 + size
	if t < minEtherTyp {
		w.limit(at + int(t))
		return layerLLC, at
	}
	w.etherType = t
	return layerEtherType, at
}

// radiotap reads the header that most systems put before 802.11 frames; of its
// fields the flags matter.
func (w *walk) radiotap(at int) (layer, int) {
	const (
		present, more = 4, 1 << 31
		hasTime       = 1 << 0
		hasFlags      = 1 << 1
		padded        = 0x20 // the MAC header is padded to 32 bits
		badChecksum   = 0x40
	)
	if !w.has(at, 8) || !w.has(at, int(le16(w.b[at+2:]))) || le16(w.b[at+2:]) < 8 {
		return w.reject("radiotap header cut")
	}
	h := w.b[at : at+int(le16(w.b[at+2:]))]
	at += len(h)
	field := present
	for field+4 <= len(h) && le32(h[field:])&more != 0 {
		field += 4
	}
	field += 4
	if le32(h[present:])&hasTime != 0 {
		field = (field+7)&^7 + 8
	}
	if le32(h[present:])&hasFlags != 0 && field < len(h) {
		if h[field]&badChecksum != 0 {
			return w.reject("802.11 frame with a bad checksum")
		}
		w.radioPadded = h[field]&padded != 0
	}
	return layerDot11, at
}

// ppi reads a Per-Packet Information header, which names a link type of its
// own.
func (w *walk) ppi(at int) (layer, int) {
	if !w.has(at, 8) || !w.has(at, int(le16(w.b[at+2:]))) || le16(w.b[at+2:]) < 8 {
		return w.reject("PPI header cut")
	}
	return w.link(le32(w.b[at+4:])), at + int(le16(w.b[at+2:]))
}

// prism reads a Prism monitoring header, or an AVS one that calls itself so.
func (w *walk) prism(at int) (layer, int) {
	if !w.has(at, 8) {
		return w.reject("Prism header cut")
	}
	if be32(w.b[at:])&^0xf == avsMagic {
		return w.avs(at)
	}
	size := le32(w.b[at+4:])
	if size < 8 || size > 4096 || !w.has(at, int(size)) {
		return w.reject("Prism header cut")
	}
	return layerDot11, at + int(size)
}

const avsMagic = 0x80211000

// avs reads an AVS monitoring header.
func (w *walk) avs(at int) (layer, int) {
	if !w.has(at, 8) || be32(w.b[at:])&^0xf != avsMagic {
		return w.reject("AVS header cut")
	}
	size := be32(w.b[at+4:])
	if size < 8 || size > 4096 || !w.has(at, int(size)) {
		return w.reject("AVS header cut")
	}
	return layerDot11, at + int(size)
}
