package main

import (
	"fmt"
	"strings"
)

// keptAlive is a second session, whose client keeps it alive every ten seconds, so many times.
func keptAlive(times int) string {
	var b strings.Builder
	b.WriteString(`
+1s   D > S SYN     seq 4999 mss 1460 sackok ts 100000 0 wscale 7
+11ms S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 200000 100000 wscale 7
+11ms D > S ACK     seq 5000 ack 8000 ts 100022 200000
+1ms  D > S PSH,ACK seq 5000 ack 8000 ts 100023 200000 len 20
+11ms S > D ACK     seq 8000 ack 5020 ts 200034 100023
`)
	for i := range times {
		b.WriteString(keptAliveAt(110_034+10_011*i, 210_045+10_011*i))
	}
	return b.String()
}

func keptAliveAt(client, server int) string {
	return fmt.Sprintf("+10s D > S ACK seq 5019 ack 8000 ts %d 200034\n+11ms S > D ACK seq 8000 ack 5020 ts %d 100023\n", client, server)
}

// askedInVain is a probe of the server's that is answered, and four that are lost, a silence behind it.
func askedInVain(silence string) string {
	return "+1s S > C ACK seq 899 ack 157 ts 110000 42046\n+11ms C > S ACK seq 157 ack 900 ts 106000 46057\n+" +
		silence + " S > C ACK seq 899 ack 157 ts 200000 106000 lost\n" + strings.Repeat("+20s S > C ACK seq 899 ack 157 ts 220000 106000 lost\n", 3) +
		"+20s S > C RST,ACK seq 900 ack 157 ts 300000 106000 lost\n"
}

// lidClosed is a session of the server's probes, beside another one that its client keeps alive. Both
// cross until the client's host is away for two minutes; the server gives up meanwhile. The host's clock
// of timestamps lacks so much when it is back.
func lidClosed(lacks int) string {
	text := session + keptAlive(6) + askedInVain("20s")
	for i := range 3 {
		text += keptAliveAt(270_000-lacks+10_011*i, 370_000+10_011*i)
	}
	return text
}

// pinging is a session of the server's probes, beside which the client pings until its host is away; so
// many more pings come when it is back.
func pinging(again int) string {
	ping := func(n int) string { return fmt.Sprintf("+10s C > S PING %[1]d\n+11ms S > C PONG %[1]d\n", n) }
	text := session
	for n := range 6 {
		text += ping(n)
	}
	text += askedInVain("20s")
	for n := range again {
		text += ping(6 + n)
	}
	return text + "+20s S > C UDP len 20\n"
}

// besideARow is a session whose probes are lost between two keepalives of another one, which are folded into
// one row, or (amid) around one.
func besideARow(amid bool) string {
	const (
		own   = " C > S ACK seq 156 ack 900\n+10ms S > C ACK seq 900 ack 157\n"
		other = " D > S ACK seq 5019 ack 8000\n+10ms S > D ACK seq 8000 ack 5020\n"
		lost  = " C > S ACK seq 156 ack 900 lost\n"
	)
	text := session + keptAlive(0) + strings.Repeat("+20s"+other+"+40s"+own, 5) + "+20s" + other + "+40s" + lost + "+4s" + lost + "+4s" + lost
	if amid {
		return text + "+12s" + other + "+4s" + lost + strings.Repeat("+56s"+other, 3)
	}
	return text + "+4s" + lost + strings.Repeat("+8s"+other+"+52s S > C UDP len 20\n", 3)
}

// lastAnswer is how a client ends whose data is lost, time and again, until (unless arrived) it arrives:
// it answers a probe of the server's, and at the next one its host knows the connection no more.
func lastAnswer(arrived string, acked int) string {
	return session + fmt.Sprintf(`
+60s   C > S PSH,ACK seq 157 ack 900 ts 102046 46057 len 36 lost
+300ms C > S PSH,ACK seq 157 ack 900 ts 102346 46057 len 36 lost
+600ms C > S PSH,ACK seq 157 ack 900 ts 102946 46057 len 36 lost
%s
+60s  S > C ACK seq 899 ack %[2]d ts 168000 42046
+11ms C > S ACK seq 193 ack 900 ts 164000 168000
+30s  S > C ACK seq 899 ack %[2]d ts 198000 42046
+11ms C > S RST seq %[2]d win 0 id 0
`, arrived, acked)
}

// lossy is a session of which a probe is lost now and then, and the next one arrives, and then what
// follows.
func lossy(now int, then string) string {
	const heals = "+60s C > S ACK seq 156 ack 900 lost\n+10s C > S ACK seq 156 ack 900\n+10ms S > C ACK seq 900 ack 157\n"
	return session + answered("+60s", "+60s", 6) + strings.Repeat(heals, now) + answered("+60s", "+60s", 6) + then
}

// lostAtTheEnd is so many probes that are lost after ten minutes of silence.
func lostAtTheEnd(probes int) string {
	return "+600s C > S ACK seq 156 ack 900 lost\n" + strings.Repeat("+10s C > S ACK seq 156 ack 900 lost\n", probes-1) + "+9s S > C UDP len 20\n"
}

// unheardAnswers is a client that gets two answers no more, and gives up.
const unheardAnswers = `
+600s C > S ACK seq 156 ack 900
+10ms S > C ACK seq 900 ack 157 lost
+75s  C > S ACK seq 156 ack 900
+10ms S > C ACK seq 900 ack 157 lost
+75s  C > S RST,ACK seq 157 ack 900
`

// Hosts that sleep, and hosts that give up while nobody looks.
var asleep = []conversation{
	{"the client's host is away, as another connection tells by its clock", lidClosed(145_000), "peer-gone likely", "-", "not silent-drop"},
	{"the client's host is away, as another connection tells by its keepalives", lidClosed(0), "peer-gone likely", "-", "not silent-drop"},
	{"the client's host is away, as its pings tell", pinging(3), "peer-gone likely", "-", "not silent-drop"},
	{"the client pings no more", pinging(0), "undecided", "-", "not silent-drop"},
	{"no keepalive of the other connection is due while probes are lost", besideARow(false), "undecided", "-", "-"},
	{"a keepalive of the other connection crosses while probes are lost", besideARow(true), "silent-drop proven", "-", "-"},
	{"the client's host was there, whatever it owed on another connection", strings.ReplaceAll(lidClosed(0), "+20s S > C ACK", "+10s C > S UDP len 20\n+10s S > C ACK"), "undecided", "-", "not silent-drop"},
	{"the client's capture ends, and its own keepalives on another connection were due", session + keptAlive(6) + askedInVain("90s"), "silent-drop possible", "-", "not silent-drop"},
	{"the client's capture ends, and nothing of its own was due", session + askedInVain("90s"), "silent-drop likely", "-", "-"},
	{"two probes are lost, and none was before", lossy(0, lostAtTheEnd(2)), "silent-drop proven", "-", "-"},
	{"two probes are lost, and others were before", lossy(3, lostAtTheEnd(2)), "silent-drop possible", "-", "-"},
	{"eight probes are lost, and others were before", lossy(3, lostAtTheEnd(8)), "silent-drop proven", "-", "-"},
	{"two answers are lost, and nothing was before", lossy(0, unheardAnswers), "one-way-drop proven", "-", "-"},
	{"two answers are lost, and probes were before", lossy(3, unheardAnswers), "one-way-drop possible", "-", "-"},
	{"the client may have given up: its data was never acknowledged", lastAnswer("", 157), "peer-lost-state possible", "peer-lost-state possible", "-"},
	{"the client's data came at last, and its socket is gone", lastAnswer(`
+1200ms C > S PSH,ACK seq 157 ack 900 ts 104146 46057 len 36
+11ms   S > C ACK     seq 900 ack 193 ts 108157 104146`, 193), "peer-lost-state proven", "-", "-"},
}
