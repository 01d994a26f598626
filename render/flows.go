package render

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// outline is one flow in one line, before any format. A negative number is not
// known.
type outline struct {
	id                   int
	client, server, app  string
	duration, gap        time.Duration
	sent, answered, lost int
	ends                 [2]flows.Ending
	verdict              *analyzer.Verdict
}

func outlineOf(d *analyzer.Diagnosis) outline {
	o := outline{
		id: d.ID, client: Safe(tcp.Untrusted(d.Client)), server: Safe(tcp.Untrusted(d.Server)), app: Safe(tcp.Untrusted(d.Application)),
		duration: -1, gap: -1, lost: -1,
		sent: d.Counts.KeepaliveProbe, answered: d.Counts.KeepaliveACK,
		ends: d.Endings, verdict: &d.Verdict,
	}
	if d.AppHint && o.app != "" {
		o.app += "?"
	}
	if d.Pair == nil {
		return o
	}
	for _, s := range d.Pair.Seen {
		if s.Flow == nil {
			continue
		}
		o.duration = max(o.duration, s.Flow.Last.Sub(s.Flow.First))
		o.gap = max(o.gap, 0)
		for _, g := range s.Flow.Gaps {
			o.gap = max(o.gap, g.Duration())
		}
	}
	if len(d.Pair.Seen) > 1 {
		o.lost = lostProbes(d.Pair)
	}
	return o
}

// lostProbes counts the keepalive probes that were lost between two vantage
// points.
func lostProbes(p *pairing.Pair) int {
	n := 0
	for i := range p.Fates {
		if f := &p.Fates[i]; f.How == pairing.Lost && f.Sent.Kind == flows.KeepaliveProbe {
			n += max(1, f.Count)
		}
	}
	return n
}

// probes is "sent/answered/lost"; "-" stands for what is not known.
func (o *outline) probes() string {
	return fmt.Sprintf("%d/%d/%s", o.sent, o.answered, orDash(o.lost))
}

func orDash(n int) string {
	if n < 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func durationOrDash(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return clockwise(d)
}

// ending is how the flow ended: of both ends in one word where they agree.
func (o *outline) ending() string {
	if o.ends[0] == o.ends[1] {
		return o.ends[0].String()
	}
	return o.ends[0].String() + "/" + o.ends[1].String()
}

// Flows writes one line per flow for a terminal: ends, duration, longest gap,
// probes sent, answered and lost, ending and verdict. Where the page is too
// narrow for a table, each flow takes a few lines.
func Flows(w io.Writer, r *analyzer.Report, o Options) error {
	p := newPage(w, o)
	shown := r.Flows
	if o.Flow != 0 {
		var err error
		if shown, err = chosen(r, o); err != nil {
			return err
		}
	}
	if len(shown) == 0 {
		p.text("no TCP connection")
		return p.out.Flush()
	}
	p.rows(shown)
	if more := flowTotal(r) - len(r.Flows); more > 0 && o.Flow == 0 {
		p.paragraph(fmt.Sprintf("%d more are not listed: they ended well, or a limit was hit", more))
	}
	return p.out.Flush()
}

// The cells of a flow's line in a table.
const (
	cellFlow = iota
	cellEnds
	cellApp
	cellLasted
	cellGap
	cellProbes
	cellEnding
	cellVerdict
	cellSure
	outlineCells
)

// outlineHeads are the heads of the table of flows.
var outlineHeads = [outlineCells]string{"flow", "ends", "app", "lasted", "gap", "probes", "ending", "verdict", ""}

// probesLegend explains two of the columns.
const probesLegend = "gap: the longest; probes: sent/answered/lost between the captures (- not known)"

// tableForms are ways to set the table, the fullest first.
var tableForms = []tableForm{
	{gutter, []int{cellFlow, cellEnds, cellApp, cellLasted, cellGap, cellProbes, cellEnding, cellVerdict, cellSure}},
	{gutter, []int{cellFlow, cellEnds, cellLasted, cellGap, cellProbes, cellEnding, cellVerdict, cellSure}},
	{gutter, []int{cellFlow, cellEnds, cellLasted, cellGap, cellProbes, cellEnding, cellVerdict}},
	{1, []int{cellFlow, cellEnds, cellLasted, cellGap, cellProbes, cellEnding, cellVerdict}},
	{gutter, []int{cellFlow, cellEnds, cellGap, cellProbes, cellVerdict}},
	{gutter, []int{cellFlow, cellEnds, cellVerdict}},
}

// tableForm is which cells a table shows, and the blanks between them.
type tableForm struct {
	gutter int
	cells  []int
}

// cells is one flow's line, all of it.
func (p *page) cells(o *outline) []string {
	cells := []string{
		strconv.Itoa(o.id), o.client + " → " + o.server, o.app, durationOrDash(o.duration), durationOrDash(o.gap), o.probes(), o.ending(),
		o.verdict.ID, string(o.verdict.Confidence),
	}
	for i := range cells {
		cells[i] = p.clean(cells[i])
	}
	return cells
}

// rows writes flows as a table, one line each, in the fullest form that the
// page has room for.
func (p *page) rows(list []analyzer.Diagnosis) {
	table := make([][]string, len(list))
	moods := make([]style, len(list))
	for i := range list {
		o := outlineOf(&list[i])
		table[i], moods[i] = p.cells(&o), mood(o.verdict.ID)
	}
	widths := columnWidths(table)
	for _, form := range tableForms {
		if form.width(widths) <= p.wide {
			p.table(form, widths, table, moods)
			return
		}
	}
	p.briefly(table, moods)
}

// table writes flows in one form, and says what it has left out.
func (p *page) table(form tableForm, widths []int, table [][]string, moods []style) {
	p.line(piece{form.join(outlineHeads[:], widths), faint})
	for i, cells := range table {
		at := slices.Index(form.cells, cellVerdict)
		before, after := tableForm{form.gutter, form.cells[:at]}, tableForm{form.gutter, form.cells[at:]}
		p.line(piece{text: before.join(cells, widths)}, piece{after.join(cells, widths), moods[i]})
	}
	p.paragraph(probesLegend)
	var missing []string
	for cell, head := range outlineHeads {
		if head != "" && !slices.Contains(form.cells, cell) && slices.ContainsFunc(table, func(c []string) bool { return c[cell] != "" }) {
			missing = append(missing, head)
		}
	}
	if len(missing) > 0 {
		p.paragraph("no room for " + strings.Join(missing, ", ") + ": a wider page has them, and --json")
	}
}

// columnWidths is the width of every column that has something in it.
func columnWidths(table [][]string) []int {
	widths := make([]int, outlineCells)
	for i, head := range outlineHeads {
		for _, cells := range table {
			widths[i] = max(widths[i], width(cells[i]))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], width(head))
		}
	}
	return widths
}

// width is the width of a line in this form.
func (f tableForm) width(widths []int) int {
	sum := 0
	for _, cell := range f.cells {
		if widths[cell] > 0 {
			sum += widths[cell] + f.gutter
		}
	}
	return sum - f.gutter
}

// join sets one line, blanks after each cell; columns without anything in them
// take no room.
func (f tableForm) join(cells []string, widths []int) string {
	var b strings.Builder
	for _, cell := range f.cells {
		if widths[cell] > 0 {
			b.WriteString(pad(cells[cell], widths[cell]+f.gutter))
		}
	}
	return b.String()
}

// briefly writes each flow as its verdict and ends, and below it the rest.
func (p *page) briefly(table [][]string, moods []style) {
	for i, c := range table {
		number := pad(c[cellFlow], 4) + "  "
		in := pad("", width(number))
		for j, l := range wrap(strings.Join([]string{c[cellVerdict], c[cellSure], c[cellEnds], c[cellApp]}, " "), p.wide-len(in)) {
			if j == 0 {
				p.line(piece{text: number}, piece{l, moods[i]})
				continue
			}
			p.text(in + l)
		}
		rest := fmt.Sprintf("lasted %s, gap %s, probes %s, %s", c[cellLasted], c[cellGap], c[cellProbes], c[cellEnding])
		for _, l := range wrap(rest, p.wide-len(in)) {
			p.text(in + l)
		}
	}
	p.paragraph(probesLegend)
}

// flowColumns are the columns of FlowsTSV.
var flowColumns = []string{
	"flow", "client", "server", "application", "duration_s", "longest_gap_s", "probes_sent", "probes_answered", "probes_lost",
	"ending_client", "ending_server", "verdict", "confidence", "cause", "cause_confidence",
}

// FlowsTSV writes the same as tab-separated values with a header line; what is
// not known is an empty cell.
func FlowsTSV(w io.Writer, r *analyzer.Report, o Options) error {
	out := bufio.NewWriter(w)
	out.WriteString(strings.Join(flowColumns, "\t") + "\n")
	for d := range r.Each() {
		f := outlineOf(d)
		if o.Flow != 0 && o.Flow != f.id {
			continue
		}
		cells := []string{
			strconv.Itoa(f.id), f.client, f.server, f.app, secondsCell(f.duration), secondsCell(f.gap),
			strconv.Itoa(f.sent), strconv.Itoa(f.answered), numberCell(f.lost), f.ends[0].String(), f.ends[1].String(),
			f.verdict.ID, string(f.verdict.Confidence), f.verdict.Cause, string(f.verdict.CauseConfidence),
		}
		for j := range cells {
			cells[j] = tsvCell(cells[j], o)
		}
		out.WriteString(strings.Join(cells, "\t") + "\n")
	}
	return out.Flush()
}

// tsvCell makes a cell that no spreadsheet takes for a formula.
func tsvCell(s string, o Options) string {
	s = escape(s)
	if o.ASCII {
		s = toASCII(s)
	}
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

func numberCell(n int) string {
	if n < 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func secondsCell(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return decimal(d)
}

// FlowsNDJSON writes one JSON object per line: an element of the report's
// flows, with schema, type, vantage and at before it.
func FlowsNDJSON(w io.Writer, r *analyzer.Report, o Options) error {
	out := bufio.NewWriter(JSONWriter(w, o))
	for d := range r.Each() {
		if o.Flow != 0 && o.Flow != d.ID {
			continue
		}
		if err := encodeLine(out, flowLine(r, d, o)); err != nil {
			return err
		}
	}
	return out.Flush()
}
