package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
)

// remedies computes what to set so that the connection would have lived, and
// the lines for the systems seen; the numbers behind them go into d.Advice.
func remedies(s *Subject, d *Diagnosis) []Remedy {
	switch {
	case d.Verdict.ID == IdleClose:
		return closersOf(s, d)
	case !forgotten(&d.Verdict) || d.Idle.Killed == 0:
		return nil
	}
	port := int(s.flow.Sides[flows.Server].Addr.Port())
	rtt := s.flow.Sides[flows.Client].RTT.Max
	safe, likely := facts.Advise(d.Idle.Survived, d.Idle.Killed, rtt, port)
	a := advice{s: s, d: d, port: port}
	switch {
	case safe.OK && likely.OK:
		d.Advice = fmt.Sprintf("%s; %s, so %d s is likely safe too", safe.Why, likely.Why, int(likely.Idle/time.Second))
	case safe.OK:
		d.Advice = safe.Why
	case likely.OK:
		safe, d.Advice = likely, likely.Why+"; no shorter silence was seen to pass, so this is likely, not proven, to be safe"
	default:
		d.Advice = safe.Why + "; " + likely.Why + "; or keep silences well below " + facts.Compact(d.Idle.Killed)
		a.values = facts.Values{Port: port, TNew: longEnough(d.Idle.Killed)}
		a.device()
		return a.out
	}
	a.values = facts.Values{Idle: safe.Idle, Interval: safe.Interval, Count: safe.Count, Port: port, TNew: longEnough(d.Idle.Killed)}
	if d.Idle.RefreshedBy == "payload" {
		a.heartbeat()
		return a.out
	}
	a.application()
	a.hosts()
	if len(a.out) == 0 {
		a.out = append(a.out, Remedy{System: "either end", Where: "client",
			Lines: []string{fmt.Sprintf("keepalive idle %d s, interval %d s, count %d", int(safe.Idle/time.Second), int(safe.Interval/time.Second), safe.Count)}})
	}
	d.Caveats = []string{"what runs keeps its old values until its timer fires next: reconnect after the change", eager(safe)}
	a.device()
	return a.out
}

// rfcMinimum is the least that RFC 5382 (REQ-5) allows a NAT.
const rfcMinimum = 7440 * time.Second

// longEnough is a timeout for a device that killed a silence: twice that, at
// least what RFC 5382 asks for.
func longEnough(killed time.Duration) time.Duration {
	return max(rfcMinimum, (2 * killed).Round(time.Minute))
}

// eager says how long an outage the advised policy sits out, since keepalives
// that give up sooner end sessions through a glitch.
func eager(a facts.Advice) string {
	sure, _ := facts.Plan{Idle: a.Idle, Interval: a.Interval, Count: a.Count}.Outages()
	return fmt.Sprintf("an outage of up to %s is sat out; a smaller count or interval would end the session through a glitch", facts.Compact(sure))
}

// advice collects remedies.
type advice struct {
	s      *Subject
	d      *Diagnosis
	port   int
	values facts.Values
	out    []Remedy
}

// add takes up a row of the table unless it cannot be set to the values.
func (a *advice) add(id, where, why string) bool {
	r, ok := facts.RemedyByID(id)
	if !ok || len(r.Unfilled(a.values)) > 0 || slices.ContainsFunc(a.out, func(m Remedy) bool { return m.System == r.Platform && m.Where == where }) {
		return false
	}
	m := Remedy{System: r.Platform, Where: where, Lines: facts.Fill(r.OneOff, a.values), Persistent: facts.Fill(r.Persistent, a.values), Why: why}
	if len(r.OneOff) == 0 {
		m.Lines, m.Persistent = m.Persistent, nil
	}
	if r.NeedsSoKeepalive {
		m.Caveats = append(m.Caveats, "does nothing for a program that never asks for keepalives (SO_KEEPALIVE)")
	}
	if strings.HasPrefix(id, "ssh-") {
		m.Caveats = append(m.Caveats, "gives up after "+facts.ProbesAndOne.Write(facts.Plan{Interval: a.values.Idle, Count: a.values.Count}, time.Second)+
			", not "+facts.Probes.Write(facts.Plan{Interval: a.values.Idle, Count: a.values.Count}, time.Second))
	}
	for _, c := range facts.Fill(r.Caveats, a.values) {
		if !strings.Contains(c, "SO_KEEPALIVE") && !strings.HasPrefix(c, "Gives up") {
			m.Caveats = append(m.Caveats, strings.TrimSuffix(c, "."))
		}
	}
	a.out = append(a.out, m)
	return true
}

// programs are the remedies of applications, by what the application is.
var programs = map[string][]struct{ id, where string }{
	"ssh":        {{"ssh-client", "client"}, {"ssh-server", "server"}},
	"postgresql": {{"postgresql", "application"}},
	"mysql":      {{"mysql", "application"}},
	"redis":      {{"redis", "application"}},
	"oracle":     {{"oracle", "application"}},
	"mssql":      {{"sqlserver", "application"}},
}

// application adds what the application itself can be told.
func (a *advice) application() {
	why := ""
	if a.d.AppHint {
		why = "if it is " + a.d.Application + ", as its port says"
	}
	for _, p := range programs[a.d.Application] {
		a.add(p.id, p.where, why)
	}
}

// heartbeat adds what sends payload of its own: keepalives of TCP do not refresh a timer
// that counts payload alone.
func (a *advice) heartbeat() {
	if a.d.Application == "ssh" {
		a.application()
	} else {
		a.out = append(a.out, Remedy{System: "the application", Where: "application", Why: "keepalives of TCP carry no payload, and do not refresh this timer",
			Lines: []string{fmt.Sprintf("a heartbeat of the application's own every %d s", int(a.values.Idle/time.Second))}})
	}
	a.device()
}

// hosts adds the systems that the ends look like. One of the two is enough
// to keep the path's state, so the same system is named once.
func (a *advice) hosts() {
	for side := uint8(0); side < 2; side++ {
		id := systemOf(a.s, a.d, side)
		r, ok := facts.RemedyByID(id)
		if ok && !slices.ContainsFunc(a.out, func(m Remedy) bool { return m.System == r.Platform }) {
			a.add(id, sideName(side), "")
		}
	}
}

// systemOf names the remedy for the system that an end looks like, by its
// keepalives, else by the TTL that hosts give their packets; "" unknown.
func systemOf(s *Subject, d *Diagnosis, side uint8) string {
	for _, p := range d.Policies {
		if p.End != side {
			continue
		}
		for _, name := range p.Resembles {
			if id := facts.SystemRemedy(name); id != "" {
				return id
			}
		}
	}
	e := &s.nearest(side).Sides[side]
	switch {
	case e.Timestamps && e.TTL > 32 && e.TTL <= 64:
		return "linux-sysctl"
	case e.TTL > 64 && e.TTL <= 128:
		return "windows-registry"
	}
	return ""
}

// mostDevices is how many different devices may fit before naming the lines
// of each would be guessing.
const mostDevices = 3

// device adds what to change between the ends.
func (a *advice) device() {
	rows := facts.TimeoutsBetween(a.d.Idle.Survived, a.d.Idle.Killed, a.port)
	var named []string
	for _, t := range rows {
		if len(t.Remedies) > 0 && t.Common && !slices.Contains(named, t.Remedies[0]) {
			named = append(named, t.Remedies[0])
		}
	}
	if len(rows) <= 2*mostDevices && len(named) <= mostDevices {
		for _, id := range named {
			a.add(id, "device between", "if it is one")
		}
	}
	if n := len(a.out); n == 0 || a.out[n-1].Where != "device between" {
		a.out = append(a.out, Remedy{System: "firewall or NAT", Where: "device between",
			Lines:   []string{fmt.Sprintf("idle timeout of established TCP connections: at least %d s", int(a.values.TNew/time.Second))},
			Caveats: []string{"RFC 5382 asks NATs for at least 7440 s (2 h 4 min); kaflow facts remedies mb- lists the lines of many devices"}})
	}
}

// closersOf lists the settings with which an end closes idle connections.
func closersOf(s *Subject, d *Diagnosis) []Remedy {
	port := int(s.flow.Sides[flows.Server].Addr.Port())
	var out []Remedy
	for side := uint8(0); side < 2; side++ {
		if e := d.Endings[side]; e != flows.EndFIN && e != flows.EndRST {
			continue
		}
		for _, c := range facts.ClosersFor(port, sideName(side), d.Verdict.Silence) {
			m := Remedy{System: c.Name, Where: sideName(side), Lines: c.Change, Why: "if this is what closes it"}
			if c.Notes != "" {
				m.Caveats = []string{c.Notes}
			}
			out = append(out, m)
		}
	}
	return out
}
