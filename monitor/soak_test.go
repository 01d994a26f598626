package monitor_test

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/pairing"
	"kaflow/tcp"
)

// long reports whether soak tests run in their long form (make soak).
func long() bool { return os.Getenv("SOAK") == "long" }

// traffic makes packets and gives them to an engine as they are made.
type traffic struct {
	e   *monitor.Engine
	b   capture.Batch
	ord tcp.Ordinal
	at  tcp.Instant
}

// send gives one segment to the engine.
func (x *traffic) send(from, to netip.AddrPort, seg tcp.Segment) {
	x.ord++
	p := &x.b.Pkts[x.b.N]
	*p = capture.Packet{At: x.at, Ord: x.ord, Proto: capture.TCP, Seg: seg}
	p.Key, p.Reversed = capture.MakeKey(from, to, 0)
	p.Seg.TTL, p.Seg.Win = 64, 500
	if x.b.N++; x.b.N == capture.BatchSize {
		x.flush()
	}
}

func (x *traffic) flush() {
	x.e.Add(&x.b)
	x.b.N = 0
}

// open opens a connection; its client has sent up to sequence number 100, its
// server up to 900.
func (x *traffic) open(client, server netip.AddrPort) {
	x.send(client, server, tcp.Segment{Seq: 99, Flags: tcp.SYN})
	x.at = x.at.Add(time.Millisecond)
	x.send(server, client, tcp.Segment{Seq: 899, Ack: 100, Flags: tcp.SYN | tcp.ACK})
	x.at = x.at.Add(time.Millisecond)
	x.send(client, server, tcp.Segment{Seq: 100, Ack: 900, Flags: tcp.ACK})
}

// keepalive probes an open connection and answers.
func (x *traffic) keepalive(client, server netip.AddrPort) {
	x.send(client, server, tcp.Segment{Seq: 99, Ack: 900, Flags: tcp.ACK})
	x.at = x.at.Add(time.Millisecond)
	x.send(server, client, tcp.Segment{Seq: 900, Ack: 100, Flags: tcp.ACK})
}

func (x *traffic) close(client, server netip.AddrPort) {
	x.send(client, server, tcp.Segment{Seq: 100, Ack: 900, Flags: tcp.FIN | tcp.ACK})
	x.send(server, client, tcp.Segment{Seq: 900, Ack: 101, Flags: tcp.FIN | tcp.ACK})
	x.send(client, server, tcp.Segment{Seq: 101, Ack: 901, Flags: tcp.ACK})
}

var soakServer = netip.MustParseAddrPort("198.51.100.2:22")

// end returns client n of a range.
func end(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 22), byte(n >> 14), byte(n >> 6)}), uint16(1024+n&63))
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Days of 200 connections that live by their keepalives, and a short one each
// second: after the first day memory grows by less than a MiB a day, and nothing
// is told but that connections were seen.
func TestSoakDays(t *testing.T) {
	const settled, step = 20 * time.Hour, 4 * time.Hour
	total := 28 * time.Hour
	if long() {
		total = 14 * 24 * time.Hour
	}
	told := map[string]int{}
	x := &traffic{at: tcp.Instant(1_700_000_000e9)}
	x.e = monitor.New(monitor.Options{Emit: func(ev monitor.Event) { told[ev.What]++ }}, func() []capture.File { return nil }, nil)
	const steady = 200
	for n := range steady {
		x.open(end(n), soakServer)
	}
	begin := x.at
	var base uint64
	short := 0
	for second := 0; time.Duration(second)*time.Second < total; second++ {
		x.at = begin.Add(time.Duration(second) * time.Second)
		client := end(1_000_000 + second%3_000_000)
		x.open(client, soakServer)
		x.close(client, soakServer)
		short++
		for n := second % 75; n < steady; n += 75 {
			x.keepalive(end(n), soakServer)
		}
		since := time.Duration(second+1) * time.Second
		if since%step != 0 {
			continue
		}
		x.flush()
		size := heap()
		t.Logf("%v: %d KiB, %d connections in the table, %d remembered", since, size>>10, x.e.Table.Live(), x.e.Watched())
		switch {
		case since == settled:
			base = size
		case since > settled && size > base+uint64(1+(since-settled)/(24*time.Hour))<<20: // a MiB a day, for pairs of hosts are remembered
			t.Fatalf("%d KiB after %v, %d after %v", size>>10, since, base>>10, settled)
		}
	}
	x.e.Advance(x.at.Add(5 * time.Second)) // the last short one is seen to have ended
	if alive := x.e.States()["alive"]; alive != steady {
		t.Errorf("%d connections are alive, want %d", alive, steady)
	}
	if want := map[string]int{monitor.Seen: steady + short}; fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// A flood of SYNs from everywhere fills the table and no more; the connections
// that live by their keepalives stay, with their state.
func TestSoakFlood(t *testing.T) {
	tuples, table, most := 150_000, 60_000, uint64(30<<20)
	if long() {
		// A record of 256 octets, an event of 48 and an entry of the index each, and as many pairs of hosts as are remembered.
		tuples, table, most = 5_000_000, 1_000_000, uint64(340<<20)
	}
	told := map[string]int{}
	x := &traffic{at: tcp.Instant(1_700_000_000e9)}
	x.e = monitor.New(monitor.Options{MaxFlows: table, Emit: func(ev monitor.Event) { told[ev.What]++ }}, func() []capture.File { return nil }, nil)
	const steady = 50
	for n := range steady {
		x.open(end(n), soakServer)
	}
	for n := range tuples {
		x.at = x.at.Add(5 * time.Microsecond)
		x.send(end(100_000+n), soakServer, tcp.Segment{Seq: tcp.Seq(n), Flags: tcp.SYN})
		if n%(200_000) < steady { // a keepalive of each every second
			x.keepalive(end(n%200_000), soakServer)
		}
		if n > 0 && n%(tuples/5) == 0 {
			size := heap()
			t.Logf("%d tuples: %d MiB, %d connections in the table, %d remembered", n, size>>20, x.e.Table.Live(), x.e.Watched())
			if size > most {
				t.Fatalf("%d MiB, more than %d", size>>20, most>>20)
			}
		}
	}
	for n := range steady {
		x.at = x.at.Add(time.Second)
		x.keepalive(end(n), soakServer)
	}
	x.flush()
	if live, gone := x.e.Table.Live(), x.e.Table.Evicted(); live > table || live+gone != tuples+steady {
		t.Errorf("%d connections in a table of %d, %d evicted, of %d", live, table, gone, tuples+steady)
	}
	held := map[string]bool{}
	for id := range x.e.Table.Flows() {
		if f, ok := x.e.Table.Flow(id); ok && f.Sides[0].Probes > 0 && f.Sides[0].Probes == f.Sides[0].Answered {
			held[f.Sides[0].Addr.String()] = true
		}
	}
	for n := range steady {
		if !held[end(n).String()] {
			t.Errorf("%v is gone, or its probes are not answered", end(n))
		}
	}
	if told[monitor.Died] != 0 || told[monitor.ProbeLost] != 0 {
		t.Errorf("told %v", told)
	}
	// What the report counts at a glance is what a close look at each would say.
	begun := time.Now()
	totals := analyzer.Diagnose([]pairing.Point{x.e.Point()}, nil, analyzer.Options{MaxListed: 64}).Totals
	t.Logf("reported in %v: %v", time.Since(begun), totals.ByVerdict)
	if want := map[string]int{analyzer.Healthy: steady, analyzer.NotEstablished: x.e.Table.Live() - steady}; fmt.Sprint(totals.ByVerdict) != fmt.Sprint(want) {
		t.Errorf("the report counts %v, want %v", totals.ByVerdict, want)
	}
	n := 0
	for g := range x.e.Table.Glances() {
		if n++; n%997 != 0 {
			continue
		}
		d, ok := analyzer.One(x.e.Point(), g.ID)
		if !ok || g.Unanswered != (d.Verdict.ID == analyzer.NotEstablished) {
			t.Fatalf("%+v: a close look says %s", g, d.Verdict.ID)
		}
	}
}
