package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// micros is base in microseconds, pcapng's usual unit.
const micros = uint64(base / 1000)

func TestPcapngOddities(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	data := segment(40000, "abc")
	first := seen{At: base, Payload: "abc"}
	tests := []struct {
		name  string
		file  func() *ngFile
		want  []seen
		holes []Interval
		drops uint64 // ^0: not known
	}{
		{name: "byte order changes with the section", drops: ^uint64(0),
			file: func() *ngFile {
				return newNG(be).iface(linkRaw, 0).packet(0, micros, data).section(le).iface(linkRaw, 0).packet(0, micros, data)
			}, want: []seen{first, {At: base, Payload: "abc", Iface: 1}}},
		{name: "two interfaces, two resolutions", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0)
				return g.iface(linkRaw, 0, g.option(ifTsResol, []byte{9})).packet(1, uint64(base)+7, data).packet(0, micros, data)
			}, want: []seen{{At: base + 7, Payload: "abc", Iface: 1}, first}},
		{name: "seconds since another day", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(be)
				return g.iface(linkRaw, 0, g.option(ifTsOffset, be.AppendUint64(nil, 1_600_000_000))).packet(0, micros-1_600_000_000_000_000, data)
			}, want: []seen{first}},
		{name: "simple packet, no time, cut by the snap length", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 42)
				return g.block(blockSimple, append(g.words(43), data[:42]...))
			}, want: []seen{{Payload: "ab", Note: NoteCut}}},
		{name: "obsolete packet block, drops not known", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0)
				body := append(append(g.words(0xffff0000), g.stamp(micros)...), g.words(43, 43)...)
				return g.block(blockPacket, append(body, data...))
			}, want: []seen{first}},
		{name: "obsolete packet block, three lost before it", drops: 3,
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0).packet(0, micros-2000, data)
				body := append(append(g.words(3<<16), g.stamp(micros)...), g.words(43, 43)...)
				return g.block(blockPacket, append(body, data...))
			}, want: []seen{{At: base - 2*ms, Payload: "abc"}, first}, holes: []Interval{{base - 2*ms, base, WhyDropped}}},
		{name: "option tells drops before a packet", drops: 5,
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0).packet(0, micros-2000, data)
				return g.packet(0, micros, data, g.option(epbDropCount, le.AppendUint64(nil, 5)))
			}, want: []seen{{At: base - 2*ms, Payload: "abc"}, first}, holes: []Interval{{base - 2*ms, base, WhyDropped}}},
		{name: "statistics twice, the counters grew", drops: 9,
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0).packet(0, micros, data)
				stat := func(at, ifDrops, osDrops uint64) {
					body := append(g.words(0), g.stamp(at)...)
					body = append(body, g.option(isbIfDrop, le.AppendUint64(nil, ifDrops))...)
					g.block(blockStatistics, append(body, g.option(isbOSDrop, le.AppendUint64(nil, osDrops))...))
				}
				stat(micros+1000, 0, 0)
				stat(micros+2000, 4, 5)
				return g
			}, want: []seen{first}, holes: []Interval{{base + ms, base + 2*ms, WhyDropped}}},
		{name: "statistics say that nothing was dropped", drops: 0,
			file: func() *ngFile {
				g := newNG(le).iface(linkRaw, 0).packet(0, micros, data)
				return g.block(blockStatistics, append(append(g.words(0), g.stamp(micros)...), g.option(isbIfDrop, make([]byte, 8))...))
			}, want: []seen{first}},
		{name: "option longer than its block costs the options only", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le)
				return g.iface(linkRaw, 0, []byte{ifTsResol, 0, 0xff, 0xff}).packet(0, micros, data, []byte{epbDropCount, 0, 9, 0})
			}, want: []seen{first}},
		{name: "resolution option without an octet", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le)
				return g.iface(linkRaw, 0, g.option(ifTsResol, nil)).packet(0, micros, data)
			}, want: []seen{first}},
		{name: "check sequence behind each frame, in bits", drops: ^uint64(0),
			file: func() *ngFile {
				g := newNG(le)
				return g.iface(linkRaw, 0, g.option(ifFCSLen, []byte{32})).packet(0, micros, append(data[:43:43], "FCS!"...))
			}, want: []seen{first}},
		{name: "records that hold no packet are numbered", drops: ^uint64(0),
			file: func() *ngFile {
				return newNG(le).iface(linkRaw, 0).block(blockJournal, []byte("MESSAGE=a")).block(blockCustom, []byte("1234")).packet(0, micros, data)
			}, want: []seen{{}, {}, first}},
		{name: "names, secrets and unknown blocks are passed over", drops: ^uint64(0),
			file: func() *ngFile {
				return newNG(le).iface(linkRaw, 0).block(4, make([]byte, 8)).block(10, make([]byte, 16)).block(0x80000001, nil).packet(0, micros, data)
			}, want: []seen{first}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := readBytes(t, test.file().out)
			if diff := cmp.Diff(test.want, got.Seen); diff != "" {
				t.Errorf("frames, want −, got +:\n%s", diff)
			}
			if diff := cmp.Diff(test.holes, got.Holes); diff != "" {
				t.Errorf("holes, want −, got +:\n%s", diff)
			}
			drops := got.File.Drops
			if !got.File.DropsKnown {
				drops = ^uint64(0)
			}
			if drops != test.drops || !got.File.Complete {
				t.Errorf("drops %d (known %v), complete %v; want %d in a whole file; problems %v",
					got.File.Drops, got.File.DropsKnown, got.File.Complete, test.drops, got.File.Problems)
			}
		})
	}
}

func TestPcapngDamage(t *testing.T) {
	le := binary.LittleEndian
	data := segment(40000, "abc")
	good := newNG(le).iface(linkRaw, 0).packet(0, micros, data)
	tests := []struct {
		name, want string
		add        func(g *ngFile)
	}{
		{"length 0", "pcapng block type 0x6 has a length of 0", func(g *ngFile) { g.out = append(g.out, g.words(6, 0, 0)...) }},
		{"length below the smallest block", "pcapng block type 0x6 has a length of 8", func(g *ngFile) { g.out = append(g.out, g.words(6, 8, 8)...) }},
		{"length not of whole words", "pcapng block type 0x6 has a length of 35", func(g *ngFile) { g.out = append(g.out, g.words(6, 35, 0)...) }},
		{"length above 16 MiB", "pcapng block type 0x77 has a length of 16777220", func(g *ngFile) { g.out = append(g.out, g.words(0x77, 16<<20+4, 0)...) }},
		{"lengths at both ends differ", "pcapng block type 0x77 has lengths 16 and, at its end, 20", func(g *ngFile) { g.out = append(g.out, g.words(0x77, 16, 0, 20)...) }},
		{"longer than the file", "cut short: pcapng block needs 1024 octets, 12 left", func(g *ngFile) { g.out = append(g.out, g.words(0x77, 1024, 0)...) }},
		{"interface that was not described", "packet on interface 1 of 1", func(g *ngFile) { g.packet(1, micros, data) }},
		{"more captured than the block holds", "packet block claims 100 octets, 4 left",
			func(g *ngFile) { g.block(blockEnhanced, g.words(0, 0, 0, 100, 100, 0)) }},
		{"more captured than a packet has", "packet block claims 262145 octets, more than 262144",
			func(g *ngFile) { g.block(blockEnhanced, g.words(0, 0, 0, maxRecord+1, 100, 0)) }},
		{"packet block too small", "enhanced packet block needs 20 octets, 4 left", func(g *ngFile) { g.block(blockEnhanced, g.words(0)) }},
		{"section without a byte order", "section header has no byte order mark: 0x04030201",
			func(g *ngFile) { g.block(blockSection, append([]byte{4, 3, 2, 1}, make([]byte, 12)...)) }},
		{"section of another version", "pcapng version 7.0 is not supported",
			func(g *ngFile) { g.block(blockSection, g.words(sectionMagic, 7, 0, 0)) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := &ngFile{order: le, out: bytes.Clone(good.out)}
			test.add(g)
			got := readBytes(t, g.out)
			want := []Problem{{Frame: 2, Offset: int64(len(good.out)), What: test.want, Fatal: true}}
			if diff := cmp.Diff(want, got.File.Problems); diff != "" || got.File.Frames != 1 || got.File.Complete {
				t.Errorf("%d frames, complete %v; problems, want −, got +:\n%s", got.File.Frames, got.File.Complete, diff)
			}
		})
	}
}

func TestInterfacesOfOneSectionAreBounded(t *testing.T) {
	g := newNG(binary.LittleEndian)
	for range maxIfaces + 1 {
		g.iface(linkRaw, 0)
	}
	got := readBytes(t, g.out)
	if len(got.File.Problems) != 1 || !strings.Contains(got.File.Problems[0].What, "more than 100000 interfaces") {
		t.Errorf("problems %v, want one about more than 100000 interfaces", got.File.Problems)
	}
	if len(got.File.Interfaces) != maxListed {
		t.Errorf("%d interfaces listed, want %d", len(got.File.Interfaces), maxListed)
	}
}

func TestInterfaceDescription(t *testing.T) {
	g := newNG(binary.BigEndian)
	g.iface(linkSLL, 128,
		g.option(ifName, []byte("eth0")), g.option(ifDescription, []byte("up\x1b[2Jlink")), g.option(ifOS, bytes.Repeat([]byte("x"), 300)),
		g.option(ifFilter, []byte("\x00tcp port 22")))
	want := []Interface{{Name: "eth0", Description: "up\x1b[2Jlink", OS: tcp.Untrusted(strings.Repeat("x", maxText)),
		Filter: "tcp port 22", LinkType: linkSLL, SnapLen: 128}}
	if diff := cmp.Diff(want, readBytes(t, g.out).File.Interfaces); diff != "" {
		t.Errorf("want −, got +:\n%s", diff)
	}
}

func TestResolutions(t *testing.T) {
	tests := []struct {
		resol  byte
		offset int64
		units  uint64
		want   tcp.Instant
		lost   uint64
	}{
		{6, 0, 1_500_000, 1_500_000_000, 0},
		{9, 0, 7, 7, 0},
		{0, 0, 3, 3_000_000_000, 0}, // whole seconds
		{3, 0, 3, 3_000_000, 0},
		{12, 0, 7_999, 7, 0}, // picoseconds
		{28, 0, math.MaxUint64, 1, 0},
		{29, 0, math.MaxUint64, 0, 0},
		{127, 0, math.MaxUint64, 0, 0},
		{0x80, 0, 3, 3_000_000_000, 0}, // 2^0
		{0x80 | 10, 0, 1536, 1_500_000_000, 0},
		{0x80 | 20, 0, 1 << 20, 1_000_000_000, 0},
		{0x80 | 32, 0, 1_700_000_000<<32 | 1<<31, 1_700_000_000_500_000_000, 0},
		{0x80 | 63, 0, 1 << 63, 1_000_000_000, 0},
		{0x80 | 64, 0, 1 << 63, 500_000_000, 0},
		{0x80 | 65, 0, 1 << 63, 250_000_000, 0},
		{0x80 | 127, 0, math.MaxUint64, 0, 0},
		{6, 0, math.MaxUint64, tcp.MaxInstant, 1},
		{0, 0, 1 << 62, tcp.MaxInstant, 1},
		{0x80, 0, math.MaxUint64, tcp.MaxInstant, 1},
		{6, 10, 1_000_000, 11_000_000_000, 0},
		{6, -10, 1_000_000, -9_000_000_000, 0},
		{6, math.MinInt64, 0, tcp.MinInstant, 1},
		{6, math.MaxInt64, 0, tcp.MaxInstant, 1},
		{9, 9_000_000_000, 900_000_000_000_000_000, tcp.MaxInstant, 1},
		{9, -1, 1, -999_999_999, 0},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("resolution %#x offset %d units %d", test.resol, test.offset, test.units), func(t *testing.T) {
			var r reader
			f := iface{offset: test.offset}
			f.resolution(test.resol)
			if got := r.instant(&f, test.units); got != test.want || r.lost != test.lost {
				t.Errorf("instant = %d, %d lost; want %d, %d", got, r.lost, test.want, test.lost)
			}
		})
	}
}

func TestTimesBeyondAnInstantAreCounted(t *testing.T) {
	got := readBytes(t, newNG(binary.LittleEndian).iface(linkRaw, 0).packet(0, math.MaxUint64, segment(40000, "abc")).out)
	want := []Problem{{What: "1 times lie outside the years 1678 to 2262"}}
	if diff := cmp.Diff(want, got.File.Problems); diff != "" || !got.File.Complete {
		t.Errorf("complete %v; problems, want −, got +:\n%s", got.File.Complete, diff)
	}
}
