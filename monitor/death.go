package monitor

import (
	"maps"
	"slices"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/tcp"
)

// Deaths: when one is told, and what is remembered of it.

// mostObituaries bounds the verdicts that are remembered for screens.
const mostObituaries = 1000

// over reports whether the connection has ended, whichever way.
func over(f *flows.Flow) bool {
	return f.Sides[0].RST || f.Sides[1].RST || f.Sides[0].FIN && f.Sides[1].FIN
}

// died tells of a death, and of an end that was none.
func (e *Engine) died(id flows.FlowID, f *flows.Flow, w *watched, now tcp.Instant) {
	w.died, w.last = true, f.LastOrd
	if g, ok := e.Table.Glance(id); ok && g.Closed && g.Settled(now) {
		return // as reports see it: closed, and nothing ever happened to it
	}
	d, ok := analyzer.One(e.Point(), id)
	if !ok || d.Verdict.ID == analyzer.ClosedNormally {
		return // it was closed: nobody has to look
	}
	if e.o.Died != nil {
		e.o.Died(f)
	}
	w.dead = true
	v := d.Verdict
	e.bury(id, &v)
	e.tell(f, Event{At: max(f.Last, min(now, f.Last.Add(time.Hour))), What: Died, Frame: e.number(f.LastOrd), Says: v.Summary, Verdict: &v})
}

// obituary is the verdict on a connection that died.
type obituary struct {
	id      flows.FlowID
	verdict *analyzer.Verdict
}

// bury remembers a verdict, in place of the oldest where there are many: a storm of deaths
// must not take the memory.
func (e *Engine) bury(id flows.FlowID, v *analyzer.Verdict) {
	gone := func(o obituary) bool { return e.obituaries[o.id] != o.verdict }
	if len(e.buried) >= 2*mostObituaries {
		e.buried = slices.DeleteFunc(e.buried, gone)
	}
	for e.obituaries[id] == nil && len(e.obituaries) >= mostObituaries && len(e.buried) > 0 {
		if !gone(e.buried[0]) {
			delete(e.obituaries, e.buried[0].id)
		}
		e.buried = e.buried[1:]
	}
	e.obituaries[id] = v
	e.buried = append(e.buried, obituary{id, v})
}

// revise asks about the dead again, now that all has been seen: a control that
// came later can say more of a death. What is told otherwise is told again.
func (e *Engine) revise(now tcp.Instant) {
	ids := slices.Sorted(maps.Keys(e.obituaries))
	for _, id := range ids {
		f, ok := e.Table.Flow(id)
		if !ok {
			continue
		}
		d, ok := analyzer.One(e.Point(), id)
		if v := d.Verdict; ok && v.ID != e.obituaries[id].ID && v.ID != analyzer.ClosedNormally {
			e.obituaries[id], e.buried = &v, append(e.buried, obituary{id, &v})
			e.tell(f, Event{At: max(f.Last, min(now, f.Last.Add(time.Hour))), What: Died, Frame: e.number(f.LastOrd), Says: v.Summary, Verdict: &v})
		}
	}
}
