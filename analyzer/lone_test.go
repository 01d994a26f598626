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
func tableOf(pkts []capture.Packet) *flows.Table { return tableWith(flows.Options{}, pkts) }

// tableWith is tableOf with options.
func tableWith(o flows.Options, pkts []capture.Packet) *flows.Table {
	slices.SortStableFunc(pkts, func(a, b capture.Packet) int { return cmp.Compare(a.At, b.At) })
	table := flows.Table{Options: o}
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

// crowded is how many connections are so many that those that come in floods are counted at a
// glance.
const crowded = manyFlows + mostInDanger + 5000

// crowdOf is the vantage point of a capture of so many connections to one server, which begin one
// after the other over a while. talk sends the segments of connection n, each so long after it
// began; back says that the server does.
func crowdOf(seed uint64, over time.Duration, talk func(n int, rng *rand.Rand, send func(back bool, after time.Duration, seg tcp.Segment))) pairing.Point {
	rng, begin := rand.New(rand.NewPCG(seed, seed+1)), tcp.Instant(1_700_000_000e9)
	var pkts []capture.Packet
	for n := range crowded {
		key, reversed := capture.MakeKey(endOf(0x0a000000+uint32(n), uint16(1024+n%50_000)), endOf(0xc0000201, uint16(1+n%1000)), 0)
		at := begin.Add(time.Duration(n) * over / crowded)
		talk(n, rng, func(back bool, after time.Duration, seg tcp.Segment) {
			seg.TTL, seg.IPID = 60, uint16(rng.Uint32())
			pkts = append(pkts, capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed != back, Seg: seg, DataLen: seg.Len, At: at.Add(after)})
		})
	}
	return pointOf("crowd", tableOf(pkts), begin, len(pkts))
}

// A capture full of single segments, as of a scan or a flood, counts most of
// them at a glance. What they are counted as is what a close look at each says.
func TestLoneSegmentsAtAGlance(t *testing.T) {
	point := crowdOf(3, 10*time.Second, func(n int, rng *rand.Rand, send func(bool, time.Duration, tcp.Segment)) {
		seg := tcp.Segment{Seq: tcp.Seq(rng.Uint32()), Win: 1000, Flags: tcp.ACK, Ack: tcp.Seq(rng.Uint32())}
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
		send(n%2 == 0, 0, seg)
	})
	lone := 0
	want := sameAtAGlance(t, point, func(g *flows.Glance) {
		if g.Lone != flows.NotLone {
			lone++
		}
	})
	if lone < crowded*8/10 || len(want) < 3 {
		t.Errorf("%d of %d are single segments, of %v: the test tests nothing", lone, crowded, want)
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
	point := crowdOf(5, 10*time.Second, func(_ int, rng *rand.Rand, send func(bool, time.Duration, tcp.Segment)) {
		isn := tcp.Seq(rng.Uint32())
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
	})
	refused := 0
	want := sameAtAGlance(t, point, func(g *flows.Glance) {
		if g.Refused {
			refused++
		}
	})
	if refused < crowded*5/10 || refused == crowded || want[NotEstablished] == 0 {
		t.Errorf("%d of %d are turned down, of %v: the test tests nothing", refused, crowded, want)
	}
}

// Of a capture of one direction the connections that the end that was captured has closed are counted
// at a glance, too, but not where it recorded nothing for a while behind their FIN.
func TestOneDirectionAtAGlance(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		holed bool
	}{{2 * time.Second, false}, {2 * time.Second, true}, {12 * time.Second, false}} {
		point := crowdOf(7, 5*time.Second, func(n int, rng *rand.Rand, send func(bool, time.Duration, tcp.Segment)) {
			oneDirection(n < crowded/4, c.pause, rng, send)
		})
		if c.holed {
			from := point.Files[0].First.Add(time.Second)
			point.Holes = []capture.Interval{{From: from, To: from.Add(time.Millisecond), Why: capture.WhyDropped}}
		}
		unheard := 0
		want := sameAtAGlance(t, point, func(g *flows.Glance) {
			if g.Unheard != 0 {
				unheard++
			}
		})
		if unheard < crowded*4/10 || unheard == crowded || want[ClosedNormally] == 0 || want[Idle] == 0 || c.pause == 2*time.Second && want[CaptureGap] <= mostInDanger {
			t.Errorf("%d of %d are of one end, of %v: the test tests nothing", unheard, crowded, want)
		}
	}
}

// oneDirection sends what a client sends on a connection that it closes, mostly, and that has pauses
// if it is early: others would go on beyond the rest.
func oneDirection(early bool, pause time.Duration, rng *rand.Rand, send func(bool, time.Duration, tcp.Segment)) {
	next, acked, at := tcp.Seq(rng.Uint32()), tcp.Seq(rng.Uint32()), time.Duration(0)
	sends := func(after time.Duration, flags tcp.Flags, octets uint32) {
		at += after
		seg := tcp.Segment{Seq: next, Win: 1024, Flags: flags, Len: octets}
		if flags != tcp.SYN {
			seg.Ack = acked
		}
		next = seg.End()
		send(false, at, seg)
	}
	odd := rng.IntN(24)
	if !early {
		pause = 0
	}
	if odd != 0 {
		sends(0, tcp.SYN, 0)
	}
	sends(time.Millisecond, tcp.ACK, 0)
	for range rng.IntN(4) {
		sends(time.Millisecond, tcp.ACK|tcp.PSH, 40)
		acked += 100
	}
	switch odd {
	case 1: // it stays open
		return
	case 2: // something is missing
		next += 7
	case 3:
		sends(time.Millisecond, tcp.RST, 0)
		return
	case 4:
		sends(pause, tcp.ACK, 0)
	case 5: // a probe
		next--
		sends(pause, tcp.ACK, 0)
		next++
	case 8: // a late FIN
		at += pause
	case 9: // data that is sent again
		next -= 40
		sends(300*time.Millisecond, tcp.ACK|tcp.PSH, 40)
	}
	sends(time.Millisecond, tcp.FIN|tcp.ACK, 0)
	switch odd {
	case 6, 7:
		next--
		sends(300*time.Millisecond, tcp.FIN|tcp.ACK, 0)
	default:
		acked++
		sends(time.Duration(rng.IntN(2))*pause, tcp.ACK, 0)
	}
}
