package analyzer

import (
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// nothingMeasured is what a connection says of idle limits that says nothing of them.
func nothingMeasured() IdleBracket { return IdleBracket{Direction: "unknown", RefreshedBy: "unknown"} }

// bracket works out what the connection says of the path's idle limit: the
// longest silence it survived, and the one that killed it. Connections after a
// FIN or with octets outstanding say nothing of it.
func bracket(s *Subject, v *Verdict) IdleBracket {
	b := nothingMeasured()
	limit := len(s.Passages)
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind == flows.FIN || p.Kind == flows.RST || v.FirstLost.Ord != 0 && (p.First() == v.FirstLost || p.Strayed) {
			limit = i
			break
		}
	}
	byProbes := time.Duration(0)
	for _, q := range survivedSilences(s, limit) {
		if q.length > b.Survived {
			b.Survived, b.SurvivedRef = q.length, q.at
		}
		b.SurvivedBy[q.sender] = max(b.SurvivedBy[q.sender], q.length)
	}
	for _, o := range s.stretches() {
		if _, silence, ok := s.relearnt(&o); ok && silence > b.Survived {
			b.SurvivedRelearned = max(b.SurvivedRelearned, silence)
		}
	}
	for i := range limit {
		if p := &s.Passages[i]; p.Kind == flows.KeepaliveProbe && p.Event.Run != nil {
			byProbes = max(byProbes, p.Until.Sub(p.At))
		}
	}
	if forgotten(v) {
		if v.Silence > b.Survived && v.Silence >= time.Second && v.Cause != "state-lost" && v.Confidence != Possible && v.CauseConfidence != Possible {
			b.Killed, b.KilledRef = v.Silence, v.FirstLost
			for i := range s.Passages {
				if p := &s.Passages[i]; p.First() == v.FirstLost {
					b.Direction = sideName(p.From)
					if v.ID == ForgedReset {
						b.Direction = sideName(other(p.From)) // of what it answers
					}
				}
			}
		}
	}
	if u := v.payload; u != nil {
		b.Survived, b.Killed, b.KilledRef, b.RefreshedBy = u.survived, u.age, v.FirstLost, "payload"
		return b
	}
	if b.Killed > 0 {
		s.keepToDirection(&b, limit)
		b.Unsettled = s.unsettledAt(v.FirstLost)
	}
	if b.Killed > 0 && byProbes > b.Killed {
		b.RefreshedBy = "any"
	}
	if b.Survived < time.Second {
		b.Survived, b.SurvivedRef = 0, pairing.Ref{}
	}
	return b
}

// keepToDirection leaves out of a bracket the silences that the other end ended
// than the one whose packets were lost after the one that killed: a device that
// has forgotten a connection may learn it anew from that end, and what was
// survived so is no limit. Where packets of both ends were lost it learns from
// neither.
func (s *Subject) keepToDirection(b *IdleBracket, limit int) {
	var lost [2]bool
	for i := limit; i < len(s.Passages); i++ {
		if p := &s.Passages[i]; p.From <= flows.Server && p.Known && p.How == pairing.Lost {
			lost[p.From] = true
		}
	}
	b.BothDied = lost[flows.Client] && lost[flows.Server]
	side := sideNamed(b.Direction)
	if b.BothDied || side > flows.Server || b.Survived <= b.SurvivedBy[side] {
		return
	}
	b.SurvivedRelearned = max(b.SurvivedRelearned, b.Survived)
	b.Survived, b.SurvivedRef = 0, pairing.Ref{}
	for _, q := range survivedSilences(s, limit) {
		if q.sender == side && q.length > b.Survived {
			b.Survived, b.SurvivedRef = q.length, q.at
		}
	}
}

// unsettledAt says what was still open when the silence before a frame began:
// devices use shorter timers for connections that wait for something. It
// returns "" where nothing is known to have been.
func (s *Subject) unsettledAt(first pairing.Ref) string {
	var sent, acked [2]tcp.Seq
	var known, heard [2]bool
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.First() == first {
			break
		}
		if p.From > flows.Server || p.Kind == flows.ICMPError || p.Kind == flows.KeepaliveProbe && p.Event.Run == nil || p.Known && p.How == pairing.Lost {
			continue
		}
		if p.Kind == flows.FIN {
			return "a FIN had been sent"
		}
		from, ack := p.From, p.Event.Ack
		if r := p.Event.Run; r != nil {
			from, ack = r.LastFrom, r.Ack
			known = [2]bool{} // of what it holds only the last is known
		} else if end := p.Event.Seq.Add(int(p.Event.Len)); p.Event.Len > 0 && (!known[from] || end.After(sent[from])) {
			sent[from], known[from] = end, true
		}
		if p.Event.Flags.Has(tcp.ACK) && (!heard[1-from] || ack.After(acked[1-from])) {
			acked[1-from], heard[1-from] = ack, true
		}
	}
	for side := uint8(0); side < 2; side++ {
		if known[side] && heard[side] && acked[side].Before(sent[side]) {
			return "octets of the " + sideName(side) + " were not acknowledged"
		}
	}
	return ""
}

// forgotten reports whether a verdict can mean that something between the ends
// forgot a silent connection, whatever it did then.
func forgotten(v *Verdict) bool {
	return v.ID == SilentDrop || v.ID == OneWayDrop || v.Cause == "idle-expiry"
}

// pathOf names the path of a connection: its vantage points, or its hosts
// where one capture saw it.
func pathOf(s *Subject) [2]string {
	if len(s.Path) >= 2 {
		return [2]string{s.Points[s.Path[0]].Name, s.Points[s.Path[len(s.Path)-1]].Name}
	}
	return [2]string{s.flow.Sides[flows.Client].Addr.Addr().String(), s.flow.Sides[flows.Server].Addr.Addr().String()}
}

// mostFits is how many devices stand for all that fit.
const mostFits = 8

func fitsOf(l IdleBracket, ports ...int) []Fit {
	if l.Killed == 0 {
		return nil
	}
	var out []Fit
	rows := facts.TimeoutsBetween(l.Survived, l.Killed, ports...)
	stand := facts.Spread(rows, mostFits)
	for i, t := range rows {
		f := Fit{Device: t.Label(), Seconds: int(t.Idle / time.Second), Stands: slices.Contains(stand, i)}
		if len(t.Sources) > 0 {
			f.Source = t.Sources[0].Title
		}
		out = append(out, f)
	}
	return out
}
