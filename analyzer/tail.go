package analyzer

import (
	"strings"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
)

// silentTail is what one capture alone shows of a death: an end that asks and
// gets no answer.
type silentTail struct {
	side         uint8
	asked        []int // passages of that side since its last sign of life from the other
	first        int
	tail         pairing.Ref   // what was asked before, as the last segment of a run (see lostTail); zero where nothing was
	silence      time.Duration // before the first of them
	within       bool          // what was asked before is hidden in a run: when it began, and after which silence, is not known
	lastHeard    int           // last passage of the other side; -1 none
	probes, data int
	fins         int // of data: FINs without payload
	reset        int // its own RST at the end; -1 none
}

// tailVerdict begins a verdict on an end that asks in vain.
func (s *Subject) tailVerdict(id string, sure Confidence, t silentTail, at int) *Verdict {
	first := &s.Passages[t.first]
	v := &Verdict{ID: id, Confidence: sure, At: first.At, Silence: t.silence, FirstLost: first.First(), Between: [2]int{at, at}}
	if t.tail.Frame != 0 {
		v.FirstLost, v.At = t.tail, clockwork(s.Clocks).to(s.Base, t.tail.Vantage, t.tail.At)
	}
	v.LastCrossed = s.heardLast(t)
	return v
}

// words counts what was asked.
func (t *silentTail) words() string {
	var parts []string
	if t.probes > 0 {
		parts = append(parts, plural(t.probes, "probe"))
	}
	if n := t.data - t.fins; n > 0 {
		parts = append(parts, plural(n, "segment")+" with data")
	}
	if t.fins > 0 {
		parts = append(parts, plural(t.fins, "FIN"))
	}
	return strings.Join(parts, " and ")
}

// heardLast returns the last frame of the other side that is known; zero where
// that is one of a run that ends with the first question in vain.
func (s *Subject) heardLast(t silentTail) pairing.Ref {
	if t.lastHeard < 0 {
		return pairing.Ref{}
	}
	switch p := &s.Passages[t.lastHeard]; {
	case p.Last.Frame == 0:
		return p.First()
	case p.Last.Frame == t.tail.Frame && p.Last.Vantage == t.tail.Vantage && p.Last.File == t.tail.File:
		return pairing.Ref{}
	default:
		return p.Last
	}
}

// questions returns what was asked in vain.
func (s *Subject) questions(t silentTail) (list []pairing.Ref) {
	if t.tail.Frame != 0 {
		list = append(list, t.tail)
	}
	for _, i := range t.asked {
		list = append(list, s.Passages[i].First())
	}
	return list
}

// aroundOnset returns what was heard last and the first question in vain.
func (s *Subject) aroundOnset(t silentTail) []pairing.Ref {
	first := s.questions(t)[0]
	if last := s.heardLast(t); last.Frame != 0 {
		return []pairing.Ref{last, first}
	}
	return []pairing.Ref{first}
}

// owesBefore reports whether octets that a side sent before passage i, which begins with
// data, are never acknowledged: what is hidden in a run before was lost as well.
func (s *Subject) owesBefore(side uint8, i int) bool {
	p := &s.Passages[i]
	seen := s.sightingAt(p.First().Vantage)
	own := &seen.Flow.Sides[side]
	return p.Event.Len > 0 && p.Kind != flows.KeepaliveProbe && p.Kind != flows.ZeroWindowProbe && own.NxtKnown && own.SndUna.Before(p.Event.Seq)
}

// findTail looks for an end that asks in vain until the capture's end: probes
// or data, two at least, with nothing from the other side after the first.
func findTail(s *Subject) (t silentTail, ok bool) {
	for side := uint8(0); side < 2; side++ {
		t = silentTail{side: side, first: -1, lastHeard: -1, reset: -1}
		for i := range s.Passages {
			p := &s.Passages[i]
			switch {
			case p.Kind == flows.ICMPError || p.From > flows.Server:
			case p.From != side && (p.Known && p.How == pairing.Lost || p.Event.Elsewhere()):
				// It never arrived, or was not taken.
			case p.From != side && p.Kind == flows.KeepaliveProbe && p.Event.Run == nil:
				// The other side's own question is no answer, but it is life.
				t = silentTail{side: side, first: -1, lastHeard: i, reset: -1}
			case p.From != side || p.Event.Run != nil && p.Event.Run.Count[1-side] > 0:
				t = silentTail{side: side, first: -1, lastHeard: i, reset: -1}
			case p.Kind == flows.RST:
				if t.first >= 0 {
					t.reset = i
				}
			case p.Kind == flows.KeepaliveProbe || p.Kind == flows.Retransmission || p.Kind == flows.FIN || p.Kind == flows.ZeroWindowProbe || p.Event.Len > 0:
				if t.first < 0 {
					t.first = i
					silence, before := s.silence(i)
					if tail, of := s.lostTail(i); of >= 0 {
						t.tail, t.data = tail, 1
					} else if before >= 0 && s.alive(before) {
						t.silence = silence
					}
				}
				t.asked = append(t.asked, i)
				if p.Kind == flows.KeepaliveProbe || p.Kind == flows.ZeroWindowProbe {
					t.probes++
				} else {
					t.data++
				}
				if p.Kind == flows.FIN && p.Event.Len == 0 {
					t.fins++
				}
			}
		}
		if len(t.asked) >= 2 && t.lastHeard >= 0 {
			if s.owesBefore(side, t.first) {
				t.silence, t.within = 0, true
			}
			return t, true
		}
	}
	return t, false
}
