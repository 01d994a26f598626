package flows

import (
	"math"
	"time"

	"kaflow/tcp"
)

// The story of a flow is a short list of stored events in one arena that all
// flows of a table share. A single segment is one event; a run is two, head
// and tail, the tail marked by evTail.

// event is the stored form: 48 octets, no pointers. In a tail the fields have
// other meanings: see tail.
type event struct {
	at           tcp.Instant
	ord          uint32
	seq, ack     tcp.Seq
	tsval, tsecr uint32
	next         uint32 // of an answer: how many frames back the probe lies; of a probe: how many frames later its answer came
	count        uint32 // exact payload length; of an ICMP error an index into Table.routers
	win, ipid    uint16
	note         Note
	flags        uint8
	ordHi        uint8
	kind         Kind
	bits         uint8
	ttl          uint8
	flagsHi      uint8
}

// Bits of event.bits.
const (
	evFrom     uint8 = 1 << iota // sent by the Hi end
	evInferred                   // confidence
	evTail                       // second half of a run
	evTS                         // carries timestamps
	evOpen                       // a probe without an answer yet; a tail: the run holds what waited
	evKeep                       // neighbourhood of a gap: not folded at once
	evAnswered                   // a probe with an answer
	evRun                        // head of a run
)

func (e *event) from() int { return int(e.bits & evFrom) }

func (e *event) ordinal() tcp.Ordinal { return tcp.Ordinal(e.ordHi)<<32 | tcp.Ordinal(e.ord) }

func (e *event) setOrdinal(o tcp.Ordinal) { e.ord, e.ordHi = uint32(o), uint8(o>>32) }

// copy takes over what the event holds of a segment as it was sent. It sets field
// by field: a whole event would be made elsewhere first and then moved.
func (e *event) copy(seg *tcp.Segment) {
	e.seq, e.ack, e.tsval, e.tsecr = seg.Seq, seg.Ack, seg.TSVal, seg.TSEcr
	e.count, e.win, e.ipid, e.ttl = seg.Len, seg.Win, seg.IPID, seg.TTL
	e.flags, e.flagsHi = uint8(seg.Flags), uint8(seg.Flags>>8)
}

// tail reads and writes the second half of a run: at and ord are the last
// segment's. In a keepalive run count is the number of answered probes, next
// the last probe's TSecr, and the remaining words hold the spans of period and
// RTT. In a run of traffic count and next are the segments of the Lo and the
// Hi end, and the rest the octets of each end and the last position.
type tail struct{ *event }

func (t tail) counts() (lo, hi uint32)  { return t.count, t.next }
func (t tail) period() span             { return span{f32(uint32(t.seq)), f32(uint32(t.ack))} }
func (t tail) setPeriod(s span)         { t.seq, t.ack = tcp.Seq(u32(s.min)), tcp.Seq(u32(s.max)) }
func (t tail) rtt() span                { return span{f32(t.tsecr), f32(uint32(t.win)<<16 | uint32(t.ipid))} }
func (t tail) octets() (lo, hi float32) { return f32(uint32(t.seq)), f32(uint32(t.ack)) }
func (t tail) setOctets(lo, hi float32) { t.seq, t.ack = tcp.Seq(u32(lo)), tcp.Seq(u32(hi)) }
func (t tail) addOctets(d int, n uint32) {
	if d == 0 {
		t.seq = tcp.Seq(u32(f32(uint32(t.seq)) + float32(n)))
	} else {
		t.ack = tcp.Seq(u32(f32(uint32(t.ack)) + float32(n)))
	}
}
func (t tail) lastSeq() (seq, ack tcp.Seq) {
	return tcp.Seq(t.tsecr), tcp.Seq(uint32(t.win)<<16 | uint32(t.ipid))
}
func (t tail) setLastSeq(seq, ack tcp.Seq) {
	t.tsecr, t.win, t.ipid = uint32(seq), uint16(ack>>16), uint16(ack)
}

func (t tail) setRTT(s span) {
	hi := u32(s.max)
	t.tsecr, t.win, t.ipid = u32(s.min), uint16(hi>>16), uint16(hi)
}

// lag, in a run of traffic, is how long before the last segment the other end
// sent its own last one, in steps of 100 µs; lagUnknown where that is not known.
func (t tail) lag() uint32 { return uint32(t.flags)<<16 | uint32(t.note) }

func (t tail) setLag(steps uint32) {
	steps = min(steps, lagUnknown)
	t.note, t.flags = Note(steps), uint8(steps>>16)
}

const (
	lagStep    = 100 * time.Microsecond
	lagUnknown = 1<<24 - 1
)

func f32(u uint32) float32 { return math.Float32frombits(u) }
func u32(f float32) uint32 { return math.Float32bits(f) }

// block names a stretch of the arena: 1<<class events from at on, n of them
// used.
type block struct {
	at       uint32
	class, n uint8
	held     bool // at is a place in the arena
}

const (
	storyMost    = 64 // events of one flow
	storyFolded  = 36 // what a compaction brings them down to
	storyWaiting = 52 // where some of them wait for an acknowledgment
	arenaBits    = 14
	arenaChunk   = 1 << arenaBits
	storyClasses = 7 // 1, 2, 4, … 64 events
)

// arena holds the stories of all flows of a table in blocks of 1 to 64 events: a SYN that nobody answers takes one.
type arena struct {
	chunks []*[arenaChunk]event
	used   uint32 // events handed out at the end, whatever their block
	free   [storyClasses][]uint32
	limit  uint32
	held   uint32 // events in blocks that are in use
	urgent bool   // the event at hand may use the reserve: a quarter beyond the limit, for what nobody would want to miss
}

func (a *arena) room(b block) []event {
	return a.chunks[b.at>>arenaBits][b.at&(arenaChunk-1):][: 1<<b.class : 1<<b.class]
}

// events returns the used part of a block, in place.
func (a *arena) events(b block) []event {
	if !b.held {
		return nil
	}
	at := b.at & (arenaChunk - 1)
	return a.chunks[b.at>>arenaBits][at : at+uint32(b.n) : at+uint32(b.n)]
}

// take returns the place of a free block, false where the limit is reached.
func (a *arena) take(class uint8) (uint32, bool) {
	size := uint32(1) << class
	if list := a.free[class]; len(list) > 0 && (a.urgent || a.held+size <= a.limit) {
		at := list[len(list)-1]
		a.free[class] = list[:len(list)-1]
		a.held += size
		return at, true
	}
	limit := a.limit
	if a.urgent {
		limit += a.limit / 4
	}
	if a.held+size > limit {
		return 0, false
	}
	if left := arenaChunk - a.used&(arenaChunk-1); left < size { // blocks do not cross chunks
		a.used += left
	}
	if int(a.used>>arenaBits) == len(a.chunks) {
		next := new([arenaChunk]event)
		if len(a.chunks) > 0 {
			populate(next[:])
		}
		a.chunks = append(a.chunks, next)
	}
	at := a.used
	a.used += size
	a.held += size
	return at, true
}

func (a *arena) release(b *block) {
	if b.held {
		a.held -= 1 << b.class
		a.free[b.class] = append(a.free[b.class], b.at)
	}
	*b = block{}
}

// extend makes room for one more event and returns it, zeroed; nil where the
// flow's or the table's limit is reached.
func (a *arena) extend(b *block) *event {
	if !b.held {
		at, ok := a.take(0)
		if !ok {
			return nil
		}
		b.at, b.held = at, true
	} else if int(b.n) == 1<<b.class {
		if b.n >= storyMost {
			return nil
		}
		a.held -= 1 << b.class // it is given back: only the difference counts against the limit
		at, ok := a.take(b.class + 1)
		if !ok {
			a.held += 1 << b.class
			return nil
		}
		bigger := block{at: at, class: b.class + 1, n: b.n, held: true}
		copy(a.room(bigger), a.events(*b))
		a.free[b.class] = append(a.free[b.class], b.at)
		*b = bigger
	}
	b.n++
	e := &a.room(*b)[b.n-1]
	*e = event{}
	return e
}

// shrink moves a story that fits into half its block to a smaller one.
func (a *arena) shrink(b *block) {
	if b.class == 0 || int(b.n) > 1<<b.class/2 {
		return
	}
	at, ok := a.take(b.class - 1)
	if !ok {
		return
	}
	smaller := block{at: at, class: b.class - 1, n: b.n, held: true}
	copy(a.room(smaller), a.events(*b))
	a.release(b)
	*b = smaller
}
