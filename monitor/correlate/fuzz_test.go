package correlate_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"kaflow/monitor/correlate"
)

// pairsOfStreams are those of the captures that are shipped.
func pairsOfStreams(t testing.TB) (pairs [][2][]byte) {
	t.Helper()
	clients, err := filepath.Glob("../../testdata/pcaps/*/client.pcap*")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range clients {
		servers, _ := filepath.Glob(filepath.Dir(client) + "/server.pcap*")
		if len(servers) == 1 {
			pairs = append(pairs, [2][]byte{correlate.StreamOf(t, client), correlate.StreamOf(t, servers[0])})
		}
	}
	if len(pairs) == 0 {
		t.Fatal("no captures to begin with")
	}
	return pairs
}

// told runs a correlator over two streams, and returns what it tells.
func told(client, server []byte) (out []correlate.Told, err error) {
	now := time.Unix(1_800_000_000, 0)
	c := correlate.New([]string{"client", "server"}, correlate.Options{Tell: func(t correlate.Told) { out = append(out, t) }})
	for i, text := range [][]byte{client, server} {
		for l := range bytes.Lines(text) {
			if e := c.Take(i, l, now); e != nil {
				err = e
				break
			}
		}
		c.End(i)
		c.Look(now)
	}
	c.Finish()
	return out, err
}

// Whatever a stream brings, it is refused or taken, without a panic and in
// bounded memory, and taken again it tells the same.
func FuzzStreams(f *testing.F) {
	pairs := pairsOfStreams(f)
	for _, p := range pairs {
		f.Add(p[0])
		for l := range bytes.Lines(p[0]) {
			f.Add(l)
		}
	}
	other := pairs[0][1]
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err1 := told(text, other)
		again, err2 := told(text, other)
		if len(first) != len(again) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("told %d, then %d events; errors %v and %v", len(first), len(again), err1, err2)
		}
		for i := range first {
			if first[i].What != again[i].What || first[i].Says != again[i].Says || first[i].Client != again[i].Client {
				t.Fatalf("told %+v, then %+v", first[i].Event, again[i].Event)
			}
		}
	})
}

// Which stream comes first changes nothing of what is told of the dead.
func TestOrderOfStreamsIsNoMatter(t *testing.T) {
	deaths := 0
	for _, p := range pairsOfStreams(t) {
		verdicts := func(a, b []byte) map[string]string {
			events, err := told(a, b)
			if err != nil {
				t.Fatal(err)
			}
			out := map[string]string{}
			for _, ev := range events {
				if ev.Verdict != nil {
					out[ev.Client+" "+ev.Server] = ev.Verdict.ID + " " + string(ev.Verdict.Confidence)
				}
			}
			return out
		}
		one, other := verdicts(p[0], p[1]), verdicts(p[1], p[0])
		for ends, v := range one {
			if deaths++; other[ends] != v {
				t.Errorf("%s: %s, and %s with the streams the other way round", ends, v, other[ends])
			}
		}
	}
	if deaths == 0 {
		t.Error("nothing was told")
	}
}
