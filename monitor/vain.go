package monitor

import (
	"fmt"
	"slices"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/tcp"
)

// What kills a connection without a probe: data or a SYN that is sent again and
// again and not answered, and a window that stays shut.

// What is told of, and when.
const (
	warnRepeats  = 4 // of data without an acknowledgment
	deadRepeats  = 3 // of data, once no more come
	deadSYNs     = 2 // repeated SYNs, once no more come
	stalledAfter = 30 * time.Second
)

// repeats is what an end has sent again since its peer was last heard.
type repeats struct {
	n           int
	from        uint8
	syn         bool
	ord         tcp.Ordinal // the first of them
	sent        tcp.Instant // what is sent again, at the latest; as first where it was not seen
	first, last tcp.Instant
	interval    time.Duration // between the last two
}

// repeated collects the unanswered repetitions at the end of a connection.
func repeated(f *flows.Flow) (r repeats) {
	var before tcp.Instant // the segment that was sent again
	for i := range f.Events {
		ev := &f.Events[i]
		switch again := ev.Kind == flows.Retransmission || ev.Kind == flows.SYN && i > 0; {
		case ev.Kind == flows.ICMPError || ev.Kind == flows.Duplicate || ev.From > flows.Server:
		case again && ev.Run == nil && (r.n == 0 || r.from == ev.From):
			if r.n == 0 {
				r.from, r.syn, r.ord, r.first, r.last = ev.From, ev.Kind == flows.SYN, ev.Ord, ev.At, before
				if r.sent = before; before == 0 {
					r.sent = ev.At
				}
			}
			if r.last != 0 {
				r.interval = ev.At.Sub(r.last)
			}
			r.n, r.last = r.n+1, ev.At
		default:
			if r.n > 0 && ev.From == r.from && ev.Run == nil && !again && ev.Kind != flows.KeepaliveProbe {
				continue // new data behind it answers nothing
			}
			r, before = repeats{}, ev.End()
		}
	}
	if side := &f.Sides[r.from]; r.n > 0 && !r.syn && (!side.NxtKnown || !side.SndUna.Before(side.SndNxt)) {
		return repeats{} // it was acknowledged all the same
	}
	return r
}

// over reports whether no repetition comes any more: the next one would have, at
// twice the distance.
func (r *repeats) over(now tcp.Instant) bool {
	least := deadRepeats
	if r.syn {
		least = deadSYNs
	}
	return r.n >= least && now.Sub(r.last) > 2*r.interval+grace
}

// vain warns of data that is sent again and again, and reports whether the
// sender has given it up.
func (e *Engine) vain(f *flows.Flow, w *watched, r *repeats, now tcp.Instant) (dead bool) {
	if r.n == 0 || len(e.Table.HolesSince(r.first)) > 0 {
		return false // answers may have come while nothing was recorded
	}
	if r.n >= warnRepeats && !r.syn && w.vain != r.ord {
		w.vain, w.failing = r.ord, true
		e.tell(f, Event{At: r.last, What: AtRisk, Frame: e.number(f.LastOrd),
			Says: fmt.Sprintf("the %s has sent the same %d times in %s, and gets no acknowledgment", side(r.from), r.n+1, short(max(time.Second, r.last.Sub(r.sent))))})
	}
	if r.over(now) {
		return true
	}
	if due := r.last.Add(2*r.interval + grace + time.Millisecond); due > now && (w.due == 0 || w.due > due) {
		w.due = due
	}
	return false
}

// gone tells of a death that no probe showed, where the rules see one.
func (e *Engine) gone(id flows.FlowID, f *flows.Flow, w *watched, now tcp.Instant) {
	d, ok := analyzer.One(e.Point(), id)
	if !ok || slices.Contains([]string{analyzer.Healthy, analyzer.Idle, analyzer.CaptureGap, analyzer.ClosedNormally}, d.Verdict.ID) {
		return
	}
	e.died(id, f, w, now)
}

// stalled tells of a receiver that has not read for a while, and when it reads
// again.
func (e *Engine) stalled(id flows.FlowID, f *flows.Flow, w *watched, now tcp.Instant) {
	shut := false
	for s := range f.Sides {
		r := &f.Sides[s]
		shut = shut || r.Win == 0 && r.Segments > 0 && f.Sides[1-s].WindowProbes >= 2
	}
	switch {
	case !shut && w.stalled:
		w.shut, w.stalled = 0, false
		e.tell(f, Event{At: f.Last, What: Recovered, Frame: e.number(f.LastOrd), Says: "the window is open again"})
	case !shut:
		w.shut = 0
	case w.stalled:
	case w.shut == 0:
		w.shut = now
		fallthrough
	case now.Sub(w.shut) < stalledAfter:
		if due := w.shut.Add(stalledAfter); w.due == 0 || w.due > due {
			w.due = due
		}
	default:
		w.stalled = true
		if d, ok := analyzer.One(e.Point(), id); ok && d.Verdict.ID == analyzer.ReceiverStalled {
			v := d.Verdict
			e.tell(f, Event{At: now, What: AtRisk, Frame: e.number(f.LastOrd), Says: v.Summary, Verdict: &v})
		}
	}
}
