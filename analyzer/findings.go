package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

// FindingRule tells something that was noticed beside what a verdict rests on:
// data and a pure function of the connection and its diagnosis so far.
type FindingRule struct {
	ID  string // of its findings; more ids where it tells several apart
	Doc string // what it detects and why that matters
	Ask func(*Subject, *Diagnosis) []Finding
}

// findingRules in the order in which reports show them.
var findingRules = [...]FindingRule{
	{"packet-loss", "Segments were lost, and the connection went on: no idle timer does that.", packetLoss},
	{"transient-outage", "Nothing crossed for a while, then all did: it repaired itself, and a keepalive policy must sit such outages out.", transientOutage},
	{"state-relearned", "After a silence one side's segments were lost until the other side spoke: an expired timer that the inside renews.", stateRelearned},
	{"rst-attribution", "Who may have sent the RST that ended the connection, as a table of scores: a host without the socket, an end that gave up, an application, a device between.", attributed},
	{"late-rst", "A side that had given up answers a later packet with a RST: the death was earlier.", lateReset},
	{"host-suspended", "A host's clock of timestamps lacks time that its peer's does not: it slept, and neither path nor peer is to blame.", hostSuspended},
	{"own-silence", "A host's own keepalives were due and are missing from the capture taken on it: its link was down, it slept, or the capture paused.", ownSilence},
	{"device-probes", "Probes that a device sends in a host's name are not that host's policy and prove nothing of it.", deviceProbes},
	{"keepalive-too-eager", "An end gave up although its connection crossed again within a minute: a glitch ends such sessions.", keepaliveTooEager},
	{"keepalive-too-slow", "The keepalives seen, or their absence (no-keepalive), against the silence that killed.", tooSlow},
	{"nat", "What a box between does to addresses and numbers (seq-shift), or that it ends the connection (proxy).", rewritten},
	{"sack-not-shifted", "SACK edges that no octet of the connection has: a firewall rewrites sequence numbers and forgets these. Senders ignore them, and losses cost a timeout each.", foreignEdges},
	{"capture-quality", "What the captures lack: nothing is concluded from absence there.", captureQuality},
}

// findings are what else was noticed, beside what the verdict rests on.
func findings(s *Subject, d *Diagnosis) []Finding {
	var out []Finding
	for i := range findingRules {
		out = append(out, findingRules[i].Ask(s, d)...)
	}
	return out
}

// captureQuality says what the captures of the connection lack.
func captureQuality(s *Subject, _ *Diagnosis) []Finding {
	var out []Finding
	if s.flow.Split {
		out = append(out, Finding{Rule: "capture-quality", Says: "two connections have these addresses and ports, on different VLANs or in different tunnels and with unrelated sequence numbers",
			Suggests: "overlapping networks on one mirror port: they are told apart"})
	}
	for i := range s.Seen {
		name, n := s.Points[s.Seen[i].Vantage].Name, 0
		for _, h := range s.Seen[i].Flow.Missing {
			switch h.Why {
			case capture.WhyUnseen:
			case capture.WhyLimit: // the verdict says so
				continue
			default:
				n++
				continue
			}
			out = append(out, Finding{Rule: "capture-quality", Says: fmt.Sprintf("%s recorded nothing of these hosts for %s, though another capture shows that they went on exchanging packets past it", name, facts.Compact(h.To.Sub(h.From))),
				Suggests: "it stood still: nothing is concluded from absence there"})
		}
		if n > 0 {
			out = append(out, Finding{Rule: "capture-quality", Says: fmt.Sprintf("%s misses frames of this connection at %d moments", name, n),
				Suggests: "nothing is concluded from absence there"})
		}
	}
	return out
}

// rewritten says what a box between the vantage points does to the connection's
// addresses and numbers, and where that leaves it unrecognised.
func rewritten(s *Subject, _ *Diagnosis) []Finding {
	var out []Finding
	for i := 1; i < len(s.Seen); i++ {
		a, b := &s.Seen[i-1], &s.Seen[i]
		between := "between " + s.Points[a.Vantage].Name + " and " + s.Points[b.Vantage].Name
		if a.Flow.Sides[0].Addr != b.Flow.Sides[0].Addr || a.Flow.Sides[1].Addr != b.Flow.Sides[1].Addr {
			out = append(out, Finding{Rule: "nat", Says: "addresses are translated " + between,
				Suggests: "the translator keeps state for this connection, and forgets it when idle for too long"})
		}
		if d := [2]uint32{b.Shift[0] - a.Shift[0], b.Shift[1] - a.Shift[1]}; d != [2]uint32{} {
			out = append(out, Finding{Rule: "seq-shift", Says: fmt.Sprintf("sequence numbers are rewritten %s: the client's by %+d, the server's by %+d", between, int32(d[0]), int32(d[1])),
				Suggests: "a firewall that makes initial sequence numbers random; it cannot pass on what it has no state for"})
		}
	}
	if p := s.Partner; p != nil {
		out = append(out, proxied(s, p))
	}
	if s.Halves > 0 {
		out = append(out, halved(s.Halves))
	}
	if n := len(s.Ambiguous); n > 0 {
		out = append(out, Finding{Rule: "capture-quality", Says: fmt.Sprintf("this can be any of %d connections of another capture, and nothing tells which", n),
			Suggests: "it is read from one capture alone"})
	}
	return out
}

// foreignEdges tells of SACK blocks that a box on the way did not rewrite with
// the rest.
func foreignEdges(s *Subject, _ *Diagnosis) []Finding {
	for i := range s.Seen {
		seen := &s.Seen[i]
		for side := range seen.Flow.Sides {
			f := &seen.Flow.Sides[side].ForeignSACK
			if f.Count < 2 {
				continue
			}
			out := Finding{Rule: "sack-not-shifted",
				Says:     fmt.Sprintf("%d segments of the %s acknowledge by SACK what the %s never sent, by %+d octets beside their acknowledgment", f.Count, sideName(uint8(side)), sideName(other(uint8(side))), int32(f.Off)),
				Suggests: "a firewall rewrites sequence numbers and leaves SACK edges as they are: turn that rewriting off, or SACK (Cisco ASA: set connection random-sequence-number disable)",
				Evidence: []pairing.Ref{s.ref(seen, f.Ord, flows.DupACK, f.At)}}
			for j := range s.Seen {
				if d := s.Seen[j].Shift[1-side] - seen.Shift[1-side]; d != 0 && near(uint32(f.Off)-d) {
					out.Says += fmt.Sprintf("; that is the shift of the %s's numbers towards %s", sideName(other(uint8(side))), s.Points[s.Seen[j].Vantage].Name)
					break
				}
			}
			return []Finding{out}
		}
	}
	return nil
}

// near reports whether a distance of sequence numbers is one within a window.
func near(d uint32) bool { return int32(d) > -1<<26 && int32(d) < 1<<26 }

// proxied says that a proxy ends the connection, and which other one it opened
// or was asked by.
func proxied(s *Subject, p *pairing.Partner) Finding {
	here, there := s.Points[s.Seen[0].Vantage].Name, s.Points[p.Vantage].Name
	f := Finding{Rule: "proxy", Suggests: "each side has its own keepalive, and no packet of one is a packet of the other: nothing is said to be lost between",
		Evidence: []pairing.Ref{
			s.ref(&s.Seen[0], s.flow.FirstOrd, flows.SYN, s.flow.First),
			refAt(s.Points, p.Vantage, p.Flow.FirstOrd, flows.SYN, p.Flow.First),
		}}
	if p.Transparent {
		f.Says = fmt.Sprintf("a proxy between %s and %s ends this connection and opens another with the same addresses: timestamps and numbers are those of two", here, there)
		return f
	}
	alike := "carries as many octets each way at the same time"
	switch p.By {
	case "payload":
		alike = "carries the same octets in packets of its own"
	case "timing":
		alike = "sends at the same moments, from either end"
	}
	f.Says = fmt.Sprintf("a proxy between %s and %s ends this connection, it seems: another one in %s %s (%.2f, %.2f over the next likely)", here, there, there, alike, p.Score, p.Margin)
	return f
}

// halved says that a proxy may end the connection and that nothing tells which
// other one it opened.
func halved(n int) Finding {
	says := fmt.Sprintf("if a proxy ends this connection, any of %d in another capture can be the one behind it, and nothing tells which", n)
	if n == 1 {
		says = "if a proxy ends this connection, one in another capture can be the one behind it, but it can as well belong to others"
	}
	return Finding{Rule: "proxy", Says: says, Suggests: "it is read from one capture alone"}
}

// packetLoss reports single losses that the flow got over, but for those of an outage.
func packetLoss(s *Subject, d *Diagnosis) []Finding {
	if d.Verdict.ID != Healthy && d.Verdict.ID != ClosedNormally && d.Verdict.ID != Idle {
		return nil
	}
	var refs []pairing.Ref
	naps, outages := s.naps(), s.outages(d)
	for i := range s.Passages {
		if slices.ContainsFunc(outages, func(o stretch) bool { return slices.Contains(o.lost, i) }) {
			continue
		}
		if p := &s.Passages[i]; p.Known && p.How == pairing.Lost && !p.Assumed && p.Kind != flows.RST { // which nothing goes on behind
			if slices.ContainsFunc(naps, func(n nap) bool { return n.side != p.From && s.covers(&n, p.At, p.At) }) {
				continue // nobody was awake to take it
			}
			refs = append(refs, p.First())
		}
	}
	if len(refs) == 0 {
		return nil
	}
	are := "are"
	if len(refs) == 1 {
		are = "is"
	}
	return []Finding{{Rule: "packet-loss", Says: fmt.Sprintf("%s %s lost on the way, and the connection went on", plural(len(refs), "segment"), are),
		Suggests: "ordinary loss, or a short outage", Evidence: refs}}
}

// tooSlow compares the keepalives seen with the silence that killed.
func tooSlow(s *Subject, d *Diagnosis) []Finding {
	if d.Idle.Killed == 0 {
		return nil
	}
	fastest, came := time.Duration(0), time.Duration(0)
	for _, p := range d.Policies {
		if p.Idle > 0 && (fastest == 0 || p.Idle < fastest) {
			fastest, came = p.Idle, p.ObservedIdle.Min // the setting is inferred, and round; the frames have this
		}
	}
	switch {
	case len(d.Policies) == 0 && len(s.Seen) == 1:
		return []Finding{{Rule: "no-keepalive", Says: "no keepalive probe of either end was seen", Suggests: "what this capture shows refreshed no state of the path during the silence"}}
	case len(d.Policies) == 0:
		return []Finding{{Rule: "no-keepalive", Says: "neither end sent keepalive probes", Suggests: "nothing refreshed the path's state during the silence"}}
	case fastest > d.Idle.Survived:
		return []Finding{{Rule: "keepalive-too-slow", Says: fmt.Sprintf("the first probe comes after %s", facts.Compact(came)),
			Suggests: fmt.Sprintf("too late for a path that forgets a connection after less than %s", facts.Compact(d.Idle.Killed))}}
	}
	return nil
}
