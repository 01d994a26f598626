package flows

import (
	"iter"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Glance is what the records tell of a flow without building its view: enough
// to pass over the many in which nothing happened.
type Glance struct {
	ID          FlowID
	Key         capture.Key
	First, Last tcp.Instant
	Plain       bool          // nothing about it asks for a closer look
	Closed      bool          // a FIN of both ends, acknowledged
	Probes      bool          // keepalive probes were seen
	Survived    time.Duration // longest silence that was followed by more, both ways
	Period      time.Duration // longest pause between its events
	Answered    bool          // somebody answered somebody
	Closing     time.Duration // silence before the first FIN
	Cut         bool          // something of it was not kept (see Flow.Cut): no silence is known
	Unanswered  bool          // a SYN, perhaps sent again, and nothing else by anybody
	Refused     bool          // likewise, but for the RST that turns it down
	Lone        Lone          // whether one segment that is neither SYN nor FIN is all there is
	Unheard     tcp.Instant   // when it was closed, where one end alone was seen, in order from its SYN to its FIN; else 0

	// What other vantage points can know it by. Indexes are Client and Server.
	ClientHi   bool // the client is the key's Hi end
	RolesKnown bool // by a SYN
	ISN        [2]tcp.Seq
	ISNKnown   [2]bool
	Next       [2]tcp.Seq // one past the highest octet sent; valid where Plain
	Segments   [2]uint32
	Stamp      [2]uint32 // newest TSval of each; 0 where a side sent none

	Fingerprint [2]uint32 // of each side's SYN; 0 where it was not seen
	Octets      [2]uint64 // new payload octets of each
}

// Lone says which single segment is all that was seen of a flow.
type Lone uint8

// The single segments. Of SYNs see Glance.Unanswered.
const (
	NotLone Lone = iota
	LoneRST
	LoneOther // data or an acknowledgment
)

// idleClosing is the silence before a FIN from which on it may be the work of a
// timer.
const idleClosing = 10 * time.Second

// Settled reports whether nothing ever happened to the connection, in a capture
// that ends at end. One that was silent at the end is not settled: whether it
// was idle or dead has to be weighed.
func (g *Glance) Settled(end tcp.Instant) bool {
	if !g.Plain || !g.Answered {
		return false
	}
	if g.Closed {
		return g.Closing < idleClosing
	}
	return end.Sub(g.Last) < 2*time.Second || g.Probes && end.Sub(g.Last) < 2*g.Period
}

// Glances yields a glance at every flow that the table holds whole, in stream
// order. Each holds until the next one.
func (t *Table) Glances() iter.Seq[*Glance] {
	return func(yield func(*Glance) bool) {
		var g Glance
		for id := range t.Flows() {
			p, slot := t.at(uint32(id >> 32))
			t.glance(&g, p, slot, id)
			if !yield(&g) {
				return
			}
		}
	}
}

// Glance returns a glance at one flow, false where the table does not hold it.
func (t *Table) Glance(id FlowID) (Glance, bool) {
	p, slot, ok := t.resolve(id)
	if !ok {
		return Glance{}, false
	}
	var g Glance
	t.glance(&g, p, slot, id)
	return g, true
}

func (t *Table) glance(g *Glance, p *pool, slot uint32, id FlowID) {
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	young := r.young() && h.tsval[0]&(youngEnded|youngRST|youngRST<<1) == youngEnded // what it would come to if it grew up is known
	*g = Glance{}
	p.writeKey(slot, &g.Key)
	g.ID, g.First, g.Last = id, c.first, h.last
	var segments []youngSegment
	if young {
		segments = t.infancy(h)
		g.Plain, g.Closed, g.Answered = true, true, true
		g.Survived = r.pause()
		g.Period, g.Closing = youngPauses(segments)
		g.Period = max(g.Period, g.Survived)
	} else {
		t.grow(p, slot)
		bits := h.state[0] | h.state[1]
		g.Cut = c.cut > 0
		g.Probes = c.probes[0]+c.probes[1] > 0
		g.Closed = h.state[0]&h.state[1]&stFIN != 0 && h.una[0] == h.next[0] && h.una[1] == h.next[1]
		g.Answered = h.state[0]&h.state[1]&(stSeen|stAcked) == stSeen|stAcked
		const settled = stSeen | stKnown | stAcked
		g.Plain = h.state[0]&h.state[1]&settled == settled && bits&(stRST|stTentative|stShut|stChallenge|stLate) == 0 &&
			c.open[0]|c.open[1] == 0 && c.flags&coldWaits == 0 && c.icmps == 0 && c.rsts == 0 &&
			h.una[0] == h.next[0] && h.una[1] == h.next[1] && (bits&stFIN == 0 || g.Closed)
		if !g.Cut {
			g.Survived, g.Period, g.Closing = t.pauses(c)
			if h.unheard(c, 0) || h.unheard(c, 1) {
				g.Unheard = onlyFIN(t.arena.events(c.story))
			}
		}
	}
	g.RolesKnown, g.ClientHi = c.flags&coldRoles != 0, c.flags&coldReversed != 0
	for side := range g.ISN {
		e := side
		if g.ClientHi {
			e = 1 - side
		}
		g.ISN[side], g.Next[side], g.Fingerprint[side], g.Segments[side] = c.isn[e], h.next[e], c.fingerprint[e], r.sent(e)
		if young {
			g.ISNKnown[side], g.Stamp[side] = true, youngStamp(segments, e)
			g.Octets[side] = uint64(h.next[e] - c.isn[e] - 2) // without SYN and FIN
			continue
		}
		g.ISNKnown[side], g.Octets[side] = h.state[e]&stSYN != 0, c.octets[e]
		if h.state[e]&stTimestamps != 0 {
			g.Stamp[side] = h.tsval[e]
		}
	}
	if !g.Plain { // nobody answered
		if g.RolesKnown && g.ISNKnown[Client] && c.flags&(coldRare|coldMidway) == 0 {
			evs := t.arena.events(c.story)
			g.Unanswered = g.Segments[Server] == 0 && onlySYNs(evs)
			g.Refused = g.Segments[Server] == 1 && refused(evs, g.ISN[Client])
		}
		g.Lone = t.lone(c)
	}
}

// unheard reports whether all that was seen of a flow is how end e, and it alone, opened,
// used and closed it.
func (h *hot) unheard(c *cold, e int) bool {
	const closed = stSeen | stKnown | stSYN | stFIN
	return h.state[e]&closed == closed && (h.state[e]|h.state[1-e])&(stRST|stTentative|stShut|stChallenge|stLate) == 0 && h.state[1-e]&(stSeen|stSYN|stFIN) == 0 &&
		c.retrans[e] == 0 && c.segments[e] > 2 && c.octets[e] > 0 && c.open[0]|c.open[1] == 0 && c.probes[e] == 0 && c.icmps == 0 && c.rsts == 0 && c.flags&(coldWaits|coldRare|coldMidway) == 0
}

// onlyFIN returns when the only FIN of a story was seen; 0 where there are more, or none.
func onlyFIN(evs []event) (at tcp.Instant) {
	for i := range evs {
		if ev := &evs[i]; ev.kind == FIN && ev.bits&evTail == 0 {
			if at != 0 {
				return 0
			}
			at = ev.at
		}
	}
	return at
}

// youngPauses is pauses for a flow that ended while it was young; what it survived is
// kept apart (see record.pause).
func youngPauses(segments []youngSegment) (longest, closing time.Duration) {
	closed := false
	const event = tcp.SYN | tcp.FIN // of its own; what stands between is a run
	for i := 1; i < len(segments); i++ {
		y, before := &segments[i], &segments[i-1]
		if !(y.seg.Flags | before.seg.Flags).Any(event) {
			continue
		}
		pause := y.at.Sub(before.at)
		longest = max(longest, pause)
		if y.seg.Flags.Has(tcp.FIN) && !closed {
			closed, closing = true, pause
		}
	}
	return longest, closing
}

// youngStamp returns the newest TSval of an end of a young flow; 0 where it sent none.
func youngStamp(segments []youngSegment, e int) (newest uint32) {
	for i := range segments {
		y := &segments[i]
		if y.from() == e && (y.seg.Opts.Has(tcp.OptTimestamps) && int32(y.seg.TSVal-newest) > 0 || newest == 0) {
			newest = y.seg.TSVal
		}
	}
	return newest
}

// lone says which single segment a flow consists of, if it does.
func (t *Table) lone(c *cold) Lone {
	evs := t.arena.events(c.story)
	if c.segments[0]+c.segments[1] != 1 || len(evs) != 1 || c.icmps != 0 || c.flags&(coldRare|coldRoles) != 0 {
		return NotLone
	}
	switch flags := tcp.Flags(evs[0].flags); {
	case flags.Any(tcp.SYN | tcp.FIN):
		return NotLone
	case flags.Has(tcp.RST):
		return LoneRST
	}
	return LoneOther
}

// refused reports whether a story holds nothing but SYNs without data and behind them a RST
// that turns down the one with this number (RFC 9293, section 3.10.7.1).
func refused(evs []event, isn tcp.Seq) bool {
	n := len(evs) - 1
	if n < 1 || !onlySYNs(evs[:n]) {
		return false
	}
	rst := &evs[n]
	return rst.kind == RST && rst.from() != evs[0].from() && tcp.Flags(rst.flags).Has(tcp.ACK) && rst.ack == isn+1 && rst.bits&evTail == 0
}

// onlySYNs reports whether events are nothing but SYNs without data.
func onlySYNs(evs []event) bool {
	for i := range evs {
		if ev := &evs[i]; ev.kind != SYN || ev.count > 0 || ev.bits&evTail != 0 {
			return false
		}
	}
	return len(evs) > 0
}

// pauses scans a story for the longest silence that was survived and the
// longest pause of any kind, and for the silence before the first FIN.
func (t *Table) pauses(c *cold) (survived, longest, closing time.Duration) {
	if c.story.n == 2 && c.flags&coldRun != 0 { // nothing but the run that the record keeps: the story need not be read
		return max(0, seconds(c.runPeriod.max-c.runRTT.max)), seconds(c.runPeriod.max), 0
	}
	closed := false
	evs := t.arena.events(c.story)
	kept := c.kept(evs)
	for i := range evs {
		ev := &evs[i]
		if ev.bits&evTail != 0 && ev.kind == KeepaliveProbe {
			period, rtt := tail{ev}.period(), tail{ev}.rtt()
			if i == kept {
				period, rtt = c.runPeriod, c.runRTT
			}
			longest = max(longest, seconds(period.max))
			survived = max(survived, seconds(period.max-rtt.max))
			continue
		}
		if i == 0 || ev.bits&evTail != 0 || ev.kind == ICMPError {
			continue
		}
		pause := ev.at.Sub(evs[i-1].at)
		longest = max(longest, pause)
		if ev.kind == FIN && !closed {
			closed, closing = true, pause
		}
		if pause >= gapMin && ev.kind != RST && ev.bits&evOpen == 0 {
			survived = max(survived, pause)
		}
	}
	return survived, longest, closing
}

// kept returns which event of a story is the tail of the run whose newest the
// record keeps; -1 where it keeps none. See steadyRun.
func (c *cold) kept(evs []event) int {
	for i := len(evs) - 1; i >= len(evs)-3 && i > 0; i -= 2 {
		if evs[i].bits&evTail != 0 && evs[i].kind == KeepaliveProbe && c.keeps(evs[i].from()) {
			return i
		}
	}
	return -1
}

// FirstAndLast returns at most so many of a list in the order of time: the first ones, and
// mostly the last, among which a fresh login would be.
func FirstAndLast[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	early := most / 4
	return append(slices.Clone(list[:early]), list[len(list)-(most-early):]...)
}

// SomeOfHosts returns up to limit flows between the two hosts of a key (see FirstAndLast).
func (t *Table) SomeOfHosts(k *capture.Key, limit int) []FlowID {
	all := t.between(k)
	if all == nil {
		return nil
	}
	handles := FirstAndLast(all.handles, limit)
	ids := make([]FlowID, len(handles))
	for i, handle := range handles {
		p, slot := t.at(handle)
		ids[i] = makeID(handle, p.cold(slot).stream)
	}
	return ids
}
