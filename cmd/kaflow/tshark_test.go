package main

import (
	"bytes"
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kaflow/flows"
)

// seen is what a tshark run says of one TCP frame.
type seen struct {
	stream int
	kind   flows.Kind
	marked bool
	quote  bool // within an ICMP error
}

// tsharkOf asks the tshark that is installed about each TCP frame of a file.
func tsharkOf(t *testing.T, path string) map[uint64]seen {
	t.Helper()
	fields := []string{
		"frame.number", "tcp.stream", "tcp.analysis.keep_alive", "tcp.analysis.keep_alive_ack", "tcp.analysis.zero_window_probe",
		"tcp.analysis.zero_window_probe_ack", "icmp.type", "icmpv6.type",
	}
	args := []string{"-n", "-r", path, "-Y", "tcp", "-T", "fields", "-E", "occurrence=l"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil && len(out) == 0 {
		return nil // a container that this tshark does not read
	}
	kinds := []flows.Kind{flows.KeepaliveProbe, flows.KeepaliveACK, flows.ZeroWindowProbe, flows.ZeroWindowACK}
	frames := map[uint64]seen{}
	for line := range bytes.Lines(out) {
		c := strings.Split(strings.TrimRight(string(line), "\n"), "\t")
		n, err := strconv.ParseUint(c[0], 10, 64)
		if err != nil || len(c) != len(fields) {
			t.Fatalf("%s: tshark says %q", path, line)
		}
		s := seen{quote: c[6] != "" || c[7] != "", stream: -1}
		if stream, err := strconv.Atoi(c[1]); err == nil {
			s.stream = stream
		}
		for i, kind := range kinds {
			if c[2+i] != "" {
				s.kind, s.marked = kind, true
			}
		}
		frames[n] = s
	}
	return frames
}

// differently are captures where Wireshark and kaflow do not see a connection
// begin at the same frame.
var differently = map[string]string{
	"tcpdump__tests_geneve.pcap": "Wireshark 4.0 takes connections of two overlays for one",
	"zeek__connkey-vxlan-fivetuple-plugin-src_Traces_vxlan-overlapping-http-get.pcap": "the same",
}

// TestStreamsAndMarksAgreeWithTshark runs tshark over the captures at hand. A
// connection has the number of Wireshark's tcp.stream, but for those that
// Wireshark counts and that are none: quotes in ICMP errors and frames without
// a whole header. A mark that differs belongs to a row of the misfires.
func TestStreamsAndMarksAgreeWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	own, err := filepath.Glob("../../testdata/pcaps/*/*.pcap*")
	if err != nil || len(own) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	others, err := filepath.Glob(filepath.Join(shared, "*"))
	if err != nil {
		t.Fatal(err)
	}
	const small = 64 << 10 // tshark takes minutes over all
	for _, path := range append(own, slices.DeleteFunc(others, func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || info.IsDir() || info.Size() > small || strings.HasSuffix(path, ".tsv")
	})...) {
		t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if why := differently[filepath.Base(path)]; why != "" {
				t.Skip(why)
			}
			agree(t, tsharkOf(t, path), labelsOf(t, path))
		})
	}
}

func agree(t *testing.T, theirs map[uint64]seen, ours map[uint64]labelled) {
	t.Helper()
	rank := ranks(theirs, ours)
	for _, frame := range slices.Sorted(maps.Keys(ours)) {
		l, s := ours[frame], theirs[frame]
		if !l.odd && s.stream >= 0 && !s.quote && rank[s.stream] != int(l.Stream) {
			t.Errorf("frame %d: stream %d, by Wireshark's tcp.stream %d, the %d. of those that both count", frame, l.Stream, s.stream, rank[s.stream])
		}
		if why := explain(s.kind, l); why == "" && (s.marked && s.kind != l.Kind) {
			t.Errorf("frame %d: kaflow %s (%s), tshark %s, and no row explains it", frame, l.Kind, l.Conf, s.kind)
		}
	}
}

// ranks numbers Wireshark's streams without those that begin in a frame which
// kaflow does not count.
func ranks(theirs map[uint64]seen, ours map[uint64]labelled) map[int]int {
	begins := map[int]uint64{}
	for frame, s := range theirs {
		if _, counted := ours[frame]; !counted || s.quote {
			continue
		}
		if first, known := begins[s.stream]; !known || frame < first {
			begins[s.stream] = frame
		}
	}
	order := slices.SortedFunc(maps.Keys(begins), func(a, b int) int { return cmp.Compare(begins[a], begins[b]) })
	rank := map[int]int{}
	for i, stream := range order {
		rank[stream] = i
	}
	return rank
}
