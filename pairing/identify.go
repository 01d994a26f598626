package pairing

import (
	"kaflow/flows"
	"kaflow/tcp"
)

// crossing is one segment found in two captures. Indexes 0 and 1 are the two
// sightings.
type crossing struct {
	from  uint8
	event [2]int // index into Flow.Events; -1 for an anchor or the end of a run
	at    [2]tcp.Instant
	ord   [2]tcp.Ordinal
	ttl   [2]uint8 // 0 where not known
	sharp bool     // no other packet can have these fields: good for the clock
}

// print is what two captures of one segment have in common.
type print struct {
	from    uint8
	role    uint8 // separates the grades of print and what anchors and runs give
	flags   tcp.Flags
	seq     tcp.Seq
	ack     tcp.Seq
	length  uint32
	ts, ecr uint32
	hasTS   bool
	ipid    uint16
}

// Grades of a print, from the strictest.
const (
	wholePrint  uint8 = iota // every field
	noIPIDPrint              // a box between may rewrite the IP ID
	octetPrint               // first octet: TSO and GRO cut differently
	anchorPrint
	runEndPrint
)

// printOf returns the event's print of one grade; ok is false where that grade
// says too little about it.
func printOf(e *flows.Event, grade uint8) (p print, ok bool) {
	p = print{from: e.From, role: grade, flags: e.Flags, seq: e.Seq, ack: e.Ack, length: e.Len, hasTS: e.HasTS, ipid: e.IPID}
	if e.HasTS {
		p.ts, p.ecr = e.TSVal, e.TSEcr
	}
	switch grade {
	case noIPIDPrint:
		p.ipid = 0
		return p, e.HasTS
	case octetPrint:
		p.length, p.flags = 0, e.Flags&^(tcp.PSH|tcp.FIN)
		if e.HasTS {
			p.ipid = 0
		}
		return p, e.Len > 0 && (e.HasTS || e.IPID != 0)
	}
	return p, true
}

// comparable reports whether the event is a segment that can be looked for in
// another capture: copies, ICMP errors and unclear senders are not.
func comparableEvent(e *flows.Event) bool {
	return e.From != flows.Unclear && e.Kind != flows.Duplicate && e.Kind != flows.ICMPError
}

// identify returns the segments that are in both views beyond doubt of
// identity: each print occurs once in either. Their order is that of a's
// events.
func identify(a, b *flows.Flow) []crossing {
	matchA := make([]int, len(a.Events))
	matchB := make([]int, len(b.Events))
	for i := range matchA {
		matchA[i] = -1
	}
	for i := range matchB {
		matchB[i] = -1
	}
	steady := [2]bool{steadyIPID(a, b, flows.Client), steadyIPID(a, b, flows.Server)}
	kept := [2]bool{}
	for grade := wholePrint; grade <= octetPrint; grade++ {
		matchGrade(a, b, matchA, matchB, grade, kept)
		switch grade {
		case wholePrint:
			kept = keptIPID(a, matchA, steady)
		case noIPIDPrint:
			partLonely(a, b, matchA, matchB, kept)
		}
	}
	var found []crossing
	for i, j := range matchA {
		if j < 0 {
			continue
		}
		x, y := &a.Events[i], &b.Events[j]
		found = append(found, crossing{from: x.From, event: [2]int{i, j}, at: [2]tcp.Instant{x.At, y.At},
			ord: [2]tcp.Ordinal{x.Ord, y.Ord}, ttl: [2]uint8{x.TTL, y.TTL}, sharp: sharp(x, steady[x.From&1]) && sharp(y, steady[x.From&1])})
	}
	return append(found, anchored(a, b, steady)...)
}

// keptIPID reports, by sender, whether segments that are the same in every field
// show that the path keeps the IP ID: what differs in it is then another one.
func keptIPID(a *flows.Flow, match []int, steady [2]bool) (kept [2]bool) {
	for i, j := range match {
		if e := &a.Events[i]; j >= 0 && e.IPID != 0 && !steady[e.From&1] {
			kept[e.From&1] = true
		}
	}
	return kept
}

// partLonely parts the only two segments of a sender that differ in the IP ID
// alone, where the path keeps those of the other sender, or nothing of the two tells
// whether it keeps any: timestamps that tick slowly are those of several packets.
func partLonely(a, b *flows.Flow, matchA, matchB []int, kept [2]bool) {
	var differ, last [2]int
	for i, j := range matchA {
		if e := &a.Events[i]; j >= 0 && e.IPID != b.Events[j].IPID {
			differ[e.From&1]++
			last[e.From&1] = i
		}
	}
	for from := range differ {
		if i := last[from]; differ[from] == 1 && !kept[from] && (kept[1-from] || differ[1-from] == 0) {
			matchB[matchA[i]] = -1
			matchA[i] = -1
		}
	}
}

// sharp reports whether the event's fields can belong to one packet only.
func sharp(e *flows.Event, steady bool) bool {
	switch {
	case e.HasTS:
		return true
	case e.IPID != 0 && !steady:
		return true
	}
	first := e.Kind != flows.Retransmission && e.Kind != flows.KeepaliveProbe && e.Kind != flows.ZeroWindowProbe &&
		e.Kind != flows.KeepaliveUnclear && e.Note&flows.NoteRepeated == 0
	return first && (e.Len > 0 || e.Flags.Any(tcp.SYN|tcp.FIN))
}

// steadyIPID reports whether a sender repeats its IP ID, which then tells
// nothing.
func steadyIPID(a, b *flows.Flow, from uint8) bool {
	for _, f := range []*flows.Flow{a, b} {
		last, seen := uint16(0), false
		for i := range f.Events {
			e := &f.Events[i]
			if e.From != from || !comparableEvent(e) {
				continue
			}
			if seen && e.IPID == last {
				return true
			}
			last, seen = e.IPID, true
		}
	}
	return false
}

// matchGrade matches what is not matched yet and whose print of one grade
// occurs once in either view. kept says by sender that the path keeps IP IDs.
func matchGrade(a, b *flows.Flow, matchA, matchB []int, grade uint8, kept [2]bool) {
	const twice = -2
	inA := make(map[print]int, len(a.Events))
	index := func(f *flows.Flow, match []int, in map[print]int) {
		for i := range f.Events {
			if match[i] >= 0 || !comparableEvent(&f.Events[i]) {
				continue
			}
			p, ok := printOf(&f.Events[i], grade)
			if !ok {
				continue
			}
			if _, there := in[p]; there {
				in[p] = twice
			} else {
				in[p] = i
			}
		}
	}
	index(a, matchA, inA)
	if len(inA) == 0 {
		return
	}
	inB := make(map[print]int, len(b.Events))
	index(b, matchB, inB)
	for p, i := range inA { // the order does not matter: each print sets its own entries
		if j, there := inB[p]; there && i >= 0 && j >= 0 && !(grade == noIPIDPrint && kept[p.from&1] && a.Events[i].IPID != b.Events[j].IPID) {
			matchA[i], matchB[j] = j, i
		}
	}
}

// anchored returns what the anchors of both views, and the last segments of
// their runs, have in common: crossings for the clock, no events.
func anchored(a, b *flows.Flow, steady [2]bool) []crossing {
	type place struct {
		at    tcp.Instant
		ord   tcp.Ordinal
		count int
	}
	places := func(f *flows.Flow) map[print]place {
		in := map[print]place{}
		put := func(p print, at tcp.Instant, ord tcp.Ordinal) {
			in[p] = place{at, ord, in[p].count + 1}
		}
		for i := range f.Anchors {
			// Sent again it would have another IP ID.
			if n := &f.Anchors[i]; n.IPID != 0 && !n.Again && !steady[n.From&1] {
				put(print{role: anchorPrint, from: n.From, seq: n.Seq, ack: n.Ack, ipid: n.IPID, ts: n.Prints[0]}, n.At, n.Ord)
			}
		}
		for i := range f.Events {
			e := &f.Events[i]
			// A keepalive run ends with an answer, and TSVal is that of the probe.
			if r := e.Run; r != nil && e.HasTS && comparableEvent(e) && (r.LastFrom == e.From || e.Kind == flows.KeepaliveProbe) {
				put(print{role: runEndPrint, from: r.LastFrom, seq: r.Seq, ack: r.Ack, ts: r.TSVal}, r.Until, r.UntilOrd)
			}
		}
		return in
	}
	inA := places(a)
	if len(inA) == 0 {
		return nil
	}
	inB := places(b)
	var found []crossing
	for p, x := range inA {
		if y, there := inB[p]; there && x.count == 1 && y.count == 1 && p.from != flows.Unclear {
			found = append(found, crossing{from: p.from, event: [2]int{-1, -1}, at: [2]tcp.Instant{x.at, y.at},
				ord: [2]tcp.Ordinal{x.ord, y.ord}, sharp: true})
		}
	}
	return found // unordered: whoever cares sorts by ord
}
