package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
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

// newOwner is another host that comes under the client's name, and the server still holds
// the old connection.
const newOwner = `
+600s C > S SYN     seq 70099 mss 1460 sackok wscale 8 win 64240 ttl 126 @server
+1ms  S > C ACK     seq 900 ack 157 ts 646068 42046 @server
+20ms C > S RST,ACK seq 157 ack 900 win 0 ttl 126 @server
`

// renamedData is data of the client that comes under another port, where nobody knows it.
const renamedData = `
+700s C > S PSH,ACK seq 157 ack 900 len 30 @client
+0s   D > S PSH,ACK seq 157 ack 900 len 30 @server
+1ms  S > D RST seq 900 win 0 id 0 @server
+10ms S > C RST seq 900 win 0 id 0 ttl 63 @client
`

// sentInVain is data of the server that the translator drops, for it has forgotten the
// session, and then data of the client under another port.
const sentInVain = `
+690s  S > C PSH,ACK seq 900 ack 157 ts 736057 42046 len 30 lost
+230ms S > C PSH,ACK seq 900 ack 157 ts 736287 42046 len 30 lost
+460ms S > C PSH,ACK seq 900 ack 157 ts 736747 42046 len 30 lost
+9s    C > S PSH,ACK seq 157 ack 900 ts 741800 46057 len 30 @client
+0s    D > S PSH,ACK seq 157 ack 900 ts 741800 46057 len 30 @server
+1ms   S > D RST     seq 900 win 0 id 0 @server
+10ms  S > C RST     seq 900 win 0 id 0 ttl 63 @client
+5s    S > C PSH,ACK seq 900 ack 157 ts 752747 42046 len 30 lost
+5s    S > C PSH,ACK seq 900 ack 157 ts 757747 42046 len 30 lost
`

// lostTable are keepalives of the server that are lost from one minute to the next, its
// giving up, and data of the client under another port much later.
const lostTable = session + `
+60s   S > C ACK     seq 899 ack 157 ts 106057 42046
+11ms  C > S ACK     seq 157 ack 900 ts 102070 106057
+60s   S > C ACK     seq 899 ack 157 ts 166057 102070
+11ms  C > S ACK     seq 157 ack 900 ts 162070 166057
+60s   S > C ACK     seq 899 ack 157 ts 226068 162070 lost
+10s   S > C ACK     seq 899 ack 157 ts 236068 162070 lost
+10s   S > C ACK     seq 899 ack 157 ts 246068 162070 lost
+10s   S > C RST,ACK seq 900 ack 157 ts 256068 162070 lost
+900s  C > S PSH,ACK seq 157 ack 900 ts 1152070 166057 len 1 @client
+0s    D > S PSH,ACK seq 157 ack 900 ts 1152070 166057 len 1 @server
+1ms   S > D RST     seq 900 win 0 id 0 @server
+10ms  S > C RST     seq 900 win 0 id 0 ttl 63 @client
`

// translated is a session whose client is N to the server, as both captures have it,
// and M from the silence on.
const translated = `
C 10.1.1.1:40001
N 192.0.2.1:40000
M 192.0.2.1:40001
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 @client
+10ms N > S SYN     seq 99  mss 1460 sackok ts 1000 0 ttl 60 @server
+1ms  S > N SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 @server
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 ttl 60 @client
+1ms  C > S ACK     seq 100 ack 900 ts 1022 5000 @client
+10ms N > S ACK     seq 100 ack 900 ts 1022 5000 ttl 60 @server
+2s   C > S PSH,ACK seq 100 ack 900 ts 3032 5000 len 21 @client
+10ms N > S PSH,ACK seq 100 ack 900 ts 3032 5000 len 21 ttl 60 @server
+1ms  S > N ACK     seq 900 ack 121 ts 7022 3032 @server
+10ms S > C ACK     seq 900 ack 121 ts 7022 3032 ttl 60 @client
+690s C > S PSH,ACK seq 121 ack 900 ts 693053 7022 len 30 @client
+10ms M > S PSH,ACK seq 121 ack 900 ts 693053 7022 len 30 ttl 60 @server
+1ms  S > M RST     seq 900 win 0 id 0 @server
+10ms S > C RST     seq 900 win 0 id 0 ttl 60 @client
`

// largePassed is a session in which the client sends large segments that arrive.
const largePassed = session + `
+1s    C > S PSH,ACK seq 157  ack 900 ts 43068 46057 len 1448
+0s    C > S PSH,ACK seq 1605 ack 900 ts 43068 46057 len 1448
+11ms  S > C ACK     seq 900 ack 3053 ts 47079 43068
`

// shrunk is what follows when the path takes no large ones any more: four are lost, the
// small one behind them arrives.
const shrunk = `
+300s  C > S PSH,ACK seq 3053 ack 900 ts 343068 47079 len 1448 lost
+0s    C > S PSH,ACK seq 4501 ack 900 ts 343068 47079 len 1448 lost
+0s    C > S PSH,ACK seq 5949 ack 900 ts 343068 47079 len 1448 lost
+0s    C > S PSH,ACK seq 7397 ack 900 ts 343068 47079 len 300
+11ms  S > C ACK     seq 900 ack 3053 ts 347079 43068 sack 7397-7697
+220ms C > S PSH,ACK seq 3053 ack 900 ts 343299 347079 len 1448 lost
+440ms C > S PSH,ACK seq 3053 ack 900 ts 343739 347079 len 1448 lost
+880ms C > S PSH,ACK seq 3053 ack 900 ts 344619 347079 len 1448 lost
`

// smallAfter is a small segment that arrives beyond the hole, a minute later.
const smallAfter = `
+60s   C > S PSH,ACK seq 7697 ack 900 ts 404630 347079 len 20
+11ms  S > C ACK     seq 900 ack 3053 ts 408641 43068 sack 7397-7717
`

// windowShut is a server that does not read: its client asks for the window every two
// minutes, and is answered.
const windowShut = session + `
+1s    C > S PSH,ACK seq 157 ack 900 ts 43046 46057 len 1000
+11ms  S > C ACK seq 900 ack 1157 ts 47057 43046 win 0
+220ms C > S ACK seq 1156 ack 900 ts 43277 47057
+11ms  S > C ACK seq 900 ack 1157 ts 47288 43046 win 0
+440ms C > S ACK seq 1156 ack 900 ts 43728 47288
+11ms  S > C ACK seq 900 ack 1157 ts 47739 43046 win 0
+60s   C > S ACK seq 1156 ack 900 ts 103739 47739
+11ms  S > C ACK seq 900 ack 1157 ts 107750 43046 win 0
+120s  C > S ACK seq 1156 ack 900 ts 223750 107750
+11ms  S > C ACK seq 900 ack 1157 ts 227761 43046 win 0
+120s  C > S ACK seq 1156 ack 900 ts 343761 227761
+11ms  S > C ACK seq 900 ack 1157 ts 347772 43046 win 0
+30s   C > S PING 1
+11ms  S > C PONG 1
drop both
+90s   C > S ACK seq 1156 ack 900 ts 463772 347772
drop nothing
+30s   C > S PING 2
+11ms  S > C PONG 2
drop both
+90s   C > S ACK seq 1156 ack 900 ts 583772 347772
drop nothing
+30s   C > S PING 3
+11ms  S > C PONG 3
drop both
+90s   C > S ACK seq 1156 ack 900 ts 703772 347772
drop nothing
+30s   C > S PING 4
+11ms  S > C PONG 4
`

// typedUntilLost are rounds of data, one every 14 s, of which the last ones are lost, the
// first of these again and again, beside a login that is answered.
func typedUntilLost(answered, lost int) string {
	var b strings.Builder
	b.WriteString(strings.Replace(session, "+41s", "+1s", 1))
	seq, ack := 157, 900
	for range answered {
		fmt.Fprintf(&b, "+14s  C > S PSH,ACK seq %d ack %d ts 50000 50000 len 40\n", seq, ack)
		fmt.Fprintf(&b, "+11ms S > C PSH,ACK seq %d ack %d ts 50000 50000 len 60\n", ack, seq+40)
		fmt.Fprintf(&b, "+50ms C > S ACK seq %d ack %d ts 50000 50000\n", seq+40, ack+60)
		seq, ack = seq+40, ack+60
	}
	b.WriteString("drop both\n")
	first, pause := seq, "+14s"
	for i := range lost {
		fmt.Fprintf(&b, "%s C > S PSH,ACK seq %d ack %d ts 50000 50000 len 40\n", pause, seq, ack)
		pause = "+15s"
		if seq += 40; i < 8 {
			fmt.Fprintf(&b, "+300ms C > S PSH,ACK seq %d ack %d ts 50000 50000 len 40\n", first, ack)
		}
		if i == lost/2 {
			b.WriteString("drop nothing\n" + fresh + "drop both\n")
		}
	}
	return b.String()
}

// probing are sessions that begin at some seconds, send data once, and ask every 30 s; from
// the moment on at which lost holds, of seconds since the start and since its data, nothing
// of a session crosses. Pings cross to the end.
func probing(starts []int, pings bool, lost func(at, age int) bool) string {
	type line struct {
		ms   int
		text string
	}
	var all []line
	add := func(ms int, format string, args ...any) { all = append(all, line{ms, fmt.Sprintf(format, args...)}) }
	for i, start := range starts {
		who, ms := string("CDEF"[i]), start*1000
		add(ms, "%s > S SYN seq 99 mss 1460", who)
		add(ms+21, "S > %s SYN,ACK seq 899 ack 100 mss 1460", who)
		add(ms+42, "%s > S ACK seq 100 ack 900", who)
		add(ms+1000, "%s > S PSH,ACK seq 100 ack 900 len 21", who)
		add(ms+1021, "S > %s ACK seq 900 ack 121", who)
		for dead, at := 0, ms+31_000; dead < 4 && at < 1_000_000; at += 30_000 {
			if lost(at/1000, (at-ms)/1000-1) {
				add(at, "%s > S ACK seq 120 ack 900 lost", who)
				dead++
				continue
			}
			add(at, "%s > S ACK seq 120 ack 900", who)
			add(at+21, "S > %s ACK seq 900 ack 121", who)
		}
	}
	for i := range 100 {
		if pings {
			add(i*10_000+5000, "C > S PING %d", i+1)
			add(i*10_000+5021, "S > C PONG %d", i+1)
		}
	}
	slices.SortStableFunc(all, func(a, b line) int { return a.ms - b.ms })
	var b strings.Builder
	b.WriteString("D 192.0.2.1:40001\nE 192.0.2.1:40002\nF 192.0.2.1:40003\n" + "delay C 10ms\ndelay S 10ms\ndelay D 10ms\ndelay E 10ms\ndelay F 10ms\n")
	for _, l := range all {
		fmt.Fprintf(&b, "%dms %s\n", l.ms, l.text)
	}
	return b.String()
}

// What makes sessions die: a timer of 350 s that counts payload alone, or a table that is
// lost after 500 s.
func byPayload(_, age int) bool { return age > 350 }
func byFlush(at, _ int) bool    { return at > 500 }

// renamed are conversations whose translation changes in their midst, and others that
// a device forgets without telling.
var renamed = []conversation{
	{"what the client sends comes by another provider, with another address", "E 203.0.113.77:61014\n" + session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057 @client
+10ms E > S ACK seq 156 ack 900 ts 102068 46057 @server ttl 61
+1ms  S > E RST seq 900 win 0 id 0 @server
+10ms S > C RST seq 900 win 0 id 0 @client ttl 63
`, "nat-rebind proven", "peer-lost-state possible", "-"},
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
	{"the server's data is lost before the client's comes under another port", session + sentInVain,
		"nat-rebind proven idle-expiry possible", "peer-lost-state possible", "nat-rebind proven idle-expiry possible"},
	{"keepalives that leave out the timestamps come under another port", session + steadyProbes(20) + strings.ReplaceAll(renamedProbe, "ts 1842068 46057 ", ""),
		"nat-rebind proven state-lost likely", "peer-lost-state possible", "-"},
	{"timestamps that only the client's SYN offers, and data under another port", strings.Replace(second+withoutTS, "mss 1460", "mss 1460 sackok ts 1000 0", 1) + renamedData,
		"nat-rebind proven idle-expiry possible", "peer-lost-state possible", "nat-rebind proven idle-expiry possible"},
	{"a NAT gives the session's name to another host, and the client goes on", session + newOwner + `
+600s C > S ACK seq 156 ack 900 ts 1242068 46057 @client
+10ms S > C RST seq 900 win 0 id 0 ttl 63 @client
`, "nat-rebind likely", "peer-lost-state possible", "half-open possible"},
	{"a NAT gives the session's name to another host, and the client's capture has ended", session + newOwner,
		"half-open possible", "-", "half-open possible"},
	{"what comes under another port first is not recorded there", second + withoutTS + strings.NewReplacer("len 30 @client", "len 30 @client\n+0s C > S PSH,ACK seq 187 ack 900 len 30 @client", "D > S PSH,ACK seq 157", "D > S PSH,ACK seq 187").Replace(renamedData) + fresh,
		"nat-rebind likely", "-", "-"},
	{"data from another port that acknowledges what was never sent", session + strings.ReplaceAll(sentInVain, "D > S PSH,ACK seq 157 ack 900", "D > S PSH,ACK seq 157 ack 889"),
		"-", "-", "undecided possible"},
	{"the server's keepalives are lost after a minute, and the client's data comes much later under another port", lostTable,
		"nat-rebind proven state-lost possible", "peer-lost-state possible", "nat-rebind proven state-lost possible"},
	{"large segments pass, then none, and small ones still do", largePassed + shrunk + smallAfter + fresh,
		"mtu-black-hole proven", "mtu-black-hole likely", "undecided possible"},
	{"large segments pass, then none, and nothing small is sent later", largePassed + shrunk + strings.ReplaceAll(fresh, "+1s ", "+9s "),
		"mtu-black-hole likely", "undecided possible", "undecided possible"},
	{"large segments pass, then several are lost, and others pass again", largePassed + shrunk + `
+60s   C > S PSH,ACK seq 7697 ack 900 ts 404630 347079 len 1448
+11ms  S > C ACK     seq 900 ack 3053 ts 408641 43068 sack 7397-9145
` + smallAfter + fresh, "not mtu-black-hole", "not mtu-black-hole", "undecided possible"},
	{"a hole that a repetition fills", largePassed + shrunk + `
+1760ms C > S PSH,ACK seq 3053 ack 900 ts 346379 347079 len 1448
+11ms   S > C ACK     seq 900 ack 4501 ts 350390 346379 sack 7397-7697
+0s     C > S PSH,ACK seq 4501 ack 900 ts 346379 350390 len 2896
+11ms   S > C ACK     seq 900 ack 7697 ts 350401 346390
` + fresh, "healthy", "healthy", "healthy"},
	{"window probes are answered every two minutes, and then not", windowShut,
		"silent-drop proven state-lost likely", "silent-drop possible state-lost possible", "-"},
	{"regular data is lost from one round to the next", typedUntilLost(60, 60),
		"silent-drop likely state-lost likely", "silent-drop possible state-lost possible", "-"},
	{"keepalives cross every 30 s, and the connection dies 350 s after its last data", probing([]int{0}, true, byPayload),
		"silent-drop proven state-lost likely", "silent-drop possible state-lost possible", "-"},
	{"two die 350 s after their last data", probing([]int{0, 50}, true, byPayload),
		"silent-drop proven idle-expiry possible", "silent-drop possible idle-expiry possible", "-"},
	{"three die 350 s after their last data", probing([]int{0, 50, 110}, true, byPayload),
		"silent-drop proven idle-expiry likely", "silent-drop possible idle-expiry possible", "-"},
	{"three die at one moment", probing([]int{0, 50, 110}, true, byFlush),
		"silent-drop proven state-lost likely", "silent-drop possible state-lost possible", "-"},
	{"one dies 350 s after its last data, and another lives on", probing([]int{0, 50}, true, func(at, age int) bool { return byPayload(at, age) && at-age < 10 }),
		"silent-drop proven state-lost likely", "silent-drop possible state-lost possible", "-"},
	{"a capture that ends with a hole just opened", largePassed + shrunk, "not healthy", "-", "healthy"},
}

// answeredRow are keepalives of the server, a minute apart, of which the client's answers
// are lost from the fifth on.
var answeredRow = strings.Repeat(`
+60s  S > C ACK seq 899 ack 157 ts 50000 42046
+10ms C > S ACK seq 157 ack 900 ts 60000 50000
`, 4) + `
drop C
+60s  S > C ACK seq 899 ack 157 ts 50000 42046
+10ms C > S ACK seq 157 ack 900 ts 60000 50000
` + strings.Repeat(`
+10s  S > C ACK seq 899 ack 157 ts 50000 42046
+10ms C > S ACK seq 157 ack 900 ts 60000 50000
`, 4) + `
+10s  S > C RST,ACK seq 900 ack 157 ts 50000 42046
`

// lostFINs are FINs of the server of which the client learns nothing, and what it says
// long after.
const lostFINs = `
drop S
+1s    S > C FIN,ACK seq 900 ack 157 ts 47057 42046
+200ms S > C FIN,ACK seq 900 ack 157 ts 47257 42046
+400ms S > C FIN,ACK seq 900 ack 157 ts 47657 42046
+800ms S > C FIN,ACK seq 900 ack 157 ts 48457 42046
drop nothing
+3600s C > S PSH,ACK seq 157 ack 900 ts 3644000 46057 len 10
+11ms  S > C RST     seq 900 win 0 id 0
`

// printed are conversations and what the report of their captures, of both or of the
// server's alone, must say, and with "!" must not.
var printed = []struct {
	name, text   string
	both, server []string
}{
	{"a NAT loses its table amid answered keepalives", session + steadyProbes(20) + renamedProbe,
		[]string{"192.0.2.1:40001 after 1m00s of silence", "!20m"}, []string{"192.0.2.1:40001 after 1m00s of silence", "!20m"}},
	{"the server's data is lost before the client's comes under another port", session + sentInVain,
		[]string{"after 11m40s in which the client sent nothing", "!ONE WAY DROP", "!CLOSED"}, []string{"after 11m40s in which the client sent nothing", "!CLOSED"}},
	{"keepalives cross every 30 s, and nothing tells of the path when they are lost", probing([]int{0}, false, byPayload),
		[]string{"A silence of 30 s was survived before, so no idle timer that keepalives refresh ran out: one that counts payload alone did", "no payload had crossed for 6m00s"}, nil},
	{"three die 350 s after their last data, and keepalives cross every 30 s", probing([]int{0, 50, 110}, true, byPayload),
		[]string{"killed at 360 s", "only payload refreshes it", "ServerAliveInterval=180", "!tcp_keepalive_time"}, nil},
	{"the last answer of a row is the first that is lost", session + answeredRow,
		[]string{"ONE WAY DROP", "keepalive-ack, 00:05:41.095, after 1m00s of silence", "!no silence lies before it", "alive until 00:04:41"}, nil},
	{"the server's FINs are lost, and its host answers what comes later", session + lostFINs,
		[]string{"CLOSED", "The server had closed the connection with a FIN", "!application"}, []string{"The server had closed the connection with a FIN", "!application"}},
	{"a RST and nothing before it", "+1s C > S RST,ACK seq 157 ack 900 win 501\n",
		[]string{"CLOSED possible", "A RST in the client's name", "!application"}, []string{"CLOSED possible", "!application"}},
	{"the host without the socket answers what had been under way", session + `
+500ms S > C PSH,ACK seq 900 ack 157 ts 46557 42046 len 10
+11ms  C > S RST     seq 157 win 0 id 0
`, []string{"CLOSED", "as a host sends that has no socket", "!application"}, []string{"!client's application"}},
	{"a session behind a NAT comes back under another port", translated,
		[]string{"192.0.2.1:40000 became 192.0.2.1:40001 after 11m30s of silence", "flow 2 of 2", "survived 2", "!CLOSED", "!survived 69"}, nil},
}

func TestReportsOfConversations(t *testing.T) {
	for _, c := range printed {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
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
	holdsWords(t, which, strings.Join(strings.Fields(stdout.String()), " "), want)
}
