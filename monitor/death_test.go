package monitor

import (
	"testing"

	"kaflow/analyzer"
	"kaflow/flows"
)

// Of many verdicts the oldest leave, those that were told anew not before their time.
func TestObituariesLeaveInTheirOrder(t *testing.T) {
	e := New(Options{Emit: func(Event) {}}, nil, nil)
	const most = mostObituaries
	for range 5 {
		for id := range flows.FlowID(most) {
			e.bury(id, &analyzer.Verdict{})
		}
	}
	e.bury(0, &analyzer.Verdict{})
	for id := range flows.FlowID(10) {
		e.bury(most+id, &analyzer.Verdict{})
	}
	if len(e.obituaries) != most || len(e.buried) > 2*most {
		t.Errorf("%d verdicts and %d in line, want %d and at most %d", len(e.obituaries), len(e.buried), most, 2*most)
	}
	for id := range flows.FlowID(most + 10) {
		if _, held := e.obituaries[id]; held != (id == 0 || id > 10) {
			t.Errorf("verdict %d is held: %v", id, held)
		}
	}
}
