package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// Two conversations can have equal addresses and ports and differ only by
// VLAN, TEID or GRE key, where a mirror port sees overlapping networks. Those
// are no part of a key, for one conversation may use another in each direction.
// So they are told apart only where both the way differs and the sequence
// numbers contradict.

// splitBit marks the overlay of a conversation that was split off; below it
// stands its number.
const splitBit = 1 << 30

// maxSplits bounds the conversations that share addresses and ports.
const maxSplits = 8

// apart finds the split-off conversation that a packet belongs to, or begins
// one; ok is false where the packet belongs to the flow at slot.
func (t *Table) apart(p *pool, slot uint32, pkt *capture.Packet) (alt capture.Key, ok bool) {
	d := 0
	if pkt.Reversed {
		d = 1
	}
	c := p.cold(slot)
	if pkt.Key.Overlay != 0 || c.segments[d] == 0 || pkt.Way == c.way[d] || pkt.Way == c.way[1-d] && c.segments[1-d] > 0 {
		return alt, false
	}
	s := &step{t: t, pool: p, pkt: pkt, seg: &pkt.Seg, d: d, p: 1 - d}
	n := t.splits[pkt.Key]
	for i := range n {
		alt = pkt.Key
		alt.Overlay = splitBit | i
		if at, found := t.wide.find(t.wide.index.hash(&alt), &alt); found && t.wide.record(at).distance(&pkt.Seg, d) < seqNear {
			return alt, true
		}
	}
	if n == maxSplits || c.flags&coldEnded != 0 || !s.contradicts(p.hot(slot)) {
		return alt, false
	}
	if t.splits == nil {
		t.splits = make(map[capture.Key]uint32)
	}
	t.splits[pkt.Key] = n + 1
	alt = pkt.Key
	alt.Overlay = splitBit | n
	return alt, true
}

// contradicts reports whether a segment cannot be of the flow: both its
// numbers are far from where the flow stands, or it is a SYN with another ISN.
func (s *step) contradicts(h *hot) bool {
	const known = stKnown | stTentative
	if h.state[s.d]&known == 0 {
		return false
	}
	seqFar := abs(s.seg.Seq.Sub(h.next[s.d])) > seqNear
	if s.seg.Flags&tcp.ACK == 0 {
		return s.seg.Flags&tcp.SYN != 0 && seqFar
	}
	return seqFar && h.state[s.p]&known != 0 && abs(s.seg.Ack.Sub(h.next[s.p])) > seqNear
}
