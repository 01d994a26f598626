package capture

import (
	"bytes"
	"io"
	"testing"

	"kaflow/tcp"
)

// keepalivePcap returns a pcap file of n frames of 66 octets.
func keepalivePcap(t testing.TB, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, linkEthernet, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 54)
	copy(frame[12:], "\x08\x00\x45\x00\x00\x28\x00\x01\x40\x00\x40\x06\xb6\xcb\xc0\x00\x02\x01\xc0\x00\x02\x02\xc8\x22\x00\x16")
	frame[46], frame[47] = 0x50, 0x10
	for i := range n {
		if err := w.Write(tcp.Instant(1_700_000_000_000_000_000+int64(i)*1000), frame, len(frame)); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

func BenchmarkRead(b *testing.B) {
	file := keepalivePcap(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(Options{Stdin: bytes.NewReader(file)}, "", "-")
		if err != nil {
			b.Fatal(err)
		}
		var batch Batch
		for s.Read(&batch) != io.EOF {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/packet")
}
