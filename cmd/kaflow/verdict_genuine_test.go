package main

import (
	"fmt"
	"strings"
	"testing"
)

// genuine are conversations that end with a RST which the capture near its sender lacks,
// where the IP IDs of that side tell nothing or little.
var genuine = []conversation{
	{"IP IDs of 0", withIDs(session, 0) + loneReset + fresh, "forged-reset possible", "closed", "-"},
	{"IP IDs in no order", withIDs(session, 23456) + strings.Replace(loneReset, "id 0", "id 777", 1) + fresh, "forged-reset possible", "closed", "-"},
	{"IP IDs of a busy host", withIDs(session+exchanges, 300) + lateReset(3400) + fresh, "forged-reset possible", "closed", "-"},
	{"IP IDs of a busy host, and the RST's is not among them", withIDs(session+exchanges, 300) + lateReset(33400) + fresh, "forged-reset proven", "-", "-"},
	{"IP IDs of 0, and the RST's is none", withIDs(session+exchanges, 0) + lateReset(777) + fresh, "forged-reset proven", "-", "-"},
	{"keepalives alone", withIDs(quietSession, 0) + loneReset + fresh, "forged-reset possible", "closed", "-"},
	{"its timestamp is a copy of the last", withIDs(session, 0) + strings.Replace(loneReset, "706057", "46057", 1) + fresh, "forged-reset proven", "-", "-"},
	{"it has no timestamp", withIDs(session, 0) + strings.Replace(loneReset, "ts 706057 42046", "", 1) + fresh, "forged-reset proven", "-", "-"},
	{"it has no window", withIDs(session, 0) + strings.Replace(loneReset, "win 501", "win 0", 1) + fresh, "forged-reset proven", "-", "-"},
	{"it comes from nearer", withIDs(session, 0) + strings.Replace(loneReset, "ttl 63", "ttl 64", 1) + fresh, "forged-reset proven", "-", "-"},
	{"its sender probes, and gives up with its own RST", resetTwice, "forged-reset proven", "undecided possible", "-"},
	{"its sender's own RST, which may be that one, comes after probes", likeItsOwn, "undecided possible", "-", "-"},
	{"its sender goes on", withIDs(session, 0) + loneReset + "+60s S > C ACK seq 899 ack 157 ts 766057 42046 id 0\n" + fresh, "forged-reset proven", "-", "-"},
	{"it answers what was lost", withIDs(session, 0) + `
+660s C > S PSH,ACK seq 157 ack 900 ts 702046 46057 len 10 lost
` + strings.Replace(loneReset, "+660s", "+21ms", 1) + fresh, "forged-reset proven", "-", "-"},
	{"no timestamps, and it answers nothing", second + withIDs(withoutTS+answered("+60s", "+60s", 2), 0) + strings.Replace(loneReset, "ts 706057 42046", "", 1) + fresh, "forged-reset possible", "-", "-"},
	{"no timestamps, and it answers what was lost", second + withIDs(withoutTS+answered("+60s", "+60s", 2), 0) + `
+660s C > S PSH,ACK seq 157 ack 900 len 10 lost
` + strings.Replace(strings.Replace(loneReset, "ts 706057 42046", "", 1), "+660s", "+21ms", 1) + fresh, "forged-reset proven", "-", "-"},
}

// resetTwice is a session that a device ends at the server alone, before the client
// probes in vain and gives up with a RST of its own.
const resetTwice = session + `
+350s C > S RST     seq 157 win 0 ttl 61 id 0 @server
drop both
+50s  C > S ACK     seq 156 ack 900 ts 442057 46057
+75s  C > S ACK     seq 156 ack 900 ts 517057 46057
+75s  C > S ACK     seq 156 ack 900 ts 592057 46057
+75s  C > S ACK     seq 156 ack 900 ts 667057 46057
+75s  C > S RST,ACK seq 157 ack 900 ts 742057 46057
drop nothing
` + fresh

// likeItsOwn is the same with a RST that says what the client's own says later.
var likeItsOwn = strings.Replace(resetTwice, "RST     seq 157 win 0", "RST,ACK seq 157 ack 900 ts 742057 46057", 1)

// second is where another session comes from.
const second = "D 192.0.2.1:40001\ndelay D 10ms\n"

// loneReset is the server's own RST, which its capture misses.
const loneReset = `
+660s S > C RST,ACK seq 900 ack 157 ts 706057 42046 win 501 ttl 63 id 0 @client
`

// lateReset is the same after exchanges.
func lateReset(id int) string {
	return fmt.Sprintf("+660s S > C RST,ACK seq 900 ack 301 ts 786101 122090 win 501 ttl 63 id %d @client\n", id)
}

// exchanges are what a session says now and then.
const exchanges = `
+20s  C > S PSH,ACK seq 157 ack 900 ts 62057 46057 len 36
+11ms S > C ACK     seq 900 ack 193 ts 66068 62057
+20s  C > S PSH,ACK seq 193 ack 900 ts 82068 66068 len 36
+11ms S > C ACK     seq 900 ack 229 ts 86079 82068
+20s  C > S PSH,ACK seq 229 ack 900 ts 102079 86079 len 36
+11ms S > C ACK     seq 900 ack 265 ts 106090 102079
+20s  C > S PSH,ACK seq 265 ack 900 ts 122090 106090 len 36
+11ms S > C ACK     seq 900 ack 301 ts 126101 122090
`

// quietSession is a session of which nothing but keepalives crosses.
const quietSession = `
D 192.0.2.1:40001
delay D 10ms
delay C 10ms
delay S 10ms
0     C > S SYN     seq 156 mss 1460 sackok ts 1000 0 wscale 7
+11ms S > C SYN,ACK seq 899 ack 157 mss 1460 sackok ts 5000 1000 wscale 7
+11ms C > S ACK     seq 157 ack 900 ts 1022 5000
+10s  C > S ACK     seq 156 ack 900 ts 11022 5000
+11ms S > C ACK     seq 900 ack 157 ts 15033 1022
+10s  C > S ACK     seq 156 ack 900 ts 21033 15033
+11ms S > C ACK     seq 900 ack 157 ts 25044 1022
+10s  C > S ACK     seq 156 ack 900 ts 31044 25044
+11ms S > C ACK     seq 900 ack 157 ts 35055 1022
+11s  C > S ACK     seq 156 ack 900 ts 42055 35055
+11ms S > C ACK     seq 900 ack 157 ts 46066 1022
`

// withIDs gives what the server sends IP IDs that go up by a step each.
func withIDs(text string, step int) string {
	lines, n := strings.Split(text, "\n"), 0
	for i := range lines {
		if strings.Contains(lines[i], "S > ") {
			n++
			lines[i] += fmt.Sprintf(" id %d", n*step&0xffff)
		}
	}
	return strings.Join(lines, "\n")
}

// healed are conversations in which something was lost and what came later says that no
// harm was done, or that it was.
var healed = []conversation{
	{"one probe is lost, the next are answered, and the program ends it", second + withoutTS + answered("+60s", "+60s", 2) + `
+60s C > S ACK seq 156 ack 900 lost
` + answered("+60s", "+60s", 4) + `
+25s C > S RST,ACK seq 157 ack 900
` + fresh, "closed", "closed", "closed"},
	{"one probe is lost, one answered, and the program ends it", second + withoutTS + answered("+60s", "+60s", 2) + `
+60s C > S ACK seq 156 ack 900 lost
` + answered("+60s", "+60s", 1) + `
+25s C > S RST,ACK seq 157 ack 900
` + fresh, "closed", "closed", "closed"},
	{"an end repeats in vain what it sent, and falls silent", session + `
drop C
+1s    C > S PSH,ACK seq 157  ack 900 ts 43057 46057 len 1000
+300ms C > S PSH,ACK seq 157  ack 900 ts 43357 46057 len 1000
+600ms C > S PSH,ACK seq 157  ack 900 ts 43957 46057 len 1000
+1s    S > C PSH,ACK seq 900  ack 157 ts 48957 42046 len 4
+11ms  C > S ACK     seq 1157 ack 904 ts 44968 48957
+18s   C > S PSH,ACK seq 157  ack 904 ts 62968 48957 len 1000
+1s    S > C PSH,ACK seq 900  ack 157 ts 67968 42046 len 4
+11ms  C > S ACK     seq 1157 ack 904 ts 63979 67968
+1s    C > S PSH,ACK seq 157  ack 904 ts 64979 67968 len 1000
` + passingTime, "-", "undecided possible", "-"},
	{"a hole is filled, and one capture misses what acknowledges that", session + hole + `
+200ms S > C PSH,ACK seq 900  ack 193 ts 47302 43057 len 1000
+11ms  C > S ACK     seq 193  ack 2900 ts 43313 47302 @server
` + passingTime, "idle", "idle", "idle"},
	{"a hole is not filled though its octets are seen again and again", session + strings.NewReplacer("1000", "600", "1900", "1500", "2900", "2100").Replace(hole) + `
+200ms S > C PSH,ACK seq 900  ack 193 ts 47302 43057 len 600
+400ms S > C PSH,ACK seq 900  ack 193 ts 47702 43057 len 600
` + passingTime, "undecided possible", "undecided possible", "-"},
}

// hole is an answer of which the first segment is lost.
const hole = `
+1s    C > S PSH,ACK seq 157  ack 900 ts 43057 46057 len 36
+11ms  S > C PSH,ACK seq 900  ack 193 ts 47068 43057 len 1000 lost
+1ms   S > C PSH,ACK seq 1900 ack 193 ts 47069 43057 len 1000
+11ms  C > S ACK     seq 193  ack 900 ts 43080 46057 sack 1900-2900
`

// passingTime are pings that go on for a while.
const passingTime = `
+10s  C > S PING 1
+11ms S > C PONG 1
+60s  C > S PING 2
+11ms S > C PONG 2
+60s  C > S PING 3
+11ms S > C PONG 3
`

// TestPolicyOfAHealedProbe holds that a probe that was lost, and repeated, tells nothing of
// after how many its side gives up.
func TestPolicyOfAHealedProbe(t *testing.T) {
	client, _ := ends(t, healed[0].text)
	for _, f := range ask(t, client).Flows {
		for _, p := range f.Policies {
			if p.GaveUpAfter != nil {
				t.Errorf("%s gave up after %d, and its last probes were answered", p.End, *p.GaveUpAfter)
			}
		}
	}
}

// TestGaveUpAfterProbes reads what is said of an end that gave up, by captures of both ends.
func TestGaveUpAfterProbes(t *testing.T) {
	client, server := ends(t, likeItsOwn)
	tells(t, "both", []string{"after 4 probes that got no answer. What was asked, or answered, was lost", "a ping, or a fresh login, beside", "!So little", "!needs a capture", "!a single lost segment", "!capture at the server as well"}, client, server)
}
