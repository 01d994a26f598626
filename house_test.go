// Package kaflow_test holds the rules of the house: which package may import
// which, who may touch the clock, the terminal and the libraries behind them.
package kaflow_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

const module = "kaflow/"

// path is the way of a packet, lowest first: a package may import those before
// it, never one after.
var path = []string{"tcp", "capture", "flows", "pairing", "analyzer", "render", "monitor", "cmd/kaflow"}

// factsReaders are the packages that may import facts.
var factsReaders = []string{"flows", "analyzer", "cmd/kaflow", "internal/factsgen"}

// rewriters are the packages that may import internal/rewrite.
var rewriters = []string{"render", "monitor", "cmd/kaflow"}

// library reports whether a package of ours must leave clock, environment,
// terminal and flags to its caller.
func library(dir string) bool {
	switch dir {
	case "facts", "internal/rewrite", "internal/dialogue", "internal/traffic":
		return true
	}
	for _, top := range path[:slices.Index(path, "monitor")] {
		if dir == top || strings.HasPrefix(dir, top+"/") {
			return true
		}
	}
	return false
}

// product reports whether a package is part of the program, not a tool or test
// helper under internal.
func product(dir string) bool {
	return !strings.HasPrefix(dir, "internal/") || dir == "internal/rewrite"
}

// houseRank is the place of a package on the path, -1 beside it.
func houseRank(dir string) int {
	for i, top := range path {
		if dir == top || strings.HasPrefix(dir, top+"/") {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	for _, pkg := range listPackages(t) {
		for _, imp := range pkg.imports(t, pkg.code()) {
			dir, ours := strings.CutPrefix(imp.path, module)
			if !ours || !product(pkg.dir) {
				continue
			}
			if why := mayNotImport(pkg.dir, dir); why != "" {
				t.Errorf("%s: %s imports %s: %s", imp.pos, pkg.dir, dir, why)
			}
		}
	}
}

// mayNotImport says why one package of the program must not import another of
// ours, "" where it may.
func mayNotImport(from, to string) string {
	switch {
	case from == "facts":
		return "facts is a leaf"
	case to == "facts":
		if !slices.Contains(factsReaders, from) {
			return "facts is read by " + strings.Join(factsReaders, ", ")
		}
	case to == "internal/rewrite":
		if !slices.Contains(rewriters, from) {
			return "internal/rewrite serves " + strings.Join(rewriters, ", ")
		}
	case strings.HasPrefix(to, "internal/"):
		return "the packages under internal serve tests and tools"
	case from == "internal/rewrite":
		if houseRank(to) > houseRank("capture") {
			return "internal/rewrite stands on capture and tcp"
		}
	case houseRank(to) < 0 || houseRank(from) < 0:
		return "it has no place on the path " + strings.Join(path, " → ")
	case houseRank(to) > houseRank(from):
		return "the arrow points up"
	}
	return ""
}

func TestImportRulesCatchWhatTheyForbid(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		allowed  bool
	}{
		{"flows", "capture", true},
		{"cmd/kaflow", "tcp", true},
		{"flows", "facts", true},
		{"render", "internal/rewrite", true},
		{"capture", "flows", false},
		{"tcp", "capture", false},
		{"facts", "tcp", false},
		{"pairing", "facts", false},
		{"capture", "internal/rewrite", false},
		{"internal/rewrite", "flows", false},
		{"flows", "internal/dialogue", false},
		{"helpers", "tcp", false},
		{"flows", "helpers", false},
	} {
		if why := mayNotImport(tc.from, tc.to); (why == "") != tc.allowed {
			t.Errorf("mayNotImport(%q, %q) = %q, want allowed %v", tc.from, tc.to, why, tc.allowed)
		}
	}
}

// doors lists the libraries that stay behind one or two of our packages, for
// their tests as well.
var doors = []struct {
	library string // import path or its beginning
	behind  []string
}{
	{oracle, []string{"capture"}},
	{"github.com/gopacket/gopacket", []string{"capture"}},
	{"github.com/fatih/color", []string{"render", "monitor"}},
	{"github.com/spf13/pflag", []string{"cmd/kaflow"}},
	{"github.com/spf13/cobra", []string{"cmd/kaflow"}},
	{"github.com/prometheus", []string{"monitor"}},
	{"charm.land", []string{"monitor"}},
	{"kernel.org/pub/linux/libs/security/libcap/cap", []string{"cmd/kaflow"}},
	{"github.com/landlock-lsm/go-landlock", []string{"cmd/kaflow"}},
}

func TestLibrariesStayBehindTheirDoors(t *testing.T) {
	for _, pkg := range listPackages(t) {
		for _, imp := range pkg.imports(t, append(pkg.code(), pkg.tests()...)) {
			for _, d := range doors {
				if within(imp.path, d.library) && !slices.ContainsFunc(d.behind, func(dir string) bool { return within(pkg.dir, dir) }) {
					t.Errorf("%s: %s imports %s, which stays behind %s", imp.pos, pkg.dir, imp.path, strings.Join(d.behind, " and "))
				}
			}
		}
	}
}

// oracle is a library for tests alone: what its package layers does when a program starts takes
// 4 ms, more than all else together.
const oracle = "github.com/google/gopacket"

func TestTheProgramDoesNotStartItsOracle(t *testing.T) {
	for _, pkg := range listPackages(t) {
		for _, imp := range pkg.imports(t, pkg.code()) {
			if within(imp.path, oracle) && product(pkg.dir) {
				t.Errorf("%s: %s imports %s, which is for tests", imp.pos, pkg.dir, imp.path)
			}
		}
	}
}

// within reports whether p is top or lies under it.
func within(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

func TestLibrariesLeaveClockTerminalAndFlagsToTheirCaller(t *testing.T) {
	for _, pkg := range listPackages(t) {
		if !library(pkg.dir) || pkg.Name == "main" {
			continue
		}
		for _, complaint := range pkg.check(t, pkg.code()).callerDuties() {
			t.Error(complaint)
		}
	}
}

func TestImportingCostsAndChangesNothing(t *testing.T) {
	for _, pkg := range listPackages(t) {
		if !product(pkg.dir) || pkg.Name == "main" {
			continue
		}
		for _, complaint := range pkg.check(t, pkg.code()).importDuties() {
			t.Error(complaint)
		}
	}
}

func TestChecksCatchWhatTheyForbid(t *testing.T) {
	const source = `package sample

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	clock "time"
)

var count int
var table = map[string]int{}
var digits = regexp.MustCompile("[0-9]+")
var verbose = flag.Bool("v", false, "")

func init() { count = 1 }

func work() clock.Time {
	table["x"]++
	delete(table, "y")
	go fmt.Println(os.Getenv("HOME"))
	p := &count
	_ = p
	os.Exit(1)
	return clock.Now()
}

func fine() {
	count := 2
	count++
	time := struct{ Now func() }{}
	time.Now()
}
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "sample.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := checkFiles(fset, "sample", []*ast.File{file})
	got := append(c.callerDuties(), c.importDuties()...)
	slices.Sort(got)
	want := []string{
		"sample.go:14: flags belong to cmd/kaflow: flag.Bool",
		"sample.go:14: work at import: flag.Bool",
		"sample.go:13: work at import: regexp.MustCompile",
		"sample.go:16: work at import: func init",
		"sample.go:16: package variable count changes",
		"sample.go:19: package variable table changes",
		"sample.go:20: package variable table changes",
		"sample.go:21: goroutines belong to capture, monitor and cmd/kaflow",
		"sample.go:21: the environment belongs to the caller: os.Getenv",
		"sample.go:21: the terminal belongs to the caller: fmt.Println",
		"sample.go:22: package variable count changes",
		"sample.go:24: exit belongs to cmd/kaflow: os.Exit",
		"sample.go:25: the clock belongs to the caller: time.Now",
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// maxDependencies is the limit for modules that the program itself imports.
const maxDependencies = 25

func TestDependenciesAreFewAndJustified(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	program := map[string]bool{}
	all := map[string]string{} // module to one place that imports it
	modules := listModules(t)
	for _, pkg := range listPackages(t) {
		code := pkg.imports(t, pkg.code())
		for _, imp := range append(slices.Clone(code), pkg.imports(t, pkg.tests())...) {
			if m := moduleOf(modules, imp.path); m != "" {
				all[m] = imp.pos
			}
		}
		for _, imp := range code {
			if m := moduleOf(modules, imp.path); m != "" && product(pkg.dir) {
				program[m] = true
			}
		}
	}
	if len(program) > maxDependencies {
		t.Errorf("the program imports %d modules, at most %d are allowed: %v", len(program), maxDependencies, program)
	}
	for m, pos := range all {
		if !bytes.Contains(text, []byte("`"+m+"`")) {
			t.Errorf("%s: imports %s, which CONTRIBUTING.md does not justify", pos, m)
		}
	}
}
