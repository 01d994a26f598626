package capture

// LINKTYPE_ numbers of the tcpdump group's list that decode.
const (
	linkNull      = 0
	linkEthernet  = 1
	linkARCNETBSD = 7
	linkPPP       = 9
	linkFDDI      = 10
	linkRawBSD    = 12 // DLT_RAW as most systems number it, written unmapped
	linkRawOBSD   = 14 // the same of OpenBSD
	linkPPPHDLC   = 50
	linkPPPoE     = 51
	linkRaw       = 101
	linkCHDLC     = 104
	linkDot11     = 105
	linkFrameRel  = 107
	linkLoop      = 108
	linkSLL       = 113
	linkPrism     = 119
	linkRadiotap  = 127
	linkARCNET    = 129 // Linux
	linkAVS       = 163
	linkPPI       = 192
	linkPPPDir    = 204
	linkMPLS      = 219
	linkIPv4      = 228
	linkIPv6      = 229
	linkNFLOG     = 239
	linkPKTAP     = 258
	linkSLL2      = 276
	linkBroadcom  = 281
	linkDSA       = 284
	linkEDSA      = 285
)

// link returns the layer that frames of a link type begin with.
func (w *walk) link(link uint32) layer {
	switch link {
	case linkEthernet:
		return layerEthernet
	case linkRaw, linkRawBSD, linkRawOBSD, linkIPv4, linkIPv6:
		return layerIP
	case linkSLL:
		return layerSLL
	case linkSLL2:
		return layerSLL2
	case linkNull, linkLoop:
		return layerNull
	case linkPPP:
		return layerPPP
	case linkPPPHDLC, linkCHDLC:
		return layerHDLC
	case linkPPPoE:
		return layerPPPoE
	case linkPPPDir:
		return layerPPPDirection
	case linkMPLS:
		return layerMPLS
	case linkFrameRel:
		return layerFrameRelay
	case linkFDDI:
		return layerFDDI
	case linkARCNETBSD:
		return layerARCNET
	case linkARCNET:
		return layerARCNETLinux
	case linkDot11:
		return layerDot11
	case linkRadiotap:
		return layerRadiotap
	case linkPPI:
		return layerPPI
	case linkPrism:
		return layerPrism
	case linkAVS:
		return layerAVS
	case linkNFLOG:
		return layerNFLOG
	case linkPKTAP:
		return layerPKTAP
	case linkBroadcom:
		return layerBroadcomTag
	case linkDSA:
		return layerDSA
	case linkEDSA:
		return layerEDSA
	}
	w.rejectf("link type %d is not supported", link)
	return done
}

// EtherTypes, which other links and tunnels use too.
const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherQinQ1  = 0x9100 // QinQ before it was standardised
	etherIPv6   = 0x86dd
	minEtherTyp = 0x0600 // below: a length (IEEE 802.3)
)

// ethernet reads an Ethernet II or IEEE 802.3 header.
func (w *walk) ethernet(at int) (layer, int) {
	if !w.has(at, 14) {
		return w.reject("Ethernet header cut")
	}
	w.pass(HeaderEthernet, at, 14)
	switch t := be16(w.b[at+12:]); {
	case t == etherIPv4 || t == etherIPv6:
		return layerIP, at + 14
	case t < minEtherTyp:
		w.limit(at + 14 + int(t))
		return layerLLC, at + 14
	default:
		w.etherType = t
		return layerEtherType, at + 14
	}
}

// byEtherType goes on at offset at with what w.etherType names.
func (w *walk) byEtherType(at int) (layer, int) {
	switch w.etherType {
	case etherIPv4, etherIPv6:
		return w.ip(at)
	case etherVLAN, etherQinQ, etherQinQ1:
		return w.vlan(at)
	case etherARP:
		return w.arp(at)
	case etherMPLS, etherMPLSMul:
		return w.mpls(at)
	case etherPPPoE:
		return w.pppoe(at)
	case etherPPPoEDis:
		return w.reject("PPPoE frame without session data")
	case etherPPP:
		return w.ppp(at)
	case etherBridged:
		return w.ethernet(at)
	}
	return w.rejectf("EtherType 0x%04x is not supported", uint32(w.etherType))
}

// vlan reads an IEEE 802.1Q tag; at is behind its EtherType. The innermost
// tag's number stays.
func (w *walk) vlan(at int) (layer, int) {
	if !w.has(at, 4) {
		return w.reject("VLAN tag cut")
	}
	w.pass(HeaderTag, at, 4)
	w.p.VLAN = be16(w.b[at:]) & 0x0fff
	t := be16(w.b[at+2:])
	if t < minEtherTyp {
		w.limit(at + 4 + int(t))
		return layerLLC, at + 4
	}
	w.etherType = t
	return layerEtherType, at + 4
}

// llc reads an IEEE 802.2 header, with SNAP where it is there.
func (w *walk) llc(at int) (layer, int) {
	if !w.has(at, 3) {
		return w.reject("LLC header cut")
	}
	w.pass(HeaderTag, at, 3)
	switch dsap, ssap, control := w.b[at], w.b[at+1], w.b[at+2]; {
	case dsap == 0x06 && ssap == 0x06 && control == 0x03:
		return layerIP, at + 3
	case dsap != 0xaa || ssap != 0xaa || control != 0x03:
		return w.reject("LLC frame without IP")
	}
	return w.snap(at + 3)
}

// snap reads the five octets of a SNAP header.
func (w *walk) snap(at int) (layer, int) {
	if !w.has(at, 5) {
		return w.reject("SNAP header cut")
	}
	w.pass(HeaderTag, at, 5)
	protocol := be16(w.b[at+3:])
	switch oui := be32(w.b[at:]) >> 8; {
	case oui == 0x000000 || oui == 0x0000f8: // EtherTypes; the second of bridges (IEEE 802.1H)
		w.etherType = protocol
		return layerEtherType, at + 5
	case oui == 0x0080c2 && (protocol == 0x0001 || protocol == 0x0007): // bridged Ethernet (RFC 2427)
		return layerEthernet, at + 5
	}
	return w.reject("SNAP frame without IP")
}

// Protocols of Linux cooked captures that are no EtherTypes.
const (
	cookedRaw802_3 = 0x0001 // Novell's IPX without LLC
	cookedLLC      = 0x0004
)

// cooked goes on behind a Linux cooked header with the protocol it names.
func (w *walk) cooked(protocol uint16, at int) (layer, int) {
	if protocol == cookedLLC {
		return layerLLC, at
	}
	if protocol < minEtherTyp {
		return w.rejectf("Linux cooked protocol 0x%04x is not supported", uint32(protocol))
	}
	w.etherType = protocol
	return layerEtherType, at
}

// sll reads a Linux cooked header, version 1.
func (w *walk) sll(at int) (layer, int) {
	if !w.has(at, 16) {
		return w.reject("Linux cooked header cut")
	}
	w.pass(HeaderSLL, at, 16)
	return w.cooked(be16(w.b[at+14:]), at+16)
}

// sll2 reads a Linux cooked header, version 2.
func (w *walk) sll2(at int) (layer, int) {
	if !w.has(at, 20) {
		return w.reject("Linux cooked header cut")
	}
	w.pass(HeaderSLL2, at, 20)
	return w.cooked(be16(w.b[at:]), at+20)
}

// null reads the address family that BSD loopbacks put before a packet, in
// the byte order of the capturing host or, for LOOP, of the network.
func (w *walk) null(at int) (layer, int) {
	if !w.has(at, 4) {
		return w.reject("loopback header cut")
	}
	w.pass(HeaderTag, at, 4)
	family := be32(w.b[at:])
	if family > 0xffff {
		family = le32(w.b[at:])
	}
	switch family {
	case 2, 10, 23, 24, 28, 30: // AF_INET; AF_INET6 of Linux, Windows, NetBSD, FreeBSD, Darwin
		return layerIP, at + 4
	}
	return w.rejectf("loopback address family %d is not supported", family)
}
