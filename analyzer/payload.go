package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/tcp"
)

// Proxies, and some balancers, count payload alone: a keepalive, which has none or
// repeats an octet, does not refresh their timer. To these the silence that counts is
// the one since the last payload.

// unpaid is how long a connection had carried no payload when it died.
type unpaid struct {
	age      time.Duration // at the first loss
	survived time.Duration // the longest at which anything crossed before
	last     tcp.Instant   // when something crossed last, on Base's clock
	lost     tcp.Instant   // when something was lost first
	begun    bool          // the payload, or the handshake, from which it counts was seen
	probed   bool          // keepalives crossed since
}

// open reports whether a timer that counts payload alone may have run out: keepalives
// alone show that the path worked since the last payload, and none crossed so long
// after payload before.
func (u *unpaid) open() bool { return u.probed && u.age > u.survived }

// unpaidAt returns how long no payload had crossed at passage limit, the first that was
// lost; behind the last passage none was.
func (s *Subject) unpaidAt(limit int) (u unpaid) {
	var paid tcp.Instant
	for i := range limit {
		p := &s.Passages[i]
		if p.From > flows.Server || p.Kind == flows.ICMPError || p.Kind == flows.RST {
			continue
		}
		if paid == 0 {
			paid = p.At
		}
		probe := p.Kind == flows.KeepaliveProbe || p.Kind == flows.KeepaliveACK
		pays := !probe && (p.Event.Len > 0 || p.Event.Run != nil && p.Event.Run.Octets[0]+p.Event.Run.Octets[1] > 0)
		if !passed(s, i) && p.Kind != flows.SYN && p.Kind != flows.SYNACK {
			continue
		}
		end := max(p.At, p.Until)
		u.last = max(u.last, end)
		switch {
		case pays, p.Kind == flows.SYN, p.Kind == flows.SYNACK:
			u.survived = max(u.survived, p.At.Sub(paid))
			paid, u.begun, u.probed = end, true, false
		case probe:
			u.survived, u.probed = max(u.survived, end.Sub(paid)), true
		}
	}
	if limit < len(s.Passages) {
		u.lost = s.Passages[limit].At
		u.age = u.lost.Sub(paid)
	}
	return u
}

// diedUnpaid returns how long a connection had carried no payload when it died, as far as its
// captures show that it did.
func (s *Subject) diedUnpaid() (unpaid, bool) {
	if o, ok := findOnset(s); ok && o.last >= 0 {
		return s.unpaidAt(o.first), true
	}
	if t, ok := findTail(s); ok && !t.within {
		return s.unpaidAt(t.first), true
	}
	return unpaid{}, false
}

// weighed is what other connections tell of a timer that counts payload alone.
type weighed struct {
	alike    int  // so many died at the same age of their last payload, at other moments
	excluded bool // they show that there is none
}

// timedByPayload weighs a timer that counts payload alone against a table that was lost,
// for a connection that died after a silence as long as one that was survived: by what
// other connections between the hosts, to the same server, show.
//
// Where several die at one age of their last payload, and not at one moment, it is such
// a timer. Where they die at ages that no one timer explains, or one lives at a greater
// age, it is none.
func (s *Subject) timedByPayload(u *unpaid) (w weighed) {
	lower, upper := u.survived, u.age
	lived, died := u.last, u.lost
	n := 0
	for o := range s.kin {
		if n++; n > maxControls {
			break
		}
		if o.flow.Sides[flows.Server].Addr != s.flow.Sides[flows.Server].Addr {
			continue
		}
		its, dead := o.diedUnpaid()
		if !dead {
			its = o.unpaidAt(len(o.Passages))
		}
		lower = max(lower, its.survived)
		if !dead || !its.open() {
			continue
		}
		c := clockwork(s.Clocks)
		w.alike++
		upper = min(upper, its.age)
		lived, died = max(lived, c.to(s.Base, o.Base, its.last)), min(died, c.to(s.Base, o.Base, its.lost))
	}
	if w.excluded = lower >= upper; w.excluded || lived <= died { // at one moment
		w.alike = 0
	}
	return w
}

// payloadTimer adds to a verdict that blames lost state, because as long a silence was
// survived before, what a timer that counts payload alone has to do with it. Tables are
// lost more often than such timers run out without a FIN or a RST, so that stays likely.
func (s *Subject) payloadTimer(v *Verdict, limit int) {
	u := s.unpaidAt(limit)
	if v.Cause != "state-lost" || !u.open() {
		return
	}
	age := u.words()
	switch w := s.timedByPayload(&u); {
	case w.excluded:
	case w.alike > 0 && u.begun:
		v.Cause, v.CauseConfidence = "idle-expiry", Possible
		if w.alike > 1 && v.Confidence != Possible {
			v.CauseConfidence, v.payload = Likely, &u
		}
		v.CauseWhy = fmt.Sprintf("%s, as for %s that died at another moment: a timer that counts payload alone, which keepalives do not refresh, and a heartbeat of the application does", age, plural(w.alike, "other connection"))
	default:
		v.CauseWhy += "; keepalives alone ended such silences, and " + age + ": a timer that counts payload only is not excluded"
		v.Unknown = append(v.Unknown, "whether a timer that counts payload alone ran out: "+age)
	}
}

// words says how long no payload had crossed.
func (u *unpaid) words() string {
	if !u.begun {
		return "no payload is in the captures"
	}
	return "no payload had crossed for " + facts.Compact(u.age)
}

// unlessPayload says how long no payload had crossed at passage limit, the first that was
// lost, where a timer that counts payload alone may have run out then; "" where not.
func (s *Subject) unlessPayload(limit int) string {
	u := s.unpaidAt(limit)
	if !u.open() {
		return ""
	}
	if s.timedByPayload(&u).excluded {
		return ""
	}
	return u.words()
}
