package main

import (
	"context"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// inputs returns the captures named on the command line, -r ones first. Of the
// root command, a first word that is nearly a command is taken for a mistyped one.
func (a *app) inputs(c *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 && c == c.Root() {
		if mistyped := suggest(c, args[0]); mistyped != nil {
			return nil, mistyped
		}
	}
	all := append(append([]string(nil), a.flags.read...), args...)
	if len(all) == 0 {
		return nil, usageError{"no capture given; kaflow --help shows how"}
	}
	if f, ok := a.stdin.(*os.File); ok && slices.Contains(all, "-") && term.IsTerminal(int(f.Fd())) {
		return nil, usageError{"standard input is a terminal; pipe a capture into it: tcpdump -w - … | kaflow -"}
	}
	return all, nil
}

// options returns how captures are read.
func (a *app) options(ctx context.Context) (capture.Options, error) {
	limit, err := a.flags.octets()
	if err != nil {
		return capture.Options{}, err
	}
	o := capture.Options{Now: time.Now, Stdin: &lazyStdin{ctx: ctx, in: a.stdin}, MaxInput: limit, Hash: a.flags.hash || slices.Contains([]string{"md", "jira", "html"}, a.flags.format)}
	clean, err := a.sanitiser()
	if clean != nil {
		o.Rewrite = clean.Frame
	}
	return o, err
}

// lazyStdin begins to read standard input when it is first asked to.
type lazyStdin struct {
	ctx context.Context
	in  io.Reader
	out io.Reader
}

// Read implements io.Reader.
func (l *lazyStdin) Read(b []byte) (int, error) {
	if l.out == nil {
		l.out = interruptible(l.ctx, l.in)
	}
	return l.out.Read(b)
}

// point is a vantage point that is open.
type point struct {
	name  string
	named bool // by the user
	paths []string
	set   *capture.Set
	only  *uint32 // the interface that it stands for; nil: all

	compared bool // with another
}

// open opens the vantage points that the arguments name. What cannot be read
// is told and left out, as long as something is left.
func (a *app) open(c *cobra.Command, args []string) ([]point, error) {
	args, err := a.inputs(c, args)
	if err != nil {
		return nil, err
	}
	o, err := a.options(c.Context())
	if err != nil {
		return nil, err
	}
	vantages, err := a.resolve(args)
	if err != nil {
		return nil, err
	}
	a.aliases(vantages)
	var points []point
	for _, v := range vantages {
		set, err := capture.Open(o, v.Name, v.Paths...)
		if err != nil {
			a.unreadable(err)
			continue
		}
		points = append(points, point{name: v.Name, named: v.Named, paths: v.Paths, set: set})
	}
	if len(points) == 0 {
		return nil, errNothing
	}
	if a.flags.byInterface {
		return a.byInterface(o, points)
	}
	return points, nil
}

// resolve turns arguments into vantage points, leaving out those that cannot
// be read.
func (a *app) resolve(args []string) ([]capture.Vantage, error) {
	var usable []string
	for _, arg := range args {
		if _, _, err := capture.Resolve([]string{arg}); err != nil {
			a.unreadable(err)
			continue
		}
		usable = append(usable, arg)
	}
	if len(usable) == 0 {
		return nil, errNothing
	}
	vantages, hints, err := capture.Resolve(usable)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	for _, hint := range hints {
		a.hint("%s", hint)
	}
	return vantages, nil
}

// pathsOf returns the files of all vantage points.
func pathsOf(points []point) (paths []string) {
	for _, p := range points {
		paths = append(paths, p.paths...)
	}
	return paths
}

func closeAll(points []point) {
	for _, p := range points {
		p.set.Close()
	}
}

// openOne opens one file by itself, printing why where it cannot.
func (a *app) openOne(o capture.Options, path string) (*capture.Set, bool) {
	set, err := capture.Open(o, path, path)
	if err != nil {
		a.unreadable(err)
		return nil, false
	}
	return set, true
}

// files returns the single files that the arguments stand for.
func (a *app) files(c *cobra.Command, args []string) ([]string, error) {
	args, err := a.inputs(c, args)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, arg := range args {
		more, hints, err := capture.ResolveFiles([]string{arg})
		if err != nil {
			a.unreadable(err)
			continue
		}
		for _, hint := range hints {
			a.hint("%s", hint)
		}
		files = append(files, more...)
	}
	return files, nil
}

// twice reports whether a capture can be read a second time.
func twice(path string) bool {
	info, err := os.Stat(path)
	return path != "-" && err == nil && info.Mode().IsRegular()
}

// read feeds a table from a capture to its end, or until ctx ends. before is
// called for each batch before the table takes it.
func (a *app) read(ctx context.Context, set *capture.Set, table *flows.Table, batch *capture.Batch, before func()) {
	progress := a.startProgress(tcp.Untrusted(set.Name()))
	defer progress.done()
	var now tcp.Instant
	for err := error(nil); err == nil && ctx.Err() == nil; {
		err = set.Read(batch)
		set.Guard(func() {
			before()
			table.Add(batch) // at the end it may still hold a hole
		})
		if n := batch.Len(); n > 0 {
			last := &batch.Pkts[n-1]
			now = max(now, last.At)
			progress.at(uint64(last.Ord))
		}
	}
	table.Advance(now)
}

// unreadable prints why a capture could not be read at all.
func (a *app) unreadable(err error) {
	a.damaged = true
	a.complain("%v", err)
}

// conclude prints what was wrong with a capture that was read, and with what
// was made of it.
func (a *app) conclude(set *capture.Set, table *flows.Table) {
	a.problems(set.Files(), table)
	a.limits(set.Name(), table)
}

// limits prints which limits the table of a vantage point hit.
func (a *app) limits(name string, table *flows.Table) {
	for _, limit := range table.Limits() {
		a.limited = true
		a.complain("%s: %s", name, limit)
	}
}

// problems prints what was wrong with the files of a capture.
func (a *app) problems(files []capture.File, table *flows.Table) {
	for i := range files {
		for j := range files[i].Problems {
			a.problem(&files[i], &files[i].Problems[j], table)
		}
	}
}

// problem prints one line for what is wrong with a file. What ended its
// reading counts for the exit status; the rest is a note.
func (a *app) problem(f *capture.File, p *capture.Problem, table *flows.Table) {
	if f.Path == "-" && a.signal.Load() != 0 { // we cut it ourselves
		return
	}
	if !p.Fatal {
		a.hint("%s: %s", f.Path, p.What)
		return
	}
	if p.Limit {
		a.limited = true
	} else {
		a.damaged = true
	}
	a.complain("%s: %v; kept %d frames, %d flows", f.Path, p, f.Frames, table.Streams())
}
