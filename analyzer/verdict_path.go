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
		return s.withoutFirst(s.weighChance(s.bothWays(&o), &o))
	case d0 || d1:
		return s.withoutFirst(s.weighChance(s.oneWay(&o), &o))
	}
	return Answer{}
}

// withoutFirst adds that the first frame that was lost is not known, where it is not.
func (s *Subject) withoutFirst(a Answer) Answer {
	if v := a.Verdict; v != nil && v.Row {
		v.Unknown = append(v.Unknown, fmt.Sprintf("which frame was lost first, about %s: it is folded into a row that ends with %s",
			v.At.Time().Format("15:04:05"), frameWord(s, v.FirstLost)))
	}
	return a
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
			v.LastCrossed = refAt(s.Points, p.Refs[0].Vantage, r.UntilOrd, lastOf(p.Event), r.Until)
		}
	}
	if v.LastCrossed.Vantage == v.FirstLost.Vantage && v.LastCrossed.Ord == v.FirstLost.Ord {
		v.LastCrossed = s.lastBefore(o.between[1], o.at) // of a run that ends with it
	}
	if o.tail.Frame != 0 {
		v.FirstLost, v.LastCrossed = o.tail, s.lastBefore(o.between[1], o.at)
	} else {
		v.Row = s.Passages[o.first].Row
	}
	if o.assumed {
		v.Confidence = Likely
		v.Unknown = append(v.Unknown, s.Passages[o.first].Why)
		asked := other(s.Passages[o.first].From)
		if a, ok := s.unkept(asked, s.lastLoss(o)); ok {
			v.Confidence = Possible
			v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s's host was there at all: its own keepalives, due every %s, are not in %s either, which ended before or had nothing to record",
				sideName(asked), facts.Compact(a.pace), s.Points[a.seen.Vantage].Name))
		}
	}
	v.Unknown = append(v.Unknown, fmt.Sprintf("which of the devices between %s and %s: needs a third capture, between them",
		s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name))
	for side := uint8(0); side < 2; side++ {
		if len(o.lost[side]) == 0 && len(o.crossed[side]) == 0 && (o.revived < 0 || s.Passages[o.revived].From != side) {
			v.Unknown = append(v.Unknown, fmt.Sprintf("whether what the %s sends would cross: it sent nothing after the silence", sideName(side)))
		}
	}
	return v
}

// lastBefore returns the last segment of the connection that a vantage point
// holds from before an instant, on Base's clock.
func (s *Subject) lastBefore(vantage int, at tcp.Instant) (last pairing.Ref) {
	c := clockwork(s.Clocks)
	for i := range s.Seen {
		seen := &s.Seen[i]
		if seen.Vantage != vantage {
			continue
		}
		for j := range seen.Flow.Events {
			ev := &seen.Flow.Events[j]
			if c.to(s.Base, vantage, ev.End()) >= at || ev.Kind == flows.ICMPError {
				break
			}
			last = s.ref(seen, ev.Ord, ev.Kind, ev.At)
			if ev.Run != nil {
				last = s.ref(seen, ev.Run.UntilOrd, lastOf(ev), ev.Run.Until)
			}
		}
	}
	return last
}

// alongPath orders two vantage points from client to server.
func (s *Subject) alongPath(between [2]int) [2]int {
	if slices.Index(s.Path, between[0]) > slices.Index(s.Path, between[1]) {
		return [2]int{between[1], between[0]}
	}
	return between
}

// nothingCrosses is the finding behind every loss that two captures prove:
// what was lost first and last, with their frames. What crossed last is told as such.
func (s *Subject) nothingCrosses(o *onset) Finding {
	var refs []pairing.Ref
	lost := 0
	for side := range o.lost {
		for n, i := range o.lost[side] {
			lost += max(1, s.Passages[i].Count)
			if n == 0 || n == len(o.lost[side])-1 {
				refs = append(refs, s.Passages[i].Refs...)
			}
		}
	}
	if o.tail.Frame != 0 {
		lost++
		refs = append(refs, o.tail)
	}
	return Finding{Rule: "nothing-crosses", Says: fmt.Sprintf("of %d segments sent since, none is in the other capture", lost),
		Suggests: "they were lost on the way", Evidence: refs}
}

func (s *Subject) bothWays(o *onset) Answer {
	alive, dead := s.controlsSay(s.lastLoss(o))
	if began := s.outageBehind(o); alive != nil && began != nil {
		alive, dead = nil, began
	}
	var beside *Control
	if alive == nil {
		alive, beside = s.besideAnother(s.lastLoss(o))
	}
	idle := o.silence >= time.Second
	switch {
	case dead != nil && alive == nil && !s.freshLost(s.lastLoss(o)):
		return s.diedTogether(o, dead)
	case dead != nil && alive == nil:
		v := s.pathVerdict(PathCut, o)
		v.Cause, v.CauseConfidence = "unknown", None
		v.Summary = fmt.Sprintf("Everything between the two hosts stopped: nothing of this connection crosses %s, and %s in the same stretch is lost as well. This is no expired idle timer of one connection.",
			s.sinceWhen(o), aControl(dead))
		s.mayHaveStood(v, o)
		s.leftOut(v)
		return Answer{Verdict: v, Findings: []Finding{{Rule: "control-lost", Says: aControl(dead) + " between the same hosts is lost too", Suggests: "the path itself is cut", Evidence: dead.Refs}}}
	case alive == nil && !s.everCrossed():
		return s.neverCrossed(o)
	case !idle && alive == nil:
		v := s.pathVerdict(Undecided, o)
		v.Confidence = Possible
		v.Summary = fmt.Sprintf("From %s on nothing of this connection crosses, with no silence before it and no other traffic between the hosts to compare with. The state may have been lost, or the path cut.", "frame "+frameWord(s, v.FirstLost))
		if !o.quietKnown() {
			missing, against := "What crossed last is in no two captures", because("no two captures hold what crossed last, so nothing shows a silence", v.FirstLost)
			if o.unseen {
				missing, against = "What lies right before it is missing in the captures too", because("octets that crossed before it are in no capture, so nothing shows a silence", v.FirstLost)
			}
			v.Summary = fmt.Sprintf("From %s on nothing of this connection crosses, and no other traffic between the hosts tells why. %s, so nobody knows whether it was silent. The state may have been lost, or the path cut.", "frame "+frameWord(s, v.FirstLost), missing)
			return Answer{Verdict: v, Hypotheses: []Hypothesis{
				{Verdict: SilentDrop, For: because("what is sent since does not cross", s.nothingCrosses(o).Evidence...), Against: against, Next: decide},
				{Verdict: PathCut, For: because("what is sent since does not cross", s.nothingCrosses(o).Evidence...), Against: because("no control shows that anything else stopped"), Next: decide},
			}}
		}
		return Answer{Verdict: v, Hypotheses: []Hypothesis{
			{Verdict: SilentDrop, For: because("what is sent since does not cross", s.nothingCrosses(o).Evidence...), Against: because("no silence lies before it, so no idle timer can have run out", v.LastCrossed, v.FirstLost), Next: decide},
			{Verdict: PathCut, For: because("it stopped in the middle of traffic", v.LastCrossed, v.FirstLost), Against: because("no control shows that anything else stopped"), Next: decide},
		}}
	}
	if o.revived >= 0 && alive == nil {
		return s.passingOutage(o)
	}
	if alive == nil && !o.explained {
		return s.survivedAsLong(o)
	}
	v := s.pathVerdict(SilentDrop, o)
	s.cause(v, o, alive)
	v.Summary = s.silentSummary(v, o, alive)
	if from := s.Passages[o.first].From; s.lacksSide(o.between[1], from) {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, s.oneDirectionOnly(o.between[1], from))
	}
	if open := s.openReading(o); open != "" && alive == nil {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, open)
	}
	a := Answer{Verdict: v, Findings: []Finding{s.nothingCrosses(o)}}
	if f, announced, ok := s.takenOver(o); ok {
		v.blame(&f, announced, o, alive)
		a.Findings = append(a.Findings, f)
	}
	switch {
	case alive != nil && beside != nil: // its own last loss lies before what crosses
		if v.Confidence == Proven {
			v.Confidence = Likely
		}
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether it was still lost when %s crossed: nothing of it is surely lost after that, as is what %s sends that died with it", aControl(alive), aControl(beside)))
		a.Findings = append(a.Findings, Finding{Rule: "control-crosses", Says: fmt.Sprintf("%s between the same hosts crosses while %s, lost in the same stretch, still is", aControl(alive), aControl(beside)),
			Suggests: "the path works; the state of several connections is gone", Evidence: append(slices.Clone(alive.Refs), beside.Refs...)})
	case alive != nil:
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
	if barred := s.barredSYN(o); barred != nil {
		v.ID, v.Confidence, v.Cause, v.CauseConfidence = PathCut, Likely, "unknown", None
		v.Summary = fmt.Sprintf("Nothing of this connection crosses %s, nor does a fresh SYN in the same stretch; when an end has given up, what the %s sends crosses again. An outage passed.", s.sinceWhen(o), sideName(again.From))
		v.Unknown = append(v.Unknown, "whether the port of that SYN ever answers: where it is barred, a device that forgot the connection and learned it anew looks the same")
		s.leftOut(v)
		return Answer{Verdict: v, Findings: []Finding{s.nothingCrosses(o), {Rule: "control-lost", Says: "a fresh SYN between the same hosts is lost too", Suggests: "the path itself was cut", Evidence: barred.Refs}}}
	}
	v.Summary = fmt.Sprintf("Nothing of this connection crosses %s, until an end gives up. What the %s sends later crosses again: an outage passed, or a device between learned the connection anew from it.",
		s.sinceWhen(o), sideName(again.From))
	lost := s.nothingCrosses(o)
	return Answer{Verdict: v, Findings: []Finding{lost, {Rule: "crosses-again", Says: fmt.Sprintf("the %s's %s crosses afterwards", sideName(again.From), again.Kind),
		Suggests: "the path works again", Evidence: again.Refs}}, Hypotheses: []Hypothesis{
		{Verdict: PathCut, For: because("the path works again later: an outage of some length", again.Refs...), Against: because("no control shows that anything else was lost"), Next: decide},
		{Verdict: SilentDrop, For: append(because(lost.Says, lost.Evidence...), because("a device that the inside teaches anew looks the same", again.Refs...)...), Against: s.againstExpiry(o), Next: decide},
	}}
}

// barredSYN returns a SYN that is lost in the same stretch as the connection, for a port
// that never answered; nil where there is none.
func (s *Subject) barredSYN(o *onset) *Control {
	for i := range s.Controls {
		if c := &s.Controls[i]; c.Barred && c.At <= s.lastLoss(o) {
			return c
		}
	}
	return nil
}

// survivedAsLong is what remains where a silence as long as the one before the
// loss was survived: no idle timer, and nothing tells lost state from a cut path.
func (s *Subject) survivedAsLong(o *onset) Answer {
	v := s.pathVerdict(Undecided, o)
	v.Confidence = Possible
	lost := s.nothingCrosses(o)
	timer, unlessPayload := "no idle timer ran out: ", s.unlessPayload(o.first)
	if unlessPayload != "" {
		timer = "no idle timer that keepalives refresh ran out: one that counts payload alone did, "
		v.Unknown = append(v.Unknown, "whether a timer that counts payload alone ran out: "+unlessPayload)
	}
	v.Summary = fmt.Sprintf("Nothing of this connection crosses %s. A silence of %s was survived before, so %sa device lost its state, or the path was cut, and no other traffic between the hosts tells which.",
		s.sinceWhen(o), facts.Compact(o.survived), timer)
	against := s.againstExpiry(o)
	for i := range against {
		against[i].Says += ": no idle timer"
		if unlessPayload != "" {
			against[i].Says += " but one that counts payload alone: " + unlessPayload
		}
	}
	return Answer{Verdict: v, Findings: []Finding{lost}, Hypotheses: []Hypothesis{
		{Verdict: SilentDrop, For: because("what is sent since does not cross; a device that lost its table forgets connections of any age", lost.Evidence...), Against: against, Next: decide},
		{Verdict: PathCut, For: because("what is sent since does not cross", lost.Evidence...), Against: because("no control shows that anything else is lost"), Next: decide},
	}}
}

// freshLost reports whether something is lost by then that needs no device to
// remember it: then the path is cut, whatever a device forgot.
func (s *Subject) freshLost(last tcp.Instant) bool {
	return slices.ContainsFunc(s.Controls, func(c Control) bool { return c.freshLost(last) })
}

// diedTogether is what remains where connections of the hosts died together, and
// nothing fresh was tried meanwhile: a device lost the state of all of them, or
// the path was cut.
func (s *Subject) diedTogether(o *onset, dead *Control) Answer {
	v := s.pathVerdict(Undecided, o)
	v.Confidence = Possible
	lost := s.nothingCrosses(o)
	v.Summary = fmt.Sprintf("Nothing of this connection crosses %s, and %s in the same stretch is lost as well. Either the path was cut, or a device lost the state of all connections at once: only something fresh, tried meanwhile, would tell.",
		s.sinceWhen(o), aControl(dead))
	drop := Hypothesis{Verdict: SilentDrop, For: because("connections died together, as where a device loses its whole table", append(slices.Clone(dead.Refs), v.FirstLost)...), Next: decide,
		Against: because("no fresh one is seen while the old ones are lost", lost.Evidence...)}
	cut := Hypothesis{Verdict: PathCut, For: because(aControl(dead)+" is lost in the same stretch", dead.Refs...), Next: decide}
	if alive, _ := s.controlsSay(0); alive != nil {
		v.Summary += fmt.Sprintf(" %s works when all of them are over.", capitalisedText(aControl(alive)))
		drop.For = append(drop.For, because(aControl(alive)+" works later", alive.Refs...)...)
		cut.Against = because("the path works again later", alive.Refs...)
	}
	return Answer{Verdict: v, Findings: []Finding{lost, {Rule: "control-lost", Says: aControl(dead) + " between the same hosts is lost too", Suggests: "not this connection alone died", Evidence: dead.Refs}},
		Hypotheses: []Hypothesis{drop, cut}}
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
	lost := s.nothingCrosses(o)
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
		v.CauseWhy = "no other traffic between the hosts tells meanwhile: an outage that began during the silence looks the same"
		v.Unknown = append(v.Unknown, "whether an outage began during the silence: it would look the same; a ping or a fresh login beside it would tell")
	case o.silence >= time.Second && alive == nil:
		v.Cause, v.CauseConfidence = "state-lost", Possible
		v.CauseWhy = fmt.Sprintf("a silence of %s was survived before, this one was %s: no idle timer; a route that was lost looks the same", facts.Compact(o.survived), facts.Compact(o.silence))
	case o.silence >= time.Second:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = fmt.Sprintf("a silence of %s was survived before, this one was %s", facts.Compact(o.survived), facts.Compact(o.silence))
	case !o.quietKnown():
		v.Cause, v.CauseConfidence = "unknown", None
		v.Unknown = append(v.Unknown, "how long it had been silent: no capture shows what crossed last")
		return
	default:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = "no silence lies before it"
		return
	}
	s.payloadTimer(v, o.first)
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
	case both && s.among(o.lost[0], flows.FIN) && s.among(o.lost[1], flows.FIN):
		b.WriteString("Both ends close the connection with a FIN, but nothing sent ")
	case both && (s.among(o.lost[0], flows.FIN) || s.among(o.lost[1], flows.FIN)):
		closer := flows.Client
		if s.among(o.lost[1], flows.FIN) {
			closer = flows.Server
		}
		fmt.Fprintf(&b, "The %s closes the connection with a FIN, the %s still holds it, but nothing sent ", sideName(closer), sideName(1-closer))
	case both && s.among(o.lost[0], flows.KeepaliveProbe) && s.among(o.lost[1], flows.KeepaliveProbe):
		b.WriteString("Both ends still hold the connection and both probe it, but nothing sent ")
	case both:
		b.WriteString("Both ends still hold the connection, but nothing sent ")
	default:
		side := flows.Client
		if len(o.lost[1]) > 0 {
			side = flows.Server
		}
		does := "still holds the connection"
		if s.among(o.lost[side], flows.FIN) {
			does = "closes the connection with a FIN"
		}
		fmt.Fprintf(&b, "The %s %s, but nothing it sends ", sideName(side), does)
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

// among reports whether one of some passages is of a kind.
func (s *Subject) among(list []int, k flows.Kind) bool {
	return slices.ContainsFunc(list, func(i int) bool { return s.Passages[i].Kind == k })
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
// before it, and whether that is known: of what came last it may not be whether it did.
func (s *Subject) quietBefore(i int) (quiet time.Duration, known bool) {
	p := &s.Passages[i]
	for j := i - 1; j >= 0; j-- {
		q := &s.Passages[j]
		both := q.Event.Run != nil && q.Event.Run.Count[p.From] > 0
		if s.lostOf(j) == p {
			return pauseWithin(q.Event.Run), true
		}
		if (q.From == p.From || both) && (!q.Known || q.How != pairing.Lost) && q.Kind != flows.ICMPError {
			return max(0, p.At.Sub(max(q.At, q.Until))), s.alive(j)
		}
	}
	return 0, true
}

// crossesAmid reports whether something of the other direction crosses while one is
// dead: not before its second loss, for a single one proves nothing, and not long
// after the last, when it may work again.
func (s *Subject) crossesAmid(o *onset, dead uint8) bool {
	lost, last := o.lost[dead], s.lastLoss(o)
	return slices.ContainsFunc(o.crossed[1-dead], func(i int) bool {
		p := &s.Passages[i]
		return (len(lost) < 2 || max(p.At, p.Until) > s.Passages[lost[1]].At) && p.At <= last.Add(s.roundTrip(time.Second))
	})
}

// lostFrom says since when all is lost: of several that are folded the frame of the last
// is all that is known.
func (s *Subject) lostFrom(v *Verdict) string {
	if !v.Row {
		return "frame " + frameWord(s, v.FirstLost)
	}
	return fmt.Sprintf("about %s, frame %s at the latest", v.At.Time().Format("15:04:05"), frameWord(s, v.FirstLost))
}

func (s *Subject) oneWay(o *onset) Answer {
	dead := flows.Client
	if o.dead(flows.Server) {
		dead = flows.Server
	}
	alive := other(dead)
	v := s.pathVerdict(OneWayDrop, o)
	first := o.lost[dead][0]
	v.FirstLost, v.At, v.Row = s.Passages[first].First(), s.Passages[first].At, s.Passages[first].Row
	quiet, known := s.quietBefore(first)
	if !known {
		quiet, o.last, o.tail = 0, -1, pairing.Ref{}
	}
	v.Silence, o.silence, o.explained = quiet, quiet, outlasts(quiet, o.survived)
	control, _ := s.controlsSay(s.lastLoss(o))
	s.cause(v, o, control)
	v.Summary = fmt.Sprintf("Only one direction died: of what the %s sends nothing arrives any more since %s, while what the %s sends still crosses (%s).",
		sideName(dead), s.lostFrom(v), sideName(alive), "for example frame "+frameWord(s, s.Passages[o.crossed[alive][0]].First()))
	if !s.crossesAmid(o, dead) {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether one direction alone was dead: nothing of the %s crosses between the second loss of the %s's and the last", sideName(alive), sideName(dead)))
	}
	if beyond := s.Passages[first].Between[1]; s.lacksSide(beyond, dead) {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, s.oneDirectionOnly(beyond, dead))
	}
	if !o.explained && s.Ends[1].Sub(v.At) < promptly {
		v.Confidence = Possible // retransmissions need longer to outlast a burst of losses
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the direction works again a little later: the captures end %s after the first loss, and a short disturbance looks the same", facts.Compact(s.Ends[1].Sub(v.At))))
	}
	var lost, crossed []pairing.Ref
	n := 0
	for _, i := range o.lost[dead] {
		p := &s.Passages[i]
		if lost = append(lost, p.First()); p.Count > 1 && !p.Row && p.Last.Frame != 0 {
			lost = append(lost, p.Last)
		}
		n += max(1, p.Count)
	}
	for _, i := range o.crossed[alive] {
		crossed = append(crossed, s.Passages[i].First())
	}
	return Answer{Verdict: v, Findings: []Finding{
		{Rule: "direction-lost", Says: fmt.Sprintf("%d segments of the %s are lost on the way", n, sideName(dead)), Suggests: "a rule, route or state for that direction is gone", Evidence: lost},
		{Rule: "direction-crosses", Says: fmt.Sprintf("%d segments of the %s cross meanwhile", len(crossed), sideName(alive)), Suggests: "the other direction works", Evidence: crossed},
	}}
}
