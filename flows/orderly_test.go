package flows

import (
	"testing"

	"kaflow/tcp"
)

// A transfer one way goes the short way in both directions: data, and the
// acknowledgments of an end that has never sent any.
func TestATransferGoesTheShortWay(t *testing.T) {
	var table feeder
	data := tcp.Segment{Seq: 500, Ack: 100, Len: 1448, Flags: tcp.ACK, Win: 500, TTL: 64}
	ack := tcp.Segment{Seq: 100, Ack: 500, Flags: tcp.ACK, Win: 500, TTL: 60}
	long := 0
	for range 50 {
		for _, reversed := range []bool{true, true, false} {
			seg := &ack
			if reversed {
				seg = &data
			}
			if !table.short(1, reversed, *seg) {
				table.ord-- // again, any way
				table.send(1, reversed, *seg)
				long++
			}
			if reversed {
				data.Seq += 1448
				ack.Ack = data.Seq
			}
		}
	}
	if long > 10 { // the first ones, from which the flow is known
		t.Errorf("%d of 150 segments went the long way", long)
	}
}
