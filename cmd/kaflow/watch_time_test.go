package main

import (
	"context"
	"testing"
	"time"

	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/tcp"
)

// sleepyRing is an interface that brings one packet, then nothing, on a machine
// that keeps the watch from going on for a while when it has been asked in vain.
type sleepyRing struct {
	reads          int
	enough         func()
	brought, asked time.Time // when it brought the packet, and when it was asked in vain
}

const firstPacket = tcp.Instant(1_700_000_000e9)

// Read implements capture.Source.
func (r *sleepyRing) Read(b *capture.Batch) error {
	r.reads++
	b.N = 0
	switch r.reads {
	case 1:
		b.Pkts[0] = capture.Packet{At: firstPacket, Proto: capture.Echo}
		b.N = 1
		r.brought = time.Now()
	case 2:
		r.asked = time.Now()
		r.enough()
	}
	return nil
}

func (r *sleepyRing) away() []string {
	if r.reads == 2 {
		time.Sleep(time.Second)
	}
	return nil
}

// While nothing comes, time goes on as far as it is known that nothing came, not
// as far as the clock: packets of the time since may lie in the ring.
func TestTimeGoesOnNoFurtherThanWhatWasRead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := &sleepyRing{enough: cancel}
	a := &app{}
	out, err := a.newOutlets(&watchFlags{})
	if err != nil {
		t.Fatal(err)
	}
	files := func() []capture.File { return nil }
	s := &watcher{a: a, f: &watchFlags{}, out: out, engine: monitor.New(monitor.Options{Emit: func(monitor.Event) {}}, files, nil),
		src: &stream{Source: r, files: files, away: r.away, leave: func() {}}}
	if err := s.watchLive(ctx); err != nil {
		t.Fatal(err)
	}
	went, most := s.engine.Table.Now().Sub(firstPacket), r.asked.Sub(r.brought)
	if r.reads < 2 || went > most {
		t.Errorf("after %d reads time had gone on by %v, and it was known of %v that nothing came", r.reads, went, most)
	}
}
