// Package analyzer takes flows and pairs and gives a Report: for every flow a
// verdict with the evidence for it, the hypotheses that remain, the keepalive
// policy of each end, the idle limit of the path, and what to change. Rules
// are data and pure functions.
package analyzer

import (
	"iter"
	"net/netip"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// Confidence of a verdict, in a word.
type Confidence string

// How sure a verdict or a cause is.
const (
	Proven   Confidence = "proven" // no other reading is possible from these captures
	Likely   Confidence = "likely"
	Possible Confidence = "possible"
	None     Confidence = "" // healthy, closed and the like where nothing is weighed
)

// Verdict ids (DESIGN: they never change; users filter on them).
const (
	SilentDrop      = "silent-drop"
	OneWayDrop      = "one-way-drop"
	PathCut         = "path-cut"
	Healthy         = "healthy"
	ClosedNormally  = "closed"
	Idle            = "idle"
	NotEstablished  = "not-established"
	ReceiverStalled = "receiver-stalled"
	PeerLostState   = "peer-lost-state"
	Undecided       = "undecided"
	CaptureGap      = "capture-gap"
	HostDrop        = "host-drop"
	ForgedReset     = "forged-reset"
	ProxyAnswer     = "proxy-answer"
	NATRebind       = "nat-rebind"
	PathRejected    = "path-rejected"
	PeerGone        = "peer-gone"
	MTUBlackHole    = "mtu-black-hole"
	AppHung         = "app-hung"
	HalfOpen        = "half-open"
	IdleClose       = "idle-close"

	HeartbeatTimeout = "heartbeat-timeout"
)

// Report is the answer to one run. It is bounded: Flows holds what is shown,
// Totals the rest.
type Report struct {
	Tool      string                // name and version
	Names     map[netip.Addr]string // what Rename called hosts
	Command   string                // the command line, as it may be shown; "" not told
	Vantages  []Vantage
	Clocks    []pairing.Clock
	Flows     []Diagnosis          // worst first
	Rest      iter.Seq[*Diagnosis] // those behind Flows, each made when it comes and good until the next one (Options.Passing); nil none
	Paths     []Path
	Totals    Totals
	Unasked   []Unasked
	Limits    []string // which limits were hit
	Hints     []string // notes to the user about the input as a whole
	WhatIf    *WhatIf  // what was asked; nil nothing
	Unrelated string   // the hint for vantage points of which no two share a connection; "" where two do
}

// Each yields every diagnosis of the report in order, those of Rest, too.
func (r *Report) Each() iter.Seq[*Diagnosis] {
	return func(yield func(*Diagnosis) bool) {
		for i := range r.Flows {
			if !yield(&r.Flows[i]) {
				return
			}
		}
		if r.Rest != nil {
			r.Rest(yield)
		}
	}
}

// Vantage is one vantage point of the report.
type Vantage struct {
	Name        string
	Role        string // "client side", "server side", "" where not inferred
	RoleWhy     string
	Files       []capture.File
	First, Last tcp.Instant
}

// Totals counts what the report is made of.
type Totals struct {
	Flows, Closed, Evicted, Listed int
	ByVerdict                      map[string]int
	ByWhatIf                       map[string]int // answers to Report.WhatIf over all flows; nil where nothing was asked
}

// Diagnosis is what is said of one connection.
type Diagnosis struct {
	ID          int    // from 1 over the report
	Client      string // addr:port as the client sees itself
	Server      string
	Application string           // "ssh", …; "" where unknown
	AppHint     bool             // Application was taken from the port only
	Banner      [2]tcp.Untrusted // first line of each side where in clear
	Pair        *pairing.Pair
	Verdict     Verdict
	Endings     [2]flows.Ending
	Counts      Counts
	Policies    []Policy
	Idle        IdleBracket
	AliveUntil  tcp.Instant // on the first vantage point's clock; 0 unknown
	AliveRef    pairing.Ref
	Findings    []Finding
	Hypotheses  []Hypothesis
	Remedies    []Remedy
	Timeline    []Row
	Filters     []Filter
	Related     []Related
	Spans       []Span        // first and last frame, one for each of Pair.Seen; nil where not resolved
	Path        int           // number of its path in Report.Paths, from 1; 0 none
	Caveats     []string      // that hold for all Remedies
	WhatIf      *Would        // where Options.WhatIf asked
	Owner       *OwnerRequest // what to ask the owner of the device between; nil where none is meant
	Checks      []EndCheck    // where Options.Expect asked for them
	Advice      string        // the numbers behind Remedies and how they follow from the idle limit; "" where there is none
}

// Span is the stretch of frames that one vantage point recorded of a flow.
type Span struct{ First, Last pairing.Ref }

// Related links two flows of the report.
type Related struct {
	Flow int
	As   string
}

// Verdict is the answer for one flow.
type Verdict struct {
	ID              string
	Confidence      Confidence
	Cause           string // "idle-expiry", "state-lost", …; "" where the verdict carries none
	CauseConfidence Confidence
	CauseWhy        string
	Between         [2]int        // vantage points; equal where not localised
	Summary         string        // two or three sentences for a colleague
	Unknown         []string      // what the evidence cannot show
	At              tcp.Instant   // when it happened, on the first vantage point's clock
	LastCrossed     pairing.Ref   // last frame known to have crossed
	FirstLost       pairing.Ref   // first frame known to be lost
	Row             bool          // FirstLost is the last of several that are folded: the first was lost about At
	Silence         time.Duration // before the onset; 0 where none

	payload *unpaid // of a timer that counts payload alone; nil where none is blamed
}

// Finding is one thing that was seen, and what it suggests, kept apart.
type Finding struct {
	Rule, Says, Suggests string
	Evidence             []pairing.Ref
}

// Hypothesis is one reading of the evidence.
type Hypothesis struct {
	Verdict      string
	For, Against []Reason
	Next         string   // the next measurement that would decide
	Run          []string // the commands for it
}

// Reason is one thing that speaks for or against a reading, with the frames
// that show it. What rests on no packet, such as what else would look the same,
// has none.
type Reason struct {
	Says     string
	Evidence []pairing.Ref
}

// because is one reason.
func because(says string, evidence ...pairing.Ref) []Reason {
	return []Reason{{says, evidence}}
}

// Unasked is a rule that could not be asked.
type Unasked struct{ Rule, Why string }

// Counts are distinct segments of one flow after pairing.
type Counts struct {
	KeepaliveProbe, KeepaliveACK, ZeroWindowProbe, Retransmission, RST, ICMP, Heartbeat, Lost int
}

// Policy is the keepalive policy of one end, as far as seen.
type Policy struct {
	End                uint8           // flows.Client or flows.Server
	Mechanism          string          // TCPKeepalive, …
	Idle, Interval     time.Duration   // 0 unknown
	IdleCandidates     []time.Duration // round values that fit, likeliest first
	IntervalCandidates []time.Duration
	ObservedIdle       flows.Range
	ObservedInterval   flows.Range
	ObservedPace       flows.Range // of answered probes: the larger of idle time and interval
	Count              int         // 0 unknown
	GaveUpAfter        int         // unanswered probes before its RST; 0 not seen. That is Count, or a user timeout in UserTimeoutIn ran out
	GaveUpAtLeast      int         // the same where the capture may lack the first of them: how many it holds; 0 it lacks none
	Backoff            bool
	ProbeOctets        int
	UserTimeout        time.Duration // 0 unknown
	UserTimeoutIn      flows.Range   // a user timeout above Min and up to Max would explain GaveUpAfter as well
	Confidence         Confidence
	Resembles          []string         // names of systems
	Detection          time.Duration    // time to notice a death, by arithmetic; 0 unknown
	Outage             [2]time.Duration // it sits out one shorter than the first always, longer than the second never; 0 unknown
	Remark             string           // what it means here: "too slow for this path"; "" nothing
}

// IdleBracket is (Survived, Killed]: the longest silence that a flow survived
// and the shortest that killed one. Zero is not known.
type IdleBracket struct {
	Direction              string // "client", "server", "unknown": who sent the first packet after it
	RefreshedBy            string // "any", "payload", "unknown"
	Survived               time.Duration
	SurvivedRelearned      time.Duration
	Killed                 time.Duration
	SurvivedRef, KilledRef pairing.Ref

	BothDied   bool             // what either end sent after the silence that killed was lost: the device learns from neither
	SurvivedBy [2]time.Duration // the longest survived that the client and the server ended; 0 none
	Unsettled  string           // what was open when the silence that killed began; devices then use shorter timers
}

// Path is the idle limit of one path, over all its flows.
type Path struct {
	Between [2]string
	Limit   IdleBracket
	Fits    []Fit
	Note    string // a contradiction, named

	contradicted bool // Note names a contradiction, and not only what was left out
	atOnce       bool // what died did so at one moment, whatever its age
}

// Fit is a known device whose default lies in a bracket.
type Fit struct {
	Device  string
	Seconds int
	Source  string
	Stands  bool // one of the few that stand for all where a list must be short
}

// Remedy is lines to paste.
type Remedy struct {
	System, Where string   // Where is "client", "server", "application" or "device between"
	Lines         []string // until the next start, where the system tells that apart
	Persistent    []string // for good; nil where Lines are that
	Why           string
	Caveats       []string
}

// Filter is a display filter to paste into Wireshark.
type Filter struct {
	Vantage int
	Expr    string
	What    string
}

// RowKind says what a timeline row is.
type RowKind uint8

// Kinds of rows.
const (
	RowEvent RowKind = iota
	RowRun
	RowGap
	RowFolded // "7 more of each": Count is each side's where From is Unclear
	RowCut    // Count rows were left out here
)

// Row is one line of a flow's timeline, on the first vantage point's clock,
// unformatted. Render lays it out; it computes nothing.
type Row struct {
	Kind        RowKind
	At          tcp.Instant // on the first vantage point's clock
	Cells       []Cell      // one per vantage point at which something was seen
	From        uint8       // flows.Client, flows.Server, flows.Unclear
	What        flows.Kind
	Fate        pairing.How
	FateKnown   bool // false: one vantage point, or not asked
	Assumed     bool
	LostBetween [2]int // with Fate Lost: positions in the pair's path order
	Note        string // "gave up", "answers #118", "window 0"
	Count       int    // of runs and folded rows
	Until       tcp.Instant
	Interval    flows.Range
	Idle        time.Duration // of gaps
	Unanswered  bool          // it asked for an answer, and none was seen at any vantage point
}

// Cell is what one vantage point recorded of a row.
type Cell struct {
	Pos  int // position in the pair's path order
	Ref  pairing.Ref
	At   tcp.Instant // on that vantage point's own clock
	Last pairing.Ref // of runs: the last frame

	// Common is At on the first vantage point's clock, never before the moment
	// shown for an earlier vantage point of the segment's way; 0 where the
	// clocks cannot be compared.
	Common tcp.Instant
}
