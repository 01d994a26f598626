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
	switch v.ID {
	case SilentDrop, OneWayDrop:
		if v.Silence > b.Survived && v.Silence >= time.Second && v.Cause != "state-lost" && v.Confidence != Possible {
			b.Killed, b.KilledRef = v.Silence, v.FirstLost
			for i := range s.Passages {
				if s.Passages[i].First() == v.FirstLost {
					b.Direction = sideName(s.Passages[i].From)
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

// remedies computes what to set so that the connection would have lived, and
// the lines for the systems seen; the numbers behind them go into d.Advice.
func remedies(s *Subject, d *Diagnosis) []Remedy {
	switch d.Verdict.ID {
	case SilentDrop, OneWayDrop:
	default:
		return nil
	}
	if d.Idle.Killed == 0 {
		return nil
	}
	port := int(s.flow.Sides[flows.Server].Addr.Port())
	rtt := s.flow.Sides[flows.Client].RTT.Max
	safe, likely := facts.Advise(d.Idle.Survived, d.Idle.Killed, rtt, port)
	chosen, why := safe, safe.Why
	switch {
	case safe.OK && likely.OK:
		why = fmt.Sprintf("%s; %s, so %d s is likely safe too", safe.Why, likely.Why, int(likely.Idle/time.Second))
	case safe.OK:
	case likely.OK:
		chosen, why = likely, likely.Why+"; no shorter silence was seen to pass, so this is likely, not proven, to be safe"
	default:
		return []Remedy{{System: "the path", Where: "device between", Why: safe.Why + "; " + likely.Why + ": raise the idle timeout of the device between, or keep silences well below " + facts.Compact(d.Idle.Killed)}}
	}
	v := facts.Values{Idle: chosen.Idle, Interval: chosen.Interval, Count: chosen.Count, Port: port}
	var out []Remedy
	add := func(id, where string) {
		r, ok := facts.RemedyByID(id)
		if !ok || len(r.Unfilled(v)) > 0 && id != "mb-linux-conntrack-time" {
			return
		}
		lines := r.Persistent
		if len(r.OneOff) > 0 {
			lines = r.OneOff
		}
		out = append(out, Remedy{System: r.Platform, Where: where, Lines: facts.Fill(lines, v)})
	}
	d.Advice = why
	if d.Application == "ssh" {
		add("ssh-client", "client")
	}
	for side := uint8(0); side < 2; side++ {
		if looksLinux(s, d, side) {
			add("linux-sysctl", sideName(side))
			break
		}
	}
	if len(out) == 0 {
		out = append(out, Remedy{System: "either end", Where: "client",
			Lines: []string{fmt.Sprintf("keepalive idle %d s, interval %d s, count %d", int(chosen.Idle/time.Second), int(chosen.Interval/time.Second), chosen.Count)}})
	}
	return out
}

// looksLinux reports whether an end's keepalives or initial TTL speak for a
// Linux host.
func looksLinux(s *Subject, d *Diagnosis, side uint8) bool {
	for _, p := range d.Policies {
		if p.End != side {
			continue
		}
		for _, name := range p.Resembles {
			if name == "Linux" {
				return true
			}
		}
	}
	f := s.nearest(side)
	e := &f.Sides[side]
	return e.Timestamps && e.TTL > 32 && e.TTL <= 64
}
