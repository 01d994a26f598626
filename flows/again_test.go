package flows

import (
	"testing"

	"kaflow/tcp"
)

// Where the table is full, a connection that takes the ports of one that ended may be what
// that one has to leave for: it is then found under them like any other.
func TestPortsTakenAgainInAFullTable(t *testing.T) {
	table := feeder{Table: Table{Options: Options{MaxFlows: 1}}}
	for n := range tcp.Seq(5) {
		isn := n * 1_000_000
		table.send(1, false, tcp.Segment{Seq: isn, Flags: tcp.SYN, Win: 100})
		table.send(1, true, tcp.Segment{Seq: isn + 500, Ack: isn + 1, Flags: tcp.SYN | tcp.ACK, Win: 100})
		table.send(1, false, tcp.Segment{Seq: isn + 1, Ack: isn + 501, Flags: tcp.ACK, Win: 100})
		if table.Live() != 1 || table.narrow.index.n != 1 {
			t.Fatalf("connection %d: %d flows, %d in the index, want one", n, table.Live(), table.narrow.index.n)
		}
		for id := range table.Flows() {
			if f, ok := table.Flow(id); !ok || f.Frames != 3 || f.Stream != uint64(n) {
				t.Fatalf("connection %d: the flow has %d frames", n, f.Frames)
			}
			if p, slot := table.at(uint32(id >> 32)); p.cold(slot).older == slot+1 {
				t.Fatalf("connection %d: the flow is its own predecessor", n)
			}
		}
		table.send(1, false, tcp.Segment{Seq: isn + 1, Ack: isn + 501, Flags: tcp.FIN | tcp.ACK, Win: 100})
		table.send(1, true, tcp.Segment{Seq: isn + 501, Ack: isn + 2, Flags: tcp.FIN | tcp.ACK, Win: 100})
		table.send(1, false, tcp.Segment{Seq: isn + 2, Ack: isn + 502, Flags: tcp.ACK, Win: 100})
	}
}
