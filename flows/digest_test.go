package flows

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"kaflow/capture"
	"kaflow/tcp"
)

// spoken is a table that has seen one connection's segments, a second apart.
func spoken(o Options, opts tcp.Options, octets ...[]byte) *Table {
	t := &Table{Options: o}
	key, _ := capture.MakeKey(netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80"), 0)
	seq := tcp.Seq(1000)
	for i, data := range octets {
		b := &capture.Batch{N: 1, Buf: data}
		b.Pkts[0] = capture.Packet{Key: key, Proto: capture.TCP, At: tcp.Instant(time.Duration(i+1) * time.Second), Ord: tcp.Ordinal(i + 1), DataLen: uint32(len(data)),
			Seg: tcp.Segment{Seq: seq, Ack: 77, Flags: tcp.ACK, Len: uint32(len(data)), Win: 500, IPID: uint16(i + 1), Opts: opts}}
		t.Add(b)
		seq = seq.Add(len(data))
	}
	return t
}

// counted is n octets of which no eight are like the next eight.
func counted(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	return data
}

func TestDigestsAreKeptWhereTheyAreWanted(t *testing.T) {
	wanted := Options{Digests: true}
	for _, tc := range []struct {
		name   string
		table  *Table
		places int
	}{
		{"one capture alone", spoken(Options{}, 0, counted(100)), 0},
		{"timestamps", spoken(wanted, tcp.OptTimestamps, counted(100)), 0},
		{"no data", spoken(wanted, 0, nil, nil), 0},
		{"a few octets", spoken(wanted, 0, counted(15)), 0},
		{"padding", spoken(wanted, 0, make([]byte, 400)), 0},
		{"two segments", spoken(wanted, 0, counted(100), counted(50)), 2},
		{"one as large as three", spoken(wanted, 0, counted(3*1460)), 3},
	} {
		seen := map[tcp.Seq]bool{}
		for id := range tc.table.Flows() {
			f, _ := tc.table.Flow(id)
			for _, a := range f.Anchors {
				seen[a.Seq] = true
			}
		}
		if len(seen) != tc.places {
			t.Errorf("%s: digests of %d places, want %d", tc.name, len(seen), tc.places)
		}
	}
}

func TestSamplesOfOneFlowAreBounded(t *testing.T) {
	var octets [][]byte
	for i := range 5000 {
		data := counted(64)
		data[0], data[1] = byte(i), byte(i>>8)
		octets = append(octets, data)
	}
	table := spoken(Options{Digests: true}, 0, octets...)
	if table.sampled == 0 || table.sampled > digestSlots {
		t.Errorf("%d samples of one direction, want at most %d", table.sampled, digestSlots)
	}
	for id := range table.Flows() {
		p, slot, _ := table.resolve(id)
		table.drop(p, slot)
	}
	if table.sampled != 0 || len(table.samples) != 0 {
		t.Errorf("%d samples of %d flows are left", table.sampled, len(table.samples))
	}
	if size := unsafe.Sizeof(sample{}); size > 40 {
		t.Errorf("a sample takes %d octets", size)
	}
}

// BenchmarkDigests measures what sampling costs a data segment of a connection
// without timestamps, by how many octets it carries.
func BenchmarkDigests(b *testing.B) {
	for _, digests := range []bool{false, true} {
		for _, size := range []int{60, 1460} {
			b.Run(fmt.Sprintf("%v/%d", digests, size), func(b *testing.B) {
				key, _ := capture.MakeKey(netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80"), 0)
				table := &Table{Options: Options{Digests: digests}}
				batch := &capture.Batch{N: capture.BatchSize, Buf: counted(size)}
				seq := tcp.Seq(1)
				n := 0
				for b.Loop() {
					for i := range batch.Pkts {
						n++
						batch.Buf[0], batch.Buf[1] = byte(n), byte(n>>8)
						batch.Pkts[i] = capture.Packet{Key: key, Proto: capture.TCP, At: tcp.Instant(n) * 1000, Ord: tcp.Ordinal(n), DataLen: uint32(size),
							Seg: tcp.Segment{Seq: seq, Ack: 77, Flags: tcp.ACK, Len: uint32(size), Win: 500, IPID: uint16(n)}}
						seq = seq.Add(size)
					}
					table.Add(batch)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/packet")
			})
		}
	}
}
