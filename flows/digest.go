package flows

import (
	"encoding/binary"
	"math/bits"
	"time"

	"kaflow/tcp"
)

// Digests of payload are what a connection without timestamps can be known by
// at another vantage point, where a box between rewrites addresses or sequence
// numbers and the handshake was missed. Every vantage point keeps those of the
// same segments without talking to the others: which ones follows from the
// octets alone, so captures that begin, end and miss frames at different places
// still have some in common.
//
// Of each direction the last few turns are kept (a segment that begins after
// the other side spoke or after a pause begins at the same octet however a host
// or card cuts data into segments), and of turns and of other segments the last
// one of each level: a digest with n zeros at its end is of level n, so level n
// holds one of the last 2^n. A segment larger than the MSS is taken for the
// segments that it was cut into or put together from.

// Sizes of what is kept of one flow.
const (
	digestRing   = 4
	digestLevels = 10
	digestSlots  = digestRing + 2*digestLevels // of one direction
	mostSamples  = 2_000_000                   // of all flows together: 80 MB
	shortestData = 16                          // octets: fewer tell too little
	turnPause    = 50 * time.Millisecond
)

// digestSizes are how many octets the digests of a sample are made of: a
// capture with a short snap length has the first of them only.
var digestSizes = [Digests]int{16, 32, 64}

// sample is one data segment, sent for the first time: 40 octets.
type sample struct {
	at       tcp.Instant
	seq, ack tcp.Seq
	prints   [Digests]uint32
	ord      uint32
	win      uint16
	ipid     uint16
	ordHi    uint8
	known    uint8 // digests that are known
	end      uint8
	again    bool // octets like these were sent more than once
}

// samples are those of one flow.
type samples struct {
	list   []sample
	slot   [2][digestSlots]uint8 // place in list, plus one
	turns  [2]uint8              // counts turns, for the ring
	lastAt tcp.Instant           // of the last data
	last   uint8                 // who sent it
}

// sampleData keeps digests of a new segment's octets, where the flow has no
// timestamps and another vantage point may ask for them.
func (s *step) sampleData() {
	if len(s.payload) < shortestData || s.h.state[s.d]&stTimestamps != 0 {
		return
	}
	x := s.t.samples[s.handle]
	if x == nil {
		if s.t.samples == nil {
			s.t.samples = make(map[uint32]*samples)
		}
		x = &samples{last: 2}
		s.t.samples[s.handle] = x
	}
	turn := int(x.last) != s.d || s.at.Sub(x.lastAt) >= turnPause
	x.last, x.lastAt = uint8(s.d), s.at
	size := len(s.payload)
	if size > 1280 {
		size = s.segmentSize()
	}
	for from, n := 0, 0; from+shortestData <= len(s.payload); from, n = from+size, n+1 {
		prints, known := digestsOf(s.payload[from:], int(s.seg.Len)-from)
		if known == 0 {
			continue
		}
		v := sample{at: s.at, seq: s.seg.Seq.Add(from), ack: s.seg.Ack, prints: prints, ord: uint32(s.pkt.Ord), ordHi: uint8(s.pkt.Ord >> 32),
			win: s.seg.Win, known: known, end: uint8(s.d)}
		if s.seg.IPID != 0 {
			v.ipid = s.seg.IPID + uint16(n)
		}
		level := min(bits.TrailingZeros32(prints[min(known, 2)-1]), digestLevels-1)
		if turn && n == 0 {
			s.t.keepSample(x, int(x.turns[s.d])%digestRing, &v)
			x.turns[s.d] = (x.turns[s.d] + 1) % digestRing
			s.t.keepSample(x, digestRing+level, &v)
		} else {
			s.t.keepSample(x, digestRing+digestLevels+level, &v)
		}
	}
}

// segmentSize returns how many octets a segment on the wire may have: what the
// receiver's SYN allows or, where that was missed, what Ethernet does.
func (s *step) segmentSize() int {
	switch {
	case s.c.mss[s.p] >= 64:
		return int(s.c.mss[s.p])
	case !s.pkt.Key.LoEnd().Addr().Is4():
		return 1440
	}
	return 1460
}

// keepSample puts a sample into a slot of its direction.
func (t *Table) keepSample(x *samples, slot int, v *sample) {
	place := &x.slot[v.end][slot]
	if *place == 0 {
		if t.sampled >= mostSamples {
			return
		}
		t.sampled++
		x.list = append(x.list, *v)
		*place = uint8(len(x.list))
		return
	}
	old := &x.list[*place-1]
	again := v.again || old.prints == v.prints && old.seq != v.seq
	*old = *v
	old.again = again
}

// dropSamples forgets what was kept of a flow.
func (t *Table) dropSamples(handle uint32) {
	if len(t.samples) == 0 {
		return
	}
	if x := t.samples[handle]; x != nil {
		t.sampled -= len(x.list)
		delete(t.samples, handle)
	}
}

// digestsOf returns the digests of the octets that begin a segment of a length,
// of which payload was captured, and how many of them are known. Octets that
// repeat themselves, as padding does, have none.
func digestsOf(payload []byte, length int) (prints [Digests]uint32, known uint8) {
	first := binary.LittleEndian.Uint64(payload)
	if first == binary.LittleEndian.Uint64(payload[8:]) {
		return prints, 0
	}
	h := uint64(0x9e3779b97f4a7c15)
	at := 0
	for i, size := range digestSizes {
		switch {
		case len(payload) >= size:
			for ; at < size; at += 8 {
				h = digested(h, binary.LittleEndian.Uint64(payload[at:]))
			}
			prints[i] = uint32(mixed(h) >> 32)
		case len(payload) >= length: // the whole of a short one
			for ; at < len(payload); at += 8 {
				var word [8]byte
				copy(word[:], payload[at:])
				h = digested(h, binary.LittleEndian.Uint64(word[:]))
			}
			prints[i] = uint32(mixed(h^uint64(length)) >> 32)
		default:
			return prints, known
		}
		known++
	}
	return prints, known
}

func digested(h, word uint64) uint64 {
	h = (h ^ word) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// mixed spreads the last word's bits over the upper half.
func mixed(h uint64) uint64 {
	h ^= h >> 29
	return h * 0xa0761d6478bd642f
}

// anchors builds the view of a flow's samples, by sender and position.
func (t *Table) anchors(handle uint32, ends [2]int) []Anchor {
	x := t.samples[handle]
	if x == nil {
		return nil
	}
	var sideOf [2]uint8
	sideOf[ends[Client]], sideOf[ends[Server]] = Client, Server
	out := make([]Anchor, 0, len(x.list))
	seen := make(map[[2]uint32]int, len(x.list))
	for i := range x.list {
		v := &x.list[i]
		k := [2]uint32{uint32(v.end), uint32(v.seq)}
		if j, twice := seen[k]; twice {
			out[j].Again = out[j].Again || v.again
			continue
		}
		seen[k] = len(out)
		out = append(out, Anchor{At: v.at, Ord: tcp.Ordinal(v.ord) | tcp.Ordinal(v.ordHi)<<32, From: sideOf[v.end], Seq: v.seq, Ack: v.ack,
			Prints: v.prints, Known: v.known, Again: v.again, IPID: v.ipid, Win: v.win})
	}
	return out
}
