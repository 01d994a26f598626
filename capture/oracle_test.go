package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"kaflow/tcp"
)

// sharedPcaps returns the directory of captures made by others, or skips.
func sharedPcaps(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "pcaps")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the captures made by others are not there: not compared with tshark")
	}
	return dir
}

// expected is a row of expected.tsv, what tshark says of a file.
type expected struct {
	file    string
	packets uint64
	status  string
}

func expectedRows(t testing.TB, dir string) (rows []expected) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	columns := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if len(columns) == 0 {
			for i, name := range fields {
				columns[name] = i
			}
			continue
		}
		packets, err := strconv.ParseUint(fields[columns["packets"]], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, expected{fields[columns["file"]], packets, fields[columns["status"]]})
	}
	return rows
}

// drain reads a set to its end and returns what it knows of its only file.
func drain(t testing.TB, s *Set) File {
	t.Helper()
	var b Batch
	for {
		err := s.Read(&b)
		if errors.Is(err, io.EOF) {
			return s.Files()[len(s.Files())-1]
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// otherThanTshark are files of which tshark reads other frames, and why.
var otherThanTshark = map[string]string{
	"python-pcapng__test_data_test006.ntar":        "block length 167 is not of whole words: tshark rounds it up, we stop",
	"suricata-verify__tests_bug-6875-01_fuzz.pcap": "tshark takes the damaged file for another variant of pcap and reads 1 octet of payload as a frame",
	"zeek__Traces_krb_kerberos_tso.pcapng":         "tshark reads all frames and ends with an odd status",
}

func TestFrameCountsAreTsharks(t *testing.T) {
	dir := sharedPcaps(t)
	for _, row := range expectedRows(t, dir) {
		s, err := Open(Options{}, "", filepath.Join(dir, row.file))
		if err != nil {
			t.Errorf("%s: %v (tshark: %d packets, %s)", row.file, err, row.packets, row.status)
			continue
		}
		f := drain(t, s)
		s.Close()
		switch {
		case otherThanTshark[row.file] != "":
			t.Logf("%s: %d frames, tshark %d: %s", row.file, f.Frames, row.packets, otherThanTshark[row.file])
		case row.status == "unsupported": // tshark doesn't know the link type; the records are fine
		case f.Frames != row.packets:
			t.Errorf("%s: %d frames, tshark has %d (%s); problems %v", row.file, f.Frames, row.packets, row.status, f.Problems)
		case f.Complete != (row.status == "ok"):
			t.Errorf("%s: complete %v, tshark says %s; problems %v", row.file, f.Complete, row.status, f.Problems)
		}
	}
}

// otherTimes are files of which capinfos tells other times, and why.
var otherTimes = map[string]string{
	"ntopng__corpus_fuzz_dissect_packet_atm-heapoverflow.pcap":                                                    manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_babel_update_oobr.pcap":                                                   manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_bgp-bgp_capabilities_print-oobr-2.pcap":                                   manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_heap-overflow-1.pcap":                                                     manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_heapoverflow-atalk_2.pcap":                                                manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_heapoverflow-atalk_print.pcap":                                            manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_isis_stlv_asan.pcap":                                                      manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_pktap-heap-overflow.pcap":                                                 manyMicros,
	"ntopng__corpus_fuzz_dissect_packet_slip-sliplink_print-oobr.pcap":                                            manyMicros,
	"PcapPlusPlus__RegressionTests_regression_samples_clusterfuzz-testcase-minimized-FuzzTarget-4829420752470016": manyMicros,
	"PcapPlusPlus__RegressionTests_regression_samples_clusterfuzz-testcase-minimized-FuzzTarget-4981601846820864": manyMicros,
	"PcapPlusPlus__RegressionTests_regression_samples_clusterfuzz-testcase-minimized-FuzzTarget-5114733584449536": manyMicros,
	"PcapPlusPlus__RegressionTests_regression_samples_clusterfuzz-testcase-minimized-FuzzTarget-5669109772845056": manyMicros,
	"suricata-verify__tests_transform-base64-7296_input.pcap":                                                     manyMicros,
	"tcpdump__tests_timestamp_invalid_nano.pcap":                                                                  manyMicros,
	"PcapFlowLab__parsing_gtpu_25_gtpu_outer_tagged_contexts.pcap":                                                zeroTime,
	"PcapPlusPlus__Packet_Test_PacketExamples_dns_over_tcp.pcapng":                                                zeroTime,
	"PcapPlusPlus__Pcap_Test_PcapExamples_pcapng-example.pcapng":                                                  "times after 2262 saturate",
}

const (
	manyMicros = "a fraction of more than a second: Wireshark shows it unnormalised or wrapped at 32 bits"
	zeroTime   = "time 0 is not known"
)

func TestTimesAreCapinfos(t *testing.T) {
	dir := sharedPcaps(t)
	capinfos, err := exec.LookPath("capinfos")
	if err != nil {
		t.Skip("capinfos is not installed: times not compared")
	}
	args := []string{"-T", "-m", "-r", "-Q", "-N", "-S", "-a", "-e"}
	for _, row := range expectedRows(t, dir) {
		if row.status == "ok" && otherThanTshark[row.file] == "" && otherTimes[row.file] == "" {
			args = append(args, filepath.Join(dir, row.file))
		}
	}
	out, err := exec.Command(capinfos, args...).Output()
	if err != nil {
		t.Fatalf("capinfos: %v", err)
	}
	compared := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 3 || fields[1] == "n/a" {
			t.Logf("no times: %q", fields)
			continue
		}
		s, err := Open(Options{}, "", fields[0])
		if err != nil {
			t.Error(err)
			continue
		}
		f := drain(t, s)
		s.Close()
		if first, last := epoch(f.First), epoch(f.Last); first != nanos(fields[1]) || last != nanos(fields[2]) {
			t.Errorf("%s: %s to %s, capinfos has %s to %s", filepath.Base(fields[0]), first, last, fields[1], fields[2])
		}
		compared++
	}
	if compared < 200 {
		t.Errorf("only %d files compared", compared)
	}
}

// nanos pads seconds with a fraction, as precise as the file's, to nanoseconds.
func nanos(seconds string) string {
	if whole, fraction, some := strings.Cut(seconds, "."); some {
		return whole + "." + (fraction + "000000000")[:9]
	}
	return seconds + ".000000000"
}

// epoch writes an instant as seconds with nanoseconds.
func epoch(at tcp.Instant) string { return fmt.Sprintf("%d.%09d", at/1e9, at%1e9) }
