package correlate

import (
	"bytes"
	"container/list"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"kaflow/capture"
	"kaflow/monitor"
	"kaflow/tcp"
)

// stream is what the event stream of one watch has told so far.
type stream struct {
	name    string
	records map[capture.Key]*record
	ends    map[[2]string]capture.Key // by addresses as events write them
	ages    *list.List                // of *record, longest without news first
	octets  int
	room    int     // for them
	version int     // counts lines of segments
	found   *finder // as of foundAt; nil: not asked for
	foundAt int
	gone    int // records that had to go for their number

	since, until tcp.Instant // of the recording
	complete     tcp.Instant // all up to here was told
	late         lateness
	drops        uint64
	frames       uint64
	selected     bool // it does not tell of every connection
	holes        []capture.Interval
	carries      bool // segments came, or it was said how far the recording goes
	events       uint64
	ended        bool // nothing more comes
	whole        bool // its watch said that this is its end
	live         bool // and records nothing after that
}

// record is what is known of one connection at one vantage point: its segments
// without a gap from a time on.
type record struct {
	key    capture.Key
	frames []frame
	from   tcp.Instant // complete from here on; 0: from when its stream began; never: what comes next is not known yet
	octets int
	place  *list.Element
}

// never is since when a connection is known of which segments are left out that go
// on to be left out.
const never = tcp.Instant(math.MaxInt64)

// frame is a segment's headers as they were captured.
type frame struct {
	ord               tcp.Ordinal
	at                tcp.Instant
	iface, link, wire uint32
	data              []byte
}

// Bounds of what a stream may bring.
const (
	MaxLine     = 1 << 20 // octets
	mostOctets  = 64 << 20
	mostFrames  = 512 // of one connection
	mostData    = 512 // octets of one frame
	mostHoles   = 10_000
	frameSize   = 96 // about, beside its data
	recordSize  = 256
	mostPending = 10_000
)

func newStream(name string) *stream {
	return &stream{name: name, records: map[capture.Key]*record{}, ends: map[[2]string]capture.Key{}, ages: list.New(), room: mostOctets}
}

// line is an object of an event stream, with the keys of all its types.
type line struct {
	Schema, Type, Vantage, At string
	Event                     string
	Client, Server            string
	Says                      string
	Ends                      [2]string
	Skipped                   uint64
	Segments                  []struct {
		Frame                 uint64
		At                    string
		Interface, Link, Wire uint32
		Data                  []byte
	}
	Since, Until, Complete string
	Frames, Drops          uint64
	Selected, Live, End    bool
	Holes                  []struct{ From, To, Why string }
}

var errNoStream = errors.New("is no line of kaflow watch --format ndjson")

// parse reads one line.
func parse(text []byte) (*line, error) {
	var l line
	if len(text) > MaxLine {
		return nil, fmt.Errorf("has more than %d octets", MaxLine)
	}
	if err := json.Unmarshal(text, &l); err != nil || !strings.HasPrefix(l.Schema, "kaflow/") || l.Type == "" {
		return nil, errNoStream
	}
	return &l, nil
}

// IsEnd reports whether a line is the last one that a watch writes.
func IsEnd(text []byte) bool {
	if !bytes.Contains(text, []byte(`"end":true`)) {
		return false
	}
	l, err := parse(text)
	return err == nil && l.Type == "capture" && l.End
}

func instant(text string) (tcp.Instant, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return 0, fmt.Errorf("%q is no time", short(text))
	}
	return tcp.Instant(t.UnixNano()), nil
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// segments takes a line that carries segments of a connection.
func (s *stream) segments(l *line) (*record, error) {
	s.carries = true
	s.version++
	var frames []frame
	var key capture.Key
	for i := range l.Segments {
		x := &l.Segments[i]
		at, err := instant(x.At)
		if err != nil {
			return nil, err
		}
		if len(x.Data) > mostData || x.Frame == 0 {
			return nil, errors.New("holds a segment that no watch writes")
		}
		p := capture.DecodeFrame(x.Link, x.Data, x.Wire)
		if p.Proto == capture.Echo || p.Proto == capture.ARP {
			p.Key.Ports, p.Key.Overlay = 0, 0
		}
		if !monitor.Carried(p.Proto) || i > 0 && p.Key != key {
			return nil, errors.New("holds segments of more than one connection, or none")
		}
		key = p.Key
		frames = append(frames, frame{tcp.Ordinal(x.Frame), at, x.Interface, x.Link, x.Wire, x.Data})
	}
	if len(frames) == 0 { // some are left out, and the others come later
		key, known := s.ends[l.Ends]
		if !known {
			key = keyOf(l.Ends[0], l.Ends[1]) // its overlay is not known
		}
		if key != (capture.Key{}) {
			s.cut(s.of(key), never)
			s.bound()
		}
		return nil, nil
	}
	if unnamed := key; unnamed.Overlay != 0 { // as which it was said that some are left out
		unnamed.Overlay = 0
		if r := s.records[unnamed]; r != nil && len(r.frames) == 0 {
			s.forget(r)
		}
	}
	r := s.of(key)
	if l.Skipped > 0 || r.from == never {
		s.cut(r, frames[0].at)
	}
	for i := range frames {
		r.frames = append(r.frames, frames[i])
		r.octets += len(frames[i].data) + frameSize
		s.octets += len(frames[i].data) + frameSize
	}
	if over := len(r.frames) - mostFrames; over > 0 {
		rest := append([]frame(nil), r.frames[over:]...)
		s.cut(r, rest[0].at)
		for i := range rest {
			r.octets += len(rest[i].data) + frameSize
			s.octets += len(rest[i].data) + frameSize
		}
		r.frames = rest
	}
	s.bound()
	return r, nil
}

// of returns the record of a connection that there is news of, a new one where
// there was none: of one that is heard again after some were forgotten nothing is
// known from before.
func (s *stream) of(key capture.Key) *record {
	r := s.records[key]
	if r != nil {
		s.ages.MoveToBack(r.place)
		return r
	}
	r = &record{key: key}
	if s.gone > 0 {
		r.from = never
	}
	r.place = s.ages.PushBack(r)
	s.records[key], s.ends[endsOf(&key)] = r, key
	s.octets += recordSize
	return r
}

// bound forgets what there is no room for, longest without news first.
func (s *stream) bound() {
	for s.octets > s.room && s.ages.Len() > 1 {
		s.forget(s.ages.Front().Value.(*record))
		s.gone++
	}
}

// cut takes away what is known of a connection before a time.
func (s *stream) cut(r *record, from tcp.Instant) {
	s.octets -= r.octets
	r.octets, r.frames, r.from = 0, nil, from
}

func (s *stream) forget(r *record) {
	s.cut(r, 0)
	s.octets -= recordSize
	s.ages.Remove(r.place)
	delete(s.records, r.key)
	delete(s.ends, endsOf(&r.key))
}

// endsOf names a connection as lines of segments do.
func endsOf(k *capture.Key) [2]string { return [2]string{k.LoEnd().String(), k.HiEnd().String()} }

// recording takes a line that says how far the recording goes.
func (s *stream) recording(l *line, now time.Time) error {
	since, err := instant(l.Since)
	if err != nil {
		return err
	}
	until, err := instant(l.Until)
	if err != nil {
		return err
	}
	complete, err := instant(l.Complete)
	if err != nil {
		return err
	}
	s.carries = true
	if s.since == 0 || since < s.since {
		s.since = since
	}
	s.until, s.complete = max(s.until, until), max(s.complete, complete)
	s.late.note(time.Duration(now.UnixNano()-int64(until)), now)
	s.frames, s.drops, s.selected = l.Frames, l.Drops, l.Selected
	s.whole, s.live = s.whole || l.End, l.Live
	for _, h := range l.Holes {
		from, err := instant(h.From)
		if err != nil {
			return err
		}
		to, err := instant(h.To)
		if err != nil {
			return err
		}
		s.miss(capture.Interval{From: from, To: to, Why: whys[h.Why]})
	}
	return nil
}

// whys are the reasons for a hole by their words.
var whys = map[string]capture.Why{
	"dropped": capture.WhyDropped, "rotation": capture.WhyRotation, "interface": capture.WhyInterface, "damaged": capture.WhyDamaged, "clock": capture.WhyClock,
}

func (s *stream) miss(h capture.Interval) {
	if n := len(s.holes); n >= mostHoles { // less is known
		s.holes[n-1].From, s.holes[n-1].To = min(s.holes[n-1].From, h.From), max(s.holes[n-1].To, h.To)
		return
	}
	s.holes = append(s.holes, h)
}

// record returns what is known of a connection by its ends as events write
// them.
func (s *stream) record(client, server string) *record {
	for _, ends := range [][2]string{{client, server}, {server, client}} {
		if k, ok := s.ends[ends]; ok {
			return s.records[k]
		}
	}
	return nil
}

// lateness is by how much what a stream says to be now lies before the reader's
// time when it is read: what the clocks differ by, and the way. The least of some
// minutes is nearly the clocks alone, where the stream is read as it is written.
type lateness struct {
	since       time.Time // of now
	now, before time.Duration
	known, prev bool
	paced       time.Time // since when it is read as it is written
}

// latenessFor is the time over which the least lateness is looked for, at least.
const latenessFor = 5 * time.Minute

// A line that is less late than any before by catchUp shows that those had waited
// somewhere: of a file that was written before, lateness tells nothing. After
// pacedFor without such a line the stream is read as it is written.
const (
	catchUp  = time.Second
	pacedFor = 5 * time.Second
)

func (x *lateness) note(d time.Duration, now time.Time) {
	if !x.known || d < x.least()-catchUp {
		x.paced = now
	}
	if !x.known || now.Sub(x.since) > latenessFor {
		x.before, x.prev = x.now, x.known
		x.now, x.known, x.since = d, true, now
	}
	x.now = min(x.now, d)
}

// tells reports whether the stream has been read as it is written for some time.
func (x *lateness) tells(now time.Time) bool { return x.known && now.Sub(x.paced) >= pacedFor }

func (x *lateness) least() time.Duration {
	if x.prev {
		return min(x.now, x.before)
	}
	return x.now
}

// ahead returns by about how much a stream's clock is ahead of another one's, as
// far as what both say to be now tells; ok is false where one has not said so,
// and sure where what was read may have waited.
func (s *stream) ahead(other *stream, now time.Time) (by time.Duration, sure, ok bool) {
	return other.late.least() - s.late.least(), s.late.tells(now) && other.late.tells(now), s.late.known && other.late.known
}
