package analyzer

import (
	"testing"

	"kaflow/pairing"
)

func TestWhatEndsAnOutageCrossesWhereItWas(t *testing.T) {
	held := func(vantages ...int) *Passage {
		p := &Passage{Known: true, How: pairing.Crossed}
		for _, v := range vantages {
			p.Refs = append(p.Refs, pairing.Ref{Vantage: v})
		}
		return p
	}
	s := &Subject{Pair: &pairing.Pair{Path: []int{0, 1, 2}}, Passages: []Passage{{Known: true, How: pairing.Lost, Between: [2]int{2, 1}}}}
	cur := &stretch{lost: []int{0}, proven: true}
	for _, c := range []struct {
		what string
		p    *Passage
		want bool
	}{
		{"all of the path", held(0, 1, 2), true},
		{"the gap alone", held(2, 1), true},
		{"what a device made before it", held(1, 0), false},
		{"what is lost further on", held(0, 1), false},
	} {
		if got := s.crossesGap(c.p, cur); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
