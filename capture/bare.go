package capture

import (
	"math/bits"

	"kaflow/tcp"
)

// Most keepalive probes, and the answers to nearly all, are pure acknowledgments: no
// payload, no flag but ACK, no option but timestamps. Who reads batches may want those that
// stand in a row bare, as they are in the file: the reader finds out that they are such ones
// and leaves them undecoded, for whoever knows what a connection sends next has to look at
// less than half of a header to see that it does.

// Bare is the part of a batch that holds frames of pure acknowledgments, plain and without a
// fault. Where it holds some the batch has no packets: of the first N in Pkts only At, Ord,
// Iface, Rec, and in Data and DataLen where their frames lie, are set. They are in the order
// of their times.
type Bare struct {
	Wanted bool // by who reads the batch, the next time
	Wide   bool // they are of IPv6, else of IPv4
	N      int

	untyped bool // see lead
}

type (
	// Head is the beginning of a plain frame.
	Head [plainMost]byte
	// TCPHead is the TCP header of a pure acknowledgment; without timestamps it is the
	// first 20 octets.
	TCPHead [32]byte
)

// HeadAt returns the head of the frame at an offset of a buffer.
func HeadAt(buf []byte, at uint32) *Head {
	return (*Head)(buf[int(at) : int(at)+plainMost : int(at)+plainMost])
}

// Source, Destination, TTL and IPID return what an IPv4 header says.
func (h *Head) Source() uint32      { return be32(h[26:]) }
func (h *Head) Destination() uint32 { return be32(h[30:]) }
func (h *Head) TTL() uint8          { return h[22] }
func (h *Head) IPID() uint16        { return be16(h[18:]) }

// TCP returns the TCP header of a frame of IPv4, TCP6 that of one of IPv6.
func (h *Head) TCP() *TCPHead  { return (*TCPHead)(h[34:66]) }
func (h *Head) TCP6() *TCPHead { return (*TCPHead)(h[54:86]) }

// HopLimit returns that of a frame of IPv6.
func (h *Head) HopLimit() uint8 { return h[21] }

// Key6 returns the key of a frame of IPv6, and which end sent it.
func (h *Head) Key6() (k Key, from uint8) {
	from = k.setIPv6(h)
	return k, from
}

// From6 returns which end sent a frame of IPv6: 0 for the key's Lo, 1 for its Hi.
func (h *Head) From6() int {
	_, above := bits.Sub64(be64(h[46:]), be64(h[30:]), 0)
	_, above = bits.Sub64(be64(h[38:]), be64(h[22:]), above)
	return int(above)
}

// Of6 reports whether a frame of IPv6 is of a key, if that end of it has sent the frame.
func (h *Head) Of6(k *Key, from int) bool {
	src, dst := &k.Lo, &k.Hi
	if from != 0 {
		src, dst = dst, src
	}
	return bits.RotateLeft32(be32(h[54:]), from*16) == k.Ports && k.Overlay == 0 &&
		be64(h[30:]) == uint64(src[2])<<32|uint64(src[3]) && be64(h[46:]) == uint64(dst[2])<<32|uint64(dst[3]) &&
		be64(h[22:]) == uint64(src[0])<<32|uint64(src[1]) && be64(h[38:]) == uint64(dst[0])<<32|uint64(dst[1])
}

// Ports returns source and destination port.
func (h *TCPHead) Ports() uint32 { return be32(h[0:]) }

// Seq, Ack and Win return what the header says.
func (h *TCPHead) Seq() tcp.Seq { return tcp.Seq(be32(h[4:])) }
func (h *TCPHead) Ack() tcp.Seq { return tcp.Seq(be32(h[8:])) }
func (h *TCPHead) Win() uint16  { return be16(h[14:]) }

// Stamped reports whether it has timestamps, and TSVal and TSEcr return them.
func (h *TCPHead) Stamped() bool { return h[12] == 0x80 }
func (h *TCPHead) TSVal() uint32 { return be32(h[24:]) }
func (h *TCPHead) TSEcr() uint32 { return be32(h[28:]) }

// Len returns how many frames a batch holds.
func (b *Batch) Len() int { return b.N + b.Bare.N }

// Unfold makes packets of a batch's bare frames from one on, and leaves out those before.
func (b *Batch) Unfold(from int) {
	pkts := b.Pkts[:b.Bare.N-from]
	for i := range pkts {
		p := &b.Pkts[from+i]
		pkts[i] = Packet{At: p.At, Ord: p.Ord, Iface: p.Iface, Rec: p.Rec, Data: p.Data, DataLen: p.DataLen}
	}
	plainRow(b.Buf, pkts, b.Bare.untyped)
	b.N, b.Sorted, b.Bare.N = len(pkts), len(pkts), 0
}

// bareKey returns the key of a bare frame.
func (b *Batch) bareKey(i int) Key {
	one := [1]Packet{{Data: b.Pkts[i].Data, DataLen: b.Pkts[i].DataLen}}
	plainRow(b.Buf, one[:], b.Bare.untyped)
	return one[0].Key
}

// bareRow is rowMost for bare frames, of which less is put down.
const bareRow = 32

// takeBare takes the pure acknowledgments of interface f that stand in a row, as
// takeRows takes plain frames. All of a batch are of the first one's version of IP.
func (r *reader) takeBare(b *Batch, f *iface, s stride, lineUp func(*row)) (next int) {
	w, n := &r.row, 0
	for w.at, w.last, w.bare = r.at, f.last, true; n < BatchSize; {
		begin := w.at
		w.pkts, w.ord, w.n = b.Pkts[n:min(n+bareRow, BatchSize)], r.ord+tcp.Ordinal(n), 0
		if lineUp(w); f.lead != (lead{}) {
			w.shift(r.buf, f.lead)
		}
		if n == 0 && w.n > 0 {
			b.Bare.Wide = r.buf[w.pkts[0].Data+14]>>4 == 6
		}
		pure := 0
		if b.Bare.Wide {
			pure = pureAcks6(r.buf, w.pkts[:w.n], f.lead.untyped)
		} else {
			pure = pureAcks(r.buf, w.pkts[:w.n], f.lead.untyped)
		}
		if n += pure; pure > 0 {
			w.last = w.pkts[pure-1].At
		}
		if pure < len(w.pkts) {
			if pure < w.n {
				w.at = int(w.pkts[pure].Rec)
			}
			break
		}
		r.askFor(w, w.at-begin, s)
	}
	r.bare.took(n)
	if n == 0 {
		return r.at
	}
	if f.first == 0 {
		f.first = b.Pkts[0].At
	}
	b.Bare.N, b.Bare.untyped, f.last = n, f.lead.untyped, w.last
	r.frames += uint64(n)
	r.ord += tcp.Ordinal(n)
	return w.at
}

// lookout is how often a reader looks for pure acknowledgments: where few stand in a row
// it reads packets for a while.
type lookout struct {
	left  int // so many batches until it looks again
	pause int // and so many after the last time
}

const mostPause = 16

// ready reports whether it is time to look.
func (o *lookout) ready() bool {
	if o.left > 0 {
		o.left--
		return false
	}
	return true
}

// took notes how many stood in a row.
func (o *lookout) took(n int) {
	if n >= BatchSize/2 {
		o.pause = 0
		return
	}
	o.pause = min(2*o.pause+1, mostPause)
	o.left = o.pause
}

// What the frame of a pure acknowledgment with timestamps, or without, begins with: octets
// 12 to 19, as they lie in memory, and the header length and flags of TCP.
const (
	ackMask     = 0x0000_ffff_00ff_0000 // version and header length, total length
	ackStamped  = 0x0000_3400_0045_0000
	ackPlain    = 0x0000_2800_0045_0000
	ackMask6    = 0xffff_0000_00f0_0000 // version, payload length
	ackStamped6 = 0x2000_0000_0060_0000
	ackPlain6   = 0x1400_0000_0060_0000
	wordStamped = 0x1080
	wordPlain   = 0x1050
)

// pureAcks returns how many frames of buf are pure acknowledgments over IPv4 without a
// fault, up to the first that is not. They lie where their packets' Data and DataLen say;
// behind the beginning of each buf holds at least plainRoom octets.
func pureAcks(buf []byte, pkts []Packet, untyped bool) int {
	for i := range pkts {
		p := &pkts[i]
		at := int(p.Data)
		h := (*[plainMost]byte)(buf[at : at+plainMost : at+plainMost])
		head, word := le64(h[12:]), le16(h[46:])
		begin := head & ackMask
		if begin == ackStamped {
			if word != wordStamped || le32(h[54:]) != stamps || p.DataLen < 66 {
				return i
			}
		} else if begin != ackPlain || word != wordPlain || p.DataLen < 54 {
			return i
		}
		sum, carry := bits.Add64(le64(h[14:]), le64(h[22:]), 0)
		sum, carry = bits.Add64(sum, uint64(le32(h[30:])), carry)
		if uint16(head) != ipv4Type && !untyped || le32(h[20:])&tcpMask != tcpWhole || p.Note != 0 || (sum+carry)%0xffff != 0 { // see straightSum
			return i
		}
	}
	return len(pkts)
}

// pureAcks6 is pureAcks for IPv6.
func pureAcks6(buf []byte, pkts []Packet, untyped bool) int {
	for i := range pkts {
		p := &pkts[i]
		at := int(p.Data)
		h := (*[plainMost]byte)(buf[at : at+plainMost : at+plainMost])
		head, word := le64(h[12:]), le16(h[66:])
		begin := head & ackMask6
		if begin == ackStamped6 {
			if word != wordStamped || le32(h[74:]) != stamps || p.DataLen < 86 {
				return i
			}
		} else if begin != ackPlain6 || word != wordPlain || p.DataLen < 74 {
			return i
		}
		if uint16(head) != ipv6Type && !untyped || h[20] != protoTCP || p.Note != 0 {
			return i
		}
	}
	return len(pkts)
}
