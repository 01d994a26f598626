package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// stoodStill is a conversation of which the server's capture holds nothing for a while,
// though the pings in the client's were answered.
const stoodStill = session + `
+10s  C > S PING 1
+11ms S > C PONG 1
+10s  C > S PING 2
+11ms S > C PONG 2
+1700s C > S PING 3 @client
+11ms S > C PONG 3 @client
+60s  C > S ACK seq 156 ack 900 ts 1842068 46057 @client
+10s  C > S PING 4 @client
+11ms S > C PONG 4 @client
+60s  C > S ACK seq 156 ack 900 ts 1912068 46057 @client
+10s  C > S PING 5 @client
+11ms S > C PONG 5 @client
`

// paused are conversations with a capture that stood still, and would show whether what
// it lacks was lost.
var paused = []conversation{
	{"the server's capture stands still when the probes come", stoodStill + `
+90s  C > S PING 6
+11ms S > C PONG 6
`, "silent-drop possible idle-expiry possible", "silent-drop possible", "-"},
	{"it records again, and the later probes are lost", stoodStill + `
+10s  C > S PING 6
+11ms S > C PONG 6
+50s  C > S ACK seq 156 ack 900 ts 1982068 46057 lost
+10s  C > S PING 7
+11ms S > C PONG 7
+65s  C > S ACK seq 156 ack 900 ts 2057068 46057 lost
+75s  C > S ACK seq 156 ack 900 ts 2132068 46057 lost
+10s  C > S PING 8
+11ms S > C PONG 8
`, "silent-drop proven idle-expiry proven", "-", "-"},
	{"another connection's keepalives, answered all along, show that it stood still", session + `
+1s    D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
` + strings.Repeat(alongside, 200) + strings.Repeat(missedThere+`
+1s C > S ACK seq 156 ack 900 ts 12042068 46057 @client
`, 8) + missedThere + strings.Repeat(alongside, 3), "silent-drop possible idle-expiry possible", "silent-drop possible", "-"},
	{"the same, and nothing shows that the pings passed it", strings.NewReplacer("PING 3 @client", "PING 3 lost", "PING 4 @client", "PING 4 lost", "PING 5 @client", "PING 5 lost",
		"PONG 3 @client", "PONG 3 lost", "PONG 4 @client", "PONG 4 lost", "PONG 5 @client", "PONG 5 lost", "46057 @client", "46057 lost").Replace(stoodStill) + `
+90s  C > S PING 6
+11ms S > C PONG 6
`, "silent-drop proven", "-", "-"},
}

// Each of two captures holds only what came in: nothing crosses between them, and nothing
// is lost.
func TestCapturesOfWhatCameIn(t *testing.T) {
	text := strings.Replace(session, "clock server +1500ms\n", "", 1) + answered("+60s", "+60s", 5)
	text = regexp.MustCompile(`(?m)C > S.*$`).ReplaceAllString(text, "$0 @server ttl 61")
	text = regexp.MustCompile(`(?m)S > C.*$`).ReplaceAllString(text, "$0 @client ttl 61")
	script := parsed(t, text)
	client, server := recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)
	expect(t, "both", "healthy", client, server)
	expect(t, "both, swapped", "healthy", server, client)
}

// alongside is a keepalive of another connection with its answer, missedThere one that the
// server's capture does not hold.
const (
	alongside = `
+60s  D > S ACK seq 4999 ack 8000
+11ms S > D ACK seq 8000 ack 5000
`
	missedThere = `
+60s  D > S ACK seq 4999 ack 8000 @client
+11ms S > D ACK seq 8000 ack 5000 @client ttl 63
`
)

// A third capture that had ended, or that the connection passes by from some moment on,
// does not move the place of the loss to where it was taken, and takes nothing from what
// the others prove.
func TestACaptureBetweenThatDoesNotTell(t *testing.T) {
	heard := session + `
+10s   C > S PING 1
+11ms  S > C PONG 1
+50s   C > S ACK seq 156 ack 900 ts 102068 46057
+11ms  S > C ACK seq 900 ack 157 ts 106079 42046
`
	passing := `
+60s   C > S ACK seq 156 ack 900 ts 162090 106079
+11ms  S > C ACK seq 900 ack 157 ts 166101 42046
+60s   C > S ACK seq 156 ack 900 ts 222112 166101
+11ms  S > C ACK seq 900 ack 157 ts 226123 42046
`
	lost := `
+1800s C > S ACK seq 156 ack 900 ts 2022134 226123 lost
+10s   C > S PING 2
+11ms  S > C PONG 2
+65s   C > S ACK seq 156 ack 900 ts 2097134 226123 lost
+10s   C > S PING 3
+11ms  S > C PONG 3
+65s   C > S ACK seq 156 ack 900 ts 2172134 226123 lost
+10s   C > S PING 4
+11ms  S > C PONG 4
`
	for _, c := range []struct{ name, mid string }{
		{"it had ended", heard},
		{"the connection passes it by", heard + regexp.MustCompile(`(?m)\d$`).ReplaceAllString(passing, "$0 @client") + lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			ends, between := parsed(t, "hops 2\n"+heard+passing+lost), parsed(t, "hops 1\n"+strings.Replace(c.mid, "delay C 10ms", "delay C 5ms", 1))
			client, server := recorded(t, ends, dialogue.Client), recorded(t, ends, dialogue.Server)
			mid := filepath.Join(t.TempDir(), "mid.pcap")
			if err := os.Rename(recorded(t, between, dialogue.Server), mid); err != nil {
				t.Fatal(err)
			}
			expect(t, "all three", "silent-drop proven idle-expiry proven", client, mid, server)
			v := ask(t, client, mid, server).Flows[0].Verdict
			if want := []string{"client.pcap", "server.pcap"}; !slices.Equal(v.Between, want) {
				t.Errorf("lost between %q, want %q", v.Between, want)
			}
		})
	}
}

// A RST of another host behind the server's address passes the capture between, too: its
// looks are compared where the server's own answers are known.
func TestAnotherBackendOfThreeCaptures(t *testing.T) {
	const probe, rst = "\n+1800s C > S ACK seq 156 ack 900 ts 1842068 46057", "\n+22ms S > C RST seq 900 win 0 id 0"
	later := `
+20s  S > C ACK seq 899 ack 157 ts 1866057 42046 lost
+75s  S > C ACK seq 899 ack 157 ts 1941057 42046 lost
`
	ends := parsed(t, "hops 2\n"+session+probe+" lost"+rst+" ttl 63 @client"+later)
	between := parsed(t, "hops 1\n"+strings.Replace(session, "delay C 10ms", "delay C 5ms", 1)+probe+rst)
	client, server := recorded(t, ends, dialogue.Client), recorded(t, ends, dialogue.Server)
	mid := filepath.Join(t.TempDir(), "mid.pcap")
	if err := os.Rename(recorded(t, between, dialogue.Server), mid); err != nil {
		t.Fatal(err)
	}
	expect(t, "both", "forged-reset proven other-backend possible", client, server)
	expect(t, "all three", "forged-reset proven other-backend possible", client, mid, server)
}
