package capture

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// minuteOf returns how long n minutes take.
func minuteOf(n int) tcp.Instant { return tcp.Instant(n) * 60 * second }

// captureDirs makes the files of the tests below and goes there.
func captureDirs(t *testing.T) {
	t.Helper()
	part := func(port uint16, n int) []byte {
		from := base + minuteOf(n)
		return writePcap(t, port, from, from+59*second)
	}
	t.Chdir(inDir(t, map[string][]byte{
		"client.pcap": part(1, 0), "server.pcap": part(1, 0), "other=x.pcap": part(1, 0), "a,b.pcap": part(1, 0),
		"ring.pcap1": part(2, 0), "ring.pcap2": part(2, 1), "ring.pcap3": part(2, 2),
		"gap.pcap1": part(2, 0), "gap.pcap2": part(2, 3),
		"flow.pcap1": part(2, 0), "flow.pcap2": part(3, 1),
		"both.pcap1": part(2, 0), "both.pcap2": part(2, 0),
		"text.txt": []byte("no capture, only a few words of text"),
	}))
	for dir, files := range map[string]map[string][]byte{
		"ringdir":   {"d_00001_20260101120000.pcap": part(2, 5), "d_00002_20260101120100.pcap": part(2, 4), "notes.txt": []byte("who made it"), "z.json": []byte("{}")},
		"mixed":     {"client.pcap": part(1, 0), "server.pcap": part(1, 0), "r.pcap1": part(2, 0), "r.pcap2": part(2, 1)},
		"unnamed":   {"morning.pcap": part(2, 0), "later.pcap": part(2, 1)},
		"hosts":     {"host1": part(2, 0), "host2": part(2, 0)},
		"nocapture": {"a.txt": []byte("text"), "b.txt": []byte("text")},
		"empty":     {},
		"packed":    {"x.pcap.gz": packed(t, part(2, 0))["gzip"], "y.txt.gz": packed(t, []byte("some words that are no capture at all"))["gzip"]},
	} {
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	captureDirs(t)
	one := func(name string, paths ...string) Vantage { return Vantage{Name: name, Paths: paths} }
	set := func(v Vantage, note string) Vantage { v.Note = note; return v }
	named := func(v Vantage) Vantage { v.Named = true; return v }
	two, three := "2 files, taken as one rotation", "3 files, taken as one rotation"
	tests := []struct {
		name, args string
		want       []Vantage
		hints      []string
	}{
		{"two files", "client.pcap server.pcap", []Vantage{one("client.pcap", "client.pcap"), one("server.pcap", "server.pcap")}, nil},
		{"named", "c=client.pcap s=server.pcap", []Vantage{named(one("c", "client.pcap")), named(one("s", "server.pcap"))}, nil},
		{"standard input", "- s=client.pcap", []Vantage{one("-", "-"), named(one("s", "client.pcap"))}, nil},
		{"a path that exists wins over name=FILE", "other=x.pcap", []Vantage{one("other=x.pcap", "other=x.pcap")}, nil},
		{"and over a comma list", "a,b.pcap", []Vantage{one("a,b.pcap", "a,b.pcap")}, nil},
		{"comma list, ordered by time", "ring.pcap3,ring.pcap1", []Vantage{set(one("ring.pcap3,ring.pcap1", "ring.pcap1", "ring.pcap3"), two)}, nil},
		{"named comma list", "r=ring.pcap3,ring.pcap1", []Vantage{named(set(one("r", "ring.pcap1", "ring.pcap3"), two))}, nil},
		{"pattern", "ring.*", []Vantage{set(one("ring.*", "ring.pcap1", "ring.pcap2", "ring.pcap3"), three)}, nil},
		{"directory of a rotation, ordered by time and not by name", "ringdir",
			[]Vantage{set(one("ringdir", "ringdir/d_00002_20260101120100.pcap", "ringdir/d_00001_20260101120000.pcap"), two)},
			[]string{"ringdir: 2 files skipped that are no captures"}},
		{"directory of unrelated captures", "mixed",
			[]Vantage{one("client.pcap", "mixed/client.pcap"), set(one("r.pcap1", "mixed/r.pcap1", "mixed/r.pcap2"), two), one("server.pcap", "mixed/server.pcap")},
			[]string{"mixed: 3 vantage points, since its files are not one rotation"}},
		{"directory whose files go on from one to the next", "unnamed", []Vantage{set(one("unnamed", "unnamed/morning.pcap", "unnamed/later.pcap"), two)}, nil},
		{"numbered hosts are no rotation", "hosts", []Vantage{one("host1", "hosts/host1"), one("host2", "hosts/host2")},
			[]string{"hosts: 2 vantage points, since its files are not one rotation"}},
		{"compressed captures are looked into", "packed", []Vantage{one("packed", "packed/x.pcap.gz")}, []string{"packed: 1 file skipped that is no capture"}},
		{"files of one rotation given one by one", "ring.pcap2 client.pcap ring.pcap1",
			[]Vantage{set(one("ring.pcap1", "ring.pcap1", "ring.pcap2"), two), one("client.pcap", "client.pcap")},
			[]string{"ring.pcap1, ring.pcap2 are taken as one rotation; to keep them apart write name=FILE for each"}},
		{"kept apart by names", "a=ring.pcap1 b=ring.pcap2", []Vantage{named(one("a", "ring.pcap1")), named(one("b", "ring.pcap2"))}, nil},
		{"two minutes between them", "gap.pcap1 gap.pcap2", []Vantage{one("gap.pcap1", "gap.pcap1"), one("gap.pcap2", "gap.pcap2")},
			[]string{"gap.pcap1, gap.pcap2 are named like one rotation but taken as separate vantage points: 2m1s lie between them; to join them write gap.pcap1,gap.pcap2"}},
		{"no flow goes on", "flow.pcap1 flow.pcap2", []Vantage{one("flow.pcap1", "flow.pcap1"), one("flow.pcap2", "flow.pcap2")},
			[]string{"flow.pcap1, flow.pcap2 are named like one rotation but taken as separate vantage points: no flow goes on from one to the next; to join them write flow.pcap1,flow.pcap2"}},
		{"captured at the same time", "both.pcap1 both.pcap2", []Vantage{one("both.pcap1", "both.pcap1"), one("both.pcap2", "both.pcap2")},
			[]string{"both.pcap1, both.pcap2 are named like one rotation but taken as separate vantage points: they overlap in time; to join them write both.pcap1,both.pcap2"}},
		{"same name in two directories", "client.pcap mixed/client.pcap", []Vantage{one("client.pcap", "client.pcap"), one("mixed/client.pcap", "mixed/client.pcap")}, nil},
		{"same file twice", "client.pcap client.pcap", []Vantage{one("client.pcap", "client.pcap"), one("client.pcap#2", "client.pcap")},
			[]string{"client.pcap is given more than once"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, hints, err := Resolve(strings.Fields(test.args))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("vantage points, want −, got +:\n%s", diff)
			}
			if diff := cmp.Diff(test.hints, hints); diff != "" {
				t.Errorf("hints, want −, got +:\n%s", diff)
			}
		})
	}
}

func TestResolveErrorsNameTheArgument(t *testing.T) {
	captureDirs(t)
	tests := []struct{ args, want string }{
		{"nosuch.pcap", "nosuch.pcap: no such file or directory"},
		{"c=nosuch.pcap", "nosuch.pcap: no such file or directory"},
		{"client.pcap,nosuch.pcap", "nosuch.pcap: no such file or directory"},
		{"client.pcap,", `client.pcap,: "" is no file`},
		{"nosuch*", "nosuch*: no file matches"},
		{"tex[t", "tex[t: not a pattern: syntax error in pattern"},
		{"text*", "text*: no capture among what matches (1 file is something else)"},
		{"nocapture", "nocapture: no capture in this directory (2 files are something else)"},
		{"empty", "empty: no capture in this directory"},
		{"c=client.pcap c=server.pcap", "c: the name is given 2 times; to join files write c=FILE,FILE"},
		{"- s=-", "-: standard input can be read only once"},
		{"- -", "-: standard input can be read only once"},
	}
	for _, test := range tests {
		if _, _, err := Resolve(strings.Fields(test.args)); err == nil || err.Error() != test.want {
			t.Errorf("Resolve(%s) = %v, want %s", test.args, err, test.want)
		}
	}
}

func TestResolveFiles(t *testing.T) {
	captureDirs(t)
	files, hints, err := ResolveFiles(strings.Fields("server.pcap ringdir ring.pcap3,ring.pcap1 s=client.pcap gap.* -"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("server.pcap ringdir/d_00001_20260101120000.pcap ringdir/d_00002_20260101120100.pcap ring.pcap3 ring.pcap1 client.pcap gap.pcap1 gap.pcap2 -")
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files, want −, got +:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ringdir: 2 files skipped that are no captures"}, hints); diff != "" {
		t.Errorf("hints, want −, got +:\n%s", diff)
	}
	if _, _, err := ResolveFiles([]string{"nosuch"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v is not os.ErrNotExist", err)
	}
}

func TestResolvedRotationIsReadAsOne(t *testing.T) {
	captureDirs(t)
	points, _, err := Resolve([]string{"ring.pcap1", "ring.pcap2", "ring.pcap3"})
	if err != nil || len(points) != 1 {
		t.Fatalf("%v, %v; want one vantage point", points, err)
	}
	s, err := Open(Options{}, points[0].Name, points[0].Paths...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b Batch
	frames := 0
	for s.Read(&b) != io.EOF {
		frames += b.N
	}
	if frames != 6 || s.Holes() != nil {
		t.Errorf("%d frames with holes %v, want 6 and none", frames, s.Holes())
	}
}
