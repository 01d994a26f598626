package pairing

import (
	"kaflow/flows"
	"kaflow/tcp"
)

// relation says how one view of a connection reads in terms of another, when a
// box between them may have translated addresses or shifted sequence numbers.
type relation struct {
	turned bool      // it takes for the client what the other takes for the server
	shift  [2]uint32 // its sequence numbers minus the other's, by the other's client and server
	agree  int       // segments in both that bear it out; 0 where the handshake alone does
	method string
}

// fewStamps is how many segments have to agree before timestamps alone, or
// relative positions alone, make two views one connection.
const fewStamps = 3

// fewStampsOfOne is how many do where the addresses and ports are the same
// anyhow: each is 64 bits that another connection would not have.
const fewStampsOfOne = 2

// relate says how b reads in terms of a; ok is false where nothing shows them
// to be one connection.
func relate(a, b *flows.Flow) (r relation, ok bool) {
	switch {
	case a.Key == b.Key:
		return relateAs(a, b, clientIsHi(a) != clientIsHi(b))
	case a.RolesKnown && b.RolesKnown:
		return relateAs(a, b, false)
	}
	r, ok = relateAs(a, b, false)
	q, also := relateAs(a, b, true)
	switch {
	case ok && also && r.agree == q.agree:
		return relation{}, false
	case also && (!ok || q.agree > r.agree):
		return q, true
	}
	return r, ok
}

// relateAs is relate for one opinion about who the client is.
func relateAs(a, b *flows.Flow, turned bool) (relation, bool) {
	if turned {
		b = mirrored(b)
	}
	r := relation{turned: turned}
	var known [2]bool
	for s := range a.Sides {
		if x, y := &a.Sides[s], &b.Sides[s]; x.ISNKnown && y.ISNKnown {
			r.shift[s], known[s] = uint32(y.ISN-x.ISN), true
		}
	}
	if r.shift == [2]uint32{} {
		if known[0] && known[1] {
			r.method = byRawISN
			return r, true
		}
		if r.agree = sharedPositions(a, b); r.agree > 0 {
			r.method = byPositions
			return r, true
		}
	}
	if r.byStamps(a, b, known) {
		r.method = byStamps
		return r, true
	}
	r.agree = 0
	if a.Key == b.Key && known[0] && known[1] && r.byIPID(a, b) {
		r.method = byIPID
		return r, true
	}
	if r.byPayload(a, b, known) {
		r.method = byPayload
		return r, true
	}
	return relation{}, false
}

// position is what a segment says of both directions' sequence spaces: 64 bits
// that no other connection is likely to share. Views fold differently, so
// timestamps are no part of it.
type position struct {
	from     uint8
	flags    tcp.Flags
	seq, ack tcp.Seq
	length   uint32
	syn      uint64 // of a SYN: what else of it survives a translation
}

// positionOf returns the event's position; ok is false where it has none that
// could be compared. sender is 0 where who sent it is left open.
func positionOf(f *flows.Flow, e *flows.Event, sender uint8) (p position, ok bool) {
	if !comparableEvent(e) || e.Kind == flows.Stale || e.From > flows.Server {
		return p, false
	}
	p = position{from: sender, flags: e.Flags & (tcp.SYN | tcp.FIN | tcp.RST), seq: e.Seq, ack: e.Ack, length: e.Len}
	switch {
	case e.Flags.Has(tcp.ACK):
		return p, e.Seq != 0 && e.Ack != 0
	case e.Flags.Has(tcp.SYN) && e.HasTS && e.TSVal != 0:
		p.syn = uint64(f.Sides[e.From].Fingerprint)<<32 | uint64(e.TSVal)
		return p, true
	}
	return p, false
}

// standing is where both directions of a view have come to, whichever of them
// is the client's; ok is false where one is not known.
func standing(f *flows.Flow) (p position, ok bool) {
	x, y := f.Sides[0].SndNxt, f.Sides[1].SndNxt
	return position{from: flows.Unclear, seq: min(x, y), ack: max(x, y)}, f.Sides[0].NxtKnown && f.Sides[1].NxtKnown && x != 0 && y != 0
}

// sharedPositions counts the positions that two views have in common.
func sharedPositions(a, b *flows.Flow) (n int) {
	_, here := standing(a)
	_, there := standing(b)
	if here && there && a.Sides[0].SndNxt == b.Sides[0].SndNxt && a.Sides[1].SndNxt == b.Sides[1].SndNxt {
		n++
	}
	in := map[position]bool{}
	for i := range a.Events {
		if p, ok := positionOf(a, &a.Events[i], a.Events[i].From); ok {
			in[p] = true
		}
	}
	for i := range b.Events {
		if p, ok := positionOf(b, &b.Events[i], b.Events[i].From); ok && in[p] {
			n++
			delete(in, p)
		}
	}
	return n
}

// stamp is what a segment carries that neither a translation of addresses nor
// a shift of sequence numbers changes.
type stamp struct {
	from    uint8
	flags   tcp.Flags
	length  uint32
	ts, ecr uint32
}

// stampOf returns the event's stamp; ok is false without timestamps. A SYN has
// one number only, and nothing to echo.
func stampOf(e *flows.Event, sender uint8) (s stamp, ok bool) {
	ok = e.HasTS && e.TSVal != 0 && (e.TSEcr != 0 && e.Flags.Has(tcp.ACK) || e.Flags.Has(tcp.SYN)) && comparableEvent(e) && e.Kind != flows.Stale && e.From <= flows.Server
	return stamp{sender, e.Flags & (tcp.SYN | tcp.FIN | tcp.RST), e.Len, e.TSVal, e.TSEcr}, ok
}

// byStamps completes the shifts from segments with equal timestamps, and
// reports whether they agree on one shift in each direction.
func (r *relation) byStamps(a, b *flows.Flow, known [2]bool) bool {
	var votes [2]map[uint32]int
	votes[0], votes[1] = map[uint32]int{}, map[uint32]int{}
	pairs := stampPairs(a, b)
	for _, p := range pairs {
		d := shiftsOf(p[0], p[1])
		votes[p[0].From][d[p[0].From]]++
		if p[0].Flags.Has(tcp.ACK) {
			votes[1-p[0].From][d[1-p[0].From]]++
		}
	}
	for s := range votes {
		if !known[s] {
			r.shift[s] = mostVotes(votes[s])
		}
	}
	var senders [2]bool
	for _, p := range pairs {
		if bearsOut(p, r.shift) {
			r.agree++
			senders[p[0].From] = true
		}
	}
	if a.Key == b.Key && r.agree >= fewStampsOfOne && r.agree == len(pairs) {
		return true
	}
	return r.agree >= fewStamps && senders[0] && senders[1] && 10*r.agree >= 9*len(pairs)
}

// stampPairs returns the events that carry the same timestamps in both views,
// where each view has them once.
func stampPairs(a, b *flows.Flow) (pairs [][2]*flows.Event) {
	index := func(f *flows.Flow) map[stamp]*flows.Event {
		in := map[stamp]*flows.Event{}
		put := func(e *flows.Event) {
			s, ok := stampOf(e, e.From)
			if !ok {
				return
			}
			if _, twice := in[s]; twice {
				in[s] = nil
			} else {
				in[s] = e
			}
		}
		for i := range f.Events {
			put(&f.Events[i])
			if last, ok := lastProbe(&f.Events[i]); ok {
				put(last)
			}
		}
		return in
	}
	inB := index(b)
	for s, x := range index(a) { // votes are counted: the order does not matter
		if y := inB[s]; x != nil && y != nil {
			pairs = append(pairs, [2]*flows.Event{x, y})
		}
	}
	return pairs
}

// lastProbe returns the last probe of a run of answered keepalives, which has
// the numbers of the first and timestamps of its own.
func lastProbe(e *flows.Event) (*flows.Event, bool) {
	if e.Run == nil || e.Kind != flows.KeepaliveProbe || e.Run.TSVal == e.TSVal || !e.HasTS {
		return nil, false
	}
	last := *e
	last.Run, last.TSVal, last.TSEcr, last.Ord, last.At = nil, e.Run.TSVal, e.Run.TSEcr, e.Run.UntilOrd, e.Run.Until
	return &last, true
}

// shiftsOf returns by how much y's numbers are above x's, by client and server.
func shiftsOf(x, y *flows.Event) (d [2]uint32) {
	d[x.From], d[1-x.From] = uint32(y.Seq-x.Seq), uint32(y.Ack-x.Ack)
	return d
}

// bearsOut reports whether two segments are a shift apart; a SYN has numbers in
// one direction only.
func bearsOut(p [2]*flows.Event, shift [2]uint32) bool {
	d := shiftsOf(p[0], p[1])
	return d == shift || !p[0].Flags.Has(tcp.ACK) && d[p[0].From] == shift[p[0].From]
}

// mostVotes returns the value with the most votes, the least of several.
func mostVotes(votes map[uint32]int) (winner uint32) {
	most := 0
	for v, n := range votes {
		if n > most || n == most && v < winner {
			winner, most = v, n
		}
	}
	return winner
}

// byIPID reports whether, with the shifts taken away, segments of both sides
// have the same positions and the same IP IDs: a proxy writes its own.
func (r *relation) byIPID(a, b *flows.Flow) bool {
	var senders [2]bool
	b = unshifted(b, r.shift)
	for _, c := range identify(a, b) {
		if c.event[0] < 0 {
			continue
		}
		x, y := &a.Events[c.event[0]], &b.Events[c.event[1]]
		if x.IPID != 0 && x.IPID == y.IPID && !steadyIPID(a, b, x.From) {
			r.agree++
			senders[x.From] = true
		}
	}
	return r.agree >= fewStamps && senders[0] && senders[1]
}

// unshifted returns the flow with shift taken away from its sequence numbers,
// so that it can be compared with the view that shift refers to.
func unshifted(f *flows.Flow, shift [2]uint32) *flows.Flow {
	if shift == [2]uint32{} {
		return f
	}
	g := *f
	for s := range g.Sides {
		side := &g.Sides[s]
		side.ISN -= tcp.Seq(shift[s])
		side.SndNxt -= tcp.Seq(shift[s])
		side.SndUna -= tcp.Seq(shift[s])
	}
	g.Events = make([]flows.Event, len(f.Events))
	for i, e := range f.Events {
		if e.From <= flows.Server {
			e.Seq -= tcp.Seq(shift[e.From])
			if e.Flags.Has(tcp.ACK) {
				e.Ack -= tcp.Seq(shift[1-e.From])
			}
		}
		if e.Run != nil && e.Run.LastFrom <= flows.Server {
			run := *e.Run
			run.Seq -= tcp.Seq(shift[run.LastFrom])
			run.Ack -= tcp.Seq(shift[1-run.LastFrom])
			e.Run = &run
		}
		g.Events[i] = e
	}
	g.Anchors = append([]flows.Anchor(nil), f.Anchors...)
	for i := range g.Anchors {
		if a := &g.Anchors[i]; a.From <= flows.Server {
			a.Seq -= tcp.Seq(shift[a.From])
			a.Ack -= tcp.Seq(shift[1-a.From])
		}
	}
	return &g
}
