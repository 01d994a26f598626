package analyzer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

func endOf(addr uint32, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), port)
}

// pointOf is the vantage point of a table that has read so many frames of one file,
// all of TCP, from a moment on.
func pointOf(name string, table *flows.Table, begin tcp.Instant, frames int) pairing.Point {
	file := capture.File{Path: tcp.Untrusted(name + ".pcap"), Complete: true, Frames: uint64(frames), TCPFrames: uint64(frames), First: begin, Last: table.Now()}
	return pairing.Point{Name: name, Table: table, Files: []capture.File{file}, Frame: func(o tcp.Ordinal) (int, uint64) { return 0, uint64(o) }}
}

// A capture full of single segments, as of a scan or a flood, counts most of
// them at a glance. What they are counted as is what a close look at each says.
func TestLoneSegmentsAtAGlance(t *testing.T) {
	const crowd, seconds = manyFlows + mostInDanger + 5000, 10
	rng := rand.New(rand.NewPCG(3, 4))
	var table flows.Table
	var b capture.Batch
	b.Buf = make([]byte, 64)
	begin := tcp.Instant(1_700_000_000e9)
	for n := range crowd {
		key, reversed := capture.MakeKey(endOf(0x0a000000+uint32(n), uint16(1024+n%50_000)), endOf(0xc0000201, 443), 0)
		seg := tcp.Segment{Seq: tcp.Seq(rng.Uint32()), Win: 1000, TTL: 60, Flags: tcp.ACK, Ack: tcp.Seq(rng.Uint32())}
		switch rng.IntN(7) {
		case 0:
			seg.Flags, seg.Ack, seg.Win = tcp.RST, 0, 0
		case 1:
			seg.Flags |= tcp.RST
		case 2:
			seg.Len = 10
		case 3:
			seg.Len = 1
		case 4:
			seg.Win = 0
		case 5:
			seg.Flags |= tcp.PSH | tcp.URG
		}
		if n%2 == 0 {
			reversed = !reversed
		}
		b.Pkts[b.N] = capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed, Seg: seg, DataLen: seg.Len,
			At: begin.Add(time.Duration(n) * seconds * time.Second / crowd), Ord: tcp.Ordinal(n + 1)}
		if b.N++; b.N == capture.BatchSize || n == crowd-1 {
			table.Add(&b)
			b.N = 0
		}
	}
	point := pointOf("flood", &table, begin, crowd)
	want := map[string]int{}
	lone := 0
	for g := range table.Glances() {
		d, ok := One(point, g.ID)
		if !ok {
			t.Fatal("a flow is gone")
		}
		want[d.Verdict.ID]++
		if g.Lone != flows.NotLone {
			lone++
		}
	}
	got := Diagnose([]pairing.Point{point}, nil, Options{MaxListed: 10}).Totals.ByVerdict
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, a close look at each says %v", got, want)
	}
	if lone < crowd*8/10 || len(want) < 3 {
		t.Errorf("%d of %d are single segments, of %v: the test tests nothing", lone, crowd, want)
	}
}
