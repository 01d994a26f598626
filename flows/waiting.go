package flows

import "kaflow/tcp"

// What is not known to have been heard stays in a full story as it is: a loss begins with
// it, and within a run of what was answered nobody would look for it. Octets wait until
// the peer acknowledges them. Where an end repeats what this capture saw acknowledged, the
// acknowledgments do not reach it, and the octets wait again.

// waiting is what waits, by end: what it sent from an octet on.
type waiting struct {
	from [2]tcp.Seq
	some [2]bool // false: nothing waits
}

// hold is how firmly an item of a story is held.
type hold uint8

const (
	holdNot   hold = iota
	holdAgain      // it repeats what waits
	holdNew        // its octets wait
	holdFirst      // they do, before all others of its end, or it is the peer's next segment
)

// waiting returns what waits of a story. An end that probes has heard all acknowledged;
// one that answers a probe has heard what the probe acknowledges.
func (s *step) waiting(evs []event) (w waiting) {
	for d := range w.from {
		w.from[d] = s.h.una[d]
		w.some[d] = s.h.state[d]&stAcked != 0 && s.h.next[d].After(s.h.una[d])
		switch last := lastSaid(evs, d); {
		case last == nil:
		case last.kind == KeepaliveProbe && last.from() == d:
			w.some[d] = false
		case last.kind == Retransmission && (!w.some[d] || last.seq.Before(w.from[d])):
			w.from[d], w.some[d] = last.seq, true
		}
	}
	return w
}

// lastSaid returns the last segment of end d with octets, or the last probe or answer to
// one, or the tail of their run; nil where a run of traffic holds it.
func lastSaid(evs []event, d int) *event {
	for i := len(evs) - 1; i >= 0; i-- {
		ev := &evs[i]
		switch {
		case ev.bits&evTail == 0:
			if ev.from() == d && (ev.kind == KeepaliveProbe || ev.kind == KeepaliveACK || carries(ev)) {
				return ev
			}
		case ev.kind == KeepaliveProbe:
			return ev
		case tail{ev}.sent(d):
			return nil
		default:
			i-- // the head of the run
		}
	}
	return nil
}

// carries reports whether a single segment carries octets of the stream.
func carries(ev *event) bool {
	switch ev.kind {
	case KeepaliveProbe, KeepaliveUnclear, ZeroWindowProbe, ICMPError, RST:
		return false
	}
	return ev.count > 0
}

// sent reports whether end d sent octets in a run of traffic.
func (t tail) sent(d int) bool {
	lo, hi := t.octets()
	return [2]float32{lo, hi}[d] > 0
}

// hold marks the items of a story that are held.
func (w *waiting) hold(evs []event, list []item) {
	var sent [2]tcp.Seq    // how far what waits was sent
	var begun, met [2]bool // something of the end waits; the peer's next is marked
	for i := range list {
		it := &list[i]
		ev := &evs[it.from]
		d := ev.from()
		if it.n == 2 {
			it.hold = w.within(&evs[it.from+1])
			met[0], met[1] = met[0] || begun[0], met[1] || begun[1]
			continue
		}
		if begun[1-d] && !met[1-d] && ev.kind != ICMPError {
			it.hold, met[1-d] = holdFirst, true
		}
		end := ev.seq.Add(int(ev.count))
		switch {
		case !w.some[d] || !carries(ev) || !end.After(w.from[d]):
		case !begun[d]:
			it.hold, begun[d], sent[d] = holdFirst, true, end
		case end.After(sent[d]):
			it.hold, sent[d] = max(it.hold, holdNew), end
		default:
			it.hold = max(it.hold, holdAgain)
		}
	}
}

// within returns how firmly a run is held: what it ends with may wait.
func (w *waiting) within(tl *event) hold {
	d := tl.from()
	if seq, _ := (tail{tl}).lastSeq(); tl.kind == Data && w.some[d] && !seq.Before(w.from[d]) {
		return holdNew
	}
	return holdNot
}
