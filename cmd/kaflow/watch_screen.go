package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"kaflow/monitor"
	"kaflow/monitor/screen"
	"kaflow/render"
)

// display is the screen of a watch, as its capture sees it.
type display struct {
	board screen.Board
	pad   notepad
	write func(monitor.Event) error // to the notepad
	shown time.Time
	every time.Duration // between frames: they may take a twentieth of the time
	last  screen.Frame
}

// notepad keeps the newest lines that were written to it, for the screen's last
// lines: events and complaints.
type notepad struct {
	mu    sync.Mutex
	lines []string
	bad   []string // complaints, which stderr gets when the screen is gone
}

// most lines that are kept
const notesKept = 50

// Write implements io.Writer, for complaints.
func (n *notepad) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bad = append(n.bad, string(b)); len(n.bad) > notesKept {
		n.bad = n.bad[1:]
	}
	n.add(b)
	return len(b), nil
}

func (n *notepad) add(b []byte) {
	n.lines = append(n.lines, strings.TrimRight(string(b), "\n"))
	if len(n.lines) > notesKept {
		n.lines = n.lines[1:]
	}
}

// newest returns the newest lines, the newest last.
func (n *notepad) newest() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

// Screens show so many connections, and at most so often.
const (
	rowsShown  = 2000
	frameEvery = 400 * time.Millisecond
)

// wantsScreen reports whether a screen is to be shown: on a terminal, where
// nobody asked for lines and the keyboard is not the capture.
func (a *app) wantsScreen(f *watchFlags, args []string) bool {
	in, isFile1 := a.stdin.(*os.File)
	out, isFile2 := a.stdout.(*os.File)
	return isFile1 && isFile2 && !f.plain && a.flags.format == "" && !a.flags.json && os.Getenv("TERM") != "dumb" &&
		!slices.Contains(append(slices.Clone(a.flags.read), args...), "-") && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// newDisplay makes a screen; complaints go to it until the func that it returns
// is called.
func (a *app) newDisplay() (*display, func()) {
	d := &display{every: frameEvery}
	o, _ := a.rendering() // a wrong flag has been told of
	d.write = func(ev monitor.Event) error {
		var b bytes.Buffer
		if err := monitor.Plain(&b, o)(ev); err != nil {
			return err
		}
		d.pad.mu.Lock()
		defer d.pad.mu.Unlock()
		d.pad.add(b.Bytes())
		return nil
	}
	stderr := a.stderr
	a.stderr = &d.pad
	return d, func() {
		a.stderr = stderr
		for _, line := range d.pad.bad {
			_, _ = stderr.Write([]byte(line)) // escaped when it was written
		}
	}
}

// run shows the screen while capture runs. It ends when the user quits, or with
// what capture failed of; when a file has come to its end the screen stays.
func (d *display) run(ctx context.Context, s *watcher, capture func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		err := ignoreEOF(capture(ctx))
		if err != nil || s.failed != nil {
			stop()
		} else {
			d.shown = time.Time{}
			s.show()
			d.serve(ctx, s)
		}
		ended <- err
	}()
	o := screen.Options{ASCII: s.a.flags.ascii, NoColor: s.a.flags.color == "never" || s.a.flags.color == "auto" && os.Getenv("NO_COLOR") != ""}
	err := screen.Run(ctx, s.a.stdin, s.a.stdout, &d.board, o)
	stop()
	captured := <-ended
	if errors.Is(err, screen.ErrInterrupted) {
		s.a.signal.CompareAndSwap(0, int32(syscall.SIGINT))
		err = nil
	}
	return errors.Join(captured, err)
}

// serve answers the screen's wishes after the end of a file.
func (d *display) serve(ctx context.Context, s *watcher) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(frameEvery / 4):
			s.show()
		}
	}
}

// show leaves the state of things for the screen, now and then. It runs where
// the engine runs.
func (s *watcher) show() {
	d := s.screen
	if d == nil {
		return
	}
	now := time.Now()
	wish, columns := d.board.Wish()
	if now.Sub(d.shown) < d.every && (wish == 0 || wish == d.last.Of) {
		return
	}
	d.shown = now
	f := &screen.Frame{Title: s.src.name, At: s.engine.Table.Now().Time(), Rows: s.engine.Rows(rowsShown), States: s.engine.States(), Away: s.away, Notes: d.pad.newest()}
	if zone, err := s.a.flags.location(); err == nil {
		f.At = f.At.In(zone)
	}
	for _, n := range f.States {
		f.More += n
	}
	f.More -= len(f.Rows)
	for _, file := range s.files() {
		f.Frames, f.Drops = f.Frames+file.Frames, f.Drops+file.Drops
	}
	f.Frames = max(f.Frames, s.frames)
	if f.Of = wish; wish != 0 {
		f.Detail = s.engine.Detail(wish, render.Options{Width: min(max(columns, 40), widest), ASCII: s.a.flags.ascii, Location: f.At.Location(), All: true})
	}
	d.last = *f
	d.board.Show(f)
	d.every = max(frameEvery, 20*time.Since(now))
}
