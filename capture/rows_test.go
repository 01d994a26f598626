package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/tcp"
)

// everything is all that a set says of a file.
type everything struct {
	Packets []Packet
	Offsets []int64
	File    File
	Holes   []Interval
	sorted  int // packets that their batches call sorted
}

// readAll reads a file's octets; each, where it is not nil, asks for every frame,
// which closes the way for plain ones.
func readAll(t *rapid.T, file []byte, each func(*Packet, Frame)) (e everything) {
	s, err := Open(Options{Stdin: bytes.NewReader(file), Each: each}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b Batch
	for s.Read(&b) != io.EOF || b.N > 0 {
		latest := tcp.Instant(0)
		for i := range b.N {
			if at := b.Pkts[i].At; i < b.Sorted && at < latest {
				t.Fatalf("packet %d of %d that are sorted is earlier than one before", i, b.Sorted)
			}
			latest = max(latest, b.Pkts[i].At)
		}
		if b.Sorted > b.N || b.Latest() != latest {
			t.Fatalf("the latest of %d packets, %d of them sorted, is at %d, not %d", b.N, b.Sorted, latest, b.Latest())
		}
		e.sorted += b.Sorted
		for i := range b.N {
			p := b.Pkts[i]
			p.Rec, p.Data = 0, 0 // places in the buffer at hand
			e.Packets, e.Offsets = append(e.Packets, p), append(e.Offsets, b.Offset(i))
		}
	}
	e.File, e.Holes = s.Files()[0], s.Holes()
	return e
}

// frameOf draws a frame: plain ones mostly.
func frameOf(t *rapid.T) []byte {
	return rapid.SampledFrom([][]byte{
		eth("0800", ip4(6, client4, server4, tcpHeader, "aabbcc")),
		eth("0800", ip4(6, server4, client4, "0016 c822 00002000 00001000 5010 01f5 0000 0000")),
		eth("0800", ip4(6, client4, server4, "c822 0016 00001000 00000000 a002 faf0 0000 0000 0204 05b4 0402 080a 00001111 00000000 0103 0307")),
		eth("86dd", ip6(6, client6, server6, tcpHeader, "aabbcc")),
		eth("0800", ip4(6, client4, server4, tcpHeader), "000000"),
		eth("0800", ip4(17, client4, server4, udp(53, 53, "aabb"))),
		eth("86dd", ip6(17, server6, client6, udp(443, 40_000, "aabbccdd"))),
		eth("0800", ip4(17, client4, server4, udp(40_000, portVXLAN, "0800 0000 000007 00", eth("0800", ip4(6, client4, server4, tcpHeader))))),
		eth("0806", "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"),
		eth("8100", "0007 0800", ip4(6, client4, server4, tcpHeader)),
		eth("0800", ip4(6, client4, server4, tcpHeader))[:40],
		{},
	}).Draw(t, "frame")
}

// TestPlainRowsAreReadAsAllOthers: files of frames that are plain, nearly so, and
// not at all tell the same whether rows of plain ones are taken at once or not.
func TestPlainRowsAreReadAsAllOthers(t *testing.T) {
	rows, sorted := 0, 0
	for name, draw := range map[string]func(*rapid.T) []byte{"pcap": drawPcap, "pcapng": drawPcapng} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			file := draw(t)
			fast, slow := readAll(t, file, nil), readAll(t, file, func(*Packet, Frame) {})
			if diff := cmp.Diff(slow, fast, cmpopts.IgnoreUnexported(everything{})); diff != "" {
				t.Fatalf("one by one −, in rows +:\n%s", diff)
			}
			rows, sorted = rows+len(fast.Packets), sorted+fast.sorted
		}))
	}
	if rows < 1000 || sorted < 10 {
		t.Errorf("%d packets were compared, %d called sorted: the test tests nothing", rows, sorted)
	}
}

// ticks draws the time of the next frame in units: forward mostly.
func ticks(t *rapid.T, at *uint64) uint64 {
	switch rapid.IntRange(0, 20).Draw(t, "step") {
	case 0:
		*at -= 5
	case 1:
		return 0
	default:
		*at += uint64(rapid.IntRange(0, 2000).Draw(t, "later"))
	}
	return *at
}

func drawPcap(t *rapid.T) []byte {
	p := (&pcapFile{link: rapid.SampledFrom([]uint32{linkEthernet, linkEthernet, linkEthernet, linkRaw}).Draw(t, "link")}).begin()
	at := uint64(1_700_000_000_000_000)
	for range rapid.IntRange(0, 300).Draw(t, "frames") {
		data, when := frameOf(t), ticks(t, &at)
		wire := uint32(len(data))
		switch rapid.IntRange(0, 20).Draw(t, "cut") {
		case 0:
			wire += 10
		case 1:
			wire -= min(wire, 10)
		case 2, 3, 4:
			data = data[:rapid.IntRange(0, len(data)).Draw(t, "snap length")]
		}
		p.record(uint32(when/1_000_000), uint32(when%1_000_000), uint32(len(data)), wire, data)
	}
	return p.out
}

func drawPcapng(t *rapid.T) []byte {
	order := rapid.SampledFrom([]binary.AppendByteOrder{binary.LittleEndian, binary.LittleEndian, binary.LittleEndian, binary.BigEndian}).Draw(t, "order")
	g := newNG(order)
	ifaces := uint32(0)
	describe := func() {
		var options [][]byte
		switch rapid.IntRange(0, 5).Draw(t, "resolution") {
		case 0:
			options = append(options, g.option(ifTsResol, []byte{9}))
		case 1:
			options = append(options, g.option(ifTsResol, []byte{0x80 | 20}))
		case 2:
			options = append(options, g.option(ifTsOffset, []byte{1, 0, 0, 0, 0, 0, 0, 0}))
		case 3:
			options = append(options, g.option(ifTsResol, []byte{200}))
		}
		g.iface(rapid.SampledFrom([]uint16{linkEthernet, linkEthernet, linkRaw}).Draw(t, "link"), 0, options...)
		ifaces++
	}
	describe()
	at := uint64(1_700_000_000_000_000)
	for range rapid.IntRange(0, 300).Draw(t, "blocks") {
		index := uint32(0)
		if ifaces > 1 && rapid.IntRange(0, 10).Draw(t, "other interface") == 0 {
			index = uint32(rapid.IntRange(0, int(ifaces)-1).Draw(t, "index"))
		}
		switch rapid.IntRange(0, 40).Draw(t, "kind") {
		case 0:
			describe()
		case 1:
			g.packet(index, ticks(t, &at), frameOf(t), g.option(ngComment, []byte("a remark")))
		case 2:
			g.packet(index, ticks(t, &at), frameOf(t), g.option(epbDropCount, []byte{3, 0, 0, 0, 0, 0, 0, 0}))
		case 3:
			g.block(0x0bad, []byte("of another kind"))
		case 5, 6, 7:
			data := frameOf(t)
			g.cut(index, ticks(t, &at), data[:rapid.IntRange(0, len(data)).Draw(t, "snap length")], len(data))
		case 8:
			data := frameOf(t)
			g.cut(index, ticks(t, &at), data, len(data)/2)
		case 4:
			g.section(order)
			ifaces = 0
			describe()
		default:
			g.packet(index, ticks(t, &at), frameOf(t))
		}
	}
	return g.out
}
