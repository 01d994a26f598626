package flows

import (
	"kaflow/tcp"
)

// Calm reports whether neither end of a flow waits for the other in a way that a watch
// tells of: no keepalive probe and nothing that was sent again is open, no window is shut,
// and the flow has not ended. Where that is so a view of it has nothing to tell that the one
// before did not; where it is not said to be so, it may be all the same. last is when its
// last segment was seen.
//
// A busy connection is asked for every second, and a view costs far more (BenchmarkCalm).
func (t *Table) Calm(id FlowID) (last tcp.Instant, calm bool) {
	p, slot, ok := t.resolve(id)
	if !ok {
		return 0, false
	}
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	if r.young() || c.flags&coldSteady != 0 || (h.state[0]|h.state[1])&(stRST|stShut) != 0 || h.state[0]&h.state[1]&stFIN != 0 {
		return h.last, false
	}
	for e := range h.win {
		if h.win[e] == 0 && h.state[e]&stSeen != 0 {
			return h.last, false
		}
	}
	return h.last, nobodyWaits(t.arena.events(c.story))
}

// nobodyWaits reports whether a story ends in traffic of both ends behind all probes and
// repetitions that were not answered. It is no more than a first look: who waits is told by the
// view.
func nobodyWaits(evs []event) bool {
	waits := false
	var before tcp.Ordinal
	for i := range evs {
		switch ev := &evs[i]; {
		case ev.bits&evTail != 0:
			if lo, hi := (tail{ev}).counts(); ev.kind == KeepaliveProbe || lo > 0 && hi > 0 {
				waits = false
			}
		case ev.ordinal() < before:
			return false // a view has another order
		default:
			before = ev.ordinal()
			waits = waits || ev.bits&evRun == 0 && (ev.kind == Retransmission || ev.kind == SYN && i > 0 || ev.kind == KeepaliveProbe && ev.bits&evAnswered == 0)
		}
	}
	return !waits
}
