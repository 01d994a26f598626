package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// packed returns data compressed in each way, but for bzip2.
func packed(t testing.TB, data []byte) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"lz4":  func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err == nil {
			_, err = w.Write(data)
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	return out
}

func TestCompressedCaptures(t *testing.T) {
	for sample, file := range samples() {
		plain := readBytes(t, file)
		for name, data := range packed(t, file) {
			t.Run(sample+" in "+name, func(t *testing.T) {
				want := plain
				want.File.Format += ", " + name
				if diff := cmp.Diff(want, readBytes(t, data)); diff != "" {
					t.Errorf("plain −, compressed +:\n%s", diff)
				}
			})
		}
	}
}

func TestShippedCaptures(t *testing.T) {
	want := readBytes(t, samples()["micro.pcap"])
	for name, format := range map[string]string{
		"micro.pcap": "pcap", "micro.pcap.gz": "pcap, gzip", "micro.pcap.zst": "pcap, zstd", "micro.pcap.xz": "pcap, xz",
		"micro.pcap.lz4": "pcap, lz4", "micro.pcap.bz2": "pcap, bzip2",
	} {
		got := read(t, openDir(t, "testdata", name))
		want.File.Format = format
		want.File.Path = got.File.Path
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want −, got +:\n%s", name, diff)
		}
	}
}

func TestGzipOfSeveralMembers(t *testing.T) {
	file := samples()["micro.pcap"]
	both := append(packed(t, file[:70])["gzip"], packed(t, file[70:])["gzip"]...)
	if f := readBytes(t, both).File; f.Frames != 3 || !f.Complete {
		t.Errorf("%d frames, complete %v, problems %v; want all three", f.Frames, f.Complete, f.Problems)
	}
}

func TestCompressedCaptureCutShort(t *testing.T) {
	file := keepalivePcap(t, 20_000)
	for name, data := range packed(t, file) {
		f := readBytes(t, data[:len(data)-6]).File
		want := name + " data was cut short"
		if len(f.Problems) != 1 || f.Problems[0].What != want || f.Complete || f.Frames == 0 {
			t.Errorf("%s: %d frames, complete %v, problems %v; want what was there and %q", name, f.Frames, f.Complete, f.Problems, want)
		}
	}
}

func TestCompressedDataDamaged(t *testing.T) {
	file := keepalivePcap(t, 20_000)
	for name, data := range packed(t, file) {
		bad := bytes.Clone(data)
		for i := len(bad) / 2; i < len(bad)/2+40; i++ {
			bad[i] ^= 0x55
		}
		s, err := Open(Options{Stdin: bytes.NewReader(bad)}, "", "-")
		if err != nil {
			if !strings.Contains(err.Error(), name+" data is damaged") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		f := read(t, s).File
		// Checksums come behind the data: what they would refuse may first show as a record that makes no sense.
		if len(f.Problems) != 1 || !f.Problems[0].Fatal || f.Complete || f.Frames == 0 {
			t.Errorf("%s: %d frames, complete %v, problems %v; want the frames before one problem", name, f.Frames, f.Complete, f.Problems)
		}
	}
}

func TestWindowsAboveTheLimit(t *testing.T) {
	const tooLarge = "needs a window above 64 MiB"
	big := []byte("\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00") // window descriptor: 256 MiB
	var format *FormatError
	if _, err := Open(Options{Stdin: bytes.NewReader(big)}, "", "-"); !errors.As(err, &format) || !format.Limit || !strings.Contains(err.Error(), tooLarge) {
		t.Errorf("zstd: %v, want %q", err, tooLarge)
	}
	small := packed(t, samples()["micro.pcap"])["xz"]
	if _, err := Open(Options{Stdin: bytes.NewReader(greedy(t, small))}, "", "-"); err == nil || !strings.Contains(err.Error(), tooLarge) {
		t.Errorf("xz: %v, want %q", err, tooLarge)
	}
	two := append(bytes.Clone(packed(t, keepalivePcap(t, 50))["xz"]), greedy(t, small)...)
	f := readBytes(t, two).File
	if len(f.Problems) != 1 || !strings.Contains(f.Problems[0].What, tooLarge) || !f.Problems[0].Limit {
		t.Errorf("second xz stream: problems %v, want %q", f.Problems, tooLarge)
	}
}

// greedy changes an xz file so that its first block asks for 4 GiB.
func greedy(t *testing.T, file []byte) []byte {
	t.Helper()
	file = bytes.Clone(file)
	header := file[12 : 12+(int(file[12])+1)*4]
	at := bytes.Index(header, []byte{0x21, 1})
	if at < 0 {
		t.Fatal("no LZMA2 filter in the block header")
	}
	header[at+2] = 40
	end := len(header) - 4
	binary.LittleEndian.PutUint32(header[end:], crc32.ChecksumIEEE(header[:end]))
	return file
}

func TestXzGuardFollowsWholeFiles(t *testing.T) {
	data := keepalivePcap(t, 30_000)
	one := packed(t, data)["xz"]
	guard := &xzGuard{in: bytes.NewReader(append(bytes.Clone(one), one...))}
	if _, err := io.Copy(io.Discard, guard); err != nil || guard.state != xzStream || guard.have != 0 || guard.skip != 0 {
		t.Errorf("after two streams: %v, state %d, %d collected, %d to skip; want to stand before a third", err, guard.state, guard.have, guard.skip)
	}
}

func TestDecompressionBomb(t *testing.T) {
	s, err := Open(Options{Stdin: bytes.NewReader(packed(t, samples()["micro.pcap"])["gzip"])}, "", "-")
	if err != nil {
		t.Fatal(err)
	}
	s.start, s.file.TCPFrames = bombSize+1, 0
	if !s.overLimit() || !strings.Contains(s.Files()[0].Problems[0].What, "1000 times its size") {
		t.Errorf("a gigabyte from a few octets without TCP goes on: %v", s.Files()[0].Problems)
	}
}

func TestKnownNonCaptures(t *testing.T) {
	etl := make([]byte, 0x60)
	binary.LittleEndian.PutUint32(etl, 65536)
	copy(etl[0x48:], "\x02\x00\x02\xc0")
	erf := make([]byte, 128)
	for _, at := range []int{0, 64} {
		binary.LittleEndian.PutUint32(erf[at+4:], 1_700_000_000)
		erf[at+8] = 2
		binary.BigEndian.PutUint16(erf[at+10:], 64)
	}
	dir := inDir(t, map[string][]byte{
		"empty": nil, "netmon.cap": []byte("GMBU\x00\x02 and more of it"), "trace": etl, "by-name.ETL": make([]byte, 100), "endace": erf,
		"dump.txt": []byte("12:00:01.5 IP 192.0.2.1.22 > 192.0.2.2.40000: Flags [.], ack 1, win 501, length 0\n"),
		"x.zip":    []byte("PK\x03\x04............................"), "noise": bytes.Repeat([]byte{0x80, 1, 0xff}, 50), "tiny": {1, 2, 3},
		"text.gz": packed(t, []byte("nothing but a few words of text, no capture"))["gzip"], "cut.pcap": []byte("\xd4\xc3\xb2\xa1\x02\x00"),
		"bad\x1b[2J": []byte("text"), "old.pcap": append([]byte("\xd4\xc3\xb2\xa1\x01\x00"), make([]byte, 30)...), "half.gz": []byte("\x1f\x8b\x08\x00"),
	})
	tests := []struct{ name, want string }{
		{"empty", "empty: not one octet in it; a capture has a header even where it holds no packets"},
		{"netmon.cap", "a Network Monitor 2 capture; convert it: editcap -F pcapng IN OUT.pcapng"},
		{"trace", "a Windows event trace; convert it: etl2pcapng IN.etl OUT.pcapng, or pktmon etl2pcap IN.etl"},
		{"by-name.ETL", "a Windows event trace; convert it: etl2pcapng IN.etl OUT.pcapng, or pktmon etl2pcap IN.etl"},
		{"endace", "an Endace ERF capture; convert it: editcap -F pcapng IN OUT.pcapng"},
		{"dump.txt", "text, not a capture; capture with tcpdump -w, or turn a hex dump into a capture: text2pcap IN OUT.pcap"},
		{"x.zip", "a zip archive; unpack it first"},
		{"noise", "no capture file: not pcap, pcapng or snoop"},
		{"tiny", "too short for a capture: 3 octets"},
		{"text.gz", "inside gzip: text, not a capture; capture with tcpdump -w, or turn a hex dump into a capture: text2pcap IN OUT.pcap"},
		{"cut.pcap", "pcap file header needs 24 octets, 6 left"},
		{"old.pcap", "pcap version 1.0 is not supported"},
		{"half.gz", "gzip data was cut short"},
		{"missing", "no such file or directory"},
		{".", "is a directory"},
	}
	for _, test := range tests {
		path := filepath.Join(dir, test.name)
		want := path + ": " + test.want
		if _, err := Open(Options{}, "", path); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", test.name, err, want)
		}
	}
	if _, err := Open(Options{}, "", filepath.Join(dir, "bad\x1b[2J")); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("escape sequence in a name: %q", err)
	}
	if _, err := Open(Options{}, "", filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v is not os.ErrNotExist", err)
	}
}
