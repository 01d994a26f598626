package main

import (
	"fmt"
	"strings"
	"testing"
)

// greeted is a login over a path of 10 ms each way, of which both ends name themselves.
const greeted = `
delay C 10ms
delay S 10ms
clock server +1500ms
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5011 1000 wscale 7
+11ms C > S ACK     seq 100 ack 900 ts 1022 5011
+1ms  C > S PSH,ACK seq 100 ack 900 ts 1023 5011 data "SSH-2.0-OpenSSH_9.7\r\n"
+11ms S > C PSH,ACK seq 900 ack 121 ts 5034 1023 data "SSH-2.0-OpenSSH_9.7\r\n"
+11ms C > S ACK     seq 121 ack 921 ts 1045 5034
`

// A typist writes on in the session, of which this is the state of both ends.
type typist struct {
	strings.Builder
	ms, seq, ack int
}

func typing() *typist {
	w := &typist{ms: 45, seq: 121, ack: 921}
	w.WriteString(greeted)
	return w
}

// say sends octets of the client after a pause, and the server's answer of as many, or 0.
func (w *typist) say(pause, octets, answer int) *typist {
	w.ms += pause
	fmt.Fprintf(w, "+%dms C > S PSH,ACK seq %d ack %d ts %d %d len %d\n", pause, w.seq, w.ack, 1000+w.ms, 5000+w.ms-pause, octets)
	w.seq, w.ms = w.seq+octets, w.ms+11
	if answer == 0 {
		fmt.Fprintf(w, "+11ms S > C ACK seq %d ack %d ts %d %d\n", w.ack, w.seq, 5000+w.ms, 1000+w.ms-11)
		return w
	}
	fmt.Fprintf(w, "+11ms S > C PSH,ACK seq %d ack %d ts %d %d len %d\n", w.ack, w.seq, 5000+w.ms, 1000+w.ms-11, answer)
	w.ack, w.ms = w.ack+answer, w.ms+11
	fmt.Fprintf(w, "+11ms C > S ACK seq %d ack %d ts %d %d\n", w.seq, w.ack, 1000+w.ms, 5000+w.ms-11)
	return w
}

// keys are n of them, at no steady pace behind the first pause, of which each is echoed or,
// without an answer, acknowledged alone.
func (w *typist) keys(n, pause, octets, answer int) *typist {
	for i := range n {
		if i > 0 {
			pause = 400 + 700*(i%3)
		}
		w.say(pause, octets, answer)
	}
	return w
}

// onlyPings show for ten minutes that the captures go on.
var onlyPings = strings.Repeat("+60s C > S PING 1\n+10ms S > C PONG 1\n", 10)

func (w *typist) pings() string { return w.String() + onlyPings }

// probes has the client ask for ten minutes, and the server answer.
func (w *typist) probes() string {
	for range 10 {
		w.ms += 60000
		fmt.Fprintf(w, "+60s  C > S ACK seq %d ack %d ts %d %d\n", w.seq-1, w.ack, 1000+w.ms, 5000+w.ms-60000)
		w.ms += 11
		fmt.Fprintf(w, "+11ms S > C ACK seq %d ack %d ts %d %d\n", w.ack, w.seq, 5000+w.ms, 1000+w.ms-11)
	}
	return w.String()
}

// TestRequestsThatNobodyAnswers reads what is said of an open connection whose last data an
// application leaves unanswered, and of those of which nothing of the kind can be said.
func TestRequestsThatNobodyAnswers(t *testing.T) {
	waits := "with data are acknowledged, and unanswered by the server's application for 10m00s"
	none := []string{"!unanswered by", `!"app-hung"`}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"the shell echoes no more, and keepalives are answered", typing().keys(5, 9000, 36, 36).keys(4, 30000, 36, 0).probes(),
			[]string{"The client's last 4 segments " + waits, `"id": "healthy"`, `"verdict": "app-hung"`, "!and well"}},
		{"the shell echoes no more, and nothing else is said", typing().keys(5, 9000, 36, 36).keys(4, 30000, 36, 0).pings(),
			[]string{"The client's last 4 segments " + waits, `"id": "idle"`, "Nothing was asked since", "!Nothing was asked, so"}},
		{"a single query takes long", typing().keys(5, 9000, 36, 36).keys(1, 30000, 36, 0).pings(), none},
		{"a query of several segments takes long", typing().keys(5, 9000, 36, 36).say(30000, 36, 0).say(20, 36, 0).say(20, 36, 0).pings(), none},
		{"an upload", typing().keys(5, 9000, 36, 36).keys(4, 30000, 1448, 0).pings(), none},
		{"a stream that nobody answers", typing().keys(9, 9000, 36, 0).pings(), none},
		{"a stream behind a single request", typing().keys(1, 9000, 360, 36).keys(9, 30000, 36, 0).pings(), none},
		{"an answer took as long before", typing().keys(5, 9000, 36, 36).say(9000, 36, 0).say(60000, 36, 36).keys(4, 30000, 36, 0).pings(), none},
		{"the client closed its half", typing().keys(5, 9000, 36, 36).keys(4, 30000, 36, 0).String() + "+1s C > S FIN,ACK seq 445 ack 1101\n+11ms S > C ACK seq 1101 ack 446\n" + onlyPings, none},
		{"what the client says follows the server's word", typing().keys(5, 9000, 36, 36).keys(4, 300, 36, 0).pings(), none},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
			tells(t, "both", c.want, client, server)
			tells(t, "both, swapped", c.want, server, client)
			tells(t, "client alone", c.want, client)
			tells(t, "server alone", c.want, server)
		})
	}
}
