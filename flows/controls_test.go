package flows

import (
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// echo hands a table a ping, by identifier and sequence number, or its answer between two hosts.
func echo(t *Table, at int, id uint32, answer bool) {
	var b capture.Batch
	b.N = 1
	p := &b.Pkts[0]
	*p = capture.Packet{Proto: capture.Echo, At: tcp.Instant(at) * 1e9, Ord: tcp.Ordinal(2*at + 1), ICMP: 8 << 8, Reversed: answer}
	p.Key.SetIPv4(0x0a000001, 0x0b000001, 0)
	p.Seg.Seq = tcp.Seq(id)
	if answer {
		p.ICMP, p.Ord = 0, p.Ord+1
	}
	t.Add(&b)
}

// However many pings there are, some are kept from the beginning to the end, each
// with its answer, and at two vantage points the same.
func TestPingsAreThinnedAlike(t *testing.T) {
	t.Run("one row", func(t *testing.T) { thinnedAlike(t, func(n int) uint32 { return 4711<<16 | uint32(n) }) })
	t.Run("each alone", func(t *testing.T) { thinnedAlike(t, func(n int) uint32 { return uint32(1000+n)<<16 | 1 }) })
}

func thinnedAlike(t *testing.T, id func(n int) uint32) {
	const pings = 10_000
	var tables [2]Table
	for n := range pings {
		for v := range tables {
			if v == 1 && n < 10 { // it begins later
				continue
			}
			echo(&tables[v], n, id(n), false)
			echo(&tables[v], n, id(n), true)
		}
	}
	var key capture.Key
	key.SetIPv4(0x0a000001, 0x0b000001, 0)
	var ids [2]map[uint32]int
	for v := range tables {
		hp, ok := tables[v].HostPair(&key)
		if !ok || len(hp.Controls) > manyControls || len(hp.Controls) < manyControls/4 {
			t.Fatalf("%d controls, %v", len(hp.Controls), ok)
		}
		ids[v] = map[uint32]int{}
		last := tcp.Instant(0)
		for _, c := range hp.Controls {
			ids[v][c.ID]++
			if c.At-last > 1e9<<hp.Thinned {
				t.Errorf("nothing between %v and %v", last, c.At)
			}
			if last = c.At; !EchoKept(c.ID, hp.Thinned) {
				t.Errorf("%#x is kept, thinned to one in %d", c.ID, 1<<hp.Thinned)
			}
		}
		if last < (pings-1)*1e9-1e9<<hp.Thinned {
			t.Errorf("the last one is of %v", last)
		}
	}
	for id, n := range ids[1] {
		if n != 2 || ids[0][id] != 2 {
			t.Errorf("%#x: %d and %d times", id, ids[0][id], n)
		}
	}
}

// What is no echo does not make echoes go.
func TestControlsThatAreNoEchoesLeaveThose(t *testing.T) {
	var table hostTable
	var row hostRow
	for n := range 3 * manyControls {
		what := ControlARPRequest
		if n%100 == 50 {
			what = ControlEchoRequest
		}
		table.control(&row, Control{At: tcp.Instant(n), What: what, ID: uint32(n)})
	}
	if row.thinned != 0 || len(row.controls) != manyControls || table.controls != manyControls {
		t.Errorf("thinned to %d, %d controls, %d in all", row.thinned, len(row.controls), table.controls)
	}
	if first, last := row.controls[0].At, row.controls[manyControls-1].At; first != 0 || last != 3*manyControls-1 {
		t.Errorf("controls from %v to %v", first, last)
	}
}
