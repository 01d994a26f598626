package flows_test

import (
	"testing"

	"kaflow/flows"
	"kaflow/internal/dialogue"
)

func TestACaptureOfOneDirection(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"SYNs alone", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n", false},
		{"what one host sends", "0 C > S ACK seq 99 ack 900\n+1s C > S PING 1\n", false},
		{"a SYN and its answer", "0 C > S SYN seq 99\n+1ms S > C SYN,ACK seq 899 ack 100\n", true},
		{"a ping and its answer, beside a SYN", "0 C > S SYN seq 99\n+1s C > S PING 1\n+1ms S > C PONG 1\n", true},
	} {
		if got := read(t, c.text, dialogue.Client, 1, flows.Options{}).BothWays(); got != c.want {
			t.Errorf("%s: BothWays is %v", c.name, got)
		}
	}
}
