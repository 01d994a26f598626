package main

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// TestPayloadPairsWhatHasNothingElse takes handshakes and timestamps out of the
// captures of both ends and puts a translation and a shift of both directions'
// sequence numbers between them: octets alone are left to pair by, and the
// verdict must be the same.
func TestPayloadPairsWhatHasNothingElse(t *testing.T) {
	for _, name := range []string{"ssh-silent-drop", "ssh-silent-drop-with-control", "ssh-one-way-drop", "ssh-path-cut-unseen", "ssh-healthy", "ssh-peer-lost-state"} {
		t.Run(name, func(t *testing.T) {
			set, err := lab.ReadRun("../../testdata/pcaps/" + name)
			if err != nil {
				t.Fatal(err)
			}
			there, since := barely(t, set, lab.AtServer, time.Time{})
			here, _ := barely(t, set, lab.AtClient, since)
			for _, order := range [][]string{{here, there}, {there, here}} {
				answer := ask(t, order...)
				f := set.Truth.Flows[0]
				found := false
				for i := range answer.Flows {
					got := &answer.Flows[i]
					if got.Client != f.Client {
						continue
					}
					found = true
					if got.Pairing.Method != "payload" || len(got.Seen) != 2 {
						t.Errorf("%v: seen %d times, paired by %q", bases(order), len(got.Seen), got.Pairing.Method)
					}
					if got.Verdict.ID != f.Expect.Verdict {
						t.Errorf("%v: %+v, want %+v", bases(order), got.Verdict, f.Expect)
					}
				}
				if !found {
					t.Errorf("%v: nothing is said of %s", bases(order), f.Client)
				}
			}
		})
	}
}

// barely writes a capture of a set without timestamps and without what came
// before the third data segment, or before a moment; the server's is translated
// and renumbered besides.
func barely(t *testing.T, set *lab.Run, at string, since time.Time) (string, time.Time) {
	t.Helper()
	frames, err := lab.ReadPcap(set.Captures[at])
	if err != nil {
		t.Fatal(err)
	}
	added := time.Duration(set.Truth.Clocks[at] * float64(time.Second))
	if since.IsZero() {
		data := 0
		for _, f := range frames {
			if f.Len > 0 && f.Src.Port() != 22 {
				data++
			}
			if data == 3 {
				since = f.At.Add(-added)
				break
			}
		}
	}
	frames = lab.Since(lab.Unstamped(frames), since.Add(added))
	if at == lab.AtServer {
		client := netip.MustParseAddr(set.Truth.Ends[lab.AtClient].Address)
		frames = lab.Translated(lab.Renumbered(frames, client, 0x9e3779b9, 0x7f4a7c15), client, publicAddr, 11111)
	}
	path := filepath.Join(t.TempDir(), at+".pcap")
	if err := lab.WritePcap(path, frames, 262_144); err != nil {
		t.Fatal(err)
	}
	return path, since
}
