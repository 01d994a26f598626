// Command lab plays scenarios of the lab and keeps the captures.
//
//	lab list
//	lab run -o DIR [-seed N] [NAME...]       captures at all four points, as made
//	lab update [-o DIR] [NAME...]            the sets under testdata/pcaps, as shipped
//
// Without names it plays all of them, several at a time. It needs Linux and
// root; on a busy machine `nice -n -15` in front gives steadier round trips.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"kaflow/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("list, run or update?")
	}
	flags := flag.NewFlagSet("lab "+args[0], flag.ContinueOnError)
	seed := flags.Uint64("seed", 0, "draw the timers at random from this; 0: the scenario's own")
	dir := flags.String("o", "", "`directory` for the captures (update: testdata/pcaps)")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if args[0] == "list" {
		for _, s := range chosen {
			fmt.Fprintf(out, "%-30s %s\n", s.Name, s.Doc)
		}
		return nil
	}
	if why := lab.Missing(); why != "" {
		return fmt.Errorf("no lab here: %s", why)
	}
	switch args[0] {
	case "run":
		if *dir == "" {
			return errors.New("run where to? -o DIR")
		}
		for i := range chosen {
			chosen[i].Seed = *seed
		}
		var errs []error
		for _, outcome := range lab.Play(ctx, *dir, chosen) {
			errs = append(errs, outcome.Err)
		}
		return errors.Join(errs...)
	case "update":
		if *dir == "" {
			*dir = filepath.Join("testdata", "pcaps")
		}
		return lab.Update(ctx, *dir, chosen)
	}
	return fmt.Errorf("%q is none of list, run, update", args[0])
}

// choose returns the named scenarios, all of them for no name.
func choose(names []string) ([]lab.Scenario, error) {
	all := lab.Scenarios()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []lab.Scenario
	for _, name := range names {
		at := slices.IndexFunc(all, func(s lab.Scenario) bool { return s.Name == name || s.Late == name })
		if at < 0 {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}
