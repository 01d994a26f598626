package correlate

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// lastVerdict is what two whole streams say in the end of the connection of a
// client.
func lastVerdict(t *testing.T, ends string, client, server [][]byte) (told string) {
	t.Helper()
	x := New([]string{"client", "server"}, Options{Tell: func(d Told) {
		if d.Verdict != nil && d.Client == ends {
			told = d.Verdict.ID + " " + string(d.Verdict.Confidence)
		}
	}})
	for i, lines := range [][][]byte{client, server} {
		for _, l := range lines {
			if err := x.Take(i, l, time.Unix(1_800_000_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
		x.End(i)
	}
	x.Finish()
	return told
}

// Where a stream leaves out segments of another connection of the hosts, it is not
// proven that everything between them stopped.
func TestAPartDoesNotProveThatEverythingStopped(t *testing.T) {
	const dir, ends = "../../testdata/pcaps/ssh-path-cut-syn-lost/", "10.1.1.1:42780"
	client, server := linesOf(t, dir+"client.pcap"), linesOf(t, dir+"server.pcap")
	if got := lastVerdict(t, ends, client, server); got != "path-cut proven" {
		t.Fatalf("of all that was seen: %s", got)
	}
	for _, other := range []string{"10.1.1.1:40001", "10.1.1.9:40001"} {
		leftOut := []byte(fmt.Sprintf(`{"schema":"kaflow/1","type":"segments","vantage":"x","at":"2026-11-21T01:25:00Z","ends":["%s","10.2.2.2:443"],"skipped":99,"segments":[]}`, other))
		want := "path-cut possible"
		if other == "10.1.1.9:40001" {
			want = "path-cut proven" // of other hosts
		}
		if got := lastVerdict(t, ends, append([][]byte{leftOut}, client...), server); got != want {
			t.Errorf("%s is left out: %s, want %s", other, got, want)
		}
	}
}

// What comes after the end of a live watch was not recorded; of a capture that was
// read it is not known when it ended.
func TestAWatchThatHasEndedRecordsNothing(t *testing.T) {
	const dir, ends = "../../testdata/pcaps/ssh-silent-drop/", "10.1.1.1:42802"
	client, server := linesOf(t, dir+"client.pcap"), linesOf(t, dir+"server.pcap")
	var told [][]byte // before anything is asked in vain
	var end []byte
	for _, l := range server {
		switch {
		case bytes.Contains(l, []byte(`"2026-11-21T`)):
		case bytes.Contains(l, []byte(`"complete":`)):
			end = l
		default:
			told = append(told, l)
		}
	}
	for live, sure := range map[string]bool{`"live":true,"end":true`: false, `"live":false,"end":true`: true} {
		last := bytes.Replace(end, []byte(`"live":false,"end":false`), []byte(live), 1)
		got := lastVerdict(t, ends, client, append(slices.Clone(told), last))
		if (got == "silent-drop likely") != sure {
			t.Errorf("%s: %s", live, got)
		}
	}
}

// A death whose segments a pipe holds back is told as that, and by its verdict when
// they come.
func TestADeathBeforeItsSegments(t *testing.T) {
	const dir = "../../testdata/pcaps/ssh-silent-drop/"
	client, server := linesOf(t, dir+"client.pcap"), linesOf(t, dir+"server.pcap")
	var told []string
	x := New([]string{"client", "server"}, Options{Tell: func(d Told) {
		switch {
		case d.What != "died":
		case d.Verdict == nil:
			told = append(told, d.Says)
		default:
			told = append(told, d.Verdict.ID+" "+string(d.Verdict.Confidence))
		}
	}})
	now := time.Unix(1_800_000_000, 0)
	take := func(i int, lines [][]byte, died bool) {
		for _, l := range lines {
			if bytes.Contains(l, []byte(`"event":"died"`)) != died || bytes.Contains(l, []byte(`"event":"probe-lost"`)) {
				continue
			}
			if err := x.Take(i, l, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	take(0, client, true)
	now = now.Add(patience + time.Second)
	x.Look(now)
	if want := "client tells a death, and its stream stands still before the connection's segments: what the other end saw cannot be compared yet"; len(told) != 1 || told[0] != want {
		t.Fatalf("told %q", told)
	}
	take(0, client, false)
	take(1, server, false)
	x.Look(now)
	if len(told) != 2 || told[1] != "silent-drop proven" {
		t.Errorf("told %q", told)
	}
}
