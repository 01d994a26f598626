package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// maxKin bounds the connections between two hosts that one is held against.
const maxKin = 4096

// sighting names a connection by what one vantage point has of it.
type sighting struct {
	vantage int
	flow    flows.FlowID
}

// kin yields the other connections between the same hosts, as each vantage
// point knows them, at most maxKin.
func (s *Subject) kin(yield func(*Subject) bool) {
	if s.others == nil {
		return
	}
	asked := make([]hostsKey, 0, 1)
	for i := range s.Seen {
		if k := (hostsKey{s.Seen[i].Flow.Key.Lo, s.Seen[i].Flow.Key.Hi}); !slices.Contains(asked, k) {
			asked = append(asked, k)
		}
	}
	n := 0
	for i, k := range asked {
		lists := [2][]*Subject{s.others(k)}
		if s.renamed != nil {
			lists[1] = s.renamed(k)
		}
		for _, list := range lists {
			for _, o := range list {
				if n == maxKin {
					return
				}
				if o.id == s.id || i > 0 && o.isOf(asked[:i]) {
					continue
				}
				if n++; !yield(o) {
					return
				}
			}
		}
	}
}

// isOf reports whether any vantage point knows the connection as one between some hosts.
func (s *Subject) isOf(hosts []hostsKey) bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool { return slices.Contains(hosts, hostsKey{x.Flow.Key.Lo, x.Flow.Key.Hi}) })
}

// natRebind holds where the connection goes on under another address or port:
// the same numbers, the same clock of timestamps, another name. Sequence and
// acknowledgment number together are 64 bits that do not meet by chance.
func natRebind(s *Subject) Answer {
	if s.alone || s.Settled && !s.flow.Midway {
		return Answer{} // it neither stopped nor began as another's continuation
	}
	if !s.mayContinue() {
		return s.renamedAbroad()
	}
	for o := range s.heirs {
		for i := range s.Seen {
			for j := range o.Seen {
				if s.Seen[i].Vantage != o.Seen[j].Vantage {
					continue
				}
				if side, ok := continues(&s.Seen[i], &o.Seen[j]); ok {
					return s.rebound(s, &s.Seen[i], &o.Seen[j], side)
				}
				if side, ok := continues(&o.Seen[j], &s.Seen[i]); ok {
					return s.rebound(o, &o.Seen[j], &s.Seen[i], side)
				}
			}
		}
	}
	return s.renamedAbroad()
}

// heirs yields the connections between the same hosts that may be the continuation of this
// one, or that it may be the continuation of.
func (s *Subject) heirs(yield func(*Subject) bool) {
	if s.find == nil {
		return
	}
	for i := range s.Seen {
		x := &s.Seen[i]
		table := s.Points[x.Vantage].Table
		if table == nil {
			continue
		}
		for _, id := range table.Heirs(x.Flow.ID) {
			if o := s.find(sighting{x.Vantage, id}); o != nil && !yield(o) {
				return
			}
		}
	}
}

// mayContinue reports whether a capture of the connection holds any that began without a
// SYN, as one does that continues another.
func (s *Subject) mayContinue() bool {
	return slices.ContainsFunc(s.Seen, func(x pairing.Sighting) bool {
		table := s.Points[x.Vantage].Table
		return table == nil || table.Midway()
	})
}

// renamedAbroad holds where what the connection sends arrives under the name of other
// hosts, as where a path through another provider is taken.
func (s *Subject) renamedAbroad() Answer {
	for i := range s.Passages {
		p := &s.Passages[i]
		if !p.Strayed || p.How != pairing.Crossed || p.From > flows.Server {
			continue
		}
		silence, _ := s.silence(i)
		v := &Verdict{ID: NATRebind, Confidence: Proven, Cause: "unknown", At: p.At, FirstLost: p.First(), Between: s.alongPath(p.Between), Silence: silence,
			Summary: fmt.Sprintf("A NAT gave the connection another name in mid-flow, after %s of silence: what the %s sends since then has the same numbers, and %s. The %s knows no connection of that name.",
				facts.Compact(silence), sideName(p.From), p.Why, sideName(1-p.From)),
			Unknown: []string{"why: the translation may have run out, or another way, with another address, be taken; and which device translates"}}
		return Answer{Verdict: v, Findings: []Finding{{Rule: "same-numbers", Says: fmt.Sprintf("SEQ %d and ACK %d arrive: %s", p.Event.Seq, p.Event.Ack, p.Why),
			Suggests: "one connection under two names: the translation changed", Evidence: p.Refs}}}
	}
	return Answer{}
}

// continues reports whether b begins where a stopped, one end being the same
// and the other, whose side is returned, having another name. Numbers that a
// firewall rewrites are compared as they are on the wire.
func continues(before, after *pairing.Sighting) (side uint8, ok bool) {
	a, b := before.Flow, after.Flow
	if !b.Midway || len(b.Events) == 0 || b.First <= a.First {
		return 0, false
	}
	ev := &b.Events[0]
	if ev.From > flows.Server || !ev.Flags.Has(tcp.ACK) || ev.Kind == flows.RST {
		return 0, false
	}
	for side := uint8(0); side < 2; side++ {
		mine, peer := &a.Sides[side], &a.Sides[1-side]
		from, to := &b.Sides[ev.From], &b.Sides[1-ev.From]
		if peer.Addr != to.Addr || mine.Addr == from.Addr || !mine.NxtKnown || !peer.NxtKnown || ev.At < mine.LastSent {
			continue
		}
		seq, ack := ev.Seq+tcp.Seq(after.Shift[ev.From]), ev.Ack+tcp.Seq(after.Shift[1-ev.From])
		next, peers := mine.SndNxt+tcp.Seq(before.Shift[side]), peer.SndNxt+tcp.Seq(before.Shift[1-side])
		if off := seq.Sub(next); off != 0 && off != -1 {
			continue
		}
		if unacked := peers.Add(-peer.SndNxt.Sub(peer.SndUna)); ack != peers && ack != unacked {
			continue // where it is the latter, what the peer sent last was lost: the translation was gone
		}
		if probe := ev.Len <= 1 && seq != next; ev.HasTS != mine.Timestamps && (ev.HasTS || !probe) {
			continue // probes of some stacks leave them out
		}
		return side, true
	}
	return 0, false
}

// rebound is the verdict on a connection, old, that stopped under one name, before,
// and goes on under another.
func (s *Subject) rebound(old *Subject, before, after *pairing.Sighting, side uint8) Answer {
	a, b := before.Flow, after.Flow
	ev, c := &b.Events[0], clockwork(s.Clocks)
	used, usedOrd := lastUse(a, side)
	first, last := s.ref(after, ev.Ord, ev.Kind, ev.At), s.ref(before, usedOrd, flows.Unknown, used)
	silence := ev.At.Sub(used)
	v := &Verdict{ID: NATRebind, Confidence: Proven, At: c.to(s.Base, after.Vantage, ev.At), FirstLost: first, Between: [2]int{after.Vantage, after.Vantage}, Silence: silence}
	limit := old.wentOnAt(first, c.to(old.Base, after.Vantage, ev.At))
	asked := old.askedInVainSince(1-side, c.to(old.Base, before.Vantage, used), limit)
	quiet := "of silence"
	if asked >= 0 {
		quiet = fmt.Sprintf("in which the %s sent nothing", sideName(side))
	}
	from, to := a.Sides[side].Addr, b.Sides[ev.From].Addr
	v.Summary = fmt.Sprintf("A NAT gave the connection another name in mid-flow: %s became %s after %s %s, with the same sequence numbers. %s knows no connection of the new name.",
		from, to, facts.Compact(silence), quiet, capitalised(sideName(1-side)))
	old.whyRenamed(v, asked, limit, s.keptNames(before, side, used, ev.At))
	v.Unknown = []string{"which device translates: capture on its inside as well"}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "same-numbers", Says: fmt.Sprintf("SEQ %d and ACK %d go on from %s to %s", ev.Seq, ev.Ack, from, to),
		Suggests: "one connection under two names: the translation changed", Evidence: []pairing.Ref{last, first}}}}
}

// whyRenamed gives a changed translation its cause: the silence before passage limit
// against the longest survived, what the end outside asked in vain since passage asked
// (-1: nothing), and whether another connection kept its name meanwhile.
func (s *Subject) whyRenamed(v *Verdict, asked, limit int, kept bool) {
	survived := longestSurvived(s, limit)
	earlier := fmt.Sprintf("a silence of %s was survived before", facts.Compact(survived))
	if v.Silence < time.Second {
		earlier = "no silence lies before it"
	}
	v.Cause, v.CauseConfidence = "state-lost", Likely
	switch {
	case !outlasts(v.Silence, survived) && kept:
		v.CauseConfidence, v.CauseWhy = Possible, earlier+", and another connection kept its name: the translator dropped this one by itself"
		return
	case !outlasts(v.Silence, survived):
		v.CauseWhy = earlier + ": the translator lost its table"
		return
	case asked >= 0:
		if silence, i := s.silence(asked); i >= 0 && !outlasts(silence, survived) {
			v.CauseConfidence, v.CauseWhy = Possible, fmt.Sprintf("what the %s sent after %s of silence got no answer already, and %s: the translator had lost its table by then; an outage then, and a timer that ran out later, look the same",
				sideName(s.Passages[asked].From), facts.Compact(silence), earlier)
			return
		}
	}
	v.Cause = "idle-expiry"
	v.CauseWhy = "the old translation was gone after the silence, and another connection kept its own meanwhile"
	if !kept {
		v.CauseConfidence = Possible
		v.CauseWhy = "the old translation was gone after the silence; a translator that lost its whole table meanwhile looks the same, and no other connection tells"
	}
}

// askedInVainSince returns the first passage of a side after an instant of Base's
// clock, and before passage limit, that asked and was not answered; -1 where there
// is none.
func (s *Subject) askedInVainSince(side uint8, since tcp.Instant, limit int) int {
	for i := range limit {
		if p := &s.Passages[i]; p.From == side && p.At > since && asks(p) && p.Kind != flows.RST && !passed(s, i) {
			return i
		}
	}
	return -1
}

// wentOnAt returns the passage that a frame is a sighting of; where none is, the first
// one since an instant of Base's clock.
func (s *Subject) wentOnAt(frame pairing.Ref, at tcp.Instant) int {
	limit := len(s.Passages)
	for i := len(s.Passages) - 1; i >= 0; i-- {
		p := &s.Passages[i]
		if slices.ContainsFunc(p.Refs, func(r pairing.Ref) bool { return r.Vantage == frame.Vantage && r.Ord == frame.Ord }) {
			return i
		}
		if p.At >= at {
			limit = i
		}
	}
	return limit
}

// lastUse returns when a side's translation was last in use, and the frame: it sent
// something, or, of a run of its probes, was answered.
func lastUse(f *flows.Flow, side uint8) (at tcp.Instant, ord tcp.Ordinal) {
	use := func(when tcp.Instant, frame tcp.Ordinal) {
		if when > at {
			at, ord = when, frame
		}
	}
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Kind == flows.ICMPError {
			continue
		}
		if ev.From == side {
			use(ev.At, ev.Ord)
		}
		switch r := ev.Run; {
		case r == nil || r.Count[side] == 0:
		case r.LastFrom == side, ev.Kind == flows.KeepaliveProbe:
			use(r.Until, r.UntilOrd)
		default:
			use(r.OtherUntil, r.UntilOrd) // its frame is not kept
		}
	}
	return at, ord
}

// leftRenamed holds where the capture nearest to its sender has a RST as one of another
// name between the same hosts: a translator gave it the name that it has elsewhere.
func (s *Subject) leftRenamed(rst *Passage, origin *pairing.Sighting) Answer {
	here := s.sightingAt(rst.First().Vantage)
	seq := rst.Event.Seq + tcp.Seq(here.Shift[rst.From]) - tcp.Seq(origin.Shift[rst.From])
	for o := range s.kin {
		at := o.sightingAt(origin.Vantage)
		if at == nil || at.Flow.Key == origin.Flow.Key {
			continue
		}
		for i := range at.Flow.Events {
			if ev := &at.Flow.Events[i]; ev.Kind == flows.RST && ev.From <= flows.Server && ev.Seq == seq && seq != 0 {
				return s.renamedWith(rst, s.ref(at, ev.Ord, ev.Kind, ev.At), at.Flow.Sides[1-ev.From].Addr.String())
			}
		}
	}
	return Answer{}
}

// renamedWith is the verdict on a connection whose RST left its sender, in a frame there,
// as one to another name.
func (s *Subject) renamedWith(rst *Passage, there pairing.Ref, name string) Answer {
	who, at := sideName(rst.From), s.Points[there.Vantage].Name
	v := &Verdict{ID: NATRebind, Confidence: Likely, Cause: "unknown", At: rst.At, FirstLost: rst.First(), Between: s.towards(rst.First().Vantage, there.Vantage),
		Summary: fmt.Sprintf("A NAT gave the connection another name in mid-flow: the RST that ended it left the %s as one to %s, of which the %s knows no connection.", who, name, who),
		Unknown: []string{"why: the translation may have run out, or been lost; what came under the new name first is not in " + at}}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "same-numbers", Says: fmt.Sprintf("the RST of SEQ %d is in %s as one to %s", rst.Event.Seq, at, name),
		Suggests: "one connection under two names: the translation changed", Evidence: append(slices.Clone(rst.Refs), there)}}}
}

// keptNames reports whether another connection behind the same translation went
// on under its own name over a silence: then no table was lost in it.
func (s *Subject) keptNames(before *pairing.Sighting, side uint8, from, to tcp.Instant) bool {
	host := before.Flow.Sides[side].Addr.Addr()
	for o := range s.kin {
		for i := range o.Seen {
			f := o.Seen[i].Flow
			if o.Seen[i].Vantage != before.Vantage || f.First >= from || f.Last <= to || f.Sides[side].Addr.Addr() != host {
				continue
			}
			if used, _ := lastUse(f, side); used > to && !f.Sides[side].RST && !f.Sides[1-side].RST {
				return true
			}
		}
	}
	return false
}

func capitalised(word string) string {
	if word == "" {
		return ""
	}
	return "The " + word
}

// halfOpen holds where one end opened the connection anew from the same port
// and the other still held the old one: a SYN in its midst, answered by a
// challenge ACK (RFC 9293, section 3.10.7.4).
func halfOpen(s *Subject) Answer {
	for i := 1; i < len(s.Passages); i++ {
		syn := &s.Passages[i]
		if syn.Kind != flows.SYN || syn.From > flows.Server || !s.established(i) || s.endedBefore(i) {
			continue
		}
		for j := i + 1; j < len(s.Passages) && s.Passages[j].At.Sub(syn.At) < promptly; j++ {
			ack := &s.Passages[j]
			if ack.From != 1-syn.From || ack.Kind != flows.ChallengeACK {
				continue
			}
			return s.openedAnew(i, ack)
		}
	}
	return turnedAway(s)
}

// openedAnew is the verdict on a SYN, passage i, within a living connection, and the
// challenge ACK that answers it.
func (s *Subject) openedAnew(i int, ack *Passage) Answer {
	syn := &s.Passages[i]
	silence, _ := s.silence(i)
	who, peer := sideName(syn.From), sideName(1-syn.From)
	v := &Verdict{ID: HalfOpen, Confidence: Proven, At: syn.At, FirstLost: syn.First(), Silence: silence, Between: [2]int{s.Base, s.Base},
		Cause: "unknown",
		Summary: fmt.Sprintf("The %s had forgotten the connection and opened it anew from the same port, after %s of silence; the %s still held the old one and answered with a challenge ACK.",
			who, facts.Compact(silence), peer),
		Unknown: []string{"why the " + who + " had forgotten it: a reboot, a crash, or its own timeout"}}
	found := Finding{Rule: "syn-challenged", Says: "a SYN within the living connection is answered by a challenge ACK",
		Suggests: "one end holds a session that the other has forgotten", Evidence: append(slices.Clone(syn.Refs), ack.Refs...)}
	near, seen := s.nearestSighting(syn.From), s.sightingAt(syn.First().Vantage)
	lacks := near != seen && s.TwoSided() && !s.opensAnother(syn, near)
	switch name := s.Points[near.Vantage].Name; {
	case lacks && s.speaksAfter(near, syn):
		v.ID, v.Confidence, v.Between = NATRebind, Likely, s.towards(seen.Vantage, near.Vantage)
		v.Summary = fmt.Sprintf("Somebody else has the %s's name: after %s of silence a SYN from its address and port comes to %s, and is not in %s, where the %s goes on with the old connection. A NAT that gave the port to another host does that. The %s still held the old connection and answered with a challenge ACK.",
			who, facts.Compact(silence), s.Points[seen.Vantage].Name, name, who, peer)
		v.Unknown = []string{"which device translates, and why it had forgotten the connection"}
		found.Suggests = "two hosts have one name, one after the other: the translation changed"
	case lacks && (s.recorded(near, syn.At) || near.Flow.Sides[syn.From].Addr != seen.Flow.Sides[syn.From].Addr):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether it was the %s: %s, nearer to it, does not hold the SYN; another host behind the same address looks the same", who, name))
	case !beside(seen.Flow, syn.From) && otherHost(seen.Flow, syn.Event):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether it was the %s: its SYN comes with another TTL, window or options than what it sent before, as from another host behind the same address", who))
	}
	return Answer{Verdict: v, Findings: []Finding{found}}
}

// opensAnother reports whether a vantage point knows the SYN of a passage as that of
// another connection, the old one being over there.
func (s *Subject) opensAnother(syn *Passage, near *pairing.Sighting) bool {
	isn := syn.Event.Seq + tcp.Seq(s.sightingAt(syn.First().Vantage).Shift[syn.From]) - tcp.Seq(near.Shift[syn.From])
	for o := range s.kin {
		if at := o.sightingAt(near.Vantage); at != nil && at.Flow.Key == near.Flow.Key && at.Flow.Sides[syn.From].ISNKnown && at.Flow.Sides[syn.From].ISN == isn {
			return true
		}
	}
	return false
}

// speaksAfter reports whether a side goes on after a passage in the capture nearest to it.
func (s *Subject) speaksAfter(near *pairing.Sighting, p *Passage) bool {
	return lastSent(near.Flow, p.From) > clockwork(s.Clocks).to(near.Vantage, s.Base, p.At).Add(time.Second)
}

// otherHost reports whether a SYN within a flow looks as if sent by another host than what
// came under its name before: from another distance, without the timestamps, or with
// another window than in the SYN before.
func otherHost(f *flows.Flow, syn *flows.Event) bool {
	sent, alike := 0, false
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.Ord >= syn.Ord || ev.From != syn.From || ev.Run != nil || ev.Kind == flows.ICMPError || ev.Kind == flows.RST {
			continue
		}
		if ev.Kind == flows.SYN && (ev.Win != syn.Win || ev.HasTS != syn.HasTS) {
			return true
		}
		sent++
		alike = alike || ev.TTL == syn.TTL
	}
	return sent > 0 && !alike || f.Sides[syn.From].Timestamps && !syn.HasTS
}

// appHung holds where the peer's kernel acknowledges an application's own
// heartbeats and its application answers none of them any more.
func appHung(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		f := s.nearest(side)
		peer := 1 - side
		seen := s.nearestSighting(side)
		var asked []pairing.Ref
		var since tcp.Instant
		replied := false
		for i := range f.Events {
			ev := &f.Events[i]
			switch {
			case ev.From == peer && (ev.Kind == flows.HeartbeatReply || ev.Kind == flows.Heartbeat || ev.Len > 0), ev.Run != nil && ev.Run.Octets[peer] > 0:
				replied = replied || ev.Kind == flows.HeartbeatReply
				asked, since = nil, ev.End()
			case ev.From == side && ev.Kind == flows.Heartbeat:
				asked = append(asked, s.ref(seen, ev.Ord, ev.Kind, ev.At))
			}
		}
		own := &f.Sides[side]
		if len(asked) < 2 || !replied || !own.NxtKnown || own.SndUna.Before(own.SndNxt.Add(-1)) {
			continue
		}
		v := &Verdict{ID: AppHung, Confidence: Likely, At: clockwork(s.Clocks).to(s.Base, seen.Vantage, since), FirstLost: asked[0], Between: [2]int{s.Base, s.Base},
			Summary: fmt.Sprintf("The %s's application hangs: its kernel acknowledges the %s's last %s, and the application answers none of them. The path works.",
				sideName(peer), sideName(side), plural(len(asked), "heartbeat")),
			Unknown: []string{"why the application does not answer: look at the process on the " + sideName(peer)}}
		return Answer{Verdict: v, Findings: []Finding{{Rule: "heartbeats-unanswered", Says: fmt.Sprintf("%s of the %s are acknowledged and not answered", plural(len(asked), "heartbeat"), sideName(side)),
			Suggests: "the peer's kernel lives, its application does not", Evidence: asked}}}
	}
	return Answer{}
}

// closedForIdleness holds where an end closed an idle connection on purpose, as servers
// do: its FIN comes out of a silence that is a documented timer, or at the same
// idle age as that of others.
func closedForIdleness(s *Subject) Answer {
	i := s.firstOf(flows.FIN)
	if r := s.firstOf(flows.RST); r >= 0 && (i < 0 || r < i) {
		i = r
	}
	if i < 0 || s.Passages[i].From > flows.Server || !s.established(i) {
		return Answer{}
	}
	p := &s.Passages[i]
	if _, vain := findTail(s); vain || p.Kind == flows.RST && (!p.Event.Flags.Has(tcp.ACK) || s.askedInVain(p.From)) {
		return Answer{}
	}
	silence := s.payloadSilence(i)
	if silence < 10*time.Second || s.neverHeard(other(p.From)) || s.owedBefore(p) {
		return Answer{}
	}
	v := &Verdict{ID: IdleClose, Confidence: Likely, At: p.At, Silence: silence, FirstLost: p.First(), Between: [2]int{s.Base, s.Base}}
	who := sideName(p.From)
	v.Summary = fmt.Sprintf("The %s closed the idle connection on purpose: its %s comes after %s without data.", who, p.Kind, facts.Compact(silence))
	a := Answer{Verdict: v}
	if alike := s.closedAlike(p, silence); alike > 0 {
		a.Findings = append(a.Findings, Finding{Rule: "same-idle-age", Says: fmt.Sprintf("%s between the same hosts ended in the same way after as long a silence", plural(alike, "other connection")),
			Suggests: "a timer of the " + who + "'s service", Evidence: p.Refs})
	}
	if fit := facts.ClosersFor(int(s.flow.Sides[flows.Server].Addr.Port()), who, silence); len(fit) > 0 && slices.ContainsFunc(fit, func(c facts.Closer) bool { return c.Idle > 0 }) {
		for _, c := range fit {
			if c.Idle > 0 {
				a.Findings = append(a.Findings, Finding{Rule: "documented-timer", Says: fmt.Sprintf("%s closes after %s (%s)", c.Name, facts.Compact(c.Idle), c.Setting),
					Suggests: "the silence fits", Evidence: p.Refs})
				break
			}
		}
	}
	if len(a.Findings) == 0 {
		return Answer{}
	}
	if p.Kind == flows.RST && s.TwoSided() && !s.leftItsSide(p) {
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, "whether the "+who+" itself sent the RST: "+s.doubtOfRST(i))
	}
	if p.Kind == flows.RST && !s.TwoSided() {
		v.Unknown = append(v.Unknown, "whether the "+who+" itself sent the RST: needs a capture there")
		a.Hypotheses = []Hypothesis{
			{Verdict: IdleClose, For: because("the RST comes out of a silence and answers nothing", p.Refs...), Next: nextCapture(other(p.From))},
			{Verdict: ForgedReset, For: because("some load balancers and firewalls send a RST to both ends when their idle timer runs out", p.Refs...), Next: nextCapture(other(p.From))},
		}
		if len(facts.TimeoutsBetween(silence-silence/50, silence+silence/50)) > 0 {
			v.Confidence = Possible
		}
	}
	return a
}

// owedBefore reports whether keepalives of a RST's sender were due right before it
// and are missing in its own capture, or the RST never arrived: then questions in
// vain that nobody recorded may have led to it.
func (s *Subject) owedBefore(p *Passage) bool {
	if p.Kind != flows.RST {
		return false
	}
	if p.Known && p.How == pairing.Lost {
		return true
	}
	at := s.nearestSighting(p.From)
	return slices.ContainsFunc(s.absences(p.From), func(a absence) bool {
		return slices.ContainsFunc(p.Refs, func(r pairing.Ref) bool { return r.Vantage == at.Vantage && a.to == r.At })
	})
}

// payloadSilence is how long before passage i no end sent data.
func (s *Subject) payloadSilence(i int) time.Duration {
	at := s.Passages[i].At
	for j := i - 1; j >= 0; j-- {
		p := &s.Passages[j]
		if p.Kind != flows.ICMPError && p.Event.Len > 1 || p.Event.Run != nil && p.Kind != flows.KeepaliveProbe || p.Kind == flows.SYN || p.Kind == flows.SYNACK {
			return max(0, at.Sub(max(p.At, p.Until)))
		}
	}
	return 0
}

// closedAlike counts the other connections between the hosts that the same end
// closed after a silence of the same length, within two parts in a hundred.
func (s *Subject) closedAlike(p *Passage, silence time.Duration) int {
	n := 0
	for o := range s.kin {
		i := o.firstOf(p.Kind)
		if o.endingOf(p.From).GaveUp() {
			continue // it asked in vain
		}
		if i < 0 || o.Passages[i].From != p.From || o.flow.Sides[flows.Server].Addr != s.flow.Sides[flows.Server].Addr {
			continue
		}
		if d := o.payloadSilence(i); max(d, silence)-min(d, silence) <= silence/50 {
			n++
		}
	}
	return n
}
