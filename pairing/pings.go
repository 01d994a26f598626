package pairing

import (
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// leastStep is the least by which pings must contradict a clock on which all
// connections agree for it to be taken for one that was set.
const leastStep = time.Second

// setMeanwhile returns the clock between two points in pieces where the pings that
// passed both show that one of theirs was set while no connection crossed; clocks as
// they are where the pings agree with them, or settle nothing.
func (m *matcher) setMeanwhile(i, j int, clocks []Clock, samples []sample) []Clock {
	if len(clocks) != 1 || clocks[0].Contradiction || clocks[0].Given {
		return clocks
	}
	pings := m.pings(i, j)
	against := 0
	for _, p := range pings {
		least, greatest := clocks[0].usable(p.x)
		if p.up && p.v < least-leastStep || !p.up && p.v > greatest+leastStep {
			against++
		}
	}
	if against < pieceLeast {
		return clocks
	}
	pieces := fitClocks(i, j, slices.Concat(samples, pings))
	for k := range pieces {
		c := &pieces[k]
		if len(pieces) < 2 || c.Contradiction || c.Samples[0]+c.Samples[1] < pieceLeast ||
			k > 0 && (c.Offset-pieces[k-1].Offset).Abs() < leastStep {
			return clocks
		}
	}
	return pieces
}

// pings returns the echo requests and replies that passed two points, as samples for
// the clock between them: those that either holds once, of hosts whose addresses no
// translation changed.
func (m *matcher) pings(i, j int) (out []sample) {
	type ping struct {
		from uint8
		what flows.ControlKind
		id   uint32
	}
	const mostHosts = 256 // whose pings are looked at
	done := map[hostsKey]bool{}
	for n, s := range m.strands {
		a, b := s.views[i], s.views[j]
		if a == nil || b == nil || s.self || hostsOf(&a.Key) != hostsOf(&b.Key) || done[hostsOf(&a.Key)] {
			continue
		}
		if len(done) == mostHosts {
			break
		}
		done[hostsOf(&a.Key)] = true
		near, ok := m.sides[i].hostPair(&a.Key)
		far, also := m.sides[j].hostPair(&b.Key)
		if !ok || !also {
			continue
		}
		once := func(list []flows.Control) map[ping]*flows.Control {
			in := map[ping]*flows.Control{}
			for k := range list {
				if c := &list[k]; c.Echo() {
					p := ping{c.From, c.What, c.ID}
					if _, twice := in[p]; twice {
						c = nil
					}
					in[p] = c
				}
			}
			return in
		}
		there := once(far.Controls)
		var crossings []crossing
		for p, x := range once(near.Controls) { // sorted by whoever fits them
			if y := there[p]; x != nil && y != nil {
				c := crossing{from: flows.Client, at: [2]tcp.Instant{x.At, y.At}, ord: [2]tcp.Ordinal{x.Ord, y.Ord}, sharp: true}
				if (p.from == 1) != clientIsHi(a) {
					c.from = flows.Server
				}
				crossings = append(crossings, c)
			}
		}
		out = append(out, m.atlas.samplesFrom(n, s, crossings, i, j)...)
	}
	return out
}
