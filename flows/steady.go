package flows

import (
	"math"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// The short way: a probe of a run that keeps its pace, and its answer. Nearly
// all traffic of idle connections is this, so it must touch little: the hot
// line and the first line of the cold part, which keeps what belongs in the
// run's tail until something else happens (store). It decides nothing that the
// long way would decide otherwise (TestTheShortWayIsTheSame); whatever is not
// plainly the next beat of the run goes the long way. Of probes and
// answers that stand in a row most is done before they are decoded (beats.go).

// unsteady are the state bits of either end that end the short way.
const unsteady = stTentative | stFIN | stRST | stShut | stChallenge | stWindowMode | stIdleMode | stLate

// steadyNotes are oddities of a packet that the long way must look at.
const steadyNotes = capture.NoteHeaderCut | capture.NoteBadTCPSum | capture.NoteFragment | capture.NoteClockStep

// steadyRTT bounds the round trip, in seconds, on the short way: where it may be
// longer, a probe can look like a segment that was overtaken (see rto).
const steadyRTT = 0.45

// steady tries the short way and reports whether the packet is done with.
func (t *Table) steady(r *record, pkt *capture.Packet) bool {
	seg := &pkt.Seg
	const usual = tcp.OptTimestamps | tcp.OptSACK
	if seg.Len&^1|uint32(seg.Flags^tcp.ACK)|uint32(seg.Opts&^usual)|uint32(pkt.Note&steadyNotes) != 0 || seg.Win == 0 {
		return false
	}
	h, c, d := &r.hot, &r.cold, 0
	if pkt.Reversed {
		d = 1
	}
	e := 1 - d
	const settled = stKnown | stAcked | stSeen
	const stamped = stTimestamps / uint16(tcp.OptTimestamps)
	if h.win[d] != seg.Win || seg.Ack != h.next[e] || pkt.At < h.last || h.state[d]&stTimestamps != uint16(seg.Opts&tcp.OptTimestamps)*stamped || int32(seg.TSVal-h.tsval[d]) < 0 ||
		seg.TTL != c.ttl[d] || pkt.Way != c.way[d] {
		return false
	}
	if c.flags&coldSteady == 0 && // else it was so, and the short way changes none of it
		((h.state[0]|h.state[1])&unsteady != 0 || h.state[0]&h.state[1]&settled != settled || h.una != h.next ||
			c.flags&coldEnded != 0 || c.holed || c.open != [2]uint16{}) {
		return false
	}
	pause := uint64(pkt.At-h.last) >= uint64(gapMin) // it is not negative
	flags := c.flags
	behind := flags&(coldSteady|coldSteadyHi) == coldSteady|coldSteadyHi*uint16(e) // the peer's last segment came this way, and nothing since
	switch seg.Seq {
	case h.next[d] - 1:
		// Behind an answer of the short way nothing has changed but the time.
		if flags&coldWaits != 0 || behind && !pause || !behind && !t.expects(c, d, h, pkt) ||
			seg.Len|uint32(seg.Opts&tcp.OptSACK)|uint32(pkt.Note)|uint32(c.probe) != 0 && !r.unusual(d, behind, pkt, t.buf) {
			return false
		}
		h.echo = seg.TSEcr
		flags |= coldWaits
		if pause {
			flags |= coldQuiet
		}
	case h.next[d]:
		if !behind || flags&coldWaits == 0 || seg.Len|uint32(seg.Opts&tcp.OptSACK) != 0 && !r.twice(e, seg) || !t.answered(c, e, h, pkt) {
			return false
		}
		flags = c.flags &^ (coldWaits | coldQuiet)
	default:
		return false
	}
	c.segments[d]++
	if seg.IPID != c.ipid[d] {
		h.state[d] |= stIDVaries
		c.ipid[d] = seg.IPID
	}
	c.flags = flags&^coldSteadyHi | coldSteady | coldSteadyHi*uint16(d)
	h.tsval[d] = seg.TSVal
	h.last, h.ord = pkt.At, pkt.Ord
	return true
}

// unusual notes what a probe of end d is like that is not empty and right, or comes behind
// such a one, and reports whether it is one for certain (see lastOctetAgain) and like the one before.
func (r *record) unusual(d int, behind bool, pkt *capture.Packet, buf []byte) bool {
	c, like := &r.cold, uint8(pkt.Seg.Len)
	if behind && (like^c.probe)&probeOctet != 0 || pkt.Seg.Opts&tcp.OptSACK != 0 {
		return false
	}
	if pkt.Note&capture.NoteBadIPSum != 0 {
		like |= probeBadSum
	}
	switch same := pkt.DataLen == 1 && r.hot.state[d]&stOctet != 0 && buf[pkt.Data] == c.lastOctet[d]; {
	case pkt.Seg.Len == 0:
	case same && buf[pkt.Data] != 0:
		return false
	case same || pkt.DataLen != 1:
		like |= probeInferred
	}
	c.probe = like
	return true
}

// twice notes that an answer says that the octet of the waiting probe of end e came
// twice, and reports whether it says that and nothing else.
func (r *record) twice(e int, seg *tcp.Segment) bool {
	if r.cold.probe&probeOctet == 0 || seg.Len > 0 || seg.SackL != r.hot.next[e]-1 || seg.SackR != r.hot.next[e] {
		return false
	}
	r.cold.probe |= probeDSACK
	return true
}

// steadyEnd returns who sent the last segment of the short way.
func (c *cold) steadyEnd() int { return int(c.flags / coldSteadyHi & 1) }

// keeps reports whether the record keeps the newest of a run of end e.
func (c *cold) keeps(e int) bool {
	return c.flags&coldRun != 0 && int(c.flags/coldRunHi&1) == e
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
func (t *Table) expects(c *cold, d int, h *hot, pkt *capture.Packet) bool {
	head, tl := t.steadyRun(c, d)
	if tl == nil || c.rtt[d].wide().max > steadyRTT {
		return false
	}
	last := tl.at
	if c.keeps(d) {
		last = c.runAt
	}
	return head.seq == h.next[d]-1 && head.ack == h.next[1-d] && head.count == pkt.Seg.Len && head.win != 0 && pkt.At.Sub(last) >= gapMin
}

// answered takes an answer to the waiting probe of end e into its run, where
// it keeps the pace.
func (t *Table) answered(c *cold, e int, h *hot, pkt *capture.Packet) bool {
	since := uint64(pkt.At - h.last) // it is not negative
	if since > steadyRTT*1e9 {
		return false
	}
	rtt := inSeconds(time.Duration(since))
	if !c.keeps(e) {
		t.store(c)
		head, tl := t.steadyRun(c, e)
		if tl == nil {
			return false
		}
		if tl.bits&evTail == 0 {
			t.secondBeat(head, tl, c, e, h, pkt, rtt)
			return true
		}
		c.load(tail{tl}, e)
	}
	return c.goesOn(e, h, pkt, rtt)
}

// goesOn takes an answer to the waiting probe of end e into the run that the record
// keeps, where it keeps the pace.
func (c *cold) goesOn(e int, h *hot, pkt *capture.Packet, rtt float32) bool {
	period := inSeconds(time.Duration(pkt.At - c.runAt)) // off the pace where it wraps
	if !onPace(c.runPeriod, period) || c.beats == math.MaxUint16 {
		return false
	}
	c.runPeriod.add(period)
	c.runRTT.add(rtt)
	c.beats++
	c.runAt, c.runOrd, c.runTS, c.runEcho = pkt.At, uint32(pkt.Ord), h.tsval[e], h.echo
	return true
}

// load keeps a run of end e in the record, so that its tail need not be touched.
func (c *cold) load(run tail, e int) {
	c.flags = c.flags&^coldRunHi | coldRun | coldRunHi*uint16(e)
	c.runAt, c.runPeriod, c.runRTT, c.beats = run.at, run.period(), run.rtt(), 0
	c.runOrd, c.runTS, c.runEcho = run.ord, run.tsval, run.next
}

// store writes what the record keeps of a run to where it belongs.
func (t *Table) store(c *cold) {
	if c.flags&coldRun == 0 {
		return
	}
	e := int(c.flags / coldRunHi & 1)
	c.flags &^= coldRun
	if c.beats == 0 {
		return
	}
	_, tl := t.steadyRun(c, e)
	run := tail{tl}
	run.setPeriod(c.runPeriod)
	run.setRTT(c.runRTT)
	since := c.runOrd - tl.ord // a run does not pause for four thousand million frames
	tl.setOrdinal(tl.ordinal() + tcp.Ordinal(since))
	tl.at, tl.tsval, tl.next = c.runAt, c.runTS, c.runEcho
	tl.count += uint32(c.beats)
	c.probes[e] += uint32(c.beats)
	c.answered[e] += uint32(c.beats)
	c.rtt[e].add(c.runRTT.min)
	c.rtt[e].add(c.runRTT.max)
	c.beats = 0
}

// secondBeat makes a run of an answered probe and the next one.
func (t *Table) secondBeat(head, last *event, c *cold, e int, h *hot, pkt *capture.Packet, rtt float32) {
	period := inSeconds(pkt.At.Sub(last.at))
	probe := event{at: h.last, tsval: h.tsval[e], tsecr: h.echo, bits: head.bits & (evFrom | evTS)}
	answer := event{at: pkt.At, ttl: pkt.Seg.TTL}
	answer.setOrdinal(pkt.Ord)
	startPairs(head, last, &probe, &answer, period, rtt)
	c.rtt[e].add(rtt)
	c.probes[e]++
	c.answered[e]++
}

// flush brings a flow back from the short way: what the record keeps goes to
// the story, a probe that still waits becomes an event, and the last segment is
// remembered for its copies.
func (t *Table) flush(p *pool, slot uint32) {
	c := p.cold(slot)
	if c.flags&coldSteady == 0 {
		return
	}
	t.store(c)
	h, d := p.hot(slot), c.steadyEnd()
	waits, quiet := c.flags&coldWaits != 0, c.flags&coldQuiet != 0
	c.flags &^= coldSteady | coldSteadyHi | coldWaits | coldQuiet
	last := tcp.Segment{
		Seq: h.next[d], Ack: h.next[1-d], TSVal: h.tsval[d], TSEcr: h.echo, Win: h.win[d], IPID: c.ipid[d],
		TTL: c.ttl[d], Flags: tcp.ACK,
	}
	if h.state[d]&stTimestamps != 0 {
		last.Opts = tcp.OptTimestamps
	}
	if !waits {
		if c.probe&probeDSACK != 0 {
			last.Opts |= tcp.OptSACK
			last.SackL, last.SackR = last.Ack-1, last.Ack
		}
		t.copies.put(p.handle(slot), d, &last, h.last)
		return
	}
	last.Seq--
	last.Len = uint32(c.probe & probeOctet)
	t.copies.put(p.handle(slot), d, &last, h.last)
	s := &step{t: t, pool: p, slot: slot, handle: p.handle(slot), h: h, c: c, d: d, p: 1 - d, seg: &last, at: h.last,
		pkt: &capture.Packet{At: h.last, Ord: h.ord, Seg: last}}
	if quiet {
		s.quiet = gapMin
	}
	c.probes[d]++
	c.open[d]++
	if c.probe&probeBadSum != 0 {
		s.note = NoteBadSum
	}
	if c.probe&probeInferred != 0 {
		s.conf = Inferred
	}
	s.append(KeepaliveProbe)
}
