package pairing

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/traffic"
)

// madeBy reads a generated capture through the flow table.
func madeBy(t testing.TB, name string, c traffic.Config) Point {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = traffic.Write(file, c)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	set, err := capture.Open(capture.Options{}, name, path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	p := pointOf(t, name, set)
	p.Files = set.Files()
	return p
}

// beyond is the server's capture of the same traffic.
func beyond(c traffic.Config) traffic.Config {
	c.ServerSide, c.Clock = true, 7*time.Second
	return c
}

func TestGeneratedTrafficBehindOneAddress(t *testing.T) {
	const n = 2000
	for _, tc := range []struct {
		name string
		c    traffic.Config
		far  func(*traffic.Config)
	}{
		{"handshakes seen", traffic.Config{Flows: n, Packets: 10 * n, Begin: traffic.HandshakeData}, func(*traffic.Config) {}},
		{"in mid-stream", traffic.Config{Flows: n, Packets: 5 * n}, func(*traffic.Config) {}},
		{"numbers shifted as well", traffic.Config{Flows: n, Packets: 10 * n, Begin: traffic.HandshakeData}, func(c *traffic.Config) { c.Shift = true }},
		{"one capture ends early", traffic.Config{Flows: n, Packets: 10 * n, Begin: traffic.HandshakeData}, func(c *traffic.Config) { c.Packets = 7*n + n/2 }},
		{"connections that end", traffic.Config{Shape: traffic.Churn, Flows: 200, Packets: 10 * n}, func(*traffic.Config) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			far := beyond(tc.c)
			far.NAT = true
			tc.far(&far)
			points := []Point{madeBy(t, "client.pcap", tc.c), madeBy(t, "server.pcap", far)}
			got := reckonGenerated(Match(points, Options{}), 2*n)
			if got.wrong != 0 || got.ambiguous != 0 || got.right < n*95/100 {
				t.Errorf("%+v of %d connections", got, n)
			}
		})
	}
}

// reckonGenerated holds pairs of generated traffic against what the source NAT
// made of each flow.
func reckonGenerated(r *Result, n uint64) (got score) {
	truth := map[netip.AddrPort]netip.AddrPort{}
	for flow := range n {
		truth[traffic.Private(flow)] = traffic.Public(flow)
	}
	judge := func(p *Pair) {
		switch {
		case len(p.Ambiguous) > 0:
			got.ambiguous++
		case len(p.Seen) < 2:
			got.alone++
		case truth[p.Seen[0].Flow.Sides[flows.Client].Addr] == p.Seen[1].Flow.Sides[flows.Client].Addr:
			got.right++
		default:
			got.wrong++
		}
	}
	for _, p := range r.Pairs {
		judge(p)
	}
	for i := range r.Plain {
		judge(r.Pair(&r.Plain[i]))
	}
	return got
}

func TestPlainPairsAreThoseOfACloserLook(t *testing.T) {
	c := traffic.Config{Flows: 3000, Packets: 30_000, Begin: traffic.HandshakeData}
	points := []Point{madeBy(t, "client.pcap", c), madeBy(t, "server.pcap", beyond(c))}
	r := Match(points, Options{})
	if len(r.Plain) < 2000 || len(r.Pairs)+len(r.Plain) != 3000 {
		t.Fatalf("%d plain pairs and %d others of 3000 connections, want most of them plain", len(r.Plain), len(r.Pairs))
	}
	for i := range r.Plain {
		x := &r.Plain[i]
		p := r.Pair(x)
		if p.Method != "addresses+isn" || len(p.Seen) != 2 || p.Seen[0].Vantage != x.Ends[0] || p.Path[len(p.Path)-1] != x.Ends[1] || p.Seen[0].Flow.Key != x.Key {
			t.Fatalf("%+v has method %s, path %v and the key %v", x, p.Method, p.Path, p.Seen[0].Flow.Key)
		}
		for _, f := range p.Fates {
			if f.How == Lost {
				t.Fatalf("a segment of a plain pair is lost: %+v", f)
			}
		}
	}
	if len(r.Clocks) != 1 || r.Clocks[0].Min > 7*time.Second || r.Clocks[0].Max < 7*time.Second {
		t.Errorf("clocks %+v, want one that holds 7 s", r.Clocks)
	}
}

func TestOrderOfFilesLeavesPlainPairsAlone(t *testing.T) {
	c := traffic.Config{Flows: 1500, Packets: 15_000, Begin: traffic.HandshakeData}
	near, far := madeBy(t, "client.pcap", c), madeBy(t, "server.pcap", beyond(c))
	straight, swapped := Match([]Point{near, far}, Options{}), Match([]Point{far, near}, Options{})
	if len(straight.Plain) != len(swapped.Plain) || len(straight.Pairs) != len(swapped.Pairs) {
		t.Fatalf("%d plain of %d, with the files exchanged %d of %d", len(straight.Plain), len(straight.Pairs), len(swapped.Plain), len(swapped.Pairs))
	}
	for i := range straight.Plain {
		a, b := &straight.Plain[i], &swapped.Plain[i]
		if a.Key != b.Key || a.Survived != b.Survived || a.Ends[0] != b.Ends[1] || a.Ends[1] != b.Ends[0] {
			t.Fatalf("%+v, with the files exchanged %+v", a, b)
		}
	}
}
