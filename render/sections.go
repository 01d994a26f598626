package render

import (
	"io"
	"strings"
)

// Section is a page of knowledge, not of a report: a headline, paragraphs, and
// topics with what is said of each.
type Section struct {
	Head, Right string // Right stands at the right margin
	Says        []string
	Rows        [][]string // a table without lines; each row has a cell at least
	Topics      []Topic
}

// Topic is one entry under a headline.
type Topic struct {
	Name string
	Says []string // what Paste made is shown as it is to be typed
}

// Paste marks a line that is to be typed or pasted.
func Paste(line string) string { return hanging + line }

// Sections writes pages of knowledge for a terminal and a ticket. It fails
// where w does.
func Sections(w io.Writer, sections []Section, o Options) error {
	p := newPage(w, o)
	for i := range sections {
		if i > 0 {
			p.blank()
		}
		p.section(&sections[i])
	}
	return p.out.Flush()
}

func (p *page) section(s *Section) {
	if s.Head != "" {
		p.sectionHead(s)
	}
	for _, says := range s.Says {
		if line, isPaste := strings.CutPrefix(says, hanging); isPaste {
			p.text(strings.Repeat(" ", gutter) + p.clean(line))
			continue
		}
		p.paragraph(says)
	}
	p.grid(s.Rows)
	for _, t := range s.Topics {
		p.entry(t)
	}
}

// grid writes rows in aligned columns; the last one is wrapped.
func (p *page) grid(rows [][]string) {
	var wide []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], width(p.clean(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		at := 0
		for i, cell := range row[:len(row)-1] {
			line.WriteString(pad(p.clean(cell), wide[i]+gutter))
			at += wide[i] + gutter
		}
		lines := wrap(p.clean(row[len(row)-1]), max(p.wide-at, leastPage/4))
		for i, l := range lines {
			if i > 0 {
				line.Reset()
				line.WriteString(strings.Repeat(" ", at))
			}
			p.text(line.String() + l)
		}
	}
}

// entry writes a topic. Unlike those of a report its lines to paste are never
// broken: a command in two pieces is none. One too wide for the column starts
// at the left margin.
func (p *page) entry(t Topic) {
	name := t.Name
	for _, says := range t.Says {
		line, isPaste := strings.CutPrefix(says, hanging)
		if !isPaste {
			p.topic(name, says)
			name = ""
			continue
		}
		const in = 2
		indent := topics + in
		line = p.clean(line)
		fits := p.wide >= leastPage && width(line) <= p.wide-indent
		switch {
		case fits && name != "":
			p.line(piece{pad(name, indent), strong}, piece{text: line})
			name = ""
			continue
		case name != "":
			p.line(piece{name, strong})
			name = ""
		}
		if !fits {
			indent = 2 * in
		}
		p.text(strings.Repeat(" ", indent) + line)
	}
}

// sectionHead writes the headline, what belongs at the right margin on the
// same line where there is room.
func (p *page) sectionHead(s *Section) {
	lines := wrap(p.clean(s.Head), p.wide)
	right := p.fit(p.clean(s.Right), p.wide)
	for _, l := range lines[:len(lines)-1] {
		p.line(piece{l, strong})
	}
	last := lines[len(lines)-1]
	if room := p.wide - width(last); right != "" && room >= width(right)+gutter {
		p.line(piece{last, strong}, piece{padLeft(right, room), faint})
		return
	}
	p.line(piece{last, strong})
	if right != "" {
		p.line(piece{right, faint})
	}
}
