package pairing

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/internal/traffic"
	"kaflow/tcp"
)

// BenchmarkMatch measures the pairing of whole captures of both ends, reading
// not included: as they are, behind one address of a source NAT, and with
// random sequence numbers besides. Time per flow should hardly grow with their
// number.
func BenchmarkMatch(b *testing.B) {
	for _, kind := range []struct {
		name       string
		nat, shift bool
	}{{"plain", false, false}, {"nat", true, false}, {"nat+shift", true, true}} {
		for _, n := range []int{25_000, 50_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				near := traffic.Config{Flows: n, Packets: 10 * n, Begin: traffic.HandshakeData}
				far := beyond(near)
				far.NAT, far.Shift = kind.nat, kind.shift
				points := []Point{madeBy(b, "client.pcap", near), madeBy(b, "server.pcap", far)}
				matchAll(b, n, points...)
			})
		}
	}
}

// BenchmarkMatchOnePort measures connections of one client port, one after the other.
func BenchmarkMatchOnePort(b *testing.B) {
	for _, n := range []int{5_000, 10_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var all []*world
			for i := range n {
				s := talk(twoTaps(0), steadyHop(time.Millisecond)).wait(time.Duration(i) * time.Second)
				s.nxt = [2]tcp.Seq{tcp.Seq(1_000_003 * i), tcp.Seq(3_000_017 * i)}
				all = append(all, s.handshake().data(flows.Client, 10, never).w)
			}
			for b.Loop() {
				matchSides([]*side{sideOf(0, all...), sideOf(1, all...)}, Options{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/flow")
		})
	}
}

// BenchmarkMatchClosely measures connections that have to be compared in
// detail: behind one address, with random numbers, and with one capture that
// ends before the other; with timestamps, and without them and their
// handshakes, where octets alone are left.
func BenchmarkMatchClosely(b *testing.B) {
	for _, n := range []int{12_500, 25_000, 50_000} {
		b.Run(fmt.Sprintf("timestamps/%d", n), func(b *testing.B) {
			near := traffic.Config{Flows: n, Packets: 10 * n, Begin: traffic.HandshakeData}
			far := beyond(near)
			far.NAT, far.Shift, far.Packets = true, true, 7*n+n/2
			matchAll(b, n, madeBy(b, "client.pcap", near), madeBy(b, "server.pcap", far))
		})
		b.Run(fmt.Sprintf("payload/%d", n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			var sessions []session
			for i := range n {
				sessions = append(sessions, talkOctets(rng, i, 4, i%40 == 0, randomOctets(rng)))
			}
			matchAll(b, n, taken{}.point(sessions), taken{beyond: true}.point(sessions))
		})
	}
}

func matchAll(b *testing.B, n int, points ...Point) {
	var spent time.Duration
	for b.Loop() {
		begin := time.Now()
		r := Match(points, Options{})
		spent += time.Since(begin)
		alone := 0
		for _, p := range r.Pairs {
			if len(p.Seen) == 1 {
				alone++
			}
		}
		if seen := len(r.Pairs) + len(r.Plain); seen < n || alone > n/50 {
			b.Fatalf("%d pairs of %d flows, %d at one point", seen, n, alone)
		}
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N)/float64(n), "µs/flow")
}
