package flows

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/tcp"
)

// TestTheOrderOfFlowsMakesNoDifference: packets whose flows come in turn, nearly
// so, or in any order, on ports that are used again, among packets of other
// kinds, end as they do where each flow is looked up by its key.
func TestTheOrderOfFlowsMakesNoDifference(t *testing.T) {
	inTurn := 0
	rapid.Check(t, func(t *rapid.T) {
		packets := roundsOf(t)
		var guessed Table
		looked := Table{again: true} // as if ports had been used again: nothing is guessed
		for at := 0; at < len(packets); {
			n := min(rapid.SampledFrom([]int{12, 16, 24}).Draw(t, "batch"), len(packets)-at)
			var b capture.Batch
			b.N = copy(b.Pkts[:], packets[at:at+n])
			looked.Add(&b)
			for i := range b.N {
				b.Pkts[i].Settle()
			}
			guessed.Add(&b)
			if guessed.plan.turns {
				inTurn++
			}
			if looked.plan.turns {
				t.Fatal("the table that looks flows up did not")
			}
			at += n
		}
		if diff := cmp.Diff(allViews(&looked), allViews(&guessed), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
			t.Fatalf("looked up −, in turn +:\n%s", diff)
		}
	})
	if inTurn < 200 {
		t.Errorf("%d batches came in turn: the test tests nothing", inTurn)
	}
}

func allViews(table *Table) (all []*Flow) {
	for id := range table.Flows() {
		f, _ := table.Flow(id)
		all = append(all, f)
	}
	return all
}

// roundsOf draws rounds in which connections send, mostly one after the other.
func roundsOf(t *rapid.T) (packets []capture.Packet) {
	flows := rapid.IntRange(1, 40).Draw(t, "flows")
	disorder := rapid.SampledFrom([]int{0, 0, 1, 5, 50}).Draw(t, "disorder")
	wide := rapid.Bool().Draw(t, "IPv6")
	next := make([][2]tcp.Seq, flows)
	at := tcp.Instant(0)
	for range rapid.IntRange(10, 80).Draw(t, "rounds") {
		at += 30e9
		for k := range flows {
			flow, odd := k, rapid.IntRange(1, 100).Draw(t, "odd") <= disorder
			at += 1e6
			p := capture.Packet{At: at, Ord: tcp.Ordinal(len(packets) + 1), Proto: capture.TCP}
			if odd {
				flow = rapid.IntRange(0, flows-1).Draw(t, "flow")
				p.Proto = rapid.SampledFrom([]capture.Proto{capture.TCP, capture.TCP, capture.TCP, capture.Other, capture.Undecoded}).Draw(t, "proto")
			}
			p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: uint32(flow+1)<<16 | 22}
			if wide && flow%7 < 6 {
				p.Key.Lo[0], p.Key.Hi[0] = 0x20010db8, 0x20010db8
			}
			flags, n := tcp.ACK, uint32(0)
			if odd {
				flags = rapid.SampledFrom([]tcp.Flags{tcp.ACK, tcp.SYN, tcp.FIN | tcp.ACK, tcp.RST}).Draw(t, "flags")
				n = uint32(rapid.IntRange(0, 1).Draw(t, "data"))
			}
			for d := range 2 {
				q := p
				q.Reversed = d == 1
				q.Ord = tcp.Ordinal(len(packets) + 1)
				q.Seg = tcp.Segment{Seq: next[flow][d], Ack: next[flow][1-d], Flags: flags, Len: n, Win: 9, TTL: 64}
				if d == 0 && n == 0 && flags == tcp.ACK {
					q.Seg.Seq-- // a probe
				}
				next[flow][d] += tcp.Seq(n)
				packets = append(packets, q)
			}
		}
	}
	return packets
}
