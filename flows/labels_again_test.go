package flows_test

import "testing"

// What is lost, sent again or on its way at once is told apart by numbers, timestamps and
// round trips.
func TestLabelsOfWhatIsLostAndSentAgain(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a lost probe, then data, then probes soon after data", `
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 wscale 7
+1ms  C > S ACK     seq 100 ack 900 ts 1011 5000
+1ms  C > S PSH,ACK seq 100 ack 900 data "hello" ts 1012 5000
+10ms S > C ACK     seq 900 ack 105 ts 5012 1012
+15s  C > S ACK     seq 104 ack 900 ts 16022 5012 lost
+12s  C > S PSH,ACK seq 105 ack 900 data "0123456789" ts 28022 5012
+10ms S > C ACK     seq 900 ack 115 ts 32022 28022
+15s  C > S ACK     seq 114 ack 900 ts 43032 32022
+10ms S > C ACK     seq 900 ack 115 ts 47032 28022
+10s  C > S PSH,ACK seq 115 ack 900 data "0123456789" ts 53042 47032
+10ms S > C ACK     seq 900 ack 125 ts 57042 53042
+15s  C > S ACK     seq 124 ack 900 ts 68052 57042 lost
+15s  C > S ACK     seq 124 ack 900 ts 83052 57042 lost
+15s  C > S ACK     seq 124 ack 900 ts 98052 57042 lost
`, "syn syn-ack ack data ack keepalive-probe data ack keepalive-probe keepalive-ack data ack keepalive-probe keepalive-probe keepalive-probe"},
		{"what acknowledges later data answers no probe", opening + `
+60s C > S ACK seq 104 ack 900 lost
+7s C > S PSH,ACK seq 105 ack 900 data "x"
+10ms S > C PSH,ACK seq 900 ack 106 data "x"
+1ms C > S ACK seq 106 ack 901
+60s C > S ACK seq 105 ack 901 lost
+7s C > S PSH,ACK seq 106 ack 901 data "yy"
+10ms S > C ACK seq 901 ack 108
`, "syn syn-ack ack data ack keepalive-probe data data ack keepalive-probe data ack"},
		{"a fast retransmission in a LAN has a newer timestamp", `
delay C 300us
delay S 300us
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7
+300us S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 wscale 7
+310us  C > S ACK     seq 100 ack 900 ts 1000 5000
+50us  C > S PSH,ACK seq 100 ack 900 data "GET / HTTP/1.1" ts 1001 5000
+310us S > C ACK seq 900 ack 114 ts 5001 1001
+3ms S > C ACK seq 900 ack 114 len 1448 ts 5004 1001
+20us S > C ACK seq 2348 ack 114 len 1448 ts 5004 1001 @server
+10us S > C ACK seq 3796 ack 114 len 1448 ts 5004 1001
+10us S > C ACK seq 5244 ack 114 len 1448 ts 5004 1001
+10us S > C ACK seq 6692 ack 114 len 1448 ts 5004 1001
+270us C > S ACK seq 114 ack 2348 ts 1005 5004 
+10us C > S ACK seq 114 ack 2348 ts 1005 5004 sack 3796-5244
+10us C > S ACK seq 114 ack 2348 ts 1005 5004 sack 3796-6692
+10us C > S ACK seq 114 ack 2348 ts 1005 5004 sack 3796-8140
+330us S > C ACK seq 2348 ack 114 len 1448 ts 5005 1005
+310us C > S ACK seq 114 ack 8140 ts 1006 5005
`, "syn syn-ack ack data ack data data data data data ack dup-ack dup-ack dup-ack retransmission ack"},
		{"BSD asks below what is acknowledged, whatever was sent since", opening + `
+30s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+220ms C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+440ms C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+1s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+2s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+4s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+8s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+15s C > S ACK seq 104 ack 900 lost
+1s C > S PSH,ACK seq 105 ack 900 data "abcdefghij" lost
+14s C > S ACK seq 104 ack 900 lost
+15s C > S ACK seq 104 ack 900 lost
`, "syn syn-ack ack data ack data retransmission retransmission retransmission retransmission retransmission retransmission keepalive-probe retransmission keepalive-probe keepalive-probe"},
		{"duplicate acknowledgments whose blocks grow are no copies", `
C [2001:db8::1]:40000
S [2001:db8::2]:80
0     C > S SYN     seq 99  mss 1440 sackok ts 1000 0 wscale 7
+1ms S > C SYN,ACK seq 899 ack 100 mss 1440 sackok ts 5000 1000 wscale 7
+10us  C > S ACK     seq 100 ack 900 ts 1001 5000
+100us  C > S PSH,ACK seq 100 ack 900 data "GET / HTTP/1.1" ts 1001 5000
+1ms S > C ACK seq 900 ack 114 ts 5002 1001
+1ms S > C ACK seq 900 ack 114 len 1428 ts 5003 1001
+20us C > S ACK seq 114 ack 2328 ts 1003 5003
+1us S > C ACK seq 3756 ack 114 len 1428 ts 5003 1001
+9us C > S ACK seq 114 ack 2328 ts 1003 5003 sack 3756-5184
+1us S > C ACK seq 5184 ack 114 len 1428 ts 5003 1001
+9us C > S ACK seq 114 ack 2328 ts 1003 5003 sack 3756-6612
+1us S > C ACK seq 6612 ack 114 len 1428 ts 5003 1001
+9us C > S ACK seq 114 ack 2328 ts 1003 5003 sack 3756-8040
+1ms S > C ACK seq 2328 ack 114 len 1428 ts 5004 1003
+10us C > S ACK seq 114 ack 8040 ts 1004 5004
`, "syn syn-ack ack data ack data ack data dup-ack data dup-ack data dup-ack retransmission ack"},
		{"the peer's data crosses the probe", `
delay C 5ms
delay S 5ms
0     C > S SYN     seq 99  mss 1460 sackok wscale 7
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok wscale 7
+1ms  C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data "hello"
+10ms S > C ACK     seq 900 ack 105
+60s C > S ACK seq 104 ack 900
+2ms S > C PSH,ACK seq 900 ack 105 data "news"
+8ms C > S ACK seq 105 ack 904
+0ms S > C ACK seq 904 ack 105
`, "syn syn-ack ack data ack keepalive-probe data ack keepalive-ack"},
		{"one direction, and probes that carry the last octet", `
C 192.0.2.1:50000
S 198.51.100.2:3389
0  C > S SYN     seq 99  mss 1460 sackok wscale 7
+11ms  C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data "hello"
+50ms  C > S PSH,ACK seq 105 ack 950 data 0102030400
+60s C > S ACK seq 109 ack 1000 data 00
+60s C > S ACK seq 109 ack 1000 data 00
+60s C > S ACK seq 109 ack 1000 data 00
`, "syn ack data data keepalive-probe keepalive-probe keepalive-probe"},
		{"a RST below the window provokes nothing", opening + `
+5s C > S RST seq 90 win 0
+3600s C > S PSH,ACK seq 105 ack 900 data "ls"
+10ms S > C ACK seq 900 ack 107
`, "syn syn-ack ack data ack rst data ack"},
		{"a FIN with a shut window opens none", opening + `
+1s C > S ACK seq 105 ack 900 len 1000
+10ms S > C ACK seq 900 ack 1105 win 0
+220ms C > S ACK seq 1104 ack 900
+10ms S > C ACK seq 900 ack 1105 win 0
+100ms S > C FIN,ACK seq 900 ack 1105 win 0
+1ms C > S ACK seq 1105 ack 901
+330ms C > S ACK seq 1104 ack 901
+10ms S > C ACK seq 901 ack 1105 win 0
+860ms C > S ACK seq 1104 ack 901
+10ms S > C RST seq 901 win 0
`, "syn syn-ack ack data ack data ack zero-window-probe zero-window-ack fin ack zero-window-probe zero-window-ack zero-window-probe rst"},
		{"a SYN that an older connection answers first", `
S 198.51.100.2:80
delay C 10ms
delay S 10ms
2000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
2010.1ms S > C ACK seq 7000 ack 700000000
2020.2ms C > S RST seq 700000000 win 0 id 0
3000ms   C > S SYN seq 500000 mss 1460 sackok wscale 7
3010.1ms S > C SYN,ACK seq 2000000000 ack 500001 mss 1460 sackok wscale 7
3020.2ms C > S ACK seq 500001 ack 2000000001
3021ms   C > S PSH,ACK seq 500001 ack 2000000001 len 300
`, "syn stale stale syn syn-ack ack data"},
	} {
		t.Run(c.name, func(t *testing.T) { sameLabels(t, c.text, c.want) })
	}
}
