package flows

import (
	"fmt"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Flows that ended well stay whole until this many newer ones have ended;
// then only a row remains of them, and of rows the 65,536 with the lowest
// print, a choice that every vantage point makes alike.
const (
	wholeClosed = 4096
	closedLimit = 65_536
)

// closedRows holds what remains of flows that ended well. Between two prunings
// it holds a few more than are kept, so that a row costs little to keep.
type closedRows struct {
	chunks  []*[closedChunk]Closed // rows never move while more may come
	prints  []uint32               // one per row
	spare   []uint32               // rows that were not kept: the next ones take their places
	below   uint64                 // prints from here on are not kept; 0: there is no bound yet
	dropped uint64
}

// closedSlack is how many rows more than closedLimit are held before the
// highest prints are looked for.
const closedSlack = 8192

const closedChunk = 512

// row returns the row at a place.
func (c *closedRows) row(at uint32) *Closed { return &c.chunks[at/closedChunk][at%closedChunk] }

// wants reports whether a row of this print may be among those that are kept.
func (c *closedRows) wants(print uint32) bool { return c.below == 0 || uint64(print) < c.below }

// place returns where a row of this print goes.
func (c *closedRows) place(print uint32) *Closed {
	if len(c.prints) >= closedLimit+closedSlack && len(c.spare) == 0 {
		c.prune()
	}
	at := uint32(len(c.prints))
	if n := len(c.spare); n > 0 {
		at, c.spare = c.spare[n-1], c.spare[:n-1]
		c.prints[at] = print
		if n > 1 { // rows lie anywhere, and writes that wait for one hold up what is behind them
			next := c.spare[n-2]
			capture.Prefetch(c.chunks[next/closedChunk][next%closedChunk:][:1])
		}
	} else {
		if c.prints = append(c.prints, print); at%closedChunk == 0 {
			fresh := new([closedChunk]Closed)
			populate(fresh[:])
			c.chunks = append(c.chunks, fresh)
		}
	}
	return c.row(at)
}

// prune makes room among the rows: those of the lowest prints stay.
func (c *closedRows) prune() {
	const shift = 20
	var count [1 << (32 - shift)]int
	for _, print := range c.prints {
		count[print>>shift]++
	}
	stay, digit := closedLimit, uint32(0) // the digit that the highest of those that stay begins with
	for ; stay > count[digit]; digit++ {
		stay -= count[digit]
	}
	var edge []uint64 // of that digit: print and row, of which so many stay
	for at, print := range c.prints {
		if d := print >> shift; d > digit {
			c.spare = append(c.spare, uint32(at))
		} else if d == digit {
			edge = append(edge, uint64(print)<<32|uint64(at))
		}
	}
	slices.Sort(edge)
	for _, x := range edge[stay:] {
		c.spare = append(c.spare, uint32(x))
	}
	c.dropped += uint64(len(c.spare))
	c.below = edge[stay-1] >> 32
}

// settle leaves just the rows that are kept.
func (c *closedRows) settle() {
	if held := len(c.prints) - len(c.spare); held > closedLimit {
		c.dropSpare()
		c.prune()
	}
	c.dropSpare()
}

// dropSpare closes the gaps among the rows.
func (c *closedRows) dropSpare() {
	slices.Sort(c.spare)
	to := uint32(0)
	for from, print := range c.prints {
		if len(c.spare) > 0 && c.spare[0] == uint32(from) {
			c.spare = c.spare[1:]
			continue
		}
		if to != uint32(from) {
			*c.row(to), c.prints[to] = *c.row(uint32(from)), print
		}
		to++
	}
	c.prints, c.spare = c.prints[:to], nil
	c.chunks = c.chunks[:(to+closedChunk-1)/closedChunk]
}

// isnPrint ranks a flow by its initial sequence numbers alone, so that all
// vantage points rank alike.
func isnPrint(isn [2]tcp.Seq) uint32 {
	return uint32(mix(uint64(isn[0])<<32|uint64(isn[1]), 0x9e3779b97f4a7c15))
}

// finished queues a flow that has just ended.
func (t *Table) finished(p *pool, slot uint32) {
	handle := p.handle(slot)
	if len(t.ended) < wholeClosed {
		t.ended = append(t.ended, handle)
		return
	}
	old := t.ended[t.oldest]
	t.ended[t.oldest] = handle
	t.oldest = (t.oldest + 1) % wholeClosed
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
	if t.Options.Retired != nil {
		var row Closed
		t.closedRow(&row, p, slot)
		t.Options.Retired(&row, Ended)
	}
	if wanted {
		t.closedRow(t.closed.place(print), p, slot)
	} else {
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

// closedRow condenses a flow into row. It does without a view, and writes each field
// where it belongs: flows end by the million, and a row that is handed on is read in
// larger pieces than it was just written in, for which a processor waits.
func (t *Table) closedRow(row *Closed, p *pool, slot uint32) {
	r := p.record(slot)
	h, c := &r.hot, &r.cold
	if c.flags&coldEnded == 0 {
		t.grow(p, slot)
	}
	t.flush(p, slot)
	p.writeKey(slot, &row.Key)
	client := 0
	if c.flags&coldReversed != 0 {
		client = 1
	}
	isns := c.isns()
	row.ISN[0], row.ISN[1], row.Fingerprint = isns[0], isns[1], c.fingerprint[client]
	row.First, row.Last, row.Stream, row.Reversed = c.first, h.last, c.stream, client == 1
	row.Longest, row.LongestFrom = 0, 0
	if r.young() {
		row.Longest, row.LongestFrom = r.pause(), c.runAt
		row.End[0], row.End[1] = EndFIN, EndFIN
		if rst := h.tsval[0] & (youngRST | youngRST<<1); rst != 0 {
			row.End[0], row.End[1] = EndReset, EndReset
			row.End[client^int(rst/youngRST>>1)] = EndRST
		}
		return
	}
	row.End[0], row.End[1] = h.ending(client), h.ending(1-client)
	end := c.first
	for _, ev := range t.arena.events(c.story) {
		if d := ev.at.Sub(end); d >= gapMin && ev.bits&evTail == 0 && d > row.Longest {
			row.Longest, row.LongestFrom = d, end
		}
		end = max(end, ev.at)
	}
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
