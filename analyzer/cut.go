package analyzer

import (
	"kaflow/facts"
	"kaflow/flows"
)

// A table keeps so many events of all its flows together, and no more. Of a flow of which
// some were turned away nobody can say what did not happen, nor how long it was silent.

// cut returns the vantage point that has not kept all of the connection; -1 where all have.
func (s *Subject) cut() int {
	for i := range s.Seen {
		if s.Seen[i].Flow.Cut > 0 {
			return s.Seen[i].Vantage
		}
	}
	return -1
}

// notKept is the verdict on a connection of which a vantage point has not kept all.
func notKept(s *Subject, at int) Verdict {
	v := Verdict{
		ID: CaptureGap, Confidence: None, At: s.flow.Last, Between: [2]int{s.Base, s.Base},
		Summary: "More happened on the connections of " + s.Points[at].Name + " than is kept, and something of this one is not.",
		Unknown: []string{"what was not kept: read this connection alone (-f), or keep more (--max-events, --max-flows)"},
	}
	switch tail := s.Ends[1].Sub(s.flow.Last); {
	case closed(&s.flow.Sides[0]) && closed(&s.flow.Sides[1]):
		v.ID, v.Summary = ClosedNormally, "Both ends closed the connection with a FIN. "+v.Summary
	case len(s.Seen) == 1 && nothingAsked(s.flow) && tail >= shortIdle:
		v.ID, v.Silence = Idle, tail
		v.Summary = "Silent for the last " + facts.Compact(tail) + " of the capture, and nothing is asked. " + v.Summary
	}
	return v
}

// nothingAsked reports whether all that the ends of an open connection sent is acknowledged, by
// what the table keeps of every flow.
func nothingAsked(f *flows.Flow) bool {
	for i := range f.Sides {
		if end := &f.Sides[i]; !end.NxtKnown || end.SndUna != end.SndNxt || end.FIN || end.Unanswered > 0 || end.Win == 0 {
			return false
		}
	}
	return f.Counts[flows.RST]+f.Counts[flows.ICMPError] == 0
}

// besideCut makes a verdict less sure where something of other connections was not kept since
// this one began, which might tell against it.
func (s *Subject) besideCut(v *Verdict) {
	if v.Confidence != Proven {
		return
	}
	for i := range s.Points {
		if t := s.Points[i].Table; t != nil && t.FoldedUntil() >= clockwork(s.Clocks).to(s.Base, i, s.flow.First) {
			v.Confidence = Likely
			v.Unknown = append(v.Unknown, "what other connections of "+s.Points[i].Name+" tell against it: not all that happened on them is kept (--max-events)")
			return
		}
	}
}
