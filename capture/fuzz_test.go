package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seeds adds the shipped captures whose names end like one of the endings. It
// fails where there are none.
func seeds(f *testing.F, endings ...string) {
	f.Helper()
	paths, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		for _, ending := range endings {
			if !strings.HasSuffix(path, ending) {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			found++
		}
	}
	if found == 0 {
		f.Fatalf("no seeds for %v in testdata", endings)
	}
}

func FuzzPcap(f *testing.F) {
	seeds(f, ".pcap", ".snoop")
	f.Fuzz(func(t *testing.T, data []byte) {
		if isPcap(data) || hasPrefix(data, snoopMagic) {
			checkLaws(t, data)
		}
	})
}

func FuzzPcapng(f *testing.F) {
	seeds(f, ".pcapng")
	f.Fuzz(func(t *testing.T, data []byte) {
		if isPcapng(data) {
			checkLaws(t, data)
		}
	})
}

func FuzzSniff(f *testing.F) {
	seeds(f, ".pcap", ".pcapng", ".snoop", ".gz", ".zst", ".xz", ".lz4", ".bz2", ".md")
	for _, other := range foreign {
		f.Add([]byte(other.magic + strings.Repeat("\x00", 40)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Open(Options{Stdin: bytes.NewReader(data), MaxInput: 16 << 20}, "", "-")
		if err == nil {
			s.Close()
		} else if text := err.Error(); !strings.HasPrefix(text, "-: ") || strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("error is no plain line: %q", text)
		}
		checkLaws(t, data)
	})
}
