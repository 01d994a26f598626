package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// deathBetween gives the verdict where two or more captures prove that nothing
// of the connection crosses any more.
func deathBetween(s *Subject) Answer {
	if !s.TwoSided() {
		return Answer{Lacks: "captures from two different places"}
	}
	o, ok := findOnset(s)
	if !ok || s.endedBefore(o.first) {
		return Answer{}
	}
	d0, d1 := o.dead(flows.Client), o.dead(flows.Server)
	switch {
	case d0 && d1, d0 && len(o.crossed[flows.Server]) == 0, d1 && len(o.crossed[flows.Client]) == 0:
		return s.bothWays(&o)
	case d0 || d1:
		return s.oneWay(&o)
	}
	return Answer{}
}

// endedBefore reports whether the connection was over before passage i: a RST
// that crossed, or a FIN of both ends.
func (s *Subject) endedBefore(i int) bool {
	var fin [2]bool
	for j := range i {
		p := &s.Passages[j]
		if p.From > flows.Server || p.Known && p.How == pairing.Lost {
			continue
		}
		if p.Kind == flows.RST && p.Event.Note&flows.NoteOutOfWindow == 0 {
			return true
		}
		fin[p.From] = fin[p.From] || p.Kind == flows.FIN
	}
	return fin[0] && fin[1]
}

// pathVerdict fills in what every verdict about the path says.
func (s *Subject) pathVerdict(id string, o *onset) *Verdict {
	v := &Verdict{ID: id, Confidence: Proven, Between: s.alongPath(o.between), At: o.at, Silence: o.silence, FirstLost: s.Passages[o.first].First()}
	if o.last >= 0 {
		p := &s.Passages[o.last]
		v.LastCrossed = p.Refs[len(p.Refs)-1]
		if r := p.Event.Run; r != nil {
			v.LastCrossed = refAt(s.Points, p.Refs[0].Vantage, r.UntilOrd, p.Kind, r.Until)
		}
	}
	if o.assumed {
		v.Confidence = Likely
		v.Unknown = append(v.Unknown, s.Passages[o.first].Why)
	}
	v.Unknown = append(v.Unknown, fmt.Sprintf("which of the devices between %s and %s: needs a third capture, between them",
		s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name))
	for side := uint8(0); side < 2; side++ {
		if len(o.lost[side]) == 0 && len(o.crossed[side]) == 0 {
			v.Unknown = append(v.Unknown, fmt.Sprintf("whether what the %s sends would cross: it sent nothing after the silence", sideName(side)))
		}
	}
	return v
}

// alongPath orders two vantage points from client to server.
func (s *Subject) alongPath(between [2]int) [2]int {
	if slices.Index(s.Path, between[0]) > slices.Index(s.Path, between[1]) {
		return [2]int{between[1], between[0]}
	}
	return between
}

// crossedAndLost is the finding behind every loss that two captures prove:
// what crossed last and what was lost first and last, with their frames.
func (s *Subject) crossedAndLost(o *onset) Finding {
	var refs []pairing.Ref
	if o.last >= 0 {
		refs = append(refs, s.Passages[o.last].Refs...)
	}
	lost := 0
	for side := range o.lost {
		for n, i := range o.lost[side] {
			lost += max(1, s.Passages[i].Count)
			if n == 0 || n == len(o.lost[side])-1 {
				refs = append(refs, s.Passages[i].Refs...)
			}
		}
	}
	return Finding{Rule: "nothing-crosses", Says: fmt.Sprintf("of %d segments sent since, none is in the other capture", lost),
		Suggests: "they were lost on the way", Evidence: refs}
}

func (s *Subject) bothWays(o *onset) Answer {
	alive, dead := s.controlsSay(s.lastLoss(o))
	idle := o.silence >= time.Second
	switch {
	case dead != nil && alive == nil && dead.What == "another connection" && s.worksAgain():
		return s.diedTogether(o, dead)
	case dead != nil && alive == nil:
		v := s.pathVerdict(PathCut, o)
		v.Cause, v.CauseConfidence = "unknown", None
		v.Summary = fmt.Sprintf("Everything between the two hosts stopped: nothing of this connection crosses %s, and %s in the same stretch is lost as well. This is no expired idle timer of one connection.",
			s.sinceWhen(o), aControl(dead))
		return Answer{Verdict: v, Findings: []Finding{{Rule: "control-lost", Says: aControl(dead) + " between the same hosts is lost too", Suggests: "the path itself is cut", Evidence: dead.Refs}}}
	case alive == nil && !s.everCrossed():
		return s.neverCrossed(o)
	case !idle && alive == nil:
		v := s.pathVerdict(Undecided, o)
		v.Confidence = Possible
		v.Summary = fmt.Sprintf("From %s on nothing of this connection crosses, with no silence before it and no other traffic between the hosts to compare with. The state may have been lost, or the path cut.", "frame "+frameWord(s, v.FirstLost))
		return Answer{Verdict: v, Hypotheses: []Hypothesis{
			{Verdict: SilentDrop, For: because("what is sent since does not cross", s.crossedAndLost(o).Evidence...), Against: because("no silence lies before it, so no idle timer can have run out", v.LastCrossed, v.FirstLost), Next: decide},
			{Verdict: PathCut, For: because("it stopped in the middle of traffic", v.LastCrossed, v.FirstLost), Against: because("no control shows that anything else stopped"), Next: decide},
		}}
	}
	if o.revived >= 0 && alive == nil {
		return s.passingOutage(o)
	}
	v := s.pathVerdict(SilentDrop, o)
	s.cause(v, o, alive)
	v.Summary = s.silentSummary(v, o, alive)
	a := Answer{Verdict: v, Findings: []Finding{s.crossedAndLost(o)}}
	if alive != nil {
		a.Findings = append(a.Findings, Finding{Rule: "control-crosses", Says: aControl(alive) + " between the same hosts crosses meanwhile",
			Suggests: "the path works; only this connection's state is gone", Evidence: alive.Refs})
	}
	return a
}

// passingOutage is what remains where everything was lost until an end gave up,
// and the connection's later segments cross again: a device that learned it
// anew, or an outage that passed.
func (s *Subject) passingOutage(o *onset) Answer {
	v := s.pathVerdict(Undecided, o)
	v.Confidence = Possible
	again := &s.Passages[o.revived]
	v.Summary = fmt.Sprintf("Nothing of this connection crosses %s, until an end gives up. What the %s sends later crosses again: an outage passed, or a device between learned the connection anew from it.",
		s.sinceWhen(o), sideName(again.From))
	lost := s.crossedAndLost(o)
	return Answer{Verdict: v, Findings: []Finding{lost, {Rule: "crosses-again", Says: fmt.Sprintf("the %s's %s crosses afterwards", sideName(again.From), again.Kind),
		Suggests: "the path works again", Evidence: again.Refs}}, Hypotheses: []Hypothesis{
		{Verdict: PathCut, For: because("the path works again later: an outage of some length", again.Refs...), Against: because("no control shows that anything else was lost"), Next: decide},
		{Verdict: SilentDrop, For: append(because(lost.Says, lost.Evidence...), because("a device that the inside teaches anew looks the same", again.Refs...)...), Against: s.againstExpiry(o), Next: decide},
	}}
}

// worksAgain reports whether a control of any time proves that the hosts could
// talk.
func (s *Subject) worksAgain() bool {
	alive, _ := s.controlsSay(0)
	return alive != nil
}

// diedTogether is what remains where connections of the hosts died at one moment
// and a fresh one works when all of them are over: a device lost its state, or
// an outage passed.
func (s *Subject) diedTogether(o *onset, dead *Control) Answer {
	v := s.pathVerdict(Undecided, o)
	v.Confidence = Possible
	alive, _ := s.controlsSay(0)
	v.Summary = fmt.Sprintf("Nothing of this connection crosses %s, and %s in the same stretch is lost as well. %s works later, when all of them are over: a device lost the state of all of them at once, or an outage passed.",
		s.sinceWhen(o), aControl(dead), capitalisedText(aControl(alive)))
	lost := s.crossedAndLost(o)
	return Answer{Verdict: v, Findings: []Finding{lost, {Rule: "control-lost", Says: aControl(dead) + " between the same hosts is lost too", Suggests: "not this connection alone died", Evidence: dead.Refs}},
		Hypotheses: []Hypothesis{
			{Verdict: SilentDrop, For: because("connections died at one moment, and fresh ones work", alive.Refs...), Against: because("no fresh one is seen while the old ones are lost", lost.Evidence...), Next: decide},
			{Verdict: PathCut, For: because(aControl(dead)+" is lost in the same stretch", dead.Refs...), Against: because("the path works again later", alive.Refs...), Next: decide},
		}}
}

// lastLoss is when the last segment of the connection was lost.
func (s *Subject) lastLoss(o *onset) tcp.Instant {
	var last tcp.Instant
	for side := range o.lost {
		for _, i := range o.lost[side] {
			last = max(last, s.Passages[i].At, s.Passages[i].Until)
		}
	}
	return last
}

// everCrossed reports whether anything of the connection is in two captures.
func (s *Subject) everCrossed() bool {
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Known && p.How == pairing.Crossed {
			return true
		}
	}
	return false
}

// neverCrossed is the verdict where the captures hold nothing that crossed:
// they began too late to show how the connection died.
func (s *Subject) neverCrossed(o *onset) Answer {
	v := s.pathVerdict(Undecided, o)
	v.Confidence = Possible
	v.Summary = "Both captures hold the connection, and nothing of it crosses: what each end sends is missing at the other. They begin too late to show what crossed before, and when and why it stopped."
	v.Unknown = append(v.Unknown, "what lay before the captures: start them before the login next time")
	lost := s.crossedAndLost(o)
	return Answer{Verdict: v, Findings: []Finding{lost}, Hypotheses: []Hypothesis{
		{Verdict: SilentDrop, For: because("both ends hold the connection, and nothing crosses", lost.Evidence...), Against: because("no control shows that the path works"), Next: decide},
		{Verdict: PathCut, For: because("nothing at all is seen to cross between the hosts", lost.Evidence...), Against: because("no control shows that anything else is lost"), Next: decide},
	}}
}

// cause says why the state was lost, as far as the captures can tell.
func (s *Subject) cause(v *Verdict, o *onset, alive *Control) {
	switch {
	case o.explained && alive != nil && s.youngDead(o) != nil:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = "connections that were not idle died with it, while a fresh one crosses: flush, reboot or fail-over"
	case o.explained && alive != nil:
		v.Cause, v.CauseConfidence = "idle-expiry", Proven
		v.CauseWhy = aControl(alive) + " crosses while this connection, silent for longer than any silence survived, is lost"
	case o.explained:
		v.Cause, v.CauseConfidence = "idle-expiry", Likely
		v.CauseWhy = "no other traffic between the hosts in either file: an outage that began during the silence looks the same"
		v.Unknown = append(v.Unknown, "whether an outage began during the silence: it would look the same; a ping or a fresh login beside it would tell")
	case o.silence >= time.Second && alive == nil:
		v.Cause, v.CauseConfidence = "state-lost", Possible
		v.CauseWhy = fmt.Sprintf("a silence of %s was survived before, this one was %s: no idle timer; a path that was cut looks the same, for no other traffic tells", facts.Compact(o.survived), facts.Compact(o.silence))
		v.Unknown = append(v.Unknown, "whether the path was cut: it would look the same; a ping or a fresh login beside it would tell")
	case o.silence >= time.Second:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = fmt.Sprintf("a silence of %s was survived before, this one was %s", facts.Compact(o.survived), facts.Compact(o.silence))
	default:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = "no silence lies before it"
	}
}

// youngDead finds another connection of the hosts that died at the same time
// without having been idle.
func (s *Subject) youngDead(o *onset) *Control {
	for i := range s.Controls {
		if c := &s.Controls[i]; !c.Alive && c.Proof && c.What == "another connection" {
			return c
		}
	}
	return nil
}

func (s *Subject) silentSummary(v *Verdict, o *onset, alive *Control) string {
	var b strings.Builder
	both := len(o.lost[0]) > 0 && len(o.lost[1]) > 0
	switch {
	case both && s.probesAmong(o.lost[0]) && s.probesAmong(o.lost[1]):
		b.WriteString("Both ends still hold the connection and both probe it, but nothing sent ")
	case both:
		b.WriteString("Both ends still hold the connection, but nothing sent ")
	default:
		side := flows.Client
		if len(o.lost[1]) > 0 {
			side = flows.Server
		}
		fmt.Fprintf(&b, "The %s still holds the connection, but nothing it sends ", sideName(side))
	}
	b.WriteString(s.sinceWhen(o))
	b.WriteString(" crosses")
	if both {
		b.WriteString(" in either direction")
	}
	b.WriteString(". ")
	if o.last >= 0 {
		b.WriteString("Before it traffic crossed, ")
		if v.Confidence == Proven {
			b.WriteString("and the captures were recording throughout.")
		} else {
			b.WriteString("but nothing shows that the other capture was still running.")
		}
	}
	if alive != nil {
		fmt.Fprintf(&b, " Meanwhile %s between the same hosts crosses.", aControl(alive))
	}
	return b.String()
}

func (s *Subject) probesAmong(list []int) bool {
	for _, i := range list {
		if s.Passages[i].Kind == flows.KeepaliveProbe {
			return true
		}
	}
	return false
}

func (s *Subject) sinceWhen(o *onset) string {
	if o.silence >= time.Second {
		return fmt.Sprintf("after %s of silence", facts.Compact(o.silence))
	}
	return "from " + o.at.Time().Format("15:04:05.000") + " on"
}

func aControl(c *Control) string {
	switch c.What {
	case "fresh SYN":
		return "a fresh SYN"
	case "ICMP echo":
		return "a ping"
	}
	return c.What
}

func frameWord(s *Subject, r pairing.Ref) string {
	return fmt.Sprintf("#%d of %s", r.Frame, s.Points[r.Vantage].Name)
}

// quietBefore returns how long nothing of passage i's direction had crossed
// before it.
func (s *Subject) quietBefore(i int) time.Duration {
	p := &s.Passages[i]
	for j := i - 1; j >= 0; j-- {
		q := &s.Passages[j]
		both := q.Event.Run != nil && q.Event.Run.Count[p.From] > 0
		if (q.From == p.From || both) && (!q.Known || q.How != pairing.Lost) && q.Kind != flows.ICMPError {
			return max(0, p.At.Sub(max(q.At, q.Until)))
		}
	}
	return 0
}

func (s *Subject) oneWay(o *onset) Answer {
	dead := flows.Client
	if o.dead(flows.Server) {
		dead = flows.Server
	}
	alive := other(dead)
	v := s.pathVerdict(OneWayDrop, o)
	first := o.lost[dead][0]
	v.FirstLost, v.At = s.Passages[first].First(), s.Passages[first].At
	v.Silence = s.quietBefore(first)
	o.silence, o.explained = v.Silence, outlasts(v.Silence, o.survived)
	control, _ := s.controlsSay(s.lastLoss(o))
	s.cause(v, o, control)
	v.Summary = fmt.Sprintf("Only one direction died: of what the %s sends nothing arrives any more since %s, while what the %s sends still crosses (%s).",
		sideName(dead), "frame "+frameWord(s, v.FirstLost), sideName(alive), "for example frame "+frameWord(s, s.Passages[o.crossed[alive][0]].First()))
	var lost, crossed []pairing.Ref
	n := 0
	for _, i := range o.lost[dead] {
		lost = append(lost, s.Passages[i].First())
		n += max(1, s.Passages[i].Count)
	}
	for _, i := range o.crossed[alive] {
		crossed = append(crossed, s.Passages[i].First())
	}
	return Answer{Verdict: v, Findings: []Finding{
		{Rule: "direction-lost", Says: fmt.Sprintf("%d segments of the %s are lost on the way", n, sideName(dead)), Suggests: "a rule, route or state for that direction is gone", Evidence: lost},
		{Rule: "direction-crosses", Says: fmt.Sprintf("%d segments of the %s cross meanwhile", len(crossed), sideName(alive)), Suggests: "the other direction works", Evidence: crossed},
	}}
}

// deathSeenFromOneEnd judges an end that asks in vain where one capture is all
// there is, or the other one cannot tell.
func deathSeenFromOneEnd(s *Subject) Answer {
	t, ok := findTail(s)
	if !ok || s.endedBefore(t.first) {
		return Answer{}
	}
	if !s.insists(t) && s.Ends[1].Sub(s.Passages[t.first].At) < promptly {
		return Answer{} // the capture ends before an answer had to come
	}
	first := &s.Passages[t.first]
	v := &Verdict{ID: Undecided, Confidence: Possible, At: first.At, Silence: t.silence, FirstLost: first.First(), Between: [2]int{s.Base, s.Base}}
	if t.lastHeard >= 0 {
		v.LastCrossed = s.Passages[t.lastHeard].First()
	}
	asker := sideName(t.side)
	asked := fmt.Sprintf("%d probes", t.probes)
	switch {
	case t.probes == 0:
		asked = fmt.Sprintf("%d segments with data", t.data)
	case t.data > 0:
		asked = fmt.Sprintf("%d probes and %d segments with data", t.probes, t.data)
	}
	idle := t.silence >= time.Second
	var evidence []pairing.Ref
	for _, i := range t.asked {
		evidence = append(evidence, s.Passages[i].First())
	}
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
		if a, ok := s.hostDrops(t, v, finding, n); ok {
			return a
		}
		v.Summary = fmt.Sprintf("The %s's %s arrive at %s (%d of them provably), and no answer leaves from there.", asker, asked, s.Points[s.Path[len(s.Path)-1]].Name, n)
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
		}
		v.Summary = fmt.Sprintf("After %s of silence the %s's %s got no answer, while %s between the same hosts lives. The path and the peer work; this connection's state is gone, most likely in a device between.",
			facts.Compact(t.silence), asker, asked, aControl(alive))
		v.Unknown = append(v.Unknown, "whether the peer itself dropped them: needs a capture at the "+sideName(other(t.side)))
		return Answer{Verdict: v, Findings: []Finding{finding, {Rule: "control-lives", Says: aControl(alive) + " between the same hosts is answered", Suggests: "path and peer work", Evidence: alive.Refs}},
			Hypotheses: []Hypothesis{hostDropHypothesis(t.side, evidence)}}
	}
	if s.otherCannotTell() {
		v.ID = CaptureGap
		v.Summary = fmt.Sprintf("The %s's %s got no answer, but the other capture cannot say whether they arrived.", asker, asked)
	} else if idle {
		v.Summary = fmt.Sprintf("After %s of silence the %s's %s got no answer. From one end alone this can be a device that forgot the connection, a cut path or a dead peer.", facts.Compact(t.silence), asker, asked)
	} else {
		v.Summary = fmt.Sprintf("In the middle of traffic the %s stopped getting answers to its %s. From one end alone this can be a cut path, a dead peer or lost state.", asker, asked)
	}
	v.Unknown = append(v.Unknown, "whether they reached the "+sideName(other(t.side))+": needs a capture there over the same time")
	return Answer{Verdict: v, Findings: []Finding{finding}, Hypotheses: tailHypotheses(s, t, idle, alive, dead)}
}

// hostDrops holds where the questions of a tail reach the capture that was taken
// on the peer's own host, which goes on sending other traffic and answers none
// of them: the host itself lost them behind its interface.
func (s *Subject) hostDrops(t silentTail, v *Verdict, finding Finding, arrived int) (Answer, bool) {
	side := other(t.side)
	far := &s.Seen[0]
	if side == flows.Server {
		far = &s.Seen[len(s.Seen)-1]
	}
	own := &far.Flow.Sides[side]
	if arrived < 3 || own.Segments == 0 || hops(own.TTLs[0]) != 0 || hops(own.TTLs[1]) != 0 {
		return Answer{}, false
	}
	alive, _ := s.controlsSay(s.lastAsked(t))
	if alive == nil {
		return Answer{}, false // nothing shows that the host still sent
	}
	peer := sideName(side)
	v.ID, v.Confidence, v.Cause = HostDrop, Proven, "unknown"
	v.Between = [2]int{far.Vantage, far.Vantage}
	v.Summary = fmt.Sprintf("The %s's host drops them itself: %d arrive in the capture taken on it, %s shows that it still talks to the same host, and it answers none of them.", peer, arrived, aControl(alive))
	v.Unknown = append(v.Unknown, "what in the "+peer+"'s host drops them: a host firewall that forgot the connection, a filtered RST, a routing rule; tcpdump sees packets before the host's own filter")
	return Answer{Verdict: v, Findings: []Finding{finding, {Rule: "control-lives", Says: aControl(alive) + " between the same hosts is answered", Suggests: "the host lives", Evidence: alive.Refs}}}, true
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
func (s *Subject) otherCannotTell() bool { return len(s.Points) >= 2 && !s.SamePoint }

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
	onset := []pairing.Ref{s.Passages[t.first].First()} // the last that was heard, and the first question in vain
	if t.lastHeard >= 0 {
		onset = append([]pairing.Ref{s.Passages[t.lastHeard].First()}, onset...)
	}
	var asked []pairing.Ref
	for _, i := range t.asked {
		asked = append(asked, s.Passages[i].First())
	}
	add := func(list *[]Reason, says string, refs ...pairing.Ref) { *list = append(*list, Reason{says, refs}) }
	if idle {
		add(&drop.For, fmt.Sprintf("it began right after %s of silence", facts.Compact(t.silence)), onset...)
	} else {
		add(&drop.Against, "no silence lies before it", onset...)
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
		for _, h := range []*Hypothesis{&drop, &cut, &gone} {
			add(&h.Against, "no control: nothing else between the hosts was seen since")
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
	oneWay := Hypothesis{Verdict: OneWayDrop, For: because("answers may be lost on their way back", asked...), Next: next}
	if first, last := s.Passages[t.asked[0]].Event, s.Passages[t.asked[len(t.asked)-1]].Event; first.HasTS && last.HasTS && first.TSEcr == last.TSEcr {
		add(&oneWay.For, "the timestamp that it echoes stands still, as it does where answers are lost", asked...)
	}
	return []Hypothesis{drop, cut, gone, hostDropHypothesis(t.side, asked), oneWay}
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
