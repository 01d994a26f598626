package lab

import (
	"net/netip"
	"time"
)

// ProbeShaped counts, in frames captured at the host with address from, the
// segments it sent until the given instant that have a probe's shape: no
// octets, ACK alone, sequence number one below the next. Linux sends nothing
// else of that shape, so they are its keepalive and its window probes.
//
// Where the capture shows the flow from its beginning the next sequence number
// is what the host had sent so far; where it begins in the silence it is the
// highest that either side names anywhere.
func ProbeShaped(frames []Frame, from netip.Addr, since, until time.Time) int {
	next := firstNexts(frames, from)
	n := 0
	for i := range frames {
		f := &frames[i]
		if !f.TCP || f.Src.Addr() != from {
			continue
		}
		k := f.flow()
		if f.Len == 0 && f.Flags == FlagACK && f.Seq == next[k]-1 && within(f.At, since, until) {
			n++
		}
		if int32(f.next()-next[k]) > 0 {
			next[k] = f.next()
		}
	}
	return n
}

// firstNexts returns, for every flow that was joined midway, the next sequence
// number of its end at from.
func firstNexts(frames []Frame, from netip.Addr) map[flowKey]uint32 {
	next, begun := map[flowKey]uint32{}, map[flowKey]bool{}
	for i := range frames {
		f := &frames[i]
		if !f.TCP {
			continue
		}
		k := f.flow()
		named := f.Ack
		if f.Src.Addr() == from {
			named = f.next()
		}
		if f.Flags&FlagSYN != 0 && f.Src.Addr() == from && !begun[k] {
			begun[k], next[k] = true, f.next()
		}
		if begun[k] || f.Flags&FlagACK == 0 && f.Src.Addr() != from {
			continue
		}
		if old, ok := next[k]; !ok || int32(named-old) > 0 {
			next[k] = named
		}
	}
	return next
}

// Resets counts the RSTs that from sent until the given instant.
func Resets(frames []Frame, from netip.Addr, since, until time.Time) int {
	n := 0
	for i := range frames {
		if f := &frames[i]; f.TCP && f.Src.Addr() == from && f.Flags&FlagRST != 0 && within(f.At, since, until) {
			n++
		}
	}
	return n
}

// Repeats counts the segments with octets, SYN or FIN that from sent again,
// whole, until the given instant.
func Repeats(frames []Frame, from netip.Addr, since, until time.Time) int {
	highest, begun := map[flowKey]uint32{}, map[flowKey]bool{}
	n := 0
	for i := range frames {
		f := &frames[i]
		if !f.TCP || f.Src.Addr() != from || f.next() == f.Seq || f.Flags&FlagRST != 0 {
			continue
		}
		k := f.flow()
		if begun[k] && int32(f.next()-highest[k]) <= 0 {
			if within(f.At, since, until) {
				n++
			}
			continue
		}
		begun[k], highest[k] = true, f.next()
	}
	return n
}

// Lost counts the TCP frames that one end sent and that are not in the capture
// of the other: what the router and the relay dropped.
func Lost(client, server []Frame, ends map[string]End) int {
	n := 0
	for _, dir := range []struct {
		here, there []Frame
		from        string
	}{
		{client, server, ends[AtClient].Address},
		{server, client, ends[AtServer].Address},
	} {
		crossed := crossings(dir.here, dir.there, netip.MustParseAddr(dir.from))
		for i := range dir.here {
			f := &dir.here[i]
			if f.TCP && f.Src.Addr().String() == dir.from && !crossed[i] {
				n++
			}
		}
	}
	return n
}

// wire is what a packet keeps on its way, whatever a router makes of its
// addresses and ports; offload is off.
type wire struct {
	id, window   uint16
	seq, ack     uint32
	val, ecr     uint32
	flags        byte
	length, orig int
}

func (f *Frame) wire() wire {
	return wire{f.IPID, f.Window, f.Seq, f.Ack, f.TSval, f.TSecr, f.Flags, f.Len, f.Orig}
}

// crossings says, for every TCP frame of here that from sent, whether it is in
// there too.
func crossings(here, there []Frame, from netip.Addr) []bool {
	arrived := map[wire]int{}
	for i := range there {
		if f := &there[i]; f.TCP {
			arrived[f.wire()]++
		}
	}
	crossed := make([]bool, len(here))
	for i := range here {
		f := &here[i]
		if f.TCP && f.Src.Addr() == from && arrived[f.wire()] > 0 {
			arrived[f.wire()]--
			crossed[i] = true
		}
	}
	return crossed
}

func within(at, since, until time.Time) bool { return !at.Before(since) && !at.After(until) }

// Crossed says, for every frame of one capture, whether it is a TCP frame that
// another capture holds, too.
func Crossed(here, there []Frame) []bool {
	arrived := map[wire]int{}
	for i := range there {
		if f := &there[i]; f.TCP {
			arrived[f.wire()]++
		}
	}
	crossed := make([]bool, len(here))
	for i := range here {
		f := &here[i]
		crossed[i] = f.TCP && arrived[f.wire()] > 0
	}
	return crossed
}

// Same reports whether two TCP frames are one packet, whatever a router has made
// of its addresses and ports.
func Same(f, g *Frame) bool { return f.wire() == g.wire() }
