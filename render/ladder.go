package render

import (
	"fmt"
	"strings"

	"kaflow/flows"
)

// ladder is a picture drawn: lifelines, arrows and words with their places in
// a drawing of W by H units.
type ladder struct {
	W, H   int
	Lines  []lifeline
	Groups []group
}

// lifeline is the line of one column, with its head.
type lifeline struct {
	X          int
	Name, Addr string
	Anchor     string
}

// card is the ground on which a tip stands.
type card struct{ Y, W int }

// group is what is drawn of one row; Title is told on hovering.
type group struct {
	Class, Title string
	Card         *card   // behind Tip; nil without one
	Tip          []words // what pointing, tapping or the tab key shows, over the row
	Shapes       []shape
	Words        []words
}

// shape is one path of a group.
type shape struct{ Class, D string }

// words is text at a place.
type words struct {
	X, Y                int
	Class, Anchor, Text string
}

// Measures of a ladder.
const (
	ladderSide   = 330 // room for labels beside the outermost lifelines
	ladderPitch  = 300 // between lifelines
	ladderHead   = 52
	ladderEvent  = 30
	ladderNote   = 14 // more where a note stands below the label
	ladderGap    = 44
	ladderDay    = 24
	ladderFolded = 24
	arrowHead    = 8
)

// drawer places the rows of a picture below each other.
type drawer struct {
	ladder
	pic picture
	x   []int // of the columns
	y   int
}

// drawn lays a picture out as a drawing.
func drawn(pic picture) ladder {
	d := &drawer{pic: pic, y: ladderHead}
	for i := range pic.columns {
		d.x = append(d.x, ladderSide+i*ladderPitch)
	}
	d.W = 2*ladderSide + (len(pic.columns)-1)*ladderPitch
	for i, c := range pic.columns {
		anchor := "middle"
		d.Lines = append(d.Lines, lifeline{X: d.x[i], Name: c.name, Addr: c.addr, Anchor: anchor})
	}
	for i := range pic.rows {
		d.row(&pic.rows[i])
	}
	d.H = d.y + 10
	return d.ladder
}

func (d *drawer) row(s *strip) {
	switch s.kind {
	case stripDay:
		d.y += ladderDay
		d.Groups = append(d.Groups, group{Class: "day", Words: []words{{X: 6, Y: d.y - 8, Anchor: "start", Text: s.text}}})
	case stripGap:
		d.gap(s)
	case stripFolded:
		d.y += ladderFolded
		d.Groups = append(d.Groups, group{Class: "folded", Words: []words{{X: d.W / 2, Y: d.y - 8, Anchor: "middle", Text: joined(s.text, s.note)}}})
	case stripUntil:
		d.until(s)
	default:
		d.event(s)
	}
}

// gap breaks all lifelines: the scale ends here and goes on below.
func (d *drawer) gap(s *strip) {
	d.y += ladderGap
	top, g := d.y-ladderGap+8, group{Class: "gap", Title: s.text}
	for _, x := range d.x {
		g.Shapes = append(g.Shapes, shape{"break", fmt.Sprintf("M%d %d l-6 7 l12 7 l-12 7 l6 7", x, top)})
	}
	g.Words = []words{{X: d.W / 2, Y: d.y - 18, Anchor: "middle", Text: joined(s.text, s.note)}}
	d.Groups = append(d.Groups, g)
}

func (d *drawer) until(s *strip) {
	d.y += ladderFolded
	g := group{Class: "until"}
	g.Words = append(g.Words, words{X: d.W / 2, Y: d.y - 8, Anchor: "middle", Text: s.text})
	g.Words = append(g.Words, d.stamps(s, d.y-8, "")...)
	d.Groups = append(d.Groups, g)
}

// event draws a segment, or the first of a run.
func (d *drawer) event(s *strip) {
	d.y += ladderEvent
	y := d.y - 10
	g := group{Class: "event " + classOf(s), Title: d.title(s)}
	for i, k := range s.legs {
		g.Shapes = append(g.Shapes, d.leg(i, k, s.from, y)...)
		if sign := signOf(k); sign != "" {
			g.Words = append(g.Words, words{X: (d.x[i] + d.x[i+1]) / 2, Y: y - 7, Class: "sign", Anchor: "middle", Text: sign})
		}
	}
	label := s.label
	if s.kind == stripRun {
		g.Words = append(g.Words, words{X: d.W / 2, Y: y - 7, Class: "label", Anchor: "middle", Text: joined(s.text, s.note)})
		label = ""
	}
	g.Words = append(g.Words, d.stamps(s, y+4, label)...)
	g.Tip, g.Card = d.tip(s, y), &card{Y: y - 18, W: d.W - 16}
	if s.note != "" && s.kind != stripRun {
		d.y += ladderNote
		x, anchor := d.x[0]-14, "end"
		if s.from == flows.Server {
			x, anchor = d.x[len(d.x)-1]+14, "start"
		}
		g.Words = append(g.Words, words{X: x, Y: y + 4 + ladderNote, Class: "note", Anchor: anchor, Text: "(" + s.note + ")"})
	}
	d.Groups = append(d.Groups, g)
}

// stamps are the frames and times beside the lifelines; the label stands at
// the sender's side.
func (d *drawer) stamps(s *strip, y int, label string) []words {
	last := len(d.x) - 1
	var out []words
	for i, m := range s.marks {
		w := words{Y: y}
		own := i == 0 && s.from != flows.Server || i == last && s.from == flows.Server
		switch {
		case i == 0:
			w.X, w.Anchor, w.Text = d.x[0]-14, "end", spacedOut(m.stamp, m.frame)
			if own && label != "" {
				w.Text = spacedOut(m.stamp, m.frame, label)
			}
		case i == last:
			w.X, w.Anchor, w.Text = d.x[last]+14, "start", spacedOut(m.frame, m.stamp)
			if own && label != "" {
				w.Text = spacedOut(label, m.frame, m.stamp)
			}
		default:
			w.X, w.Y, w.Anchor, w.Class, w.Text = d.x[i], y-12, "middle", "frame", m.frame
		}
		if w.Text != "" {
			out = append(out, w)
		}
	}
	return out
}

func spacedOut(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "  ")
}

func joined(text, note string) string {
	if note == "" {
		return text
	}
	return text + " (" + note + ")"
}

// leg draws what became of a segment between columns i and i+1.
func (d *drawer) leg(i int, k leg, from uint8, y int) []shape {
	a, b, sense := d.x[i], d.x[i+1], 1
	if from == flows.Server {
		a, b, sense = b, a, -1
	}
	mid := (a + b) / 2
	line := func(class string, from, to int) shape { return shape{class, fmt.Sprintf("M%d %dH%d", from, y, to)} }
	head := func(class string) shape {
		return shape{class, fmt.Sprintf("M%d %dl%d %dv%dz", b, y, -sense*arrowHead, -arrowHead/2, arrowHead)}
	}
	cross := func(class string) shape {
		return shape{class, fmt.Sprintf("M%d %dl10 10m0 -10l-10 10", mid-5, y-5)}
	}
	switch k {
	case legCrossed:
		return []shape{line("way", a, b-sense*arrowHead), head("head")}
	case legPassed:
		return []shape{line("way", a, b)}
	case legLost:
		return []shape{line("way lost", a, mid), cross("cross")}
	case legLostAssumed:
		return []shape{line("way lost assumed", a, mid), cross("cross assumed")}
	case legNotKnown:
		return []shape{line("way", a, mid), line("way unseen", mid, b)}
	case legOrigin:
		return []shape{line("way unseen", a, mid), line("way", mid, b-sense*arrowHead), head("head")}
	case legBoth:
		back := shape{"head", fmt.Sprintf("M%d %dl%d %dv%dz", a, y, sense*arrowHead, -arrowHead/2, arrowHead)}
		return []shape{line("way both", a+sense*arrowHead, b-sense*arrowHead), head("head"), back}
	case legNear:
		return []shape{line("way unseen", a, b-sense*arrowHead), head("head")}
	case legNearOpen:
		return []shape{line("way unseen", a, b)}
	}
	return nil
}

// signOf is the sign that stands above a leg.
func signOf(k leg) string {
	switch k {
	case legNotKnown, legNearOpen, legLostAssumed, legOrigin:
		return "?"
	}
	return ""
}

// classOf colours a row by what happened.
func classOf(s *strip) string {
	for _, k := range s.legs {
		if k == legLost || k == legLostAssumed {
			return "bad"
		}
	}
	if s.label == flows.RST.String() {
		return "bad"
	}
	return "fine"
}

// title tells all that is known of a row.
func (d *drawer) title(s *strip) string {
	parts := []string{joined(s.label+s.text, s.note)}
	for i, m := range s.marks {
		name := d.pic.columns[i].name
		if d.pic.single && m == (mark{}) {
			continue
		}
		if m.frame == "" {
			parts = append(parts, name+": not recorded")
			continue
		}
		parts = append(parts, name+": "+m.frame+" "+m.stamp)
	}
	if s.more != "" {
		parts = append(parts, s.more)
	}
	return strings.Join(parts, "\n")
}

// tip is the title in two lines around the arrow at height y.
func (d *drawer) tip(s *strip, y int) []words {
	lines := strings.Split(d.title(s), "\n")
	out := []words{{X: d.W / 2, Y: y - 5, Anchor: "middle", Class: "tip", Text: strings.Join(lines[:len(lines)-1], "   ")}}
	return append(out, words{X: d.W / 2, Y: y + 11, Anchor: "middle", Class: "tip", Text: lines[len(lines)-1]})
}
