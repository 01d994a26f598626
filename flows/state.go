package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// State of a flow is kept in a record of two parts without pointers: hot holds
// what every segment reads, cold what runs, loss and views need. Arrays of two are
// indexed by end: 0 is the key's Lo end, 1 its Hi end.

// hot is one flow's line of 64 octets.
type hot struct {
	addr  [2]uint32  // IPv4; in the wide pool unused
	ports uint32     // likewise
	next  [2]tcp.Seq // one past the highest octet sent
	una   [2]tcp.Seq // highest acknowledgment received from the peer
	tsval [2]uint32  // highest TSval sent
	state [2]uint16  // bits below
	win   [2]uint16  // last window field sent
	echo  uint32     // TSecr of the probe that waits (coldWaits)
	last  tcp.Instant
	ord   tcp.Ordinal // of the last segment
}

// Bits of hot.state, per end.
const (
	stSeen       uint16 = 1 << iota // at least one segment of this end was seen
	stKnown                         // next is certain
	stTentative                     // next may be one too low: only empty or one-octet segments were seen so far
	stAcked                         // una is valid: the peer was seen to acknowledge
	stFIN                           // it sent a FIN, which next counts
	stRST                           // it sent a RST that the peer accepts
	stShut                          // its last window was 0
	stTimestamps                    // its segments carry timestamps
	stIDVaries                      // its IP ID is not constant
	stSYN                           // its SYN or SYN-ACK was seen
	stChallenge                     // it sent a SYN or RST that asks for a challenge ACK
	stOctet                         // lastOctet is known
	stWindowMode                    // probes into the peer's shut window are window probes
	stIdleMode                      // they are keepalives: they keep the idle pace
	stLate                          // an answer came while older probes were still open
	stHeard                         // it has acknowledged more since it last sent something new
)

// cold is the rest of a flow's record: 192 octets, behind hot's 64 in one
// record of four cache lines. The first line is all that the short way touches
// beside hot; it keeps there what belongs in the run at the story's end, until
// something else happens to the flow (see steady.go). What few flows need at a
// time (an unsure baseline, a shut window, missing octets) is in Table.rare.
type cold struct {
	runAt     tcp.Instant // of a run that is kept here: its last answer
	runPeriod span
	runRTT    span
	runOrd    uint32 // ordinal of the last answer, the lower half
	runTS     uint32 // TSval of the last answered probe
	runEcho   uint32 // its TSecr
	beats     uint16 // answered probes that are counted nowhere yet
	probe     uint8  // what the short way's last probe was like, and its answer: bits below
	cut       uint8  // events that were turned away, and side notes that were lost: saturated
	segments  [2]uint32
	open      [2]uint16 // keepalive probes not answered
	way       [2]uint16 // capture.Packet.Way of the last segment
	ipid      [2]uint16
	flags     uint16
	ttl       [2]uint8

	story       block
	probes      [2]uint32 // keepalive probes sent
	answered    [2]uint32 // of them answered
	rtt         [2]half   // from this end's SYN or probe to its answer: minimum and maximum
	afterGap    uint8     // so many further segments are kept as events of their own
	rsts, icmps uint8     // saturated
	holed       bool      // rare.holes may hold some
	stream      uint32
	first       tcp.Instant
	firstOrd    tcp.Ordinal
	octets      [2]uint64 // new payload octets sent
	advanced    [2]uint32 // when next last moved, in ticks of 2^20 ns
	retrans     [2]uint32
	isn         [2]tcp.Seq
	fingerprint [2]uint32
	older       uint32 // slot+1 of the instance before on the same key
	mss         [2]uint16
	app         [2]uint16 // index into Table.banners
	full        uint16    // largest payload of either end, saturated
	scale       [2]uint8  // window shift + 1; 0 where the SYN was not seen
	ttlMin      [2]uint8
	ttlMax      [2]uint8
	lastOctet   [2]uint8
	probeLen    [2]uint8
}

// rare is what only few flows need at a time.
type rare struct {
	tentative   [2]tcp.Ordinal // since when stTentative holds
	shut        [2]shut        // by the end whose window is shut
	windowProbe [2]uint32      // window probes sent
	pendingISN  tcp.Seq        // SYN inside an established flow that may turn out to open a new one
	pendingOrd  tcp.Ordinal
	pendingAt   tcp.Instant
	pendingSeg  tcp.Segment
	pendingFrom uint8
	holes       [2][]hole // octets not seen, below next
	missing     []capture.Interval
	rhythms     *[2]rhythm // by end; nil until one is looked for
	beats       uint32     // heartbeats and their answers
	foreign     [2]foreign
	stray       [2]stray
	prior       Prior
	learned     bool // prior holds something that a second reading wants
}

// foreign counts the segments of an end whose SACK edges lie nowhere near what
// its peer sent: a box on the way shifts sequence numbers and leaves these alone.
type foreign ForeignSACK

// stray is where an end's newest segment stood that was nowhere near where the
// connection is.
type stray struct {
	next, ack tcp.Seq
	seen      bool
}

// shut is what is known of a window that an end has closed.
type shut struct {
	ord       tcp.Ordinal // the segment that closed it
	at        tcp.Instant
	lastProbe tcp.Instant // newest probe of the peer into it
	gap       float32     // seconds between the two probes before
	open      uint16      // probes not answered
}

// hole is a stretch of sequence space that was skipped.
type hole struct {
	from, to tcp.Seq
	at       tcp.Instant // when it appeared
}

// Bits of cold.flags.
const (
	coldReversed  uint16 = 1 << iota // the client is the Hi end
	coldRoles                        // the client is known by its SYN
	coldMidway                       // first seen after the handshake
	coldHandshake                    // SYN, SYN-ACK and the ACK were seen
	coldEnded                        // both FINs or an accepted RST
	coldRare                         // Table.rare holds more
	coldUsed                         // the slot holds a flow
	coldOddEnd                       // it ended, but not well: worth keeping whole
	coldSteady                       // the last segment came by the short way
	coldBeat                         // the last data of the Lo end was a heartbeat that waits for an answer; that of the Hi end: the next bit
	coldBeatHi                       // see coldBeat
	coldSteadyHi                     // with coldSteady: it was the Hi end's
	coldWaits                        // with coldSteady: it is a probe that waits for its answer
	coldRun                          // the record keeps the newest of a run in the story
	coldRunHi                        // with coldRun: the run is of the Hi end's probes
	coldQuiet                        // with coldWaits: a silence was before the probe
)

// Bits of cold.probe.
const (
	probeOctet    uint8 = 1 << iota // it carries an octet, the one before next
	probeBadSum                     // its IP checksum is wrong
	probeDSACK                      // its answer says that the octet came twice (RFC 2883)
	probeInferred                   // what it carries does not prove it to be one
)

// span is a range of durations in seconds; a max of 0 means nothing was
// measured.
type span struct{ min, max float32 }

func (s *span) add(seconds float32) {
	if seconds <= 0 {
		seconds = 1e-9
	}
	if s.max == 0 {
		s.min, s.max = seconds, seconds
		return
	}
	if seconds < s.min { // min and max would look for NaN
		s.min = seconds
	} else if seconds > s.max {
		s.max = seconds
	}
}

// half is a span in 4 octets: float32 without the lower half of its mantissa,
// good to 0.8 % and rounded outwards.
type half struct{ min, max uint16 }

func (h half) wide() span {
	return span{f32(uint32(h.min) << 16), f32(uint32(h.max) << 16)}
}

func (h *half) add(seconds float32) {
	if seconds < 1e-9 {
		seconds = 1e-9
	}
	down, up := uint16(u32(seconds)>>16), uint16((u32(seconds)+0xffff)>>16)
	if h.max == 0 {
		*h = half{down, up}
		return
	}
	h.min, h.max = min(h.min, down), max(h.max, up)
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// chunk holds the records of 1,024 flows. Records never move.
type chunk [chunkSize]record

// record is all that a table keeps of a flow but its story: 256 octets.
type record struct {
	hot  hot
	cold cold
}

// pool holds flows of one kind of key: IPv4 outside overlays in the narrow
// pool, all others in the wide one, which keeps whole keys beside the records.
type pool struct {
	index  index
	chunks []*chunk
	keys   []*[chunkSize]capture.Key // wide only
	wide   bool
	reused bool   // a slot was handed out a second time: their order is no longer that of the streams
	used   uint32 // slots ever handed out
	free   []uint32
	live   int
}

func (p *pool) record(slot uint32) *record { return &p.chunks[slot>>chunkBits][slot&(chunkSize-1)] }
func (p *pool) hot(slot uint32) *hot       { return &p.record(slot).hot }
func (p *pool) cold(slot uint32) *cold     { return &p.record(slot).cold }

func (p *pool) key(slot uint32) (k capture.Key) {
	p.writeKey(slot, &k)
	return k
}

// writeKey writes a flow's key where it is wanted: one that is made elsewhere and
// copied is read by 16 octets right after it was written by 4, for which a
// processor waits.
func (p *pool) writeKey(slot uint32, k *capture.Key) {
	if p.wide {
		*k = p.keys[slot>>chunkBits][slot&(chunkSize-1)]
		return
	}
	h := p.hot(slot)
	k.SetIPv4(h.addr[0], h.addr[1], h.ports)
}

// hash returns the hash of a flow's key, without making the key.
func (p *pool) hash(slot uint32) uint32 {
	if p.wide {
		return p.index.hash(&p.keys[slot>>chunkBits][slot&(chunkSize-1)])
	}
	h := p.hot(slot)
	return hash4(p.index.seed, h.addr[0], h.addr[1], h.ports)
}

// holds reports whether r, the record of a slot, is or was of a flow of a key. One
// that has left the table has no state and is not coldUsed.
func (p *pool) holds(r *record, slot uint32, k *capture.Key) bool {
	if p.wide {
		return sameKey(&p.keys[slot>>chunkBits][slot&(chunkSize-1)], k)
	}
	return r.hot.is(k)
}

// is reports whether a record of the narrow pool is of a key.
func (h *hot) is(k *capture.Key) bool {
	return h.ports == k.Ports && h.addr[0] == k.Lo[3] && h.addr[1] == k.Hi[3]
}

// sameKey is == without a call: ports differ most often.
func sameKey(a, b *capture.Key) bool {
	return a.Ports == b.Ports && a.Lo == b.Lo && a.Hi == b.Hi && a.Overlay == b.Overlay
}

// find returns the slot of the current instance of a key.
func (p *pool) find(hash uint32, k *capture.Key) (uint32, bool) {
	if p.wide {
		return p.index.find(hash, func(slot uint32) bool {
			return p.keys[slot>>chunkBits][slot&(chunkSize-1)] == *k
		})
	}
	x := &p.index
	mask := uint32(len(x.entries) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		e := x.entries[i]
		if e == 0 {
			return 0, false
		}
		if uint32(e>>32) == hash {
			slot := uint32(e) - 1
			if h := p.hot(slot); h.is(k) {
				return slot, true
			}
		}
	}
}

// take hands out a zeroed slot for a key; it is not yet in the index.
func (p *pool) take(k *capture.Key) uint32 {
	var slot uint32
	if n := len(p.free); n > 0 {
		slot = p.free[n-1]
		p.free, p.reused = p.free[:n-1], true
		*p.record(slot) = record{}
	} else {
		slot = p.used
		p.used++
		if int(slot>>chunkBits) == len(p.chunks) {
			next := new(chunk)
			if len(p.chunks) > 0 { // the first is most tables' only one, and not full
				populate(next[:])
			}
			p.chunks = append(p.chunks, next)
			if p.wide {
				p.keys = append(p.keys, new([chunkSize]capture.Key))
			}
		}
	}
	if p.wide {
		p.keys[slot>>chunkBits][slot&(chunkSize-1)] = *k
	} else {
		h := p.hot(slot)
		h.addr[0], h.addr[1], h.ports = k.Lo[3], k.Hi[3], k.Ports
	}
	p.live++
	return slot
}
