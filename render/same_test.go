package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"testing"

	"kaflow/analyzer"
)

// withoutMarkup strips a format of its markup, so that what it says can be looked for.
func withoutMarkup(format, text string) string {
	switch format {
	case "html":
		text = regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>`).ReplaceAllString(text, " ")
		text = html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, " "))
	case "md", "jira":
		text = html.UnescapeString(strings.NewReplacer(`\`, "", "{noformat}", " ", "`", "").Replace(text))
		text = regexp.MustCompile(`(?m)^[-*|#>]+ `).ReplaceAllString(text, " ")
	case "json", "ndjson":
		var all []string
		for d := json.NewDecoder(strings.NewReader(text)); ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			all = append(all, fmt.Sprint(token))
		}
		text = strings.Join(all, " ")
	}
	return strings.Join(strings.Fields(text), " ")
}

// Every format says the verdict, how sure it is, why, what is not known, what
// to change and where to look.
func TestEveryFormatSaysTheSame(t *testing.T) {
	formats := map[string]func(io.Writer, *analyzer.Report, Options) error{"text": Text, "md": Markdown, "jira": Jira, "html": HTML, "json": JSON, "ndjson": NDJSON}
	for name, r := range reports() {
		if name == "hostile-names" || name == "many-flows" || name == "nothing" {
			continue
		}
		for format, write := range formats {
			said := withoutMarkup(format, string(written(t, func(b *bytes.Buffer) error { return write(b, r, Options{All: true}) })))
			look := func(what, fact string) {
				if fact = strings.Join(strings.Fields(fact), " "); fact != "" && !strings.Contains(said, fact) {
					t.Errorf("%s as %s does not tell %s: %q", name, format, what, fact)
				}
			}
			for i := range r.Flows {
				d := &r.Flows[i]
				look("the confidence", string(d.Verdict.Confidence))
				look("the client", d.Client)
				look("the server", d.Server)
				look("the summary", d.Verdict.Summary)
				if !strings.Contains(strings.ToLower(said), strings.ReplaceAll(d.Verdict.ID, "-", " ")) && !strings.Contains(said, d.Verdict.ID) {
					t.Errorf("%s as %s does not tell the verdict %s", name, format, d.Verdict.ID)
				}
				for _, u := range d.Verdict.Unknown {
					look("what is not known", u)
				}
				for _, f := range d.Findings {
					look("a finding", f.Says)
				}
				for _, m := range d.Remedies {
					for _, line := range m.Lines {
						look("a line to set", line)
					}
				}
				for _, f := range d.Filters {
					look("a display filter", f.Expr)
				}
			}
			for i := range r.Vantages {
				look("a capture", r.Vantages[i].Name)
			}
			look("the command line", r.Command)
		}
	}
}
