package analyzer

import (
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// twins are what the client's capture, or the server's, holds of two connections of the same two
// hosts. Both are silent for ten minutes; then one asks in vain, and the other goes on. Their
// stories may hold so many events.
func twins(vantage, most int) pairing.Point {
	var pkts []capture.Packet
	begin := tcp.Instant(1_700_000_000e9)
	for n := range 2 {
		key, reversed := capture.MakeKey(endOf(0xc0000201, uint16(1024+n)), endOf(0xcb007105, 5432), 0)
		at, next := begin.Add(time.Duration(n)*time.Millisecond), [2]tcp.Seq{1000, 90_000}
		send := func(d int, after time.Duration, flags tcp.Flags, octets uint32) {
			at = at.Add(after)
			p := capture.Packet{Proto: capture.TCP, Key: key, Reversed: reversed == (d == 0), At: at, DataLen: 0}
			p.Seg = tcp.Segment{Seq: next[d], Ack: next[1-d], Len: octets, Flags: flags, Win: 500, TTL: 64, Opts: tcp.OptTimestamps, TSVal: uint32(at / 1e6), TSEcr: uint32(at/1e6) - 1}
			if next[d] = next[d].Add(int(octets)); flags.Has(tcp.SYN) {
				next[d]++
			}
			pkts = append(pkts, p)
		}
		send(0, 0, tcp.SYN, 0)
		pkts[len(pkts)-1].Seg.Ack = 0
		send(1, 10*time.Millisecond, tcp.SYN|tcp.ACK, 0)
		send(0, time.Millisecond, tcp.ACK, 0)
		exchange := func() {
			send(0, 2*time.Second, tcp.ACK|tcp.PSH, 100)
			send(1, 10*time.Millisecond, tcp.ACK|tcp.PSH, 200)
			send(0, time.Millisecond, tcp.ACK, 0)
		}
		exchange()
		at = at.Add(10 * time.Minute)
		if n == 0 {
			for range 6 {
				exchange()
			}
			continue
		}
		asked := next[0]
		for try := range 7 {
			next[0] = asked
			if send(0, 300*time.Millisecond<<try, tcp.ACK|tcp.PSH, 40); vantage != 0 {
				pkts = pkts[:len(pkts)-1] // lost before
			}
		}
	}
	table := tableWith(flows.Options{MaxEvents: most}, pkts)
	p := pointOf([]string{"client", "server"}[vantage], table, begin, len(pkts))
	p.Files[0].Last = begin.Add(11 * time.Minute)
	table.Advance(p.Files[0].Last)
	return p
}

// What a connection died of is told by others, too: where not all that happened on those is
// kept, nothing is proven.
func TestOthersThatAreNotKeptProveNothing(t *testing.T) {
	const dead = "192.0.2.1:1025"
	silences := 0 // that are told of connections that are cut
	diagnose := func(most int) map[string]Verdict {
		points, verdicts := []pairing.Point{twins(0, most), twins(1, most)}, map[string]Verdict{}
		for _, d := range Diagnose(points, pairing.Match(points, pairing.Options{}), Options{}).Flows {
			verdicts[d.Client] = d.Verdict
			for _, row := range d.Timeline {
				if row.Kind == RowGap && d.Verdict.ID == CaptureGap {
					if silences++; row.Note == "" {
						t.Errorf("%d events: a silence of %v is told of what is not whole", most, row.Idle)
					}
				}
			}
		}
		return verdicts
	}
	if v := diagnose(0)[dead]; v.ID != SilentDrop || v.Confidence != Proven {
		t.Fatalf("of whole stories: %s, %s", v.ID, v.Confidence)
	}
	beside := 0
	for most := 1; most < 60; most++ {
		verdicts := diagnose(most)
		if v := verdicts[dead]; verdicts["192.0.2.1:1024"].ID == CaptureGap && v.ID != CaptureGap {
			if beside++; v.ID != SilentDrop || v.Confidence != Likely || len(v.Unknown) == 0 {
				t.Errorf("%d events, the other cut: %s, %s, unknown %q", most, v.ID, v.Confidence, v.Unknown)
			}
		}
	}
	if beside == 0 || silences == 0 {
		t.Errorf("the other connection alone was cut %d times, %d silences of such ones were told", beside, silences)
	}
}

// What was turned away before a connection began tells nothing of it.
func TestWhatWasNotKeptBeforeIsNoDoubt(t *testing.T) {
	point := twins(0, 8)
	until := point.Table.FoldedUntil()
	for _, c := range []struct {
		first tcp.Instant
		want  Confidence
	}{{until, Likely}, {until + 1, Proven}} {
		s, v := Subject{Points: []pairing.Point{point}, flow: &flows.Flow{First: c.first}}, Verdict{Confidence: Proven}
		if s.besideCut(&v); until == 0 || v.Confidence != c.want {
			t.Errorf("begun at %v, the last event was turned away at %v: %s, want %s", c.first, until, v.Confidence, c.want)
		}
	}
}
