package analyzer

import (
	"fmt"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// afterwards is how long after the first loss a sign of a fail-over still belongs
// to it: routers announce themselves when they have taken over.
const afterwards = 5 * time.Second

// takenOver looks for signs that another device took over while a connection was
// silent, or another way was taken: an address of the last hop that came to
// another network card or announced itself, or frames of the hosts that pass
// another number of routers since. What forgot the connection then need not have
// done so because it was idle.
//
// announced says that the last hop told of it. Another number of routers alone
// can be that of another connection: routes are chosen by ports, too.
func (s *Subject) takenOver(o *onset) (f Finding, announced, ok bool) {
	if o.last < 0 {
		return f, false, false
	}
	from, to := max(s.Passages[o.last].At, s.Passages[o.last].Until), o.at.Add(afterwards)
	c := clockwork(s.Clocks)
	for v := range s.Points {
		point := &s.Points[v]
		if point.Table == nil {
			continue
		}
		for _, m := range point.Table.Moves(c.to(v, s.Base, from), c.to(v, s.Base, to)) {
			says := "announces itself to all"
			if m.Changed {
				says = "comes to another hardware address"
			}
			return Finding{Rule: "path-changed", Says: fmt.Sprintf("%s %s in the silence or right after it", m.Host, says),
				Suggests: "another device took over: a fail-over loses what the old one knew", Evidence: []pairing.Ref{refAt(s.Points, v, m.Ord, flows.Unknown, m.At)}}, true, true
		}
	}
	for i := range s.Seen {
		for side := uint8(0); side < 2; side++ {
			if f, ok := s.otherDistance(&s.Seen[i], side, c.to(s.Seen[i].Vantage, s.Base, o.at)); ok {
				return f, false, true
			}
		}
	}
	return f, false, false
}

// maxKinRead is of how many other connections all segments are read.
const maxKinRead = 256

// otherDistance compares how many routers a host's frames had passed before a
// moment and since, as one vantage point saw them in all connections of the
// hosts: both must have been constant.
func (s *Subject) otherDistance(seen *pairing.Sighting, side uint8, at tcp.Instant) (f Finding, ok bool) {
	host := seen.Flow.Sides[side].Addr.Addr()
	var before, since uint8
	var first, next pairing.Ref
	steady := true
	read := func(x *pairing.Sighting) {
		for i := range x.Flow.Events {
			ev := &x.Flow.Events[i]
			if ev.From > flows.Server || ev.Kind == flows.RST || ev.Kind == flows.ICMPError || ev.Run != nil || x.Flow.Sides[ev.From].Addr.Addr() != host {
				continue
			}
			ttl, ref := &before, &first
			if ev.At >= at {
				ttl, ref = &since, &next
			}
			if *ttl == 0 {
				*ttl, *ref = ev.TTL, s.ref(x, ev.Ord, ev.Kind, ev.At)
			}
			steady = steady && *ttl == ev.TTL
		}
	}
	read(seen)
	n := 0
	for o := range s.kin {
		if n++; n > maxKinRead {
			break
		}
		for i := range o.Seen {
			if o.Seen[i].Vantage == seen.Vantage {
				read(&o.Seen[i])
			}
		}
	}
	if !steady || before == 0 || since == 0 || hops(before) == 0 || hops(before) == hops(since) {
		return f, false
	}
	return Finding{Rule: "path-changed", Says: fmt.Sprintf("the %s's frames had passed %s before and pass %s since", sideName(side), plural(hops(before), "router"), plural(hops(since), "router")),
		Suggests: "another way is taken: what stood on the old one no longer matters", Evidence: []pairing.Ref{first, next}}, true
}

// blame gives a drop its cause where another device took over meanwhile.
func (v *Verdict) blame(f *Finding, announced bool, o *onset, alive *Control) {
	switch {
	case !o.explained && v.CauseConfidence != Possible:
		v.CauseWhy += "; " + f.Says
	case !o.explained:
		v.Cause, v.CauseConfidence, v.CauseWhy = "state-lost", Likely, v.CauseWhy+"; "+f.Says
	case announced && alive != nil:
		v.Cause, v.CauseConfidence = "state-lost", Likely
		v.CauseWhy = fmt.Sprintf("%s; that the silence of %s was the longest may be chance", f.Says, facts.Compact(o.silence))
	case announced:
		v.Cause, v.CauseConfidence = "state-lost", Possible
		v.CauseWhy = f.Says + "; an idle timer, or an outage, looks the same"
	case v.CauseConfidence == Proven:
		v.CauseConfidence = Likely
		v.CauseWhy += "; but " + f.Says + ": a fail-over looks the same"
	}
}
