package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

// bracket works out what the connection says of the path's idle limit: the
// longest silence it survived, and the one that killed it. Connections after a
// FIN or with octets outstanding say nothing of it.
func bracket(s *Subject, v *Verdict) IdleBracket {
	b := IdleBracket{Direction: "unknown", RefreshedBy: "unknown"}
	limit := len(s.Passages)
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind == flows.FIN || p.Kind == flows.RST || v.FirstLost.Ord != 0 && p.First() == v.FirstLost {
			limit = i
			break
		}
	}
	byProbes := time.Duration(0)
	for _, q := range survivedSilences(s, limit) {
		if q.length > b.Survived {
			b.Survived, b.SurvivedRef = q.length, q.at
		}
	}
	for i := range limit {
		if p := &s.Passages[i]; p.Kind == flows.KeepaliveProbe && p.Event.Run != nil {
			byProbes = max(byProbes, p.Until.Sub(p.At))
		}
	}
	if forgotten(v) {
		if v.Silence > b.Survived && v.Silence >= time.Second && v.Cause != "state-lost" && v.Confidence != Possible {
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
	if b.Killed > 0 && byProbes > b.Killed {
		b.RefreshedBy = "any"
	}
	if b.Survived < time.Second {
		b.Survived, b.SurvivedRef = 0, pairing.Ref{}
	}
	return b
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

func (p *Path) join(b *IdleBracket) {
	if b.Survived > p.Limit.Survived {
		p.Limit.Survived, p.Limit.SurvivedRef = b.Survived, b.SurvivedRef
	}
	if b.Killed > 0 && (p.Limit.Killed == 0 || b.Killed < p.Limit.Killed) {
		p.Limit.Killed, p.Limit.KilledRef, p.Limit.Direction = b.Killed, b.KilledRef, b.Direction
	}
	if b.RefreshedBy == "any" {
		p.Limit.RefreshedBy = "any"
	}
}

// settle names a contradiction instead of claiming a bracket, or looks up
// which devices' defaults lie in it.
func (p *Path) settle() {
	l := &p.Limit
	if l.Killed > 0 && l.Survived >= l.Killed {
		p.Note = fmt.Sprintf("contradiction: a silence of %s was survived by one connection while %s killed another; the device may have learned a flow anew, lost its state, or there are several devices: no limit is claimed",
			facts.Compact(l.Survived), facts.Compact(l.Killed))
		l.Killed = 0
		return
	}
	p.Fits = fitsOf(*l)
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
