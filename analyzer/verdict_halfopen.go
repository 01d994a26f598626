package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

// atOnce is how soon after the handshake a server turns a session away that it
// does not want.
const atOnce = 2 * time.Second

// saidSomething reports whether any capture holds data of a side.
func (s *Subject) saidSomething(side uint8) bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return x.Flow.Sides[side].Octets > 0 })
}

// turnedAway holds where a server that keeps a session which its client has
// forgotten turns new ones of the same client away: it accepts and closes them
// at once, or refuses them, while it still holds the old one.
func turnedAway(s *Subject) Answer {
	last := s.lastOf(flows.Client)
	if last < 0 || !s.saidSomething(flows.Client) || s.hasFIN(flows.Client, len(s.Passages)) || s.hasFIN(flows.Server, len(s.Passages)) {
		return Answer{}
	}
	quiet := &s.Passages[last]
	rst, asked := s.forgotByClient()
	if rst != nil { // what the client said last before it showed that it had forgotten
		for last >= 0 && (s.Passages[last].At >= asked.At || s.Passages[last].From != flows.Client) {
			last--
		}
		if last < 0 {
			return Answer{}
		}
		quiet = &s.Passages[last]
	}
	since := max(quiet.At, quiet.Until).Add(atOnce)
	if len(s.Points) == 1 && s.Ends[1] <= since {
		return Answer{} // nobody can have come since
	}
	c := clockwork(s.Clocks)
	var refs []pairing.Ref
	n := 0
	var first *Passage
	for o := range s.kin {
		syn, end := o.dismissed()
		if end < 0 || o.flow.Sides[flows.Server].Addr != s.flow.Sides[flows.Server].Addr || o.Passages[syn].From != flows.Client {
			continue
		}
		at := c.to(s.Base, o.Base, o.Passages[syn].At)
		if at <= since || asked != nil && at >= asked.At {
			continue
		}
		n++
		refs = append(refs, o.Passages[syn].First(), o.Passages[end].First())
		if first == nil {
			first = &o.Passages[syn]
		}
	}
	if n == 0 || rst == nil && (n < 2 || s.endedBefore(len(s.Passages))) {
		return Answer{}
	}
	at := c.to(s.Base, first.First().Vantage, first.First().At)
	v := &Verdict{ID: HalfOpen, Confidence: Possible, At: at, FirstLost: first.First(), Silence: max(0, at.Sub(max(quiet.At, quiet.Until))), Between: [2]int{s.Base, s.Base}, Cause: "unknown",
		Unknown: []string{"why the client had forgotten it: a reboot, a crash, or its own timeout", "whether the old session is the reason why new ones are turned away: the server's configuration tells"}}
	v.Summary = fmt.Sprintf("The server still holds this session, silent for %s, and turns the client's new ones away: %s closed by the server right after the handshake.",
		facts.Compact(v.Silence), plural(n, "new connection"))
	a := Answer{Verdict: v, Findings: []Finding{{Rule: "turned-away", Says: fmt.Sprintf("%s of the same client to the same port: closed by the server at once, before a word of the client", plural(n, "new connection")),
		Suggests: "the server allows one session, or as many as are open already", Evidence: refs[:min(len(refs), 8)]}}}
	if rst == nil {
		a.Hypotheses = []Hypothesis{
			{Verdict: HalfOpen, For: because("the old session is silent, and new ones are turned away", append([]pairing.Ref{quiet.First()}, refs[:min(len(refs), 8)]...)...), Next: "let the capture run until the server asks its old client"},
			{Verdict: ClosedNormally, For: because("a server that refuses for another reason closes alike", refs[:min(len(refs), 8)]...)},
		}
		return a
	}
	v.Summary += " When the server asks, the client's host answers with a RST: it knows no such session."
	v.Confidence = Likely
	if s.TwoSided() && rst.Known && rst.How == pairing.Crossed && n >= 2 {
		v.Confidence = Proven
	}
	a.Findings = append(a.Findings, Finding{Rule: "socketless-rst", Says: "the client's host answers the server's " + asked.Kind.String() + " with the RST of a host that knows no such connection",
		Suggests: "the client had forgotten the session before", Evidence: append(slices.Clone(asked.Refs), rst.Refs...)})
	return a
}

// lastOf returns the last passage of a side; -1 none.
func (s *Subject) lastOf(side uint8) int {
	for i := len(s.Passages) - 1; i >= 0; i-- {
		if p := &s.Passages[i]; p.From == side && p.Kind != flows.ICMPError {
			return i
		}
	}
	return -1
}

// forgotByClient returns the RST by which the client's host says that it knows
// no such connection, and the server's segment that it answers.
func (s *Subject) forgotByClient() (rst, asked *Passage) {
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind != flows.RST || p.From != flows.Client || s.gaveUpBefore(flows.Client, i) {
			continue
		}
		if t := s.trigger(i); t >= 0 && socketless(p.Event, s.Passages[t].Event) {
			return p, &s.Passages[t]
		}
	}
	return nil, nil
}

// dismissal is what dismissed has found out about a connection: all others ask.
type dismissal struct {
	asked    bool
	syn, end int
}

// dismissed returns the SYN of a connection that was turned away and the passage by which it
// was, which is -1 of any other.
func (s *Subject) dismissed() (syn, end int) {
	r := &s.dismissal
	if !r.asked {
		r.asked, r.syn, r.end = true, s.firstOf(flows.SYN), -1
		if r.syn >= 0 {
			r.end = s.turnedAwayBy()
		}
	}
	return r.syn, r.end
}

// turnedAwayBy returns the passage by which the server ended a connection right
// after its handshake, before the client had said a word; -1 where it did not.
func (s *Subject) turnedAwayBy() int {
	synack := s.firstOf(flows.SYNACK)
	if synack < 0 {
		return -1
	}
	for i := synack + 1; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		if p.At.Sub(s.Passages[synack].At) > atOnce || p.From == flows.Client && p.Event.Len > 0 || p.Event.Run != nil && p.Event.Run.Octets[flows.Client] > 0 {
			return -1
		}
		if p.Kind == flows.FIN || p.Kind == flows.RST {
			if p.From == flows.Server {
				return i
			}
			return -1
		}
	}
	return -1
}
