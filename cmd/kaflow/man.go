package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"kaflow/analyzer"
)

func (a *app) manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "man [COMMAND]",
		Short: "the manual page of a command, for man -l -",
		Long: `Print the manual page of kaflow, or of one of its commands. With --dir DIR all of
them are written there: kaflow.1, kaflow-annotate.1 and so on.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: completing(func() []string {
			var names []string
			for _, c := range a.root(nil).Commands() {
				names = append(names, c.Name())
			}
			return names
		}),
		RunE: func(c *cobra.Command, args []string) error { return a.man(c.Root(), args, dir) },
	}
	c.Flags().StringVar(&dir, "dir", "", "write the pages of all commands into this directory")
	return c
}

func (a *app) man(root *cobra.Command, args []string, dir string) error {
	root.InitDefaultCompletionCmd()
	commands := append([]*cobra.Command{root}, root.Commands()...)
	if dir != "" {
		for _, c := range commands {
			a.flags.out = filepath.Join(dir, pageName(c)+".1")
			if err := a.manPage(c); err != nil {
				return err
			}
		}
		return nil
	}
	if len(args) == 0 {
		return a.manPage(root)
	}
	i := slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == args[0] })
	if i < 0 {
		return usageError{fmt.Sprintf("man %s: no such command", args[0])}
	}
	return a.manPage(commands[i])
}

func pageName(c *cobra.Command) string {
	if c.HasParent() {
		return "kaflow-" + c.Name()
	}
	return "kaflow"
}

// manPage writes one page to where -o says. It bears no date, so that the same
// program gives the same page.
func (a *app) manPage(c *cobra.Command) error {
	c.DisableAutoGenTag = true
	var b bytes.Buffer
	head := &doc.GenManHeader{Title: strings.ToUpper(pageName(c)), Section: "1", Source: version(), Manual: "kaflow", Date: new(time.Time)}
	if err := doc.GenMan(c, head, &b); err != nil {
		return err
	}
	page := strings.Replace(b.String(), `"Jan 0001"`, `""`, 1)
	if !c.HasParent() {
		page += manStatus() + manVerdicts()
	}
	out, err := a.publicOutput()
	if err != nil {
		return err
	}
	defer out.discard()
	if _, err := io.WriteString(out, page); err != nil {
		return outputError{err}
	}
	return out.finish()
}

// manStatus is the part on exit statuses.
func manStatus() string {
	return `.SH EXIT STATUS
0 done; 1 a verdict of --fail-on, or a setting of --expect that does not hold; 2 a command line that makes no sense;
3 an input is damaged or unreadable, what could be read is in the report; 4 a limit was hit, the report says which;
5 the output could not be written; 6 the live capture failed; 130 and 143 ended by a signal, the report was written.
`
}

// manVerdicts lists what kaflow can say, from the pages of kaflow explain.
func manVerdicts() string {
	var b strings.Builder
	b.WriteString(".SH VERDICTS\n")
	for _, p := range analyzer.Pages() {
		if p.Kind == analyzer.OfVerdict && given(&p) {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fP\n%s\n", roff(p.ID), roff(p.Short))
		}
	}
	b.WriteString(".PP\nkaflow explain VERDICT tells what proves it and what to do.\n")
	return b.String()
}

// roff makes a text safe for a manual page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
