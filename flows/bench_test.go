package flows_test

import (
	"bytes"
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/traffic"
)

// batches reads generated traffic into memory, so that a benchmark measures
// the table alone.
func batches(b *testing.B, c traffic.Config) (all []*capture.Batch, packets int) {
	b.Helper()
	set := generated(b, c)
	for {
		var read capture.Batch
		if set.Read(&read) != nil {
			return all, packets
		}
		kept := read
		kept.Buf = append([]byte(nil), read.Buf...)
		all = append(all, &kept)
		packets += read.N
	}
}

// BenchmarkTable measures what a packet costs in the flow table, the table's
// own making and that of its flows included.
func BenchmarkTable(b *testing.B) { benchmarkTable(b, flows.Options{}) }

// BenchmarkClassify measures the same where somebody asks for the label of each
// segment, and all of them are looked at closely.
func BenchmarkClassify(b *testing.B) {
	benchmarkTable(b, flows.Options{Label: func(flows.Label) {}})
}

func benchmarkTable(b *testing.B, options flows.Options) {
	for _, c := range []struct {
		name    string
		traffic traffic.Config
	}{
		{"keepalive-1e3", traffic.Config{Shape: traffic.Keepalive, Flows: 1000, Packets: 200_000}},
		{"keepalive-1e5", traffic.Config{Shape: traffic.Keepalive, Flows: 100_000, Packets: 1_000_000}},
		{"bulk", traffic.Config{Shape: traffic.Bulk, Flows: 100, Packets: 50_000}},
		{"churn", traffic.Config{Shape: traffic.Churn, Flows: 1000, Packets: 200_000}},
	} {
		b.Run(c.name, func(b *testing.B) {
			all, packets := batches(b, c.traffic)
			b.ReportAllocs()
			for b.Loop() {
				table := &flows.Table{Options: options}
				for _, batch := range all {
					table.Add(batch)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
		})
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	set := generated(t, traffic.Config{Shape: traffic.Keepalive, Flows: 1000, Packets: 400_000, Seed: 9})
	table := &flows.Table{}
	var b capture.Batch
	for range 1000 {
		if err := set.Read(&b); err != nil {
			t.Fatal(err)
		}
		table.Add(&b)
	}
	packets := 0
	perBatch := testing.AllocsPerRun(4000, func() {
		if set.Read(&b) == nil {
			table.Add(&b)
			packets += b.N
		}
	})
	if packets < 200_000 {
		t.Fatalf("only %d packets were read", packets)
	}
	if perBatch*4000/float64(packets) > 0.01 {
		t.Errorf("%.3f allocations a packet, want at most 0.01", perBatch*4000/float64(packets))
	}
}

// BenchmarkCalm measures what it costs to ask whether anybody of a connection waits, beside a view.
func BenchmarkCalm(b *testing.B) {
	all, _ := batches(b, traffic.Config{Shape: traffic.Bulk, Packets: 20_000, Flows: 100})
	table := &flows.Table{Options: flows.Options{Touched: func(flows.FlowID) {}}}
	for _, batch := range all {
		table.Add(batch)
	}
	ids := slices.Collect(table.Flows())
	for name, ask := range map[string]func(flows.FlowID) bool{
		"asked":  func(id flows.FlowID) bool { _, calm := table.Calm(id); return calm },
		"viewed": func(id flows.FlowID) bool { _, ok := table.Flow(id); return ok },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if !ask(ids[i%len(ids)]) {
					b.Fatal("nobody waits for bulk data that is acknowledged")
				}
			}
		})
	}
}

// BenchmarkKeepalives measures reading and the table together on probes and answers, whose
// frames are decoded or left bare.
func BenchmarkKeepalives(b *testing.B) {
	const packets = 200_000
	var file bytes.Buffer
	if _, err := traffic.Write(&file, traffic.Config{Shape: traffic.Keepalive, Flows: 1000, Packets: packets}); err != nil {
		b.Fatal(err)
	}
	for name, bare := range map[string]bool{"decoded": false, "bare": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set, err := capture.Open(capture.Options{Stdin: bytes.NewReader(file.Bytes())}, "", "-")
				if err != nil {
					b.Fatal(err)
				}
				var table flows.Table
				var batch capture.Batch
				for set.Read(&batch) == nil {
					batch.Bare.Wanted = bare
					table.Add(&batch)
				}
				set.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}
