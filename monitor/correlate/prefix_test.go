package correlate_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/monitor/correlate"
)

// What two streams prove does not depend on how much of which has come when it is
// asked: neither misses what it has merely not told as yet. testdata/forgotten is
// what the watches of both ends told, live, when a firewall between them (Linux
// 6.18, nftables) forgot the connection to port 7001, in network namespaces; the
// server's came through ssh, whose connection the streams hold as well.
func TestWhatIsNotToldYetIsNotMissed(t *testing.T) {
	const dying = "198.51.100.2:7001"
	var streams [2][][]byte
	for i, name := range []string{"server", "client"} {
		text, err := os.ReadFile("testdata/forgotten/" + name + ".ndjson")
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	}
	told := 0
	for server := range len(streams[0]) + 1 {
		for client := range len(streams[1]) + 1 {
			c := correlate.New([]string{"server", "client"}, correlate.Options{
				Roles: map[int]uint8{0: flows.Server, 1: flows.Client},
				Tell: func(d correlate.Told) {
					if d.What != monitor.Died || d.Server != dying {
						return
					}
					told++
					if v := d.Verdict; v == nil || v.ID != "silent-drop" || v.Confidence != "proven" || strings.Contains(strings.Join(v.Unknown, " "), "misses") {
						t.Errorf("%d lines of the server's stream and %d of the client's: %+v", server, client, v)
					}
				},
			})
			now := time.Unix(1_700_000_000, 0)
			for _, at := range []int{1, 0} { // a question waits for what the other stream tells behind it
				for _, line := range streams[at][:[]int{server, client}[at]] {
					if err := c.Take(at, line, now); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.Look(now)
		}
	}
	if told == 0 {
		t.Error("the death was never told")
	}
}
