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

// What is asked in vain, and never acknowledged, has got over nothing when the other end
// says something of its own.
func TestNothingPassedWhereNothingIsAcknowledged(t *testing.T) {
	const asked = " C > S PSH,ACK seq 157 ack 900 len 28 lost\n"
	client, _ := ends(t, withoutTS+"+30s"+asked+"+300ms"+asked+"+600ms"+asked+"+1200ms"+asked+"+2400ms"+asked+`
+4s   S > C PSH,ACK seq 900 ack 157 len 44
+40ms C > S ACK seq 185 ack 944 lost
+600ms S > C PSH,ACK seq 900 ack 157 len 44
+10ms C > S ACK seq 185 ack 944 lost
+200ms C > S PSH,ACK seq 157 ack 944 len 28 lost
+900s S > C PSH,ACK seq 900 ack 157 len 44
`)
	tells(t, "client alone", []string{"!transient-outage"}, client)
}

// askedAtOnePace are n answered keepalives, half a minute apart, and as many as follow of
// which the answers are lost, until the client gives up.
func askedAtOnePace(answered, lost int) string {
	var b strings.Builder
	at, echo := 42046, 46057
	for i := range answered + lost {
		fate := ""
		if i >= answered {
			fate = " lost"
		}
		at += 30_000
		fmt.Fprintf(&b, "+30s C > S ACK seq 156 ack 900 ts %d %d\n+11ms S > C ACK seq 900 ack 157 ts %d %d%s\n", at, echo, at+4011, at, fate)
		if at += 11; i < answered {
			echo = at + 4000
		}
	}
	fmt.Fprintf(&b, "+30s C > S RST,ACK seq 157 ack 900 ts %d %d\n", at+30_000, echo)
	return b.String()
}

// The server's capture has answers that were lost in one row with those that arrived: their
// frames are not told apart, and the last one is not the first.
func TestTheLastOfARowIsNotTheFirstThatIsLost(t *testing.T) {
	client, server := ends(t, session+askedAtOnePace(8, 5))
	expect(t, "both", "one-way-drop proven state-lost", client, server)
	last := fmt.Sprintf("frame #%d of server.pcap", strings.Count(session, " > ")+2*(8+5))
	tells(t, "both", []string{"nothing arrives any more since about ", last + " at the latest", "which frame was lost first", "!any more since frame"}, client, server)
	client, server = ends(t, session+askedAtOnePace(8, 1)+"+1s C > S PING 1\n+11ms S > C PONG 1\n")
	tells(t, "one answer", []string{"!at the latest"}, client, server)
	const shipped = "../../testdata/pcaps/ssh-one-way-drop/" // the whole row is lost
	tells(t, "from its first answer on", []string{"nothing arrives any more since frame #50 of server.pcap"}, shipped+"client.pcap", shipped+"server.pcap")
}
