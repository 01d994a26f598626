package analyzer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
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

// tableOf is a table that has read packets in the order of their times.
func tableOf(pkts []capture.Packet) *flows.Table {
	slices.SortStableFunc(pkts, func(a, b capture.Packet) int { return cmp.Compare(a.At, b.At) })
	var table flows.Table
	b := capture.Batch{Buf: make([]byte, 64)}
	for i := range pkts {
		pkts[i].Ord = tcp.Ordinal(i + 1)
		pkts[i].Settle()
		b.Pkts[b.N] = pkts[i]
		if b.N++; b.N == capture.BatchSize || i == len(pkts)-1 {
			table.Add(&b)
			b.N = 0
		}
	}
	return &table
}

// A capture full of single segments, as of a scan or a flood, counts most of
// them at a glance. What they are counted as is what a close look at each says.
func TestLoneSegmentsAtAGlance(t *testing.T) {
	const crowd, seconds = manyFlows + mostInDanger + 5000, 10
	rng := rand.New(rand.NewPCG(3, 4))
	var pkts []capture.Packet
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
		pkts = append(pkts, capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed, Seg: seg, DataLen: seg.Len,
			At: begin.Add(time.Duration(n) * seconds * time.Second / crowd)})
	}
	point := pointOf("flood", tableOf(pkts), begin, crowd)
	lone := 0
	want := sameAtAGlance(t, point, func(g *flows.Glance) {
		if g.Lone != flows.NotLone {
			lone++
		}
	})
	if lone < crowd*8/10 || len(want) < 3 {
		t.Errorf("%d of %d are single segments, of %v: the test tests nothing", lone, crowd, want)
	}
}

// sameAtAGlance compares what a report counts the connections of a point as with what a close
// look at each says, which it returns.
func sameAtAGlance(t *testing.T, point pairing.Point, each func(*flows.Glance)) map[string]int {
	t.Helper()
	want := map[string]int{}
	for g := range point.Table.Glances() {
		d, ok := One(point, g.ID)
		if !ok {
			t.Fatal("a flow is gone")
		}
		want[d.Verdict.ID]++
		each(g)
	}
	got := Diagnose([]pairing.Point{point}, nil, Options{MaxListed: 10}).Totals.ByVerdict
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, a close look at each says %v", got, want)
	}
	return want
}

// Of connections that were turned down, as those of a port scan are, most are counted at a
// glance, too.
func TestRefusalsAtAGlance(t *testing.T) {
	const crowd, seconds = manyFlows + mostInDanger + 5000, 10
	rng := rand.New(rand.NewPCG(5, 6))
	begin := tcp.Instant(1_700_000_000e9)
	var pkts []capture.Packet
	for n := range crowd {
		key, reversed := capture.MakeKey(endOf(0x0a000000+uint32(n), uint16(1024+n%50_000)), endOf(0xc0000201, uint16(1+n%1000)), 0)
		at, isn := begin.Add(time.Duration(n)*seconds*time.Second/crowd), tcp.Seq(rng.Uint32())
		send := func(back bool, after time.Duration, seg tcp.Segment) {
			seg.TTL, seg.IPID = 60, uint16(rng.Uint32())
			pkts = append(pkts, capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed != back, Seg: seg, At: at.Add(after)})
		}
		rst, after := tcp.Segment{Ack: isn + 1, Flags: tcp.RST | tcp.ACK}, time.Millisecond
		send(false, 0, tcp.Segment{Seq: isn, Win: 1024, Flags: tcp.SYN})
		switch rng.IntN(12) {
		case 0, 1:
			send(false, time.Second, tcp.Segment{Seq: isn, Win: 1024, Flags: tcp.SYN})
			after += time.Second
		case 2:
			rst.Ack++
		case 3:
			rst.Flags, rst.Ack = tcp.RST, 0
		case 4:
			send(true, after, tcp.Segment{Seq: 77, Ack: isn + 1, Win: 1024, Flags: tcp.SYN | tcp.ACK})
			rst.Seq = 78
		case 5:
			after = 3 * time.Second
		}
		send(true, after, rst)
	}
	refused := 0
	want := sameAtAGlance(t, pointOf("scan", tableOf(pkts), begin, len(pkts)), func(g *flows.Glance) {
		if g.Refused {
			refused++
		}
	})
	if refused < crowd*5/10 || refused == crowd || want[NotEstablished] == 0 {
		t.Errorf("%d of %d are turned down, of %v: the test tests nothing", refused, crowd, want)
	}
}

// Of a capture of one direction the connections that the end that was captured has closed are counted
// at a glance, too.
func TestOneDirectionAtAGlance(t *testing.T) {
	const crowd, seconds = manyFlows + mostInDanger + 5000, 5
	rng := rand.New(rand.NewPCG(7, 8))
	begin := tcp.Instant(1_700_000_000e9)
	var pkts []capture.Packet
	for n := range crowd {
		key, reversed := capture.MakeKey(endOf(0x0a000000+uint32(n), uint16(1024+n%50_000)), endOf(0xc0000201, 80), 0)
		at, next, acked := begin.Add(time.Duration(n)*seconds*time.Second/crowd), tcp.Seq(rng.Uint32()), tcp.Seq(rng.Uint32())
		send := func(after time.Duration, flags tcp.Flags, octets uint32) {
			at = at.Add(after)
			seg := tcp.Segment{Seq: next, Ack: acked, Win: 1024, Flags: flags, Len: octets, TTL: 60, IPID: uint16(rng.Uint32())}
			next = seg.End()
			pkts = append(pkts, capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed, Seg: seg, At: at})
		}
		odd, pause := rng.IntN(24), time.Duration(0)
		if n < crowd/4 { // others would go on beyond the rest
			pause = 2 * time.Second
		}
		if odd != 0 {
			send(0, tcp.SYN, 0)
			pkts[len(pkts)-1].Seg.Ack = 0
		}
		send(time.Millisecond, tcp.ACK, 0)
		for range rng.IntN(4) {
			send(time.Millisecond, tcp.ACK|tcp.PSH, 40)
			acked += 100
		}
		switch odd {
		case 1: // it stays open
			continue
		case 2: // something is missing
			next += 7
		case 3:
			send(time.Millisecond, tcp.RST, 0)
			continue
		case 4:
			send(pause, tcp.ACK, 0)
		case 5: // a probe
			next--
			send(pause, tcp.ACK, 0)
			next++
		}
		send(time.Millisecond, tcp.FIN|tcp.ACK, 0)
		switch odd {
		case 6, 7:
			next--
			send(300*time.Millisecond, tcp.FIN|tcp.ACK, 0)
		default:
			acked++
			send(time.Duration(rng.IntN(2))*pause, tcp.ACK, 0)
		}
	}
	unheard := 0
	want := sameAtAGlance(t, pointOf("span", tableOf(pkts), begin, len(pkts)), func(g *flows.Glance) {
		if g.Unheard != 0 {
			unheard++
		}
	})
	if unheard < crowd*4/10 || unheard == crowd || want[ClosedNormally] == 0 || want[CaptureGap] <= mostInDanger || want[Idle] == 0 {
		t.Errorf("%d of %d are of one end, of %v: the test tests nothing", unheard, crowd, want)
	}
}
