package dialogue

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// seen is what a frame shows at a glance: milliseconds since the start and the
// TTL or, for what is no IPv4, 0.
type seen struct {
	ms  int64
	ttl uint8
}

func glance(t *testing.T, text, point string) []seen {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := s.Packets(point)
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	for _, f := range frames {
		out = append(out, seen{f.At.Sub(s.start).Milliseconds(), f.Data[14+8]})
	}
	return out
}

const silent = `
delay C 20ms
delay S 30ms
clock server +3s
0      C > S  SYN      seq 99
+1ms   S > C  SYN,ACK  seq 899 ack 100
+1s    C > S  ACK      seq 100 ack 900 lost
+10s   C > S  ACK      seq 99  ack 900 x 2 lost
+0     S > C  RST      seq 900 @client
`

func TestVantagePoints(t *testing.T) {
	for _, c := range []struct {
		point string
		want  []seen
	}{
		{"", []seen{{0, 64}, {1, 64}, {1001, 64}, {11001, 64}, {21001, 64}, {21001, 64}}},
		{Client, []seen{{0, 64}, {31, 63}, {1001, 64}, {11001, 64}, {21001, 64}, {21001, 64}}},
		{Server, []seen{{3001, 64}, {3020, 63}}},
	} {
		if diff := cmp.Diff(c.want, glance(t, silent, c.point), cmp.AllowUnexported(seen{})); diff != "" {
			t.Errorf("at %q (-want +got):\n%s", c.point, diff)
		}
	}
}

func TestCopiesComeAgain(t *testing.T) {
	got := glance(t, "0 C > S ACK seq 1 ack 1 routed 2ms dup 1ms\n+5ms S > C ACK seq 1 ack 1", "")
	want := []seen{{0, 64}, {1, 64}, {2, 63}, {5, 64}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDropHoldsFromItsLineOn(t *testing.T) {
	got := glance(t, "0 C > S ACK seq 1 ack 1\ndrop C\n1s C > S ACK seq 1 ack 1\n2s S > C ACK seq 1 ack 1\ndrop nothing\n3s C > S ACK seq 1 ack 1", Server)
	want := []seen{{0, 63}, {2000, 64}, {3000, 63}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOctetsOfASegment(t *testing.T) {
	s, err := Parse(`link raw` + "\n" + `0 S > C PSH,ACK seq 900 ack 100 id 7 ts 5 6 data "hi"`)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := s.Packets("")
	if err != nil {
		t.Fatal(err)
	}
	want := "45000036" + "00074000" + "40064e84" + "c6336402" + "c0000201" + // IPv4
		"00169c40" + "00000384" + "00000064" + "801801f6" + "7fd30000" + // TCP
		"080a00000005000000060101" + "6869"
	if got := hex.EncodeToString(frames[0].Data); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"0 C > S ACK seq 1":                    "dialogue line 1: the flag ACK and the word ack go together",
		"\n0 C > S ACK ack 1":                  "dialogue line 2: a segment needs seq",
		"0 C > S FOO seq 1":                    `dialogue line 1: "FOO" is no flag and no protocol`,
		"0 C > X RST seq 1":                    `dialogue line 1: no such end in "C > X"`,
		"0 C > S RST seq 1 bogus":              "dialogue line 1: bogus: no such word",
		"0 C > S RST seq 1 @elsewhere":         `dialogue line 1: @elsewhere: no vantage point is called "elsewhere"`,
		"0 C > S RST seq 1 x 3":                "dialogue line 1: x 3 needs a time with a plus sign",
		"link raw\n0 S > C ARP":                "dialogue line 2: ARP needs a link with addresses: ethernet or sll",
		"whatever":                             `dialogue line 1: "whatever" is no directive, no end with an address and no frame`,
		"0 S > C ICMP 3/13 quoting 4":          "dialogue: frame 1 quotes frame 4 of 1",
		`0 C > S ACK seq 1 ack 1 data "broken`: `dialogue line 1: unclosed quote in "broken`,
	} {
		if _, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
}

// everything uses each kind of frame there is.
const everything = `
R 203.0.113.9
C6 [2001:db8::1]:40000 near client
S6 [2001:db8::2]:22 near server
start 2026-03-04T05:06:07Z
0     C > * ARP S
+1ms  S > C ARP
+1ms  C > S SYN seq 99 mss 1460 sackok ts 1 0 wscale 7
+1ms  S > C SYN,ACK seq 899 ack 100 sack 1-2 sack 3-4
+1ms  R > C ICMP 3/13 quoting 3
+1ms  C > S PING 1
+1ms  S > C PONG 1
+1ms  C > S UDP len 21
+1ms  C6 > * ARP S6
+1ms  S6 > C6 ARP
+1ms  C6 > S6 SYN seq 5 vlan 7
+1ms  C6 > S6 PING 2
+1ms  S6 > C6 ICMP 1/4 quoting 11
+1us  S6 > C6 RST seq 1 len 3
+1ns  C > S none seq 5
`

func TestAnIndependentReaderAgrees(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: the encoding is not compared with an independent reader")
	}
	for _, link := range []string{"ethernet", "raw", "sll", "null"} {
		text := "link " + link + "\n" + everything
		if link != "ethernet" {
			text = strings.ReplaceAll(text, "vlan 7", "")
		}
		if link == "raw" || link == "null" { // no neighbours there
			text = strings.NewReplacer("C > * ARP S", "C > S PING 8", "S > C ARP", "S > C PONG 8",
				"C6 > * ARP S6", "C6 > S6 PING 8", "S6 > C6 ARP", "S6 > C6 PONG 8").Replace(text)
		}
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "all.pcap")
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WritePcap(file, ""); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tshark, "-n", "-r", path,
			"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
			"-T", "fields", "-e", "_ws.col.Protocol", "-e", "_ws.expert.message").Output()
		if err != nil {
			t.Fatal(err)
		}
		if bad := strings.ToLower(string(out)); strings.Contains(bad, "bad checksum") || strings.Contains(bad, "malformed") || strings.Contains(bad, "incorrect") {
			t.Errorf("link %s:\n%s", link, out)
		}
		if n := strings.Count(string(out), "\n"); n != 15 {
			t.Errorf("link %s: %d frames, want 15", link, n)
		}
	}
}

func TestStartIsTheFirstFramesTime(t *testing.T) {
	s, err := Parse("start 2026-03-04T05:06:07Z\n0 C > S RST seq 1")
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := s.Packets("")
	want := tcp.Instant(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixNano())
	if frames[0].At != want {
		t.Errorf("at %v, want %v", frames[0].At.Time(), want.Time())
	}
}

func TestTruthOfCopies(t *testing.T) {
	s, err := Parse("0 S > C ACK seq 1 ack 1 dup 1ms = keepalive-probe inferred stream 3")
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := s.Packets("")
	want := []Truth{{"keepalive-probe", "inferred", Server, 3}, {"duplicate", "inferred", Server, 3}}
	if diff := cmp.Diff(want, []Truth{frames[0].Want, frames[1].Want}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
