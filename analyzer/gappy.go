package analyzer

// Shares of arrived segments that a capture provably lacks: a few, and so many
// that a short row of absences means nothing.
const (
	aFewMissed = 0.01
	tooGappy   = 0.05
)

// soften makes a verdict that rests on absence less sure where a capture of the
// connection provably misses what arrived: what looks lost, unanswered or
// unsent may only be unrecorded. Long rows of losses keep most of their word.
func soften(s *Subject, v *Verdict) {
	worst, where := 0.0, 0
	for _, v := range s.Path {
		if m := s.MissRate(v); m > worst {
			worst, where = m, v
		}
	}
	weaker := v.Confidence
	switch v.ID {
	case SilentDrop, PathCut:
		if worst > tooGappy {
			weaker = oneLess(v.Confidence)
		}
	case OneWayDrop, HostDrop, NotEstablished, ForgedReset:
		switch {
		case worst > tooGappy && v.Confidence != None:
			weaker = Possible
		case worst > aFewMissed:
			weaker = oneLess(v.Confidence)
		}
	}
	if weaker != v.Confidence {
		v.Confidence = weaker
		v.Unknown = append(v.Unknown, "whether it is so at all: "+s.Points[where].Name+" misses segments that arrived, and what seems missing may only be unrecorded")
	}
}

func oneLess(c Confidence) Confidence {
	switch c {
	case Proven:
		return Likely
	case Likely:
		return Possible
	}
	return c
}
