package main

import (
	"regexp"
	"testing"
)

// toServer is a conversation of which the captures hold what the client sends alone,
// toClient one of which they hold what the server sends.
func toServer(text string) string { return fromServer.ReplaceAllString(text, "") }
func toClient(text string) string { return fromClient.ReplaceAllString(text, "") }

var (
	fromServer = regexp.MustCompile(`(?m)^.*S > C.*$`)
	fromClient = regexp.MustCompile(`(?m)^.*C > S.*$`)
)

// used is a session in use. Its lines have times of their own, so that some can be left out.
const used = `
delay C 10ms
delay S 10ms
0      C > S SYN     seq 99 mss 1460
11ms   S > C SYN,ACK seq 899 ack 100 mss 1460
22ms   C > S ACK     seq 100 ack 900
1s     C > S PSH,ACK seq 100 ack 900 len 11
1011ms S > C PSH,ACK seq 900 ack 111 len 11
1022ms C > S ACK     seq 111 ack 911
`

// usedThenVain is one whose server probes in vain after two hours.
const usedThenVain = used + `
7200s  S > C ACK     seq 910 ack 111 lost
7275s  S > C ACK     seq 910 ack 111 lost
7350s  S > C ACK     seq 910 ack 111 lost
7425s  S > C RST,ACK seq 911 ack 111 lost
`

// usedThenClosed is a session in use at the end of the captures, or before it is closed.
const (
	usedThenClosed = session + `
+2s   C > S PSH,ACK seq 157 ack 900 ts 44057 46057 len 36
+11ms S > C PSH,ACK seq 900 ack 193 ts 48068 44057 len 36
+11ms C > S ACK     seq 193 ack 936 ts 44079 48068
`
	closing = `
+1s   C > S FIN,ACK seq 193 ack 936 ts 45079 48068
`
)

// usedClosed and servedClosed are how an end of one closes it, goesOn what the captures hold later.
const (
	usedClosed = `
2s     C > S FIN,ACK seq 111 ack 911
2022ms C > S ACK     seq 112 ack 912
`
	servedClosed = `
2s     S > C FIN,ACK seq 911 ack 111
2011ms S > C ACK     seq 912 ack 112
`
	goesOn = `
9s C > S UDP len 20
`
)

// resent is a session whose client sends data again, at ever longer intervals, and then closes it.
const resent = `
delay C 10ms
delay S 10ms
0      C > S SYN     seq 99 mss 1460
22ms   C > S ACK     seq 100 ack 900
1s     C > S PSH,ACK seq 100 ack 900 len 11
2s     C > S PSH,ACK seq 100 ack 900 len 11
4s     C > S PSH,ACK seq 100 ack 900 len 11
8s     C > S PSH,ACK seq 100 ack 900 len 11
16s    C > S PSH,ACK seq 100 ack 900 len 11
18s    C > S FIN,ACK seq 111 ack 900
`

// atPace is a connection on which the client asks each minute, of which that alone is captured.
const atPace = `
delay C 10ms
delay S 10ms
0    C > S ACK seq 99 ack 900
60s  C > S ACK seq 99 ack 900
120s C > S ACK seq 99 ack 900
180s C > S ACK seq 99 ack 900
`

// serverUnheard is a session of which nothing that the server sends arrives after two hours.
const serverUnheard = used + `
7200s   C > S ACK     seq 110 ack 911
7275s   C > S ACK     seq 110 ack 911
7350s   C > S ACK     seq 110 ack 911
7425s   C > S RST,ACK seq 111 ack 911
`

// refusedUnseen is a SYN whose answer neither capture holds.
const refusedUnseen = `
delay C 10ms
0  C > S SYN seq 99 mss 1460
3s C > S UDP len 20
`

// ofOneDirection are conversations of which a capture holds one direction.
var ofOneDirection = []conversation{
	{"both hold what the server sends, and it gives up", toClient(usedThenVain), "capture-gap", "capture-gap", "capture-gap"},
	{"both hold what the client sends, and it is used", toServer(usedThenVain), "capture-gap", "capture-gap", "capture-gap"},
	{"both hold the keepalives of the client, and not their answers", atPace + "230s C > S UDP len 20\n", "capture-gap", "capture-gap", "capture-gap"},
	{"both hold the keepalives of the client, which end, and not their answers", atPace + "900s C > S UDP len 20\n", "idle", "idle", "idle"},
	{"a SYN, of captures that would not hold the answer", refusedUnseen, "capture-gap", "capture-gap", "capture-gap"},
	{"a SYN that is sent again, of captures that would not hold the answer", refusedUnseen + `
4s C > S SYN seq 99 mss 1460
8s C > S UDP len 20
`, "not-established proven unanswered", "not-established proven unanswered", "not-established proven unanswered"},
	{"each holds what comes in", arriving(usedThenClosed), "healthy", "capture-gap", "capture-gap"},
	{"each holds what comes in, and a FIN does", arriving(usedThenClosed + closing), "capture-gap", "capture-gap", "capture-gap"},
	{"both hold what the client sends, and it closes", toServer(used+usedClosed) + goesOn, "closed likely", "closed likely", "closed likely"},
	{"both hold what the server sends, and it closes", toClient(used + servedClosed + "9s S > C UDP len 20\n"), "closed likely", "closed likely", "closed likely"},
	{"both hold what the client sends, and they end soon after it closes", toServer(used + usedClosed), "capture-gap", "capture-gap", "capture-gap"},
	{"both hold what the client sends, and its FIN is sent again", toServer(used+usedClosed) + "2244ms C > S FIN,ACK seq 111 ack 911\n" + goesOn, "idle", "idle", "idle"},
	{"both hold what the client sends, again and again, and its FIN just before they end", resent + "22s C > S UDP len 20\n", "capture-gap", "capture-gap", "capture-gap"},
	{"both hold what the client sends, again and again, and its FIN long before they end", resent + "140s C > S UDP len 20\n", "closed likely", "closed likely", "closed likely"},
	{"a FIN alone, of a scan", "delay C 10ms\n1s C > S FIN seq 99\n" + goesOn, "idle", "idle", "idle"},
	{"the client's holds what the client sends, the server's all", clientOnly(trainHealed), "healthy", "-", "healthy"},
	{"the client's holds what the client sends, the server's all of a clean end", clientOnly(session + `
+1s   C > S FIN,ACK seq 157 ack 900 ts 43068 46057
+11ms S > C FIN,ACK seq 900 ack 158 ts 47079 43068
+11ms C > S ACK     seq 158 ack 901 ts 43090 47079
`), "closed", "-", "closed"},
}

// clientOnly has the client's capture lack what the server sends.
func clientOnly(text string) string {
	return fromServer.ReplaceAllString(text, "$0 @server")
}

// arriving has each capture hold what comes in alone, over four routers.
func arriving(text string) string {
	text = regexp.MustCompile(`(?m)^.* lost$`).ReplaceAllString(text, "")
	text = fromServer.ReplaceAllString(text, "$0 ttl 60 @client")
	return fromClient.ReplaceAllString(text, "$0 ttl 60 @server")
}

func TestVerdictsOfCapturesOfOneDirection(t *testing.T) {
	for _, c := range ofOneDirection {
		t.Run(c.name, func(t *testing.T) { c.judge(t) })
	}
}

// Nothing is said to be missing where a capture would not hold it.
func TestNothingLeavesWhereNothingWouldBeSeen(t *testing.T) {
	client, server := ends(t, fromServer.ReplaceAllString(serverUnheard, "$0 @client"))
	tells(t, "both", []string{"Whether answers leave from there is not known", "!no answer leaves from there"}, client, server)
}
