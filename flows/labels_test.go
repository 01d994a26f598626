package flows_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/dialogue"
)

// read runs a conversation, as recorded at a vantage point, through a table.
func read(t *testing.T, text, point string, size int, o flows.Options) *flows.Table {
	t.Helper()
	s, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	source, err := s.Source(point, size)
	if err != nil {
		t.Fatal(err)
	}
	table := &flows.Table{Options: o}
	var b capture.Batch
	for {
		if err := source.Read(&b); err == io.EOF {
			return table
		} else if err != nil {
			t.Fatal(err)
		}
		table.Add(&b)
	}
}

// labels gives the final labels of a conversation, as `kaflow frames` finds
// them: by a second reading that knows what the first one learned.
func labels(t *testing.T, text string) []string {
	t.Helper()
	first := read(t, text, "", 64, flows.Options{Learn: true})
	priors := first.Priors()
	var got []string
	read(t, text, "", 64, flows.Options{
		Prior: func(ord uint64) *flows.Prior { return priors[ord] },
		Label: func(l flows.Label) {
			got = append(got, fmt.Sprintf("#%d stream %d %s", l.Ord, l.Stream, l.Kind))
		},
	})
	return got
}

// sameLabels compares the labels of a conversation of one connection with those wanted.
func sameLabels(t *testing.T, text, kinds string) {
	t.Helper()
	var want []string
	for i, kind := range strings.Fields(kinds) {
		want = append(want, fmt.Sprintf("#%d stream 0 %s", i+1, kind))
	}
	if diff := cmp.Diff(want, labels(t, text)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

const opening = `
0     C > S SYN     seq 99  mss 1460 sackok wscale 7
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok wscale 7
+1ms  C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data "hello"
+10ms S > C ACK     seq 900 ack 105
`

func TestLabelsOfAConversation(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"probe and answer", opening + `
+60s C > S ACK seq 104 ack 900
+10ms S > C ACK seq 900 ack 105
`, "syn syn-ack ack data ack keepalive-probe keepalive-ack"},
		{"answers that come when their end has given up", opening + `
+60s  C > S ACK     seq 104 ack 900
+1s   C > S ACK     seq 104 ack 900
+1s   C > S RST,ACK seq 105 ack 900
+19s  S > C ACK     seq 900 ack 105
+1ms  S > C ACK     seq 900 ack 105
`, "syn syn-ack ack data ack keepalive-probe keepalive-probe rst ack ack"},
		{"answers with the numbers of another place", opening + `
+60s  C > S ACK     seq 104 ack 900
+10ms S > C ACK     seq 1700000000 ack 300000000
+1ms  C > S ACK     seq 105 ack 900
+75s  C > S ACK     seq 104 ack 900
+10ms S > C ACK     seq 1700000000 ack 300000000
+75s  C > S RST,ACK seq 105 ack 900
`, "syn syn-ack ack data ack keepalive-probe ack ack keepalive-probe ack rst"},
		{"both ends have sent much that the capture lacks", opening + `
+60s  S > C PSH,ACK seq 500000900 ack 300000105 data "then"
+10ms C > S ACK     seq 300000105 ack 500000904
+60s  C > S ACK     seq 300000104 ack 500000904
+10ms S > C ACK     seq 500000904 ack 300000105
`, "syn syn-ack ack data ack unknown ack keepalive-probe keepalive-ack"},
		{"capture starts in the silence", `
0 C > S ACK seq 104 ack 900
+10ms S > C ACK seq 900 ack 105
+60s C > S ACK seq 104 ack 900
+10ms S > C ACK seq 900 ack 105
`, "keepalive-probe keepalive-ack keepalive-probe keepalive-ack"},
		{"unanswered, then the RST tells", `
0 C > S ACK seq 104 ack 900
+75s C > S ACK seq 104 ack 900
+75s C > S ACK seq 104 ack 900
+75s C > S RST,ACK seq 105 ack 900
`, "keepalive-probe keepalive-probe keepalive-probe rst"},
		{"both ends probe at once", opening + `
+60s C > S ACK seq 104 ack 900
+2ms S > C ACK seq 899 ack 105
+10ms S > C ACK seq 900 ack 105
+1ms C > S ACK seq 105 ack 900
`, "syn syn-ack ack data ack keepalive-probe keepalive-probe keepalive-ack keepalive-ack"},
		{"last octet sent again, not acknowledged", opening + `
+1s C > S PSH,ACK seq 105 ack 900 data "x"
+300ms C > S PSH,ACK seq 105 ack 900 data "x"
+600ms C > S PSH,ACK seq 105 ack 900 data "x"
`, "syn syn-ack ack data ack data retransmission retransmission"},
		{"a card hands the answer over before the SYN", `
0     S > C SYN,ACK seq 899 ack 100 mss 1460
+0    C > S SYN     seq 99  mss 1460
+11ms C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 len 5
+10ms S > C ACK     seq 900 ack 105
`, "syn-ack syn ack data ack"},
		{"window probes double their distance", opening + `
+1s S > C ACK seq 900 ack 105 win 0
+220ms C > S ACK seq 104 ack 900
+1ms S > C ACK seq 900 ack 105 win 0
+430ms C > S ACK seq 104 ack 900
+860ms C > S ACK seq 104 ack 900
+1ms S > C ACK seq 900 ack 105 win 0
`, "syn syn-ack ack data ack window-update zero-window-probe zero-window-ack zero-window-probe zero-window-probe zero-window-ack"},
		{"a program beats inside TLS at one pace, told from the first one on", `
0     C > S SYN     seq 99
+1ms  S > C SYN,ACK seq 899 ack 100
+1ms  C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data 160301000401000000
+1ms  S > C PSH,ACK seq 900 ack 109 data 160303000402000000
+1ms  C > S ACK     seq 109 ack 909
+20s  C > S PSH,ACK seq 109 ack 909 data 1703030011aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
+1ms  S > C PSH,ACK seq 909 ack 131 data 1703030011bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
+1ms  C > S ACK     seq 131 ack 931
+20s  C > S PSH,ACK seq 131 ack 931 data 1703030011aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
+1ms  S > C PSH,ACK seq 931 ack 153 data 1703030011bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
+1ms  C > S ACK     seq 153 ack 953
+20s  C > S PSH,ACK seq 153 ack 953 data 1703030011aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
+1ms  S > C PSH,ACK seq 953 ack 175 data 1703030011bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
+1ms  C > S ACK     seq 175 ack 975
+7s   C > S PSH,ACK seq 175 ack 975 data 1703030100cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
`, "syn syn-ack ack data data ack heartbeat heartbeat-reply ack heartbeat heartbeat-reply ack heartbeat heartbeat-reply ack data"},
		{"ssh beats at one pace, told from the first one on", `
0     C > S SYN     seq 99  mss 1460 sackok
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok
+1ms  C > S ACK     seq 100 ack 900
+1ms  S > C PSH,ACK seq 900 ack 100 data "SSH-2.0-OpenSSH_9.7\r\n"
+1ms  C > S ACK     seq 100 ack 921
+15s  C > S PSH,ACK seq 100 ack 921 len 52
+10ms S > C PSH,ACK seq 921 ack 152 len 28
+1ms  C > S ACK     seq 152 ack 949
+15s  C > S PSH,ACK seq 152 ack 949 len 52
+10ms S > C PSH,ACK seq 949 ack 204 len 28
+1ms  C > S ACK     seq 204 ack 977
+15s  C > S PSH,ACK seq 204 ack 977 len 52
+10ms S > C PSH,ACK seq 977 ack 256 len 28
+1ms  C > S ACK     seq 256 ack 1005
+7s   C > S PSH,ACK seq 256 ack 1005 len 36
`, "syn syn-ack ack data ack heartbeat heartbeat-reply ack heartbeat heartbeat-reply ack heartbeat heartbeat-reply ack data"},
		{"somebody types into ssh, at no pace", `
0     C > S SYN     seq 99  mss 1460 sackok
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok
+1ms  C > S ACK     seq 100 ack 900
+1ms  S > C PSH,ACK seq 900 ack 100 data "SSH-2.0-OpenSSH_9.7\r\n"
+1ms  C > S ACK     seq 100 ack 921
+3s   C > S PSH,ACK seq 100 ack 921 len 52
+9s   C > S PSH,ACK seq 152 ack 921 len 52
+4s   C > S PSH,ACK seq 204 ack 921 len 52
+13s  C > S PSH,ACK seq 256 ack 921 len 52
`, "syn syn-ack ack data ack data data data data"},
	} {
		t.Run(c.name, func(t *testing.T) { sameLabels(t, c.text, c.want) })
	}
}

// A device that begins with the same number after each start: the SYN that its old
// connection challenged is sent again behind the RST, and answered with another number.
func TestSameNumberBehindARST(t *testing.T) {
	const restarted = opening + `
+60s  C > S SYN     seq 99  mss 1460
+10ms S > C ACK     seq 900 ack 105
+1ms  C > S RST     seq 105
+1s   C > S SYN     seq 99  mss 1460
`
	for _, c := range []struct{ name, text, want string }{
		{"another number of the server's", restarted + `
+10ms S > C SYN,ACK seq 4999 ack 100 mss 1460
+1ms  C > S ACK     seq 100 ack 5000
+60s  C > S ACK     seq 99  ack 5000
+10ms S > C ACK     seq 5000 ack 100
`, "#9 stream 1 syn #10 stream 1 syn-ack #11 stream 1 ack #12 stream 1 keepalive-probe #13 stream 1 keepalive-ack"},
		{"refused", restarted + `
+10ms S > C RST,ACK seq 0 ack 100 win 0
`, "#9 stream 0 syn #10 stream 0 rst"},
	} {
		got := strings.Join(labels(t, c.text), " ")
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: labels %s, want %s at the end", c.name, got, c.want)
		}
	}
}

func TestStoryFoldsAnsweredProbes(t *testing.T) {
	var text strings.Builder
	text.WriteString(opening)
	for range 1000 {
		text.WriteString("+60s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n")
	}
	text.WriteString("+60s C > S ACK seq 104 ack 900\n+75s C > S ACK seq 104 ack 900\n")
	for _, size := range []int{1, 7, 64} {
		table := read(t, text.String(), "", size, flows.Options{})
		for id := range table.Flows() {
			f, _ := table.Flow(id)
			var got []string
			for _, ev := range f.Events {
				s := fmt.Sprintf("#%d-%d %s", ev.Ord, ev.EndOrd(), ev.Kind)
				if ev.Run != nil {
					s += fmt.Sprint(" ", ev.Run.Count)
				}
				got = append(got, s)
			}
			want := []string{"#1-1 syn", "#2-2 syn-ack", "#3-5 data [2 1]", "#6-2005 keepalive-probe [1000 1000]", "#2006-2006 keepalive-probe", "#2007-2007 keepalive-probe"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("batches of %d (-want +got):\n%s", size, diff)
			}
			if f.Sides[0].Probes != 1002 || f.Sides[0].Answered != 1000 || f.Sides[0].Unanswered != 2 {
				t.Errorf("probes %+v", f.Sides[0])
			}
		}
	}
}

func TestWrongChecksumIsANoteAndNoFault(t *testing.T) {
	table := read(t, opening+"+60s C > S ACK seq 104 ack 900 badsum\n+10ms S > C ACK seq 900 ack 105\n", "", 64, flows.Options{})
	for id := range table.Flows() {
		f, _ := table.Flow(id)
		for _, ev := range f.Events {
			if wrong := ev.Note&flows.NoteBadSum != 0; wrong != (ev.Ord == 6) || ev.Ord == 6 && ev.Kind != flows.KeepaliveProbe {
				t.Errorf("#%d %s: wrong checksum %v", ev.Ord, ev.Kind, wrong)
			}
		}
	}
}

func TestSameAddressesOnTwoWaysAreTwoConversations(t *testing.T) {
	for name, ways := range map[string][4]string{
		"VLANs":                    {"vlan 10", "vlan 20", "vlan 10", "vlan 20"},
		"tunnels":                  {"teid 10", "teid 20", "teid 11", "teid 21"}, // GTP-U numbers each direction
		"one of them in no tunnel": {"vlan 10", "", "vlan 10", ""},
	} {
		t.Run(name, func(t *testing.T) { twoConversations(t, ways) })
	}
}

// twoConversations checks that those of one pair of ends are told apart that go
// ways[0] and ways[1], with the answers coming ways[2] and ways[3].
func twoConversations(t *testing.T, ways [4]string) {
	const vlans = `
0     C > S SYN     seq 99  vlan 10
+1ms  C > S SYN     seq 700000099 vlan 20
+10ms S > C SYN,ACK seq 899 ack 100 vlan 10
+1ms  S > C SYN,ACK seq 900000899 ack 700000100 vlan 20
+1ms  C > S ACK     seq 100 ack 900 vlan 10
+1ms  C > S ACK     seq 700000100 ack 900000900 vlan 20
+1ms  C > S PSH,ACK seq 100 ack 900 vlan 10 data "hello"
+1ms  C > S PSH,ACK seq 700000100 ack 900000900 vlan 20 data "hi"
+10ms S > C ACK     seq 900 ack 105 vlan 10
+1ms  S > C ACK     seq 900000900 ack 700000102 vlan 20
+60s  C > S ACK     seq 104 ack 900 vlan 10
+1ms  C > S ACK     seq 700000101 ack 900000900 vlan 20
+10ms S > C ACK     seq 900 ack 105 vlan 10
+1ms  S > C ACK     seq 900000900 ack 700000102 vlan 20
`
	lines := strings.Split(vlans, "\n")
	for i, line := range lines {
		from, to := "vlan 10", ways[0]
		if strings.Contains(line, "S > C") {
			to = ways[2]
		}
		if strings.Contains(line, "vlan 20") {
			from, to = "vlan 20", map[string]string{ways[0]: ways[1], ways[2]: ways[3]}[to]
		}
		lines[i] = strings.Replace(line, from, to, 1)
	}
	text := strings.Join(lines, "\n")
	var want []string
	for i, kind := range strings.Fields("syn syn syn-ack syn-ack ack ack data data ack ack keepalive-probe keepalive-probe keepalive-ack keepalive-ack") {
		want = append(want, fmt.Sprintf("#%d stream %d %s", i+1, i%2, kind))
	}
	if diff := cmp.Diff(want, labels(t, text)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	n := 0
	table := read(t, text, "", 64, flows.Options{})
	for id := range table.Flows() {
		if f, _ := table.Flow(id); f.Split {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d flows are said to be split, want both", n)
	}
}

func TestOneConversationMayChangeItsVLAN(t *testing.T) {
	var got []string
	for _, l := range labels(t, strings.ReplaceAll(opening, "seq 100 ack 900\n", "seq 100 ack 900 vlan 7\n")+"+60s C > S ACK seq 104 ack 900 vlan 8\n+10ms S > C ACK seq 900 ack 105 vlan 9\n") {
		got = append(got, strings.Fields(l)[2]+" "+strings.Fields(l)[3])
	}
	want := []string{"0 syn", "0 syn-ack", "0 ack", "0 data", "0 ack", "0 keepalive-probe", "0 keepalive-ack"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
