package flows

import (
	"kaflow/capture"
	"kaflow/tcp"
)

// feeder is a table that is handed segments one by one, a millisecond apart: of clients,
// all of the same port, that talk to port 22 of one server.
type feeder struct {
	Table
	batch capture.Batch
	ord   tcp.Ordinal // of the last one
}

// send hands the table a segment of a client, or, reversed, of the server to it.
func (f *feeder) send(client uint32, reversed bool, seg tcp.Segment) {
	f.put(client, reversed, seg)
	f.Add(&f.batch)
}

// short hands the table a segment as send does, where it goes one of the short ways,
// and reports whether it did.
func (f *feeder) short(client uint32, reversed bool, seg tcp.Segment) bool {
	f.put(client, reversed, seg)
	if !f.ready {
		f.init()
	}
	f.room()
	f.prepare(&f.batch)
	return f.shortly(&f.batch, 0) == 1
}

// put makes a batch of one segment.
func (f *feeder) put(client uint32, reversed bool, seg tcp.Segment) {
	f.ord++
	p := &f.batch.Pkts[0]
	*p = capture.Packet{Proto: capture.TCP, At: tcp.Instant(f.ord) * 1e6, Ord: f.ord, Reversed: reversed, Seg: seg}
	p.Key.SetIPv4(0x0a000000+client, 0x0b000001, 40000<<16|22)
	p.Settle()
	f.batch.N = 1
}
