package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"kaflow/internal/lab"
)

// Of connections whose stories did not all find room less is said, and nothing else: what is sure
// is what the whole stories say, and nothing looks well that is not.
func TestWhatIsNotKeptIsNotMissed(t *testing.T) {
	for _, set := range storedSets(t) {
		client, server := set.Captures[lab.AtClient], set.Captures[lab.AtServer]
		for _, captures := range [][]string{{client}, {server}, {client, server}} {
			whole := map[string]saidFlow{}
			for _, f := range ask(t, captures...).Flows {
				whole[f.Client+f.Server] = f
			}
			for _, most := range []int{1, 3, 8, 16, 30} {
				for _, f := range askLimited(t, most, captures).Flows {
					is, was := &f.Verdict, whole[f.Client+f.Server].Verdict
					if is.ID == was.ID && (is.Confidence == was.Confidence || is.Confidence != "proven") {
						continue
					}
					switch is.ID {
					case "healthy", "closed": // idle claims nothing
						t.Errorf("%s, %d events: %s → %s is %s, with all of them %s", strings.Join(bases(captures), " "), most, f.Client, f.Server, is.ID, was.ID)
					}
					if is.Confidence == "proven" {
						t.Errorf("%s, %d events: %s → %s is %s, proven, with all of them %s, %s", strings.Join(bases(captures), " "), most, f.Client, f.Server, is.ID, was.ID, was.Confidence)
					}
				}
			}
		}
	}
}

// askLimited is ask where the stories of a capture may hold so many events.
func askLimited(t *testing.T, most int, captures []string) (answer said) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{"--json", "--max-events", fmt.Sprint(most)}, captures...)
	if code := run(args, strings.NewReader(""), &stdout, &stderr); code != 0 && code != statusLimit {
		t.Fatalf("kaflow %s: status %d, %s", strings.Join(args, " "), code, stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
