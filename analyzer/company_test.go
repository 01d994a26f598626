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
// same hosts, and so is each of thousands that do.
func TestContinuationBehindThousands(t *testing.T) {
	const others = maxKin + 1000
	for _, tc := range []struct {
		name  string
		goOn  func(n int) bool
		reset bool // what goes on is reset, else both ends take it on
		want  int
	}{
		{"the first", func(n int) bool { return n == 0 }, true, 2},
		{"one in the midst", func(n int) bool { return n == others/2 }, true, 2},
		{"all but one", func(n int) bool { return n > 0 }, false, others},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var points []pairing.Point
			for vantage, name := range []string{"near", "far"} {
				points = append(points, continued(name, vantage, others, tc.goOn, tc.reset))
			}
			if got := Diagnose(points, pairing.Match(points, pairing.Options{}), Options{MaxListed: 10}).Totals.ByVerdict; got[NATRebind] < tc.want {
				t.Errorf("%v, want %d of %s", got, tc.want, NATRebind)
			}
		})
	}
}

// continued is what a vantage point sees of connections of two hosts that fall silent, and of those
// that go on under other ports ten minutes later.
func continued(name string, vantage, others int, goOn func(n int) bool, reset bool) pairing.Point {
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
	again := begin.Add(10 * time.Minute)
	var late []func()
	for n := range others + 1 {
		port, at := uint16(1024+n), begin.Add(time.Duration(n)*20*time.Millisecond)
		seq, ack := tcp.Seq(rng.Uint32()), tcp.Seq(rng.Uint32())
		send(port, 0, at, tcp.SYN, seq-1, 0, 0)
		send(port, 1, at+1e6, tcp.SYN|tcp.ACK, ack-1, seq, 0)
		send(port, 0, at+2e6, tcp.ACK, seq, ack, 0)
		send(port, 0, at+3e6, tcp.ACK|tcp.PSH, seq, ack, 100)
		send(port, 1, at+4e6, tcp.ACK|tcp.PSH, ack, seq+100, 100)
		send(port, 0, at+5e6, tcp.ACK, seq+100, ack+100, 0)
		if goOn(n) {
			late = append(late, func() {
				again += 2e5
				send(port+30_000, 0, again, tcp.ACK|tcp.PSH, seq+100, ack+100, 40)
				if reset {
					send(port+30_000, 1, again+1e5, tcp.RST, ack+100, 0, 0)
				} else {
					send(port+30_000, 1, again+1e5, tcp.ACK, ack+100, seq+140, 0)
				}
			})
		}
	}
	for _, f := range late {
		f()
	}
	table := tableOf(pkts)
	p := pointOf(name, table, begin, len(pkts))
	p.Files[0].Last = again.Add(100 * time.Millisecond)
	if reset {
		p.Files[0].Last = again.Add(time.Minute)
	}
	table.Advance(p.Files[0].Last)
	return p
}
