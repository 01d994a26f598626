package main

import (
	"bytes"
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// trainHealed is a session whose first two probes are lost, and whose third one is
// answered.
const trainHealed = session + `
drop both
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+10s  C > S ACK seq 156 ack 900 ts 112068 46057
drop nothing
+10s  C > S ACK seq 156 ack 900 ts 122068 46057
+11ms S > C ACK seq 900 ack 157 ts 126079 42046
`

// healedAndSilent goes on for two intervals, with pings alone.
const healedAndSilent = trainHealed + `
+1s   C > S PING 1
+10ms S > C PONG 1
+20s  C > S PING 2
+10ms S > C PONG 2
`

// figures are conversations of which the frames show plainly what a verdict, or a
// figure in it, must not contradict.
var figures = []conversation{
	{"the last question of a train is answered, and the capture ends", trainHealed, "healthy", "healthy", "-"},
	{"the last question of a train is answered, and its sender then silent for longer than its interval", healedAndSilent, "healthy", "healthy", "-"},
	{"the last question of a train is open", trainHealed + `
+60s  C > S ACK seq 156 ack 900 ts 182068 126079
+11ms S > C ACK seq 900 ack 157 ts 186079 182068
drop both
+60s  C > S ACK seq 156 ack 900 ts 242068 186079
+10s  C > S ACK seq 156 ack 900 ts 252068 186079
`, "undecided possible", "undecided possible", "-"},
}

// TestVerdictsTell reads the reports of conversations: what they must say, or with "!"
// must not, with both captures, with the client's alone and with the server's alone.
func TestVerdictsTell(t *testing.T) {
	for _, c := range []struct {
		name, text           string
		both, client, server []string
	}{
		{"nothing shows whether the answer was taken", trainHealed,
			[]string{"the last keepalive probe (of 3 seen) crosses and is answered", "whether the client took that answer"},
			[]string{"the last keepalive probe (of 3 seen) is answered", "whether the client took that answer"}, nil},
		{"its sender accepted the answer", healedAndSilent, []string{"!whether the client took that answer"}, []string{"!whether the client took that answer"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			script, err := dialogue.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			client, server := recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)
			tells(t, "both", c.both, client, server)
			tells(t, "client alone", c.client, client)
			tells(t, "server alone", c.server, server)
		})
	}
}

func tells(t *testing.T, which string, want []string, captures ...string) {
	t.Helper()
	var report, stderr bytes.Buffer
	if status := run(append([]string{"--json", "--utc"}, captures...), strings.NewReader(""), &report, &stderr); status != statusDone {
		t.Fatalf("%s: status %d, %s", which, status, stderr.String())
	}
	for _, w := range want {
		text, forbidden := strings.CutPrefix(w, "!")
		if strings.Contains(report.String(), text) == forbidden {
			t.Errorf("%s: want %q in\n%s", which, w, report.String())
		}
	}
}
