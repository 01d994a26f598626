//go:build unix

package capture

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestPeekGoesFromRecordToRecord: what is looked at ahead of a walk along records
// that lie far apart are records, all of them, and enough.
func TestPeekGoesFromRecordToRecord(t *testing.T) {
	for name, c := range map[string]struct {
		file  []byte
		first int
		stride
	}{
		"pcap":   {bulkPcap(1000), pcapHeader, pcapStride},
		"pcapng": {bulkPcapng(1000), 28 + 20, blockStride},
	} {
		t.Run(name, func(t *testing.T) {
			next := func(at int) int { return at + c.head + int(binary.LittleEndian.Uint32(c.file[at+c.length:])) }
			begins := map[int]bool{}
			for at := c.first; at < len(c.file); at = next(at) {
				begins[at] = true
			}
			begins[len(c.file)] = true
			r := &reader{window: window{buf: c.file, end: len(c.file), file: &largeFile{mapped: true}}}
			for at := c.first; at < len(c.file); at = next(at) {
				r.peek(at, c.stride)
				if !begins[r.peeked] {
					t.Fatalf("at %d: no record begins at %d", at, r.peeked)
				}
				if r.peeked-at <= peekAhead && len(c.file)-r.peeked > peekOctets {
					t.Fatalf("at %d: looked no farther than %d", at, r.peeked)
				}
			}
		})
	}
}

// TestPeekEndsWhereLengthsLie: no length keeps it from ending.
func TestPeekEndsWhereLengthsLie(t *testing.T) {
	for _, length := range [][]byte{{0, 0, 0, 0}, {1, 1, 1, 1}, {0xff, 0xff, 0xff, 0x7f}, {0xef, 0xff, 0xff, 0x7f}, {0xff, 0xff, 0xff, 0xff}} {
		buf := bytes.Repeat(length, 1<<18)
		for _, s := range []stride{pcapStride, blockStride} {
			r := &reader{window: window{buf: buf, end: len(buf), file: &largeFile{mapped: true}}}
			r.peek(4, s)
			if r.peeked < 4+peekSpan || r.peeked > len(buf) {
				t.Errorf("length %x: looked as far as %d", length, r.peeked)
			}
		}
	}
}
