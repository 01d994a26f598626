package main

import (
	"time"

	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/render"
	"kaflow/tcp"
)

// ringLag is how long a packet may lie in the kernel's ring before it is read, and
// pipeLag by how much one that another program hands over may be older than the
// one before it: it reads several rings, or several processors fill one.
const (
	ringLag = 300 * time.Millisecond
	pipeLag = 100 * time.Millisecond
)

// carry sets up that event streams hold what correlate needs.
func (a *app) newCarrier(f *watchFlags, args []string) *monitor.Carrier {
	format, err := a.flags.formatOf("text", "json", "ndjson")
	if err != nil || format == "text" || f.bare || a.wantsScreen(f, args) {
		return nil
	}
	return monitor.NewCarrier(render.JSONWriter(a.stdout, render.Options{ASCII: a.flags.ascii}))
}

// name tells the carrier what it writes of, once the capture is open.
func (s *watcher) carry() {
	if s.carrier == nil {
		return
	}
	s.carrier.Vantage, s.carrier.Lag = s.src.name, pipeLag
	if s.src.away != nil {
		s.carrier.Since, s.carrier.Lag = tcp.Instant(time.Now().UnixNano()), ringLag
	}
}

// add hands what was read to the engine.
func (s *watcher) add(b *capture.Batch) {
	if s.carrier != nil {
		for _, h := range b.Holes {
			s.carrier.Hole(h)
		}
		if b.N > 0 {
			s.came = time.Now()
		}
	}
	s.frames += uint64(b.N)
	for i := range b.N {
		if b.Pkts[i].Proto == capture.TCP {
			s.segments++
		}
	}
	s.engine.Add(b)
	s.memory.pace(time.Now())
}

// carryOn writes headers of segments that are due, all at the end. What came
// before read was read.
func (s *watcher) carryOn(read time.Time, end bool) {
	if s.carrier == nil {
		return
	}
	now := s.engine.Table.Now()
	if now == 0 && s.src.away != nil && len(s.away) == 0 {
		now = tcp.Instant(read.UnixNano()) // nothing came so far
	}
	write := s.carrier.Tick
	if end {
		write = s.carrier.Finish
	}
	s.wrote(write(now, s.recording()))
}

// carryFlush writes what is held where nothing has come for a while: the time of
// a file or a pipe does not go on by itself.
func (s *watcher) carryFlush() {
	if s.carrier != nil && !s.came.IsZero() && time.Since(s.came) > time.Second {
		s.came = time.Time{}
		s.wrote(s.carrier.Flush(s.engine.Table.Now(), s.recording()))
	}
}

func (s *watcher) wrote(err error) {
	if err != nil && s.failed == nil {
		s.failed = outputError{err}
	}
}

func (s *watcher) recording() (r monitor.Recording) {
	r.Selected = s.sel.narrow() || s.sel.timed() || s.f.filter != ""
	for _, f := range s.files() {
		r.Frames += f.Frames
		r.Drops += f.Drops
	}
	r.Frames = max(r.Frames, s.frames)
	return r
}

// abandon leaves what the ring still holds, and carries that it was dropped.
func (s *watcher) abandon() {
	if s.src.leave == nil {
		return
	}
	before := s.recording().Drops
	s.src.leave()
	if now := s.engine.Table.Now(); s.carrier != nil && s.recording().Drops > before {
		s.carrier.Hole(capture.Interval{From: now.Add(-ringLag), To: max(now, tcp.Instant(time.Now().UnixNano())), Why: capture.WhyDropped})
	}
}
