package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The hash is that of the file as it lies there, whatever was made of it.
func TestHashIsOfTheWholeFile(t *testing.T) {
	whole := writePcap(t, 1, base, base+1, base+2)
	damaged := append(bytes.Clone(whole), bytes.Repeat([]byte{0xff}, 300_000)...)
	files := map[string][]byte{"whole.pcap": whole, "damaged.pcap": damaged}
	for name, packed := range samples() {
		files[name] = packed
	}
	dir := inDir(t, files)
	for name, file := range files {
		path := filepath.Join(dir, name)
		want := sha256.Sum256(file)
		s, err := Open(Options{Hash: true}, name, path)
		if err != nil {
			continue // no capture
		}
		var b Batch
		for range 2 { // a second reading keeps it
			for s.Read(&b) != io.EOF {
			}
			if got := s.Files()[0].SHA256; got != hex.EncodeToString(want[:]) {
				t.Errorf("%s: %q, want %x", name, got, want)
			}
			if err := s.Rewind(); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
	f, err := os.Open(filepath.Join(dir, "whole.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Open(Options{Hash: true, Stdin: f}, "stdin", "-")
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for s.Read(&b) != io.EOF {
	}
	if want := sha256.Sum256(whole); s.Files()[0].SHA256 != hex.EncodeToString(want[:]) {
		t.Errorf("of a stream: %q, want %x", s.Files()[0].SHA256, want)
	}
}
