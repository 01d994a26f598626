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
// A busy connection is asked for every second, and a view costs a hundred times as much.
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

// asker is the end that waits for an answer.
type asker struct {
	open bool
	end  int
}

// nobodyWaits reports whether a story ends without a probe, or a repetition, that is not
// answered.
func nobodyWaits(evs []event) bool {
	var probe, again asker
	var before tcp.Ordinal
	for i := range evs {
		ev := &evs[i]
		if ev.bits&evTail != 0 || ev.kind == ICMPError {
			continue
		}
		if ev.ordinal() < before {
			return false // they are told in another order
		}
		before = ev.ordinal()
		from, run := ev.from(), ev.bits&evRun != 0 && i+1 < len(evs)
		switch answered := ev.bits&evAnswered != 0; {
		case ev.kind == KeepaliveProbe && !run && !answered && !probe.open:
			probe = asker{true, from}
		case !probe.open:
		case run && evs[i+1].hears(1-probe.end), !run && answered && from == probe.end, from != probe.end && ev.kind != RST && ev.kind != KeepaliveProbe:
			probe.open = false
		}
		switch repeats := !run && (ev.kind == Retransmission || ev.kind == SYN && i > 0); {
		case ev.kind == Duplicate:
		case repeats && (!again.open || again.end == from):
			again = asker{true, from}
		case again.open && from == again.end && !run && !repeats && ev.kind != KeepaliveProbe: // what is new behind it answers nothing
		default:
			again.open = false
		}
	}
	return !probe.open && !again.open
}

// hears reports whether the tail of a run counts segments of an end.
func (ev *event) hears(end int) bool {
	if ev.kind == KeepaliveProbe {
		return true
	}
	counts := [2]uint32{}
	counts[0], counts[1] = tail{ev}.counts()
	return counts[end] > 0
}
