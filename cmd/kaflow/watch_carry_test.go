package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/tcp"
)

// What the ring still holds when a watch ends was dropped, and its stream says from
// when on.
func TestWhatAWatchLeavesInTheRingIsAHole(t *testing.T) {
	var out bytes.Buffer
	drops := uint64(0)
	s := &watcher{a: &app{}, f: &watchFlags{}, carrier: monitor.NewCarrier(&out)}
	s.src = &stream{leave: func() { drops = 3 }, files: func() []capture.File { return []capture.File{{Frames: 7, Drops: drops}} }}
	s.engine = monitor.New(monitor.Options{Emit: func(monitor.Event) {}}, s.files, nil)
	read := tcp.Instant(1_700_000_000e9)
	s.engine.Advance(read)
	s.abandon()
	s.carryOn(time.Now(), true)
	var line struct {
		Drops uint64
		Holes []struct{ From, To time.Time }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Drops != 3 || len(line.Holes) != 1 || line.Holes[0].From.After(read.Time()) || !line.Holes[0].To.After(read.Time()) {
		t.Errorf("%+v", line)
	}
}

// Packet time goes on while nothing comes, as far as packets were asked for in vain,
// also when a clock that was set back stamps what comes.
func TestPacketTimeGoesOn(t *testing.T) {
	const began = tcp.Instant(1_700_000_000e9)
	now := time.Unix(1_800_000_000, 0) // another clock
	e := monitor.New(monitor.Options{Emit: func(monitor.Event) {}}, func() []capture.File { return nil }, nil)
	var p pace
	come := func(at tcp.Instant) {
		b := &capture.Batch{N: 1}
		b.Pkts[0] = capture.Packet{At: at, Ord: 1, Proto: capture.Other}
		e.Add(b)
		p.goOn(e, 1, now, now, false)
	}
	want := func(what string, after time.Duration) {
		t.Helper()
		if got := e.Table.Now().Sub(began); got != after {
			t.Errorf("%s: %v, want %v", what, got, after)
		}
	}
	come(began)
	now = now.Add(10 * time.Second)
	p.goOn(e, 0, now.Add(-4*time.Second), now, false)
	want("asked for in vain 6 s later", 6*time.Second)
	come(began.Add(10 * time.Second))
	for range 20 {
		now = now.Add(time.Second)
		come(began.Add(-time.Hour))
	}
	now = now.Add(time.Second)
	p.goOn(e, 0, now, now, false)
	want("packets of a clock that was set back came", 31*time.Second)
	now = now.Add(time.Second)
	p.goOn(e, 0, now, now, true)
	want("an interface is away", 31*time.Second)
}
