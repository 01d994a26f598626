package flows_test

import (
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// The flows of two hosts are the same however they are found: by a scan when
// asked for the first time, by an index from the second time on.
func TestFlowsOfTwoHosts(t *testing.T) {
	var table flows.Table
	var b capture.Batch
	for i := range 3000 {
		b.N = 1
		b.Pkts[0] = capture.Packet{At: tcp.Instant(i + 1), Ord: tcp.Ordinal(i + 1), Proto: capture.TCP, Seg: tcp.Segment{Seq: tcp.Seq(i), Flags: tcp.SYN},
			Key: capture.Key{Lo: capture.V4Words(uint32(1 + i%7)), Hi: capture.V4Words(100), Ports: uint32(i)<<16 | 80, Overlay: uint32(i % 2)}}
		table.Add(&b)
	}
	for host := range uint32(8) {
		k := capture.Key{Lo: capture.V4Words(1 + host), Hi: capture.V4Words(100)}
		scanned := table.SomeOfHosts(&k, 1000)
		indexed := table.SomeOfHosts(&k, 1000)
		if !slices.Equal(scanned, indexed) || (len(scanned) == 0) != (host == 7) {
			t.Errorf("host %d: %d flows by scan, %d by index", host, len(scanned), len(indexed))
		}
		b.Pkts[0].Ord++ // one more flow: the next question is the first again
		b.Pkts[0].At++
		b.Pkts[0].Key.Ports += 1 << 16
		table.Add(&b)
	}
}
