package rewrite_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/internal/rewrite"
	"kaflow/tcp"
)

// What was written must be read back: times to the nanosecond, lengths, octets.
func TestWrittenFramesAreReadBack(t *testing.T) {
	var file bytes.Buffer
	w := rewrite.NewWriter(&file, "test", "of the section", strings.Repeat("x", 100_000))
	type frame struct {
		At    tcp.Instant
		Link  uint32
		Wire  uint32
		Data  string
		Iface uint32
	}
	want := []frame{
		{1_700_000_000_123_456_789, 1, 1514, "first", 0},
		{1_700_000_000_123_456_790, 101, 6, "second", 1},
		{1_700_000_001_000_000_000, 1, 0, "", 0},
	}
	for i, f := range want {
		p := rewrite.Packet{Iface: f.Iface + 7, Link: f.Link, Name: "eth0", At: f.At, Data: []byte(f.Data), Wire: f.Wire}
		if i == 1 {
			p.Comments = []string{"one", "two"}
		}
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
	}
	var got []frame
	set, err := capture.Open(capture.Options{Stdin: &file, Each: func(p *capture.Packet, f capture.Frame) {
		got = append(got, frame{p.At, f.Link, f.Wire, string(f.Data), p.Iface})
	}}, "written", "-")
	if err != nil {
		t.Fatal(err)
	}
	var b capture.Batch
	for set.Read(&b) != io.EOF {
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if f := set.Files()[0]; !f.Complete || len(f.Problems) > 0 || len(f.Comments) == 0 {
		t.Errorf("the file: %+v", f)
	}
}

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("full")
	}
	return len(b), nil
}

func TestFirstErrorStays(t *testing.T) {
	w := rewrite.NewWriter(&full{room: 200}, "test")
	var failed error
	for range 10 {
		err := w.Write(&rewrite.Packet{Link: 1, Data: make([]byte, 50)})
		if failed != nil && err == nil {
			t.Fatal("the error was forgotten")
		}
		failed = err
	}
	if failed == nil {
		t.Error("no error on a full disk")
	}
}
