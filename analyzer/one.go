package analyzer

import (
	"kaflow/flows"
	"kaflow/pairing"
)

// One gives the verdict on a single connection of one vantage point, by the
// rules that Diagnose asks, as of what the table has seen so far; false where
// the table does not hold it.
func One(point pairing.Point, id flows.FlowID) (Diagnosis, bool) {
	d := newDesk([]pairing.Point{point}, &pairing.Result{}, nil)
	s := d.fetch(id)
	if s == nil {
		return Diagnosis{}, false
	}
	return diagnose(s, d.others, d.unasked), true
}
