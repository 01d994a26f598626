package main

import (
	"testing"

	"kaflow/capture"
	"kaflow/tcp"
)

// What a stretch of time leaves of a batch is no longer known to be in order.
func TestTrimmedBatchesKeepTheirLatestPacket(t *testing.T) {
	var b capture.Batch
	for i, at := range []tcp.Instant{10, 20, 5, 30} {
		b.Pkts[i].At = at
	}
	b.N, b.Sorted = 4, 2
	s := selection{until: bound{at: 15, set: true}}
	var first tcp.Instant
	s.trim(&b, &first)
	if b.N != 2 || b.Latest() != 10 {
		t.Errorf("%d packets, the latest at %d, want 2 and 10", b.N, b.Latest())
	}
}
