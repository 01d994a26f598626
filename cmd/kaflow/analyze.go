package main

import (
	"context"
	"fmt"
	"io"
	"math"
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
			return a.analyze(c, args, []format{{name: "text", write: render.Text, brief: true, runs: true}, {name: "md", write: render.Markdown, brief: true}, {name: "jira", write: render.Jira, brief: true}, {name: "html", write: render.HTML}, {name: "json", write: render.JSON}, {name: "ndjson", write: render.NDJSON, runs: true}})
		},
	}
}

// format is a way to write a report.
type format struct {
	name  string
	write func(io.Writer, *analyzer.Report, render.Options) error
	brief bool // shows the worst flows only, and counts the others
	runs  bool // writes one flow after the other, so that they need not be there all at once
}

// analyze goes the way from captures to a report.
func (a *app) analyze(c *cobra.Command, args []string, formats []format) error {
	f, o, err := a.request(formats)
	if err != nil {
		return err
	}
	sel, err := a.selection()
	if err != nil {
		return err
	}
	if a.ask.WhatIf, err = parseWhatIf(a.flags.whatIf); err != nil {
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

	want := a.diagnosis(f, f.name == formats[0].name, sel)
	taken := a.follow(c.Context(), points, sel, know.Told()) // octets → packets → flows
	a.collect.often()
	pairs := pair(taken, know)                      // which flow is which, what crossed
	report := analyzer.Diagnose(taken, pairs, want) // what is wrong, and why
	if report.Unrelated != "" {
		a.hint("%s", report.Unrelated)
	}
	if err := a.choose(report, sel); err != nil {
		return err
	}
	a.sign(c, points, report)
	if err := f.write(out, report, o); err != nil { // what the user reads
		return outputError{err}
	}
	if err := out.finish(); err != nil {
		return err
	}
	return a.keepMap()
}

// pair matches the flows of two or more captures; one alone has nothing to be
// matched with.
func pair(points []pairing.Point, know pairing.Options) *pairing.Result {
	if len(points) < 2 {
		return nil
	}
	return pairing.Match(points, know)
}

// briefReport is how many flows a text report can show; of more it prints
// counts.
const briefReport = 64

// diagnosis says how many flows the report has to hold, in a format that may be
// the one that nobody has to ask for.
func (a *app) diagnosis(f format, unasked bool, sel selection) analyzer.Options {
	o := a.ask
	o.Tool, o.Flow = version(), a.flags.flow
	switch {
	case a.flags.all:
		o.MaxListed = math.MaxInt
		// Who is to choose among all, or to compare them, needs them at once.
		o.Passing = f.runs && !sel.narrow() && o.Flow == 0 && o.Expect == nil && len(a.flags.failOn) == 0 && a.flags.sanitize == ""
	case a.flags.maxListed > 0:
		o.MaxListed = a.flags.maxListed
	case f.brief && unasked && !sel.narrow():
		o.MaxListed = briefReport
	}
	return o
}

// follow reads every vantage point to its end, or to the user's patience. told
// says that the user has named what the points are: then none becomes two.
func (a *app) follow(ctx context.Context, points []point, sel selection, told bool) []pairing.Point {
	read := make([][]pairing.Point, len(points))
	for _, i := range streamsFirst(points) {
		p := &points[i]
		p.compared = len(points) > 1
		if told || p.only != nil {
			read[i] = []pairing.Point{a.followOne(ctx, p, sel, nil)}
			a.conclude(p.set, read[i][0].Table)
			continue
		}
		read[i] = a.followOrPart(ctx, p, sel)
	}
	return slices.Concat(read...)
}

// streamsFirst returns the order in which vantage points are read: streams
// before files, since a file that is recorded beside a stream is whole when the
// stream has ended.
func streamsFirst(points []point) []int {
	var order, files []int
	for i := range points {
		if slices.ContainsFunc(points[i].paths, func(path string) bool { return !twice(path) }) {
			order = append(order, i)
		} else {
			files = append(files, i)
		}
	}
	return append(order, files...)
}

// followOne reads a vantage point to its end; before, where it is not nil, is called for
// each batch before the table takes it, and reports whether it wants to look at packets again.
func (a *app) followOne(ctx context.Context, p *point, sel selection, before func(*capture.Batch) bool) pairing.Point {
	table := a.table(p.compared)
	var batch capture.Batch
	var first tcp.Instant
	a.read(ctx, p.set, table, &batch, func() {
		looks := before != nil && before(&batch)
		batch.Bare.Wanted = !looks && !sel.timed() && p.only == nil
		sel.trim(&batch, &first)
		p.others(&batch)
	})
	return pairing.Point{Name: p.name, Table: table, Files: a.told(p.set), Frame: p.set.Frame, Holes: p.set.Holes()}
}

// table returns an empty table for a vantage point, which may be compared with another.
func (a *app) table(compared bool) *flows.Table {
	return &flows.Table{Options: flows.Options{MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents, Digests: compared}}
}

// choose leaves in the report what the user selected, and notes whether one of
// its verdicts is among those of --fail-on.
func (a *app) choose(r *analyzer.Report, sel selection) error {
	a.limited = a.limited || len(r.Limits) > 0
	all := len(r.Flows)
	r.Flows = slices.DeleteFunc(r.Flows, func(d analyzer.Diagnosis) bool {
		return !sel.flow(&d) || a.flags.flow != 0 && a.flags.flow != d.ID
	})
	switch {
	case len(r.Flows) > 0 || all == 0:
	case a.flags.flow != 0:
		return usageError{fmt.Sprintf("--flow %d: no such flow among the %d of the report", a.flags.flow, r.Totals.Flows)}
	default:
		a.hint("none of the %d flows of the report is of that address, network or port", all)
	}
	for i := range r.Flows {
		a.matched = a.matched || slices.Contains(a.flags.failOn, r.Flows[i].Verdict.ID)
	}
	return nil
}
