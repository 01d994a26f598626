package flows

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Flow returns the view of a flow that the table holds whole.
func (t *Table) Flow(id FlowID) (*Flow, bool) {
	p, slot, ok := t.resolve(id)
	if !ok {
		return nil, false
	}
	return t.view(p, slot), true
}

// Kinds yields what the events of a flow's story are, without building its view.
func (t *Table) Kinds(id FlowID) iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		p, slot, ok := t.resolve(id)
		if !ok {
			return
		}
		t.grow(p, slot)
		evs := t.arena.events(p.cold(slot).story)
		for i := range evs {
			if !yield(evs[i].kind) {
				return
			}
		}
	}
}

// view builds the rich form of a flow from its records and story.
func (t *Table) view(p *pool, slot uint32) *Flow {
	t.grow(p, slot)
	t.flush(p, slot)
	h, c := p.hot(slot), p.cold(slot)
	handle := p.handle(slot)
	f := &Flow{
		ID: makeID(handle, c.stream), Stream: uint64(c.stream), Key: p.key(slot),
		RolesKnown: c.flags&coldRoles != 0, Midway: c.flags&coldMidway != 0, Complete: c.flags&coldHandshake != 0,
		First: c.first, Last: h.last, FirstOrd: c.firstOrd, LastOrd: h.ord,
		Frames: uint64(c.segments[0]) + uint64(c.segments[1]), Cut: int(c.cut),
	}
	ends := [2]int{0, 1} // Client's and Server's place in the records
	if c.flags&coldReversed != 0 {
		ends = [2]int{1, 0}
	}
	addrs := [2]netip.AddrPort{f.Key.LoEnd(), f.Key.HiEnd()}
	for side, e := range ends {
		f.Sides[side] = t.side(h, c, e, addrs[e])
		if c.way[e] < capture.MinDigest {
			f.VLANs[side] = c.way[e]
		}
	}
	f.Counts[KeepaliveProbe] = c.probes[0] + c.probes[1]
	f.Counts[KeepaliveACK] = c.answered[0] + c.answered[1]
	f.Counts[Retransmission] = c.retrans[0] + c.retrans[1]
	f.Counts[RST] = uint32(c.rsts)
	f.Counts[ICMPError] = uint32(c.icmps)
	f.Events = t.events(c, ends)
	f.Anchors = t.anchors(handle, ends)
	base := f.Key
	base.Overlay = 0
	f.Split = f.Key.Overlay&splitBit != 0 || t.splits[base] > 0 && f.Key.Overlay == 0
	f.oneSided(c)
	f.timeSides()
	f.Gaps = f.gaps()
	if r := t.rare[handle]; c.flags&coldRare != 0 && r != nil {
		f.Missing = append(f.Missing, r.missing...)
		f.Counts[ZeroWindowProbe] = r.windowProbe[0] + r.windowProbe[1]
		f.Counts[Heartbeat] = r.beats
		for side, e := range ends {
			f.Sides[side].WindowProbes = r.windowProbe[e]
			f.Sides[side].ForeignSACK = ForeignSACK(r.foreign[e])
		}
	}
	for _, x := range t.holes {
		if x.To >= f.First && x.From <= max(f.Last, t.now) {
			f.Missing = append(f.Missing, x)
		}
	}
	if f.Cut > 0 && t.folded > 0 {
		f.Missing = append(f.Missing, capture.Interval{From: t.foldedAt, To: max(f.Last, t.now), Why: capture.WhyLimit})
		f.Gaps = slices.DeleteFunc(f.Gaps, func(g Gap) bool { return g.To >= t.foldedAt }) // something may have come in them
	}
	f.endings(t.now)
	return f
}

func (t *Table) side(h *hot, c *cold, e int, addr netip.AddrPort) Side {
	st := h.state[e]
	s := Side{
		Addr: addr, ISN: c.isn[e], ISNKnown: st&stSYN != 0,
		SndNxt: h.next[e], SndUna: h.una[e], NxtKnown: st&stKnown != 0,
		Win: h.win[e], WScale: 255, TTL: c.ttl[e], TTLs: [2]uint8{c.ttlMin[e], c.ttlMax[e]}, MSS: c.mss[e],
		Timestamps: st&stTimestamps != 0 && !h.refusesTimestamps(1-e), Fingerprint: c.fingerprint[e],
		Segments: uint64(c.segments[e]), Octets: c.octets[e],
		Probes: c.probes[e], Answered: c.answered[e], Retrans: c.retrans[e],
		RTT: c.rtt[e].wide().view(), ProbeLen: c.probeLen[e],
		FIN: st&stFIN != 0, RST: st&stRST != 0, Application: t.banners[c.app[e]],
	}
	if s.Probes > s.Answered {
		s.Unanswered = uint32(c.open[e])
	}
	if c.scale[e] > 0 {
		s.WScale = c.scale[e] - 1
	}
	return s
}

// refusesTimestamps reports whether an end's SYN left out the option, and so all of its
// segments: then the other end offered it in its own SYN alone (RFC 7323, section 3.2).
func (h *hot) refusesTimestamps(e int) bool { return h.state[e]&(stSYN|stTimestamps) == stSYN }

func (s span) view() Range {
	if s.max == 0 {
		return Range{}
	}
	return Range{Min: seconds(s.min), Max: seconds(s.max), Known: true}
}

// events builds the view of a story.
func (t *Table) events(c *cold, ends [2]int) []Event {
	stored := t.arena.events(c.story)
	out := make([]Event, 0, len(stored))
	sideOf := [2]uint8{}
	sideOf[ends[Client]], sideOf[ends[Server]] = Client, Server
	for i := 0; i < len(stored); i++ {
		ev := &stored[i]
		v := Event{
			At: ev.at, Ord: ev.ordinal(), From: sideOf[ev.from()], Kind: ev.kind, Note: ev.note,
			Flags: tcp.Flags(ev.flags) | tcp.Flags(ev.flagsHi)<<8, TTL: ev.ttl, Seq: ev.seq, Ack: ev.ack, Len: ev.count,
			TSVal: ev.tsval, TSEcr: ev.tsecr, HasTS: ev.bits&evTS != 0, Win: ev.win, IPID: ev.ipid,
		}
		if ev.bits&evInferred != 0 {
			v.Conf = Inferred
		}
		switch {
		case ev.kind == ICMPError:
			v.Len, v.Source = uint32(ev.ack), t.routers[ev.count]
			v.Ack = 0
		case ev.bits&evAnswered != 0 && ev.bits&evRun == 0:
			v.AnsweredBy = v.Ord + tcp.Ordinal(ev.next)
		case ev.kind != KeepaliveProbe && ev.next != 0 && ev.bits&evRun == 0:
			v.Answers = v.Ord - tcp.Ordinal(ev.next)
		}
		if ev.bits&evRun != 0 && i+1 < len(stored) {
			i++
			v.Run = runOf(tail{&stored[i]}, sideOf)
			if stored[i].kind == KeepaliveProbe {
				v.Run.Seq, v.Run.Ack = v.Ack, v.Seq+1
				v.Run.Answer = v.Ord + tcp.Ordinal(ev.next)
			} else if v.Kind = ACK; v.Run.Octets[0]+v.Run.Octets[1] > 0 {
				v.Kind = Data
			}
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b Event) int { return int(int64(a.Ord) - int64(b.Ord)) })
	return out
}

func runOf(t tail, sideOf [2]uint8) *Run {
	r := &Run{Until: t.at, UntilOrd: t.ordinal(), TSVal: t.tsval, LastFrom: sideOf[t.from()]}
	if t.kind == KeepaliveProbe {
		prober := sideOf[t.from()]
		r.Count = [2]uint32{t.count, t.count}
		r.TSEcr = t.next
		r.Period, r.RTT = t.period().view(), t.rtt().view()
		r.LastFrom = 1 - prober
		return r
	}
	lo, hi := t.counts()
	r.Count[sideOf[0]], r.Count[sideOf[1]] = lo, hi
	olo, ohi := t.octets()
	r.Octets[sideOf[0]], r.Octets[sideOf[1]] = uint64(olo), uint64(ohi)
	r.Seq, r.Ack = t.lastSeq()
	r.Unheard = t.bits&evOpen != 0
	if lag := t.lag(); lag < lagUnknown {
		r.OtherUntil = r.Until.Add(-time.Duration(lag) * lagStep)
	}
	return r
}

// oneSided names the empty segments of a flow of which only one direction was
// captured: a probe or an answer, nobody can tell.
func (f *Flow) oneSided(c *cold) {
	if c.segments[0] > 0 && c.segments[1] > 0 || !f.rhythmic() {
		return
	}
	for i := range f.Events {
		if ev := &f.Events[i]; ev.Kind == ACK && ev.Len == 0 && ev.Run == nil {
			ev.Kind, ev.Conf = KeepaliveUnclear, Inferred
			f.Counts[KeepaliveUnclear]++
		}
	}
}

// rhythmic reports whether the flow's empty segments keep one pace: three or
// more, at least half a second apart, within 10 %.
func (f *Flow) rhythmic() bool {
	var last tcp.Instant
	var lo, hi time.Duration
	n := 0
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Len != 0 || ev.Kind != ACK && ev.Kind != KeepaliveUnclear || ev.Run != nil {
			continue
		}
		if n++; n > 1 {
			gap := ev.At.Sub(last)
			if n == 2 {
				lo, hi = gap, gap
			}
			lo, hi = min(lo, gap), max(hi, gap)
		}
		last = ev.At
	}
	return n >= 3 && lo >= 500*time.Millisecond && float64(hi) <= 1.1*float64(lo)
}

func (f *Flow) timeSides() {
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From > Server || ev.Kind == ICMPError {
			continue
		}
		s := &f.Sides[ev.From]
		s.LastSent = max(s.LastSent, ev.At)
		if ev.Run == nil {
			continue
		}
		if ev.Kind == KeepaliveProbe {
			s.Period.Add(ev.Run.Period.Min)
			s.Period.Add(ev.Run.Period.Max)
		}
		for side := range f.Sides {
			if ev.Run.Count[side] > 0 {
				f.Sides[side].LastSent = max(f.Sides[side].LastSent, ev.LastOf(uint8(side)))
			}
		}
	}
}

// LastOf returns when a side sent its last segment of a run, at the latest that is known:
// of probes the last was sent a round trip before its answer.
func (e *Event) LastOf(side uint8) tcp.Instant {
	r := e.Run
	switch {
	case side == r.LastFrom:
		return r.Until
	case e.Kind == KeepaliveProbe && r.RTT.Known:
		return r.Until.Add(-r.RTT.Max)
	case r.OtherUntil != 0:
		return r.OtherUntil
	}
	return e.At
}

// maxGaps bounds the gaps of a view.
const maxGaps = 8

// gaps lists the longest silences between the story's entries, in time order.
func (f *Flow) gaps() []Gap {
	var all []Gap
	var end tcp.Instant
	var endOrd tcp.Ordinal
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind == ICMPError {
			continue
		}
		if endOrd != 0 && ev.At.Sub(end) >= gapMin {
			all = append(all, Gap{From: end, To: ev.At, FromOrd: endOrd, ToOrd: ev.Ord, Sender: ev.From, Survived: f.answeredAfter(i)})
		}
		if ev.End() >= end {
			end, endOrd = ev.End(), ev.EndOrd()
		}
	}
	if len(all) > maxGaps {
		slices.SortFunc(all, func(a, b Gap) int { return int(min(max(int64(b.Duration())-int64(a.Duration()), -1), 1)) })
		all = all[:maxGaps]
		slices.SortFunc(all, func(a, b Gap) int { return int(int64(a.ToOrd) - int64(b.ToOrd)) })
	}
	return all
}

// answeredAfter reports whether what event i began was answered: the other
// side spoke afterwards, not by a RST nor by probing itself.
func (f *Flow) answeredAfter(i int) bool {
	ev := &f.Events[i]
	if ev.Kind == KeepaliveProbe && ev.Run == nil {
		return ev.AnsweredBy != 0
	}
	if ev.Run != nil && ev.Run.Count[0] > 0 && ev.Run.Count[1] > 0 {
		return true
	}
	for j := i + 1; j < len(f.Events); j++ {
		x := &f.Events[j]
		if x.From == ev.From || x.Kind == ICMPError || x.Elsewhere() {
			continue
		}
		return x.Kind != RST && x.Kind != KeepaliveProbe
	}
	return false
}

// endings says how each side left the flow.
func (f *Flow) endings(now tcp.Instant) {
	for side := range f.Sides {
		s := &f.Sides[side]
		switch {
		case s.RST:
			s.Ending = f.resetEnding(uint8(side))
		case f.Sides[1-side].RST && f.resetArrives(uint8(1-side)):
			s.Ending = EndReset
		case f.Sides[1-side].RST:
			s.Ending = EndUnknown // whether the RST of a side that gave up arrived is not known
		case s.FIN:
			s.Ending = EndFIN
		case f.timedOut(uint8(side), now):
			s.Ending = EndTimedOut
		case s.Segments == 0:
			s.Ending = EndUnknown
		default:
			s.Ending = EndOpen
		}
	}
	// A RST that the other end's own RST followed, both after probes that
	// nothing answered: each gave up for itself.
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind != RST || ev.From > Server || ev.Note&NoteOutOfWindow != 0 {
			continue
		}
		if s := &f.Sides[ev.From]; s.Ending == EndReset || s.Ending == EndOpen {
			s.Ending = f.resetEnding(ev.From)
		}
	}
	if f.Count(Heartbeat) == 0 {
		return
	}
	for side := range f.Sides {
		if _, ok := f.BeatEnd(uint8(side)); ok {
			f.Sides[side].Ending = EndHeartbeat
		}
	}
}

// resetArrives reports whether a side's RST reached its peer, as far as is known: that of
// a side that gave up shares the way of questions that were lost, unless those arrived.
func (f *Flow) resetArrives(side uint8) bool {
	if f.resetEnding(side) == EndRST {
		return true
	}
	_, ok := f.Unheard(side)
	return ok
}

// resetEnding tells why a side sent its RST: it had probed in vain, or it
// wanted to.
func (f *Flow) resetEnding(side uint8) Ending {
	unanswered := 0
	var first, last tcp.Instant
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From == 1-side && ev.Kind != KeepaliveProbe && ev.Kind != RST && ev.Kind != ICMPError && !ev.Elsewhere() {
			unanswered = 0
		}
		if ev.From != side {
			continue
		}
		switch {
		case ev.Kind == KeepaliveProbe && ev.Run == nil && ev.AnsweredBy == 0:
			if unanswered == 0 {
				first = ev.At
			}
			unanswered++
			last = ev.At
		case ev.Kind == KeepaliveProbe && f.AnsweredInTime(ev):
			unanswered = 0
		case ev.Kind == RST && unanswered > 0 && ev.Flags.Has(tcp.ACK):
			wait := ev.At.Sub(last)
			if unanswered == 1 && wait < gapMin/2 {
				return EndRST
			}
			if unanswered > 1 {
				pace := last.Sub(first) / time.Duration(unanswered-1)
				if wait < pace/2 {
					return EndUserTimeout
				}
			}
			return EndGaveUp
		}
	}
	if _, ok := f.Unheard(side); ok {
		return EndGaveUp
	}
	return EndRST
}

// AnsweredInTime reports whether a probe, or a run of them, had its answer before its
// side reset the connection.
func (f *Flow) AnsweredInTime(probe *Event) bool {
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind == RST && ev.From == probe.From && ev.Ord > probe.EndOrd() {
			return probe.Run != nil || probe.AnsweredBy != 0 && probe.AnsweredBy < ev.Ord
		}
	}
	return probe.Run != nil || probe.AnsweredBy != 0
}

// timedOut reports whether a side's retransmissions ended without an answer,
// the capture having gone on for longer than the next would have taken.
func (f *Flow) timedOut(side uint8, now tcp.Instant) bool {
	var times []tcp.Instant
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From == 1-side && ev.Kind != KeepaliveProbe && ev.Kind != ICMPError && !ev.Elsewhere() {
			times = times[:0]
		}
		if ev.From == side && ev.Kind == Retransmission {
			times = append(times, ev.At)
		}
	}
	if len(times) < 5 {
		return false
	}
	n := len(times)
	spacing := times[n-1].Sub(times[n-2])
	return now.Sub(times[n-1]) > 3*spacing+time.Second && f.Sides[side].SndUna.Before(f.Sides[side].SndNxt)
}

// Application returns the word for the flow's application, by its first
// octets, and the client's and server's banners where they are lines of text.
func (f *Flow) Application() (word string, banners [2]tcp.Untrusted) {
	for side := range f.Sides {
		a := f.Sides[side].Application
		if strings.HasPrefix(string(a), "SSH-") {
			word, banners[side] = "ssh", a
		} else if a != "" && word == "" {
			word = string(a)
		}
	}
	return word, banners
}

// Priors returns what a second reading of the same capture needs, by the
// ordinal of the flow's first segment.
func (t *Table) Priors() map[uint64]*Prior {
	out := make(map[uint64]*Prior)
	for id := range t.Flows() {
		handle := uint32(id >> 32)
		p, slot := t.at(handle)
		c := p.cold(slot)
		if r := t.rare[handle]; c.flags&coldRare != 0 && r != nil && r.learned {
			prior := r.prior
			out[uint64(c.firstOrd)] = &prior
		}
		if (c.segments[0] == 0) != (c.segments[1] == 0) {
			if f := t.view(p, slot); f.Counts[KeepaliveUnclear] > 0 {
				out[uint64(c.firstOrd)] = &Prior{Unclear: true}
			}
		}
	}
	return out
}

// Holes returns the intervals in which the vantage point recorded nothing.
func (t *Table) Holes() []capture.Interval { return slices.Clone(t.holes) }

// HolesSince returns what was not recorded from an instant on, in the order in
// which it became known.
func (t *Table) HolesSince(at tcp.Instant) []capture.Interval {
	var since []capture.Interval
	for i := len(t.holes) - 1; i >= 0; i-- {
		if t.holes[i].To >= at {
			since = append(since, t.holes[i])
		} else if at.Sub(t.holes[i].To) > time.Minute { // they may overlap a little
			break
		}
	}
	slices.Reverse(since)
	return since
}
