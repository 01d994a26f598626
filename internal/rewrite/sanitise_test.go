package rewrite_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"kaflow/capture"
	"kaflow/internal/rewrite"
)

// captures returns the captures of testdata and, where they are there, those
// of others beside the project.
func captures(t testing.TB) (paths []string) {
	for _, root := range []string{"../../testdata/pcaps", "../../../shared/pcaps"} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.Contains(filepath.Base(path), "cap") {
				paths = append(paths, path)
			}
			return nil
		})
	}
	if len(paths) < 10 {
		t.Fatalf("only %d captures", len(paths))
	}
	return paths
}

// sanitised reads a capture with its frames rewritten and gives f each packet
// as it was and as it became, with the new frame.
func sanitised(t testing.TB, path string, m *rewrite.Addresses, f func(was, is *capture.Packet, frame capture.Frame)) {
	s := rewrite.Sanitiser{Map: m}
	var was capture.Packet
	set, err := capture.Open(capture.Options{
		Rewrite: func(f *capture.Frame) {
			was = capture.DecodeFrame(f.Link, f.Data, f.Wire)
			s.Frame(f)
		},
		Each: func(p *capture.Packet, frame capture.Frame) {
			q := *p
			q.Data -= frame.Base
			f(&was, &q, frame)
		},
	}, path, path)
	if err != nil {
		return // some are no captures, and say so
	}
	defer set.Close()
	var b capture.Batch
	for set.Read(&b) != io.EOF {
	}
}

// A rewritten frame decodes to the same packet between the replaced hosts.
// What may differ is named one by one.
func TestSanitisedFramesDecodeAlike(t *testing.T) {
	frames := 0
	for _, path := range captures(t) {
		m := rewrite.NewAddresses()
		frame := 0
		failed := 0
		sanitised(t, path, m, func(was, is *capture.Packet, f capture.Frame) {
			frame++
			frames++
			want := *was
			if want.Proto != capture.Undecoded && (want.Key != capture.Key{}) {
				src, dst := want.Key.LoEnd(), want.Key.HiEnd()
				if want.Reversed {
					src, dst = dst, src
				}
				src = netip.AddrPortFrom(m.Addr(src.Addr()), src.Port())
				dst = netip.AddrPortFrom(m.Addr(dst.Addr()), dst.Port())
				want.Key, want.Reversed = capture.MakeKey(src, dst, want.Key.Overlay)
			}
			got := *is
			if want.Proto == capture.ARP && got.Proto == capture.Undecoded && f.Link == 101 {
				return // ARP of a link that became raw IP
			}
			const texts = capture.NoteCut | capture.NoteTooLong | capture.NoteClockStep
			want.Note, got.Note = want.Note&^texts, got.Note&^texts
			if len(f.Data) < int(f.Wire) { // a segment whose payload is gone cannot be summed up
				want.Note &^= capture.NoteBadTCPSum
				got.Note &^= capture.NoteBadTCPSum
			}
			if want.Proto == capture.ARP { // digests of other MACs
				want.Seg.Seq, want.Seg.Ack, got.Seg.Seq, got.Seg.Ack = 0, 0, 0, 0
			}
			want.Data, want.DataLen, got.Data, got.DataLen = 0, 0, 0, 0 // payload is gone
			want.At, want.Ord, want.Rec, want.Iface = got.At, got.Ord, got.Rec, got.Iface
			if want != got && failed < 3 {
				failed++
				t.Errorf("%s frame %d:\nwas %+v\nis  %+v", path, frame, want, got)
			}
		})
	}
	t.Logf("%d frames", frames)
}

// No octets of an address that was replaced are left in any frame.
func TestNoAddressIsLeft(t *testing.T) {
	for _, path := range captures(t) {
		m := rewrite.NewAddresses()
		var all bytes.Buffer
		sanitised(t, path, m, func(_, _ *capture.Packet, f capture.Frame) {
			if all.Len() < 1<<20 {
				all.Write(headersOnly(f))
				all.WriteByte(0xaa)
			}
		})
		replacements := map[netip.Addr]bool{}
		m.Pairs(func(_, to netip.Addr) { replacements[to] = true })
		m.Pairs(func(from, _ netip.Addr) {
			if replacements[from] { // the capture had documentation addresses itself
				return
			}
			raw := from.AsSlice()
			if n := bytes.Count(all.Bytes(), raw); n > 0 {
				t.Errorf("%s: %v is left in %d places", path, from, n)
			}
		})
	}
}

// headersOnly returns what of a frame could hold an address: sequence numbers
// and times can have its value by chance and are blanked.
func headersOnly(f capture.Frame) []byte {
	data := append([]byte(nil), f.Data...)
	_, headers := capture.Headers(nil, f.Link, data, f.Wire)
	for _, h := range headers {
		switch h.Kind {
		case capture.HeaderTCP:
			clear(data[h.At : h.At+h.Size])
		case capture.HeaderICMP:
			if data[h.At] != 5 {
				clear(data[h.At : h.At+h.Size])
			}
		case capture.HeaderIPv4: // length, ID, TTL, checksum
			clear(data[h.At : h.At+12])
		case capture.HeaderIPv6:
			clear(data[h.At : h.At+8])
		case capture.HeaderTag, capture.HeaderUDP:
			clear(data[h.At : h.At+h.Size])
		}
	}
	return data
}

// Whatever a frame holds, rewriting it neither panics nor makes it longer, and
// what was a TCP segment still is one.
func FuzzSanitise(f *testing.F) {
	for _, path := range captures(f)[:40] {
		n := 0
		set, err := capture.Open(capture.Options{Each: func(_ *capture.Packet, frame capture.Frame) {
			if n++; n <= 5 {
				f.Add(uint16(frame.Link), frame.Wire, append([]byte(nil), frame.Data...))
			}
		}}, path, path)
		if err != nil {
			continue
		}
		var b capture.Batch
		for n < 5 && set.Read(&b) != io.EOF {
		}
		set.Close()
	}
	m := rewrite.NewAddresses()
	f.Fuzz(func(t *testing.T, link uint16, wire uint32, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		was := capture.DecodeFrame(uint32(link), data, wire)
		frame := capture.Frame{Link: uint32(link), Wire: wire, Data: append([]byte(nil), data...)}
		s := rewrite.Sanitiser{Map: m}
		s.Frame(&frame)
		if len(frame.Data) > len(data) {
			t.Fatalf("%d octets became %d", len(data), len(frame.Data))
		}
		is := capture.DecodeFrame(frame.Link, frame.Data, frame.Wire)
		if was.Proto == capture.TCP && (is.Proto != capture.TCP || is.Seg != was.Seg) {
			t.Fatalf("was %+v\nis  %+v", was, is)
		}
	})
}
