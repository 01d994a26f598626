package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// shared holds captures by others, with the frames that tshark 4.0.17 marks in
// each (frames.tsv). It lies beside the project, or not at all.
const shared = "../../../shared/pcaps"

// marks are the frames of one file by what tshark says of them.
type marks map[uint64]flows.Kind

// tsharkMarks reads frames.tsv.
func tsharkMarks(t *testing.T) map[string]marks {
	t.Helper()
	f, err := os.Open(filepath.Join(shared, "frames.tsv"))
	if err != nil {
		t.Skipf("captures by others are not here: %v", err)
	}
	defer f.Close()
	kinds := []flows.Kind{flows.KeepaliveProbe, flows.KeepaliveACK, flows.ZeroWindowProbe, flows.ZeroWindowACK, flows.RST}
	all := map[string]marks{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		m := marks{}
		for i, kind := range kinds {
			for _, part := range strings.Split(cells[1+i], ",") {
				if part == "-" {
					continue
				}
				from, to, isRange := strings.Cut(part, "-")
				lo, _ := strconv.ParseUint(from, 10, 64)
				hi := lo
				if isRange {
					hi, _ = strconv.ParseUint(to, 10, 64)
				}
				for n := lo; n <= hi; n++ {
					m[n] = kind
				}
			}
		}
		all[cells[0]] = m
	}
	return all
}

// labelled is what kaflow says of one frame, and what it knew of its flow.
type labelled struct {
	flows.Label
	seg    tcp.Segment
	midway bool
	fin    bool // its sender had sent a FIN before
	odd    bool // a packet with nonsense flags came before
}

// labelsOf labels a file as kaflow frames does: two readings.
func labelsOf(t *testing.T, path string) map[uint64]labelled {
	t.Helper()
	set, err := capture.Open(capture.Options{}, "x", path)
	if err != nil {
		return nil
	}
	defer set.Close()
	first := &flows.Table{Options: flows.Options{Learn: true}}
	feed(set, first, nil)
	priors := first.Priors()
	if err := set.Rewind(); err != nil {
		t.Fatal(err)
	}
	out := map[uint64]labelled{}
	begun, odd, fins := map[uint64]bool{}, map[uint64]bool{}, map[[2]uint64]bool{}
	var seg tcp.Segment
	second := &flows.Table{Options: flows.Options{Prior: func(o uint64) *flows.Prior { return priors[o] }}}
	second.Options.Label = func(l flows.Label) {
		if _, seen := begun[l.Stream]; !seen {
			begun[l.Stream] = l.Kind != flows.SYN
		}
		who := [2]uint64{l.Stream, uint64(l.Sender)}
		_, frame := set.Frame(l.Ord)
		out[frame] = labelled{l, seg, begun[l.Stream], fins[who], odd[l.Stream]}
		odd[l.Stream] = odd[l.Stream] || nonsense(seg.Flags)
		fins[who] = fins[who] || l.Kind == flows.FIN
	}
	feed(set, second, &seg)
	return out
}

func feed(set *capture.Set, table *flows.Table, seg *tcp.Segment) {
	var b, one capture.Batch
	for set.Read(&b) != io.EOF {
		if seg == nil {
			table.Add(&b)
			continue
		}
		for i := range b.N { // one by one, so that each label knows its segment
			one.Pkts[0], one.N, one.Buf = b.Pkts[i], 1, b.Buf
			one.Holes = nil
			if i == 0 {
				one.Holes = b.Holes
			}
			*seg = b.Pkts[i].Seg
			table.Add(&one)
		}
	}
}

// explain names the row of the table of misfires (Wireshark's rule against
// what a connection's state tells) that a difference belongs to; "" where it
// belongs to none.
func explain(tshark flows.Kind, l labelled) string {
	switch {
	case l.Kind == flows.Duplicate:
		return "17 copy of a packet"
	case l.Kind == flows.Stale:
		return "15 of an earlier connection"
	case l.Kind == flows.KeepaliveUnclear:
		return "18 one direction only"
	case l.Kind == flows.Unknown, nonsense(l.seg.Flags), l.odd:
		return "field: nonsense flags"
	case l.Kind == flows.ZeroWindowProbe, l.Kind == flows.ZeroWindowACK:
		return "6 window probing"
	case tshark == flows.ZeroWindowProbe:
		return "13 and 6: the octet is data or a repetition"
	case tshark == flows.KeepaliveProbe && l.Kind == flows.Retransmission:
		return "4, 5, 23 repetition"
	case tshark == flows.KeepaliveProbe && l.Kind == flows.OutOfOrder:
		return "12 overtaken"
	case tshark == flows.KeepaliveProbe && l.Kind == flows.ACK && l.fin:
		return "21 teardown"
	case tshark == flows.KeepaliveProbe && l.Kind == flows.ACK && l.midway:
		return "1 nothing shows yet what came before"
	case l.Kind == flows.KeepaliveProbe && (l.Conf == flows.Inferred || l.midway):
		return "1, 2, 3, 11 baseline learned later"
	case l.Kind == flows.KeepaliveACK && l.Answers != 0:
		return "1, 7, 8, 9, 20 answer of an open probe"
	case tshark == flows.KeepaliveACK && l.Kind != flows.KeepaliveACK:
		return "the probe it answers was none"
	}
	return ""
}

// nonsense flags must not move what is expected; Wireshark begins a new
// conversation with them.
func nonsense(f tcp.Flags) bool { return f.Any(tcp.SYN) && f.Any(tcp.FIN|tcp.RST) }

// TestDifferencesToTsharkAreExplained compares frame by frame.
func TestDifferencesToTsharkAreExplained(t *testing.T) {
	reasons := map[string]int{}
	frames, both, unexplained := 0, 0, 0
	for name, tshark := range tsharkMarks(t) {
		mine := labelsOf(t, filepath.Join(shared, name))
		for frame, l := range mine {
			frames++
			said, marked := tshark[frame]
			if said == flows.RST {
				marked = false // counted by the bit, in both
			}
			ours := l.Kind == flows.KeepaliveProbe || l.Kind == flows.KeepaliveACK || l.Kind == flows.ZeroWindowProbe || l.Kind == flows.ZeroWindowACK
			if !marked && !ours {
				continue
			}
			if marked && said == l.Kind {
				both++
				continue
			}
			why := explain(said, l)
			if why == "" {
				unexplained++
				t.Errorf("%s frame %d: kaflow %s (%s), tshark %s, and no row explains it", name, frame, l.Kind, l.Conf, said)
			}
			reasons[why]++
		}
	}
	t.Logf("%d TCP frames in files that tshark marks, %d marked alike, differences by row:", frames, both)
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%6d  %s", reasons[why], why)
	}
}

// TestProbesAreWhatTheKernelCounted holds labels against TCPKeepAlive and
// TCPWinProbe of the kernels that sent them, in the capture beside each.
func TestProbesAreWhatTheKernelCounted(t *testing.T) {
	for _, set := range storedSets(t) {
		for at, end := range set.Truth.Ends {
			var probes, window int
			for _, l := range labelsBy(t, set.Captures[at], end.Address) {
				switch l {
				case flows.KeepaliveProbe:
					probes++
				case flows.ZeroWindowProbe:
					window++
				}
			}
			sent := end.Counters.KeepaliveProbes - end.Unsent.KeepaliveProbes // what met no link is in no capture
			if got, want := fmt.Sprint(probes, window), fmt.Sprint(sent, end.Counters.WindowProbes); got != want && !strings.Contains(filepath.Base(set.Dir), "late") {
				t.Errorf("%s, %s: keepalive and window probes %s, the kernel counted %s", filepath.Base(set.Dir), at, got, want)
			}
		}
	}
}

// labelsBy returns the kinds of what one address sent.
func labelsBy(t *testing.T, path, address string) []flows.Kind {
	t.Helper()
	set, err := capture.Open(capture.Options{}, "x", path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var out []flows.Kind
	var pkt capture.Packet
	table := &flows.Table{}
	table.Options.Label = func(l flows.Label) {
		from := pkt.Key.LoEnd()
		if pkt.Reversed {
			from = pkt.Key.HiEnd()
		}
		if from.Addr().String() == address {
			out = append(out, l.Kind)
		}
	}
	var b, one capture.Batch
	for set.Read(&b) != io.EOF {
		for i := range b.N {
			pkt = b.Pkts[i]
			one.Pkts[0], one.N, one.Buf = pkt, 1, b.Buf
			table.Add(&one)
		}
	}
	return out
}
