package flows

import (
	"container/heap"
	"fmt"
	"time"
)

// Flows that ended well stay whole until this many newer ones have ended;
// then only a row remains of them, and of rows the 65,536 with the lowest
// print, a choice that every vantage point makes alike.
const (
	wholeClosed = 4096
	closedLimit = 65_536
)

type closedRow struct {
	Closed
	print uint32
}

// closedRows is a heap with the highest print on top.
type closedRows struct {
	rows    []closedRow
	dropped uint64
}

func (h *closedRows) Len() int           { return len(h.rows) }
func (h *closedRows) Less(i, j int) bool { return h.rows[i].print > h.rows[j].print }
func (h *closedRows) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *closedRows) Push(x any)         { h.rows = append(h.rows, x.(closedRow)) }
func (h *closedRows) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows = h.rows[:len(h.rows)-1]
	return last
}

func (h *closedRows) keep(row Closed) {
	r := closedRow{row, isnPrint(&row)}
	switch {
	case len(h.rows) < closedLimit:
		heap.Push(h, r)
	case r.print < h.rows[0].print:
		h.rows[0] = r
		heap.Fix(h, 0)
		h.dropped++
	default:
		h.dropped++
	}
}

// isnPrint ranks a flow by its initial sequence numbers alone, so that all
// vantage points rank alike.
func isnPrint(c *Closed) uint32 {
	return uint32(mix(uint64(c.ISN[0])<<32|uint64(c.ISN[1]), 0x9e3779b97f4a7c15))
}

// finished queues a flow that has just ended.
func (t *Table) finished(p *pool, slot uint32) {
	t.ended = append(t.ended, p.handle(slot))
	if len(t.ended) <= wholeClosed {
		return
	}
	old := t.ended[0]
	t.ended = t.ended[1:]
	if cap(t.ended) > 4*wholeClosed && len(t.ended) < cap(t.ended)/2 {
		t.ended = append(make([]uint32, 0, 2*wholeClosed), t.ended...)
	}
	q, s := t.at(old)
	if c := q.cold(s); c.flags&coldUsed != 0 && c.flags&coldEnded != 0 && c.flags&coldOddEnd == 0 {
		t.shrink(q, s)
	}
}

// shrink leaves of a flow that ended well its row.
func (t *Table) shrink(p *pool, slot uint32) {
	row := t.closedRow(p, slot)
	if t.Options.Retired != nil {
		t.Options.Retired(&row, Ended)
	}
	t.closed.keep(row)
	t.drop(p, slot)
}

func (t *Table) closedRow(p *pool, slot uint32) Closed {
	f := t.view(p, slot)
	row := Closed{
		Key: f.Key, First: f.First, Last: f.Last, Stream: uint32(f.Stream),
		ISN: f.isns(), Fingerprint: f.Sides[Client].Fingerprint,
		End:      [2]Ending{f.Sides[Client].Ending, f.Sides[Server].Ending},
		Reversed: p.cold(slot).flags&coldReversed != 0,
	}
	for _, g := range f.Gaps {
		if d := g.Duration(); d > row.Longest {
			row.Longest, row.LongestFrom = d, g.From
		}
	}
	return row
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// seconds turns a stored span's value into a duration.
func seconds(f float32) time.Duration { return time.Duration(float64(f) * float64(time.Second)) }

// inSeconds is the inverse of seconds.
func inSeconds(d time.Duration) float32 { return float32(float64(d) * 1e-9) }
