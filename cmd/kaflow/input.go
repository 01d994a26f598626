package main

import (
	"context"
	"os"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// inputs returns the captures named on the command line, -r ones first.
func (a *app) inputs(args []string) ([]string, error) {
	all := append(append([]string(nil), a.flags.read...), args...)
	if len(all) == 0 {
		return nil, usageError{"no capture given; kaflow --help shows how"}
	}
	return all, nil
}

// options returns how captures are read.
func (a *app) options() capture.Options { return capture.Options{Stdin: a.stdin} }

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
		before()
		table.Add(batch)
		if batch.N > 0 {
			last := &batch.Pkts[batch.N-1]
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
	for _, f := range set.Files() {
		for i := range f.Problems {
			a.problem(&f, &f.Problems[i], table)
		}
	}
	for _, limit := range table.Limits() {
		a.limited = true
		a.complain("%s: %s", set.Name(), limit)
	}
}

// problem prints one line for what is wrong with a file. What ended its
// reading counts for the exit status; the rest is a note.
func (a *app) problem(f *capture.File, p *capture.Problem, table *flows.Table) {
	switch {
	case p.Limit:
		a.limited = true
	case p.Fatal:
		a.damaged = true
	case a.flags.quiet:
		return
	}
	if !p.Fatal {
		a.complain("%s: %s", f.Path, p.What)
		return
	}
	a.complain("%s: %v; kept %d frames, %d flows", f.Path, p, f.Frames, table.Streams())
}

// openOne opens one file by itself, printing why where it cannot.
func (a *app) openOne(path string) (*capture.Set, bool) {
	set, err := capture.Open(a.options(), path, path)
	if err != nil {
		a.unreadable(err)
		return nil, false
	}
	return set, true
}
