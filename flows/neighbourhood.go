package flows

import (
	"cmp"
	"net/netip"
	"slices"

	"kaflow/capture"
	"kaflow/tcp"
)

// Neighbourhood is what a capture shows of a host's last hop for a while: who asked
// for its hardware address (ARP, neighbour discovery), and whether anything of the
// host itself was there.
type Neighbourhood struct {
	Asked []Control // by time; ID is not used
	Heard bool
}

// Neighbourhood returns what was seen of a host at its last hop from one instant to
// another, whoever it talked to. Heard is looked for only where it was asked for
// fewest times and more; where the table does not know, the host was heard.
func (t *Table) Neighbourhood(host netip.Addr, from, to tcp.Instant, fewest int) Neighbourhood {
	var n Neighbourhood
	for _, c := range t.hosts.asked[host] {
		if c.At >= from && c.At <= to {
			n.Asked = append(n.Asked, c)
		}
	}
	if len(n.Asked) >= fewest {
		n.Heard = t.Heard(host, from, to)
	}
	return n
}

// Heard reports whether a host sent anything from one instant to another, whoever it talked to. Where
// the table does not know, it did.
func (t *Table) Heard(host netip.Addr, from, to tcp.Instant) bool {
	return slices.ContainsFunc(t.spells(host), func(x capture.Interval) bool { return x.From <= to && x.To >= from })
}

// oneSpell is how far apart two frames of a host are at least that are not put down
// as one stretch.
const oneSpell = gapMin

// spells returns the stretches in which a host was heard, by time; it remembers them
// until the table has seen more.
func (t *Table) spells(host netip.Addr) []capture.Interval {
	if t.heard == nil || t.heardAt != t.now {
		t.heard, t.heardAt = map[netip.Addr][]capture.Interval{}, t.now
	}
	if list, ok := t.heard[host]; ok {
		return list
	}
	var list []capture.Interval
	add := func(from, to tcp.Instant) { list = append(list, capture.Interval{From: from, To: to}) }
	for _, r := range t.hosts.rows {
		for end, words := range [2][4]uint32{r.key.a, r.key.b} {
			if capture.Addr(words) == host {
				r.spells(end, add)
			}
		}
	}
	for id := range t.Flows() {
		p, slot := t.at(uint32(id >> 32))
		k := p.key(slot)
		for end, addr := range [2]netip.Addr{k.LoEnd().Addr(), k.HiEnd().Addr()} {
			if addr == host {
				t.sent(p, slot, end, add)
			}
		}
	}
	t.heard[host] = joined(list)
	return t.heard[host]
}

// joined puts stretches in order and makes one of those that are close together.
func joined(list []capture.Interval) []capture.Interval {
	slices.SortFunc(list, func(a, b capture.Interval) int { return cmp.Compare(a.From, b.From) })
	out := list[:0]
	for _, x := range list {
		if n := len(out); n > 0 && x.From.Sub(out[n-1].To) < oneSpell {
			out[n-1].To = max(out[n-1].To, x.To)
			continue
		}
		out = append(out, x)
	}
	return out
}

// spells tells when an end sent: of each frame, where all that are known are there
// still, otherwise from the first to the last.
func (r *hostRow) spells(end int, add func(from, to tcp.Instant)) {
	known := uint64(0)
	for i := range r.controls {
		if c := &r.controls[i]; int(c.From) == end && c.What != ControlICMPError {
			known++
		}
	}
	if known < r.frames[end] {
		add(r.first[end], r.last[end])
		return
	}
	for i := range r.controls {
		if c := &r.controls[i]; int(c.From) == end && c.What != ControlICMPError {
			add(c.At, c.At)
		}
	}
}

// sent tells when an end of a flow sent something, as far as its story tells.
func (t *Table) sent(p *pool, slot uint32, end int, add func(from, to tcp.Instant)) {
	c := p.cold(slot)
	if p.record(slot).young() {
		segments := t.infancy(p.hot(slot))
		for i := range segments {
			if y := &segments[i]; y.from() == end {
				add(y.at, y.at)
			}
		}
		return
	}
	t.store(c)
	evs := t.arena.events(c.story)
	for i := range evs {
		switch ev := &evs[i]; {
		case ev.kind == ICMPError:
		case ev.bits&evTail != 0 && i > 0: // of a run the segments of both
			add(evs[i-1].at, ev.at)
		case ev.from() == end:
			add(ev.at, ev.at)
		}
	}
}
