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
		if got := nextOf(filepath.Join(dir, c.after)); got != want {
			t.Errorf("%s: behind %s comes %q, want %q", c.name, c.after, got, want)
		}
	}
}
