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
	diag := d.diagnose(s)
	s.nameLikes(diag.Policies)
	return diag, true
}

// OneReport is the report on a single connection of one vantage point, by
// itself, as of what the table has seen so far; false where the table does not
// hold it. What other connections say of the path is not asked.
func OneReport(point pairing.Point, id flows.FlowID, o Options) (*Report, bool) {
	r := &Report{Tool: o.Tool}
	points, result := []pairing.Point{point}, &pairing.Result{}
	d := newDesk(points, result, nil)
	s := d.fetch(id)
	if s == nil {
		return nil, false
	}
	r.Vantages = vantages(points, result, d.spans)
	cases := []*brief{d.judge(s, -1, id)}
	r.Totals.Flows, r.Totals.ByVerdict = 1, map[string]int{cases[0].verdict: 1}
	d.list(cases, r, o)
	return r, true
}
