package render

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"

	"kaflow/analyzer"
)

//go:embed report.tmpl
var reportTemplate string

//go:embed report.css
var reportStyle string

//go:embed report.js
var reportScript string

// htmlReport parses the template when the first page is written.
var htmlReport = sync.OnceValue(func() *template.Template { return template.Must(template.New("report").Parse(reportTemplate)) })

// sheet is what the template of the page is filled with. Its texts have gone
// through escape; html/template makes them safe for the page.
type sheet struct {
	Tool, Title string
	Policy      string // content security policy
	Style       template.CSS
	Script      template.JS // "" where there is no table to filter
	Tally       string
	Flows       []flowSheet
	Index       []indexRow
	More        string
	Footer      []entry
}

// flowSheet is one connection in full.
type flowSheet struct {
	ID                  int
	Verdict, Confidence string
	Mood                string
	Ends                []string
	Summary             string
	Ladder              *ladder
	Legend              []string
	Limit               *scale
	Why, Doing          []entry
}

// entry is a topic with its texts.
type entry struct {
	Name  string
	Items []item
}

// item is one text of a topic; Code is to be pasted.
type item struct {
	Text string
	Code bool
}

// indexRow is a line of the table of all connections.
type indexRow struct {
	ID                                                 int
	Verdict, Confidence, Mood, Client, Server, Summary string
	Shown                                              bool // in full, too
}

// HTML writes the report as one page that needs nothing else: no font, no
// picture from anywhere, and no script to be read; one of its own filters and
// sorts the table of connections. It fails where o.Flow is no flow of the
// report, and where w does.
func HTML(w io.Writer, r *analyzer.Report, o Options) error {
	shown, err := chosen(r, o)
	if err != nil {
		return err
	}
	ascii := o.ASCII
	o.Width, o.ASCII, o.Color = 0, false, false
	s := sheet{Tool: escape(r.Tool), Title: "kaflow report", Style: template.CSS(reportStyle)}
	s.Policy = "default-src 'none'; style-src " + sourceOf(reportStyle) + "; base-uri 'none'; form-action 'none'"
	if len(shown) == 0 {
		s.Tally = "no TCP connection to judge"
	} else {
		s.Title = escape(headlineOf(r, &shown[0]))
	}
	if len(r.Flows) > 1 {
		s.Tally = escape(tally(r))
		s.Index = indexOf(r, o, shown)
		s.Script = template.JS(reportScript)
		s.Policy += "; script-src " + sourceOf(reportScript)
	}
	for i := range shown {
		s.Flows = append(s.Flows, sheetOf(r, &shown[i], o))
	}
	if more := len(r.Flows) - len(shown); more > 0 && o.Flow == 0 {
		s.More = fmt.Sprintf("%s shown in full; the others: --flow N, or --all", count(len(shown), "connection"))
	}
	s.Footer = gathered(o, func(p *page) { p.footer(r) })
	if ascii {
		w = &inASCII{w: w, form: entity}
	}
	return htmlReport().Execute(w, s)
}

// sourceOf names a style or a script in a content security policy.
func sourceOf(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// indexMost bounds the table of a page.
const indexMost = 2000

func indexOf(r *analyzer.Report, o Options, shown []analyzer.Diagnosis) []indexRow {
	var rows []indexRow
	for i := range r.Flows {
		d := &r.Flows[i]
		if o.Flow != 0 && d.ID != o.Flow {
			continue
		}
		if len(rows) == indexMost {
			break
		}
		rows = append(rows, indexRow{d.ID, escape(spaced(d.Verdict.ID)), escape(string(d.Verdict.Confidence)), moodClass(d.Verdict.ID),
			escape(d.Client), escape(d.Server), escape(d.Verdict.Summary),
			slices.ContainsFunc(shown, func(s analyzer.Diagnosis) bool { return s.ID == d.ID })})
	}
	return rows
}

func moodClass(id string) string {
	return map[style]string{good: "good", warn: "warn"}[mood(id)]
}

func sheetOf(r *analyzer.Report, d *analyzer.Diagnosis, o Options) flowSheet {
	f := flowSheet{ID: d.ID, Verdict: escape(headlineOf(r, d)), Confidence: escape(string(d.Verdict.Confidence)), Mood: moodClass(d.Verdict.ID), Summary: escape(d.Verdict.Summary)}
	if f.Mood == "" {
		f.Mood = "bad"
	}
	f.Ends = linesOf(o, func(p *page) { p.ends(r, d) })
	if pic := lay(r, d, o); len(pic.rows) > 0 {
		l := drawn(pic)
		f.Ladder, f.Legend = &l, pic.legend
	}
	if s, ok := limitScale(d); ok {
		f.Limit = &s
	}
	f.Why = gathered(o, func(p *page) { p.why(r, d) })
	f.Doing = gathered(o, func(p *page) { p.doing(r, d) })
	return f
}

// gathered collects the topics that write would write.
func gathered(o Options, write func(*page)) []entry {
	var out []entry
	p := newPage(io.Discard, o)
	p.collect = func(name string, texts []string) {
		e := entry{Name: p.clean(name)}
		for _, t := range texts {
			paste, isPaste := strings.CutPrefix(t, hanging)
			e.Items = append(e.Items, item{p.clean(paste), isPaste})
		}
		out = append(out, e)
	}
	write(p)
	return out
}

// linesOf returns the lines that write writes.
func linesOf(o Options, write func(*page)) []string {
	var b strings.Builder
	o.Width = 1000
	p := newPage(&b, o)
	write(p)
	p.out.Flush() // a strings.Builder takes everything
	return slices.DeleteFunc(strings.Split(b.String(), "\n"), func(l string) bool { return l == "" })
}
