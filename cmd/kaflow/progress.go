package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"kaflow/tcp"
)

// progress tells on a terminal how far the reading has come. It keeps quiet
// for the first second, so that short runs leave no trace.
type progress struct {
	app   *app
	name  tcp.Untrusted
	begun time.Time
	next  time.Time
	shown bool
}

// progressEvery is the time between two updates, and before the first.
const progressEvery = time.Second

// startProgress begins with a capture; it does nothing where stderr is no
// terminal or the user wants quiet.
func (a *app) startProgress(name tcp.Untrusted) *progress {
	f, ok := a.stderr.(*os.File)
	if a.flags.quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	now := time.Now()
	return &progress{app: a, name: name, begun: now, next: now.Add(progressEvery)}
}

// at says that so many frames have been read.
func (p *progress) at(frames uint64) {
	if p == nil || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(progressEvery)
	p.shown = true
	rate := float64(frames) / time.Since(p.begun).Seconds() / 1e6
	fmt.Fprintf(p.app.stderr, "\r\x1b[Kkaflow: %s: %d frames, %.1f million a second", escape(string(p.name)), frames, rate)
}

// done wipes the line.
func (p *progress) done() {
	if p != nil && p.shown {
		fmt.Fprint(p.app.stderr, "\r\x1b[K")
	}
}
