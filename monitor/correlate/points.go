package correlate

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// The fates of probes, by their short names here.
const (
	Crossed = pairing.Crossed
	Lost    = pairing.Lost
)

// mostControls bounds the other connections of two hosts that are looked at.
const mostControls = 200

func parseEnd(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

func sameHosts(a, b *capture.Key) bool { return a.Lo == b.Lo && a.Hi == b.Hi }

// diagnosis is the report on one connection.
type diagnosis struct {
	report *analyzer.Report
	frame  uint64 // its last one at the stream that was asked
	last   tcp.Instant
}

// diagnose asks the rules about connections of the same hosts at a stream, with
// what the other streams and other connections of these hosts say of them.
func (c *Correlator) diagnose(i int, focus map[capture.Key]bool) map[capture.Key]*diagnosis {
	chosen := c.choose(i, focus)
	points := make([]pairing.Point, len(c.streams))
	know := pairing.Options{Covers: map[int][]capture.Interval{}, Roles: c.o.Roles}
	for n, s := range c.streams {
		points[n] = s.point(chosen[n])
		points[n].Partial = s.partial(chosen[n])
		if from := s.from(chosen[n]); !s.selected && s.complete > from && from > 0 {
			know.Covers[n] = []capture.Interval{{From: from, To: s.complete}}
		}
	}
	var result *pairing.Result
	if len(points) > 1 {
		result = pairing.Match(points, know)
	}
	report := analyzer.Diagnose(points, result, analyzer.Options{Tool: c.o.Tool, MaxListed: math.MaxInt})
	out := map[capture.Key]*diagnosis{}
	for k := range report.Flows {
		d := &report.Flows[k]
		for _, seen := range d.Pair.Seen {
			key := seen.Flow.Key
			if seen.Vantage != i || !focus[key] {
				continue
			}
			if old := out[key]; old != nil && old.last >= seen.Flow.Last {
				continue // an earlier connection of these ports
			}
			one := *report
			one.Flows = []analyzer.Diagnosis{*d}
			one.Totals = analyzer.Totals{Flows: 1, Listed: 1, ByVerdict: map[string]int{d.Verdict.ID: 1}}
			out[key] = &diagnosis{report: &one, frame: uint64(seen.Flow.LastOrd), last: seen.Flow.Last}
		}
	}
	return out
}

// choose returns the records that are looked at, by stream: those asked for,
// what the other streams hold of them, and other connections of the hosts of
// which every stream tells as much.
func (c *Correlator) choose(i int, focus map[capture.Key]bool) []map[capture.Key]*record {
	chosen := make([]map[capture.Key]*record, len(c.streams))
	finders := make([]*finder, len(c.streams))
	for n, s := range c.streams {
		chosen[n], finders[n] = map[capture.Key]*record{}, finderOf(s)
	}
	for k := range focus {
		r := c.streams[i].records[k]
		chosen[i][k] = r
		for n := range c.streams {
			if n != i {
				for _, p := range finders[n].partners(r) {
					chosen[n][p.key] = p
				}
			}
		}
	}
	begin := make([]tcp.Instant, len(c.streams))
	for n, s := range c.streams {
		begin[n] = s.from(chosen[n])
	}
	for at, s := range c.streams {
		for _, r := range s.around(chosen[at], mostControls) {
			if chosen[at][r.key] == nil && r.from <= begin[at] {
				c.addControl(at, r, chosen, finders, begin)
			}
		}
	}
	for n, s := range c.streams { // echoes and ARP tell that hosts live
		for k, r := range s.records {
			if k.Ports == 0 && r.from <= s.from(chosen[n]) {
				chosen[n][k] = r
			}
		}
	}
	return chosen
}

// partial reports whether a stream leaves out segments of connections of the same
// hosts that are not looked at for that.
func (s *stream) partial(chosen map[capture.Key]*record) bool {
	hosts, from := hostsOf(chosen), s.from(chosen)
	for e := s.ages.Back(); e != nil; e = e.Prev() {
		r := e.Value.(*record)
		if hosts[[2][4]uint32{r.key.Lo, r.key.Hi}] && r.key.Ports != 0 && chosen[r.key] == nil && r.from > from {
			return true
		}
	}
	return false
}

// hostsOf returns the hosts of some connections.
func hostsOf(some map[capture.Key]*record) map[[2][4]uint32]bool {
	hosts := map[[2][4]uint32]bool{}
	for k := range some {
		hosts[[2][4]uint32{k.Lo, k.Hi}] = true
	}
	return hosts
}

// addControl adds a connection of the same hosts to those that are looked at,
// where every stream tells as much of it.
func (c *Correlator) addControl(at int, r *record, chosen []map[capture.Key]*record, finders []*finder, begin []tcp.Instant) {
	beside := make([][]*record, len(c.streams))
	for n, other := range c.streams {
		if n == at {
			continue
		}
		beside[n] = finders[n].partners(r)
		late := slices.ContainsFunc(beside[n], func(p *record) bool { return p.from > begin[n] })
		// What a stream does not tell of may be what it was not asked for.
		if late || len(beside[n]) == 0 && (other.selected || c.streams[at].selected || other.gone > 0) {
			return
		}
	}
	chosen[at][r.key] = r
	for n := range beside {
		for _, p := range beside[n] {
			chosen[n][p.key] = p
		}
	}
}

// around returns connections of the hosts of some, the newest first.
func (s *stream) around(some map[capture.Key]*record, most int) (out []*record) {
	hosts := hostsOf(some)
	for e := s.ages.Back(); e != nil && len(out) < most; e = e.Prev() {
		if r := e.Value.(*record); hosts[[2][4]uint32{r.key.Lo, r.key.Hi}] && r.key.Ports != 0 && len(r.frames) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// from returns since when a stream tells all of some connections.
func (s *stream) from(chosen map[capture.Key]*record) tcp.Instant {
	from := s.since
	for _, r := range chosen {
		from = max(from, r.from)
	}
	return from
}

// point builds a capture of some connections, as this stream tells of them. Until
// its watch has ended nothing may be concluded beyond where it is complete: of one
// connection it may have told more, while it still holds what another one sent. Of
// interfaces nothing may be concluded beyond that then either: it was not recorded.
func (s *stream) point(chosen map[capture.Key]*record) pairing.Point {
	from := s.from(chosen)
	var frames []frame
	for _, r := range chosen {
		for _, f := range r.frames {
			if f.at >= from || r.from == 0 && from == s.since {
				frames = append(frames, f)
			}
		}
	}
	slices.SortFunc(frames, func(a, b frame) int { return cmp.Compare(a.ord, b.ord) })
	holes := slices.Clone(s.holes)
	if !s.whole || s.live { // what it has not told, or not seen, may have happened
		holes = append(holes, capture.Interval{From: s.complete + 1, To: never})
	}
	file := capture.File{
		Path: tcp.Untrusted(s.name), Format: "events", Complete: s.whole || !s.ended, Drops: s.drops, DropsKnown: s.since != 0,
		Unfiltered: !s.selected, First: from, Last: max(s.complete, from),
	}
	table := &flows.Table{}
	var b capture.Batch
	pending := holes
	for i := range frames {
		f := &frames[i]
		p := capture.DecodeFrame(f.link, f.data, f.wire)
		p.At, p.Ord, p.Iface = f.at, f.ord, f.iface
		p.Data += uint32(len(b.Buf))
		b.Buf = append(b.Buf, f.data...)
		b.Pkts[b.N] = p
		b.N++
		file.Frames++
		if p.Proto == capture.TCP {
			file.TCPFrames++
		}
		file.First, file.Last = min(file.First, f.at), max(file.Last, f.at)
		if b.N == capture.BatchSize || i == len(frames)-1 {
			for len(pending) > 0 && pending[0].From <= b.Pkts[0].At {
				b.Holes, pending = append(b.Holes, pending[0]), pending[1:]
			}
			table.Add(&b)
			b.N, b.Buf, b.Holes = 0, nil, nil
		}
	}
	if len(pending) > 0 {
		b.Holes = pending
		table.Add(&b)
	}
	table.Advance(max(table.Now(), s.complete))
	return pairing.Point{Name: s.name, Table: table, Files: []capture.File{file}, Frame: func(o tcp.Ordinal) (int, uint64) { return 0, uint64(o) }, Holes: holes}
}

// finder finds what a stream may hold of a connection of another one. It only
// says what is worth a look: pairing decides.
type finder struct {
	s     *stream
	marks map[mark][]*record
}

// mark is something of a segment that a device between may leave as it is.
type mark struct {
	kind uint8
	a, b uint32
}

// finderOf returns the finder of a stream, a new one where it has brought more.
func finderOf(s *stream) *finder {
	if s.found != nil && s.foundAt == s.version {
		return s.found
	}
	f := &finder{s, map[mark][]*record{}}
	s.found, s.foundAt = f, s.version
	for e := s.ages.Back(); e != nil; e = e.Prev() {
		r := e.Value.(*record)
		for _, m := range r.marks() {
			if list := f.marks[m]; len(list) < 8 && (len(list) == 0 || list[len(list)-1] != r) {
				f.marks[m] = append(list, r)
			}
		}
	}
	return f
}

// marks returns what tells a connection apart behind a translation: its initial
// sequence numbers, pairs of positions, time stamps.
func (r *record) marks() (out []mark) {
	for i := range r.frames {
		f := &r.frames[i]
		p := capture.DecodeFrame(f.link, f.data, f.wire)
		if p.Proto != capture.TCP {
			continue
		}
		g := &p.Seg
		switch {
		case g.Flags&tcp.SYN != 0:
			out = append(out, mark{0, uint32(g.Seq), uint32(g.Flags & tcp.ACK)})
		case g.Flags&tcp.ACK != 0:
			out = append(out, mark{1, uint32(g.Seq), uint32(g.Ack)})
		}
		if g.Opts.Has(tcp.OptTimestamps) && g.TSEcr != 0 {
			out = append(out, mark{2, g.TSVal, g.TSEcr})
		}
	}
	return out
}

// partners returns the records that may be of the same connection.
func (f *finder) partners(r *record) (out []*record) {
	add := func(p *record) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	if p := f.s.records[r.key]; p != nil {
		add(p)
	}
	for _, m := range r.marks() {
		for _, p := range f.marks[m] {
			add(p)
		}
	}
	return out
}
