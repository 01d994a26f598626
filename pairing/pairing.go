// Package pairing takes the flows of several vantage points and says which
// flow is which, which octets and probes crossed, and how the clocks of two
// vantage points compare. It answers "did it arrive?" and never calls a
// segment lost where the other capture was not provably recording.
package pairing

import (
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// Point is one vantage point: a capture that was read to its end.
type Point struct {
	Name  string
	Table *flows.Table
	Files []capture.File
	Frame func(tcp.Ordinal) (file int, frame uint64)
	Holes []capture.Interval // not recorded, over the whole capture

	Partial bool // other connections of these hosts were seen that are not in Table
}

// Ref points at one frame; evidence is made of them.
type Ref struct {
	Vantage int
	Ord     tcp.Ordinal
	File    int    // index into the vantage point's files
	Frame   uint64 // Wireshark's number in that file, from 1
	Kind    flows.Kind
	At      tcp.Instant
}

// How tells what became of a segment on its way to the next vantage point.
type How uint8

// The fates of a segment. The zero value concludes nothing.
const (
	Unknowable How = iota
	Crossed
	Lost
)

// String returns the word for the fate.
func (h How) String() string { return [...]string{"unknowable", "crossed", "lost"}[h] }

// Fate is what became of one segment (or of a run) between two vantage points.
type Fate struct {
	Sent, Seen Ref   // Seen is zero unless it crossed
	From       uint8 // flows.Client or flows.Server
	How        How
	Assumed    bool   // Lost, but the other capture's recording at that moment is assumed, not proven
	Between    [2]int // vantage points, in the direction of travel
	Why        string // of Unknowable, of an assumed loss and of a crossing within a run: the reason
	Reason     Reason // the same as a value
	Count      int    // segments of the sender that the fate is about: 1, or those of a run
	Missing    int    // of a run that arrived: how many of its segments the other capture does not hold
}

// Reason says what a fate that is not plain rests on.
type Reason uint8

// The reasons. The zero value is that of a plain crossing or a proven loss.
const (
	Plain           Reason = iota
	NotYet                 // the other capture begins later
	NoLonger               // the other capture ends earlier: Unknowable, or Lost and Assumed
	NotRecording           // a hole in the other capture: drops, rotation, damage, a clock step
	Dropped                // the other capture dropped packets, when is not known
	Acknowledged           // it arrived, the peer says so, but the other capture misses it
	Identical              // identical segments that the clocks cannot tell apart
	InRun                  // its partner is folded into a run there
	PartlySeen             // some of its octets are in the other capture
	ClockUnknown           // the clocks of the two captures cannot be compared
	FilteredPerhaps        // the other capture may hold other ports or hosts only
	AnsweredNear           // answered at the nearer point, but the other capture holds neither it nor the answer
	FlowGone               // the flow's story at the other point is no longer kept
	OtherName              // the other point knows the connection under other addresses from some moment on
)

// Sighting is one connection at one vantage point. Flow's addresses are as
// seen here; its sequence numbers are those of the first sighting, Shift having
// been taken away, so that what was seen at different points can be compared.
type Sighting struct {
	Vantage int
	Flow    *flows.Flow
	Shift   [2]uint32 // sequence numbers here minus those at the first sighting, by client and server
}

// Pair is one connection at 1 to N vantage points, in path order from client
// to server. A flow seen once is a Pair too, so rules have one subject.
type Pair struct {
	Seen      []Sighting
	Path      []int // vantage points from client to server, those that should have seen it and did not included
	OrderWhy  string
	SamePoint bool   // all of Path recorded the same frames at the same place: they prove nothing about the path
	ClosedAt  []int  // vantage points where it ended well and its story is no longer kept
	Fates     []Fate // of every probe and significant segment, by time
	Method    string // what matched: "addresses+isn", "addresses+sequence", "isn", "sequence", "timestamps", "addresses+ipid", "payload"; "single"
	Score     float64
	Margin    float64
	Ambiguous []flows.FlowID
	Settled   bool      // at no vantage point did anything happen to it
	Misses    []float64 // by vantage point: the share of what arrived that its capture provably lacks; nil where none lacks any
	Elsewhere []float64 // the same of other connections alone: what a box that answers for the peer makes look missing is not in it
	Halves    int       // connections of other points of which each could be its other half, nothing telling which; 0 where Partner is known, or none could
	Partner   *Partner  // nil where it is not cut in two by a proxy, as far as is known
}

// Partner is the other connection of two that a proxy between two points joins.
// No packet of one is a packet of the other.
type Partner struct {
	Vantage     int
	Flow        *flows.Flow
	Transparent bool   // it has the same addresses: that it is another one is sure
	By          string // what names it: "addresses", "payload", "octets", "timing"
	Score       float64
	Margin      float64 // over the runner-up
}

// Clock is what is known of clock(To) − clock(From) from At on: bounds that no
// packet contradicts, a point estimate and the relative rate error.
type Clock struct {
	From, To            int
	Since, Until        tcp.Instant // the stretch it holds for, on From's clock
	At                  tcp.Instant // where Offset, Min and Max hold exactly, on From's clock
	Offset, Min, Max    time.Duration
	PPM, PPMMin, PPMMax float64
	Samples             [2]int // crossings used, From→To and To→From
	Stamps              Rate   // what the hosts' timestamps tell of the rate
	NoMin, NoMax        bool   // no packet bounds the offset from that side: only one direction crossed
	Given               bool   // Offset is the user's
	Contradiction       bool   // no clock fits all crossings, even with steps: a wrong pair, or a clock that is set again and again
	Note                string // what the user should know of it; "" where nothing

	fit   *fit             // of the crossings; nil for a clock built by hand
	grace [2]time.Duration // how far before and beyond its stretch it may hold, towards a step
	since [2]time.Duration // how long after the last crossing before the step it begins, by From's clock and by To's
}
