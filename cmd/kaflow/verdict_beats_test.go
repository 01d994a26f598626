package main

import (
	"fmt"
	"testing"
)

// beating is the session with ServerAlive every 15 s, answered three times.
const beating = session + `
+15s  C > S PSH,ACK seq 157 ack 900 ts 57068 46057 len 52
+11ms S > C PSH,ACK seq 900 ack 209 ts 61079 57068 len 28
+11ms C > S ACK     seq 209 ack 928 ts 57090 61079
+15s  C > S PSH,ACK seq 209 ack 928 ts 72090 61079 len 52
+11ms S > C PSH,ACK seq 928 ack 261 ts 76101 72090 len 28
+11ms C > S ACK     seq 261 ack 956 ts 72112 76101
+15s  C > S PSH,ACK seq 261 ack 956 ts 87112 76101 len 52
+11ms S > C PSH,ACK seq 956 ack 313 ts 91123 87112 len 28
+11ms C > S ACK     seq 313 ack 984 ts 87134 91123
`

// outlasted is what two requests and their repetitions look like that are lost
// for a minute.
const outlasted = `
+15s   C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+230ms C > S PSH,ACK seq 313 ack 984 ts 102364 91123 len 52
+230ms C > S PSH,ACK seq 313 ack 984 ts 102594 91123 len 52
+480ms C > S PSH,ACK seq 313 ack 984 ts 103074 91123 len 52
+930ms C > S PSH,ACK seq 313 ack 984 ts 104004 91123 len 52
+2s    C > S PSH,ACK seq 313 ack 984 ts 106004 91123 len 52
+4s    C > S PSH,ACK seq 313 ack 984 ts 110004 91123 len 52
+8s    C > S PSH,ACK seq 313 ack 984 ts 118004 91123 len 52
+15s   C > S PSH,ACK seq 313 ack 984 ts 133004 91123 len 52
`

// ownData is what the server's application sends when ssh has gone.
const ownData = `
drop nothing
+600s S > C PSH,ACK seq 984 ack 313 ts %s 87134 len 84
+11ms C > S RST     seq 313 win 0 id 0
`

// oneWayBack is a request that arrives, and whose answers are lost for two minutes.
const oneWayBack = beating + `
drop S
+15s   C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+11ms  S > C PSH,ACK seq 984 ack 365 ts 106145 102134 len 28
+219ms C > S PSH,ACK seq 313 ack 984 ts 102364 91123 len 52
+11ms  S > C ACK     seq 1012 ack 365 ts 106375 102364
+2s    C > S PSH,ACK seq 313 ack 984 ts 104375 91123 len 52
+11ms  S > C ACK     seq 1012 ack 365 ts 108386 104375
+1s    S > C PSH,ACK seq 984 ack 365 ts 109386 104375 len 28
+15s   C > S PSH,ACK seq 313 ack 984 ts 120386 91123 len 52
+11ms  S > C ACK     seq 1012 ack 365 ts 124397 120386
drop nothing
+100s  S > C PSH,ACK seq 984 ack 365 ts 224397 120386 len 28
+11ms  C > S RST     seq 365 win 0 id 0
`

// beats are conversations in which applications ask each other.
var beats = []conversation{
	{"ssh gives up during an outage that passes", beating + `
drop both
` + outlasted + `
drop nothing
+30s  C > S PSH,ACK seq 313 ack 984 ts 163004 91123 len 52
+11ms S > C PSH,ACK seq 984 ack 365 ts 167015 163004 len 28
+11ms C > S RST     seq 365 win 0 id 0
`, "heartbeat-timeout likely", "heartbeat-timeout likely", "heartbeat-timeout possible"},
	{"ssh gives up during an outage, and what the server sends later is no answer", beating + "drop both\n" + outlasted + fmt.Sprintf(ownData, "721134"),
		"heartbeat-timeout likely", "heartbeat-timeout likely", "-"},
	{"ssh gives up, the answers to it being lost", oneWayBack, "heartbeat-timeout likely", "heartbeat-timeout likely", "-"},
	{"ssh gives up, and the server's probe is answered with a RST", beating + `
drop both
` + outlasted + `
drop nothing
+600s S > C ACK seq 983 ack 313 ts 737015 87134
+11ms C > S RST seq 313 win 0 id 0
`, "-", "not peer-lost-state", "not silent-drop"},
	{"the server's application answers when ssh has gone", beating + `
+15s  C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+11ms S > C ACK     seq 984 ack 365 ts 106145 102134
+15s  C > S PSH,ACK seq 365 ack 984 ts 117145 106145 len 52
+11ms S > C ACK     seq 984 ack 417 ts 121156 117145
+15s  C > S PSH,ACK seq 417 ack 984 ts 132156 121156 len 52
+11ms S > C ACK     seq 984 ack 469 ts 136167 132156
+15s  C > S FIN,ACK seq 469 ack 984 ts 147167 136167
+40ms S > C ACK     seq 984 ack 470 ts 151207 147167
+9s   S > C PSH,ACK seq 984 ack 470 ts 160207 147167 len 84
+11ms C > S RST     seq 470 win 0 id 0
`, "heartbeat-timeout proven", "heartbeat-timeout likely", "heartbeat-timeout likely"},
	{"the server's application never answers, and ssh leaves", beating + `
+15s  C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+11ms S > C ACK     seq 984 ack 365 ts 106145 102134
+15s  C > S PSH,ACK seq 365 ack 984 ts 117145 106145 len 52
+11ms S > C ACK     seq 984 ack 417 ts 121156 117145
+15s  C > S FIN,ACK seq 417 ack 984 ts 132156 121156
+40ms S > C ACK     seq 984 ack 418 ts 136196 132156
`, "app-hung likely", "app-hung likely", "app-hung likely"},
	{"the user types between two requests, and the server's application answers no more", beating + `
+7s   C > S PSH,ACK seq 313 ack 984 ts 94134 91123 len 36
+11ms S > C PSH,ACK seq 984 ack 349 ts 98145 94134 len 36
+11ms C > S ACK     seq 349 ack 1020 ts 94156 98145
+15s  C > S PSH,ACK seq 349 ack 1020 ts 109156 98145 len 52
+11ms S > C ACK     seq 1020 ack 401 ts 113167 109156
+15s  C > S PSH,ACK seq 401 ack 1020 ts 124167 113167 len 52
+11ms S > C ACK     seq 1020 ack 453 ts 128178 124167
+15s  C > S FIN,ACK seq 453 ack 1020 ts 139178 128178
+40ms S > C ACK     seq 1020 ack 454 ts 143218 139178
`, "app-hung likely", "app-hung likely", "app-hung likely"},
	{"sshd asks once after half its pace, and the client's application answers no more", session + `
+30s  S > C PSH,ACK seq 900 ack 157 ts 76057 42046 len 60
+11ms C > S PSH,ACK seq 157 ack 960 ts 72068 76057 len 36
+11ms S > C ACK     seq 960 ack 193 ts 76079 72068
+30s  S > C PSH,ACK seq 960 ack 193 ts 106079 72068 len 60
+11ms C > S PSH,ACK seq 193 ack 1020 ts 102090 106079 len 36
+11ms S > C ACK     seq 1020 ack 229 ts 106101 102090
+30s  S > C PSH,ACK seq 1020 ack 229 ts 136101 102090 len 60
+11ms C > S PSH,ACK seq 229 ack 1080 ts 132112 136101 len 36
+11ms S > C ACK     seq 1080 ack 265 ts 136123 132112
+15s  S > C PSH,ACK seq 1080 ack 265 ts 151123 132112 len 60
+40ms C > S ACK     seq 265 ack 1140 ts 147163 151123
+30s  S > C PSH,ACK seq 1140 ack 265 ts 181163 147163 len 60
+40ms C > S ACK     seq 265 ack 1200 ts 177203 181163
+30s  S > C FIN,ACK seq 1200 ack 265 ts 211203 177203
+40ms C > S ACK     seq 265 ack 1201 ts 207243 211203
`, "app-hung likely", "app-hung likely", "app-hung likely"},
	{"ssh leaves after a single request that the kernel alone acknowledged", beating + `
+15s  C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+11ms S > C ACK     seq 984 ack 365 ts 106145 102134
+15s  C > S FIN,ACK seq 365 ack 984 ts 117145 106145
+40ms S > C ACK     seq 984 ack 366 ts 121185 117145
`, "heartbeat-timeout possible", "heartbeat-timeout possible", "heartbeat-timeout possible"},
	{"the user closes while a request waits for its answer", beating + `
+15s  C > S PSH,ACK seq 313 ack 984 ts 102134 91123 len 52
+11ms S > C ACK     seq 984 ack 365 ts 106145 102134
+7s   C > S FIN,ACK seq 365 ack 984 ts 109145 106145
+40ms S > C FIN,ACK seq 984 ack 366 ts 113185 109145
+11ms C > S ACK     seq 366 ack 985 ts 109196 113185
`, "closed", "closed", "closed"},
	{"an application resets when nothing acknowledges its heartbeats", beating + `
drop both
` + outlasted + `
+14130ms C > S RST,ACK seq 365 ack 984 ts 147134 91123
`, "undecided possible", "heartbeat-timeout possible", "not silent-drop"},
	{"a heartbeat in the clear, and the program's own patience", session + `
+15s   C > S PSH,ACK seq 157 ack 900 ts 57068 46057 data "PING\r\n"
+11ms  S > C PSH,ACK seq 900 ack 163 ts 61057 57068 data "PONG\r\n"
+11ms  C > S ACK     seq 163 ack 906 ts 57090 61057
+15s   C > S PSH,ACK seq 163 ack 906 ts 72068 61057 data "PING\r\n"
+11ms  S > C ACK     seq 906 ack 169 ts 76057 72068
+15s   C > S PSH,ACK seq 169 ack 906 ts 87068 76057 data "PING\r\n"
+11ms  S > C ACK     seq 906 ack 175 ts 91057 87068
+4s    C > S FIN,ACK seq 175 ack 906 ts 91068 91057
+11ms  S > C ACK     seq 906 ack 176 ts 95057 91068
+3s    S > C PSH,ACK seq 906 ack 176 ts 98057 91068 data "PONG\r\nPONG\r\n"
+11ms  C > S RST     seq 176 win 0 id 0
`, "heartbeat-timeout proven", "heartbeat-timeout likely", "heartbeat-timeout likely"},
}

// TestHeartbeatsInVain reads what is said of a heartbeat that was repeated in vain: that it
// arrived, and was answered, only where it was.
func TestHeartbeatsInVain(t *testing.T) {
	slept := beating + "drop both\n" + outlasted + fmt.Sprintf(ownData, "99123")
	awake := beating + "drop both\n" + outlasted + fmt.Sprintf(ownData, "721134")
	for _, c := range []struct {
		name, text   string
		both, client []string
	}{
		{"what the server sends later acknowledges nothing", awake,
			[]string{"what it repeated for 30.9 s did not arrive, and the server sent something of its own 10m31s after the heartbeat", "does not acknowledge it and is met by a RST", "!answered-too-late", "!slept"},
			[]string{"did not arrive", "An outage passed, or the server's host was away for a while", "!answered-too-late"}},
		{"the same, and the server's host slept", slept,
			[]string{"did not arrive", "The server's host slept meanwhile", "host-suspended", "!utage passed", "!what interrupted the path"}, nil},
		{"the last repetition arrives", beats[0].text,
			[]string{"what it repeated for 1m01s arrived in the end, and the answer came only 1m01s after the heartbeat", "An outage passed, and"},
			[]string{"what it repeated for 1m01s arrived, and", "An outage passed, or"}},
		{"the answers are lost", oneWayBack,
			[]string{"the first in vain arrived at once, the answers to it got lost", "An outage of the way to the client passed", "earlier ones get lost", "!arrived in the end"},
			[]string{"what it repeated for 18.3 s arrived, and the answer came only 1m58s after the heartbeat", "!in the end"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
			tells(t, "both", c.both, client, server)
			tells(t, "both, swapped", c.both, server, client)
			tells(t, "client alone", c.client, client)
		})
	}
}
