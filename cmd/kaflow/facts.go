package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kaflow/facts"
	"kaflow/render"
)

func (a *app) factsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "facts [" + strings.Join(tableNames(), "|") + "] [WORD]",
		Short: "the tables behind the verdicts, with their sources",
		Long: `Print the tables that verdicts and advice stand on: a line for each row, or with a word
the rows that mention it, with their sources. Rows whose source nobody has reopened, and
guesses, are marked as shaky.

  kaflow facts timeouts
  kaflow facts timeouts asa
  kaflow facts ssh`,
		ValidArgsFunction: completing(tableNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.facts(c, args) },
	}
}

// factTable is one of the tables of package facts, as the command shows it.
type factTable struct {
	name, about string
	rows        func(word string) []factRow
}

// factRow is one row: a line of a list, a page, and what JSON has of it.
type factRow struct {
	id      string
	line    []string // what follows the id
	page    render.Section
	backing facts.Backing
	json    any
}

func factTables() []factTable {
	return []factTable{
		{"defaults", "keepalive defaults of systems, stacks, runtimes and programs", defaultRows},
		{"timeouts", "idle timeouts of firewalls, NATs, load balancers and proxies", timeoutRows},
		{"heartbeats", "how applications say on an idle connection that they live", heartbeatRows},
		{"closers", "ends and proxies that close an idle connection on purpose", closerRows},
		{"remedies", "lines that keep a connection alive, on hosts and on devices", remedyRows},
		{"logs", "what to search a device's log for", logRows},
	}
}

func tableNames() []string {
	var names []string
	for _, t := range factTables() {
		names = append(names, t.name)
	}
	return names
}

func (a *app) facts(c *cobra.Command, args []string) error {
	if err := refuse(c, reportFlags...); err != nil {
		return err
	}
	format, err := a.flags.formatOf("text", "json")
	if err != nil {
		return err
	}
	tables, word, err := tablesAsked(args)
	if err != nil {
		return err
	}
	found := 0
	rows := make([][]factRow, len(tables))
	for i, t := range tables {
		rows[i] = t.rows(word)
		found += len(rows[i])
	}
	if found == 0 {
		return usageError{fmt.Sprintf("%s: nothing in the tables mentions it%s", word, didYouMean(word, wordsOf(tables), "kaflow facts names the tables"))}
	}
	return a.print(format, func(w io.Writer, o render.Options) error {
		switch {
		case format == "json":
			return encode(w, factsJSON(tables, rows), o)
		case len(args) == 0:
			return render.Sections(w, []render.Section{overview(tables, rows)}, o)
		}
		return render.Sections(w, factSections(tables, rows, word), o)
	})
}

// tablesAsked reads the arguments: a table, a word, or both.
func tablesAsked(args []string) (tables []factTable, word string, err error) {
	tables = factTables()
	if len(args) == 0 {
		return tables, "", nil
	}
	if i := slices.IndexFunc(tables, func(t factTable) bool { return t.name == args[0] }); i >= 0 {
		tables, args = tables[i:i+1], args[1:]
	} else if len(args) > 1 {
		return nil, "", usageError{fmt.Sprintf("%s: no such table%s", args[0], didYouMean(args[0], tableNames(), "there are "+strings.Join(tableNames(), ", ")))}
	}
	if len(args) > 1 {
		return nil, "", usageError{fmt.Sprintf("facts takes one word, found %q too", args[1])}
	}
	return tables, strings.TrimSpace(strings.Join(args, "")), nil
}

// wordsOf lists what a user can have meant: tables, ids and their parts.
func wordsOf(tables []factTable) []string {
	words := tableNames()
	for _, t := range tables {
		for _, r := range t.rows("") {
			words = append(append(words, r.id), strings.Split(r.id, "-")...)
		}
	}
	return words
}

// overview lists the tables.
func overview(tables []factTable, rows [][]factRow) render.Section {
	s := render.Section{Head: "what kaflow knows of others"}
	for i, t := range tables {
		shaky := 0
		for _, r := range rows[i] {
			if r.backing.Shaky() {
				shaky++
			}
		}
		s.Rows = append(s.Rows, []string{t.name, fmt.Sprintf("%d rows", len(rows[i])), fmt.Sprintf("%d shaky", shaky), t.about})
	}
	s.Topics = []render.Topic{{Name: "shaky", Says: []string{"nobody has reopened the row's source, or it is a guess; such a row carries no verdict alone"}}}
	return s
}

// mostPages is how many rows are shown in full unasked.
const mostPages = 6

// factSections shows few rows in full and many in a line each.
func factSections(tables []factTable, rows [][]factRow, word string) []render.Section {
	var out []render.Section
	total := 0
	for i := range rows {
		total += len(rows[i])
	}
	for i, t := range tables {
		if len(rows[i]) == 0 {
			continue
		}
		if word != "" && total <= mostPages {
			for _, r := range rows[i] {
				r.page.Right = t.name + "/" + r.id
				r.page.Topics = append(r.page.Topics, render.Topic{Name: "sources", Says: sourcesText(r.backing)})
				out = append(out, r.page)
			}
			continue
		}
		s := render.Section{Head: t.name + ": " + t.about}
		for _, r := range rows[i] {
			mark := ""
			if r.backing.Shaky() {
				mark = "shaky"
			}
			s.Rows = append(s.Rows, append([]string{r.id, mark}, r.line...))
		}
		out = append(out, s)
	}
	return out
}

type factsAnswer struct {
	heading
	Tables map[string][]any `json:"tables"`
}

func factsJSON(tables []factTable, rows [][]factRow) factsAnswer {
	answer := factsAnswer{heading: headingOf("facts"), Tables: map[string][]any{}}
	for i, t := range tables {
		list := []any{}
		for _, r := range rows[i] {
			list = append(list, r.json)
		}
		answer.Tables[t.name] = list
	}
	return answer
}
