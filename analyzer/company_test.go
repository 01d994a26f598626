package analyzer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Connections that may continue one another are found among many as they are one by one.
func TestMeetingFindsWhatMeets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	few := func() tcp.Seq { return tcp.Seq(rng.IntN(40)) - 20 } // so that many meet, and numbers wrap
	c := &company{}
	for range 10 * fewKin {
		s := &Subject{}
		for vantage := range 1 + rng.IntN(2) {
			s.edges = append(s.edges, edge{vantage: vantage, begins: rng.IntN(2) == 0, seq: few(), next: [2]tcp.Seq{few(), few()}, known: [2]bool{rng.IntN(4) > 0, rng.IntN(4) > 0}})
		}
		c.list = append(c.list, s)
	}
	meet := func(a, b *Subject) bool {
		return slices.ContainsFunc(a.edges, func(x edge) bool {
			return slices.ContainsFunc(b.edges, func(y edge) bool { return x.vantage == y.vantage && (x.meets(&y) || y.meets(&x)) })
		})
	}
	found := 0
	for _, s := range c.list {
		var want []*Subject
		for _, o := range c.list {
			if meet(s, o) {
				want = append(want, o)
			}
		}
		if got := c.meeting(s.edges); !slices.Equal(got, want) {
			t.Fatalf("of %d connections %d are found, want %d", len(c.list), len(got), len(want))
		}
		found += len(want)
	}
	if found == 0 {
		t.Fatal("none met")
	}
}

// A connection that goes on under another port is found behind however many others of the
// same hosts.
func TestContinuationBehindThousands(t *testing.T) {
	const others = maxKin + 1000
	var points []pairing.Point
	for vantage, name := range []string{"near", "far"} {
		begin, rng := tcp.Instant(1_700_000_000e9), rand.New(rand.NewPCG(3, 4))
		var pkts []capture.Packet
		send := func(port uint16, d int, at tcp.Instant, flags tcp.Flags, seq, ack tcp.Seq, octets uint32) {
			key, reversed := capture.MakeKey(endOf(0xc0000201, port), endOf(0xcb007105, 22), 0)
			p := capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed == (d == 0), At: at}
			p.Seg = tcp.Segment{Seq: seq, Ack: ack, Len: octets, Flags: flags, Win: 500, IPID: uint16(len(pkts)), TTL: 62, Opts: tcp.OptTimestamps, TSVal: uint32(at / 1e6), TSEcr: uint32(at/1e6) - 1}
			if d == vantage {
				p.Seg.TTL = 63
			}
			pkts = append(pkts, p)
		}
		open := func(port uint16, at tcp.Instant) (seq, ack tcp.Seq) {
			seq, ack = tcp.Seq(rng.Uint32()), tcp.Seq(rng.Uint32())
			send(port, 0, at, tcp.SYN, seq-1, 0, 0)
			send(port, 1, at+1e6, tcp.SYN|tcp.ACK, ack-1, seq, 0)
			send(port, 0, at+2e6, tcp.ACK, seq, ack, 0)
			send(port, 0, at+3e6, tcp.ACK|tcp.PSH, seq, ack, 100)
			send(port, 1, at+4e6, tcp.ACK|tcp.PSH, ack, seq+100, 100)
			send(port, 0, at+5e6, tcp.ACK, seq+100, ack+100, 0)
			return seq + 100, ack + 100
		}
		seq, ack := open(1024, begin)
		for n := range others {
			open(uint16(1025+n), begin.Add(time.Duration(n+1)*20*time.Millisecond))
		}
		again := begin.Add(10 * time.Minute)
		send(60_000, 0, again, tcp.ACK|tcp.PSH, seq, ack, 40)
		send(60_000, 1, again+1e6, tcp.RST, ack, 0, 0)
		table := tableOf(pkts)
		p := pointOf(name, table, begin, len(pkts))
		p.Files[0].Last = again.Add(time.Minute)
		table.Advance(p.Files[0].Last)
		points = append(points, p)
	}
	if got := Diagnose(points, pairing.Match(points, pairing.Options{}), Options{MaxListed: 10}).Totals.ByVerdict; got[NATRebind] != 2 {
		t.Errorf("%v, want both names of one connection as %s", got, NATRebind)
	}
}
