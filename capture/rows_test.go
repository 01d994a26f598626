package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
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
	bare    int // that came bare
}

// readAll reads a file's octets; each, where it is not nil, asks for every frame,
// which closes the way for plain ones. Where bare frames are wanted they are unfolded.
func readAll(t *rapid.T, file []byte, each func(*Packet, Frame), bare bool) (e everything) {
	s, err := Open(Options{Stdin: bytes.NewReader(file), Each: each}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b Batch
	for b.Bare.Wanted = bare; s.Read(&b) != io.EOF || b.Len() > 0; b.Bare.Wanted = bare {
		if n := b.Bare.N; n > 0 {
			if b.N > 0 || !bare {
				t.Fatalf("%d bare frames beside %d packets, wanted: %v", n, b.N, bare)
			}
			e.bare += n
			if b.Unfold(0); b.N != n {
				t.Fatalf("%d packets of %d bare frames", b.N, n)
			}
		}
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

// talk draws frames: now and then one of them many times, with nothing odd between.
type talk struct {
	link  uint32
	frame []byte
	left  int
}

func (k *talk) next(t *rapid.T) []byte {
	if k.left--; k.left < 0 {
		k.frame, k.left = relinked(k.link, frameOf(t)), rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 200, 200}).Draw(t, "more of it")
	}
	return k.frame
}

// calm reports whether the next frame is to be as the one before.
func (k *talk) calm(at *uint64) bool {
	if k.left <= 0 {
		return false
	}
	*at += 1000
	return true
}

// frameOf draws a frame.
func frameOf(t *rapid.T) []byte {
	const stamped = "c822 0016 00001000 00002000 8010 01f5 0000 0000 0101 080a 00001111 00002222"
	return rapid.SampledFrom([][]byte{
		eth("0800", ip4(6, client4, server4, tcpHeader, "aabbcc")),
		eth("0800", ip4(6, server4, client4, "0016 c822 00002000 00001000 5010 01f5 0000 0000")),
		eth("0800", ip4(6, client4, server4, "c822 0016 00001000 00000000 a002 faf0 0000 0000 0204 05b4 0402 080a 00001111 00000000 0103 0307")),
		eth("0800", ip4(6, client4, server4, stamped)),
		eth("0800", ip4(6, server4, client4, stamped), "0000"),
		eth("0800", ip4(6, client4, client4, stamped)),
		eth("0800", ip4(6, client4, server4, stamped))[:60],
		eth("0800", ip4(6, client4, server4, stamped))[:52],
		eth("0800", ip4(6, server4, client4, "0016 c822 00002000 00001000 5010 01f5 0000 0000"))[:52],
		eth("86dd", ip6(6, client6, server6, stamped))[:80],
		eth("0800", ip4(6, client4, server4, "c822 0016 00001000 00002000 8010 01f5 0000 0000 080a 00001111 00002222 0101")),
		eth("86dd", ip6(6, client6, server6, "c822 0016 00001000 00002000 8010 01f5 0000 0000 080a 00001111 00002222 0101")),
		eth("86dd", ip6(6, client6, server6, stamped)),
		eth("86dd", ip6(6, server6, client6, "0016 c822 00002000 00001000 5010 01f5 0000 0000")),
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
	rows, sorted, bare := 0, 0, 0
	for name, draw := range map[string]func(*rapid.T) []byte{"pcap": drawPcap, "pcapng": drawPcapng} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			file := draw(t)
			fast, slow := readAll(t, file, nil, false), readAll(t, file, func(*Packet, Frame) {}, false)
			if diff := cmp.Diff(slow, fast, cmpopts.IgnoreUnexported(everything{})); diff != "" {
				t.Fatalf("one by one −, in rows +:\n%s", diff)
			}
			unfolded := readAll(t, file, nil, true)
			if diff := cmp.Diff(fast, unfolded, cmpopts.IgnoreUnexported(everything{})); diff != "" {
				t.Fatalf("in rows −, bare and unfolded +:\n%s", diff)
			}
			rows, sorted, bare = rows+len(fast.Packets), sorted+fast.sorted, bare+unfolded.bare
		}))
	}
	if rows < 1000 || sorted < 10 || bare < 100 {
		t.Errorf("%d packets were compared, %d called sorted, %d came bare: the test tests nothing", rows, sorted, bare)
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

func drawLink(t *rapid.T) uint32 {
	return rapid.SampledFrom([]uint32{linkEthernet, linkEthernet, linkEthernet, linkSLL, linkSLL2, linkRaw, linkNull}).Draw(t, "link")
}

func drawPcap(t *rapid.T) []byte {
	frames := talk{link: drawLink(t)}
	p := (&pcapFile{link: frames.link}).begin()
	at := uint64(1_700_000_000_000_000)
	for range rapid.IntRange(0, 300).Draw(t, "frames") {
		if frames.calm(&at) {
			data := frames.next(t)
			p.record(uint32(at/1_000_000), uint32(at%1_000_000), uint32(len(data)), uint32(len(data)), data)
			continue
		}
		data, when := frames.next(t), ticks(t, &at)
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
	frames := talk{link: drawLink(t)}
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
		link := frames.link // most often
		if rapid.IntRange(0, 3).Draw(t, "another link") == 0 {
			link = drawLink(t)
		}
		g.iface(uint16(link), 0, options...)
		ifaces++
	}
	describe()
	at := uint64(1_700_000_000_000_000)
	for range rapid.IntRange(0, 300).Draw(t, "blocks") {
		if frames.calm(&at) {
			g.packet(0, at, frames.next(t))
			continue
		}
		index := uint32(0)
		if ifaces > 1 && rapid.IntRange(0, 10).Draw(t, "other interface") == 0 {
			index = uint32(rapid.IntRange(0, int(ifaces)-1).Draw(t, "index"))
		}
		switch rapid.IntRange(0, 40).Draw(t, "kind") {
		case 0:
			describe()
		case 1:
			g.packet(index, ticks(t, &at), frames.next(t), g.option(ngComment, []byte("a remark")))
		case 2:
			g.packet(index, ticks(t, &at), frames.next(t), g.option(epbDropCount, []byte{3, 0, 0, 0, 0, 0, 0, 0}))
		case 3:
			g.block(0x0bad, []byte("of another kind"))
		case 5, 6, 7:
			data := frames.next(t)
			g.cut(index, ticks(t, &at), data[:rapid.IntRange(0, len(data)).Draw(t, "snap length")], len(data))
		case 8:
			data := frames.next(t)
			g.cut(index, ticks(t, &at), data, len(data)/2)
		case 4:
			g.section(order)
			ifaces = 0
			describe()
		default:
			g.packet(index, ticks(t, &at), frames.next(t))
		}
	}
	return g.out
}

// TestPlainCasesAndWalkAgree changes every octet of plain frames in many ways:
// what plainRow takes must be what walk makes of it.
func TestPlainCasesAndWalkAgree(t *testing.T) {
	stamps := "0101080a 00001111 00002222"
	header := "c822 0016 00001000 00002000 8018 01f5 0000 0000" + stamps
	bare := "c822 0016 00001000 00002000 5018 01f5 0000 0000"
	syn := "c822 0016 00001000 00000000 a002 faf0 0000 0000 0204 05b4 0402 080a 00001111 00000000 0103 0307"
	inner := eth("0800", ip4(6, client4, server4, header))
	taken := map[uint32]int{}
	for _, frame := range [][]byte{
		eth("0800", ip4(6, client4, server4, header, "aabbcc")), eth("0800", ip4(6, server4, client4, bare, "aabbccddeeff00112233445566778899")),
		eth("0800", ip4(6, client4, client4, header)), eth("0800", ip4(6, server4, client4, header), "000000"),
		eth("86dd", ip6(6, client6, server6, header, "aabbcc")), eth("86dd", ip6(6, server6, client6, bare, "aabbccddeeff00112233445566778899")),
		eth("86dd", ip6(6, client6, client6, header)), eth("86dd", ip6(6, server6, client6, header), "000000"),
		eth("0800", ip4(6, client4, server4, syn)), eth("86dd", ip6(6, client6, server6, syn, "aabbcc")),
		eth("8100", "0007 0800", ip4(6, client4, server4, header, "aabbcc")), eth("8100", "e007 86dd", ip6(6, client6, server6, header, "aabbcc")),
		eth("0800", ip4(17, client4, server4, udp(4788, 40_000, "0800 0000 00 00 07 00", inner))), eth("0800", ip4(17, server4, client4, udp(53, 40_000), "000000")),
		eth("86dd", ip6(17, server6, client6, udp(40_000, 2153, "30 ff 0024 00000001", ip4(6, client4, server4, header)))),
		eth("8100", "0007 0800", ip4(17, client4, client4, udp(53, 40_000, "aabb"))), eth("8100", "0007 86dd", ip6(17, client6, client6, udp(443, 40_000, "aabb"))),
	} {
		for _, link := range []uint32{linkEthernet, linkSLL, linkSLL2, linkRaw} {
			taken[link] += plainAndWalk(t, link, relinked(link, frame))
		}
	}
	for link, n := range taken {
		if n < 50_000 {
			t.Errorf("the plain cases took %d frames of link type %d, want at least 50,000", n, link)
		}
	}
}

func plainAndWalk(t *testing.T, link uint32, frame []byte) (taken int) {
	t.Helper()
	for at := range frame {
		for value := range 256 {
			changed := append([]byte(nil), frame...)
			changed[at] = byte(value)
			var direct, walked Packet
			if !plainly(link, changed, &direct) {
				if direct != (Packet{}) {
					t.Fatalf("link type %d, octet %d is %#x: plain wrote %+v and declined", link, at, value, direct)
				}
				continue
			}
			taken++
			w := walk{d: new(decoder), p: &walked, b: changed, end: len(changed)}
			w.run(w.link(link), 0)
			if direct != walked {
				t.Fatalf("link type %d, octet %d is %#x: plain %+v, walk %+v", link, at, value, direct, walked)
			}
		}
	}
	return taken
}

// relinked returns a frame of Ethernet as one of another link type.
func relinked(link uint32, frame []byte) []byte {
	if len(frame) < 14 {
		return frame
	}
	kind, packet := frame[12:14], frame[14:]
	switch link {
	case linkSLL:
		return slices.Concat(octets("0000 0001 0006 020000000001 0000"), kind, packet)
	case linkSLL2:
		return slices.Concat(kind, octets("0000 00000002 0001 00 06 020000000001 0000"), packet)
	case linkRaw:
		return packet
	}
	return frame
}

// plainly decodes a frame where it is plain, with octets before and behind it that mean
// nothing to it.
func plainly(link uint32, frame []byte, p *Packet) bool {
	lead, ok := leadOf(link)
	if !ok || len(frame) < max(lead.octets, 2) || lead.first && !holdsIP(frame) {
		return false
	}
	const before = 14
	noise := bytes.Repeat([]byte("\x01\x01\x08\x0a\x08\x00\x45"), plainRoom/4+1)
	row := []Packet{{Data: uint32(before + lead.octets), DataLen: uint32(len(frame) - lead.octets)}}
	took := plainRow(slices.Concat(noise[len(noise)-before:], frame, noise), row, lead.untyped)
	if *p = row[0]; took == 0 {
		p.Data, p.DataLen = 0, 0
	} else if p.Proto == TCP {
		p.Data -= before
	}
	return took == 1
}
