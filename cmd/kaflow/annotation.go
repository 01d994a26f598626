package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/rewrite"
	"kaflow/pairing"
	"kaflow/tcp"
)

// annotation is what a first reading found out, and the second one writes.
type annotation struct {
	*app
	points []point
	priors []map[uint64]*flows.Prior // by vantage point
	pairs  *pairing.Result           // nil for one vantage point
	report *analyzer.Report
	strip  bool
	keep   rewrite.Keep
}

func (x *annotation) writer(out io.Writer) *rewrite.Writer {
	w := rewrite.NewWriter(out, version(), verdictLines(x.report)...)
	w.Keep = x.keep
	return w
}

// single writes one vantage point with its blocks.
func (x *annotation) single(ctx context.Context, vantage int, out io.Writer) error {
	s, err := x.reread(ctx, vantage)
	if err != nil {
		return err
	}
	defer s.set.Close()
	w := x.writer(out)
	for {
		items, err := s.next()
		for i := range items {
			werr := error(nil)
			if items[i].block != nil {
				werr = w.Copy(items[i].block)
			} else {
				werr = w.Write(&items[i].frame)
			}
			if werr != nil {
				return outputError{werr}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return outputError{err}
	}
	return nil
}

// maxMerged is how many interfaces of one vantage point are told apart in a
// merged file.
const maxMerged = 1 << 16

// merged writes all vantage points into one file, by time on the first one's
// clock. Frames of one vantage point keep their order.
func (x *annotation) merged(ctx context.Context, out io.Writer) error {
	streams := make([]*reread, len(x.points))
	for i := range x.points {
		s, err := x.reread(ctx, i)
		if err != nil {
			return err
		}
		defer s.set.Close()
		streams[i] = s
	}
	w := x.writer(out)
	for {
		first := -1
		for i, s := range streams {
			if err := s.fill(); err != nil {
				return err
			}
			if len(s.items) > 0 && (first < 0 || s.items[0].frame.At < streams[first].items[0].frame.At) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		s := streams[first]
		if err := w.Write(&s.items[0].frame); err != nil {
			return outputError{err}
		}
		s.items = s.items[1:]
	}
	if err := w.Close(); err != nil {
		return outputError{err}
	}
	return nil
}

// fill makes sure that the next frame of a stream is at hand, on the common
// clock, where there is one. Blocks without packets are left out.
func (s *reread) fill() error {
	for len(s.items) == 0 && !s.done {
		items, err := s.next()
		if errors.Is(err, io.EOF) {
			s.done = true
		} else if err != nil {
			return err
		}
		for i := range items {
			if items[i].block == nil {
				s.common(&items[i].frame)
				s.items = append(s.items, items[i])
			}
		}
	}
	return nil
}

// common puts a frame on the first vantage point's clock and on an interface
// named after its vantage point.
func (s *reread) common(f *rewrite.Packet) {
	x := s.of
	f.Told = capture.PacketBlock{}
	f.Name = x.points[s.vantage].name
	if n := len(s.seen); n > 0 && s.seen[0] != f.Iface || n > 1 {
		f.Name = fmt.Sprintf("%s:%d", f.Name, f.Iface)
	}
	if !slices.Contains(s.seen, f.Iface) {
		s.seen = append(s.seen, f.Iface)
	}
	f.Iface += uint32(s.vantage) * maxMerged
	if s.vantage == 0 || x.pairs == nil {
		return
	}
	f.Description = "times as captured: nothing compares this clock with the first one"
	if at, known := x.pairs.Map(s.vantage, 0, f.At); known {
		f.At, f.Description = at, "times are put on the clock of "+x.points[0].name
	}
}

// reread is the second reading of a vantage point.
type reread struct {
	of      *annotation
	ctx     context.Context
	vantage int
	set     *capture.Set
	table   *flows.Table
	batch   capture.Batch
	says    map[tcp.Ordinal][]string    // what the report says of a frame
	streams map[uint64]bool             // of the flow that was asked for
	labels  map[tcp.Ordinal]flows.Label // of the batch at hand
	read    []item                      // of the batch at hand
	drops   uint64                      // that the file has told of
	items   []item                      // of a merged file, not yet written
	seen    []uint32                    // interfaces so far
	done    bool
}

// item is a frame, or a block without one.
type item struct {
	block *capture.Block
	ord   tcp.Ordinal
	raw   capture.Frame
	frame rewrite.Packet
}

func (x *annotation) reread(ctx context.Context, vantage int) (*reread, error) {
	o, err := x.options(ctx)
	if err != nil {
		return nil, err
	}
	p := x.points[vantage]
	s := &reread{of: x, ctx: ctx, vantage: vantage, says: evidence(x.report, vantage), streams: streamsOf(x.report, x.flags.flow, vantage), labels: map[tcp.Ordinal]flows.Label{}}
	o.Each = func(p *capture.Packet, f capture.Frame) { s.read = append(s.read, item{ord: p.Ord, raw: f}) }
	o.Block = func(b capture.Block) {
		b.Body = slices.Clone(b.Body)
		s.read = append(s.read, item{block: &b})
	}
	priors := x.priors[vantage]
	s.table = &flows.Table{Options: flows.Options{
		MaxFlows: x.flags.maxFlows, MaxEvents: x.flags.maxEvents,
		Prior: func(first uint64) *flows.Prior { return priors[first] }, Label: func(l flows.Label) { s.labels[l.Ord] = l },
	}}
	s.set, err = capture.Open(o, p.name, p.paths...)
	return s, err
}

// next returns the frames and blocks of the next batch that are to be written,
// valid until it is called again, and io.EOF with the last.
func (s *reread) next() ([]item, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	s.read = s.read[:0]
	clear(s.labels)
	err := s.set.Read(&s.batch)
	s.table.Add(&s.batch)
	drops := s.newDrops()
	at, kept := 0, s.read[:0]
	for _, it := range s.read {
		if it.block != nil {
			kept = append(kept, it)
			continue
		}
		for at < s.batch.N && s.batch.Pkts[at].Ord < it.ord {
			at++
		}
		if at == s.batch.N {
			continue // the file has grown since the first reading
		}
		if s.describe(&it, &s.batch.Pkts[at]) {
			it.frame.Drops, drops = drops, 0
			kept = append(kept, it)
		}
	}
	return kept, err
}

// newDrops returns how many more frames the file says were dropped. A copied
// section tells that itself.
func (s *reread) newDrops() uint64 {
	total := uint64(0)
	for _, f := range s.set.Files() {
		if !strings.HasPrefix(f.Format, "pcapng") {
			total += f.Drops
		}
	}
	more := total - s.drops
	s.drops = total
	return more
}

// describe completes the frame of an item, and reports whether it is wanted.
func (s *reread) describe(it *item, p *capture.Packet) bool {
	x := s.of
	l, labelled := s.labels[p.Ord]
	if x.flags.flow != 0 && !(labelled && s.streams[l.Stream]) {
		return false
	}
	raw := &it.raw
	f := &it.frame
	*f = rewrite.Packet{Iface: p.Iface, Link: raw.Link, At: p.At, Data: raw.Data, Wire: raw.Wire, Comments: s.says[p.Ord], Told: raw.Told, Changed: x.clean != nil}
	if x.clean == nil && raw.Told.Known {
		f.Data = raw.Data[:len(raw.Data)+int(raw.Told.FCS)]
		f.Wire += raw.Told.WireFCS
	}
	if x.strip && p.Proto == capture.TCP && p.HeaderLen > 0 && p.Data >= raw.Base {
		f.Data, f.Changed = raw.Data[:min(len(raw.Data), int(p.Data-raw.Base))], true
	}
	if labelled {
		f.Comments = append(f.Comments[:len(f.Comments):len(f.Comments)], labelText(l)...)
	}
	return true
}
