package analyzer

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// maxControls bounds how many other connections of the same hosts are read as
// controls.
const maxControls = 64

// hostsKey names two hosts.
type hostsKey struct{ lo, hi [4]uint32 }

func hostsOf(p *pairing.Pair) hostsKey {
	k := &p.Seen[0].Flow.Key
	return hostsKey{k.Lo, k.Hi}
}

// gatherControls reads, once a death is suspected, what else was alive or dead
// between the same hosts since a moment.
//
// A control is a fresh SYN, an ICMP echo, or a connection of the host pair
// whose own silence was shorter than one survived on this path. What died while the
// connection was silent, from quiet on, is one, too, where nothing crosses after it.
func (s *Subject) gatherControls(others []*Subject, quiet, since tcp.Instant, survived time.Duration) {
	s.Controls = s.Controls[:0]
	beside := slices.Clone(flows.FirstAndLast(others, maxControls+1))
	beside = slices.DeleteFunc(beside, func(other *Subject) bool { return other.id == s.id })
	answered := s.answeredPorts(beside)
	for _, other := range beside {
		s.Controls = append(s.Controls, other.asControl(s, since, survived, answered)...)
	}
	pings := s.echoes(quiet)
	s.Controls = append(s.Controls, s.diedMeanwhile(beside, pings, answered, quiet, since)...)
	for _, ping := range pings {
		if ping.At >= since {
			s.Controls = append(s.Controls, ping)
		}
	}
	slices.SortStableFunc(s.Controls, func(a, b Control) int { return cmp.Compare(a.At, b.At) })
}

// answeredPorts returns the server's ports of which any connection ever crossed: what is
// sent to another one may be dropped whatever the path does.
func (s *Subject) answeredPorts(beside []*Subject) map[uint16]bool {
	answered := map[uint16]bool{s.flow.Sides[flows.Server].Addr.Port(): true}
	for _, other := range beside {
		for i := range other.Passages {
			if p := &other.Passages[i]; p.From <= flows.Server && p.Kind != flows.ICMPError && passed(other, i) {
				answered[other.flow.Sides[flows.Server].Addr.Port()] = true
				break
			}
		}
	}
	return answered
}

// asControl reads another connection of the hosts as a control: its handshake,
// and its segments since the moment.
func (s *Subject) asControl(of *Subject, since tcp.Instant, survived time.Duration, answered map[uint16]bool) []Control {
	c := clockwork(s.Clocks)
	var out []Control
	seenSYN, seenFlow := false, false
	var lived tcp.Instant // when something of it was last known to cross
	for i := range s.Passages {
		p := &s.Passages[i]
		silent := time.Duration(0)
		if lived != 0 {
			silent = p.At.Sub(lived)
		}
		if passed(s, i) {
			lived = s.heardUntil(p)
		}
		at := c.to(of.Base, s.Base, p.At)
		if at < since {
			at = s.heardSince(p, of, since)
		}
		if at < since || p.From > flows.Server || p.Kind == flows.ICMPError {
			continue
		}
		if p.Kind == flows.SYN {
			if seenSYN {
				continue
			}
			seenSYN = true
			alive, proof := s.handshake(i)
			barred := proof && !alive && !answered[s.flow.Sides[flows.Server].Addr.Port()]
			out = append(out, Control{At: at, What: "fresh SYN", Alive: alive, Proof: proof && !barred, Barred: barred, Refs: p.Refs})
			continue
		}
		if seenSYN || seenFlow {
			continue
		}
		silence, before := s.silence(i)
		if before >= 0 && silence > max(survived, time.Second) && p.Event.Run == nil {
			continue // itself idle for long: no control
		}
		if silent > max(survived, time.Second) && !passed(s, i) {
			continue // a probe behind others that were lost after such a silence: no better
		}
		if !passed(s, i) && !(p.Known && p.How == pairing.Lost) {
			continue
		}
		seenFlow = true
		control := Control{At: at, What: "another connection", Alive: passed(s, i), Proof: true, Refs: p.Refs}
		if !control.Alive {
			control.Until = c.to(of.Base, s.Base, s.lostUntil(i))
		}
		out = append(out, control)
	}
	return out
}

// heardSince returns by when something of a passage that began before an instant, on the clock of
// another subject, had surely crossed behind it: of a row of keepalives a minute apart none may have for as
// long. It is before the instant where nothing did.
func (s *Subject) heardSince(p *Passage, of *Subject, since tcp.Instant) tcp.Instant {
	c, last := clockwork(s.Clocks), s.heardUntil(p)
	at := c.to(of.Base, s.Base, last)
	if at < since || p.Event.Run == nil {
		return at
	}
	for _, x := range p.exchanges() {
		if x.to <= last && c.to(of.Base, s.Base, x.from) >= since {
			return c.to(of.Base, s.Base, x.to)
		}
	}
	return at
}

// heardUntil returns when a passage last showed that both ends hear each other. Of
// a run that ends with a segment of its sender's own that is before that one,
// which may be the first that is lost.
func (s *Subject) heardUntil(p *Passage) tcp.Instant {
	run := p.Event.Run
	switch {
	case run == nil:
		return p.At
	case p.Kind == flows.KeepaliveProbe || run.LastFrom != p.From:
		return p.Until
	case run.OtherUntil == 0:
		return p.At
	}
	return clockwork(s.Clocks).to(s.Base, p.First().Vantage, run.OtherUntil)
}

// lostUntil returns when the connection, of which passage i is lost, was so last:
// nothing of it crossed in between.
func (s *Subject) lostUntil(i int) (last tcp.Instant) {
	for ; i < len(s.Passages) && !passed(s, i); i++ {
		if p := &s.Passages[i]; p.Known && p.How == pairing.Lost {
			last = max(last, p.At, p.Until)
		}
	}
	return last
}

// besideAnother returns what crossed when the connection's own last loss was over
// and another one, that died with it, was still lost: had the path been cut, that
// one would have crossed again, too.
func (s *Subject) besideAnother(last tcp.Instant) (alive, longest *Control) {
	for i := range s.Controls {
		if c := &s.Controls[i]; c.Until > last && (longest == nil || c.Until > longest.Until) {
			longest = c
		}
	}
	if longest != nil {
		alive, _ = s.controlsSay(longest.Until)
	}
	return alive, longest
}

// handshake says whether a SYN was answered, and whether that (or its loss) is
// proven.
func (s *Subject) handshake(i int) (alive, proof bool) {
	for j := i + 1; j < len(s.Passages); j++ {
		if p := &s.Passages[j]; p.From == 1-s.Passages[i].From && (p.Kind == flows.SYNACK || p.Kind == flows.RST) {
			if !p.Known || p.How != pairing.Lost {
				return true, true
			}
		}
	}
	p := &s.Passages[i]
	if p.Known && p.How == pairing.Crossed {
		return true, true
	}
	return false, p.Known && p.How == pairing.Lost && !p.Assumed
}

// diedMeanwhile returns what of the hosts died between two instants, while the
// connection was silent: pings, fresh SYNs for a port that had been answered before,
// other connections. It is nothing where something crosses later.
func (s *Subject) diedMeanwhile(beside []*Subject, pings []Control, answered map[uint16]bool, from, to tcp.Instant) (dead []Control) {
	c, crossed := clockwork(s.Clocks), tcp.Instant(0)
	for _, ping := range pings {
		if ping.Alive {
			crossed = max(crossed, ping.At)
		} else if ping.Proof && ping.At < to {
			dead = append(dead, ping)
		}
	}
	for _, other := range beside {
		for i := range other.Passages {
			if p := &other.Passages[i]; p.From <= flows.Server && p.Kind != flows.ICMPError && passed(other, i) {
				crossed = max(crossed, c.to(s.Base, other.Base, other.heardUntil(p)))
			}
		}
	}
	for _, other := range beside {
		if control, ok := other.diedAt(s, answered); ok && control.At >= from && control.At < to {
			dead = append(dead, control)
		}
	}
	return slices.DeleteFunc(dead, func(d Control) bool { return crossed >= d.At })
}

// diedAt returns the moment from which on all of a connection is lost, as a control of
// another one. A SYN for a port that was never answered, and what was lost after a
// silence longer than any that the connection survived, are none.
func (s *Subject) diedAt(of *Subject, answered map[uint16]bool) (Control, bool) {
	first, lost := -1, 0
	for i := len(s.Passages) - 1; i >= 0; i-- {
		p := &s.Passages[i]
		if p.From > flows.Server || p.Kind == flows.ICMPError {
			continue
		}
		if passed(s, i) {
			break
		}
		if p.Known && p.How == pairing.Lost && !p.Assumed {
			first, lost = i, lost+max(1, p.Count)
		}
	}
	if first < 0 {
		return Control{}, false
	}
	p := &s.Passages[first]
	at := clockwork(s.Clocks).to(of.Base, s.Base, p.At)
	if p.Kind == flows.SYN {
		return Control{At: at, What: "fresh SYN", Proof: true, Refs: p.Refs}, answered[s.flow.Sides[flows.Server].Addr.Port()]
	}
	silence, before := s.silence(first)
	if lost < 2 || before < 0 || silence > max(longestSurvived(s, first)*5/4, time.Second) {
		return Control{}, false
	}
	return Control{At: at, Until: clockwork(s.Clocks).to(of.Base, s.Base, s.lostUntil(first)), What: "another connection", Proof: true, Refs: p.Refs}, true
}

// pings are the echoes between two hosts that the vantage points of a path hold.
type pings struct {
	asked    []Control // requests, each once
	ids      []uint32  // of these: the sender's identifier, and the sequence number
	answered map[uint32]bool
	held     []map[uint32]bool // requests and answers by vantage point, of any time
	thinned  uint8             // of all points they are there that flows.EchoKept names
}

// pingsSince reads them from an instant on.
func (s *Subject) pingsSince(since tcp.Instant) *pings {
	c, known := clockwork(s.Clocks), map[uint32]bool{}
	e := &pings{answered: map[uint32]bool{}, held: make([]map[uint32]bool, len(s.Points))}
	for v, point := range s.Points {
		e.held[v] = map[uint32]bool{}
		if point.Table == nil || !slices.Contains(s.Path, v) && len(s.Path) > 0 {
			continue
		}
		key := &s.flow.Key
		if seen := s.sightingAt(v); seen != nil {
			key = &seen.Flow.Key
		}
		hp, ok := point.Table.HostPair(key)
		if !ok {
			continue
		}
		e.thinned = max(e.thinned, hp.Thinned)
		here := hp.Pings(c.to(v, s.Base, since))
		e.held[v] = here.Held
		maps.Copy(e.answered, here.Answered)
		for _, x := range here.Asked {
			if !known[x.ID] {
				known[x.ID] = true
				e.ids = append(e.ids, x.ID)
				e.asked = append(e.asked, Control{At: c.to(s.Base, v, x.At), What: "ICMP echo", Refs: []pairing.Ref{refAt(s.Points, v, x.Ord, flows.Unknown, x.At)}})
			}
		}
	}
	return e
}

// echoes judges the pings between the hosts from an instant on. One that was answered
// crossed. One that was not, and that another capture does not hold which held others
// and goes on, is lost on the way; that it was is proven where another one was, too, and
// none crosses later, or where it stands in a row of such ones.
func (s *Subject) echoes(since tcp.Instant) []Control {
	e := s.pingsSince(since)
	both := senders(e.held)
	var crossed tcp.Instant
	var lost []*Control
	for i := range e.asked {
		a := &e.asked[i]
		a.Alive = e.answered[e.ids[i]]
		a.Proof = a.Alive
		switch {
		case a.Alive:
			crossed = max(crossed, a.At)
		case flows.EchoKept(e.ids[i], e.thinned) && s.lostPing(a, e.ids[i], e.held, both):
			lost = append(lost, a)
		}
	}
	e.rows(lost)
	lost = slices.DeleteFunc(lost, func(a *Control) bool { return a.At <= crossed })
	for _, a := range lost {
		a.Proof = a.Proof || len(lost) > 1
	}
	return e.asked
}

// pingsInRow is how many pings that are lost one behind the other show that nothing crossed then,
// whatever crosses later.
const pingsInRow = 3

// rows proves of lost pings that they are where so many stand in a row, with none that crosses between.
func (e *pings) rows(lost []*Control) {
	var crossed []tcp.Instant
	for i := range e.asked {
		if e.asked[i].Alive {
			crossed = append(crossed, e.asked[i].At)
		}
	}
	slices.Sort(crossed)
	row := func(a *Control) int { // so many crossed before
		n, _ := slices.BinarySearch(crossed, a.At)
		return n
	}
	length := map[int]int{}
	for _, a := range lost {
		length[row(a)]++
	}
	for _, a := range lost {
		a.Proof, a.Passed = length[row(a)] >= pingsInRow, row(a) < len(crossed)
	}
}

// senders returns by vantage point of whose pings it holds any that another one holds,
// too.
func senders(held []map[uint32]bool) []map[uint32]bool {
	both := make([]map[uint32]bool, len(held))
	for v := range held {
		both[v] = map[uint32]bool{}
		for id := range held[v] {
			for other := range held {
				if other != v && held[other][id] {
					both[v][id>>16] = true
				}
			}
		}
	}
	return both
}

// lostPing reports whether a ping that was not answered is missing at another vantage
// point of the path which held pings of the same sender, and recorded on.
func (s *Subject) lostPing(a *Control, id uint32, held, both []map[uint32]bool) bool {
	for v, ids := range held {
		if v != a.Refs[0].Vantage && both[v][id>>16] && !ids[id] &&
			clockwork(s.Clocks).to(s.Base, v, s.recordedUntil(v)) > a.At.Add(time.Second) {
			return true
		}
	}
	return false
}

// sameOutage is how long after a connection's last loss another one may still be of the
// same outage: programs that connect again do so within seconds, and probes are a minute
// apart.
const sameOutage = 2 * time.Minute

// meanwhile reports whether a control may tell of the outage in which a connection lost
// something last.
func (c *Control) meanwhile(last tcp.Instant) bool { return c.At <= last.Add(sameOutage) }

// freshLost reports whether a control is something lost that needs no device to remember it, in the outage in
// which a connection lost something last.
func (c *Control) freshLost(last tcp.Instant) bool {
	return !c.Alive && c.Proof && c.What != "another connection" && c.meanwhile(last)
}

// controlsSay sums the controls up: did any prove that the hosts could still
// talk, did any prove that they could not? What crosses when the connection's
// own last loss is over shows that the path works then, not that it did before:
// an outage that passed looks the same. So does what is lost long after it, to an
// outage that began later. last is that loss; 0 asks for any time.
func (s *Subject) controlsSay(last tcp.Instant) (alive, dead *Control) {
	for i := range s.Controls {
		c := &s.Controls[i]
		switch {
		case c.Alive && c.Proof && alive == nil && (last == 0 || c.At <= last):
			alive = c
		case !c.Alive && c.Proof && dead == nil && (last == 0 || c.meanwhile(last)):
			dead = c
		}
	}
	return alive, dead
}
