package monitor_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/tcp"
)

// keep gives the carrier a segment of a client at a time, which need not be the
// newest.
func (x *carried) keep(client int, at tcp.Instant) {
	x.ord++
	p := capture.Packet{At: at, Ord: x.ord, Proto: capture.TCP}
	p.Key, _ = capture.MakeKey(netip.AddrPortFrom(end(client).Addr(), uint16(client)), soakServer, 0)
	x.c.Keep(&p, capture.Frame{Link: 1, Wire: 54, Data: []byte("segment")})
}

func (x *carried) tick(t *testing.T, at tcp.Instant) {
	t.Helper()
	if err := x.c.Tick(at, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
}

func (x *carried) finish(t *testing.T, at tcp.Instant) {
	t.Helper()
	if err := x.c.Finish(at, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
}

// carriedStory is what a stream holds.
type carriedStory struct {
	frames map[uint64]int // how often each was written
	lines  []carriedEntry
}

type carriedEntry struct {
	Since, Until, Complete time.Time
	Holes                  []struct{ From, To time.Time }
	Segments               []struct{ Frame uint64 }
}

func (x *carried) written(t *testing.T) (s carriedStory) {
	t.Helper()
	s.frames = map[uint64]int{}
	for text := range strings.Lines(x.out.String()) {
		s.lines = append(s.lines, carriedEntry{})
		l := &s.lines[len(s.lines)-1]
		if err := json.Unmarshal([]byte(text), l); err != nil {
			t.Fatal(err)
		}
		for _, f := range l.Segments {
			s.frames[f.Frame]++
		}
	}
	return s
}

// A segment of which a connection is due when it comes in the middle of a flood is
// left out, and the connection's others are written once.
func TestWhatIsDueInAFloodIsWrittenOnce(t *testing.T) {
	x := newCarried()
	x.keep(1, x.at) // frame 1
	for n := range 49_999 {
		x.keep(2+n, x.at.Add(2*time.Second+time.Duration(n)))
	}
	x.keep(1, x.at.Add(3*time.Second)) // no room
	left := uint64(x.ord)
	x.tick(t, x.at.Add(5*time.Second))
	x.keep(1, x.at.Add(6*time.Second))
	later := uint64(x.ord)
	x.finish(t, x.at.Add(7*time.Second))
	s := x.written(t)
	if s.frames[1] != 1 || s.frames[left] != 0 || s.frames[later] != 1 {
		t.Errorf("written %d times, that without room %d times, a later one %d times", s.frames[1], s.frames[left], s.frames[later])
	}
	hole := false
	for _, l := range s.lines {
		for _, h := range l.Holes {
			at := x.at.Add(3 * time.Second).Time()
			hole = hole || !h.From.After(at) && !h.To.Before(at)
		}
	}
	if !hole {
		t.Error("that one is left out is not told")
	}
}

// A stream is not complete up to a segment that came late, and is held.
func TestALateSegmentIsNotToldAsWritten(t *testing.T) {
	x := newCarried()
	x.keep(1, x.at)
	x.keep(1, x.at.Add(-50*time.Millisecond))
	x.tick(t, x.at.Add(100*time.Millisecond))
	if s := x.written(t); len(s.lines) != 1 || !s.lines[0].Complete.Before(x.at.Add(-50*time.Millisecond).Time()) {
		t.Errorf("%+v", s.lines)
	}
}

// How far a recording goes is told as far as no segment can come any more that was
// seen before, and since when as it was; at the end all was read.
func TestAStreamSaysWhenItsRecordingBegan(t *testing.T) {
	x := newCarried()
	began := x.at
	x.c.Since, x.c.Lag = began, 300*time.Millisecond
	x.tick(t, began.Add(100*time.Millisecond))
	x.tick(t, began.Add(6*time.Second))
	x.finish(t, began.Add(7*time.Second))
	s := x.written(t)
	var until []time.Duration
	for _, l := range s.lines {
		if !l.Since.Equal(began.Time()) {
			t.Errorf("since %v, not %v", l.Since, began.Time())
		}
		if !l.Complete.Equal(l.Until) {
			t.Errorf("complete until %v of %v", l.Complete, l.Until)
		}
		until = append(until, l.Until.Sub(began.Time()))
	}
	if len(until) != 3 || until[0] != 0 || until[1] != 5700*time.Millisecond || until[2] != 7*time.Second {
		t.Errorf("until %v", until)
	}
}

// Where nothing comes that would move time on, what was told with a reserve is told
// without it.
func TestAStreamThatFallsSilentIsComplete(t *testing.T) {
	x := newCarried()
	x.c.Lag = 100 * time.Millisecond
	x.keep(1, x.at)
	now := x.at.Add(5 * time.Second)
	x.tick(t, now)
	if err := x.c.Flush(now, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	if err := x.c.Flush(now, monitor.Recording{}); err != nil {
		t.Fatal(err)
	}
	s := x.written(t)
	if n := len(s.lines); n != 3 || !s.lines[n-1].Complete.Equal(now.Time()) {
		t.Errorf("%+v", s.lines)
	}
}
