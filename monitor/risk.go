package monitor

import (
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// Warnings: a silence that nears what the path allows.

// risk warns where a connection has been silent for most of what the path
// allows, and no keepalive is due before that.
func (e *Engine) risk(f *flows.Flow, w *watched, now tcp.Instant) {
	if e.o.PathLimit == 0 || over(f) || speaksBefore(f, e.o.PathLimit) {
		return
	}
	if w.warned != f.Last {
		w.warned = 0
	}
	warn := f.Last.Add(e.o.PathLimit * 4 / 5)
	switch {
	case w.warned != 0:
	case now >= warn:
		w.warned = f.Last
		e.tell(f, Event{At: now, What: AtRisk, Frame: e.number(f.LastOrd),
			Says: "idle " + short(now.Sub(f.Last)) + " of " + short(e.o.PathLimit) + ", and " + nextProbe(f)})
	case w.due == 0 || w.due > warn:
		w.due = warn
	}
}

// speaksBefore reports whether keepalives that were answered so far come before
// the path's limit.
func speaksBefore(f *flows.Flow, limit time.Duration) bool {
	for s := range f.Sides {
		if p := f.Sides[s].Period; p.Known && p.Max < limit {
			return true
		}
	}
	return false
}

// nextProbe says when the connection would speak by itself.
func nextProbe(f *flows.Flow) string {
	for s := range f.Sides {
		if p := f.Sides[s].Period; p.Known {
			return "the " + side(uint8(s)) + " probes every " + short(p.Max)
		}
	}
	return paceless(f.Sides[0].Probes+f.Sides[1].Probes, f.Sides[0].Answered+f.Sides[1].Answered)
}

// paceless says why it is not known when the next keepalive comes, of so many that were sent
// and answered.
func paceless(sent, answered uint32) string {
	switch {
	case sent == 0:
		return "no keepalive was seen so far"
	case answered == 0:
		return "no keepalive was answered so far"
	}
	return "how often keepalives come is not known yet"
}
