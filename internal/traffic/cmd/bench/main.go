//go:build unix

// Command bench measures kaflow beside the tools that its users know, on
// captures that it makes for the purpose, and prints the tables of
// docs/performance.md. It writes to a temporary directory alone.
//
//	make bench
//
// What counts is CPU time, user and system, of whole processes, as a ratio of
// runs that alternate: machines differ, and so does one machine from minute to
// minute. Wall clock says little where two processes share a cache.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	b := bench{out: stdout, log: stderr}
	set.StringVar(&b.kaflow, "kaflow", "", "program to measure (default: built from this module)")
	set.IntVar(&b.rounds, "rounds", 11, "rounds after a first one that does not count")
	set.Float64Var(&b.scale, "scale", 1, "packets of each capture, as a part of the full number")
	set.StringVar(&b.only, "only", "", "cpu or memory: one of the two tables")
	if set.Parse(args) != nil {
		return 2
	}
	if b.rounds < 1 || b.scale <= 0 || b.scale > 1 {
		fmt.Fprintln(stderr, "bench: rounds are at least 1, the scale is above 0 and at most 1")
		return 2
	}
	if err := b.all(); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 5
	}
	return 0
}

// bench is one run of the program.
type bench struct {
	out, log io.Writer
	kaflow   string
	dir      string // for captures
	rounds   int
	scale    float64
	only     string
}

func (b *bench) all() error {
	dir, err := os.MkdirTemp("", "kaflow-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		os.RemoveAll(dir)
		os.Exit(130)
	}()
	b.dir = dir
	if b.kaflow == "" {
		b.kaflow = filepath.Join(dir, "kaflow")
		if out, err := exec.Command("go", "build", "-trimpath", "-o", b.kaflow, "kaflow/cmd/kaflow").CombinedOutput(); err != nil {
			return fmt.Errorf("building kaflow: %w\n%s", err, out)
		}
	}
	fmt.Fprintf(b.out, "%s/%s, %d processors, %d rounds, packets × %g\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.rounds, b.scale)
	if b.only != "memory" {
		if err := b.cpuTable(); err != nil {
			return err
		}
	}
	if b.only != "cpu" {
		return b.memoryTable()
	}
	return nil
}
