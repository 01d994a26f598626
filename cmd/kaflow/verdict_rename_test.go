package main

import (
	"bytes"
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// steadyProbes are n keepalives of the client, one a minute, that the server answers.
func steadyProbes(n int) string {
	return strings.Repeat(`
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C ACK seq 900 ack 157 ts 106079 42046
`, n)
}

// renamedProbe is a keepalive that comes to the server under another port, and its RST.
const renamedProbe = `
+60s  C > S ACK seq 156 ack 900 ts 1842068 46057 @client
+0s   D > S ACK seq 156 ack 900 ts 1842068 46057 @server
+1ms  S > D RST seq 900 win 0 id 0 @server
+10ms S > C RST seq 900 win 0 id 0 ttl 63 @client
`

// renamed are conversations whose translation changes in their midst, and others that
// a device forgets without telling.
var renamed = []conversation{
	{"a NAT loses its table amid answered keepalives", session + steadyProbes(20) + renamedProbe,
		"nat-rebind proven state-lost likely", "peer-lost-state possible", "-"},
	{"the same, and another session keeps its name", "E 192.0.2.1:40002\n" + session + `
+1s    E > S SYN     seq 6999 mss 1460 sackok ts 50000 0 wscale 7
+11ms  S > E SYN,ACK seq 8999 ack 7000 mss 1460 sackok ts 60000 50000 wscale 7
+11ms  E > S ACK     seq 7000 ack 9000 ts 50022 60000
` + steadyProbes(20) + renamedProbe + `
+60s   E > S PSH,ACK seq 7000 ack 9000 ts 1910022 60000 len 10
+11ms  S > E ACK     seq 9000 ack 7010 ts 1920033 1910022
`, "nat-rebind proven state-lost possible", "peer-lost-state possible", "-"},
}

// printed are conversations and what the report of their captures, of both or of the
// server's alone, must say, and with "!" must not.
var printed = []struct {
	name, text   string
	both, server []string
}{
	{"a NAT loses its table amid answered keepalives", session + steadyProbes(20) + renamedProbe,
		[]string{"192.0.2.1:40001 after 1m00s of silence", "!20m"}, []string{"192.0.2.1:40001 after 1m00s of silence", "!20m"}},
}

func TestReportsOfConversations(t *testing.T) {
	for _, c := range printed {
		t.Run(c.name, func(t *testing.T) {
			script, err := dialogue.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			client, server := recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)
			prints(t, "both", c.both, client, server)
			prints(t, "both, swapped", c.both, server, client)
			prints(t, "server alone", c.server, server)
		})
	}
}

// prints compares a report, as one line, with the words wanted.
func prints(t *testing.T, which string, want []string, captures ...string) {
	t.Helper()
	if len(want) == 0 {
		return
	}
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"--ascii", "--all", "--width", "200"}, captures...), strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("%s: status %d, %s", which, code, stderr.String())
	}
	report := strings.Join(strings.Fields(stdout.String()), " ")
	for _, w := range want {
		text, forbidden := strings.CutPrefix(w, "!")
		if strings.Contains(report, text) == forbidden {
			t.Errorf("%s: want %q in\n%s", which, w, stdout.String())
		}
	}
}
