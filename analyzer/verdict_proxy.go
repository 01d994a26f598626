package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// proxyAnswers holds where probes are answered that never reached the peer.
func proxyAnswers(s *Subject) Answer {
	if s.TwoSided() {
		if a := s.answeredOnTheWay(); a.Verdict != nil {
			return a
		}
	}
	for side := uint8(0); side < 2; side++ {
		ask := func(one *Subject) Answer { return one.answeredUnlikePeer(side) }
		a := Answer{}
		if s.TwoSided() {
			a = s.beyond(1-side, ask)
		} else {
			a = ask(s)
		}
		if a.Verdict != nil {
			return a
		}
	}
	return Answer{}
}

// answeredUnlikePeer weighs, in one capture, the answers to a side's probes.
func (s *Subject) answeredUnlikePeer(side uint8) Answer {
	if a := s.answeredTooSoon(side); a.Verdict != nil {
		return a
	}
	return s.answeredByAnother(side)
}

// surelyProxied is how many answered probes a capture must lack in a row to
// prove that they never came: one that misses a third of everything misses so
// many, and the peer's answers to them, once in millions.
const surelyProxied = 6

// answeredOnTheWay looks for probes that are lost between two captures and yet
// answered at the first.
func (s *Subject) answeredOnTheWay() Answer {
	var lost [2][]pairing.Ref
	var first [2]int
	count := [2]int{}
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind != flows.KeepaliveProbe || p.From > flows.Server || !p.Known || p.How != pairing.Lost || p.Assumed {
			continue
		}
		n := 0
		if p.Event.Run != nil {
			n = int(p.Event.Run.Count[1-p.From])
		} else if p.Event.AnsweredBy != 0 {
			n = 1
		}
		if n == 0 {
			continue
		}
		if count[p.From] == 0 {
			first[p.From] = i
		}
		count[p.From] += n
		lost[p.From] = append(lost[p.From], p.First())
	}
	s.answeredRuns(&first, &count, &lost)
	for side := uint8(0); side < 2; side++ {
		if count[side] < 3 || s.reachedAfter(side, first[side]) {
			continue
		}
		far := s.nearestSighting(other(side)).Vantage
		if s.lacksSide(far, side) {
			continue // the answers leave from there, so what they answer came: it was not recorded
		}
		p := &s.Passages[first[side]]
		between := p.Between
		if p.How == pairing.Unknowable { // a run is lost on the whole way
			between = [2]int{s.Seen[0].Vantage, s.Seen[len(s.Seen)-1].Vantage}
		}
		v := &Verdict{ID: ProxyAnswer, Confidence: Proven, At: p.At, FirstLost: p.First(), Between: s.alongPath(between)}
		a, b := s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name
		v.Summary = fmt.Sprintf("Something between %s and %s answers the %s's keepalives in the %s's place: %d probes got an answer and never reached the %s. The %s believes in a connection that its peer may have lost long ago.",
			a, b, sideName(side), sideName(other(side)), count[side], sideName(other(side)), sideName(side))
		if count[side] < surelyProxied {
			v.Confidence = Likely
			if s.MissRate(far) > tooGappy {
				v.Confidence = Possible
			}
			v.Unknown = append(v.Unknown, fmt.Sprintf("whether %s only failed to record so few", b))
		}
		v.Unknown = append(v.Unknown, fmt.Sprintf("which of the devices between %s and %s: needs a third capture, between them", a, b))
		return Answer{Verdict: v, Findings: []Finding{{Rule: "answered-and-lost", Says: fmt.Sprintf("%d probes of the %s are answered at %s and are not in the capture beyond", count[side], sideName(side), a),
			Suggests: "a proxy, a load balancer or a WAN optimiser keeps the connection alive on its own", Evidence: lost[side]}}}
	}
	return Answer{}
}

// reachedAfter reports whether, since passage first, the capture beyond holds
// anything of the prober's, or an answer of its peer's own: then probes do get
// there, and those that it lacks were not recorded.
func (s *Subject) reachedAfter(side uint8, first int) bool {
	far := s.nearestSighting(other(side))
	since := clockwork(s.Clocks).to(far.Vantage, s.Base, s.Passages[first].At)
	for i := range far.Flow.Events {
		ev := &far.Flow.Events[i]
		if ev.End() < since || ev.Kind == flows.ICMPError {
			continue
		}
		if ev.From == side && ev.Kind != flows.RST && ev.Kind != flows.FIN || ev.Run != nil && ev.Run.Count[side] > 0 || ev.From == other(side) && ev.Kind == flows.KeepaliveACK {
			return true
		}
	}
	return false
}

// answeredRuns adds the runs of answered probes of which the capture beyond,
// which was recording all the while, holds nothing.
func (s *Subject) answeredRuns(first, count *[2]int, lost *[2][]pairing.Ref) {
	if len(s.Seen) < 2 {
		return
	}
	c := clockwork(s.Clocks)
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind != flows.KeepaliveProbe || p.Event.Run == nil || p.From > flows.Server || p.Known && p.How != pairing.Unknowable {
			continue
		}
		near, far := &s.Seen[0], &s.Seen[len(s.Seen)-1]
		if p.From == flows.Server {
			near, far = far, near
		}
		if p.Refs[0].Vantage != near.Vantage || s.heard(c, far, p.From, p.At.Add(-time.Second), p.Until.Add(time.Second)) ||
			!s.recorded(far, p.At) || !s.recorded(far, p.Until) {
			continue
		}
		if count[p.From] == 0 {
			first[p.From] = i
		}
		count[p.From] += int(p.Event.Run.Count[1-p.From])
		lost[p.From] = append(lost[p.From], p.First(), p.Last)
	}
}

// answeredTooSoon weighs, in one capture, answers to probes that come sooner
// than the peer ever answered, and from another distance.
func (s *Subject) answeredTooSoon(side uint8) Answer {
	least := s.handshakeTime(side)
	if least < 2*time.Millisecond {
		return Answer{}
	}
	far, constant, n := s.peerDistance(other(side))
	if n == 0 || !constant {
		return Answer{}
	}
	var refs []pairing.Ref
	answers, soon, from := 0, 0, -1
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.From != other(side) || p.Kind != flows.KeepaliveACK || p.Event.Answers == 0 {
			continue
		}
		probe := s.passageOf(p.Event.Answers)
		if probe == nil {
			continue
		}
		answers++
		if wait := p.At.Sub(probe.At); wait < least/2 && hops(p.Event.TTL) < far {
			soon++
			from = hops(p.Event.TTL)
			refs = append(refs, p.First())
		}
	}
	if soon < 2 || soon < answers {
		return Answer{}
	}
	peer := sideName(other(side))
	v := &Verdict{ID: ProxyAnswer, Confidence: Likely, At: s.Passages[0].At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's keepalives are answered by something nearer than the %s: all %d answers come in less than half of the %s that the %s needs, and from %s instead of %s away.",
			sideName(side), peer, soon, facts.Compact(least), peer, plural(from, "hop"), plural(far, "hop")),
		Unknown: []string{"whether the " + peer + " still has the connection: needs a capture there"}}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "answers-too-near", Says: fmt.Sprintf("%d answers are too fast and their TTL is too high for the %s", soon, peer),
		Suggests: "a device on the way answers keepalives for it", Evidence: refs}}, Hypotheses: []Hypothesis{{Verdict: ProxyAnswer, For: because("the answers are too fast, and come from too near", refs...), Next: nextCapture(side)}}}
}

// fewestAnswers is how many answers must be unlike the peer's for that to be
// told of a device.
const fewestAnswers = 4

// answeredByAnother weighs, in one capture, answers that come from as far as the
// peer's and are not like it: they come far sooner than it can, and the prober,
// which takes them, gets no timestamp from them although the peer sends one with
// every segment (RFC 7323, section 3.2). Either alone can be the peer's own: a
// handshake that had to wait, a stack that leaves the option out. The second alone
// leaves it open who answers.
func (s *Subject) answeredByAnother(side uint8) Answer {
	f := s.flow
	if !f.Sides[1-side].Timestamps || f.Sides[side].Ending != flows.EndOpen || beside(f, 1-side) {
		return Answer{} // of a capture beside the peer the answers are its own
	}
	if _, deaf := f.Unheard(side); deaf {
		return Answer{}
	}
	n, soon, refs := s.unlikeAnswers(side)
	if n < fewestAnswers {
		return Answer{}
	}
	least := s.handshakeTime(side)
	if least < 2*time.Millisecond || soon >= least/3 {
		return s.answersWithoutClock(side, n, refs)
	}
	who, peer := sideName(side), sideName(1-side)
	fast := fmt.Sprintf("the fastest of %d answers came within %s, the %s needed %s for the handshake", n, facts.Compact(soon), peer, facts.Compact(least))
	bare := fmt.Sprintf("the %s takes these answers, for it stays at its pace, and goes on echoing an older timestamp: they carry none that is newer, unlike the %s's own segments", who, peer)
	v := &Verdict{ID: ProxyAnswer, Confidence: Possible, At: refs[0].At, FirstLost: refs[0], Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's keepalives are answered, but hardly by the %s: the answers come too soon for it and bring no newer timestamp, as its segments do. A device on the way may answer in its place.", who, peer),
		Unknown: []string{"whether the " + peer + " still has the connection: needs a capture there"}}
	next := nextCapture(side)
	return Answer{Verdict: v, Findings: []Finding{{Rule: "answers-unlike-peer", Says: fast + "; " + bare,
		Suggests: "a device on the way answers keepalives for it", Evidence: refs}}, Hypotheses: []Hypothesis{
		{Verdict: ProxyAnswer, For: []Reason{{fast, refs}, {bare, refs}}, Next: next},
		{Verdict: Healthy, For: because("a handshake that had to wait for something, and a stack that leaves timestamps out of its answers, look the same"), Against: []Reason{{fast, refs}, {bare, refs}}, Next: next},
	}}
}

// answersWithoutClock is what remains where answers bring the prober no newer timestamp
// and nothing else is odd about them: whether the peer gives them is not known. It holds
// where the prober had taken newer ones from the peer's segments before, and nothing but
// such answers came since.
func (s *Subject) answersWithoutClock(side uint8, n int, refs []pairing.Ref) Answer {
	f := s.flow
	echoes := map[uint32]bool{}
	for i := range f.Events {
		ev := &f.Events[i]
		switch {
		case ev.From == side && ev.HasTS && ev.At < refs[0].At:
			echoes[ev.TSEcr] = true
		case ev.At > refs[0].At && (ev.From != side && ev.Len > 0 || ev.Run != nil && ev.Run.Octets[1-side] > 0):
			return Answer{} // the peer was heard since
		}
	}
	if own := &f.Sides[1-side]; len(echoes) < 3 || !own.NxtKnown || own.SndUna.Before(own.SndNxt) {
		return Answer{} // its SYN echoes none; from what lies behind a hole no timestamp is taken (RFC 7323, section 4.3)
	}
	who, peer := sideName(side), sideName(1-side)
	bare := fmt.Sprintf("the %s takes the answers to its last %d probes, for it stays at its pace, and echoes the same old timestamp in all of them: the answers carry none that is newer, unlike the %s's own segments", who, n+1, peer)
	v := &Verdict{ID: Undecided, Confidence: Possible, At: refs[0].At, Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s's keepalives are answered, and nothing shows that the %s gives the answers: they bring no newer timestamp, as its own segments did.", who, peer),
		Unknown: []string{"whether the " + peer + " still has the connection: needs a capture there"}}
	next := nextCapture(side)
	return Answer{Verdict: v, Findings: []Finding{{Rule: "answers-unlike-peer", Says: bare,
		Suggests: "a device on the way may answer keepalives for it", Evidence: refs}}, Hypotheses: []Hypothesis{
		{Verdict: ProxyAnswer, For: []Reason{{bare, refs}}, Against: because("the answers take as long as the " + peer + "'s do"), Next: next},
		{Verdict: Healthy, For: because("a stack that leaves timestamps out of its answers, or a prober that takes none from them, looks the same"), Against: []Reason{{bare, refs}}, Next: next},
	}}
}

// unlikeAnswers counts the answers to a side's probes, from some moment on all
// of them, from which it took no timestamp: the probe after each echoes what the
// one before it did. It returns how long the fastest of them took, and the frames
// of the probes.
func (s *Subject) unlikeAnswers(side uint8) (n int, fastest time.Duration, refs []pairing.Ref) {
	f := s.flow
	seen := &s.Seen[0]
	var before *flows.Event // the probe before, answered
	forget := func() { n, fastest, refs, before = 0, 0, nil, nil }
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From != side || ev.Kind != flows.KeepaliveProbe || !ev.HasTS {
			continue
		}
		wait, answered, echoes := time.Duration(0), false, ev.TSEcr
		if r := ev.Run; r != nil {
			wait, answered, echoes = r.RTT.Min, r.RTT.Known, r.TSEcr
		} else if a := s.passageOf(ev.AnsweredBy); ev.AnsweredBy != 0 && a != nil {
			wait, answered = a.At.Sub(ev.At), true
		}
		if !answered || echoes != ev.TSEcr {
			forget()
			continue
		}
		if before != nil && before.TSEcr != ev.TSEcr {
			forget() // the answer to the one before was the peer's own
		}
		if before != nil {
			n++
		}
		if r := ev.Run; r != nil {
			n += int(r.Count[side]) - 1
		}
		if before == nil || wait < fastest {
			fastest = wait
		}
		before = ev
		if len(refs) < 8 {
			refs = append(refs, s.ref(seen, ev.Ord, ev.Kind, ev.At))
		}
	}
	return n, fastest, refs
}

// handshakeTime is how long the peer of a side took to answer its SYN, or the
// side's own ACK took to come back; 0 where the capture does not show it.
func (s *Subject) handshakeTime(side uint8) time.Duration {
	syn, synack := s.firstOf(flows.SYN), s.firstOf(flows.SYNACK)
	if syn < 0 || synack < 0 || s.Passages[syn].From != side {
		return 0
	}
	return s.Passages[synack].At.Sub(s.Passages[syn].At)
}

// peerDistance is how many hops away a side's handshake and data come from.
func (s *Subject) peerDistance(side uint8) (far int, constant bool, n int) {
	constant = true
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.From != side || p.Kind != flows.SYN && p.Kind != flows.SYNACK && p.Kind != flows.Data || p.Event.Run != nil {
			continue
		}
		h := hops(p.Event.TTL)
		constant = constant && (n == 0 || h == far)
		far = h
		n++
	}
	return far, constant, n
}

// passageOf returns the passage that is the frame of an ordinal at the first
// vantage point; nil where the story does not hold it.
func (s *Subject) passageOf(ord tcp.Ordinal) *Passage {
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Refs[0].Vantage == s.Base && p.Event.Ord == ord {
			return p
		}
	}
	return nil
}
