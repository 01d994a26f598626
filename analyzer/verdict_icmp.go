package analyzer

import (
	"fmt"
	"net/netip"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

// saidByICMP holds where a router, a firewall or the peer's own network said
// by an ICMP error that it does not deliver, and nothing was delivered since.
// ICMP errors are soft (RFC 5927): of a connection that lived on they tell
// nothing but a passing fault.
func saidByICMP(s *Subject) Answer {
	t, dead := findTail(s)
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Kind != flows.ICMPError || s.livesAfter(i) {
			continue
		}
		id := icmpVerdict(p.Event, s.flow)
		first := i // what it explains: the end that asked may have given up since
		if dead && t.first < i {
			first = t.first
		}
		if o, ok := findOnset(s); ok && o.first < first {
			first = o.first
		}
		if id == "" || !s.established(first) || s.endedBefore(first) {
			continue
		}
		if p.At.Sub(s.Passages[first].At) > patience {
			continue // it was dead for long when somebody began to say so
		}
		return s.icmpAnswer(id, i, first, dead)
	}
	return Answer{}
}

// patience is how long an ICMP error may come after the first segment that it
// explains: the errors are rate-limited, and neighbours are asked for seconds.
const patience = 30 * time.Second

// livesAfter reports whether the end that an ICMP error was sent to heard from
// its peer afterwards, but for a RST.
func (s *Subject) livesAfter(i int) bool {
	for j := i + 1; j < len(s.Passages); j++ {
		p := &s.Passages[j]
		if p.Kind == flows.ICMPError || p.From > flows.Server || p.Kind == flows.RST {
			continue
		}
		if passed(s, j) || p.Event.Answers != 0 {
			return true
		}
	}
	return false
}

// ICMP codes of destination unreachable, and the types that carry them.
const (
	icmpUnreachable   = 3
	icmpTimeExceeded  = 11
	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
)

// icmpVerdict returns the verdict that an ICMP error stands for, "" for none.
// An error that the peer itself sends is its host's word.
func icmpVerdict(ev *flows.Event, f *flows.Flow) string {
	typ, code := ev.Len>>8, ev.Len&0xff
	id := icmpMeaning(typ, code, ev.Source.Is6())
	if id == PathRejected && (ev.Source == hostOf(f, flows.Client) || ev.Source == hostOf(f, flows.Server)) {
		return HostDrop
	}
	return id
}

func hostOf(f *flows.Flow, side uint8) netip.Addr { return f.Sides[side].Addr.Addr() }

// icmpMeaning maps type and code to a verdict (RFC 792, RFC 1812, RFC 4443).
func icmpMeaning(typ, code uint32, six bool) string {
	switch {
	case six && typ == icmp6Unreachable:
		switch code {
		case 3:
			return PeerGone
		case 0:
			return PathCut
		case 1, 2, 4, 5, 6:
			return PathRejected
		}
	case six && typ == icmp6TimeExceeded && code == 0:
		return PathCut
	case six && typ == icmp6TooBig:
		return MTUBlackHole
	case six:
	case typ == icmpUnreachable:
		switch code {
		case 1, 7:
			return PeerGone
		case 2, 3, 9, 10, 13:
			return PathRejected
		case 0, 6:
			return PathCut
		case 4:
			return MTUBlackHole
		}
	case typ == icmpTimeExceeded && code == 0:
		return PathCut
	}
	return ""
}

// icmpAnswer words the verdict of the ICMP error of passage i; first is the
// first segment that it explains.
func (s *Subject) icmpAnswer(id string, i, first int, dead bool) Answer {
	p := &s.Passages[i]
	says := fmt.Sprintf("ICMP %d/%d", p.Event.Len>>8, p.Event.Len&0xff)
	v := &Verdict{ID: id, Confidence: Proven, At: s.Passages[first].At, FirstLost: s.Passages[first].First(), Between: [2]int{p.Refs[0].Vantage, p.Refs[0].Vantage}}
	if silence, before := s.silence(first); before >= 0 && s.alive(before) {
		v.Silence = silence
	}
	from := p.Event.Source.String()
	switch id {
	case PathRejected:
		v.Summary = fmt.Sprintf("%s rejects the connection and says so: %s (%s).", from, says, icmpWords(p.Event))
		v.Unknown = append(v.Unknown, "why "+from+" rejects it: its rules, or state that it forgot")
		s.whyRejected(v, first)
	case HostDrop:
		v.Summary = fmt.Sprintf("The packet reached the host %s, which rejects it: %s (%s), sent by that host itself.", from, says, icmpWords(p.Event))
		v.Unknown = append(v.Unknown, "why the host rejects it: its own firewall, or a service that is gone")
	case PeerGone:
		v.Summary = fmt.Sprintf("The peer's host cannot be reached at its last hop: %s says %s (%s).", from, says, icmpWords(p.Event))
		v.Unknown = append(v.Unknown, "whether the host is down, asleep or unplugged: look at it, or at its switch port")
	case PathCut:
		v.Summary = fmt.Sprintf("There is no way to the peer any more: %s says %s (%s).", from, says, icmpWords(p.Event))
	case MTUBlackHole:
		v.Summary = fmt.Sprintf("Large segments do not fit on the way: %s says %s (%s), and the sender does not get through with smaller ones.", from, says, icmpWords(p.Event))
	}
	if !dead {
		v.Confidence = Likely
		v.Unknown = append(v.Unknown, "whether it stays so: the capture ends soon after the ICMP error")
	}
	return Answer{Verdict: v, Findings: []Finding{{Rule: "icmp-error", Says: fmt.Sprintf("%s reports %s about this connection, the quoted sequence number being its own", from, says),
		Suggests: icmpWords(p.Event), Evidence: append([]pairing.Ref{s.Passages[first].First()}, p.Refs...)}}}
}

// whyRejected gives a rejection after a silence longer than any survived its
// likely cause.
func (s *Subject) whyRejected(v *Verdict, first int) {
	v.Cause, v.CauseConfidence = "unknown", ""
	if v.Silence > 0 && outlasts(v.Silence, longestSurvived(s, first)) {
		v.Cause, v.CauseConfidence = "idle-expiry", Likely
		v.CauseWhy = "it answers the first segment after a silence longer than any survived"
		v.Summary += fmt.Sprintf(" It does so right after %s of silence: most likely it forgot the connection.", facts.Compact(v.Silence))
	}
}

// icmpWords names what an ICMP error means.
func icmpWords(ev *flows.Event) string {
	typ, code := ev.Len>>8, ev.Len&0xff
	if ev.Source.Is6() {
		if typ == icmp6Unreachable && int(code) < len(icmp6Codes) {
			return icmp6Codes[code]
		}
		return map[uint32]string{icmp6TooBig: "packet too big", icmp6TimeExceeded: "hop limit exceeded"}[typ]
	}
	if typ == icmpUnreachable && int(code) < len(icmpCodes) {
		return icmpCodes[code]
	}
	return map[uint32]string{icmpTimeExceeded: "time to live exceeded"}[typ]
}

// Codes of destination unreachable (RFC 792, RFC 1812) and of its ICMPv6
// counterpart (RFC 4443).
var (
	icmpCodes = [...]string{
		"network unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed",
		"source route failed", "network unknown", "host unknown", "source host isolated", "network prohibited",
		"host prohibited", "network unreachable for this service", "host unreachable for this service", "communication prohibited by a filter",
	}
	icmp6Codes = [...]string{
		"no route to destination", "communication prohibited", "beyond scope of source address", "address unreachable",
		"port unreachable", "source address failed policy", "reject route",
	}
)
