package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

func (a *app) framesCommand() *cobra.Command {
	var summary bool
	c := &cobra.Command{
		Use:   "frames CAPTURE...",
		Short: "every TCP frame with its kind, as TSV or NDJSON",
		Long: `Print every TCP frame with its kind. Several files, and all files of a directory,
are taken one by one. Frame numbers are Wireshark's; flows count from 0 as tcp.stream does.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := refuse(c, "flow", "fail-on", "all", "color", "ascii", "width", "utc", "tz", "clock-offset", "covers", "what-if"); err != nil {
				return err
			}
			return a.frames(c, args, summary)
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "one line of counts per file")
	return c
}

// frames labels the frames of every file named, one file after the other.
func (a *app) frames(c *cobra.Command, args []string, summary bool) error {
	format, err := a.flags.formatOf("tsv", "ndjson")
	if err != nil {
		return err
	}
	sel, err := a.selection()
	if err != nil {
		return err
	}
	o, err := a.options(c.Context())
	if err != nil {
		return err
	}
	files, err := a.files(c, args)
	if err != nil {
		return err
	}
	out, err := a.output(files)
	if err != nil {
		return err
	}
	defer out.discard()
	l := labeller{app: a, sel: sel, options: o, out: out, rows: rowsFor(format, summary), summary: summary}
	l.line = l.rows.header(l.line[:0])
	l.emit()
	ctx := c.Context()
	for _, file := range files {
		if ctx.Err() != nil || l.err != nil {
			break
		}
		l.file(ctx, file)
	}
	if l.err != nil {
		return outputError{l.err}
	}
	if err := out.finish(); err != nil {
		return err
	}
	return a.keepMap()
}

// labeller prints the frames of one file after the other.
type labeller struct {
	*app
	sel     selection
	options capture.Options
	out     *output
	rows    rowFormat
	summary bool
	line    []byte
	err     error // of the output
	number  int   // files so far

	set    *capture.Set
	prefix []byte // the part of a row that holds the file's name
	first  tcp.Instant
	batch  *capture.Batch
	at     int // packet of the batch at which the last label was found
	counts tally
	recent lookBack
}

// tally is what --summary counts.
type tally struct {
	packets, rst uint64
	kinds        [256]uint64 // by flows.Kind
}

// file labels one file. What is wrong with it is printed, and the run goes on.
func (l *labeller) file(ctx context.Context, path string) {
	set, ok := l.openOne(l.options, path)
	if !ok {
		return
	}
	defer set.Close()
	l.set, l.first, l.counts = set, 0, tally{}
	shown := path
	if l.number++; l.clean != nil {
		shown = alias(path, l.number-1)
	}
	l.prefix = l.rows.prefix(l.prefix[:0], shown)
	table := l.label(ctx, path)
	if l.summary {
		l.line = l.rows.summary(l.line[:0], l.prefix, &l.counts)
		l.emit()
	}
	l.conclude(set, table)
}

// label runs the passes that the labels of a file need. Labels that only later
// frames explain are found by a second reading; a stream, which has none,
// is labelled in one pass that looks back a little.
func (l *labeller) label(ctx context.Context, path string) *flows.Table {
	if !twice(path) {
		return l.stream(ctx)
	}
	table := &flows.Table{Options: flows.Options{MaxFlows: l.flags.maxFlows, MaxEvents: l.flags.maxEvents, Learn: true}}
	if l.summary {
		table.Options.Label = l.count
	}
	l.pass(ctx, table)
	priors := table.Priors()
	if l.summary && len(priors) == 0 {
		return table
	}
	if err := l.set.Rewind(); err != nil {
		l.unreadable(err)
		return table
	}
	l.counts = tally{}
	second := &flows.Table{Options: flows.Options{MaxFlows: l.flags.maxFlows, MaxEvents: l.flags.maxEvents,
		Prior: func(stream uint64) *flows.Prior { return priors[stream] }}}
	second.Options.Label = l.print
	if l.summary {
		second.Options.Label = l.count
	}
	l.pass(ctx, second)
	return table
}

// stream labels what cannot be read twice.
func (l *labeller) stream(ctx context.Context) *flows.Table {
	l.recent = lookBack{emit: l.write}
	if l.summary {
		l.recent.emit = l.countKind
	}
	table := &flows.Table{Options: flows.Options{MaxFlows: l.flags.maxFlows, MaxEvents: l.flags.maxEvents}}
	table.Options.Label = func(label flows.Label) {
		if l.wanted(label.Ord) {
			l.recent.add(label)
		}
	}
	table.Options.Revise = l.recent.revise
	l.pass(ctx, table)
	l.recent.flush()
	return table
}

// pass reads the capture once.
func (l *labeller) pass(ctx context.Context, table *flows.Table) {
	var batch capture.Batch
	l.batch = &batch
	l.read(ctx, l.set, table, &batch, func() {
		if l.first == 0 && batch.N > 0 {
			l.first = batch.Pkts[0].At
		}
		l.at = 0
		l.countPackets()
	})
}

// countPackets counts the TCP frames of the batch, and those with a RST.
func (l *labeller) countPackets() {
	for i := range l.batch.N {
		p := &l.batch.Pkts[i]
		if p.Proto != capture.TCP || !l.sel.packet(p, l.first) {
			continue
		}
		l.counts.packets++
		if p.Seg.Flags.Has(tcp.RST) {
			l.counts.rst++
		}
	}
}

// wanted reports whether the frame, one of the current batch, was asked for.
func (l *labeller) wanted(ord tcp.Ordinal) bool {
	for ; l.at < l.batch.N; l.at++ {
		if p := &l.batch.Pkts[l.at]; p.Ord == ord {
			return l.sel.packet(p, l.first)
		}
	}
	l.at = 0 // labels of one flow behind those of another
	for i := range l.batch.N {
		if p := &l.batch.Pkts[i]; p.Ord == ord {
			return l.sel.packet(p, l.first)
		}
	}
	return true
}

// count takes a label for --summary.
func (l *labeller) count(label flows.Label) {
	if l.wanted(label.Ord) {
		l.countKind(label)
	}
}

func (l *labeller) countKind(label flows.Label) { l.counts.kinds[label.Kind]++ }

// print takes a final label of the current batch.
func (l *labeller) print(label flows.Label) {
	if l.wanted(label.Ord) {
		l.write(label)
	}
}

// write writes the row of one frame.
func (l *labeller) write(label flows.Label) {
	_, frame := l.set.Frame(label.Ord)
	l.line = l.rows.frame(l.line[:0], l.prefix, frame, &label)
	l.emit()
}

// emit writes the line that was made.
func (l *labeller) emit() {
	if l.err == nil {
		_, l.err = l.out.Write(l.line)
	}
}

// lookBack holds the last labels of a stream, so that those which turn out to
// be others can be revised before they are printed.
type lookBack struct {
	emit func(flows.Label)
	held []flows.Label // by ordinal; begins at head
	head int
}

// lookBackLabels is how many labels of all flows together wait to be final.
const lookBackLabels = 1 << 16

func (b *lookBack) add(label flows.Label) {
	if len(b.held)-b.head == lookBackLabels {
		b.emit(b.held[b.head])
		b.head++
	}
	if b.head == lookBackLabels { // half of the slice has been printed
		b.held = append(b.held[:0], b.held[b.head:]...)
		b.head = 0
	}
	b.held = append(b.held, label)
}

// revise replaces a label that still waits.
func (b *lookBack) revise(label flows.Label) {
	waiting := b.held[b.head:]
	i, found := slices.BinarySearchFunc(waiting, label.Ord, func(l flows.Label, ord tcp.Ordinal) int {
		switch {
		case l.Ord < ord:
			return -1
		case l.Ord > ord:
			return 1
		}
		return 0
	})
	if found {
		waiting[i] = label
	}
}

// flush prints what still waits.
func (b *lookBack) flush() {
	for _, label := range b.held[b.head:] {
		b.emit(label)
	}
	b.held, b.head = nil, 0
}

// rowFormat writes rows.
type rowFormat struct {
	header  func(b []byte) []byte
	prefix  func(b []byte, file string) []byte
	frame   func(b, prefix []byte, frame uint64, l *flows.Label) []byte
	summary func(b, prefix []byte, t *tally) []byte
}

// rowsFor returns the rows of a format.
func rowsFor(format string, summary bool) rowFormat {
	if format == "ndjson" {
		return rowFormat{func(b []byte) []byte { return b }, jsonPrefix, jsonFrame, jsonSummary}
	}
	header := "file\tframe\tflow\tdirection\tkind\tconfidence\n"
	if summary {
		header = "file\ttcp_packets\tkeepalive_probe\tkeepalive_ack\tzero_window_probe\tzero_window_ack\tretransmission\trst\n"
	}
	return rowFormat{func(b []byte) []byte { return append(b, header...) }, tsvPrefix, tsvFrame, tsvSummary}
}

var directions = [...]string{flows.Client: "client", flows.Server: "server", flows.Unclear: "unknown"}

// tsvPrefix begins a row with the file, in a way that no spreadsheet takes for
// a formula.
func tsvPrefix(b []byte, file string) []byte {
	if file != "-" && strings.ContainsAny(file[:min(1, len(file))], "=+-@") {
		b = append(b, '\'')
	}
	return append(append(b, escape(file)...), '\t')
}

func tsvFrame(b, prefix []byte, frame uint64, l *flows.Label) []byte {
	b = append(b, prefix...)
	b = strconv.AppendUint(b, frame, 10)
	b = append(b, '\t')
	b = strconv.AppendUint(b, l.Stream, 10)
	b = append(b, '\t')
	b = append(b, directions[l.Sender]...)
	b = append(b, '\t')
	b = append(b, l.Kind.String()...)
	b = append(b, '\t')
	b = append(b, l.Conf.String()...)
	return append(b, '\n')
}

// summaryKinds are the counted kinds in the order of their columns.
var summaryKinds = [...]struct {
	kind flows.Kind
	key  string
}{
	{flows.KeepaliveProbe, "keepalive_probe"},
	{flows.KeepaliveACK, "keepalive_ack"},
	{flows.ZeroWindowProbe, "zero_window_probe"},
	{flows.ZeroWindowACK, "zero_window_ack"},
	{flows.Retransmission, "retransmission"},
}

func tsvSummary(b, prefix []byte, t *tally) []byte {
	b = append(b, prefix...)
	b = strconv.AppendUint(b, t.packets, 10)
	for _, k := range summaryKinds {
		b = append(b, '\t')
		b = strconv.AppendUint(b, t.kinds[k.kind], 10)
	}
	b = append(b, '\t')
	b = strconv.AppendUint(b, t.rst, 10)
	return append(b, '\n')
}

func jsonPrefix(b []byte, file string) []byte {
	return appendJSON(append(b, `"file":`...), file)
}

func jsonFrame(b, prefix []byte, frame uint64, l *flows.Label) []byte {
	b = append(b, `{"schema":"kaflow/1","type":"frame",`...)
	b = append(b, prefix...)
	b = strconv.AppendUint(append(b, `,"frame":`...), frame, 10)
	b = strconv.AppendUint(append(b, `,"flow":`...), l.Stream, 10)
	b = append(append(b, `,"direction":"`...), directions[l.Sender]...)
	b = append(append(b, `","kind":"`...), l.Kind.String()...)
	b = append(append(b, `","confidence":"`...), l.Conf.String()...)
	return append(b, "\"}\n"...)
}

func jsonSummary(b, prefix []byte, t *tally) []byte {
	b = append(b, `{"schema":"kaflow/1","type":"summary",`...)
	b = append(b, prefix...)
	b = strconv.AppendUint(append(b, `,"tcp_packets":`...), t.packets, 10)
	for _, k := range summaryKinds {
		b = append(append(append(b, `,"`...), k.key...), `":`...)
		b = strconv.AppendUint(b, t.kinds[k.kind], 10)
	}
	b = strconv.AppendUint(append(b, `,"rst":`...), t.rst, 10)
	return append(b, "}\n"...)
}
