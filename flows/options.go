package flows

import "kaflow/tcp"

// Options tune a Table. The zero value is the default.
type Options struct {
	Learn     bool                      // a second reading will follow: remember for Priors what it wants to know
	MaxFlows  int                       // live flows; 0 means 1,000,000
	MaxEvents int                       // events of all stories together; 0 means 2,000,000
	Digests   bool                      // another vantage point will be compared: keep Anchors of flows without timestamps
	Prior     func(first uint64) *Prior // second reading of a file: what the first one learned of the flow that begins at this ordinal; nil where nothing
	Label     func(Label)               // each segment, in frame order; nil costs nothing
	Revise    func(Label)               // a label given earlier turned out to be another, within the last 64 segments of the flow
	Touched   func(FlowID)              // the story of a flow changed
	Retired   func(*Closed, Why)        // a flow left the table
}

// Prior is what a first reading of a capture learned of one flow, for the
// labels of a second. A flow is named by the ordinal of its first segment.
type Prior struct {
	Resync  []Resync
	Opens   []tcp.Ordinal // SYNs inside this flow that opened a new one
	Shut    []tcp.Ordinal // segments that shut a window into which window probes went, though at first they looked like keepalives
	Beat    [2]Beat       // encrypted heartbeats, by Key's Lo and Hi end
	Unclear bool          // only one direction was captured, and its empty segments keep a rhythm
}

// Resync is a position in each direction's sequence space that became known
// only after the segment From had been seen.
type Resync struct {
	From  tcp.Ordinal
	Next  [2]tcp.Seq // by Key's Lo and Hi end
	Known [2]bool
}

// Beat is an application's encrypted heartbeat: segments of Len octets that
// end a silence, at one pace, from one frame to another.
type Beat struct {
	Len         uint32
	From, Until tcp.Ordinal
}
