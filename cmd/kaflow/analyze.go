package main

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/render"
	"kaflow/tcp"
)

func (a *app) analyzeCommand(use string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: "who killed the connection, when, how we know, what to change",
		Long: `Say of every TCP connection what became of it, with the frames that prove it.

Give one capture per vantage point: two of both ends of a path prove what one can
only suggest. name=FILE names a vantage point; a directory, a quoted glob or a comma
list is one rotated set; - is stdin.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.analyze(c, args, []format{{"text", render.Text}, {"json", render.JSON}})
		},
	}
}

// format is a way to write a report.
type format struct {
	name  string
	write func(io.Writer, *analyzer.Report, render.Options) error
}

// analyze goes the way from captures to a report.
func (a *app) analyze(c *cobra.Command, args []string, formats []format) error {
	write, o, err := a.request(formats)
	if err != nil {
		return err
	}
	sel, err := a.flags.selection()
	if err != nil {
		return err
	}
	points, err := a.open(c, args)
	if err != nil {
		return err
	}
	defer closeAll(points)
	know, err := a.knowledge(c, points)
	if err != nil {
		return err
	}
	out, err := a.output(pathsOf(points))
	if err != nil {
		return err
	}
	defer out.discard()

	taken := a.follow(c.Context(), points, sel)                                  // octets → packets → flows
	pairs := pairing.Match(taken, know)                                          // which flow is which, what crossed
	report := analyzer.Diagnose(taken, pairs, analyzer.Options{Tool: version()}) // what is wrong, and why
	a.choose(report, sel)
	if err := write(out, report, o); err != nil { // what the user reads
		return outputError{err}
	}
	return out.finish()
}

// follow reads every vantage point to its end, or to the user's patience.
func (a *app) follow(ctx context.Context, points []point, sel selection) []pairing.Point {
	taken := make([]pairing.Point, len(points))
	for i, p := range points {
		table := &flows.Table{Options: flows.Options{MaxFlows: a.flags.maxFlows}}
		var batch capture.Batch
		var first tcp.Instant
		a.read(ctx, p.set, table, &batch, func() { sel.trim(&batch, &first) })
		a.conclude(p.set, table)
		taken[i] = pairing.Point{Name: p.name, Table: table, Files: p.set.Files(), Frame: p.set.Frame, Holes: p.set.Holes()}
	}
	return taken
}

// choose leaves in the report what the user selected, and notes whether one of
// its verdicts is among those of --fail-on.
func (a *app) choose(r *analyzer.Report, sel selection) {
	r.Flows = slices.DeleteFunc(r.Flows, func(d analyzer.Diagnosis) bool { return !sel.flow(&d) })
	for i := range r.Flows {
		d := &r.Flows[i]
		asked := a.flags.flow == 0 || a.flags.flow == d.ID
		a.matched = a.matched || asked && slices.Contains(a.flags.failOn, d.Verdict.ID)
	}
	a.limited = a.limited || len(r.Limits) > 0
}
