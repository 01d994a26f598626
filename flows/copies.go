package flows

import (
	"time"

	"kaflow/tcp"
)

// copies recognises packets that the capture holds twice: a mirror port that
// sees both directions of a link, an "any" capture, a packet before and after
// routing. It is one small table of recent packets, by content.
type copies struct{ recent [4096]recent }

type recent struct {
	print uint64
	at    tcp.Instant
}

// How far apart two sightings of one packet can lie: where the sender's IP ID
// varies, an equal one within half a second is the same packet; without it
// only what no stack sends twice so quickly.
const (
	copyWithID = 500 * time.Millisecond
	copyNewID  = 5 * time.Millisecond
	copyData   = time.Millisecond
	copyEmpty  = 40 * time.Microsecond
)

// idTrust is what is known of a sender's IP ID.
type idTrust uint8

const (
	idConstant idTrust = iota // always the same, or none
	idNew                     // too few packets to say
	idVaries
)

// trust says how far a sender's IP ID, which varies or not, tells packets apart,
// where so many came before.
func trust(varies bool, before uint32) idTrust {
	switch {
	case varies:
		return idVaries
	case before <= 1:
		return idNew
	}
	return idConstant
}

// seen reports whether the segment was seen a moment ago, and remembers it.
func (c *copies) seen(handle uint32, end int, seg *tcp.Segment, at tcp.Instant, id idTrust) bool {
	h := printOf(handle, end, seg)
	r := &c.recent[h>>52]
	limit := copyEmpty
	switch {
	case id == idVaries && seg.IPID != 0:
		limit = copyWithID
	case id == idNew && seg.IPID != 0:
		limit = copyNewID
	case seg.Len > 0 || seg.Flags&(tcp.SYN|tcp.FIN) != 0:
		limit = copyData
	}
	if r.print == h {
		if d := at.Sub(r.at); d >= 0 && d <= limit {
			return true
		}
	}
	r.print, r.at = h, at
	return false
}

// put remembers a segment that was not asked about.
func (c *copies) put(handle uint32, end int, seg *tcp.Segment, at tcp.Instant) {
	h := printOf(handle, end, seg)
	c.recent[h>>52] = recent{h, at}
}

// printOf condenses what two sightings of one packet have in common. The TTL
// is not part of it: a routed copy has another.
func printOf(handle uint32, end int, seg *tcp.Segment) uint64 {
	const a, b, c = 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3 // so that no zero in the packet wipes the rest
	h := mix((uint64(seg.Seq)<<32|uint64(seg.Ack))^a, (uint64(handle)<<1|uint64(end))^b)
	h ^= mix((uint64(seg.TSVal)<<32|uint64(seg.IPID)<<16|uint64(seg.Win))^b, (uint64(seg.Len)<<32|uint64(seg.Flags))^c)
	return mix(h^c, uint64(seg.SackL)<<32|uint64(seg.SackR)^a)
}
