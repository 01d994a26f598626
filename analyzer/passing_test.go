package analyzer

import (
	"math"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// A report whose diagnoses are made on the way tells of each connection what one
// tells that keeps them all.
func TestDiagnosesThatPassAreThoseThatStay(t *testing.T) {
	const clients = mostInDanger + 300
	var table flows.Table
	var b capture.Batch
	at, ord := tcp.Instant(1_700_000_000e9), tcp.Ordinal(0)
	send := func(client int, reversed bool, seg tcp.Segment) {
		ord++
		at = at.Add(time.Millisecond)
		p := &b.Pkts[b.N]
		*p = capture.Packet{Proto: capture.TCP, At: at, Ord: ord, Reversed: reversed, Seg: seg}
		p.Seg.Flags, p.Seg.Win, p.Seg.TTL = p.Seg.Flags|tcp.ACK, 500, 64
		p.Key.SetIPv4(0xc0000200+uint32(client>>12), 0xc6336402, uint32(20_000+client&0xfff)<<16|22)
		p.Settle()
		if b.N++; b.N == capture.BatchSize {
			table.Add(&b)
			b.N = 0
		}
	}
	for round := range 3 {
		for client := range clients {
			if round == 2 && client%3 == 0 {
				continue
			}
			send(client, false, tcp.Segment{Seq: 99, Ack: 900})
			if round == 2 && client%100 == 1 {
				continue // not answered any more
			}
			send(client, true, tcp.Segment{Seq: 900, Ack: 100})
		}
		at = at.Add(time.Minute)
	}
	table.Add(&b)
	file := capture.File{Path: "many.pcap", Complete: true, Frames: uint64(ord), TCPFrames: uint64(ord), First: 1_700_000_000e9, Last: table.Now()}
	points := []pairing.Point{{Name: "many", Table: &table, Files: []capture.File{file}, Frame: func(o tcp.Ordinal) (int, uint64) { return 0, uint64(o) }}}

	stay := Diagnose(points, nil, Options{MaxListed: math.MaxInt})
	pass := Diagnose(points, nil, Options{MaxListed: math.MaxInt, Passing: true})
	if len(stay.Flows) != clients || stay.Rest != nil || len(pass.Flows) != mostInDanger || pass.Rest == nil {
		t.Fatalf("%d and %d diagnoses are kept", len(stay.Flows), len(pass.Flows))
	}
	if stay.Totals.Listed != clients || pass.Totals.Listed != clients {
		t.Errorf("listed %d, passing %d, want %d", stay.Totals.Listed, pass.Totals.Listed, clients)
	}
	for again := range 2 { // it can be gone through more than once
		n := 0
		for d := range pass.Each() {
			if want := &stay.Flows[n]; d.ID != want.ID || d.Client != want.Client || d.Verdict.ID != want.Verdict.ID || d.Verdict.Summary != want.Verdict.Summary || len(d.Timeline) != len(want.Timeline) {
				t.Fatalf("flow %d, time %d: %d %s %s, want %d %s %s", n, again+1, d.ID, d.Client, d.Verdict.ID, want.ID, want.Client, want.Verdict.ID)
			}
			n++
		}
		if n != clients {
			t.Errorf("%d diagnoses, want %d", n, clients)
		}
	}
	if len(stay.Unasked) != len(pass.Unasked) {
		t.Errorf("not asked: %v, passing %v", stay.Unasked, pass.Unasked)
	}
	for range pass.Each() {
		break // ends early
	}
}
