package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/monitor"
	"kaflow/render"
	"kaflow/tcp"
)

// watchFlags are those of watch alone.
type watchFlags struct {
	ifaces  []string
	follow  bool
	limit   time.Duration
	snap    int
	promisc bool
	report  string
	user    string
	plain   bool
	filter  string
	bare    bool

	save       string
	saveMost   int
	saveOctets string

	webhook  string
	syslog   string
	journald string
	metrics  string
}

func (a *app) watchCommand() *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use:   "watch -i IFACE... | -r FILE",
		Short: "connections as they live and die: a line for each event",
		Long: `Watch interfaces (Linux), a growing file or a pipe, and say what happens to
each connection: seen, probe-lost, at-risk, died with its verdict, recovered. On a
terminal it is a screen (? there for help), else, or with --plain or --json, a line
for each event.

  kaflow watch -i eth0                      needs CAP_NET_RAW
  kaflow watch -i eth0 -i eth1 --net 192.0.2.0/24 --report night.html
  kaflow watch -r trace.pcap --follow       a file that tcpdump is writing, and the
                                            next ones of its rotation
  tcpdump -U -w - -i eth0 tcp | kaflow watch -r -

-f takes libpcap's language where tcpdump is installed. It chooses among TCP frames
only: ICMP errors, ARP and the like stay, since they are evidence; tags are taken off
before. --host, --net and --port need nothing, and choose whole connections.

SIGINT or SIGTERM ends it; --report FILE (or -o FILE) then gets the report that
analyze gives, in the format that the file's name asks for: .html, .json,
.ndjson, .md, .jira, else text.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.watch(c, args, &f) },
	}
	s := c.Flags()
	s.StringSliceVarP(&f.ifaces, "interface", "i", nil, "capture on this interface, or any (repeatable)")
	s.BoolVar(&f.follow, "follow", false, "wait for more at the end of the file")
	s.DurationVar(&f.limit, "path-limit", 0, "idle limit of the path, where you know it: warn before it")
	s.IntVar(&f.snap, "snaplen", 0, "octets of each packet to capture (default 256)")
	s.BoolVar(&f.promisc, "promiscuous", false, "capture what is not addressed to this host, too")
	s.StringVar(&f.report, "report", "", "at the end, write the report to this file")
	s.StringVar(&f.user, "user", "", "once the capture is open, become this user (of root)")
	s.StringVar(&f.save, "save", "", "keep proof of each death in this directory: the connection's recent headers as pcapng, and the report on it")
	s.IntVar(&f.saveMost, "save-max", 0, "deaths to keep proof of, the oldest goes first (default 100)")
	s.StringVar(&f.saveOctets, "save-size", "", "octets that all proof may take: 500M, 2G (default 100M)")
	s.StringVar(&f.webhook, "webhook", "", "post at-risk, died and recovered to this address, as JSON")
	s.StringVar(&f.syslog, "syslog", "", "log events to the syslog daemon (=PATH: its socket)")
	s.Lookup("syslog").NoOptDefVal = "/dev/log"
	s.StringVar(&f.journald, "journald", "", "log events to journald, with fields (=PATH: its socket)")
	s.Lookup("journald").NoOptDefVal = "/run/systemd/journal/socket"
	s.StringVar(&f.metrics, "metrics", "", "serve metrics for Prometheus here; a port alone is 127.0.0.1's")
	s.StringVarP(&f.filter, "filter", "f", "", "only TCP frames that pass this filter, in libpcap's language; tcpdump has to be installed")
	s.BoolVar(&f.bare, "no-segments", false, "NDJSON without the headers of segments, which kaflow correlate needs")
	s.BoolVar(&f.plain, "plain", false, "lines on a terminal too, no screen")
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
	away  func() []string // interfaces that are down; nil: not of interfaces, and then time does not go on by itself
	leave func()          // of interfaces: counts what was not read any more as dropped
	close func()
}

// watcher is one run of watch.
type watcher struct {
	a       *app
	f       *watchFlags
	command *cobra.Command
	src     *stream
	engine  *monitor.Engine
	sel     selection
	away    []string // interfaces that were said to be down
	screen  *display // nil: lines
	out     *outlets
	saver   *saver           // nil: not asked for
	carrier *monitor.Carrier // of NDJSON: what correlate needs; nil: not asked for
	emit    func(monitor.Event)
	failed  error // an output that failed

	memory headroom

	frames, segments uint64 // that were read

	reading bool           // the source is being read, and must be left alone
	known   []capture.File // what was known of the files before that
	asked   time.Time      // when
	came    time.Time      // the newest packets, where they are carried on
}

// files returns what is known of what is watched.
func (s *watcher) files() []capture.File {
	if s.reading {
		return s.known
	}
	return s.src.files()
}

// frameNumber returns what tells the frame of an ordinal; nil where ordinals are
// frames.
func (s *watcher) frameNumber() func(tcp.Ordinal) (int, uint64) {
	if s.src.frame == nil {
		return nil
	}
	return func(o tcp.Ordinal) (int, uint64) {
		if !s.reading {
			return s.src.frame(o)
		}
		n := uint64(o)
		for i := range s.known {
			if i == len(s.known)-1 || n <= s.known[i].Frames {
				return i, n
			}
			n -= s.known[i].Frames
		}
		return -1, 0
	}
}

// leave remembers what is known of the files, now and then, and leaves the
// source to who reads it.
func (s *watcher) leave() {
	if now := time.Now(); s.known == nil || now.Sub(s.asked) > frameEvery {
		s.asked, s.known = now, slices.Clone(s.src.files())
		for i := range s.known {
			s.known[i].Undecoded = maps.Clone(s.known[i].Undecoded)
		}
	}
	s.reading = true
}

func (a *app) watch(c *cobra.Command, args []string, f *watchFlags) error {
	write, err := a.eventWriter(f, args)
	if err != nil {
		return err
	}
	s := &watcher{a: a, f: f, command: c}
	if a.flags.addressMap != "" {
		return usageError{"--map goes with captures that end; watch has none"}
	}
	if s.sel, err = a.selection(); err != nil {
		return err
	}
	report, err := a.lastReport(f)
	if err != nil {
		return err
	}
	if s.out, err = a.newOutlets(f); err != nil {
		return err
	}
	if s.saver, err = a.newSaver(f); err != nil {
		return err
	}
	s.carrier = a.newCarrier(f, args)
	if s.src, err = a.openFeed(c, args, f, s.each()); err != nil {
		return err
	}
	defer s.src.close()
	s.carry()
	if s.src.away != nil {
		if err := s.rights(report).drop(); err != nil {
			return liveError{err}
		}
	} else if f.user != "" {
		return usageError{"--user is for live captures: of a file or a pipe no right is asked"}
	}
	if err := report.check(args); err != nil {
		return err
	}
	tell := write(s.src.name)
	if a.wantsScreen(f, args) {
		var gone func()
		s.screen, gone = a.newDisplay()
		defer gone()
		tell = s.screen.write
	}
	s.emit = func(ev monitor.Event) {
		if err := tell(ev); err != nil && s.failed == nil {
			s.failed = outputError{err}
		}
		s.out.event(ev)
	}
	if err := s.out.start(f, s.src.name); err != nil {
		return err
	}
	defer s.out.close()
	o := monitor.Options{
		Name: s.src.name, PathLimit: f.limit, MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents,
		Keep: func(f *flows.Flow) bool { return s.sel.ends(f.Sides[0].Addr, f.Sides[1].Addr) }, Emit: s.emit, Metrics: s.out.metrics,
	}
	if s.saver != nil {
		if err := s.saver.start(); err != nil {
			return err
		}
		defer s.saver.finish()
		o.Label = s.saver.recorder.Label
		o.Died = func(f *flows.Flow) { s.saver.died(s.engine, f) }
	}
	s.engine = monitor.New(o, s.files, s.frameNumber())
	run := s.watchFile
	if s.src.away != nil {
		run = s.watchLive
	}
	if s.screen != nil {
		err = s.screen.run(c.Context(), s, run)
	} else {
		err = run(c.Context())
	}
	s.carryOn(time.Now(), true)
	if s.src.away == nil && a.signal.Load() == 0 {
		a.problems(s.src.files(), s.engine.Table)
	}
	return errors.Join(s.failed, ignoreEOF(err), report.write(s))
}

// rights returns what is kept once the capture is open.
func (s *watcher) rights(report *lastReport) rights {
	r := rights{user: s.f.user}
	if s.out.hook != nil {
		r.readable = append(r.readable, resolverFiles...)
	}
	switch {
	case report.path == "":
	case isDevice(report.path):
		r.files = append(r.files, report.path)
	default:
		r.folders = append(r.folders, filepath.Dir(report.path))
	}
	if s.saver != nil {
		r.folders = append(r.folders, s.saver.dir)
	}
	return r
}

// each returns what is called for every frame that is read; nil where nobody
// asks.
func (s *watcher) each() func(*capture.Packet, capture.Frame) {
	var keep func(*capture.Packet, capture.Frame)
	if s.saver != nil {
		keep = s.saver.recorder.Keep
	}
	if s.carrier == nil {
		return keep
	}
	var first tcp.Instant
	return func(p *capture.Packet, f capture.Frame) {
		if keep != nil {
			keep(p, f)
		}
		if first == 0 {
			first = p.At
		}
		// That hosts live is evidence for any connection.
		if s.sel.packet(p, first) || p.Proto != capture.TCP && (!s.sel.timed() || s.sel.during(p.At, first)) {
			s.carrier.Keep(p, f)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// eventWriter returns what writes events, once it knows the vantage point's name.
func (a *app) eventWriter(f *watchFlags, args []string) (func(name string) func(monitor.Event) error, error) {
	format, err := a.flags.formatOf("text", "json", "ndjson")
	if err != nil {
		return nil, err
	}
	if len(f.ifaces) > 0 && (len(args) > 0 || len(a.flags.read) > 0 || f.follow) {
		return nil, usageError{"-i and a capture file contradict each other"}
	}
	o, err := a.rendering()
	if err != nil {
		return nil, err
	}
	return func(name string) func(monitor.Event) error {
		if format == "text" {
			return monitor.Plain(a.stdout, o)
		}
		return monitor.NDJSON(render.JSONWriter(a.stdout, o), name)
	}, nil
}

// openFeed opens the interface, or the one capture that was named.
func (a *app) openFeed(c *cobra.Command, args []string, f *watchFlags, each func(*capture.Packet, capture.Frame)) (*stream, error) {
	if len(f.ifaces) > 0 {
		o := capture.LiveOptions{Interfaces: f.ifaces, SnapLen: f.snap, Promiscuous: f.promisc, Each: each}
		if a.clean != nil {
			o.Rewrite = a.clean.Frame
		}
		if c.Flags().Changed("filter") {
			var err error
			if o.Filter, err = a.compile(c.Context(), f.filter); err != nil {
				return nil, err
			}
		}
		src, err := openInterfaces(o)
		if err == nil && a.clean != nil {
			src.name = alias("", 0)
		}
		return src, err
	}
	if c.Flags().Changed("filter") {
		return nil, usageError{"-f is for live captures; of a file: tcpdump -r FILE -w - 'FILTER' | kaflow watch -r -"}
	}
	args, err := a.inputs(c, args)
	if err != nil {
		return nil, err
	}
	vantages, err := a.resolve(args)
	if err != nil {
		return nil, err
	}
	if len(vantages) != 1 {
		return nil, usageError{"watch takes one capture, or one rotated set; analyze compares several"}
	}
	o, err := a.options(c.Context())
	if err != nil {
		return nil, err
	}
	a.aliases(vantages)
	o.Each, o.Copied = each, true // its packets are looked at in many places
	name, paths := vantages[0].Name, vantages[0].Paths
	if f.follow {
		ctx := c.Context()
		o.Wait = func() bool {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(followEvery):
				return true
			}
		}
	}
	set, err := capture.Open(o, name, paths...)
	if err != nil {
		a.unreadable(err)
		return nil, errNothing
	}
	return &stream{Source: set, name: name, files: set.Files, frame: set.Frame, close: func() { set.Close() }}, nil
}

// followEvery is how often a file that ended is looked at again.
const followEvery = 200 * time.Millisecond

func openInterfaces(o capture.LiveOptions) (*stream, error) {
	if slices.Contains(o.Interfaces, "any") && len(o.Interfaces) > 1 {
		return nil, usageError{"-i any holds all interfaces; name it alone"}
	}
	for i, name := range o.Interfaces {
		if slices.Contains(o.Interfaces[:i], name) {
			return nil, usageError{"-i " + name + " is given twice"}
		}
	}
	o.Now = func() tcp.Instant { return tcp.Instant(time.Now().UnixNano()) }
	l, err := capture.OpenLive(o)
	var rights *capture.RightsError
	if errors.As(err, &rights) {
		return nil, liveError{errors.New(rights.Error() + "; give the program the right: " + setcapLine())}
	}
	if err != nil {
		return nil, liveError{err}
	}
	return &stream{Source: l, name: strings.Join(o.Interfaces, ","), files: func() []capture.File { return []capture.File{l.File()} },
		away: l.Away, leave: l.Abandon, close: func() { l.Close() }}, nil
}

// setcapLine is the command that lets this program capture without root.
func setcapLine() string {
	path, err := os.Executable()
	if err != nil {
		path = "kaflow"
	}
	return "sudo setcap cap_net_raw+ep " + path
}

// drainFor is how long the rest of the ring may take when the end has come.
const drainFor = time.Second

// pace moves packet time on with the clock while nothing comes, but no further
// than to where packets were asked for in vain: what came since may lie in the
// ring, however long a busy machine has kept this process from it.
type pace struct {
	last tcp.Instant // packet time when packets came last
	seen time.Time   // when that was
}

// goOn takes that n packets came when they were asked for, and that it is now. While
// an interface is away time stands: nothing can be concluded then.
func (p *pace) goOn(e *monitor.Engine, n int, asked, now time.Time, away bool) {
	switch {
	case n > 0:
		// Packets that are older than what time it is, since the clock was set back, do
		// not hold it up.
		if at := e.Table.Now(); at > p.last {
			p.last, p.seen = at, now
		}
	case p.last != 0 && !away:
		e.Advance(p.last.Add(asked.Sub(p.seen)))
	}
}

// watchLive feeds the engine until ctx ends.
func (s *watcher) watchLive(ctx context.Context) error {
	var b capture.Batch
	var p pace
	var until time.Time
	for s.failed == nil {
		if ctx.Err() != nil && until.IsZero() {
			until = time.Now().Add(drainFor)
		}
		if !until.IsZero() && (b.N == 0 || time.Now().After(until)) {
			s.abandon() // what the ring held when the end came was read, or counts as dropped
			return nil
		}
		asked := time.Now()
		if err := s.src.Read(&b); err != nil {
			return liveError{err}
		}
		s.tellAway()
		s.add(&b)
		s.out.update(s)
		s.show()
		p.goOn(s.engine, b.N, asked, time.Now(), len(s.away) > 0)
		s.carryOn(asked, false)
	}
	return nil
}

// tellAway says once that an interface went away, and once that it is back.
func (s *watcher) tellAway() {
	now := s.src.away()
	if slices.Equal(now, s.away) {
		return
	}
	at := tcp.Instant(time.Now().UnixNano())
	for _, name := range now {
		if !slices.Contains(s.away, name) {
			s.emit(monitor.Event{At: at, What: monitor.NotObserved, Says: name + " is down; waiting for it"})
		}
	}
	for _, name := range s.away {
		if !slices.Contains(now, name) {
			s.emit(monitor.Event{At: at, What: monitor.NotObserved, Says: name + " is back"})
		}
	}
	s.away = now
}

// watchFile feeds the engine until the source ends or ctx does.
func (s *watcher) watchFile(ctx context.Context) error {
	var b capture.Batch
	var first tcp.Instant
	came, taken := make(chan error, 1), make(chan struct{})
	defer close(taken)
	s.leave()
	quiet := time.NewTicker(frameEvery)
	defer quiet.Stop()
	go func() {
		for more := true; more; _, more = <-taken {
			came <- s.src.Read(&b) // there is room: it goes on when this one was taken
		}
	}()
	for s.failed == nil {
		select {
		case err := <-came:
			s.reading = false
			s.sel.trim(&b, &first)
			s.add(&b)
			s.carryOn(time.Now(), false)
			if err != nil {
				s.engine.Finish()
				s.out.update(s)
				return err
			}
			s.out.update(s)
			s.show()
			s.leave()
			taken <- struct{}{}
		case <-quiet.C: // what does not come is shown, too
			s.out.update(s)
			s.show()
			s.carryFlush()
		case <-ctx.Done():
			select { // what was read when the end came counts
			case <-came:
				s.reading = false
				s.sel.trim(&b, &first)
				s.add(&b)
			case <-time.After(frameEvery): // a pipe that holds on: its reader keeps the source
			}
			return nil
		}
	}
	return nil
}
