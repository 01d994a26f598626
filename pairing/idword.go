package pairing

import (
	"slices"

	"kaflow/flows"
)

// Hosts that give all their connections the timestamps of one clock make those
// alike that begin at the same time. What tells them apart is the IP ID, where
// the path keeps it.

// idWord is what the IP IDs of two views' segments say, those being alike in
// everything else.
type idWord struct{ told, equal int }

// addedByID is by how much equal IP IDs raise a score.
const addedByID = 0.1

func (w idWord) same() bool  { return w.equal >= fewStamps && 10*w.equal >= 9*w.told }
func (w idWord) other() bool { return w.told >= fewStamps && w.equal == 0 }

func (w idWord) score() float64 {
	if w.same() {
		return addedByID
	}
	return 0
}

// agreeing returns the segments of two views that carry the same timestamps and
// bear out a relation.
func agreeing(a, b *flows.Flow, r *relation) [][2]*flows.Event {
	if r.turned {
		b = mirrored(b)
	}
	return slices.DeleteFunc(stampPairs(a, b), func(p [2]*flows.Event) bool { return !bearsOut(p, r.shift) })
}

// idsOf returns what the IP IDs say of two views that are alike by timestamps or
// by octets.
func idsOf(a, b *flows.Flow, r *relation) (w idWord) {
	if r.method == byPayload {
		return idsOfAlike(agreeingPayload(a, b, r))
	}
	for _, p := range agreeing(a, b, r) {
		if x, y := p[0].IPID, p[1].IPID; x != 0 && y != 0 && p[0].Run == nil && p[1].Run == nil {
			w.told++
			if x == y {
				w.equal++
			}
		}
	}
	return w
}

// unshared counts the segments alike by timestamps that no other connection of
// either point is like.
func (t *translator) unshared(a, b *flows.Flow, r *relation) (n int) {
	for _, p := range agreeing(a, b, r) {
		if s, ok := stampOf(p[0], 0); ok && !t.common[s] {
			n++
		}
	}
	return n
}

// findCommon notes the stamps that several connections of one point carry.
func (t *translator) findCommon() {
	type here struct {
		stamp stamp
		point int
	}
	by := map[here]int{}
	for c := range t.conns {
		if !t.open(c) {
			continue
		}
		for _, p := range t.conns[c].at {
			f := t.flow(p)
			for i := range f.Events {
				s, ok := stampOf(&f.Events[i], 0)
				if !ok {
					continue
				}
				k := here{s, p.point}
				if other, known := by[k]; !known {
					by[k] = c
				} else if other != c {
					t.common[s] = true
				}
			}
		}
	}
}

// refuseOtherIDs takes out the ties whose segments have other IP IDs throughout,
// where other ties show that the path keeps them.
func (t *translator) refuseOtherIDs() {
	for i := range t.ties {
		if t.ties[i].ids.same() {
			t.keeps[t.ties[i].points] = true
		}
	}
	t.ties = slices.DeleteFunc(t.ties, func(k tie) bool { return k.ids.other() && t.keeps[k.points] })
}
