package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/internal/golden"
	"kaflow/pairing"
)

// pages are the ways in which the golden files are written.
var pages = map[string]Options{
	"60": {Width: 60}, "80": {Width: 80}, "100": {}, "160": {Width: 160}, "ascii": {ASCII: true}, "colour": {Color: true},
}

func TestTextIsWhatTheUserReads(t *testing.T) {
	for name, r := range reports() {
		for page, o := range pages {
			t.Run(name+"-"+page, func(t *testing.T) {
				golden.Compare(t, fmt.Sprintf("%s-%s.txt", name, page), written(t, func(b *bytes.Buffer) error { return Text(b, r, o) }))
			})
		}
	}
}

func written(t *testing.T, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestNoLineIsWiderThanThePage(t *testing.T) {
	for name, r := range reports() {
		for _, w := range []int{40, 50, 60, 70, 75, 80, 84, 90, 100, 120, 160, 250} {
			for _, o := range []Options{{Width: w}, {Width: w, ASCII: true}, {Width: w, All: true}, {Width: w, Color: true}} {
				text := written(t, func(b *bytes.Buffer) error { return Text(b, r, o) })
				text = append(text, written(t, func(b *bytes.Buffer) error { return Flows(b, r, o) })...)
				for l := range strings.Lines(colours.ReplaceAllString(string(text), "")) {
					l = strings.TrimSuffix(l, "\n")
					if width(l) > w {
						t.Errorf("%s, %+v: %d columns: %q", name, o, width(l), l)
					}
					if strings.TrimRight(l, " ") != l {
						t.Errorf("%s, %+v: trailing blanks: %q", name, o, l)
					}
				}
			}
		}
	}
}

func TestColourOnlyRepeatsTheWords(t *testing.T) {
	for name, r := range reports() {
		without := written(t, func(b *bytes.Buffer) error { return Text(b, r, Options{}) })
		with := written(t, func(b *bytes.Buffer) error { return Text(b, r, Options{Color: true}) })
		if bare := colours.ReplaceAll(with, nil); !bytes.Equal(bare, without) {
			t.Errorf("%s: the words differ with colour", name)
		}
		if len(r.Flows) > 0 && bytes.Equal(with, without) {
			t.Errorf("%s: no colour where it was asked for", name)
		}
	}
}

func TestASCIIHoldsNothingElse(t *testing.T) {
	for name, r := range reports() {
		r.Hints = append(r.Hints, "a → b, 日本語, 9 × 75 s")
		o := Options{ASCII: true}
		for format, write := range writers(o) {
			for i, c := range written(t, func(b *bytes.Buffer) error { return write(b, r) }) {
				if c > 0x7e {
					t.Errorf("%s as %s: octet %#x at %d", name, format, c, i)
					break
				}
			}
		}
	}
}

func TestVerdictComesFirst(t *testing.T) {
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, silentDrop(), Options{}) }))
	first, rest, _ := strings.Cut(text, "\n")
	if want := "SILENT DROP between client.pcap and server.pcap" + strings.Repeat(" ", 47) + "proven"; first != want {
		t.Errorf("first line %q, want %q", first, want)
	}
	second, _, _ := strings.Cut(rest, "\n")
	if want := "192.0.2.10:51234 → 198.51.100.22:22   ssh   flow 1 of 1"; second != want {
		t.Errorf("second line %q, want %q", second, want)
	}
}

func TestTimesAreInTheZoneThatWasAskedFor(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, silentDrop(), Options{Location: zone}) }))
	for _, want := range []string{"2026-11-20 CET\n", "19:31:09.480  #119", "first lost: #119 of client.pcap, keepalive-probe, 19:31:09.480"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if unnamed := zoneOf(time.FixedZone("", 3*3600+1800)); unnamed != "UTC+03:30" {
		t.Errorf("a zone without a name reads %q, want UTC+03:30", unnamed)
	}
}

func zoneOf(l *time.Location) string { return zone(at("12:00:00.000").Time().In(l)) }

func TestOneFlowAloneWhereItIsAskedFor(t *testing.T) {
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, manyFlows(), Options{Flow: 7}) }))
	if !strings.Contains(text, "flow 7 of 134") || strings.Contains(text, "flow 1 of") || strings.Contains(text, "--all") {
		t.Errorf("--flow 7 gives\n%s", text)
	}
	err := Text(&bytes.Buffer{}, manyFlows(), Options{Flow: 99})
	if want := "flow 99 is not in the report, which lists 31 flows"; err == nil || err.Error() != want {
		t.Errorf("--flow 99: error %v, want %q", err, want)
	}
}

func TestAllFlowsInFull(t *testing.T) {
	text := written(t, func(b *bytes.Buffer) error { return Text(b, manyFlows(), Options{All: true}) })
	if n := bytes.Count(text, []byte(" of 134\n")); n != 31 {
		t.Errorf("--all shows %d flows in full, want 31", n)
	}
}

func TestBannersCanBeLeftOut(t *testing.T) {
	r := silentDrop()
	for format, write := range writers(Options{NoBanner: true}) {
		if text := written(t, func(b *bytes.Buffer) error { return write(b, r) }); bytes.Contains(text, []byte("OpenSSH_9")) {
			t.Errorf("%s shows a banner", format)
		}
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrorsAreTold(t *testing.T) {
	r := silentDrop()
	for name, err := range map[string]error{
		"Text": Text(fullDisk{}, r, Options{}), "Flows": Flows(fullDisk{}, r, Options{}), "FlowsTSV": FlowsTSV(fullDisk{}, r, Options{}),
		"FlowsNDJSON": FlowsNDJSON(fullDisk{}, r, Options{}), "JSON": JSON(fullDisk{}, r, Options{}), "NDJSON": NDJSON(fullDisk{}, r, Options{}),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s gives %v, want %v", name, err, errFull)
		}
	}
}

// Diagnoses are not made for a reader who is gone.
func TestWriteErrorsEndWhatIsMadeOnTheWay(t *testing.T) {
	r := manyFlows()
	made := 0
	r.Rest = func(yield func(*analyzer.Diagnosis) bool) {
		for made < 1000 && yield(&r.Flows[0]) {
			made++
		}
	}
	for name, write := range map[string]func(io.Writer, *analyzer.Report, Options) error{"text": Text, "ndjson": FlowsNDJSON} {
		made = 0
		if err := write(fullDisk{}, r, Options{All: true}); !errors.Is(err, errFull) || made >= 100 {
			t.Errorf("%s gives %v after %d diagnoses", name, err, made)
		}
	}
}

func TestMomentsAreThoseOfTheTimeline(t *testing.T) {
	r := silentDrop()
	v := &r.Flows[0].Verdict
	v.LastCrossed = cell(1, 117, flows.ACK, "16:31:07.233").Ref // its own clock is a second behind
	v.FirstLost = frameAt(1, 999, flows.KeepaliveProbe, "18:31:09.611")
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, r, Options{Width: 160}) }))
	for _, want := range []string{
		"last across: #117 of server.pcap, ack, 16:31:07.233\n",
		"first lost: #999 of server.pcap, keepalive-probe, 18:31:09.611 by its own clock, after 2h00m02s of silence\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestOneMeasurementForSeveralReadingsStandsOnce(t *testing.T) {
	r := undecided()
	for i := range r.Flows[0].Hypotheses[:2] {
		r.Flows[0].Hypotheses[i].Next = "ping the server"
	}
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, r, Options{}) }))
	if n := strings.Count(text, "ping the server"); n != 1 || !strings.Contains(text, " to decide: ping the server\n") {
		t.Errorf("the measurement stands %d times in\n%s", n, text)
	}
}

func TestFlowsTakeALineEachWhereATerminalHasRoom(t *testing.T) {
	r := manyFlows()
	for _, w := range []int{60, 80, 100, 200} {
		text := string(written(t, func(b *bytes.Buffer) error { return Flows(b, r, Options{Width: w}) }))
		for _, d := range r.Flows {
			line := regexp.MustCompile(fmt.Sprintf("(?m)^%d +%s .*%s", d.ID, d.Client, d.Verdict.ID))
			if !line.MatchString(text) {
				t.Errorf("width %d: no line of its own for flow %d in\n%s", w, d.ID, text)
				break
			}
		}
	}
}

func TestARunEndsUnderTheFrameThatEndedIt(t *testing.T) {
	r := silentDrop()
	run := &r.Flows[0].Timeline[2]
	run.From, run.Cells[1].Last = flows.Server, pairing.Ref{}
	text := string(written(t, func(b *bytes.Buffer) error { return Text(b, r, Options{}) }))
	if !strings.Contains(text, "16:31:07.190  #117  the last of them\n") {
		t.Errorf("the end of the run stands elsewhere in\n%s", text)
	}
}

// Diagnoses that are made on the way are written as those that the report holds.
func TestFlowsThatAreNotKeptAreWrittenToo(t *testing.T) {
	o := Options{All: true}
	for name, write := range map[string]func(io.Writer, *analyzer.Report, Options) error{"text": Text, "ndjson": NDJSON, "json": JSON, "tsv": FlowsTSV} {
		whole, parted := manyFlows(), manyFlows()
		whole.Unasked = []analyzer.Unasked{{Rule: "known-at-the-end", Why: "of all flows"}}
		rest := parted.Flows[5:]
		parted.Flows = parted.Flows[:5]
		parted.Rest = func(yield func(*analyzer.Diagnosis) bool) {
			for i := range rest {
				if !yield(&rest[i]) {
					return
				}
			}
			parted.Unasked = whole.Unasked
		}
		want := written(t, func(b *bytes.Buffer) error { return write(b, whole, o) })
		got := written(t, func(b *bytes.Buffer) error { return write(b, parted, o) })
		if len(rest) == 0 || !bytes.Equal(want, got) {
			t.Errorf("%s of flows of which %d are not kept:\n%s\nwant:\n%s", name, len(rest), got, want)
		}
		one := written(t, func(b *bytes.Buffer) error { return write(b, parted, Options{All: true, Flow: 2}) })
		if name == "text" && bytes.Count(one, []byte(" of 134\n")) != 1 {
			t.Errorf("%s of flow 2 alone:\n%s", name, one)
		}
	}
}
