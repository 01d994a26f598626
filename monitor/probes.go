package monitor

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// Keepalive probes without an answer: they are told when the next one came, or should have.

// train is the unanswered probes at the end of a connection.
type train struct {
	n        int
	first    tcp.Instant
	last     tcp.Instant
	ords     []tcp.Ordinal
	times    []tcp.Instant
	interval time.Duration
	from     uint8
	unseen   []bool // the answer may have come while nothing was recorded
	sure     int    // probes of which that is not so
}

// doubt notes which answers may have come while nothing was recorded.
func (e *Engine) doubt(t *train, now tcp.Instant) {
	if t.n == 0 {
		return
	}
	holes := e.Table.HolesSince(t.first)
	t.unseen, t.sure = make([]bool, t.n), 0
	for i, at := range t.times {
		until := at.Add(t.interval + grace)
		if i+1 < t.n {
			until = t.times[i+1]
		}
		t.unseen[i] = slices.ContainsFunc(holes, func(h capture.Interval) bool { return h.From <= min(until, now) && at <= h.To })
		if !t.unseen[i] {
			t.sure++
		}
	}
}

// openProbes collects the probes since the last answer.
func openProbes(f *flows.Flow) (t train) {
	for i := range f.Events {
		ev := &f.Events[i]
		switch {
		case ev.Kind == flows.ICMPError || ev.From > flows.Server:
		case ev.Kind == flows.KeepaliveProbe && ev.Run == nil && ev.AnsweredBy == 0 && (t.n == 0 || t.from == ev.From):
			if t.n == 0 {
				t.first, t.from = ev.At, ev.From
			}
			if t.n > 0 {
				t.interval = ev.At.Sub(t.last)
			}
			t.n++
			t.last = ev.At
			t.ords, t.times = append(t.ords, ev.Ord), append(t.times, ev.At)
		case t.n > 0 && ev.Run != nil && ev.Run.Count[1-t.from] > 0, t.n > 0 && ev.AnsweredBy != 0 && ev.From == t.from:
			t = train{}
		case t.n > 0 && ev.From == 1-t.from && ev.Kind != flows.RST && ev.Kind != flows.KeepaliveProbe:
			t = train{}
		}
	}
	return t
}

// probes tells of probes that were lost: the next one came, or should have.
func (e *Engine) probes(f *flows.Flow, w *watched, t *train, now tcp.Instant) {
	wait := t.interval + grace
	if t.interval == 0 {
		wait = max(grace, 3*f.Sides[t.from].RTT.Max)
	}
	for i, ord := range t.ords {
		gone := i+1 < t.n || over(f) || now.Sub(t.times[i]) > wait
		if !gone || ord <= w.lost || t.unseen[i] {
			continue
		}
		w.lost, w.failing = ord, true
		e.tell(f, Event{At: t.times[i], What: ProbeLost, Frame: e.number(ord), Says: "no answer to the " + side(t.from) + "'s keepalive probe"})
	}
	if due := t.last.Add(wait + time.Millisecond); due > now { // else all is told, until something comes
		w.due = due
	}
}
