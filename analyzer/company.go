package analyzer

import (
	"net/netip"
	"slices"

	"kaflow/flows"
)

// Connections are held against others between the same hosts: a fresh SYN is a control,
// another that was closed after as long a silence tells of a timer. Those of a single
// capture are built from its table when a connection asks for them, and kept for those that
// ask next.

// maxRead bounds the connections that are kept because others asked for them.
const maxRead = 4096

// others returns connections between two hosts, as controls for each other. The one that
// asks is among them, or there are none.
func (d *desk) others(k hostsKey) []*Subject {
	list, ok := d.beside[k]
	if ok {
		return list
	}
	if d.single() {
		if list = d.between(k); list == nil {
			return nil
		}
	} else {
		list = append(slices.Clip(d.byHosts[k]), d.plainOf(k)...)
	}
	if d.read > maxRead || d.beside == nil {
		d.beside, d.read = map[hostsKey][]*Subject{}, 0
	}
	d.beside[k] = list
	return list
}

// find returns the connection that a vantage point has as a flow.
func (d *desk) find(x sighting) *Subject {
	if d.single() {
		return d.fetch(x.flow)
	}
	if d.sighted == nil {
		d.sighted = map[sighting]*Subject{}
		for _, s := range d.subjects {
			for i := range s.Seen {
				d.sighted[sighting{s.Seen[i].Vantage, s.Seen[i].Flow.ID}] = s
			}
		}
	}
	if s := d.sighted[x]; s != nil {
		return s
	}
	if plain := d.result.PlainOf(x.vantage, x.flow); plain != nil {
		return d.open(plain)
	}
	return nil
}

// between is others for a single capture; nil where a connection is the only one.
func (d *desk) between(k hostsKey) (list []*Subject) {
	key := flowKey(k)
	ids := d.points[0].Table.SomeOfHosts(&key, maxControls)
	if len(ids) == 1 {
		return nil
	}
	for _, id := range ids {
		if s := d.fetch(id); s != nil {
			list = append(list, s)
		}
	}
	d.read += len(list)
	return list
}

// plainOf returns some of the pairs between two hosts in which nothing happened:
// the first ones, and mostly the last.
func (d *desk) plainOf(k hostsKey) (list []*Subject) {
	if d.plainHosts == nil {
		d.plainHosts = map[hostsKey][]int{}
		for i := range d.result.Plain {
			key := &d.result.Plain[i].Key
			d.plainHosts[hostsKey{key.Lo, key.Hi}] = append(d.plainHosts[hostsKey{key.Lo, key.Hi}], i)
		}
	}
	for _, i := range flows.FirstAndLast(d.plainHosts[k], max(maxControls-len(d.byHosts[k]), maxControls/4)) {
		list = append(list, d.open(&d.result.Plain[i]))
	}
	d.read += len(list)
	return list
}

// company yields some of the other connections between the same hosts.
func (s *Subject) company(yield func(*Subject) bool) {
	if s.others == nil {
		return
	}
	for _, k := range flows.FirstAndLast(s.others(hostsOf(s.Pair)), maxControls) {
		if k.id != s.id && !yield(k) {
			return
		}
	}
}

// sideOf returns the side that has an address, as the capture nearest to it knows it.
func (s *Subject) sideOf(host netip.Addr) (side uint8, ok bool) {
	for side := range uint8(2) {
		if s.nearest(side).Sides[side].Addr.Addr() == host {
			return side, true
		}
	}
	return 0, false
}
