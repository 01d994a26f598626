package render

import (
	"bufio"
	"fmt"
	"io"
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

// judged is the verdict and how sure it is.
func (o *outline) judged() string {
	if o.verdict.Confidence == analyzer.None {
		return o.verdict.ID
	}
	return o.verdict.ID + " (" + string(o.verdict.Confidence) + ")"
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
	p.rows(r, shown)
	if more := flowTotal(r) - len(r.Flows); more > 0 && o.Flow == 0 {
		p.paragraph(fmt.Sprintf("%d more are not listed: they ended well, or a limit was hit", more))
	}
	return p.out.Flush()
}

// outlineHeads are the heads of the table of flows.
var outlineHeads = []string{"flow", "ends", "duration", "longest gap", "probes", "ending", "verdict"}

// rows writes flows as a table.
func (p *page) rows(r *analyzer.Report, list []analyzer.Diagnosis) {
	cells := make([][]string, len(list))
	moods := make([]style, len(list))
	for i := range list {
		o := outlineOf(&list[i])
		cells[i] = []string{
			strconv.Itoa(o.id), o.client + " → " + o.server, durationOrDash(o.duration), durationOrDash(o.gap), o.probes(), o.ending(), o.judged(),
		}
		if o.app != "" {
			cells[i][1] += " " + o.app
		}
		for j := range cells[i] {
			cells[i][j] = p.clean(cells[i][j])
		}
		moods[i] = mood(o.verdict.ID)
	}
	widths := columnWidths(cells)
	if !p.roomFor(widths) {
		p.briefly(cells, moods)
		return
	}
	p.line(piece{joinCells(outlineHeads, widths), faint})
	last := len(widths) - 1
	for i, c := range cells {
		p.line(piece{text: joinCells(c[:last], widths)}, piece{c[last], moods[i]})
	}
	p.text("probes: sent/answered/lost between the captures (- not known)")
}

func columnWidths(cells [][]string) []int {
	widths := make([]int, len(outlineHeads))
	for i, h := range outlineHeads {
		widths[i] = width(h)
		for _, c := range cells {
			widths[i] = max(widths[i], width(c[i]))
		}
	}
	return widths
}

func (p *page) roomFor(widths []int) bool {
	sum := gutter * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum <= p.wide
}

func joinCells(cells []string, widths []int) string {
	var b strings.Builder
	for i, c := range cells {
		b.WriteString(pad(c, widths[i]+gutter))
	}
	return b.String()
}

// briefly writes each flow as its verdict and ends, and below it the rest.
func (p *page) briefly(cells [][]string, moods []style) {
	for i, c := range cells {
		number := pad(c[0], 4) + "  "
		lines := wrap(c[6]+"  "+c[1], p.wide-width(number))
		for j, l := range lines {
			if j == 0 {
				p.line(piece{text: number}, piece{l, moods[i]})
				continue
			}
			p.text(pad("", width(number)) + l)
		}
		rest := fmt.Sprintf("lasted %s, longest gap %s, probes %s, %s", c[2], c[3], c[4], c[5])
		for _, l := range wrap(rest, p.wide-width(number)) {
			p.text(pad("", width(number)) + l)
		}
	}
	p.paragraph("probes: sent/answered/lost between the captures (- not known)")
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
	for i := range r.Flows {
		f := outlineOf(&r.Flows[i])
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
	out := bufio.NewWriter(w)
	for i := range r.Flows {
		if o.Flow != 0 && o.Flow != r.Flows[i].ID {
			continue
		}
		if err := encodeLine(out, flowLine(r, &r.Flows[i], o)); err != nil {
			return err
		}
	}
	return out.Flush()
}
