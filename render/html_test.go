package render

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// A page must work from disk, ask nobody for anything, and show hostile names
// as text.
func TestHTMLNeedsNothing(t *testing.T) {
	fetches := regexp.MustCompile(`(?i)<(link|img|iframe|object|embed|form|base)\b|<script\s|\b(src|action|on[a-z]+|style)\s*=\s*["']|\bhref\s*=\s*"[^#]|url\(|@import`)
	for name, r := range reports() {
		page := string(written(t, func(b *bytes.Buffer) error { return HTML(b, r, Options{All: true}) }))
		if m := fetches.FindString(page); m != "" {
			t.Errorf("%s: the page holds %q", name, m)
		}
		if !strings.Contains(page, "default-src &#39;none&#39;; style-src &#39;sha256-") {
			t.Errorf("%s: no strict content security policy", name)
		}
		if n := strings.Count(page, "<article "); n != len(r.Flows) {
			t.Errorf("%s: %d connections on the page, %d in the report", name, n, len(r.Flows))
		}
	}
}

func TestDrawingStaysWithinItsBounds(t *testing.T) {
	numbers := regexp.MustCompile(`-?\d+`)
	for name, r := range reports() {
		for i := range r.Flows {
			l := drawn(lay(r, &r.Flows[i], Options{}))
			for _, g := range l.Groups {
				for _, w := range g.Words {
					if w.X < 0 || w.X > l.W || w.Y < 0 || w.Y > l.H {
						t.Errorf("%s: %q stands at %d, %d of %d × %d", name, w.Text, w.X, w.Y, l.W, l.H)
					}
				}
				for _, s := range g.Shapes {
					if at := numbers.FindAllString(s.D, 2); len(at) < 2 || strings.HasPrefix(at[0], "-") || strings.HasPrefix(at[1], "-") {
						t.Errorf("%s: a shape begins at %v", name, at)
					}
				}
			}
		}
	}
}
