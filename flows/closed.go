package flows

import (
	"fmt"
	"time"

	"kaflow/tcp"
)

// Flows that ended well stay whole until this many newer ones have ended;
// then only a row remains of them, and of rows the 65,536 with the lowest
// print, a choice that every vantage point makes alike.
const (
	wholeClosed = 4096
	closedLimit = 65_536
)

// closedRows holds what remains of flows that ended well.
type closedRows struct {
	rows    []Closed
	heap    []printed // one per row, the highest print on top
	dropped uint64
}

// printed is the print of a row and its place among the rows.
type printed struct{ print, at uint32 }

// wants reports whether a row of this print is among those that are kept.
func (c *closedRows) wants(print uint32) bool {
	return len(c.rows) < closedLimit || print < c.heap[0].print
}

func (c *closedRows) keep(row *Closed, print uint32) {
	if len(c.rows) < closedLimit {
		c.heap = append(c.heap, printed{print, uint32(len(c.rows))})
		c.rows = append(c.rows, *row)
		c.rise(len(c.heap) - 1)
		return
	}
	c.dropped++
	c.rows[c.heap[0].at] = *row
	c.heap[0].print = print
	c.sink(0)
}

func (c *closedRows) rise(i int) {
	for i > 0 {
		above := (i - 1) / 2
		if c.heap[above].print >= c.heap[i].print {
			return
		}
		c.heap[above], c.heap[i] = c.heap[i], c.heap[above]
		i = above
	}
}

func (c *closedRows) sink(i int) {
	for {
		most := i
		for below := 2*i + 1; below <= 2*i+2 && below < len(c.heap); below++ {
			if c.heap[below].print > c.heap[most].print {
				most = below
			}
		}
		if most == i {
			return
		}
		c.heap[most], c.heap[i] = c.heap[i], c.heap[most]
		i = most
	}
}

// isnPrint ranks a flow by its initial sequence numbers alone, so that all
// vantage points rank alike.
func isnPrint(isn [2]tcp.Seq) uint32 {
	return uint32(mix(uint64(isn[0])<<32|uint64(isn[1]), 0x9e3779b97f4a7c15))
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
	c := p.cold(slot)
	print := isnPrint(c.isns())
	wanted := t.closed.wants(print)
	if t.Options.Retired != nil || wanted {
		row := t.closedRow(p, slot)
		if t.Options.Retired != nil {
			t.Options.Retired(&row, Ended)
		}
		if wanted {
			t.closed.keep(&row, print)
		}
	}
	if !wanted {
		t.closed.dropped++
	}
	t.drop(p, slot)
}

// isns returns the initial sequence numbers, client's first.
func (c *cold) isns() [2]tcp.Seq {
	if c.flags&coldReversed != 0 {
		return [2]tcp.Seq{c.isn[1], c.isn[0]}
	}
	return c.isn
}

// closedRow condenses a flow. It does without a view: flows end by the million.
func (t *Table) closedRow(p *pool, slot uint32) Closed {
	h, c := p.hot(slot), p.cold(slot)
	if c.flags&coldEnded == 0 {
		t.grow(p, slot)
	}
	t.flush(p, slot)
	client := 0
	if c.flags&coldReversed != 0 {
		client = 1
	}
	row := Closed{
		Key: p.key(slot), First: c.first, Last: h.last, Stream: c.stream, ISN: c.isns(), Fingerprint: c.fingerprint[client],
		End: [2]Ending{h.ending(client), h.ending(1 - client)}, Reversed: client == 1,
	}
	if p.record(slot).young() { // it went on without a pause, and ended
		row.End = [2]Ending{EndFIN, EndFIN}
		return row
	}
	end := c.first
	for _, ev := range t.arena.events(c.story) {
		if d := ev.at.Sub(end); d >= gapMin && ev.bits&evTail == 0 && d > row.Longest {
			row.Longest, row.LongestFrom = d, end
		}
		end = max(end, ev.at)
	}
	return row
}

// ending says how an end left a flow, as far as its flags alone tell. Those
// that ended otherwise are kept whole (coldOddEnd).
func (h *hot) ending(e int) Ending {
	switch {
	case h.state[e]&stRST != 0:
		return EndRST
	case h.state[1-e]&stRST != 0:
		return EndReset
	case h.state[e]&stFIN != 0:
		return EndFIN
	case h.state[e]&stSeen == 0:
		return EndUnknown
	}
	return EndOpen
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
