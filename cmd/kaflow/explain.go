package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"kaflow/analyzer"
	"kaflow/render"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "explain [ID]",
		Short:             "what a verdict, cause or finding means, what proves it, what refutes it, what to do",
		ValidArgsFunction: completing(func() []string { return idsOf(analyzer.Pages()) }),
		RunE:              func(c *cobra.Command, args []string) error { return a.explain(c, args) },
	}
}

func (a *app) explain(c *cobra.Command, args []string) error {
	if err := refuse(c, reportFlags...); err != nil {
		return err
	}
	format, err := a.flags.formatOf("text", "json")
	if err != nil {
		return err
	}
	pages := analyzer.Pages()
	switch {
	case len(args) > 1:
		return usageError{fmt.Sprintf("explain takes one id, found %q too", args[1])}
	case len(args) == 1:
		page, ok := analyzer.PageOf(args[0])
		if !ok {
			return usageError{fmt.Sprintf("%s: no such verdict, cause or finding%s", args[0], didYouMean(args[0], idsOf(pages), "kaflow explain lists them"))}
		}
		pages = []analyzer.Page{page}
	}
	return a.print(format, func(w io.Writer, o render.Options) error {
		switch {
		case format == "json":
			return encode(w, pagesJSON(pages), o)
		case len(args) == 0:
			return render.Sections(w, contents(pages), o)
		}
		return render.Sections(w, []render.Section{pageSection(&pages[0])}, o)
	})
}

func idsOf(pages []analyzer.Page) []string {
	var ids []string
	for i := range pages {
		ids = append(ids, pages[i].ID)
	}
	return ids
}

// given reports whether this version gives a verdict.
func given(p *analyzer.Page) bool {
	return p.Kind != analyzer.OfVerdict || slices.Contains(verdicts, p.ID)
}

// contents lists the pages by kind.
func contents(pages []analyzer.Page) []render.Section {
	var out []render.Section
	for _, kind := range []string{analyzer.OfVerdict, analyzer.OfCause, analyzer.OfFinding} {
		s := render.Section{Head: kind + "s"}
		for i := range pages {
			if p := &pages[i]; p.Kind == kind {
				mark := ""
				if !given(p) {
					mark = "not given"
				}
				s.Rows = append(s.Rows, []string{p.ID, mark, p.Short})
			}
		}
		out = append(out, s)
	}
	out[0].Says = []string{"what happened to a connection; the earliest event that made the later ones inevitable"}
	out[1].Says = []string{"why, where a verdict of the path carries one"}
	out[2].Says = []string{"what can be noticed besides, and what verdicts stand on"}
	return out
}

func pageSection(p *analyzer.Page) render.Section {
	s := render.Section{Head: p.ID + ": " + p.Short, Right: p.Kind, Says: []string{p.Means}}
	var t topics
	if p.Kind == analyzer.OfVerdict {
		t.add("both captures prove it", p.Both)
		t.add("one capture shows it", p.One)
	} else {
		t.add("what proves it", p.One)
	}
	t.add("what refutes it", p.Refutes...)
	t.add("what looks like it", p.Alike...)
	t.add("what to do", p.Do...)
	if !given(p) {
		t.add("in this version", "it is not given as a verdict; it can stand among the readings that remain")
	}
	s.Topics = t
	return s
}

type pagesAnswer struct {
	heading
	Pages []pageJSON `json:"pages"`
}

type pageJSON struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Given   bool     `json:"given"`
	Short   string   `json:"short"`
	Means   string   `json:"means"`
	Both    string   `json:"proof_with_both_captures"`
	One     string   `json:"shown_by_one_capture"`
	Refutes []string `json:"refuted_by"`
	Alike   []string `json:"looks_like_it"`
	Do      []string `json:"what_to_do"`
}

func pagesJSON(pages []analyzer.Page) pagesAnswer {
	answer := pagesAnswer{heading: headingOf("explain"), Pages: []pageJSON{}}
	for i := range pages {
		p := &pages[i]
		answer.Pages = append(answer.Pages, pageJSON{p.ID, p.Kind, given(p), p.Short, p.Means, p.Both, p.One, list(p.Refutes), list(p.Alike), list(p.Do)})
	}
	return answer
}
