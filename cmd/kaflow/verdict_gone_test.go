package main

// hostAway is a session whose client asks in vain, while the router asks for the server's
// hardware address in vain.
const hostAway = `
R 198.51.100.254
` + session + `
drop both
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+0s    R > * ARP S @server
+1s    R > * ARP S @server
+1s    R > * ARP S @server
+8s    C > S ACK seq 156 ack 900 ts 1852068 46057
+0s    R > * ARP S @server
+1s    R > * ARP S @server
+9s    C > S ACK seq 156 ack 900 ts 1862068 46057
+10s   C > S RST,ACK seq 157 ack 900 ts 1872068 46057
+1s    R > * ARP S @server
`

// vanished are conversations in which a host, a session or what fits through
// the path is gone.
var vanished = []conversation{
	{"the server's host does not answer ARP either", hostAway, "peer-gone proven", "undecided possible", "not peer-gone"},
	{"the server's host does not answer ARP either, and is back ten minutes later", hostAway + `
+600s  R > * ARP S @server
drop nothing
+1ms   S > R ARP
` + fresh, "peer-gone proven", "undecided possible", "not peer-gone"},
	{"the server answers ARP and lives", `
R 198.51.100.254
` + session + `
drop both
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+0s    R > * ARP S @server
+1ms   S > R ARP
+10s   C > S ACK seq 156 ack 900 ts 1852068 46057
+0s    R > * ARP S @server
+1ms   S > R ARP
+10s   C > S ACK seq 156 ack 900 ts 1862068 46057
+0s    R > * ARP S @server
+1ms   S > R ARP
+10s   C > S RST,ACK seq 157 ack 900 ts 1872068 46057
`, "silent-drop proven", "undecided possible", "not peer-gone"},
	{"the server holds the session of a client that rebooted, and turns its new ones away", session + `
+600s  D > S SYN     seq 4999 mss 1460 sackok ts 900 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 646068 900 wscale 7
+11ms  D > S ACK     seq 5000 ack 8000 ts 922 646068
+1ms   S > D FIN,ACK seq 8000 ack 5000 ts 646080 922
+11ms  D > S FIN,ACK seq 5000 ack 8001 ts 934 646080
+11ms  S > D ACK     seq 8001 ack 5001 ts 646102 934
+3000s S > C ACK     seq 899 ack 157 ts 3646102 42046
+11ms  C > S RST     seq 157 win 0 id 0
`, "half-open likely", "half-open likely", "half-open likely"},
	{"the peer's socket is gone, and its service works", session + `
+600s  D > S SYN     seq 4999 mss 1460 sackok ts 900 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 646068 900 wscale 7
+11ms  D > S ACK     seq 5000 ack 8000 ts 922 646068
+1s    D > S PSH,ACK seq 5000 ack 8000 ts 1922 646068 len 20
+11ms  S > D ACK     seq 8000 ack 5020 ts 647079 1922
+3000s S > C ACK     seq 899 ack 157 ts 3646102 42046
+11ms  C > S RST     seq 157 win 0 id 0
`, "peer-lost-state proven", "-", "peer-lost-state possible"},
	{"new sessions that the server closes at once, while the old one is in use", session + `
+1s    D > S SYN     seq 4999 mss 1460 sackok ts 900 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 646068 900 wscale 7
+11ms  D > S ACK     seq 5000 ack 8000 ts 922 646068
+1ms   S > D FIN,ACK seq 8000 ack 5000 ts 646080 922
+11ms  D > S FIN,ACK seq 5000 ack 8001 ts 934 646080
+11ms  S > D ACK     seq 8001 ack 5001 ts 646102 934
+1s    C > S PSH,ACK seq 157 ack 900 ts 44068 46057 len 36
+11ms  S > C ACK     seq 900 ack 193 ts 48079 44068
`, "healthy", "healthy", "healthy"},
	{"large segments vanish in the middle of traffic", session + `
+300ms C > S PSH,ACK seq 157 ack 900 ts 42346 46057 len 36
+11ms  S > C ACK     seq 900 ack 193 ts 46357 42346
+300ms C > S ACK     seq 193 ack 900 ts 42646 46357 len 1448 lost
+0s    C > S ACK     seq 1641 ack 900 ts 42646 46357 len 1448 lost
+0s    C > S PSH,ACK seq 3089 ack 900 ts 42646 46357 len 600
+11ms  S > C ACK     seq 900 ack 193 ts 46657 42346 sack 3089-3689
+230ms C > S ACK     seq 193 ack 900 ts 42887 46657 len 1448 lost
+480ms C > S ACK     seq 193 ack 900 ts 43367 46657 len 1448 lost
+930ms C > S ACK     seq 193 ack 900 ts 44297 46657 len 1448 lost
+1900ms C > S ACK    seq 193 ack 900 ts 46197 46657 len 1448 lost
+5s    S > C ACK     seq 899 ack 193 ts 55057 42346
+11ms  C > S ACK     seq 3689 ack 900 ts 51400 55057
`, "mtu-black-hole proven", "mtu-black-hole likely", "not silent-drop"},
	{"the same silence was survived before, and a fresh login crosses", session + `
+600s  C > S ACK seq 156 ack 900 ts 642046 46057
+11ms  S > C ACK seq 900 ack 157 ts 646057 42046
+600s  C > S ACK seq 156 ack 900 ts 1242046 646057
+11ms  S > C ACK seq 900 ack 157 ts 1246057 42046
drop both
+600s  C > S ACK seq 156 ack 900 ts 1842046 1246057
+10s   C > S ACK seq 156 ack 900 ts 1852046 1246057
drop nothing
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
drop both
+5s    C > S ACK seq 156 ack 900 ts 1862046 1246057
+10s   C > S RST,ACK seq 157 ack 900 ts 1872046 1246057
`, "silent-drop proven state-lost", "silent-drop possible state-lost possible", "not silent-drop"},
	{"the peer's socket is gone within a minute of silence", session + `
+20s  C > S ACK seq 156 ack 900 ts 62068 46057
+10ms S > C RST seq 900 win 0 id 0
`, "peer-lost-state proven", "peer-lost-state possible", "peer-lost-state likely"},
}
