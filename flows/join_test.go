package flows_test

import (
	"testing"

	"kaflow/capture"
	"kaflow/flows"
)

// Connections that are idle when the capture begins tell the same story whichever way
// they are joined, whatever comes behind their first segment.
func TestIdleConnectionsAreJoinedAsTheLongWayDoes(t *testing.T) {
	firsts := []string{
		"0 C > S ACK seq 99 ack 900", "0 C > S ACK seq 99 ack 900 ts 5 7", "0 C > S ACK seq 99 ack 900 badsum", "0 C > S ACK seq 99 ack 900 win 0",
		"0 S > C ACK seq 99 ack 900", "0 C > S ACK seq 99 ack 900 len 1", "0 C > S ACK seq 4294967295 ack 900",
	}
	seconds := []string{
		"+1ms S > C ACK seq 900 ack 100", "+1ms S > C ACK seq 900 ack 100 ts 7 5", "+1ms S > C ACK seq 900 ack 100 badsum", "+1ms S > C ACK seq 900 ack 100 win 0",
		"+1ms S > C ACK seq 900 ack 99", "+1ms S > C ACK seq 900 ack 101", "+1ms S > C ACK seq 899 ack 100", "+1ms S > C ACK seq 901 ack 100",
		"+999ms S > C ACK seq 900 ack 100", "+1s S > C ACK seq 900 ack 100", "+1ms S > C ACK seq 900 ack 100 len 5", "+1ms S > C ACK seq 900 ack 100 sack 99-100",
		"+1ms C > S ACK seq 99 ack 900", "+1ms C > S ACK seq 900 ack 100", "+1ms S > C RST seq 900", "+1ms S > C FIN,ACK seq 900 ack 100", "+1ms S > C ACK seq 900 ack 0",
		"+1ms C > S ACK seq 900 ack 0",
	}
	rests := []string{
		"\n+30s C > S ACK seq 99 ack 900\n+1ms S > C ACK seq 900 ack 100\n+30s C > S ACK seq 99 ack 900\n+30s C > S RST,ACK seq 100 ack 900",
		"\n+1us S > C ACK seq 900 ack 100 id 2000",
		"\n+50ms S > C ACK seq 899 ack 100\n+1ms C > S ACK seq 100 ack 900",
	}
	for _, first := range firsts {
		for _, second := range seconds {
			for _, rest := range rests {
				talk := first + "\n" + second + rest
				for _, per := range []int{1, capture.BatchSize} {
					sameStory(t, read(t, talk, "", per, flows.Options{}), read(t, talk, "", per, flows.Options{Label: func(flows.Label) {}}))
				}
			}
		}
	}
}

// The same where the arena has no room for their stories.
func TestIdleConnectionsAreJoinedWithoutRoom(t *testing.T) {
	const talk = "0 C > S ACK seq 99 ack 900\n+1ms S > C ACK seq 900 ack 100"
	for most := 1; most <= 3; most++ {
		short := read(t, talk, "", 1, flows.Options{MaxEvents: most})
		long := read(t, talk, "", 1, flows.Options{MaxEvents: most, Label: func(flows.Label) {}})
		sameStory(t, short, long)
		if a, b := short.Limits(), long.Limits(); len(a) != len(b) || len(a) > 0 && a[0] != b[0] {
			t.Errorf("room for %d events: limits %q, by the long way %q", most, a, b)
		}
	}
}
