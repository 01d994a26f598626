package monitor

import (
	"cmp"
	"container/heap"
	"slices"

	"kaflow/flows"
	"kaflow/tcp"
)

// When a connection is looked at though nothing comes.

// timer is when a connection is to be looked at.
type timer struct {
	at tcp.Instant
	id flows.FlowID
}

// timers is a heap of timers, the earliest first. A connection has one that
// counts, and at most a few that no longer do.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// schedule sets a timer for a connection's due time, unless an earlier one will
// look at it anyway.
func (e *Engine) schedule(id flows.FlowID, w *watched) {
	if w.due != 0 && (w.queued == 0 || w.due < w.queued) {
		w.queued = w.due
		heap.Push(&e.queue, timer{w.due, id})
	}
}

// overdue returns the connections whose time has come, the longest overdue
// first, and takes their timers away: each has to be examined.
func (e *Engine) overdue(now tcp.Instant) []flows.FlowID {
	var ids []flows.FlowID
	for len(e.queue) > 0 && e.queue[0].at <= now {
		next := heap.Pop(&e.queue).(timer)
		w := e.flows[next.id]
		if w == nil || w.queued != next.at {
			continue // gone, or there was an earlier one
		}
		w.queued = 0
		if w.due != 0 && w.due <= now {
			ids = append(ids, next.id)
		} else {
			e.schedule(next.id, w)
		}
	}
	slices.SortFunc(ids, func(a, b flows.FlowID) int {
		return cmp.Or(cmp.Compare(e.flows[a].due, e.flows[b].due), cmp.Compare(uint32(a), uint32(b)))
	})
	return ids
}
