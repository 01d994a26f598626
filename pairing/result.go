package pairing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Options tune Match. The zero value is the default.
type Options struct {
	// ClockOffset is clock(second point) − clock(first point) as the user
	// knows it; nil leaves it to the packets.
	ClockOffset *time.Duration
	// Covers holds, by point, when the user says that it was recording.
	Covers map[int][]capture.Interval
	// Roles holds, by point, whose side it is where the user named it:
	// flows.Client or flows.Server.
	Roles map[int]uint8
}

// Told reports whether anything is known that names a point by its place.
func (o *Options) Told() bool {
	return o.ClockOffset != nil || len(o.Covers) > 0 || len(o.Roles) > 0
}

// Result is what Match found. It does not depend on the order of the points,
// but that indexes and the signs of offsets follow it.
type Result struct {
	Pairs  []*Pair     // by first sight, each at its first point on the path
	Plain  []PlainPair // those in which nothing happened and that are not in Pairs: Pair builds theirs
	Clocks []Clock     // by From and To (From < To), then by time
	Notes  []string
	// Same lists points whose shared connections show no distance between
	// them: two files of one place.
	Same [][2]int
	// ClosedPaired counts connections that ended well and were matched by row
	// at two points or more, ClosedSingle those at one.
	ClosedPaired, ClosedSingle int

	matcher *matcher
}

// Match says which flows of several points are one connection, how the clocks
// compare and what became of every segment on its way.
func Match(points []Point, o Options) *Result {
	sides := make([]*side, len(points))
	for i, p := range points {
		sides[i] = newSide(p, o.Covers[i])
	}
	return matchSides(sides, o)
}

// matcher holds one Match while it works.
type matcher struct {
	sides   []*side
	opts    Options
	strands []*strand
	plain   []PlainPair
	plainOf [][]int32 // by point and flow: its place in Result.Plain, counted from 1; see Result.PlainOf
	misses  []float64
	settled map[place]bool // plain flows that are compared in detail all the same
	atlas   *atlas
	clocks  clockSet
	ipids   map[passage]ipidHabit
	closed  map[closedKey][]int // points
	notes   []string

	alone    []bystanders          // by point
	shifts   map[[2]int]bool       // points between which some connection's numbers are rewritten
	rebinds  map[[2]int]bool       // points between which some connection changes a port and no address
	proxied  map[[2]int]bool       // points between which a proxy ends some connection
	strays   []map[strayKey]stray  // by point
	nexts    []map[[2]tcp.Seq]bool // by point: where its connections have come to
	services map[passing]bool      // servers whose connections are seen elsewhere too

	heard []map[hostsKey][2]tcp.Instant // by point: when each of two hosts was last heard
}

func matchSides(sides []*side, o Options) *Result {
	m := &matcher{sides: sides, opts: o, clocks: clockSet{}}
	r := &Result{matcher: m}
	m.readClosed(r)
	left := m.setAside()
	conns, notes := matchFlows(sides, left)
	m.notes = notes
	sortConnections(conns)
	m.weave(conns)
	if conns, changed := m.unpairContradicted(conns); changed {
		m.weave(conns)
	}
	m.rates()
	m.giveOffset()
	m.ipids = ipidHabits(m.strands)
	m.readBystanders()
	m.findPauses()
	same := newSameness(len(sides))
	partners, halves := m.findPartners()
	for n, s := range m.strands {
		p := m.pair(s, same)
		p.Partner, p.Halves = partners[n], halves[n]
		p.Settled = !slices.ContainsFunc(s.conn.at, func(at place) bool { return !m.settled[at] })
		r.Pairs = append(r.Pairs, p)
	}
	m.doubtLossy(r.Pairs)
	m.notePartners(r)
	r.Same = same.points()
	m.sortPairs(r.Pairs)
	r.Plain = m.arrangePlain()
	r.Clocks = m.listClocks()
	m.report(r)
	m.release()
	return r
}

// release lets go of what only matching needs: of connections that are compared
// in detail the pairs hold what is asked for later.
func (m *matcher) release() {
	m.strands, m.nexts = nil, nil
	for _, s := range m.sides {
		if s.table != nil {
			clear(s.flows)
		}
	}
}

// weave builds the strands, the order of the points and the clocks.
func (m *matcher) weave(conns []connection) {
	m.strands = m.strands[:0]
	for _, c := range conns {
		m.strands = append(m.strands, newStrand(m.sides, c))
	}
	m.atlas = survey(m.sides, m.strands, m.opts.Roles)
	m.passPlain()
	m.clocks = clockSet{}
	for i := range m.sides {
		for j := i + 1; j < len(m.sides); j++ {
			if samples := m.samplesOf(i, j, func(string) bool { return true }); len(samples) > 0 {
				m.clocks[[2]int{i, j}] = m.setMeanwhile(i, j, fitClocks(i, j, samples), samples)
			}
		}
	}
}

// samplesOf collects the samples for one clock of the connections whose method
// is wanted.
func (m *matcher) samplesOf(i, j int, wanted func(method string) bool) (all []sample) {
	for n, s := range m.strands {
		if s.views[i] != nil && s.views[j] != nil && !s.self && wanted(s.conn.method) {
			all = append(all, m.atlas.samples(n, s, i, j)...)
		}
	}
	return all
}

// byHandshake reports whether a method rests on both ends' raw initial sequence
// numbers.
func byHandshake(method string) bool { return method == byISN || method == byRawISN }

// unpairContradicted takes apart connections that were not matched by their
// handshakes and that contradict a clock on which those with handshakes agree.
func (m *matcher) unpairContradicted(conns []connection) ([]connection, bool) {
	wrong := map[int]bool{}
	for ij, pieces := range m.clocks {
		if len(pieces) == 1 && !pieces[0].Contradiction {
			continue
		}
		sure := m.samplesOf(ij[0], ij[1], byHandshake)
		f, ok := fitSamples(slices.Clone(sure))
		if !ok || len(sure) == 0 {
			continue
		}
		for _, s := range m.samplesOf(ij[0], ij[1], func(method string) bool { return !byHandshake(method) }) {
			low, high := f.bounds(s.x)
			v := float64(s.v - f.v0)
			if (s.up && v < low) || (!s.up && v > high) {
				wrong[s.conn] = true
			}
		}
	}
	if len(wrong) == 0 {
		return conns, false
	}
	var out []connection
	for n, c := range conns {
		if !wrong[n] {
			out = append(out, c)
			continue
		}
		for _, p := range c.at {
			out = append(out, connection{at: []place{p}, method: alone})
		}
	}
	m.notes = append(m.notes, fmt.Sprintf("%d connections with matching numbers but no handshake contradict the clock that all others agree on; they are not paired", len(wrong)))
	return out, true
}

// giveOffset puts the user's offset in place of the estimate between the first
// two points.
func (m *matcher) giveOffset() {
	if m.opts.ClockOffset == nil || len(m.sides) < 2 {
		return
	}
	given := *m.opts.ClockOffset
	ij := [2]int{0, 1}
	if len(m.clocks[ij]) == 0 {
		m.clocks[ij] = []Clock{{From: 0, To: 1, Since: tcp.MinInstant, Until: tcp.MaxInstant, Offset: given, Min: given, Max: given, Given: true}}
		return
	}
	pieces := m.clocks[ij]
	for k := range pieces {
		c := &pieces[k]
		least, greatest := c.Bounds(c.At)
		if given < least || given > greatest {
			c.Note = fmt.Sprintf("the given offset of %v contradicts packets, which bound it to %v to %v", given, least, greatest)
			m.notes = append(m.notes, fmt.Sprintf("%s to %s: %s", m.sides[0].name, m.sides[1].name, c.Note))
			c.fit, c.Min, c.Max, c.NoMin, c.NoMax, c.Contradiction = nil, given, given, false, false, false
			c.PPM, c.PPMMin, c.PPMMax = 0, 0, 0
		}
		c.Offset, c.Given = given, true
	}
}

// pair turns a strand into what the caller reads.
func (m *matcher) pair(s *strand, same *sameness) *Pair {
	at := s.points()
	order, why := m.atlas.arrange(s, at)
	path := order
	if !s.self && len(s.conn.ambiguous) == 0 {
		path, _ = m.atlas.arrange(s, m.withMissing(s, at))
	}
	p := &Pair{Path: path, OrderWhy: why, Method: s.conn.method, Score: s.conn.score, Margin: s.conn.margin, Ambiguous: s.conn.ambiguous}
	for _, v := range order {
		shift := s.shiftFrom(order[0], v)
		p.Seen = append(p.Seen, Sighting{Vantage: v, Flow: m.sides[v].paused(unshifted(s.seen[v], shift)), Shift: shift})
	}
	for v := range m.sides {
		if s.views[v] == nil && m.closedAt(s, v) {
			p.ClosedAt = append(p.ClosedAt, v)
		}
	}
	p.Fates = m.fatesOf(s, path)
	p.SamePoint = m.samePoint(s, path, p.Fates, same)
	return p
}

// withMissing adds the points that a connection should have passed: those at
// which other connections of its hosts were seen together with it, unless it
// may be there unrecognised.
func (m *matcher) withMissing(s *strand, at []int) []int {
	all := slices.Clone(at)
	for p := range m.sides {
		if s.views[p] == nil && len(m.namesAt(s, p)) > 0 && !m.unrecognised(s, p) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return all
}

// namesAt returns what the connection's hosts are called at a point that it
// should have passed, by its own sighting there or those of other connections
// of the hosts; none where nothing says that it passes there.
func (m *matcher) namesAt(s *strand, p int) (names []hostsKey) {
	if f := s.seen[p]; f != nil {
		return []hostsKey{hostsOf(&f.Key)}
	}
	for v, f := range s.seen {
		if f == nil {
			continue
		}
		route := m.atlas.route[hostsOf(&f.Key)]
		if len(route[v]) == 0 {
			continue
		}
		for _, k := range route[p] {
			if !slices.Contains(names, k) {
				names = append(names, k)
			}
		}
	}
	return names
}

// readClosed counts the rows of ended connections and files them by ISN.
func (m *matcher) readClosed(r *Result) {
	m.closed = map[closedKey][]int{}
	for p, s := range m.sides {
		for _, c := range s.closed {
			k := closedKeyOf(c.Key, c.ISN)
			if !slices.Contains(m.closed[k], p) {
				m.closed[k] = append(m.closed[k], p)
			}
		}
	}
	for _, points := range m.closed {
		if len(points) > 1 {
			r.ClosedPaired++
		} else {
			r.ClosedSingle++
		}
	}
}

// closedAt reports whether the connection ended well at point v, where only a
// row of it is left.
func (m *matcher) closedAt(s *strand, v int) bool {
	for _, f := range s.seen {
		if f == nil {
			continue
		}
		k := closedKeyOf(f.Key, [2]tcp.Seq{f.Sides[0].ISN, f.Sides[1].ISN})
		if slices.Contains(m.closed[k], v) {
			return true
		}
	}
	return false
}

// samePoint reports whether all neighbours on the path recorded the same frames
// with no distance between them, and counts for every two whether they did.
func (m *matcher) samePoint(s *strand, path []int, fates []Fate, same *sameness) bool {
	all := len(path) > 1
	for k := 0; k+1 < len(path); k++ {
		i, j := min(path[k], path[k+1]), max(path[k], path[k+1])
		crossings := s.meet[[2]int{i, j}]
		if len(crossings) < 3 {
			all = false
			continue
		}
		is := m.noDistance(crossings, i, j) && allCrossed(fates, i, j)
		same.count([2]int{i, j}, is)
		all = all && is
	}
	return all
}

// noDistance reports whether the segments of both directions kept their TTL
// and took no time between two points.
func (m *matcher) noDistance(crossings []crossing, i, j int) bool {
	seen := [2]bool{}
	for k := range crossings {
		if crossings[k].ttl[0] != crossings[k].ttl[1] {
			return false
		}
		seen[crossings[k].from] = true
	}
	trip := roundTrip(crossings)
	slack := atOnce + time.Duration(m.sides[i].tick+m.sides[j].tick)
	return seen[0] && seen[1] && -slack <= trip && trip <= slack
}

// allCrossed reports whether nothing was lost or is missing between two
// points.
func allCrossed(fates []Fate, i, j int) bool {
	for k := range fates {
		b := fates[k].Between
		if (b == [2]int{i, j} || b == [2]int{j, i}) && fates[k].How != Crossed {
			return false
		}
	}
	return true
}

// sameness counts, for every two points, connections that show no distance.
type sameness struct {
	n       int
	yes, no map[[2]int]int
}

func newSameness(n int) *sameness {
	return &sameness{n: n, yes: map[[2]int]int{}, no: map[[2]int]int{}}
}

func (s *sameness) count(ij [2]int, same bool) {
	if same {
		s.yes[ij]++
	} else {
		s.no[ij]++
	}
}

// points returns the points between which no connection shows a distance.
func (s *sameness) points() (out [][2]int) {
	for i := range s.n {
		for j := i + 1; j < s.n; j++ {
			if ij := [2]int{i, j}; s.yes[ij] > 0 && s.no[ij] == 0 {
				out = append(out, ij)
			}
		}
	}
	return out
}

func sortConnections(conns []connection) {
	slices.SortFunc(conns, func(a, b connection) int {
		x, y := a.at[0], b.at[0]
		if x.point != y.point {
			return x.point - y.point
		}
		return x.flow - y.flow
	})
}

// sortPairs orders pairs by content, not by the order of the points.
func (m *matcher) sortPairs(pairs []*Pair) {
	slices.SortStableFunc(pairs, func(a, b *Pair) int {
		f, g := a.Seen[0].Flow, b.Seen[0].Flow
		if f.First != g.First {
			return cmpOrd(f.First, g.First)
		}
		for s := range f.Sides {
			if c := f.Sides[s].Addr.Compare(g.Sides[s].Addr); c != 0 {
				return c
			}
		}
		return strings.Compare(m.sides[a.Seen[0].Vantage].name, m.sides[b.Seen[0].Vantage].name)
	})
}

func (m *matcher) listClocks() (all []Clock) {
	for i := range m.sides {
		for j := i + 1; j < len(m.sides); j++ {
			all = append(all, m.clocks[[2]int{i, j}]...)
		}
	}
	return all
}

// report adds what the user should know of the points as a whole.
func (m *matcher) report(r *Result) {
	r.Notes = m.notes
	for _, ij := range r.Same {
		r.Notes = append(r.Notes, fmt.Sprintf("%s and %s hold the same packets at the same moments with the same TTL: two files of one place, which prove nothing about a path between them",
			m.sides[ij[0]].name, m.sides[ij[1]].name))
	}
	for _, c := range r.Clocks {
		if c.Contradiction || strings.Contains(c.Note, "steps") {
			r.Notes = append(r.Notes, fmt.Sprintf("%s to %s: %s", m.sides[c.From].name, m.sides[c.To].name, c.Note))
		}
	}
	for i := range m.sides {
		for j := i + 1; j < len(m.sides); j++ {
			if near, far, told := m.misnamed(i, j); told {
				r.Notes = append(r.Notes, fmt.Sprintf("%s is taken as nearer to the client than %s, as named; their packets say the opposite: are the two names exchanged?", near, far))
			}
			if len(m.plain) == 0 && !m.shares(i, j) && !m.proxied[[2]int{i, j}] {
				r.Notes = append(r.Notes, fmt.Sprintf("%s and %s share no connection", m.sides[i].name, m.sides[j].name))
			}
		}
	}
}

// misnamed reports whether packets contradict the order that the user named for
// two points, and who was named to be nearer to the client.
func (m *matcher) misnamed(i, j int) (near, far string, told bool) {
	l := m.atlas.named(i) - m.atlas.named(j)
	if l*m.atlas.all[[2]int{i, j}] >= 0 {
		return "", "", false
	}
	if l < 0 {
		i, j = j, i
	}
	return m.sides[i].name, m.sides[j].name, true
}

// shares reports whether two points saw at least one connection both, or perhaps
// did.
func (m *matcher) shares(i, j int) bool {
	for _, s := range m.strands {
		if s.views[i] != nil && s.views[j] != nil || len(s.conn.ambiguous) > 0 {
			return true
		}
	}
	for _, points := range m.closed {
		if slices.Contains(points, i) && slices.Contains(points, j) {
			return true
		}
	}
	return false
}

// Between returns the clocks from one point to another as Result lists them,
// with From < To.
func (r *Result) Between(i, j int) (pieces []Clock) {
	for _, c := range r.Clocks {
		if c.From == min(i, j) && c.To == max(i, j) {
			pieces = append(pieces, c)
		}
	}
	return pieces
}

// Map converts an instant of one point's clock into another's by the point
// estimate. known is false where nothing compares the two; then t comes back.
func (r *Result) Map(from, to int, t tcp.Instant) (at tcp.Instant, known bool) {
	if from == to {
		return t, true
	}
	pieces := r.Between(from, to)
	if len(pieces) == 0 {
		return t, false
	}
	set := clockSet{[2]int{min(from, to), max(from, to)}: pieces}
	return set.estimate(from, to, t), true
}

// Window converts an instant of one point's clock into the span of instants on
// another's that no packet excludes.
func (r *Result) Window(from, to int, t tcp.Instant) (first, last tcp.Instant, known bool) {
	set := clockSet{[2]int{min(from, to), max(from, to)}: r.Between(from, to)}
	return set.window(from, to, t)
}

// Sent returns the fate of the sender's frame between its point and the next;
// ok is false where it has none.
func (p *Pair) Sent(vantage int, ord tcp.Ordinal) (f Fate, ok bool) {
	for i := range p.Fates {
		if p.Fates[i].Sent.Vantage == vantage && p.Fates[i].Sent.Ord == ord {
			return p.Fates[i], true
		}
	}
	return Fate{}, false
}
