package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

const second = 1000 * ms

// openDir opens files of a directory in order as one set.
func openDir(t *testing.T, dir string, names ...string) *Set {
	t.Helper()
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
	}
	s, err := Open(Options{}, "point", paths...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRotationCountsThroughAllFiles(t *testing.T) {
	dir := inDir(t, map[string][]byte{
		"a": writePcap(t, 1, base, base+1), "b": writePcap(t, 1), "c": writePcap(t, 1, base+2, base+3, base+4),
	})
	s := openDir(t, dir, "a", "b", "c")
	got := read(t, s)
	if len(got.Seen) != 5 {
		t.Fatalf("%d frames, want 5", len(got.Seen))
	}
	type place struct {
		File  int
		Frame uint64
	}
	var places []place
	for o := range tcp.Ordinal(7) {
		file, frame := s.Frame(o)
		places = append(places, place{file, frame})
	}
	want := []place{{-1, 0}, {0, 1}, {0, 2}, {2, 1}, {2, 2}, {2, 3}, {-1, 0}}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("places of ordinals 0 to 6, want −, got +:\n%s", diff)
	}
	for _, p := range got.Seen {
		if p.Iface != 0 {
			t.Errorf("interface %d, want 0 in each file of the rotation", p.Iface)
		}
	}
	var b Batch
	if err := s.Read(&b); err != io.EOF || b.N != 0 {
		t.Errorf("Read behind the end = %v with %d packets, want io.EOF and none", err, b.N)
	}
}

func TestSeamsOfARotation(t *testing.T) {
	tests := []struct {
		name  string
		names [3]string
		want  []Interval
	}{
		{"names say nothing", [3]string{"x.pcap", "y.pcap", "z.pcap"},
			[]Interval{{base + 1, base + second, WhyRotation}, {base + second + 1, base + 3*second, WhyRotation}}},
		{"tcpdump -C", [3]string{"x.pcap", "x.pcap1", "x.pcap2"}, nil},
		{"tcpdump -C, one file missing", [3]string{"x.pcap", "x.pcap1", "x.pcap3"}, []Interval{{base + second + 1, base + 3*second, WhyRotation}}},
		{"tcpdump -W, wrapped around", [3]string{"x.pcap1", "x.pcap2", "x.pcap0"}, nil},
		{"tcpdump -G, one a minute", [3]string{"t_20260101-120000.pcap", "t_20260101-120100.pcap", "t_20260101-120200.pcap"}, nil},
		{"tcpdump -G, time unclear", [3]string{"t_20260101-120000.pcap", "t_20260101-120100.pcap", "t_20260101-120500.pcap"},
			[]Interval{{base + 1, base + second, WhyRotation}, {base + second + 1, base + 3*second, WhyRotation}}},
		{"dumpcap -b", [3]string{"d_00008_20260101120000.pcapng", "d_00009_20260101120100.pcapng", "d_00010_20260101120500.pcapng"}, nil},
		{"dumpcap -b, number last", [3]string{"d_20260101120000_00008.pcapng", "d_20260101120100_00009.pcapng", "d_20260101120500_00011.pcapng"},
			[]Interval{{base + second + 1, base + 3*second, WhyRotation}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := inDir(t, map[string][]byte{
				test.names[0]: writePcap(t, 1, base, base+1),
				test.names[1]: writePcap(t, 1, base+second, base+second+1),
				test.names[2]: writePcap(t, 1, base+3*second),
			})
			s := openDir(t, dir, test.names[:]...)
			var inBatches []Interval
			var b Batch
			for s.Read(&b) == nil {
				inBatches = append(inBatches, b.Holes...)
			}
			if diff := cmp.Diff(test.want, s.Holes()); diff != "" {
				t.Errorf("holes, want −, got +:\n%s", diff)
			}
			if diff := cmp.Diff(test.want, inBatches); diff != "" {
				t.Errorf("holes of the batches, want −, got +:\n%s", diff)
			}
		})
	}
}

func TestOverlappingFilesAreTold(t *testing.T) {
	dir := inDir(t, map[string][]byte{"a": writePcap(t, 1, base, base+3*second), "b": writePcap(t, 1, base+second)})
	got := read(t, openDir(t, dir, "a", "b"))
	if got.Seen[2].Note&NoteClockStep == 0 || got.Holes != nil {
		t.Errorf("note %v, holes %v; want a clock step and no hole", got.Seen[2].Note, got.Holes)
	}
	want := []Problem{{What: "begins 2s before the file before it ends"}}
	if diff := cmp.Diff(want, got.File.Problems); diff != "" || !got.File.Complete {
		t.Errorf("complete %v; problems, want −, got +:\n%s", got.File.Complete, diff)
	}
}

func TestDamagedFileOfASetDoesNotStopIt(t *testing.T) {
	cut := writePcap(t, 1, base, base+1)
	dir := inDir(t, map[string][]byte{"a": cut[:len(cut)-5], "b": []byte("no capture at all, is it?"), "d": writePcap(t, 1, base+2)})
	s := openDir(t, dir, "a", "b", "c", "d")
	got := read(t, s)
	if len(got.Seen) != 2 {
		t.Errorf("%d frames, want 2", len(got.Seen))
	}
	if diff := cmp.Diff([]Interval{{base, base + 2, WhyDamaged}}, got.Holes); diff != "" {
		t.Errorf("holes, want −, got +:\n%s", diff)
	}
	var problems [][]Problem
	for _, f := range s.Files() {
		problems = append(problems, f.Problems)
	}
	want := [][]Problem{
		{{Frame: 2, Offset: 24 + 16 + 41, What: "cut short: packet record needs 57 octets, 52 left", Fatal: true}},
		{{What: "text, not a capture; capture with tcpdump -w, or turn a hex dump into a capture: text2pcap IN OUT.pcap", Fatal: true}},
		{{What: "no such file or directory", Fatal: true}},
		nil,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("want −, got +:\n%s", diff)
	}
}

func TestFileThatGrowsWhileItIsRead(t *testing.T) {
	whole := writePcap(t, 1, base, base+1, base+2)
	dir := inDir(t, map[string][]byte{"growing": whole[:len(whole)-30]})
	s := openDir(t, dir, "growing")
	appendTo(t, filepath.Join(dir, "growing"), whole[len(whole)-30:len(whole)-10])
	got := read(t, s)
	if !got.File.StillGrowing || got.File.Problems != nil || got.File.Frames != 2 {
		t.Errorf("still growing %v, %d frames, problems %v; want two frames of a file still being written",
			got.File.StillGrowing, got.File.Frames, got.File.Problems)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecondReadingEndsWhereTheFirstDid(t *testing.T) {
	more := writePcap(t, 1, base+5, base+6)
	dir := inDir(t, map[string][]byte{"a": writePcap(t, 1, base, base+1), "b": writePcap(t, 1, base+2, base+3)})
	s := openDir(t, dir, "a", "b")
	first := read(t, s)
	files := append([]File(nil), s.Files()...)
	for _, name := range []string{"a", "b"} {
		appendTo(t, filepath.Join(dir, name), more[pcapHeader:])
	}
	for range 2 {
		if err := s.Rewind(); err != nil {
			t.Fatal(err)
		}
		if file, frame := s.Frame(4); file != 1 || frame != 2 {
			t.Errorf("Frame(4) = %d, %d before the second reading, want 1, 2", file, frame)
		}
		if diff := cmp.Diff(first, read(t, s)); diff != "" {
			t.Errorf("second reading, first −, second +:\n%s", diff)
		}
	}
	if diff := cmp.Diff(files, s.Files()); diff != "" {
		t.Errorf("files, first reading −, now +:\n%s", diff)
	}
}

func TestFileThatBecameShorterKeepsTheOrdinalsOfOthers(t *testing.T) {
	dir := inDir(t, map[string][]byte{"a": writePcap(t, 1, base, base+1), "b": writePcap(t, 1, base+2, base+3)})
	s := openDir(t, dir, "a", "b")
	read(t, s)
	if err := os.WriteFile(filepath.Join(dir, "a"), writePcap(t, 1, base), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewind(); err != nil {
		t.Fatal(err)
	}
	var ords []tcp.Ordinal
	var b Batch
	for s.Read(&b) == nil {
		for i := range b.N {
			ords = append(ords, b.Pkts[i].Ord)
		}
	}
	if diff := cmp.Diff([]tcp.Ordinal{1, 3, 4}, ords); diff != "" {
		t.Errorf("ordinals, want −, got +:\n%s", diff)
	}
}

func TestOffsetsBeyondFourGigabytes(t *testing.T) {
	file := writePcap(t, 1, base, base+1)
	s := openBytes(t, file[:len(file)-1])
	s.start = 5 << 30
	f := read(t, s).File
	if want := int64(5<<30) + 24 + 16 + 41; len(f.Problems) != 1 || f.Problems[0].Offset != want {
		t.Errorf("problems %v, want one at offset %d", f.Problems, want)
	}
}

func TestRewindInTheMiddle(t *testing.T) {
	dir := inDir(t, map[string][]byte{"a": keepalivePcap(t, 1000)})
	s := openDir(t, dir, "a")
	var b Batch
	if err := s.Read(&b); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewind(); err != nil {
		t.Fatal(err)
	}
	if f := drain(t, s); f.Frames != 1000 || !f.Complete {
		t.Errorf("%d frames, complete %v; want all 1000", f.Frames, f.Complete)
	}
}

func TestStreamsCannotBeReadTwice(t *testing.T) {
	s := openBytes(t, writePcap(t, 1, base))
	read(t, s)
	if err := s.Rewind(); err == nil || err.Error() != "-: a stream cannot be read twice" {
		t.Errorf("Rewind = %v, want that a stream cannot be read twice", err)
	}
}

// slowPipe gives one record per read and then blocks the test's end.
type slowPipe struct{ pieces [][]byte }

func (p *slowPipe) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		return 0, errors.New("read beyond what the writer had written")
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

func TestLivePipeGivesEachPacketAtOnce(t *testing.T) {
	file := writePcap(t, 1, base, base+1)
	record := (len(file) - pcapHeader) / 2
	pipe := &slowPipe{pieces: [][]byte{file[:pcapHeader], file[pcapHeader : pcapHeader+record], file[pcapHeader+record:]}}
	s, err := Open(Options{Stdin: pipe}, "", "-")
	if err != nil || len(pipe.pieces) != 2 {
		t.Fatalf("Open = %v with %d pieces left; want it to need the header alone", err, len(pipe.pieces))
	}
	var b Batch
	for left := 1; left >= 0; left-- {
		if err := s.Read(&b); err != nil || b.N != 1 || len(pipe.pieces) != left {
			t.Fatalf("Read = %v with %d packets, %d pieces left; want one packet, %d left", err, b.N, len(pipe.pieces), left)
		}
	}
}

func TestPayloadsOfABatchLieInTheBufferTogether(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, linkRaw, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 300 { // records larger and smaller than the buffer's remainder
		text := string(bytes.Repeat([]byte{byte('a' + i%26)}, (i*7919)%60_000))
		data := segment(1, text)
		if err := w.Write(base, data, len(data)); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	got := readBytes(t, file.Bytes())
	for i, p := range got.Seen {
		if p.Payload != want[i] {
			t.Fatalf("frame %d has another payload: %d octets, want %d", i+1, len(p.Payload), len(want[i]))
		}
	}
	if len(got.Seen) != len(want) {
		t.Errorf("%d frames, want %d", len(got.Seen), len(want))
	}
}

func TestLargestRecord(t *testing.T) {
	data := make([]byte, maxRecord)
	var file bytes.Buffer
	w, err := NewWriter(&file, linkRaw, 0, false)
	if err == nil {
		err = errors.Join(w.Write(base, data, len(data)), w.Write(base, data[:60], 60))
	}
	if err != nil {
		t.Fatal(err)
	}
	if f := readBytes(t, file.Bytes()).File; f.Frames != 2 || !f.Complete {
		t.Errorf("%d frames, complete %v, problems %v; want two", f.Frames, f.Complete, f.Problems)
	}
	if err := w.Write(base, make([]byte, maxRecord+1), 0); err == nil {
		t.Error("a packet larger than any was written")
	}
	if err := w.Write(-1, nil, 0); err == nil {
		t.Error("a time before 1970 was written")
	}
}

func TestNarrowFilterIsTold(t *testing.T) {
	one := writePcap(t, 1, base, base+1)
	if f := readBytes(t, one).File; f.Unfiltered {
		t.Error("one TCP flow alone counts as unfiltered")
	}
	udp := segment(1, "x")
	udp[9] = protoUDP
	udp[10], udp[11] = 0, 0
	n := uint32(len(udp))
	other := (&pcapFile{link: linkRaw}).begin().record(1, 0, n, n, udp)
	if f := readBytes(t, other.out).File; !f.Unfiltered {
		t.Error("another protocol counts as filtered")
	}
}

func TestInputBeyondTheLimit(t *testing.T) {
	s, err := Open(Options{Stdin: bytes.NewReader(keepalivePcap(t, 20_000)), MaxInput: 300_000}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	f := drain(t, s)
	if len(f.Problems) != 1 || !f.Problems[0].Limit || !f.Problems[0].Fatal || f.Problems[0].What != "more than 300000 octets of input" || f.Frames == 0 {
		t.Errorf("%d frames, problems %v; want what fits, and that the limit ended it", f.Frames, f.Problems)
	}
}

// Each packet tells where its record begins, across many fills of the buffer.
func TestPacketsKnowTheirOffsets(t *testing.T) {
	const n = 9000
	frame := segment(1, "x")
	plain, blocks := (&pcapFile{link: linkEthernet}).begin(), newNG(binary.LittleEndian).iface(1, 0)
	var at [2][]int64
	for i := range uint32(n) {
		at[0], at[1] = append(at[0], int64(len(plain.out))), append(at[1], int64(len(blocks.out)))
		plain.record(i, 0, uint32(len(frame)), uint32(len(frame)), frame)
		blocks.packet(0, uint64(i), frame)
	}
	for i, file := range [][]byte{plain.out, blocks.out} {
		s := openBytes(t, file)
		var b Batch
		var got []int64
		for s.Read(&b) == nil {
			for i := range b.N {
				got = append(got, b.Offset(i))
			}
		}
		if diff := cmp.Diff(at[i], got); diff != "" {
			t.Errorf("offsets, want −, got +:\n%s", diff)
		}
	}
}
