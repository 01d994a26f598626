package flows_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/facts"
	"kaflow/flows"
	"kaflow/internal/traffic"
	"kaflow/tcp"
)

// unruly draws a conversation that is mostly orderly, so that the short ways
// are taken, and is disturbed in every way that a segment can be.
func unruly(t *rapid.T) []capture.Packet {
	var out []capture.Packet
	at := tcp.Instant(1_700_000_000e9)
	next := [2]tcp.Seq{tcp.Seq(rapid.Uint32().Draw(t, "isn C")), tcp.Seq(rapid.Uint32().Draw(t, "isn S"))}
	una, id, stamp := next, [2]uint16{1, 5000}, [2]uint32{100, 9000}
	stamped := rapid.Bool().Draw(t, "timestamps")
	sameID := rapid.Bool().Draw(t, "constant ID")
	octet, reported := uint32(rapid.IntRange(0, 1).Draw(t, "octets of a probe")), rapid.Bool().Draw(t, "reported")
	whole := rapid.Bool().Draw(t, "captured whole")
	tagged, way := rapid.Bool().Draw(t, "tagged"), [2]uint16{}
	notes := [2]capture.Note{ // a card that fills checksums in, a snap length
		rapid.SampledFrom([]capture.Note{0, 0, capture.NoteBadIPSum, capture.NoteCut, capture.NoteClockStep}).Draw(t, "notes of Lo"),
		rapid.SampledFrom([]capture.Note{0, 0, capture.NoteBadIPSum}).Draw(t, "notes of Hi"),
	}
	send := func(d int, flags tcp.Flags, seq tcp.Seq, n uint32, after int64) *capture.Packet {
		at += tcp.Instant(after)
		if !sameID {
			id[d]++
		}
		stamp[d] += uint32(after / 1e6)
		p := capture.Packet{At: at, Ord: tcp.Ordinal(len(out) + 1), Proto: capture.TCP, Reversed: d == 1}
		p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: 40000<<16 | 22}
		p.Seg = tcp.Segment{Seq: seq, Len: n, Flags: flags, Win: 500, IPID: id[d], TTL: 64}
		if tagged && rapid.IntRange(0, 20).Draw(t, "another way") == 0 {
			way[d] = rapid.SampledFrom([]uint16{0, 7, 8}).Draw(t, "way")
		}
		p.Way, p.Note = way[d], notes[d]
		if n > 0 && (n < 100 || n < 1000 && whole) {
			p.DataLen = n
		}
		if flags.Has(tcp.ACK) {
			p.Seg.Ack = una[1-d]
		}
		if stamped {
			p.Seg.Opts, p.Seg.TSVal, p.Seg.TSEcr = tcp.OptTimestamps, stamp[d], stamp[1-d]
		}
		out = append(out, p)
		return &out[len(out)-1]
	}
	if rapid.Bool().Draw(t, "handshake") {
		p := send(0, tcp.SYN, next[0], 0, 0)
		p.Seg.MSS, p.Seg.Opts, p.Seg.WScale, p.Seg.OptHash = 1460, p.Seg.Opts|tcp.OptMSS|tcp.OptWScale, 7, 4711
		next[0]++
		una[0] = next[0]
		send(1, tcp.SYN|tcp.ACK, next[1], 0, 1e7)
		next[1]++
		una[1] = next[1]
		send(0, tcp.ACK, next[0], 0, 1e6)
	}
	for range rapid.IntRange(1, 120).Draw(t, "turns") {
		d := rapid.IntRange(0, 1).Draw(t, "who")
		pause := rapid.SampledFrom([]int64{1e4, 1e6, 1e7, 3e8, 2e9, 60e9, 60e9, 60.5e9, -1e6}).Draw(t, "pause")
		switch what := rapid.IntRange(0, 35).Draw(t, "what"); what {
		case 0:
			send(d, tcp.ACK, next[d]-1, 0, pause) // a probe whose answer is missing
		case 1:
			send(d, tcp.ACK|tcp.PSH, next[d]-1, 1, pause)
		case 2:
			send(d, tcp.ACK, next[d]-20, 20, pause)
		case 3:
			next[d] += 30 // missing from the capture
		case 4:
			send(d, tcp.ACK, next[d], 0, pause).Seg.Win = 0
		case 5:
			send(d, tcp.ACK, next[d], 0, pause).Seg.Win = 501
		case 6:
			if len(out) > 0 {
				p := out[len(out)-1]
				p.At, p.Ord = p.At+1000, p.Ord+1
				at = p.At
				out = append(out, p)
			}
		case 7:
			send(d, tcp.ACK, next[d], 0, pause).Seg.TTL = 63
		case 8:
			n := rapid.SampledFrom([]uint32{0, 52, 700}).Draw(t, "octets with it")
			send(d, tcp.ACK|tcp.FIN, next[d], n, pause)
			next[d] += tcp.Seq(n) + 1
		case 9:
			send(d, tcp.RST|tcp.ACK, next[d], 0, pause)
		case 10:
			p := send(d, tcp.ACK, next[d], 0, pause)
			p.Seg.Opts |= tcp.OptSACK
			p.Seg.SackL, p.Seg.SackR = una[1-d]+10, una[1-d]+20
		case 11:
			send(d, tcp.ACK, next[d], 1, pause)
			next[d]++
		case 12:
			una[d] = next[d] // acknowledged later
		case 13:
			p := send(d, tcp.ACK, next[d], 0, pause)
			p.Seg.Ack += 5
		case 14, 15, 16, 17, 18, 19, 20:
			send(d, tcp.ACK, next[d]-1, octet, pause)
			una[d] = next[d]
			answer := send(1-d, tcp.ACK, next[1-d], 0, 1e7)
			if octet > 0 && reported { // RFC 2883
				answer.Seg.Opts |= tcp.OptSACK
				answer.Seg.SackL, answer.Seg.SackR = next[d]-1, next[d]
			}
		case 21, 22:
			send(d, tcp.ACK, next[d], 0, pause)
		case 31:
			next[d] = tcp.Seq(rapid.Uint32().Draw(t, "another ISN"))
			p := send(d, tcp.SYN, next[d], 0, pause)
			p.Seg.MSS, p.Seg.Opts, p.Seg.WScale, p.Seg.OptHash = 1460, p.Seg.Opts|tcp.OptMSS|tcp.OptWScale, 7, 99
			next[d]++
			una[d] = next[d]
			next[1-d] = tcp.Seq(rapid.Uint32().Draw(t, "the peer's"))
			send(1-d, tcp.SYN|tcp.ACK, next[1-d], 0, 1e7)
			next[1-d]++
			una[1-d] = next[1-d]
			send(d, tcp.ACK, next[d], 0, 1e7)
		case 32:
			send(d, tcp.RST, next[d], 0, pause).Seg.Win = 0
		case 33:
			for _, e := range [2]int{d, 1 - d} { // the end
				send(e, tcp.ACK|tcp.FIN, next[e], 0, max(pause, 1000))
				next[e]++
				una[e] = next[e]
			}
			send(d, tcp.ACK, next[d], 0, 1e7)
		case 34:
			p := send(d, tcp.ACK, next[d]-1, 0, pause)
			p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: 40000<<16 | 22}
			p.Proto, p.ICMP, p.Reversed = capture.ICMPError, 0x0301, d == 1
		case 35: // what is no segment stands between them
			p := send(d, 0, 0, 0, pause)
			p.Key.Ports, p.Way, p.Seg = 0, 0, tcp.Segment{}
			p.Proto = rapid.SampledFrom([]capture.Proto{capture.Other, capture.Echo, capture.ARP, capture.Undecoded}).Draw(t, "proto")
			p.ICMP = rapid.SampledFrom([]uint16{0, 1, 2, 0x0800}).Draw(t, "type")
		default:
			n := rapid.SampledFrom([]uint32{1, 40, 52, 700, 1448, 60_000}).Draw(t, "octets")
			send(d, tcp.ACK|tcp.PSH, next[d], n, pause)
			next[d] += tcp.Seq(n)
			if what > 25 {
				una[d] = next[d]
				send(1-d, tcp.ACK, next[1-d], 0, 1e7)
			}
		}
	}
	for i := range out {
		out[i].Settle()
	}
	return out
}

// spoken is what the payload of drawn packets is made of: octets by which a protocol
// is known, then others.
var spoken = func() []byte {
	octets := []byte("GET / HTTP/1.1\r\n")
	for i := len(octets); i < 1448; i++ {
		octets = append(octets, byte(i*i))
	}
	return octets
}()

// shortAndLong feeds packets, a batch of per at a time, to a table that may take the
// short ways and to one that may not.
func shortAndLong(pkts []capture.Packet, per int, digests bool) (short, long *flows.Table) {
	fed := func(o flows.Options) *flows.Table {
		table := &flows.Table{Options: o}
		for from := 0; from < len(pkts); from += per {
			var b capture.Batch
			b.N, b.Buf = copy(b.Pkts[:], pkts[from:min(from+per, len(pkts))]), spoken
			table.Add(&b)
		}
		return table
	}
	return fed(flows.Options{Digests: digests}), fed(flows.Options{Digests: digests, Label: func(flows.Label) {}})
}

// sameStory compares what two tables tell.
func sameStory(t interface{ Fatalf(string, ...any) }, short, long *flows.Table) {
	if diff := cmp.Diff(viewsOf(long), viewsOf(short), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
		t.Fatalf("views (-long way +short ways):\n%.3000s", diff)
	}
	for id := range long.Flows() {
		f, _ := long.Flow(id)
		if diff := cmp.Diff(hostsOf(long, f), hostsOf(short, f), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatalf("hosts of %v (-long way +short ways):\n%.3000s", f.Key, diff)
		}
	}
}

// hostsOf returns what a table knows of the hosts of a flow.
func hostsOf(table *flows.Table, f *flows.Flow) flows.HostPair {
	pair, _ := table.HostPair(&f.Key)
	return pair
}

// A young connection is grown up when a segment of the same ports comes by a VLAN:
// else there is nothing that tells it from another conversation.
func TestYoungFlowIsKnownToAnotherWay(t *testing.T) {
	var pkts []capture.Packet
	send := func(d int, flags tcp.Flags, seq, ack tcp.Seq, way uint16) {
		p := capture.Packet{At: tcp.Instant(1e18 + len(pkts)*1e6), Ord: tcp.Ordinal(len(pkts) + 1), Proto: capture.TCP, Reversed: d == 1, Way: way}
		p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: 40000<<16 | 22}
		p.Seg = tcp.Segment{Seq: seq, Ack: ack, Flags: flags, Win: 500, TTL: 64}
		p.Settle()
		pkts = append(pkts, p)
	}
	send(0, tcp.SYN, 99, 0, 0)
	send(1, tcp.SYN|tcp.ACK, 899, 100, 0)
	send(0, tcp.ACK, 100, 900, 0)
	send(0, tcp.SYN, 1<<30, 0, 7)
	send(1, tcp.SYN|tcp.ACK, 1<<29, 1<<30+1, 0)
	send(0, tcp.ACK, 1<<30+1, 1<<29+1, 0)
	for per := 1; per <= len(pkts); per++ {
		short, long := shortAndLong(pkts, per, false)
		sameStory(t, short, long)
	}
}

// A young connection keeps the ordinals of its segments, however far apart they are.
func TestOrdinalsOfTheYoung(t *testing.T) {
	for _, apart := range []tcp.Ordinal{1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 40} {
		for late := range 4 {
			var pkts []capture.Packet
			ord := tcp.Ordinal(7)
			for i, seg := range []tcp.Segment{
				{Seq: 99, Flags: tcp.SYN}, {Seq: 899, Ack: 100, Flags: tcp.SYN | tcp.ACK}, {Seq: 100, Ack: 900, Flags: tcp.ACK},
				{Seq: 100, Ack: 900, Flags: tcp.FIN | tcp.ACK}, {Seq: 900, Ack: 101, Flags: tcp.FIN | tcp.ACK},
			} {
				if ord++; i > 0 && i-1 == late {
					ord += apart - 1
				}
				p := capture.Packet{At: tcp.Instant(1e18 + i*1e6), Ord: ord, Proto: capture.TCP, Reversed: i == 1 || i == 4}
				p.Key.SetIPv4(0xc0000201, 0xc6336402, 40000<<16|22)
				p.Seg = seg
				p.Seg.Win = 500
				p.Settle()
				pkts = append(pkts, p)
			}
			short, long := shortAndLong(pkts, len(pkts), false)
			sameStory(t, short, long)
		}
	}
}

// A wrong checksum of any segment of a young connection is known when it grows up,
// where the long way would tell of it.
func TestWrongSumsOfTheYoungAreKnown(t *testing.T) {
	lines := []string{
		"0 C > S SYN seq 99 mss 1460 sackok ts 1 0 wscale 7", "+1ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 1 1 wscale 7", "+1ms C > S ACK seq 100 ack 900 ts 1 1",
		"+1ms C > S PSH,ACK seq 100 ack 900 ts 1 1 len 10", "+1ms S > C ACK seq 900 ack 110 ts 1 1", "+1ms C > S FIN,ACK seq 110 ack 900 ts 1 1",
		"+1ms S > C PSH,ACK seq 900 ack 111 ts 1 1 len 10", "+1ms S > C FIN,ACK seq 910 ack 111 ts 1 1", "+1ms C > S ACK seq 111 ack 911 ts 1 1",
	}
	for wrong := range lines {
		text := slices.Clone(lines)
		text[wrong] += " badsum"
		talk := strings.Join(text, "\n")
		sameStory(t, read(t, talk, "", capture.BatchSize, flows.Options{}), read(t, talk, "", capture.BatchSize, flows.Options{Label: func(flows.Label) {}}))
	}
}

// TestShortWaysTellTheSameStory: whatever happens to a connection, the short
// ways leave of it what the long way alone does.
func TestShortWaysTellTheSameStory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkts := unruly(t)
		short, long := shortAndLong(pkts, rapid.IntRange(1, capture.BatchSize).Draw(t, "batch"), rapid.Bool().Draw(t, "digests"))
		sameStory(t, short, long)
	})
}

// TestBriefConnectionsLeaveTheSameRows: of thousands that ended in every way that they do,
// what remains of the older ones is what the long way leaves.
func TestBriefConnectionsLeaveTheSameRows(t *testing.T) {
	var pkts []capture.Packet
	draw := rapid.Custom(briefs)
	for n := range 9000 {
		begin := tcp.Instant(n) * 1e7
		for _, p := range draw.Example(n) {
			p.At += begin
			p.Ord, p.Key.Ports = tcp.Ordinal(len(pkts)+1), uint32(1024+n)<<16|22
			pkts = append(pkts, p)
		}
	}
	short, long := shortAndLong(pkts, capture.BatchSize, false)
	rows := func(table *flows.Table) (rows []flows.Closed) {
		for row := range table.ClosedFlows() {
			rows = append(rows, *row)
		}
		return rows
	}
	got, want := rows(short), rows(long)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" {
		t.Errorf("rows (-long way +short ways):\n%.2000s", diff)
	}
	ends := map[flows.Ending]int{}
	for i := range got {
		ends[got[i].End[0]]++
	}
	if len(got) < 1000 || ends[flows.EndRST] < 50 || ends[flows.EndFIN] < 50 {
		t.Errorf("%d rows, ended so: %v: the test tests nothing", len(got), ends)
	}
	sameStory(t, short, long)
}

// TestShortWaysLeaveTheSameRows: connections that end well leave their rows, and
// those beyond the limit of young ones grow up.
func TestShortWaysLeaveTheSameRows(t *testing.T) {
	for name, c := range map[string]traffic.Config{
		"few open":  {Shape: traffic.Churn, Flows: 40, Packets: 60_000, Seed: 11},
		"many open": {Shape: traffic.Churn, Flows: 9000, Packets: 150_000, Seed: 12},
		"IPv6":      {Shape: traffic.Churn, Flows: 40, Packets: 60_000, Seed: 13, IPv6: true},
	} {
		t.Run(name, func(t *testing.T) {
			fed := func(o flows.Options) (rows []flows.Closed, whole []*flows.Flow) {
				set := generated(t, c)
				table := &flows.Table{Options: o}
				var b capture.Batch
				for set.Read(&b) == nil {
					table.Add(&b)
				}
				for row := range table.ClosedFlows() {
					rows = append(rows, *row)
				}
				return rows, viewsOf(table)
			}
			short, whole := fed(flows.Options{})
			long, all := fed(flows.Options{Label: func(flows.Label) {}})
			if len(short) == 0 {
				t.Fatal("no connection left a row")
			}
			compare := cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})
			if diff := cmp.Diff(long, short, compare); diff != "" {
				t.Errorf("rows (-long way +short ways):\n%.2000s", diff)
			}
			if diff := cmp.Diff(all, whole, compare); diff != "" {
				t.Errorf("views (-long way +short ways):\n%.3000s", diff)
			}
		})
	}
}

// A heartbeat behind a pause is one, however much it carries: a young connection that pauses
// leaves nothing to tell it by.
func TestHeartbeatsOfTheYoungAreTold(t *testing.T) {
	told := 0
	for _, beat := range facts.Heartbeats() {
		for _, prefix := range beat.Prefixes {
			for _, size := range append([]int{len(prefix), 150, 400}, beat.Lens...) {
				buf := make([]byte, max(size, len(prefix)+len(beat.Contains)))
				copy(buf[copy(buf, prefix):], beat.Contains)
				port := 22
				if len(beat.Ports) > 0 {
					port = beat.Ports[0]
				}
				at, next := tcp.Instant(1e18), [2]tcp.Seq{99, 899}
				var b capture.Batch
				b.Buf = buf
				send := func(d int, flags tcp.Flags, n int, after tcp.Instant) {
					at += after
					p := &b.Pkts[b.N]
					*p = capture.Packet{At: at, Ord: tcp.Ordinal(b.N + 1), Proto: capture.TCP, Reversed: d == 1, DataLen: uint32(n)}
					p.Key.SetIPv4(0xc0000201, 0xc6336402, uint32(40000<<16|port))
					p.Seg = tcp.Segment{Seq: next[d], Ack: next[1-d], Flags: flags, Len: uint32(n), Win: 500, TTL: 64}
					next[d] = p.Seg.End()
					p.Settle()
					b.N++
				}
				send(0, tcp.SYN, 0, 0)
				send(1, tcp.SYN|tcp.ACK, 0, 1e6)
				send(0, tcp.ACK, 0, 1e6)
				for range 3 {
					send(0, tcp.ACK|tcp.PSH, len(buf), 30e9)
					send(1, tcp.ACK, 0, 1e6)
				}
				pkts := b.Pkts[:b.N]
				fed := func(o flows.Options) *flows.Table {
					table, one := &flows.Table{Options: o}, capture.Batch{Buf: buf}
					one.N = copy(one.Pkts[:], pkts)
					table.Add(&one)
					return table
				}
				long := fed(flows.Options{Label: func(l flows.Label) {
					if l.Kind == flows.Heartbeat && len(buf) > 101 {
						told++
					}
				}})
				sameStory(t, fed(flows.Options{}), long)
			}
		}
	}
	if told < 10 {
		t.Errorf("%d heartbeats of more than 101 octets were told: the test tests nothing", told)
	}
}
