package flows_test

import (
	"strings"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// sender writes segments of made-up connections into a table, a millisecond
// apart.
type sender struct {
	table *flows.Table
	b     capture.Batch
	at    tcp.Instant
	ord   tcp.Ordinal
}

func newSender(o flows.Options) *sender {
	return &sender{table: &flows.Table{Options: o}, at: 1_700_000_000e9}
}

func (s *sender) send(ports uint32, reversed bool, flags tcp.Flags, seq, ack tcp.Seq, n uint32) {
	s.at += 1e6
	s.ord++
	s.b.Pkts[0] = capture.Packet{
		At: s.at, Ord: s.ord, Proto: capture.TCP, Reversed: reversed,
		Key: capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(2), Ports: ports},
		Seg: tcp.Segment{Seq: seq, Ack: ack, Len: n, Flags: flags, Win: 9, IPID: uint16(s.ord), TTL: 64},
	}
	s.b.N = 1
	s.table.Add(&s.b)
}

// connect opens a connection that begins at isn in both directions.
func (s *sender) connect(ports uint32, isn tcp.Seq) {
	s.send(ports, false, tcp.SYN, isn, 0, 0)
	s.send(ports, true, tcp.SYN|tcp.ACK, isn, isn+1, 0)
	s.send(ports, false, tcp.ACK, isn+1, isn+1, 0)
}

func (s *sender) finish(ports uint32, isn tcp.Seq) {
	s.send(ports, false, tcp.FIN|tcp.ACK, isn+1, isn+1, 0)
	s.send(ports, true, tcp.FIN|tcp.ACK, isn+1, isn+2, 0)
	s.send(ports, false, tcp.ACK, isn+2, isn+2, 0)
}

func TestOnePortPairUsedAHundredThousandTimes(t *testing.T) {
	const times = 100_000
	kinds := map[flows.Kind]int{}
	s := newSender(flows.Options{Label: func(l flows.Label) { kinds[l.Kind]++ }})
	for i := range times {
		isn := tcp.Seq(uint32(i) * 7_000_003)
		s.connect(9<<16|8, isn)
		if i%2 == 0 { // every other one dies with a reset and is worth keeping
			s.send(9<<16|8, true, tcp.RST|tcp.ACK, isn+1, isn+1, 0)
		} else {
			s.finish(9<<16|8, isn)
		}
	}
	if n := s.table.Streams(); n != times {
		t.Errorf("%d streams, want %d", n, times)
	}
	if kinds[flows.Stale]+kinds[flows.Unknown] != 0 {
		t.Errorf("%d stale and %d unknown segments, want none", kinds[flows.Stale], kinds[flows.Unknown])
	}
	before := uint32(times - 3)
	last := tcp.Seq(before * 7_000_003)
	s.send(9<<16|8, false, tcp.ACK, last, last+1, 0)
	if kinds[flows.Stale] != 1 {
		t.Errorf("a late probe of the connection before the last is no %s", flows.Stale)
	}
}

// What matters least leaves first: handshakes that came to nothing, then what
// ended well, then one direction, then idle connections without keepalives.
func TestOrderOfEviction(t *testing.T) {
	const limit = 64
	s := newSender(flows.Options{MaxFlows: limit})
	port := uint32(1000)
	next := func() uint32 { port++; return port<<16 | 8 }
	stays := next()
	s.connect(stays, 100)
	s.at += 60e9
	s.send(stays, false, tcp.ACK, 100, 101, 0)
	s.send(stays, true, tcp.ACK, 101, 101, 0)
	established := next()
	s.connect(established, 100)
	oneWay := next()
	s.send(oneWay, false, tcp.ACK, 5, 6, 1)
	s.send(oneWay, false, tcp.ACK, 6, 6, 1)
	held := func(ports uint32) bool {
		for id := range s.table.Flows() {
			if f, ok := s.table.Flow(id); ok && f.Key.Ports == ports {
				return true
			}
		}
		return false
	}
	for range 50 * limit {
		s.send(next(), false, tcp.SYN, 5, 0, 0)
	}
	if !held(stays) || !held(established) || !held(oneWay) {
		t.Fatalf("SYNs alone drove out: with keepalives %v, established %v, one direction %v", !held(stays), !held(established), !held(oneWay))
	}
	for range 50 * limit {
		p := next()
		s.connect(p, 7)
	}
	if held(oneWay) {
		t.Error("a flow seen in one direction outlives established ones")
	}
	if !held(stays) {
		t.Error("a flow with keepalives was driven out by ones without")
	}
	if n := s.table.Live(); n != limit {
		t.Errorf("%d flows held, want %d", n, limit)
	}
	if got := s.table.Evicted(); got < 99*limit-4 || got > 101*limit {
		t.Errorf("%d flows are counted as evicted", got)
	}
}

// TestStoriesThatJustFitAreWhole: a story that moves to a larger block needs only
// the difference.
func TestStoriesThatJustFitAreWhole(t *testing.T) {
	s := newSender(flows.Options{MaxEvents: 20})
	for ports := range uint32(10) {
		s.send(ports+1, false, tcp.SYN, 100, 0, 0)
		s.send(ports+1, true, tcp.SYN|tcp.ACK, 900, 101, 0)
	}
	if limits := s.table.Limits(); len(limits) > 0 {
		t.Errorf("ten stories of two events: %v", limits)
	}
	for id := range s.table.Flows() {
		if f, _ := s.table.Flow(id); len(f.Events) != 2 {
			t.Errorf("%d events, want 2", len(f.Events))
		}
	}
}

// A story that lacks an event says so, of whichever way it came, and nothing is known of silences
// from the first that was turned away on.
func TestStoriesThatLackEventsSaySo(t *testing.T) {
	s := newSender(flows.Options{MaxEvents: 8})
	for ports := range uint32(10) {
		s.send(ports+1, false, tcp.SYN, 100, 0, 0)
		s.send(ports+1, true, tcp.SYN|tcp.ACK, 900, 101, 0)
	}
	whole, cut := 0, 0
	for g := range s.table.Glances() {
		f, _ := s.table.Flow(g.ID)
		lacks := len(f.Events) < 2
		if g.Cut != lacks || (f.Cut > 0) != lacks || (len(f.Missing) > 0) != lacks || g.Cut && g.Survived != 0 {
			t.Errorf("%d of 2 events: %d cut, missing %v, at a glance %+v", len(f.Events), f.Cut, f.Missing, g)
		}
		if lacks {
			cut++
		} else {
			whole++
		}
	}
	if whole == 0 || cut == 0 || s.table.FoldedUntil() == 0 {
		t.Errorf("%d stories are whole, %d cut, the last event was turned away at %v; want some of each", whole, cut, s.table.FoldedUntil())
	}
}

// A story full of what stays is not one that lacks room: more of the same tells no more.
func TestAFullStoryIsNotCut(t *testing.T) {
	s := newSender(flows.Options{})
	s.connect(1, 100)
	for i := range 200 {
		s.at += 5e9
		s.ord++
		s.b.Buf = []byte{0x45, 12: 192, 13: 0, 14: 2, 15: byte(i), 19: 0}
		s.b.Pkts[0] = capture.Packet{
			At: s.at, Ord: s.ord, Proto: capture.ICMPError, ICMP: 3<<8 | 1, DataLen: 20,
			Key: capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(2), Ports: 1},
			Seg: tcp.Segment{Seq: 101, Ack: 101, Flags: tcp.ACK},
		}
		s.b.N = 1
		s.table.Add(&s.b)
	}
	for id := range s.table.Flows() {
		if f, _ := s.table.Flow(id); f.Cut > 0 || len(f.Events) < 32 {
			t.Errorf("%d events, %d cut", len(f.Events), f.Cut)
		}
	}
	if limits := s.table.Limits(); len(limits) != 1 || !strings.Contains(limits[0], "left out") {
		t.Errorf("limits: %q", limits)
	}
}
