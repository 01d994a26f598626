package correlate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A stream that tells of more connections than are remembered, or of one only that
// its segments are left out, does not show that something of one did not arrive.
func TestWhatIsForgottenOrLeftOutIsNotMissed(t *testing.T) {
	const dir, ends = "../../testdata/pcaps/", `"ends":["10.1.1.1:42802","10.2.2.2:22"]`
	client, server := linesOf(t, dir+"ssh-silent-drop/client.pcap"), linesOf(t, dir+"ssh-silent-drop/server.pcap")
	var others [][]byte // of another server
	for _, l := range linesOf(t, dir+"ssh-peer-gone/server.pcap") {
		if bytes.Contains(l, []byte(`"type":"segments"`)) {
			others = append(others, l)
		}
	}
	leftOut := []byte(fmt.Sprintf(`{"schema":"kaflow/1","type":"segments","vantage":"x","at":"2026-11-20T23:23:50Z",%s,"skipped":99,"segments":[]}`, ends))
	for _, c := range []struct {
		name string
		play func(*Correlator) (lines [][]byte)
		lost int // segments
	}{
		{"all is told", func(*Correlator) [][]byte { return server }, 18},
		{"that segments are left out, before it was told of", func(*Correlator) (lines [][]byte) {
			lines = append(lines, leftOut)
			for _, l := range server {
				if !bytes.Contains(l, []byte(ends)) {
					lines = append(lines, l)
				}
			}
			return lines
		}, 0},
		{"others have taken its room", func(x *Correlator) (lines [][]byte) {
			x.streams[1].room = 3000
			return append(append(lines, server...), others...)
		}, 0},
		{"others have taken its room, and it was heard again", func(x *Correlator) (lines [][]byte) {
			x.streams[1].room = 8000
			n := 0
			for _, l := range server {
				if lines = append(lines, l); bytes.Contains(l, []byte(ends)) {
					if n++; n == 1 {
						lines = append(lines, others...)
					}
				}
			}
			return lines
		}, 18},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			var told []string
			lost := 0 // segments, for sure
			x := New([]string{"client", "server"}, Options{Tell: func(d Told) {
				if d.Verdict != nil && d.Client == "10.1.1.1:42802" {
					told = append(told, d.Verdict.ID+" "+string(d.Verdict.Confidence))
					lost = 0
					for _, f := range d.Report.Flows[0].Pair.Fates {
						if f.How == Lost && !f.Assumed {
							lost++
						}
					}
				}
			}})
			for i, lines := range [][][]byte{client, c.play(x)} {
				for _, l := range lines {
					if bytes.Contains(l, []byte(`"event":"died"`)) && i == 1 {
						continue // the client alone tells of it
					}
					if err := x.Take(i, l, now); err != nil {
						t.Fatal(err)
					}
				}
				x.End(i)
			}
			x.Finish()
			if len(told) == 0 {
				t.Fatal("nothing was told")
			}
			last := told[len(told)-1]
			if sure := strings.HasSuffix(last, " proven") || strings.HasSuffix(last, " likely"); sure != (c.lost > 0) || lost != c.lost {
				t.Errorf("told %v, %d segments lost, want %d", told, lost, c.lost)
			}
		})
	}
}
