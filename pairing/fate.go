package pairing

import (
	"fmt"
	"slices"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

// leg is one step of one direction of a connection: from the point nearer to
// the sender to the next one.
type leg struct {
	m         *matcher
	s         *strand
	from      uint8
	x, y      int
	near, far *flows.Flow // far is nil where the connection was not seen there
	partner   []int       // by near event: its far event, -1 none
	takenBy   []int       // by far event: its near event, -1 none
	unsure    map[int]string
	ipid      ipidHabit
	acks      []*ackLog // of what the sender sent: at near, at far if seen there, elsewhere
	slack     time.Duration
}

// fatesOf returns the fate of every segment and run of a connection between
// every two neighbours on its path.
func (m *matcher) fatesOf(s *strand, path []int) []Fate {
	var fates []Fate
	if s.self {
		return nil
	}
	back := slices.Clone(path)
	slices.Reverse(back)
	for k := 0; k+1 < len(path); k++ {
		fates = append(fates, m.stepFates(s, flows.Client, path[k:])...)
		fates = append(fates, m.stepFates(s, flows.Server, back[k:])...)
	}
	m.sortFates(fates, path[0])
	return fates
}

// stepFates returns the fates of what one end sent between the first two points of its
// way. Where the second does not tell, as it recorded nothing at the time or nothing
// shows that it did, the next one that can speaks in its place. It does so, too, of what
// the second lacks and of all that it lacks from then on: it came past it.
func (m *matcher) stepFates(s *strand, from uint8, way []int) []Fate {
	fates := m.legFates(s, from, way[0], way[1])
	open := func(f *Fate) bool { return f.How == Unknowable || f.Assumed }
	for _, y := range way[2:] {
		if !slices.ContainsFunc(fates, func(f Fate) bool { return open(&f) || f.How == Lost || f.Missing > 0 }) {
			break
		}
		beyond := map[tcp.Ordinal]*Fate{}
		further := m.legFates(s, from, way[0], y)
		for i := range further {
			beyond[further[i].Sent.Ord] = &further[i]
		}
		past := false // it came past the second point, and has not been seen there since
		for i := range fates {
			f, b := &fates[i], beyond[fates[i].Sent.Ord]
			switch {
			case b == nil:
				continue
			case b.How == Crossed && b.Missing == 0:
				past = f.How != Crossed || f.Missing > 0
			case f.How == Crossed:
				past = false
			}
			if open(f) && !open(b) || f.How == Lost && (past || b.How == Crossed) && !open(b) {
				*f = *b
			}
		}
	}
	return fates
}

// sortFates orders fates by when they were sent, on one point's clock.
func (m *matcher) sortFates(fates []Fate, base int) {
	slices.SortStableFunc(fates, func(a, b Fate) int {
		x, y := m.clocks.estimate(a.Sent.Vantage, base, a.Sent.At), m.clocks.estimate(b.Sent.Vantage, base, b.Sent.At)
		switch {
		case x != y:
			return cmpOrd(x, y)
		case a.Sent.Vantage == b.Sent.Vantage:
			return cmpOrd(a.Sent.Ord, b.Sent.Ord)
		}
		return int(a.From) - int(b.From)
	})
}

// legFates returns the fates of what one end sent, between two neighbours.
func (m *matcher) legFates(s *strand, from uint8, x, y int) []Fate {
	l := &leg{m: m, s: s, from: from, x: x, y: y, near: s.views[x], far: s.views[y], unsure: map[int]string{}, ipid: m.ipids[passage{[2]int{min(x, y), max(x, y)}, from}]}
	if l.near == nil {
		return nil
	}
	l.slack = m.clocks.slack(x, y)
	l.acks = []*ackLog{logAcks(l.near, from)}
	if l.far != nil {
		l.acks = append(l.acks, logAcks(l.far, from))
	}
	for v, f := range s.views {
		if v != x && v != y && f != nil {
			l.acks = append(l.acks, logAcks(f, from))
		}
	}
	l.takeCrossings()
	l.alignRest()
	var fates []Fate
	for i := range l.near.Events {
		if e := &l.near.Events[i]; e.From == from && comparableEvent(e) {
			fates = append(fates, l.fate(i, e))
		}
	}
	return fates
}

// slack is how much later than the clock bounds say a packet may pass, for
// queues.
func (cs clockSet) slack(x, y int) time.Duration {
	slack := 50 * time.Millisecond
	for _, c := range cs[[2]int{min(x, y), max(x, y)}] {
		if !c.NoMin && !c.NoMax && !c.Contradiction {
			slack = max(slack, 2*(c.Max-c.Min))
		}
	}
	return min(slack, time.Second)
}

// takeCrossings takes over what was identified beyond doubt.
func (l *leg) takeCrossings() {
	l.partner = make([]int, len(l.near.Events))
	for i := range l.partner {
		l.partner[i] = -1
	}
	if l.far == nil {
		return
	}
	l.takenBy = make([]int, len(l.far.Events))
	for i := range l.takenBy {
		l.takenBy[i] = -1
	}
	mine, theirs := 0, 1
	if l.x > l.y {
		mine, theirs = 1, 0
	}
	for _, c := range l.s.meet[[2]int{min(l.x, l.y), max(l.x, l.y)}] {
		i, j := c.event[mine], c.event[theirs]
		if c.from != l.from || i < 0 || !c.sharp {
			continue
		}
		if !l.near.Events[i].HasTS && !l.inTime(&l.near.Events[i], &l.far.Events[j]) {
			continue
		}
		l.partner[i], l.takenBy[j] = j, i
	}
}

// inTime reports whether f can be e, seen at the far point, by the clocks.
func (l *leg) inTime(e, f *flows.Event) bool {
	from, to, known := l.m.clocks.window(l.x, l.y, e.At)
	return !known || (from <= f.At && f.At <= to.Add(longestDelay))
}

// fate returns the fate of near event i.
func (l *leg) fate(i int, e *flows.Event) Fate {
	f := Fate{Sent: l.m.sides[l.x].ref(l.x, e), From: l.from, Between: [2]int{l.x, l.y}, Count: 1}
	switch {
	case e.Run != nil:
		l.runFate(&f, i, e)
	case l.partner[i] >= 0:
		l.crossed(&f, e, &l.far.Events[l.partner[i]])
	default:
		l.missing(&f, i, e)
	}
	return f
}

// crossed fills in a crossing, or says that only a part of it did.
func (l *leg) crossed(f *Fate, e, partner *flows.Event) {
	if seen := l.octetsSeen(e); e.Len > partner.Len && seen < int(e.Len) && partner.Run == nil && !l.farRunNear(e) {
		f.How, f.Reason = Unknowable, PartlySeen
		f.Why = fmt.Sprintf("%d of its %d octets are in %s", seen, e.Len, l.farName())
		return
	}
	f.How, f.Seen = Crossed, l.m.sides[l.y].ref(l.y, partner)
}

func (l *leg) farName() string  { return l.m.sides[l.y].name }
func (l *leg) nearName() string { return l.m.sides[l.x].name }

// missing fills in the fate of a segment that was not identified at the far
// point.
func (l *leg) missing(f *Fate, i int, e *flows.Event) {
	if why, ok := l.unsure[i]; ok {
		f.Reason, f.Why = Identical, why
		return
	}
	from, to, known := l.m.clocks.window(l.x, l.y, e.At)
	if l.far != nil {
		if l.withinLarger(f, e) || l.withinRun(f, e, from, to) {
			return
		}
	}
	if l.strayed(f, e) {
		return
	}
	if e.Kind == flows.KeepaliveACK && e.Answers != 0 && l.far != nil && !l.crossedBack(e.Answers) {
		f.Reason, f.Why = NotRecording, fmt.Sprintf("%s does not hold what it answers, either", l.farName())
		return
	}
	if r, ok := l.arrived(e, from, to.Add(l.slack), known); ok {
		f.Reason, f.Why = r.reason, r.why
		if r.reason == Acknowledged && l.folded(from, to.Add(l.slack)) {
			f.Reason, f.Why = InRun, fmt.Sprintf("it arrived, and may be within a run of %s", l.farName())
		}
		return
	}
	l.absent(f, e, from, to.Add(l.slack), known)
}

// absent fills in what follows from absence at the far point.
func (l *leg) absent(f *Fate, e *flows.Event, from, to tcp.Instant, known bool) {
	far := l.m.sides[l.y]
	switch {
	case l.far == nil && l.m.closedAt(l.s, l.y):
		f.Reason, f.Why = FlowGone, fmt.Sprintf("the connection ended well at %s and its packets are no longer listed", far.name)
		return
	case l.far == nil && far.evicted > 0:
		f.Reason, f.Why = FlowGone, fmt.Sprintf("%d connections of %s were given up to a limit, perhaps this one", far.evicted, far.name)
		return
	case l.far == nil && !l.m.admitted(l.s, l.x, l.y):
		f.Reason, f.Why = FilteredPerhaps, fmt.Sprintf("%s holds no other connection to this port: it may have been filtered", far.name)
		return
	case l.far == nil && l.bypasses():
		f.Reason, f.Why = FilteredPerhaps, fmt.Sprintf("%s holds nothing of this connection, not even when it was in use: it passes another host or another way", far.name)
		return
	}
	if l.renamed() {
		f.Reason, f.Why = OtherName, fmt.Sprintf("%s knows the connection under other addresses", far.name)
		return
	}
	r := far.recorded(l.m.namesAt(l.s, l.y), l.far, from, to)
	if r.assumed {
		if late, ok := l.stopped(e); ok {
			r = late
		}
	}
	f.How, f.Reason, f.Why, f.Assumed = r.how, r.reason, r.why, r.assumed
	if f.How == Lost && !known {
		f.Assumed, f.Reason = true, ClockUnknown
		f.Why = l.m.clocks.doubt(l.nearName(), far.name, l.x, l.y)
	}
}

// bypasses reports whether the connection passes the far point by: data of its
// receiver, which no device makes up, is at the near point from a time at which the
// far one recorded the hosts and holds none of it.
func (l *leg) bypasses() bool {
	for i := range l.near.Events {
		g := &l.near.Events[i]
		if r := g.Run; (g.From != opposite(l.from) || g.Len < 2) && (r == nil || r.Octets[opposite(l.from)] < 2) || !comparableEvent(g) {
			continue
		}
		from, to, known := l.m.clocks.window(l.x, l.y, g.At)
		if r := l.m.sides[l.y].recorded(l.m.namesAt(l.s, l.y), nil, from.Add(-l.slack), to); known && r.how == Lost && !r.assumed {
			return true
		}
	}
	return false
}

// withinLarger looks for the octets of e in differently cut segments at the
// far point.
func (l *leg) withinLarger(f *Fate, e *flows.Event) bool {
	if e.Len == 0 || isProbe(e.Kind) {
		return false
	}
	seen := l.octetsSeen(e)
	switch {
	case seen == 0:
		return false
	case seen < int(e.Len):
		f.Reason, f.Why = PartlySeen, fmt.Sprintf("%d of its %d octets are in %s", seen, e.Len, l.farName())
		return true
	}
	for j := range l.far.Events {
		if g := &l.far.Events[j]; l.carries(e, j, g) && g.Seq.Sub(e.Seq) <= 0 {
			f.How, f.Seen = Crossed, l.m.sides[l.y].ref(l.y, g)
			return true
		}
	}
	return false
}

// octetsSeen counts the octets of e that single segments at the far point
// carry and that no other transmission of them explains.
func (l *leg) octetsSeen(e *flows.Event) int {
	type stretch struct{ from, to int }
	var parts []stretch
	for j := range l.far.Events {
		g := &l.far.Events[j]
		if l.carries(e, j, g) {
			d := g.Seq.Sub(e.Seq)
			parts = append(parts, stretch{max(d, 0), min(d+int(g.Len), int(e.Len))})
		}
	}
	slices.SortFunc(parts, func(a, b stretch) int { return a.from - b.from })
	count, until := 0, 0
	for _, p := range parts {
		if p.to > until {
			count += p.to - max(p.from, until)
			until = p.to
		}
	}
	return count
}

// carries reports whether far event j can hold octets of this very
// transmission e.
func (l *leg) carries(e *flows.Event, j int, g *flows.Event) bool {
	if g.From != l.from || g.Run != nil || g.Len == 0 || !comparableEvent(g) || isProbe(g.Kind) || !overlap(e, g) {
		return false
	}
	if e.HasTS && g.HasTS && e.TSVal != g.TSVal {
		return false
	}
	if i := l.takenBy[j]; i >= 0 {
		if o := &l.near.Events[i]; o != e && overlap(o, e) {
			return false
		}
	}
	if !e.HasTS && l.ipid == ipidKept && e.Seq == g.Seq && e.IPID != g.IPID {
		return false
	}
	return l.inTime(e, g)
}

// overlap reports whether two segments share octets.
func overlap(a, b *flows.Event) bool {
	d := b.Seq.Sub(a.Seq)
	return d < int(a.Len) && -d < int(b.Len)
}

func isProbe(k flows.Kind) bool {
	return k == flows.KeepaliveProbe || k == flows.ZeroWindowProbe || k == flows.KeepaliveUnclear
}

// ackLog is what the peer of a sender acknowledged, at one point.
type ackLog struct {
	at   []tcp.Instant
	ack  []tcp.Seq
	ever tcp.Seq
	any  bool
	echo map[uint32]bool // timestamps echoed
	ts   map[uint32]int  // how many of the sender's segments carry a timestamp
}

// logAcks collects what the peer of from acknowledged.
func logAcks(f *flows.Flow, from uint8) *ackLog {
	l := &ackLog{echo: map[uint32]bool{}, ts: map[uint32]int{}}
	for i := range f.Events {
		e := &f.Events[i]
		if !comparableEvent(e) || e.Kind == flows.Stale {
			continue
		}
		if e.From == from {
			if e.HasTS {
				l.ts[e.TSVal]++
				if e.Run != nil {
					l.ts[e.TSVal]++ // others of the run may share it
				}
			}
		} else if e.Flags.Has(tcp.ACK) && e.Kind != flows.RST { // a RST may be somebody else's
			l.add(e.At, e.Ack)
			if e.HasTS {
				l.echo[e.TSEcr] = true
			}
		}
		if r := e.Run; r != nil && r.LastFrom == opposite(from) {
			l.add(r.Until, r.Ack)
		}
	}
	if s, peer := &f.Sides[from], &f.Sides[opposite(from)]; s.NxtKnown && peer.Segments > 0 && !peer.RST && (!l.any || s.SndUna.After(l.ever)) {
		l.ever, l.any = s.SndUna, true
	}
	return l
}

func (l *ackLog) add(at tcp.Instant, ack tcp.Seq) {
	if !l.any || ack.After(l.ever) {
		l.ever = ack
	}
	l.any = true
	l.at, l.ack = append(l.at, at), append(l.ack, ack)
}

// arrived says whether something proves that e reached its receiver although
// the far capture does not hold it; known, whether the clocks can be compared.
func (l *leg) arrived(e *flows.Event, from, to tcp.Instant, known bool) (recording, bool) {
	if isProbe(e.Kind) {
		return l.answered(e, from, to)
	}
	if l.octetsAcked(e, from, to, known) && !l.refuted(e, to) {
		return unknowable(Acknowledged, "acknowledged, so it arrived; %s misses it", l.farName()), true
	}
	if e.AnsweredBy != 0 {
		return l.answered(e, from, to)
	}
	if l.satisfied(e, from) {
		return unknowable(Acknowledged, "nothing that it acknowledges was sent again, so it arrived; %s misses it", l.farName()), true
	}
	if e.HasTS && l.acks[0].ts[e.TSVal] == 1 {
		for _, a := range l.acks {
			if a.echo[e.TSVal] {
				return unknowable(Acknowledged, "its timestamp was echoed, so it arrived; %s misses it", l.farName()), true
			}
		}
	}
	return recording{}, false
}

// patience is longer than a sender with a measured round trip waits before it
// sends again what was not acknowledged (RFC 6298 has at least a second, stacks
// less).
const patience = 1500 * time.Millisecond

// satisfied reports whether e is an acknowledgment of data just received whose
// sender would have sent the data again without it, long before it heard of it
// otherwise, and did not: at neither point. from is when e would have arrived.
func (l *leg) satisfied(e *flows.Event, from tcp.Instant) bool {
	if l.far == nil || e.Len != 0 || e.Flags&(tcp.ACK|tcp.SYN|tcp.FIN|tcp.RST) != tcp.ACK || isProbe(e.Kind) {
		return false
	}
	if l.repeated(e.Ack) {
		return false // each further copy waits twice as long as the one before (RFC 6298, section 5.5)
	}
	heard, asked := false, false // of the data at the near point; more by e's sender in time
	for i := range l.near.Events {
		g := &l.near.Events[i]
		switch {
		case g.From == opposite(l.from) && g.Run == nil && g.Len > 0 && g.At <= e.At && e.At.Sub(g.At) < patience && endOf(g) == e.Ack:
			heard = true
		case g.At > e.At && g.At.Sub(e.At) < patience && (g.Run != nil || g.From == l.from || g.Len > 0):
			asked = true
		}
	}
	if !heard || asked || l.near.Last.Sub(e.At) < patience || l.m.sides[l.y].last < from.Add(patience) {
		return false
	}
	for i := range l.far.Events {
		g := &l.far.Events[i]
		if g.At <= from.Add(patience) && g.End() >= from && (g.Run != nil || g.From == opposite(l.from) && g.Len > 0) {
			return false // sent again, or something that may hide it
		}
	}
	return true
}

// repeated reports whether the peer sent octets that end at a position more than once, as
// far as either point tells.
func (l *leg) repeated(end tcp.Seq) bool {
	again := func(g flows.Event) bool {
		return g.From == opposite(l.from) && g.Kind == flows.Retransmission && endOf(&g) == end
	}
	return slices.ContainsFunc(l.near.Events, again) || slices.ContainsFunc(l.far.Events, again)
}

// octetsAcked reports whether what e carries was acknowledged by the peer, at
// either point. Where that was before e, sent again needlessly, only what looks like
// an answer to e itself counts: a receiver acknowledges at once what it has already
// (RFC 9293, section 3.10.7.4).
func (l *leg) octetsAcked(e *flows.Event, from, to tcp.Instant, known bool) bool {
	end := endOf(e)
	if end == e.Seq {
		return false
	}
	acked := slices.ContainsFunc(l.acks, func(a *ackLog) bool { return a.any && !end.After(a.ever) })
	if l.acks[0].covers(end, e.At) || known && l.far != nil && l.acks[1].covers(end, from) {
		return l.acknowledgesAgain(l.near, e.At, e.At.Add(time.Second)) || l.acknowledgesAgain(l.far, from, to.Add(time.Second))
	}
	return acked
}

// covers reports whether what ends at end had been acknowledged before an instant.
func (l *ackLog) covers(end tcp.Seq, before tcp.Instant) bool {
	for i, ack := range l.ack {
		if l.at[i] < before && !end.After(ack) {
			return true
		}
	}
	return false
}

// acknowledgesAgain reports whether a flow holds a bare acknowledgment of the peer
// in a stretch of time, or a run that may hide one.
func (l *leg) acknowledgesAgain(f *flows.Flow, from, to tcp.Instant) bool {
	return f != nil && slices.ContainsFunc(f.Events, func(g flows.Event) bool {
		if g.Run != nil {
			return g.At <= to && g.Run.Until >= from
		}
		return g.From == opposite(l.from) && g.At >= from && g.At <= to && g.Len == 0 && g.Flags&(tcp.ACK|tcp.SYN|tcp.FIN|tcp.RST) == tcp.ACK
	})
}

// refuted reports whether the acknowledgment of e's octets is explained by
// another transmission of them: they were sent again, and after e must have
// passed the peer still asked for one of them.
func (l *leg) refuted(e *flows.Event, to tcp.Instant) bool {
	if l.far == nil || !l.sentAgain(e) {
		return false
	}
	after := to.Add(time.Second)
	if rtt := l.far.Sides[l.from].RTT; rtt.Known {
		after = to.Add(rtt.Max)
	}
	log := l.acks[1]
	for i, ack := range log.ack {
		if log.at[i] >= after && !ack.Before(e.Seq) && ack.Before(endOf(e)) {
			return true
		}
	}
	return false
}

// sentAgain reports whether the octets of e were sent later once more.
func (l *leg) sentAgain(e *flows.Event) bool {
	for i := range l.near.Events {
		g := &l.near.Events[i]
		if g.From == l.from && g.At > e.At && comparableEvent(g) && g.Len > 0 && overlap(e, g) {
			return true
		}
	}
	return false
}

// answered says whether a probe is known to have been answered.
func (l *leg) answered(e *flows.Event, from, to tcp.Instant) (recording, bool) {
	if e.AnsweredBy != 0 {
		if l.far == nil || !l.crossedBack(e.AnsweredBy) {
			return unknowable(AnsweredNear, "answered at %s, but %s holds neither it nor the answer", l.nearName(), l.farName()), true
		}
		return unknowable(Acknowledged, "answered, so it arrived; %s misses it", l.farName()), true
	}
	if l.far == nil {
		return recording{}, false
	}
	if r, ok := l.answeredNear(e); ok {
		return r, true
	}
	for j := range l.far.Events {
		g := &l.far.Events[j]
		if g.From == opposite(l.from) && g.Run == nil && g.Len == 0 && g.Answers == 0 && g.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) == tcp.ACK &&
			!isProbe(g.Kind) && comparableEvent(g) && g.Ack.Sub(e.Seq) == 1 && g.At >= from && g.At <= to.Add(time.Second) {
			return unknowable(Acknowledged, "%s holds what can be its answer, so it may have arrived", l.farName()), true
		}
	}
	return recording{}, false
}

// answeredNear says whether the near capture holds what can be the answer to a
// probe: an acknowledgment, which the far capture may miss like the probe, or
// the RST of a host that knows no such connection, which it must hold.
func (l *leg) answeredNear(e *flows.Event) (recording, bool) {
	for i := range l.near.Events {
		g := &l.near.Events[i]
		if g.From != opposite(l.from) || g.Run != nil || g.Len > 0 || g.At < e.At || g.At > e.At.Add(time.Second) || !comparableEvent(g) {
			continue
		}
		switch g.Flags & (tcp.SYN | tcp.FIN | tcp.RST | tcp.ACK) {
		case tcp.RST:
			if g.Seq == e.Ack && l.crossedBack(g.Ord) {
				return unknowable(Acknowledged, "a RST answers it, so it arrived; %s misses it", l.farName()), true
			}
		case tcp.ACK:
			if off := g.Ack.Sub(e.Seq); !isProbe(g.Kind) && (g.Answers == 0 || g.Answers == e.Ord) && (off == 1 || off == 0 && e.Len > 0) {
				return unknowable(AnsweredNear, "%s holds what can be its answer, so it may have arrived", l.nearName()), true
			}
		}
	}
	return recording{}, false
}

// crossedBack reports whether the peer's segment ord of the near point is in
// the far capture too.
func (l *leg) crossedBack(ord tcp.Ordinal) bool {
	mine := 0
	if l.x > l.y {
		mine = 1
	}
	for _, c := range l.s.meet[[2]int{min(l.x, l.y), max(l.x, l.y)}] {
		if c.ord[mine] == ord && c.from != l.from {
			return true
		}
	}
	return false
}
