package main

import (
	"strings"
	"testing"
)

// busyServers are connections as servers of many short ones see them.
var busyServers = []struct {
	conversation
	says string // in the summary, of any captures
}{
	{conversation{"a server's RST without a timestamp that crosses a request", `
S 198.51.100.2:443 win 1024
delay C 20ms
delay S 20ms
0ms        C > S SYN     seq 1000 mss 1460 sackok wscale 7 ts 100000 0
20.1ms     S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 6 ts 700020 100000
40.2ms     C > S ACK     seq 1001 ack 50001 ts 100040 700020
40.3ms     C > S PSH,ACK seq 1001 ack 50001 len 517 ts 100040 700020
65.3ms     S > C PSH,ACK seq 50001 ack 1518 len 3000 ts 700065 100040
85.5ms     C > S ACK     seq 1518 ack 53001 ts 100085 700065
90.5ms     C > S PSH,ACK seq 1518 ack 53001 len 300 ts 100090 700065
115.5ms    S > C PSH,ACK seq 53001 ack 1818 len 1400 ts 700115 100090
135.7ms    C > S ACK     seq 1818 ack 54401 ts 100135 700115
60115.5ms  S > C RST,ACK seq 54401 ack 1818              # idle timer; BSD and XNU put no timestamp on a RST
60131.5ms  C > S PSH,ACK seq 1818 ack 54401 len 400 ts 160131 700115   # crosses the RST
60151.6ms  S > C RST     seq 54401 win 0 id 0
`, "closed", "closed", "closed"}, "RST"},
	{conversation{"a server's RST that crosses an upload", farServer + `40.3ms  C > S ACK     seq 1001 ack 50001 len 1448 ts 100040 700020
40.4ms  C > S ACK     seq 2449 ack 50001 len 1448 ts 100040 700020
40.5ms  C > S ACK     seq 3897 ack 50001 len 1448 ts 100040 700020
40.6ms  C > S ACK     seq 5345 ack 50001 len 1448 ts 100040 700020
60.9ms  S > C ACK     seq 50001 ack 6793 ts 700060 100040
61.5ms  S > C RST,ACK seq 50001 ack 6793 ts 700061 100040
81.0ms  C > S ACK     seq 6793 ack 50001 len 1448 ts 100081 700060
81.1ms  C > S ACK     seq 8241 ack 50001 len 1448 ts 100081 700060
81.2ms  C > S ACK     seq 9689 ack 50001 len 1448 ts 100081 700060
`, "closed", "closed", "closed"}, "The server's application ended the connection with a RST."},
	{conversation{"a download that the client breaks off", farServer + `40.3ms  C > S PSH,ACK seq 1001 ack 50001 len 300 ts 100040 700020
61.0ms  S > C ACK     seq 50001 ack 1301 len 1448 ts 700061 100040
61.1ms  S > C ACK     seq 51449 ack 1301 len 1448 ts 700061 100040
61.2ms  S > C ACK     seq 52897 ack 1301 len 1448 ts 700061 100040
61.3ms  S > C ACK     seq 54345 ack 1301 len 1448 ts 700061 100040
81.2ms  C > S ACK     seq 1301 ack 52897 ts 100081 700061
81.25ms C > S RST,ACK seq 1301 ack 52897 ts 100081 700061   # the program closed with octets unread
81.3ms  C > S RST     seq 1301 win 0 id 0
81.4ms  C > S RST     seq 1301 win 0 id 0
`, "closed", "closed", "closed"}, "The client's application ended the connection with a RST."},
	{conversation{"a SYN that an older connection's ACK answers first", nearServer + `0ms      C > S PING 1
10.1ms   S > C PONG 1
2000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
2010.1ms S > C ACK seq 7000 ack 700000000
2020.2ms C > S RST seq 700000000 win 0 id 0
3000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
3010.1ms S > C SYN,ACK seq 2000000000 ack 500001 mss 1460 sackok wscale 7
3020.2ms C > S ACK seq 500001 ack 2000000001
3021ms   C > S PSH,ACK seq 500001 ack 2000000001 len 300
3036ms   S > C PSH,ACK seq 2000000001 ack 500301 len 1200
3046.2ms C > S ACK seq 500301 ack 2000001201
5046.2ms C > S PSH,ACK seq 500301 ack 2000001201 len 300
5061.2ms S > C PSH,ACK seq 2000001201 ack 500601 len 1200
5071.4ms C > S ACK seq 500601 ack 2000002401
7071.4ms C > S PSH,ACK seq 500601 ack 2000002401 len 300
7086.4ms S > C PSH,ACK seq 2000002401 ack 500901 len 1200
7096.6ms C > S ACK seq 500901 ack 2000003601
7200ms   C > S PING 2
7210.1ms S > C PONG 2
`, "healthy", "healthy", "healthy"}, "Open at the end of the capture"},
	{conversation{"SYNs that only an older connection's ACK answers", nearServer + `0ms      C > S PING 1
10.1ms   S > C PONG 1
2000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
2010.1ms S > C ACK seq 7000 ack 700000000
2020.2ms C > S RST seq 700000000 win 0 id 0 lost
3000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
3010.1ms S > C ACK seq 7000 ack 700000000
3020.2ms C > S RST seq 700000000 win 0 id 0 lost
5000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
5010.1ms S > C ACK seq 7000 ack 700000000
5020.2ms C > S RST seq 700000000 win 0 id 0 lost
9000ms   C > S PING 2
9010.1ms   S > C PONG 2
`, "not-established proven unknown", "not-established proven unknown", "not-established proven unknown"}, "acknowledgment of another connection on these ports"},
	{conversation{"a full queue of connections to accept", nearServer + `0ms         C > S SYN     seq 1000 mss 1460 sackok wscale 7 ts 100000 0
10.1ms      S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 700010 100000
20.2ms      C > S ACK     seq 1001 ack 50001 ts 100020 700010
20.4ms      C > S PSH,ACK seq 1001 ack 50001 len 300 ts 100020 700010
230ms       C > S PSH,ACK seq 1001 ack 50001 len 300 ts 100230 700010
640ms       C > S PSH,ACK seq 1001 ack 50001 len 300 ts 100640 700010
1010.1ms    S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 701010 100640
1020.3ms    C > S ACK     seq 1301 ack 50001 ts 101020 700010
1470ms      C > S PSH,ACK seq 1001 ack 50001 len 300 ts 101470 700010
3010.1ms    S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 703010 100640
3020.3ms    C > S ACK     seq 1301 ack 50001 ts 103020 700010
3130ms      C > S PSH,ACK seq 1001 ack 50001 len 300 ts 103130 700010
6460ms      C > S PSH,ACK seq 1001 ack 50001 len 300 ts 106460 700010
7010.1ms    S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 707010 100640
7020.3ms    C > S ACK     seq 1301 ack 50001 ts 107020 700010
13100ms     C > S PSH,ACK seq 1001 ack 50001 len 300 ts 113100 700010
15010.1ms   S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 715010 100640
15020.3ms   C > S ACK     seq 1301 ack 50001 ts 115020 700010
26400ms     C > S PSH,ACK seq 1001 ack 50001 len 300 ts 126400 700010
31010.1ms   S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 731010 100640
31020.3ms   C > S ACK     seq 1301 ack 50001 ts 131020 700010
53000ms     C > S PSH,ACK seq 1001 ack 50001 len 300 ts 153000 700010
106000ms    C > S PSH,ACK seq 1001 ack 50001 len 300 ts 206000 700010
106010.1ms  S > C RST     seq 50001 win 0 id 0
`, "not-established likely unknown", "not-established likely unknown", "not-established likely unknown"}, "The server never took the connection"},
	{conversation{"a connection that nothing shows the server to have taken", `
C 192.0.2.1:40000
S 198.51.100.2:443
delay C 10ms
delay S 10ms
clock server +1500ms
0.000ms C > S SYN seq 1000 mss 1460 sackok wscale 7 ts 100000 0
10.100ms S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 700010 100000
20.200ms C > S ACK seq 1001 ack 50001 ts 100020 700010
100000.000ms C > S PING 1
100010.100ms S > C PONG 1
200000.000ms C > S PING 2
200010.100ms S > C PONG 2
300000.000ms C > S PSH,ACK seq 1001 ack 50001 ts 400000 700010 len 517
300010.100ms S > C RST seq 50001 win 0 id 0
`, "not-established possible unknown", "not-established possible unknown", "not-established possible unknown"}, "Nothing shows that the server ever took the connection"},
	{conversation{"a check whether a port is open", nearServer + `0ms    C > S SYN     seq 1000 mss 1460 sackok wscale 7 ts 100000 0
10.1ms S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 700010 100000
20.2ms C > S RST     seq 1001 win 0 id 0
`, "not-established proven unknown", "not-established proven unknown", "not-established proven unknown"}, "turned the connection down with a RST"},
	{conversation{"Fast Open", `
S 198.51.100.2:443
delay C 10ms
delay S 10ms
0ms    C > S SYN     seq 1000 mss 1460 sackok wscale 7 ts 100000 0 len 300
10.1ms S > C SYN,ACK seq 50000 ack 1301 mss 1460 sackok wscale 7 ts 700010 100000
15ms   S > C PSH,ACK seq 50001 ack 1301 len 1200 ts 700015 100000
25.1ms C > S ACK     seq 1301 ack 51201 ts 100025 700015
30ms   C > S FIN,ACK seq 1301 ack 51201 ts 100030 700015
40.1ms S > C FIN,ACK seq 51201 ack 1302 ts 700040 100030
50.2ms C > S ACK     seq 1302 ack 51202 ts 100050 700040
`, "closed", "closed", "closed"}, "Both ends closed the connection"},
}

func TestVerdictsOfBusyServers(t *testing.T) {
	for _, c := range busyServers {
		t.Run(c.name, func(t *testing.T) {
			client, server := c.judge(t)
			for _, captures := range [][]string{{client, server}, {client}, {server}} {
				f := sessionOf(t, "session", captures...)
				if f == nil {
					continue
				}
				if !strings.Contains(f.Verdict.Summary, c.says) {
					t.Errorf("%d captures: %q, want %q", len(captures), f.Verdict.Summary, c.says)
				}
				notices(t, "whole captures", "!capture-quality", captures...)
			}
		})
	}
}

const (
	// nearServer is a web server 10 ms away, as far as it is described before anything is sent.
	nearServer = `
S 198.51.100.2:80
delay C 10ms
delay S 10ms
`
	// farServer is one 20 ms away, and a handshake with it.
	farServer = `
S 198.51.100.2:80 win 509
delay C 20ms
delay S 20ms
0ms     C > S SYN     seq 1000 mss 1460 sackok wscale 7 ts 100000 0
20.1ms  S > C SYN,ACK seq 50000 ack 1001 mss 1460 sackok wscale 7 ts 700020 100000
40.2ms  C > S ACK     seq 1001 ack 50001 ts 100040 700020
`
)
