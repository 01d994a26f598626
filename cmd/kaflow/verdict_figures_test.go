package main

import (
	"bytes"
	"strings"
	"testing"
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

// octetsOneSecondApart is a session without timestamps of which the probes carry an
// octet, come a second apart after two hours, and are answered in vain.
const octetsOneSecondApart = `
C 192.0.2.1:40000 ttl 128
delay C 10ms
delay S 10ms
0     C > S SYN     seq 99  mss 1460 wscale 8 sackok id 1
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 wscale 7 sackok
+11ms C > S ACK     seq 100 ack 900 id 2
+1s   C > S PSH,ACK seq 100 ack 900 len 40 id 3
+11ms S > C PSH,ACK seq 900 ack 140 len 66 id 17
+40ms C > S ACK     seq 140 ack 966 id 4
drop S
+7200s C > S ACK seq 139 ack 966 data 00 id 5
+10ms  S > C ACK seq 966 ack 140 id 18
+990ms C > S ACK seq 139 ack 966 data 00 id 6
+10ms  S > C ACK seq 966 ack 140 id 19
+990ms C > S ACK seq 139 ack 966 data 00 id 7
+10ms  S > C ACK seq 966 ack 140 id 20
+990ms C > S ACK seq 139 ack 966 data 00 id 8
+10ms  S > C ACK seq 966 ack 140 id 21
+990ms C > S ACK seq 139 ack 966 data 00 id 9
+10ms  S > C ACK seq 966 ack 140 id 22
+990ms C > S ACK seq 139 ack 966 data 00 id 10
+10ms  S > C ACK seq 966 ack 140 id 23
+990ms C > S RST,ACK seq 140 ack 966 id 11
`

// askedBetween is a session of which a device asks both ends, each in the other's name.
var askedBetween = session + `
+30s  S > C PSH,ACK seq 900 ack 157 ts 76057 42046 len 40
+11ms C > S ACK     seq 157 ack 940 ts 72068 76057
+30s  S > C PSH,ACK seq 940 ack 157 ts 106057 72068 len 40
+11ms C > S ACK     seq 157 ack 980 ts 102068 106057
` + strings.Repeat(`
+250s S > C ACK seq 979 ack 157 ts 106057 102068 @client ttl 250
+1ms  C > S ACK seq 157 ack 980 ts 102068 106057 @client
+1ms  C > S ACK seq 156 ack 980 ts 102068 106057 @server ttl 250
+1ms  S > C ACK seq 980 ack 157 ts 106057 102068 @server
`, 6) + pinged

// awayForMinutes is a session whose client gives up while the server, which gets all that
// it is asked, says nothing for some minutes.
var awayForMinutes = withoutTS + answered("+60s", "+60s", 2) + strings.Replace(strings.Repeat("+1s C > S ACK seq 156 ack 900\n", 10), "+1s", "+60s", 1) + `
+1s   C > S RST,ACK seq 157 ack 900
+220s S > C ACK     seq 899 ack 157
+10ms C > S RST     seq 157 win 0 id 0
`

// bothAsk is a session of which either end asks at a pace of its own: no silence lasts as
// long as the server's.
var bothAsk = withoutTS + answered("+360s", "+360s", 1) + serverAnswered("+27s", "", 1, "") + answered("+333s", "", 1) + serverAnswered("+54s", "", 1, "") +
	answered("+306s", "", 1) + serverAnswered("+81s", "", 1, "") + answered("+279s", "", 1) + serverAnswered("+108s", "", 1, "")

// finInVain is a session that an end closes after ten minutes, and whose FIN never
// arrives.
const finInVain = session + `
drop both
+600s  C > S FIN,ACK seq 157 ack 900 ts 642057 46057
+220ms C > S FIN,ACK seq 157 ack 900 ts 642277 46057
+440ms C > S FIN,ACK seq 157 ack 900 ts 642717 46057
`

// joinedInSilence begins with three answered probes two hours apart; the fourth is
// lost.
const joinedInSilence = `
E 203.0.113.9:8080
delay C 10ms
delay S 10ms
0      C > S ACK seq 156 ack 900 ts 1000 500
+11ms  S > C ACK seq 900 ack 157 ts 7000 1000
+7200s C > S ACK seq 156 ack 900 ts 7201011 7000
+11ms  S > C ACK seq 900 ack 157 ts 7207011 7201011
+7200s C > S ACK seq 156 ack 900 ts 14401022 7207011
+11ms  S > C ACK seq 900 ack 157 ts 14407022 14401022
+1s    E > S PING 1
drop both
+7199s C > S ACK seq 156 ack 900 ts 21601033 14407022
+75s   C > S ACK seq 156 ack 900 ts 21676033 14407022
+75s   C > S ACK seq 156 ack 900 ts 21751033 14407022
+100s  E > S PING 2
`

// setInSilence is a session that dies in a silence in which the clock of the server's
// capture is set back by 300 s, as the pings beside it show.
const setInSilence = session + `
1000s C > S PING 1
+11ms S > C PONG 1
2000s C > S PING 2
+11ms S > C PONG 2
3000s C > S PING 3
+11ms S > C PONG 3
4000s C > S PING 4
+11ms S > C PONG 4
5000000ms C > S PING 5 @client
5000021ms S > C PONG 5 @client
4700010ms C > S PING 5 @server
4700011ms S > C PONG 5 @server
6000000ms C > S PING 6 @client
6000021ms S > C PONG 6 @client
5700010ms C > S PING 6 @server
5700011ms S > C PONG 6 @server
7000000ms C > S PING 7 @client
7000021ms S > C PONG 7 @client
6700010ms C > S PING 7 @server
6700011ms S > C PONG 7 @server
7241055ms C > S ACK seq 156 ack 900 ts 7242055 46057 @client
6941044ms S > C ACK seq 899 ack 157 ts 7246033 42046 @server
7280000ms C > S PING 8 @client
7280021ms S > C PONG 8 @client
6980010ms C > S PING 8 @server
6980011ms S > C PONG 8 @server
7316055ms C > S ACK seq 156 ack 900 ts 7317055 46057 @client
7016044ms S > C ACK seq 899 ack 157 ts 7321033 42046 @server
7400000ms C > S PING 9 @client
7400021ms S > C PONG 9 @client
7100010ms C > S PING 9 @server
7100011ms S > C PONG 9 @server
`

// lastAnswerOfRow is a session of which four keepalives are answered, a minute apart,
// and the answers to those after them lost.
const lastAnswerOfRow = session + `
+60s C > S ACK seq 156 ack 900 ts 102046 46057
+11ms S > C ACK seq 900 ack 157 ts 106046 102046
+59989ms C > S ACK seq 156 ack 900 ts 162046 106046
+11ms S > C ACK seq 900 ack 157 ts 166046 162046
+59989ms C > S ACK seq 156 ack 900 ts 222046 166046
+11ms S > C ACK seq 900 ack 157 ts 226046 222046
+59989ms C > S ACK seq 156 ack 900 ts 282046 226046
+11ms S > C ACK seq 900 ack 157 ts 286046 282046
drop S
+59989ms C > S ACK seq 156 ack 900 ts 342046 286046
+11ms S > C ACK seq 900 ack 157 ts 346046 342046
+9989ms C > S ACK seq 156 ack 900 ts 352046 286046
+11ms S > C ACK seq 900 ack 157 ts 356046 352046
+9989ms C > S ACK seq 156 ack 900 ts 362046 286046
+11ms S > C ACK seq 900 ack 157 ts 366046 362046
+9989ms C > S RST,ACK seq 157 ack 900 ts 372046 286046
`

// figures are conversations of which the frames show plainly what a verdict, or a
// figure in it, must not contradict.
var figures = []conversation{
	{"the last question of a train is answered, and the capture ends", trainHealed, "healthy", "healthy", "-"},
	{"the last question of a train is answered, and its sender then silent for longer than its interval", healedAndSilent, "healthy", "healthy", "-"},
	{"a control crosses, and the capture at the server ends before the probes", session + `
+3000s C > S PING 1
+10ms  S > C PONG 1
drop both
+4200s C > S ACK seq 156 ack 900 ts 7242068 46057
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+75s   C > S ACK seq 156 ack 900 ts 7392068 46057
+75s   C > S ACK seq 156 ack 900 ts 7467068 46057
`, "silent-drop possible idle-expiry possible", "-", "-"},
	{"probes one second apart are answered in vain", octetsOneSecondApart, "one-way-drop proven", "-", "-"},
	{"a silence as long was survived by the first run in the files", joinedInSilence, "undecided possible", "-", "-"},
	{"a clock is set within the silence", setInSilence, "silent-drop proven idle-expiry proven", "-", "-"},
	{"the last answer of a row is the first that is lost", lastAnswerOfRow, "one-way-drop proven state-lost", "-", "-"},
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
		{"probes one second apart, two hours after the clocks were last compared", octetsOneSecondApart,
			[]string{"6 segments of the client cross meanwhile", "!in a row are lost"}, nil, nil},
		{"the first probe comes 100 s after the hour", session + `
+1s    D > S SYN seq 4999 mss 1460 sackok ts 1000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 1000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 1022 8000
drop C
+3698978ms C > S ACK seq 156 ack 900 ts 3742057 46057
+75s C > S ACK seq 156 ack 900 ts 3817057 46057
+1s    D > S PSH,ACK seq 5000 ack 8000 len 10 ts 3778000 8000
+11ms  S > D ACK seq 8000 ack 5010 ts 3788000 3778000
`, []string{"the first probe comes after 1h01m40s", `"idle_s": 3700`}, nil, nil},
		{"one end closes with a FIN that never arrives, the other asks later", finInVain + `
+9s    S > C ACK seq 899 ack 157 ts 655246 42046
+75s   S > C ACK seq 899 ack 157 ts 730246 42046
+9s    C > S FIN,ACK seq 157 ack 900 ts 735717 46057
`, []string{"The client closes the connection with a FIN, the server still holds it, but nothing sent after 10m00s of silence crosses in either direction", "!still hold the connection"},
			[]string{"FINs got no answer", "!with data got no answer"}, nil},
		{"one end alone closes with a FIN that never arrives", finInVain,
			[]string{"The client closes the connection with a FIN, but nothing it sends"}, nil, nil},
		{"an end gives up after one probe", session + `
drop both
+60s C > S ACK     seq 156 ack 900 ts 102068 46057
+10s C > S RST,ACK seq 157 ack 900 ts 112068 46057
`, nil, []string{"The client gave up with a RST, 10 s after 1 probe", "until the client gave up", "!capture ends", `!"verdict": "healthy"`}, nil},
		{"the first run in the files survived as long a silence", joinedInSilence, []string{"a silence of 2h00m00s was survived before", "!\"killed_s\": 7200"}, nil, nil},
		{"a clock is set within the silence", setInSilence, []string{"after 2h00m00s of silence", "!1h55m"}, nil, []string{`"observed_idle_s": null`}},
		{"the last answer of a row is the first that is lost", lastAnswerOfRow, []string{"3 segments of the server are lost on the way", `"killed_s": null`}, nil, nil},
		{"a device between asks both ends", askedBetween, []string{`"healthy"`, `"confidence": "possible"`, "a device between asks, and takes the answers", `"device-probes"`, "!cross and are answered", `"policies": []`}, nil, nil},
		{"all questions arrive at a host that is away", awayForMinutes,
			[]string{"all of them are in server.pcap", "the client's last 10 probes got no answer", "look on the host itself", "!needs a capture"}, []string{"the client's last 10 probes got no answer", "needs a capture there"}, nil},
		{"the answers leave when the client has given up", strings.Replace(awayForMinutes, "+220s S > C ACK     seq 899 ack 157", "+19s S > C ACK seq 900 ack 157"+strings.Repeat("\n+0s S > C ACK seq 900 ack 157", 9), 1),
			[]string{"all of them are in server.pcap", `"client": "gave-up"`}, []string{"the client's last 10 probes got no answer", `"client": "gave-up"`}, []string{`"client": "gave-up"`}},
		{"a device's RST after a silence, and no keepalive in the one capture", "hops 2\n" + session + `
+1800s C > S PSH,ACK seq 157 ack 900 ts 1842068 46057 len 36
+2ms   S > C RST     seq 900 win 0 id 0 ttl 63 @client
`, nil, []string{`"no-keepalive"`, "no keepalive probe of either end was seen", "!neither end sent"}, nil},
		{"either end cuts the silences of the other one's pace", bothAsk, []string{`"survived_s": 359.`}, []string{`"survived_s": 359.`}, []string{`"survived_s": 360.0`}},
		{"its sender accepted the answer", healedAndSilent, []string{"!whether the client took that answer"}, []string{"!whether the client took that answer"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
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
	holdsWords(t, which, report.String(), want)
}
