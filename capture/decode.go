package capture

import (
	"fmt"
)

const (
	maxHeaders = 16 // headers of one frame, outermost to TCP
	maxReasons = 64 // distinct reasons for undecoded frames; the rest share one
)

// tooDeep is the reason for frames over the budget of headers.
const tooDeep = "more than 16 headers"

// otherReasons counts the frames whose reason came after maxReasons others.
const otherReasons = "other reasons"

// decoder turns captured frames into Packets. The zero value is ready for
// use. It serves one goroutine.
type decoder struct {
	undecoded map[string]uint64 // frames left Undecoded, by reason
	wireless  *wireless         // made when the first 802.11 frame comes
}

// DecodeFrame decodes one frame of the given LINKTYPE_ number. wire is its
// length before the snap length cut it. Offsets in the result are relative to
// data; time, ordinal and interface are not known here and stay zero.
func DecodeFrame(link uint32, data []byte, wire uint32) Packet {
	var (
		d decoder
		p Packet
	)
	d.frame(link, 0, data, wire, &p)
	return p
}

// frame decodes data, which lies at offset base of the batch's buffer, into p.
// p comes zeroed; its time, ordinal and interface are the caller's. What
// cannot be decoded stays Undecoded and is counted by reason.
func (d *decoder) frame(link, base uint32, data []byte, wire uint32, p *Packet) {
	switch n := uint32(len(data)); {
	case n > wire:
		p.Note |= NoteTooLong
		wire = n
	case n < wire:
		p.Note |= NoteCut
	}
	if straight(link, base, data, p) {
		return
	}
	w := walk{d: d, p: p, b: data, end: int(wire), base: base}
	w.run(w.link(link), 0)
}

// layer says what header stands next in a frame.
type layer uint8

const (
	done layer = iota // decoded, or given up
	layerEthernet
	layerEtherType // w.etherType says what stands at the offset
	layerLLC
	layerIP
	layerSLL
	layerSLL2
	layerNull
	layerPPP
	layerPPPoE
	layerMPLS
	layerHDLC
	layerFrameRelay
	layerFDDI
	layerARCNET
	layerARCNETLinux
	layerNFLOG
	layerPKTAP
	layerPPI
	layerRadiotap
	layerPrism
	layerAVS
	layerDot11
	layerPPPDirection
	layerDSA
	layerEDSA
	layerBroadcomTag
)

// walk is the way through the headers of one frame. Offsets count from the
// frame's first octet.
type walk struct {
	d           *decoder
	p           *Packet
	b           []byte // what was captured, less trailers found so far
	end         int    // where the layer at hand ends on the wire; beyond len(b) where octets were cut
	bound       int    // where a header around the IP packet at hand ends it; 0: none does
	base        uint32 // of the frame within the batch's buffer
	overlay     uint32 // VNI + 1 of the innermost overlay
	channel     uint32 // digest of the TEIDs and GRE keys passed; 0: none
	headers     int    // passed so far
	src, dst    int    // offsets of the addresses of the innermost IP header
	etherType   uint16
	is6         bool      // the addresses are IPv6
	inTunnel    bool      // p holds the outer hosts: what follows may fail without harm
	mirrored    bool      // the tunnel may have cut what it carries
	radioPadded bool      // 802.11 MAC headers are padded to 32 bits
	quoted      bool      // within an ICMP error
	seen        *[]Header // the headers passed, where somebody asked
}

// run walks from header to header. It is a loop and not a recursion, so that
// nesting costs a counter and no stack.
func (w *walk) run(next layer, at int) {
	for next != done {
		if !w.enter() {
			w.fail(tooDeep)
			return
		}
		next, at = w.step(next, at)
	}
	w.p.Settle()
}

// enter takes one header from the budget and reports whether there was one.
func (w *walk) enter() bool {
	w.headers++
	return w.headers <= maxHeaders
}

func (w *walk) step(l layer, at int) (layer, int) {
	switch l {
	case layerEthernet:
		return w.ethernet(at)
	case layerEtherType:
		return w.byEtherType(at)
	case layerIP:
		return w.ip(at)
	case layerLLC:
		return w.llc(at)
	case layerSLL:
		return w.sll(at)
	case layerSLL2:
		return w.sll2(at)
	case layerNull:
		return w.null(at)
	}
	return w.stepOdd(l, at)
}

// stepOdd is step for the headers that few captures hold.
func (w *walk) stepOdd(l layer, at int) (layer, int) {
	switch l {
	case layerPPP:
		return w.ppp(at)
	case layerPPPoE:
		return w.pppoe(at)
	case layerMPLS:
		return w.mpls(at)
	case layerHDLC:
		return w.cHDLC(at)
	case layerFrameRelay:
		return w.frameRelay(at)
	case layerFDDI:
		return w.fddi(at)
	case layerARCNET, layerARCNETLinux:
		return w.arcnet(at, l == layerARCNETLinux)
	case layerNFLOG:
		return w.nflog(at)
	case layerPKTAP:
		return w.pktap(at)
	case layerPPI:
		return w.ppi(at)
	case layerRadiotap:
		return w.radiotap(at)
	case layerPrism:
		return w.prism(at)
	case layerAVS:
		return w.avs(at)
	case layerDot11:
		return w.dot11(at)
	case layerPPPDirection:
		return layerPPP, at + 1
	case layerDSA, layerBroadcomTag:
		return w.switchTag(at, 4)
	default: // layerEDSA
		return w.switchTag(at, 8)
	}
}

// has reports whether n octets from at on were captured and belong to the
// layer at hand.
func (w *walk) has(at, n int) bool { return at+n <= len(w.b) }

// limit ends the layer at hand at offset end, by a length in its header, where
// that is nearer than what is known: what lies behind is padding or a trailer.
func (w *walk) limit(end int) {
	w.end = min(w.end, end)
	if w.bound == 0 || end < w.bound {
		w.bound = end
	}
	if end < len(w.b) {
		w.b = w.b[:end]
	}
}

// reject gives up on a header below TCP. Inside a tunnel the frame stays what
// the outer hosts made it: Other. Elsewhere it is Undecoded.
func (w *walk) reject(reason string) (layer, int) {
	if w.inTunnel {
		return done, 0
	}
	return w.fail(reason)
}

// rejectf is reject with a number in the reason.
func (w *walk) rejectf(format string, n uint32) (layer, int) {
	if w.inTunnel {
		return done, 0
	}
	return w.fail(fmt.Sprintf(format, n))
}

// fail leaves the frame Undecoded, whatever was understood of it before, and
// counts the reason.
func (w *walk) fail(reason string) (layer, int) {
	*w.p = Packet{
		At: w.p.At, Ord: w.p.Ord, Rec: w.p.Rec, Iface: w.p.Iface,
		VLAN: w.p.VLAN, Note: w.p.Note & (NoteCut | NoteTooLong | NoteClockStep | NoteBadIPSum),
	}
	w.d.count(reason)
	return done, 0
}

// count adds one frame to a reason. The number of reasons is bounded: some of
// them hold a number from the frame.
func (d *decoder) count(reason string) {
	if d.undecoded == nil {
		d.undecoded = make(map[string]uint64)
	}
	if _, known := d.undecoded[reason]; !known && len(d.undecoded) >= maxReasons {
		reason = otherReasons
	}
	d.undecoded[reason]++
}

// The octets of a number, one by one: the compiler makes one load of them, and
// a call to package binary, though it is inlined, leaves instructions behind.

func be16(b []byte) uint16 { _ = b[1]; return uint16(b[1]) | uint16(b[0])<<8 }
func be32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[3]) | uint32(b[2])<<8 | uint32(b[1])<<16 | uint32(b[0])<<24
}
func be64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[7]) | uint64(b[6])<<8 | uint64(b[5])<<16 | uint64(b[4])<<24 |
		uint64(b[3])<<32 | uint64(b[2])<<40 | uint64(b[1])<<48 | uint64(b[0])<<56
}
func le16(b []byte) uint16 { _ = b[1]; return uint16(b[0]) | uint16(b[1])<<8 }
func le32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}
