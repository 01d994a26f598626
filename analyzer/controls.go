package analyzer

import (
	"cmp"
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
// whose own silence was shorter than one survived on this path.
func (s *Subject) gatherControls(others []*Subject, since tcp.Instant, survived time.Duration) {
	s.Controls = s.Controls[:0]
	n := 0
	for _, other := range others {
		if other.Pair.Seen[0].Flow.ID == s.flow.ID && other.Base == s.Base {
			continue
		}
		if n++; n > maxControls {
			break
		}
		s.Controls = append(s.Controls, other.asControl(s, since, survived)...)
	}
	s.Controls = append(s.Controls, s.echoes(since)...)
	slices.SortStableFunc(s.Controls, func(a, b Control) int { return cmp.Compare(a.At, b.At) })
}

// asControl reads another connection of the hosts as a control: its handshake,
// and its segments since the moment.
func (s *Subject) asControl(of *Subject, since tcp.Instant, survived time.Duration) []Control {
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
		if at < since && c.to(of.Base, s.Base, s.heardUntil(p)) < since || p.From > flows.Server || p.Kind == flows.ICMPError {
			continue
		}
		if p.Kind == flows.SYN {
			if seenSYN {
				continue
			}
			seenSYN = true
			alive, proof := s.handshake(i)
			out = append(out, Control{At: at, What: "fresh SYN", Alive: alive, Proof: proof, Refs: p.Refs})
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

// echoes reads the pings between the hosts.
func (s *Subject) echoes(since tcp.Instant) []Control {
	c := clockwork(s.Clocks)
	var out []Control
	key := &s.flow.Key
	type echo struct{ id uint32 }
	answered := map[echo]bool{}
	var asked []Control
	var ids []uint32
	for v, point := range s.Points {
		if point.Table == nil || !slices.Contains(s.Path, v) && len(s.Path) > 0 {
			continue
		}
		hp, ok := point.Table.HostPair(key)
		if !ok {
			continue
		}
		for i := range hp.Controls {
			x := &hp.Controls[i]
			at := c.to(s.Base, v, x.At)
			if at < since {
				continue
			}
			switch x.What {
			case flows.ControlEchoReply:
				answered[echo{x.ID}] = true
			case flows.ControlEchoRequest:
				if !slices.Contains(ids, x.ID) {
					ids = append(ids, x.ID)
					asked = append(asked, Control{At: at, What: "ICMP echo", Refs: []pairing.Ref{refAt(s.Points, v, x.Ord, flows.Unknown, x.At)}})
				}
			}
		}
	}
	for i, a := range asked {
		a.Alive = answered[echo{ids[i]}]
		a.Proof = a.Alive
		out = append(out, a)
	}
	return out
}

// controlsSay sums the controls up: did any prove that the hosts could still
// talk, did any prove that they could not? What crosses when the connection's
// own last loss is over shows that the path works then, not that it did before:
// an outage that passed looks the same. last is that loss; 0 asks for any time.
func (s *Subject) controlsSay(last tcp.Instant) (alive, dead *Control) {
	for i := range s.Controls {
		c := &s.Controls[i]
		switch {
		case c.Alive && c.Proof && alive == nil && (last == 0 || c.At <= last):
			alive = c
		case !c.Alive && c.Proof && dead == nil:
			dead = c
		}
	}
	return alive, dead
}
