package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
)

// neighboursAsked is how often a host must be asked for its hardware address in
// vain: a single request may be lost.
const neighboursAsked = 3

// clockSlack is what the clocks of two captures may be off after a long silence.
const clockSlack = time.Second

// peerGone holds where an end asks in vain while others ask for its peer's
// hardware address and get no answer: nothing of the host is left at its last
// hop. A capture that sees these requests stands there.
func peerGone(s *Subject) Answer {
	t, ok := findTail(s)
	if !ok || s.endedBefore(t.first) || !s.insists(t) {
		return absentPeer(s)
	}
	c := clockwork(s.Clocks)
	for v := range s.Points {
		point := &s.Points[v]
		f := s.flow
		for i := range s.Seen {
			if s.Seen[i].Vantage == v {
				f = s.Seen[i].Flow
			}
		}
		if point.Table == nil || len(s.Seen) > 1 && !slices.Contains(s.Path, v) {
			continue
		}
		since, until := c.to(v, s.Base, s.Passages[t.first].At).Add(-clockSlack), c.to(v, s.Base, s.lastAsked(t)).Add(promptly)
		fewest := neighboursAsked
		if s.TwoSided() && len(s.Seen) > 1 && v != s.Passages[t.first].First().Vantage {
			fewest = 1 // what was lost has come to its last hop, as far as the capture there goes
		}
		near := point.Table.Neighbourhood(hostOf(f, other(t.side)), since, until, fewest)
		if len(near.Asked) < fewest || near.Heard {
			continue
		}
		a := s.goneFrom(t, v, near)
		if len(near.Asked) < neighboursAsked {
			a.Verdict.Confidence = Possible
			a.Verdict.Unknown = append(a.Verdict.Unknown, "whether the host answers a later request: "+s.Points[v].Name+" ends too soon to tell")
		}
		return a
	}
	return absentPeer(s)
}

func (s *Subject) goneFrom(t silentTail, v int, near flows.Neighbourhood) Answer {
	asker, peer := sideName(t.side), sideName(other(t.side))
	verdict := s.tailVerdict(PeerGone, Likely, t, v)
	verdict.Unknown = []string{"whether the host is down, asleep or unplugged: look at it, or at its switch port"}
	if len(s.Seen) > 1 && s.TwoSided() && v != s.Passages[t.first].First().Vantage {
		verdict.Confidence = Proven
	}
	verdict.Summary = fmt.Sprintf("The %s's host was gone: in %s it is asked %d times for its hardware address and does not answer, and nothing of it is there while the %s asks.",
		peer, s.Points[v].Name, len(near.Asked), asker)
	s.leftOut(verdict)
	var refs []pairing.Ref
	for _, x := range near.Asked[:min(len(near.Asked), 8)] {
		refs = append(refs, refAt(s.Points, v, x.Ord, flows.Unknown, x.At))
	}
	asked := s.questions(t)
	return Answer{Verdict: verdict, Findings: []Finding{
		{Rule: "neighbour-unanswered", Says: fmt.Sprintf("%d requests for the hardware address of the %s's host get no answer", len(near.Asked), peer), Suggests: "nobody is there at the last hop", Evidence: refs},
		{Rule: "probes-unanswered", Says: fmt.Sprintf("the %s's last %s got no answer", asker, plural(len(t.asked), "question")), Suggests: "the host to which they went is gone", Evidence: asked},
	}}
}
