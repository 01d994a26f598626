package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// exchange is a number of lines of 11 octets from the client, each acknowledged.
func exchange(lines int) string {
	var b strings.Builder
	for n := range lines {
		fmt.Fprintf(&b, "+11ms C > S PSH,ACK seq %d ack 900 len 11\n+11ms S > C ACK seq 900 ack %d\n", 100+11*n, 111+11*n)
	}
	return b.String()
}

// A connection in use is lost: what is lost first is data that the story has
// folded into the run before it, and only its repetitions stand alone. The
// frames that are named are those of the loss all the same.
func TestTheFirstLossIsNamedThoughItIsFolded(t *testing.T) {
	script, err := dialogue.Parse(`
D 192.0.2.1:40001
delay C 10ms
delay S 10ms
0     C > S SYN     seq 99  mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460
+11ms C > S ACK     seq 100 ack 900
` + exchange(12) + `
+100ms C > S PSH,ACK seq 232 ack 900 len 11 lost
+200ms C > S PSH,ACK seq 232 ack 900 len 11 lost
+400ms C > S PSH,ACK seq 232 ack 900 len 11 lost
+50ms  D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
+800ms C > S PSH,ACK seq 232 ack 900 len 11 lost
+5s    D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms  S > D ACK     seq 8000 ack 5011
`)
	if err != nil {
		t.Fatal(err)
	}
	client, server := recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)
	type frame struct{ Frame int }
	for _, c := range []struct {
		captures    []string
		last, first int // frames; 0: none is named
	}{
		{[]string{client, server}, 27, 28},
		{[]string{server, client}, 27, 28},
		{[]string{client}, 0, 28},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(append([]string{"--json"}, c.captures...), nil, &stdout, &stderr); code != 0 {
			t.Fatalf("status %d: %s", code, stderr.String())
		}
		var doc struct {
			Flows []struct {
				Client  string
				Verdict struct {
					ID          string
					LastCrossed *frame `json:"last_crossed"`
					FirstLost   *frame `json:"first_lost"`
				}
			}
		}
		if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		for _, f := range doc.Flows {
			if f.Client != "192.0.2.1:40000" {
				continue
			}
			v := f.Verdict
			got := [2]int{}
			for i, x := range []*frame{v.LastCrossed, v.FirstLost} {
				if x != nil {
					got[i] = x.Frame
				}
			}
			if want := [2]int{c.last, c.first}; got != want {
				t.Errorf("of %d captures: %s, last across #%d and first lost #%d, want #%d and #%d", len(c.captures), v.ID, got[0], got[1], want[0], want[1])
			}
		}
	}
}
