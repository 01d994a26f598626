package analyzer

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryIDOfTheRulesHasAPage(t *testing.T) {
	for _, id := range []string{
		SilentDrop, OneWayDrop, PathCut, Healthy, ClosedNormally, Idle, NotEstablished, ReceiverStalled, PeerLostState, Undecided, CaptureGap, HostDrop, IdleClose,
	} {
		if p, ok := PageOf(id); !ok || p.Kind != OfVerdict {
			t.Errorf("%s has no page", id)
		}
	}
	for _, rule := range verdictRules {
		if _, ok := PageOf(rule.ID); !ok {
			t.Errorf("rule %s has no page", rule.ID)
		}
	}
}

// Findings are told by their ids in JSON: what a program reads there can be
// looked up.
func TestEveryFindingOfTheRulesHasAPage(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Finding\{Rule:\s*"([a-z-]+)"|\tRule:\s*"([a-z-]+)"|\{Rule:\s*"([a-z-]+)", Says|\.Rule = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
			id := m[1] + m[2] + m[3] + m[4]
			found++
			if _, ok := PageOf(id); !ok {
				t.Errorf("%s: the finding %s has no page in explain.go", file, id)
			}
		}
	}
	if found < 12 {
		t.Errorf("%d findings found in the source, expected more", found)
	}
}

// Every finding that has a page is told by a rule, and every finding rule has
// a page.
func TestEveryPageOfAFindingHasARule(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "explain") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(source)
	}
	for _, p := range findingPages {
		if !strings.Contains(code.String(), `Rule: "`+p.ID+`"`) && !strings.Contains(code.String(), `Rule = "`+p.ID+`"`) {
			t.Errorf("the finding %s has a page and no rule", p.ID)
		}
	}
	for _, r := range findingRules {
		if p, ok := PageOf(r.ID); !ok || p.Kind != OfFinding || r.Doc == "" {
			t.Errorf("the finding rule %s has no page, or says nothing", r.ID)
		}
	}
}

func TestPagesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Pages() {
		if seen[p.ID] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(p.ID) {
			t.Errorf("%q is used twice or is no id", p.ID)
		}
		seen[p.ID] = true
		if p.Short == "" || p.Means == "" || len(p.Do) == 0 {
			t.Errorf("%s lacks what it is, what it means or what to do", p.ID)
		}
		if p.Both+p.One == "" || len(p.Refutes) == 0 || len(p.Alike) == 0 {
			t.Errorf("%s lacks what proves it, what refutes it or what looks like it", p.ID)
		}
		for _, s := range [][]string{{p.Short}, p.Refutes, p.Alike, p.Do} {
			for _, text := range s {
				if regexp.MustCompile(`[.|\n]$|[|\n]`).MatchString(text) {
					t.Errorf("%s: %q does not fit into a table", p.ID, text)
				}
			}
		}
	}
	if _, ok := PageOf("no-such-id"); ok {
		t.Error("there is a page for what does not exist")
	}
}
