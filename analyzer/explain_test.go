package analyzer

import (
	"regexp"
	"testing"
)

func TestEveryIDOfTheRulesHasAPage(t *testing.T) {
	for _, id := range []string{
		SilentDrop, OneWayDrop, PathCut, Healthy, ClosedNormally, Idle, NotEstablished, ReceiverStalled, PeerLostState, Undecided, CaptureGap, HostDrop, idleClose,
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
		if p.Kind == OfVerdict && len(p.Refutes) == 0 {
			t.Errorf("%s: nothing would refute it", p.ID)
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
