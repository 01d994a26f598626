package pairing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/flows"
)

// atOnce is the round trip between two points below which they may be one: two
// captures of one interface differ by no more.
const atOnce = 5 * time.Microsecond

// evidence says which of two points is nearer to the client, as the sum of
// what speaks for the first (positive) or the second (negative).
type evidence struct {
	ttl, delay, stack, onesided int
	text                        string
}

// leaning returns the strongest evidence's sign; 0 where there is none.
func (e evidence) leaning() int {
	for _, votes := range [...]int{e.ttl, e.delay, e.stack, e.onesided} {
		if votes != 0 {
			return sign(float64(votes))
		}
	}
	return 0
}

// weigh collects what one connection says of the order of two of its points.
func weigh(sides []*side, s *strand, i, j int) evidence {
	var e evidence
	a, b := s.views[i], s.views[j]
	crossings := s.meet[[2]int{i, j}]
	e.ttl = ttlVotes(crossings)
	if e.ttl == 0 && len(crossings) == 0 {
		e.ttl = sideTTLVotes(a, b)
	}
	trip := roundTrip(crossings)
	if slack := atOnce + time.Duration(sides[i].tick+sides[j].tick); trip > slack {
		e.delay = 1
	} else if trip < -slack {
		e.delay = -1
	}
	for from := flows.Client; from <= flows.Server; from++ {
		nearer := 1
		if from == flows.Server {
			nearer = -1
		}
		switch x, y := unfinished(a, from), unfinished(b, from); {
		case x >= fewUnfinished && y == 0:
			e.stack += nearer
		case y >= fewUnfinished && x == 0:
			e.stack -= nearer
		}
		if a.Sides[from].Segments > 0 && b.Sides[from].Segments == 0 {
			e.onesided += nearer * outbound(a, from)
		}
		if b.Sides[from].Segments > 0 && a.Sides[from].Segments == 0 {
			e.onesided -= nearer * outbound(b, from)
		}
	}
	e.text = explain(e, sides[i].name, sides[j].name)
	return e
}

// outbound tells, of a point that alone holds what an end sends, whether that left there
// or arrived: 1 where it has passed no router, -1 where it has.
func outbound(f *flows.Flow, from uint8) int {
	for _, ttl := range f.Sides[from].TTLs {
		if ttl != 64 && ttl != 128 && ttl != 255 {
			return -1
		}
	}
	return 1
}

// explain says the strongest evidence in words.
func explain(e evidence, first, second string) string {
	near, far := first, second
	if e.leaning() < 0 {
		near, far = second, first
	}
	switch {
	case e.ttl != 0:
		return fmt.Sprintf("the TTL falls from %s to %s for what the client sends, and back for what the server sends", near, far)
	case e.delay != 0:
		return fmt.Sprintf("the server's answers take longer at %s than at %s", near, far)
	case e.stack != 0:
		return fmt.Sprintf("checksums that a network card was still to fill in show %s and %s beside the hosts that sent them", near, far)
	case e.onesided != 0:
		return fmt.Sprintf("one end's packets alone are in %s and %s, and their TTLs tell how far they came", near, far)
	}
	return ""
}

// fewUnfinished is how many wrong checksums of one sender are the work of its
// card: one can be damage.
const fewUnfinished = 3

// unfinished counts a sender's segments whose checksum is wrong: those of a host
// whose card fills it in are, in a capture on that host.
func unfinished(f *flows.Flow, from uint8) (n int) {
	for i := range f.Events {
		if e := &f.Events[i]; e.From == from && e.Note&flows.NoteBadSum != 0 {
			n++
		}
	}
	return n
}

// ttlVotes counts the segments whose TTL is higher at the first point, sender
// client, or lower, sender server, less those that say the opposite: a
// sender's packets lose TTL with each router.
func ttlVotes(crossings []crossing) (votes int) {
	for i := range crossings {
		c := &crossings[i]
		if c.ttl[0] == c.ttl[1] || c.ttl[0] == 0 || c.ttl[1] == 0 {
			continue
		}
		if (c.ttl[0] > c.ttl[1]) == (c.from == flows.Client) {
			votes++
		} else {
			votes--
		}
	}
	return votes
}

// sideTTLVotes compares the TTLs of whole sides, where no segment was found at
// both points.
func sideTTLVotes(a, b *flows.Flow) (votes int) {
	for from := range a.Sides {
		x, y := &a.Sides[from], &b.Sides[from]
		if x.Segments == 0 || y.Segments == 0 || x.TTLs[0] != x.TTLs[1] || y.TTLs[0] != y.TTLs[1] || x.TTL == y.TTL || x.TTL == 0 || y.TTL == 0 {
			continue
		}
		if (x.TTL > y.TTL) == (uint8(from) == flows.Client) {
			votes++
		} else {
			votes--
		}
	}
	return votes
}

// roundTrip returns the median of the time from a client's segment to the next
// of the server (and back) at the first point, less the same at the second:
// positive where the first is nearer to the client. No clock is needed for it.
// Zero where one direction alone crossed.
func roundTrip(crossings []crossing) time.Duration {
	byTime := slices.Clone(crossings)
	slices.SortFunc(byTime, func(a, b crossing) int { return cmpOrd(a.ord[0], b.ord[0]) })
	var trips []time.Duration
	for i := 1; i < len(byTime); i++ {
		a, b := &byTime[i-1], &byTime[i]
		if !a.sharp || !b.sharp || a.from == b.from {
			continue
		}
		trip := b.at[0].Sub(a.at[0]) - b.at[1].Sub(a.at[1])
		if a.from == flows.Server {
			trip = -trip
		}
		trips = append(trips, trip)
	}
	if len(trips) == 0 {
		return 0
	}
	slices.Sort(trips)
	return trips[len(trips)/2]
}

// atlas holds what all connections together say of the order of the points.
type atlas struct {
	sides []*side
	roles map[int]uint8
	hosts map[hostsKey]map[[2]int]int // leaning towards the key's Lo end
	all   map[[2]int]int              // leaning towards the clients
	route map[hostsKey]route
}

// route holds the points at which two hosts were seen in a shared connection,
// and what they are called there: a translation changes that.
type route map[int][]hostsKey

// maxNames bounds how many translations of two hosts are told apart at a point.
const maxNames = 16

func (r route) add(point int, k hostsKey) {
	if names := r[point]; len(names) < maxNames && !slices.Contains(names, k) {
		r[point] = append(names, k)
	}
}

func survey(sides []*side, strands []*strand, roles map[int]uint8) *atlas {
	a := &atlas{sides: sides, roles: roles, hosts: map[hostsKey]map[[2]int]int{}, all: map[[2]int]int{}, route: map[hostsKey]route{}}
	for _, s := range strands {
		s.own = map[[2]int]evidence{}
		at := s.points()
		for x, i := range at {
			for _, j := range at[x+1:] {
				a.take(s, [2]int{i, j})
			}
		}
	}
	return a
}

// passes notes that hosts were seen together at several points, under these
// names.
func (a *atlas) passes(points []int, names []hostsKey) {
	for _, k := range names {
		if a.route[k] == nil {
			a.route[k] = route{}
		}
		for n, p := range points {
			a.route[k].add(p, names[n])
		}
	}
}

// take adds one connection's word about two points.
func (a *atlas) take(s *strand, ij [2]int) {
	a.passes(ij[:], []hostsKey{hostsOf(&s.seen[ij[0]].Key), hostsOf(&s.seen[ij[1]].Key)})
	if s.self {
		return
	}
	names := s.hostsAt()
	for _, k := range names {
		if a.hosts[k] == nil {
			a.hosts[k] = map[[2]int]int{}
		}
	}
	e := weigh(a.sides, s, ij[0], ij[1])
	s.own[ij] = e
	a.all[ij] += e.leaning()
	for _, k := range names {
		a.hosts[k][ij] += e.leaning() * s.clientward(k)
	}
}

// clientward returns 1 where the client is the Lo end of hosts as they are
// called at one of the connection's points, -1 where it is the Hi end.
func (s *strand) clientward(k hostsKey) int {
	for _, f := range s.seen {
		if f != nil && hostsOf(&f.Key) == k {
			if clientIsHi(f) {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ofHosts returns how the connections of the same hosts lean for two points,
// towards the client of s.
func (a *atlas) ofHosts(s *strand, ij [2]int) (votes int) {
	for _, k := range s.hostsAt() {
		votes += a.hosts[k][ij] * s.clientward(k)
	}
	return votes
}

// nearer tells which of two points (i < j) is nearer to the client of a strand
// and why: positive for i.
func (a *atlas) nearer(s *strand, i, j int) (int, string) {
	if l := a.named(i) - a.named(j); l != 0 {
		return l, "as the captures are named"
	}
	ij := [2]int{i, j}
	if e, ok := s.own[ij]; ok && e.leaning() != 0 {
		return e.leaning(), e.text
	}
	if l := a.ofHosts(s, ij); l != 0 {
		return l, "as for other connections of the two hosts"
	}
	if l := a.all[ij]; l != 0 {
		return l, "as for the connections of other hosts"
	}
	if c := strings.Compare(a.sides[i].name, a.sides[j].name); c != 0 {
		return -c, "nothing tells the order; taken by name"
	}
	return 1, "nothing tells the order; taken as given"
}

// named returns 1 for a capture that the user calls the client's, −1 for the
// server's.
func (a *atlas) named(point int) int {
	role, ok := a.roles[point]
	switch {
	case !ok:
		return 0
	case role == flows.Client:
		return 1
	}
	return -1
}

// arrange puts the given points into the order in which the client's packets
// pass them.
func (a *atlas) arrange(s *strand, at []int) (order []int, why string) {
	wins := map[int]int{}
	for x, i := range at {
		for _, j := range at[x+1:] {
			l, text := a.nearer(s, i, j)
			if l > 0 {
				wins[i]++
			} else {
				wins[j]++
			}
			if why == "" {
				why = text
			}
		}
	}
	order = slices.Clone(at)
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case wins[i] != wins[j]:
			return wins[j] - wins[i]
		case a.sides[i].name != a.sides[j].name:
			return strings.Compare(a.sides[i].name, a.sides[j].name)
		}
		return i - j
	})
	if len(order) > 2 {
		_, why = a.nearer(s, min(order[0], order[1]), max(order[0], order[1]))
	}
	return order, why
}

// ordered reports whether anything but names tells which of two points is
// nearer to the client.
func (a *atlas) ordered(s *strand, i, j int) bool {
	ij := [2]int{min(i, j), max(i, j)}
	return a.named(i) != a.named(j) || s.own[ij].leaning() != 0 || a.ofHosts(s, ij) != 0 || a.all[ij] != 0
}

// samples turns what a connection's points share into samples for the clock
// between two of them (i < j).
func (a *atlas) samples(n int, s *strand, i, j int) []sample {
	return a.samplesFrom(n, s, s.meet[[2]int{i, j}], i, j)
}

// samplesFrom is samples of some crossings between the ends of a connection.
func (a *atlas) samplesFrom(n int, s *strand, crossings []crossing, i, j int) (out []sample) {
	known := a.ordered(s, i, j)
	lean, _ := a.nearer(s, i, j)
	for k := range crossings {
		c := &crossings[k]
		if !c.sharp {
			continue
		}
		base := sample{x: c.at[0], v: c.at[1].Sub(c.at[0]), ord: c.ord[0], conn: n}
		up, low := base, base
		up.up = true
		up.v += time.Duration(a.sides[j].tick)
		low.v -= time.Duration(a.sides[i].tick)
		switch {
		case !known: // at one place, or nearly so: a hair either way
			up.v += atOnce
			low.v -= atOnce
			out = append(out, up, low)
		case (lean > 0) == (c.from == flows.Client):
			out = append(out, up)
		default:
			out = append(out, low)
		}
	}
	return out
}
