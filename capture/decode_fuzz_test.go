package capture

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
)

// framesPerSeed is how many frames of each shipped capture seed the fuzz
// target: the handshake and what follows.
const framesPerSeed = 6

func FuzzFrame(f *testing.F) {
	links := make(map[uint32]bool)
	for _, tt := range linkFrames {
		f.Add(tt.link, tt.frame, uint32(len(tt.frame)))
		links[tt.link] = true
	}
	for _, tt := range tunnelFrames {
		f.Add(uint32(linkEthernet), tt.frame, uint32(len(tt.frame)+40))
	}
	captured := 0
	shipped, err := filepath.Glob(filepath.Join("..", "testdata", "pcaps", "*", "*.pcap"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range shipped {
		n := 0
		eachFrame(f, path, func(link uint32, frame []byte, wire uint32) {
			if n++; n <= framesPerSeed {
				f.Add(link, frame, wire)
				captured++
			}
		})
	}
	if captured == 0 {
		f.Fatal("no frames in ../testdata/pcaps")
	}
	if len(links) < 16 {
		f.Fatalf("seeds hold %d link types, want at least 16", len(links))
	}
	g := newGopacketTCP()
	f.Fuzz(func(t *testing.T, link uint32, frame []byte, wire uint32) {
		frame = slices.Clip(frame)
		before := bytes.Clone(frame)
		p := DecodeFrame(link, frame, wire)
		if !bytes.Equal(before, frame) {
			t.Fatalf("decoding changed the frame % x", before)
		}
		checkPacket(t, &p, len(frame))
		if again := DecodeFrame(link, frame, wire); again != p {
			t.Fatalf("decoded twice: %+v, then %+v", p, again)
		}
		// A frame that was cut and one whose end came in are told apart by
		// length alone, so that more octets never take away what was seen.
		if p.Proto == TCP && p.Note&(NoteTSO|NoteTooLong) == 0 {
			longer := DecodeFrame(link, append(frame, 0, 0, 0, 0), max(wire, uint32(len(frame)))+4)
			if longer.Proto == TCP && longer.Seg.Len != p.Seg.Len && longer.Seg.Seq == p.Seg.Seq && longer.Note&NoteTSO == 0 {
				t.Fatalf("a trailer changed the length from %d to %d", p.Seg.Len, longer.Seg.Len)
			}
		}
		if link == linkEthernet && int(wire) == len(frame) {
			agreeWithGopacket(t, g, frame)
		}
	})
}

// checkPacket checks what holds for every packet of a frame of n octets.
func checkPacket(t *testing.T, p *Packet, n int) {
	t.Helper()
	if int(p.Data)+int(p.DataLen) > n {
		t.Fatalf("payload %d+%d lies outside a frame of %d octets", p.Data, p.DataLen, n)
	}
	if p.DataLen > p.Seg.Len && p.Proto == TCP {
		t.Fatalf("%d octets captured of a payload of %d", p.DataLen, p.Seg.Len)
	}
	lo, hi := p.Key.Lo, p.Key.Hi
	if slices.Compare(lo[:], hi[:]) > 0 || lo == hi && p.Key.Ports>>16 > p.Key.Ports&0xffff {
		t.Fatalf("key %v is not canonical", p.Key)
	}
	switch p.Proto {
	case Undecoded:
		if p.Key != (Key{}) || p.DataLen != 0 || p.Reversed {
			t.Fatalf("undecoded, yet %+v", p)
		}
	case Echo, ARP, Other:
		if p.Key.Ports != 0 {
			t.Fatalf("ports %#x without TCP", p.Key.Ports)
		}
	}
}
