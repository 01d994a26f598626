package dialogue

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Packets returns what a capture at the vantage point would hold, in the order
// of its times. The point "" sees every frame when it was sent, by a true clock.
func (s *Script) Packets(point string) ([]Frame, error) {
	if point != "" && point != Client && point != Server {
		return nil, fmt.Errorf("dialogue: no vantage point is called %q", point)
	}
	var out []Frame
	for i := range s.frames {
		f := &s.frames[i]
		after, hops, seen := s.sees(point, f)
		if !seen {
			continue
		}
		out = append(out, s.record(f, point, after, hops))
		for _, c := range f.copies {
			n := hops
			if c.routed {
				n++
			}
			twin := s.record(f, point, after+c.after, n)
			if twin.Want.Kind != "" {
				twin.Want.Kind = "duplicate"
			}
			out = append(out, twin)
		}
	}
	slices.SortStableFunc(out, func(a, b Frame) int { return cmp.Compare(a.At, b.At) })
	return out, nil
}

// sees says whether a frame is recorded at a vantage point, how long after it
// was sent, and how many routers it passed on the way.
func (s *Script) sees(point string, f *frame) (after time.Duration, hops int, seen bool) {
	switch {
	case point == "":
		return 0, 0, true
	case f.only != "":
		return 0, 0, f.only == point
	case f.from.side == point:
		return 0, 0, true
	case f.to == nil || f.to.side != point: // broadcasts stay on their side
		return 0, 0, false
	case f.from.side == "": // from a router between: the time is the receiver's
		return 0, 0, true
	}
	return s.delay[f.from.name], s.hops, !f.lost
}

// record makes the frame as it is captured.
func (s *Script) record(f *frame, point string, after time.Duration, hops int) Frame {
	data := s.encode(f, hops)
	wire := len(data)
	if len(data) > s.snaplen {
		data = data[:s.snaplen]
	}
	return Frame{At: s.start.Add(f.at + after + s.clock[point]), Data: data, Wire: wire, Want: f.want}
}
