package flows

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// recordsOf returns what a table has of each flow, brought back from the short ways,
// without where it lies.
func recordsOf(t *Table) map[string]string {
	all := map[string]string{}
	for id := range t.Flows() {
		p, slot, _ := t.resolve(id)
		t.grow(p, slot)
		t.flush(p, slot)
		r := *p.record(slot)
		t.store(&r.cold)
		story := t.arena.events(r.cold.story)
		r.hot.echo, r.cold.story = 0, block{}
		r.cold.runAt, r.cold.runPeriod, r.cold.runRTT, r.cold.runOrd, r.cold.runTS, r.cold.runEcho, r.cold.beats = 0, span{}, span{}, 0, 0, 0, 0
		r.cold.flags &^= coldRun | coldRunHi
		all[fmt.Sprint(p.key(slot), r.cold.stream)] = fmt.Sprintf("%+v\n%+v", r, story)
	}
	return all
}

// talk draws packets of a few connections: probes and answers mostly, by IPv4 and
// IPv6, among everything else.
type talk struct {
	*rand.Rand
	next [][2]tcp.Seq
	at   tcp.Instant
	ord  tcp.Ordinal
	odd  int // of a hundred packets
}

func newTalk(seed uint64, flows, odd int) *talk {
	x := &talk{Rand: rand.New(rand.NewPCG(seed, 7)), next: make([][2]tcp.Seq, flows), at: 1_700_000_000e9, odd: odd}
	for i := range x.next {
		x.next[i] = [2]tcp.Seq{tcp.Seq(x.Uint32()), tcp.Seq(x.Uint32())}
	}
	return x
}

func (x *talk) packet(flow, d int) (p capture.Packet) {
	x.at += []tcp.Instant{0, 20e3, 1e6, 1e6, 2e6, 999e6, 30e9}[x.IntN(7)]
	x.ord++
	p = capture.Packet{At: x.at, Ord: x.ord, Proto: capture.TCP, Reversed: d == 1}
	p.Key.SetIPv4(0xc0000201, 0xc6336402, uint32(flow+1)<<16|22)
	if flow%3 == 2 {
		p.Key.Lo[0], p.Key.Hi[0] = 0x20010db8, 0x20010db8
	}
	next := &x.next[flow]
	s := &p.Seg
	*s = tcp.Segment{Seq: next[d], Ack: next[1-d], Flags: tcp.ACK, Win: 9, TTL: 64, IPID: uint16(x.ord)}
	if d == 0 {
		s.Seq-- // a probe
	}
	if x.IntN(100) < x.odd {
		switch x.IntN(9) {
		case 0:
			s.Seq, s.Len = next[d], uint32(1+x.IntN(3))
		case 1:
			s.Flags = []tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK, tcp.RST, tcp.FIN | tcp.ACK, tcp.PSH | tcp.ACK}[x.IntN(5)]
		case 2:
			s.Seq, s.Ack = s.Seq+tcp.Seq(x.IntN(5))-2, s.Ack+tcp.Seq(x.IntN(5))-2
		case 3:
			s.Win = 0
		case 4:
			s.TTL = uint8(60 + x.IntN(3))
		case 5:
			s.Opts, s.TSVal, s.TSEcr = tcp.OptTimestamps, uint32(x.at/1e6), uint32(x.IntN(5))
		case 6:
			p.Proto = []capture.Proto{capture.ICMPError, capture.Other, capture.ARP, capture.Undecoded}[x.IntN(4)]
			p.ICMP = 0x0300
		case 7:
			s.Seq++
		case 8:
			s.Len = 1
		}
	}
	if p.Proto == capture.TCP && (s.Seq + tcp.Seq(s.Len)).After(next[d]) {
		next[d] = s.Seq + tcp.Seq(s.Len)
	}
	p.Settle()
	return p
}

// sameRecords fails where two tables differ in what they have of a flow.
func sameRecords(t *testing.T, seed uint64, got, want *Table) {
	t.Helper()
	a, b := recordsOf(got), recordsOf(want)
	for key, record := range b {
		if a[key] != record {
			t.Fatalf("seed %d, flow %s:\n%s\nwant\n%s", seed, key, a[key], record)
		}
	}
	if len(a) != len(b) || got.now != want.now || got.last != want.last || fmt.Sprint(got.Limits()) != fmt.Sprint(want.Limits()) {
		t.Fatalf("seed %d: %d flows at %d, %v, want %d at %d, %v", seed, len(a), got.now, got.Limits(), len(b), want.now, want.Limits())
	}
}

// The short ways leave in the records what the long way does, where views do not
// show it, too.
func TestShortWaysLeaveTheSameRecords(t *testing.T) {
	for seed := range uint64(4000) {
		x := newTalk(seed, 1+int(seed%4), 10+int(seed%60))
		short, long := &Table{}, &Table{Options: Options{Label: func(Label) {}}}
		per := 1 + x.IntN(20)
		var b capture.Batch
		for range 1 + x.IntN(4) {
			for b.N = range per {
				b.Pkts[b.N] = x.packet(x.IntN(len(x.next)), x.IntN(2))
			}
			b.N = per
			same := b
			short.Add(&b)
			long.Add(&same)
		}
		sameRecords(t, seed, short, long)
	}
}

// Whether flows are looked for in turn makes no difference, wherever the turn is
// believed to be, whatever comes between and whichever flows leave.
func TestTurnsLeaveTheSameRecords(t *testing.T) {
	turns, found := 0, 0
	for seed := range uint64(1000) {
		x := newTalk(seed, 3+int(seed%28), []int{0, 2, 20}[seed%3])
		o := Options{}
		if seed%2 == 0 {
			o.MaxFlows = 3 + x.IntN(30)
		}
		turn, look := &Table{Options: o}, &Table{Options: o}
		turn.init()
		look.init()
		look.narrow.index.seed, look.wide.index.seed = turn.narrow.index.seed, turn.wide.index.seed
		wide := x.IntN(3) == 0
		var b capture.Batch
		for range 10 {
			for flow := range x.next {
				if wide != (flow%3 == 2) && x.IntN(20) > 0 {
					continue // mostly those of one pool
				}
				for d := range 2 {
					b.Pkts[b.N] = x.packet(flow, d)
					if b.N++; b.N < 16 {
						continue
					}
					w := &turn.plan
					if w.batches |= 1; x.IntN(4) > 0 { // between the batches that are looked at
						if w.inOrder, w.missed = &turn.narrow, 0; wide {
							w.inOrder = &turn.wide
						}
						if x.IntN(3) == 0 {
							w.next = [2]uint32{x.Uint32N(40), x.Uint32N(40)}
						}
					}
					look.plan.inOrder, look.plan.batches = nil, look.plan.batches|1
					same := b
					turn.Add(&b)
					look.Add(&same)
					if b.N = 0; w.turns {
						turns, found = turns+1, found+w.sought-w.missed
					}
				}
			}
		}
		sameRecords(t, seed, turn, look)
	}
	if turns < 1000 || found < 1000 {
		t.Errorf("%d batches took turns, %d packets came when theirs was: the test tests nothing", turns, found)
	}
}
