package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/monitor/correlate"
	"kaflow/render"
)

func (a *app) correlateCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "correlate STREAM STREAM...",
		Short: "what the event streams of several watches show together, as they come",
		Long: `Read what kaflow watch --format ndjson writes at both ends of a path (or at more
points), from files, named pipes or stdin (-), and say of each connection what the
streams show together: where a probe was lost, and who killed what died. When all
streams have ended, the connections that live are told too. No service is needed:

  kaflow watch -i eth0 --format ndjson > client.ndjson &
  ssh server kaflow watch -i eth0 --format ndjson | kaflow correlate - client.ndjson
  kaflow correlate <(ssh a kaflow watch -i eth0 --json) <(ssh b kaflow watch -i eth0 --json)

The streams carry headers of segments, of which the rules that files are asked
decide: the same packets get the same verdict. name=STREAM names a vantage point;
client= and server= say whose it is. A file whose watch still writes is followed as
long as a pipe or stdin goes on, with --follow until the watch ends. With --json each
event is an object, else a death comes with its report.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.correlate(c.Context(), args, follow) },
	}
	c.Flags().BoolVar(&follow, "follow", false, "wait for more at the end of files until their watches end")
	return c
}

// eventSource is one stream of events.
type eventSource struct {
	name, path string
	named      bool // by the user
}

// eventLine is what a stream brought: a line, or why it ended.
type eventLine struct {
	stream int
	text   []byte
	err    error
}

// correlateEvery is how often it is looked whether questions can be answered.
const correlateEvery = 200 * time.Millisecond

func (a *app) correlate(ctx context.Context, args []string, follow bool) error {
	sources, err := a.eventSources(args)
	if err != nil {
		return err
	}
	out, err := a.output(nil)
	if err != nil {
		return err
	}
	defer out.discard()
	tell, err := a.together(out, sources)
	if err != nil {
		return err
	}
	run := &correlation{follow: follow, a: a, sources: sources, left: len(sources), lines: make([]int, len(sources)), over: make([]bool, len(sources))}
	o := correlate.Options{Tool: version(), Roles: map[int]uint8{}, Tell: func(t correlate.Told) {
		if err := errors.Join(tell(t), out.Flush()); err != nil && run.failed == nil {
			run.failed = outputError{err}
		}
	}}
	var names []string
	for i, s := range sources {
		names = append(names, s.name)
		if role, known := map[string]uint8{"client": flows.Client, "server": flows.Server}[s.name]; known && s.named {
			o.Roles[i] = role
		}
	}
	run.correlator = correlate.New(names, o)
	run.read(ctx)
	if run.failed != nil {
		return run.failed
	}
	for _, hint := range run.correlator.Hints() {
		a.hint("%s", hint)
	}
	return out.finish()
}

// correlation is one run of correlate.
type correlation struct {
	a          *app
	sources    []eventSource
	correlator *correlate.Correlator
	left       int   // streams that go on
	lines      []int // read of each
	over       []bool
	failed     error        // an output that failed
	follow     bool         // files, in any case
	pipes      atomic.Int32 // streams that are no files and go on
}

// read feeds the correlator until all streams have ended, or ctx does.
func (r *correlation) read(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan eventLine, 256)
	for i := range r.sources {
		if !twice(r.sources[i].path) {
			r.pipes.Add(1)
		}
	}
	for i := range r.sources {
		go r.readEvents(ctx, i, lines)
	}
	look := time.NewTicker(correlateEvery)
	defer look.Stop()
	for r.left > 0 && r.failed == nil && ctx.Err() == nil {
		select {
		case l := <-lines:
			r.take(&l)
		case <-look.C:
			r.correlator.Look(time.Now())
		case <-ctx.Done():
		}
	}
	if r.failed == nil {
		r.correlator.Finish()
	}
}

// take takes a line of a stream, or its end. A line that is none of a watch ends
// the stream: what follows cannot be trusted to be complete.
func (r *correlation) take(l *eventLine) {
	if r.over[l.stream] {
		return
	}
	err := l.err
	if err == nil {
		r.lines[l.stream]++
		if err = r.correlator.Take(l.stream, l.text, time.Now()); err == nil {
			return
		}
		err = fmt.Errorf("line %d %w", r.lines[l.stream], err)
	}
	if errors.Is(err, io.EOF) && r.lines[l.stream] == 0 { // a watch that saw nothing says so
		err = errors.New("empty: kaflow watch --format ndjson wrote no line of it")
	}
	if !errors.Is(err, io.EOF) {
		r.a.damaged = true
		r.a.complain("%s: %v", r.sources[l.stream].path, cause(err))
	}
	r.over[l.stream] = true
	r.left--
	r.correlator.End(l.stream)
	r.correlator.Look(time.Now())
}

// eventSources reads the arguments: at least two streams, of which one may be
// stdin.
func (a *app) eventSources(args []string) ([]eventSource, error) {
	args = slices.Concat(args, a.flags.read)
	if len(args) < 2 {
		return nil, usageError{"correlate compares the event streams of two vantage points or more; analyze reads captures"}
	}
	var sources []eventSource
	stdin := 0
	for _, arg := range args {
		s := eventSource{name: filepath.Base(arg), path: arg}
		if name, path, named := strings.Cut(arg, "="); named && name != "" && path != "" {
			if _, err := os.Stat(arg); err != nil { // an existing path wins
				s = eventSource{name, path, true}
			}
		}
		if s.path == "-" {
			stdin++
			if !s.named {
				s.name = "stdin"
			}
		}
		sources = append(sources, s)
	}
	if stdin > 1 {
		return nil, usageError{"- can be read once"}
	}
	return sources, nil
}

// together returns what writes events.
func (a *app) together(out io.Writer, sources []eventSource) (func(correlate.Told) error, error) {
	format, err := a.flags.formatOf("text", "json", "ndjson")
	if err != nil {
		return nil, err
	}
	if err := a.failing(); err != nil {
		return nil, err
	}
	o, err := a.rendering()
	if err != nil {
		return nil, err
	}
	sel, err := a.selection()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sources {
		names = append(names, s.name)
	}
	write := monitor.Together(render.JSONWriter(out, o), strings.Join(names, "+"))
	plain := monitor.Plain(out, o)
	if format == "text" {
		write = func(ev monitor.Event, _ []string) error { return plain(ev) }
	}
	return func(t correlate.Told) error {
		if t.Report != nil {
			if !sel.flow(&t.Report.Flows[0]) {
				return nil
			}
			a.matched = a.matched || slices.Contains(a.flags.failOn, t.Report.Flows[0].Verdict.ID)
		}
		if err := write(t.Event, t.Vantages); err != nil || format != "text" || t.What != monitor.Died || t.Report == nil {
			return err
		}
		return reportBelow(out, t.Report, o)
	}, nil
}

// reportBelow writes a report below the line that announces it.
func reportBelow(out io.Writer, r *analyzer.Report, o render.Options) error {
	var text bytes.Buffer
	if err := render.Text(&text, r, o); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", text.String())
	return err
}

// readEvents reads a stream line by line until it ends or ctx does.
func (r *correlation) readEvents(ctx context.Context, i int, to chan<- eventLine) {
	send := func(l eventLine) bool {
		select {
		case to <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	path, in := r.sources[i].path, r.a.stdin
	end := false // its watch has said so
	grows := twice(path)
	if !grows {
		defer r.pipes.Add(-1)
	}
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			send(eventLine{i, nil, err})
			return
		}
		defer file.Close()
		in = file
	}
	if grows {
		in = &tail{in, func() bool {
			if end || !r.follow && r.pipes.Load() == 0 {
				return false
			}
			select {
			case <-ctx.Done():
				return false
			case <-time.After(followEvery):
				return true
			}
		}}
	}
	b := bufio.NewReaderSize(in, correlate.MaxLine)
	for {
		text, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("a line has more than %d octets", correlate.MaxLine)
		}
		if err == io.EOF && len(text) > 0 {
			err = errors.New("the last line is cut") // and what follows it is not known
		}
		end = err == nil && correlate.IsEnd(text)
		if err == nil && len(bytes.TrimSpace(text)) > 0 && !send(eventLine{i, bytes.Clone(text), nil}) {
			return
		}
		if err != nil {
			send(eventLine{i, nil, err})
			return
		}
	}
}

// tail reads on behind the end of a file for as long as wait says that there
// may be more.
type tail struct {
	io.Reader
	wait func() bool
}

// Read implements io.Reader.
func (p *tail) Read(b []byte) (int, error) {
	for {
		n, err := p.Reader.Read(b)
		if n > 0 || err != io.EOF || !p.wait() {
			return n, err
		}
	}
}
