package flows

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// A table that is asked for the flows of two hosts while flows come and go
// answers from its index what reading it whole would.
func TestHostIndexFollowsTheTable(t *testing.T) {
	table := Table{Options: Options{MaxFlows: 300}}
	rng := rand.New(rand.NewPCG(7, 7))
	var b capture.Batch
	key := func() capture.Key {
		k := capture.Key{Ports: uint32(1+rng.IntN(40))<<16 | 22}
		k.Lo[2], k.Hi[2] = 0xffff, 0xffff
		k.Lo[3], k.Hi[3] = 0x0a000000+uint32(rng.IntN(30)), 0x0a010000+uint32(rng.IntN(3))
		if rng.IntN(4) == 0 {
			k.Lo[0], k.Hi[0], k.Lo[2], k.Hi[2] = 0x20010db8, 0x20010db8, 0, 0
		}
		return k
	}
	most := 0
	for i := range 20_000 {
		b.N = 1
		b.Pkts[0] = capture.Packet{Proto: capture.TCP, At: tcp.Instant(i+1) * 1e7, Ord: tcp.Ordinal(i + 1), Key: key(),
			Seg: tcp.Segment{Seq: tcp.Seq(rng.Uint32()), Ack: 1, Flags: []tcp.Flags{tcp.SYN, tcp.RST, tcp.ACK | tcp.PSH, tcp.FIN | tcp.ACK}[rng.IntN(4)], Len: uint32(rng.IntN(2))}}
		table.Add(&b)
		if i%7 != 0 {
			continue
		}
		k := key()
		got, want := table.flowsOf(&k), table.scanHosts(&k)
		if !slices.Equal(got, want) {
			t.Fatalf("after %d packets: flowsOf = %v, want %v", i+1, got, want)
		}
		most = max(most, len(want))
	}
	if most < 3 || table.byHosts.heads == nil || table.Evicted() == 0 {
		t.Errorf("at most %d flows of two hosts, %d evicted: the test tests nothing", most, table.Evicted())
	}
}
