package analyzer

import (
	"slices"
	"time"

	"kaflow/flows"
)

// Mechanisms of a Policy.
const (
	TCPKeepalive   = "tcp-keepalive"
	SSHServerAlive = "ssh-serveralive"
	SSHClientAlive = "ssh-clientalive"
	AppHeartbeat   = "application-heartbeat" // of an application whose heartbeats are in the clear, or unknown
)

// beats reports whether an application asks, and not its kernel.
func (p *Policy) beats() bool { return p.Mechanism != "" && p.Mechanism != TCPKeepalive }

// beatPolicyOf infers how an end's application asks its peer itself. The
// silences between its heartbeats are its interval: nothing else was said in
// them.
func beatPolicyOf(s *Subject, side uint8) (Policy, bool) {
	f := s.nearest(side)
	if f.Count(flows.Heartbeat) == 0 {
		return Policy{}, false
	}
	seen, n := beatPaces(f, side)
	if n == 0 || n < 2 && !s.isSSH() { // ssh's are told by their rhythm: two make three
		return Policy{}, false
	}
	p := Policy{End: side, Mechanism: AppHeartbeat, ObservedInterval: seen, Confidence: Likely}
	if s.isSSH() {
		p.Mechanism = SSHServerAlive
		if side == flows.Server {
			p.Mechanism = SSHClientAlive
		}
		p.IntervalCandidates = aliveIntervals(side, seen)
	} else if v := seen.Min.Round(time.Second); v > 0 && seen.Max-v <= max(aliveSlack, v/50) && v-seen.Min <= max(aliveSlack, v/50) {
		p.IntervalCandidates = []time.Duration{v}
	}
	if len(p.IntervalCandidates) == 1 {
		p.Interval = p.IntervalCandidates[0]
	}
	if b, ok := f.BeatEnd(side); ok && b.Acked {
		p.Count = waitedFor(f, &b, seen)
	}
	if p.Count > 0 && p.Interval > 0 && p.Mechanism != AppHeartbeat {
		every := p.Interval
		if !atPaces(seen.Max, []time.Duration{every}) {
			every *= 2 // sshd, now and then
		}
		p.Detection = time.Duration(p.Count+1) * every // ProbesAndOne: OpenSSH gives up where the next is due
		p.Outage = [2]time.Duration{time.Duration(p.Count) * p.Interval, p.Detection}
	}
	return p, true
}

// aliveIntervals returns the whole seconds that ssh can be set to where its
// heartbeats come so often; of a server both readings.
func aliveIntervals(side uint8, seen flows.Range) []time.Duration {
	var out []time.Duration
	for v := time.Second; v <= seen.Max+aliveSlack; v += time.Second {
		paces := paceOf(side, v)
		for i, pace := range paces {
			near := seen.Min >= pace-aliveSlack && seen.Min <= pace+aliveSlack+v/200
			if near && atPaces(seen.Max, paces[i:]) && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), 8)]
}

// period is how long a path stays silent at most while a policy works; 0
// unknown.
func (p *Policy) period() time.Duration {
	switch {
	case p.beats():
		return p.ObservedInterval.Min
	case p.ObservedPace.Known:
		return p.ObservedPace.Min
	}
	return max(p.Idle, p.Interval)
}

// nameRefresher says which of several policies of a connection keeps the state
// of the path alive: the one that asks most often. Where the state was lost all
// the same, or may have been, none did.
func nameRefresher(policies []Policy, v *Verdict) {
	best, second := -1, time.Duration(0)
	for i := range policies {
		d := policies[i].period()
		switch {
		case d == 0:
			return // which is the most frequent is not known
		case best < 0 || d < policies[best].period():
			if best >= 0 {
				second = policies[best].period()
			}
			best = i
		case second == 0 || d < second:
			second = d
		}
	}
	if len(policies) < 2 || second < policies[best].period()*5/4 {
		return
	}
	p := &policies[best]
	if p.Remark != "" {
		p.Remark += "; "
	}
	p.Remark += "it asks most often"
	if !forgotten(v) && v.ID != Undecided {
		p.Remark += ", and keeps the state of the path alive"
	}
}
