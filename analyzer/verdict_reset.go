package analyzer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// forgedReset holds where the RST that ended an established connection was not
// sent by the end whose name it bears. Two captures prove it: it is at one
// place and never passed the place nearer to that end. One capture weighs how
// the RST looks and when it came.
func forgedReset(s *Subject) Answer {
	for i := range s.Passages {
		rst := &s.Passages[i]
		if rst.Kind != flows.RST || rst.From > flows.Server || rst.Event.Note&flows.NoteOutOfWindow != 0 {
			continue
		}
		if !s.established(i) || s.endedBefore(i) || s.hasFIN(flows.Client, i) || s.hasFIN(flows.Server, i) {
			return Answer{}
		}
		if o, ok := findOnset(s); ok && rst.At.Sub(s.Passages[o.first].At) > promptly {
			return Answer{} // lost on the way long before
		}
		trigger := s.trigger(i)
		if s.TwoSided() && len(s.Seen) > 1 {
			if a := s.forgedBetween(i, trigger); a.Verdict != nil {
				return a
			}
			return s.beyond(rst.From, forgedReset)
		}
		return s.forgedByItsLooks(i, trigger)
	}
	return Answer{}
}

// promptly is how soon an answer comes that a box or a host makes on the spot.
const promptly = 5 * time.Second

// established reports whether before passage i the connection was in use.
func (s *Subject) established(i int) bool {
	for j := range i {
		if p := &s.Passages[j]; p.Kind != flows.ICMPError && p.Kind != flows.SYN && p.Event.Len > 0 || p.Kind == flows.KeepaliveProbe || p.Kind == flows.KeepaliveACK || p.Event.Run != nil {
			return true
		}
	}
	if !s.flow.Complete {
		return false
	}
	synack := s.firstOf(flows.SYNACK)
	return synack < i // where that comes later, the RST is about another connection of these ports
}

// trigger is the last segment of the other end before a RST, which it answers;
// -1 where none lies within a few seconds. Of one capture alone it is none that the RST
// had not got yet; of several the fate of that one tells more.
func (s *Subject) trigger(rst int) int {
	at, ev := s.Passages[rst].At, s.Passages[rst].Event
	for j := rst - 1; j >= 0; j-- {
		p := &s.Passages[j]
		if at.Sub(max(p.At, p.Until)) > promptly {
			return -1
		}
		if p.From == 1-s.Passages[rst].From && p.Kind != flows.ICMPError && !(len(s.Seen) == 1 && sentUnaware(ev, p.Event, p.From)) {
			return j
		}
	}
	return -1
}

// sentUnaware reports whether a RST acknowledges nothing of the last segment with data that
// a side had sent: it was on its way when that came.
func sentUnaware(rst, sent *flows.Event, side uint8) bool {
	if !rst.Flags.Has(tcp.ACK) || sent.Kind == flows.KeepaliveProbe || sent.Kind == flows.ZeroWindowProbe {
		return false
	}
	if run := sent.Run; run != nil {
		return run.Octets[side] > 0 && run.LastFrom == side && !rst.Ack.After(run.Seq)
	}
	return sent.Len > 0 && !rst.Ack.After(sent.Seq)
}

// forgedBetween asks whether the capture nearer to the alleged sender holds
// the RST of passage i.
func (s *Subject) forgedBetween(i, trigger int) Answer {
	rst := &s.Passages[i]
	origin := s.nearestSighting(rst.From)
	here := rst.Refs[0].Vantage
	if here == origin.Vantage || s.holdsReset(origin, rst) {
		return Answer{}
	}
	if a := s.leftRenamed(rst, origin); a.Verdict != nil {
		return a
	}
	misses := s.MissRate(origin.Vantage)
	if misses > tooGappy || s.lacksSide(origin.Vantage, rst.From) {
		return s.forgedByItsLooks(i, trigger)
	}
	recorded := s.recorded(origin, rst.At) && s.recorded(origin, rst.At.Add(s.roundTrip(0)))
	if recorded && s.ceased(origin, here, rst.From) {
		return s.forgedByItsLooks(i, trigger) // that it is not there says nothing
	}
	if !recorded {
		return s.forgedAtTheEnd(i, trigger, origin)
	}
	who := sideName(rst.From)
	v := &Verdict{ID: ForgedReset, Confidence: Proven, At: rst.At, FirstLost: rst.First(), Between: s.towards(here, origin.Vantage)}
	if trigger >= 0 {
		if t := &s.Passages[trigger]; t.Known && t.How == pairing.Lost && t.Between[0] == here {
			v.Between = t.Between // what made the RST took this, and a capture between the two may not see the connection any more
		}
	}
	if misses > 0 {
		v.Confidence = Likely
		v.Unknown = append(v.Unknown, s.Points[origin.Vantage].Name+" misses other segments that arrived, and may miss the RST")
	}
	if genuine := s.genuine(i, trigger); genuine != nil {
		return s.missedOrForged(v, i, origin, genuine)
	}
	v.Unknown = append(v.Unknown, fmt.Sprintf("which of the devices between %s and %s: needs a third capture, between them", s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name))
	v.Summary = fmt.Sprintf("Something between %s and %s ended the connection with a RST in the %s's name: it is in %s and never left the %s.",
		s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name, who, s.Points[here].Name, who)
	a := Answer{Verdict: v, Findings: []Finding{{Rule: "rst-not-sent",
		Says:     fmt.Sprintf("the RST in %s is not in %s, which is nearer to the %s", s.Points[here].Name, s.Points[origin.Vantage].Name, who),
		Suggests: "the " + who + " did not send it", Evidence: rst.Refs}}}
	s.whyReset(v, trigger)
	s.byAnotherBackend(v, i, trigger)
	return a
}

// forgedAtTheEnd judges the RST of passage i that the capture nearer to its sender lacks
// and may have ended before: by its looks, or by another one beyond that it cannot have
// been lost with.
func (s *Subject) forgedAtTheEnd(i, trigger int, origin *pairing.Sighting) Answer {
	rst, who := &s.Passages[i], sideName(s.Passages[i].From)
	here, there := s.Points[rst.First().Vantage].Name, s.Points[origin.Vantage].Name
	a, twin := s.looks(i, trigger), s.twin(i)
	if twin == nil && a.ranked()[0] == byProgram {
		return Answer{}
	}
	v := &Verdict{ID: ForgedReset, Confidence: Possible, At: rst.At, FirstLost: rst.First(), Between: s.towards(rst.First().Vantage, origin.Vantage)}
	if a.decidesOn(byDevice) || twin != nil && s.MissRate(origin.Vantage) == 0 {
		v.Confidence = Likely
	}
	found := Finding{Rule: "rst-not-sent", Says: fmt.Sprintf("the RST in %s is not in %s, which is nearer to the %s", here, there, who),
		Suggests: "the " + who + " did not send it, or that capture had ended", Evidence: rst.Refs}
	if twin == nil {
		v.Summary = fmt.Sprintf("The RST in the %s's name that ended the connection is in %s, and %s, nearer to the %s, does not hold it: something between may have sent it, or that capture had ended before.", who, here, there, who)
		v.Unknown = append(v.Unknown, there+" may have stopped recording before the RST")
	} else {
		v.Summary = fmt.Sprintf("Something between %s and %s ended the connection with a RST to each end in the other's name, at one moment: neither is in the capture nearer to the end whose name it bears.", here, there)
		found.Says += fmt.Sprintf(", and one in the %s's name comes to %s at that moment", sideName(twin.From), there)
		found.Suggests, found.Evidence = "one device sent both: an end whose capture lacks its own RST had that of the other before it", append(slices.Clone(rst.Refs), twin.Refs...)
	}
	if s.MissRate(origin.Vantage) > 0 {
		v.Unknown = append(v.Unknown, there+" misses other segments that arrived, and may miss the RST")
	}
	v.Unknown = append(v.Unknown, fmt.Sprintf("which of the devices between %s and %s: needs a third capture, between them", s.Points[v.Between[0]].Name, s.Points[v.Between[1]].Name))
	s.whyReset(v, trigger)
	s.byAnotherBackend(v, i, trigger)
	return Answer{Verdict: v, Findings: []Finding{found, a.finding(nil)}}
}

// twin returns the RST in the other end's name that came to the end that the RST of passage
// i bears the name of, as that came to the other, at the same moment; nil where none did.
// Each is in the one capture alone.
func (s *Subject) twin(i int) *Passage {
	rst := &s.Passages[i]
	for j := range s.Passages {
		p := &s.Passages[j]
		apart := max(p.At, rst.At).Sub(min(p.At, rst.At))
		if p.Kind == flows.RST && p.From == 1-rst.From && p.Event.Note&flows.NoteOutOfWindow == 0 && apart < time.Second+s.roundTrip(0) && !s.leftItsSide(p) && !s.leftItsSide(rst) {
			return p
		}
	}
	return nil
}

// leftItsSide reports whether the capture nearest to a segment's sender holds it.
func (s *Subject) leftItsSide(p *Passage) bool { return s.reached(p, p.From) }

// holdsReset reports whether the capture nearest to a RST's alleged sender holds a RST of
// that side which may be the same.
func (s *Subject) holdsReset(origin *pairing.Sighting, rst *Passage) bool {
	return slices.ContainsFunc(origin.Flow.Events, func(ev flows.Event) bool {
		return ev.Kind == flows.RST && ev.From == rst.From && !s.sentLater(origin, &ev, rst)
	})
}

// sentLater reports whether a RST in the capture nearest to its sender is another one than
// that which a further capture holds: it says something else, and between the two its
// sender sent what an end does not send that has ended the connection.
func (s *Subject) sentLater(origin *pairing.Sighting, own *flows.Event, rst *Passage) bool {
	ev := rst.Event
	if own.Flags == ev.Flags && own.Seq == ev.Seq && own.Ack == ev.Ack && own.HasTS == ev.HasTS && own.TSVal == ev.TSVal {
		return false
	}
	since := clockwork(s.Clocks).to(origin.Vantage, s.Base, rst.At).Add(promptly)
	return slices.ContainsFunc(origin.Flow.Events, func(x flows.Event) bool {
		return x.From == own.From && x.Kind != flows.RST && x.Kind != flows.ICMPError && x.At > since && x.At < own.At
	})
}

// genuine lists what makes the RST of passage i its alleged sender's own, where that is
// all that a RST can show: it is a socket's, as far away as all of that side's segments,
// it sends nothing later, and the RST is the next of its packets. Where its IP IDs show no
// order, its clock of timestamps must go on to it; where it has none, nothing must hint at
// a device that rejects what it takes. It is nil for others.
func (s *Subject) genuine(i, trigger int) []Reason {
	rst, who := &s.Passages[i], sideName(s.Passages[i].From)
	here := s.sightingAt(rst.Refs[0].Vantage)
	own := &here.Flow.Sides[rst.From]
	switch {
	case !rst.Event.Flags.Has(tcp.ACK), own.Timestamps && !rst.Event.HasTS, !own.Timestamps && rst.Event.Win == 0:
		return nil
	case own.TTLs[0] != own.TTLs[1]:
		return nil
	case trigger >= 0 && s.Passages[trigger].Known && s.Passages[trigger].How == pairing.Lost:
		return nil // what made the RST took this
	case lastSent(s.nearest(rst.From), rst.From) > clockwork(s.Clocks).to(s.nearestSighting(rst.From).Vantage, s.Base, rst.At):
		return nil // it goes on
	}
	reasons := []Reason{
		{"its TTL is that of all the " + who + "'s segments", rst.Refs},
		{"its window and options are those of a socket, and the " + who + " sends nothing after it", rst.Refs},
	}
	switch sequel, _ := nextPacket(here.Flow, rst.Event); {
	case sequel == goesOn:
		return append([]Reason{{"its IP ID goes on from the " + who + "'s last", rst.Refs}}, reasons...)
	case sequel == breaksOff, rst.Event.Win == 0, own.Segments <= 3:
		return nil
	case own.Timestamps && clockGoesOn(here.Flow, rst.Event):
		return append([]Reason{{"its timestamp is what the " + who + "'s clock shows by then", rst.Refs}}, reasons...)
	case !own.Timestamps && (trigger < 0 || s.Passages[trigger].Known && s.Passages[trigger].How == pairing.Crossed):
		return reasons
	}
	return nil
}

// sightingAt returns where a vantage point saw the connection.
func (s *Subject) sightingAt(vantage int) *pairing.Sighting {
	for k := range s.Seen {
		if s.Seen[k].Vantage == vantage {
			return &s.Seen[k]
		}
	}
	return nil
}

// nextPackets is how many packets of a host may lie between two that are next to each
// other in a connection; busyPackets where the host is busy.
const (
	nextPackets = 64
	busyPackets = 4096
)

// A sequel is what the IP ID of a RST is to those of its side.
type sequel uint8

const (
	tellsNothing sequel = iota // they have no order, or are none, as in IPv6
	goesOn
	breaksOff
)

// nextPacket reports whether a RST bears the IP ID that comes next for its side, as far as
// the side's segments at the same vantage point count up, and the ID of the last of them.
func nextPacket(f *flows.Flow, rst *flows.Event) (_ sequel, last uint16) {
	n, same := 0, true
	var hidden, widest uint16 // hidden: in runs, of which the IDs are not kept
	for i := range f.Events {
		ev := &f.Events[i]
		switch {
		case ev.Run != nil:
			hidden += uint16(ev.Run.Count[rst.From])
		case ev.From != rst.From || ev.Kind == flows.ICMPError || ev.Kind == flows.RST:
		case ev.Kind == flows.SYNACK && ev.IPID == 0: // Linux answers with an ID of 0 before it has a socket
		default:
			if n > 0 {
				same = same && ev.IPID == last
				widest = max(widest, ev.IPID-last-hidden-1)
			}
			last, hidden = ev.IPID, 0
			n++
		}
	}
	next := rst.IPID-last-hidden-1 < nextPackets
	switch {
	case n == 0:
		return tellsNothing, last
	case n > 1 && same:
		if rst.IPID == last {
			return tellsNothing, last
		}
		return breaksOff, last
	case next && widest < 2*nextPackets && last != 0:
		return goesOn, last
	case n == 1:
		return tellsNothing, last
	case widest < 2*nextPackets, n > 3 && widest < busyPackets && uint32(rst.IPID-last) > busyPackets+uint32(hidden)*uint32(widest):
		return breaksOff, last
	}
	return tellsNothing, last
}

// clockGoesOn reports whether the timestamp of a RST is what the clock of its side shows
// by then, and no copy of the last.
func clockGoesOn(f *flows.Flow, rst *flows.Event) bool {
	var since, at tcp.Instant
	var first, last uint32
	for i := range f.Events {
		ev := &f.Events[i]
		when, val := ev.At, ev.TSVal
		switch r := ev.Run; {
		case r != nil && ev.Kind != flows.KeepaliveProbe && r.LastFrom == rst.From, r != nil && ev.Kind == flows.KeepaliveProbe && ev.From == rst.From:
			when, val = r.Until, r.TSVal
		case r != nil && ev.Kind == flows.KeepaliveProbe && r.Count[rst.From] > 1: // of answers the last but one is known, by the last probe's echo
			when, val = r.Until.Add(-r.Period.Max), r.TSEcr
		case r != nil || ev.From != rst.From:
			continue
		}
		if ev.Kind == flows.ICMPError || ev.Kind == flows.RST || !ev.HasTS || when > rst.At {
			continue
		}
		if since == 0 {
			since, first = when, val
		}
		at, last = when, val
	}
	ran, pause := at.Sub(since), rst.At.Sub(at)
	by := int32(rst.TSVal - last)
	if since == 0 || by < 0 || pause >= time.Second && by == 0 {
		return false
	}
	if ran < steadySpan {
		return true
	}
	perSecond := float64(last-first) / ran.Seconds()
	due := perSecond * pause.Seconds()
	return math.Abs(float64(by)-due) <= due/10+perSecond+2
}

// missedOrForged is the verdict on a RST that the capture nearer to its sender lacks, and
// that looks in all like that sender's own: a capture misses a frame more often than a
// device knows the next IP ID, or the sender's clock.
func (s *Subject) missedOrForged(v *Verdict, i int, origin *pairing.Sighting, genuine []Reason) Answer {
	rst := &s.Passages[i]
	who, here, there := sideName(rst.From), s.Points[rst.Refs[0].Vantage].Name, s.Points[origin.Vantage].Name
	v.Confidence = Possible
	v.Unknown = append(v.Unknown, fmt.Sprintf("whether %s missed this one frame: a third capture, or the counter of what the capture dropped, would tell", there))
	v.Summary = fmt.Sprintf("The RST in the %s's name that ended the connection is in %s and not in %s, nearer to the %s. By its looks it is in every way the %s's own, and the %s sends nothing after it: that capture may have missed this one frame, or something between copies the %s well.",
		who, here, there, who, who, who, who)
	lacks := because(fmt.Sprintf("%s, nearer to the %s, recorded at that time and does not hold it", there, who), rst.Refs...)
	return Answer{Verdict: v, Findings: []Finding{{Rule: "rst-not-sent", Says: fmt.Sprintf("the RST in %s is not in %s, which is nearer to the %s", here, there, who),
		Suggests: "the " + who + " did not send it, or that capture missed it", Evidence: rst.Refs}},
		Hypotheses: []Hypothesis{{Verdict: ClosedNormally, For: genuine, Against: lacks}, {Verdict: ForgedReset, For: lacks, Against: genuine}}}
}

// ceased reports whether a vantage point had ceased to hold what a side sends: another
// one, here, has more of it from before the RST.
func (s *Subject) ceased(origin *pairing.Sighting, here int, side uint8) bool {
	c := clockwork(s.Clocks)
	there := c.to(s.Base, here, lastSent(s.sightingAt(here).Flow, side))
	return there.Sub(c.to(s.Base, origin.Vantage, lastSent(origin.Flow, side))) > time.Second+s.roundTrip(time.Second)
}

// lastSent is Side.LastSent without its RST.
func lastSent(f *flows.Flow, side uint8) (last tcp.Instant) {
	for i := range f.Events {
		ev := &f.Events[i]
		if ev.From == side && ev.Kind != flows.RST && ev.Kind != flows.ICMPError {
			last = max(last, ev.At)
		}
		if ev.Run != nil && ev.Run.Count[side] > 0 {
			last = max(last, ev.LastOf(side))
		}
	}
	return last
}

// whyReset gives a RST that a box sent its cause: after a silence longer than
// any survived, state that it forgot.
func (s *Subject) whyReset(v *Verdict, trigger int) {
	v.Cause, v.CauseConfidence = "injected", Possible
	if trigger < 0 {
		return
	}
	silence, before := s.silence(trigger)
	if before < 0 || !outlasts(silence, longestSurvived(s, trigger)) {
		return
	}
	v.Silence = silence
	v.Cause, v.CauseConfidence = "idle-expiry", Likely
	v.CauseWhy = "it answers the first segment after a silence longer than any survived"
	v.Summary += fmt.Sprintf(" It answers the first segment after %s of silence: most likely a firewall that forgot the connection and rejects what it does not know.", facts.Compact(silence))
}

// byAnotherBackend gives the cause of a RST in the server's name that the captured
// server did not send: where it took as long as that server's own answers and
// came as many hops, it is rather a host behind the same address, to which a
// balancer sends what it has forgotten, than a box on the way.
func (s *Subject) byAnotherBackend(v *Verdict, rst, trigger int) {
	rtt := s.flow.Sides[flows.Client].RTT
	if v.Cause != "idle-expiry" || s.Passages[rst].From != flows.Server || trigger < 0 || !rtt.Known {
		return
	}
	answer, asked := s.atBase(&s.Passages[rst]), s.atBase(&s.Passages[trigger])
	if answer == nil || asked == nil {
		return
	}
	var ttl uint8 // of the server's own segments, where all of them came as far
	for i := range s.flow.Events {
		if ev := &s.flow.Events[i]; ev.From == flows.Server && ev.Kind != flows.RST && ev.Kind != flows.ICMPError && ev.Run == nil {
			if ttl != 0 && ev.TTL != ttl {
				return
			}
			ttl = ev.TTL
		}
	}
	took, apart := answer.At.Sub(asked.End()), hops(answer.TTL)-hops(ttl)
	if ttl == 0 || took < rtt.Min*9/10 || apart < -1 || apart > 1 {
		return
	}
	v.Cause, v.CauseConfidence = "other-backend", Possible
	v.CauseWhy = fmt.Sprintf("it took %s and came %s, as the server's own answers do (%s at least): another host behind the address that does not know the connection answers so, where a balancer had forgotten where it belongs; a box at the server's side looks the same",
		facts.Compact(took), plural(hops(answer.TTL), "hop"), facts.Compact(rtt.Min))
	v.Summary = strings.Replace(v.Summary, "most likely a firewall that forgot the connection and rejects what it does not know.", "another backend of a balancer that forgot the connection, or a firewall beside the server.", 1)
}

// atBase returns a passage as the base capture has it; nil where it does not hold it.
func (s *Subject) atBase(p *Passage) *flows.Event {
	for _, r := range p.Refs {
		if r.Vantage != s.Base {
			continue
		}
		for i := range s.flow.Events {
			if ev := &s.flow.Events[i]; ev.Ord == r.Ord {
				return ev
			}
		}
	}
	return nil
}

// towards returns the vantage points between which something was lost or made
// that is at one place and not at the other: here, and its neighbour on the way.
func (s *Subject) towards(here, origin int) [2]int {
	i, j := slices.Index(s.Path, here), slices.Index(s.Path, origin)
	switch {
	case i < 0 || j < 0:
		return [2]int{here, origin}
	case i < j:
		return [2]int{here, s.Path[i+1]}
	}
	return [2]int{s.Path[i-1], here}
}

// recorded reports whether a vantage point provably recorded the hosts at an
// instant of Base's clock: it holds frames from before and after, of theirs or,
// where it was not filtered, of anyone's, and misses none around it.
func (s *Subject) recorded(seen *pairing.Sighting, at tcp.Instant) bool {
	at = clockwork(s.Clocks).to(seen.Vantage, s.Base, at)
	point := &s.Points[seen.Vantage]
	if holesAt(seen.Flow.Missing, at.Add(-time.Second), at.Add(time.Second)) || holesAt(point.Holes, at.Add(-time.Second), at.Add(time.Second)) {
		return false
	}
	if seen.Flow.First < at && seen.Flow.Last > at {
		return true
	}
	if point.Table != nil {
		if hp, ok := point.Table.HostPair(&seen.Flow.Key); ok && firstOfHosts(&hp) < at && max(hp.Last[0], hp.Last[1]) > at {
			return true
		}
	}
	for i := range point.Files {
		if f := &point.Files[i]; f.Unfiltered && f.First < at && f.Last > at {
			return true
		}
	}
	return false
}

// firstOfHosts returns when anything of two hosts was first seen.
func firstOfHosts(hp *flows.HostPair) (first tcp.Instant) {
	for d, n := range hp.Frames {
		if n > 0 && (first == 0 || hp.First[d] < first) {
			first = hp.First[d]
		}
	}
	return first
}

// knownAs reports whether a side's own capture holds segments of the connection
// from before a passage: then it had the name that it has now, and what the side
// did since is in that capture.
func (s *Subject) knownAs(side uint8, p *Passage) bool {
	at := s.nearestSighting(side)
	for _, r := range p.Refs {
		if r.Vantage == at.Vantage {
			return at.Flow.First < r.At
		}
	}
	return false
}

// distance returns how many hops a side's segments came, and whether all of
// them came as many but the RST of passage i.
func (s *Subject) distance(side uint8, i int) (far int, constant bool) {
	own, ttl := &s.flow.Sides[side], uint8(0)
	for j := range i {
		p := &s.Passages[j]
		if p.From != side || p.Kind == flows.ICMPError || p.Kind == flows.RST || p.Event.Run != nil || p.Refs[0].Vantage != s.Base {
			continue
		}
		if ttl != 0 && p.Event.TTL != ttl {
			return 0, false
		}
		ttl = p.Event.TTL
	}
	rst := s.Passages[i].Event.TTL
	constant = ttl != 0 && own.Segments > 3 && own.TTLs[0] >= min(ttl, rst) && own.TTLs[1] <= max(ttl, rst) // of what runs hold, the extremes are known
	return hops(ttl), constant
}

// hops guesses how many routers a packet passed: what its TTL lacks to the next
// of the values that hosts begin with.
func hops(ttl uint8) int {
	for _, begin := range [...]int{64, 128} {
		if int(ttl) <= begin {
			return begin - int(ttl)
		}
	}
	return 255 - int(ttl)
}
