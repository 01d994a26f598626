package capture

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Which file goes on where another one ended, by names and ages.
func TestNextOfARotation(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string // oldest first, a second apart
		after string
		want  string
	}{
		{"nothing else", []string{"out.pcap"}, "out.pcap", ""},
		{"tcpdump -C", []string{"out.pcap", "out.pcap1"}, "out.pcap", "out.pcap1"},
		{"two are there already", []string{"out.pcap1", "out.pcap2", "out.pcap3"}, "out.pcap1", "out.pcap2"},
		{"tcpdump -C -W, in the second lap", []string{"out.pcap1", "out.pcap2", "out.pcap0"}, "out.pcap2", "out.pcap0"},
		{"the ring's next one is of the lap before", []string{"out.pcap1", "out.pcap2", "out.pcap0"}, "out.pcap0", ""},
		{"ten files, by number", []string{"out.pcap8", "out.pcap9", "out.pcap10"}, "out.pcap9", "out.pcap10"},
		{"tcpdump -G", []string{"a-20260102-030405.pcap", "a-20260102-030505.pcap", "a-20260102-030605.pcap"}, "a-20260102-030405.pcap", "a-20260102-030505.pcap"},
		{"of another rotation", []string{"a-20260102-030405.pcap", "b-20260102-030505.pcap"}, "a-20260102-030405.pcap", ""},
		{"dumpcap -b", []string{"d_00001_20260102030405.pcapng", "d_00002_20260102030505.pcapng"}, "d_00001_20260102030405.pcapng", "d_00002_20260102030505.pcapng"},
		{"hosts, no rotation", []string{"host3", "host4"}, "host3", ""},
		{"an old file of the next number", []string{"out.pcap1", "out.pcap"}, "out.pcap", ""},
		{"packed meanwhile", []string{"a-20260102-030405.pcap.gz", "a-20260102-030505.pcap"}, "a-20260102-030405.pcap", "a-20260102-030505.pcap"},
	} {
		dir := t.TempDir()
		for i, name := range c.files {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Unix(1_700_000_000+int64(i), 0)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		want := c.want
		if want != "" {
			want = filepath.Join(dir, want)
		}
		if got := nextOf(filepath.Join(dir, c.after), nil); got != want {
			t.Errorf("%s: behind %s comes %q, want %q", c.name, c.after, got, want)
		}
	}
}

// A file that was begun in the very moment in which the one before was written
// last is no reason to go back to that one.
func TestRotationWithinAMoment(t *testing.T) {
	dir := t.TempDir()
	moment := time.Unix(1_700_000_000, 0)
	left := map[string]os.FileInfo{}
	write := func(name string, octets int) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, octets), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, moment, moment); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(name string) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		left[filepath.Join(dir, name)] = info
	}
	after := func(name, want string) {
		t.Helper()
		if want != "" {
			want = filepath.Join(dir, want)
		}
		for _, known := range []map[string]os.FileInfo{left, nil} {
			if got := nextOf(filepath.Join(dir, name), known); got != want {
				t.Errorf("behind %s comes %q, want %q", name, got, want)
			}
		}
	}
	write("out.pcap", 5000)
	leave("out.pcap")
	write("out.pcap1", 5000)
	after("out.pcap1", "")
	leave("out.pcap1")
	write("out.pcap2", 24)
	after("out.pcap2", "")
	write("out.pcap", 24) // the ring begins anew, still within the moment
	if got, want := nextOf(filepath.Join(dir, "out.pcap2"), left), filepath.Join(dir, "out.pcap"); got != want {
		t.Errorf("behind out.pcap2 comes %q, want %q, which is shorter than it was left", got, want)
	}
}
