package analyzer

import (
	"slices"
	"testing"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

func TestOrderIsThatOfTwoCaptures(t *testing.T) {
	type frames map[int]tcp.Ordinal // by vantage point
	type seen struct {
		name string
		at   tcp.Instant
		in   frames
	}
	for _, c := range []struct {
		what string
		list []seen // in the order of their times
		want []string
	}{
		{"a clock was set between question and answer", []seen{{"answer", 10, frames{1: 49, 0: 51}}, {"question", 20, frames{0: 50, 1: 48}}}, []string{"question", "answer"}},
		{"what crosses on the way is in another order at each end", []seen{{"from the server", 10, frames{1: 5, 0: 8}}, {"from the client", 20, frames{0: 7, 1: 6}}}, []string{"from the server", "from the client"}},
		{"one capture alone holds both, and may have been put together", []seen{{"first", 10, frames{0: 9}}, {"second", 20, frames{0: 3, 1: 3}}}, []string{"first", "second"}},
	} {
		var list []Passage
		for _, x := range c.list {
			p := Passage{Event: &flows.Event{}, At: x.at, Until: x.at, Why: x.name}
			for v, ord := range x.in {
				p.Refs = append(p.Refs, pairing.Ref{Vantage: v, Ord: ord})
			}
			list = append(list, p)
		}
		keepOrder(list)
		var got []string
		for i := range list {
			if got = append(got, list[i].Why); i > 0 && list[i].At < list[i-1].At {
				t.Errorf("%s: %s is earlier than what it follows", c.what, list[i].Why)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
