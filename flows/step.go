package flows

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// step is one segment on its way through the table: what it is, whose it is,
// and what was found out about it.
type step struct {
	t       *Table
	pool    *pool
	slot    uint32
	handle  uint32
	h       *hot
	c       *cold
	d, p    int // the sender's end and its peer's
	pkt     *capture.Packet
	seg     *tcp.Segment
	payload []byte
	batch   *capture.Batch // nil for a segment that is not in one
	at      tcp.Instant
	quiet   time.Duration // since the flow's last segment
	conf    Confidence
	note    Note
	answers tcp.Ordinal
	side    *rare // the flow's side notes, once they were looked up

	touched  bool          // the flow has changed
	replayed *youngSegment // of a young flow that grows up: what was put down of the segment; nil for one that comes
}

// timing constants of the classification.
const (
	gapMin     = time.Second            // shorter pauses are no idle gaps
	minRTO     = 200 * time.Millisecond // RFC 6298's minimum as Linux has it
	reorderMax = 3 * time.Millisecond   // what fills a hole this soon was reordered, where the RTT is not known
	tick       = 20                     // cold.advanced counts 2^20 ns
	seqNear    = 1 << 24                // farther apart than this, sequence numbers are of another connection
	seqClose   = 1 << 20                // as near as this, they can be of the same
)

// segment takes one TCP segment through instance, kind, state and story. The
// short ways are tried where that was not done.
func (t *Table) segment(b *capture.Batch, i int, p *pool) {
	pkt, hash, tried := &b.Pkts[i], t.hashOf(p, b.Pkts[:], i), t.plan.short
	slot, ok := t.plan.slot[i]-1, false
	if tried && slot < p.used && p.holds(p.record(slot), slot, &pkt.Key) && p.cold(slot).flags&coldUsed != 0 {
		ok = true
	} else {
		slot, ok = p.find(hash, &pkt.Key)
		tried = false
	}
	if t.ways = t.ways || pkt.Way != 0; ok && t.ways {
		if r := p.record(slot); r.young() && r.hot.tsval[0]>>youngWay != uint32(pkt.Way) {
			t.grow(p, slot) // else there is nothing to hold the segment against
		}
		if alt, split := t.apart(p, slot, pkt); split {
			moved := *pkt
			moved.Key = alt
			moved.Settle()
			pkt, p, tried = &moved, &t.wide, false
			hash = p.index.hash(&alt)
			slot, ok = p.find(hash, &alt)
		}
	}
	if t.short && !tried {
		if !ok {
			if pkt == &b.Pkts[i] && (t.bear(p, hash, b, i, 0, false) || t.join(p, hash, b, pkt)) { // one that is told apart has a story from the start
				return
			}
		} else if r := p.record(slot); t.steady(r, pkt) || t.otherwise(p, r, slot, b, pkt) {
			return
		}
	}
	if t.short && ok && (pkt.Seg.Flags == tcp.SYN && pkt == &b.Pkts[i] && t.reborn(p, hash, slot, b, i) || t.joined(p.record(slot), p.handle(slot), b, pkt)) {
		return
	}
	t.taken(b, i, pkt, p, hash, slot, ok)
}

// taken takes a segment the long way; ok says that its flow is at slot, and a young
// one grows up. pkt is the packet, or a copy of it under another key.
func (t *Table) taken(b *capture.Batch, i int, pkt *capture.Packet, p *pool, hash, slot uint32, ok bool) {
	if ok {
		t.grow(p, slot)
	}
	s := &t.step
	*s = step{} // by itself, then each field: a whole one is made elsewhere and copied by 16 octets, which waits for what wrote it
	s.t, s.pool = t, p
	s.pkt, s.seg = pkt, &pkt.Seg
	s.at, s.payload, s.batch = pkt.At, b.Payload(i), b
	if pkt.Reversed {
		s.d, s.p = 1, 0
	} else {
		s.d, s.p = 0, 1
	}
	s.take(s.name(s.locate(hash, slot, ok)))
	if t.Options.Touched != nil && s.touched {
		t.Options.Touched(makeID(s.handle, s.c.stream))
	}
}

// name takes note of the segment and says what it was for. stale says that it
// belongs to an earlier connection.
func (s *step) name(stale bool) Kind {
	s.meet()
	return s.kind(stale)
}

// take brings the flow to after the segment.
func (s *step) take(kind Kind) {
	if kind == Duplicate || kind == Stale {
		if kind == Stale {
			s.tell(kind)
		}
		s.label(kind)
		if kind == Stale && s.amiss() {
			s.keep(kind) // it may be all the answer that there is
		}
		return
	}
	s.touched = true
	s.tell(kind)
	s.label(kind)
	s.keep(kind)
}

func (s *step) rareIf() *rare {
	if s.c.flags&coldRare == 0 {
		return nil
	}
	if s.side == nil {
		s.side = s.t.rare[s.handle]
	}
	return s.side
}

func (s *step) rare() *rare {
	if s.side == nil || s.c.flags&coldRare == 0 {
		s.side = s.t.rareOf(s.handle, s.c)
	}
	return s.side
}

// learn returns the flow's Prior to write into.
func (s *step) learn() *Prior {
	r := s.rare()
	r.learned = true
	return &r.prior
}

// meet takes note of what holds for every segment, whatever its kind.
func (s *step) meet() {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	s.quiet = s.at.Sub(h.last)
	if c.segments[0]+c.segments[1] == 0 {
		s.quiet = 0
	}
	c.segments[d]++
	c.ttl[d] = seg.TTL
	if c.ttlMin[d] == 0 || seg.TTL < c.ttlMin[d] {
		c.ttlMin[d] = seg.TTL
	}
	c.ttlMax[d] = max(c.ttlMax[d], seg.TTL)
	c.way[d] = s.pkt.Way
	if h.state[d]&stSeen != 0 && seg.IPID != c.ipid[d] {
		h.state[d] |= stIDVaries
	}
	if seg.Opts.Has(tcp.OptTimestamps) {
		h.state[d] |= stTimestamps
	}
	if seg.Opts.Has(tcp.OptSACK) && seg.Flags.Has(tcp.ACK) {
		s.meetSACK()
	}
	if s.pkt.Note&(capture.NoteBadIPSum|capture.NoteBadTCPSum) != 0 {
		s.note |= NoteBadSum
	}
}

// farthestEdge is how far a SACK edge can be from the acknowledgment: the largest
// window is a GiB (RFC 7323), and what is in flight in practice is a sixteenth of
// that. A random shift is farther, but for one in 32.
const farthestEdge = 1 << 26

// meetSACK notes edges that cannot be of this connection.
func (s *step) meetSACK() {
	off := int32(s.seg.SackL - s.seg.Ack)
	if off > -farthestEdge && off < farthestEdge {
		return
	}
	f := &s.rare().foreign[s.d]
	f.Count++
	f.Ord, f.At, f.Off = s.pkt.Ord, s.at, tcp.Seq(off)
}

// tell brings the flow's state to after the segment.
func (s *step) tell(kind Kind) {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	h.state[d] |= stSeen
	c.ipid[d] = seg.IPID
	if s.at > h.last {
		h.last = s.at
	}
	h.ord = s.pkt.Ord
	if kind == Stale {
		return
	}
	f := seg.Flags
	if nonsense(f) {
		return
	}
	switch {
	case f&tcp.RST != 0:
		s.tellReset()
		return
	case s.note&NoteOutOfWindow != 0:
		return
	case f&tcp.SYN != 0:
		s.tellSYN()
	default:
		if f&tcp.ACK != 0 || f&tcp.FIN != 0 || seg.Len > 0 {
			s.tellOrdinary(kind)
		}
	}
	if f&tcp.ACK != 0 {
		s.tellAck(kind)
	}
	if seg.Opts.Has(tcp.OptTimestamps) && int32(seg.TSVal-h.tsval[d]) > 0 || h.tsval[d] == 0 {
		h.tsval[d] = seg.TSVal
	}
	s.tellWindow()
	s.tellEnd()
}

// nonsense reports flag combinations that no stack sends on a connection.
func nonsense(f tcp.Flags) bool {
	n := 0
	for _, bit := range [...]tcp.Flags{tcp.SYN, tcp.FIN, tcp.RST} {
		if f&bit != 0 {
			n++
		}
	}
	return n > 1 || f&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) == 0
}

func (s *step) tellReset() {
	h, d := s.h, s.d
	if s.note&NoteOutOfWindow != 0 {
		if s.seg.Seq.After(h.next[d]) { // what lies below the window is dropped in silence (RFC 5961, section 3)
			h.state[d] |= stChallenge
		}
	} else {
		h.state[d] |= stRST
		s.end()
	}
	if s.c.rsts < 255 {
		s.c.rsts++
	}
}

func (s *step) tellSYN() {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	if h.state[d]&stSYN != 0 && c.isn[d] != seg.Seq || h.state[d]&stSYN == 0 && h.state[d]&(stKnown|stTentative) != 0 && c.flags&coldEnded == 0 {
		// Another SYN inside the connection: a challenge ACK may follow, or a
		// SYN-ACK that shows it to open a new one.
		h.state[d] |= stChallenge
		s.pend()
		return
	}
	if h.state[d]&stSYN != 0 { // repeated
		if c.flags&(coldEnded|coldHandshake) == coldEnded|coldHandshake {
			s.pend()
		}
		return
	}
	h.state[d] |= stSYN | stKnown
	h.state[d] &^= stTentative
	c.isn[d] = seg.Seq
	h.next[d] = seg.Seq + 1
	if seg.Len > 0 { // Fast Open: the octets count only once acknowledged
		h.state[d] &^= stOctet
	}
	s.advanced()
	c.mss[d] = seg.MSS
	if seg.Opts.Has(tcp.OptWScale) {
		c.scale[d] = min(seg.WScale, 14) + 1
	}
	c.fingerprint[d] = fingerprint(seg)
	if seg.Flags&tcp.ACK != 0 && h.state[s.p]&stSYN != 0 && seg.Ack == c.isn[s.p]+1 {
		c.rtt[s.p].add(inSeconds(s.at.Sub(s.synAt())))
	}
}

// pend keeps a SYN in mind that may turn out to open a new connection.
func (s *step) pend() {
	if s.seg.Flags&tcp.ACK != 0 {
		return
	}
	r := s.rare()
	r.pendingISN, r.pendingOrd, r.pendingAt = s.seg.Seq, s.pkt.Ord, s.at
	r.pendingSeg, r.pendingFrom = *s.seg, uint8(s.d)
}

// synAt is when the handshake's latest SYN was sent, as far as the story tells.
func (s *step) synAt() tcp.Instant {
	evs := s.t.arena.events(s.c.story)
	at := s.c.first
	for i := range evs {
		if evs[i].kind == SYN && evs[i].from() == s.p {
			at = evs[i].at
		}
	}
	return at
}

// fingerprint condenses what a SYN tells of its stack and a NAT leaves alone.
func fingerprint(seg *tcp.Segment) uint32 {
	h := mix(uint64(seg.OptHash)<<32|uint64(seg.WScale)<<16|uint64(seg.Win), 0xa0761d6478bd642f)
	return uint32(h>>32) | 1
}

func (s *step) advanced() { s.c.advanced[s.d] = ticks(s.at) }

func ticks(t tcp.Instant) uint32 { return uint32(uint64(t) >> tick) }

// age is how long ago end e last sent something new.
func (s *step) age(e int) time.Duration {
	d := time.Duration(int64(int32(ticks(s.at)-s.c.advanced[e]))) << tick
	if d < -time.Minute {
		return longAgo << tick // older than the count reaches
	}
	return max(d, 0)
}

// longAgo, in ticks, stands for "before the capture began": three days.
const longAgo = 1 << 28

// tellOrdinary moves SND.NXT of the sender.
func (s *step) tellOrdinary(kind Kind) {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	if h.state[d]&(stKnown|stTentative) == 0 {
		return // meetBaseline has refused it
	}
	end := seg.End()
	if h.state[d]&stTentative != 0 && seg.Len == 1 && seg.Flags&tcp.FIN == 0 && seg.Seq == h.next[d] {
		return // data or a probe: the acknowledgment or the next segment tells
	}
	grows := end.After(h.next[d])
	if grows && kind != ZeroWindowProbe {
		if seg.Seq.After(h.next[d]) {
			s.skipped(h.next[d], seg.Seq)
		}
		c.octets[d] += uint64(end.Sub(h.next[d]))
		if seg.Flags&tcp.FIN != 0 {
			c.octets[d]-- // it takes a number and carries nothing
		}
		h.next[d] = end
		s.advanced()
		h.state[d] &^= stHeard
		if seg.Len > 0 {
			s.tellPayload()
		}
	} else if kind == OutOfOrder && seg.Len > 0 || kind == Retransmission {
		if s.fill(seg.Seq, end) {
			c.octets[d] += uint64(seg.Len)
		}
	}
	if seg.Flags&tcp.FIN != 0 {
		h.state[d] |= stFIN
	}
	if kind == Retransmission {
		c.retrans[d]++
	}
	switch kind {
	case KeepaliveProbe:
		c.probes[d]++
		c.probeLen[d] = uint8(seg.Len)
		s.lapse()
		c.open[d]++
	case Data, Retransmission:
		s.lapse()
	case ZeroWindowProbe:
		s.rare().windowProbe[d]++
	}
}

// lapse gives up waiting for answers to probes that newer ones were answered
// before: the sender has moved on.
func (s *step) lapse() {
	if s.h.state[s.d]&stLate != 0 {
		s.h.state[s.d] &^= stLate
		s.c.open[s.d] = 0
	}
}

func (s *step) tellPayload() {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	c.full = max(c.full, uint16(min(seg.Len, 0xffff)))
	h.state[d] &^= stOctet
	if n := len(s.payload); n > 0 && uint32(n) == seg.Len {
		c.lastOctet[d] = s.payload[n-1]
		h.state[d] |= stOctet
	} else if s.replayed != nil && s.replayed.bits&youngOctet != 0 {
		c.lastOctet[d] = s.replayed.octet
		h.state[d] |= stOctet
	}
	if c.app[d] == 0 && c.octets[d] <= askedOctets {
		s.recognise()
	}
	if s.t.Options.Digests {
		s.sampleData()
	}
}

// tellAck raises SND.UNA of the peer.
func (s *step) tellAck(kind Kind) {
	h, seg, p := s.h, s.seg, s.p
	if h.state[p]&(stKnown|stTentative) == 0 {
		if h.state[p]&stAcked == 0 || seg.Ack.After(h.una[p]) {
			h.una[p] = seg.Ack
			h.state[p] |= stAcked
		}
		return
	}
	if s.c.open[p] > 0 {
		if probe, _ := s.openProbe(); probe != nil && s.outlives(probe) {
			s.c.open[p] = 0 // nobody waits for an answer any more
			h.state[p] &^= stLate
		}
	}
	ahead := seg.Ack.Sub(h.next[p])
	if ahead > 1<<30 || ahead < -(1<<30) {
		return // of another connection, or nonsense
	}
	if ahead > 0 {
		s.ackedUnseen()
	}
	if h.state[p]&stAcked == 0 || seg.Ack.After(h.una[p]) {
		if r := s.rareIf(); r != nil {
			r.holes[p] = dropBelow(r.holes[p], seg.Ack)
			s.c.holed = r.holed()
		}
		h.una[p] = seg.Ack
		h.state[p] |= stAcked
		if seg.Len == 0 && seg.Flags&(tcp.SYN|tcp.FIN) == 0 {
			h.state[s.d] |= stHeard
		}
	}
}

// ackedUnseen handles an acknowledgment of octets that the capture does not
// hold: the baseline rises, and the stretch since the flow was last seen is
// marked as one in which frames are missing. A window probe's octet that the
// peer took is none of these, nor is what came with the SYN.
func (s *step) ackedUnseen() {
	h, p := s.h, s.p
	if !(s.seg.Ack == h.next[p]+1 && h.state[p]&stWindowMode != 0) && !s.openedFast() {
		r := s.rare()
		if len(r.missing) < 8 {
			r.missing = append(r.missing, capture.Interval{From: s.at.Add(-s.quiet), To: s.at, Why: capture.WhyDropped})
		}
	}
	h.next[p] = s.seg.Ack
	h.state[p] = h.state[p]&^(stTentative|stOctet) | stKnown
	s.c.advanced[p] = ticks(s.at.Add(-s.quiet))
}

// openedFast reports whether what is acknowledged came with the SYN (RFC 7413).
func (s *step) openedFast() bool {
	evs, ahead := s.t.arena.events(s.c.story), s.seg.Ack-s.h.next[s.p]
	return s.h.next[s.p] == s.c.isn[s.p]+1 && slices.ContainsFunc(evs, func(ev event) bool {
		return ev.kind == SYN && ev.bits&evTail == 0 && ev.from() == s.p && uint32(ahead) <= ev.count
	})
}

func (s *step) tellWindow() {
	h, seg, d := s.h, s.seg, s.d
	if seg.Flags&tcp.ACK == 0 && seg.Flags&tcp.SYN == 0 {
		return
	}
	h.win[d] = seg.Win
	if seg.Win == 0 && seg.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
		return // nothing can be sent into it before the window is told again; scanners send such SYNs
	}
	if seg.Win == 0 {
		if h.state[d]&stShut == 0 && seg.Flags&tcp.FIN == 0 {
			h.state[d] |= stShut
			r := s.rare()
			r.shut[d] = shut{ord: s.pkt.Ord, at: s.at}
			for _, o := range r.prior.Shut {
				if o == s.pkt.Ord {
					h.state[s.p] |= stWindowMode
				}
			}
		}
		return
	}
	if h.state[d]&stShut != 0 {
		h.state[d] &^= stShut
		h.state[s.p] &^= stWindowMode | stIdleMode
	}
}

// tellEnd notices the end of the connection: both FINs acknowledged.
func (s *step) tellEnd() {
	h := s.h
	if h.state[0]&h.state[1]&stFIN != 0 && h.una[0] == h.next[0] && h.una[1] == h.next[1] {
		s.end()
	}
	if h.state[0]&h.state[1]&stSYN != 0 && s.c.flags&coldMidway == 0 && s.d == s.clientEnd() &&
		s.seg.Flags&tcp.SYN == 0 && s.seg.Flags&tcp.ACK != 0 {
		s.c.flags |= coldHandshake
	}
}

func (s *step) clientEnd() int {
	if s.c.flags&coldReversed != 0 {
		return 1
	}
	return 0
}

// end marks the flow as over. One that ended with probes or data unanswered
// is kept whole.
func (s *step) end() {
	c := s.c
	if c.flags&coldEnded != 0 {
		return
	}
	c.flags |= coldEnded
	if s.endedOddly() {
		c.flags |= coldOddEnd
		return
	}
	if s.replayed == nil { // else it was told of
		s.t.finished(s.pool, s.slot)
	}
}

// endedOddly reports whether the end is one that a user would ask about:
// after unanswered probes or retransmissions, after a long silence by a RST,
// or before the handshake was done.
func (s *step) endedOddly() bool {
	c := s.c
	if c.open[0]+c.open[1] > 0 || c.icmps > 0 {
		return true
	}
	if s.seg.Flags&tcp.RST != 0 {
		return s.quiet >= gapMin || c.probes[0]+c.probes[1] > 0 || s.h.state[0]&s.h.state[1]&stSeen == 0 || c.octets[0]+c.octets[1] == 0
	}
	return false
}

// label hands the segment's label to who asked for it.
func (s *step) label(kind Kind) {
	if s.t.Options.Label == nil {
		return
	}
	s.t.Options.Label(s.labelFor(s.pkt.Ord, kind, s.conf, s.answers, s.d))
}

func (s *step) labelFor(ord tcp.Ordinal, kind Kind, conf Confidence, answers tcp.Ordinal, from int) Label {
	return Label{
		Ord: ord, Answers: answers, Flow: makeID(s.handle, s.c.stream), Stream: uint64(s.c.stream),
		Sender: s.sender(from), Kind: kind, Conf: conf,
	}
}

// sender names an end as client or server.
func (s *step) sender(end int) uint8 {
	k := &s.pkt.Key
	if k.Lo == k.Hi && k.Ports>>16 == k.Ports&0xffff {
		return Unclear
	}
	if end == s.clientEnd() {
		return Client
	}
	return Server
}

// revise tells who asked that an earlier label was wrong.
func (s *step) revise(ord tcp.Ordinal, kind Kind, conf Confidence, answers tcp.Ordinal) {
	if s.t.Options.Revise != nil {
		s.t.Options.Revise(s.labelFor(ord, kind, conf, answers, s.d))
	}
}
