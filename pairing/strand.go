package pairing

import (
	"slices"

	"kaflow/flows"
)

// strand is one connection while it is worked on: its view at each point, with
// one opinion about who the client is, and the segments that two of them share.
type strand struct {
	conn  connection
	seen  []*flows.Flow // by point, as seen there; nil where it was not
	views []*flows.Flow // the same with the sequence numbers of one of them
	shift [][2]uint32   // by point: seen's sequence numbers minus those of views
	meet  map[[2]int][]crossing
	own   map[[2]int]evidence // what it says itself of the order of two points
	self  bool                // both ends are the same: no direction
}

// newStrand brings a connection's views to one opinion about its roles and to
// one sequence space each way.
func newStrand(sides []*side, c connection) *strand {
	s := &strand{conn: c, seen: make([]*flows.Flow, len(sides)), views: make([]*flows.Flow, len(sides)),
		shift: make([][2]uint32, len(sides)), meet: map[[2]int][]crossing{}}
	for _, p := range c.at {
		s.self = s.self || selfConnected(sides[p.point].flow(p.flow))
	}
	s.align(sides)
	for a, i := range c.at {
		for _, j := range c.at[a+1:] {
			if !s.self {
				s.meet[[2]int{i.point, j.point}] = identify(s.views[i.point], s.views[j.point])
			}
		}
	}
	return s
}

// align fills in the views: each is related to one that is already placed,
// then all of them take the roles that most of them, or a SYN, speak for.
func (s *strand) align(sides []*side) {
	first := s.conn.at[0]
	f := sides[first.point].flow(first.flow)
	s.seen[first.point], s.views[first.point] = f, f
	votes := s.opinion(f, false)
	open := slices.Clone(s.conn.at[1:])
	for len(open) > 0 {
		k, r := s.next(sides, open)
		p := open[k]
		f := sides[p.point].flow(p.flow)
		votes += s.opinion(f, r.turned)
		if r.turned {
			f = mirrored(f)
		}
		s.seen[p.point], s.views[p.point], s.shift[p.point] = f, unshifted(f, r.shift), r.shift
		open = slices.Delete(open, k, k+1)
	}
	if votes > 0 || votes == 0 && clientIsHi(s.least()) {
		s.turn()
	}
}

// next returns the first of the open places that can be related to a view that
// is placed, and how it reads in terms of the first one. Places are joined by relations, so there is one.
func (s *strand) next(sides []*side, open []place) (int, relation) {
	for k, p := range open {
		f := sides[p.point].flow(p.flow)
		for _, q := range s.conn.at {
			v := s.seen[q.point]
			if v == nil {
				continue
			}
			if v.Key == f.Key && !s.conn.shifted {
				return k, relation{turned: clientIsHi(v) != clientIsHi(f), shift: s.shift[q.point]}
			}
			if r, ok := relate(v, f); ok {
				for side := range r.shift {
					r.shift[side] += s.shift[q.point][side]
				}
				return k, r
			}
		}
	}
	return 0, relation{}
}

// opinion returns the view's vote on the roles: positive where it holds those
// taken so far to be the wrong way round.
func (s *strand) opinion(f *flows.Flow, turned bool) int {
	weight := 0
	switch {
	case s.self:
	case f.RolesKnown:
		weight = 1000 // a SYN outweighs every guess
	default:
		weight = 1
	}
	if !turned {
		return -weight
	}
	return weight
}

// least returns the view with the least key, to settle a tie alike in every
// order of the points.
func (s *strand) least() (f *flows.Flow) {
	for _, v := range s.seen {
		if v != nil && (f == nil || keyLess(v, f)) {
			f = v
		}
	}
	return f
}

func keyLess(a, b *flows.Flow) bool {
	x, y := &a.Key, &b.Key
	if c := slices.Compare(x.Lo[:], y.Lo[:]); c != 0 {
		return c < 0
	}
	if c := slices.Compare(x.Hi[:], y.Hi[:]); c != 0 {
		return c < 0
	}
	return x.Ports < y.Ports
}

// turn exchanges client and server in all views.
func (s *strand) turn() {
	if s.self {
		return
	}
	for p, f := range s.seen {
		if f == nil {
			continue
		}
		same := s.views[p] == f
		s.seen[p] = mirrored(f)
		s.shift[p][0], s.shift[p][1] = s.shift[p][1], s.shift[p][0]
		if same {
			s.views[p] = s.seen[p]
		} else {
			s.views[p] = mirrored(s.views[p])
		}
	}
}

// points returns where the connection was seen, by index.
func (s *strand) points() (at []int) {
	for p, f := range s.views {
		if f != nil {
			at = append(at, p)
		}
	}
	return at
}

// shiftFrom returns by how much the sequence numbers at point p are above
// those at point base.
func (s *strand) shiftFrom(base, p int) (d [2]uint32) {
	for side := range d {
		d[side] = s.shift[p][side] - s.shift[base][side]
	}
	return d
}

// hostsAt returns the connection's hosts as they are called at its points,
// each once.
func (s *strand) hostsAt() (all []hostsKey) {
	for _, f := range s.seen {
		if f == nil {
			continue
		}
		if k := hostsOf(&f.Key); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}
