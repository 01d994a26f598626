package pairing

import (
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
func samePackets(pairs []alike) bool {
	ids, windows := map[uint16]bool{}, map[uint16]bool{}
	sameID, sameWindow, told := 0, 0, 0
	for _, p := range pairs {
		if p[0].IPID != 0 && p[1].IPID != 0 {
			told++
			ids[p[0].IPID] = true
			if p[0].IPID == p[1].IPID {
				sameID++
			}
		}
		windows[p[0].Win] = true
		if p[0].Win == p[1].Win {
			sameWindow++
		}
	}
	if len(ids) >= fewStampsOfOne && 10*sameID >= 9*told {
		return true
	}
	return len(windows) >= fewStamps && sameWindow == len(pairs)
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
