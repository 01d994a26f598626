// Package capture turns octets into packets: it reads capture files of every
// common container, compression and rotation scheme, or a stream, and decodes
// link, tunnel, IP and TCP headers. It answers "which packets are there, when
// were they seen, and was the capture recording throughout?". It is the only
// door to gopacket.
package capture

import (
	"math/bits"
	"net/netip"

	"kaflow/tcp"
)

// Key names a conversation by its innermost addresses and ports and, for
// VXLAN and GENEVE, the VNI. It is canonical: both directions have the same
// key, Lo:port being the smaller end. IPv4 addresses stand in word 3 of Lo and
// Hi behind three zero words 0, 0, 0xffff (an IPv4-mapped address), so that
// the two families never collide. VLAN, TEID and GRE key are not part of it:
// they differ by direction.
type Key struct {
	Lo, Hi  [4]uint32
	Ports   uint32 // port of Lo << 16 | port of Hi
	Overlay uint32 // VNI + 1; 0 outside an overlay
}

// v4Prefix is word 2 of an IPv4 address in a Key.
const v4Prefix = 0xffff

// Is4 reports whether the key holds IPv4 addresses.
func (k *Key) Is4() bool { return k.Lo[0] == 0 && k.Lo[1] == 0 && k.Lo[2] == v4Prefix }

// SetIPv4 makes the key that of a conversation over IPv4 outside overlays: the lower
// end's address, the higher one's, and the ports.
func (k *Key) SetIPv4(lo, hi, ports uint32) {
	k.Lo[0], k.Lo[1], k.Lo[2], k.Lo[3] = 0, 0, v4Prefix, lo
	k.Hi[0], k.Hi[1], k.Hi[2], k.Hi[3] = 0, 0, v4Prefix, hi
	k.Ports, k.Overlay = ports, 0
}

// LoEnd returns the lower end's address and port.
func (k *Key) LoEnd() netip.AddrPort {
	return netip.AddrPortFrom(Addr(k.Lo), uint16(k.Ports>>16))
}

// HiEnd returns the higher end's address and port.
func (k *Key) HiEnd() netip.AddrPort {
	return netip.AddrPortFrom(Addr(k.Hi), uint16(k.Ports))
}

// Addr turns the four words of an address in a Key into an address; an
// IPv4-mapped one comes back as plain IPv4.
func Addr(w [4]uint32) netip.Addr {
	var b [16]byte
	for i, x := range w {
		b[4*i], b[4*i+1], b[4*i+2], b[4*i+3] = byte(x>>24), byte(x>>16), byte(x>>8), byte(x)
	}
	return netip.AddrFrom16(b).Unmap()
}

// Words is the inverse of Addr.
func Words(a netip.Addr) (w [4]uint32) {
	b := a.As16() // IPv4 comes mapped
	for i := range w {
		w[i] = uint32(b[4*i])<<24 | uint32(b[4*i+1])<<16 | uint32(b[4*i+2])<<8 | uint32(b[4*i+3])
	}
	return w
}

// MakeKey returns the canonical key of a packet from src to dst, and whether
// the packet was sent by the key's Hi end.
func MakeKey(src, dst netip.AddrPort, overlay uint32) (k Key, reversed bool) {
	return canonical(Words(src.Addr()), Words(dst.Addr()), src.Port(), dst.Port(), overlay)
}

// canonical orders the two ends by address, then port.
func canonical(src, dst [4]uint32, sport, dport uint16, overlay uint32) (k Key, reversed bool) {
	for i := range src {
		if src[i] != dst[i] {
			reversed = src[i] > dst[i]
			goto ordered
		}
	}
	reversed = sport > dport
ordered:
	if reversed {
		src, dst, sport, dport = dst, src, dport, sport
	}
	return Key{Lo: src, Hi: dst, Ports: uint32(sport)<<16 | uint32(dport), Overlay: overlay}, reversed
}

// Proto says what a packet is, as far as kaflow cares.
type Proto uint8

// What a packet can be. A batch holds every frame of the capture.
const (
	Undecoded Proto = iota // headers cut, damaged, unsupported or too deep; Key is not set
	TCP                    // Key and Seg are set
	ICMPError              // Key and Seg describe the quoted TCP header; ICMP holds type<<8|code; the quoting router's address is read from Data
	Echo                   // ICMP or ICMPv6 echo; Key holds the hosts with ports 0, Seg.Seq identifier<<16|sequence, ICMP type<<8|code
	ARP                    // ARP or neighbour discovery; Key holds the hosts where both are known, ICMP the ARP operation or the ND type<<8; Seg.Seq and Seg.Ack hold a digest of the sender's MAC
	Other                  // another protocol between two IP hosts; Key holds the hosts with ports 0
)

// Note holds oddities of a packet.
type Note uint16

// Oddities of a packet.
const (
	NoteCut       Note = 1 << iota // the snap length cut the frame
	NoteBadIPSum                   // IPv4 header checksum wrong
	NoteFragment                   // first fragment of a datagram; Len counts this fragment's octets only
	NoteTSO                        // IP length 0: the length was taken from the frame
	NoteClockStep                  // capture time went backwards against the frame before on the same interface
	NoteHeaderCut                  // TCP options are incomplete
	NoteBadTCPSum                  // TCP checksum wrong (checked for quoted and rare segments only)
	NoteTooLong                    // captured length above the original length
)

// Packet is one decoded frame: 128 octets, pointer-free.
type Packet struct {
	Key           Key
	Seg           tcp.Segment
	Rec           uint32 // where the packet's record begins, within Batch.Buf
	At            tcp.Instant
	Ord           tcp.Ordinal
	Data, DataLen uint32 // TCP payload as captured, within Batch.Buf; of an ICMP error from the outer IP header on
	Iface         uint32 // interface, numbered through all files of the Set
	VLAN, ICMP    uint16
	Note          Note
	Proto         Proto
	Reversed      bool   // sent by Key.Hi; of an ICMP error: the quoted segment was
	HeaderLen     uint8  // octets of the TCP header, which lies right before Data; 0 where it is not whole
	Plain         bool   // a TCP segment over IPv4, in no overlay: nearly all are, and need no look at the rest of Key
	Way           uint16 // of TCP: the VLAN, or within GTP-U or keyed GRE a digest of it with TEIDs and keys, at least MinDigest
}

// Settle sets what follows from the other fields: Plain. Who makes a packet for a
// table by hand, or changes what it is, calls it.
func (p *Packet) Settle() {
	p.Plain = p.Proto == TCP && p.Key.Overlay == 0 && p.Key.Is4()
}

// Hide leaves of a packet that there was a frame.
func (p *Packet) Hide() {
	p.Proto = Undecoded
	p.Settle()
}

// MinDigest is the least Packet.Way that is a digest and no VLAN number.
const MinDigest = 1 << 15

// BatchSize is the number of packets in a full Batch.
const BatchSize = 128

// Why says why something was not recorded, or can't be known.
type Why uint8

// Reasons for a hole in a capture.
const (
	WhyDropped   Why = iota + 1 // the capturing system counted drops
	WhyRotation                 // between two files of one set
	WhyInterface                // the interface was down
	WhyDamaged                  // a damaged stretch of a file
	WhyClock                    // the clock stepped
	WhyUnseen                   // another capture shows what passed here meanwhile
	WhyLimit                    // more happened than is kept
)

// Interval is a stretch of packet time, both ends included.
type Interval struct {
	From, To tcp.Instant
	Why      Why
}

// Batch is what one Read gives. It is valid until the next Read of the same
// source.
type Batch struct {
	Pkts   [BatchSize]Packet
	N      int
	Sorted int // so many packets at the front are TCP segments in the order of their times; of the others it is not known
	Buf    []byte
	Start  int64      // offset of Buf's first octet in the file, unpacked
	Holes  []Interval // not recorded, before Pkts[0]: drops, rotation, interface down
	Bare   Bare       // frames that came undecoded, instead of packets
}

// Latest returns the time of the latest packet; 0 where there is none.
func (b *Batch) Latest() (latest tcp.Instant) {
	sorted := min(b.Sorted, b.N)
	if sorted > 0 {
		latest = b.Pkts[sorted-1].At
	}
	for i := sorted; i < b.N; i++ {
		latest = max(latest, b.Pkts[i].At)
	}
	return latest
}

// Payload returns the payload octets of packet i as far as captured.
func (b *Batch) Payload(i int) []byte {
	p := &b.Pkts[i]
	return b.Buf[p.Data : p.Data+p.DataLen]
}

// Offset returns where the record of packet i begins in its file, in octets
// from the beginning; of a compressed file, in what it unpacks to.
func (b *Batch) Offset(i int) int64 { return b.Start + int64(b.Pkts[i].Rec) }

// WrongTCPSum reports whether a packet is a TCP segment that was captured in
// full and whose checksum is wrong; buf is its batch's. Checksum offload makes
// that normal on the sending host, so it is a note and no fault. It costs a look
// at every octet: ask for few segments, never for bulk data.
func (p *Packet) WrongTCPSum(buf []byte) bool {
	if size := p.HeaderLen; p.Plain && size|8 == 40 && p.DataLen|p.Seg.Len|uint32(p.Note&partial) == 0 { // options as most have and no data: swappedSum without a call
		at := int(p.Data) - int(size)
		h := (*[32]byte)(buf[at : at+32 : at+32])
		s, carry := bits.Add64(le64(h[0:]), le64(h[8:]), 0)
		s, carry = bits.Add64(s, le64(h[16:]), carry)
		s, carry = bits.Add64(s, le64(h[24:]), carry)
		if size == 40 {
			s, carry = bits.Add64(s, le64(buf[at+32:]), carry)
		}
		s, carry = bits.Add64(s, (uint64(p.Key.Lo[3])+uint64(p.Key.Hi[3])+protoTCP+uint64(size))<<8, carry)
		return (s+carry)%0xffff != 0
	}
	return p.wrongTCPSum(buf)
}

// partial are the oddities of segments whose checksum cannot be told.
const partial = NoteCut | NoteFragment | NoteTSO | NoteHeaderCut

// wrongTCPSum is WrongTCPSum for any packet.
func (p *Packet) wrongTCPSum(buf []byte) bool {
	if p.Proto != TCP || p.HeaderLen == 0 || p.DataLen != p.Seg.Len || p.Note&partial != 0 || p.Data < uint32(p.HeaderLen) {
		return false
	}
	segment := buf[p.Data-uint32(p.HeaderLen) : p.Data+p.DataLen]
	return (p.Key.addressSum()+protoTCP+uint64(len(segment))+swappedSum(segment)<<8)%0xffff != 0
}

// addressSum adds up the addresses of a TCP pseudo header; the sum does not depend
// on which of the ends is the sender.
func (k *Key) addressSum() (sum uint64) {
	if k.Is4() {
		return uint64(k.Lo[3]) + uint64(k.Hi[3])
	}
	for i := range k.Lo {
		sum += uint64(k.Lo[i]) + uint64(k.Hi[i])
	}
	return sum
}

// Source gives packets in capture order. Read fills the batch and returns nil,
// or leaves it empty and returns io.EOF at the end; damaged input ends a
// source early with io.EOF, the damage being told by the Set.
type Source interface{ Read(*Batch) error }

// V4Words returns the words of an IPv4 address in a Key.
func V4Words(a uint32) [4]uint32 { return [4]uint32{0, 0, v4Prefix, a} }
