package analyzer

import (
	"fmt"
	"math"

	"kaflow/pairing"
)

// unlikely is how rarely a row of losses may come about by chance, once in all that was sent, for
// it to be taken for the end of a connection.
const unlikely = 0.01

// weighChance makes less sure what a row of losses says where segments between the two hosts were lost
// before and the connections went on: on such a path so many in a row may be lost, too.
func (s *Subject) weighChance(a Answer, o *onset) Answer {
	v := a.Verdict
	if v == nil || v.ID != SilentDrop && v.ID != OneWayDrop || v.Confidence != Proven && v.Confidence != Likely {
		return a
	}
	row := 0
	for side := range o.lost {
		for _, i := range o.lost[side] {
			if v.ID == SilentDrop || o.dead(uint8(side)) {
				row += max(1, s.Passages[i].Count)
			}
		}
	}
	lost, all := s.gotOver(o.first)
	for k := range s.company {
		l, n := k.gotOver(len(k.Passages))
		lost, all = lost+l, all+n
	}
	if lost == 0 || float64(all)*math.Pow(float64(lost+1)/float64(all+1), float64(row)) < unlikely {
		return a
	}
	v.Confidence = Possible
	v.Unknown = append(v.Unknown, fmt.Sprintf("whether it is chance: of %d segments between the two hosts %d were lost, too, and their connections went on; %d in a row may be once more", all, lost, row))
	return a
}

// gotOver counts the segments before a passage of which it is known what became of them, and those
// that were lost while later ones crossed.
func (s *Subject) gotOver(before int) (lost, all int) {
	open := 0 // lost since something crossed
	for i := range before {
		p := &s.Passages[i]
		switch n := max(1, p.Count); {
		case !p.Known || p.Assumed:
		case p.How == pairing.Lost:
			open += n
		case p.How == pairing.Crossed:
			lost, all, open = lost+open, all+open+n, 0
		}
	}
	return lost, all
}
