package flows_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/traffic"
	"kaflow/tcp"
)

// views reads a whole source and returns every flow's view.
func views(t testing.TB, source capture.Source, o flows.Options, per int) []*flows.Flow {
	t.Helper()
	table := &flows.Table{Options: o}
	var b, part capture.Batch
	for source.Read(&b) != io.EOF {
		for i := 0; i < b.N; i += per {
			part.N = copy(part.Pkts[:min(per, b.N-i)], b.Pkts[i:b.N])
			part.Buf, part.Holes = b.Buf, nil
			if i == 0 {
				part.Holes = b.Holes
			}
			table.Add(&part)
		}
	}
	var all []*flows.Flow
	for id := range table.Flows() {
		f, ok := table.Flow(id)
		if !ok {
			t.Fatalf("flow %d has no view", id)
		}
		all = append(all, f)
	}
	return all
}

// viewsOf returns the views of all flows that a table holds.
func viewsOf(table *flows.Table) (all []*flows.Flow) {
	for id := range table.Flows() {
		f, _ := table.Flow(id)
		all = append(all, f)
	}
	return all
}

// generated opens traffic as a capture.
func generated(t testing.TB, c traffic.Config) *capture.Set {
	t.Helper()
	var file bytes.Buffer
	if _, err := traffic.Write(&file, c); err != nil {
		t.Fatal(err)
	}
	set, err := capture.Open(capture.Options{Stdin: &file}, "generated", "-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return set
}

var shapes = map[string]traffic.Config{
	"keepalives from mid-stream":   {Shape: traffic.Keepalive, Flows: 7, Packets: 4000, Seed: 1},
	"keepalives after a session":   {Shape: traffic.Keepalive, Flows: 7, Packets: 4000, Seed: 2, Begin: traffic.HandshakeData},
	"keepalives crossing, IPv6":    {Shape: traffic.Keepalive, Flows: 50, Packets: 4000, Seed: 3, IPv6: true, Scatter: true},
	"bulk":                         {Shape: traffic.Bulk, Flows: 5, Packets: 3000, Seed: 4},
	"connections that come and go": {Shape: traffic.Churn, Flows: 9, Packets: 3000, Seed: 5},
}

// TestTheShortWayIsTheSame: who asks for labels gets every segment the long
// way; the stories must be those of the short one.
func TestTheShortWayIsTheSame(t *testing.T) {
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			short := views(t, generated(t, c), flows.Options{}, 64)
			long := views(t, generated(t, c), flows.Options{Label: func(flows.Label) {}}, 64)
			if diff := cmp.Diff(long, short, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
				t.Errorf("views (-long way +short way):\n%.3000s", diff)
			}
		})
	}
}

func TestChunkingChangesNothing(t *testing.T) {
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			whole := views(t, generated(t, c), flows.Options{}, 64)
			for _, per := range []int{1, 5} {
				if diff := cmp.Diff(whole, views(t, generated(t, c), flows.Options{}, per), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
					t.Errorf("batches of %d (-64 +%d):\n%.3000s", per, per, diff)
				}
			}
		})
	}
}

// talk draws a conversation of two honest ends: data, answers, silences,
// keepalives of either end.
func talk(t *rapid.T) []capture.Packet {
	var out []capture.Packet
	at := tcp.Instant(1_700_000_000e9)
	next := [2]tcp.Seq{tcp.Seq(rapid.Uint32().Draw(t, "isn C")), tcp.Seq(rapid.Uint32().Draw(t, "isn S"))}
	id := [2]uint16{1, 5000}
	send := func(d int, flags tcp.Flags, seq tcp.Seq, n uint32, after int64) {
		at += tcp.Instant(after)
		id[d]++
		p := capture.Packet{At: at, Ord: tcp.Ordinal(len(out) + 1), Proto: capture.TCP, Reversed: d == 1}
		p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: 40000<<16 | 22}
		p.Seg = tcp.Segment{Seq: seq, Len: n, Flags: flags, Win: 500, IPID: id[d], TTL: 64}
		if flags.Has(tcp.ACK) {
			p.Seg.Ack = next[1-d]
		}
		p.Settle()
		out = append(out, p)
	}
	send(0, tcp.SYN, next[0], 0, 0)
	next[0]++
	send(1, tcp.SYN|tcp.ACK, next[1], 0, 1e7)
	next[1]++
	send(0, tcp.ACK, next[0], 0, 1e6)
	for range rapid.IntRange(1, 60).Draw(t, "turns") {
		d := rapid.IntRange(0, 1).Draw(t, "who")
		pause := rapid.Int64Range(3e8, 2e11).Draw(t, "pause")
		if rapid.Bool().Draw(t, "probe") {
			send(d, tcp.ACK, next[d]-1, 0, pause)
			send(1-d, tcp.ACK, next[1-d], 0, 1e7)
			continue
		}
		n := rapid.Uint32Range(1, 1448).Draw(t, "octets")
		send(d, tcp.ACK|tcp.PSH, next[d], n, pause)
		next[d] += tcp.Seq(n)
		send(1-d, tcp.ACK, next[1-d], 0, 1e7)
	}
	return out
}

// kinds labels packets fed one by one.
func kinds(pkts []capture.Packet) []string {
	var got []string
	table := &flows.Table{Options: flows.Options{Label: func(l flows.Label) { got = append(got, l.Kind.String()) }}}
	var b capture.Batch
	for _, p := range pkts {
		b.Pkts[0], b.N = p, 1
		table.Add(&b)
	}
	return got
}

// truth is what the segments of talk are, by construction.
func truth(pkts []capture.Packet) []string {
	want := []string{"syn", "syn-ack", "ack"}
	for i := 3; i < len(pkts); i += 2 {
		if pkts[i].Seg.Len > 0 {
			want = append(want, "data", "ack")
		} else {
			want = append(want, "keepalive-probe", "keepalive-ack")
		}
	}
	return want
}

func TestHonestEndsAreLabelledByConstruction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkts := talk(t)
		if diff := cmp.Diff(truth(pkts), kinds(pkts)); diff != "" {
			t.Fatalf("labels (-truth +got):\n%s", diff)
		}
	})
}

func TestSequenceNumbersMayBeginAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkts := talk(t)
		want := kinds(pkts)
		shift := [2]tcp.Seq{tcp.Seq(rapid.Uint32().Draw(t, "shift C")), tcp.Seq(rapid.Uint32().Draw(t, "shift S"))}
		for i := range pkts {
			d := 0
			if pkts[i].Reversed {
				d = 1
			}
			pkts[i].Seg.Seq += shift[d]
			if pkts[i].Seg.Flags.Has(tcp.ACK) {
				pkts[i].Seg.Ack += shift[1-d]
			}
			pkts[i].At += 86400e9
		}
		if diff := cmp.Diff(want, kinds(pkts)); diff != "" {
			t.Fatalf("labels (-unshifted +shifted):\n%s", diff)
		}
	})
}

func TestMirroredPacketsGiveTheSameLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkts := talk(t)
		want := kinds(pkts)
		for i := range pkts {
			k := &pkts[i].Key
			k.Ports = k.Ports<<16 | k.Ports>>16
			pkts[i].Reversed = !pkts[i].Reversed
		}
		if diff := cmp.Diff(want, kinds(pkts)); diff != "" {
			t.Fatalf("labels (-as drawn +mirrored):\n%s", diff)
		}
	})
}

func TestStoryStaysBoundedAndItsTotalsExact(t *testing.T) {
	table := &flows.Table{}
	var b capture.Batch
	at, next := tcp.Instant(1_700_000_000e9), tcp.Seq(1)
	ord := tcp.Ordinal(0)
	send := func(reversed bool, seq, ack tcp.Seq, n uint32, after int64) {
		at += tcp.Instant(after)
		ord++
		b.Pkts[0] = capture.Packet{At: at, Ord: ord, Proto: capture.TCP, Reversed: reversed,
			Key: capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(2), Ports: 9<<16 | 8},
			Seg: tcp.Segment{Seq: seq, Ack: ack, Len: n, Flags: tcp.ACK, Win: 9, IPID: uint16(ord), TTL: 64}}
		b.N = 1
		table.Add(&b)
	}
	const rounds = 20_000
	for i := range rounds {
		send(false, next, 1, 10, int64(i%7+1)*1e9)
		next += 10
		send(true, 1, next, 0, 1e7)
		send(false, next-1, 1, 0, int64(i%5+2)*1e9)
		send(true, 1, next, 0, 1e7)
	}
	send(false, next-1, 1, 0, 100e9)
	send(false, next-1, 1, 0, 75e9)
	for id := range table.Flows() {
		f, _ := table.Flow(id)
		if len(f.Events) > 64 {
			t.Errorf("%d events", len(f.Events))
		}
		last := f.Events[len(f.Events)-2:]
		if last[0].Kind != flows.KeepaliveProbe || last[1].Kind != flows.KeepaliveProbe || last[1].AnsweredBy != 0 {
			t.Errorf("the story ends with %s, %s, want two open probes", last[0].Kind, last[1].Kind)
		}
		segments := uint32(0)
		for _, ev := range f.Events {
			if ev.Run != nil {
				segments += ev.Run.Count[0] + ev.Run.Count[1]
			} else {
				segments++
			}
		}
		client := f.Sides[flows.Client]
		if got, want := fmt.Sprint(segments, client.Probes+f.Sides[flows.Server].Probes, f.Count(flows.KeepaliveACK)), fmt.Sprint(4*rounds+2, rounds+2, rounds); got != want {
			t.Errorf("segments told, probes, answered: %s, want %s", got, want)
		}
		if len(f.Gaps) == 0 || f.Gaps[len(f.Gaps)-1].Duration() < 74e9 {
			t.Errorf("the longest silences are not in the story: %v", f.Gaps)
		}
	}
}

func TestLimitsAreKeptAndCounted(t *testing.T) {
	set := generated(t, traffic.Config{Shape: traffic.Keepalive, Flows: 500, Packets: 20_000, Seed: 6, Begin: traffic.Handshake})
	table := &flows.Table{Options: flows.Options{MaxFlows: 100, MaxEvents: 256}}
	var b capture.Batch
	for set.Read(&b) != io.EOF {
		table.Add(&b)
	}
	if n := table.Live(); n > 100 {
		t.Errorf("%d flows are held, at most 100 were allowed", n)
	}
	if limits := strings.Join(table.Limits(), "; "); !strings.Contains(limits, "--max-flows") {
		t.Errorf("limits hit: %q", limits)
	}
}

func TestMemoryOfALiveFlow(t *testing.T) {
	for name, c := range map[string]struct {
		traffic.Config
		most uint64
	}{
		"IPv4": {traffic.Config{Shape: traffic.Keepalive, Flows: 100_000, Packets: 800_000, Seed: 7}, 400},
		"IPv6": {traffic.Config{Shape: traffic.Keepalive, Flows: 100_000, Packets: 800_000, Seed: 8, IPv6: true}, 448},
	} {
		t.Run(name, func(t *testing.T) {
			set := generated(t, c.Config)
			table := &flows.Table{}
			var b capture.Batch
			before := heap()
			for set.Read(&b) != io.EOF {
				table.Add(&b)
			}
			per := (heap() - before) / uint64(c.Flows)
			t.Logf("%d octets of heap per flow", per)
			if per > c.most {
				t.Errorf("%d octets per flow, want at most %d", per, c.most)
			}
			runtime.KeepAlive(table)
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x12\x01\x00\x00\x10\x00\x01\x01\x10\x00\x00\x09\x10\x01\x01\x09"))
	f.Add([]byte{0x18, 5, 9, 200, 0x14, 3, 1, 1, 0x11, 0, 2, 2, 0x10, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		labels, packets := 0, 0
		table := &flows.Table{Options: flows.Options{MaxFlows: 8, MaxEvents: 128, Learn: true, Label: func(l flows.Label) {
			labels++
			if strings.HasPrefix(l.Kind.String(), "kind(") || l.Kind == flows.ICMPError {
				t.Fatalf("label %v", l.Kind)
			}
		}}}
		quiet := &flows.Table{Options: flows.Options{MaxFlows: 8, MaxEvents: 128}}
		at := tcp.Instant(1_700_000_000e9)
		var b capture.Batch
		for i := 0; i+4 <= len(data); i += 4 {
			x := data[i : i+4]
			at += tcp.Instant(int64(int8(x[3]))) * 1e8
			p := capture.Packet{At: at, Ord: tcp.Ordinal(i/4 + 1), Proto: capture.TCP, Reversed: x[1]&1 != 0}
			p.Key = capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(2), Ports: uint32(x[1]>>6) + 1<<16}
			p.Seg = tcp.Segment{Flags: tcp.Flags(x[0]), Seq: tcp.Seq(int8(x[2])), Ack: tcp.Seq(int8(x[2] ^ x[1])), Len: uint32(x[1] >> 1 & 3),
				Win: uint16(x[1] & 0x10), IPID: uint16(x[3] & 3), TTL: 64}
			p.Settle()
			b.Pkts[0], b.N = p, 1
			table.Add(&b)
			quiet.Add(&b)
			packets++
		}
		if labels != packets {
			t.Errorf("%d labels for %d segments", labels, packets)
		}
		if diff := cmp.Diff(viewsOf(table), viewsOf(quiet), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
			t.Errorf("views (-long way +short way):\n%.3000s", diff)
		}
		for _, tb := range []*flows.Table{table, quiet} {
			tb.Priors()
			for id := range tb.Flows() {
				v, ok := tb.Flow(id)
				if !ok {
					t.Fatal("a flow without a view")
				}
				for i := 1; i < len(v.Events); i++ {
					if v.Events[i].Ord < v.Events[i-1].Ord {
						t.Fatal("a story out of order")
					}
				}
			}
		}
	})
}
