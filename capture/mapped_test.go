//go:build unix

package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// large writes a capture of n keepalive frames, which is large where n is.
func large(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.pcap")
	if err := os.WriteFile(path, keepalivePcap(t, n), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// opened opens files for as long as a test takes.
func opened(t *testing.T, o Options, paths ...string) *Set {
	t.Helper()
	s, err := Open(o, "", paths...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const (
	manyFrames = 300_000 // of 70 octets: a leg that is read, one that is mapped, and a part of the next
	bulkFrames = 22_000  // of bulk: as many
)

// bulk returns n records of frames of some lengths, most of them far apart.
func bulk(n int, record func(at uint64, frame []byte)) {
	data := eth("0800", ip4(6, client4, server4, tcpHeader, strings.Repeat("ab", 1448)))
	ack := eth("0800", ip4(6, server4, client4, "0016 c822 00002000 00001000 5010 01f5 0000 0000"))
	for i := range n {
		frame := data
		switch {
		case i%3 == 2:
			frame = ack
		case i%1000 < 40: // no two are of one length
			frame = data[:len(data)-1-7*(i%1000)]
		}
		record(1_700_000_000_000_000+uint64(i), frame)
	}
}

func bulkPcap(n int) []byte {
	p := (&pcapFile{link: linkEthernet}).begin()
	bulk(n, func(at uint64, frame []byte) {
		p.record(uint32(at/1_000_000), uint32(at%1_000_000), uint32(len(frame)), uint32(len(frame)), frame)
	})
	return p.out
}

func bulkPcapng(n int) []byte {
	g := newNG(binary.LittleEndian).iface(linkEthernet, 0)
	bulk(n, func(at uint64, frame []byte) { g.packet(0, at, frame) })
	return g.out
}

func TestMappedAndReadFilesGiveTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		file   []byte
		frames int
	}{
		"small frames":           {keepalivePcap(t, manyFrames), manyFrames},
		"large frames":           {bulkPcap(bulkFrames), bulkFrames},
		"large frames in pcapng": {bulkPcapng(bulkFrames), bulkFrames},
	} {
		t.Run(name, func(t *testing.T) { sameMapped(t, c.file, c.frames) })
	}
}

func sameMapped(t *testing.T, file []byte, frames int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	mapped, read := opened(t, Options{Now: time.Now}, path), opened(t, Options{Stdin: bytes.NewReader(file)}, "-")
	var a, b Batch
	n, ways := 0, map[bool]bool{}
	next := func(s *Set, b *Batch, i *int) (p Packet, offset int64, record string, ok bool) {
		if *i++; *i >= b.N {
			if s.Read(b) != nil {
				return p, 0, "", false
			}
			*i = 0
		}
		p = b.Pkts[*i]
		record, offset = string(b.Buf[p.Rec:p.Rec+70]), b.Offset(*i)
		p.Rec, p.Data = 0, p.Data-p.Rec
		return p, offset, record, true
	}
	for i, j := -1, -1; ; n++ {
		p, at, record, ok := next(mapped, &a, &i)
		q, from, other, more := next(read, &b, &j)
		if ok != more || p != q || at != from || record != other {
			t.Fatalf("frame %d: mapped %+v at %d, %v; read %+v at %d, %v", n+1, p, at, ok, q, from, more)
		}
		if !ok {
			break
		}
		if mapped.window.file != nil {
			ways[mapped.isMapped()] = true
		}
	}
	if n != frames || len(ways) < 2 {
		t.Errorf("%d frames, want %d; mapped: %v, want both", n, frames, ways)
	}
	if f := mapped.Files()[0]; !f.Complete || len(f.Problems) > 0 {
		t.Errorf("complete %v, problems %v", f.Complete, f.Problems)
	}
}

func TestFileThatBecomesShorter(t *testing.T) {
	for name, c := range map[string]struct {
		frames int
		kept   int // frames that are left, half of what was read
		inside bool
	}{
		"while it is mapped":         {manyFrames, 20_000, false},
		"while a batch is looked at": {manyFrames, 20_000, true},
		"while it is read":           {manyFrames, 60_000, false},
		"in the midst of a frame":    {manyFrames, 60_001, false},
		"a small one":                {mapStep / 80, 5000, false},
	} {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", name, bare), func(t *testing.T) { becomesShorter(t, c.frames, c.kept, c.inside, bare) })
		}
	}
}

func becomesShorter(t *testing.T, frames, kept int, inside, bare bool) {
	path := large(t, frames)
	s := opened(t, Options{Now: time.Now}, path)
	var b Batch
	n, seen, cameBare := 0, 2*kept, 0
	for b.Bare.Wanted = bare; s.Read(&b) != io.EOF; {
		n += b.Len()
		cameBare += b.Bare.N
		if n >= seen && n-b.Len() < seen {
			if err := os.Truncate(path, 24+70*int64(kept)+int64(kept%2)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range b.Pkts[:b.N] {
			if p := &b.Pkts[i]; p.Proto != TCP || p.HeaderLen != 20 || p.DataLen != 0 {
				t.Fatalf("frame %d: %+v", p.Ord, p)
			}
		}
		if inside {
			sum := byte(0)
			s.Guard(func() {
				for i := range b.Len() {
					sum += b.Buf[b.Pkts[i].Rec]
				}
			})
		}
	}
	if n < seen || n >= frames {
		t.Errorf("%d frames, want those that were read before", n)
	}
	if bare != (cameBare > 0) {
		t.Errorf("%d frames came bare", cameBare)
	}
	f := s.Files()[0]
	if f.Complete || len(f.Problems) != 1 || !f.Problems[0].Fatal || !strings.Contains(f.Problems[0].What, "became shorter") {
		t.Errorf("complete %v, problems %v", f.Complete, f.Problems)
	}
}

func TestMappedFileThatGrows(t *testing.T) {
	path := large(t, manyFrames)
	s := opened(t, Options{}, path)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(keepalivePcap(t, 10)[24:]); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	var b Batch
	n := 0
	for s.Read(&b) != io.EOF {
		n += b.N
	}
	if n != manyFrames+10 {
		t.Errorf("%d frames, want %d", n, manyFrames+10)
	}
}

func TestAFaultElsewhereIsNotSwallowed(t *testing.T) {
	s := opened(t, Options{}, large(t, manyFrames))
	defer func() {
		if recover() == nil {
			t.Error("a panic of another kind was swallowed")
		}
	}()
	s.Guard(func() { panic("another") })
}

// However a large file is gone through, and through a pipe, the same packets come
// before a limit, and the same words.
func TestTheLimitOfInputIsTheSameEitherWay(t *testing.T) {
	const limit = 9<<20 + 5
	file := keepalivePcap(t, manyFrames)
	path := filepath.Join(t.TempDir(), "large.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	type told struct {
		frames  int
		problem string
	}
	var want told
	for name, o := range map[string]struct {
		options Options
		path    string
	}{
		"mapped alone": {Options{}, path},
		"both ways":    {Options{Now: time.Now}, path},
		"copied":       {Options{Copied: true}, path},
		"a pipe":       {Options{Stdin: iotest.HalfReader(bytes.NewReader(file))}, "-"},
		"dribs":        {Options{Stdin: iotest.OneByteReader(bytes.NewReader(file))}, "-"},
	} {
		o.options.MaxInput = limit
		s, err := Open(o.options, "", o.path)
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		var got told
		for s.Read(&b) != io.EOF {
			got.frames += b.N
		}
		f := s.Files()[0]
		s.Close()
		if len(f.Problems) != 1 || !f.Problems[0].Limit || f.Complete {
			t.Fatalf("%s: %+v", name, f)
		}
		got.problem = f.Problems[0].String()
		if want == (told{}) {
			want = got
		}
		if got != want || got.frames != (limit-24)/70 {
			t.Errorf("%s: %+v, another way %+v", name, got, want)
		}
	}
}

// A file may be exactly as large as the limit.
func TestAFileAsLargeAsTheLimit(t *testing.T) {
	file := keepalivePcap(t, 1000)
	for over := range int64(2) {
		s, err := Open(Options{Stdin: bytes.NewReader(file), MaxInput: int64(len(file)) - over}, "", "-")
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		n := 0
		for s.Read(&b) != io.EOF {
			n += b.N
		}
		f := s.Files()[0]
		s.Close()
		if f.Complete != (over == 0) {
			t.Errorf("%d octets too many: %d frames, complete %v, problems %v", over, n, f.Complete, f.Problems)
		}
	}
}

// Behind a record that is larger than what is read at a time, no more than that is
// read again.
func TestAfterALargeRecordReadsAreAsBefore(t *testing.T) {
	path := large(t, manyFrames)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := window{limit: 1 << 40, file: &largeFile{file: f, size: 70 * manyFrames}}
	if !w.reread(3*readBlock) || w.left() < 3*readBlock {
		t.Fatalf("%d octets were read", w.left())
	}
	w.at = w.end
	if !w.reread(1) || w.left() > readBlock {
		t.Errorf("%d octets were read behind a large one", w.left())
	}
}

// A file that becomes shorter before it is read the second time is told of.
func TestFileThatBecomesShorterInBetween(t *testing.T) {
	path := large(t, manyFrames)
	s := opened(t, Options{Now: time.Now}, path)
	var b Batch
	for s.Read(&b) != io.EOF {
	}
	if err := os.Truncate(path, 24+70*1000); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewind(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for s.Read(&b) != io.EOF {
		n += b.N
	}
	f := s.Files()[0]
	if n != 1000 || f.Complete || len(f.Problems) != 1 || !f.Problems[0].Fatal {
		t.Errorf("%d frames, complete %v, problems %v", n, f.Complete, f.Problems)
	}
}
