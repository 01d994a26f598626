package render

import (
	"bufio"
	"io"
	"strings"

	"github.com/fatih/color"
	"github.com/rivo/uniseg"
)

// style is what colour says again after the words have said it.
type style uint8

// The styles.
const (
	plain style = iota
	strong
	good
	warn
	bad
	faint
	styles
)

// piece is text of one style.
type piece struct {
	text  string
	style style
}

// page writes lines of text that are no wider than its options say.
type page struct {
	Options
	glyphs
	wide   int
	out    *bufio.Writer
	colors [styles]*color.Color // nil without colour

	collect func(name string, texts []string) // takes topics instead of the page; nil: they are written
}

func newPage(w io.Writer, o Options) *page {
	p := &page{Options: o, glyphs: unicodeGlyphs(), wide: o.width(), out: bufio.NewWriter(w)}
	if o.ASCII {
		p.glyphs = asciiGlyphs()
	}
	if o.Color {
		p.colors = palette()
	}
	return p
}

// palette makes the colours anew: whether they show belongs to this writer,
// not to the process.
func palette() [styles]*color.Color {
	all := [styles]*color.Color{
		strong: color.New(color.Bold),
		good:   color.New(color.FgGreen, color.Bold),
		warn:   color.New(color.FgYellow, color.Bold),
		bad:    color.New(color.FgRed, color.Bold),
		faint:  color.New(color.Faint),
	}
	for _, c := range all {
		if c != nil {
			c.EnableColor()
		}
	}
	return all
}

// clean makes any string of a report fit to be laid out.
func (p *page) clean(s string) string {
	s = escape(s)
	if p.ASCII {
		s = toASCII(s)
	}
	return s
}

// line writes one line without trailing blanks.
func (p *page) line(pieces ...piece) {
	for i := len(pieces) - 1; i >= 0; i-- {
		pieces[i].text = strings.TrimRight(pieces[i].text, " ")
		if pieces[i].text != "" {
			break
		}
	}
	for _, s := range pieces {
		if c := p.colors[s.style]; c != nil && s.text != "" {
			s.text = c.Sprint(s.text)
		}
		p.out.WriteString(s.text) // bufio keeps the first error for Flush
	}
	p.out.WriteByte('\n')
}

// text writes one plain line.
func (p *page) text(s string) { p.line(piece{text: s}) }

// blank writes an empty line.
func (p *page) blank() { p.line() }

// paragraph writes text wrapped to the page.
func (p *page) paragraph(s string) {
	for _, l := range wrap(p.clean(s), p.wide) {
		p.text(l)
	}
}

// rule writes a line across the page.
func (p *page) rule() {
	p.line(piece{strings.Repeat(p.dash, p.wide), faint})
}

// width is how many columns a text takes on a terminal.
func width(s string) int {
	if plainText(s) {
		return len(s)
	}
	return uniseg.StringWidth(s)
}

// plainText reports whether each octet of s is a character of one column, as
// those of nearly all texts are.
func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// pad fills s with blanks to n columns.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-width(s)))
}

// padLeft fills s with blanks in front to n columns.
func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-width(s))) + s
}

// fit shortens s to n columns in its middle, where names differ least.
func (p *page) fit(s string, n int) string {
	if width(s) <= n {
		return s
	}
	room := n - width(p.ellipsis)
	if room < 2 {
		return head(s, n)
	}
	front := head(s, (room+1)/2)
	return front + p.ellipsis + tail(s, room-width(front))
}

// head is the beginning of s, at most n columns of it, of whole characters.
func head(s string, n int) string {
	if plainText(s) {
		return s[:max(0, min(n, len(s)))]
	}
	used, end := 0, 0
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if used += g.Width(); used > n {
			break
		}
		_, end = g.Positions()
	}
	return s[:end]
}

// tail is the end of s, at most n columns of it, of whole characters.
func tail(s string, n int) string {
	skip, from := width(s)-n, 0
	for g := uniseg.NewGraphemes(s); skip > 0 && g.Next(); {
		skip -= g.Width()
		_, from = g.Positions()
	}
	return s[from:]
}

// wrap breaks text at blanks into lines of at most n columns; a word wider
// than that is broken where it must. There is always one line.
func wrap(s string, n int) []string {
	var lines, now []string
	used := 0 // columns of now
	for word := range strings.FieldsSeq(s) {
		wide := width(word)
		if len(now) > 0 && used+1+wide <= n {
			now, used = append(now, word), used+1+wide
			continue
		}
		if len(now) > 0 {
			lines = append(lines, strings.Join(now, " "))
		}
		for wide > n {
			front := head(word, n)
			if front == "" { // one character wider than the page
				break
			}
			lines = append(lines, front)
			word = word[len(front):]
			wide = width(word)
		}
		now, used = append(now[:0], word), wide
	}
	if len(now) > 0 || lines == nil {
		lines = append(lines, strings.Join(now, " "))
	}
	return lines
}

// glyphs are the signs of a picture.
type glyphs struct {
	dash, dots, faraway  string // of legs; of gaps; of what is not seen from here
	right, left, lost    string
	to, ellipsis, unseen string
}

func unicodeGlyphs() glyphs {
	return glyphs{"─", "┈", "┄", "▶", "◀", "╳", "→", "…", "?"}
}

func asciiGlyphs() glyphs {
	return glyphs{"-", ".", ".", ">", "<", "X", "->", "...", "?"}
}
