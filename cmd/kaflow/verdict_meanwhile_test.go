package main

import "strings"

// probesLost is the end of a session whose probes are lost after two hours.
const probesLost = `
+70s   C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`

// meanwhile are conversations of which a session is silent, and something else
// between its hosts dies before it is asked.
var meanwhile = []conversation{
	{"pings are lost before the first probe, and go on", session + `
+10s   C > S PING 1
+11ms  S > C PONG 1
+6900s C > S PING 2
+11ms  S > C PONG 2
drop both
+100s  C > S PING 3
+100s  C > S PING 4
` + probesLost, "path-cut proven", "-", "-"},
	{"pings are lost and cross again while the probes do not", session + `
+10s   C > S PING 1
+11ms  S > C PONG 1
drop both
+6900s C > S PING 2
+10s   C > S PING 3
+70s   C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
drop nothing
+10s   C > S PING 4
+11ms  S > C PONG 4
drop both
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "silent-drop proven idle-expiry proven", "-", "-"},
	{"one ping is lost", session + `
+10s   C > S PING 1
+11ms  S > C PONG 1
drop both
+6900s C > S PING 2
` + probesLost, "silent-drop proven idle-expiry likely", "-", "-"},
	{"no ping was ever seen at the server", session + `
drop both
+6900s C > S PING 2
+10s   C > S PING 3
` + probesLost, "silent-drop proven idle-expiry likely", "-", "-"},
	{"fresh SYNs are lost before the first probe", session + `
drop both
+6900s D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
+2s    D > S SYN seq 4999 mss 1460 sackok ts 12000 0 wscale 7
` + probesLost, "path-cut proven", "-", "-"},
	{"SYNs for a port that nobody ever answered are lost", "E 198.51.100.2:8080\n" + session + `
drop both
+6900s D > E SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > E SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
` + probesLost, "silent-drop proven idle-expiry likely", "-", "-"},
	{"a SYN for a port that nobody ever answered is lost amid the probes", "E 198.51.100.2:8080\n" + session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246157 42046
+1s    D > E SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > E SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
+73s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321157 42046
+75s   C > S ACK seq 156 ack 900 ts 7392068 46057
`, "silent-drop possible", "-", "-"},
	{"a login is lost an hour after the last probe", session + `
drop both
` + probesLost + `
+3600s D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
+3s    S > D RST,ACK seq 900 ack 157
`, "silent-drop proven idle-expiry likely", "-", "-"},
	{"fresh SYNs are lost, later ones are answered, and then the probes are lost", session + `
drop both
+1500s D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
drop nothing
+3600s D > S SYN seq 14999 mss 1460 sackok ts 3609000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 15000 mss 1460 sackok ts 8000 3609000 wscale 7
+11ms  D > S ACK seq 15000 ack 8000 ts 3609022 8000
+1s    D > S FIN,ACK seq 15000 ack 8000 ts 3610022 8000
+11ms  S > D FIN,ACK seq 8000 ack 15001 ts 9022 3610022
+11ms  D > S ACK seq 15001 ack 8001 ts 3610044 9022
drop both
+1800s C > S ACK seq 156 ack 900 ts 7142068 46057
` + probesLost, "silent-drop proven idle-expiry likely", "-", "-"},
	{"another connection dies in the midst of its probes", session + `
+1s   D > S SYN     seq 6999 mss 1460 sackok ts 50000 0 wscale 7
+11ms S > D SYN,ACK seq 8999 ack 7000 mss 1460 sackok ts 60000 50000 wscale 7
+11ms D > S ACK     seq 7000 ack 9000 ts 50022 60000
+60s  D > S ACK     seq 6999 ack 9000 ts 110044 60000
+11ms S > D ACK     seq 9000 ack 7000 ts 120022 50022
+60s  D > S ACK     seq 6999 ack 9000 ts 170044 120022
+11ms S > D ACK     seq 9000 ack 7000 ts 180022 50022
drop both
+60s  D > S ACK     seq 6999 ack 9000 ts 230044 180022
+1s   D > S ACK     seq 6999 ack 9000 ts 231044 180022
+1s   D > S ACK     seq 6999 ack 9000 ts 232044 180022
+1s   D > S RST,ACK seq 7000 ack 9000 ts 233044 180022
+6900s C > S ACK seq 156 ack 900 ts 7142068 46057
` + probesLost, "undecided possible", "-", "-"},
}

// elsewhere are conversations of which one capture holds what the other does not, and
// nothing shows that it was lost.
var elsewhere = []conversation{
	{"the capture near the sender had ended, and the RST looks like the program's", session + `
+12s   S > C RST,ACK seq 900 ack 157 ts 58057 42046 win 501 @client
`, "closed", "-", "-"},
	{"the capture near the sender had ceased to hold what it sends", session + `
+60s   C > S ACK     seq 156 ack 900 ts 102068 46057
+11ms  S > C ACK     seq 900 ack 157 ts 106079 42046 @client
+60s   C > S ACK     seq 156 ack 900 ts 162090 106079
+11ms  S > C ACK     seq 900 ack 157 ts 166101 42046 @client
+60s   C > S ACK     seq 156 ack 900 ts 222112 166101
+11ms  S > C ACK     seq 900 ack 157 ts 226123 42046 @client
+20s   S > C RST,ACK seq 900 ack 157 ts 246123 42046 win 501 ttl 63 @client
+1s    D > S SYN     seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN     seq 4999 mss 1460 sackok ts 10000 0 wscale 7
`, "closed", "-", "-"},
	{"the server's own RST is lost, and both captures go on", session + `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 lost
` + fresh, "closed", "idle", "closed"},
	{"the capture near the sender misses a RST that is the server's own by its looks", session + `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 ttl 63 @client
` + fresh, "forged-reset possible", "closed", "idle"},
	{"the same RST, and the server goes on", session + `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 ttl 63 @client
+60s  S > C ACK seq 899 ack 157 ts 766057 42046
` + fresh, "forged-reset proven", "-", "-"},
	{"the same RST with an IP ID of its own", session + `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 id 54321 @client
` + fresh, "forged-reset proven", "-", "-"},
	{"a device probes the client in the server's name", session + `
+60s  S > C ACK     seq 899 ack 157 ts 106057 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 102070 106057 @client
+60s  S > C ACK     seq 899 ack 157 ts 166057 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 162071 166057 @client
+60s  S > C ACK     seq 899 ack 157 ts 226057 42046 @client
+1ms  C > S ACK     seq 157 ack 900 ts 222072 226057 @client
` + fresh, "idle", "-", "-"},
	{"a server gives up in an outage, and what the client sends much later crosses", session + `
+60s   S > C ACK     seq 899 ack 157 ts 106057 42046
+11ms  C > S ACK     seq 157 ack 900 ts 102070 106057
drop both
+60s   S > C ACK     seq 899 ack 157 ts 166068 102070
+10s   S > C ACK     seq 899 ack 157 ts 176068 102070
+10s   S > C ACK     seq 899 ack 157 ts 186068 102070
+10s   S > C ACK     seq 899 ack 157 ts 196068 102070
+10s   S > C RST,ACK seq 900 ack 157 ts 206068 102070
drop nothing
+1740s C > S PSH,ACK seq 157 ack 900 ts 1942070 106057 len 1
+11ms  S > C RST     seq 900 win 0 id 0
`, "undecided possible", "-", "-"},
	{"the server's capture misses the answers that the client's has", session + answersAtClient, "healthy", "healthy", "-"},
	{"the client's capture misses the answers that the server's has", session + strings.ReplaceAll(answersAtClient, "@client", "@server"), "undecided possible", "-", "-"},
}

// answersAtClient is a row of keepalives whose answers, but for the first one, are in the
// client's capture alone.
const answersAtClient = `
+60s  C > S ACK     seq 156 ack 900 ts 102068 46057
+11ms S > C ACK     seq 900 ack 157 ts 106079 42046
+60s  C > S ACK     seq 156 ack 900 ts 162079 106079
+11ms S > C ACK     seq 900 ack 157 ts 166090 42046 @client
+60s  C > S ACK     seq 156 ack 900 ts 222090 166090
+11ms S > C ACK     seq 900 ack 157 ts 226101 42046 @client
+60s  C > S ACK     seq 156 ack 900 ts 282101 226101
+11ms S > C ACK     seq 900 ack 157 ts 286112 42046 @client
+60s  C > S ACK     seq 156 ack 900 ts 342112 286112
+11ms S > C ACK     seq 900 ack 157 ts 346123 42046 @client
+1s   C > S PING 1
+11ms S > C PONG 1
`

// withoutTS is a session without timestamps.
const withoutTS = `
delay C 10ms
delay S 10ms
0     C > S SYN     seq 99  mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460
+11ms C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 len 57
+11ms S > C ACK     seq 900 ack 157
`

// unheard are conversations of a prober that may hear none of the answers to its probes:
// in the server's capture all are answered, and only the pace tells.
var unheard = []conversation{
	{"probes at the interval after a long silence, and the RST as long after the last", withoutTS + answered("+1800s", "+75s", 3) + `
+75s C > S RST,ACK seq 157 ack 900
`, "-", "host-drop likely", "one-way-drop possible"},
	{"the same behind keepalives that were heard", withoutTS + answered("+60s", "+60s", 6) + answered("+10s", "+10s", 4) + `
+10s C > S RST,ACK seq 157 ack 900
`, "-", "host-drop likely", "one-way-drop possible"},
	{"the RST does not keep the pace", withoutTS + answered("+1800s", "+75s", 3) + `
+30s C > S RST,ACK seq 157 ack 900
`, "closed", "closed", "closed"},
	{"keepalives that were heard, at one pace to the end", withoutTS + answered("+60s", "+60s", 6) + `
+60s C > S RST,ACK seq 157 ack 900
`, "closed", "closed", "closed"},
	{"the host slept before keepalives at the pace that it has always had, and its program closed", withoutTS + answered("+15s", "+15s", 4) + answered("+300s", "+15s", 6) + `
+15s C > S RST,ACK seq 157 ack 900
`, "closed", "closed", "closed"},
	{"one probe is missing in the captures before keepalives at one pace", withoutTS + answered("+30s", "+15s", 6) + `
+15s C > S RST,ACK seq 157 ack 900
`, "closed", "closed", "closed"},
	{"no RST yet, and all echo one timestamp", session + strings.Repeat(deafProbe, 1) + strings.ReplaceAll(strings.Repeat(deafProbe, 3), "+60s", "+10s"), "-", "host-drop likely", "one-way-drop possible"},
	{"too few to have a pace", withoutTS + answered("+1800s", "+75s", 2) + `
+75s C > S RST,ACK seq 157 ack 900
`, "closed", "closed", "closed"},
	{"timestamps that move on", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+11ms  S > C ACK seq 900 ack 157 ts 1846057 42046
+75s   C > S ACK seq 156 ack 900 ts 1917068 1846057
+11ms  S > C ACK seq 900 ack 157 ts 1921057 42046
+75s   C > S ACK seq 156 ack 900 ts 1992068 1921057
+11ms  S > C ACK seq 900 ack 157 ts 1996057 42046
+75s   C > S RST,ACK seq 157 ack 900 ts 2067068 1996057
`, "closed", "closed", "closed"},
}

// clockless are conversations of a client whose keepalives are answered as late as the
// server answers, by a device with no clock of timestamps or by the server.
var clockless = []conversation{
	{"a device copies the last timestamp", session + clocklessAnswers, "proxy-answer possible", "undecided possible", "-"},
	{"the same, and the server speaks again", session + clocklessAnswers + `
+30s  S > C PSH,ACK seq 900 ack 193 ts 376057 342046 len 20
+11ms C > S ACK     seq 193 ack 920 ts 372068 376057
`, "-", "healthy", "-"},
}

const clocklessAnswers = `
+1s   C > S PSH,ACK seq 157 ack 900 ts 43057 46057 len 36
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057
+59s  C > S ACK     seq 192 ack 900 ts 102079 47068 lost
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057 @client ttl 63
+60s  C > S ACK     seq 192 ack 900 ts 162090 47068 lost
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057 @client ttl 63
+60s  C > S ACK     seq 192 ack 900 ts 222101 47068 lost
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057 @client ttl 63
+60s  C > S ACK     seq 192 ack 900 ts 282112 47068 lost
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057 @client ttl 63
+60s  C > S ACK     seq 192 ack 900 ts 342123 47068 lost
+11ms S > C ACK     seq 900 ack 193 ts 47068 43057 @client ttl 63
` + fresh

// deafProbe is an answered probe that echoes what the client took before it.
const deafProbe = `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C ACK seq 900 ack 157 ts 106079 42046
`

// answered are n probes of the client with their answers, the first of them after one
// pause, the others after another.
func answered(first, then string, n int) string {
	const probe = " C > S ACK seq 156 ack 900\n+10ms S > C ACK seq 900 ack 157\n"
	return first + probe + strings.Repeat(then+probe, n-1)
}

// halfway are conversations of which the server's capture was taken routers away from it.
var halfway = []conversation{
	{"the probes come so far, and no answer leaves from there", behindRouters(session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057
+1s    C > S PING 1
+11ms  S > C PONG 1
+75s   C > S ACK seq 156 ack 900 ts 1992068 46057
`), "silent-drop possible idle-expiry possible", "silent-drop possible", "silent-drop possible"},
	{"a RST without a socket comes from beyond", behindRouters(session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C RST seq 900 win 0 id 0
` + fresh), "peer-lost-state possible", "-", "-"},
	{"answers that a device beyond gives bring no newer timestamp", behindRouters(session + strings.ReplaceAll(strings.ReplaceAll(clocklessAnswers, " @client ttl 63", ""), " lost", "")), "undecided possible", "undecided possible", "-"},
}

// behindRouters gives what the server sends the TTL of one that is three routers away.
func behindRouters(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		if strings.Contains(lines[i], "S > ") {
			lines[i] += " ttl 61"
		}
	}
	return strings.Join(lines, "\n")
}
