package analyzer

import (
	"slices"
	"time"

	"kaflow/capture"
	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// desk hands out subjects: of paired captures they lie ready, of a single
// capture they are built from the table when asked for, so that a million
// healthy connections cost a glance each.
type desk struct {
	points   []pairing.Point
	result   *pairing.Result
	clocks   []pairing.Clock
	spans    []span
	subjects []*Subject              // of pairs
	byHosts  map[hostsKey][]*Subject // of pairs
	renamed  map[hostsKey][]*Subject // by what others than the first vantage point call their hosts
	unasked  map[string]Unasked
	plain    [plainKinds][]plainCase

	plainHosts map[hostsKey][]int      // of Result.Plain
	beside     map[hostsKey][]*Subject // as others told them last
	sighted    map[sighting]*Subject   // of pairs: by what any vantage point has of them; nil: nobody asked
	read       int                     // subjects that were built for beside
	briefs     []brief                 // the piece of their list that is being filled

	stirred  map[hostsKey]bool // hosts of connections to which something happened
	period   time.Duration     // longest of a connection to which nothing did
	survived time.Duration     // longest silence that a plain connection survived
	expect   *Expectation      // nil: nothing is compared
	whatIf   *WhatIf           // nil: nothing is asked
}

// plainKind is what a connection in which nothing happened came to.
type plainKind uint8

// In the order in which they are listed.
const (
	plainUnanswered plainKind = iota
	plainGap
	plainIdle
	plainHealthy
	plainClosed
	plainKinds
)

// plainCase is a connection in which nothing happened: 8 octets, for there can
// be a million. Of a single capture it is the FlowID, of several the place in
// Result.Plain.
type plainCase uint64

// plainOrClosed tells a connection that ended from one that did not.
func plainOrClosed(closed bool) plainKind {
	if closed {
		return plainClosed
	}
	return plainHealthy
}

// Of more flows than this, those in which nothing happened and that were silent
// in the end are counted at a glance: a million of them would
// take as long as the reading. What only a close look tells, as that another
// connection took one up under a new port, is told of that other one. Of SYNs
// that nobody answered, or a RST did, the first mostInDanger get that look, and of single
// segments of connections of which nothing else was seen.
const manyFlows = 50_000

// A silence at the end of a capture means nothing while it is shorter than
// shortIdle and, from longIdle on, whatever was survived before, that the
// connection is idle.
const (
	shortIdle = 2 * time.Second
	longIdle  = time.Minute
)

// silentAtGlance is what a connection that is silent in the end comes to, as
// idleAtEnd would say: within the silences that it survived it is healthy.
func silentAtGlance(g *flows.Glance, end tcp.Instant) plainKind {
	if silence := end.Sub(g.Last); g.Probes || silence >= longIdle || silence > g.Survived {
		return plainIdle
	}
	return plainHealthy
}

// loneAtGlance is what a connection comes to of which one segment is all that was
// seen, in a capture that ends at end.
func loneAtGlance(g *flows.Glance, end tcp.Instant) plainKind {
	switch {
	case g.Lone == flows.LoneRST:
		return plainClosed
	case end.Sub(g.Last) < shortIdle:
		return plainGap
	}
	return plainIdle
}

// crowd counts the connections of a kind that comes in floods.
type crowd struct {
	cut, unanswered, refused, lone, unheard int

	now    tcp.Instant // when the capture ends, or a live one is asked
	oneWay bool        // it may hold one direction only
	holes  []capture.Interval
}

// atGlance returns what one of very many connections comes to without a close
// look; ok is false where it gets one.
func (c *crowd) atGlance(g *flows.Glance, end tcp.Instant) (kind plainKind, ok bool) {
	switch {
	case g.Plain && g.Answered && !g.Closed:
		return silentAtGlance(g, end), true
	case g.Cut && !g.Closed:
		c.cut++
		return plainGap, c.cut > mostInDanger
	case g.Unanswered:
		if c.now.Sub(g.First) < answerDue || c.oneWay && g.Segments[flows.Client] == 1 {
			return plainGap, true
		}
		c.unanswered++
		return plainUnanswered, c.unanswered > mostInDanger
	case g.Refused:
		c.refused++
		return plainUnanswered, c.refused > mostInDanger
	case g.Lone != flows.NotLone:
		c.lone++
		return loneAtGlance(g, end), c.lone > mostInDanger
	case g.Unheard != 0 && c.oneWay && !holesAt(c.holes, g.Unheard, g.Unheard.Add(shortIdle)): // see closedUnheard
		if c.now.Sub(g.Unheard) >= shortIdle {
			return plainClosed, true
		}
		c.unheard++
		return plainGap, c.unheard > mostInDanger
	}
	return 0, false
}

// mostInDanger bounds the connections that are told in full because something
// is wrong with them, as under a flood of SYNs; Options.MaxListed asks for more.
const mostInDanger = 10_000

func newDesk(points []pairing.Point, result *pairing.Result, clocks []pairing.Clock) *desk {
	d := &desk{points: points, result: result, clocks: clocks, spans: spansOf(points), byHosts: map[hostsKey][]*Subject{}, renamed: map[hostsKey][]*Subject{}, unasked: map[string]Unasked{}, stirred: map[hostsKey]bool{}}
	for _, pair := range result.Pairs {
		s := newSubject(points, clocks, pair, d.spans)
		d.subjects = append(d.subjects, s)
		d.byHosts[hostsOf(pair)] = append(d.byHosts[hostsOf(pair)], s)
		d.alsoKnown(s)
		if !s.Settled {
			d.stir(s)
		}
	}
	for i := range result.Plain {
		d.period = max(d.period, result.Plain[i].Period)
	}
	return d
}

// alsoKnown files a connection under the hosts by which further vantage points know
// it, where these are others.
func (d *desk) alsoKnown(s *Subject) {
	s.renamed = func(k hostsKey) []*Subject { return d.renamed[k] }
	names := []hostsKey{hostsOf(s.Pair)}
	for i := range s.Seen {
		if k := (hostsKey{s.Seen[i].Flow.Key.Lo, s.Seen[i].Flow.Key.Hi}); !slices.Contains(names, k) {
			names = append(names, k)
			d.renamed[k] = append(d.renamed[k], s)
		}
	}
}

// single reports whether the subjects come straight from one table.
func (d *desk) single() bool {
	return len(d.subjects) == 0 && len(d.points) == 1 && d.points[0].Table != nil
}

// stir notes that something happened to a connection of these hosts.
func (d *desk) stir(s *Subject) {
	for i := range s.Seen {
		k := &s.Seen[i].Flow.Key
		d.stirred[hostsKey{k.Lo, k.Hi}] = true
	}
}

// alone reports whether a connection to which nothing happened cannot be another
// one's continuation: of those between the same hosts none stopped, not even so
// late that it does not show yet.
func (d *desk) alone(s *Subject) bool {
	for i := range s.Seen {
		seen := &s.Seen[i]
		k := &seen.Flow.Key
		if d.stirred[hostsKey{k.Lo, k.Hi}] || d.spans[seen.Vantage].last.Sub(seen.Flow.First) <= 2*d.period+2*time.Second {
			return false
		}
	}
	return s.Settled
}

// open builds the subject of a pair in which nothing happened.
func (d *desk) open(p *pairing.PlainPair) *Subject {
	return newSubject(d.points, d.clocks, d.result.Pair(p), d.spans)
}

// fetch builds the subject of one flow of a single capture.
func (d *desk) fetch(id flows.FlowID) *Subject {
	f, ok := d.points[0].Table.Flow(id)
	if !ok {
		return nil
	}
	pair := &pairing.Pair{Seen: []pairing.Sighting{{Flow: f}}, Path: []int{0}, Method: "single"}
	return newSubject(d.points, d.clocks, pair, d.spans)
}

// brief is what is kept of every connection while all are weighed: enough to
// rank it and to compare it with the others.
type brief struct {
	id        flows.FlowID
	pair      *pairing.PlainPair // of several captures, where nothing happened
	verdict   string
	cause     string
	survived  time.Duration
	killed    time.Duration
	from, at  tcp.Instant   // the silence before the death
	path      [2]string     // of connections that say something of a path
	bracket   *IdleBracket  // of these; nil: nothing
	causeWhy  string        // where all connections together raised the cause
	interval  time.Duration // of the keepalives seen; 0 none
	index     int32         // of subjects; -1 for a flow of a single capture
	danger    int32
	port      uint16  // of the server
	way       [2]int8 // routers that the client's and the server's segments had passed; -1 not constant
	settled   bool    // of a single capture: nothing happened
	proven    bool
	causeSure bool
}

// write returns a place for another brief. They are kept in pieces: one list of hundreds
// of thousands that grows is copied again and again, and leaves as much behind each time.
func (d *desk) write() *brief {
	if len(d.briefs) == cap(d.briefs) {
		d.briefs = make([]brief, 0, 512)
	}
	d.briefs = append(d.briefs, brief{})
	return &d.briefs[len(d.briefs)-1]
}

// limits returns what the connection says of a path.
func (b *brief) limits() IdleBracket {
	if b.bracket == nil {
		return nothingMeasured()
	}
	return *b.bracket
}

// cases gives every connection its verdict.
func (d *desk) cases(r *Report) []*brief {
	var out []*brief
	if !d.single() {
		for i, s := range d.subjects {
			out = append(out, d.judge(s, i, s.flow.ID))
		}
		for i := range d.result.Plain {
			p := &d.result.Plain[i]
			d.setAside(plainOrClosed(p.Closed), plainCase(i))
			d.survived = max(d.survived, p.Survived)
		}
	} else {
		end := d.spans[0].last
		crowded, many := d.points[0].Table.Live() > manyFlows, crowd{now: max(end, d.points[0].Table.Now()), oneWay: !d.points[0].Table.BothWays(), holes: d.points[0].Holes}
		for g := range d.points[0].Table.Glances() {
			if g.Settled(end) {
				d.setAside(plainOrClosed(g.Closed), plainCase(g.ID))
				d.survived, d.period = max(d.survived, g.Survived), max(d.period, g.Period)
				continue
			}
			if kind, ok := many.atGlance(g, end); crowded && ok {
				d.setAside(kind, plainCase(g.ID))
				d.survived = max(d.survived, g.Survived)
				continue
			}
			if s := d.fetch(g.ID); s != nil {
				d.stir(s)
				out = append(out, d.judge(s, -1, g.ID))
			}
		}
	}
	r.Totals.Flows = len(out)
	for i := range out {
		r.Totals.ByVerdict[out[i].verdict]++
	}
	for kind, plain := range d.plain {
		if len(plain) > 0 {
			r.Totals.Flows += len(plain)
			r.Totals.ByVerdict[plainVerdicts[kind]] += len(plain)
		}
	}
	return out
}

var plainVerdicts = [...]string{plainUnanswered: NotEstablished, plainGap: CaptureGap, plainIdle: Idle, plainHealthy: Healthy, plainClosed: ClosedNormally}

func (d *desk) setAside(kind plainKind, c plainCase) {
	if cap(d.plain[kind]) == 0 && d.single() {
		d.plain[kind] = make([]plainCase, 0, d.points[0].Table.Live()) // growing would cost twice that
	}
	d.plain[kind] = append(d.plain[kind], c)
}

func (d *desk) judge(s *Subject, index int, id flows.FlowID) *brief {
	s.alone = d.alone(s)
	diag := d.diagnose(s)
	v := &diag.Verdict
	b := d.write()
	*b = brief{
		index: int32(index), id: id, danger: int32(dangerOf(v.ID, v.Confidence)), verdict: v.ID, cause: v.Cause,
		proven: v.Confidence == Proven, causeSure: v.CauseConfidence == Proven,
		interval: intervalOf(diag.Policies), port: s.flow.Sides[flows.Server].Addr.Port(),
		survived: diag.Idle.Survived, killed: diag.Idle.Killed, from: v.At.Add(-v.Silence), at: v.At, way: wayOf(s),
	}
	if b.survived > 0 || b.killed > 0 || diag.Idle.SurvivedRelearned > 0 {
		idle := diag.Idle // alone: the diagnosis is not kept
		b.path, b.bracket = pathOf(s), &idle
	}
	return b
}

// weigh lets what several connections show together raise the cause: where
// several die above and others live below one idle age, it is a timer. All in
// one shared silence an outage would look the same.
func (d *desk) weigh(cases []*brief) {
	var dead []*brief
	shortest, alive := time.Duration(0), d.survived
	for _, b := range cases {
		if b.verdict == SilentDrop && b.killed > 0 {
			dead = append(dead, b)
			if shortest == 0 || b.killed < shortest {
				shortest = b.killed
			}
			continue
		}
		alive = max(alive, b.survived)
	}
	if len(dead) < 2 || alive == 0 || alive >= shortest {
		return
	}
	from, to := dead[0].from, dead[0].at
	for _, b := range dead[1:] {
		from, to = max(from, b.from), min(to, b.at)
	}
	if from <= to {
		return
	}
	for _, b := range dead {
		if b.cause == "idle-expiry" && b.proven && !b.causeSure {
			b.causeWhy = plural(len(dead), "connection") + " died after silences of " + facts.Compact(shortest) + " and more while others survived up to " + facts.Compact(alive)
		}
	}
}
