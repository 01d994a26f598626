package pairing

import (
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// gappy is a session of which the server's capture misses every third segment
// of the client, then so many probes of the client that nothing answers, and a
// last sign of life of the server.
func gappy(probes int) *world {
	s := talk(twoTaps(0), steadyHop(5*time.Millisecond)).handshake()
	for range 30 {
		s.data(flows.Client, 100, never).wait(2 * time.Second)
	}
	s.cut[flows.Client] = 1
	for range probes {
		s.probe(flows.Client).wait(time.Second)
	}
	s.put(flows.Server, flows.KeepaliveProbe, tcp.ACK, s.nxt[flows.Server].Add(-1), 0)
	last := len(s.w.wires) - probes - 1
	s.w.taps[1].drop = func(i int) bool {
		return i < last && i%3 == 0 && s.w.wires[i].from == flows.Client
	}
	return s.w
}

func TestWhatALossyCaptureLacksNeedNotBeLost(t *testing.T) {
	for _, tc := range []struct {
		probes int
		how    How
		sure   bool
	}{
		{1, Unknowable, false},
		{7, Lost, false},
		{40, Lost, true},
	} {
		w := gappy(tc.probes)
		p := matchSides(sidesOf(w), Options{}).Pairs[0]
		fates := fatesBetween(p, flows.Client, 0, 1)
		for _, f := range fates[len(fates)-tc.probes:] {
			if f.How != tc.how || f.How == Lost && f.Assumed == tc.sure {
				t.Errorf("one of %d probes that the server's capture lacks: %+v, want %v, sure %v (it misses %.2f)", tc.probes, f, tc.how, tc.sure, p.Misses[1])
			}
		}
	}
}

// repeatedInVain is a session of which the server repeats something, with longer and longer
// pauses: each copy arrives, and the acknowledgment that answers it is lost.
func repeatedInVain() *world {
	s := talk(twoTaps(0), steadyHop(5*time.Millisecond)).handshake()
	for range 5 {
		s.data(flows.Client, 100, never).data(flows.Server, 100, never).wait(2 * time.Second)
	}
	seq, kind := s.nxt[flows.Server], flows.Data
	s.nxt[flows.Server] = seq.Add(100)
	s.cut[flows.Client] = 1
	for n := range 8 {
		s.wait(s.flight(s.put(flows.Server, kind, tcp.ACK|tcp.PSH, seq, 100)) + 20*time.Millisecond)
		s.put(flows.Client, flows.DupACK, tcp.ACK, s.nxt[flows.Client], 0)
		s.wait(300 * time.Millisecond << n)
		kind = flows.Retransmission
	}
	return s.w
}

func TestAnAcknowledgmentOfWhatComesAgainLaterNeedNotHaveArrived(t *testing.T) {
	sides := sidesOf(repeatedInVain())
	sides[1].last = sides[1].flows[0].Last
	p := matchSides(sides, Options{}).Pairs[0]
	if rate := p.MissRate(1); rate != 0 {
		t.Errorf("the server's capture holds all that arrived, and is said to miss %.2f of it", rate)
	}
	lost := 0
	for _, f := range fatesBetween(p, flows.Client, 0, 1) {
		if f.How == Lost {
			lost++
		}
	}
	if lost < 7 { // behind the last one the captures end
		t.Errorf("%d acknowledgments are lost, want 8", lost)
	}
}

// What one capture lists and the other has folded, with something that was sent twice at
// the end, is not missed by that.
func TestWhatLiesInARunThatEndsWithARepetitionIsNotMissed(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(5*time.Millisecond)).handshake()
	for range 3 {
		s.data(flows.Client, 100, never).wait(2 * time.Second)
	}
	again, first := s.nxt[flows.Client], len(s.w.wires)
	s.data(flows.Client, 100, never).data(flows.Client, 100, never)
	s.put(flows.Client, flows.Retransmission, tcp.ACK, again, 100)
	last := len(s.w.wires) - 1
	s.wait(3*time.Second).data(flows.Client, 100, never)
	sides := sidesOf(s.w)
	far := sides[1].flows[0]
	fold(far, first, last)
	p := matchSides(sides, Options{}).Pairs[0]
	if rate := p.MissRate(1); rate != 0 {
		t.Errorf("the server's capture holds all that arrived, and is said to miss %.2f of it", rate)
	}
	for _, f := range fatesBetween(p, flows.Client, 0, 1) {
		if f.Reason == Acknowledged || f.How == Lost {
			t.Errorf("frame %d: %+v", f.Sent.Ord, f)
		}
	}
}

// fold makes a run of the events of a flow from one to another.
func fold(f *flows.Flow, first, last int) {
	end := f.Events[last]
	run := &flows.Run{Until: end.At, UntilOrd: end.Ord, Seq: end.Seq, Ack: end.Ack, TSVal: end.TSVal, LastFrom: end.From}
	for _, e := range f.Events[first : last+1] {
		run.Count[e.From]++
		run.Octets[e.From] += uint64(e.Len)
	}
	f.Events[first].Run = run
	f.Events = append(f.Events[:first+1], f.Events[last+1:]...)
}
