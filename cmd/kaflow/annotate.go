package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	merge bool
	keep  rewrite.Keep
}

func (a *app) annotateCommand() *cobra.Command {
	var f annotateFlags
	c := &cobra.Command{
		Use:   "annotate CAPTURE... -w OUT",
		Short: "the captures again as pcapng, with findings as packet comments",
		Long: `Write captures again as pcapng, with what each keepalive, window probe,
retransmission and RST was for, and with the report's findings, as packet comments
that Wireshark and tshark show (frame.comment). One capture becomes the file OUT;
several become NAME.annotated.pcapng each in the directory OUT or, with --merge, one
file with an interface per vantage point and all times on the first one's clock.
Comments and blocks that a pcapng file has are kept; those that resolve names or
decrypt only with --keep-names and --keep-secrets.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.annotate(c, args, &f) },
	}
	s := c.Flags()
	s.StringVarP(&f.to, "write", "w", "", "the file to write; of several captures the directory")
	s.BoolVar(&f.strip, "strip", false, "leave out what lies behind the TCP header")
	s.BoolVar(&f.merge, "merge", false, "one file, an interface per vantage point, one clock")
	s.BoolVar(&f.keep.Names, "keep-names", false, "keep blocks that resolve names")
	s.BoolVar(&f.keep.Secrets, "keep-secrets", false, "keep blocks with secrets for decryption")
	return c
}

func (a *app) annotate(c *cobra.Command, args []string, f *annotateFlags) error {
	if err := refuse(c, "format", "json", "output", "all", "fail-on", "by-interface"); err != nil {
		return err
	}
	if f.to == "" || f.to == "-" {
		return usageError{"annotate writes a file: -w OUT"}
	}
	points, err := a.open(c, args)
	if err != nil {
		return err
	}
	defer closeAll(points)
	for _, path := range pathsOf(points) {
		if !twice(path) {
			return usageError{fmt.Sprintf("%s: a stream cannot be read twice, as annotate has to; save it first", path)}
		}
	}
	know, err := a.knowledge(c, points)
	if err != nil {
		return err
	}
	outputs, err := a.annotateOutputs(points, f)
	if err != nil {
		return err
	}
	for _, out := range outputs {
		defer out.discard()
	}
	x, err := a.learn(c, points, know)
	if err != nil {
		return err
	}
	x.strip, x.keep = f.strip, f.keep
	x.keep.Nothing = a.clean != nil
	if f.merge {
		err = x.merged(c.Context(), outputs[0])
	} else {
		for i := range points {
			if err == nil {
				err = x.single(c.Context(), i, outputs[i])
			}
		}
	}
	for _, out := range outputs {
		if err == nil {
			err = out.finish()
		}
	}
	if err != nil {
		return err
	}
	return a.keepMap()
}

// annotateOutputs opens the files to write: one, or one for each vantage point
// in a directory that is made where it is missing.
func (a *app) annotateOutputs(points []point, f *annotateFlags) (outputs []*output, err error) {
	names := []string{f.to}
	if len(points) > 1 && !f.merge {
		if info, err := os.Stat(f.to); err == nil && !info.IsDir() {
			return nil, usageError{fmt.Sprintf("%s: several captures go to a directory, or with --merge to one file", f.to)}
		}
		if err := os.MkdirAll(f.to, 0o755); err != nil {
			return nil, outputError{fmt.Errorf("write %s: %w", f.to, cause(err))}
		}
		names = names[:0]
		for _, p := range points {
			stem := filepath.Join(f.to, fileName(p.name))
			name := stem + ".annotated.pcapng"
			for n := 2; slices.Contains(names, name); n++ { // captures of one name, in different folders
				name = fmt.Sprintf("%s-%d.annotated.pcapng", stem, n)
			}
			names = append(names, name)
		}
	}
	for _, name := range names {
		a.flags.out = name
		out, err := a.output(pathsOf(points))
		if err != nil {
			for _, open := range outputs {
				open.discard()
			}
			return nil, err
		}
		outputs = append(outputs, out)
	}
	return outputs, nil
}

// fileName makes a vantage point's name fit to be a file's: what could lead
// elsewhere or be no character becomes an underscore.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, filepath.Base(name))
	for _, ending := range []string{".gz", ".zst", ".xz", ".pcapng", ".pcap", ".cap"} {
		name = strings.TrimSuffix(name, ending)
	}
	if strings.Trim(name, ".") == "" {
		return "capture"
	}
	return name
}

// learn reads every vantage point once and returns what is to be said of its
// frames.
func (a *app) learn(c *cobra.Command, points []point, know pairing.Options) (*annotation, error) {
	x := &annotation{app: a, points: points, priors: make([]map[uint64]*flows.Prior, len(points))}
	var taken []pairing.Point
	for i, p := range points {
		table := &flows.Table{Options: flows.Options{MaxFlows: a.flags.maxFlows, MaxEvents: a.flags.maxEvents, Learn: true, Digests: len(points) > 1}}
		var batch capture.Batch
		a.read(c.Context(), p.set, table, &batch, func() {})
		a.conclude(p.set, table)
		taken = append(taken, pairing.Point{Name: p.name, Table: table, Files: a.told(p.set), Frame: p.set.Frame, Holes: p.set.Holes()})
		x.priors[i] = table.Priors()
	}
	x.pairs = pair(taken, know)
	x.report = analyzer.Diagnose(taken, x.pairs, analyzer.Options{Tool: version(), MaxListed: briefReport, Flow: a.flags.flow})
	if a.flags.flow != 0 && !slices.ContainsFunc(x.report.Flows, func(d analyzer.Diagnosis) bool { return d.ID == a.flags.flow }) {
		return nil, usageError{fmt.Sprintf("--flow %d: no such flow among the %d of the report", a.flags.flow, x.report.Totals.Flows)}
	}
	if a.flags.sanitize == sanitizeRoles {
		x.report.Rename(analyzer.Roles(x.report))
	}
	return x, nil
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

// evidence collects, by frame of a vantage point, what the report says of it.
func evidence(r *analyzer.Report, vantage int) map[tcp.Ordinal][]string {
	says := map[tcp.Ordinal][]string{}
	note := func(ref pairing.Ref, text string) {
		if ref.Vantage == vantage && ref.Ord != 0 {
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

// streamsOf returns the streams, at a vantage point, of a flow of the report.
func streamsOf(r *analyzer.Report, id, vantage int) map[uint64]bool {
	out := map[uint64]bool{}
	for i := range r.Flows {
		if d := &r.Flows[i]; d.ID == id && d.Pair != nil {
			for _, s := range d.Pair.Seen {
				if s.Vantage == vantage {
					out[s.Flow.Stream] = true
				}
			}
		}
	}
	return out
}

// verdictLines is what the first section's comments say: the verdicts.
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
