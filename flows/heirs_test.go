package flows

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// The flows that may continue one another are found by their numbers as they are one by one,
// be they few or many.
func TestHeirsAreThoseThatMeet(t *testing.T) {
	for _, flows := range []int{manyBetween / 2, 20 * manyBetween} {
		rng := rand.New(rand.NewPCG(1, uint64(flows)))
		few := func() tcp.Seq { return tcp.Seq(rng.IntN(5+flows/16)) - 4 } // so that some meet, and numbers wrap
		var table Table
		var b capture.Batch
		ord := tcp.Ordinal(0)
		for n := range flows {
			seq, ack := few(), few()
			flags := tcp.ACK
			if rng.IntN(8) == 0 {
				flags = tcp.SYN
			}
			for d := range 1 + rng.IntN(2) {
				ord++
				b.N = 1
				b.Pkts[0] = capture.Packet{At: tcp.Instant(ord) * 1e6, Ord: ord, Proto: capture.TCP, Reversed: d == 1, Seg: tcp.Segment{Seq: seq, Ack: ack, Flags: flags, Len: uint32(rng.IntN(3)), Win: 500},
					Key: capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(100), Ports: uint32(1000+n)<<16 | 80}}
				b.Pkts[0].Settle()
				table.Add(&b)
				seq, ack, flags = ack, seq, tcp.ACK
			}
		}
		ids, found := slices.Collect(table.Flows()), 0
		for _, id := range ids {
			mine := table.edge(edgeAt(&table, id))
			var want []FlowID
			for _, other := range ids {
				if its := table.edge(edgeAt(&table, other)); other != id && (mine.meets(&its) || its.meets(&mine)) {
					want = append(want, other)
				}
			}
			if got := table.Heirs(id); len(want) < mostHeirs && !slices.Equal(got, want) || len(want) >= mostHeirs && len(got) < mostHeirs {
				t.Fatalf("%d flows: %d are found, want %d", flows, len(got), len(want))
			}
			found += len(want)
		}
		if found == 0 || found > len(ids)*len(ids)/4 {
			t.Errorf("%d flows: %d meetings", flows, found)
		}
	}
}

func edgeAt(t *Table, id FlowID) (*pool, uint32) { return t.at(uint32(id >> 32)) }
