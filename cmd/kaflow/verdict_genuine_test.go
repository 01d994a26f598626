package main

import (
	"strings"
	"testing"

	"kaflow/internal/dialogue"
)

// second is where another session comes from.
const second = "D 192.0.2.1:40001\ndelay D 10ms\n"

// healed are conversations in which something was lost and what came later says that no
// harm was done, or that it was.
var healed = []conversation{
	{"one probe is lost, the next are answered, and the program ends it", second + withoutTS + answered("+60s", "+60s", 2) + `
+60s C > S ACK seq 156 ack 900 lost
` + answered("+60s", "+60s", 4) + `
+25s C > S RST,ACK seq 157 ack 900
` + fresh, "closed", "closed", "closed"},
	{"one probe is lost, one answered, and the program ends it", second + withoutTS + answered("+60s", "+60s", 2) + `
+60s C > S ACK seq 156 ack 900 lost
` + answered("+60s", "+60s", 1) + `
+25s C > S RST,ACK seq 157 ack 900
` + fresh, "closed", "closed", "closed"},
	{"an end repeats in vain what it sent, and falls silent", session + `
drop C
+1s    C > S PSH,ACK seq 157  ack 900 ts 43057 46057 len 1000
+300ms C > S PSH,ACK seq 157  ack 900 ts 43357 46057 len 1000
+600ms C > S PSH,ACK seq 157  ack 900 ts 43957 46057 len 1000
+1s    S > C PSH,ACK seq 900  ack 157 ts 48957 42046 len 4
+11ms  C > S ACK     seq 1157 ack 904 ts 44968 48957
+18s   C > S PSH,ACK seq 157  ack 904 ts 62968 48957 len 1000
+1s    S > C PSH,ACK seq 900  ack 157 ts 67968 42046 len 4
+11ms  C > S ACK     seq 1157 ack 904 ts 63979 67968
+1s    C > S PSH,ACK seq 157  ack 904 ts 64979 67968 len 1000
` + passingTime, "-", "undecided possible", "-"},
	{"a hole is filled, and one capture misses what acknowledges that", session + hole + `
+200ms S > C PSH,ACK seq 900  ack 193 ts 47302 43057 len 1000
+11ms  C > S ACK     seq 193  ack 2900 ts 43313 47302 @server
` + passingTime, "idle", "idle", "idle"},
	{"a hole is not filled though its octets are seen again and again", session + strings.NewReplacer("1000", "600", "1900", "1500", "2900", "2100").Replace(hole) + `
+200ms S > C PSH,ACK seq 900  ack 193 ts 47302 43057 len 600
+400ms S > C PSH,ACK seq 900  ack 193 ts 47702 43057 len 600
` + passingTime, "undecided possible", "undecided possible", "-"},
}

// hole is an answer of which the first segment is lost.
const hole = `
+1s    C > S PSH,ACK seq 157  ack 900 ts 43057 46057 len 36
+11ms  S > C PSH,ACK seq 900  ack 193 ts 47068 43057 len 1000 lost
+1ms   S > C PSH,ACK seq 1900 ack 193 ts 47069 43057 len 1000
+11ms  C > S ACK     seq 193  ack 900 ts 43080 46057 sack 1900-2900
`

// passingTime are pings that go on for a while.
const passingTime = `
+10s  C > S PING 1
+11ms S > C PONG 1
+60s  C > S PING 2
+11ms S > C PONG 2
+60s  C > S PING 3
+11ms S > C PONG 3
`

func TestVerdictsOfGenuineEndings(t *testing.T) {
	for _, c := range healed {
		t.Run(c.name, func(t *testing.T) {
			script, err := dialogue.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			paths := []string{recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)}
			expect(t, "both", c.both, paths[0], paths[1])
			expect(t, "both, swapped", c.both, paths[1], paths[0])
			expect(t, "client alone", c.client, paths[0])
			expect(t, "server alone", c.server, paths[1])
		})
	}
}

// TestPolicyOfAHealedProbe holds that a probe that was lost, and repeated, tells nothing of
// after how many its side gives up.
func TestPolicyOfAHealedProbe(t *testing.T) {
	script, err := dialogue.Parse(healed[0].text)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ask(t, recorded(t, script, dialogue.Client)).Flows {
		for _, p := range f.Policies {
			if p.GaveUpAfter != nil {
				t.Errorf("%s gave up after %d, and its last probes were answered", p.End, *p.GaveUpAfter)
			}
		}
	}
}
