//go:build unix

package main

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/internal/lab"
	"kaflow/monitor"
	"kaflow/tcp"
)

// end is one end of a path as it is watched: its frames by its own clock, and
// what its watch does at which moment of true time.
type end struct {
	frames []lab.Frame
	ahead  time.Duration // of its clock
	kept   []lab.Frame   // that its watch read, by their numbers
	lines  []written
}

// written is a line of a stream, and when its watch wrote it.
type written struct {
	at   time.Time // true
	text []byte
}

// clock runs for one watch: true time, and the host's sleep.
type clock struct {
	now    time.Time
	rng    *rand.Rand
	sleeps float64
}

// pass lets time go on, and the host sleep at any moment.
func (c *clock) pass(d time.Duration) {
	c.now = c.now.Add(d)
	if c.rng.Float64() < c.sleeps {
		c.now = c.now.Add(time.Duration(c.rng.Int64N(int64(3 * time.Second))))
	}
}

// calm is how far from all frames of both ends a watch is simulated in long
// steps.
const calm = 100 * time.Second

// watch runs what a live watch does over the frames of an end from begin to stop,
// and puts down what it writes when.
func (e *end) watch(t *testing.T, name string, k *clock, begin, stop time.Time, busy func(time.Time) bool) {
	t.Helper()
	own := func(at time.Time) tcp.Instant { return tcp.Instant(at.Add(e.ahead).UnixNano()) }
	out := writerFunc(func(b []byte) (int, error) {
		e.lines = append(e.lines, written{k.now, bytes.Clone(b)})
		return len(b), nil
	})
	k.now = begin
	carrier := monitor.NewCarrier(out)
	carrier.Vantage, carrier.Since, carrier.Lag = name, own(k.now), ringLag
	ring := &simulatedRing{clock: k, each: carrier.Keep}
	for _, f := range e.frames {
		if at := f.At.Add(-e.ahead); !at.Before(begin) && !at.After(stop) {
			ring.frames = append(ring.frames, f)
			ring.ready = append(ring.ready, at.Add(time.Duration(k.rng.Int64N(int64(50*time.Millisecond)))))
		}
	}
	e.kept = ring.frames
	for i := len(ring.ready) - 2; i >= 0; i-- { // what came before is handed over no later
		if ring.ready[i].After(ring.ready[i+1]) {
			ring.ready[i] = ring.ready[i+1]
		}
	}
	write := monitor.NDJSON(out, name)
	s := &watcher{a: &app{}, f: &watchFlags{}, carrier: carrier, src: &stream{
		Source: ring, name: name, away: func() []string { return nil }, leave: func() {},
		files: func() []capture.File { return []capture.File{ring.file()} },
	}, out: &outlets{}}
	s.emit = func(ev monitor.Event) { _ = write(ev) }
	s.engine = monitor.New(monitor.Options{Name: name, Emit: s.emit}, s.files, nil)
	ring.wait = func() time.Duration {
		if busy(k.now) {
			return 200 * time.Millisecond
		}
		return 20 * time.Second
	}
	var b capture.Batch
	p := pace{}
	for ended := false; !ended; {
		ended = k.now.After(stop)
		asked := k.now
		k.pass(0)
		if err := ring.Read(&b); err != nil {
			t.Fatal(err)
		}
		k.pass(time.Microsecond)
		ended = ended && b.N == 0
		s.add(&b)
		k.pass(time.Microsecond)
		p.goOn(s.engine, b.N, asked.Add(e.ahead), k.now.Add(e.ahead), false)
		k.pass(time.Microsecond)
		s.carryOn(asked.Add(e.ahead), false)
	}
	s.carryOn(k.now.Add(e.ahead), true)
	if s.failed != nil {
		t.Fatal(s.failed)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// simulatedRing hands frames over as the kernel's ring does: what came before it
// was asked, or comes while it waits.
type simulatedRing struct {
	clock  *clock
	frames []lab.Frame
	ready  []time.Time // true time of handing over
	next   int
	wait   func() time.Duration
	each   func(*capture.Packet, capture.Frame)
	tcp    uint64
}

// Read implements capture.Source.
func (r *simulatedRing) Read(b *capture.Batch) error {
	b.N, b.Holes, b.Buf = 0, nil, nil
	for wait := r.wait(); b.N < capture.BatchSize; {
		if r.next == len(r.frames) || r.ready[r.next].After(r.clock.now.Add(wait)) {
			if b.N == 0 {
				r.clock.pass(wait)
			} else {
				r.clock.pass(200 * time.Millisecond)
			}
			return nil
		}
		if at := r.ready[r.next]; at.After(r.clock.now) {
			r.clock.now = at
		}
		f := &r.frames[r.next]
		r.next++
		p := capture.DecodeFrame(1, f.Data, uint32(f.Orig))
		p.At, p.Ord = tcp.Instant(f.At.UnixNano()), tcp.Ordinal(r.next)
		base := uint32(len(b.Buf))
		frame := capture.Frame{Link: 1, Wire: uint32(f.Orig), Data: f.Data}
		r.each(&p, frame)
		p.Data += base
		b.Buf = append(b.Buf, f.Data...)
		if p.Proto == capture.TCP {
			r.tcp++
		}
		b.Pkts[b.N] = p
		b.N++
		if p.At.Sub(b.Pkts[0].At) > 200*time.Millisecond {
			break
		}
	}
	return nil
}

func (r *simulatedRing) file() capture.File {
	f := capture.File{Format: "live", Frames: uint64(r.next), TCPFrames: r.tcp, DropsKnown: true, Unfiltered: true}
	if r.next > 0 {
		f.First, f.Last = tcp.Instant(r.frames[0].At.UnixNano()), tcp.Instant(r.frames[r.next-1].At.UnixNano())
	}
	return f
}
