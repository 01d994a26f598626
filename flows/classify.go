package flows

import (
	"time"

	"kaflow/tcp"
)

// kind says what the segment was for: the first kind that fits, in the order
// that the contract fixes. It reads the state before the segment; tell brings
// the state to after it.
func (s *step) kind(stale bool) Kind {
	seg := s.seg
	f := seg.Flags
	if s.t.copies.seen(s.handle, s.d, seg, s.at, trust(s.h.state[s.d]&stIDVaries != 0, s.c.segments[s.d]-1)) {
		return Duplicate
	}
	if stale {
		return Stale
	}
	if f&tcp.RST != 0 {
		return s.reset()
	}
	if nonsense(f) {
		if f&tcp.SYN != 0 {
			return SYN
		}
		return Unknown
	}
	if f&tcp.SYN != 0 {
		if s.h.state[s.d]&stSYN != 0 && s.c.isn[s.d] == seg.Seq {
			s.note |= NoteRepeated
		}
		if f&tcp.ACK != 0 {
			return SYNACK
		}
		return SYN
	}
	s.applyPrior()
	if s.elsewhere() {
		s.note |= NoteOutOfWindow
		if seg.Len == 0 && f&tcp.FIN == 0 {
			return ACK
		}
		return Unknown
	}
	if f&tcp.FIN != 0 {
		s.baseline()
		s.settlePeer()
		if s.h.state[s.d]&stFIN != 0 {
			s.note |= NoteRepeated
		}
		return FIN
	}
	s.baseline()
	s.settlePeer()
	if k, ok := s.windowProbe(); ok {
		return k
	}
	if k, ok := s.belowNext(); ok {
		if k == KeepaliveProbe && s.h.state[s.p]&stShut != 0 {
			s.conf = Inferred // by its pace: a window probe can look the same
		}
		return k
	}
	if seg.Len > 0 {
		s.credit()
		if seg.Flags&tcp.PSH != 0 {
			s.note |= NotePSH
		}
		return s.dataKind()
	}
	return s.empty()
}

// reset judges a RST: does the receiver accept it (RFC 5961, section 3.2)? Its
// sequence number may also be the proof of what SND.NXT was.
func (s *step) reset() Kind {
	h, seg, d := s.h, s.seg, s.d
	if h.state[d]&stTentative != 0 && seg.Seq == h.next[d]+1 {
		s.settle(d, seg.Seq, true)
	}
	if h.state[d]&stKnown == 0 {
		return RST
	}
	off := seg.Seq.Sub(h.next[d])
	low := 0
	if h.state[d]&stAcked != 0 {
		low = h.una[d].Sub(h.next[d])
	}
	if s.c.flags&coldEnded == 0 && h.state[s.p]&stSeen != 0 && (off < low || off > 0) {
		s.note |= NoteOutOfWindow
	}
	return RST
}

// elsewhere reports whether both numbers of a segment lie farther than a window
// from where the two ends stand: a firewall that has ceased to shift them passes
// such ones on, and nobody takes them. Behind a gap in the capture both ends have
// moved on, and the peer's next segment fits this one.
func (s *step) elsewhere() bool {
	h, seg, d, p := s.h, s.seg, s.d, s.p
	if seg.Flags&tcp.ACK == 0 || (h.state[0]|h.state[1])&stTentative != 0 || h.state[0]&h.state[1]&stKnown == 0 {
		return false
	}
	near := func(seq, ack tcp.Seq) (bool, bool) {
		return abs(seg.Seq.Sub(seq)) <= s.widest(p), abs(seg.Ack.Sub(ack)) <= s.widest(d)
	}
	if seq, ack := near(h.next[d], h.next[p]); seq || ack {
		return false
	}
	r := s.rare()
	if other := r.stray[p]; other.seen {
		if seq, ack := near(other.ack, other.next); seq && ack {
			r.stray = [2]stray{}
			return false
		}
	}
	r.stray[d] = stray{seg.End(), seg.Ack, true}
	return true
}

// widest is the largest window that an end can announce, and no less than what
// sequence numbers of one connection lie apart.
func (s *step) widest(e int) int {
	if s.h.state[e]&stSYN == 0 {
		return 0xffff << 14 // RFC 7323, section 2.3
	}
	return max(seqNear, 0xffff<<max(0, int(s.c.scale[e])-1))
}

// baseline settles what SND.NXT of the sender was before this segment, as far
// as the segment itself can tell.
func (s *step) baseline() {
	h, seg, d := s.h, s.seg, s.d
	st := h.state[d]
	switch {
	case st&stKnown != 0:
		s.jump()
	case st&stTentative != 0:
		s.clarify()
	case st&stAcked != 0 && seg.Seq.Sub(h.una[d]) >= -seqNear && seg.Seq.Sub(h.una[d]) <= 0:
		// The peer has acknowledged up to una: whatever begins below it was
		// sent before, or is a probe.
		h.next[d] = h.una[d]
		h.state[d] |= stKnown
		if seg.Seq != h.una[d] {
			s.conf = Inferred
		}
	default:
		h.next[d] = seg.Seq
		if seg.Len > 1 || seg.Flags&tcp.FIN != 0 || seg.Len == 1 && seg.Flags&tcp.PSH != 0 {
			h.state[d] |= stKnown
			return
		}
		s.unsure()
	}
}

// unsure remembers that the sender's SND.NXT may be one above what it shows.
func (s *step) unsure() {
	s.h.state[s.d] = s.h.state[s.d]&^stKnown | stTentative
	s.conf = Inferred
}

// jump handles a segment above SND.NXT: octets before it are missing from the
// capture. An empty one may be a probe of a SND.NXT yet one higher.
func (s *step) jump() {
	h, seg, d := s.h, s.seg, s.d
	over := seg.Seq.Sub(h.next[d])
	if over <= 0 || seg.Len > 1 || over > 1<<30 {
		return
	}
	if seg.Len == 1 && seg.Flags&tcp.PSH != 0 {
		return
	}
	if h.state[d]&stAcked != 0 && !seg.Seq.After(h.una[d].Add(-1)) {
		return
	}
	s.skipped(h.next[d], seg.Seq)
	h.next[d] = seg.Seq
	s.rare().tentative[d] = s.pkt.Ord
	s.unsure()
}

// clarify compares a segment with the empty ones that left SND.NXT unsure.
func (s *step) clarify() {
	h, seg, d := s.h, s.seg, s.d
	switch off := seg.Seq.Sub(h.next[d]); {
	case off == 0 && seg.Len <= 1 && seg.Flags&tcp.FIN == 0:
		if seg.Len == 1 && (seg.Flags&tcp.PSH != 0 || len(s.payload) == 1 && s.payload[0] != 0) {
			s.settle(d, seg.Seq, false)
			return
		}
		s.conf = Inferred
	case off == 1 && s.probeLike(d):
		s.settle(d, seg.Seq, true)
	case off < 0 && off > -seqNear && off != -1:
		// An old segment; it tells nothing.
	case off == -1 && seg.Len <= 1:
		s.settle(d, h.next[d], false)
	default:
		s.settle(d, seg.Seq, false)
	}
}

// probeLike reports whether the segments that left end e unsure could be
// probes: empty ones, or bare NUL octets.
func (s *step) probeLike(e int) bool {
	evs := s.t.arena.events(s.c.story)
	for i := len(evs) - 1; i >= 0; i-- {
		ev := &evs[i]
		if ev.bits&evTail == 0 && ev.from() == e && ev.seq == s.h.next[e] {
			return ev.count == 0 || ev.note&NotePSH == 0
		}
	}
	return true
}

// settle fixes end e's SND.NXT, and labels the segments that had left it
// unsure: probes where next lies one above them.
func (s *step) settle(e int, next tcp.Seq, probes bool) {
	h := s.h
	seq := h.next[e]
	h.next[e] = next
	h.state[e] = h.state[e]&^stTentative | stKnown
	since := s.c.firstOrd
	if r := s.rareIf(); r != nil && r.tentative[e] != 0 {
		since, r.tentative[e] = r.tentative[e], 0
	}
	if s.t.Options.Learn {
		if pr := s.learn(); len(pr.Resync) < 64 {
			known := Resync{From: since}
			known.Next[e], known.Known[e] = next, true
			pr.Resync = append(pr.Resync, known)
		}
	}
	if !probes {
		return
	}
	s.c.advanced[e] = ticks(s.at) - longAgo // nothing new was sent since the capture began
	evs := s.t.arena.events(s.c.story)
	for i := range evs {
		ev := &evs[i]
		if ev.bits&(evTail|evRun) != 0 || ev.from() != e || ev.ordinal() < since || ev.seq != seq || ev.count > 1 {
			continue
		}
		if ev.kind != ACK && ev.kind != DupACK && ev.kind != Data && ev.kind != WindowUpdate && ev.kind != Retransmission {
			continue
		}
		if ev.kind == Retransmission {
			s.c.retrans[e]--
		}
		ev.kind = KeepaliveProbe
		ev.note |= NoteRevised
		ev.bits |= evInferred | evOpen
		s.c.probes[e]++
		s.c.open[e]++
		s.c.probeLen[e] = uint8(ev.count)
		d := s.d
		s.d = e
		s.revise(ev.ordinal(), KeepaliveProbe, Inferred, 0)
		s.d = d
	}
}

// settlePeer lets the acknowledgment settle what the peer's SND.NXT was.
func (s *step) settlePeer() {
	h, seg, p := s.h, s.seg, s.p
	if h.state[p]&stTentative == 0 || seg.Flags&tcp.ACK == 0 {
		return
	}
	switch ahead := seg.Ack.Sub(h.next[p]); {
	case ahead == 1:
		s.settle(p, seg.Ack, seg.DSACK() || s.probeLike(p))
	case ahead == 0:
		s.settle(p, seg.Ack, false)
	case ahead > 1 && ahead < 1<<30:
		s.settle(p, seg.Ack, false)
	}
}

// applyPrior uses what a first reading learned about this stretch.
func (s *step) applyPrior() {
	r := s.rareIf()
	if r == nil || s.t.Options.Prior == nil {
		return
	}
	for len(r.prior.Resync) > 0 && r.prior.Resync[0].From <= s.pkt.Ord {
		x := r.prior.Resync[0]
		r.prior.Resync = r.prior.Resync[1:]
		for e := range 2 {
			if !x.Known[e] {
				continue
			}
			s.h.next[e], s.h.una[e] = x.Next[e], x.Next[e]
			s.h.state[e] = s.h.state[e]&^stTentative | stKnown | stAcked
			s.c.advanced[e] = ticks(s.at) - longAgo
			s.conf = Inferred
		}
	}
}

// belowNext handles what begins below SND.NXT: probes, repetitions and what
// was overtaken on the way.
func (s *step) belowNext() (Kind, bool) {
	h, seg, d := s.h, s.seg, s.d
	if h.state[d]&(stKnown|stTentative) == 0 {
		return 0, false
	}
	below := h.next[d].Sub(seg.Seq)
	if below <= 0 || below > 1<<30 {
		return 0, false
	}
	if seg.Len == 0 {
		return s.emptyBelow(below)
	}
	if seg.Len == 1 && seg.Seq.Add(1) == s.dataEnd() {
		return s.lastOctetAgain(), true
	}
	if s.isHole(seg.Seq, seg.Seq+tcp.Seq(seg.Len)) && s.overtaken() {
		return OutOfOrder, true
	}
	s.credit()
	return Retransmission, true
}

// dataEnd is one past the sender's last payload octet: SND.NXT without a FIN.
func (s *step) dataEnd() tcp.Seq {
	if s.h.state[s.d]&stFIN != 0 {
		return s.h.next[s.d] - 1
	}
	return s.h.next[s.d]
}

// rto is a lower bound of the sender's retransmission timeout, by what was
// seen of the round trip.
func (s *step) rto() time.Duration { return s.rtoOf(s.d) }

func (s *step) rtoOf(e int) time.Duration {
	return max(minRTO, 2*seconds(s.c.rtt[e].wide().max))
}

// longSince is a pause behind which nothing that was sent before it is on its way any more
// to or from an end.
func (s *step) longSince(e int) time.Duration { return max(s.rtoOf(e), time.Second) }

// emptyBelow judges an empty segment below SND.NXT.
func (s *step) emptyBelow(below int) (Kind, bool) {
	h, seg, d := s.h, s.seg, s.d
	fin := h.state[d]&stFIN != 0
	acked := h.state[d]&stAcked != 0 && h.una[d] == h.next[d]
	peerSeen := h.state[s.p]&stSeen != 0
	switch {
	case fin && below == 2 && h.state[d]&stAcked != 0 && !h.una[d].Before(h.next[d]-1):
		// The octet below the FIN.
	case below != 1 && h.state[d]&stAcked != 0 && seg.Seq == h.una[d]-1 && s.age(d) >= s.longSince(d):
		s.conf = Inferred // BSD and macOS take the octet below what is acknowledged, whatever was sent since
	case below != 1:
		return OutOfOrder, true
	case fin && !acked:
		if s.age(d) < time.Minute {
			return ACK, true // teardown: sent before the FIN, or a stack that does not count it
		}
		s.conf = Inferred
	}
	if s.overtakenByTime() {
		if fin {
			return ACK, true
		}
		return OutOfOrder, true
	}
	if !acked && !fin {
		if peerSeen && s.age(d) < s.longSince(d) {
			return OutOfOrder, true
		}
		s.conf = Inferred // its acknowledgment is missing from the capture
	}
	if seg.Flags&(tcp.ACK|tcp.PSH|tcp.URG) != tcp.ACK {
		s.conf = Inferred
	}
	return KeepaliveProbe, true
}

// overtakenByTime reports whether the segment can have been sent before the
// sender's newest octet: too soon after it, or with an older timestamp. What
// acknowledges more than the sender could when it sent that octet, or lacks
// the timestamps that its ordinary segments carry, was sent later.
func (s *step) overtakenByTime() bool {
	justOpened := s.h.state[s.d]&stSYN != 0 && s.h.next[s.d] == s.c.isn[s.d]+1 // what comes at once is of the handshake
	newer := s.h.state[s.d]&stHeard != 0 && s.seg.Ack == s.h.una[s.p] && !justOpened
	bare := s.h.state[s.d]&stTimestamps != 0 && !s.seg.Opts.Has(tcp.OptTimestamps)
	if newer || bare {
		return false
	}
	if s.age(s.d) < s.rto() {
		return true
	}
	return s.seg.Opts.Has(tcp.OptTimestamps) && s.h.state[s.d]&stTimestamps != 0 &&
		s.h.tsval[s.d] != 0 && int32(s.seg.TSVal-s.h.tsval[s.d]) < 0
}

// lastOctetAgain tells a probe that carries one octet from the last octet
// sent again. The acknowledgment decides; where it may have been lost beyond
// the capture, the octet and PSH do.
func (s *step) lastOctetAgain() Kind {
	c, h, seg, d := s.c, s.h, s.seg, s.d
	acked := h.state[d]&stAcked != 0 && !h.una[d].Before(seg.Seq+1)
	captured := len(s.payload) == 1
	known := captured && h.state[d]&stOctet != 0
	push := seg.Flags&tcp.PSH != 0
	differs := known && s.payload[0] != c.lastOctet[d]
	nul := captured && s.payload[0] == 0
	probesEmpty := c.probes[d] > 0 && c.probeLen[d] == 0
	repeated := func() Kind {
		s.credit()
		return Retransmission
	}
	if !acked {
		if h.state[s.p]&stSeen == 0 && !push && s.age(d) >= s.longSince(d) {
			s.conf = Inferred // nobody's acknowledgments were captured
			return KeepaliveProbe
		}
		if push || !differs && !(nul && c.probes[d] > 0 && c.probeLen[d] == 1) {
			return repeated()
		}
		s.conf = Inferred
		return KeepaliveProbe
	}
	switch {
	case push, known && !differs && !nul, probesEmpty && !differs:
		return repeated()
	case s.age(d) < s.rto():
		return repeated()
	case !captured || known && !differs:
		s.conf = Inferred
	}
	return KeepaliveProbe
}

// empty names an empty segment at SND.NXT.
func (s *step) empty() Kind {
	h, seg, d, p := s.h, s.seg, s.d, s.p
	prior := s.rareIf()
	if prior != nil && prior.prior.Unclear {
		s.conf = Inferred
		return KeepaliveUnclear
	}
	if h.state[p]&stSeen == 0 && s.t.Options.Revise != nil && s.keepsPace() {
		s.conf = Inferred
		return KeepaliveUnclear
	}
	first := h.state[d]&stSeen == 0
	sameAck := h.state[p]&stAcked != 0 && h.una[p] == seg.Ack
	if s.answersProbe() {
		s.credit()
		if !first && seg.Win != h.win[d] {
			s.note |= NoteWindowChanged
		}
		if seg.DSACK() {
			s.note |= NoteDSACK
		}
		return KeepaliveACK
	}
	if r := s.rareIf(); r != nil && r.shut[d].open > 0 && h.state[d]&stShut != 0 {
		r.shut[d].open--
		if seg.Win == 0 {
			return ZeroWindowACK
		}
		return WindowUpdate
	}
	if h.state[p]&stChallenge != 0 {
		h.state[p] &^= stChallenge
		if sameAck && s.quiet < s.longSince(d) {
			return ChallengeACK
		}
	}
	if seg.DSACK() {
		s.note |= NoteDSACK
	}
	outstanding := h.state[p]&(stKnown) != 0 && seg.Ack.Before(h.next[p])
	switch {
	case first || !sameAck:
		return ACK
	case seg.Win != h.win[d]:
		return WindowUpdate
	case outstanding || seg.Opts.Has(tcp.OptSACK):
		return DupACK
	}
	return ACK
}

// keepsPace reports whether the empty segments of a flow of which only one
// direction is seen come at one pace, for streams that cannot be read again.
// The earlier ones are labelled afterwards.
func (s *step) keepsPace() bool {
	evs := s.t.arena.events(s.c.story)
	if len(evs) < 2 {
		return false
	}
	last, before := &evs[len(evs)-1], &evs[len(evs)-2]
	for _, ev := range []*event{last, before} {
		if ev.bits&(evTail|evRun) != 0 || ev.count != 0 || ev.seq != s.seg.Seq || ev.kind != ACK && ev.kind != KeepaliveUnclear {
			return false
		}
	}
	gap, gapBefore := s.at.Sub(last.at), last.at.Sub(before.at)
	if gap < gapMin/2 || gapBefore < gapMin/2 || float64(max(gap, gapBefore)) > 1.1*float64(min(gap, gapBefore)) {
		return false
	}
	for _, ev := range []*event{before, last} {
		if ev.kind == ACK {
			ev.kind = KeepaliveUnclear
			ev.bits |= evInferred
			s.revise(ev.ordinal(), KeepaliveUnclear, Inferred, 0)
		}
	}
	return true
}
