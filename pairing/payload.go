package pairing

import (
	"slices"

	"kaflow/flows"
)

// oneSenders is how many segments have to agree where only one end sent octets.
const oneSenders = 4

// alike is a segment of each of two views that carries the same octets.
type alike [2]*flows.Anchor

// shifts returns by how much the second's numbers are above the first's, by
// client and server.
func (p alike) shifts() (d [2]uint32) {
	d[p[0].From], d[1-p[0].From] = uint32(p[1].Seq-p[0].Seq), uint32(p[1].Ack-p[0].Ack)
	return d
}

// digests is how many octets' digests all anchors of some views have: as many
// as the capture with the shortest snap length. 0 where there is none.
func digests(views ...*flows.Flow) (class uint8) {
	for _, f := range views {
		for i := range f.Anchors {
			if k := f.Anchors[i].Known; class == 0 || k < class {
				class = k
			}
		}
	}
	return class
}

// digest is the octets that begin an anchor's segment, as far as class tells
// them.
func digest(a *flows.Anchor, class uint8) uint64 {
	return uint64(a.Prints[0])<<32 | uint64(a.Prints[class-1])
}

// alikeIn returns the segments that carry the same octets in both views, where
// each view has them once.
func alikeIn(a, b *flows.Flow) (pairs []alike) {
	if len(a.Anchors) == 0 || len(b.Anchors) == 0 {
		return nil
	}
	type octets struct {
		from   uint8
		digest uint64
	}
	class := digests(a, b)
	index := func(f *flows.Flow) map[octets]*flows.Anchor {
		in := make(map[octets]*flows.Anchor, len(f.Anchors))
		for i := range f.Anchors {
			x := &f.Anchors[i]
			if x.From > flows.Server {
				continue
			}
			k := octets{x.From, digest(x, class)}
			if _, twice := in[k]; twice || x.Again {
				in[k] = nil
			} else {
				in[k] = x
			}
		}
		return in
	}
	inB := index(b)
	for k, x := range index(a) { // votes are counted: the order does not matter
		if y := inB[k]; x != nil && y != nil {
			pairs = append(pairs, alike{x, y})
		}
	}
	return pairs
}

// byPayload completes the shifts from segments with equal octets, and reports
// whether they agree on one shift in each direction and are the same packets: a
// proxy hands on the same octets, too.
func (r *relation) byPayload(a, b *flows.Flow, known [2]bool) bool {
	pairs := alikeIn(a, b)
	if len(pairs) < fewStampsOfOne {
		return false
	}
	var votes [2]map[uint32]int
	votes[0], votes[1] = map[uint32]int{}, map[uint32]int{}
	for _, p := range pairs {
		d := p.shifts()
		votes[0][d[0]]++
		votes[1][d[1]]++
	}
	for s := range votes {
		if !known[s] {
			r.shift[s] = mostVotes(votes[s])
		}
	}
	var agree []alike
	var senders [2]bool
	for _, p := range pairs {
		if p.shifts() == r.shift {
			agree = append(agree, p)
			senders[p[0].From] = true
		}
	}
	r.agree = len(agree)
	enough := fewStamps
	switch {
	case a.Key == b.Key && len(agree) == len(pairs):
		enough = fewStampsOfOne
	case !senders[0] || !senders[1]:
		enough = oneSenders
	}
	return r.agree >= enough && 10*r.agree >= 9*len(pairs) && (r.shift == [2]uint32{} || samePackets(agree))
}

// samePackets reports whether segments with equal octets are the same packets:
// they have the same IP IDs, or the same windows where these change.
func samePackets(pairs []alike) bool { return sameIDs(pairs) || sameWindows(pairs) }

func sameIDs(pairs []alike) bool {
	ids, w := map[uint16]bool{}, idsOfAlike(pairs)
	for _, p := range pairs {
		ids[p[0].IPID] = p[0].IPID != 0
	}
	return len(ids) >= fewStampsOfOne && w.equal >= fewStampsOfOne && 10*w.equal >= 9*w.told
}

// idsOfAlike returns what the IP IDs of segments with equal octets say.
func idsOfAlike(pairs []alike) (w idWord) {
	for _, p := range pairs {
		if p[0].IPID != 0 && p[1].IPID != 0 {
			w.told++
			if p[0].IPID == p[1].IPID {
				w.equal++
			}
		}
	}
	return w
}

func sameWindows(pairs []alike) bool {
	windows := map[uint16]bool{}
	for _, p := range pairs {
		if p[0].Win != p[1].Win {
			return false
		}
		windows[p[0].Win] = true
	}
	return len(windows) >= fewStamps
}

// agreeingPayload returns the segments of two views that carry the same octets
// and bear out a relation.
func agreeingPayload(a, b *flows.Flow, r *relation) []alike {
	if r.turned {
		b = mirrored(b)
	}
	return slices.DeleteFunc(alikeIn(a, b), func(p alike) bool { return p.shifts() != r.shift })
}

// sharedPayload reports whether two views are alike by octets alone that other
// connections of one of the points send, too, as those of one poll do.
func (t *translator) sharedPayload(a, b *flows.Flow, r *relation) bool {
	own := 0
	for _, p := range agreeingPayload(a, b, r) {
		if !t.polls[digest(p[0], t.class)] {
			own++
		}
	}
	return own < fewStamps
}

// findPolls notes the octets that several connections of one point send.
func (t *translator) findPolls() {
	type here struct {
		digest uint64
		point  int
	}
	by := map[here]int{}
	for c := range t.conns {
		if !t.open(c) {
			continue
		}
		for _, p := range t.conns[c].at {
			f := t.flow(p)
			for i := range f.Anchors {
				d := digest(&f.Anchors[i], t.class)
				if other, known := by[here{d, p.point}]; !known {
					by[here{d, p.point}] = c
				} else if other != c {
					t.polls[d] = true
				}
			}
		}
	}
}

// sharedOctets counts the segments of two views that carry the same octets at
// the same places of both streams: what a proxy hands on.
func sharedOctets(a, b *flows.Flow) (n int) {
	pairs := alikeIn(a, b)
	votes := [2]map[uint32]int{{}, {}}
	for _, p := range pairs {
		votes[p[0].From][uint32(p[1].Seq-p[0].Seq)]++
	}
	for s := range votes {
		if len(votes[s]) > 0 {
			n += votes[s][mostVotes(votes[s])]
		}
	}
	return n
}
