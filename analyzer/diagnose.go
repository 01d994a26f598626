package analyzer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Options tune Diagnose. The zero value is the default.
type Options struct {
	Tool      string       // name and version, for the report
	MaxListed int          // diagnoses in the report beyond those that ask for attention; 0 means 10,000
	Passing   bool         // all connections are listed, and only the first 10,000 diagnoses kept: Report.Rest makes the others, from the tables
	Flow      int          // this one is listed in any case; 0 none
	WhatIf    *WhatIf      // other keepalives to answer for; nil none
	Expect    *Expectation // keepalive policy to compare the ends of listed connections with; nil none
}

// Diagnose gives every connection its verdict and joins what all of them say
// of their paths. With one vantage point result may be nil: there is nothing
// to pair, and connections are then read one by one.
func Diagnose(points []pairing.Point, result *pairing.Result, o Options) *Report {
	r := &Report{Tool: o.Tool}
	if result == nil {
		result = &pairing.Result{}
	}
	r.Clocks, r.Hints = steadied(result.Clocks), slices.Clone(result.Notes)
	r.Totals.ByVerdict = map[string]int{}
	d := newDesk(points, result, r.Clocks)
	r.Vantages = vantages(points, result, d.spans)
	cases := d.cases(r)
	d.weigh(cases)
	d.expect, d.whatIf, r.WhatIf = o.Expect, o.WhatIf, o.WhatIf
	d.list(cases, r, o)
	closeTotals(points, result, r)
	if hint := nothingShared(points, result); hint != "" {
		r.Hints = slices.DeleteFunc(r.Hints, func(note string) bool { return strings.HasPrefix(hint, note) })
		r.Hints, r.Unrelated = append(r.Hints, hint), hint
	}
	return r
}

// steadied takes the clocks as equally fast, as nearly as the packets allow:
// hosts differ by parts per million, and the middle of a wide range of possible
// rates would move what lies hours beyond the last crossing by seconds.
func steadied(clocks []pairing.Clock) []pairing.Clock {
	out := slices.Clone(clocks)
	for i := range out {
		c := &out[i]
		if c.PPMMin >= c.PPMMax || c.NoMin || c.NoMax || c.Given || c.Contradiction {
			continue
		}
		for _, t := range [...]tcp.Instant{c.Since, c.Until} { // bounds are tightest near crossings both ways
			if lo, hi := c.Bounds(t); t != 0 && lo > math.MinInt64 && hi < math.MaxInt64 && hi-lo < c.Max-c.Min {
				c.At, c.Min, c.Max, c.Offset = t, lo, hi, lo+(hi-lo)/2
			}
		}
		if !c.RateByStamps() {
			c.PPM = max(c.PPMMin, min(c.PPMMax, 0))
		}
	}
	return out
}

// closeTotals adds what the tables know of flows that they no longer hold.
func closeTotals(points []pairing.Point, result *pairing.Result, r *Report) {
	closed := result.ClosedPaired + result.ClosedSingle
	if len(result.Pairs) == 0 && len(points) == 1 && points[0].Table != nil {
		closed = points[0].Table.ClosedCount()
	}
	r.Totals.Closed = closed
	r.Totals.Flows += closed
	if closed > 0 {
		r.Totals.ByVerdict[ClosedNormally] += closed
		if r.WhatIf != nil {
			r.Totals.ByWhatIf[NothingToSave] += closed
		}
	}
	for i := range points {
		if t := points[i].Table; t != nil {
			r.Totals.Evicted += t.Evicted()
			for _, limit := range t.Limits() {
				r.Limits = append(r.Limits, points[i].Name+": "+limit)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// diagnose asks the rules about one connection. What they held it against is not kept: tens of
// thousands may have died.
func (d *desk) diagnose(s *Subject) Diagnosis {
	s.others, s.find = d.others, d.find
	diag := diagnose(s, d.unasked)
	s.Controls = nil
	return diag
}

func diagnose(s *Subject, unasked map[string]Unasked) Diagnosis {
	f := s.flow
	d := Diagnosis{Pair: s.Pair, Client: f.Sides[flows.Client].Addr.String(), Server: s.nearest(flows.Server).Sides[flows.Server].Addr.String()}
	d.Application, d.Banner = application(s)
	if d.Application == "" {
		d.Application, d.AppHint = byPort(f.Sides[flows.Server].Addr.Port())
	}
	d.Endings = [2]flows.Ending{s.endingOf(flows.Client), s.endingOf(flows.Server)}
	if at := s.cut(); at >= 0 {
		d.Verdict, d.Counts, d.Idle = notKept(s, at), counts(s), nothingMeasured()
		d.Findings = captureQuality(s, &d)
		return d
	}
	s.suspect()
	a := askRules(s, unasked)
	if a.Verdict == nil {
		a = askWholeView(s)
	}
	if a.Verdict != nil {
		d.Verdict, d.Findings, d.Hypotheses = *a.Verdict, a.Findings, a.Hypotheses
		for i := range d.Hypotheses {
			d.Hypotheses[i].Run = s.captureCommands(d.Hypotheses[i].Next)
		}
	}
	if d.Verdict.ID == "" {
		d.Verdict = nothingKnown(s)
		if d.Verdict.ID == Undecided {
			d.Hypotheses = s.openReadings()
			for i := range d.Hypotheses {
				d.Hypotheses[i].Run = s.captureCommands(d.Hypotheses[i].Next)
			}
		}
	}
	soften(s, &d.Verdict)
	s.besideCut(&d.Verdict)
	d.Verdict.limitCause()
	d.Counts = counts(s)
	d.Policies = policies(s)
	d.Idle = bracket(s, &d.Verdict)
	if i := s.lastSign(); i >= 0 {
		p := &s.Passages[i]
		d.AliveUntil, d.AliveRef = max(p.At, p.Until), p.Refs[len(p.Refs)-1]
		if p.Last.Frame != 0 {
			d.AliveRef = p.Last
		}
		if lost := s.lostOf(i); lost != nil {
			d.AliveUntil, d.AliveRef = s.lastAmong(lost.From), pairing.Ref{}
		}
		if s.losesTail(i) {
			d.AliveUntil, d.AliveRef = s.heardUntil(p), pairing.Ref{}
		}
	}
	d.Findings = append(d.Findings, findings(s, &d)...)
	return d
}

// askRules returns the answer of the first rule that has a verdict, and puts down
// which ones could not be asked.
func askRules(s *Subject, unasked map[string]Unasked) Answer {
	for i := range verdictRules {
		rule := &verdictRules[i]
		a := rule.Ask(s)
		if a.Lacks != "" {
			unasked[rule.ID] = Unasked{Rule: rule.ID, Why: a.Lacks}
		}
		if a.Verdict != nil {
			return a
		}
	}
	return Answer{}
}

// askWholeView asks the rules of the one capture that holds both directions, where
// another one holds one and nothing can be said of them together.
func askWholeView(s *Subject) Answer {
	one := s.wholeView()
	if one == nil {
		return Answer{}
	}
	a := askRules(one, map[string]Unasked{})
	gaveUp := s.endingOf(flows.Client).GaveUp() || s.endingOf(flows.Server).GaveUp()
	if a.Verdict == nil || a.Verdict.ID == ClosedNormally && gaveUp { // the other one knows better
		return Answer{}
	}
	a.Verdict.At = clockwork(s.Clocks).to(s.Base, one.Base, a.Verdict.At)
	for _, x := range s.Seen {
		for side := uint8(0); side < 2; side++ {
			if s.lacksSide(x.Vantage, side) {
				a.Verdict.Unknown = append(a.Verdict.Unknown, fmt.Sprintf("what %s would show of the %s: it holds nothing that its host sends, as where one direction is captured", s.Points[x.Vantage].Name, sideName(side)))
			}
		}
	}
	return a
}

// suspect looks for a death, and where there is one reads the controls.
func (s *Subject) suspect() {
	if o, ok := findOnset(s); ok {
		s.gatherControls(s.others(hostsOf(s.Pair)), s.quietFrom(&o), s.Passages[o.first].At, o.survived)
	} else if t, ok := findTail(s); ok {
		s.gatherControls(s.others(hostsOf(s.Pair)), s.Passages[t.first].At, s.Passages[t.first].At, longestSurvived(s, t.first))
	}
}

// limitCause makes a cause no surer than what it is the cause of.
func (v *Verdict) limitCause() {
	order := [...]Confidence{Possible, Likely, Proven}
	if whole := slices.Index(order[:], v.Confidence); whole >= 0 && slices.Index(order[:], v.CauseConfidence) > whole {
		v.CauseConfidence = v.Confidence
	}
}

// nothingKnown is the verdict where no rule has one.
func nothingKnown(s *Subject) Verdict {
	v := Verdict{ID: CaptureGap, Confidence: None, At: s.flow.Last, Between: [2]int{s.Base, s.Base}}
	switch {
	case s.asksToTheEnd():
		v.Summary = "The capture ends before the SYN could be answered."
		v.Unknown = []string{"what came next: let the capture run longer"}
	case len(s.Seen) > 1 && s.onlyHalfSeen():
		v.Summary = "None of the captures holds both directions of the connection, so it cannot be said whether anything was answered."
		v.Unknown = []string{"what each capture lacks: capture on the hosts themselves, or mirror both directions"}
	case len(s.Seen) > 1 && slices.ContainsFunc(s.Seen, s.halfSeen):
		half := s.Seen[slices.IndexFunc(s.Seen, s.halfSeen)].Vantage
		v.Summary = fmt.Sprintf("%s holds one direction of the connection alone, so it cannot be said what crossed.", s.Points[half].Name)
		v.Unknown = []string{"everything about the other direction there: capture on the host itself, or mirror both directions"}
	case s.flow.Sides[0].Segments == 0 || s.flow.Sides[1].Segments == 0:
		v.Summary = "Only one direction was captured, so it cannot be said whether anything was answered."
		v.Unknown = []string{"everything about the other direction: capture on the host itself, or mirror both directions"}
	case s.repeatsInVain():
		v.ID, v.Confidence = Undecided, Possible
		v.Summary = "Data is sent again and again and not acknowledged when the capture ends."
		v.Unknown = []string{"whether it arrived, and what came next: capture at both ends, and let the captures run longer"}
	case s.gaveUpEarly(&v):
	case s.unanswered() > 0:
		v.ID, v.Confidence = Undecided, Possible
		v.Summary = "The last question got no answer before the capture ends. One missing answer proves nothing (RFC 9293, section 3.8.4)."
		v.Unknown = []string{"what came next: let the capture run longer"}
	case s.endsSoon():
		v.Summary = "The capture holds too little of this connection to say how it fared: it ends right after the last segment."
		if side, ok := s.owed(); ok {
			v.Summary = fmt.Sprintf("The capture ends before what the %s sent last could be acknowledged.", sideName(side))
		}
		v.Unknown = []string{"what came next: let the capture run longer"}
	default:
		v.Summary = "The capture holds too little of this connection to say how it fared."
	}
	return v
}

// endsSoon reports whether a capture ends so soon after the connection's last segment
// that what follows such a segment need not have come.
func (s *Subject) endsSoon() bool {
	return s.goesOn(&Passage{At: s.lastActivity()}) < answerDue
}

func application(s *Subject) (word string, banner [2]tcp.Untrusted) {
	for i := range s.Seen {
		w, b := s.Seen[i].Flow.Application()
		if word == "" {
			word = w
		}
		for side := range b {
			if banner[side] == "" {
				banner[side] = b[side]
			}
		}
	}
	return word, banner
}

// byPort is the usual application of a server port, a hint only.
func byPort(port uint16) (string, bool) {
	switch port {
	case 22:
		return "ssh", true
	case 23:
		return "telnet", true
	case 80, 8080:
		return "http", true
	case 179:
		return "bgp", true
	case 443:
		return "https", true
	case 445:
		return "smb", true
	case 1433:
		return "mssql", true
	case 1521:
		return "oracle", true
	case 1883:
		return "mqtt", true
	case 3306:
		return "mysql", true
	case 3389:
		return "rdp", true
	case 5432:
		return "postgresql", true
	case 5671, 5672:
		return "amqp", true
	case 6379:
		return "redis", true
	}
	return "", false
}

// counts sums distinct segments after pairing.
func counts(s *Subject) Counts {
	var c Counts
	for side := uint8(0); side < 2; side++ {
		n := &s.nearest(side).Sides[side]
		c.KeepaliveProbe += int(n.Probes)
		c.ZeroWindowProbe += int(n.WindowProbes)
		c.Retransmission += int(n.Retrans)
	}
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.Kind == flows.RST:
			c.RST++
		case p.Kind == flows.ICMPError:
			c.ICMP++
		}
		if p.Known && p.How == pairing.Lost {
			c.Lost += max(1, p.Count)
		}
	}
	for i := range s.Seen {
		c.KeepaliveACK = max(c.KeepaliveACK, s.Seen[i].Flow.Count(flows.KeepaliveACK))
		c.Heartbeat = max(c.Heartbeat, s.Seen[i].Flow.Count(flows.Heartbeat))
	}
	return c
}

const harmless = 20

// dangerOf ranks verdicts for the report: the worst first.
func dangerOf(verdict string, confidence Confidence) int {
	n := 0
	switch verdict {
	case SilentDrop:
	case OneWayDrop:
		n = 1
	case PathCut:
		n = 2
	case PeerLostState, HostDrop, ForgedReset, NATRebind, ProxyAnswer, PathRejected, PeerGone, MTUBlackHole, HalfOpen, AppHung, HeartbeatTimeout:
		n = 3
	case ReceiverStalled:
		n = 4
	case Undecided:
		n = 5
	case NotEstablished:
		n = 6
	case CaptureGap:
		n = 7
	case Idle, IdleClose:
		return harmless
	case Healthy:
		return harmless + 1
	default:
		return harmless + 2
	}
	if confidence != Proven {
		n += 8
	}
	return n
}

// filters are display filters to paste into Wireshark: what proves the verdict, from what
// crossed last on.
func filters(s *Subject, d *Diagnosis) []Filter {
	var out []Filter
	proof := proofRefs(d)
	if p := s.passageAt(d.Verdict.LastCrossed.Vantage, d.Verdict.LastCrossed.Ord); p != nil {
		proof = append(proof, p.Refs...)
	}
	for i := range s.Seen {
		seen := &s.Seen[i]
		lo, hi := uint64(0), uint64(0)
		file := -1
		for _, ref := range proof {
			if ref.Vantage != seen.Vantage || ref.Frame == 0 || file >= 0 && ref.File != file {
				continue
			}
			file = ref.File
			if lo == 0 || ref.Frame < lo {
				lo = ref.Frame
			}
			hi = max(hi, ref.Frame)
		}
		expr := fmt.Sprintf("tcp.stream eq %d", seen.Flow.Stream)
		if hi > lo {
			expr += fmt.Sprintf(" && frame.number in {%d..%d}", lo, hi)
		}
		if len(s.Points[seen.Vantage].Files) > 1 {
			expr = addressFilter(seen.Flow)
		}
		out = append(out, Filter{Vantage: seen.Vantage, Expr: expr})
	}
	return out
}

// addressFilter names a flow where stream numbers do not reach across files.
func addressFilter(f *flows.Flow) string {
	a, b := f.Sides[0].Addr, f.Sides[1].Addr
	field := "ip"
	if a.Addr().Is6() {
		field = "ipv6"
	}
	return fmt.Sprintf("%s.addr eq %s && %s.addr eq %s && tcp.port eq %d && tcp.port eq %d", field, a.Addr(), field, b.Addr(), a.Port(), b.Port())
}

func proofRefs(d *Diagnosis) []pairing.Ref {
	refs := []pairing.Ref{d.Verdict.LastCrossed, d.Verdict.FirstLost}
	for _, f := range d.Findings {
		refs = append(refs, f.Evidence...)
	}
	for i := range d.Timeline {
		if row := &d.Timeline[i]; row.FateKnown && row.Fate == pairing.Lost {
			for _, c := range row.Cells {
				refs = append(refs, c.Ref)
			}
		}
	}
	return refs
}

// vantages describes the vantage points and whose side each is, as far as the
// pairs tell.
func vantages(points []pairing.Point, result *pairing.Result, spans []span) []Vantage {
	out := make([]Vantage, len(points))
	for i, p := range points {
		out[i] = Vantage{Name: p.Name, Files: p.Files, First: spans[i].first, Last: spans[i].last}
	}
	for _, pair := range result.Pairs {
		if len(pair.Path) < 2 || len(pair.Seen) < 2 || pair.SamePoint {
			continue
		}
		first, last := pair.Path[0], pair.Path[len(pair.Path)-1]
		if out[first].Role == "" {
			out[first].Role, out[first].RoleWhy = "client side", pair.OrderWhy
		}
		if out[last].Role == "" {
			out[last].Role, out[last].RoleWhy = "server side", pair.OrderWhy
		}
		break
	}
	return out
}

// nothingShared is the hint for captures that have no connection in common.
func nothingShared(points []pairing.Point, result *pairing.Result) string {
	if len(points) < 2 || result.ClosedPaired > 0 {
		return ""
	}
	for _, pair := range result.Pairs {
		if len(pair.Seen) > 1 || pair.Partner != nil || len(pair.Ambiguous) > 0 {
			return ""
		}
	}
	if len(result.Plain) > 0 {
		return ""
	}
	names := make([]string, len(points))
	for i := range points {
		names[i] = points[i].Name
	}
	return strings.Join(names, " and ") + " share no connection: capture-gap for the pair; were both taken at the same time, of the same hosts, without address translation between?"
}
