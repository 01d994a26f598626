package monitor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/internal/dialogue"
	"kaflow/monitor"
	"kaflow/tcp"
)

// carried gives a carrier n segments of a connection, so far apart, and looks in
// after each.
type carried struct {
	c   *monitor.Carrier
	out bytes.Buffer
	at  tcp.Instant
	ord tcp.Ordinal
}

func newCarried() *carried {
	x := &carried{at: 1_700_000_000e9}
	x.c = monitor.NewCarrier(&x.out)
	return x
}

func (x *carried) send(t *testing.T, client int, n int, apart time.Duration) {
	t.Helper()
	for range n {
		x.at, x.ord = x.at.Add(apart), x.ord+1
		p := capture.Packet{At: x.at, Ord: x.ord, Proto: capture.TCP}
		p.Key, _ = capture.MakeKey(end(client), soakServer, 0)
		x.c.Keep(&p, capture.Frame{Link: 1, Wire: 54, Data: fmt.Appendf(nil, "segment %d", x.ord)})
		if err := x.c.Tick(x.at, monitor.Recording{}); err != nil {
			t.Fatal(err)
		}
	}
}

// story is what was written: the frames of each line, by connection, with what
// was said to be skipped.
func (x *carried) story(t *testing.T) (lines []string, complete []tcp.Instant) {
	t.Helper()
	for text := range strings.Lines(x.out.String()) {
		var l struct {
			Type     string
			Ends     [2]string
			Skipped  int
			Segments []struct {
				Frame uint64
				Data  []byte
			}
			Complete time.Time
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == "capture" {
			complete = append(complete, tcp.Instant(l.Complete.UnixNano()))
			continue
		}
		line := "some left out"
		if n := len(l.Segments); n > 0 {
			line = fmt.Sprintf("-%d %d..%d", l.Skipped, l.Segments[0].Frame, l.Segments[n-1].Frame)
		} else if l.Skipped == 0 {
			t.Errorf("a line of nothing")
		}
		for _, s := range l.Segments {
			if want := fmt.Sprintf("segment %d", s.Frame); string(s.Data) != want {
				t.Errorf("%q under frame %d", s.Data, s.Frame)
			}
		}
		lines = append(lines, line)
	}
	return lines, complete
}

func TestWhatEventStreamsCarry(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(*carried)
		want string
	}{
		{"a connection that falls silent is told at once", func(x *carried) { x.send(t, 1, 5, 10*time.Millisecond); x.at = x.at.Add(2 * time.Second) }, "-0 1..5"},
		{"each probe of a minute's pace by itself", func(x *carried) { x.send(t, 1, 3, time.Minute) }, "-0 1..1, -0 2..2, -0 3..3"},
		{"one that is never silent every ten seconds", func(x *carried) { x.send(t, 1, 30, 900*time.Millisecond) }, "-0 1..12, -0 13..24, -0 25..30"},
		{"a busy one by its newest when it falls silent, and it says so before", func(x *carried) { x.send(t, 1, 200, 10*time.Millisecond); x.at = x.at.Add(2 * time.Second) }, "some left out, -136 137..200"},
		{"a busy one that is never silent once a minute", func(x *carried) { x.send(t, 1, 700, 100*time.Millisecond) }, "some left out, -537 538..601, some left out, -35 637..700"},
		{"nothing", func(*carried) {}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newCarried()
			c.play(x)
			if err := x.c.Tick(x.at, monitor.Recording{}); err != nil {
				t.Fatal(err)
			}
			if err := x.c.Finish(x.at, monitor.Recording{}); err != nil {
				t.Fatal(err)
			}
			lines, complete := x.story(t)
			if got := strings.Join(lines, ", "); got != c.want {
				t.Errorf("carried %s, want %s", got, c.want)
			}
			if n := len(complete); n == 0 || complete[n-1] != x.at {
				t.Errorf("complete %v, want %v at the end", complete, x.at)
			}
		})
	}
}

// What a line says to be complete is: no segment that was seen before comes
// later, unless it was said that the connection's are left out.
func TestStreamsAreCompleteAsTheySay(t *testing.T) {
	x := newCarried()
	for n := range 400 {
		x.send(t, n%7, 1+n%3, time.Duration(1+n*n%5000)*time.Millisecond)
	}
	if err := x.c.Finish(x.at, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	var complete time.Time
	checked := 0
	for text := range strings.Lines(x.out.String()) {
		var l struct {
			Type     string
			Skipped  int
			Segments []struct{ At time.Time }
			Complete time.Time
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == "capture" {
			complete = l.Complete
			continue
		}
		for _, s := range l.Segments {
			if checked++; !s.At.After(complete) && l.Skipped == 0 {
				t.Fatalf("a segment of %v behind a line that is complete up to %v", s.At, complete)
			}
		}
	}
	if checked != int(x.ord) {
		t.Errorf("%d of %d segments were carried", checked, x.ord)
	}
}

// What is carried of a capture holds the headers of what it holds and no payload:
// neither of segments nor of what errors quote, nor of echoes.
func TestStreamsCarryNoPayload(t *testing.T) {
	s, err := dialogue.Parse(`
R 203.0.113.1:0
0     C > S SYN seq 99
+1ms  S > C SYN,ACK seq 899 ack 100
+1ms  C > S ACK seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data "secret words"
+1ms  R > C ICMP 3/13 quoting 4
+1ms  C > S PING 1
+1ms  S > C PONG 1
`)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := s.WritePcap(&file, "client"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := monitor.NewCarrier(&out)
	var protos []capture.Proto
	set, err := capture.Open(capture.Options{Stdin: &file, Each: func(p *capture.Packet, f capture.Frame) {
		protos = append(protos, p.Proto)
		c.Keep(p, f)
	}}, "x", "-")
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var b capture.Batch
	for set.Read(&b) == nil {
	}
	if err := c.Finish(tcp.Instant(1_800_000_000e9), monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	carried := map[capture.Proto]int{}
	for text := range strings.Lines(out.String()) {
		var l struct {
			Segments []struct {
				Link, Wire uint32
				Data       []byte
			}
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Segments {
			if bytes.Contains(s.Data, []byte("secret")) {
				t.Errorf("carried: %q", s.Data)
			}
			p := capture.DecodeFrame(s.Link, s.Data, s.Wire)
			carried[p.Proto]++
		}
	}
	want := map[capture.Proto]int{}
	for _, p := range protos {
		want[p]++
	}
	if fmt.Sprint(carried) != fmt.Sprint(want) || want[capture.ICMPError] != 1 || want[capture.Echo] != 2 {
		t.Errorf("carried %v, want %v", carried, want)
	}
}

// A flood is not carried, and that is a hole.
func TestStreamsLeaveFloodsOut(t *testing.T) {
	x := newCarried()
	for n := range 60_000 {
		x.ord++
		p := capture.Packet{At: x.at.Add(time.Duration(n)), Ord: x.ord, Proto: capture.TCP}
		p.Key, _ = capture.MakeKey(netip.AddrPortFrom(end(n).Addr(), uint16(n)), soakServer, 0)
		x.c.Keep(&p, capture.Frame{Link: 1, Wire: 54, Data: []byte("syn")})
	}
	x.at = x.at.Add(3 * time.Second)
	if err := x.c.Tick(x.at, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	segments, skipped, holes := 0, 0, 0
	for text := range strings.Lines(x.out.String()) {
		var l struct {
			Skipped  int
			Segments []struct{}
			Holes    []struct{}
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		segments, skipped, holes = segments+len(l.Segments), skipped+l.Skipped, holes+len(l.Holes)
	}
	if segments+skipped != 60_000 || segments > 2000 || holes != 1 {
		t.Errorf("%d segments, %d skipped in %d holes, of 60,000", segments, skipped, holes)
	}
}
