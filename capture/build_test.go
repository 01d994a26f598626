package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"kaflow/tcp"
)

// base is when the captures of the tests begin.
const base tcp.Instant = 1_700_000_000_000_000_000

const ms = 1_000_000

// segment returns an IPv4 packet without link header: a TCP segment from
// 192.0.2.1:port to 192.0.2.2:22 that carries payload.
func segment(port uint16, payload string) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[8], b[9] = 0x45, 64, protoTCP
	binary.BigEndian.PutUint16(b[2:], uint16(40+len(payload)))
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[10:], ^ipv4Sum(b[:20]))
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 22)
	b[32], b[33] = 0x50, 0x18
	return append(b, payload...)
}

// seen is what the tests look at of a frame.
type seen struct {
	At      tcp.Instant
	Payload string
	Iface   uint32
	Note    Note
}

// reading is all that a set gives.
type reading struct {
	Seen  []seen
	File  File
	Holes []Interval
}

// read reads a set to its end.
func read(t testing.TB, s *Set) (r reading) {
	t.Helper()
	var b Batch
	for {
		err := s.Read(&b)
		if err == io.EOF && b.N == 0 {
			break
		}
		if err != nil || b.N == 0 {
			t.Fatalf("Read = %v with %d packets", err, b.N)
		}
		for i := range b.N {
			p := &b.Pkts[i]
			if want := tcp.Ordinal(len(r.Seen) + 1); p.Ord != want {
				t.Fatalf("ordinal %d, want %d", p.Ord, want)
			}
			r.Seen = append(r.Seen, seen{p.At, string(b.Payload(i)), p.Iface, p.Note})
		}
	}
	r.File = s.Files()[len(s.Files())-1]
	r.Holes = s.Holes()
	return r
}

// openBytes opens a file's octets as a stream.
func openBytes(t testing.TB, file []byte) *Set {
	t.Helper()
	s, err := Open(Options{Stdin: bytes.NewReader(file)}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// readBytes reads a file's octets as a stream.
func readBytes(t testing.TB, file []byte) reading {
	t.Helper()
	return read(t, openBytes(t, file))
}

// pcapFile builds pcap files by hand, odd ones too.
type pcapFile struct {
	order        binary.AppendByteOrder
	magic        uint32
	major, minor uint16
	snap, link   uint32
	extra        int // octets behind each record header
	out          []byte
}

func (p *pcapFile) begin() *pcapFile {
	if p.order == nil {
		p.order = binary.LittleEndian
	}
	if p.magic == 0 {
		p.magic = pcapMicros
	}
	if p.major == 0 {
		p.major, p.minor = 2, 4
	}
	p.out = p.order.AppendUint32(p.out, p.magic)
	p.out = p.order.AppendUint16(p.order.AppendUint16(p.out, p.major), p.minor)
	p.out = append(p.out, make([]byte, 8)...)
	p.out = p.order.AppendUint32(p.order.AppendUint32(p.out, p.snap), p.link)
	return p
}

func (p *pcapFile) record(sec, sub, n, wire uint32, data []byte) *pcapFile {
	for _, x := range [...]uint32{sec, sub, n, wire} {
		p.out = p.order.AppendUint32(p.out, x)
	}
	p.out = append(p.out, make([]byte, p.extra)...)
	p.out = append(p.out, data...)
	return p
}

// ngFile builds pcapng files by hand.
type ngFile struct {
	order binary.AppendByteOrder
	out   []byte
}

func newNG(order binary.AppendByteOrder) *ngFile { return (&ngFile{}).section(order) }

func (g *ngFile) block(kind uint32, body []byte) *ngFile {
	body = append(bytes.Clone(body), make([]byte, -len(body)&3)...)
	size := uint32(len(body) + 12)
	g.out = g.order.AppendUint32(g.order.AppendUint32(g.out, kind), size)
	g.out = g.order.AppendUint32(append(g.out, body...), size)
	return g
}

func (g *ngFile) words(words ...uint32) (b []byte) {
	for _, w := range words {
		b = g.order.AppendUint32(b, w)
	}
	return b
}

func (g *ngFile) option(code uint16, value []byte) []byte {
	b := g.order.AppendUint16(g.order.AppendUint16(nil, code), uint16(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

func (g *ngFile) section(order binary.AppendByteOrder) *ngFile {
	g.order = order
	body := order.AppendUint16(order.AppendUint16(g.words(sectionMagic), 1), 0)
	return g.block(blockSection, append(body, bytes.Repeat([]byte{0xff}, 8)...))
}

func (g *ngFile) iface(link uint16, snap uint32, options ...[]byte) *ngFile {
	body := g.order.AppendUint16(nil, link)
	body = append(append(body, 0, 0), g.words(snap)...)
	return g.block(blockInterface, append(body, bytes.Join(options, nil)...))
}

// stamp splits a time into the two words of a block.
func (g *ngFile) stamp(units uint64) []byte { return g.words(uint32(units>>32), uint32(units)) }

func (g *ngFile) packet(index uint32, units uint64, data []byte, options ...[]byte) *ngFile {
	return g.cut(index, units, data, len(data), options...)
}

// cut appends a packet of which data was captured, and wire octets were there.
func (g *ngFile) cut(index uint32, units uint64, data []byte, wire int, options ...[]byte) *ngFile {
	body := append(g.words(index), g.stamp(units)...)
	body = append(body, g.words(uint32(len(data)), uint32(wire))...)
	body = append(append(body, data...), make([]byte, -len(data)&3)...)
	return g.block(blockEnhanced, append(body, bytes.Join(options, nil)...))
}

// snoopFile returns a snoop file of three packets, two lost before the last.
func snoopFile(datalink uint32) []byte {
	be := binary.BigEndian
	out := be.AppendUint32(be.AppendUint32([]byte(snoopMagic), 2), datalink)
	for i, drops := range []uint32{0, 0, 2} {
		data := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00"), segment(40000, "abc"[i:i+1])...)
		pad := -len(data) & 3
		for _, x := range [...]uint32{uint32(len(data)), uint32(len(data)), uint32(snoopRecordHeader + len(data) + pad), drops, 1_700_000_000, uint32(i) * 1000} {
			out = be.AppendUint32(out, x)
		}
		out = append(append(out, data...), make([]byte, pad)...)
	}
	return out
}

// samples are small captures in every container, each of three packets.
func samples() map[string][]byte {
	le := pcapFile{link: linkRaw, snap: 65535}
	be := pcapFile{order: binary.BigEndian, magic: pcapNanos, link: linkRaw, snap: 65535}
	modified := pcapFile{magic: pcapModified, link: linkRaw, extra: 8}
	for _, f := range []*pcapFile{&le, &be, &modified} {
		f.begin()
		for i, text := range []string{"a", "bb", "ccc"} {
			data := segment(40000, text)
			f.record(1_700_000_000, uint32(i)*1000, uint32(len(data)), uint32(len(data)), data)
		}
	}
	ng := newNG(binary.LittleEndian).iface(linkRaw, 0).
		packet(0, 1_700_000_000_000_000, segment(40000, "a")).
		block(0x123, []byte("unknown")).
		packet(0, 1_700_000_000_001_000, segment(40000, "bb")).
		section(binary.BigEndian).iface(linkRaw, 0).
		packet(0, 1_700_000_000_002_000, segment(40000, "ccc"))
	return map[string][]byte{
		"micro.pcap": le.out, "nano-be.pcap": be.out, "modified.pcap": modified.out,
		"sections.pcapng": ng.out, "three.snoop": snoopFile(4),
	}
}

// inDir writes files into a directory of the test's own and returns it.
func inDir(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// writePcap returns a capture of raw IP packets, one per instant and payload.
func writePcap(t testing.TB, port uint16, at ...tcp.Instant) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, linkRaw, 0, true)
	for _, when := range at {
		data := segment(port, "x")
		err = errors.Join(err, w.Write(when, data, len(data)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
