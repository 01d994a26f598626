package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"kaflow/internal/traffic"
)

func TestFileAndStandardOutputHoldTheSame(t *testing.T) {
	args := []string{"-shape", "churn", "-flows", "20", "-packets", "500", "-format", "pcapng", "-vlan", "3"}
	file := filepath.Join(t.TempDir(), "c.pcapng")
	var stdout, stderr bytes.Buffer
	if status := run(args, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	var truth traffic.Truth
	if err := json.Unmarshal(stderr.Bytes(), &truth); err != nil {
		t.Fatal(err)
	}
	if truth.Packets != 500 || truth.Size != uint64(stdout.Len()) {
		t.Errorf("%d octets on standard output, truth %+v", stdout.Len(), truth)
	}
	if status := run(append(args, "-o", file), &bytes.Buffer{}, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, stdout.Bytes()) {
		t.Errorf("the file has %d octets, standard output %d, or they differ", len(written), stdout.Len())
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		status int
	}{
		{[]string{"-shape", "torrent"}, 2},
		{[]string{"-vlan", "4095"}, 2},
		{[]string{"-vlan", "70000"}, 2},
		{[]string{"extra"}, 2},
		{[]string{"-rtt", "-1s"}, 5},
		{[]string{"-packets", "1", "-o", filepath.Join("no", "such", "folder", "c.pcap")}, 5},
	} {
		var stderr bytes.Buffer
		if status := run(tc.args, &bytes.Buffer{}, &stderr); status != tc.status || stderr.Len() == 0 {
			t.Errorf("run(%q) = %d with %q on stderr, want %d and a reason", tc.args, status, stderr.String(), tc.status)
		}
	}
}
