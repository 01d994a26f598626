package render

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	source "github.com/yuin/goldmark/text"

	"kaflow/flows"
)

// A CommonMark reader must find the fences that were meant, no markup of the
// capture's, and no HTML but the folding of long parts.
func TestMarkdownIsReadAsMeant(t *testing.T) {
	for name, r := range reports() {
		out := written(t, func(b *bytes.Buffer) error { return Markdown(b, r, Options{All: true}) })
		headings := 0
		err := ast.Walk(goldmark.DefaultParser().Parse(source.NewReader(out)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if !entering {
				return ast.WalkContinue, nil
			}
			switch n.Kind() {
			case ast.KindHeading:
				headings++
			case ast.KindLink, ast.KindAutoLink, ast.KindImage, ast.KindRawHTML, ast.KindThematicBreak, ast.KindBlockquote:
				t.Errorf("%s: %s in a report", name, n.Kind())
			case ast.KindHTMLBlock:
				for i := range n.Lines().Len() {
					line := n.Lines().At(i)
					html := strings.TrimSpace(string(line.Value(out)))
					if html != "</details>" && !(strings.HasPrefix(html, "<details><summary>") && strings.HasSuffix(html, "</summary>")) {
						t.Errorf("%s: HTML %q", name, html)
					}
				}
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if headings != len(r.Flows) {
			t.Errorf("%s: %d headings for %d connections", name, headings, len(r.Flows))
		}
	}
}

func TestTicketsKeepWithinTheirLimit(t *testing.T) {
	for name, r := range reports() {
		for _, most := range []int{600, 1500, 4000, 32_767} {
			for format, write := range map[string]func(*bytes.Buffer, Options) error{
				"md":   func(b *bytes.Buffer, o Options) error { return Markdown(b, r, o) },
				"jira": func(b *bytes.Buffer, o Options) error { return Jira(b, r, o) },
			} {
				out := written(t, func(b *bytes.Buffer) error { return write(b, Options{MaxChars: most, Mermaid: true}) })
				if n := utf8.RuneCount(out); n > most {
					t.Errorf("%s as %s: %d characters, at most %d were asked for", name, format, n, most)
				}
				if len(r.Flows) > 0 && name != "hostile-names" && !strings.Contains(string(out), strings.ToUpper(spaced(r.Flows[0].Verdict.ID))) {
					t.Errorf("%s as %s in %d characters: no verdict", name, format, most)
				}
			}
		}
	}
}

// Wherever a ticket is cut, the note on it is a paragraph of its own: no fence,
// macro or list that is still open swallows it, and what is written below.
func TestCutTicketsCloseWhatTheyOpen(t *testing.T) {
	const note = "Cut to "
	for name, r := range reports() {
		for most := 100; most < 3000; most += 13 {
			o := Options{MaxChars: most, Mermaid: true}
			md := written(t, func(b *bytes.Buffer) error { return Markdown(b, r, o) })
			if !bytes.Contains(md, []byte(note)) {
				break
			}
			last := goldmark.DefaultParser().Parse(source.NewReader(md)).LastChild()
			if last.Kind() != ast.KindParagraph || last.Lines().Len() != 1 {
				t.Errorf("%s in %d characters ends within a %s:\n%s", name, most, last.Kind(), md)
			}
			jira := string(written(t, func(b *bytes.Buffer) error { return Jira(b, r, o) }))
			macros := strings.Count(jira, "\n{noformat}\n") + strings.Count(jira, "\n{panel")
			if before, _, _ := strings.Cut(jira, note); macros%2 != 0 || before != "" && !strings.HasSuffix(before, "\n\n") {
				t.Errorf("%s as jira in %d characters ends within a block:\n%s", name, most, jira)
			}
		}
	}
}

// What mermaid's grammar gives a meaning ends no message, addresses of IPv6 are
// whole, and what nobody knows is not drawn as known.
func TestDiagramsSayWhatIsNotKnown(t *testing.T) {
	sent := func(from uint8, label, note string, legs ...leg) strip {
		return strip{kind: stripEvent, label: label, note: note, from: from, legs: legs}
	}
	pic := picture{
		columns: []column{{"client.pcap", "[2001:db8::1]:51234"}, {"büro #1; %%{x}.pcap", ""}, {"server.pcap", "[2001:db8::2]:22"}},
		rows: []strip{
			{kind: stripDay, text: "2026-11-20 UTC"},
			sent(flows.Client, "syn", "", legCrossed, legCrossed),
			sent(flows.Server, "rst", "", legCrossed, legOrigin),
			{kind: stripGap, text: "idle 312 µs"},
			sent(flows.Client, "keepalive-probe", "", legPassed, legLost),
			sent(flows.Server, "keepalive-probe", "", legNone, legLostAssumed),
			{kind: stripFolded, text: "8 more of the client's", note: "<b>&amp;"},
			sent(flows.Client, "rst", "gave up", legCrossed, legNotKnown),
		},
	}
	const want = "```mermaid\n" + `sequenceDiagram
    participant p0 as client.pcap [2001:db8::1]:51234
    participant p1 as büro  1     x .pcap
    participant p2 as server.pcap [2001:db8::2]:22
    p0->>p2: syn
    p2->>p0: rst from where?
    Note over p0,p2: idle 312 µs
    p0-xp2: keepalive-probe lost
    p2-xp1: keepalive-probe lost?
    Note over p0,p2: 8 more of the client's ( b  amp )
    p0--)p2: rst arrived? (gave up)
` + "```\n\n"
	page := ticketPage{p: newPage(io.Discard, Options{})}
	if got := page.mermaid(pic); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
