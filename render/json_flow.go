package render

import (
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

type flowDoc struct {
	ID          int             `json:"id"`
	Client      text            `json:"client"`
	Server      text            `json:"server"`
	Application *text           `json:"application"`
	AppHint     bool            `json:"application_by_port"`
	Banner      *bannerDoc      `json:"banner"`
	Seen        []seenDoc       `json:"seen"`
	Verdict     verdictDoc      `json:"verdict"`
	Endings     endingsDoc      `json:"endings"`
	Related     []relatedDoc    `json:"related"`
	Pairing     *pairingDoc     `json:"pairing"`
	Partner     *partnerDoc     `json:"proxy_partner"`
	Counts      countsDoc       `json:"counts"`
	Policies    []policyDoc     `json:"policies"`
	Idle        idleDoc         `json:"idle"`
	AliveUntil  *moment         `json:"alive_until"`
	Findings    []findingDoc    `json:"findings"`
	Hypotheses  []hypothesisDoc `json:"hypotheses"`
	Remedies    []remedyDoc     `json:"remedies"`
	Advice      *text           `json:"advice"`
	Caveats     []text          `json:"caveats"`
	WhatIf      *wouldDoc       `json:"what_if"`
	Owner       *ownerDoc       `json:"ask_owner"`
	Filters     []filterDoc     `json:"filters"`
	Timeline    []rowDoc        `json:"timeline"`
}

type bannerDoc struct {
	Client *string `json:"client"`
	Server *string `json:"server"`
}

type endingsDoc struct {
	Client string `json:"client"`
	Server string `json:"server"`
}

type relatedDoc struct {
	Flow int  `json:"flow"`
	As   text `json:"as"`
}

type remedyDoc struct {
	System text   `json:"system"`
	Where  text   `json:"where"`
	Lines  []text `json:"lines"`
	Why    text   `json:"why"`

	Persistent []text `json:"persistent"`
	Caveats    []text `json:"caveats"`
}

type filterDoc struct {
	Vantage string `json:"vantage"`
	Expr    text   `json:"expr"`
	What    text   `json:"what"`
}

type hypothesisDoc struct {
	Verdict text   `json:"verdict"`
	For     []text `json:"for"`
	Against []text `json:"against"`
	Next    *text  `json:"next"`
	Run     []text `json:"run"`

	ForEvidence     [][]evidenceDoc `json:"for_evidence"`     // of each of For
	AgainstEvidence [][]evidenceDoc `json:"against_evidence"` // of each of Against
}

func flowOf(r *analyzer.Report, d *analyzer.Diagnosis, o Options) flowDoc {
	return flowDoc{
		ID: d.ID, Client: text(d.Client), Server: text(d.Server), Application: orNull(text(d.Application)), AppHint: d.AppHint,
		Banner: bannerOf(d, o), Seen: seenOf(r, d), Verdict: verdictOf(r, &d.Verdict),
		Endings: endingsDoc{d.Endings[0].String(), d.Endings[1].String()},
		Related: mapped(d.Related, func(x *analyzer.Related) relatedDoc { return relatedDoc{x.Flow, text(x.As)} }),
		Pairing: pairingOf(d.Pair), Partner: partnerOf(r, d.Pair),
		Counts:   countsOf(d),
		Policies: mapped(d.Policies, policyOf), Idle: idleOf(d.Idle), AliveUntil: instant(d.AliveUntil),
		Findings: mapped(d.Findings, func(f *analyzer.Finding) findingDoc { return findingOf(r, d, f) }),
		Hypotheses: mapped(d.Hypotheses, func(h *analyzer.Hypothesis) hypothesisDoc {
			says := func(x *analyzer.Reason) text { return text(x.Says) }
			shown := func(x *analyzer.Reason) []evidenceDoc { return evidenceOf(r, d, x.Evidence) }
			return hypothesisDoc{text(h.Verdict), mapped(h.For, says), mapped(h.Against, says), orNull(text(h.Next)), texts(h.Run), mapped(h.For, shown), mapped(h.Against, shown)}
		}),
		Remedies: mapped(d.Remedies, func(m *analyzer.Remedy) remedyDoc {
			return remedyDoc{text(m.System), text(m.Where), texts(m.Lines), text(m.Why), texts(m.Persistent), texts(m.Caveats)}
		}),
		Advice: orNull(text(d.Advice)), Caveats: texts(d.Caveats), WhatIf: wouldOf(d.WhatIf), Owner: ownerOf(r, d.Owner),
		Filters: mapped(d.Filters, func(f *analyzer.Filter) filterDoc {
			return filterDoc{vantageName(r, f.Vantage), text(f.Expr), text(f.What)}
		}),
		Timeline: timelineOf(r, d),
	}
}

// flowLine is a flow as a line of NDJSON: at the moment that its verdict
// speaks of, else the last that is known of it, seen from where it was seen
// first.
func flowLine(r *analyzer.Report, d *analyzer.Diagnosis, o Options) flowLineDoc {
	at, vantage := d.Verdict.At, null[string]()
	if d.Pair != nil && len(d.Pair.Seen) > 0 {
		vantage = ref(vantageName(r, d.Pair.Seen[0].Vantage))
		if f := d.Pair.Seen[0].Flow; at == 0 && f != nil {
			at = f.Last
		}
	}
	return flowLineDoc{heading{SchemaName, "flow", vantage, instant(at)}, flowOf(r, d, o)}
}

func bannerOf(d *analyzer.Diagnosis, o Options) *bannerDoc {
	if o.NoBanner || d.Banner == [2]tcp.Untrusted{} {
		return nil
	}
	return &bannerDoc{orNull(Safe(d.Banner[0])), orNull(Safe(d.Banner[1]))}
}

type seenDoc struct {
	Vantage    string      `json:"vantage"`
	Stream     uint64      `json:"stream"`
	Client     *string     `json:"client"`
	Server     *string     `json:"server"`
	Frames     uint64      `json:"frames"`
	FirstFrame *frameDoc   `json:"first_frame"`
	LastFrame  *frameDoc   `json:"last_frame"`
	Midway     bool        `json:"joined_midway"`
	Counts     pointCounts `json:"counts"`
}

type frameDoc struct {
	File  int    `json:"file"`
	Frame uint64 `json:"frame"`
}

func seenOf(r *analyzer.Report, d *analyzer.Diagnosis) []seenDoc {
	docs := []seenDoc{}
	if d.Pair == nil {
		return docs
	}
	for i, s := range d.Pair.Seen {
		if s.Flow == nil {
			continue
		}
		f := s.Flow
		doc := seenDoc{
			Vantage: vantageName(r, s.Vantage), Stream: f.Stream, Client: addrOf(r, f, flows.Client), Server: addrOf(r, f, flows.Server),
			Frames: f.Frames, Midway: f.Midway, Counts: pointCountsOf(f),
		}
		doc.FirstFrame, doc.LastFrame = spanOf(r, d, i)
		docs = append(docs, doc)
	}
	return docs
}

func addrOf(r *analyzer.Report, f *flows.Flow, end uint8) *string {
	if a := f.Sides[end].Addr; a.IsValid() {
		return orNull(escape(r.End(a)))
	}
	return nil
}

// spanOf is the first and last frame of a sighting. Where the report does not
// name them, the ordinal is the frame number of a vantage point of one file.
func spanOf(r *analyzer.Report, d *analyzer.Diagnosis, i int) (first, last *frameDoc) {
	s := d.Pair.Seen[i]
	if len(d.Spans) == len(d.Pair.Seen) {
		return frameOf(d.Spans[i].First), frameOf(d.Spans[i].Last)
	}
	if s.Vantage >= 0 && s.Vantage < len(r.Vantages) && len(r.Vantages[s.Vantage].Files) == 1 {
		return frameOf(pairing.Ref{Frame: uint64(s.Flow.FirstOrd)}), frameOf(pairing.Ref{Frame: uint64(s.Flow.LastOrd)})
	}
	return nil, nil
}

func frameOf(ref pairing.Ref) *frameDoc {
	if ref.Frame == 0 {
		return nil
	}
	return &frameDoc{ref.File, ref.Frame}
}

// pointCounts are segments of one vantage point; what was lost, one alone
// cannot know.
type pointCounts struct {
	KeepaliveProbe  int `json:"keepalive_probe"`
	KeepaliveACK    int `json:"keepalive_ack"`
	ZeroWindowProbe int `json:"zero_window_probe"`
	Retransmission  int `json:"retransmission"`
	RST             int `json:"rst"`
	ICMP            int `json:"icmp"`
	Heartbeat       int `json:"heartbeat"`
}

func pointCountsOf(f *flows.Flow) pointCounts {
	return pointCounts{
		f.Count(flows.KeepaliveProbe), f.Count(flows.KeepaliveACK), f.Count(flows.ZeroWindowProbe), f.Count(flows.Retransmission),
		f.Count(flows.RST), f.Count(flows.ICMPError), f.Count(flows.Heartbeat),
	}
}

type countsDoc struct {
	pointCounts
	Lost *int `json:"lost"`
}

func countsOf(d *analyzer.Diagnosis) countsDoc {
	c := d.Counts
	doc := countsDoc{pointCounts: pointCounts{
		c.KeepaliveProbe, c.KeepaliveACK, c.ZeroWindowProbe, c.Retransmission, c.RST, c.ICMP, c.Heartbeat,
	}}
	if d.Pair != nil && len(d.Pair.Seen) > 1 || c.Lost > 0 {
		doc.Lost = &c.Lost
	}
	return doc
}

type verdictDoc struct {
	ID              text       `json:"id"`
	Confidence      *text      `json:"confidence"`
	Cause           *text      `json:"cause"`
	CauseConfidence *text      `json:"cause_confidence"`
	CauseWhy        *text      `json:"cause_why"`
	Between         *[2]string `json:"between"`
	Summary         text       `json:"summary"`
	Unknown         []text     `json:"unknown"`
	At              *moment    `json:"at"`
	Silence         *nano      `json:"silence_s"`
	LastCrossed     *refDoc    `json:"last_crossed"`
	FirstLost       *refDoc    `json:"first_lost"`
}

func verdictOf(r *analyzer.Report, v *analyzer.Verdict) verdictDoc {
	doc := verdictDoc{
		ID: text(v.ID), Confidence: orNull(text(v.Confidence)), Cause: orNull(text(v.Cause)), CauseConfidence: orNull(text(v.CauseConfidence)),
		CauseWhy: orNull(text(v.CauseWhy)), Summary: text(v.Summary), Unknown: texts(v.Unknown), At: instant(v.At),
		Silence: secondsOrNull(v.Silence), LastCrossed: refOf(r, v.LastCrossed), FirstLost: refOf(r, v.FirstLost),
	}
	if a, b := v.Between[0], v.Between[1]; a != b {
		doc.Between = &[2]string{vantageName(r, a), vantageName(r, b)}
	}
	return doc
}

// refDoc is one frame of one vantage point. Its time is by that vantage
// point's own clock.
type refDoc struct {
	Vantage string  `json:"vantage"`
	File    int     `json:"file"`
	Frame   uint64  `json:"frame"`
	Kind    string  `json:"kind"`
	At      *moment `json:"at"`
}

func refOf(r *analyzer.Report, ref pairing.Ref) *refDoc {
	if ref.Frame == 0 {
		return nil
	}
	return &refDoc{vantageName(r, ref.Vantage), ref.File, ref.Frame, ref.Kind.String(), instant(ref.At)}
}

type pairingDoc struct {
	Method   text       `json:"method"`
	Score    float64    `json:"score"`
	Margin   float64    `json:"margin"`
	NAT      bool       `json:"nat"`
	SeqShift *[2]uint32 `json:"seq_shift"`
}

// pairingOf says how a connection's sightings were matched; null where there
// is one alone.
func pairingOf(p *pairing.Pair) *pairingDoc {
	if p == nil || len(p.Seen) < 2 {
		return nil
	}
	doc := &pairingDoc{Method: text(p.Method), Score: p.Score, Margin: p.Margin}
	first := p.Seen[0].Flow
	for _, s := range p.Seen[1:] {
		if s.Shift != [2]uint32{} {
			doc.SeqShift = ref(s.Shift)
		}
		if first != nil && s.Flow != nil {
			doc.NAT = doc.NAT || s.Flow.Sides[0].Addr != first.Sides[0].Addr || s.Flow.Sides[1].Addr != first.Sides[1].Addr
		}
	}
	return doc
}

// partnerDoc is the other of two connections that a proxy joins.
type partnerDoc struct {
	Vantage     string  `json:"vantage"`
	Stream      uint64  `json:"stream"`
	Client      *string `json:"client"`
	Server      *string `json:"server"`
	Transparent bool    `json:"transparent"` // it has the same addresses
	By          text    `json:"by"`          // addresses, payload, octets or timing
	Score       float64 `json:"score"`
	Margin      float64 `json:"margin"` // over the runner-up
}

func partnerOf(r *analyzer.Report, p *pairing.Pair) *partnerDoc {
	if p == nil || p.Partner == nil || p.Partner.Flow == nil {
		return nil
	}
	f := p.Partner.Flow
	return &partnerDoc{vantageName(r, p.Partner.Vantage), f.Stream, addrOf(r, f, flows.Client), addrOf(r, f, flows.Server), p.Partner.Transparent,
		text(p.Partner.By), p.Partner.Score, p.Partner.Margin}
}

type policyDoc struct {
	End                string   `json:"end"`
	Mechanism          text     `json:"mechanism"`
	Idle               *nano    `json:"idle_s"`
	IdleCandidates     []nano   `json:"idle_candidates_s"`
	Interval           *nano    `json:"interval_s"`
	IntervalCandidates []nano   `json:"interval_candidates_s"`
	ObservedIdle       *[2]nano `json:"observed_idle_s"`
	ObservedInterval   *[2]nano `json:"observed_interval_s"`
	ObservedPace       *[2]nano `json:"observed_pace_s"`
	Count              *int     `json:"count"`
	GaveUpAfter        *int     `json:"gave_up_after"`
	GaveUpAtLeast      int      `json:"gave_up_after_at_least,omitempty"`
	Backoff            bool     `json:"backoff"`
	ProbeOctets        *int     `json:"probe_octets"`
	UserTimeout        *nano    `json:"user_timeout_s"`
	UserTimeoutIn      *[2]nano `json:"user_timeout_range_s"`
	Confidence         *text    `json:"confidence"`
	Resembles          []text   `json:"resembles"`
	Detection          *nano    `json:"detection_s"`
	Outage             *[2]nano `json:"outage_s"` // shorter than the first is sat out always, longer than the second never
	Remark             *text    `json:"remark"`
}

func policyOf(p *analyzer.Policy) policyDoc {
	toNano := func(d *time.Duration) nano { return nano(*d) }
	doc := policyDoc{
		End: roleOf(p.End), Mechanism: text(p.Mechanism),
		Idle: secondsOrNull(p.Idle), IdleCandidates: mapped(p.IdleCandidates, toNano),
		Interval: secondsOrNull(p.Interval), IntervalCandidates: mapped(p.IntervalCandidates, toNano),
		ObservedIdle: rangeDoc(p.ObservedIdle), ObservedInterval: rangeDoc(p.ObservedInterval), ObservedPace: rangeDoc(p.ObservedPace),
		Count: orNull(p.Count), GaveUpAfter: orNull(p.GaveUpAfter), GaveUpAtLeast: p.GaveUpAtLeast, Backoff: p.Backoff,
		UserTimeout: secondsOrNull(p.UserTimeout), UserTimeoutIn: rangeDoc(p.UserTimeoutIn),
		Confidence: orNull(text(p.Confidence)), Resembles: texts(p.Resembles), Detection: secondsOrNull(p.Detection), Remark: orNull(text(p.Remark)),
	}
	if p.Outage[1] > 0 {
		doc.Outage = &[2]nano{nano(p.Outage[0]), nano(p.Outage[1])}
	}
	if p.Mechanism == "tcp-keepalive" || p.ProbeOctets > 0 { // a TCP probe of no octets is a fact, elsewhere 0 is not known
		doc.ProbeOctets = &p.ProbeOctets
	}
	return doc
}

// roleOf is who sent something: "client", "server" or "unknown".
func roleOf(end uint8) string {
	switch end {
	case flows.Client:
		return "client"
	case flows.Server:
		return "server"
	}
	return "unknown"
}

type findingDoc struct {
	Rule     text          `json:"rule"`
	Says     text          `json:"says"`
	Suggests *text         `json:"suggests"`
	Evidence []evidenceDoc `json:"evidence"`
}

type evidenceDoc struct {
	Vantage string  `json:"vantage"`
	File    int     `json:"file"`
	Frame   uint64  `json:"frame"`
	Kind    string  `json:"kind"`
	Fate    *string `json:"fate"`
}

func findingOf(r *analyzer.Report, d *analyzer.Diagnosis, f *analyzer.Finding) findingDoc {
	return findingDoc{text(f.Rule), text(f.Says), orNull(text(f.Suggests)), evidenceOf(r, d, f.Evidence)}
}

func evidenceOf(r *analyzer.Report, d *analyzer.Diagnosis, refs []pairing.Ref) []evidenceDoc {
	return mapped(refs, func(ref *pairing.Ref) evidenceDoc {
		return evidenceDoc{vantageName(r, ref.Vantage), ref.File, ref.Frame, ref.Kind.String(), fateOf(d.Pair, ref)}
	})
}

// fateOf is what became of the segment of a frame, nil where that was not
// asked.
func fateOf(p *pairing.Pair, ref *pairing.Ref) *string {
	if p == nil {
		return nil
	}
	for i := range p.Fates {
		f := &p.Fates[i]
		for _, at := range []pairing.Ref{f.Sent, f.Seen} {
			if at.Frame != 0 && at.Vantage == ref.Vantage && at.File == ref.File && at.Frame == ref.Frame {
				return orNull(f.How.String())
			}
		}
	}
	return nil
}
