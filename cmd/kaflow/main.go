// Command kaflow says who killed an idle TCP connection, when, how it knows,
// and what has to change.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kaflow/analyzer"
	"kaflow/internal/rewrite"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, page: sheet{to: stdout}}
	a.collect.late()
	ctx, stop := a.catchSignals()
	defer stop()
	root := a.root(args)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if a.page.err != nil {
		err = outputError{fmt.Errorf("write to stdout: %w", cause(a.page.err))}
	}
	return a.status(err)
}

// app is one run of the program: its streams, its flags, and what went wrong
// so far. Errors that end one capture and not the run are counted here.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	page           sheet // stdout for help and other short texts
	flags          flags
	ask            analyzer.Options // what a command wants of the report beyond its flags

	clean *rewrite.Sanitiser // of --sanitize; nil: as captured

	damaged bool         // an input was damaged or unreadable
	limited bool         // a limit was hit
	matched bool         // --fail-on names a verdict of the report
	signal  atomic.Int32 // that stopped the run; 0 is none

	collect collector
}

// root returns the command tree. The root does what analyze does.
func (a *app) root(args []string) *cobra.Command {
	root := a.analyzeCommand("kaflow [analyze] CAPTURE...")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(&a.page)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if c == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			if mistyped := suggest(root, args[0]); mistyped != nil {
				return mistyped
			}
		}
		var value *pflag.InvalidValueError
		if errors.As(err, &value) {
			return badValue(value)
		}
		return usageError{err.Error()}
	})
	a.flags.register(root.PersistentFlags())
	root.AddCommand(a.analyzeCommand("analyze CAPTURE..."), a.flowsCommand(), a.framesCommand(), a.watchCommand(), a.correlateCommand(), a.annotateCommand(), a.explainCommand(), a.policyCommand(), a.factsCommand(), a.extcapCommand(), a.manCommand(), a.versionCommand())
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		completions(root)
	}
	return root
}

// catchSignals returns a context that SIGINT and SIGTERM end, so that what was
// read is still reported. A second signal ends the program at once. SIGPIPE
// is left to the system.
func (a *app) catchSignals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-caught:
			number, _ := s.(syscall.Signal)
			a.signal.Store(int32(number))
			signal.Stop(caught)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(caught); cancel() }
}

// Exit statuses.
const (
	statusDone    = 0
	statusMatched = 1
	statusUsage   = 2
	statusDamaged = 3
	statusLimit   = 4
	statusOutput  = 5
	statusLive    = 6
)

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// outputError is an output that could not be written.
type outputError struct{ err error }

func (e outputError) Error() string { return e.err.Error() }
func (e outputError) Unwrap() error { return e.err }

// errNothing says that no input could be read; each has been told of.
var errNothing = errors.New("nothing to read")

// status prints the error that ended the run, and returns the first exit
// status that applies.
func (a *app) status(err error) int {
	var usage usageError
	var output outputError
	var live liveError
	if err != nil && !errors.Is(err, errNothing) {
		a.complain("%v", err)
	}
	switch {
	case errors.As(err, &usage):
		return statusUsage
	case errors.As(err, &live):
		return statusLive
	case errors.As(err, &output):
		return statusOutput
	case a.signal.Load() != 0:
		return 128 + int(a.signal.Load())
	case err != nil || a.damaged:
		return statusDamaged
	case a.limited:
		return statusLimit
	case a.matched:
		return statusMatched
	}
	return statusDone
}

// complain prints one line of error on stderr; hint one of advice. Both
// escape what came from a capture or a file name.
func (a *app) complain(format string, args ...any) {
	fmt.Fprintf(a.stderr, "kaflow: %s\n", escape(fmt.Sprintf(format, args...)))
}

func (a *app) hint(format string, args ...any) {
	if !a.flags.quiet {
		a.complain("hint: "+format, args...)
	}
}
