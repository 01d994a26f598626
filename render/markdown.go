package render

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"kaflow/analyzer"
	"kaflow/flows"
)

// markup is how a tracker writes what every report holds.
type markup struct {
	head    func(text, sure string) string // the verdict
	name    func(string) string            // a topic's name
	text    func(string) string            // escapes running text
	item    string                         // before an item of a list
	fence   func(lines string) string      // text that keeps its columns
	details func(title, body string) string

	diagrams bool // Mermaid is understood
}

// Markdown writes the report for trackers that read CommonMark: verdict first,
// then why, then the timeline in a fence, then what to change and how to check.
// It fails where o.Flow is no flow of the report, and where w does.
func Markdown(w io.Writer, r *analyzer.Report, o Options) error { return ticket(w, r, o, commonMark()) }

// Jira writes the report in Jira's wiki markup. It fails as Markdown does.
func Jira(w io.Writer, r *analyzer.Report, o Options) error { return ticket(w, r, o, jiraMarkup()) }

// commonMark is the markup of GitHub, GitLab and most trackers.
func commonMark() *markup {
	return &markup{
		head: func(text, sure string) string { return "## " + text + sure + "\n\n" },
		name: func(s string) string { return "**" + s + "**\n\n" },
		text: escapeMarkdown,
		item: "- ",
		fence: func(lines string) string {
			tick := "```"
			for strings.Contains(lines, tick) {
				tick += "`"
			}
			return tick + "text\n" + lines + tick + "\n\n"
		},
		details: func(title, body string) string {
			return "<details><summary>" + title + "</summary>\n\n" + body + "</details>\n\n"
		},
		diagrams: true,
	}
}

// jiraMarkup is the wiki markup of Jira.
func jiraMarkup() *markup {
	return &markup{
		head: func(text, sure string) string { return "h2. " + text + sure + "\n\n" },
		name: func(s string) string { return "*" + s + "*\n\n" },
		text: func(s string) string { return escapeWith(s, "\\*_{}[]!|^~-+?#@&:;()") },
		item: "* ",
		fence: func(lines string) string {
			return "{noformat}\n" + strings.ReplaceAll(lines, "{noformat", "{ noformat") + "{noformat}\n\n"
		},
		details: func(title, body string) string {
			return "{panel:title=" + title + "}\n" + body + "{panel}\n\n"
		},
	}
}

// escapeMarkdown escapes what CommonMark and its dialects give a meaning:
// everywhere, at the beginning of a line, and in what they make links of.
func escapeMarkdown(s string) string {
	s = escapeWith(s, "\\`*_{}[]<>#!|~&$@")
	s = strings.NewReplacer("://", "\\://", "www.", "www\\.").Replace(s)
	digits := strings.TrimLeft(s, "0123456789")
	switch {
	case digits == "":
	case len(digits) < len(s) && (digits[0] == '.' || digits[0] == ')'):
		s = s[:len(s)-len(digits)] + "\\" + digits
	case strings.ContainsRune("-+=", rune(s[0])):
		s = "\\" + s
	}
	return s
}

// escapeWith puts a backslash before characters that mean something.
func escapeWith(s, special string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// ticketWide is the width of a timeline in a ticket.
const ticketWide = 100

// ticket writes the report in a markup.
func ticket(w io.Writer, r *analyzer.Report, o Options, m *markup) error {
	shown, err := chosen(r, o)
	if err != nil {
		return err
	}
	o.Color = false
	if o.Width == 0 {
		o.Width = ticketWide
	}
	t := &ticketPage{markup: m, r: r, o: o, p: newPage(io.Discard, o)}
	if len(shown) == 0 {
		t.parts = append(t.parts, part{text: m.text("no TCP connection to judge") + "\n\n"})
	}
	if len(r.Flows) > inFull && o.Flow == 0 {
		t.parts = append(t.parts, part{text: m.text(t.p.clean(tally(r))) + "\n\n"})
	}
	for i := range shown {
		t.flow(&shown[i])
	}
	if rest := len(r.Flows) - len(shown); rest > 0 && o.Flow == 0 {
		t.parts = append(t.parts, part{text: m.text(count(rest, "more connection")+": --flow N, or --all") + "\n\n"})
	}
	t.parts = append(t.parts, part{rank: 4, text: m.details("captures and clocks", t.topics(gathered(o, func(p *page) { p.footer(r) })))})
	_, err = io.WriteString(w, t.fitted(o.MaxChars))
	return err
}

// part is a stretch of a ticket that closes what it opens; of two the one with
// the higher rank is left out first where there is no room.
type part struct {
	rank  int
	text  string
	lines []string // of a timeline: what may be cut in its middle
}

type ticketPage struct {
	*markup
	r     *analyzer.Report
	o     Options
	p     *page
	parts []part
}

func (t *ticketPage) add(rank int, text string) {
	t.parts = append(t.parts, part{rank: rank, text: text})
}

// flow writes one connection.
func (t *ticketPage) flow(d *analyzer.Diagnosis) {
	sure := ""
	if c := t.p.clean(string(d.Verdict.Confidence)); c != "" {
		sure = " — " + c
	}
	if t.o.ASCII {
		sure = strings.ReplaceAll(sure, "—", "-")
	}
	t.add(0, t.head(t.text(t.p.clean(headlineOf(t.r, d))), sure))
	t.add(0, t.fence(strings.Join(linesOf(t.o, func(p *page) { p.ends(t.r, d) }), "\n")+"\n"))
	if d.Verdict.Summary != "" {
		t.add(0, t.text(t.p.clean(d.Verdict.Summary))+"\n\n")
	}
	pic := lay(t.r, d, t.o)
	if lines := t.picture(pic); len(lines) > 0 {
		t.parts = append(t.parts, part{rank: 1, lines: lines})
	}
	if t.o.Mermaid && t.diagrams {
		t.add(3, t.mermaid(pic))
	}
	why := gathered(t.o, func(p *page) { p.why(t.r, d) })
	doing := gathered(t.o, func(p *page) { p.doing(t.r, d) })
	check := slices.IndexFunc(doing, func(e entry) bool { return e.Name == "see it in Wireshark" })
	for _, e := range why[:min(len(why), 4)] {
		t.add(0, t.topics([]entry{e}))
	}
	t.add(2, t.topics(why[min(len(why), 4):]))
	for i, e := range doing {
		rank := 2
		if i == check {
			rank = 1
		}
		if e.Name == "ask the device's owner" || e.Name == "remember" {
			t.add(3, t.details(e.Name, t.topics([]entry{{Items: e.Items}})))
			continue
		}
		t.add(rank, t.topics([]entry{e}))
	}
}

// headlineOf is a verdict in words, with the places between which it happened.
func headlineOf(r *analyzer.Report, d *analyzer.Diagnosis) string {
	says := strings.ToUpper(spaced(d.Verdict.ID))
	if a, b := d.Verdict.Between[0], d.Verdict.Between[1]; a != b {
		says += " between " + vantageName(r, a) + " and " + vantageName(r, b)
	}
	return says
}

// picture returns the lines of a timeline as the text report draws it.
func (t *ticketPage) picture(pic picture) []string {
	if len(pic.rows) == 0 {
		return nil
	}
	var b bytes.Buffer
	p := newPage(&b, t.o)
	p.draw(pic)
	p.out.Flush() // a bytes.Buffer takes everything
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// topics writes topics with their texts; what is to be pasted stands in fences.
func (t *ticketPage) topics(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		if e.Name != "" {
			b.WriteString(t.name(t.text(e.Name)))
		}
		for i := 0; i < len(e.Items); i++ {
			if !e.Items[i].Code {
				b.WriteString(t.item + t.text(e.Items[i].Text) + "\n")
				continue
			}
			var code strings.Builder
			for ; i < len(e.Items) && e.Items[i].Code; i++ {
				code.WriteString(e.Items[i].Text + "\n")
			}
			i--
			b.WriteString("\n" + t.fence(code.String()))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// fitted joins the parts, and leaves out what matters least where they are
// longer than most characters; 0 is no limit. Verdict and proof stay.
func (t *ticketPage) fitted(most int) string {
	whole := t.joined(func(part) bool { return true }, 0)
	if most <= 0 || len([]rune(whole)) <= most {
		return whole
	}
	note := t.text(fmt.Sprintf("Cut to %d characters; the whole report: kaflow without --max-chars.", most)) + "\n"
	for rank := 4; rank > 1; rank-- {
		for rows := range []int{0, 1} {
			text := t.joined(func(p part) bool { return p.rank < rank }, rows*cutRows) + note
			if len([]rune(text)) <= most {
				return text
			}
		}
	}
	return t.begun(most-len([]rune(note))) + note
}

// begun returns the first parts of what stays, as many as there is room for. A
// part is left out whole: cut within a fence or a list it would swallow what
// follows. The heading alone may be cut, for without it nothing is said.
func (t *ticketPage) begun(room int) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.rank > 0 {
			continue
		}
		if n := utf8.RuneCountInString(p.text); n <= room {
			b.WriteString(p.text)
			room -= n
			continue
		}
		if ends := t.p.clean("…") + "\n\n"; b.Len() == 0 && room > utf8.RuneCountInString(ends) {
			head := []rune(p.text)[:room-utf8.RuneCountInString(ends)]
			b.WriteString(strings.TrimRight(string(head), "\\") + ends)
		}
		break
	}
	return b.String()
}

// cutRows is how many lines of a timeline stay at each end where it is cut.
const cutRows = 12

// joined writes the parts that are kept; a timeline keeps so many lines at each
// end, 0 being all.
func (t *ticketPage) joined(keep func(part) bool, ends int) string {
	var b strings.Builder
	for _, p := range t.parts {
		if !keep(p) {
			continue
		}
		b.WriteString(p.text)
		if len(p.lines) == 0 {
			continue
		}
		lines := p.lines
		if ends > 0 && len(lines) > 2*ends {
			cut := len(lines) - 2*ends
			lines = slices.Concat(lines[:ends], []string{fmt.Sprintf("[%s left out]", count(cut, "line"))}, lines[len(lines)-ends:])
		}
		b.WriteString(t.fence(strings.Join(lines, "\n") + "\n"))
	}
	return b.String()
}

// arrowsMost bounds a sequence diagram.
const arrowsMost = 40

// mermaid draws the timeline as a sequence diagram.
func (t *ticketPage) mermaid(pic picture) string {
	pic = t.p.spell(pic)
	var b strings.Builder
	b.WriteString("```mermaid\nsequenceDiagram\n")
	for i, c := range pic.columns {
		fmt.Fprintf(&b, "    participant p%d as %s\n", i, harmless(strings.TrimRight(c.name+" "+c.addr, " ")))
	}
	last, arrows := len(pic.columns)-1, 0
	for i := range pic.rows {
		s := &pic.rows[i]
		switch s.kind {
		case stripGap, stripFolded, stripRun:
			fmt.Fprintf(&b, "    Note over p0,p%d: %s\n", last, harmless(joined(s.text, s.note)))
		case stripEvent:
			if arrows++; arrows > arrowsMost {
				fmt.Fprintf(&b, "    Note over p0,p%d: more is left out\n", last)
				b.WriteString("```\n\n")
				return b.String()
			}
			b.WriteString(arrow(s, last))
		}
	}
	b.WriteString("```\n\n")
	return b.String()
}

// arrow is one message of a sequence diagram: as far as it came. What the
// drawing in text says with a "?" stands in the message: an arrow has no sign
// for doubt.
func arrow(s *strip, last int) string {
	from, to, sense := 0, last, 1
	if s.from == flows.Server {
		from, to, sense = last, 0, -1
	}
	sign, fate := "->>", ""
	for at := from; at != last-from; at += sense {
		switch s.legs[min(at, at+sense)] {
		case legOrigin:
			fate = " from where?"
		case legLost:
			sign, to, fate = "-x", at+sense, fate+" lost"
		case legLostAssumed:
			sign, to, fate = "-x", at+sense, fate+" lost?"
		case legNotKnown, legNearOpen:
			sign, fate = "--)", fate+" arrived?"
		}
	}
	return fmt.Sprintf("    p%d%sp%d: %s\n", from, sign, to, harmless(joined(s.label+fate, s.note)))
}

// harmless leaves of a text what a diagram reads as text, addresses of IPv6
// among it. A message ends at # and ;, and what begins with %%, <, & or $$
// may be read as more than text.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".,:()[]'+-/?_×–", r) {
			return r
		}
		return ' '
	}, s)
}
