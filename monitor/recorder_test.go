package monitor_test

import (
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/tcp"
)

// keep gives a recorder one frame of connection n: 54 octets of headers, 100 of
// payload.
func keep(r *monitor.Recorder, n int, ord tcp.Ordinal) {
	p := capture.Packet{Ord: ord, At: tcp.Instant(ord), Proto: capture.TCP, HeaderLen: 20, Data: 1000 + 54,
		Key: capture.Key{Lo: capture.V4Words(uint32(n)), Hi: capture.V4Words(2), Ports: 1<<16 | 80}}
	frame := make([]byte, 154)
	frame[0], frame[53], frame[54] = byte(ord), 'h', 'p'
	r.Keep(&p, capture.Frame{Link: 1, Wire: 154, Data: frame, Base: 1000})
}

func keyOf(n int) capture.Key {
	return capture.Key{Lo: capture.V4Words(uint32(n)), Hi: capture.V4Words(2), Ports: 1<<16 | 80}
}

func ordsOf(kept []monitor.Kept) (ords []int) {
	for _, k := range kept {
		ords = append(ords, int(k.Ord))
	}
	return ords
}

func TestRecorderKeepsTheFirstAndTheNewestHeaders(t *testing.T) {
	r := monitor.NewRecorder(1 << 20)
	for ord := tcp.Ordinal(1); ord <= 200; ord++ {
		keep(r, 1, ord)
		r.Label(flows.Label{Ord: ord, Kind: flows.KeepaliveProbe})
	}
	var want []int
	for ord := 1; ord <= 200; ord++ {
		if ord <= monitor.FirstKept || ord > 200-(monitor.MostKept-monitor.FirstKept) {
			want = append(want, ord)
		}
	}
	kept := r.Of(keyOf(1))
	if got := ordsOf(kept); !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	for _, k := range kept {
		if len(k.Data) != 54 || k.Data[0] != byte(k.Ord) || k.Data[53] != 'h' || k.Kind != flows.KeepaliveProbe || !k.Label || k.Wire != 154 {
			t.Fatalf("frame %d: %+v", k.Ord, k)
		}
	}
}

// A flood of connections of one segment each takes no more memory than was
// granted, and the connections that were there before keep their proof.
func TestRecorderOutlivesAFlood(t *testing.T) {
	const limit = 1 << 20
	r := monitor.NewRecorder(limit)
	ord := tcp.Ordinal(0)
	for n := range 50 {
		for range 20 {
			ord++
			keep(r, n, ord)
		}
	}
	for n := range 100_000 {
		ord++
		keep(r, 1000+n, ord)
		if r.Size() > limit {
			t.Fatalf("%d octets after %d connections, %d were granted", r.Size(), n, limit)
		}
	}
	for n := range 50 {
		if got := len(r.Of(keyOf(n))); got != 20 {
			t.Errorf("of connection %d %d segments are left, want 20", n, got)
		}
	}
	if len(r.Of(keyOf(1000+99_999))) != 1 || r.Of(keyOf(1000)) != nil {
		t.Error("of the flood the newest should be there, and the oldest not")
	}
	for n := range 2000 { // busy connections push out those that were quiet for longest
		for range 64 {
			ord++
			keep(r, 500_000+n, ord)
		}
	}
	if r.Size() > limit || r.Of(keyOf(0)) != nil || len(r.Of(keyOf(500_000+1999))) != 64 {
		t.Errorf("%d octets, %d segments of the oldest, %d of the newest", r.Size(), len(r.Of(keyOf(0))), len(r.Of(keyOf(500_000+1999))))
	}
}
