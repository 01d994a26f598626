package analyzer

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// idleOnes is a capture of so many idle connections, of which one in a hundred is
// not answered any more in the end.
func idleOnes(clients int) []pairing.Point {
	var table flows.Table
	var b capture.Batch
	const begin = tcp.Instant(1_700_000_000e9)
	at, ord := begin, tcp.Ordinal(0)
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
				at = at.Add(time.Second)
				send(client, false, tcp.Segment{Seq: 99, Ack: 900})
				continue // not answered any more
			}
			send(client, true, tcp.Segment{Seq: 900, Ack: 100})
		}
		at = at.Add(time.Minute)
	}
	table.Add(&b)
	return []pairing.Point{pointOf("many", &table, begin, int(ord))}
}

// Connections that ask for attention are in the report, however few it is to hold,
// and so is the one that was asked for.
func TestAttentionIsNotLimited(t *testing.T) {
	const clients, most = 20_000, 64
	points := idleOnes(clients)
	all := Diagnose(points, nil, Options{MaxListed: clients})
	danger := clients - all.Totals.ByVerdict[Healthy] - all.Totals.ByVerdict[Idle]
	const asked = clients - 5
	r := Diagnose(points, nil, Options{MaxListed: most, Flow: asked})
	if danger <= most || r.Rest != nil || len(r.Flows) != danger+1 || r.Totals.Listed != len(r.Flows) || r.Flows[danger].ID != asked {
		t.Errorf("%d of %d connections are listed, %d by the totals, want %d in danger and number %d; some are made later: %v",
			len(r.Flows), clients, r.Totals.Listed, danger, asked, r.Rest != nil)
	}
}

// A report whose diagnoses are made on the way tells of each connection what one
// tells that keeps them all.
func TestDiagnosesThatPassAreThoseThatStay(t *testing.T) {
	const clients = mostInDanger + 300
	points := idleOnes(clients)
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
			if want := &stay.Flows[n]; !reflect.DeepEqual(d, want) {
				t.Fatalf("flow %d, time %d: %+v, want %+v", n, again+1, d, want)
			}
			n++
		}
		if n != clients {
			t.Errorf("%d diagnoses, want %d", n, clients)
		}
	}
	if !slices.Equal(stay.Unasked, pass.Unasked) {
		t.Errorf("not asked: %v, passing %v", stay.Unasked, pass.Unasked)
	}
	for range pass.Each() {
		break // ends early
	}
}
