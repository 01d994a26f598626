package correlate_test

import (
	"bytes"
	"os"
	"regexp"
	"slices"
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

// A watch holds segments of a connection back while it goes on, and says up to
// when it told all. What it may still hold is waited for, however long: nothing is
// concluded, and later it is proven.
func TestWhatAWatchHoldsBackIsWaitedFor(t *testing.T) {
	const (
		held  = "2026-11-21T10:51:17.2Z" // the first lost probe was sent before
		death = "2026-11-21T10:51:19.9Z"
	)
	read := func(name string) [][]byte {
		text, err := os.ReadFile("testdata/forgotten/" + name + ".ndjson")
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	}
	var told []string
	c := correlate.New([]string{"server", "client"}, correlate.Options{Tell: func(d correlate.Told) {
		if d.What == monitor.Died {
			told = append(told, d.Verdict.ID+" "+string(d.Verdict.Confidence))
		}
	}})
	now := time.Unix(1_700_000_000, 0)
	take := func(stream int, line []byte) { // as it is written
		if m := regexp.MustCompile(`"until":"([^"]+)"`).FindSubmatch(line); m != nil {
			if at, err := time.Parse(time.RFC3339Nano, string(m[1])); err == nil && at.After(now) {
				now = at
			}
		}
		if err := c.Take(stream, line, now); err != nil {
			t.Fatal(err)
		}
	}
	until, complete := regexp.MustCompile(`"until":"([^"]+)"`), regexp.MustCompile(`"complete":"([^"]+)"`)
	after := func(line []byte, what *regexp.Regexp, at string) bool {
		m := what.FindSubmatch(line)
		return m != nil && string(m[1]) > at
	}
	server := read("server")
	asked := slices.IndexFunc(server, func(line []byte) bool { return after(line, until, death) })
	for i, line := range server {
		if i == asked {
			for _, line := range read("client") {
				take(1, line)
			}
		}
		if bytes.Contains(line, []byte(`198.51.100.2:22"]`)) {
			continue // they are held
		}
		if after(line, complete, held) {
			line = complete.ReplaceAll(line, []byte(`"complete":"`+held+`"`))
		}
		take(0, line)
		c.Look(now)
	}
	if len(told) > 0 {
		t.Fatalf("told %v while the server's watch held segments back", told)
	}
	for _, line := range server {
		if after(line, complete, held) {
			take(0, line)
		}
	}
	c.Look(now)
	if len(told) != 1 || told[0] != "silent-drop proven" {
		t.Errorf("told %v", told)
	}
}
