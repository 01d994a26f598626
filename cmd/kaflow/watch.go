package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/tcp"
)

// watchFlags are those of watch alone.
type watchFlags struct {
	iface   string
	follow  bool
	limit   time.Duration
	snap    int
	promisc bool
}

func (a *app) watchCommand() *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use:   "watch -i IFACE | -r FILE",
		Short: "connections as they live and die: a line for each event",
		Long: `Watch an interface (Linux), a growing file or a pipe, and say what happens to
each connection: seen, probe-lost, at-risk, died with its verdict, recovered.

  kaflow watch -i eth0                      needs CAP_NET_RAW
  kaflow watch -r trace.pcap --follow       a file that tcpdump is writing
  tcpdump -U -w - -i eth0 tcp | kaflow watch -r -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.watch(c, args, &f) },
	}
	s := c.Flags()
	s.StringVarP(&f.iface, "interface", "i", "", "capture on this interface, or any")
	s.BoolVar(&f.follow, "follow", false, "wait for more at the end of the file")
	s.DurationVar(&f.limit, "path-limit", 0, "idle limit of the path, where you know it: warn before it")
	s.IntVar(&f.snap, "snaplen", 0, "octets of each packet to capture (default 256)")
	s.BoolVar(&f.promisc, "promiscuous", false, "capture what is not addressed to this host, too")
	return c
}

// liveError is a live capture that failed.
type liveError struct{ err error }

func (e liveError) Error() string { return e.err.Error() }
func (e liveError) Unwrap() error { return e.err }

// stream is where watch gets its packets from.
type stream struct {
	capture.Source
	name  string
	files func() []capture.File
	frame func(tcp.Ordinal) (int, uint64)
	live  bool // time goes on while no packets come: not of a pipe, whose writer may hold them back
	again func() (*stream, error)
	close func()
}

func (a *app) watch(c *cobra.Command, args []string, f *watchFlags) error {
	write, err := a.eventWriter(f, args)
	if err != nil {
		return err
	}
	sel, err := a.flags.selection()
	if err != nil {
		return err
	}
	src, err := a.openFeed(c, args, f)
	if err != nil {
		return err
	}
	defer func() { src.close() }()
	var failed error
	o := monitor.Options{
		Name: src.name, PathLimit: f.limit, MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents, Keep: sel.keeps,
		Emit: func(ev monitor.Event) {
			if err := write(src.name)(ev); err != nil && failed == nil {
				failed = outputError{err}
			}
		},
	}
	e := monitor.New(o, func() []capture.File { return src.files() }, src.frame)
	var told tcp.Instant // packet time when an interface was last said to be down
	for {
		err := a.pump(c.Context(), e, src, &failed)
		if failed != nil || c.Context().Err() != nil || src.again == nil {
			return errors.Join(failed, ignoreEOF(err))
		}
		if seen := e.Table.Now(); seen != told || told == 0 { // one message, however often opening it again fails
			told = max(seen, 1)
			o.Emit(monitor.Event{At: tcp.Instant(time.Now().UnixNano()), What: monitor.NotObserved, Says: src.name + " is down; waiting for it: " + err.Error()})
		}
		if src, err = reopened(c.Context(), src); err != nil {
			return nil // stopped while waiting
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// keeps reports whether a connection is among those asked for.
func (s *selection) keeps(f *flows.Flow) bool {
	for i := range f.Sides {
		at := f.Sides[i].Addr
		hostFits := !s.host.IsValid() || at.Addr().Unmap() == s.host
		portFits := s.port == 0 || at.Port() == s.port
		if hostFits && (portFits || f.Sides[1-i].Addr.Port() == s.port) {
			return true
		}
	}
	return false
}

// eventWriter returns what writes events, once it knows the vantage point's name.
func (a *app) eventWriter(f *watchFlags, args []string) (func(name string) func(monitor.Event) error, error) {
	format, err := a.flags.formatOf("text", "json", "ndjson")
	if err != nil {
		return nil, err
	}
	if f.iface != "" && (len(args) > 0 || len(a.flags.read) > 0 || f.follow) {
		return nil, usageError{"-i and a capture file contradict each other"}
	}
	zone, err := a.flags.location()
	if err != nil {
		return nil, err
	}
	return func(name string) func(monitor.Event) error {
		if format == "text" {
			return monitor.Plain(a.stdout, zone)
		}
		return monitor.NDJSON(a.stdout, name)
	}, nil
}

// openFeed opens the interface, or the one capture that was named.
func (a *app) openFeed(c *cobra.Command, args []string, f *watchFlags) (*stream, error) {
	if f.iface != "" {
		return openInterface(capture.LiveOptions{Interface: f.iface, SnapLen: f.snap, Promiscuous: f.promisc})
	}
	args, err := a.inputs(c, args)
	if err != nil {
		return nil, err
	}
	if len(args) != 1 {
		return nil, usageError{"watch takes one capture; analyze compares several"}
	}
	o, err := a.options(c.Context())
	if err != nil {
		return nil, err
	}
	path, name := args[0], args[0]
	closeFile := func() {}
	if f.follow && path != "-" {
		file, err := os.Open(path)
		if err != nil {
			a.unreadable(err)
			return nil, errNothing
		}
		closeFile = func() { file.Close() }
		o.Stdin, path = &follower{ctx: c.Context(), file: file}, "-"
	}
	set, err := capture.Open(o, name, path)
	if err != nil {
		closeFile()
		a.unreadable(err)
		return nil, errNothing
	}
	return &stream{Source: set, name: name, files: set.Files, frame: set.Frame,
		close: func() { set.Close(); closeFile() }}, nil
}

// follower reads a file that grows, until ctx ends.
type follower struct {
	ctx  context.Context
	file *os.File
}

// followEvery is how often a file that ended is looked at again.
const followEvery = 200 * time.Millisecond

// Read implements io.Reader.
func (f *follower) Read(b []byte) (int, error) {
	for {
		n, err := f.file.Read(b)
		if n > 0 || err != io.EOF {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, io.EOF
		case <-time.After(followEvery):
		}
	}
}

func openInterface(o capture.LiveOptions) (*stream, error) {
	l, err := capture.OpenLive(o)
	var rights *capture.RightsError
	if errors.As(err, &rights) {
		return nil, liveError{errors.New(rights.Error() + "; give the program the right: setcap cap_net_raw+ep kaflow")}
	}
	if err != nil {
		return nil, liveError{err}
	}
	src := &stream{Source: l, name: o.Interface, files: func() []capture.File { return []capture.File{l.File()} }, live: true, close: func() { l.Close() }}
	src.again = func() (*stream, error) { return openInterface(o) }
	return src, nil
}

// reopened waits until an interface that went away is back.
func reopened(ctx context.Context, src *stream) (*stream, error) {
	src.close()
	for {
		select {
		case <-ctx.Done():
			return src, ctx.Err()
		case <-time.After(time.Second):
		}
		if back, err := src.again(); err == nil {
			return back, nil
		}
	}
}

// tickEvery is how often packet time is moved on where no packets come.
const tickEvery = 500 * time.Millisecond

// pump feeds the engine until the source ends or ctx does. Of what is live,
// packet time goes on with the clock while nothing comes.
func (a *app) pump(ctx context.Context, e *monitor.Engine, src *stream, failed *error) error {
	type read struct{ err error }
	var b capture.Batch
	came, taken, ended := make(chan read), make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		if src.again != nil {
			<-ended // a ring must not go while it is read
		}
	}()
	go func() {
		defer close(ended)
		for {
			err := src.Read(&b)
			select {
			case came <- read{err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			select {
			case <-taken:
			case <-ctx.Done():
				return
			}
		}
	}()
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	var last tcp.Instant
	lastSeen := time.Now()
	for *failed == nil {
		select {
		case r := <-came:
			e.Add(&b)
			if r.err != nil {
				e.Finish()
				return r.err
			}
			if b.N > 0 {
				last, lastSeen = e.Table.Now(), time.Now()
			}
			taken <- struct{}{}
		case <-ticker.C:
			if src.live && last != 0 {
				e.Advance(last.Add(time.Since(lastSeen)))
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
