package flows_test

import (
	"io"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/dialogue"
)

// A SYN that nobody answered is told from all that looks like it.
func TestGlanceTellsUnansweredSYNs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"a SYN", "0 C > S SYN seq 99", true},
		{"a SYN, sent again", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+2s C > S SYN seq 99", true},
		{"refused", "0 C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 100", false},
		{"answered and left there", "0 C > S SYN seq 99\n+1ms S > C SYN,ACK seq 899 ack 100", false},
		{"a SYN with data", "0 C > S SYN seq 99 data \"hello\"", false},
		{"taken back", "0 C > S SYN seq 99\n+1ms C > S RST seq 100", false},
		{"an answer alone", "0 S > C SYN,ACK seq 899 ack 100", false},
		{"no SYN", "0 C > S ACK seq 99 ack 900", false},
	} {
		s, err := dialogue.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		source, err := s.Source("", capture.BatchSize)
		if err != nil {
			t.Fatal(err)
		}
		var table flows.Table
		var b capture.Batch
		for source.Read(&b) != io.EOF {
			table.Add(&b)
		}
		n := 0
		for g := range table.Glances() {
			if n++; g.Unanswered != c.want {
				t.Errorf("%s: unanswered is %v", c.name, g.Unanswered)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d flows", c.name, n)
		}
	}
}
