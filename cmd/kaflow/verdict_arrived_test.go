package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kaflow/internal/lab"
)

// outage is inOutage, and then pings arrive again.
func outage(spoken string) string {
	return inOutage(spoken) + "+25s C > S PING 13\n+11ms S > C PONG 13\n+30s C > S PING 14\n+11ms S > C PONG 14\n"
}

// inOutage is probes of the client's and pings beside them, of which none arrives for some minutes. What
// the server sends meanwhile is spoken.
func inOutage(spoken string) string {
	var b strings.Builder
	fmt.Fprint(&b, "+30s C > S PING 1\n+11ms S > C PONG 1\n+30s C > S PING 2\n+11ms S > C PONG 2\n")
	for i := range 5 {
		fmt.Fprintf(&b, "+10s C > S PING %d lost\n+20s C > S ACK seq 156 ack 900 ts %d 46057 lost\n", 3+2*i, 132_000+60_000*i)
		if i == 2 {
			fmt.Fprint(&b, spoken)
		}
		fmt.Fprintf(&b, "+30s C > S PING %d lost\n", 4+2*i)
	}
	fmt.Fprint(&b, "+5s C > S RST,ACK seq 157 ack 900 lost\n")
	return b.String()
}

// What proves that nothing arrived, although later things do.
var outages = []conversation{
	{"pings are lost in a row and cross again, and the server says nothing meanwhile", session + outage(""), "path-cut possible", "-", "-"},
	{"pings are lost in a row and cross again, and so is what the server says", session +
		outage("+1s S > C ACK seq 899 ack 157 ts 250000 42046 lost\n"), "path-cut proven", "-", "-"},
	{"pings are lost until they end, and a probe of the server's crosses later", session + inOutage("") +
		"+60s S > C ACK seq 899 ack 157 ts 450000 42046\n+11ms C > S RST seq 157 win 0 id 0\n", "path-cut possible", "-", "-"},
	{"pings are lost until the captures end", session + inOutage("") + "+60s S > C UDP len 20 lost\n", "path-cut proven", "-", "-"},
	{"one probe is lost before the last ping that crosses, the others behind it", session +
		"+60s C > S ACK seq 156 ack 900 ts 102046 46057 lost\n" + outage(""), "path-cut possible", "-", "-"},
}

// half is a stored set of which one capture lacks what comes from one port from a frame on, or
// all behind one.
type half struct {
	set, end string
	keep     int    // so many frames are whole
	from     uint16 // of what is missing of the others; 0 all
	client   string
	want     string
	says     string
}

// What a capture lacks arrived for all that: its timestamps are echoed, or the other capture goes on.
var halves = []half{
	{"conntrack-flush", lab.AtClient, 18, 7000, "10.1.1.1:55358", "silent-drop proven", ""},
	{"zero-window-stall", lab.AtServer, 27, 56306, "10.1.1.1:56306", "receiver-stalled proven", ""},
	{"carrier-loss-server", lab.AtClient, 77, 0, "10.1.1.1:58342", "closed ", "Both ends closed"},
	{"ssh-app-hung", lab.AtClient, 67, 0, "10.1.1.1:33158", "closed ", "acknowledged"},
	{"ssh-clean-close", lab.AtClient, 50, 0, "", "closed ", "Both ends closed"},
}

func TestWhatOneCaptureLacksMayHaveArrived(t *testing.T) {
	for _, h := range halves {
		dir := filepath.Join("../../testdata/pcaps", h.set)
		captures := []string{filepath.Join(dir, "client.pcap"), filepath.Join(dir, "server.pcap")}
		at := slices.Index([]string{lab.AtClient, lab.AtServer}, h.end)
		frames, err := lab.ReadPcap(captures[at])
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		frames = slices.DeleteFunc(frames, func(f lab.Frame) bool {
			n++
			return n > h.keep && (h.from == 0 || f.TCP && f.Src.Port() == h.from && (f.Src.String() == h.client || f.Dst.String() == h.client))
		})
		captures[at] = filepath.Join(t.TempDir(), filepath.Base(captures[at]))
		if err := lab.WritePcap(captures[at], frames, 65535); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range ask(t, captures...).Flows {
			if h.client == "" || f.Client == h.client {
				found = true
				if got := f.Verdict.ID + " " + f.Verdict.Confidence; got != h.want || !strings.Contains(f.Verdict.Summary, h.says) {
					t.Errorf("%s: %s is %s: %s; want %s: %s", h.set, f.Client, got, f.Verdict.Summary, h.want, h.says)
				}
			}
		}
		if !found {
			t.Errorf("%s: no connection of %s", h.set, h.client)
		}
	}
}
