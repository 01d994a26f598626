// Command factsgen turns the tables in internal/factsgen/data into Go
// literals for package facts, so that nothing is parsed at start-up.
//
//	go generate ./facts
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	set := flag.NewFlagSet("factsgen", flag.ContinueOnError)
	set.SetOutput(stderr)
	data := set.String("data", "data", "folder with the tables")
	out := set.String("o", "tables_gen.go", "file to write")
	if err := set.Parse(args); err != nil {
		return 2
	}
	if err := generate(*data, *out); err != nil {
		fmt.Fprintf(stderr, "factsgen: %v\n", err)
		return 1
	}
	return 0
}

func generate(data, out string) error {
	tables, err := load(os.DirFS(data))
	if err != nil {
		return err
	}
	code, err := tables.code()
	if err != nil {
		return err
	}
	return os.WriteFile(out, code, 0o644)
}
