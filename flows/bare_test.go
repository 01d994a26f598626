package flows

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/internal/traffic"
)

// idle is a capture of idle connections that can be disturbed: octets of a pcap
// file's header, then its records.
type idle struct {
	head    []byte
	records [][]byte
	wide    bool // IPv6
	round   int  // records in which each connection asks and is answered once
}

// drawIdle draws one, undisturbed.
func drawIdle(t *rapid.T) *idle {
	return newIdle(t, traffic.Config{
		Shape: traffic.Keepalive, Flows: rapid.SampledFrom([]int{3, 7, 20, 40, 60}).Draw(t, "flows"), Packets: rapid.IntRange(5000, 8000).Draw(t, "packets"), Seed: rapid.Uint64().Draw(t, "seed"),
		IPv6: rapid.Bool().Draw(t, "IPv6"), Begin: rapid.SampledFrom([]traffic.Begin{traffic.MidStream, traffic.MidStream, traffic.HandshakeData}).Draw(t, "begin"),
		RTT:  rapid.SampledFrom([]time.Duration{200 * time.Microsecond, 200 * time.Microsecond, 300 * time.Millisecond, 600 * time.Millisecond, 1500 * time.Millisecond}).Draw(t, "RTT"),
		Pair: rapid.Bool().Draw(t, "of one client and one server"), Scatter: rapid.Bool().Draw(t, "in no order"),
	})
}

func newIdle(t interface{ Fatal(...any) }, c traffic.Config) *idle {
	var file bytes.Buffer
	if _, err := traffic.Write(&file, c); err != nil {
		t.Fatal(err)
	}
	x := &idle{head: bytes.Clone(file.Next(24)), wide: c.IPv6, round: 2 * c.Flows}
	for file.Len() > 0 {
		size := binary.LittleEndian.Uint32(file.Bytes()[8:])
		x.records = append(x.records, file.Next(16+int(size)))
	}
	return x
}

// headers returns where a record's IP and TCP headers begin.
func (x *idle) headers() (ip, tcp int) {
	if x.wide {
		return 30, 70
	}
	return 30, 50
}

// sum makes the checksum of a record's IP header right.
func (x *idle) sum(record []byte) {
	if x.wide || len(record) < 50 {
		return
	}
	ip := record[30:50]
	ip[10], ip[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
}

// sized makes the lengths of a record those of a frame captured whole.
func sized(record []byte) []byte {
	binary.LittleEndian.PutUint32(record[8:], uint32(len(record)-16))
	binary.LittleEndian.PutUint32(record[12:], uint32(len(record)-16))
	return record
}

// unstamped returns the record of a pure acknowledgment without its timestamps, and any
// other as it is.
func (x *idle) unstamped(record []byte) []byte {
	ip, tcp := x.headers()
	if len(record) != tcp+32 {
		return record
	}
	record = sized(record[:tcp+20])
	record[tcp+12] = 0x50
	if x.wide {
		binary.BigEndian.PutUint16(record[ip+4:], 20)
	} else {
		binary.BigEndian.PutUint16(record[ip+2:], 40)
	}
	x.sum(record)
	return record
}

// octet returns the record of a pure acknowledgment with an octet of payload.
func (x *idle) octet(record []byte) []byte {
	ip, tcp := x.headers()
	if len(record) != tcp+32 && len(record) != tcp+20 {
		return record
	}
	record = sized(append(bytes.Clone(record), 0))
	if x.wide {
		binary.BigEndian.PutUint16(record[ip+4:], uint16(len(record)-tcp))
	} else {
		binary.BigEndian.PutUint16(record[ip+2:], uint16(len(record)-ip))
	}
	x.sum(record)
	return record
}

// constantIDs gives all packets one IP ID.
func (x *idle) constantIDs() {
	for _, record := range x.records {
		record[30+4], record[30+5] = 0, 0
		x.sum(record)
	}
}

// address returns the source address, or, with 1, the destination of a record.
func (x *idle) address(record []byte, which int) []byte {
	if x.wide {
		return record[38+16*which:][12:16]
	}
	return record[42+4*which:][:4]
}

// tagged returns a record with a VLAN tag.
func tagged(record []byte) []byte {
	return sized(slices.Concat(record[:28], []byte{0x81, 0, 0, 7}, record[28:]))
}

// disturb changes one record in so many, in every way that matters to who reads it
// or to the run that it belongs to.
func (x *idle) disturb(r *rand.Rand, oneIn int) {
	_, tcp := x.headers()
	add := func(b []byte, n uint32) { binary.BigEndian.PutUint32(b, binary.BigEndian.Uint32(b)+n) }
	var out [][]byte
	for i, record := range x.records {
		if r.IntN(oneIn) > 0 {
			out = append(out, record)
			continue
		}
		switch r.IntN(20) {
		case 0: // missing
			continue
		case 1: // twice
			out = append(out, record)
			record = bytes.Clone(record)
		case 2: // a pause before all that follows
			pause := uint32(1 + r.IntN(100))
			for _, later := range x.records[i:] {
				binary.LittleEndian.PutUint32(later, binary.LittleEndian.Uint32(later)+pause)
			}
		case 3: // earlier than the one before
			binary.LittleEndian.PutUint32(record, binary.LittleEndian.Uint32(record)-uint32(r.IntN(3)))
		case 4: // cut by a snap length
			size := r.IntN(len(record) - 16)
			record = record[:16+size]
			binary.LittleEndian.PutUint32(record[8:], uint32(size))
		case 5:
			add(record[tcp+4:], uint32(r.IntN(4))-2) // seq
		case 6:
			add(record[tcp+8:], uint32(r.IntN(4))-2) // ack
		case 7:
			binary.BigEndian.PutUint16(record[tcp+14:], uint16(r.IntN(3)*500)) // win
		case 8:
			record[tcp+13] = [...]byte{0x10, 0x18, 0x11, 0x14, 0x04, 0x02, 0x12, 0x90}[r.IntN(8)]
		case 9:
			if len(record) >= tcp+32 {
				add(record[tcp+24:], uint32(r.IntN(2000))-1000) // TSval
			}
		case 10:
			record = x.unstamped(record)
		case 11:
			record = x.octet(record)
		case 12:
			record = tagged(record)
		case 13: // a probe of the other end, too
			add(record[tcp+4:], ^uint32(0))
		case 14: // the IP ID
			record[30+5]++
			x.sum(record)
		case 15: // a wrong checksum, and no answer
			record[30+10] ^= 1
			if i+1 < len(x.records) && len(x.records[i+1]) > tcp {
				x.records[i+1][tcp+13] = 0x04
			}
		case 16: // again, some records later
			if later := i + 1 + r.IntN(4); later < len(x.records) {
				again := bytes.Clone(record)
				copy(again, x.records[later][:8])
				x.records[later] = append(again, x.records[later]...)
			}
		case 17: // of other hosts
			x.address(record, r.IntN(2))[3] ^= 4
			x.sum(record)
		default: // any octet of the frame, but for the addresses of Ethernet
			record[28+r.IntN(len(record)-28)] ^= 1 << r.IntN(8)
			if r.IntN(2) == 0 {
				x.sum(record)
			}
		}
		out = append(out, record)
	}
	x.records = out
}

// read has a table read the capture, bare frames where they are wanted; told, where it is
// not nil, is told of each batch of those: the first one's place, and how many were taken.
func (x *idle) read(t interface{ Fatal(...any) }, bare bool, told func(first, taken, all int)) (*Table, capture.File) {
	file := append(bytes.Clone(x.head), bytes.Join(x.records, nil)...)
	set, err := capture.Open(capture.Options{Stdin: bytes.NewReader(file)}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	table, seen := &Table{}, 0
	var b capture.Batch
	for err != io.EOF {
		err = set.Read(&b)
		n := b.Bare.N
		b.Bare.Wanted = bare // which the table may take back
		table.Add(&b)
		if n > 0 && told != nil {
			told(seen, n-b.N, n)
		}
		seen += max(n, b.N)
	}
	if f := set.Files()[0]; uint64(seen) != f.Frames {
		t.Fatal(seen, "frames read of", f.Frames)
	}
	return table, set.Files()[0]
}

// TestBareFramesTellTheSameStory: what a table makes of pure acknowledgments in the octets
// of their frames is what it makes of packets.
func TestBareFramesTellTheSameStory(t *testing.T) {
	var taken [2]int // of IPv4, of IPv6
	left := 0        // batches of which some were not
	rapid.Check(t, func(t *rapid.T) {
		x := drawIdle(t)
		if rapid.Bool().Draw(t, "without timestamps") {
			for i := range x.records {
				x.records[i] = x.unstamped(x.records[i])
			}
		}
		if rapid.Bool().Draw(t, "constant IP IDs") && !x.wide {
			x.constantIDs()
		}
		if change := rapid.SampledFrom([]func([]byte) []byte{nil, x.octet, tagged}).Draw(t, "one connection is different"); change != nil {
			_, tcp := x.headers()
			ports, odd := x.records[0][tcp:tcp+4], rapid.IntRange(2, 20).Draw(t, "one is not in")
			other := []byte{ports[2], ports[3], ports[0], ports[1]}
			for i, record := range x.records {
				if at := record[tcp : tcp+4]; (bytes.Equal(at, ports) || bytes.Equal(at, other)) && (i/2)%odd > 0 {
					x.records[i] = change(record)
				}
			}
		}
		if oneIn := rapid.SampledFrom([]int{0, 20, 200, 500, 1000, 2000}).Draw(t, "one disturbed in"); oneIn > 0 {
			x.disturb(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "disturbance"), 0)), oneIn)
		}
		packets, file1 := x.read(t, false, nil)
		bare, file2 := x.read(t, true, func(_, n, all int) {
			if x.wide {
				taken[1] += n
			} else {
				taken[0] += n
			}
			if n < all {
				left++
			}
		})
		compare := cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})
		if diff := cmp.Diff(allViews(packets), allViews(bare), compare); diff != "" {
			t.Fatalf("views (packets −, bare +):\n%.3000s", diff)
		}
		for id := range packets.Flows() {
			f, _ := packets.Flow(id)
			a, _ := packets.HostPair(&f.Key)
			b, _ := bare.HostPair(&f.Key)
			if diff := cmp.Diff(a, b, compare); diff != "" {
				t.Fatalf("hosts of %v (packets −, bare +):\n%.3000s", f.Key, diff)
			}
		}
		if diff := cmp.Diff(file1, file2); diff != "" {
			t.Fatalf("file (packets −, bare +):\n%s", diff)
		}
		equalRecords(t, packets, bare)
		if packets.Now() != bare.Now() {
			t.Fatalf("the time is %v, and %v", packets.Now(), bare.Now())
		}
	})
	if taken[0] < 500 || taken[1] < 500 || left < 10 {
		t.Errorf("%d of IPv4 and %d of IPv6 were taken, and %d batches left some: the test tests nothing", taken[0], taken[1], left)
	}
}

// equalRecords compares what two tables keep of each flow.
func equalRecords(t interface{ Fatalf(string, ...any) }, packets, bare *Table) {
	for _, p := range [2][2]*pool{{&packets.narrow, &bare.narrow}, {&packets.wide, &bare.wide}} {
		for slot := range p[0].used {
			if a, b := p[0].record(slot), p[1].record(slot); *a != *b {
				t.Fatalf("record %d, by packets %+v\nbare %+v", slot, *a, *b)
			}
		}
	}
}

// TestWhatIsNoBeatIsNotTaken: a frame that differs in anything from the next beat of its
// run is left to those who look at packets.
func TestWhatIsNoBeatIsNotTaken(t *testing.T) {
	add := func(b []byte, n uint32) { binary.BigEndian.PutUint32(b, binary.BigEndian.Uint32(b)+n) }
	later := func(x *idle, from int, micros int) { // all records from one on
		for _, r := range x.records[from:] {
			at := int(binary.LittleEndian.Uint32(r))*1_000_000 + int(binary.LittleEndian.Uint32(r[4:])) + micros
			binary.LittleEndian.PutUint32(r, uint32(at/1_000_000))
			binary.LittleEndian.PutUint32(r[4:], uint32(at%1_000_000))
		}
	}
	type change struct {
		name string
		do   func(x *idle, probe int) (changed int) // probe is a record that is one; its answer follows
		ip   int                                    // 4 or 6; 0: both
	}
	both := func(name string, f func(x *idle, r []byte) []byte) []change {
		at := func(behind int) func(*idle, int) int {
			return func(x *idle, probe int) int {
				x.records[probe+behind] = f(x, x.records[probe+behind])
				return probe + behind
			}
		}
		return []change{{name: name + " of a probe", do: at(0)}, {name: name + " of an answer", do: at(1)}}
	}
	tcpOf := func(x *idle, r []byte) []byte { _, tcp := x.headers(); return r[tcp:] }
	inTCP := func(name string, f func(h []byte)) []change {
		return both(name, func(x *idle, r []byte) []byte { f(tcpOf(x, r)); return r })
	}
	changes := slices.Concat(
		both("nothing", func(_ *idle, r []byte) []byte { return r }),
		inTCP("window", func(h []byte) { h[14]++ }),
		inTCP("acknowledgment", func(h []byte) { add(h[8:], 1) }),
		inTCP("number, two less", func(h []byte) { add(h[4:], ^uint32(1)) }),
		inTCP("number, one more", func(h []byte) { add(h[4:], 1) }),
		inTCP("timestamp", func(h []byte) { add(h[24:], ^uint32(1_000_000)) }),
		inTCP("flags", func(h []byte) { h[13] |= 8 }),
		inTCP("other flags", func(h []byte) { h[12] |= 1 }),
		inTCP("source port", func(h []byte) { h[0]++ }),
		inTCP("destination port", func(h []byte) { h[3]++ }),
		inTCP("order of options", func(h []byte) { copy(h[20:], slices.Concat(h[22:32], []byte{1, 1})) }),
		both("no timestamps", func(x *idle, r []byte) []byte { return x.unstamped(r) }),
		both("octet", func(x *idle, r []byte) []byte { return x.octet(r) }),
		both("tag", func(_ *idle, r []byte) []byte { return tagged(r) }),
		both("source", func(x *idle, r []byte) []byte { x.address(r, 0)[3] ^= 64; x.sum(r); return r }),
		both("destination", func(x *idle, r []byte) []byte { x.address(r, 1)[3] ^= 64; x.sum(r); return r }),
		both("snap length", func(_ *idle, r []byte) []byte { binary.LittleEndian.PutUint32(r[12:], uint32(len(r))); return r }),
		both("TTL", func(x *idle, r []byte) []byte {
			if x.wide {
				r[30+7]--
			} else {
				r[30+8]--
				x.sum(r)
			}
			return r
		}),
		[]change{
			{name: "nothing that matters: IP ID", ip: 4, do: func(x *idle, probe int) int {
				x.constantIDs()
				x.records[probe][30+5]++
				x.sum(x.records[probe])
				return probe
			}},
			{name: "IP checksum", ip: 4, do: func(x *idle, probe int) int { x.records[probe][30+10]++; return probe }},
			{name: "fragment", ip: 4, do: func(x *idle, probe int) int { x.records[probe][30+6] |= 0x20; x.sum(x.records[probe]); return probe }},
			{name: "protocol", ip: 4, do: func(x *idle, probe int) int { x.records[probe][30+9] = 17; x.sum(x.records[probe]); return probe }},
			{name: "next header", ip: 6, do: func(x *idle, probe int) int { x.records[probe][30+6] = 17; return probe }},
			{name: "a late answer", do: func(x *idle, probe int) int { later(x, probe+1, 460_000); return probe + 1 }},
			{name: "off the pace", do: func(x *idle, probe int) int { later(x, probe, 10_000_000); return probe + 1 }},
			{name: "a probe where another waits", do: func(x *idle, probe int) int {
				later(x, probe+1, 2_000_000)
				add(tcpOf(x, x.records[probe+1])[4:], ^uint32(0))
				return probe + 1
			}},
			{name: "a probe soon after an answer", do: func(x *idle, probe int) int {
				soon := bytes.Clone(x.records[probe])
				copy(soon, x.records[probe+1][:8])
				x.records = slices.Insert(x.records, probe+2, soon)
				return probe + 2
			}},
			{name: "an earlier clock", do: func(x *idle, probe int) int { later(x, probe-400, -100_000_000); return probe }},
			{name: "timestamps at last", do: func(x *idle, probe int) int {
				for i := probe % x.round; i < probe; i += x.round {
					x.records[i], x.records[i+1] = x.unstamped(x.records[i]), x.unstamped(x.records[i+1])
				}
				return probe
			}},
			{name: "untagged at last", do: func(x *idle, probe int) int {
				for i := probe % x.round; i < probe; i += x.round {
					x.records[i] = tagged(x.records[i])
				}
				return probe
			}},
			{name: "without an octet at last", do: func(x *idle, probe int) int {
				for i := probe % x.round; i < probe; i += x.round {
					x.records[i] = x.octet(x.records[i])
				}
				return probe
			}},
		},
	)
	for _, config := range []traffic.Config{{}, {IPv6: true}, {Scatter: true}, {IPv6: true, Scatter: true}} {
		config.Shape, config.Flows, config.Packets, config.Seed = traffic.Keepalive, 400, 12_000, 7
		for _, c := range changes {
			if c.ip == 4 && config.IPv6 || c.ip == 6 && !config.IPv6 {
				continue
			}
			x := newIdle(t, config)
			changed := c.do(x, 12*x.round+2*170)
			taken := false
			table, _ := x.read(t, true, func(first, n, _ int) {
				if first <= changed && changed < first+n {
					taken = true
				}
			})
			packets, _ := x.read(t, false, nil)
			equalRecords(t, packets, table)
			if turns := table.plan.inOrder != nil; turns == config.Scatter {
				t.Errorf("%s, %+v: flows take turns: %v", c.name, config, turns)
			}
			if taken != strings.HasPrefix(c.name, "nothing") {
				t.Errorf("%s, %+v: taken %v", c.name, config, taken)
			}
		}
	}
}
