package correlate

import (
	"bytes"
	"io"
	"testing"

	"kaflow/capture"
	"kaflow/monitor"
)

// StreamOf is what a watch writes of a capture, packet by packet.
func StreamOf(t testing.TB, path string) []byte {
	t.Helper()
	var out bytes.Buffer
	carrier := monitor.NewCarrier(&out)
	set, err := capture.Open(capture.Options{Each: carrier.Keep}, "x", path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	write := monitor.NDJSON(&out, "x")
	e := monitor.New(monitor.Options{Emit: func(ev monitor.Event) {
		if err := write(ev); err != nil {
			t.Fatal(err)
		}
	}}, set.Files, set.Frame)
	var b capture.Batch
	for set.Read(&b) != io.EOF {
		for i := range b.N { // as they come
			one := capture.Batch{N: 1, Buf: b.Buf}
			one.Pkts[0] = b.Pkts[i]
			e.Add(&one)
			if err := carrier.Tick(e.Table.Now(), monitor.Recording{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.Finish()
	if err := carrier.Finish(e.Table.Now(), monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func linesOf(t *testing.T, path string) [][]byte {
	t.Helper()
	return bytes.SplitAfter(bytes.TrimSpace(StreamOf(t, path)), []byte("\n"))
}
