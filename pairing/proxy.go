package pairing

import (
	"fmt"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// A proxy ends one connection and opens another: addresses, numbers and packets
// are its own, and nothing of one crosses to the other. What goes through it are
// octets and moments.

// promptly is how soon after a client's SYN a proxy has opened its own
// connection, or at the latest the client is kept waiting.
const promptly = 3 * time.Second

// fewOctets is what two connections must have carried before equal numbers of
// octets say anything.
const fewOctets = 64

// half is a connection that not all points hold, as one of them saw it.
type half struct {
	strand int
	point  int
	flow   *flows.Flow
	whole  bool // from its handshake on
	bursts []burst
}

// notePartners counts the connections that a proxy ends, for the user.
func (m *matcher) notePartners(r *Result) {
	m.proxied = map[[2]int]bool{}
	count := map[[2]int]int{}
	for _, p := range r.Pairs {
		if here := p.Seen[0].Vantage; p.Partner != nil && here < p.Partner.Vantage {
			count[[2]int{here, p.Partner.Vantage}]++
		}
	}
	for ij, n := range count {
		m.proxied[ij] = true
		m.notes = append(m.notes, fmt.Sprintf("between %s and %s a proxy ends connections (%d seen) and opens others: nothing is said to be lost across it", m.sides[ij[0]].name, m.sides[ij[1]].name, n))
	}
	slices.Sort(m.notes)
}

// disjoint reports whether no point holds both.
func (m *matcher) disjoint(x, y *half) bool {
	for p, f := range m.strands[x.strand].seen {
		if f != nil && m.strands[y.strand].seen[p] != nil {
			return false
		}
	}
	return true
}

// follows reports whether a proxy that is asked by connection x can have opened
// y: soon afterwards, and with octets that go through it at the same time.
func (m *matcher) follows(x, y *half) bool {
	if !twoConnections(x.flow, y.flow) {
		return false
	}
	from, to, _ := m.clocks.window(x.point, y.point, x.flow.First)
	if y.flow.First < from || y.flow.First > to.Add(promptly) {
		return false
	}
	from, to, _ = m.clocks.window(x.point, y.point, lastOctets(x.flow))
	last := lastOctets(y.flow)
	return from.Add(-promptly) <= last && last <= to.Add(promptly)
}

// lastOctets returns when the flow last carried octets.
func lastOctets(f *flows.Flow) (last tcp.Instant) {
	for i := range f.Events {
		e := &f.Events[i]
		if e.Len > 0 && e.Kind != flows.ICMPError && !isProbe(e.Kind) || e.Run != nil && e.Run.Octets[0]+e.Run.Octets[1] > 0 {
			last = max(last, e.End())
		}
	}
	return last
}

// twoConnections reports whether the SYNs of two views were sent by different
// stacks or at different times: a box that only rewrites addresses and sequence
// numbers leaves timestamps and the order of options alone.
func twoConnections(f, g *flows.Flow) bool {
	x, y := synOf(f), synOf(g)
	switch {
	case x == nil || y == nil || f.Sides[flows.Client].ISN == g.Sides[flows.Client].ISN || f.Sides[flows.Server].ISN == g.Sides[flows.Server].ISN:
		return false
	case x.HasTS && y.HasTS:
		return x.TSVal != y.TSVal
	}
	return x.HasTS != y.HasTS || f.Sides[flows.Client].Fingerprint != g.Sides[flows.Client].Fingerprint
}

// synOf returns the client's first SYN.
func synOf(f *flows.Flow) *flows.Event {
	for i := range f.Events {
		if e := &f.Events[i]; e.Kind == flows.SYN && e.From == flows.Client {
			return e
		}
	}
	return nil
}
