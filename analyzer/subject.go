package analyzer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Subject is what rules are asked about: one connection at one or more vantage
// points, with all that may speak for or against a reading of it. Rules change
// nothing in it; what many of them ask is kept once it was found out.
type Subject struct {
	*pairing.Pair
	Points    []pairing.Point
	Clocks    []pairing.Clock
	Base      int       // vantage point whose clock the subject's instants are on
	Passages  []Passage // every segment and run, with what became of it, by time
	Controls  []Control // signs of life or death between the same hosts, by time
	Others    []*pairing.Pair
	Ends      [2]tcp.Instant // first and last instant of all captures, on Base's clock
	Verdict   *Verdict       // nil until one is found
	flow      *flows.Flow    // at Base
	others    func(hostsKey) []*Subject
	find      func(sighting) *Subject   // another connection (see desk.find)
	renamed   func(hostsKey) []*Subject // connections that only a further vantage point has under these hosts; nil: none
	alone     bool                      // it cannot be the continuation of another (see desk.alone)
	part      bool                      // of a subject of several captures, as one of them has it (see seenAt)
	id        sighting
	dismissal dismissal // see dismissed
}

// Flow returns the connection as the first vantage point saw it.
func (s *Subject) Flow() *flows.Flow { return s.flow }

// TwoSided reports whether the connection was looked for at two or more
// different places.
func (s *Subject) TwoSided() bool { return len(s.Path) >= 2 && !s.SamePoint }

// Passage is one segment, or one run of a side's segments, on its whole way.
type Passage struct {
	Event   *flows.Event
	From    uint8
	Kind    flows.Kind
	At      tcp.Instant   // when it was first seen, on Base's clock
	Until   tcp.Instant   // of a run: its last segment
	Refs    []pairing.Ref // where it was seen, in the direction of travel
	How     pairing.How   // over the whole way
	Known   bool          // false: nobody could have seen it elsewhere
	Assumed bool
	Sure    int    // of a run of which the loss is assumed: how many of it are lost surely
	Strayed bool   // it crossed under another name, on which its receiver has no connection
	Between [2]int // of a loss: the vantage points
	Why     string
	Count   int
	Last    pairing.Ref // of a run, or of answers that are folded: the last segment, where it was first seen
	Row     bool        // several answers that are folded: Refs has the last of them, the frames of the others are not known
}

// First returns the sighting nearest to the sender.
func (p *Passage) First() pairing.Ref { return p.Refs[0] }

// heldAt reports whether a vantage point holds the passage.
func (p *Passage) heldAt(vantage int) bool {
	return slices.ContainsFunc(p.Refs, func(r pairing.Ref) bool { return r.Vantage == vantage })
}

// Control is a sign of life or death between the hosts of a subject that is
// not part of its own connection.
type Control struct {
	At     tcp.Instant // on Base's clock
	Until  tcp.Instant // of another connection that is lost: when it was so last
	What   string      // "fresh SYN", "ICMP echo", "flow"
	Alive  bool        // it crossed, or was answered
	Proof  bool        // two captures show it, or an answer does
	Passed bool        // of a lost ping: later ones cross again
	Barred bool        // a SYN that two captures show to be lost, for a port that never answered: no proof of anything
	Refs   []pairing.Ref
}

// clockwork converts instants of one vantage point's clock into another's.
type clockwork []pairing.Clock

// to converts at from vantage point v's clock to base's, directly or over one
// vantage point between. Without a clock the instant comes back unchanged.
func (c clockwork) to(base, v int, at tcp.Instant) tcp.Instant {
	if base == v || at == 0 {
		return at
	}
	if t, ok := c.step(base, v, at); ok {
		return t
	}
	for i := range c {
		for _, mid := range [2]int{c[i].From, c[i].To} {
			if t, ok := c.step(mid, v, at); ok && mid != v && mid != base {
				if t, ok = c.step(base, mid, t); ok {
					return t
				}
			}
		}
	}
	return at
}

func (c clockwork) step(base, v int, at tcp.Instant) (tcp.Instant, bool) {
	var found *pairing.Clock
	for i := range c {
		k := &c[i]
		if !(k.From == base && k.To == v || k.From == v && k.To == base) {
			continue
		}
		if found == nil {
			found = k
		}
		here := at
		if k.To == v {
			here = k.Unmap(at)
		}
		if here >= k.Since && (k.Until == 0 || here <= k.Until) {
			found = k
			break
		}
	}
	if found == nil {
		return 0, false
	}
	if found.From == v {
		return found.Map(at), true
	}
	return found.Unmap(at), true
}

// newSubject gathers what there is to know about a pair.
func newSubject(points []pairing.Point, clocks []pairing.Clock, pair *pairing.Pair, spans []span) *Subject {
	s := &Subject{Pair: pair, Points: points, Clocks: clocks, Base: pair.Seen[0].Vantage, flow: pair.Seen[0].Flow}
	s.id = sighting{s.Base, s.flow.ID}
	c := clockwork(clocks)
	for i, sp := range spans {
		if sp.last == 0 || !slices.ContainsFunc(pair.Seen, func(x pairing.Sighting) bool { return x.Vantage == i }) {
			continue // a capture that does not hold it does not show its silence either
		}
		first, last := c.to(s.Base, i, sp.first), c.to(s.Base, i, sp.last)
		if s.Ends[0] == 0 || first < s.Ends[0] {
			s.Ends[0] = first
		}
		s.Ends[1] = max(s.Ends[1], last)
	}
	s.Passages = passages(s, c)
	return s
}

// seenAt returns the subject as one of its vantage points alone has it.
func (s *Subject) seenAt(vantage int) *Subject {
	one := s.partAt(vantage)
	one.others = func(hostsKey) (list []*Subject) {
		for _, other := range flows.FirstAndLast(s.others(hostsOf(s.Pair)), maxControls) {
			if other.sightingAt(vantage) != nil {
				list = append(list, other.partAt(vantage))
			}
		}
		return list
	}
	one.find = func(x sighting) *Subject {
		if other := s.find(x); other != nil && other.sightingAt(vantage) != nil {
			return other.partAt(vantage)
		}
		return nil
	}
	one.suspect()
	return one
}

// partAt is seenAt without others beside it.
func (s *Subject) partAt(vantage int) *Subject {
	pair := &pairing.Pair{Seen: []pairing.Sighting{*s.sightingAt(vantage)}, Path: []int{vantage}, Method: "single"}
	one := newSubject(s.Points, s.Clocks, pair, spansOf(s.Points))
	one.part = true
	return one
}

// beyond asks a rule of one capture what the capture nearest to a side shows of what
// happens behind it, where that was not taken beside the side.
func (s *Subject) beyond(side uint8, ask func(*Subject) Answer) Answer {
	near := s.nearestSighting(side)
	if !s.TwoSided() || beside(near.Flow, side) {
		return Answer{}
	}
	a := ask(s.seenAt(near.Vantage))
	if a.Verdict != nil {
		a.Verdict.At = clockwork(s.Clocks).to(s.Base, near.Vantage, a.Verdict.At)
	}
	return a
}

// beside reports whether a side's segments have passed no router where a flow was
// captured: on its host, or on its link.
func beside(f *flows.Flow, side uint8) bool {
	ttls := f.Sides[side].TTLs
	return hops(ttls[0]) == 0 && hops(ttls[1]) == 0
}

// span is when a vantage point's first and last frame was seen, on its own
// clock.
type span struct{ first, last tcp.Instant }

func spansOf(points []pairing.Point) []span {
	out := make([]span, len(points))
	for i, p := range points {
		for j := range p.Files {
			f := &p.Files[j]
			if f.Frames == 0 {
				continue
			}
			if out[i].first == 0 || f.First < out[i].first {
				out[i].first = f.First
			}
			out[i].last = max(out[i].last, f.Last)
		}
	}
	return out
}

// ref points at one event of a sighting.
func (s *Subject) ref(seen *pairing.Sighting, ord tcp.Ordinal, kind flows.Kind, at tcp.Instant) pairing.Ref {
	return refAt(s.Points, seen.Vantage, ord, kind, at)
}

func refAt(points []pairing.Point, vantage int, ord tcp.Ordinal, kind flows.Kind, at tcp.Instant) pairing.Ref {
	r := pairing.Ref{Vantage: vantage, Ord: ord, Kind: kind, At: at, Frame: uint64(ord)}
	if f := points[vantage].Frame; f != nil && ord != 0 {
		r.File, r.Frame = f(ord)
	}
	return r
}

// place names a frame of a vantage point.
type place struct {
	vantage int
	ord     tcp.Ordinal
}

// passages joins the fates of each segment into its whole way, and adds what
// no fate speaks of.
func passages(s *Subject, c clockwork) []Passage {
	next := make(map[place]*pairing.Fate, len(s.Fates))
	arrived := make(map[place]bool, len(s.Fates))
	for i := range s.Fates {
		f := &s.Fates[i]
		next[place{f.Sent.Vantage, f.Sent.Ord}] = f
		if f.Seen.Ord != 0 {
			arrived[place{f.Seen.Vantage, f.Seen.Ord}] = true
		}
	}
	var out []Passage
	for i := range s.Seen {
		seen := &s.Seen[i]
		for j := range seen.Flow.Events {
			ev := &seen.Flow.Events[j]
			at := place{seen.Vantage, ev.Ord}
			if arrived[at] && (ev.Run == nil || i > 0) {
				continue
			}
			if _, sent := next[at]; ev.Run != nil && i > 0 && !sent {
				continue // runs are shown once, as the first vantage point has them
			}
			out = append(out, s.follow(seen, ev, next, c))
		}
	}
	out = append(out, s.lostAnswers(c)...)
	slices.SortStableFunc(out, func(a, b Passage) int { return cmp.Compare(a.At, b.At) })
	keepOrder(out)
	return out
}

// keepOrder puts neighbours right that the times show in another order than two captures
// that hold both: a clock that was set, or whose offset is not known as exactly, does not
// put an answer before its question. Times follow.
func keepOrder(list []Passage) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].precedes(&list[j-1]); j-- {
			list[j-1], list[j] = list[j], list[j-1]
			list[j].At = max(list[j].At, list[j-1].At)
			list[j].Until = max(list[j].Until, list[j].At)
		}
	}
}

// precedes reports whether all vantage points that hold two passages, and there are two,
// have p first.
func (p *Passage) precedes(q *Passage) bool {
	if p.Until > p.At || q.Until > q.At { // rows
		return false
	}
	shared := 0
	for _, a := range p.Refs {
		for _, b := range q.Refs {
			if a.Vantage == b.Vantage {
				if a.Ord >= b.Ord {
					return false
				}
				shared++
			}
		}
	}
	return shared > 1
}

// lostAnswers finds answers that are folded into a run at the answering side
// and of which not one reached the prober's capture, though it went on
// recording: runs are followed by their probes alone.
func (s *Subject) lostAnswers(c clockwork) []Passage {
	if len(s.Seen) < 2 || s.SamePoint {
		return nil
	}
	var out []Passage
	for prober := uint8(0); prober < 2; prober++ {
		way := slices.Clone(s.Seen) // of the answers
		if prober == flows.Client {
			slices.Reverse(way)
		}
		for k := 0; k+1 < len(way); k++ {
			out = append(out, s.lostBetween(prober, &way[k], &way[k+1], c)...)
		}
	}
	return out
}

// lostBetween finds the runs of answers to a prober that one vantage point
// holds and the next on their way does not.
func (s *Subject) lostBetween(prober uint8, far, near *pairing.Sighting, c clockwork) []Passage {
	var out []Passage
	for i := range far.Flow.Events {
		ev := &far.Flow.Events[i]
		if ev.Run == nil || ev.Kind != flows.KeepaliveProbe || ev.From != prober {
			continue
		}
		from, to := c.to(s.Base, far.Vantage, ev.At), c.to(s.Base, far.Vantage, ev.Run.Until)
		if s.heard(c, near, other(prober), from.Add(-time.Second), to.Add(time.Second)) {
			if p, ok := s.lostLast(near, far, ev, from, to, c); ok {
				out = append(out, p)
			}
			continue
		}
		p := s.lostRun(near, far, ev, from, from.Add(-time.Second), to, c)
		if ev.HasTS && ev.Run.TSEcr != ev.TSEcr { // what the prober heard meanwhile were answers
			p.How, p.Assumed, p.Why = pairing.Unknowable, false, "the timestamps that the prober echoes go on, so they arrived; "+s.Points[near.Vantage].Name+" misses them"
		}
		if ord := ev.Run.Answer; ord != 0 { // it came as soon as the soonest, about
			p.Refs, p.Row = []pairing.Ref{s.ref(far, ord, flows.KeepaliveACK, ev.At.Add(ev.Run.RTT.Min))}, false
		}
		out = append(out, p)
	}
	return out
}

// heard reports whether a vantage point saw anything of a side between from
// and to, on Base's clock.
func (s *Subject) heard(c clockwork, seen *pairing.Sighting, side uint8, from, to tcp.Instant) bool {
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		if ev.From != side && (ev.Run == nil || ev.Run.Count[side] == 0) {
			continue
		}
		if c.to(s.Base, seen.Vantage, ev.At) <= to && c.to(s.Base, seen.Vantage, ev.End()) >= from {
			return true
		}
	}
	return false
}

// countOfSide counts what a vantage point saw of a side between from and to, on
// Base's clock; runs that touch that time count whole.
func (s *Subject) countOfSide(c clockwork, seen *pairing.Sighting, side uint8, from, to tcp.Instant) (n int) {
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		switch {
		case c.to(s.Base, seen.Vantage, ev.At) > to || c.to(s.Base, seen.Vantage, ev.End()) < from:
		case ev.Run != nil:
			n += int(ev.Run.Count[side])
		case ev.From == side:
			n++
		}
	}
	return n
}

// lostRun is what became of the answers of a run at the far vantage point, of which the
// near one holds none since an instant.
func (s *Subject) lostRun(near, far *pairing.Sighting, probes *flows.Event, from, since, to tcp.Instant, c clockwork) Passage {
	answerer := other(probes.From)
	answer := *probes
	answer.From, answer.Kind, answer.Run = answerer, flows.KeepaliveACK, nil
	answer.Seq, answer.Ack = probes.Ack, probes.Seq+1
	last := s.ref(far, probes.Run.UntilOrd, flows.KeepaliveACK, probes.Run.Until)
	p := Passage{
		Event: &answer, From: answerer, Kind: flows.KeepaliveACK, At: from, Until: to, Count: int(probes.Run.Count[answerer]),
		Refs: []pairing.Ref{last}, Last: last, Row: probes.Run.Count[answerer] > 1,
		How: pairing.Lost, Known: true, Between: [2]int{far.Vantage, near.Vantage},
	}
	if how, assumed, why := s.Doubt(near.Vantage, p.Count); why != "" {
		p.How, p.Assumed, p.Why = how, assumed, why
	}
	switch {
	case c.to(s.Base, near.Vantage, near.Flow.First) > from || s.countOfSide(c, near, probes.From, from.Add(-time.Second), to.Add(time.Second)) < int(probes.Run.Count[probes.From]): // it does not show that it was recording
		p.How, p.Assumed, p.Why = pairing.Unknowable, false, s.Points[near.Vantage].Name+" does not hold all of that time"
	case c.to(s.Base, near.Vantage, near.Flow.Last) >= to:
	case !s.asksInVain(near, probes, since, to, c):
		p.How, p.Assumed, p.Why = pairing.Unknowable, false, "nothing shows that its receiver lacks it, and "+s.Points[near.Vantage].Name+" may"
	case s.recorded(near, to):
	case p.How == pairing.Lost && !p.Assumed && p.Count > 1 && s.recordedAllButLast(near, probes.Run, to):
		p.Assumed, p.Sure, p.Why = true, p.Count-1, s.Points[near.Vantage].Name+" ends before the last of them had to come"
	default:
		p.How, p.Assumed, p.Why = pairing.Unknowable, false, s.Points[near.Vantage].Name+" does not hold all of that time"
	}
	if holesAt(near.Flow.Missing, from, to) {
		p.How, p.Assumed, p.Why = pairing.Unknowable, false, s.Points[near.Vantage].Name+" misses frames at that time"
	}
	return p
}

// asksInVain reports whether what a vantage point has of the probes of a run since an
// instant shows that their sender heard none of the answers: it echoes no newer timestamp,
// or, without timestamps, asks faster than it did when it was answered.
func (s *Subject) asksInVain(near *pairing.Sighting, probes *flows.Event, since, to tcp.Instant, c clockwork) bool {
	if !probes.HasTS {
		return slices.ContainsFunc(near.Flow.Events, func(ev flows.Event) bool {
			return ev.Run != nil && ev.Kind == flows.KeepaliveProbe && ev.From == probes.From && ev.Run.Count[other(ev.From)] > 0 &&
				ev.Run.Period.Known && probes.Run.Period.Known && 2*ev.Run.Period.Min > 3*probes.Run.Period.Max
		})
	}
	echo, asked := uint32(0), 0
	for i := range near.Flow.Events {
		ev := &near.Flow.Events[i]
		if at := c.to(s.Base, near.Vantage, ev.At); ev.From != probes.From || ev.Kind != flows.KeepaliveProbe || at < since || at > to {
			continue
		}
		if asked > 0 && ev.TSEcr != echo || ev.Run != nil && ev.Run.TSEcr != ev.TSEcr {
			return false
		}
		echo, asked = ev.TSEcr, asked+1
	}
	return asked > 1
}

// recordedAllButLast reports whether a vantage point still recorded the hosts when the last
// answer but one of a run must have come: that with which the run ends, at to, is one of
// its periods later.
func (s *Subject) recordedAllButLast(near *pairing.Sighting, run *flows.Run, to tcp.Instant) bool {
	period := run.Period
	return period.Known && period.Min > 2*time.Second && s.recorded(near, to.Add(time.Second-period.Min))
}

// lastOf returns the kind of a run's last segment, as far as the run tells: of
// traffic it does not say whether that was data or an acknowledgment.
func lastOf(run *flows.Event) flows.Kind {
	if run.Kind == flows.KeepaliveProbe {
		return flows.KeepaliveACK
	}
	return flows.Unknown
}

// follow takes a segment from where it was first seen to where its way ends.
func (s *Subject) follow(seen *pairing.Sighting, ev *flows.Event, next map[place]*pairing.Fate, c clockwork) Passage {
	p := Passage{
		Event: ev, From: ev.From, Kind: ev.Kind, Count: 1,
		At: c.to(s.Base, seen.Vantage, ev.At), Until: c.to(s.Base, seen.Vantage, ev.End()),
		Refs: []pairing.Ref{s.ref(seen, ev.Ord, ev.Kind, ev.At)},
	}
	if ev.Run != nil {
		p.Count = int(ev.Run.Count[0] + ev.Run.Count[1])
		p.Last = s.ref(seen, ev.Run.UntilOrd, lastOf(ev), ev.Run.Until)
	}
	at := place{seen.Vantage, ev.Ord}
	for range len(s.Path) + 1 {
		f, ok := next[at]
		if !ok {
			break
		}
		p.Known, p.How, p.Assumed, p.Between, p.Why = true, f.How, f.Assumed, f.Between, f.Why
		p.Strayed = p.Strayed || f.Reason == pairing.OtherName
		if f.How != pairing.Crossed {
			break
		}
		if f.Seen.Ord == 0 {
			break
		}
		p.Refs = append(p.Refs, f.Seen)
		at = place{f.Seen.Vantage, f.Seen.Ord}
	}
	return p
}

// silence returns how long the flow was quiet before passage i, both ways, and
// the last passage before it; -1 where there is none. That may be a run that begins
// before passages of another capture and ends behind them; in one that goes on beyond i
// itself, pauses are not known.
func (s *Subject) silence(i int) (time.Duration, int) {
	at, last, before := s.Passages[i].At, tcp.MinInstant, -1
	for j := i - 1; j >= 0; j-- {
		p := &s.Passages[j]
		if p.Kind == flows.ICMPError {
			continue
		}
		if until := max(p.At, p.Until); until > last && (until <= at || before < 0) {
			last, before = until, j
		}
	}
	if before < 0 {
		return 0, -1
	}
	return max(0, at.Sub(max(last, s.rowEnds(last, at)))), before
}

// rowEnds returns when the last row of any capture ends between two instants of Base's
// clock; the first of them where none does. A row is one passage, as the first capture has
// it, and another one may have more of it.
func (s *Subject) rowEnds(from, to tcp.Instant) tcp.Instant {
	c := clockwork(s.Clocks)
	for i := 1; i < len(s.Seen); i++ {
		seen := &s.Seen[i]
		for j := range seen.Flow.Events {
			if run := seen.Flow.Events[j].Run; run != nil {
				if until := c.to(s.Base, seen.Vantage, run.Until); until > from.Add(clockSlack) && until < to.Add(-clockSlack) {
					from = until
				}
			}
		}
	}
	return from
}

// lastActivity returns when anything of the connection was last seen, at any
// vantage point: a run may go on at one when the capture at another has ended.
func (s *Subject) lastActivity() tcp.Instant {
	var at tcp.Instant
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Kind != flows.ICMPError {
			at = max(at, p.At, p.Until)
		}
	}
	c := clockwork(s.Clocks)
	for i := range s.Seen {
		seen := &s.Seen[i]
		for k := range seen.Flow.Events {
			if ev := &seen.Flow.Events[k]; ev.Kind != flows.ICMPError {
				at = max(at, c.to(s.Base, seen.Vantage, ev.End()))
			}
		}
	}
	return at
}

// holesAt reports whether any vantage point of the path recorded nothing at
// some moment between from and to, on Base's clock.
func holesAt(holes []capture.Interval, from, to tcp.Instant) bool {
	for _, h := range holes {
		if h.From <= to && h.To >= from {
			return true
		}
	}
	return false
}

// flowKey is a key that names two hosts and no ports.
func flowKey(k hostsKey) capture.Key { return capture.Key{Lo: k.lo, Hi: k.hi} }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// passageAt returns the passage that a vantage point saw as the frame of an
// ordinal; nil where the story does not hold it.
func (s *Subject) passageAt(vantage int, ord tcp.Ordinal) *Passage {
	for i := range s.Passages {
		for _, r := range s.Passages[i].Refs {
			if r.Vantage == vantage && r.Ord == ord {
				return &s.Passages[i]
			}
		}
	}
	return nil
}
