package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/rewrite"
	"kaflow/pairing"
	"kaflow/tcp"
)

// annotateFlags are those of annotate alone.
type annotateFlags struct {
	to    string
	strip bool
}

func (a *app) annotateCommand() *cobra.Command {
	var f annotateFlags
	c := &cobra.Command{
		Use:   "annotate CAPTURE [OTHERS...] -w OUT",
		Short: "the capture again as pcapng, with findings as packet comments",
		Long: `Write the first capture again as pcapng, with what each keepalive, window probe,
retransmission and RST was for, and with the report's findings, as packet comments
that Wireshark and tshark show (frame.comment). Further captures are vantage points
that help to judge; each is annotated by a run of its own. Comments that the capture
had, and blocks other than packets, are left out.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.annotate(c, args, &f) },
	}
	c.Flags().StringVarP(&f.to, "write", "w", "", "the file to write")
	c.Flags().BoolVar(&f.strip, "strip", false, "leave out what lies behind the TCP header")
	return c
}

func (a *app) annotate(c *cobra.Command, args []string, f *annotateFlags) error {
	if err := refuse(c, "format", "json", "output", "all", "fail-on"); err != nil {
		return err
	}
	if f.to == "" || f.to == "-" {
		return usageError{"annotate writes a file: -w OUT"}
	}
	a.flags.out = f.to
	points, err := a.open(c, args)
	if err != nil {
		return err
	}
	defer closeAll(points)
	first := points[0]
	for _, path := range first.paths {
		if !twice(path) {
			return usageError{fmt.Sprintf("%s: a stream cannot be read twice, as annotate has to; save it first", path)}
		}
	}
	know, err := a.knowledge(c, points)
	if err != nil {
		return err
	}
	out, err := a.output(pathsOf(points))
	if err != nil {
		return err
	}
	defer out.discard()

	taken, priors := a.learn(c, points)
	report := analyzer.Diagnose(taken, pair(taken, know), analyzer.Options{Tool: version(), MaxListed: briefReport, Flow: a.flags.flow})
	if a.flags.flow != 0 && len(streamsOf(report, a.flags.flow)) == 0 {
		return usageError{fmt.Sprintf("--flow %d: no such flow among the %d of the report", a.flags.flow, report.Totals.Flows)}
	}
	if err := a.comment(c, first, priors, report, f, out); err != nil {
		return err
	}
	return out.finish()
}

// learn reads every vantage point once, the first one for a second reading.
func (a *app) learn(c *cobra.Command, points []point) (taken []pairing.Point, priors map[uint64]*flows.Prior) {
	for i, p := range points {
		table := &flows.Table{Options: flows.Options{MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents, Learn: i == 0}}
		var batch capture.Batch
		a.read(c.Context(), p.set, table, &batch, func() {})
		a.conclude(p.set, table)
		taken = append(taken, pairing.Point{Name: p.name, Table: table, Files: p.set.Files(), Frame: p.set.Frame, Holes: p.set.Holes()})
		if i == 0 {
			priors = table.Priors()
		}
	}
	return taken, priors
}

// comment reads the first capture again and writes each frame with its
// comments.
func (a *app) comment(c *cobra.Command, p point, priors map[uint64]*flows.Prior, report *analyzer.Report, f *annotateFlags, out io.Writer) error {
	o, err := a.options(c.Context())
	if err != nil {
		return err
	}
	x := &annotator{strip: f.strip, says: evidence(report), streams: streamsOf(report, a.flags.flow), all: a.flags.flow == 0, labels: map[tcp.Ordinal]flows.Label{}}
	o.Each = x.keep
	set, err := capture.Open(o, p.name, p.paths...)
	if err != nil {
		return err
	}
	defer set.Close()
	x.out = rewrite.NewWriter(out, "kaflow "+version(), verdictLines(report)...)
	table := &flows.Table{Options: flows.Options{
		MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents,
		Prior: func(first uint64) *flows.Prior { return priors[first] }, Label: func(l flows.Label) { x.labels[l.Ord] = l },
	}}
	var batch capture.Batch
	for c.Context().Err() == nil {
		x.frames, x.ords = x.frames[:0], x.ords[:0]
		err := set.Read(&batch)
		table.Add(&batch)
		if werr := x.write(&batch); werr != nil {
			return outputError{werr}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
	return c.Context().Err()
}

// annotator writes frames with their comments.
type annotator struct {
	out     *rewrite.Writer
	strip   bool
	all     bool                        // every frame; else those of streams
	streams map[uint64]bool             // of the flow that was asked for
	says    map[tcp.Ordinal][]string    // what the report says of a frame
	labels  map[tcp.Ordinal]flows.Label // of the batch at hand
	frames  []capture.Frame             // of the batch at hand
	ords    []tcp.Ordinal               // theirs
}

// keep takes a frame as it is read.
func (x *annotator) keep(p *capture.Packet, f capture.Frame) {
	x.frames, x.ords = append(x.frames, f), append(x.ords, p.Ord)
}

// write writes the frames of a batch. Records that are no packets have no
// frame and are left out.
func (x *annotator) write(b *capture.Batch) error {
	next := 0
	for i := range x.frames {
		for next < b.N && b.Pkts[next].Ord < x.ords[i] {
			next++
		}
		if next == b.N {
			break // the file has grown since the first reading
		}
		p, frame := &b.Pkts[next], &x.frames[i]
		l, labelled := x.labels[p.Ord]
		if !x.all && !(labelled && x.streams[l.Stream]) {
			continue
		}
		data := frame.Data
		if x.strip && p.Proto == capture.TCP && p.HeaderLen > 0 && p.Data >= frame.Base {
			data = data[:min(len(data), int(p.Data-frame.Base))]
		}
		w := rewrite.Packet{Iface: p.Iface, Link: frame.Link, At: p.At, Data: data, Wire: frame.Wire, Comments: x.says[p.Ord]}
		if labelled {
			w.Comments = append(w.Comments[:len(w.Comments):len(w.Comments)], labelText(l)...)
		}
		if err := x.out.Write(&w); err != nil {
			return err
		}
	}
	clear(x.labels)
	return nil
}

// labelText is the comment for what a segment was for; nothing for ordinary
// traffic.
func labelText(l flows.Label) []string {
	if ordinary(l.Kind) {
		return nil
	}
	text := "kaflow: " + l.Kind.String()
	if l.Conf == flows.Inferred {
		text += " (inferred)"
	}
	return []string{text}
}

// ordinary reports whether a kind of segment needs no comment.
func ordinary(k flows.Kind) bool {
	switch k {
	case flows.Data, flows.ACK, flows.SYN, flows.SYNACK, flows.FIN, flows.WindowUpdate, flows.DupACK:
		return true
	}
	return false
}

// evidence collects, by frame of the first vantage point, what the report says
// of it.
func evidence(r *analyzer.Report) map[tcp.Ordinal][]string {
	says := map[tcp.Ordinal][]string{}
	note := func(ref pairing.Ref, text string) {
		if ref.Vantage == 0 && ref.Ord != 0 {
			says[ref.Ord] = append(says[ref.Ord], "kaflow: "+escape(text))
		}
	}
	for i := range r.Flows {
		v := &r.Flows[i].Verdict
		note(v.LastCrossed, "the last that is known to have crossed before "+strings.ReplaceAll(v.ID, "-", " "))
		note(v.FirstLost, fmt.Sprintf("%s, %s: %s", strings.ReplaceAll(v.ID, "-", " "), v.Confidence, v.Summary))
		for _, f := range r.Flows[i].Findings {
			for _, ref := range f.Evidence {
				note(ref, f.Rule+": "+f.Says)
			}
		}
	}
	return says
}

// streamsOf returns the streams, at the first vantage point, of a flow of the
// report.
func streamsOf(r *analyzer.Report, id int) map[uint64]bool {
	out := map[uint64]bool{}
	for i := range r.Flows {
		if d := &r.Flows[i]; d.ID == id && d.Pair != nil {
			for _, s := range d.Pair.Seen {
				if s.Vantage == 0 {
					out[s.Flow.Stream] = true
				}
			}
		}
	}
	return out
}

// verdictLines is what the section's comments say: the verdicts.
func verdictLines(r *analyzer.Report) []string {
	var out []string
	for i := range r.Flows {
		d := &r.Flows[i]
		out = append(out, escape(fmt.Sprintf("kaflow: flow %d, %s to %s: %s %s. %s", d.ID, d.Client, d.Server, strings.ReplaceAll(d.Verdict.ID, "-", " "), d.Verdict.Confidence, d.Verdict.Summary)))
		if len(out) == briefReport {
			break
		}
	}
	return out
}
