package main

import (
	"io"
	"path/filepath"
	"strings"

	"kaflow/analyzer"
	"kaflow/pairing"
	"kaflow/render"
)

// lastReport is the report that watch writes when it ends; the zero value is
// none.
type lastReport struct {
	a     *app
	path  string
	form  format
	print render.Options
}

// lastReport reads --report and -o.
func (a *app) lastReport(f *watchFlags) (*lastReport, error) {
	path := f.report
	if a.flags.out != "" {
		if path != "" && path != a.flags.out {
			return nil, usageError{"--report " + path + " and -o " + a.flags.out + " contradict each other"}
		}
		path = a.flags.out
	}
	if path == "" {
		return &lastReport{}, nil
	}
	if path == "-" {
		return nil, usageError{"events go to stdout; --report needs a file"}
	}
	if err := a.failing(); err != nil {
		return nil, err
	}
	a.flags.out = path
	o, err := a.rendering()
	return &lastReport{a: a, path: path, form: formatOfName(path), print: o}, err
}

// formatOfName returns the format that a report's file name asks for.
func formatOfName(path string) format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".html", ".htm":
		return format{name: "html", write: render.HTML}
	case ".json":
		return format{name: "json", write: render.JSON}
	case ".ndjson":
		return format{name: "ndjson", write: render.NDJSON}
	case ".md":
		return format{name: "md", write: render.Markdown, brief: true}
	case ".jira":
		return format{name: "jira", write: render.Jira, brief: true}
	}
	return format{name: "text", write: render.Text, brief: true}
}

// check reports early what would keep the report from being written after days.
func (r *lastReport) check(inputs []string) error {
	if r.path == "" {
		return nil
	}
	if isDevice(r.path) {
		return nil
	}
	out, err := r.a.output(inputs)
	if err != nil {
		return err
	}
	out.discard()
	return nil
}

// write diagnoses what was watched as analyze does.
func (r *lastReport) write(s *watcher) error {
	if r.path == "" {
		return nil
	}
	o := r.a.ask
	o.Tool, o.Flow = version(), r.a.flags.flow
	if o.MaxListed = r.a.flags.maxListed; o.MaxListed == 0 && r.form.brief && !s.sel.narrow() {
		o.MaxListed = briefReport
	}
	at := s.engine.Point()
	at.Files = r.a.renamed(at.Name, at.Files)
	report := analyzer.Diagnose([]pairing.Point{at}, nil, o)
	if err := r.a.choose(report, s.sel); err != nil {
		return err
	}
	r.a.sign(s.command, []point{{name: s.src.name, paths: []string{s.src.name}}}, report)
	return r.a.writeFile(func(w io.Writer) error { return r.form.write(w, report, r.print) })
}

// writeFile gives -o its content, whole or not at all.
func (a *app) writeFile(write func(io.Writer) error) error {
	out, err := a.output(nil)
	if err != nil {
		return err
	}
	defer out.discard()
	if err := write(out); err != nil {
		return outputError{err}
	}
	return out.finish()
}
