package render

import (
	"fmt"
	"slices"
	"strings"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// picture is one flow's timeline, laid out: what every format draws. Its
// columns run from the client's end to the server's.
type picture struct {
	columns []column
	single  bool // one vantage point alone: the columns are the two ends
	near    int  // of a single vantage point: the column that it stands beside, -1 where not known
	rows    []strip
	legend  []string // what the signs mean that were used
}

// column is the head of one column.
type column struct {
	name string // of the vantage point, or of the end
	addr string // the end's address as seen there; "" in between
}

// strip is one row of a picture.
type strip struct {
	kind  stripKind
	text  string // what a day, gap, run or folded row says
	label string // the segment's kind
	note  string // what else is to be said of it
	more  string // sequence numbers and the like, for those who point at it
	from  uint8  // flows.Client, flows.Server, flows.Unclear
	marks []mark // one per column
	legs  []leg  // legs[i] lies between columns i and i+1
}

// stripKind says what a strip is.
type stripKind uint8

// The kinds of strips.
const (
	stripDay    stripKind = iota // the date, and the zone
	stripEvent                   // one segment
	stripRun                     // a regular stretch: its first segment
	stripUntil                   // the last segment of the run above
	stripGap                     // nothing in either direction
	stripFolded                  // more of what stands above
)

// mark is where a column recorded the segment. Both are "" where it did not.
type mark struct{ stamp, frame string }

// leg is what became of a segment between two columns.
type leg uint8

// The legs.
const (
	legNone    leg = iota
	legCrossed     // recorded at the far end
	legPassed      // on its way further; the next vantage point did not record it
	legLost
	legLostAssumed // lost, if the far end was recording then
	legNotKnown    // nothing says whether it arrived
	legOrigin      // arrived, but the vantage point towards its sender has not recorded it
	legBoth        // of runs: both directions
	legNear        // one vantage point: what became of it is told by answers alone
	legNearOpen    // the same, and nothing answered
)

// lay lays out the timeline of one flow.
func lay(r *analyzer.Report, d *analyzer.Diagnosis, o Options) picture {
	path := route(r, d)
	l := &layer{report: r, pair: d.Pair, path: path, o: o}
	pic := picture{columns: heads(r, d, path), near: -1}
	if pic.single = len(path) == 1; pic.single {
		pic.near = standsBeside(r, path[0])
	}
	for i := range d.Timeline {
		l.add(&pic, &d.Timeline[i])
	}
	pic.legend = l.legend(pic)
	return pic
}

// route returns the vantage points of a flow from client to server.
func route(r *analyzer.Report, d *analyzer.Diagnosis) []int {
	if d.Pair != nil && len(d.Pair.Path) > 0 {
		return d.Pair.Path
	}
	if d.Pair != nil && len(d.Pair.Seen) > 0 {
		path := make([]int, len(d.Pair.Seen))
		for i, s := range d.Pair.Seen {
			path[i] = s.Vantage
		}
		return path
	}
	path := make([]int, max(1, len(r.Vantages)))
	for i := range path {
		path[i] = i
	}
	return path
}

// heads names the columns: the vantage points with the nearest end's address,
// or for a single one the two ends.
func heads(r *analyzer.Report, d *analyzer.Diagnosis, path []int) []column {
	if len(path) == 1 {
		return []column{{"client", escape(d.Client)}, {"server", escape(d.Server)}}
	}
	columns := make([]column, len(path))
	for i, v := range path {
		columns[i].name = vantageName(r, v)
	}
	last := len(path) - 1
	columns[0].addr = seenAs(r, d, path[0], flows.Client, d.Client)
	columns[last].addr = seenAs(r, d, path[last], flows.Server, d.Server)
	return columns
}

// seenAs is an end's address as a vantage point saw it, or the usual one.
func seenAs(r *analyzer.Report, d *analyzer.Diagnosis, vantage int, end uint8, usual string) string {
	if d.Pair != nil {
		for _, s := range d.Pair.Seen {
			if s.Vantage == vantage && s.Flow != nil && s.Flow.Sides[end].Addr.IsValid() {
				return r.End(s.Flow.Sides[end].Addr)
			}
		}
	}
	return escape(usual)
}

// vantageName is the name of a vantage point, fit to be shown.
func vantageName(r *analyzer.Report, v int) string {
	if v < 0 || v >= len(r.Vantages) {
		return fmt.Sprintf("capture %d", v+1)
	}
	return Safe(tcp.Untrusted(r.Vantages[v].Name))
}

// standsBeside is the column beside which a single vantage point stands.
func standsBeside(r *analyzer.Report, v int) int {
	if v >= 0 && v < len(r.Vantages) {
		switch r.Vantages[v].Role {
		case "client side":
			return 0
		case "server side":
			return 1
		}
	}
	return -1
}

// layer turns rows into strips.
type layer struct {
	report   *analyzer.Report
	pair     *pairing.Pair
	path     []int
	o        Options
	today    string
	ownClock []int // vantage points whose times are by their own clock
}

// columns is how many columns the picture has.
func (l *layer) columns() int { return max(2, len(l.path)) }

// add appends the strips of one row.
func (l *layer) add(pic *picture, row *analyzer.Row) {
	if row.At != 0 && row.Kind != analyzer.RowGap {
		if day := l.o.day(row.At); day != l.today {
			l.today = day
			pic.rows = append(pic.rows, strip{kind: stripDay, text: day})
		}
	}
	switch row.Kind {
	case analyzer.RowGap:
		pic.rows = append(pic.rows, strip{kind: stripGap, text: "idle " + clockwise(row.Idle), note: escape(row.Note)})
	case analyzer.RowFolded:
		pic.rows = append(pic.rows, strip{kind: stripFolded, text: foldedText(row), note: escape(row.Note)})
	case analyzer.RowCut:
		pic.rows = append(pic.rows, strip{kind: stripFolded, text: count(row.Count, "row") + " left out"})
	case analyzer.RowRun:
		l.addRun(pic, row)
	default:
		pic.rows = append(pic.rows, strip{
			kind: stripEvent, label: row.What.String(), note: escape(row.Note), more: l.fields(row), from: row.From,
			marks: l.marks(row), legs: l.legs(row),
		})
	}
}

// fields tells the header of the segment that a row is of, as its sender's
// vantage point recorded it, or else the first that did.
func (l *layer) fields(row *analyzer.Row) string {
	if l.pair == nil {
		return ""
	}
	var best *flows.Event
	for _, c := range row.Cells {
		for _, s := range l.pair.Seen {
			if s.Vantage != c.Ref.Vantage || s.Flow == nil {
				continue
			}
			i := slices.IndexFunc(s.Flow.Events, func(e flows.Event) bool { return e.Ord == c.Ref.Ord })
			if i >= 0 && (best == nil || l.place(c, row.From) == l.sender(row)) {
				best = &s.Flow.Events[i]
			}
		}
	}
	if best == nil || best.Kind == flows.ICMPError {
		return ""
	}
	says := fmt.Sprintf("seq %d", best.Seq)
	if best.Flags.Has(tcp.ACK) {
		says += fmt.Sprintf(", ack %d", best.Ack)
	}
	says += fmt.Sprintf(", %s, window %d, TTL %d, IP ID %d", count(int(best.Len), "octet"), best.Win, best.TTL, best.IPID)
	if best.HasTS {
		says += fmt.Sprintf(", TSval %d, TSecr %d", best.TSVal, best.TSEcr)
	}
	return says
}

// addRun appends the first and the last segment of a run.
func (l *layer) addRun(pic *picture, row *analyzer.Row) {
	pic.rows = append(pic.rows, strip{
		kind: stripRun, text: runText(row), from: row.From, marks: l.marks(row), legs: l.runLegs(row),
	})
	first := &pic.rows[len(pic.rows)-1]
	note := escape(row.Note)
	if note != "" && strings.Contains(first.text, note) {
		note = "" // "answered", of answered probes
	}
	if row.Until == 0 {
		first.note = note
		return
	}
	if day := l.o.day(row.Until); day != l.today {
		l.today = day
		pic.rows = append(pic.rows, strip{kind: stripDay, text: day})
	}
	until := strip{kind: stripUntil, text: "the last of them", from: row.From, marks: make([]mark, l.columns()), legs: make([]leg, l.columns()-1)}
	if note != "" {
		until.text = "(" + note + ")"
	}
	stampAt := l.sender(row)
	for _, c := range row.Cells {
		if at := l.place(c, row.From); at >= 0 && c.Last.Frame != 0 {
			until.marks[at].frame = l.frame(c.Last)
		}
	}
	for at := range until.marks { // the moment is that of the frame which ends the run
		if until.marks[stampAt].frame == "" && until.marks[at].frame != "" {
			stampAt = at
		}
	}
	until.marks[stampAt].stamp = l.o.stamp(row.Until)
	pic.rows = append(pic.rows, until)
}

// sender is the column where the sender's side of a row is shown.
func (l *layer) sender(row *analyzer.Row) int {
	if row.From == flows.Server {
		return l.columns() - 1
	}
	return 0
}

// place is the column of a cell: a single vantage point shows a segment under
// its sender.
func (l *layer) place(c analyzer.Cell, from uint8) int {
	if len(l.path) == 1 {
		if from == flows.Server {
			return 1
		}
		return 0
	}
	if c.Pos < 0 || c.Pos >= len(l.path) {
		return -1
	}
	return c.Pos
}

// marks places a row's cells in the columns.
func (l *layer) marks(row *analyzer.Row) []mark {
	marks := make([]mark, l.columns())
	for _, c := range row.Cells {
		if at := l.place(c, row.From); at >= 0 {
			marks[at] = mark{stamp: l.o.stamp(l.moment(c, row)), frame: l.frame(c.Ref)}
		}
	}
	return marks
}

// moment is when a cell's segment was recorded, on the first vantage point's
// clock where that is known.
func (l *layer) moment(c analyzer.Cell, row *analyzer.Row) tcp.Instant {
	switch {
	case c.Common != 0:
		return c.Common
	case len(l.path) == 1 && row.At != 0:
		return row.At
	}
	if c.Ref.Vantage != 0 && c.At != 0 {
		l.noteOwnClock(c.Ref.Vantage)
	}
	return c.At
}

func (l *layer) noteOwnClock(v int) {
	for _, known := range l.ownClock {
		if known == v {
			return
		}
	}
	l.ownClock = append(l.ownClock, v)
}

// frame is how a frame is called: its number, after the file's where a
// vantage point has several.
func (l *layer) frame(ref pairing.Ref) string { return frameName(l.report, ref) }

func frameName(r *analyzer.Report, ref pairing.Ref) string {
	if ref.Frame == 0 {
		return ""
	}
	if ref.Vantage >= 0 && ref.Vantage < len(r.Vantages) && len(r.Vantages[ref.Vantage].Files) > 1 {
		return fmt.Sprintf("%d:#%d", ref.File+1, ref.Frame)
	}
	return fmt.Sprintf("#%d", ref.Frame)
}

// legs says what became of an event's segment between the columns.
func (l *layer) legs(row *analyzer.Row) []leg {
	if len(l.path) == 1 {
		if row.Unanswered {
			return []leg{legNearOpen}
		}
		return []leg{legNear}
	}
	t := l.travel(row)
	legs := make([]leg, len(l.path)-1)
	for i := range legs {
		legs[t.leg(i)] = t.fate(i, row)
	}
	return legs
}

// travel is a segment's way over the columns, counted from its sender's end.
type travel struct {
	n           int // columns
	back        bool
	first, last int // steps of the way at which it was recorded; first > last where nowhere
	lost        int // step after which it was lost, -1 where it is not known to be
	seen        []bool
}

func (l *layer) travel(row *analyzer.Row) travel {
	t := travel{n: len(l.path), back: row.From == flows.Server, first: len(l.path), last: -1, lost: -1}
	t.seen = make([]bool, t.n)
	for _, c := range row.Cells {
		if at := l.place(c, row.From); at >= 0 {
			step := t.step(at)
			t.seen[step] = true
			t.first, t.last = min(t.first, step), max(t.last, step)
		}
	}
	if row.FateKnown && row.Fate == pairing.Lost {
		t.lost = t.last
		if a, b := row.LostBetween[0], row.LostBetween[1]; a != b && a >= 0 && a < t.n && b >= 0 && b < t.n {
			t.lost = max(t.last, min(t.step(a), t.step(b)))
		}
	}
	return t
}

// step is the step of the way that a column is.
func (t travel) step(column int) int {
	if t.back {
		return t.n - 1 - column
	}
	return column
}

// leg is the index of the leg after step i.
func (t travel) leg(i int) int {
	if t.back {
		return t.n - 2 - i
	}
	return i
}

// fate is what became of the segment between steps i and i+1.
func (t travel) fate(i int, row *analyzer.Row) leg {
	switch {
	case i < t.first:
		if i == t.first-1 {
			return legOrigin
		}
		return legNone
	case i < t.last:
		return t.passed(i)
	case t.lost >= 0:
		return t.losing(i, row.Assumed)
	case row.FateKnown && row.Fate == pairing.Crossed:
		return t.passed(i)
	case i == t.last:
		return legNotKnown
	}
	return legNone
}

func (t travel) passed(i int) leg {
	if t.seen[i+1] || i == t.n-2 {
		return legCrossed
	}
	return legPassed
}

func (t travel) losing(i int, assumed bool) leg {
	switch {
	case i < t.lost:
		return legPassed
	case i > t.lost:
		return legNone
	case assumed:
		return legLostAssumed
	}
	return legLost
}

// runLegs says where a run was recorded.
func (l *layer) runLegs(row *analyzer.Row) []leg {
	legs := make([]leg, l.columns()-1)
	if len(l.path) == 1 {
		return []leg{legBoth}
	}
	t := l.travel(row)
	for i := range legs {
		if i >= t.first && i < t.last {
			legs[t.leg(i)] = legBoth
		}
	}
	if t.last < t.n-1 && t.last >= 0 {
		legs[t.leg(t.last)] = t.fate(t.last, row)
		if legs[t.leg(t.last)] == legCrossed {
			legs[t.leg(t.last)] = legBoth
		}
	}
	return legs
}

// legend explains the signs that a picture uses.
func (l *layer) legend(pic picture) []string {
	used := map[leg]bool{}
	for _, s := range pic.rows {
		for _, k := range s.legs {
			used[k] = true
		}
	}
	var says []string
	if pic.single && len(pic.rows) > 0 {
		says = append(says, fmt.Sprintf("dotted: not seen from %s, which knows of it by answers alone", vantageName(l.report, l.path[0])))
	}
	if used[legNearOpen] || used[legNotKnown] {
		says = append(says, "?: nothing shows whether it arrived")
	}
	if used[legLostAssumed] {
		says = append(says, "╳?: not in the other capture, which may no longer have been recording")
	}
	if used[legOrigin] {
		says = append(says, "?┄: the capture towards its sender does not hold it")
	}
	for _, v := range l.ownClock {
		says = append(says, fmt.Sprintf("times in the column of %s are by its own clock", vantageName(l.report, v)))
	}
	return says
}

// foldedText says how many more there are of what stands above.
func foldedText(row *analyzer.Row) string {
	var b strings.Builder
	switch row.From {
	case flows.Client:
		fmt.Fprintf(&b, "%d more of the client's", row.Count)
	case flows.Server:
		fmt.Fprintf(&b, "%d more of the server's", row.Count)
	default:
		fmt.Fprintf(&b, "%d more of each", row.Count)
	}
	if row.Interval.Known {
		b.WriteString(", every " + spread(row.Interval))
	}
	return b.String()
}

// runText says what a folded run holds.
func runText(row *analyzer.Row) string {
	what := "segment"
	switch row.What {
	case flows.KeepaliveProbe:
		what = "answered probe"
	case flows.Heartbeat:
		what = "heartbeat"
	case flows.ZeroWindowProbe:
		what = "answered window probe"
	case flows.Retransmission:
		what = "retransmission"
	case flows.KeepaliveACK, flows.KeepaliveUnclear, flows.HeartbeatReply, flows.DupACK:
		what = row.What.String()
	}
	s := count(row.Count, what)
	if row.Interval.Known && row.Count > 1 {
		s += " every " + spread(row.Interval)
	}
	return s
}
