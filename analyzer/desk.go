package analyzer

import (
	"cmp"
	"iter"
	"slices"
	"time"

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
	subjects []*Subject // of pairs
	byHosts  map[hostsKey][]*Subject
	unasked  map[string]Unasked
	plain    [plainKinds][]plainCase

	plainHosts map[hostsKey][]int      // of Result.Plain
	plainRead  map[hostsKey][]*Subject // those that were opened last

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
// that nobody answered the first mostInDanger get that look, and of single
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
	unanswered, lone int
	now              tcp.Instant // when the capture ends, or a live one is asked
}

// atGlance returns what one of very many connections comes to without a close
// look; ok is false where it gets one.
func (c *crowd) atGlance(g *flows.Glance, end tcp.Instant) (kind plainKind, ok bool) {
	switch {
	case g.Plain && g.Answered && !g.Closed:
		return silentAtGlance(g, end), true
	case g.Unanswered:
		if c.now.Sub(g.First) < answerDue {
			return plainGap, true
		}
		c.unanswered++
		return plainUnanswered, c.unanswered > mostInDanger
	case g.Lone != flows.NotLone:
		c.lone++
		return loneAtGlance(g, end), c.lone > mostInDanger
	}
	return 0, false
}

// mostInDanger bounds the connections that are told in full because something
// is wrong with them, as under a flood of SYNs; Options.MaxListed asks for more.
const mostInDanger = 10_000

func newDesk(points []pairing.Point, result *pairing.Result, clocks []pairing.Clock) *desk {
	d := &desk{points: points, result: result, clocks: clocks, spans: spansOf(points), byHosts: map[hostsKey][]*Subject{}, unasked: map[string]Unasked{}, stirred: map[hostsKey]bool{}}
	for _, pair := range result.Pairs {
		s := newSubject(points, clocks, pair, d.spans)
		d.subjects = append(d.subjects, s)
		d.byHosts[hostsOf(pair)] = append(d.byHosts[hostsOf(pair)], s)
		if !s.Settled {
			d.stir(s)
		}
	}
	for i := range result.Plain {
		d.period = max(d.period, result.Plain[i].Period)
	}
	return d
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

// others returns connections between two hosts, as controls for each other.
func (d *desk) others(k hostsKey) []*Subject {
	if !d.single() {
		return append(slices.Clip(d.byHosts[k]), d.plainOf(k)...)
	}
	if list, ok := d.byHosts[k]; ok {
		return list
	}
	if len(d.byHosts) > 64 { // bounded: hosts come in runs
		clear(d.byHosts)
	}
	key := flowKey(k)
	var list []*Subject
	for _, id := range d.points[0].Table.SomeOfHosts(&key, maxControls) {
		if s := d.fetch(id); s != nil {
			list = append(list, s)
		}
	}
	d.byHosts[k] = list
	return list
}

// plainOf returns some of the pairs between two hosts in which nothing happened:
// the first ones, and mostly the last.
func (d *desk) plainOf(k hostsKey) []*Subject {
	if d.plainHosts == nil {
		d.plainHosts, d.plainRead = map[hostsKey][]int{}, map[hostsKey][]*Subject{}
		for i := range d.result.Plain {
			key := &d.result.Plain[i].Key
			d.plainHosts[hostsKey{key.Lo, key.Hi}] = append(d.plainHosts[hostsKey{key.Lo, key.Hi}], i)
		}
	}
	list, read := d.plainRead[k]
	if read {
		return list
	}
	some := d.plainHosts[k]
	if most := maxControls - min(len(d.byHosts[k]), maxControls); len(some) > most {
		some = append(slices.Clone(some[:most/4]), some[len(some)-(most-most/4):]...)
	}
	for _, i := range some {
		list = append(list, d.open(&d.result.Plain[i]))
	}
	if len(d.plainRead) > 64 { // bounded: hosts come in runs
		clear(d.plainRead)
	}
	d.plainRead[k] = list
	return list
}

// brief is what is kept of every connection while all are weighed: enough to
// rank it and to compare it with the others.
type brief struct {
	index     int // of subjects; -1 for a flow of a single capture
	id        flows.FlowID
	pair      *pairing.PlainPair // of several captures, where nothing happened
	settled   bool               // of a single capture: nothing happened
	danger    int
	verdict   string
	cause     string
	proven    bool
	causeSure bool
	survived  time.Duration
	killed    time.Duration
	from, at  tcp.Instant   // the silence before the death
	path      [2]string     // of connections that say something of a path
	bracket   *IdleBracket  // of these; nil: nothing
	causeWhy  string        // where all connections together raised the cause
	interval  time.Duration // of the keepalives seen; 0 none
	port      int           // of the server
	way       [2]int8       // routers that the client's and the server's segments had passed; -1 not constant
}

// limits returns what the connection says of a path.
func (b *brief) limits() IdleBracket {
	if b.bracket == nil {
		return IdleBracket{Direction: "unknown", RefreshedBy: "unknown"}
	}
	return *b.bracket
}

// cases gives every connection its verdict.
func (d *desk) cases(r *Report) []brief {
	var out []brief
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
		crowded, many := d.points[0].Table.Live() > manyFlows, crowd{now: max(end, d.points[0].Table.Now())}
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

func (d *desk) judge(s *Subject, index int, id flows.FlowID) brief {
	s.alone = d.alone(s)
	diag := diagnose(s, d.others, d.unasked)
	v := &diag.Verdict
	b := brief{
		index: index, id: id, danger: dangerOf(v.ID, v.Confidence), verdict: v.ID, cause: v.Cause,
		proven: v.Confidence == Proven, causeSure: v.CauseConfidence == Proven,
		interval: intervalOf(diag.Policies), port: int(s.flow.Sides[flows.Server].Addr.Port()),
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
func (d *desk) weigh(cases []brief) {
	var dead []*brief
	shortest, alive := time.Duration(0), d.survived
	for i := range cases {
		b := &cases[i]
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

// list ranks the connections, joins their brackets and writes the details of
// those that the report holds.
func (d *desk) list(cases []brief, r *Report, o Options) {
	most := o.MaxListed
	if most == 0 {
		most = 10_000
	}
	r.Paths = d.paths(cases)
	d.answer(cases, r)
	slices.SortStableFunc(cases, func(a, b brief) int { return cmp.Compare(a.danger, b.danger) })
	place := 0
	for n, b := range d.listed(cases, most, o.Flow) {
		if place++; o.Passing && place > mostInDanger {
			continue
		}
		if s := d.subject(b); s != nil {
			r.Flows = append(r.Flows, d.detail(s, b, n, r.Paths))
		}
	}
	if r.Totals.Listed = len(r.Flows); o.Passing && place > mostInDanger {
		r.Totals.Listed += place - mostInDanger
		r.Rest = d.rest(cases, most, r, o)
	}
}

// rest yields the diagnoses that are listed behind the first mostInDanger of them.
func (d *desk) rest(cases []brief, most int, r *Report, o Options) iter.Seq[*Diagnosis] {
	return func(yield func(*Diagnosis) bool) {
		place := 0
		for n, b := range d.listed(cases, most, o.Flow) {
			if place++; place <= mostInDanger {
				continue
			}
			s := d.subject(b)
			if s == nil {
				continue
			}
			diag := d.detail(s, b, n, r.Paths)
			if !yield(&diag) {
				break
			}
		}
		r.Unasked = d.notAsked()
	}
}

// listed yields the connections that the report holds, with their numbers: the
// first ones, those that ask for attention, and the one that was asked for.
func (d *desk) listed(cases []brief, most, asked int) iter.Seq2[int, *brief] {
	return func(yield func(int, *brief) bool) {
		for n := range cases {
			if (n < most || n < mostInDanger && cases[n].danger < harmless || n+1 == asked) && !yield(n+1, &cases[n]) {
				return
			}
		}
		n := len(cases)
		for kind, plain := range d.plain {
			for _, c := range plain {
				if n++; n > most && n != asked {
					if n > asked {
						break
					}
					continue
				}
				b := &brief{index: -1}
				if d.single() {
					b.id, b.settled = flows.FlowID(c), kind > int(plainIdle)
				} else {
					b.pair = &d.result.Plain[c]
				}
				if !yield(n, b) {
					return
				}
			}
		}
	}
}

// notAsked lists the rules that could not be asked of any connection looked at so far.
func (d *desk) notAsked() []Unasked {
	var list []Unasked
	for _, k := range sortedKeys(d.unasked) {
		list = append(list, d.unasked[k])
	}
	return list
}

func (d *desk) subject(b *brief) *Subject {
	switch {
	case b.index >= 0:
		return d.subjects[b.index]
	case b.pair != nil:
		return d.open(b.pair)
	}
	s := d.fetch(b.id)
	if s != nil {
		s.Settled = b.settled
	}
	return s
}

// detail is the full diagnosis of one connection.
func (d *desk) detail(s *Subject, b *brief, id int, known []Path) Diagnosis {
	s.alone = d.alone(s)
	diag := diagnose(s, d.others, d.unasked)
	diag.ID = id
	if b.causeWhy != "" {
		diag.Verdict.CauseConfidence, diag.Verdict.CauseWhy = Proven, b.causeWhy
	}
	share(&diag.Idle, b.path, known)
	contradicted(&diag, b.path, known)
	for i := range diag.Policies {
		diag.Policies[i].Remark = remark(&diag.Policies[i], &diag.Idle)
	}
	nameRefresher(diag.Policies)
	diag.Remedies = remedies(s, &diag)
	diag.Owner = askOwner(s, &diag)
	if d.whatIf != nil {
		w := d.whatIf.would(b.circumstances(known, &diag))
		diag.WhatIf = &w
	}
	if d.expect != nil {
		diag.Checks = expect(s, d.expect)
	}
	diag.Timeline = timeline(s)
	diag.Filters = filters(s, &diag)
	diag.Spans = spans(s)
	if b.path != ([2]string{}) {
		diag.Path = 1 + slices.IndexFunc(known, func(p Path) bool { return p.Between == b.path })
	}
	return diag
}

// answer counts the answers to a WhatIf over all connections.
func (d *desk) answer(cases []brief, r *Report) {
	if d.whatIf == nil {
		return
	}
	r.Totals.ByWhatIf = map[string]int{}
	for i := range cases {
		r.Totals.ByWhatIf[d.whatIf.would(cases[i].circumstances(r.Paths, nil)).Answer]++
	}
	if plain := r.Totals.Flows - len(cases); plain > 0 {
		r.Totals.ByWhatIf[NothingToSave] += plain
	}
}

// circumstances are what a WhatIf asks about; of a connection that was plain,
// diag knows more than the brief.
func (b *brief) circumstances(known []Path, diag *Diagnosis) *circumstances {
	c := &circumstances{verdict: b.verdict, cause: b.cause, limit: b.limits(), interval: b.interval, port: b.port}
	if diag != nil {
		c.verdict, c.cause = diag.Verdict.ID, diag.Verdict.Cause
	}
	share(&c.limit, b.path, known)
	for i := range known {
		if known[i].Between == b.path {
			if known[i].Limit.Killed == 0 {
				c.note = known[i].Note
			}
			if known[i].Limit.RefreshedBy != "unknown" {
				c.limit.RefreshedBy = known[i].Limit.RefreshedBy
			}
		}
	}
	return c
}

// spans resolves the first and last frame of every sighting.
func spans(s *Subject) []Span {
	out := make([]Span, len(s.Seen))
	for i, seen := range s.Seen {
		f := seen.Flow
		out[i] = Span{
			First: refAt(s.Points, seen.Vantage, f.FirstOrd, flows.Unknown, f.First),
			Last:  refAt(s.Points, seen.Vantage, f.LastOrd, flows.Unknown, f.Last),
		}
	}
	return out
}

// share lets a connection that died on a path profit from what others survived
// there.
func share(b *IdleBracket, path [2]string, known []Path) {
	if b.Killed == 0 {
		return
	}
	for i := range known {
		l := &known[i].Limit
		if known[i].Between == path && l.Killed > 0 && l.Survived > b.Survived && l.Survived < b.Killed && (b.BothDied || l.Direction == b.Direction) {
			b.Survived, b.SurvivedRef = l.Survived, l.SurvivedRef
		}
	}
}

// contradicted takes back the idle limit that a connection's death seemed to
// show, where others of the same path contradict it, and names what they show
// instead.
func contradicted(d *Diagnosis, path [2]string, known []Path) {
	for i := range known {
		p := &known[i]
		if p.Between != path || p.Note == "" || d.Idle.Killed == 0 || p.Limit.Killed > 0 {
			continue
		}
		d.Idle.Killed, d.Idle.KilledRef, d.Idle.Direction = 0, pairing.Ref{}, "unknown"
		if v := &d.Verdict; p.contradicted && v.Cause == "idle-expiry" {
			v.Cause, v.CauseConfidence, v.CauseWhy = "unknown", None, p.Note
			if p.atOnce {
				v.Cause, v.CauseConfidence = "state-lost", Likely
			}
		}
	}
}

// maxPaths bounds the paths of a report.
const maxPaths = 1000

// paths joins the brackets of all connections of the same path. Contradictions
// are named, never averaged.
func (d *desk) paths(cases []brief) []Path {
	var order [][2]string
	byPath := map[[2]string]*pathLimit{}
	for i := range cases {
		b := &cases[i]
		if b.path == ([2]string{}) {
			continue
		}
		p := byPath[b.path]
		if p == nil {
			if len(order) == maxPaths {
				continue
			}
			p = newPathLimit(b.path)
			byPath[b.path] = p
			order = append(order, b.path)
		}
		p.join(b)
	}
	d.joinPlain(byPath)
	var out []Path
	for _, k := range order {
		out = append(out, byPath[k].settle())
	}
	return out
}

// joinPlain adds what connections in which nothing happened survived on the
// paths on which others died.
func (d *desk) joinPlain(byPath map[[2]string]*pathLimit) {
	if d.survived == 0 || len(byPath) == 0 {
		return
	}
	for i := range d.result.Plain {
		x := &d.result.Plain[i]
		if p := byPath[[2]string{d.points[x.Ends[0]].Name, d.points[x.Ends[1]].Name}]; p != nil && x.Survived >= time.Second {
			p.outlived(x.Survived)
		}
	}
	if !d.single() {
		return
	}
	for g := range d.points[0].Table.Glances() {
		if !g.Settled(d.spans[0].last) || g.Survived < time.Second {
			continue
		}
		lo, hi := g.Key.LoEnd().Addr().String(), g.Key.HiEnd().Addr().String()
		for _, k := range [2][2]string{{lo, hi}, {hi, lo}} {
			if p := byPath[k]; p != nil {
				p.outlived(g.Survived)
			}
		}
	}
}
