package analyzer

import (
	"math/rand/v2"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/pairing"
	"kaflow/tcp"
)

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
