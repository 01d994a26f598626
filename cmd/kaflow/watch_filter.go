package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/bpf"

	"kaflow/capture"
)

// tcpdumps are the places where tcpdump is looked for: PATH is not asked, for
// this can be root.
var tcpdumps = []string{"/usr/bin/tcpdump", "/usr/sbin/tcpdump", "/bin/tcpdump", "/sbin/tcpdump", "/usr/local/bin/tcpdump", "/usr/local/sbin/tcpdump"}

// noTcpdump says how to get there without it.
const noTcpdump = "-f: tcpdump compiles the filter, and is not installed here; install it, or use --host, --net and --port, " +
	"or let it capture on a host that has it: tcpdump -U -w - -i IFACE 'FILTER' | kaflow watch -r -"

// compile makes a filter of an expression in libpcap's language.
func (a *app) compile(ctx context.Context, expression string) (*capture.Filter, error) {
	if err := a.traps(expression); err != nil {
		return nil, err
	}
	program := ""
	for _, path := range tcpdumps {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			program = path
			break
		}
	}
	if program == "" {
		return nil, usageError{noTcpdump}
	}
	programs := map[string][]bpf.RawInstruction{}
	for link := range capture.FilterLinks {
		code, err := compileFor(ctx, program, link, expression)
		switch {
		case err == nil:
			programs[link] = code
		case link == "EN10MB":
			return nil, usageError{fmt.Sprintf("-f %s: %v", expression, err)}
		default: // it asks for what other links have not got: none of their frames matches
			programs[link] = []bpf.RawInstruction{{Op: 6}}
		}
	}
	filter, err := capture.NewFilter(programs)
	if err != nil {
		return nil, usageError{fmt.Sprintf("-f %s: %v", expression, err)}
	}
	return filter, nil
}

// traps refuses or explains what libpcap's language does otherwise than it
// reads.
func (a *app) traps(expression string) error {
	has := func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(expression) }
	switch {
	case strings.TrimSpace(expression) == "":
		return usageError{"-f: the filter is empty"}
	case has(`\bvlan\b`):
		return usageError{"-f: leave vlan out: tags are taken off before the filter sees a frame, so that it holds for tagged and untagged ones alike"}
	case has(`\b(inbound|outbound|ifname|ifindex)\b`):
		return usageError{"-f: directions and interfaces cannot be filtered; -i names interfaces"}
	}
	if has(`\btcp\s*\[`) {
		a.hint("-f: tcp[...] reads IPv4 alone, IPv6 segments never match it; libpcap knows no other way")
	}
	if has(`\bip\s+(host|proto|src|dst)\b|\bip\s*\[|\bether\b`) {
		a.hint("-f: ip and ip[...] match IPv4 alone, ether no interface without Ethernet headers")
	}
	return nil
}

// compileFor lets tcpdump compile an expression for a link type. No shell is
// run; the expression is one argument.
func compileFor(ctx context.Context, program, link, expression string) ([]bpf.RawInstruction, error) {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	c := exec.CommandContext(ctx, program, "-y", link, "-ddd", "--", expression)
	c.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		for line := range strings.Lines(complaint.String()) {
			if text, ours := strings.CutPrefix(line, "tcpdump: "); ours && !strings.HasPrefix(text, "data link type") {
				return nil, errors.New(strings.TrimSpace(text))
			}
		}
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return parseProgram(&out)
}

// mostInstructions is what the kernel takes (BPF_MAXINSNS).
const mostInstructions = 4096

// parseProgram reads a filter program as tcpdump -ddd prints it: how many
// instructions, then four numbers for each.
func parseProgram(out *bytes.Buffer) ([]bpf.RawInstruction, error) {
	in := bufio.NewReader(out)
	var n int
	if _, err := fmt.Fscan(in, &n); err != nil || n < 1 || n > mostInstructions {
		return nil, errors.New("tcpdump printed no program")
	}
	code := make([]bpf.RawInstruction, n)
	for i := range code {
		if _, err := fmt.Fscan(in, &code[i].Op, &code[i].Jt, &code[i].Jf, &code[i].K); err != nil {
			return nil, fmt.Errorf("instruction %d of tcpdump's program: %w", i+1, err)
		}
	}
	return code, nil
}
