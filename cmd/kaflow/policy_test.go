package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"kaflow/facts"
)

// Every row of the table can be computed and printed, and says when a death is
// noticed, or why no number follows.
func TestPolicyOfEverySystem(t *testing.T) {
	for _, d := range facts.Defaults() {
		var text, doc, stderr bytes.Buffer
		if status := run([]string{"policy", d.ID}, strings.NewReader(""), &text, &stderr); status != statusDone {
			t.Errorf("policy %s: status %d: %s", d.ID, status, stderr.String())
		}
		if d.Detection > 0 && !strings.Contains(text.String(), "notices a death after") {
			t.Errorf("policy %s does not say when a death is noticed:\n%s", d.ID, text.String())
		}
		run([]string{"policy", "--json", d.ID}, strings.NewReader(""), &doc, &stderr)
		var answer struct {
			Policies []struct {
				Detection  *float64 `json:"detection_s"`
				Arithmetic string
			}
		}
		if err := json.Unmarshal(doc.Bytes(), &answer); err != nil || len(answer.Policies) != 1 {
			t.Errorf("policy --json %s: %v, %d policies", d.ID, err, len(answer.Policies))
			continue
		}
		if p := answer.Policies[0]; d.Detection > 0 && d.SingleTimer == "" && (p.Detection == nil || *p.Detection != d.Detection.Seconds()) {
			t.Errorf("policy %s: detection %v, the table says %v", d.ID, p.Arithmetic, d.Detection)
		}
	}
}
