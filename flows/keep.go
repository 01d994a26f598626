package flows

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// keep writes the segment into the flow's story: what matters as an event of
// its own, what is ordinary into a run.
func (s *step) keep(kind Kind) {
	switch kind {
	case Unknown, ACK, Data, DupACK, WindowUpdate, OutOfOrder, ChallengeACK, Heartbeat, HeartbeatReply, KeepaliveUnclear:
		s.ordinary(kind)
	case KeepaliveACK:
		if s.append(kind) != nil {
			s.foldPair()
		}
	default:
		s.append(kind)
	}
}

// ordinary folds a segment into the run of traffic at the end of the story,
// unless it stands right behind an idle gap.
func (s *step) ordinary(kind Kind) {
	if s.quiet >= gapMin {
		s.c.afterGap = 3
	}
	if s.reportsHole(kind) {
		if ev := s.append(kind); ev != nil {
			ev.bits |= evKeep
			ev.note |= NoteSACK
		}
		return
	}
	if s.c.afterGap > 0 || s.note&NoteOutOfWindow != 0 {
		s.c.afterGap = max(s.c.afterGap, 1) - 1
		if ev := s.append(kind); ev != nil {
			ev.bits |= evKeep
		}
		return
	}
	evs := s.t.arena.events(s.c.story)
	if n := len(evs); n > 0 {
		last := &evs[n-1]
		switch {
		case last.bits&evTail != 0 && last.kind == Data:
			tail{last}.lengthen(s.d, s.seg, s.pkt)
			return
		case last.bits&(evTail|evKeep) == 0 && foldable(last.kind) && last.kind != KeepaliveACK && last.kind != Retransmission:
			head := len(evs) - 1
			if s.extend() == nil {
				return
			}
			evs = s.t.arena.events(s.c.story)
			if len(evs) < 2 || len(evs)-2 != head { // a compaction came between
				s.shorten()
				s.append(kind)
				return
			}
			evs[head].bits |= evRun
			tl := &evs[len(evs)-1]
			startTail(tl, &evs[head])
			tail{tl}.lengthen(s.d, s.seg, s.pkt)
			return
		}
	}
	s.append(kind)
}

// reportsHole reports whether the segment is the first of its kind to say that
// octets beyond a hole have arrived: what is sent again later may only be what
// does not fit through the path.
func (s *step) reportsHole(kind Kind) bool {
	if kind != DupACK || !s.seg.Opts.Has(tcp.OptSACK) || s.note&NoteDSACK != 0 {
		return false
	}
	evs := s.t.arena.events(s.c.story)
	for i := len(evs) - 1; i >= 0 && i >= len(evs)-4; i-- {
		if evs[i].note&NoteSACK != 0 && evs[i].ack == s.seg.Ack && evs[i].from() == s.d {
			return false
		}
	}
	return true
}

// foldable kinds may disappear in a run of traffic.
func foldable(k Kind) bool {
	switch k {
	case Unknown, ACK, Data, DupACK, WindowUpdate, OutOfOrder, ChallengeACK, Heartbeat, HeartbeatReply, KeepaliveUnclear,
		KeepaliveACK, ZeroWindowACK, Retransmission, ZeroWindowProbe:
		return true
	}
	return false
}

// startTail makes tl the tail of a traffic run that holds just head.
func startTail(tl, head *event) {
	*tl = event{at: head.at, ord: head.ord, ordHi: head.ordHi, tsval: head.tsval, kind: Data, bits: evTail | head.bits&(evFrom|evTS), ttl: head.ttl}
	t := tail{tl}
	var octets [2]float32
	octets[head.from()] = float32(head.count)
	if head.from() == 0 {
		tl.count = 1
	} else {
		tl.next = 1
	}
	t.setOctets(octets[0], octets[1])
	t.setLastSeq(head.seq, head.ack)
	t.setLag(lagUnknown)
}

// lengthen adds a segment of end d to a traffic run.
func (t tail) lengthen(d int, seg *tcp.Segment, pkt *capture.Packet) {
	since := uint32(max(0, min(pkt.At.Sub(t.at)/lagStep, lagUnknown)))
	if t.from() == d {
		since += t.lag()
	}
	t.setLag(since)
	t.at = max(t.at, pkt.At)
	t.setOrdinal(pkt.Ord)
	t.bits = t.bits&^(evFrom|evTS) | uint8(d)
	if d == 0 {
		t.count++
	} else {
		t.next++
	}
	if seg.Len > 0 {
		t.addOctets(d, seg.Len)
	}
	t.setLastSeq(seg.Seq, seg.Ack)
	t.tsval = seg.TSVal
	if seg.Opts.Has(tcp.OptTimestamps) {
		t.bits |= evTS
	}
	t.ttl = seg.TTL
}

// append adds the segment as an event of its own; nil where there was no room.
func (s *step) append(kind Kind) *event {
	s.t.arena.urgent = !foldable(kind)
	ev := s.extend()
	s.t.arena.urgent = false
	if ev == nil {
		return nil
	}
	seg := s.seg
	ev.copy(seg)
	ev.at, ev.kind, ev.note, ev.next, ev.bits = s.at, kind, s.note, 0, uint8(s.d)
	ev.setOrdinal(s.pkt.Ord)
	if s.quiet >= gapMin {
		ev.note |= NoteAfterGap
	}
	if s.batch != nil && s.pkt.WrongTCPSum(s.batch.Buf) || s.replayed != nil && s.replayed.bits&youngBadSum != 0 {
		ev.note |= NoteBadSum
	}
	if s.seg.Len > 0 && uint16(min(s.seg.Len, 0xffff)) == s.c.full && s.seg.Len >= 500 {
		ev.note |= NoteFullSize
	}
	if s.conf == Inferred {
		ev.bits |= evInferred
	}
	if seg.Opts.Has(tcp.OptTimestamps) {
		ev.bits |= evTS
	}
	if kind == KeepaliveProbe {
		ev.bits |= evOpen
	} else if s.answers != 0 {
		ev.next = uint32(s.pkt.Ord - s.answers)
	}
	return ev
}

// extend makes room for one event at the story's end, folding older ones
// where the flow or the arena is full.
func (s *step) extend() *event {
	ev := s.t.arena.extend(&s.c.story)
	if ev == nil {
		s.compact()
		ev = s.t.arena.extend(&s.c.story)
		switch {
		case ev != nil:
		case int(s.c.story.n) >= storyMost: // of nothing but what stays, such as ICMP errors: more of that tells no more
			s.t.beyond++
		default:
			s.t.turnAway(s.c, s.at)
		}
	}
	return ev
}

// shorten takes back the last event.
func (s *step) shorten() { s.c.story.n-- }

// foldPair folds the answered probe at the end of the story into the run of
// its kind, where one of the same pace stands right before it (the other
// end's keepalives may lie between).
func (s *step) foldPair() {
	evs := s.t.arena.events(s.c.story)
	n := len(evs)
	if n < 4 {
		return
	}
	probe, answer := &evs[n-2], &evs[n-1]
	if !isPair(probe, answer) {
		return
	}
	for i, looked := n-3, 0; i >= 1 && looked < 2; i, looked = i-2, looked+1 {
		head, last := &evs[i-1], &evs[i]
		run := last.bits&evTail != 0 && last.kind == KeepaliveProbe
		if !run && !isPair(head, last) {
			return
		}
		if head.from() != probe.from() {
			continue
		}
		if !sameShape(head, probe) {
			return
		}
		period := inSeconds(answer.at.Sub(last.at))
		rtt := inSeconds(answer.at.Sub(probe.at))
		if run {
			t := tail{last}
			if !onPace(t.period(), period) {
				return
			}
			s.addPair(t, probe, answer, period, rtt)
		} else {
			if period < float32(gapMin.Seconds())/2 {
				return
			}
			startPairs(head, last, probe, answer, period, rtt)
		}
		s.c.story.n -= 2
		s.t.arena.shrink(&s.c.story)
		return
	}
}

func isPair(probe, answer *event) bool {
	return probe.kind == KeepaliveProbe && probe.bits&(evAnswered|evTail|evRun) == evAnswered &&
		answer.kind == KeepaliveACK && answer.bits&evTail == 0 && answer.from() != probe.from() &&
		answer.ordinal()-probe.ordinal() == tcp.Ordinal(probe.next)
}

// sameShape reports whether two probes can stand in one run: nothing was sent
// between them, and the window did not matter.
func sameShape(a, b *event) bool {
	return a.seq == b.seq && a.ack == b.ack && a.count == b.count && (a.win == 0) == (b.win == 0)
}

// onPace reports whether a period lies within 2 % and 50 ms of a run's.
func onPace(run span, period float32) bool {
	slack := 0.02*period + 0.05
	return period >= run.max-slack && period <= run.min+slack
}

func (s *step) addPair(t tail, probe, answer *event, period, rtt float32) {
	p, r := t.period(), t.rtt()
	p.add(period)
	r.add(rtt)
	t.setPeriod(p)
	t.setRTT(r)
	t.event.count++
	t.event.next = probe.tsecr
	t.event.at = answer.at
	t.event.ord, t.event.ordHi = answer.ord, answer.ordHi
	t.event.tsval = probe.tsval
}

// startPairs turns two answered probes into a run: head stays, last becomes
// the tail.
func startPairs(head, last, probe, answer *event, period, rtt float32) {
	var p, r span
	p.add(period)
	r.add(inSeconds(last.at.Sub(head.at)))
	r.add(rtt)
	head.bits |= evRun
	*last = event{} // by itself: see taken
	last.at, last.ord, last.ordHi, last.ttl = answer.at, answer.ord, answer.ordHi, answer.ttl
	last.tsval, last.next, last.count = probe.tsval, probe.tsecr, 2
	last.kind, last.bits = KeepaliveProbe, evTail|probe.bits&(evFrom|evTS)
	t := tail{last}
	t.setPeriod(p)
	t.setRTT(r)
}

// item is one entry of a story while it is compacted: one event or a run's two.
type item struct {
	from, n   int
	gap       time.Duration // before it
	afterLong bool          // the gap is one of the longest: nothing is merged across it
	hold      hold
	droppable bool
}

// compact brings the story down to storyFolded events, or storyWaiting. The beginning, the
// last events, the neighbourhood of the longest gaps, unanswered probes, octets
// that wait and long keepalive runs stay; what lies between becomes runs of
// traffic.
func (s *step) compact() {
	evs := s.t.arena.events(s.c.story)
	if len(evs) < 8 {
		return
	}
	w, room := s.waiting(evs), storyFolded
	if w.some != [2]bool{} && len(evs) == storyMost {
		room = storyWaiting
	}
	for _, pass := range []struct {
		gaps, tailEvents int
		runs             bool
		most             hold // of what is folded
	}{{6, 14, false, holdNot}, {6, 14, false, holdAgain}, {4, 10, true, holdAgain}, {2, 6, true, holdAgain}} {
		evs = s.fold(evs, &w, pass.gaps, pass.tailEvents, pass.runs, pass.most)
		if len(evs) <= room {
			break
		}
	}
	if len(evs) > room { // nothing left to fold
		evs = squeeze(evs, &w)
	}
	s.c.story.n = uint8(len(evs))
}

// squeeze makes a run of what is not ordinary either: of the longest stretch of the
// story without one of its longest gaps, and without the first that waits. A hole in
// the story would be a silence that never was.
func squeeze(evs []event, w *waiting) []event {
	const head, last, gaps = 6, 6, 2 // what stays
	var items [storyMost]item
	list := itemsOf(evs, &items)
	w.hold(evs, list)
	protectSurvived(list, gaps)
	from, to := 0, 0 // among items
	for i := 0; i < len(list); {
		j := i + 1
		for list[i].hold != holdFirst && j < len(list) && !list[j].afterLong && list[j].hold != holdFirst {
			j++
		}
		a, b := max(i, head), min(j, len(list)-last)
		for a < b && evs[list[a].from].kind == ICMPError {
			a++
		}
		for a < b && evs[list[b-1].from].kind == ICMPError {
			b--
		}
		if b-a > to-from {
			from, to = a, b
		}
		i = j
	}
	if to-from < 3 {
		return evs
	}
	end := list[to-1].from + list[to-1].n
	return slices.Delete(evs, joinRun(evs, list[from:to], list[from].from), end)
}

// joinRun makes a run of neighbouring items, writes it to place out, and returns the
// place behind it.
func joinRun(evs []event, list []item, out int) int {
	var tl event
	last := list[len(list)-1]
	head := evs[list[0].from]
	merge(&tl, evs[list[0].from:last.from+last.n])
	for _, it := range list {
		if it.hold != holdNot || it.n == 2 && evs[it.from+1].bits&evOpen != 0 {
			tl.bits |= evOpen
		}
	}
	head.bits = head.bits&^evOpen | evRun
	if !foldable(head.kind) || head.kind == ZeroWindowProbe || head.kind == KeepaliveACK {
		head.kind = ACK
	}
	evs[out], evs[out+1] = head, tl
	return out + 2
}

// itemsOf parts a story in its items, those of a run being one.
func itemsOf(evs []event, items *[storyMost]item) []item {
	n := 0
	var end tcp.Instant
	for i := 0; i < len(evs); n++ {
		it := item{from: i, n: 1}
		if evs[i].bits&evRun != 0 {
			it.n = 2
		}
		if i > 0 {
			it.gap = evs[i].at.Sub(end)
		}
		end = evs[i+it.n-1].at
		items[n] = it
		i += it.n
	}
	return items[:n]
}

// fold merges neighbouring ordinary items in place and returns what is left.
func (s *step) fold(evs []event, w *waiting, gaps, tailEvents int, runs bool, most hold) []event {
	var items [storyMost]item
	list := itemsOf(evs, &items)
	w.hold(evs, list)
	for i := range list {
		it := &list[i]
		it.droppable = it.hold <= most && s.mayFold(evs, *it, runs) && it.from >= 2 && it.from < len(evs)-tailEvents
	}
	protectSurvived(list, gaps)
	out := 0
	for i := 0; i < len(list); {
		j := i + 1
		for list[i].droppable && j < len(list) && list[j].droppable && !list[j].afterLong {
			j++
		}
		if j == i+1 {
			out += copy(evs[out:], evs[list[i].from:list[i].from+list[i].n])
		} else {
			out = joinRun(evs, list[i:j], out)
		}
		i = j
	}
	return evs[:out]
}

func (s *step) mayFold(evs []event, it item, runs bool) bool {
	head := &evs[it.from]
	if it.n == 2 {
		return evs[it.from+1].kind == Data || runs
	}
	if head.kind == KeepaliveProbe {
		return head.bits&evOpen == 0
	}
	return foldable(head.kind)
}

// protectSurvived marks the n longest gaps before the first item that waits, and half as
// many behind it: those tell of timers less, and there are many in what is repeated in vain.
func protectSurvived(items []item, n int) {
	waits := slices.IndexFunc(items, func(it item) bool { return it.hold == holdFirst })
	if waits < 0 {
		protect(items, n)
		return
	}
	protect(items[:waits], n)
	protect(items[waits+1:], n/2)
}

// protect marks the n longest gaps between the items, of equal ones the first.
func protect(items []item, n int) {
	for range n {
		best := -1
		for i := range items {
			if !items[i].afterLong && items[i].gap >= gapMin && (best < 0 || items[i].gap > items[best].gap) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		items[best].afterLong = true
	}
}

// merge sums events and runs up into the tail of one run of traffic.
func merge(tl *event, evs []event) {
	var count [2]uint32
	var octets [2]float32
	for i := range evs {
		ev := &evs[i]
		switch {
		case ev.bits&evRun != 0, ev.kind == ICMPError:
			// Counted by its tail, or no segment of the flow's.
		case ev.bits&evTail != 0 && ev.kind == KeepaliveProbe:
			count[ev.from()] += ev.count
			count[1-ev.from()] += ev.count
		case ev.bits&evTail != 0:
			lo, hi := tail{ev}.octets()
			count[0] += ev.count
			count[1] += ev.next
			octets[0] += lo
			octets[1] += hi
		default:
			count[ev.from()]++
			octets[ev.from()] += float32(ev.count)
		}
	}
	last := &evs[len(evs)-1]
	seq, ack := last.seq, last.ack
	if last.bits&evTail != 0 && last.kind == Data {
		seq, ack = tail{last}.lastSeq()
	} else if last.bits&evTail != 0 {
		seq, ack = evs[len(evs)-2].ack, evs[len(evs)-2].seq+1
	}
	*tl = event{at: last.at, ord: last.ord, ordHi: last.ordHi, tsval: last.tsval, count: count[0], next: count[1], kind: Data,
		bits: evTail | last.bits&(evFrom|evTS), ttl: last.ttl}
	t := tail{tl}
	t.setOctets(octets[0], octets[1])
	t.setLastSeq(seq, ack)
	t.setLag(lagUnknown)
}
