package monitor

import (
	"container/list"
	"encoding/json"
	"io"
	"math"
	"sync"
	"time"

	"kaflow/capture"
	"kaflow/render"
	"kaflow/tcp"
)

// Carrier writes the headers of segments into an event stream, so that a reader
// of two such streams has the packets of both ends and need not believe either.
// What it takes is held for a moment and goes out connection by connection: at
// once when a connection falls silent, at the latest after heldFor. Of a
// connection that sends more than MostCarried segments in that time, only the
// newest go out, and it says how many are left out. Keep may be called beside the
// other methods, which serve one goroutine.
type Carrier struct {
	Vantage string
	Since   tcp.Instant   // recording began; 0: with the first frame
	Lag     time.Duration // a segment may come so long after it was seen

	busy    sync.Mutex // frames are kept by who reads, and written by who watches
	out     *json.Encoder
	held    map[capture.Key]*list.Element
	order   *list.List // of *cargo, longest untouched first
	ready   []*cargo   // to be written, by time
	second  tcp.Instant
	sent    int // segments in this second
	skipped uint64
	holes   []capture.Interval // not told yet, drops and what was left out for its number alike
	first   tcp.Instant        // frame
	looked  tcp.Instant        // for what is due
	told    tcp.Instant        // newest capture line
	until   tcp.Instant        // that it told
	silent  bool               // nothing was written since
}

// cargo is what is held of one connection.
type cargo struct {
	key     capture.Key
	kept    []Kept // a ring once it is full
	next    int    // the oldest of a full ring
	skipped int
	marked  bool        // that some are left out was written
	since   tcp.Instant // the oldest that is not written
	last    tcp.Instant
}

// Bounds of what an event stream carries.
const (
	MostCarried   = 64   // segments of one connection at a time
	carriedSecond = 2000 // segments a second
	mostHeld      = 50_000
	mostHoles     = 100
	quietFor      = time.Second
	heldFor       = 10 * time.Second
	busyFor       = time.Minute // between two writings of a connection that is never quiet
	tellEvery     = 2 * time.Second
	tellSilent    = 5 * time.Second
)

// NewCarrier returns a carrier that writes one object per line.
func NewCarrier(w io.Writer) *Carrier {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return &Carrier{out: e, held: map[capture.Key]*list.Element{}, order: list.New()}
}

// Carried reports whether a packet is of a kind that event streams carry: TCP,
// ICMP errors, and echoes and ARP, which tell that hosts live.
func Carried(p capture.Proto) bool {
	return p == capture.TCP || p == capture.ICMPError || p == capture.Echo || p == capture.ARP
}

// Keep takes a frame as it is read, up to the end of its TCP header. Frames that
// are not carried are left out.
func (c *Carrier) Keep(p *capture.Packet, f capture.Frame) {
	if !Carried(p.Proto) {
		return
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	octets := headers(p, f)
	key := carriedKey(p)
	e := c.held[key]
	if e != nil {
		if x := e.Value.(*cargo); p.At.Sub(x.last) >= quietFor || x.skipped == 0 && p.At.Sub(x.since) >= heldFor {
			c.drop(x, e) // it was due before this one came
			c.ready, e = append(c.ready, x), nil
		}
	}
	if e == nil {
		if len(c.held)+len(c.ready) >= mostHeld { // a flood: what it brings is not carried, and that is said
			c.leaveOut(p.At, p.At, 1)
			return
		}
		e = c.order.PushBack(&cargo{key: key, since: p.At, last: p.At})
		c.held[key] = e
	} else {
		c.order.MoveToBack(e)
	}
	if c.first == 0 {
		c.first = p.At
	}
	x := e.Value.(*cargo)
	x.since, x.last = min(x.since, p.At), max(x.last, p.At)
	k := Kept{Ord: p.Ord, At: p.At, Iface: p.Iface, Link: f.Link, Wire: f.Wire}
	if len(x.kept) < MostCarried {
		k.Data = append([]byte(nil), f.Data[:octets]...)
		x.kept = append(x.kept, k)
		return
	}
	k.Data = append(x.kept[x.next].Data[:0], f.Data[:octets]...)
	x.kept[x.next] = k
	x.next = (x.next + 1) % MostCarried
	x.skipped++
}

// carriedKey returns what a packet's segments are kept under: its connection, or,
// of what has no ports, the two hosts.
func carriedKey(p *capture.Packet) capture.Key {
	k := p.Key
	if p.Proto == capture.Echo || p.Proto == capture.ARP {
		k.Ports, k.Overlay = 0, 0
	}
	return k
}

// leaveOut notes segments that are not carried, as a stretch of time in which
// nothing may be concluded.
func (c *Carrier) leaveOut(from, to tcp.Instant, n int) {
	c.skipped += uint64(n)
	if n := len(c.holes); n > 0 && c.holes[n-1].Why == capture.WhyDropped && from.Sub(c.holes[n-1].To) < time.Second {
		h := &c.holes[n-1]
		h.From, h.To = min(h.From, from), max(h.To, to)
		return
	}
	c.miss(capture.Interval{From: from, To: to, Why: capture.WhyDropped})
}

// Hole takes a stretch of time that was not recorded.
func (c *Carrier) Hole(h capture.Interval) {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.miss(h)
}

func (c *Carrier) miss(h capture.Interval) {
	if len(c.holes) < mostHoles {
		c.holes = append(c.holes, h)
		return
	}
	last := &c.holes[mostHoles-1] // too many to tell: less is known
	last.From, last.To = min(last.From, h.From), max(last.To, h.To)
}

// segmentsLine carries segments of one connection.
type segmentsLine struct {
	Schema   string        `json:"schema"`
	Type     string        `json:"type"`
	Vantage  string        `json:"vantage"`
	At       string        `json:"at"`
	Ends     [2]string     `json:"ends"`
	Skipped  int           `json:"skipped"` // segments before these that are left out
	Segments []carriedLine `json:"segments"`
}

type carriedLine struct {
	Frame     uint64 `json:"frame"` // counted over all files of the vantage point
	At        string `json:"at"`
	Interface uint32 `json:"interface"`
	Link      uint32 `json:"link"`
	Wire      uint32 `json:"wire"`
	Data      []byte `json:"data"` // base64
}

// captureLine says how far a stream's recording goes.
type captureLine struct {
	Schema   string     `json:"schema"`
	Type     string     `json:"type"`
	Vantage  string     `json:"vantage"`
	At       string     `json:"at"`
	Since    string     `json:"since"`
	Until    string     `json:"until"`
	Complete string     `json:"complete"` // all segments up to here are written, but those of skipped
	Frames   uint64     `json:"frames"`
	Drops    uint64     `json:"drops"`
	Skipped  uint64     `json:"skipped"`
	Selected bool       `json:"selected"` // not all connections are told of
	Holes    []holeLine `json:"holes"`    // new since the line before
	Live     bool       `json:"live"`     // of interfaces: what is later than the end was not recorded
	End      bool       `json:"end"`
}

// holeLine is a stretch of time in which nothing may be concluded from absence.
type holeLine struct {
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why"`
}

// whyWords are what a hole's reason is called.
var whyWords = map[capture.Why]string{
	capture.WhyDropped: "dropped", capture.WhyRotation: "rotation", capture.WhyInterface: "interface", capture.WhyDamaged: "damaged", capture.WhyClock: "clock",
}

func stamp(at tcp.Instant) string { return at.Time().UTC().Format(stampForm) }

const stampForm = "2006-01-02T15:04:05.000000000Z07:00"

// Recording is what is known of a capture as it goes on.
type Recording struct {
	Frames, Drops uint64
	Selected      bool
}

// Tick writes what is due as of now, and now and then how far the recording
// goes.
func (c *Carrier) Tick(now tcp.Instant, r Recording) error {
	if now == 0 {
		return nil
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	if c.looked != 0 && now.Sub(c.looked) < quietFor/4 {
		return nil
	}
	c.looked = now
	if err := c.sendReady(now); err != nil {
		return err
	}
	var next *list.Element
	for e := c.order.Front(); e != nil; e = next {
		next = e.Next()
		x := e.Value.(*cargo)
		longest := heldFor
		if x.skipped > 0 {
			longest = busyFor
		}
		if now.Sub(x.last) < quietFor && now.Sub(x.since) < longest {
			if x.skipped > 0 && !x.marked { // so that nobody takes what was written for all
				x.marked = true
				if err := c.out.Encode(c.line(x)); err != nil {
					return err
				}
			}
			continue
		}
		c.drop(x, e)
		if err := c.send(x, now, carriedSecond); err != nil {
			return err
		}
	}
	since := now.Sub(c.told)
	if c.told != 0 && (since < tellEvery || c.silent && since < tellSilent) {
		return nil
	}
	return c.tell(now, now.Add(-c.Lag), r, false)
}

// Flush writes what is held, since nothing comes that would move time on, and
// nothing that was seen before may come.
func (c *Carrier) Flush(now tcp.Instant, r Recording) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	if c.order.Len()+len(c.ready) == 0 && c.until >= now {
		return nil
	}
	if err := c.flush(now); err != nil {
		return err
	}
	return c.tell(now, now, r, false)
}

// Finish writes what is held, and that this is the end: all was read.
func (c *Carrier) Finish(now tcp.Instant, r Recording) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	if err := c.flush(now); err != nil {
		return err
	}
	return c.tell(now, now, r, true)
}

func (c *Carrier) flush(now tcp.Instant) error {
	if err := c.sendReady(now); err != nil {
		return err
	}
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		x := e.Value.(*cargo)
		c.drop(x, e)
		if err := c.send(x, now, math.MaxInt); err != nil {
			return err
		}
	}
	return nil
}

func (c *Carrier) sendReady(now tcp.Instant) error {
	for i, x := range c.ready {
		if err := c.send(x, now, carriedSecond); err != nil {
			return err
		}
		c.ready[i] = nil
	}
	c.ready = c.ready[:0]
	return nil
}

// drop takes away what is held of a connection, since it is to be written.
func (c *Carrier) drop(x *cargo, e *list.Element) {
	c.order.Remove(e)
	delete(c.held, x.key)
}

// send writes what was held of a connection, or, beyond so many segments a
// second, notes that it is left out.
func (c *Carrier) send(x *cargo, now tcp.Instant, most int) error {
	if now.Sub(c.second) >= time.Second {
		c.second, c.sent = now, 0
	}
	if c.sent += len(x.kept); c.sent > most {
		c.leaveOut(x.since, x.last, len(x.kept)+x.skipped)
		return nil
	}
	line := c.line(x)
	for i := range x.kept {
		k := &x.kept[(x.next+i)%len(x.kept)]
		line.Segments = append(line.Segments, carriedLine{Frame: uint64(k.Ord), At: stamp(k.At), Interface: k.Iface, Link: k.Link, Wire: k.Wire, Data: k.Data})
	}
	c.silent = false
	return c.out.Encode(line)
}

func (c *Carrier) line(x *cargo) segmentsLine {
	return segmentsLine{Schema: render.SchemaName, Type: "segments", Vantage: safe(c.Vantage), At: stamp(x.last),
		Ends: [2]string{x.key.LoEnd().String(), x.key.HiEnd().String()}, Skipped: x.skipped, Segments: []carriedLine{}}
}

// tell writes how far the recording goes: until a time, and never before it
// began, however long segments may lie somewhere.
func (c *Carrier) tell(now, until tcp.Instant, r Recording, end bool) error {
	c.told, c.silent = now, true
	since := c.Since
	if since == 0 {
		since = min(c.first, now)
	}
	until = max(until, since)
	c.until = max(c.until, until)
	line := captureLine{Schema: render.SchemaName, Type: "capture", Vantage: safe(c.Vantage), At: stamp(until), Since: stamp(since), Until: stamp(until), Complete: stamp(c.complete(until)),
		Frames: r.Frames, Drops: r.Drops, Skipped: c.skipped, Selected: r.Selected, Holes: []holeLine{}, Live: c.Since != 0, End: end}
	for _, h := range c.holes {
		line.Holes = append(line.Holes, holeLine{stamp(h.From), stamp(h.To), whyWords[h.Why]})
	}
	c.holes = nil
	return c.out.Encode(line)
}

// complete returns up to when everything is written: the oldest segment that is
// held, but those of connections whose segments are left out anyway.
func (c *Carrier) complete(now tcp.Instant) tcp.Instant {
	for _, x := range c.ready {
		now = min(now, x.since-1)
	}
	for e := c.order.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*cargo); x.skipped == 0 || !x.marked {
			now = min(now, x.since-1)
		}
	}
	return now
}
