package analyzer

import (
	"fmt"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// pool is what two captures hold of connections between a client and a server: each has a
// handshake and an exchange, is silent, and dies, its client asking in vain.
func pool(connections int, vantage int) (table *flows.Table, frames int) {
	var pkts []capture.Packet
	begin := tcp.Instant(1_700_000_000e9)
	for n := range connections {
		key, reversed := capture.MakeKey(endOf(0xc0000201, uint16(1024+n)), endOf(0xcb007105, 5432), 0)
		at, next, id := begin.Add(time.Duration(n)*time.Millisecond), [2]tcp.Seq{tcp.Seq(n * 7_000_003), tcp.Seq(n * 9_000_011)}, uint16(n*50)
		send := func(d int, flags tcp.Flags, octets uint32) {
			id++
			p := capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed == (d == 0), At: at}
			p.Seg = tcp.Segment{Seq: next[d], Ack: next[1-d], Len: octets, Flags: flags, Win: 500, IPID: id, TTL: 64,
				Opts: tcp.OptTimestamps, TSVal: uint32(at / 1e6), TSEcr: uint32(at/1e6) - 1}
			if d != vantage {
				p.Seg.TTL = 60
			}
			if flags == tcp.SYN {
				p.Seg.Ack = 0
			}
			if next[d] = next[d].Add(int(octets)); flags.Has(tcp.SYN) {
				next[d]++
			}
			pkts = append(pkts, p)
			at = at.Add(10 * time.Microsecond)
		}
		send(0, tcp.SYN, 0)
		send(1, tcp.SYN|tcp.ACK, 0)
		send(0, tcp.ACK, 0)
		send(0, tcp.ACK|tcp.PSH, 100)
		send(1, tcp.ACK|tcp.PSH, 200)
		send(0, tcp.ACK, 0)
		at = at.Add(10 * time.Minute)
		asked := next[0]
		for try := range 5 {
			next[0] = asked
			send(0, tcp.ACK|tcp.PSH, 40)
			if vantage != 0 {
				pkts = pkts[:len(pkts)-1] // lost before
			}
			at = at.Add(300 * time.Millisecond << try)
		}
	}
	return tableOf(pkts), len(pkts)
}

// All connections of a pool between one client and one server that die are told of, with two
// captures as with one. Each rule that asks for the others must not read them all: what takes
// minutes here hangs.
func TestPoolOfConnectionsThatDies(t *testing.T) {
	const connections = 3000
	var points []pairing.Point
	for vantage, name := range []string{"client", "server"} {
		table, frames := pool(connections, vantage)
		p := pointOf(name, table, tcp.Instant(1_700_000_000e9), frames)
		p.Files[0].Last = tcp.Instant(1_700_000_000e9).Add(11 * time.Minute)
		table.Advance(p.Files[0].Last)
		points = append(points, p)
	}
	for what, c := range map[string]struct {
		points []pairing.Point
		want   string
	}{
		"two captures": {points, SilentDrop},
		"one":          {points[:1], Undecided},
	} {
		done := make(chan map[string]int, 1)
		go func() {
			var result *pairing.Result
			if len(c.points) > 1 {
				result = pairing.Match(c.points, pairing.Options{})
			}
			done <- Diagnose(c.points, result, Options{MaxListed: 10}).Totals.ByVerdict
		}()
		select {
		case got := <-done:
			if got[c.want] != connections {
				t.Errorf("%s: %s, want %d times %s", what, fmt.Sprint(got), connections, c.want)
			}
		case <-time.After(3 * time.Minute):
			t.Fatalf("%s: not told in three minutes", what)
		}
	}
}
