package flows

import (
	"testing"

	"kaflow/tcp"
)

// A flood of pairs of segments with octets missing between them takes no more
// side notes than the table allows, and leaves those of a flow in use alone.
func TestFloodOfHolesIsBounded(t *testing.T) {
	table := feeder{Table: Table{Options: Options{MaxFlows: 8000}}}
	hole := func(client uint32) {
		table.send(client, false, tcp.Segment{Seq: 1000, Ack: 500, Flags: tcp.ACK | tcp.PSH, Len: 10, Win: 100})
		table.send(client, false, tcp.Segment{Seq: 5000, Ack: 500, Flags: tcp.ACK | tcp.PSH, Len: 10, Win: 100})
	}
	hole(0)
	table.send(0, true, tcp.Segment{Seq: 500, Ack: 1010, Flags: tcp.ACK, Win: 100})
	table.send(0, false, tcp.Segment{Seq: 5009, Ack: 500, Flags: tcp.ACK, Win: 100}) // a probe
	table.send(0, true, tcp.Segment{Seq: 500, Ack: 1010, Flags: tcp.ACK, Win: 100})
	for client := range uint32(6000) {
		hole(client + 1)
	}
	const most = 8000 / rareShare
	if len(table.rare) > most || len(table.rares.handles) > most || table.rares.dropped < 3900 {
		t.Errorf("%d flows have side notes, %d places, %d lost theirs; want at most %d, and the others to have lost them", len(table.rare), len(table.rares.handles), table.rares.dropped, most)
	}
	if table.rare[0] == nil {
		t.Error("the flow in use lost its own")
	}
	if limits := table.Limits(); len(limits) != 1 {
		t.Errorf("limits: %q", limits)
	}
	cut := uint64(0)
	for id := range table.Flows() {
		if f, _ := table.Flow(id); f.Cut > 0 {
			cut++
		}
	}
	if cut != table.rares.dropped {
		t.Errorf("%d flows are known to have lost notes of missing octets, %d have", cut, table.rares.dropped)
	}
}
