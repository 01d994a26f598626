package render

import (
	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/tcp"
)

// rowDoc is a row of the timeline, unformatted. type is "event", "run", "gap"
// or "folded"; the other keys are there where they mean something for it.
type rowDoc struct {
	Type       string     `json:"type"`
	At         *moment    `json:"at"`
	Vantage    *string    `json:"vantage"`
	File       *int       `json:"file"`
	Frame      *uint64    `json:"frame"`
	From       *string    `json:"from"`
	Kind       *string    `json:"kind"`
	Fate       *string    `json:"fate"`
	Assumed    *bool      `json:"assumed,omitempty"`
	Partner    *cellDoc   `json:"partner"`
	Cells      []cellDoc  `json:"cells"`
	Lost       *[2]string `json:"lost_between"`
	Unanswered *bool      `json:"unanswered,omitempty"`
	Note       *text      `json:"note"`
	Count      *int       `json:"count,omitempty"`
	Until      *moment    `json:"until,omitempty"`
	Interval   *[2]nano   `json:"interval_s,omitempty"`
	Idle       *nano      `json:"idle_s,omitempty"`
}

// cellDoc is what one vantage point recorded of a row; at is by its own clock,
// at_common by the first vantage point's.
type cellDoc struct {
	Vantage   string  `json:"vantage"`
	File      int     `json:"file"`
	Frame     uint64  `json:"frame"`
	LastFile  *int    `json:"last_file,omitempty"`
	LastFrame *uint64 `json:"last_frame,omitempty"`
	At        *moment `json:"at"`
	AtCommon  *moment `json:"at_common"`
}

func timelineOf(r *analyzer.Report, d *analyzer.Diagnosis) []rowDoc {
	path := route(r, d)
	return mapped(d.Timeline, func(row *analyzer.Row) rowDoc { return rowOf(r, path, row) })
}

func rowOf(r *analyzer.Report, path []int, row *analyzer.Row) rowDoc {
	doc := rowDoc{Type: rowType(row.Kind), At: instant(row.At), Cells: []cellDoc{}, Note: orNull(text(row.Note))}
	if row.Kind == analyzer.RowGap {
		doc.Idle = ref(nano(row.Idle))
		return doc
	}
	doc.From, doc.Kind = ref(roleOf(row.From)), ref(row.What.String())
	doc.Cells = mapped(row.Cells, func(c *analyzer.Cell) cellDoc { return cellOf(r, c) })
	if i, j := ends(row); i >= 0 {
		doc.Vantage, doc.File, doc.Frame = &doc.Cells[i].Vantage, &doc.Cells[i].File, &doc.Cells[i].Frame
		if j != i {
			doc.Partner = &doc.Cells[j]
		}
	}
	if row.FateKnown {
		doc.Fate = ref(row.Fate.String())
		doc.Assumed = ref(row.Assumed)
		doc.Lost = lostBetween(r, path, row)
	}
	if row.Kind == analyzer.RowEvent {
		doc.Unanswered = ref(row.Unanswered)
		return doc
	}
	doc.Count, doc.Until, doc.Interval = ref(row.Count), instant(row.Until), rangeDoc(row.Interval)
	return doc
}

func rowType(k analyzer.RowKind) string {
	switch k {
	case analyzer.RowRun:
		return "run"
	case analyzer.RowGap:
		return "gap"
	case analyzer.RowFolded:
		return "folded"
	case analyzer.RowCut:
		return "cut"
	}
	return "event"
}

// ends are the cells nearest the sender and nearest the receiver, -1 where
// there is none.
func ends(row *analyzer.Row) (sent, seen int) {
	sent, seen = -1, -1
	for i, c := range row.Cells {
		if sent < 0 || c.Pos < row.Cells[sent].Pos {
			sent = i
		}
		if seen < 0 || c.Pos > row.Cells[seen].Pos {
			seen = i
		}
	}
	if row.From == flows.Server {
		return seen, sent
	}
	return sent, seen
}

func lostBetween(r *analyzer.Report, path []int, row *analyzer.Row) *[2]string {
	a, b := row.LostBetween[0], row.LostBetween[1]
	if a == b || a < 0 || b < 0 || a >= len(path) || b >= len(path) {
		return nil
	}
	return &[2]string{vantageName(r, path[a]), vantageName(r, path[b])}
}

func cellOf(r *analyzer.Report, c *analyzer.Cell) cellDoc {
	doc := cellDoc{
		Vantage: vantageName(r, c.Ref.Vantage), File: c.Ref.File, Frame: c.Ref.Frame,
		At: instant(c.At), AtCommon: commonOf(c),
	}
	if c.Last.Frame != 0 {
		doc.LastFile, doc.LastFrame = ref(c.Last.File), ref(c.Last.Frame)
	}
	return doc
}

// commonOf is a cell's moment on the first vantage point's clock.
func commonOf(c *analyzer.Cell) *moment {
	var at tcp.Instant = c.Common
	if at == 0 && c.Ref.Vantage == 0 {
		at = c.At
	}
	return instant(at)
}
