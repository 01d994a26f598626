package main

import (
	"strings"
	"testing"
)

// A capture that ends amid what happens says so, and names what is still owed.
func TestCapturesThatEndTooSoonSayWhatIsOwed(t *testing.T) {
	const acked = opened + "+11ms C > S ACK seq 100 ack 900\n"
	const asked = acked + "+1ms C > S PSH,ACK seq 100 ack 900 len 41\n"
	const answered = asked + "+11ms S > C ACK seq 900 ack 141\n"
	for name, c := range map[string]struct{ text, want string }{
		"a SYN":                             {"delay C 10ms\n0 C > S SYN seq 99 mss 1460", "before the SYN could be answered"},
		"a SYN-ACK":                         {opened, "before the handshake could be completed"},
		"the handshake":                     {acked, "it ends right after the last segment"},
		"a question":                        {asked, "before what the client sent last could be acknowledged"},
		"an answer":                         {answered + "+1ms S > C PSH,ACK seq 900 ack 141 len 44\n", "what the server sent last is not acknowledged in it yet"},
		"a question, long before":           {asked + "+5s D > S SYN seq 4999 mss 1460\n", "What the client sent last was neither acknowledged in it nor sent again"},
		"an answered question, long before": {answered + "+5s D > S SYN seq 4999 mss 1460\n", "Nothing was asked, so nothing is known"},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := ends(t, c.text)
			for _, capture := range []string{client, server} {
				if f := sessionOf(t, name, capture); f != nil && !strings.Contains(f.Verdict.Summary, c.want) {
					t.Errorf("%q, want %q", f.Verdict.Summary, c.want)
				}
			}
		})
	}
}
