package main

import (
	"slices"
	"strings"
	"testing"
)

// session opens an ssh session over a path of 10 ms each way, types into it
// after 41 s, and falls silent.
const session = `
D 192.0.2.1:40001
delay C 10ms
delay S 10ms
delay D 10ms
clock server +1500ms
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 wscale 7
+11ms C > S ACK     seq 100 ack 900 ts 1022 5000
+1ms  C > S PSH,ACK seq 100 ack 900 ts 1023 5000 data "SSH-2.0-OpenSSH_9.7\r\n"
+11ms S > C ACK     seq 900 ack 121 ts 5023 1023
+41s  C > S PSH,ACK seq 121 ack 900 ts 42046 5023 len 36
+11ms S > C ACK     seq 900 ack 157 ts 46057 42046
`

// lostTogether opens a second session beside the first, uses both, and then loses
// what either sends.
const lostTogether = `
+1s    D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
+1ms   D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms  S > D ACK     seq 8000 ack 5011
+11ms  C > S PSH,ACK seq 157 ack 900 ts 43112 46057 len 11
+11ms  S > C ACK     seq 900 ack 168 ts 47123 43112
+200ms C > S PSH,ACK seq 168 ack 900 ts 43312 47123 len 11 lost
+1ms   D > S PSH,ACK seq 5011 ack 8000 len 11 lost
+200ms C > S PSH,ACK seq 168 ack 900 ts 43513 47123 len 11 lost
+1ms   D > S PSH,ACK seq 5011 ack 8000 len 11 lost
+400ms C > S PSH,ACK seq 168 ack 900 ts 43914 47123 len 11 lost
`

var conversations = []conversation{
	{"both ends probe in vain after two hours", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
+75s   C > S ACK seq 156 ack 900 ts 7392068 46057
+100ms S > C ACK seq 899 ack 157 ts 7396168 42046
`, "silent-drop proven idle-expiry likely", "undecided possible", "undecided possible"},
	{"only the client probes, and the server's file ends with what crossed last", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+75s   C > S ACK seq 156 ack 900 ts 7392068 46057
`, "silent-drop possible", "undecided possible", "not silent-drop"},
	{"the server's file ends amid the keepalives of another session", session + `
+1s    D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
` + strings.Repeat(`
+10s   D > S ACK     seq 4999 ack 8000
+11ms  S > D ACK     seq 8000 ack 5000
`, 10) + `
+1s    C > S ACK     seq 156 ack 900 ts 150068 46057 @client
+75s   C > S ACK     seq 156 ack 900 ts 225068 46057 @client
+75s   C > S ACK     seq 156 ack 900 ts 300068 46057 @client
` + strings.Repeat(`
+10s   D > S ACK     seq 4999 ack 8000
+11ms  S > D ACK     seq 8000 ack 5000
`, 10) + strings.Repeat(`
+10s   D > S ACK     seq 4999 ack 8000 @client
+11ms  S > D ACK     seq 8000 ack 5000 @client
`, 10), "silent-drop proven", "-", "-"},
	{"a request gets through, its answer is lost with the state, and both are sent again", session + `
+1s    C > S PSH,ACK seq 157 ack 900 ts 43068 46057 len 11
+11ms  S > C PSH,ACK seq 900 ack 168 ts 47079 43068 len 11 lost
+220ms C > S PSH,ACK seq 157 ack 900 ts 43299 46057 len 11 lost
+5ms   S > C PSH,ACK seq 900 ack 168 ts 47304 43068 len 11 lost
+230ms C > S PSH,ACK seq 157 ack 900 ts 43534 46057 len 11 lost
+5ms   S > C PSH,ACK seq 900 ack 168 ts 47539 43068 len 11 lost
+50ms  D > S SYN     seq 4999 mss 1460
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460
+11ms  D > S ACK     seq 5000 ack 8000
+400ms C > S PSH,ACK seq 157 ack 900 ts 44011 46057 len 11 lost
+5ms   S > C PSH,ACK seq 900 ack 168 ts 48016 43068 len 11 lost
+5s    D > S PSH,ACK seq 5000 ack 8000 len 11
+11ms  S > D ACK     seq 8000 ack 5011
`, "silent-drop proven state-lost likely", "not one-way-drop", "not one-way-drop"},
	{"two sessions in use are lost together", session + lostTogether + `
+400ms D > S PSH,ACK seq 5011 ack 8000 len 11 lost
+1s    D > S PSH,ACK seq 5011 ack 8000 len 11 lost
`, "undecided possible", "not silent-drop", "not silent-drop"},
	{"a fresh login crosses while another session is lost that died with it", `
E 192.0.2.1:40002
` + session + lostTogether + `
+50ms  E > S SYN     seq 14999 mss 1460
+11ms  S > E SYN,ACK seq 17999 ack 15000 mss 1460
+11ms  E > S ACK     seq 15000 ack 18000
+400ms D > S PSH,ACK seq 5011 ack 8000 len 11 lost
+1s    D > S PSH,ACK seq 5011 ack 8000 len 11 lost
+5s    E > S PSH,ACK seq 15000 ack 18000 len 11
+11ms  S > E ACK     seq 18000 ack 15011
`, "silent-drop likely state-lost likely", "not silent-drop", "not silent-drop"},
	{"a fresh login crosses while the old session is lost", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
drop nothing
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
drop both
+70s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "silent-drop proven idle-expiry proven", "silent-drop possible idle-expiry possible", "silent-drop possible idle-expiry possible"},
	{"a fresh login crosses, over other routers than before", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
drop nothing
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7 ttl 62
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
drop both
+70s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "silent-drop proven idle-expiry likely", "silent-drop possible", "silent-drop possible"},
	{"a fresh login crosses, and the router had announced itself in the silence", `
R 192.0.2.254:1
` + session + `
+3600s R > R ARP @client
drop both
+3600s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
drop nothing
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
drop both
+70s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "silent-drop proven state-lost likely", "silent-drop possible", "silent-drop possible"},
	{"a ping crosses while the session is lost", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
drop nothing
+5s    C > S PING 7
+11ms  S > C PONG 7
drop both
+70s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "silent-drop proven idle-expiry proven", "silent-drop possible", "silent-drop possible"},
	{"a fresh login works when both ends have given up", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
+75s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
+75s   C > S RST,ACK seq 157 ack 900 ts 7392068 46057
+100ms S > C RST,ACK seq 900 ack 157 ts 7396168 42046
drop nothing
+600s  D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
`, "silent-drop proven idle-expiry likely", "undecided possible", "undecided possible"},
	{"two connections that probe die together, and nothing fresh is tried", session + `
+1s    D > S SYN     seq 6999 mss 1460 sackok ts 50000 0 wscale 7
+11ms  S > D SYN,ACK seq 8999 ack 7000 mss 1460 sackok ts 60000 50000 wscale 7
+11ms  D > S ACK     seq 7000 ack 9000 ts 50022 60000
+30s C > S ACK seq 156 ack 900 ts 103101 46057
+11ms S > C ACK seq 900 ack 157 ts 107101 42046
+30s D > S ACK seq 6999 ack 9000 ts 110044 60000
+11ms S > D ACK seq 9000 ack 7000 ts 120022 50022
+30s C > S ACK seq 156 ack 900 ts 163123 107101
+11ms S > C ACK seq 900 ack 157 ts 167123 42046
+30s D > S ACK seq 6999 ack 9000 ts 170066 120022
+11ms S > D ACK seq 9000 ack 7000 ts 180044 50022
+30s C > S ACK seq 156 ack 900 ts 223145 167123
+11ms S > C ACK seq 900 ack 157 ts 227145 42046
+30s D > S ACK seq 6999 ack 9000 ts 230088 180044
+11ms S > D ACK seq 9000 ack 7000 ts 240066 50022
+30s C > S ACK seq 156 ack 900 ts 283167 227145
+11ms S > C ACK seq 900 ack 157 ts 287167 42046
+30s D > S ACK seq 6999 ack 9000 ts 290110 240066
+11ms S > D ACK seq 9000 ack 7000 ts 300088 50022
drop both
+30s C > S ACK seq 156 ack 900 ts 343167 287167
+30s D > S ACK seq 6999 ack 9000 ts 350110 300088
+5s C > S ACK seq 156 ack 900 ts 353167 287167
+5s D > S ACK seq 6999 ack 9000 ts 360110 300088
+5s C > S ACK seq 156 ack 900 ts 363167 287167
+5s D > S ACK seq 6999 ack 9000 ts 370110 300088
+5s C > S ACK seq 156 ack 900 ts 373167 287167
+5s D > S ACK seq 6999 ack 9000 ts 380110 300088
drop nothing
+60s S > C PING 9
+11ms C > S PONG 9
`, "undecided possible", "undecided possible", "-"},
	{"a fresh login is lost as well", session + `
drop both
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+100ms S > C ACK seq 899 ack 157 ts 7246168 42046
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+1s    D > S SYN seq 4999 mss 1460 sackok ts 10000 0 wscale 7
+70s   C > S ACK seq 156 ack 900 ts 7317068 46057
+100ms S > C ACK seq 899 ack 157 ts 7321168 42046
`, "path-cut proven", "undecided possible", "undecided possible"},
	{"the same silence was survived before", session + `
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+11ms  S > C ACK seq 900 ack 157 ts 7246168 42046
drop both
+7200s C > S ACK seq 156 ack 900 ts 14442068 7246168
+100ms S > C ACK seq 899 ack 157 ts 14446168 42046
+75s   C > S ACK seq 156 ack 900 ts 14517068 7246168
+100ms S > C ACK seq 899 ack 157 ts 14521168 42046
`, "undecided possible", "undecided possible", "undecided possible"},
	{"it stops in the middle of traffic, and nothing else is seen", session + `
+20ms  C > S PSH,ACK seq 157 ack 900 ts 42100 46057 len 36
+11ms  S > C ACK     seq 900 ack 193 ts 46111 42100
drop both
+20ms  C > S PSH,ACK seq 193 ack 900 ts 42120 46111 len 36
+220ms C > S PSH,ACK seq 193 ack 900 ts 42340 46111 len 36
+50ms  S > C PSH,ACK seq 900 ack 193 ts 46500 42100 len 36
+440ms C > S PSH,ACK seq 193 ack 900 ts 42780 46111 len 36
+50ms  S > C PSH,ACK seq 900 ack 193 ts 47000 42100 len 36
`, "undecided possible", "undecided possible", "undecided possible"},
	{"answers are lost on the way back", session + `
drop S
+7200s  C > S ACK seq 156 ack 900 ts 7242068 46057
+10ms   S > C ACK seq 900 ack 157 ts 7246078 42046
+75s    C > S ACK seq 156 ack 900 ts 7317068 46057
+10ms   S > C ACK seq 900 ack 157 ts 7321078 42046
+75s    C > S ACK seq 156 ack 900 ts 7392068 46057
+10ms   S > C ACK seq 900 ack 157 ts 7396078 42046
+75s    C > S RST,ACK seq 157 ack 900 ts 7467068 46057
`, "one-way-drop proven", "undecided possible", "one-way-drop possible"},
	{"keepalives are answered", session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C ACK seq 900 ack 157 ts 106057 42046
+60s  C > S ACK seq 156 ack 900 ts 162068 106057
+11ms S > C ACK seq 900 ack 157 ts 166057 42046
+60s  C > S ACK seq 156 ack 900 ts 222068 166057
+11ms S > C ACK seq 900 ack 157 ts 226057 42046
`, "healthy", "healthy", "healthy"},
	{"one probe is lost, the next is answered", session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057
+11ms S > C ACK seq 900 ack 157 ts 106057 42046
+60s  C > S ACK seq 156 ack 900 ts 162068 106057 lost
+75s  C > S ACK seq 156 ack 900 ts 237068 106057
+11ms S > C ACK seq 900 ack 157 ts 241057 42046
`, "healthy", "healthy", "healthy"},
	{"both close", session + `
+1s   C > S FIN,ACK seq 157 ack 900 ts 43046 46057
+11ms S > C FIN,ACK seq 900 ack 158 ts 47068 43046
+11ms C > S ACK     seq 158 ack 901 ts 43068 47068
`, "closed", "closed", "closed"},
	{"both close, and the last ACK is lost", session + `
+1s    C > S FIN,ACK seq 157 ack 900 ts 43046 46057
+11ms  S > C FIN,ACK seq 900 ack 158 ts 47068 43046
+11ms  C > S ACK     seq 158 ack 901 ts 43068 47068 lost
+300ms S > C FIN,ACK seq 900 ack 158 ts 47379 43046
+11ms  C > S ACK     seq 158 ack 901 ts 43390 47379
`, "closed", "closed", "closed"},
	{"the service resets an idle session", session + `
+600s S > C RST,ACK seq 900 ack 157 ts 646057 42046
`, "idle-close likely", "idle-close possible", "idle-close possible"},
	{"the service resets a session after no known timer's time", session + `
+437s S > C RST,ACK seq 900 ack 157 ts 483057 42046
`, "closed", "closed", "closed"},
	{"the shell logs out after an hour", session + `
+3600s S > C PSH,ACK seq 900 ack 157 ts 3646057 42046 len 60
+1ms   S > C FIN,ACK seq 960 ack 157 ts 3646058 42046
+11ms  C > S FIN,ACK seq 157 ack 961 ts 3642069 3646058
+11ms  S > C ACK seq 961 ack 158 ts 3646080 3642069
`, "closed", "closed", "closed"},
	{"a server closes what was idle for its documented time", session + `
+600s  S > C FIN,ACK seq 900 ack 157 ts 646057 42046
+11ms  C > S FIN,ACK seq 157 ack 901 ts 642057 646057
+11ms  S > C ACK seq 901 ack 158 ts 646079 642057
`, "idle-close likely", "idle-close likely", "idle-close likely"},
	{"a firewall rejects what it forgot with a RST of its own", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+1ms   S > C RST seq 900 win 0 id 0 ttl 64 @client
+20s   S > C ACK seq 899 ack 157 ts 1866057 42046 lost
+75s   S > C ACK seq 899 ack 157 ts 1941057 42046 lost
`, "forged-reset proven idle-expiry likely", "not silent-drop", "undecided possible"},
	{"another backend of a balancer answers after the silence", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+22ms  S > C RST seq 900 win 0 id 0 ttl 62 @client
+20s   S > C ACK seq 899 ack 157 ts 1866057 42046 lost
+75s   S > C ACK seq 899 ack 157 ts 1941057 42046 lost
`, "forged-reset proven other-backend possible", "not silent-drop", "undecided possible"},
	{"a router nearer than the server sends the RST", `hops 8
` + session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+1ms   S > C RST seq 900 win 0 id 0 ttl 63 @client
`, "-", "forged-reset likely", "-"},
	{"a firewall says that it prohibits", `
R 203.0.113.9
` + session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+2ms   R > C ICMP 3/13 quoting 8
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057 lost
+2ms   R > C ICMP 3/13 quoting 10
`, "path-rejected proven idle-expiry likely", "path-rejected proven idle-expiry likely", "not silent-drop"},
	{"the last router cannot reach the host", `
R 203.0.113.9
` + session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+3s    R > C ICMP 3/1 quoting 8
+72s   C > S ACK seq 156 ack 900 ts 1917068 46057 lost
+3s    R > C ICMP 3/1 quoting 10
`, "peer-gone proven", "peer-gone proven", "not silent-drop"},
	{"an ICMP error passes, and the session lives on", `
R 203.0.113.9
` + session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 lost
+2ms   R > C ICMP 3/1 quoting 8
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057
+11ms  S > C ACK seq 900 ack 157 ts 1921057 42046
`, "healthy", "healthy", "healthy"},
	{"the server's host filter forgot the session", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057
+5s    D > S SYN seq 4999 mss 1460 sackok ts 9000 0 wscale 7
+11ms  S > D SYN,ACK seq 7999 ack 5000 mss 1460 sackok ts 8000 9000 wscale 7
+11ms  D > S ACK seq 5000 ack 8000 ts 9022 8000
+60s   C > S ACK seq 156 ack 900 ts 1992068 46057
+75s   C > S ACK seq 156 ack 900 ts 2067068 46057
`, "host-drop proven", "not path-cut", "-"},
	{"the client's host filter eats the answers", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+11ms  S > C ACK seq 900 ack 157 ts 1846057 42046
+75s   C > S ACK seq 156 ack 900 ts 1917068 46057
+11ms  S > C ACK seq 900 ack 157 ts 1921057 42046
+75s   C > S ACK seq 156 ack 900 ts 1992068 46057
+11ms  S > C ACK seq 900 ack 157 ts 1996057 42046
+75s   C > S RST,ACK seq 157 ack 900 ts 2067068 46057
`, "-", "host-drop likely", "one-way-drop possible"},
	{"the application of the server hangs", session + `
+15s   C > S PSH,ACK seq 157 ack 900 ts 57068 46057 data "PING\r\n"
+11ms  S > C PSH,ACK seq 900 ack 163 ts 61057 57068 data "PONG\r\n"
+11ms  C > S ACK     seq 163 ack 906 ts 57090 61057
+15s   C > S PSH,ACK seq 163 ack 906 ts 72068 61057 data "PING\r\n"
+11ms  S > C PSH,ACK seq 906 ack 169 ts 76057 72068 data "PONG\r\n"
+11ms  C > S ACK     seq 169 ack 912 ts 72090 76057
+15s   C > S PSH,ACK seq 169 ack 912 ts 87068 76057 data "PING\r\n"
+11ms  S > C ACK     seq 912 ack 175 ts 91057 87068
+15s   C > S PSH,ACK seq 175 ack 912 ts 102068 91057 data "PING\r\n"
+11ms  S > C ACK     seq 912 ack 181 ts 106057 102068
+15s   C > S PSH,ACK seq 181 ack 912 ts 117068 106057 data "PING\r\n"
+11ms  S > C ACK     seq 912 ack 187 ts 121057 117068
`, "app-hung likely", "app-hung likely", "app-hung likely"},
	{"a browser resets what the server has half closed", session + `
+15s  S > C FIN,ACK seq 900 ack 157 ts 61057 42046
+11ms C > S ACK seq 157 ack 901 ts 57068 61057
+5s   C > S RST seq 157 win 0 id 0
`, "closed", "closed", "closed"},
	{"a SYN-ACK to nobody who asked", `
delay C 10ms
delay S 10ms
0     S > C SYN,ACK seq 899 ack 100
+10ms C > S RST seq 100 win 0 id 0
+3s   S > C SYN,ACK seq 899 ack 100
+10ms C > S RST seq 100 win 0 id 0
`, "-", "not peer-lost-state", "not peer-lost-state"},
	{"three refusals by ICMP are no death", `
R 203.0.113.9
delay C 10ms
delay S 10ms
0     C > S SYN seq 99 mss 1460 lost
+2ms  R > C ICMP 3/0 quoting 1
+1s   C > S SYN seq 99 mss 1460 lost
+2ms  R > C ICMP 3/0 quoting 3
`, "not-established", "not-established proven rejected", "-"},
	{"the capture ends in the middle of an answer", session + `
+4s    C > S PSH,ACK seq 157 ack 900 ts 46046 46057 len 740
+180ms S > C PSH,ACK seq 900 ack 897 ts 50237 46046 len 1440
+1ms   S > C PSH,ACK seq 2340 ack 897 ts 50238 46046 len 1440
`, "healthy", "healthy", "healthy"},
	{"a FIN is repeated in vain", session + `
drop both
+1800s C > S FIN,ACK seq 157 ack 900 ts 1842068 46057
+220ms C > S FIN,ACK seq 157 ack 900 ts 1842288 46057
+440ms C > S FIN,ACK seq 157 ack 900 ts 1842728 46057
+5s    S > C ACK seq 899 ack 157 ts 1851000 42046
`, "silent-drop proven idle-expiry likely", "undecided possible", "not silent-drop"},
	{"the receiver stops reading, and then the path dies", session + `
+1s    C > S PSH,ACK seq 157 ack 900 ts 43046 46057 len 1000
+11ms  S > C ACK seq 900 ack 1157 ts 47057 43046 win 0
+220ms C > S ACK seq 1156 ack 900 ts 43277 47057
+11ms  S > C ACK seq 900 ack 1157 ts 47288 43046 win 0
drop both
+440ms C > S ACK seq 1156 ack 900 ts 43728 47288
+880ms C > S ACK seq 1156 ack 900 ts 44608 47288
+1760ms C > S ACK seq 1156 ack 900 ts 46379 48619
+3520ms C > S ACK seq 1156 ack 900 ts 49899 48619
`, "undecided possible", "undecided possible", "not silent-drop"},
	{"the client gave up in an outage, and answers the late data with a RST", session + `
drop both
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057
+10s   C > S ACK seq 156 ack 900 ts 1852068 46057
+10s   C > S ACK seq 156 ack 900 ts 1862068 46057
+10s   C > S RST,ACK seq 157 ack 900 ts 1872068 46057
drop nothing
+600s  S > C PSH,ACK seq 900 ack 157 ts 2476057 42046 len 50
+11ms  C > S RST seq 157 win 0 id 0
`, "undecided possible", "undecided possible", "peer-lost-state possible"},
	{"large segments vanish, small ones pass", session + `
+1s     C > S PSH,ACK seq 157 ack 900 ts 43046 46057 len 1448 lost
+10ms   C > S PSH,ACK seq 1605 ack 900 ts 43056 46057 len 100
+11ms   S > C ACK seq 900 ack 157 ts 47057 42046 sack 1605-1705
+220ms  C > S PSH,ACK seq 157 ack 900 ts 43277 47057 len 1448 lost
+440ms  C > S PSH,ACK seq 157 ack 900 ts 43728 47057 len 1448 lost
+880ms  C > S PSH,ACK seq 157 ack 900 ts 44608 47057 len 1448 lost
+1760ms C > S PSH,ACK seq 157 ack 900 ts 46379 47057 len 1448 lost
+5s     S > C ACK seq 899 ack 157 ts 54057 42046
+11ms   C > S ACK seq 1705 ack 900 ts 51400 54057
`, "mtu-black-hole proven", "mtu-black-hole likely", "not silent-drop"},
	{"a device on the way answers keepalives", session + `
+60s  C > S ACK seq 156 ack 900 ts 102068 46057 lost
+1ms  S > C ACK seq 900 ack 157 ts 106057 42046 @client
+60s  C > S ACK seq 156 ack 900 ts 162068 106057 lost
+1ms  S > C ACK seq 900 ack 157 ts 166057 42046 @client
+60s  C > S ACK seq 156 ack 900 ts 222068 166057 lost
+1ms  S > C ACK seq 900 ack 157 ts 226057 42046 @client
+60s  C > S ACK seq 156 ack 900 ts 282068 226057 lost
+1ms  S > C ACK seq 900 ack 157 ts 286057 42046 @client
+60s  C > S ACK seq 156 ack 900 ts 342068 286057 lost
+1ms  S > C ACK seq 900 ack 157 ts 346057 42046 @client
+60s  C > S ACK seq 156 ack 900 ts 402068 346057 lost
+1ms  S > C ACK seq 900 ack 157 ts 406057 42046 @client
+30s  S > C ACK seq 899 ack 157 ts 436057 42046 lost
+75s  S > C ACK seq 899 ack 157 ts 511057 42046 lost
`, "proxy-answer proven", "-", "not silent-drop"},
	{"the server's own keepalives are missing while the client's are lost", session + `
+60s  C > S ACK seq 156 ack 900 ts 102057 46057
+11ms S > C ACK seq 900 ack 157 ts 106068 42046
+100ms S > C ACK seq 899 ack 157 ts 106168 42046
+11ms C > S ACK seq 157 ack 900 ts 102179 106068
+60s  C > S ACK seq 156 ack 900 ts 162179 106068
+11ms S > C ACK seq 900 ack 157 ts 166190 102179
+100ms S > C ACK seq 899 ack 157 ts 166290 102179
+11ms C > S ACK seq 157 ack 900 ts 162301 166190
+60s  C > S ACK seq 156 ack 900 ts 222301 166190
+11ms S > C ACK seq 900 ack 157 ts 226312 162301
+100ms S > C ACK seq 899 ack 157 ts 226412 162301
+11ms C > S ACK seq 157 ack 900 ts 222423 226312
+60s  C > S ACK seq 156 ack 900 ts 282423 226312 lost
+10s  C > S ACK seq 156 ack 900 ts 292423 226312 lost
+10s  C > S ACK seq 156 ack 900 ts 302423 226312 lost
+10s  C > S ACK seq 156 ack 900 ts 312423 226312 lost
+10s  C > S RST,ACK seq 157 ack 900 ts 999999 226312 lost
+30s  C > S PING 7
+11ms S > C PONG 7
`, "peer-gone likely", "undecided possible", "idle"},
	{"a device answers keepalives, from as far as the server and without timestamps", session + `
+60s  C > S ACK seq 156 ack 900 ts 102057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 162057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 222057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 282057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 342057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 402057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+60s  C > S ACK seq 156 ack 900 ts 462057 46057 lost
+1ms  S > C ACK seq 900 ack 157 @client
+30s  C > S PING 7
+11ms S > C PONG 7
`, "proxy-answer proven", "proxy-answer possible", "-"},
	{"a NAT renames the session in its silence, and another keeps its name", `
E 192.0.2.1:40002
` + session + `
+1s    E > S SYN     seq 6999 mss 1460 sackok ts 50000 0 wscale 7
+11ms  S > E SYN,ACK seq 8999 ack 7000 mss 1460 sackok ts 60000 50000 wscale 7
+11ms  E > S ACK     seq 7000 ack 9000 ts 50022 60000
+10s   C > S PSH,ACK seq 157 ack 900 ts 53100 46057 len 36
+11ms  S > C ACK     seq 900 ack 193 ts 57111 53100
+600s  E > S PSH,ACK seq 7000 ack 9000 ts 650022 60000 len 10
+11ms  S > E ACK     seq 9000 ack 7010 ts 660033 650022
+1200s C > S ACK seq 192 ack 900 ts 1842068 57111 @client
+0s    D > S ACK seq 192 ack 900 ts 1842068 57111 @server
+1ms   S > D RST seq 900 win 0 id 0 @server
+10ms  S > C RST seq 900 win 0 id 0 ttl 63 @client
+60s   E > S PSH,ACK seq 7010 ack 9000 ts 1910022 660033 len 10
+11ms  S > E ACK     seq 9000 ack 7020 ts 1920033 1910022
`, "nat-rebind proven idle-expiry likely", "peer-lost-state possible", "nat-rebind proven"},
	{"a NAT renames the session in its silence", session + `
+1800s C > S ACK seq 156 ack 900 ts 1842068 46057 @client
+0s    D > S ACK seq 156 ack 900 ts 1842068 46057 @server
+1ms   S > D RST seq 900 win 0 id 0 @server
+10ms  S > C RST seq 900 win 0 id 0 ttl 63 @client
`, "nat-rebind proven idle-expiry possible", "peer-lost-state possible", "nat-rebind proven"},
	{"the client comes back from a reboot on the same port", session + `
+600s  C > S SYN     seq 70099 mss 1460 sackok ts 900 0 wscale 7
+11ms  S > C ACK     seq 900 ack 157 ts 646068 42046
+11ms  C > S RST     seq 157 win 0 id 0
+1s    C > S SYN     seq 70099 mss 1460 sackok ts 1922 0 wscale 7
+11ms  S > C SYN,ACK seq 80899 ack 70100 mss 1460 sackok ts 647090 1922 wscale 7
+11ms  C > S ACK     seq 70100 ack 80900 ts 1944 647090
`, "half-open proven", "half-open proven", "half-open proven"},
	{"the peer's socket is gone", session + `
+7200s C > S ACK seq 156 ack 900 ts 7242068 46057
+10ms  S > C RST seq 900 win 0 id 0
`, "peer-lost-state proven", "peer-lost-state possible", "not silent-drop"},
	{"refused", `
delay C 10ms
delay S 10ms
0     C > S SYN seq 99 mss 1460
+10ms S > C RST,ACK seq 0 ack 100 win 0
`, "not-established proven refused proven", "not-established proven refused proven", "not-established proven refused proven"},
	{"the receiver stops reading", session + `
+1s    C > S PSH,ACK seq 157 ack 900 ts 43046 46057 len 1000
+11ms  S > C ACK seq 900 ack 1157 ts 47057 43046 win 0
+220ms C > S ACK seq 1156 ack 900 ts 43277 47057
+11ms  S > C ACK seq 900 ack 1157 ts 47288 43046 win 0
+440ms C > S ACK seq 1156 ack 900 ts 43728 47288
+880ms C > S ACK seq 1156 ack 900 ts 44608 47288
+11ms  S > C ACK seq 900 ack 1157 ts 48619 43046 win 0
+1760ms C > S ACK seq 1156 ack 900 ts 46379 48619
+11ms  S > C ACK seq 900 ack 1157 ts 50390 43046 win 0
`, "receiver-stalled proven", "receiver-stalled proven", "receiver-stalled proven"},
}

func TestVerdictsOfConversations(t *testing.T) {
	for _, c := range slices.Concat(conversations, beats, vanished, doubtful, meanwhile, elsewhere, unheard, clockless, halfway, paused, renamed, figures, genuine, healed, resets, outages, asleep) {
		t.Run(c.name, func(t *testing.T) { c.judge(t) })
	}
}
