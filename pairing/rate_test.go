package pairing

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kaflow/flows"
	"kaflow/internal/traffic"
)

func TestTimestampsTellTheRate(t *testing.T) {
	told, taken := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		taps := []tap{{name: "client.pcap"}, {name: "server.pcap", ttl: 2}}
		for k := range taps {
			taps[k].offset = time.Duration(rapid.Int64Range(int64(-3*time.Hour), int64(3*time.Hour)).Draw(t, "offset"))
			taps[k].ppm = float64(rapid.IntRange(-200, 200).Draw(t, "ppm"))
		}
		jitter := rapid.IntRange(0, 2000).Draw(t, "jitter µs")
		n := 0
		s := talk(taps, func(uint8, int) time.Duration {
			n++
			return 4*time.Millisecond + time.Duration(n*7919%(jitter+1))*time.Microsecond
		}).handshake()
		for range rapid.IntRange(10, 80).Draw(t, "exchanges") {
			s.data(flows.Client, 10, never).data(flows.Server, 10, never).wait(time.Duration(rapid.IntRange(1, 90).Draw(t, "pause")) * time.Second)
		}
		if rapid.Bool().Draw(t, "one direction crosses") {
			s.w.taps[1].drop = func(i int) bool { return s.w.wires[i].from == flows.Server }
		}
		r := matchSides(sidesOf(s.w), Options{})
		c := &r.Clocks[0]
		skew := ((1+taps[1].ppm*1e-6)/(1+taps[0].ppm*1e-6) - 1) * 1e6
		if c.Stamps.Flows == 0 {
			return
		}
		told++
		if off := c.Stamps.PPM - skew; off > c.Stamps.Err || off < -c.Stamps.Err {
			t.Errorf("%+v of a rate of %.1f ppm", c.Stamps, skew)
		}
		if c.RateByStamps() {
			taken++
		}
		if off := c.PPM - skew; c.RateByStamps() && (off > c.Stamps.Err+1 || off < -c.Stamps.Err-1) {
			t.Errorf("the rate is given as %.1f ppm, not %.1f: %+v", c.PPM, skew, c.Stamps)
		}
	})
	if told < 20 || taken < 5 {
		t.Errorf("a rate was told in %d cases only, and taken in %d", told, taken)
	}
}

func TestTimestampsThatPacketsExcludeAreTold(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stamps Rate
		ppm    float64
		told   bool
	}{
		{"sharper than the packets, and within them", Rate{PPM: 30, Err: 2, Flows: 1}, 30, false},
		{"not sharper", Rate{PPM: 30, Err: 100, Flows: 1}, 0, false},
		{"excluded", Rate{PPM: 300, Err: 2, Flows: 1}, 0, true},
	} {
		all := crossings(func(time.Duration) time.Duration { return time.Second }, 0, 20*time.Second)
		c := fitClocks(0, 1, all)[0]
		c.Stamps = tc.stamps
		c.takeRate()
		if told := strings.Contains(c.Note, "rewrites timestamps"); told != tc.told || c.PPM < tc.ppm-1e-6 || c.PPM > tc.ppm+1e-6 {
			t.Errorf("%s: %.3f ppm of [%.0f, %.0f], note %q", tc.name, c.PPM, c.PPMMin, c.PPMMax, c.Note)
		}
	}
}

func TestTimestampsTellWhoseClockSteps(t *testing.T) {
	for k, name := range []string{"client.pcap", "server.pcap"} {
		for _, step := range []time.Duration{time.Hour, -30 * time.Second, 5 * time.Second} {
			taps := twoTaps(2 * time.Second)
			taps[k].ppm = 150
			taps[k].steps = map[time.Duration]time.Duration{30*time.Minute + 30*time.Second: step}
			r := matchSides(sidesOf(busyTalk(taps).w), Options{})
			if len(r.Clocks) != 2 || !strings.Contains(r.Clocks[1].Note, "it was "+name+"'s") {
				t.Errorf("%s steps by %v: %d stretches, %q", name, step, len(r.Clocks), r.Clocks[len(r.Clocks)-1].Note)
			}
		}
	}
}

// TestSegmentsOfOneTickAreNotTakenForOne: two empty segments that were sent
// within one tick of the timestamps' clock differ in the IP ID alone.
func TestSegmentsOfOneTickAreNotTakenForOne(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(50*time.Microsecond)).handshake()
	s.probe(flows.Server).wait(time.Second)
	s.w.taps[0].drop = func(i int) bool { return i == 0 || i == 2 } // the handshake's ACK is at the server's
	s.w.taps[1].drop = func(i int) bool { return i == 4 }           // the answer to the probe at the client's
	for _, p := range matchSides(sidesOf(s.w), Options{}).Pairs {
		for _, f := range fatesBetween(p, flows.Client, 0, 1) {
			if f.How != Unknowable {
				t.Errorf("%+v", f)
			}
		}
	}
}

// TestProbesAloneTellTheRate: an idle connection's story holds its first and its
// last probe, hours apart.
func TestProbesAloneTellTheRate(t *testing.T) {
	c := traffic.Config{Flows: 50, Packets: 50 * 240, Begin: traffic.Handshake, RTT: 20 * time.Millisecond}
	points := []Point{madeBy(t, "client.pcap", c), madeBy(t, "server.pcap", beyond(c))}
	clocks := Match(points, Options{}).Clocks
	if len(clocks) != 1 || clocks[0].Stamps.Flows == 0 || clocks[0].Stamps.Err > 5 || clocks[0].Stamps.PPM > clocks[0].Stamps.Err || clocks[0].Stamps.PPM < -clocks[0].Stamps.Err {
		t.Errorf("%+v", clocks)
	}
}
