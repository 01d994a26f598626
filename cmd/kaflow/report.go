package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/render"
	"kaflow/tcp"
)

// widest is the most columns that a report takes unasked.
const widest = 100

// request returns how the report is to be written: in which format, and laid
// out how.
func (a *app) request(formats []format) (f format, o render.Options, err error) {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	name, err := a.flags.formatOf(names...)
	if err != nil {
		return f, o, err
	}
	if err := a.failing(); err != nil {
		return f, o, err
	}
	o, err = a.rendering()
	return formats[slices.Index(names, name)], o, err
}

// rendering returns how the report is laid out.
func (a *app) rendering() (render.Options, error) {
	zone, err := a.flags.location()
	if err != nil {
		return render.Options{}, err
	}
	columns, terminal := a.terminal()
	o := render.Options{
		Width:    a.flags.width,
		ASCII:    a.flags.ascii,
		Location: zone,
		All:      a.flags.all,
		Flow:     a.flags.flow,
		NoBanner: a.flags.noBanner,
		Mermaid:  a.flags.mermaid,
		MaxChars: a.flags.maxChars,
	}
	if o.Width == 0 && terminal {
		o.Width = min(columns, widest)
	}
	switch a.flags.color {
	case "always":
		o.Color = true
	case "auto":
		o.Color = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	case "never":
	default:
		return o, usageError{fmt.Sprintf("--color %s: want auto, always or never", a.flags.color)}
	}
	return o, nil
}

// terminal returns the columns of the terminal that the report goes to, and
// whether it goes to one.
func (a *app) terminal() (columns int, ok bool) {
	f, isFile := a.stdout.(*os.File)
	if a.flags.out != "" && a.flags.out != "-" || !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		columns = 0
	}
	return columns, true
}

// failing checks the words of --fail-on.
func (a *app) failing() error {
	for _, id := range a.flags.failOn {
		if !slices.Contains(verdicts, id) {
			return usageError{fmt.Sprintf("--fail-on %s: no such verdict; there are %s", id, strings.Join(verdicts, ", "))}
		}
	}
	return nil
}

// verdicts are the ids that this version can give.
var verdicts = []string{
	analyzer.SilentDrop, analyzer.OneWayDrop, analyzer.ForgedReset, analyzer.ProxyAnswer, analyzer.NATRebind, analyzer.PathRejected, analyzer.PathCut,
	analyzer.PeerLostState, analyzer.PeerGone, analyzer.HostDrop, analyzer.MTUBlackHole, analyzer.AppHung, analyzer.HeartbeatTimeout, analyzer.ReceiverStalled, analyzer.HalfOpen,
	analyzer.IdleClose, analyzer.NotEstablished, analyzer.Undecided, analyzer.CaptureGap, analyzer.Idle, analyzer.Healthy, analyzer.ClosedNormally,
}

// flow reports whether a diagnosis is of a flow that was asked for.
func (s *selection) flow(d *analyzer.Diagnosis) bool {
	if !s.narrow() {
		return true
	}
	client, err1 := netip.ParseAddrPort(d.Client)
	server, err2 := netip.ParseAddrPort(d.Server)
	return err1 == nil && err2 == nil && s.ends(client, server)
}

// trim takes out of a batch what lies outside the stretch of time asked for.
// first is the capture's first packet's time once it is known.
func (s *selection) trim(b *capture.Batch, first *tcp.Instant) {
	if !s.timed() {
		return
	}
	if *first == 0 && b.N > 0 {
		*first = b.Pkts[0].At
	}
	kept := 0
	for i := range b.N {
		if s.during(b.Pkts[i].At, *first) {
			b.Pkts[kept] = b.Pkts[i]
			kept++
		}
	}
	b.N, b.Sorted = kept, 0
}
