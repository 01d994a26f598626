package flows

import (
	"net/netip"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// FlowID names a flow of one Table; 0 is none. It is slot<<32 | generation.
type FlowID uint64

// Label is what one segment was for.
type Label struct {
	Ord     tcp.Ordinal
	Answers tcp.Ordinal // the probe that this segment answers; 0 where it answers none
	Flow    FlowID
	Stream  uint64 // counts from 0, as Wireshark's tcp.stream
	Sender  uint8  // 0 client, 1 server, 2 not known
	Kind    Kind
	Conf    Confidence
}

// Senders of a Label and an Event.
const (
	Client  uint8 = 0
	Server  uint8 = 1
	Unclear uint8 = 2
)

// Flow is one TCP connection as one vantage point saw it: what pairing and
// rules read. It is a view, built on demand; its slices are the caller's.
//
// Sides, events and every [2] array are indexed by Client and Server. Where
// the SYN was not seen the client is guessed from the ports, and RolesKnown is
// false.
type Flow struct {
	ID         FlowID
	Stream     uint64
	Key        capture.Key
	RolesKnown bool
	Midway     bool // the capture joined it after the handshake
	Complete   bool // SYN, SYN-ACK and the client's ACK were seen
	Sides      [2]Side
	Events     []Event // in capture order
	First      tcp.Instant
	Last       tcp.Instant
	FirstOrd   tcp.Ordinal
	LastOrd    tcp.Ordinal
	Frames     uint64
	Counts     [kinds]uint32      // segments by kind and both sides; use Count
	Gaps       []Gap              // the longest idle gaps, in time order, longest-lived eight
	Missing    []capture.Interval // in which nothing may be concluded from absence
	Anchors    []Anchor
	Retired    Why
	Cut        int       // events that were turned away, and side notes that were lost, for there were too many; at most 255
	VLANs      [2]uint16 // 0 within a tunnel with numbered channels
	Split      bool      // another conversation has the same addresses and ports, and was told apart by VLAN, TEID or GRE key and sequence numbers
}

// Count returns how many segments of kind k the flow holds, both sides.
func (f *Flow) Count(k Kind) int { return int(f.Counts[k]) }

// Side is one end of a flow, as far as this vantage point has seen it.
type Side struct {
	Addr         netip.AddrPort
	ISN          tcp.Seq // of its SYN or SYN-ACK
	ISNKnown     bool
	SndNxt       tcp.Seq // one past the highest octet sent; valid with NxtKnown
	SndUna       tcp.Seq // highest acknowledgment received from the peer
	NxtKnown     bool
	Win          uint16   // last window field sent by this side, unscaled
	WScale       uint8    // shift count, 255 where the SYN was not seen
	TTL          uint8    // last seen
	TTLs         [2]uint8 // minimum and maximum seen
	MSS          uint16   // 0 where not seen
	Timestamps   bool     // this side's segments carry timestamps
	SACK         bool
	Fingerprint  uint32 // of its SYN or SYN-ACK: options, MSS, scale; 0 where not seen
	Segments     uint64
	Octets       uint64 // new payload octets sent
	Probes       uint32 // keepalive probes sent
	Answered     uint32 // of them answered
	Unanswered   uint32 // probes open at the end
	WindowProbes uint32
	Retrans      uint32
	RTT          Range // of answers to this side's probes, handshake included
	Period       Range // spacing of this side's answered probes
	ProbeLen     uint8 // payload octets of its probes
	LastSent     tcp.Instant
	FIN, RST     bool          // it sent one
	Application  tcp.Untrusted // SSH banner, or a word such as "tls", "http", from its first octets; "" where unknown
	Ending       Ending
	ForeignSACK  ForeignSACK
}

// ForeignSACK is about segments of a side whose SACK edges lie nowhere near what
// its peer sent, as behind a firewall that shifts sequence numbers and leaves
// these edges alone.
type ForeignSACK struct {
	Count uint32
	Ord   tcp.Ordinal // the last of them
	At    tcp.Instant
	Off   tcp.Seq // its first left edge minus its acknowledgment
}

// Range is a range of durations; Known is false where nothing was measured.
type Range struct {
	Min, Max time.Duration
	Known    bool
}

// Add widens the range to hold d.
func (r *Range) Add(d time.Duration) {
	if !r.Known {
		*r = Range{d, d, true}
		return
	}
	r.Min, r.Max = min(r.Min, d), max(r.Max, d)
}

// Event is one entry of a flow's story: one segment, or a run of many.
type Event struct {
	At           tcp.Instant
	Ord          tcp.Ordinal
	From         uint8 // Client, Server or Unclear
	Kind         Kind
	Conf         Confidence
	Note         Note
	Flags        tcp.Flags
	TTL          uint8
	Seq, Ack     tcp.Seq
	Len          uint32 // payload octets; of an ICMP error its type<<8|code
	TSVal, TSEcr uint32
	HasTS        bool
	Win, IPID    uint16
	Answers      tcp.Ordinal // the probe or segment it answers; 0 none
	AnsweredBy   tcp.Ordinal // set on probes
	Source       netip.Addr  // of an ICMP error: the router that sent it

	// Run is nil for a single segment. For a run the fields above describe its
	// first segment. A run of answered keepalives has Kind KeepaliveProbe, From
	// the prober; one of ordinary traffic has Kind Data or ACK.
	Run *Run
}

// Run is a stretch of a flow's story that holds no surprise.
type Run struct {
	Count    [2]uint32 // segments of each side; of a keepalive run probes and answers
	Octets   [2]uint64 // payload octets of each side
	Until    tcp.Instant
	UntilOrd tcp.Ordinal
	Answer   tcp.Ordinal // of a keepalive run: the answer to its first probe
	Period   Range       // of a keepalive run
	RTT      Range
	Seq, Ack tcp.Seq // of the last segment
	TSVal    uint32  // of the prober's or last sender's last segment
	TSEcr    uint32  // of a keepalive run: echoed by the last probe
	LastFrom uint8
	Unheard  bool // of traffic: some of it was not acknowledged, as far as was known when it was folded

	// OtherUntil is when the other side than LastFrom sent its last segment of
	// a run of traffic, within 100 µs; 0 where that is not known.
	OtherUntil tcp.Instant
}

// End returns when the event's last segment was seen.
func (e *Event) End() tcp.Instant {
	if e.Run != nil {
		return e.Run.Until
	}
	return e.At
}

// EndOrd returns the ordinal of the event's last segment.
func (e *Event) EndOrd() tcp.Ordinal {
	if e.Run != nil {
		return e.Run.UntilOrd
	}
	return e.Ord
}

// Elsewhere reports whether a segment's numbers, both of them, are nowhere near the
// connection's: its receiver does not take it, and it says nothing of it.
func (e *Event) Elsewhere() bool { return e.Note&NoteOutOfWindow != 0 && e.Kind != RST }

// Gap is a stretch of silence of a flow, in both directions.
type Gap struct {
	From, To       tcp.Instant
	FromOrd, ToOrd tcp.Ordinal // last segment before, first after
	Sender         uint8       // who ended it
	Survived       bool        // what ended it was answered afterwards
}

// Duration returns how long the silence lasted.
func (g Gap) Duration() time.Duration { return g.To.Sub(g.From) }

// Digests is how many digests a sample of payload has: of its first 16, 32 and
// 64 octets, so that captures of different snap lengths can be compared.
const Digests = 3

// Anchor is a data segment that every vantage point keeps without talking to
// the others: chosen by its octets, which NAT and sequence shifts leave alone.
type Anchor struct {
	At       tcp.Instant
	Ord      tcp.Ordinal
	From     uint8
	Seq, Ack tcp.Seq
	Prints   [Digests]uint32
	Known    uint8  // how many of them are known
	Again    bool   // the same octets were sent at another position, too
	IPID     uint16 // of a part of a larger segment: what it has or had by itself
	Win      uint16
}

// Why says why a flow left the table.
type Why uint8

// Reasons for a flow to leave the table.
const (
	Live Why = iota
	Ended
	LimitFlows
	LimitClosed
)

// Closed is what remains of a flow that ended well.
type Closed struct {
	Key                 capture.Key
	ISN                 [2]tcp.Seq
	First, Last         tcp.Instant
	LongestFrom         tcp.Instant
	Longest             time.Duration
	Fingerprint, Stream uint32
	End                 [2]Ending
	Reversed            bool // the client is Key.Hi
}

// HostPair is what was seen between two hosts, over all protocols: coverage
// and controls outlive the flows.
type HostPair struct {
	A, B     netip.Addr
	First    [2]tcp.Instant // sent by A, by B
	Last     [2]tcp.Instant
	Frames   [2]uint64
	Controls []Control // in time order, at most 512
	Thinned  uint8     // of echoes those are among them that EchoKept names
}

// Control is a sign of life or death between two hosts that is no segment of
// an established flow.
type Control struct {
	At   tcp.Instant
	Ord  tcp.Ordinal
	From uint8 // 0 sent by A, 1 by B
	What ControlKind
	ID   uint32     // echo identifier<<16 | sequence; ICMP type<<8|code
	By   netip.Addr // of an ICMP error: who sent it
}

// ControlKind says what a Control is.
type ControlKind uint8

// Kinds of controls.
const (
	ControlSYN ControlKind = iota
	ControlSYNACK
	ControlEchoRequest
	ControlEchoReply
	ControlICMPError
	ControlARPRequest
	ControlARPReply
)
