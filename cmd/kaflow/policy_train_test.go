package main

import (
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// joinedInTrain begins in the middle of a train of probes that nobody answers.
const joinedInTrain = `
0    C > S ACK     seq 156 ack 900
+75s C > S ACK     seq 156 ack 900
+75s C > S ACK     seq 156 ack 900
+75s C > S RST,ACK seq 157 ack 900
`

// joinedWithAnswer begins with the answer to a probe that is not in it, whose sender hears
// none of them.
const joinedWithAnswer = `
delay C 10ms
delay S 10ms
0      S > C ACK     seq 900 ack 157 lost
+75s   C > S ACK     seq 156 ack 900
+11ms  S > C ACK     seq 900 ack 157 lost
+75s   C > S ACK     seq 156 ack 900
+11ms  S > C ACK     seq 900 ack 157 lost
+75s   C > S RST,ACK seq 157 ack 900
`

// wholeTrain is a session that falls silent, and all of a train.
const wholeTrain = withoutTS + `
+60s C > S ACK     seq 156 ack 900 lost
+10s C > S ACK     seq 156 ack 900 lost
+10s C > S ACK     seq 156 ack 900 lost
+10s C > S RST,ACK seq 157 ack 900 lost
`

// TestPoliciesOfTrains reads what is told of a keepalive policy whose trains were captured
// whole or in part.
func TestPoliciesOfTrains(t *testing.T) {
	oneWay := ""
	for _, line := range strings.Split(wholeTrain, "\n") {
		if strings.Contains(line, "S > C") {
			line += " lost"
		}
		oneWay += line + "\n"
	}
	for _, c := range []struct {
		name, text     string
		client, server []string
	}{
		{"the capture begins in the train", joinedInTrain, []string{`"gave_up_after": null`, `"gave_up_after_at_least": 3`, `"observed_idle_s": null`}, nil},
		{"the capture begins with an answer", joinedWithAnswer, nil, []string{`"observed_idle_s": null`}},
		{"all of it", wholeTrain, []string{`"gave_up_after": 3`, `!at_least`, `"detection_s": 90`}, nil},
		{"the answers would not be in the capture", oneWay, []string{`"gave_up_after": null`, `"gave_up_after_at_least": 3`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
			tells(t, "client alone", c.client, client)
			tells(t, "server alone", c.server, server)
		})
	}
}

// A rotation that left some seconds out may have left probes out.
func TestPolicyOfATrainAcrossFiles(t *testing.T) {
	first := recorded(t, parsed(t, withoutTS), dialogue.Client)
	second := recorded(t, parsed(t, `
110s C > S ACK     seq 156 ack 900
+10s C > S ACK     seq 156 ack 900
+10s C > S ACK     seq 156 ack 900
+10s C > S RST,ACK seq 157 ack 900
`), dialogue.Client)
	tells(t, "joined", []string{`"gave_up_after": null`, `"gave_up_after_at_least": 3`, `"observed_idle_s": null`, `"interval_s": 10`}, first+","+second)
}
