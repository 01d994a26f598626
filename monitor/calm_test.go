package monitor

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// tells reports whether a view of a connection has something that an engine tells of.
func tells(f *flows.Flow) bool {
	for s := range f.Sides {
		if f.Sides[s].Win == 0 && f.Sides[s].Segments > 0 && f.Sides[1-s].WindowProbes >= 2 {
			return true
		}
	}
	return over(f) || openProbes(f).n > 0 || repeated(f).n > 0
}

// asked feeds a table one packet at a time and asks it about the connection of each; of what is said
// to be calm a view must tell nothing.
type asked struct {
	table        *flows.Table
	touched      []flows.FlowID
	calm, uneasy int
}

func newAsked() *asked {
	a := &asked{}
	a.table = &flows.Table{Options: flows.Options{Touched: func(id flows.FlowID) { a.touched = append(a.touched, id) }}}
	return a
}

func (a *asked) add(t *testing.T, b *capture.Batch) {
	t.Helper()
	for i := range b.N {
		one := capture.Batch{N: 1, Buf: b.Buf}
		one.Pkts[0] = b.Pkts[i]
		a.touched = a.touched[:0]
		a.table.Add(&one)
		for _, id := range a.touched {
			last, calm := a.table.Calm(id)
			f, ok := a.table.Flow(id)
			if !ok {
				continue
			}
			if a.uneasy++; !calm {
				continue
			}
			if a.calm++; tells(f) || last != f.Last {
				t.Fatalf("frame %d: flow %s is said to be calm as of %d; it was seen at %d, %d probes and %d repetitions wait, over: %v", b.Pkts[i].Ord, f.Sides[0].Addr, last, f.Last, openProbes(f).n, repeated(f).n, over(f))
			}
		}
	}
}

// What is calm has nothing to tell: in captures, and in random conversations.
func TestCalmHasNothingToTell(t *testing.T) {
	paths, err := filepath.Glob("../testdata/pcaps/*/*.pcap*")
	if err != nil || len(paths) == 0 {
		t.Fatal("no captures:", err)
	}
	shared, _ := filepath.Glob("../../shared/pcaps/*.pcap*") // where they are
	all := newAsked()
	for _, path := range append(paths, shared...) {
		set, err := capture.Open(capture.Options{Copied: true}, path, path)
		if err != nil {
			continue
		}
		a := newAsked()
		var b capture.Batch
		for err = nil; !errors.Is(err, io.EOF); {
			err = set.Read(&b)
			a.add(t, &b)
		}
		set.Close()
		all.calm, all.uneasy = all.calm+a.calm, all.uneasy+a.uneasy
	}
	for seed := range uint64(400) {
		a := newAsked()
		a.add(t, randomTalk(rand.New(rand.NewPCG(seed, 1))))
		all.calm, all.uneasy = all.calm+a.calm, all.uneasy+a.uneasy
	}
	if all.calm < all.uneasy/4 {
		t.Errorf("%d of %d looks were calm: too few to be worth asking", all.calm, all.uneasy)
	}
}

// randomTalk is a conversation of two ends that send data, acknowledgments, keepalives, and the same
// again, of which some is lost, now at once, now after a while.
func randomTalk(rng *rand.Rand) *capture.Batch {
	b := &capture.Batch{Buf: make([]byte, 2048)}
	key, reversed := capture.MakeKey(netip.MustParseAddrPort("192.0.2.1:1024"), netip.MustParseAddrPort("203.0.113.5:22"), 0)
	at, next, acked := tcp.Instant(1_700_000_000e9), [2]tcp.Seq{1000, 9000}, [2]tcp.Seq{1000, 9000}
	for b.N < capture.BatchSize {
		d := rng.IntN(2)
		if at = at.Add(time.Duration(rng.IntN(1000)) * time.Microsecond); rng.IntN(6) == 0 {
			at = at.Add(time.Duration(rng.IntN(90)) * time.Second)
		}
		seg := tcp.Segment{Seq: next[d], Ack: acked[1-d], Flags: tcp.ACK, Win: 500, TTL: 64, IPID: uint16(rng.Uint32())}
		switch rng.IntN(12) {
		case 0, 1, 2:
			seg.Len = uint32(1 + rng.IntN(200))
			next[d] = next[d].Add(int(seg.Len))
		case 3:
			seg.Seq, seg.Len = acked[d], uint32(next[d].Sub(acked[d])) // again
		case 4, 5:
			seg.Seq-- // a keepalive
		case 6:
			seg.Seq, seg.Len = seg.Seq-1, 1
		case 7:
			if rng.IntN(6) == 0 {
				seg.Win = 0
			}
		case 8:
			if rng.IntN(30) == 0 {
				seg.Flags |= []tcp.Flags{tcp.FIN, tcp.RST}[rng.IntN(2)]
			}
		}
		if rng.IntN(8) > 0 { // what it acknowledges has come
			acked[1-d] = next[1-d]
			seg.Ack = acked[1-d]
		}
		if rng.IntN(10) == 0 {
			continue // lost before the capture
		}
		p := capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed == (d == 0), At: at, Ord: tcp.Ordinal(b.N + 1), Seg: seg}
		p.Settle()
		b.Pkts[b.N] = p
		b.N++
	}
	return b
}
