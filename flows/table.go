package flows

import (
	"iter"

	"kaflow/capture"
	"kaflow/tcp"
)

// Table follows every TCP flow of one vantage point. Its zero value is an
// empty table.
type Table struct{ Options Options }

// Add takes a batch of packets in capture order.
func (t *Table) Add(b *capture.Batch) { panic("skeleton") }

// Advance tells the table that packet time has come to now: the end of the
// capture, or a timer.
func (t *Table) Advance(now tcp.Instant) { panic("skeleton") }

// Flow returns the view of a live flow.
func (t *Table) Flow(id FlowID) (*Flow, bool) { panic("skeleton") }

// Flows yields the live flows in stream order.
func (t *Table) Flows() iter.Seq[FlowID] { panic("skeleton") }

// ClosedFlows yields what remains of flows that ended well.
func (t *Table) ClosedFlows() iter.Seq[*Closed] { panic("skeleton") }

// HostPair returns what was seen between two hosts, A and B being ordered as
// in a capture.Key.
func (t *Table) HostPair(k *capture.Key) (HostPair, bool) { panic("skeleton") }

// Priors returns what a second reading needs, by stream.
func (t *Table) Priors() map[uint64]*Prior { panic("skeleton") }
