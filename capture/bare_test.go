package capture

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBareFramesOfASet: the first frame of each file is a packet, for it says what lies
// between the files; and a second reading, which ends where the first one did, has none bare.
func TestBareFramesOfASet(t *testing.T) {
	ack := func(client string) []byte {
		return eth("0800", ip4(6, client, server4, "c822 0016 00001000 00002000 8010 01f5 0000 0000 0101 080a 00001111 00002222"))
	}
	var paths []string
	for i, begin := range []uint32{1_700_000_000, 1_700_000_900, 1_700_002_900} { // the second begins before the first ends
		p := (&pcapFile{link: linkEthernet}).begin()
		for k := range uint32(1000) {
			frame := ack(client4)
			if i == 1 && k >= 500 && k < 510 { // so many hosts pass no narrow filter; all of these frames come bare
				frame = ack(fmt.Sprintf("192.0.2.%d", k-490))
			}
			p.record(begin+k, 0, uint32(len(frame)), uint32(len(frame)), frame)
		}
		paths = append(paths, filepath.Join(t.TempDir(), []string{"a", "b", "c"}[i]))
		if err := os.WriteFile(paths[i], p.out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(s *Set, wanted bool) (pkts []Packet, holes []Interval, bare int) {
		var b Batch
		for err := error(nil); err != io.EOF; {
			b.Bare.Wanted = wanted
			err = s.Read(&b)
			if holes = append(holes, b.Holes...); b.Bare.N > 0 {
				bare += b.Bare.N
				b.Unfold(0)
			}
			for _, p := range b.Pkts[:b.N] {
				p.Data = 0 // within another stretch of the file
				p.Rec = 0
				pkts = append(pkts, p)
			}
		}
		return pkts, holes, bare
	}
	s, plain := opened(t, Options{}, paths...), opened(t, Options{}, paths...)
	pkts, holes, bare := read(s, true)
	want, wantHoles, none := read(plain, false)
	if bare < 1500 || none > 0 {
		t.Errorf("%d frames came bare, and %d that were not wanted so", bare, none)
	}
	if diff := cmp.Diff(want, pkts); diff != "" {
		t.Errorf("packets (plain −, bare +):\n%.2000s", diff)
	}
	if diff := cmp.Diff(wantHoles, holes); diff != "" || len(holes) == 0 {
		t.Errorf("holes (plain −, bare +):\n%s", diff)
	}
	if diff := cmp.Diff(plain.Files(), s.Files()); diff != "" {
		t.Errorf("files (plain −, bare +):\n%s", diff)
	}
	if err := s.Rewind(); err != nil {
		t.Fatal(err)
	}
	if again, _, bare := read(s, true); bare > 0 || len(again) != len(pkts) {
		t.Errorf("a second reading gave %d frames bare, and %d packets of %d", bare, len(again), len(pkts))
	}
}
