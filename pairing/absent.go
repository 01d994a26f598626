package pairing

import (
	"net/netip"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// A connection that one point holds and another does not may be there after
// all, under addresses or numbers by which it was not recognised. Nothing is
// lost where that is possible.

// bystanders are the connections of a point that were seen nowhere else, by
// their hosts.
type bystanders map[hostsKey][]*flows.Flow

// readBystanders files what was not paired, by point.
func (m *matcher) readBystanders() {
	m.alone = make([]bystanders, len(m.sides))
	m.rebinds = map[[2]int]bool{}
	m.shifts = map[[2]int]bool{}
	m.services = map[passing]bool{}
	for p := range m.alone {
		m.alone[p] = bystanders{}
	}
	defer m.readStrays()
	m.readPlain()
	for _, s := range m.strands {
		at := s.points()
		if len(at) == 1 {
			f := s.seen[at[0]]
			k := hostsOf(&f.Key)
			m.alone[at[0]][k] = append(m.alone[at[0]][k], f)
		}
		for x, i := range at {
			for _, j := range at[x+1:] {
				if s.shiftFrom(i, j) != [2]uint32{} {
					m.shifts[[2]int{i, j}] = true
				}
				if f, g := s.seen[i], s.seen[j]; f.Key != g.Key && hostsOf(&f.Key) == hostsOf(&g.Key) {
					m.rebinds[[2]int{i, j}] = true
				}
				m.services[passing{i, j, s.seen[i].Sides[flows.Server].Addr}] = true
				m.services[passing{j, i, s.seen[j].Sides[flows.Server].Addr}] = true
			}
		}
	}
}

// readPlain notes the servers of plain connections whose addresses are
// translated.
func (m *matcher) readPlain() {
	for k := range m.plain {
		for i := range m.sides {
			for j := range m.sides {
				f, g := &m.sides[i].cards[m.plain[k].at[i]], &m.sides[j].cards[m.plain[k].at[j]]
				if i != j && f.Key != g.Key {
					_, server := endsOfKey(f)
					m.services[passing{i, j, server}] = true
				}
			}
		}
	}
}

// passing says that connections to a server, as it is called at one point, are
// seen at another too.
type passing struct {
	here, there int
	server      netip.AddrPort
}

// admitted reports whether point y would hold a connection that only point x
// and others hold.
func (m *matcher) admitted(s *strand, x, y int) bool {
	f := s.seen[x]
	return m.sides[y].admits(f) || m.translated(s, x, y) && m.services[passing{x, y, f.Sides[flows.Server].Addr}]
}

// translated reports whether the hosts of a connection have other names at y
// than at x.
func (m *matcher) translated(s *strand, x, y int) bool {
	here := hostsOf(&s.seen[x].Key)
	for _, k := range m.namesAt(s, y) {
		if k != here {
			return true
		}
	}
	return false
}

// unrecognised reports whether a connection of point p that was seen nowhere
// else may be s.
func (m *matcher) unrecognised(s *strand, p int) bool {
	for _, k := range m.namesAt(s, p) {
		for _, g := range m.alone[p][k] {
			for v, f := range s.seen {
				if f != nil && m.mayBe(f, v, g, p) {
					return true
				}
			}
		}
	}
	return false
}

// mayBe reports whether g, seen at p alone, may be f of point v: at the same
// time, with addresses that a translation explains, and with ISNs that a shift
// explains.
func (m *matcher) mayBe(f *flows.Flow, v int, g *flows.Flow, p int) bool {
	ij := [2]int{min(v, p), max(v, p)}
	if hostsOf(&f.Key) == hostsOf(&g.Key) && f.Key != g.Key && !m.rebinds[ij] {
		return false
	}
	from, _, _ := m.clocks.window(v, p, f.First)
	_, to, _ := m.clocks.window(v, p, f.Last)
	if !m.shifts[ij] && isnsDiffer(f, g) {
		return f.Key == g.Key && from <= g.Last && g.First <= to // a proxy may stand between
	}
	return from.Add(-longestDelay) <= g.Last && g.First <= to.Add(longestDelay)
}

// isnsDiffer reports whether a handshake seen at both points excludes that two
// views are one connection whose numbers nobody rewrites.
func isnsDiffer(f, g *flows.Flow) bool {
	if !f.RolesKnown || !g.RolesKnown {
		return false
	}
	for s := range f.Sides {
		if x, y := &f.Sides[s], &g.Sides[s]; x.ISNKnown && y.ISNKnown && x.ISN != y.ISN {
			return true
		}
	}
	return false
}

// closedKey names a connection that ended well: where both initial sequence
// numbers are known they do without the addresses, which may be translated.
type closedKey struct {
	key capture.Key
	isn [2]tcp.Seq
}

func closedKeyOf(key capture.Key, isn [2]tcp.Seq) closedKey {
	if isn[0] != 0 && isn[1] != 0 {
		key = capture.Key{}
	}
	return closedKey{key, isn}
}
