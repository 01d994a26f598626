// Package correlate takes the event streams of several watches, one per vantage
// point, and says of each connection what they show together. It answers "the
// client says that it died: what did the server see?". It has no rules of its
// own: of the segments that the streams carry it builds a small capture for each
// vantage point and asks the rules that files are asked.
package correlate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/tcp"
)

// Verdict is told of each connection when all streams have ended, as Died is
// when one tells a death.
const Verdict = "verdict"

// Told is what several vantage points together say.
type Told struct {
	monitor.Event
	Vantages []string         // at which the connection was seen, on the way from client to server
	Report   *analyzer.Report // on this connection alone; nil of events that have none
}

// Options tune a Correlator. The zero value is the default.
type Options struct {
	Tool  string        // name and version, for reports
	Roles map[int]uint8 // whose a stream is where the user named it: flows.Client or flows.Server
	Tell  func(Told)    // called for each event, in the order in which it became known
}

// patience is how long a death waits for what other streams know of it, in the
// time of who reads them.
const patience = 30 * time.Second

// after is how far beyond a death another stream has to have told.
const after = 500 * time.Millisecond

// clockError is by how much two clocks at least differ that are told apart from
// one clock and a pipe that stands still.
const clockError = patience

// mostTold is how many verdicts are remembered before those on connections that
// are not are forgotten.
const mostTold = 100_000

// Correlator reads streams. It serves one goroutine.
type Correlator struct {
	o       Options
	streams []*stream
	asks    []ask
	told    map[place]outcome
}

// place is a connection at a vantage point.
type place struct {
	stream int
	key    capture.Key
}

// outcome is what was last told of a connection.
type outcome struct {
	verdict string
	sure    analyzer.Confidence
	last    tcp.Instant
}

// ask is a question that waits until all streams have told enough.
type ask struct {
	place
	what string
	at   tcp.Instant
	came time.Time
	mark []tcp.Instant // how far each stream went, by its own clock, when it next said so; 0: it did not yet
	told bool          // patience had run out: it is asked again when all have told of its time

	client, server string
}

// New returns a correlator of streams by their names.
func New(names []string, o Options) *Correlator {
	c := &Correlator{o: o, told: map[place]outcome{}}
	for _, name := range names {
		c.streams = append(c.streams, newStream(name))
	}
	return c
}

// Take reads a line of a stream. It fails where that is none of a watch.
func (c *Correlator) Take(i int, text []byte, now time.Time) error {
	l, err := parse(text)
	if err != nil {
		return err
	}
	s := c.streams[i]
	switch l.Type {
	case "segments":
		_, err = s.segments(l)
	case "capture":
		if l.Complete != "" { // a report has lines of that type, too
			err = s.recording(l, now)
			c.mark(i)
		}
	case "event":
		s.events++
		err = c.event(i, l, now)
	}
	return err
}

// event takes what a watch says of a connection.
func (c *Correlator) event(i int, l *line, now time.Time) error {
	if l.Event != monitor.Died && l.Event != monitor.ProbeLost && l.Event != monitor.Recovered && l.Event != monitor.NotObserved {
		return nil
	}
	at, err := instant(l.At)
	if err != nil {
		return err
	}
	if l.Event == monitor.NotObserved || l.Event == monitor.Recovered {
		c.o.Tell(Told{Event: monitor.Event{At: at, What: l.Event, Client: l.Client, Server: l.Server, Says: c.streams[i].name + ": " + l.Says}, Vantages: []string{c.streams[i].name}})
		return nil
	}
	if len(c.asks) >= mostPending {
		c.asks = slices.DeleteFunc(c.asks, func(a ask) bool { return a.told })
	}
	if len(c.asks) < mostPending {
		c.asks = append(c.asks, ask{place: place{i, keyOf(l.Client, l.Server)}, what: l.Event, at: at, came: now, mark: make([]tcp.Instant, len(c.streams)), client: l.Client, server: l.Server})
	}
	return nil
}

// mark notes how far a stream goes for the questions that came since it last said
// so.
func (c *Correlator) mark(i int) {
	for _, a := range c.asks {
		if a.mark[i] == 0 {
			a.mark[i] = c.streams[i].until
		}
	}
}

// keyOf returns the key of a connection that an event names; its overlay is not
// known.
func keyOf(client, server string) capture.Key {
	a, err1 := parseEnd(client)
	b, err2 := parseEnd(server)
	if err1 != nil || err2 != nil {
		return capture.Key{}
	}
	k, _ := capture.MakeKey(a, b, 0)
	return k
}

// Hints returns what the user should know of the streams as a whole.
func (c *Correlator) Hints() (out []string) {
	for _, s := range c.streams {
		if !s.carries && s.events > 0 {
			out = append(out, s.name+" carries no segments: kaflow watch --format ndjson writes them, unless it is told --no-segments")
		}
		if s.gone > 0 {
			out = append(out, fmt.Sprintf("%s told of more than is remembered: %d connections went unheard", s.name, s.gone))
		}
	}
	return out
}

// End tells that a stream has ended.
func (c *Correlator) End(i int) {
	s := c.streams[i]
	if s.ended = true; !s.whole && s.carries {
		c.o.Tell(Told{Event: monitor.Event{At: s.complete, What: monitor.NotObserved, Says: s.name + ": the stream ends without its watch having ended; what came after this is not known"}, Vantages: []string{s.name}})
	}
}

// same reports whether two questions are one.
func (a *ask) same(b *ask) bool { return a.place == b.place && a.what == b.what && a.at == b.at }

// Look answers what can be answered as of now, the reader's time.
func (c *Correlator) Look(now time.Time) {
	var due []ask
	c.asks = slices.DeleteFunc(c.asks, func(a ask) bool {
		known := c.known(&a, now)
		if known || !a.told && now.Sub(a.came) > patience {
			due = append(due, a)
		}
		return known || a.what != monitor.Died && now.Sub(a.came) > patience
	})
	for i := range c.asks { // a death is asked about again when those that were waited for in vain have told
		a := &c.asks[i]
		a.told = a.told || now.Sub(a.came) > patience
	}
	c.answer(due)
}

// known reports whether all streams have told of the time of a question, or will
// not any more.
func (c *Correlator) known(a *ask, now time.Time) bool {
	for i, s := range c.streams {
		if !s.ended && !c.knows(i, a, now) {
			return false
		}
	}
	return true
}

// knows reports whether a stream has told of the time of a question: all that it
// had recorded when it first said how far it goes since the question came, and
// beyond the time of the question, by its own clock. What a watch still holds
// back of a busy connection is not told.
func (c *Correlator) knows(i int, a *ask, now time.Time) bool {
	s := c.streams[i]
	switch {
	case s.whole:
		return true
	case i == a.stream:
		return s.complete >= a.at
	case a.mark[i] == 0 || s.complete < a.mark[i]:
		return false
	}
	at := a.at
	// A clock that seems to be a little behind may be a pipe that stands still, and
	// waiting for what it shows costs no more than that little; one that seems to be
	// far behind, a file that is not read to its end.
	if ahead, sure, ok := s.ahead(c.streams[a.stream], now); ok && (ahead > 0 || ahead < -clockError && sure) {
		at = at.Add(ahead)
	}
	return s.complete >= at.Add(after)
}

// answer tells what is known of connections, those of the same hosts together.
func (c *Correlator) answer(due []ask) {
	for i := range due { // an event does not tell of an overlay, its segments do
		if r := c.streams[due[i].stream].record(due[i].client, due[i].server); r != nil {
			due[i].key = r.key
		}
	}
	for len(due) > 0 {
		first := due[0]
		var group, rest []ask
		for _, a := range due {
			if a.same(&first) || a.stream == first.stream && sameHosts(&a.key, &first.key) && c.uncut(a.place) && c.uncut(first.place) {
				group = append(group, a)
			} else {
				rest = append(rest, a)
			}
		}
		c.ask(group)
		due = rest
	}
}

func (c *Correlator) uncut(p place) bool {
	r := c.streams[p.stream].records[p.key]
	return r != nil && r.from == 0
}

// ask answers questions on connections of the same hosts.
func (c *Correlator) ask(group []ask) {
	focus := map[capture.Key]bool{}
	for _, a := range group {
		if c.streams[a.stream].records[a.key] != nil {
			focus[a.key] = true
		}
	}
	cases := c.diagnose(group[0].stream, focus)
	for _, a := range group {
		d := cases[a.key]
		if d == nil {
			c.unknown(&a)
			continue
		}
		if a.what == monitor.ProbeLost {
			c.tellProbe(&a, d)
			continue
		}
		c.tell(a.stream, a.at, monitor.Died, d, a.told)
	}
}

// unknown says that a stream tells an event of a connection and brought none of
// its segments.
func (c *Correlator) unknown(a *ask) {
	if a.what != monitor.Died {
		return
	}
	s := c.streams[a.stream]
	says := s.name + " tells a death, but its stream carries no segments of the connection: what the other end saw cannot be compared"
	if !s.ended && s.complete < a.at {
		says = s.name + " tells a death, and its stream stands still before the connection's segments: what the other end saw cannot be compared yet"
	} else if a.told {
		return // that was told
	}
	c.o.Tell(Told{Event: monitor.Event{At: a.at, What: a.what, Client: a.client, Server: a.server, Says: says}, Vantages: []string{s.name}})
}

// tell tells a verdict, where it is not the one that was told: of what died again
// it is told again, but not where it is asked again what was told.
func (c *Correlator) tell(stream int, at tcp.Instant, what string, x *diagnosis, again bool) {
	d := &x.report.Flows[0]
	v := d.Verdict
	now := outcome{v.ID, v.Confidence, 0}
	seen := c.places(x)
	for _, p := range seen {
		if old, ok := c.told[p.place]; ok && old.verdict == now.verdict && old.sure == now.sure && (again || p.last.Sub(old.last) < time.Minute) {
			return
		}
	}
	if len(c.told) > mostTold { // what is not remembered any more is not asked about again
		maps.DeleteFunc(c.told, func(p place, _ outcome) bool { return c.streams[p.stream].records[p.key] == nil })
	}
	for _, p := range seen {
		now.last = p.last
		c.told[p.place] = now
	}
	var names []string
	for _, s := range d.Pair.Seen {
		names = append(names, c.streams[s.Vantage].name)
	}
	c.o.Tell(Told{Event: monitor.Event{At: at, What: what, Client: d.Client, Server: d.Server, Application: d.Application, Frame: x.frame, Says: v.Summary, Verdict: &v}, Vantages: names, Report: x.report})
}

// sighted is a connection at a vantage point, with the time of its last segment.
type sighted struct {
	place
	last tcp.Instant
}

func (c *Correlator) places(x *diagnosis) (out []sighted) {
	for _, s := range x.report.Flows[0].Pair.Seen {
		out = append(out, sighted{place{s.Vantage, s.Flow.Key}, s.Flow.Last})
	}
	return out
}

// tellProbe tells where a probe was lost.
func (c *Correlator) tellProbe(a *ask, x *diagnosis) {
	d := &x.report.Flows[0]
	if len(d.Pair.Seen) < 2 && len(c.streams) > 1 && d.Pair.Fates == nil {
		return // the death, if it is one, says what is not known
	}
	for i := len(d.Pair.Fates) - 1; i >= 0; i-- {
		f := &d.Pair.Fates[i]
		if f.Sent.Vantage != a.stream || f.Sent.Kind != flows.KeepaliveProbe || f.Sent.At > a.at {
			continue
		}
		who := [...]string{"client", "server"}[f.From&1]
		from, to := c.streams[f.Between[0]].name, c.streams[f.Between[1]].name
		var says string
		switch {
		case f.How == Crossed:
			says = fmt.Sprintf("the %s's keepalive probe arrived at %s; no answer arrived at %s", who, to, from)
		case f.How == Lost && !f.Assumed:
			says = fmt.Sprintf("the %s's keepalive probe was lost between %s and %s", who, from, to)
		default:
			says = fmt.Sprintf("the %s's keepalive probe got no answer; whether it arrived is not known: %s", who, f.Why)
		}
		c.o.Tell(Told{Event: monitor.Event{At: a.at, What: a.what, Client: d.Client, Server: d.Server, Application: d.Application, Frame: f.Sent.Frame, Says: says}, Vantages: []string{from, to}})
		return
	}
}

// Finish answers what still waits, asks again about what was told, now that all
// is known, and tells a verdict on every other connection.
func (c *Correlator) Finish() {
	c.answer(c.asks)
	c.asks = nil
	type hosts struct {
		stream int
		lo, hi [4]uint32
	}
	done := map[place]bool{}
	for i, s := range c.streams {
		var last tcp.Instant
		groups := map[hosts][]capture.Key{}
		for k, r := range s.records {
			if len(r.frames) > 0 && k.Ports != 0 && !done[place{i, k}] {
				last = max(last, r.frames[len(r.frames)-1].at)
				h := hosts{i, k.Lo, k.Hi}
				groups[h] = append(groups[h], k)
			}
		}
		var order [][]capture.Key
		for _, keys := range groups {
			slices.SortFunc(keys, func(a, b capture.Key) int { return cmp.Compare(s.records[a].frames[0].ord, s.records[b].frames[0].ord) })
			var whole []capture.Key
			for _, k := range keys {
				if s.records[k].from == 0 {
					whole = append(whole, k)
				} else {
					order = append(order, []capture.Key{k})
				}
			}
			if len(whole) > 0 {
				order = append(order, whole)
			}
		}
		slices.SortFunc(order, func(a, b []capture.Key) int {
			return cmp.Compare(s.records[a[0]].frames[0].ord, s.records[b[0]].frames[0].ord)
		})
		for _, keys := range order {
			focus := map[capture.Key]bool{}
			for _, k := range keys {
				focus[k] = !done[place{i, k}]
			}
			maps.DeleteFunc(focus, func(_ capture.Key, ask bool) bool { return !ask })
			if len(focus) == 0 {
				continue
			}
			cases := c.diagnose(i, focus)
			for _, k := range keys {
				d := cases[k]
				if d == nil || !focus[k] {
					continue
				}
				for _, p := range c.places(d) {
					done[p.place] = true
				}
				what := Verdict
				if _, dead := c.told[place{i, k}]; dead {
					what = monitor.Died
				}
				c.tell(i, d.last, what, d, true)
			}
		}
	}
}
