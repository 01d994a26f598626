package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/rewrite"
	"kaflow/monitor"
	"kaflow/tcp"
)

// extcapFlags are what Wireshark asks an external capture for
// (doc/extcap.adoc of Wireshark).
type extcapFlags struct {
	interfaces, dlts, config, capture bool
	iface, fifo, filter, version      string
	snap                              int
	limit                             time.Duration
}

// extcapPrefix stands before the names of interfaces, so that Wireshark does
// not take them for its own.
const extcapPrefix = "kaflow-"

func (a *app) extcapCommand() *cobra.Command {
	var f extcapFlags
	c := &cobra.Command{
		Use:   "extcap",
		Short: "let Wireshark capture through kaflow, with its labels as packet comments",
		Long: `Speak Wireshark's extcap protocol: every interface is offered as "kaflow: NAME",
and what is captured there comes with kaflow's labels and verdicts as packet
comments. Wireshark runs the programs in its extcap folder (Help > About > Folders);
put a script there that reads

  #!/bin/sh
  exec kaflow extcap "$@"

and give kaflow the right to capture: setcap cap_net_raw+ep kaflow`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return a.extcap(c, &f) },
	}
	s := c.Flags()
	s.BoolVar(&f.interfaces, "extcap-interfaces", false, "list the interfaces")
	s.BoolVar(&f.dlts, "extcap-dlts", false, "tell the link type of --extcap-interface")
	s.BoolVar(&f.config, "extcap-config", false, "list the options that a user can set")
	s.BoolVar(&f.capture, "capture", false, "capture on --extcap-interface into --fifo")
	s.StringVar(&f.iface, "extcap-interface", "", "the interface, as --extcap-interfaces lists it")
	s.StringVar(&f.fifo, "fifo", "", "the pipe to write pcapng into")
	s.StringVar(&f.filter, "extcap-capture-filter", "", "refused: kaflow needs the whole conversation")
	s.StringVar(&f.version, "extcap-version", "", "Wireshark's version; not looked at")
	s.IntVar(&f.snap, "snaplen", 0, "octets of each packet to capture (default 256)")
	s.DurationVar(&f.limit, "path-limit", 0, "idle limit of the path, where you know it: warn before it")
	return c
}

func (a *app) extcap(c *cobra.Command, f *extcapFlags) error {
	switch {
	case f.interfaces:
		return a.extcapInterfaces()
	case f.iface == "":
		return usageError{"extcap is for Wireshark; kaflow extcap --help tells how to install it"}
	case f.filter != "":
		const refusal = "kaflow takes no capture filter: use a display filter"
		if f.capture {
			return usageError{refusal}
		}
		fmt.Fprintln(&a.page, refusal) // how a filter is called wrong
		return nil
	case f.dlts:
		return a.extcapLink(f)
	case f.config:
		fmt.Fprintln(&a.page, "arg {number=0}{call=--snaplen}{display=Octets of each packet}{type=unsigned}{range=64,262144}{default=256}{tooltip=256 hold all headers}")
		fmt.Fprintln(&a.page, "arg {number=1}{call=--path-limit}{display=Idle limit of the path}{type=string}{default=0s}{tooltip=Warn before a connection is silent for so long, such as 350s}")
		return nil
	case f.capture && f.fifo != "":
		return a.extcapCapture(c, f)
	}
	return usageError{"extcap: want --capture with --fifo"}
}

// extcapInterfaces lists the interfaces. Their names come from the system, and
// those that could break the protocol's lines are left out.
func (a *app) extcapInterfaces() error {
	all, err := net.Interfaces()
	if err != nil {
		return liveError{err}
	}
	fmt.Fprintf(&a.page, "extcap {version=%s}{display=kaflow}\n", strings.TrimPrefix(version(), "kaflow "))
	for _, i := range all {
		if strings.ContainsAny(i.Name, "{}=\n") {
			continue
		}
		fmt.Fprintf(&a.page, "interface {value=%s%s}{display=kaflow: %s}\n", extcapPrefix, escape(i.Name), escape(i.Name))
	}
	return nil
}

func (a *app) extcapLink(f *extcapFlags) error {
	link, err := capture.LiveLink(strings.TrimPrefix(f.iface, extcapPrefix))
	if err != nil {
		return liveError{err}
	}
	names := map[uint32]string{1: "EN10MB}{display=Ethernet", 101: "RAW}{display=raw IP"}
	fmt.Fprintf(&a.page, "dlt {number=%d}{name=%s}\n", link, names[link])
	return nil
}

// extcapCapture captures until Wireshark closes the pipe or ends the program.
func (a *app) extcapCapture(c *cobra.Command, f *extcapFlags) error {
	x := commenter{labels: map[tcp.Ordinal]flows.Label{}}
	name := strings.TrimPrefix(f.iface, extcapPrefix)
	src, err := openInterfaces(capture.LiveOptions{Interfaces: []string{name}, SnapLen: f.snap, Each: x.keep})
	if err != nil {
		return err
	}
	defer src.close()
	pipe, err := os.OpenFile(f.fifo, os.O_WRONLY, 0)
	if err != nil {
		return outputError{fmt.Errorf("write %s: %w", f.fifo, cause(err))}
	}
	defer pipe.Close()
	buffered := bufio.NewWriterSize(pipe, outputBuffer)
	x.out = rewrite.NewWriter(buffered, version())
	e := monitor.New(monitor.Options{Name: name, PathLimit: f.limit, MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents, Emit: x.event}, src.files, src.frame)
	e.Table.Options.Label = func(l flows.Label) { x.labels[l.Ord] = l }
	var b capture.Batch
	for c.Context().Err() == nil {
		err := src.Read(&b)
		e.Add(&b)
		if b.N == 0 {
			e.Advance(tcp.Instant(time.Now().UnixNano()))
		}
		if werr := errors.Join(x.write(), buffered.Flush()); werr != nil {
			return ignoreClosedPipe(werr)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return liveError{err}
		}
	}
	return nil
}

// ignoreClosedPipe takes Wireshark's stopping for the end that it is.
func ignoreClosedPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return outputError{err}
}

// commenter writes live frames with their labels, and with what happened since
// the frame before.
type commenter struct {
	out    *rewrite.Writer
	labels map[tcp.Ordinal]flows.Label
	frames []item
	events []string
}

func (x *commenter) keep(p *capture.Packet, f capture.Frame) {
	f.Data = append([]byte(nil), f.Data...)
	x.frames = append(x.frames, item{ord: p.Ord, raw: f, frame: rewrite.Packet{At: p.At}})
}

func (x *commenter) event(ev monitor.Event) {
	if ev.What != monitor.Seen {
		x.events = append(x.events, escape(fmt.Sprintf("kaflow: %s, %s to %s: %s", ev.What, ev.Client, ev.Server, ev.Says)))
	}
}

func (x *commenter) write() error {
	for i := range x.frames {
		it := &x.frames[i]
		f := &it.frame
		f.Link, f.Data, f.Wire = it.raw.Link, it.raw.Data, it.raw.Wire
		if l, labelled := x.labels[it.ord]; labelled {
			f.Comments = labelText(l)
		}
		if i == len(x.frames)-1 {
			f.Comments, x.events = append(f.Comments, x.events...), nil
		}
		if err := x.out.Write(f); err != nil {
			return err
		}
	}
	x.frames = x.frames[:0]
	clear(x.labels)
	return nil
}
