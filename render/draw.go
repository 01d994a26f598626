package render

import (
	"strings"

	"kaflow/flows"
)

// Columns of a drawing: between its parts, and the least that a leg needs to
// be read as an arrow.
const (
	gutter   = 2
	leastLeg = 12
	leastHop = 5 // of a leg between lanes
)

// draw writes a picture in the most telling form that the page has room for.
func (p *page) draw(pic picture) {
	if len(pic.rows) == 0 {
		return
	}
	pic = p.spell(pic)
	if d, ok := p.sideBySide(pic); ok {
		d.draw()
	} else if d, ok := p.lanes(pic); ok {
		d.draw()
	} else {
		p.stack(pic)
	}
	for _, says := range pic.legend {
		for _, l := range wrap(says, p.wide-gutter) {
			p.line(piece{strings.Repeat(" ", gutter) + l, faint})
		}
	}
}

// spell returns the picture in the page's character set.
func (p *page) spell(pic picture) picture {
	if !p.ASCII {
		return pic
	}
	columns := make([]column, len(pic.columns))
	for i, c := range pic.columns {
		columns[i] = column{toASCII(c.name), toASCII(c.addr)}
	}
	rows := make([]strip, len(pic.rows))
	for i, s := range pic.rows {
		s.text, s.label, s.note = toASCII(s.text), toASCII(s.label), toASCII(s.note)
		rows[i] = s
	}
	legend := make([]string, len(pic.legend))
	for i, s := range pic.legend {
		legend[i] = toASCII(s)
	}
	pic.columns, pic.rows, pic.legend = columns, rows, legend
	return pic
}

// title is a strip's kind with its note.
func (s *strip) title() string {
	if s.note == "" {
		return s.label
	}
	if s.label == "" {
		return s.note
	}
	return s.label + " (" + s.note + ")"
}

// tone is the colour of a strip: of what was lost, and of a reset.
func (s *strip) tone() style {
	for _, k := range s.legs {
		if k == legLost || k == legLostAssumed {
			return bad
		}
	}
	if s.label == flows.RST.String() {
		return warn
	}
	return plain
}

// frameWidth is the width of the widest frame name.
func (pic *picture) frameWidth() int {
	w := 0
	for _, s := range pic.rows {
		for _, m := range s.marks {
			w = max(w, width(m.frame))
		}
	}
	return w
}

// labelWidth is the width of the widest title up to most columns, and at least
// that of the widest bare kind.
func (pic *picture) labelWidth(most int) int {
	w := 0
	for i := range pic.rows {
		s := &pic.rows[i]
		w = max(w, width(s.label))
		if t := width(s.title()); s.kind == stripEvent && t <= most {
			w = max(w, t)
		}
	}
	return w
}

// pairDrawing shows two columns with stamps at both sides:
//
//	stamp  frame  kind  ─────▶  frame  stamp  kind
type pairDrawing struct {
	*page
	pic                 picture
	frame, label, arrow int
}

// sideBySide returns the drawing with two full columns, where it fits.
func (p *page) sideBySide(pic picture) (*pairDrawing, bool) {
	if len(pic.columns) != 2 {
		return nil, false
	}
	d := &pairDrawing{page: p, pic: pic, frame: pic.frameWidth()}
	const mostLabel = 20
	d.label = pic.labelWidth(mostLabel)
	d.arrow = p.wide - 2*d.block() - 2*gutter
	return d, d.arrow >= leastLeg
}

// block is the width of one side.
func (d *pairDrawing) block() int { return stampWidth + gutter + d.frame + gutter + d.label }

func (d *pairDrawing) draw() {
	d.heads()
	for i := range d.pic.rows {
		d.strip(&d.pic.rows[i])
	}
}

// heads names both columns above their stamps, in two lines where one would
// not do.
func (d *pairDrawing) heads() {
	left, right := d.pic.columns[0], d.pic.columns[1]
	room, at := d.block()+d.arrow/2, d.block()+d.arrow+2*gutter
	l, r := left.name+"  "+left.addr, right.name+"  "+right.addr
	if width(l) <= room && width(r) <= d.wide-at {
		d.line(piece{pad(l, at) + r, strong})
		return
	}
	d.line(piece{pad(d.fit(left.name, room), at) + d.fit(right.name, d.wide-at), strong})
	if left.addr != "" || right.addr != "" {
		d.line(piece{pad(d.fit(left.addr, room), at) + d.fit(right.addr, d.wide-at), strong})
	}
}

func (d *pairDrawing) strip(s *strip) {
	switch s.kind {
	case stripDay:
		d.line(piece{s.text, faint})
	case stripGap, stripFolded:
		d.middle(s)
	case stripRun, stripUntil:
		d.run(s)
	default:
		d.event(s)
	}
}

// left and right are the two sides of a row.
func (d *pairDrawing) left(m mark, label string) string {
	return pad(m.stamp, stampWidth+gutter) + pad(m.frame, d.frame+gutter) + pad(label, d.label+gutter)
}

func (d *pairDrawing) right(m mark, label string) string {
	return strings.Repeat(" ", gutter) + pad(m.frame, d.frame+gutter) + pad(m.stamp, stampWidth+gutter) + label
}

func (d *pairDrawing) event(s *strip) {
	label, over := s.title(), ""
	if width(label) > d.label {
		label, over = s.label, s.note
	}
	l, r := label, ""
	if s.from == flows.Server {
		l, r = "", label
	}
	tone := s.tone()
	d.line(piece{text: d.left(s.marks[0], l)}, piece{d.leg(s.legs[0], s.from, d.arrow, d.pic.near), tone}, piece{text: d.right(s.marks[1], r)})
	if over != "" {
		d.remark(over, s.from)
	}
}

// remark writes what did not fit behind a kind below it.
func (d *pairDrawing) remark(text string, from uint8) {
	at, room := stampWidth+gutter+d.frame+gutter, d.label+gutter+d.arrow
	if from == flows.Server {
		at, room = d.block()+gutter, d.wide-d.block()-gutter
	}
	for _, l := range wrap("("+text+")", room) {
		if from == flows.Server {
			l = padLeft(l, room)
		}
		d.text(strings.Repeat(" ", at) + l)
	}
}

// run writes a run's text where kinds and arrow stand otherwise.
func (d *pairDrawing) run(s *strip) {
	room := d.label + gutter + d.arrow
	for i, l := range wrap(s.runTitle(), room) {
		m := []mark{{}, {}}
		if i == 0 {
			m = s.marks
			if rest := room - width(l) - gutter; rest >= leastHop && s.legs[0] != legNone {
				l = pad(l, width(l)+gutter) + d.leg(s.legs[0], s.from, rest, -1)
			}
		}
		d.text(pad(m[0].stamp, stampWidth+gutter) + pad(m[0].frame, d.frame+gutter) + pad(l, room) + d.right(m[1], ""))
	}
}

// runTitle is the text of a run with its note.
func (s *strip) runTitle() string {
	if s.note == "" {
		return s.text
	}
	return s.text + " (" + s.note + ")"
}

// middle writes a gap or what was folded between the two sides.
func (d *pairDrawing) middle(s *strip) {
	from := stampWidth + gutter + d.frame + gutter
	room := d.wide - 2*from
	for _, l := range wrap(s.runTitle(), room-2*leastHop) {
		d.line(piece{strings.Repeat(" ", from) + d.banner(s.kind, l, room), faint})
	}
}

// banner centres the text of a gap between dots, and of what was folded
// between blanks.
func (p *page) banner(kind stripKind, text string, room int) string {
	fill := p.dots
	if kind == stripFolded {
		fill = " "
	}
	side := max(0, room-width(text)-2*gutter)
	return strings.Repeat(fill, side/2) + pad("", gutter) + text + pad("", gutter) + strings.Repeat(fill, side-side/2)
}

// leg draws a leg n columns wide. near is the column beside which a single
// vantage point stands.
func (p *page) leg(k leg, from uint8, n, near int) string {
	if k == legNone {
		return strings.Repeat(" ", n)
	}
	parts := p.forward(k, n, near, from)
	if from == flows.Server {
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
	}
	return strings.Join(parts, "")
}

// forward is a leg drawn in the direction of travel, one string per column.
func (p *page) forward(k leg, n, near int, from uint8) []string {
	head := p.right
	if from == flows.Server {
		head = p.left
	}
	if from == flows.Unclear {
		head = p.dash
	}
	parts := repeated(p.dash, n)
	switch k {
	case legCrossed:
		parts[n-1] = head
	case legLost, legLostAssumed:
		p.stop(parts, k == legLostAssumed)
	case legNotKnown:
		copy(parts[n/2:], repeated(p.faraway, n-n/2))
		parts[n-1] = p.unseen
	case legOrigin:
		copy(parts, repeated(p.faraway, n/2))
		parts[0], parts[n-1] = p.unseen, head
	case legBoth:
		parts[0], parts[n-1] = p.left, p.right
		if from == flows.Server { // turned round by the caller
			parts[0], parts[n-1] = p.right, p.left
		}
	case legNear, legNearOpen:
		p.dotted(parts, near, from)
		parts[n-1] = head
		if k == legNearOpen && (near < 0 || near == int(from)) {
			parts[n-1] = p.unseen
		}
	}
	return parts
}

// stop ends a leg in its middle.
func (p *page) stop(parts []string, assumed bool) {
	half := len(parts) / 2
	copy(parts[half:], repeated(" ", len(parts)-half))
	parts[half] = p.lost
	if assumed && half+1 < len(parts) {
		parts[half+1] = p.unseen
	}
}

// dotted marks the part of a leg that a single vantage point cannot see.
func (p *page) dotted(parts []string, near int, from uint8) {
	n := len(parts)
	switch {
	case near < 0:
		copy(parts, repeated(p.faraway, n/3))
		copy(parts[n-n/3:], repeated(p.faraway, n/3))
	case near == int(from):
		copy(parts[n/2:], repeated(p.faraway, n-n/2))
	default:
		copy(parts, repeated(p.faraway, n/2))
	}
}

func repeated(s string, n int) []string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = s
	}
	return parts
}

// laneDrawing shows time and kind once, then one lane per column:
//
//	stamp  kind  #1 ─────▶ #1 ────▶ #1
type laneDrawing struct {
	*page
	pic          picture
	frame, label int
	at           []int // where each lane's frame begins
}

// lanes returns the drawing with one lane per column, where it fits.
func (p *page) lanes(pic picture) (*laneDrawing, bool) {
	d := &laneDrawing{page: p, pic: pic, frame: max(2, pic.frameWidth())}
	hops := len(pic.columns) - 1
	least := hops*(d.frame+gutter+leastHop) + d.frame
	d.label = pic.labelWidth(p.wide - stampWidth - 2*gutter - 2*least)
	from := stampWidth + gutter + d.label + gutter
	if p.wide-from < least {
		return d, false
	}
	for i := range pic.columns {
		d.at = append(d.at, from+i*(p.wide-from-d.frame)/hops)
	}
	return d, true
}

func (d *laneDrawing) draw() {
	d.heads(func(c column) string { return c.name })
	d.heads(func(c column) string { return c.addr })
	for i := range d.pic.rows {
		d.strip(&d.pic.rows[i])
	}
}

// heads writes one line of heads above the lanes; the last one ends at the
// right margin, and the first may begin left of its lane.
func (d *laneDrawing) heads(of func(column) string) {
	last := len(d.at) - 1
	text := ""
	for i, c := range d.pic.columns {
		from, until := d.at[i], d.wide
		if i == 0 && last == 1 {
			until = d.at[0] + (d.wide-d.at[0])/2 - gutter
		} else if i < last {
			until = d.at[i+1] - gutter
			if i == last-1 {
				until = d.at[i] + (d.wide-d.at[i])/2 - gutter
			}
		}
		if i == last {
			name := d.fit(of(c), d.wide-width(text)-gutter)
			text += padLeft(name, d.wide-width(text))
			continue
		}
		name := d.fit(of(c), until-from)
		text = pad(text, from) + name
	}
	if strings.TrimSpace(text) != "" {
		d.line(piece{text, strong})
	}
}

func (d *laneDrawing) strip(s *strip) {
	switch s.kind {
	case stripDay:
		d.line(piece{s.text, faint})
	case stripGap, stripFolded:
		from := stampWidth + gutter
		for _, l := range wrap(s.runTitle(), d.wide-from-2*leastHop) {
			d.line(piece{strings.Repeat(" ", from) + d.banner(s.kind, l, d.wide-from), faint})
		}
	case stripRun, stripUntil:
		d.wordy(s)
	default:
		d.event(s)
	}
}

// stamp is when the row's sender, or who first recorded it, had the segment.
func (s *strip) stamp() string {
	for i := range s.marks {
		at := i
		if s.from == flows.Server {
			at = len(s.marks) - 1 - i
		}
		if s.marks[at].stamp != "" {
			return s.marks[at].stamp
		}
	}
	return ""
}

func (d *laneDrawing) event(s *strip) {
	label, over := s.title(), ""
	if width(label) > d.label {
		label, over = s.label, s.note
	}
	pieces := []piece{{text: pad(s.stamp(), stampWidth+gutter) + pad(label, d.label+gutter)}}
	for i, m := range s.marks {
		pieces = append(pieces, piece{text: m.frame})
		if i == len(s.legs) {
			break
		}
		from, until := d.at[i]+width(m.frame), d.at[i+1]
		if m.frame != "" {
			from++
			pieces = append(pieces, piece{text: " "})
		}
		if s.marks[i+1].frame != "" {
			until--
		}
		pieces = append(pieces, piece{d.leg(s.legs[i], s.from, until-from, d.pic.near), s.tone()})
		if s.marks[i+1].frame != "" {
			pieces = append(pieces, piece{text: " "})
		}
	}
	d.line(pieces...)
	if over != "" {
		for _, l := range wrap("("+over+")", d.wide-stampWidth-gutter) {
			d.text(strings.Repeat(" ", stampWidth+gutter) + l)
		}
	}
}

// wordy writes a run as text with its frames, which need no lanes.
func (p *page) wordy(s *strip) {
	text := s.runTitle()
	if at := p.whereabouts(s); at != "" {
		text += ", " + at
	}
	for i, l := range wrap(text, p.wide-stampWidth-gutter) {
		stamp := ""
		if i == 0 {
			stamp = s.stamp()
		}
		p.text(pad(stamp, stampWidth+gutter) + l)
	}
}

// whereabouts lists a row's frames, one for each column that has one.
func (p *page) whereabouts(s *strip) string {
	var frames []string
	for _, m := range s.marks {
		if m.frame != "" {
			frames = append(frames, m.frame)
		}
	}
	if len(frames) == 0 {
		return ""
	}
	return strings.Join(frames, " / ")
}

// stack writes a picture as one short paragraph per row, for pages that have
// no room for columns.
func (p *page) stack(pic picture) {
	for _, c := range pic.columns {
		p.line(piece{p.fit(strings.TrimSpace(c.name+"  "+c.addr), p.wide), strong})
	}
	for i := range pic.rows {
		switch s := &pic.rows[i]; s.kind {
		case stripDay:
			p.line(piece{s.text, faint})
		case stripGap, stripFolded:
			for _, l := range wrap(s.runTitle(), p.wide-2*leastHop) {
				p.line(piece{p.banner(s.kind, l, p.wide), faint})
			}
		case stripRun, stripUntil:
			p.wordy(s)
		default:
			p.stackEvent(&pic, s)
		}
	}
}

func (p *page) stackEvent(pic *picture, s *strip) {
	for i, l := range wrap(s.title(), p.wide-stampWidth-gutter) {
		stamp := ""
		if i == 0 {
			stamp = s.stamp()
		}
		p.text(pad(stamp, stampWidth+gutter) + l)
	}
	var b strings.Builder
	for i, m := range s.marks {
		if m.frame != "" {
			b.WriteString(pic.columns[i].name + " " + m.frame + " ")
		}
		if i < len(s.legs) && s.legs[i] != legNone {
			b.WriteString(p.leg(s.legs[i], s.from, leastHop, pic.near))
			if s.marks[i+1].frame != "" || s.legs[i] == legLost || s.legs[i] == legLostAssumed {
				b.WriteString(" ")
			}
		}
	}
	for _, l := range wrap(b.String(), p.wide-gutter) {
		p.line(piece{strings.Repeat(" ", gutter) + l, s.tone()})
	}
}
