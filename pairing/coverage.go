package pairing

import (
	"fmt"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// recording says whether a vantage point was recording a pair of hosts
// throughout a span of its own clock.
type recording struct {
	how    How // Lost: what is not there did not pass; Unknowable: nothing follows from absence
	reason Reason
	why    string
	// assumed: nothing shows that the capture was still running
	assumed bool
}

func unknowable(r Reason, format string, args ...any) recording {
	return recording{how: Unknowable, reason: r, why: fmt.Sprintf(format, args...)}
}

// holeWords name the reasons for a hole.
var holeWords = map[capture.Why]string{
	capture.WhyDropped:   "dropped packets",
	capture.WhyRotation:  "was between two files",
	capture.WhyInterface: "had its interface down",
	capture.WhyDamaged:   "is damaged",
	capture.WhyClock:     "had its clock stepped",
	capture.WhyUnseen:    "recorded nothing of these hosts, though they went on exchanging packets past it,",
	capture.WhyLimit:     "held more events than are kept",
}

// recorded tells what absence from s between from and to means for a segment
// of two hosts: of several names that they may have there, the one that allows
// the least. view is the connection there; nil where it was not seen at all.
func (s *side) recorded(names []hostsKey, view *flows.Flow, from, to tcp.Instant) (least recording) {
	if why, ok := s.hole(view, from, to); ok {
		return why
	}
	for i, k := range names {
		r := s.recordedAs(&capture.Key{Lo: k.lo, Hi: k.hi}, from, to)
		if i == 0 || least.how == Lost && (r.how != Lost || r.assumed) {
			least = r
		}
	}
	return least
}

// recordedAs is recorded for one name of the two hosts.
func (s *side) recordedAs(key *capture.Key, from, to tcp.Instant) recording {
	for _, h := range s.pauses[hostsKey{key.Lo, key.Hi}] {
		if h.From <= to && from <= h.To {
			return unknowable(NotRecording, "%s %s at that time", s.name, holeWords[h.Why])
		}
	}
	if s.drops > 0 {
		return unknowable(Dropped, "%s dropped %d packets, when is not known", s.name, s.drops)
	}
	for _, c := range s.covers {
		if c.From <= from && to <= c.To {
			return recording{how: Lost}
		}
	}
	first, last, known := s.proven(key)
	switch {
	case !known:
		return unknowable(FilteredPerhaps, "%s holds nothing of these hosts: it may have been filtered", s.name)
	case from < first:
		return unknowable(NotYet, "%s begins later", s.name)
	case to > last:
		return recording{how: Lost, reason: NoLonger, assumed: true, why: s.endsWith(key)}
	}
	return recording{how: Lost}
}

// hole returns why nothing may be concluded between from and to.
func (s *side) hole(view *flows.Flow, from, to tcp.Instant) (recording, bool) {
	missing := s.holes
	if view != nil && len(view.Missing) > 0 {
		missing = append(append([]capture.Interval(nil), s.holes...), view.Missing...)
	}
	for _, h := range missing {
		if h.From <= to && from <= h.To {
			word, ok := holeWords[h.Why]
			if !ok {
				word = "misses packets"
			}
			return unknowable(NotRecording, "%s %s at that time", s.name, word), true
		}
	}
	return recording{}, false
}

// proven returns the span in which s recorded the two hosts provably: between
// their first and last frame, or those of the whole capture where it is
// plainly unfiltered.
func (s *side) proven(key *capture.Key) (first, last tcp.Instant, known bool) {
	if pair, ok := s.hostPair(key); ok {
		first, last, known = pairSpan(&pair)
	}
	if s.unfiltered && s.first != 0 {
		if !known {
			return s.first, s.last, true
		}
		first, last = min(first, s.first), max(last, s.last)
	}
	return first, last, known
}

// pairSpan returns the first and last frame between two hosts, whoever sent
// it.
func pairSpan(p *flows.HostPair) (first, last tcp.Instant, known bool) {
	for d := range p.Frames {
		if p.Frames[d] == 0 {
			continue
		}
		if !known {
			first, last, known = p.First[d], p.Last[d], true
			continue
		}
		first, last = min(first, p.First[d]), max(last, p.Last[d])
	}
	return first, last, known
}

// endsWith says how the capture ends, where coverage beyond that is assumed.
func (s *side) endsWith(key *capture.Key) string {
	_, last, _ := s.proven(key)
	if s.last > last {
		return fmt.Sprintf("the last packet of these hosts in %s came before; it records other hosts until later, but may have been filtered", s.name)
	}
	return fmt.Sprintf("%s ends with a packet that came before; nothing shows that it was still running", s.name)
}

// admits reports whether s would hold a connection of these hosts that it does
// not hold: it is unfiltered, or holds others of the same server port, or the
// user says so.
func (s *side) admits(view *flows.Flow) bool {
	if s.unfiltered || len(s.covers) > 0 {
		return true
	}
	for _, k := range s.keysOf(service{hostsOf(&view.Key), view.Sides[flows.Server].Addr}) {
		if k != view.Key {
			return true
		}
	}
	return false
}
