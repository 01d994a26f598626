package capture

import (
	"errors"
	"fmt"
	"io"

	"kaflow/tcp"
)

// account adds a batch to what is known of the file.
func (s *Set) account(b *Batch) {
	f := s.file
	first, last, segments := f.First, f.Last, uint64(0)
	n := b.Sorted
	if n > 0 {
		if at := b.Pkts[0].At; at < first || first == 0 {
			first = at
		}
		last, segments = max(last, b.Pkts[n-1].At), uint64(n) // they are segments, too
	}
	for i := range b.Pkts[n:b.N] {
		p := &b.Pkts[n+i]
		if p.Proto == TCP {
			segments++
		}
		if at := p.At; at != 0 {
			if at < first || first == 0 {
				first = at
			}
			if at > last || last == 0 {
				last = at
			}
		}
	}
	if n := b.Bare.N; n > 0 { // they are in the order of time
		if at := b.Pkts[0].At; at < first || first == 0 {
			first = at
		}
		last, segments = max(last, b.Pkts[n-1].At), uint64(n)
	}
	f.First, f.Last = first, last
	f.TCPFrames += segments
	if !f.Unfiltered {
		f.Unfiltered = s.hosts.wide(b)
	}
	f.Frames = s.frames
}

// hostCount finds out whether a capture holds more than a narrow filter lets
// pass.
type hostCount struct {
	pairs [8][2][4]uint32
	n     int
}

// wide reports whether the packets seen so far are of other protocols than
// TCP, or of more host pairs than hostCount holds.
func (h *hostCount) wide(b *Batch) bool {
	for i := range b.Pkts[:b.N] {
		p := &b.Pkts[i]
		switch p.Proto {
		case Echo, ARP, Other:
			return true
		case TCP:
			if sampled(p.Ord) && h.full(&p.Key) {
				return true
			}
		}
	}
	for i := range b.Pkts[:b.Bare.N] {
		if sampled(b.Pkts[i].Ord) {
			if k := b.bareKey(i); h.full(&k) {
				return true
			}
		}
	}
	return false
}

// sampled reports whether the hosts of a frame count: it is asked for every one.
func sampled(ord tcp.Ordinal) bool { return ord < 4096 || ord%16 == 0 }

func (h *hostCount) full(k *Key) bool {
	pair := [2][4]uint32{k.Lo, k.Hi}
	for i := range h.pairs[:h.n] {
		if h.pairs[i] == pair {
			return false
		}
	}
	if h.n == len(h.pairs) {
		return true
	}
	h.pairs[h.n] = pair
	h.n++
	return false
}

// problem adds one to those of the file at hand. What ends a second reading before the
// first one ended is one of the file, too.
func (s *Set) problem(p Problem) {
	if len(s.file.Problems) < maxListed || p.Fatal {
		s.file.Problems = append(s.file.Problems, p)
	}
	if s.first != nil && p.Fatal && s.frames < s.first[s.cur].Frames {
		f := &s.first[s.cur]
		f.Problems, f.Complete = append(f.Problems, p), false
	}
}

// here returns a fatal problem at the place reached.
func (s *Set) here(what string) Problem {
	p := Problem{Offset: s.offset(), What: what, Fatal: true}
	if s.frames > 0 {
		p.Frame = s.frames + 1
	}
	return p
}

// damage ends the file at hand where its records stop making sense.
func (s *Set) damage(err error) {
	s.problem(s.here(err.Error()))
	s.leave()
}

// overLimit ends the file at hand where it is larger than allowed.
func (s *Set) overLimit() bool {
	out := s.start + int64(s.end)
	p := s.here("")
	switch {
	case out > s.o.MaxInput:
		p.What = fmt.Sprintf("more than %d octets of input", s.o.MaxInput)
	case s.in.unpack != nil && out > bombSize && out/bombRatio > s.in.raw.n && s.file.TCPFrames == 0:
		p.What = fmt.Sprintf("%s data unpacks to more than %d times its size and holds no TCP", s.in.unpack.name, bombRatio)
	default:
		return false
	}
	p.Limit = true
	s.problem(p)
	s.leave()
	return true
}

// finish ends the file at hand where there is no more of it. need is what the
// next record would have needed.
func (s *Set) finish(need int) {
	var (
		cut   *cutError
		limit *limitError
	)
	switch isCut := errors.As(s.err, &cut); {
	case s.short():
		s.shorter()
	case s.shrunk && s.err == io.EOF: // that was told, and what is missing is not another fault
	case s.err == io.EOF && s.left() == 0:
		s.file.Complete = true
	case (s.err == io.EOF || isCut) && s.grew():
		s.file.StillGrowing = true
	case s.err == io.EOF:
		s.problem(s.here(fmt.Sprintf("cut short: %s needs %d octets, %d left", s.format.unit(), need, s.left())))
	default:
		p := s.here(what(s.err))
		p.Limit = errors.As(s.err, &limit)
		s.problem(p)
	}
	s.leave()
}

// grew reports whether the file became larger while it was read.
func (s *Set) grew() bool {
	if s.in.size < 0 {
		return false
	}
	info, err := s.in.file.Stat()
	return err == nil && info.Size() > s.in.size
}

// sync copies the counters of the file at hand to what is known of it.
func (s *Set) sync() {
	f := s.file
	f.Frames = s.frames
	f.Undecoded = s.dec.undecoded
	if s.format == nil {
		return
	}
	if s.lost > 0 {
		s.problem(Problem{What: fmt.Sprintf("%d times lie outside the years 1678 to 2262", s.lost)})
		s.lost = 0
	}
	s.ended = max(s.ended, f.Last)
}
