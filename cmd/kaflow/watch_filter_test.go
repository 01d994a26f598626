package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// frame makes an Ethernet frame with these octets behind its addresses.
func frame(behind ...byte) []byte {
	return append(make([]byte, 12), append(behind, make([]byte, 60)...)...)
}

// segment4 is an IPv4 header and a TCP header between ports.
func segment4(from, to byte) []byte {
	return []byte{0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2, 0, from, 0, to, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0}
}

// A filter holds for tagged and untagged frames, and for interfaces without
// Ethernet headers.
func TestFilterHoldsForTaggedFramesToo(t *testing.T) {
	if !slices.ContainsFunc(tcpdumps, func(path string) bool { _, err := os.Stat(path); return err == nil }) {
		t.Skip("tcpdump is not installed: nothing compiles a filter")
	}
	a := &app{stderr: io.Discard}
	const ethernet, raw = 1, 101
	for _, c := range []struct {
		filter string
		link   uint32
		frame  []byte
		want   bool
	}{
		{"tcp port 22", ethernet, frame(append([]byte{8, 0}, segment4(200, 22)...)...), true},
		{"tcp port 22", ethernet, frame(append([]byte{8, 0}, segment4(200, 23)...)...), false},
		{"tcp port 22", ethernet, frame(append([]byte{0x81, 0, 0, 7, 8, 0}, segment4(22, 200)...)...), true},
		{"tcp port 22", ethernet, frame(append([]byte{0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 8, 0}, segment4(22, 200)...)...), true},
		{"tcp port 22", ethernet, frame(append([]byte{0x81, 0, 0, 7, 8, 0}, segment4(23, 200)...)...), false},
		{"tcp port 22", raw, segment4(22, 200), true},
		{"tcp port 22", raw, segment4(23, 200), false},
		{"ether host 02:00:00:00:00:01", raw, segment4(22, 200), false},
		{"net 198.51.100.0/24 and not port 23", raw, segment4(22, 200), true},
	} {
		f, err := a.compile(t.Context(), c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Matches(c.link, c.frame); got != c.want {
			t.Errorf("%q on % x: %v, want %v", c.filter, c.frame, got, c.want)
		}
	}
}

func TestFilterTrapsAreExplained(t *testing.T) {
	for filter, want := range map[string]string{
		"":                "kaflow: -f: the filter is empty\n",
		"vlan and tcp":    "kaflow: -f: leave vlan out: tags are taken off before the filter sees a frame, so that it holds for tagged and untagged ones alike\n",
		"inbound and tcp": "kaflow: -f: directions and interfaces cannot be filtered; -i names interfaces\n",
	} {
		var stderr bytes.Buffer
		if status := run([]string{"watch", "-i", "lo", "-f", filter}, nil, io.Discard, &stderr); status != statusUsage || stderr.String() != want {
			t.Errorf("%q: exit status %d, %q, want %q", filter, status, stderr.String(), want)
		}
	}
	var stderr bytes.Buffer
	a := &app{stderr: &stderr}
	if err := a.traps("tcp[tcpflags] & tcp-syn != 0"); err != nil || !strings.Contains(stderr.String(), "IPv6 segments never match") {
		t.Errorf("error %v, hint %q", err, stderr.String())
	}
	if _, err := os.Stat("/usr/bin/tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	stderr.Reset()
	if status := run([]string{"watch", "-i", "lo", "-f", "tcp porx 22"}, nil, io.Discard, &stderr); status != statusUsage || !strings.HasPrefix(stderr.String(), "kaflow: -f tcp porx 22: can't parse filter expression: syntax error") {
		t.Errorf("exit status %d, %q", status, stderr.String())
	}
}

func TestFilterProgramsAreChecked(t *testing.T) {
	for _, text := range []string{"", "0\n", "x", "2\n6 0 0 1\n", "99999\n", "1\n6 0 300 1\n"} {
		if code, err := parseProgram(bytes.NewBufferString(text)); err == nil {
			t.Errorf("%q gives %v", text, code)
		}
	}
}
