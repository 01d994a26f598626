package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// The short way: a probe of a run that keeps its pace, and its answer. Nearly
// all traffic of idle connections is this, so it must touch little: the hot
// line, one part of the cold record, the run's tail. It decides nothing that
// the long way would decide otherwise (TestTheShortWayIsTheSame); whatever is
// not plainly the next beat of the run goes the long way.

// unsteady are the state bits of either end that end the short way.
const unsteady = stTentative | stFIN | stRST | stShut | stChallenge | stWindowMode | stIdleMode | stLate

// steadyNotes are oddities of a packet that the long way must look at.
const steadyNotes = capture.NoteCut | capture.NoteHeaderCut | capture.NoteBadIPSum | capture.NoteBadTCPSum | capture.NoteFragment | capture.NoteClockStep

// steady tries the short way and reports whether the packet is done with.
func (t *Table) steady(p *pool, slot uint32, pkt *capture.Packet) bool {
	seg := &pkt.Seg
	if seg.Len != 0 || seg.Flags != tcp.ACK || seg.Opts&^tcp.OptTimestamps != 0 || seg.Win == 0 || pkt.Note&steadyNotes != 0 {
		return false
	}
	h := p.hot(slot)
	d := 0
	if pkt.Reversed {
		d = 1
	}
	e := 1 - d
	const settled = stKnown | stAcked | stSeen
	if (h.state[d]|h.state[e])&unsteady != 0 || h.state[d]&h.state[e]&settled != settled ||
		h.win[d] != seg.Win || seg.Ack != h.next[e] || h.una[d] != h.next[d] || h.una[e] != h.next[e] || pkt.At < h.last {
		return false
	}
	c := p.cold(slot)
	if c.flags&(coldEnded|coldRare) != 0 || c.open[0]|c.open[1] != 0 || seg.TTL != c.ttl[d] || pkt.Way != c.way[d] ||
		seg.Opts.Has(tcp.OptTimestamps) != (h.state[d]&stTimestamps != 0) ||
		int32(seg.TSVal-h.tsval[d]) < 0 {
		return false
	}
	switch seg.Seq {
	case h.next[d] - 1:
		// Behind an answer of the short way to this end nothing has changed but the time.
		again := c.flags&coldSteady != 0 && int(c.steadyEnd) == e
		if c.waitAt != 0 || again && pkt.At.Sub(h.last) < gapMin || !again && !t.expects(c, d, h, pkt.At) {
			return false
		}
		c.waitAt, c.waitOrd, h.echo = pkt.At, pkt.Ord, seg.TSEcr
	case h.next[d]:
		if c.waitAt == 0 || c.flags&coldSteady == 0 || int(c.steadyEnd) != e || !t.answered(c, e, h, pkt) {
			return false
		}
	default:
		return false
	}
	c.segments[d]++
	if seg.IPID != c.ipid[d] {
		h.state[d] |= stIDVaries
		c.ipid[d] = seg.IPID
	}
	c.flags |= coldSteady
	c.steadyEnd = uint8(d)
	h.tsval[d] = seg.TSVal
	h.last, h.ord = pkt.At, pkt.Ord
	return true
}

// steadyRun returns the keepalive run of end d at the end of the story, or the
// answered probe that may begin one; nil where there is neither. The other
// end's may lie behind it.
func (t *Table) steadyRun(c *cold, d int) (head, last *event) {
	evs := t.arena.events(c.story)
	for n, looked := len(evs), 0; n >= 2 && looked < 2; n, looked = n-2, looked+1 {
		head, last = &evs[n-2], &evs[n-1]
		prober := last // a tail tells it, too: its head need not be touched
		if last.bits&evTail == 0 || last.kind != KeepaliveProbe {
			if !isPair(head, last) {
				return nil, nil
			}
			prober = head
		}
		if prober.from() == d {
			return head, last
		}
	}
	return nil, nil
}

// expects reports whether a probe of end d is what its run would have next.
func (t *Table) expects(c *cold, d int, h *hot, at tcp.Instant) bool {
	head, tl := t.steadyRun(c, d)
	return tl != nil && head.seq == h.next[d]-1 && head.ack == h.next[1-d] && head.count == 0 && head.win != 0 &&
		at.Sub(tl.at) >= gapMin
}

// answered takes an answer to the waiting probe of end e into its run, where
// it keeps the pace.
func (t *Table) answered(c *cold, e int, h *hot, pkt *capture.Packet) bool {
	head, tl := t.steadyRun(c, e)
	if tl == nil {
		return false
	}
	if tl.bits&evTail == 0 {
		t.secondBeat(head, tl, c, e, h, pkt)
		return true
	}
	run := tail{tl}
	period := inSeconds(pkt.At.Sub(tl.at))
	spans := run.period()
	if !onPace(spans, period) {
		return false
	}
	rtt := inSeconds(pkt.At.Sub(c.waitAt))
	spans.add(period)
	run.setPeriod(spans)
	spans = run.rtt()
	spans.add(rtt)
	run.setRTT(spans)
	tl.count++
	tl.next = h.echo
	tl.at = pkt.At
	tl.setOrdinal(pkt.Ord)
	tl.tsval = h.tsval[e]
	t.beat(c, e, rtt)
	return true
}

// beat counts an answered probe of end e.
func (t *Table) beat(c *cold, e int, rtt float32) {
	c.rtt[e].add(rtt)
	c.probes[e]++
	c.answered[e]++
	c.waitAt, c.waitOrd = 0, 0
}

// secondBeat makes a run of an answered probe and the next one.
func (t *Table) secondBeat(head, last *event, c *cold, e int, h *hot, pkt *capture.Packet) {
	period, rtt := inSeconds(pkt.At.Sub(last.at)), inSeconds(pkt.At.Sub(c.waitAt))
	probe := event{at: c.waitAt, tsval: h.tsval[e], tsecr: h.echo, bits: head.bits & (evFrom | evTS)}
	answer := event{at: pkt.At, ttl: pkt.Seg.TTL}
	answer.setOrdinal(pkt.Ord)
	startPairs(head, last, &probe, &answer, period, rtt)
	t.beat(c, e, rtt)
}

// flush brings a flow back from the short way: a probe that still waits
// becomes an event, and the last segment is remembered for its copies.
func (t *Table) flush(p *pool, slot uint32) {
	c := p.cold(slot)
	if c.flags&coldSteady == 0 {
		return
	}
	c.flags &^= coldSteady
	h, d := p.hot(slot), int(c.steadyEnd)
	last := tcp.Segment{
		Seq: h.next[d], Ack: h.next[1-d], TSVal: h.tsval[d], TSEcr: h.echo, Win: h.win[d], IPID: c.ipid[d],
		TTL: c.ttl[d], Flags: tcp.ACK,
	}
	if h.state[d]&stTimestamps != 0 {
		last.Opts = tcp.OptTimestamps
	}
	if c.waitAt == 0 {
		t.copies.put(p.handle(slot), d, &last, h.last)
		return
	}
	last.Seq--
	t.copies.put(p.handle(slot), d, &last, h.last)
	_, tl := t.steadyRun(c, d)
	s := &step{t: t, pool: p, slot: slot, handle: p.handle(slot), h: h, c: c, d: d, p: 1 - d, seg: &last, at: c.waitAt,
		pkt: &capture.Packet{At: c.waitAt, Ord: c.waitOrd, Seg: last}}
	if tl != nil {
		s.quiet = c.waitAt.Sub(tl.at)
	}
	c.waitAt, c.waitOrd = 0, 0
	c.probes[d]++
	c.open[d]++
	s.append(KeepaliveProbe)
}
