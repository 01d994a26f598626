package flows

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Which connection a segment belongs to: ports are used again, a SYN inside a
// living connection is not yet a new one, and late segments of an old one come.

// poolOf returns the pool in which a key's flows live.
func (t *Table) poolOf(k *capture.Key) *pool {
	if k.Overlay != 0 || !k.Is4() {
		return &t.wide
	}
	return &t.narrow
}

// locate takes the flow that was found, or opens one, and reports whether the segment belongs to
// an earlier connection on the same ports.
func (s *step) locate(hash, slot uint32, ok bool) (stale bool) {
	k := &s.pkt.Key
	if !ok {
		s.use(s.t.open(s.pool, hash, k, 0, false, s.pkt))
		s.begin()
		return false
	}
	s.use(slot)
	s.t.flush(s.pool, slot)
	if s.opensAnew() {
		s.use(s.t.open(s.pool, hash, k, slot, true, s.pkt))
		s.begin()
		return false
	}
	if s.adoptsPending(hash, k) {
		return false
	}
	return s.amiss() || s.t.isStale(s.pool, s.slot, s.seg, s.d)
}

func (s *step) use(slot uint32) {
	s.slot, s.handle, s.side = slot, s.pool.handle(slot), nil
	s.h, s.c = s.pool.hot(slot), s.pool.cold(slot)
}

// begin settles what a flow's first segment tells: who is the client, and
// whether the capture joined midway.
func (s *step) begin() {
	f, c := s.seg.Flags, s.c
	s.h.last = s.at
	c.advanced = [2]uint32{ticks(s.at) - longAgo, ticks(s.at) - longAgo}
	c.flags |= coldMidway
	switch {
	case f&(tcp.SYN|tcp.RST|tcp.FIN) == tcp.SYN && f&tcp.ACK == 0:
		c.flags = c.flags&^coldMidway | coldRoles
		s.setClient(s.d)
	case f&(tcp.SYN|tcp.RST|tcp.FIN) == tcp.SYN:
		c.flags |= coldRoles
		s.setClient(s.p)
	default:
		s.setClient(guessClient(s.pkt.Key.Ports, s.d))
	}
	s.t.midway = s.t.midway || c.flags&coldMidway != 0
	if prior := s.prior(); prior != nil {
		r := s.t.rareOf(s.handle, c)
		r.prior = *prior
	}
}

func (s *step) setClient(end int) {
	s.c.flags &^= coldReversed
	if end == 1 {
		s.c.flags |= coldReversed
	}
}

// guessClient picks the client where no SYN was seen: the end whose port looks
// less like a service's.
func guessClient(ports uint32, sender int) int {
	lo, hi := uint16(ports>>16), uint16(ports)
	switch {
	case lo == hi:
		return sender
	case lo < hi:
		return 1
	}
	return 0
}

func (s *step) prior() *Prior {
	if s.t.Options.Prior == nil {
		return nil
	}
	return s.t.Options.Prior(uint64(s.c.firstOrd))
}

// opensAnew reports whether a SYN begins a new connection on the same ports.
// While the old one may live it does not: only a SYN-ACK that answers it
// settles that (see adoptsPending), unless a first reading already knows.
func (s *step) opensAnew() bool {
	f := s.seg.Flags
	if f&(tcp.SYN|tcp.RST|tcp.FIN) != tcp.SYN || s.pkt.Key.Lo == s.pkt.Key.Hi && s.h.state[s.d]&stSYN != 0 {
		return false
	}
	if f&tcp.ACK != 0 {
		return false
	}
	if r := s.rareIf(); r != nil && slices.Contains(r.prior.Opens, s.pkt.Ord) {
		return true
	}
	same := s.h.state[s.d]&stSYN != 0 && s.c.isn[s.d] == s.seg.Seq
	if same {
		// The same ISN again is a repetition, unless the connection was over.
		return s.c.flags&coldEnded != 0 && s.at.Sub(s.h.last) > time.Minute
	}
	if s.answeredAlready() {
		return false
	}
	if s.c.flags&coldEnded != 0 || s.h.state[s.d]&stSeen == 0 && s.c.flags&coldMidway != 0 && s.c.segments[s.p] <= 1 {
		return true
	}
	return s.h.state[s.p]&stSeen == 0 // nobody ever answered the old one
}

// answeredAlready reports whether a SYN is the one that the flow's only segment, a
// SYN-ACK, answers: a card with several queues hands them over in any order.
func (s *step) answeredAlready() bool {
	return s.h.state[s.d]&stSeen == 0 && s.h.state[s.p]&stSYN != 0 && s.c.segments[s.p] == 1 && s.h.una[s.d] == s.seg.Seq+1
}

// adoptsPending opens the new connection that a SYN inside the old one had
// asked for, when its SYN-ACK comes. Behind the end of the old one the SYN may
// have its number, as those of a device that begins with the same after each
// start: then the SYN-ACK has another one.
func (s *step) adoptsPending(hash uint32, k *capture.Key) bool {
	r := s.rareIf()
	if r == nil || r.pendingOrd == 0 {
		return false
	}
	f := s.seg.Flags
	if f&(tcp.SYN|tcp.ACK|tcp.RST) != tcp.SYN|tcp.ACK || s.seg.Ack != r.pendingISN+1 || s.d == int(r.pendingFrom) ||
		r.pendingISN == s.c.isn[r.pendingFrom] && (s.h.state[s.d]&stSYN == 0 || s.c.isn[s.d] == s.seg.Seq) {
		return false
	}
	old, pending := s.slot, *r
	s.learn().Opens = append(s.learn().Opens, r.pendingOrd)
	r.pendingOrd = 0
	s.unkeepPending(pending.pendingOrd)
	syn := *s.pkt
	syn.At, syn.Ord, syn.Seg = pending.pendingAt, pending.pendingOrd, pending.pendingSeg
	s.use(s.t.open(s.pool, hash, k, old, true, &syn))

	// The SYN is replayed into the new instance, then the SYN-ACK goes on.
	seg, pkt, at, d, payload := s.seg, s.pkt, s.at, s.d, s.payload
	batch := s.batch
	s.seg, s.pkt, s.at, s.payload, s.batch = &syn.Seg, &syn, syn.At, nil, nil
	s.d, s.p = s.p, s.d
	s.begin()
	s.meet()
	s.tell(SYN)
	s.keep(SYN)
	s.revise(pending.pendingOrd, SYN, Certain, 0)
	s.seg, s.pkt, s.at, s.payload, s.batch = seg, pkt, at, payload, batch
	s.d, s.p = d, 1-d
	s.note, s.conf, s.answers = 0, Certain, 0
	return true
}

// unkeepPending takes the SYN that opened a new instance out of the old one's
// story.
func (s *step) unkeepPending(ord tcp.Ordinal) {
	evs := s.t.arena.events(s.c.story)
	for i := range evs {
		if evs[i].ordinal() == ord {
			copy(evs[i:], evs[i+1:])
			s.c.story.n--
			return
		}
	}
}

// unseenMost is how much an end may have sent since its SYN where nothing else of it was
// captured before an acknowledgment.
const unseenMost = 1 << 16

// amiss reports whether a segment that comes while a SYN waits for its answer can only be
// of another connection on these ports: it acknowledges what lies nowhere near the SYN, as
// an end that still holds the old one does, or is the RST that turns such a one down
// (RFC 9293, sections 3.10.7.3 and 3.10.7.4).
func (s *step) amiss() bool {
	h, c, asker, off := s.h, s.c, s.p, 0
	switch s.seg.Flags & (tcp.SYN | tcp.RST | tcp.ACK) {
	case tcp.ACK:
		off = s.seg.Ack.Sub(c.isn[asker])
	case tcp.RST:
		asker = s.d
		off = s.seg.Seq.Sub(c.isn[asker])
	default:
		return false
	}
	return h.state[asker]&stSYN != 0 && h.state[1-asker]&stSYN == 0 && h.next[asker] == c.isn[asker]+1 && c.flags&coldEnded == 0 && (off < 0 || off > unseenMost)
}

// isStale reports whether a segment of end d continues an earlier instance of the
// ports and not the one at slot.
func (t *Table) isStale(p *pool, slot uint32, seg *tcp.Segment, d int) bool {
	r := p.record(slot)
	if r.cold.older == 0 || seg.Flags&tcp.SYN != 0 {
		return false
	}
	k, here := p.key(slot), r.distance(seg, d)
	for range knownInstances {
		older := r.cold.older
		if older == 0 || here/16 == 0 || !p.isOlder(older-1, &k) {
			return false
		}
		r = p.record(older - 1)
		if far := r.distance(seg, d); far < seqClose && far < here/16 {
			return true
		}
	}
	return false
}

// distance is how far the numbers of a segment of end d lie from where an instance stands.
func (r *record) distance(seg *tcp.Segment, d int) int {
	far, h, young := 0, &r.hot, r.young()
	if young || h.state[d]&(stKnown|stTentative) != 0 {
		far = abs(seg.Seq.Sub(h.next[d]))
	}
	if seg.Flags&tcp.ACK != 0 && (young || h.state[1-d]&(stKnown|stTentative) != 0) {
		far = max(far, abs(seg.Ack.Sub(h.next[1-d])))
	}
	return far
}

func abs(n int) int { return max(n, -n) }
