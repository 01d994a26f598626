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
		begin, pure := w.at, 0
		r.begin(w, f, b.Pkts[n:min(n+bareRow, BatchSize)], r.ord+tcp.Ordinal(n), lineUp)
		if n == 0 && w.n > 0 {
			b.Bare.Wide = r.buf[w.pkts[0].Data+14]>>4 == 6
		}
		if b.Bare.Wide {
			pure = pureAcks6(r.buf, w.pkts[:w.n], f.lead.untyped)
		} else {
			pure = pureAcks(r.buf, w.pkts[:w.n], f.lead.untyped)
		}
		n += pure
		if !w.end(pure) {
			break
		}
		r.askFor(w, w.at-begin, s)
	}
	r.bare.took(n)
	r.took(f, b.Pkts[:n], w.last)
	b.Bare.N, b.Bare.untyped = n, f.lead.untyped
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

// Header length and flags of a pure acknowledgment with timestamps, and without, as they lie
// in memory.
const (
	ackStamped = 0x1080
	ackPlain   = 0x1050
)

// pure returns the octets of the header if it is that of a pure acknowledgment, else 0.
func (h *TCPHead) pure() uint32 {
	switch le16(h[12:]) {
	case ackPlain:
		return 20
	case ackStamped:
		if le32(h[20:]) == stamps {
			return 32
		}
	}
	return 0
}

// pureAcks returns how many frames of buf are pure acknowledgments over IPv4 without a
// fault, up to the first that is not. They lie where their packets' Data and DataLen say;
// behind the beginning of each buf holds at least plainMost octets.
func pureAcks(buf []byte, pkts []Packet, untyped bool) int {
	for i := range pkts {
		p := &pkts[i]
		h := HeadAt(buf, p.Data)
		size := h.TCP().pure()
		if size == 0 || h[14] != ipv4Plain || le16(h[12:]) != ipv4Type && !untyped || uint32(be16(h[16:])) != 20+size || 34+size > p.DataLen ||
			le32(h[20:])&tcpMask != tcpWhole || p.Note != 0 {
			return i
		}
		sum, carry := bits.Add64(le64(h[14:]), le64(h[22:]), 0)
		sum, carry = bits.Add64(sum, uint64(le32(h[30:])), carry)
		if (sum+carry)%0xffff != 0 { // see straightSum
			return i
		}
	}
	return len(pkts)
}

// pureAcks6 is pureAcks for IPv6.
func pureAcks6(buf []byte, pkts []Packet, untyped bool) int {
	for i := range pkts {
		p := &pkts[i]
		h := HeadAt(buf, p.Data)
		size := h.TCP6().pure()
		if size == 0 || h[14]>>4 != 6 || be16(h[12:]) != etherIPv6 && !untyped || uint32(be16(h[18:])) != size || 54+size > p.DataLen ||
			h[20] != protoTCP || p.Note != 0 {
			return i
		}
	}
	return len(pkts)
}
