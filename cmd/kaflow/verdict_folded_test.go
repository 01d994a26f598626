package main

import (
	"fmt"
	"strings"
	"testing"
)

// rounds are n rounds of talk: every half a minute the server says something, the client
// answers, and the server acknowledges that.
func rounds(n int) string {
	var b strings.Builder
	for i := range n {
		c, s := 157+28*i, 900+44*i
		fmt.Fprintf(&b, "+30s S > C PSH,ACK seq %d ack %d len 44\n+11ms C > S PSH,ACK seq %d ack %d len 28\n+11ms S > C ACK seq %d ack %d\n",
			s, c, c, s+44, s+44, c+28)
	}
	return b.String()
}

// deafRounds is what follows n rounds where nothing of the server's arrives any more: both
// ends speak once more, and repeat it until each of them gives up.
func deafRounds(n int) string {
	var b strings.Builder
	c, s, wait := 157+28*n, 900+44*n, 250
	fmt.Fprintf(&b, "+30s S > C PSH,ACK seq %d ack %d len 44 lost\n+15ms C > S PSH,ACK seq %d ack %d len 28\n+11ms S > C ACK seq %d ack %d lost\n",
		s, c, c, s, s+44, c+28)
	for range 13 {
		fmt.Fprintf(&b, "+%dms S > C PSH,ACK seq %d ack %d len 44 lost\n+15ms C > S PSH,ACK seq %d ack %d len 28\n+11ms S > C ACK seq %d ack %d lost\n",
			wait, s, c+28, c, s, s+44, c+28)
		wait = min(2*wait, 120_000)
	}
	return b.String()
}

// mutedRounds is the same where the client alone speaks, and only acknowledgments are lost.
func mutedRounds(n int) string {
	var b strings.Builder
	c, s, wait := 157+28*n, 900+44*n, 250
	fmt.Fprintf(&b, "+30s C > S PSH,ACK seq %d ack %d len 28\n+11ms S > C ACK seq %d ack %d lost\n", c, s, s, c+28)
	for range 15 {
		fmt.Fprintf(&b, "+%dms C > S PSH,ACK seq %d ack %d len 28\n+11ms S > C ACK seq %d ack %d lost\n", wait, c, s, s, c+28)
		wait = min(2*wait, 120_000)
	}
	return b.String()
}

// What is repeated in vain for long fills a story: its first transmission, with which the
// loss begins, stays.
func TestTheFirstThatIsLostStaysInAFullStory(t *testing.T) {
	const before = 14
	first := strings.Count(withoutTS, " > ") + 3*before + 1
	for _, c := range []struct {
		name, text string
		first      int
	}{
		{"the server's data and acknowledgments", withoutTS + rounds(before) + deafRounds(before), first},
		{"acknowledgments alone", withoutTS + rounds(before) + mutedRounds(before), first + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := ends(t, c.text)
			expect(t, "both", "one-way-drop proven state-lost", client, server)
			tells(t, "both", []string{fmt.Sprintf("nothing arrives any more since frame #%d of ", c.first), `"first_lost":`, "!is not in that capture"}, client, server)
		})
	}
}
