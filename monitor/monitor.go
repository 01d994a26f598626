// Package monitor follows connections as their packets come and says what
// happens to them: seen, a probe lost, at risk, died with its verdict,
// recovered. It answers "which idle connections live, which are in danger, and
// which just died, and why?". It judges by the rules that files are judged by,
// and its clock is packet time: a capture that is replayed gives the same
// events.
package monitor

import (
	"maps"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// What can happen to a connection (DESIGN: these words in every output).
const (
	Seen        = "seen"
	ProbeLost   = "probe-lost"
	AtRisk      = "at-risk"
	Died        = "died"
	Recovered   = "recovered"
	NotObserved = "not-observed"
)

// Event is one thing that happened.
type Event struct {
	At             tcp.Instant
	What           string            // Seen, ProbeLost, …
	Client, Server string            // addr:port; "" of NotObserved
	Frame          uint64            // that it rests on; 0 none
	Says           string            // in words
	Verdict        *analyzer.Verdict // of Died
	Application    string
}

// Options tune an Engine. The zero value is the default.
type Options struct {
	Name      string        // of the vantage point
	PathLimit time.Duration // idle limit of the path, where it is known; 0: no warnings
	MaxFlows  int
	MaxEvents int
	Emit      func(Event)            // called for each event, in the order of packet time
	Keep      func(*flows.Flow) bool // which connections are followed; nil: all
	Label     func(flows.Label)      // what each segment was for; nil costs nothing
	Metrics   *Metrics               // nil: nothing is counted
	Died      func(*flows.Flow)      // called before a death is told, while the table holds the connection; nil: not
}

// lookEvery is how often, in packet time, a connection that sends is looked at.
const lookEvery = time.Second

// grace is how long after the end of an interval its probe counts as lost.
const grace = 2 * time.Second

// spare is how many connections beyond the table's and an eighth are remembered before
// those that left it are forgotten.
const spare = 1024

// watched is what the engine remembers of a connection.
type watched struct {
	due     tcp.Instant // look again at this time; 0: when it is touched
	queued  tcp.Instant // of its timer that counts; 0: none
	looked  tcp.Instant
	lost    tcp.Ordinal // newest probe that was told as lost
	warned  tcp.Instant // silence that was told as a risk began here
	vain    tcp.Ordinal // repetitions that were told of begin here
	shut    tcp.Instant // a window has been shut since about this time
	stalled bool        // and that was told
	failing bool
	died    bool
	dead    bool        // it died, and that was told
	last    tcp.Ordinal // its last segment when it died
	ignored bool

	heard    tcp.Instant // its newest segment; with Metrics
	probe    tcp.Ordinal // its newest keepalive probe; with Metrics
	probedAt tcp.Instant
}

// Engine watches the connections of one vantage point. It serves one goroutine.
type Engine struct {
	Table *flows.Table

	o          Options
	files      func() []capture.File
	frame      func(tcp.Ordinal) (int, uint64)
	flows      map[flows.FlowID]*watched
	touched    []flows.FlowID
	queue      timers
	one        capture.Batch
	hole       tcp.Instant                        // end of the newest hole
	obituaries map[flows.FlowID]*analyzer.Verdict // of those that died
	buried     []obituary                         // these in their order, and some that are gone
	timers     tcp.Instant                        // when due times are next compared
}

// New returns an engine. files and frame tell of the capture what reports tell
// of it; frame may be nil where ordinals are frame numbers.
func New(o Options, files func() []capture.File, frame func(tcp.Ordinal) (int, uint64)) *Engine {
	e := &Engine{o: o, files: files, frame: frame, flows: map[flows.FlowID]*watched{}, obituaries: map[flows.FlowID]*analyzer.Verdict{}}
	label := o.Label
	if o.Metrics != nil {
		label = e.measure
	}
	e.Table = &flows.Table{Options: flows.Options{MaxFlows: o.MaxFlows, MaxEvents: o.MaxEvents, Label: label, Touched: func(id flows.FlowID) {
		if n := len(e.touched); n == 0 || e.touched[n-1] != id {
			e.touched = append(e.touched, id)
		}
	}}}
	return e
}

// measure counts a segment, and hands its label on.
func (e *Engine) measure(l flows.Label) {
	if e.o.Label != nil {
		e.o.Label(l)
	}
	w, at := e.flows[l.Flow], e.one.Pkts[0].At
	if w == nil || w.ignored {
		return // its first segment, or nobody asks
	}
	var gap, rtt time.Duration
	if w.heard != 0 {
		gap = at.Sub(w.heard)
	}
	if l.Answers != 0 && l.Answers == w.probe {
		rtt = at.Sub(w.probedAt)
	}
	e.o.Metrics.segment(l, gap, rtt)
	w.heard = max(w.heard, at)
	if l.Kind == flows.KeepaliveProbe {
		w.probe, w.probedAt = l.Ord, at
	}
}

// States counts the connections that are watched by their state: alive, failing,
// at-risk or dead. Those that were closed are in none.
func (e *Engine) States() map[string]int {
	counts := map[string]int{}
	for _, w := range e.flows {
		if state := w.state(); state != "" {
			counts[state]++
		}
	}
	return counts
}

// state returns the state that a connection is in, "" where it is closed or
// nobody asks for it.
func (w *watched) state() string {
	switch {
	case w.ignored || w.died && !w.dead:
		return ""
	case w.dead:
		return "dead"
	case w.failing:
		return "failing"
	case w.warned != 0 || w.stalled:
		return "at-risk"
	}
	return "alive"
}

// Add takes a batch of packets.
func (e *Engine) Add(b *capture.Batch) {
	for _, h := range b.Holes {
		goesOn := e.hole != 0 && h.From <= e.hole
		if e.hole = max(e.hole, h.To); goesOn {
			continue // it was told when it began
		}
		e.emit(Event{At: h.To, What: NotObserved, Says: "not recorded since " + h.From.Time().UTC().Format(time.RFC3339Nano)})
	}
	for i := range b.N { // one by one, so that events come in the order of packet time
		if at := b.Pkts[i].At; at >= e.timers && at > e.Table.Now() {
			e.catchUp(at)
		}
		e.one.Pkts[0], e.one.N, e.one.Buf = b.Pkts[i], 1, b.Buf
		e.one.Holes = nil
		if i == 0 {
			e.one.Holes = b.Holes
		}
		e.Table.Add(&e.one)
		e.look()
	}
	if b.N == 0 && len(b.Holes) > 0 { // at the end of a capture
		e.Table.Add(b)
	}
}

// Advance tells the engine that packet time has come to now without a packet.
func (e *Engine) Advance(now tcp.Instant) {
	e.Table.Advance(now)
	e.look()
}

// catchUp looks, as of their own times, at the connections whose time came
// before a packet that is about to be taken.
func (e *Engine) catchUp(at tcp.Instant) {
	for range 8 { // each look may ask for another one; more than a few are none
		ids := e.overdue(at)
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			w := e.flows[id]
			e.Table.Advance(w.due)
			e.examine(id, w, max(w.due, w.looked))
		}
	}
}

// Finish tells the engine that no more packets come: what was put off is looked
// at now.
func (e *Engine) Finish() {
	now := e.Table.Now()
	for _, id := range e.overdue(tcp.MaxInstant) {
		e.examine(id, e.flows[id], now)
	}
	e.revise(now)
}

// look looks at the connections that were touched, and at those whose time has
// come.
func (e *Engine) look() {
	now := e.Table.Now()
	for _, id := range e.touched {
		w := e.flows[id]
		if w == nil {
			e.meet(id, now)
			continue
		}
		if now.Sub(w.looked) >= lookEvery {
			e.examine(id, w, now)
		} else if w.due == 0 || w.due > w.looked.Add(lookEvery) {
			w.due = w.looked.Add(lookEvery)
			e.schedule(id, w)
		}
	}
	e.touched = e.touched[:0]
	if now < e.timers {
		return
	}
	e.timers = now.Add(lookEvery / 2)
	if len(e.flows) > e.Table.Live()+e.Table.Live()/8+spare {
		maps.DeleteFunc(e.flows, func(id flows.FlowID, _ *watched) bool { return !e.Table.Holds(id) })
		maps.DeleteFunc(e.obituaries, func(id flows.FlowID, _ *analyzer.Verdict) bool { return !e.Table.Holds(id) })
	}
	for _, id := range e.overdue(now) {
		e.examine(id, e.flows[id], now)
	}
}

// meet looks at a connection that is not remembered. A lone SYN is passed over
// until something follows: a flood of them must not take the memory, nor the
// time to tell of it.
func (e *Engine) meet(id flows.FlowID, now tcp.Instant) {
	if g, ok := e.Table.Glance(id); !ok || g.Unanswered && g.Segments[flows.Client] == 1 {
		return
	}
	w := &watched{}
	e.flows[id] = w
	e.examine(id, w, now)
}

// examine looks at one connection and tells what is new.
func (e *Engine) examine(id flows.FlowID, w *watched, now tcp.Instant) {
	e.inspect(id, w, now)
	e.schedule(id, w)
}

func (e *Engine) inspect(id flows.FlowID, w *watched, now tcp.Instant) {
	if w.looked != 0 && e.passOver(id, w, now) {
		return
	}
	f, ok := e.Table.Flow(id)
	if !ok {
		delete(e.flows, id)
		delete(e.obituaries, id)
		return
	}
	if w.looked == 0 {
		if w.ignored = e.o.Keep != nil && !e.o.Keep(f); !w.ignored {
			e.tell(f, Event{At: f.First, What: Seen, Frame: e.number(f.FirstOrd), Says: joining(f)})
		}
	}
	w.looked, w.due = now, 0
	if w.ignored {
		return
	}
	t := openProbes(f)
	e.doubt(&t, now)
	again := repeated(f)
	if w.died {
		if t.n > 0 || again.n > 0 || over(f) || f.LastOrd <= w.last {
			return
		}
		delete(e.obituaries, id)
		w.died, w.dead, w.failing = false, false, true // it was not dead after all
	}
	if t.n == 0 && again.n == 0 && w.failing && !over(f) {
		w.failing = false
		e.tell(f, Event{At: f.Last, What: Recovered, Frame: e.number(f.LastOrd), Says: "answered again"})
	}
	if t.n > 0 {
		e.probes(f, w, &t, now)
	}
	if over(f) || t.sure > 1 && !t.unseen[t.n-1] && now.Sub(t.last) > t.interval+grace {
		e.died(id, f, w, now)
		return
	}
	if e.vain(f, w, &again, now) {
		e.gone(id, f, w, now)
		return
	}
	e.stalled(id, f, w, now)
	e.risk(f, w, now)
}

// passOver passes over a connection of which a look would tell nothing, and reports whether it
// is one: nobody asks for it, or nothing was amiss and nobody waits for anything.
func (e *Engine) passOver(id flows.FlowID, w *watched, now tcp.Instant) bool {
	if w.ignored && e.Table.Holds(id) {
		w.looked, w.due = now, 0
		return true
	}
	last, calm := e.Table.Calm(id)
	risk := last.Add(e.o.PathLimit * 4 / 5)
	if !calm || w.ignored || w.died || w.failing || w.stalled || e.o.PathLimit != 0 && now >= risk {
		return false
	}
	if w.looked, w.due, w.shut = now, 0, 0; e.o.PathLimit != 0 { // whether keepalives come before is asked then
		w.warned, w.due = 0, risk
	}
	return true
}

func short(d time.Duration) string { return d.Round(time.Second).String() }

func side(s uint8) string {
	if s == flows.Server {
		return "server"
	}
	return "client"
}

func joining(f *flows.Flow) string {
	if f.Midway {
		return "joined in mid-connection"
	}
	return "begins"
}

// Point returns what was watched so far as a vantage point, for the rules.
func (e *Engine) Point() pairing.Point {
	return pairing.Point{Name: e.o.Name, Table: e.Table, Files: e.files(), Frame: e.frameOf, Holes: e.Table.Holes()}
}

func (e *Engine) number(ord tcp.Ordinal) uint64 {
	if e.frame == nil || ord == 0 {
		return uint64(ord)
	}
	_, n := e.frame(ord)
	return n
}

// frameOf returns the file and the frame of an ordinal.
func (e *Engine) frameOf(ord tcp.Ordinal) (int, uint64) {
	if e.frame == nil {
		return 0, uint64(ord)
	}
	return e.frame(ord)
}

func (e *Engine) tell(f *flows.Flow, ev Event) {
	ev.Client, ev.Server = f.Sides[flows.Client].Addr.String(), f.Sides[flows.Server].Addr.String()
	ev.Application, _ = f.Application()
	e.emit(ev)
}

func (e *Engine) emit(ev Event) {
	if e.o.Metrics != nil {
		e.o.Metrics.Event(ev)
	}
	e.o.Emit(ev)
}

// Watched returns how many connections the engine remembers.
func (e *Engine) Watched() int { return len(e.flows) }
