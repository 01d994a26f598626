package main

import (
	"regexp"
	"strings"
	"testing"
)

// lostAnswers are conversations of a prober whose probes arrive and are answered, and of
// the answers at some moment none arrives any more.
var lostAnswers = []conversation{
	{"the server asks in vain", withoutTS + serverAnswered("+60s", "+60s", 6, "") + serverAnswered("+60s", "+10s", 4, " lost") + pinged, "one-way-drop proven", "-", "-"},
	{"the client asks in vain", withoutTS + answered("+60s", "+60s", 6) + unanswered("+60s", 4) + pinged, "one-way-drop proven", "-", "-"},
	{"the client's capture ends with its last probe", withoutTS + answered("+60s", "+60s", 6) + pinged + unanswered("+50s", 6), "one-way-drop proven", "-", "-"},
	{"nothing tells that the client does not hear them", withoutTS + answered("+60s", "+60s", 3) + strings.ReplaceAll(answered("+60s", "+60s", 6), "ack 157\n", "ack 157 lost\n") + pinged, "undecided possible", "-", "-"},
	{"nothing tells that the server does not hear them", withoutTS + serverAnswered("+60s", "+60s", 6, "") + serverAnswered("+60s", "+75s", 6, " lost") + pinged, "undecided possible", "-", "-"},
	{"the last answer of all, behind which nothing goes on", withoutTS + answered("+60s", "+60s", 6) + unanswered("+60s", 1) + pinged, "healthy", "-", "-"},
	{"the server's capture holds what it sends alone", regexp.MustCompile(`(?m)C > S.*$`).ReplaceAllString(withoutTS+answered("+60s", "+60s", 6), "$0 @client"), "healthy", "healthy", "-"},
}

const pinged = `
+2s   C > S PING 1
+11ms S > C PONG 1
`

// serverAnswered are n probes of the server with their answers, which have a fate.
func serverAnswered(first, then string, n int, fate string) string {
	probe := " S > C ACK seq 899 ack 157\n+10ms C > S ACK seq 157 ack 900" + fate + "\n"
	return first + probe + strings.Repeat(then+probe, n-1)
}

// unanswered are n probes of the client, 10 s apart but for the first one, whose answers are lost.
func unanswered(first string, n int) string {
	return strings.ReplaceAll(answered(first, "+10s", n), "ack 157\n", "ack 157 lost\n")
}

func TestVerdictsOfLostAnswers(t *testing.T) {
	for _, c := range lostAnswers {
		t.Run(c.name, func(t *testing.T) {
			client, server := c.judge(t)
			for _, f := range ask(t, client, server).Flows[0].Findings {
				if f.Rule == "packet-loss" {
					t.Errorf("finding %s, though nothing went on", f.Rule)
				}
			}
		})
	}
}
