package analyzer

import (
	"cmp"
	"slices"

	"kaflow/flows"
	"kaflow/tcp"
)

// Connections are held against others between the same hosts: a fresh SYN is a control,
// another name may be a changed translation. Those of a single capture are built from its
// table when a connection asks for them, and kept for those that ask next.

// maxRead bounds the connections that are kept because others asked for them.
const maxRead = 4096

// company is connections between two hosts. A nil one is empty.
type company struct {
	list []*Subject

	// Of many: where they begin, of those that began without a SYN, and where each of their
	// sides stood last, in order.
	sorted       bool
	begin, stood []standing
}

// fewKin is how many connections are held against one each by itself.
const fewKin = 32

// standing is where a connection of company.list stands, as one vantage point has it.
type standing struct {
	vantage int32
	seq     tcp.Seq
	place   int32 // in the list
}

func (a standing) compare(b standing) int {
	if a.seq != b.seq { // most differ in it
		return cmp.Compare(a.seq, b.seq)
	}
	return cmp.Or(cmp.Compare(a.vantage, b.vantage), cmp.Compare(a.place, b.place))
}

// all returns the connections.
func (c *company) all() []*Subject {
	if c == nil {
		return nil
	}
	return c.list
}

// meeting returns the connections that may be the continuation of one with these edges, or
// that it may be the continuation of, in the order of the list. There may be others among them.
func (c *company) meeting(edges []edge) []*Subject {
	if c == nil || len(c.list) < fewKin {
		return c.all()
	}
	if !c.sorted {
		c.sort()
	}
	var places []int
	find := func(sorted []standing, vantage int, seq tcp.Seq) {
		wanted := standing{int32(vantage), seq, 0}
		at, _ := slices.BinarySearchFunc(sorted, wanted, standing.compare)
		for ; at < len(sorted) && sorted[at].vantage == wanted.vantage && sorted[at].seq == seq; at++ {
			places = append(places, int(sorted[at].place))
		}
	}
	for i := range edges { // see edge.meets
		e := &edges[i]
		for side, next := range e.next {
			if e.known[side] {
				find(c.begin, e.vantage, next)
				find(c.begin, e.vantage, next-1)
			}
		}
		if e.begins {
			find(c.stood, e.vantage, e.seq)
			find(c.stood, e.vantage, e.seq+1)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	met := make([]*Subject, len(places))
	for i, place := range places {
		met[i] = c.list[place]
	}
	return met
}

// sort makes what meeting looks in.
func (c *company) sort() {
	c.sorted = true
	for place, s := range c.list {
		for _, e := range s.ends() {
			if e.begins {
				c.begin = append(c.begin, standing{int32(e.vantage), e.seq, int32(place)})
			}
			for side, next := range e.next {
				if e.known[side] {
					c.stood = append(c.stood, standing{int32(e.vantage), next, int32(place)})
				}
			}
		}
	}
	slices.SortFunc(c.begin, standing.compare)
	slices.SortFunc(c.stood, standing.compare)
}

// others returns connections between two hosts, as controls for each other. The one that
// asks is among them, or there are none.
func (d *desk) others(k hostsKey) *company {
	if c, ok := d.beside[k]; ok {
		return c
	}
	var list []*Subject
	if d.single() {
		if list = d.between(k); list == nil {
			return nil
		}
	} else {
		list = append(slices.Clip(d.byHosts[k]), d.plainOf(k)...)
	}
	c := &company{list: list}
	if d.read > maxRead || d.beside == nil {
		d.beside, d.read = map[hostsKey]*company{}, 0
	}
	d.beside[k] = c
	return c
}

// between is others for a single capture; nil where a connection is the only one.
func (d *desk) between(k hostsKey) (list []*Subject) {
	key := flowKey(k)
	ids := d.points[0].Table.SomeOfHosts(&key, maxControls)
	if len(ids) == 1 {
		return nil
	}
	for _, id := range ids {
		s := d.asks
		if s == nil || s.id.flow != id {
			s = d.fetch(id)
		}
		if s != nil {
			list = append(list, s)
		}
	}
	d.read += len(list)
	return list
}

// take returns the subject of one flow of a single capture, which may have been built for
// another one.
func (d *desk) take(g *flows.Glance) *Subject {
	for _, s := range d.beside[hostsKey{g.Key.Lo, g.Key.Hi}].all() {
		if s.id.flow == g.ID {
			return s
		}
	}
	return d.fetch(g.ID)
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
