package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// socketless reports whether a RST has the shape of a host that knows no such
// connection: no ACK bit, the trigger's acknowledgment number as its sequence
// number, window 0, no options (RFC 9293, section 3.5.2); or an ACK that no socket gives.
func socketless(rst, trigger *flows.Event) bool {
	return rst.Seq == trigger.Ack && !rst.HasTS && (!rst.Flags.Has(tcp.ACK) && rst.Win == 0 || acksBelow(rst, trigger))
}

// acksBelow reports whether a RST acknowledges just the keepalive without an octet that it
// answers, one below what its host had got. lwIP does so for want of a socket, with the
// window that it opens sockets with.
func acksBelow(rst, trigger *flows.Event) bool {
	return rst.Flags.Has(tcp.ACK) && rst.Win != 0 && trigger.Kind == flows.KeepaliveProbe && trigger.Len == 0 && rst.Ack == trigger.Seq
}

// peerLostState holds where a probe or data is answered by the RST of a host
// that knows no such connection, though it had not ended it. Who never had it has lost
// nothing.
func peerLostState(s *Subject) Answer {
	if a := s.neverTaken(); a.Verdict != nil {
		return a
	}
	for i := range s.Passages {
		rst := &s.Passages[i]
		if rst.Kind != flows.RST || rst.From > flows.Server {
			continue
		}
		trigger := -1
		for j := i - 1; j >= 0 && j > i-8; j-- {
			if q := &s.Passages[j]; q.From == 1-rst.From && q.Kind != flows.ICMPError {
				trigger = j
				break
			}
		}
		if trigger < 0 || !socketless(rst.Event, s.Passages[trigger].Event) || s.endedBefore(trigger) || s.hasFIN(rst.From, i) || s.gaveUpBefore(rst.From, i) || s.neverTook(rst.From, i) {
			continue
		}
		q := &s.Passages[trigger]
		silence, _ := s.silence(trigger)
		if q.Kind == flows.SYN || q.Kind == flows.SYNACK || q.Kind != flows.KeepaliveProbe && silence < time.Second {
			continue
		}
		if rst.At.Sub(max(q.At, q.Until)) > promptly || s.spoke(rst.From, trigger, i) {
			continue // it is no answer, or the peer has just shown that it knows the connection
		}
		if o, ok := findOnset(s); ok && o.first < trigger {
			return Answer{} // lost on the way long before
		}
		return s.lostState(rst, q, silence)
	}
	return Answer{}
}

// neverTook reports whether a side that answered the SYN showed until passage i by nothing
// that it had taken the rest of the handshake: of what it sent all is SYN-ACKs.
func (s *Subject) neverTook(side uint8, i int) bool {
	answered := false
	for j := range i {
		switch p := &s.Passages[j]; {
		case p.Event.Run != nil && p.Event.Run.Count[side] == 0, p.Event.Run == nil && p.From != side, p.Kind == flows.ICMPError, p.Kind == flows.RST:
		case p.Kind == flows.SYNACK:
			answered = true
		default:
			return false
		}
	}
	return answered
}

// spoke reports whether a side sent anything between two passages.
func (s *Subject) spoke(side uint8, from, to int) bool {
	for j := from + 1; j < to; j++ {
		if p := &s.Passages[j]; p.From == side && p.Kind != flows.ICMPError {
			return true
		}
	}
	return false
}

// gaveUpBefore reports whether a side had reset the connection before passage
// i, whether or not that arrived: its RST of now is then only an echo.
func (s *Subject) gaveUpBefore(side uint8, i int) bool {
	switch s.endingOf(side) {
	case flows.EndHeartbeat:
		return true // its application did, whenever its host says so
	case flows.EndGaveUp, flows.EndUserTimeout:
		return true // it asked in vain: whatever clocks say of the order, it knew the connection
	}
	for j := range i {
		if p := &s.Passages[j]; p.From == side && p.Kind == flows.RST {
			return true
		}
	}
	return false
}

func (s *Subject) hasFIN(side uint8, before int) bool {
	for j := range before {
		if p := &s.Passages[j]; p.From == side && p.Kind == flows.FIN {
			return true
		}
	}
	return false
}

// askedBefore reports whether a side's last segments before a passage of its peer
// are questions that nobody answered: then it may have given up.
func (s *Subject) askedBefore(side uint8, trigger *Passage) bool {
	vain := 0
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p == trigger:
			return vain > 0
		case p.Kind == flows.ICMPError || p.From > flows.Server:
		case p.From != side && !(p.Known && p.How == pairing.Lost), p.Event.Run != nil:
			vain = 0
		case p.From == side && p.Event.AnsweredBy == 0 && (p.Kind == flows.KeepaliveProbe || p.Kind == flows.Retransmission):
			vain++
		}
	}
	return false
}

// neverAcked reports whether a side has sent octets again of which a later segment of its peer
// shows that they have not come: then it may have given up, however alive both seem.
func (s *Subject) neverAcked(side uint8, trigger *Passage) bool {
	for i := range s.Passages {
		p := &s.Passages[i]
		if p == trigger {
			break
		}
		if p.From == side && p.Kind == flows.Retransmission && trigger.Event.Flags.Has(tcp.ACK) && trigger.Event.Ack.Before(p.Event.Seq.Add(int(p.Event.Len))) {
			return true
		}
	}
	return false
}

// unseenBy reports whether a side's own capture misses octets that crossed before
// a passage: what else it misses is not known.
func (s *Subject) unseenBy(side uint8, p *Passage) bool {
	seen := s.nearestSighting(side)
	for _, r := range p.Refs {
		if r.Vantage == seen.Vantage {
			return s.leavesOut(seen, p, r)
		}
	}
	return false
}

func (s *Subject) lostState(rst, trigger *Passage, silence time.Duration) Answer {
	peer := sideName(rst.From)
	confidence := Likely
	if silence >= time.Minute || !s.own(rst.From) {
		confidence = Possible // the peer may have given up, its RST lost; a NAT before it may have renamed the probe
	}
	v := &Verdict{ID: PeerLostState, Confidence: confidence, At: rst.At, FirstLost: trigger.First(), Silence: silence, Cause: "unknown", Between: [2]int{s.Base, s.Base}}
	refs := append(append([]pairing.Ref(nil), trigger.Refs...), rst.Refs...)
	shape := "a RST without ACK, window 0, no options, SEQ taken from the segment's ACK"
	if acksBelow(rst.Event, trigger.Event) {
		shape = "a RST of which the ACK is the segment's SEQ, one below what had come before, and the SEQ its ACK"
	}
	a := Answer{Verdict: v, Findings: []Finding{{Rule: "socketless-rst",
		Says:     fmt.Sprintf("the %s answers the %s with %s", peer, trigger.Kind, shape),
		Suggests: "its host knows no such connection: rebooted, or the socket is gone", Evidence: refs}}}
	near := s.nearestSighting(rst.From)
	crossed := s.TwoSided() && trigger.Known && trigger.How == pairing.Crossed && rst.Known && rst.How == pairing.Crossed
	misses, from := s.MissRate(near.Vantage), ""
	switch {
	case crossed && !beside(near.Flow, rst.From):
		v.Confidence = Possible // what lies beyond that capture may have renamed the probe, or sent the RST
		from = s.Points[near.Vantage].Name
	case s.askedBefore(rst.From, trigger):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s had given up itself: its last questions before got no answer, and the RST that ends them may be in no capture", peer))
	case s.neverAcked(rst.From, trigger):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s had given up itself: octets that it sent again were never acknowledged, and of that not every system tells its peer", peer))
	case s.unseenBy(rst.From, trigger), !crossed && (misses > tooGappy || len(near.Flow.Missing) > 0):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s had given up itself: octets that crossed before are in no capture, and a RST may be missing with them", peer))
	case crossed && s.wasSilent(rst.From, trigger.At):
		v.Confidence = Possible
		v.Unknown = append(v.Unknown, fmt.Sprintf("whether the %s had given up itself: its own keepalives are missing from its capture before, as when its link was down, and a RST may have been lost then", peer))
	case crossed && (!s.knownAs(rst.From, trigger) || misses > tooGappy):
		v.Confidence = Possible // it may have had another name before, or the end may have given up unseen
	case crossed:
		v.Confidence = Proven
		v.Summary = fmt.Sprintf("The %s lost the connection: the %s arrives there after %s of silence and its own host answers with a RST, as one does that knows no such connection. It sent neither FIN nor RST before.",
			peer, trigger.Kind, facts.Compact(silence))
		v.Between = [2]int{rst.Refs[0].Vantage, rst.Refs[0].Vantage}
		v.Unknown = append(v.Unknown, "why the "+peer+" lost it: a reboot, a crash of the service, or another machine at the same address")
		return a
	}
	v.Summary = fmt.Sprintf("The %s is answered by a RST that looks like that of a host which knows no such connection: the %s rebooted or lost the socket, as far as one capture can tell.", trigger.Kind, peer)
	if from != "" {
		v.Summary = fmt.Sprintf("The %s reaches %s and is answered there by a RST that looks like that of a host which knows no such connection. Routers lie between that capture and the %s: it rebooted or lost the socket, or something beyond %s answers for it.", trigger.Kind, from, peer, from)
	}
	v.Unknown = append(v.Unknown, "whether the "+peer+" itself sent that RST: needs a capture there")
	next := nextCapture(other(rst.From))
	var gone []Reason
	if silence < time.Minute {
		gone = because(fmt.Sprintf("few systems give up within the %s of silence", facts.Compact(silence)), trigger.Refs...)
	}
	a.Hypotheses = []Hypothesis{
		{Verdict: PeerLostState, For: because("the RST has the shape of a host without the socket", rst.Refs...), Next: next},
		{Verdict: NATRebind, For: because(fmt.Sprintf("a NAT that gave the flow another port makes the peer answer like this, and %s of silence lies before", facts.Compact(silence)), refs...), Next: next},
		{Verdict: "peer-lost-state (another backend)", For: because("behind a balancer, another backend knows no such connection", refs...), Next: next},
		{Verdict: SilentDrop, For: because("a peer that gave up earlier, its RST lost, answers like this", refs...), Against: gone, Next: next},
	}
	return a
}
