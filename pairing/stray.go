package pairing

import (
	"fmt"

	"kaflow/flows"
	"kaflow/tcp"
)

// A translator that has forgotten a connection may give what comes later another
// port. The far point then holds it as a connection of its own that begins in
// the middle: what is in that one was not lost.

// mostStrays is how many events a connection may have that is looked through
// for segments of another.
const mostStrays = 64

// strayKey is what a segment keeps under other addresses.
type strayKey struct {
	flags    tcp.Flags
	seq, ack tcp.Seq
	length   uint32
	ts, ecr  uint32
	ipid     uint16 // without timestamps
}

// strayKeyOf returns the key of an event whose numbers are as seen; ok is false
// where it is one that others may be like.
func strayKeyOf(e *flows.Event, seq, ack tcp.Seq) (k strayKey, ok bool) {
	k = strayKey{flags: e.Flags, seq: seq, ack: ack, length: e.Len}
	switch {
	case e.Run != nil || !comparableEvent(e):
		return k, false
	case e.HasTS:
		k.ts, k.ecr = e.TSVal, e.TSEcr
		return k, true
	}
	k.ipid = e.IPID
	return k, e.IPID != 0
}

// stray is a segment of a connection that is seen at one point only and begins
// in the middle.
type stray struct {
	flow  *flows.Flow
	event int
}

// readStrays files the segments of such connections, by point.
func (m *matcher) readStrays() {
	m.strays = make([]map[strayKey]stray, len(m.sides))
	for p := range m.alone {
		m.strays[p] = map[strayKey]stray{}
		for _, list := range m.alone[p] { // keys that two share are dropped
			for _, f := range list {
				if !f.Midway || len(f.Events) > mostStrays {
					continue
				}
				for i := range f.Events {
					k, ok := strayKeyOf(&f.Events[i], f.Events[i].Seq, f.Events[i].Ack)
					if !ok {
						continue
					}
					if _, twice := m.strays[p][k]; twice {
						m.strays[p][k] = stray{}
					} else {
						m.strays[p][k] = stray{f, i}
					}
				}
			}
		}
	}
}

// strayed finds the segment at the far point under other addresses.
func (l *leg) strayed(f *Fate, e *flows.Event) bool {
	if len(l.m.strays[l.y]) == 0 {
		return false
	}
	shift := l.s.shift[l.x]
	if l.far != nil {
		shift = l.s.shift[l.y]
	}
	ack := e.Ack
	if e.Flags.Has(tcp.ACK) {
		ack += tcp.Seq(shift[opposite(l.from)])
	}
	k, ok := strayKeyOf(e, e.Seq+tcp.Seq(shift[l.from]), ack)
	x := l.m.strays[l.y][k]
	if !ok || x.flow == nil || x.flow == l.near || x.flow.Key == l.s.seen[l.x].Key || !l.inTime(e, &x.flow.Events[x.event]) {
		return false
	}
	g := &x.flow.Events[x.event]
	f.How, f.Seen, f.Reason = Crossed, l.m.sides[l.y].ref(l.y, g), OtherName
	f.Why = fmt.Sprintf("%s holds it as one of %s to %s", l.farName(), x.flow.Sides[g.From].Addr, x.flow.Sides[opposite(g.From)].Addr)
	return true
}

// renamed reports whether the near view, which begins in the middle and is seen
// here alone, goes on where a connection of the far point stopped.
func (l *leg) renamed() bool {
	f := l.near
	if l.far != nil || !f.Midway || len(f.Events) == 0 {
		return false
	}
	e := &f.Events[0]
	if e.From > flows.Server || !e.Flags.Has(tcp.ACK) {
		return false
	}
	if l.m.nexts == nil {
		l.m.nexts = make([]map[[2]tcp.Seq]bool, len(l.m.sides))
	}
	if l.m.nexts[l.y] == nil {
		at := make(map[[2]tcp.Seq]bool, len(l.m.sides[l.y].cards))
		for i := range l.m.sides[l.y].cards {
			g := &l.m.sides[l.y].cards[i]
			at[g.Next], at[[2]tcp.Seq{g.Next[1], g.Next[0]}] = true, true
		}
		l.m.nexts[l.y] = at
	}
	at := l.m.nexts[l.y]
	return at[[2]tcp.Seq{e.Seq, e.Ack}] || at[[2]tcp.Seq{e.Seq + 1, e.Ack}]
}
