package main

import (
	"regexp"
	"testing"

	"kaflow/internal/dialogue"
)

// midway is the end of a session that both ends probe, in captures that begin
// shortly before it.
const midway = `
D 192.0.2.1:40001
delay C 10ms
delay S 10ms
delay D 10ms
clock server +1500ms
0     S > C ACK     seq 899 ack 157 ts 44057 42046
+5ms  C > S ACK     seq 156 ack 900 ts 44052 42057
+6ms  C > S ACK     seq 157 ack 900 ts 44058 44057
+11ms S > C ACK     seq 900 ack 157 ts 44079 44052
`

// fresh is a login that works.
const fresh = `
+1s    D > S SYN     seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK     seq 5000 ack 8000 ts 9022 8000
+1ms   S > D PSH,ACK seq 8000 ack 5000 ts 8023 9022 len 41
+11ms  D > S ACK     seq 5000 ack 8041 ts 9045 8023
`

// loggedIn is the beginning of an ssh session that says no more.
const loggedIn = `
delay C 10ms
delay S 10ms
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 wscale 7
+11ms C > S ACK     seq 100 ack 900 ts 1022 5000
+1ms  C > S PSH,ACK seq 100 ack 900 ts 1023 5000 data "SSH-2.0-OpenSSH_9.7\r\n"
+11ms S > C ACK     seq 900 ack 121 ts 5023 1023
`

// doubtful are conversations in which what is missing in a capture has another
// reason than that it was lost between, or may have.
var doubtful = []conversation{
	{"what the server sends leaves by another card, past its capture", loggedIn + `
+10s C > S PING 1
+11ms S > C PONG 1
+390s C > S ACK seq 120 ack 900 ts 400000 5023
+10s C > S PING 2
+11ms S > C PONG 2 @client
+65s C > S ACK seq 120 ack 900 ts 475000 5023
+10s C > S PING 3
+11ms S > C PONG 3 @client
+65s C > S ACK seq 120 ack 900 ts 550000 5023
+75s C > S ACK seq 120 ack 900 ts 625000 5023
+10s C > S PING 4
+11ms S > C PONG 4 @client
+65s C > S RST,ACK seq 121 ack 900 ts 700000 5023
`, "undecided possible", "silent-drop possible", "undecided possible"},
	{"an outage that passed, and another connection that sits it out", loggedIn + `
D 192.0.2.1:40001
delay D 10ms
+1s    D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
+60s  C > S ACK     seq 120 ack 900 ts 61123 5023
+11ms S > C ACK     seq 900 ack 121 ts 65133 1023
+1s   D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms S > D ACK     seq 8000 ack 5011
+59s  C > S ACK     seq 120 ack 900 ts 121123 65133
+11ms S > C ACK     seq 900 ack 121 ts 125133 1023
drop both
+21s  D > S PSH,ACK seq 5011 ack 8000 len 11
+220ms D > S PSH,ACK seq 5011 ack 8000 len 11
+440ms D > S PSH,ACK seq 5011 ack 8000 len 11
+900ms D > S PSH,ACK seq 5011 ack 8000 len 11
+1800ms D > S PSH,ACK seq 5011 ack 8000 len 11
+3600ms D > S PSH,ACK seq 5011 ack 8000 len 11
+7200ms D > S PSH,ACK seq 5011 ack 8000 len 11
+14400ms D > S PSH,ACK seq 5011 ack 8000 len 11
+10500ms C > S ACK  seq 120 ack 900 ts 181143 125133
+10s  C > S ACK     seq 120 ack 900 ts 191143 125133
+8s   D > S PSH,ACK seq 5011 ack 8000 len 11
+2s   C > S ACK     seq 120 ack 900 ts 201143 125133
+10s  C > S ACK     seq 120 ack 900 ts 211143 125133
+10s  C > S RST,ACK seq 121 ack 900 ts 221143 125133
drop nothing
+38s  D > S PSH,ACK seq 5011 ack 8000 len 11
+11ms S > D ACK     seq 8000 ack 5022
+10s  D > S PSH,ACK seq 5022 ack 8000 len 11
+11ms S > D ACK     seq 8000 ack 5033
`, "capture-gap possible", "undecided possible", "idle"},
	{"pings that were answered die with it, and the server's file ends", loggedIn + `
+10s C > S PING 1
+11ms S > C PONG 1
+50s C > S PING 2
+11ms S > C PONG 2
drop both
+50s C > S PING 3
+50s C > S PING 4
+200s C > S ACK seq 120 ack 900 ts 400000 5023
+10s C > S PING 5
+50s C > S ACK seq 120 ack 900 ts 460000 5023
+10s C > S PING 6
+50s C > S ACK seq 120 ack 900 ts 520000 5023
+60s C > S ACK seq 120 ack 900 ts 580000 5023
+60s C > S RST,ACK seq 121 ack 900 ts 640000 5023
+10s C > S PING 7
`, "silent-drop possible idle-expiry possible", "undecided possible", "idle"},
	{"the server's own keepalives stay away before its RST", loggedIn + `
+60s  S > C ACK     seq 899 ack 121 ts 65033 1023
+11ms C > S ACK     seq 121 ack 900 ts 61055 65033
+60s  S > C ACK     seq 899 ack 121 ts 125044 61055
+11ms C > S ACK     seq 121 ack 900 ts 121066 125044
+60s  S > C ACK     seq 899 ack 121 ts 185055 121066
+11ms C > S ACK     seq 121 ack 900 ts 181077 185055
+600s C > S PSH,ACK seq 121 ack 900 ts 781088 185055 len 36
+11ms S > C RST     seq 900 win 0 id 0
`, "peer-lost-state possible", "peer-lost-state possible", "peer-lost-state possible"},
	{"an end that probes had no link until both gave up, and the captures begin just before", midway + `
drop both
+2s    C > S ACK     seq 156 ack 900 ts 46058 44079
+1s    C > S ACK     seq 156 ack 900 ts 47058 44079
+1s    C > S ACK     seq 156 ack 900 ts 48058 44079
+1s    C > S ACK     seq 156 ack 900 ts 49058 44079
+1s    C > S RST,ACK seq 157 ack 900 ts 50058 44079
drop nothing
` + fresh, "silent-drop possible", "undecided possible", "not silent-drop"},
	{"both ends probe in vain, and the captures begin just before", midway + `
drop both
+2s    C > S ACK     seq 156 ack 900 ts 46058 44079
+10ms  S > C ACK     seq 899 ack 157 ts 46079 44052
+1s    C > S ACK     seq 156 ack 900 ts 47058 44079
+10ms  S > C ACK     seq 899 ack 157 ts 47079 44052
+1s    C > S ACK     seq 156 ack 900 ts 48058 44079
+10ms  S > C ACK     seq 899 ack 157 ts 48079 44052
`, "silent-drop proven", "undecided possible", "undecided possible"},
	{"a firewall ceases to shift sequence numbers, and nobody takes the answers", session + `
+600s C > S ACK     seq 156 ack 900 ts 642068 46057 lost
+11ms S > C ACK     seq 1700000900 ack 300000157 ts 646079 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 642080 46057 lost
+75s  C > S ACK     seq 156 ack 900 ts 717068 46057 lost
+11ms S > C ACK     seq 1700000900 ack 300000157 ts 721079 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 717080 46057 lost
+75s  C > S ACK     seq 156 ack 900 ts 792068 46057 lost
+11ms S > C ACK     seq 1700000900 ack 300000157 ts 796079 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 792080 46057 lost
+75s  C > S RST,ACK seq 157 ack 900 ts 867068 46057 lost
`, "-", "undecided possible", "-"},
	{"octets that crossed are in neither capture, and then all is lost", session + `
drop both
+60s   C > S PSH,ACK seq 5157 ack 900 ts 102068 46057 len 60
+1s    C > S PSH,ACK seq 5157 ack 900 ts 103068 46057 len 60
+2s    C > S PSH,ACK seq 5157 ack 900 ts 105068 46057 len 60
drop nothing
` + fresh, "undecided possible", "not silent-drop", "-"},
	{"large segments alone are sent, and lost", session + `
drop both
+60s   C > S ACK     seq 157 ack 900 ts 102068 46057 len 1448
+1s    C > S ACK     seq 157 ack 900 ts 103068 46057 len 1448
+2s    C > S ACK     seq 157 ack 900 ts 105068 46057 len 1448
drop nothing
` + fresh, "silent-drop possible", "not silent-drop", "-"},
	{"the server's capture begins amid the probes, behind the silence", regexp.MustCompile(`(?m)^.* > .*$`).ReplaceAllString(session, "$0 @client") + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057 @client
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
drop nothing
` + fresh + `
drop both
+75s   C > S ACK seq 156 ack 900 ts 7392068 46057
+100ms S > C ACK seq 899 ack 157 ts 7396168 42046
+75s   C > S ACK seq 156 ack 900 ts 7467068 46057
+100ms S > C ACK seq 899 ack 157 ts 7471168 42046
drop nothing
+10s   D > S ACK seq 4999 ack 8041 ts 169045 8023
+11ms  S > D ACK seq 8041 ack 5000 ts 168023 9045
`, "silent-drop proven unknown", "-", "-"},
	{"a fresh SYN gets no answer either, and the server's capture has ended", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
+75s   D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
+2s    D > S SYN seq 4999 mss 1460 sackok ts 12000 0 wscale 7
`, "silent-drop possible", "not silent-drop", "not silent-drop"},
	{"what the server lost it had asked for in vain before, and its RST is in no capture", session + `
drop both
+10s   S > C ACK seq 899 ack 157 ts 56068 42046 @server
+2s    S > C ACK seq 899 ack 157 ts 58068 42046 @server
drop nothing
+10s   C > S ACK seq 156 ack 900 ts 64068 46057
+10ms  S > C RST seq 900 win 0 id 0
`, "peer-lost-state possible", "-", "not peer-lost-state"},
	{"the way back is only known to work long after, when the client had given up", session + `
drop both
+10s   C > S ACK     seq 156 ack 900 ts 52068 46057
+1s    C > S ACK     seq 156 ack 900 ts 53068 46057
+1s    C > S ACK     seq 156 ack 900 ts 54068 46057
drop nothing
+20s   S > C ACK     seq 899 ack 157 ts 78068 42046
+11ms  C > S RST     seq 157 win 0 id 0 @server
`, "one-way-drop possible", "not one-way-drop", "not one-way-drop"},
	{"a RST in the client's name arrives when all of it was lost", session + `
drop both
+60s   C > S ACK     seq 156 ack 900 ts 102068 46057
+1s    C > S ACK     seq 156 ack 900 ts 103068 46057
+1s    C > S ACK     seq 156 ack 900 ts 104068 46057
+20s   S > C ACK     seq 899 ack 157 ts 128068 42046 @server
+21ms  C > S RST     seq 157 win 0 id 0 @server
`, "silent-drop possible", "undecided possible", "not silent-drop"},
	{"the SYN-ACK was not recorded", `
0     C > S SYN     seq 99 mss 1460
+20ms C > S ACK     seq 100 ack 900
+9s   C > S FIN,ACK seq 100 ack 900
`, "not not-established", "not not-established", "not not-established"},
	{"the capture ends with a SYN", `
0     C > S SYN     seq 99 mss 1460
`, "not not-established", "not not-established", "not not-established"},
}

// TestAPortThatIsUsedAnewHasNoForgedReset has the server's capture begin with the
// SYN that comes back from the port of an old connection: challenge ACK and RST
// belong to that, which only the client's capture holds.
func TestAPortThatIsUsedAnewHasNoForgedReset(t *testing.T) {
	script, err := dialogue.Parse(`
delay C 10ms
delay S 10ms
0      C > S SYN     seq 99 mss 1460 @client
+20ms  S > C SYN,ACK seq 899 ack 100 @client
+1ms   C > S ACK     seq 100 ack 900 @client
+1ms   C > S PSH,ACK seq 100 ack 900 len 11 @client
+20ms  S > C ACK     seq 900 ack 111 @client
+3s    C > S SYN     seq 70099 mss 1460
+11ms  S > C ACK     seq 900 ack 111
+11ms  C > S RST     seq 111 win 0 id 0
+9ms   C > S SYN     seq 70099 mss 1460
+11ms  S > C SYN,ACK seq 80899 ack 70100
+11ms  C > S ACK     seq 70100 ack 80900
+1ms   C > S PSH,ACK seq 70100 ack 80900 len 11
+11ms  S > C ACK     seq 80900 ack 70111
+2s    C > S PSH,ACK seq 70111 ack 80900 len 11
+11ms  S > C ACK     seq 80900 ack 70122
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ask(t, recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)).Flows {
		if f.Verdict.ID == "forged-reset" {
			t.Errorf("%+v: nobody forged a RST", f.Verdict)
		}
	}
}
