package analyzer

import (
	"testing"

	"kaflow/flows"
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

func TestWhatCameFarthestTellsWhereTheRestIsLost(t *testing.T) {
	lost := func(from uint8, between ...int) Passage {
		return Passage{From: from, Known: true, How: pairing.Lost, Between: [2]int(between)}
	}
	for _, c := range []struct {
		what     string
		passages []Passage
		want     [2]int
	}{
		{"the capture in the middle misses the first", []Passage{lost(flows.Client, 0, 1), lost(flows.Client, 1, 2), lost(flows.Client, 1, 2)}, [2]int{1, 2}},
		{"the server's, and it misses the first", []Passage{lost(flows.Server, 2, 1), lost(flows.Server, 1, 0)}, [2]int{1, 0}},
		{"the first came as far as the others", []Passage{lost(flows.Client, 1, 2), lost(flows.Client, 0, 1)}, [2]int{1, 2}},
		{"of the first it is not known so well", []Passage{lost(flows.Client, 0, 2), lost(flows.Client, 0, 1)}, [2]int{0, 1}},
		{"each is lost behind its own sender", []Passage{lost(flows.Client, 0, 1), lost(flows.Server, 2, 1)}, [2]int{0, 1}},
	} {
		s := &Subject{Pair: &pairing.Pair{Path: []int{0, 1, 2}}, Passages: c.passages}
		var o onset
		for i := range c.passages {
			o.lost[c.passages[i].From] = append(o.lost[c.passages[i].From], i)
		}
		if got := s.narrowest(&o); got != c.want {
			t.Errorf("%s: between %v, want %v", c.what, got, c.want)
		}
	}
}

func TestLargeSegmentsVanishBehindWhatOneOfThemCameTo(t *testing.T) {
	s := &Subject{Pair: &pairing.Pair{Path: []int{0, 1, 2}}}
	for _, between := range [][2]int{{0, 1}, {1, 2}, {0, 1}} { // the capture in the middle misses two of three
		s.Passages = append(s.Passages, Passage{From: flows.Client, Kind: flows.Data, Event: &flows.Event{Len: 1448}, Refs: make([]pairing.Ref, 1), Known: true, How: pairing.Lost, Between: between})
	}
	if got := s.sizes(flows.Client).between; got != [2]int{1, 2} {
		t.Errorf("between %v, want behind the one in the middle", got)
	}
}
