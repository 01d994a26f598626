package analyzer

import (
	"math"

	"kaflow/flows"
	"kaflow/pairing"
)

// A capture that provably misses segments which arrived misses others by
// chance, too. A verdict that rests on absence then says how unlikely it has to
// be that a healthy connection looks so, among all that were captured.
const (
	rareEnough = 1e-3 // for likely: it is hardly one of them
	certain    = 1e-9 // for proven
	tooGappy   = 0.05 // share of arrived segments, beyond which one absence means nothing
)

// soften makes a verdict that rests on absence less sure where a capture of the
// connection provably misses what arrived: what looks lost, unanswered or
// unsent may only be unrecorded. Long rows of losses keep their word.
func soften(s *Subject, v *Verdict) {
	switch v.ID {
	case SilentDrop, PathCut, OneWayDrop, HostDrop, NotEstablished, ForgedReset, ProxyAnswer, PeerGone, MTUBlackHole, IdleClose:
	default:
		return
	}
	if v.ID == ForgedReset && v.Between[0] == v.Between[1] {
		return // it rests on the looks of what is there
	}
	worst, where := 0.0, 0
	for _, at := range s.Path {
		m := s.MissRate(at)
		if v.ID == ProxyAnswer { // whose answers make what they answer look missing
			m = 0
			if s.Elsewhere != nil {
				m = s.Elsewhere[at]
			}
		}
		if m > worst {
			worst, where = m, at
		}
	}
	if worst == 0 {
		return
	}
	strict := v.ID != SilentDrop && v.ID != PathCut // one absence decides, not a row of them
	chance := math.Pow(worst, float64(absences(s, v, !strict))) * float64(max(1, s.Points[s.Base].Table.Streams()))
	weaker := v.Confidence
	switch {
	case chance > rareEnough && v.Confidence != None:
		weaker = Possible
	case chance > certain && v.Confidence == Proven:
		weaker = Likely
	}
	if weaker != v.Confidence {
		v.Confidence = weaker
		v.Unknown = append(v.Unknown, "whether it is so at all: "+s.Points[where].Name+" misses segments that arrived, and what seems missing may only be unrecorded")
	}
}

// leftOut makes a verdict that says something of all traffic of two hosts less sure
// where a vantage point leaves some of it out.
func (s *Subject) leftOut(v *Verdict) {
	for i := range s.Points {
		if s.Points[i].Partial {
			v.Confidence = Possible
			v.Unknown = append(v.Unknown, "whether anything else of these hosts crosses: "+s.Points[i].Name+" leaves out segments of other connections")
			return
		}
	}
}

// absences counts the records that a capture would hold if the connection were
// healthy, from the first loss on: of each lost segment its arrival and, with
// answers, of each question the answer at either point.
func absences(s *Subject, v *Verdict, answers bool) int {
	n, begun := 0, v.FirstLost.Ord == 0
	for i := range s.Passages {
		p := &s.Passages[i]
		for _, ref := range p.Refs {
			begun = begun || ref.Vantage == v.FirstLost.Vantage && ref.Ord == v.FirstLost.Ord
		}
		if !begun {
			continue
		}
		if p.Known && p.How == pairing.Lost {
			n += max(1, p.Count)
		}
		if answers && asks(p) && p.Kind != flows.RST && !passed(s, i) {
			n += 2
		}
	}
	return max(1, n)
}
