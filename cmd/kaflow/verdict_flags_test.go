package main

import "testing"

// filteredByFlags are conversations of which the captures hold no segment that does not
// begin or end a connection, as where tcpdump was given tcp[tcpflags] & (syn|fin|rst) != 0.
var filteredByFlags = []conversation{
	{"the RST of an end that gave up hours later", opened + `
+7920s S > C RST,ACK seq 4518 ack 3798
`, "capture-gap", "capture-gap", "capture-gap"},
	{"the RST of a client that had sent something", opened + `
+9s   C > S RST seq 111
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a RST that acknowledges more than the SYN, without a SYN-ACK", `
0     C > S SYN     seq 99 mss 1460
+15s  S > C RST,ACK seq 900 ack 122
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a RST that comes too late to answer the SYN", `
0     C > S SYN     seq 99 mss 1460
+15s  S > C RST,ACK seq 900 ack 100
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a SYN-ACK that is not sent again", opened + `
+9s   C > S PING 1
+11ms S > C PONG 1
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a SYN-ACK at the end of the captures", opened, "capture-gap", "capture-gap", "capture-gap"},
	{"a SYN-ACK, and a little more of the captures", opened + `
+2s   C > S PING 1
+11ms S > C PONG 1
`, "capture-gap", "capture-gap", "capture-gap"},
	{"one FIN", opened + `
+17s  C > S FIN,ACK seq 4161 ack 4658
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a FIN of both", opened + `
+17s  C > S FIN,ACK seq 4161 ack 4658
+11ms S > C FIN,ACK seq 4658 ack 4162
`, "closed", "closed", "closed"},
	{"refused", refused, "not-established proven refused proven", "not-established proven refused proven", "not-established proven refused proven"},
	{"refused, and answered later, without an end of it", refused + `
+2s   C > S SYN     seq 99 mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460
+1s   S > C SYN,ACK seq 899 ack 100 mss 1460
+2s   S > C SYN,ACK seq 899 ack 100 mss 1460
+60s  C > S PING 1
+11ms S > C PONG 1
`, "not-established likely unanswered", "not-established likely unanswered", "not-established likely unanswered"},
	{"turned down by a host that has no socket for it", opened + `
+11ms C > S RST seq 100 win 0
+9s   C > S PING 1
+11ms S > C PONG 1
`, "not-established proven", "not-established proven", "not-established proven"},
	{"a SYN-ACK that is sent again until the server gives up", opened + `
+1s   S > C SYN,ACK seq 899 ack 100 mss 1460
+2s   S > C SYN,ACK seq 899 ack 100 mss 1460
+4s   S > C SYN,ACK seq 899 ack 100 mss 1460
+60s  C > S PING 1
+11ms S > C PONG 1
`, "not-established likely unanswered", "not-established likely unanswered", "not-established likely unanswered"},
	{"a SYN-ACK that the client does not hear", opened + `
+1s   C > S SYN     seq 99 mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 lost
+2s   C > S SYN     seq 99 mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 lost
+4s   C > S SYN     seq 99 mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 lost
+60s  C > S PING 1
+11ms S > C PONG 1
`, "not-established proven unanswered", "-", "not-established proven unanswered"},
	{"a SYN-ACK that is sent again once", opened + `
+1s   S > C SYN,ACK seq 899 ack 100 mss 1460
+1ms  S > C SYN,ACK seq 899 ack 100 mss 1460
+60s  C > S PING 1
+11ms S > C PONG 1
`, "capture-gap", "capture-gap", "capture-gap"},
	{"a SYN-ACK that nobody acknowledges, of a capture that holds all of another connection", opened + `
+1s   S > C SYN,ACK seq 899 ack 100 mss 1460
` + beside, "not-established proven unanswered", "not-established proven unanswered", "not-established proven unanswered"},
}

// refused is a SYN that a RST answers.
const refused = `
delay C 10ms
delay S 10ms
0     C > S SYN     seq 99 mss 1460
+11ms S > C RST,ACK seq 0 ack 100 win 0
`

// opened is a handshake without its last segment.
const opened = `
D 192.0.2.1:40001
delay C 10ms
delay S 10ms
delay D 10ms
0     C > S SYN     seq 99 mss 1460
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460
`

// beside is a login that is captured whole.
const beside = `
+10ms D > S SYN     seq 4999 mss 1460
+11ms S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms D > S ACK     seq 5000 ack 8000
+1s   D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms S > D ACK     seq 8000 ack 5011
`

func TestVerdictsOfCapturesFilteredByFlags(t *testing.T) {
	for _, c := range filteredByFlags {
		t.Run(c.name, func(t *testing.T) { c.judge(t) })
	}
}
