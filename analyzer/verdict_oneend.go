package analyzer

import (
	"fmt"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// deathSeenFromOneEnd judges an end that asks in vain where one capture is all
// there is, or the other one cannot tell.
func deathSeenFromOneEnd(s *Subject) Answer {
	t, ok := findTail(s)
	if !ok || s.endedBefore(t.first) {
		return Answer{}
	}
	if own := s.nearest(t.side); len(s.Seen) > 1 && own.Sides[t.side].Unanswered == 0 && own.Sides[t.side].Answered > 0 && t.data == 0 {
		return Answer{} // its own capture has the answers, which another one misses
	}
	if !s.insists(t) && s.Ends[1].Sub(s.Passages[t.first].At) < promptly {
		return Answer{} // the capture ends before an answer had to come
	}
	v := s.tailVerdict(Undecided, Possible, t, s.Base)
	asker := sideName(t.side)
	asked := t.words()
	idle := t.silence >= time.Second
	evidence := s.questions(t)
	finding := Finding{Rule: "probes-unanswered", Says: fmt.Sprintf("the %s's last %s got no answer", asker, asked),
		Suggests: "the connection is dead for it; where and why one capture cannot tell", Evidence: evidence}
	if t.probes == 0 {
		finding.Rule = "data-unanswered"
	}
	alive, dead := s.controlsSay(s.lastAsked(t))
	if icmp := s.icmpSince(t.first); icmp != "" {
		finding.Suggests = icmp
	}
	if n := s.arrived(t); n > 0 && s.TwoSided() {
		var there []pairing.Ref // the questions that arrived
		for _, i := range t.asked {
			if p := &s.Passages[i]; p.Known && p.How == pairing.Crossed {
				there = append(there, p.Refs...)
			}
		}
		peer := sideName(other(t.side))
		if far, ok := s.answeredElsewhere(t.side); ok {
			here := s.Points[s.nearestSighting(t.side).Vantage].Name
			v.Summary = fmt.Sprintf("The %s's %s got no answer in %s, but they are answered in %s: the answers are lost on the way, or %s does not record them.", asker, asked, here, far, here)
			v.Unknown = append(v.Unknown, "whether the answers arrived: an end that goes on at the pace of its idle time heard them")
			finding.Says += " in " + here
			return Answer{Verdict: v, Findings: []Finding{finding}}
		}
		if a, ok := s.hostDrops(t, v, finding, n); ok {
			return a
		}
		far := s.nearestSighting(other(t.side)).Vantage
		name := s.Points[far].Name
		if a := s.beyond(other(t.side), deathSeenFromOneEnd); a.Verdict != nil {
			a.Verdict.Summary += fmt.Sprintf(" They reach %s (%d of them provably); what became of them beyond it no capture shows.", name, n)
			return a
		}
		if s.lacksSide(far, other(t.side)) {
			v.Summary = fmt.Sprintf("The %s's %s arrive at %s (%d of them provably) and get no answer. Whether answers leave from there is not known: it holds nothing that the %s sends.", asker, asked, name, n, peer)
			v.Unknown = append(v.Unknown, s.oneDirectionOnly(far, other(t.side)))
			return Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: []Hypothesis{s.oneWayHypothesis(t), hostDropHypothesis(t.side, there)}}
		}
		v.Summary = fmt.Sprintf("The %s's %s arrive at %s (%d of them provably), and no answer leaves from there.", asker, asked, name, n)
		v.Unknown = append(v.Unknown, "why the "+peer+"'s host does not answer: a host firewall that forgot the connection, a filtered RST, or a hung kernel; look on the host itself")
		return Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: []Hypothesis{
			{Verdict: HostDrop, For: because("the probes are in the capture taken beside the "+peer+", which shows no answer", there...)},
			{Verdict: PeerGone, For: because("a host that hangs or sleeps does not answer either", there...), Against: because("what is sent to it still reaches its link", there...)},
		}}
	}
	if len(s.Seen) == 1 && s.own(other(t.side)) && !s.own(t.side) {
		return s.unansweredHere(t, v, finding, asked, alive)
	}
	if idle && alive != nil && s.whole(t) {
		v.ID, v.Confidence = SilentDrop, Possible // a filter on the peer's host looks the same from here
		v.Cause, v.CauseConfidence = "idle-expiry", Possible
		v.CauseWhy = aControl(alive) + " between the same hosts lives meanwhile"
		if survived := longestSurvived(s, t.first); !outlasts(t.silence, survived) {
			v.Cause = "state-lost"
			v.CauseWhy = fmt.Sprintf("a silence of %s was survived before, this one was %s", facts.Compact(survived), facts.Compact(t.silence))
			s.payloadTimer(v, t.first)
		}
		v.Summary = fmt.Sprintf("After %s of silence the %s's %s got no answer, while %s between the same hosts lives. The path and the peer work; this connection's state is gone, most likely in a device between.",
			facts.Compact(t.silence), asker, asked, aControl(alive))
		if peer := sideName(other(t.side)); s.capturedBeside(other(t.side)) {
			v.Unknown = append(v.Unknown, "whether they reached the "+peer+": "+s.needs(t.side))
		} else {
			v.Unknown = append(v.Unknown, "whether the peer itself dropped them: needs a capture at the "+peer)
		}
		return Answer{Verdict: v, Findings: []Finding{finding, {Rule: "control-lives", Says: aControl(alive) + " between the same hosts is answered", Suggests: "path and peer work", Evidence: alive.Refs}},
			Hypotheses: []Hypothesis{hostDropHypothesis(t.side, evidence), s.oneWayHypothesis(t)}}
	}
	if s.otherCannotTell() {
		v.ID = CaptureGap
		v.Summary = fmt.Sprintf("The %s's %s got no answer, but the other capture cannot say whether they arrived.", asker, asked)
	} else if idle {
		v.Summary = fmt.Sprintf("After %s of silence the %s's %s got no answer. From one end alone this can be a device that forgot the connection, a cut path or a dead peer.", facts.Compact(t.silence), asker, asked)
	} else {
		v.Summary = fmt.Sprintf("In the middle of traffic the %s stopped getting answers to its %s. From one end alone this can be a cut path, a dead peer or lost state.", asker, asked)
	}
	v.Unknown = append(v.Unknown, "whether they reached the "+sideName(other(t.side))+": "+s.needs(t.side))
	return Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: tailHypotheses(s, t, idle, alive, dead)}
}

// answeredElsewhere returns the name of a capture in which all questions of a side are
// answered, and whether there is one beside the side's own.
func (s *Subject) answeredElsewhere(side uint8) (string, bool) {
	own := s.nearestSighting(side).Vantage
	for _, x := range s.Seen {
		if f := x.Flow; x.Vantage != own && f.Sides[side].Probes > 0 && f.Sides[side].Unanswered == 0 && f.Sides[side].Answered > 0 {
			return s.Points[x.Vantage].Name, true
		}
	}
	return "", false
}

// hostDrops holds where the questions of a tail reach the capture that was taken
// on the peer's own host, which goes on sending other traffic and answers none
// of them: the host itself lost them behind its interface.
func (s *Subject) hostDrops(t silentTail, v *Verdict, finding Finding, arrived int) (Answer, bool) {
	side := other(t.side)
	far := s.nearestSighting(side)
	own := &far.Flow.Sides[side]
	if arrived < 3 || s.answersSince(t, far) || own.Segments == 0 || hops(own.TTLs[0]) != 0 || hops(own.TTLs[1]) != 0 {
		return Answer{}, false
	}
	alive, _ := s.controlsSay(s.lastAsked(t))
	if alive == nil || !s.holdsAnswer(far, alive) {
		return Answer{}, false // nothing shows that the host still sent, or that the capture would hold what it does
	}
	peer := sideName(side)
	v.ID, v.Confidence, v.Cause = HostDrop, Proven, "unknown"
	v.Between = [2]int{far.Vantage, far.Vantage}
	v.Summary = fmt.Sprintf("The %s's host drops them itself: %d arrive in the capture taken on it, %s shows that it still talks to the same host, and it answers none of them.", peer, arrived, aControl(alive))
	v.Unknown = append(v.Unknown, "what in the "+peer+"'s host drops them: a host firewall that forgot the connection, a filtered RST, a routing rule; tcpdump sees packets before the host's own filter")
	return Answer{Verdict: v, Findings: []Finding{finding, {Rule: "control-lives", Says: aControl(alive) + " between the same hosts is answered", Suggests: "the host lives", Evidence: alive.Refs}}}, true
}

// holdsAnswer reports whether a vantage point holds answers like the one that a control
// tells of: of pings any since it; of all else it is taken to.
func (s *Subject) holdsAnswer(seen *pairing.Sighting, control *Control) bool {
	table := s.Points[seen.Vantage].Table
	if table == nil || control.What != "ICMP echo" {
		return true
	}
	hp, ok := table.HostPair(&seen.Flow.Key)
	return !ok || len(hp.Pings(clockwork(s.Clocks).to(seen.Vantage, s.Base, control.At)).Answered) > 0
}

// answersSince reports whether a vantage point holds answers to the questions of a tail.
func (s *Subject) answersSince(t silentTail, far *pairing.Sighting) bool {
	return s.heard(clockwork(s.Clocks), far, other(t.side), s.Passages[t.first].At, tcp.MaxInstant)
}

// insists reports whether an end asked again because no answer came: two
// probes, or data sent three times.
func (s *Subject) insists(t silentTail) bool {
	again := 0
	for _, i := range t.asked {
		if k := s.Passages[i].Kind; k == flows.Retransmission || k == flows.FIN {
			again++
		}
	}
	return t.probes >= 2 || again >= 2
}

// unansweredHere judges questions that are in a capture taken on the host that
// should answer them.
func (s *Subject) unansweredHere(t silentTail, v *Verdict, finding Finding, asked string, alive *Control) Answer {
	asker, host := sideName(t.side), sideName(other(t.side))
	v.Summary = fmt.Sprintf("The %s's %s arrive at the %s, beside which this capture was taken, and no answer leaves from there.", asker, asked, host)
	v.Unknown = append(v.Unknown, "what in the "+host+"'s host drops them: a host firewall that forgot the connection, a filtered RST, a routing rule; tcpdump sees packets before the host's own filter")
	var alives []Reason
	if alive != nil {
		alives = because(aControl(alive)+" between the same hosts is answered", alive.Refs...)
	}
	a := Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: []Hypothesis{
		{Verdict: HostDrop, For: because("the questions are in the capture taken beside the "+host, finding.Evidence...)},
		{Verdict: PeerGone, For: because("a host that hangs or sleeps does not answer either", finding.Evidence...), Against: alives},
		{Verdict: OneWayDrop, For: because("a mirror port may show what arrives and not what leaves", finding.Evidence...), Against: because(fmt.Sprintf("the %s's own segments are in this capture", host), v.LastCrossed)},
	}}
	if alive != nil && s.insists(t) {
		v.ID, v.Confidence, v.Cause = HostDrop, Likely, "unknown"
		if len(s.flow.Missing) > 0 {
			v.Confidence = Possible
			v.Unknown = append(v.Unknown, "whether it answered: "+s.Points[s.Base].Name+" misses other segments of this connection")
		}
		v.Summary += fmt.Sprintf(" %s shows that the host lives.", capitalisedText(aControl(alive)))
		a.Findings = append(a.Findings, Finding{Rule: "control-lives", Says: aControl(alive) + " between the same hosts is answered", Suggests: "the host lives", Evidence: alive.Refs})
	}
	return a
}

func capitalisedText(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// arrived counts the questions of a tail that provably reached the other end's
// capture.
func (s *Subject) arrived(t silentTail) int {
	n := 0
	for _, i := range t.asked {
		if p := &s.Passages[i]; p.Known && p.How == pairing.Crossed {
			n++
		}
	}
	return n
}

// whole reports whether the vantage point missed nothing while the end asked.
func (s *Subject) whole(t silentTail) bool {
	for _, i := range t.asked {
		p := &s.Passages[i]
		if holesAt(s.flow.Missing, p.At, p.At.Add(time.Second)) {
			return false
		}
	}
	return true
}

// otherCannotTell reports whether a second capture was given that should have
// seen the connection, and yet nothing can be concluded from it.
func (s *Subject) otherCannotTell() bool { return len(s.Points) >= 2 && !s.SamePoint && !s.part }

func (s *Subject) icmpSince(i int) string {
	for j := i; j < len(s.Passages); j++ {
		if p := &s.Passages[j]; p.Kind == flows.ICMPError {
			return fmt.Sprintf("%s reports ICMP %d/%d about this connection", p.Event.Source, p.Event.Len>>8, p.Event.Len&0xff)
		}
	}
	return ""
}

// nextCapture names the measurement that most often decides: a capture at the
// other end than the side's. captureCommands gives its commands.
func nextCapture(side uint8) string {
	return fmt.Sprintf("capture at the %s as well, started before the login and left running past the death until a fresh login has been tried, with a slow ping beside it as a control", sideName(other(side)))
}

// captureCommands are what to paste for a measurement: at the end that is
// missing, whose peer has the address that this end is seen with, and a ping at
// this end. Behind a translator the address is another one.
func (s *Subject) captureCommands(next string) []string {
	if next == decide {
		server := s.flow.Sides[flows.Server].Addr
		return []string{
			"at the client, beside the dead session, while the captures run:",
			fmt.Sprintf("ping -c 5 %s", server.Addr()),
			fmt.Sprintf("nc -vz -w 5 %s %d", server.Addr(), server.Port()),
		}
	}
	for side := range s.flow.Sides {
		if next != nextCapture(uint8(side)) {
			continue
		}
		here, there := s.flow.Sides[side].Addr.Addr(), s.flow.Sides[1-side].Addr.Addr()
		name := sideName(other(uint8(side)))
		return []string{
			fmt.Sprintf("at the %s (behind NAT with the address that it sees instead of %s):", name, here),
			fmt.Sprintf("tcpdump -ni any -s 128 -C 100 -W 50 -w %s.pcap 'host %s or icmp or icmp6 or (vlan and (host %s or icmp or icmp6))'", name, here, here),
			fmt.Sprintf("at the %s, beside its capture:", sideName(uint8(side))),
			fmt.Sprintf("ping -i 30 %s", there),
		}
	}
	return nil
}

func tailHypotheses(s *Subject, t silentTail, idle bool, alive, dead *Control) []Hypothesis {
	next := nextCapture(t.side)
	drop := Hypothesis{Verdict: SilentDrop, Next: next}
	cut := Hypothesis{Verdict: PathCut, Next: next}
	gone := Hypothesis{Verdict: PeerGone, Next: next}
	onset := s.aroundOnset(t)
	asked := s.questions(t)
	add := func(list *[]Reason, says string, refs ...pairing.Ref) { *list = append(*list, Reason{says, refs}) }
	if idle {
		add(&drop.For, fmt.Sprintf("it began right after %s of silence", facts.Compact(t.silence)), onset...)
	} else {
		if !t.within {
			add(&drop.Against, "no silence lies before it", onset...)
		}
		add(&cut.For, "it began in the middle of traffic", onset...)
		add(&gone.For, "it began in the middle of traffic", onset...)
	}
	if survived := longestQuiet(s, t.first); idle && survived.length > 0 && survived.length >= t.silence {
		add(&drop.Against, fmt.Sprintf("a silence of %s was survived before", facts.Compact(survived.length)), survived.at)
	}
	for i := t.first; i < len(s.Passages); i++ {
		if p := &s.Passages[i]; p.Kind == flows.ICMPError {
			says := fmt.Sprintf("%s reports ICMP %d/%d about this connection", p.Event.Source, p.Event.Len>>8, p.Event.Len&0xff)
			add(&gone.For, says, p.Refs...)
			add(&drop.Against, says, p.Refs...)
			break
		}
	}
	switch {
	case alive != nil:
		says := aControl(alive) + " between the same hosts lives meanwhile"
		add(&drop.For, says, alive.Refs...)
		add(&cut.Against, says, alive.Refs...)
		add(&gone.Against, says, alive.Refs...)
	case dead != nil:
		says := aControl(dead) + " between the same hosts is dead as well"
		add(&drop.Against, says, dead.Refs...)
		add(&cut.For, says, dead.Refs...)
		add(&gone.For, says, dead.Refs...)
	default:
		says := "no control: nothing else between the hosts was seen since"
		if s.after(t) != nil {
			says = "no control: nothing else between the hosts was seen while it asked in vain"
		}
		for _, h := range []*Hypothesis{&drop, &cut, &gone} {
			add(&h.Against, says)
		}
	}
	if after := s.after(t); after != nil {
		says := aControl(after) + " between the same hosts works later"
		for _, h := range []*Hypothesis{&cut, &gone} {
			add(&h.Against, says+", unless it had passed by then", after.Refs...)
		}
		add(&drop.For, says, after.Refs...)
	}
	if len(cut.For) == 0 {
		add(&cut.For, "whatever was asked got no answer", asked...)
	}
	if len(gone.For) == 0 {
		add(&gone.For, "a host that is down, asleep or unplugged does not answer either", asked...)
	}
	return append([]Hypothesis{drop, cut, gone, hostDropHypothesis(t.side, asked), s.oneWayHypothesis(t)}, s.tooLarge(t)...)
}

func (s *Subject) oneWayHypothesis(t silentTail) Hypothesis {
	asked := s.questions(t)
	h := Hypothesis{Verdict: OneWayDrop, For: because("answers may be lost on their way back", asked...), Next: nextCapture(t.side)}
	if first, last := s.Passages[t.asked[0]].Event, s.Passages[t.asked[len(t.asked)-1]].Event; first.HasTS && last.HasTS && first.TSEcr == last.TSEcr {
		h.For = append(h.For, because("the timestamp that it echoes stands still, as it does where answers are lost", asked...)...)
	}
	return h
}

// lastAsked is when an end that asks in vain did so last, or gave up.
func (s *Subject) lastAsked(t silentTail) tcp.Instant {
	if t.reset >= 0 {
		return s.Passages[t.reset].At
	}
	return s.Passages[t.asked[len(t.asked)-1]].At
}

// after returns a control that lives when the last question of a tail is over;
// nil where there is none.
func (s *Subject) after(t silentTail) *Control {
	last := s.lastAsked(t)
	for i := range s.Controls {
		if c := &s.Controls[i]; c.Alive && c.Proof && c.At > last {
			return c
		}
	}
	return nil
}

func hostDropHypothesis(side uint8, asked []pairing.Ref) Hypothesis {
	return Hypothesis{Verdict: HostDrop, For: because(fmt.Sprintf("a filter on the %s's host can swallow what it is asked", sideName(other(side))), asked...), Next: nextCapture(side)}
}

// decide is the measurement that tells a device's lost state from a cut path.
const decide = "a fresh login, or a ping, beside the dead session while both captures run"

// againstExpiry is what speaks against an idle timer: a silence as long that was
// survived before.
func (s *Subject) againstExpiry(o *onset) []Reason {
	if survived := longestQuiet(s, o.first); survived.length > 0 && !outlasts(o.silence, survived.length) {
		return because(fmt.Sprintf("a silence of %s was survived before", facts.Compact(survived.length)), survived.at)
	}
	return nil
}

// longestQuiet returns the longest silence before passage limit that the flow
// survived, with the frame that ended it.
func longestQuiet(s *Subject, limit int) quiet {
	var longest quiet
	for _, q := range survivedSilences(s, limit) {
		if q.length > longest.length {
			longest = q
		}
	}
	return longest
}

// openReadings is what remains where a capture ends soon after a question that
// nobody answered.
func (s *Subject) openReadings() []Hypothesis {
	for i := len(s.Passages) - 1; i >= 0; i-- {
		p := &s.Passages[i]
		if p.From > flows.Server || p.Kind == flows.ICMPError || p.Kind != flows.KeepaliveProbe && p.Event.Len == 0 {
			continue
		}
		if passed(s, i) {
			return nil
		}
		until, end := s.Ends[1], "the capture ends"
		over := s.givenUp(i)
		if over != nil {
			until, end = over.At, "the "+sideName(p.From)+" gave up"
		}
		left := facts.Compact(max(0, until.Sub(max(p.At, p.Until))))
		silence, _ := s.silence(i)
		next := nextCapture(p.From)
		if s.TwoSided() && len(s.Seen) > 1 {
			next = decide
		}
		lost := because(fmt.Sprintf("no answer came in the %s until %s", left, end), p.First())
		early := because("a single lost segment looks the same", p.First())
		if first, end := s.lastTry(p.From); over != nil && first >= 0 && s.probesBetween(p.From, first, end) > fewProbes {
			early = nil
		}
		drop := Hypothesis{Verdict: SilentDrop, For: lost, Against: early, Next: next}
		if silence >= time.Second {
			drop.For = append(drop.For, because(fmt.Sprintf("it comes after %s of silence", facts.Compact(silence)), p.First())...)
		} else {
			drop.Against = append(drop.Against, because("no silence lies before it", p.First())...)
		}
		dead := []Hypothesis{drop, {Verdict: PathCut, For: lost, Against: early, Next: next}, {Verdict: PeerGone, For: lost, Against: early, Next: next}}
		if over != nil {
			return dead
		}
		return append([]Hypothesis{{Verdict: Healthy, Next: next,
			For: because(fmt.Sprintf("the capture ends %s after the question: the answer, or the one to its repetition, may have come later", left), p.First())}}, dead...)
	}
	return nil
}
