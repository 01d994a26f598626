package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime/metrics"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// everyWay returns readers that give the same octets in different pieces.
func everyWay(file []byte) map[string]io.Reader {
	return map[string]io.Reader{
		"octet by octet":     iotest.OneByteReader(bytes.NewReader(file)),
		"half of each read":  iotest.HalfReader(bytes.NewReader(file)),
		"end with last data": iotest.DataErrReader(bytes.NewReader(file)),
	}
}

func TestCutAtEveryOffset(t *testing.T) {
	for name, file := range samples() {
		t.Run(name, func(t *testing.T) {
			whole := readBytes(t, file)
			if len(whole.Seen) != 3 || !whole.File.Complete {
				t.Fatalf("sample has %d frames, complete %v", len(whole.Seen), whole.File.Complete)
			}
			for cut := range len(file) {
				s, err := Open(Options{Stdin: bytes.NewReader(file[:cut])}, "", "-")
				if err != nil {
					if cut >= 48 {
						t.Errorf("cut at %d: %v", cut, err)
					}
					continue
				}
				got := read(t, s)
				if diff := cmp.Diff(whole.Seen[:len(got.Seen)], got.Seen, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("cut at %d: frames before it changed:\n%s", cut, diff)
				}
				if got.File.Complete == (len(got.File.Problems) > 0) {
					t.Errorf("cut at %d: complete %v with problems %v", cut, got.File.Complete, got.File.Problems)
				}
				for way, in := range everyWay(file[:cut]) {
					s, err := Open(Options{Stdin: in}, "", "-")
					if err != nil {
						t.Errorf("cut at %d, %s: %v", cut, way, err)
						continue
					}
					if diff := cmp.Diff(got, read(t, s)); diff != "" {
						t.Errorf("cut at %d, %s: differs:\n%s", cut, way, diff)
					}
				}
			}
		})
	}
}

func TestOctetDamagedAtEveryOffset(t *testing.T) {
	for name, file := range samples() {
		t.Run(name, func(t *testing.T) {
			for at := range file {
				for _, value := range []byte{0, 1, 0x7f, 0xff} {
					bad := bytes.Clone(file)
					bad[at] = value
					checkLaws(t, bad)
				}
			}
		})
	}
}

func TestReadErrorAtEveryOffset(t *testing.T) {
	broken := errors.New("device gone")
	for name, file := range samples() {
		for cut := 48; cut < len(file); cut++ {
			s, err := Open(Options{Stdin: io.MultiReader(bytes.NewReader(file[:cut]), iotest.ErrReader(broken))}, "", "-")
			if err != nil {
				t.Fatalf("%s, error at %d: %v", name, cut, err)
			}
			f := read(t, s).File
			if len(f.Problems) != 1 || f.Problems[0].What != "device gone" || f.Complete {
				t.Errorf("%s, error at %d: complete %v, problems %v", name, cut, f.Complete, f.Problems)
			}
		}
	}
}

// checkLaws reads octets that may be a capture and checks what holds for any:
// it ends, ordinals count, payload lies in the buffer, memory stays bounded,
// the end is told, and pieces don't matter.
func checkLaws(t *testing.T, file []byte) {
	t.Helper()
	before := allocated()
	s, err := Open(Options{Stdin: bytes.NewReader(file)}, "", "-")
	if err != nil {
		if s != nil {
			t.Errorf("a set beside the error %v", err)
		}
		return
	}
	got := read(t, s)
	if used := allocated() - before; used > 64<<20+32*uint64(len(file)) {
		t.Errorf("%d octets allocated for a file of %d", used, len(file))
	}
	if uint64(len(got.Seen)) != got.File.Frames {
		t.Errorf("%d packets, %d frames", len(got.Seen), got.File.Frames)
	}
	fatal := 0
	for _, p := range got.File.Problems {
		if p.Fatal {
			fatal++
		}
	}
	if fatal > 1 || got.File.Complete == (fatal == 1) {
		t.Errorf("complete %v with problems %v", got.File.Complete, got.File.Problems)
	}
	again, err := Open(Options{Stdin: iotest.OneByteReader(bytes.NewReader(file))}, "", "-")
	if err != nil {
		t.Errorf("octet by octet: %v", err)
		return
	}
	if diff := cmp.Diff(got, read(t, again)); diff != "" {
		t.Errorf("octet by octet it differs:\n%s", diff)
	}
}

// allocated returns how many octets were ever allocated on the heap.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestReadingAllocatesNothingPerRecord(t *testing.T) {
	const batches = 1000
	ng := newNG(binary.BigEndian).iface(linkRaw, 0)
	for i := range uint64((batches + 200) * BatchSize) {
		ng.packet(0, micros+i, segment(40000, "abc"))
	}
	for name, file := range map[string][]byte{"pcap": keepalivePcap(t, (batches+200)*BatchSize), "pcapng": ng.out} {
		s := openBytes(t, file)
		var b Batch
		next := func() {
			if err := s.Read(&b); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			next()
		}
		before := s.frames
		if n := testing.AllocsPerRun(batches, next); n != 0 {
			t.Errorf("%s: %v allocations per batch, want 0", name, n)
		}
		if read := s.frames - before; read < batches*BatchSize*9/10 {
			t.Errorf("%s: only %d frames in %d batches", name, read, batches)
		}
	}
}

func TestProblemAsText(t *testing.T) {
	for want, p := range map[string]Problem{
		"frame 812, offset 0x1b3c4: cut short": {Frame: 812, Offset: 0x1b3c4, What: "cut short"},
		"offset 0x18: cut short":               {Offset: 24, What: "cut short"},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
}
