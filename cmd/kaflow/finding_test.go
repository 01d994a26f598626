package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// bypassing is a session with the server's address of which only the client's capture
// holds anything, in the midst of one that both hold.
const bypassing = `
D 192.0.2.1:40001
delay C 10ms
delay S 10ms
delay D 10ms
0     D > S SYN     seq 1999 mss 1460
+11ms S > D SYN,ACK seq 2999 ack 2000 mss 1460
+11ms D > S ACK     seq 2000 ack 3000
+1ms  D > S FIN,ACK seq 2000 ack 3000
+11ms S > D FIN,ACK seq 3000 ack 2001
+11ms D > S ACK     seq 2001 ack 3001
+1s   C > S SYN     seq 99  mss 1460 @client
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 @client
+11ms C > S ACK     seq 100 ack 900 @client
+1ms  C > S PSH,ACK seq 100 ack 900 len 21 @client
+11ms S > C PSH,ACK seq 900 ack 121 len 30 @client
+1ms  C > S ACK     seq 121 ack 930 @client
+3s   C > S PSH,ACK seq 121 ack 930 len 21 @client
+11ms S > C PSH,ACK seq 930 ack 142 len 30 @client
+1ms  C > S ACK     seq 142 ack 960 @client
`

// noticed are conversations and the findings that must be told of their first
// flow, or with "!" must not, with both captures (in either order), with the
// client's alone and with the server's alone; "-" asks for none.
var noticed = []struct {
	name, text           string
	both, client, server string
}{
	{"an outage that the probes sit out", session + `
drop both
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+10s  C > S ACK seq 156 ack 900 ts 112068 46057
+10s  C > S ACK seq 156 ack 900 ts 122068 46057
drop nothing
+10s  C > S ACK seq 156 ack 900 ts 132068 46057
+11ms S > C ACK seq 900 ack 157 ts 136079 42046
+60s  C > S ACK seq 156 ack 900 ts 192090 136079
+11ms S > C ACK seq 900 ack 157 ts 196101 42046
`, "transient-outage !state-relearned !keepalive-too-eager", "transient-outage !state-relearned", "!transient-outage"},
	{"a RST is lost", session + `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 lost
` + fresh, "rst-lost !packet-loss", "!rst-lost", "!rst-lost"},
	{"a RST that the client's capture alone misses: its keepalives stay away", session + `
+60s  C > S ACK     seq 156 ack 900 ts 102068 46057
+11ms S > C ACK     seq 900 ack 157 ts 106079 42046
+60s  C > S ACK     seq 156 ack 900 ts 162090 106079
+11ms S > C ACK     seq 900 ack 157 ts 166101 42046
+60s  C > S ACK     seq 156 ack 900 ts 222112 166101
+11ms S > C ACK     seq 900 ack 157 ts 226123 42046
+20s  S > C RST,ACK seq 900 ack 157 ts 246123 42046 win 501 lost
+240s C > S PING 1
+11ms S > C PONG 1
`, "!rst-lost !packet-loss", "!rst-lost", "!rst-lost"},
	{"a session that passes the server's capture by", bypassing + `
+1s    D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
+1ms   D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms  S > D ACK     seq 8000 ack 5011
+60s   D > S PSH,ACK seq 5011 ack 8000 len 11
+11ms  S > D ACK     seq 8000 ack 5022
`, "!packet-loss", "!packet-loss", "-"},
	{"one probe is lost", session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057 lost
+75s  C > S ACK seq 156 ack 900 ts 177068 46057
+11ms S > C ACK seq 900 ack 157 ts 181079 42046
`, "!transient-outage", "!transient-outage", "!transient-outage"},
	{"an outage in the middle of data", session + `
drop both
+1s    C > S PSH,ACK seq 157 ack 900 ts 43068 46057 len 36
+230ms C > S PSH,ACK seq 157 ack 900 ts 43298 46057 len 36
+480ms C > S PSH,ACK seq 157 ack 900 ts 43778 46057 len 36
+930ms C > S PSH,ACK seq 157 ack 900 ts 44708 46057 len 36
+1900ms C > S PSH,ACK seq 157 ack 900 ts 46608 46057 len 36
drop nothing
+3800ms C > S PSH,ACK seq 157 ack 900 ts 50408 46057 len 36
+11ms  S > C ACK seq 900 ack 193 ts 54419 50408
+1s    C > S PSH,ACK seq 193 ack 900 ts 51419 54419 len 36
+11ms  S > C ACK seq 900 ack 229 ts 55430 51419
`, "transient-outage", "transient-outage", "!transient-outage"},
	{"the client's probes are lost until the server speaks", session + `
drop C
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057
+75s   C > S ACK seq 156 ack 900 ts 1992068 46057
drop nothing
+30s   S > C PSH,ACK seq 900 ack 157 ts 2026057 42046 len 40
+11ms  C > S ACK seq 157 ack 940 ts 2022079 2026057
+75s   C > S ACK seq 156 ack 940 ts 2097079 2026057
+11ms  S > C ACK seq 940 ack 157 ts 2101090 2022079
`, "state-relearned !transient-outage", "state-relearned !transient-outage", "!state-relearned"},
	{"the client gives up seconds before the path is back", session + `
drop both
+60s C > S ACK seq 156 ack 900 ts 102068 46057
+2s  C > S ACK seq 156 ack 900 ts 104068 46057
+2s  C > S ACK seq 156 ack 900 ts 106068 46057
+2s  C > S RST,ACK seq 157 ack 900 ts 108068 46057
drop nothing
+5s   S > C PSH,ACK seq 900 ack 157 ts 117057 42046 len 50
+11ms C > S RST     seq 157 win 0 id 0
`, "keepalive-too-eager late-rst", "keepalive-too-eager late-rst", "!keepalive-too-eager"},
	{"the client gives up while the server's own probes arrive", session + `
drop C
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+1s   S > C ACK seq 899 ack 157 ts 107068 42046
+1s   C > S ACK seq 156 ack 900 ts 104068 107068
+1s   S > C ACK seq 899 ack 157 ts 109068 42046
+1s   C > S ACK seq 156 ack 900 ts 106068 109068
+2s   C > S RST,ACK seq 157 ack 900 ts 108068 109068
+5s   S > C ACK seq 899 ack 157 ts 117057 42046
`, "!keepalive-too-eager", "!keepalive-too-eager", "!keepalive-too-eager"},
	{"the client gave up ten minutes before", session + `
drop both
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+10s   C > S ACK seq 156 ack 900 ts 1852068 46057
+10s   C > S ACK seq 156 ack 900 ts 1862068 46057
+10s   C > S RST,ACK seq 157 ack 900 ts 1872068 46057
drop nothing
+600s  S > C PSH,ACK seq 900 ack 157 ts 2476057 42046 len 50
+11ms  C > S RST seq 157 win 0 id 0
`, "late-rst !keepalive-too-eager", "late-rst !keepalive-too-eager", "!late-rst"},
	{"a RST of a host that never gave up", session + `
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+10ms  S > C RST seq 900 win 0 id 0
`, "!late-rst !keepalive-too-eager", "!late-rst !keepalive-too-eager", "!late-rst"},
	{"ssh leaves during an outage that passes", beating + `
drop both
` + outlasted + `
drop nothing
+30s  C > S PSH,ACK seq 313 ack 984 ts 163004 91123 len 52
+11ms S > C PSH,ACK seq 984 ack 365 ts 167015 163004 len 28
+11ms C > S RST     seq 365 win 0 id 0
`, "transient-outage keepalive-too-eager", "transient-outage keepalive-too-eager", "!keepalive-too-eager"},
	{"the client's host sleeps for an hour", session + `
+3600s S > C PSH,ACK seq 900 ack 157 ts 3646057 42046 len 40 lost
+5s    C > S PSH,ACK seq 157 ack 900 ts 48057 46057 len 36
+11ms  S > C PSH,ACK seq 900 ack 193 ts 3651073 48057 len 40
+11ms  C > S ACK seq 193 ack 940 ts 48079 3651073
`, "host-suspended", "host-suspended", "host-suspended"},
	{"an hour of silence, and both clocks run", session + `
+3600s C > S PSH,ACK seq 157 ack 900 ts 3642057 46057 len 36
+11ms  S > C PSH,ACK seq 900 ack 193 ts 3646073 3642057 len 40
+11ms  C > S ACK seq 193 ack 940 ts 3642079 3646073
`, "!host-suspended", "!host-suspended", "!host-suspended"},
	{"the capture's own clock is set forward by an hour: both hosts seem to have slept", session + `
+3600s C > S PSH,ACK seq 157 ack 900 ts 43057 46057 len 36
+11ms  S > C PSH,ACK seq 900 ack 193 ts 47073 43057 len 40
+11ms  C > S ACK seq 193 ack 940 ts 43079 47073
`, "!host-suspended", "!host-suspended", "!host-suspended"},
	{"a firewall probes the server in the client's name", `hops 4
` + session + `
+60s  C > S ACK seq 156 ack 900 ttl 255 id 7 @server
+1ms  S > C ACK seq 900 ack 157 ts 106057 42046 lost
+60s  C > S ACK seq 156 ack 900 ttl 255 id 8 @server
+1ms  S > C ACK seq 900 ack 157 ts 166057 42046 lost
+60s  C > S ACK seq 156 ack 900 ttl 255 id 9 @server
+1ms  S > C ACK seq 900 ack 157 ts 226057 42046 lost
+20s  C > S PSH,ACK seq 157 ack 900 ts 242056 46057 len 36
+11ms S > C ACK     seq 900 ack 193 ts 246067 242056
`, "device-probes", "!device-probes", "device-probes"},
	{"the client's own probes", session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C ACK seq 900 ack 157 ts 106057 42046
+60s  C > S ACK seq 156 ack 900 ts 162068 106057
+11ms S > C ACK seq 900 ack 157 ts 166057 42046
`, "!device-probes !host-suspended !transient-outage", "!device-probes !host-suspended", "!device-probes !host-suspended"},
}

func TestFindingsOfConversations(t *testing.T) {
	for _, c := range noticed {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
			notices(t, "both", c.both, client, server)
			notices(t, "both, swapped", c.both, server, client)
			notices(t, "client alone", c.client, client)
			notices(t, "server alone", c.server, server)
		})
	}
}

// recorded writes what one vantage point of a conversation records.
func recorded(t *testing.T, script *dialogue.Script, point string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), point+".pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := script.WritePcap(f, point); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// notices compares the findings that are told with the words wanted.
func notices(t *testing.T, which, want string, captures ...string) {
	t.Helper()
	if want == "-" {
		return
	}
	f := sessionOf(t, which, captures...)
	if f == nil {
		return
	}
	var told []string
	for _, x := range f.Findings {
		told = append(told, x.Rule)
	}
	for _, w := range strings.Fields(want) {
		id, forbidden := strings.CutPrefix(w, "!")
		if slices.Contains(told, id) == forbidden {
			t.Errorf("%s: findings %v, want %s (%s)", which, told, w, f.Verdict.ID)
		}
	}
}
