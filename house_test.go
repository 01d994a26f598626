// Package kaflow_test holds the rules of the house: which package may import
// which, who may touch the clock, the terminal and the libraries behind them.
package kaflow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	{"github.com/google/gopacket", []string{"capture"}},
	{"github.com/gopacket/gopacket", []string{"capture"}},
	{"github.com/fatih/color", []string{"render", "monitor"}},
	{"github.com/spf13/pflag", []string{"cmd/kaflow"}},
	{"github.com/spf13/cobra", []string{"cmd/kaflow"}},
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

// moduleOf returns the module that holds an import path, "" for ours and the
// standard library.
func moduleOf(modules []string, importPath string) string {
	best := ""
	for _, m := range modules {
		if within(importPath, m) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// listModules returns the modules that go.mod requires.
func listModules(t *testing.T) []string {
	t.Helper()
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range mod.Require {
		paths = append(paths, r.Path)
	}
	return paths
}

// A housePackage is what go list says of one of our packages.
type housePackage struct {
	Dir, ImportPath, Name     string
	GoFiles, IgnoredGoFiles   []string
	TestGoFiles, XTestGoFiles []string

	dir string // below the module's root
}

// listPackages returns all packages of the module. Files for other systems
// count as code too.
func listPackages(t *testing.T) []housePackage {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-e", "-json=Dir,ImportPath,Name,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")))
	var pkgs []housePackage
	for {
		var p housePackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p.dir = strings.TrimPrefix(p.ImportPath, module)
		if p.dir != strings.TrimSuffix(module, "/") { // this file's own
			pkgs = append(pkgs, p)
		}
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no packages")
	}
	return pkgs
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func (p *housePackage) code() []string { return append(slices.Clone(p.GoFiles), p.IgnoredGoFiles...) }

func (p *housePackage) tests() []string {
	return append(slices.Clone(p.TestGoFiles), p.XTestGoFiles...)
}

// A houseImport is one import line.
type houseImport struct{ path, pos string }

// imports returns the import lines of some of the package's files.
func (p *housePackage) imports(t *testing.T, files []string) []houseImport {
	t.Helper()
	fset := token.NewFileSet()
	var imports []houseImport
	for _, file := range p.parse(t, fset, files, parser.ImportsOnly) {
		for _, spec := range file.Imports {
			imports = append(imports, houseImport{importPath(spec), place(fset, spec)})
		}
	}
	return imports
}

// check resolves the names in some of the package's files.
func (p *housePackage) check(t *testing.T, files []string) *checked {
	t.Helper()
	fset := token.NewFileSet()
	return checkFiles(fset, p.dir, p.parse(t, fset, files, 0))
}

// parse reads files, leaving out those of another package (go:build ignore).
func (p *housePackage) parse(t *testing.T, fset *token.FileSet, names []string, mode parser.Mode) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, mode)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if file.Name.Name == p.Name || strings.TrimSuffix(file.Name.Name, "_test") == p.Name {
			files = append(files, file)
		}
	}
	return files
}

// checked is a package whose names are resolved as far as its own files allow.
// Imported packages stay empty: their names alone are asked for.
type checked struct {
	dir   string
	fset  *token.FileSet
	files []*ast.File
	pkg   *types.Package
	uses  map[*ast.Ident]types.Object
}

func checkFiles(fset *token.FileSet, dir string, files []*ast.File) *checked {
	uses := map[*ast.Ident]types.Object{}
	conf := types.Config{Importer: emptyImporter{}, Error: func(error) {}} // everything imported is unknown: errors are certain
	pkg, _ := conf.Check(dir, fset, files, &types.Info{Uses: uses})
	return &checked{dir, fset, files, pkg, uses}
}

type emptyImporter struct{}

func (emptyImporter) Import(importPath string) (*types.Package, error) {
	name := importPath[strings.LastIndex(importPath, "/")+1:]
	pkg := types.NewPackage(importPath, name)
	pkg.MarkComplete()
	return pkg, nil
}

// forbidden are names of the standard library that a library of ours leaves to
// its caller. "*" stands for every name.
var forbidden = []struct {
	path, name, why string
}{
	{"time", "Now", "the clock belongs to the caller"},
	{"time", "Since", "the clock belongs to the caller"},
	{"time", "Until", "the clock belongs to the caller"},
	{"time", "Sleep", "the clock belongs to the caller"},
	{"time", "After", "the clock belongs to the caller"},
	{"time", "NewTimer", "the clock belongs to the caller"},
	{"time", "NewTicker", "the clock belongs to the caller"},
	{"time", "Tick", "the clock belongs to the caller"},
	{"time", "AfterFunc", "the clock belongs to the caller"},
	{"time", "Local", "the zone belongs to the caller"},
	{"os", "Getenv", "the environment belongs to the caller"},
	{"os", "LookupEnv", "the environment belongs to the caller"},
	{"os", "Environ", "the environment belongs to the caller"},
	{"os", "ExpandEnv", "the environment belongs to the caller"},
	{"os", "Args", "the command line belongs to cmd/kaflow"},
	{"os", "Exit", "exit belongs to cmd/kaflow"},
	{"os", "Stdin", "the terminal belongs to the caller"},
	{"os", "Stdout", "the terminal belongs to the caller"},
	{"os", "Stderr", "the terminal belongs to the caller"},
	{"fmt", "Print", "the terminal belongs to the caller"},
	{"fmt", "Printf", "the terminal belongs to the caller"},
	{"fmt", "Println", "the terminal belongs to the caller"},
	{"log", "*", "the terminal belongs to the caller"},
	{"log/slog", "*", "the terminal belongs to the caller"},
	{"os/signal", "*", "signals belong to cmd/kaflow and monitor"},
	{"flag", "*", "flags belong to cmd/kaflow"},
	{"github.com/spf13/pflag", "*", "flags belong to cmd/kaflow"},
}

// atImport are functions too dear to be called by a package variable.
var atImport = map[string]bool{
	"regexp": true, "text/template": true, "html/template": true, "encoding/json": true,
	"go.yaml.in/yaml/v3": true, "os": true, "os/exec": true, "flag": true,
}

// callerDuties lists the places that do what the caller should do.
func (c *checked) callerDuties() []string {
	var complaints []string
	c.inspect(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.GoStmt:
			if !within(c.dir, "capture") {
				complaints = append(complaints, c.at(n, "goroutines belong to capture, monitor and cmd/kaflow"))
			}
		case *ast.SelectorExpr:
			from := c.qualifier(n)
			for _, f := range forbidden {
				if f.path == from && (f.name == n.Sel.Name || f.name == "*") {
					complaints = append(complaints, c.at(n, f.why+": "+from+"."+n.Sel.Name))
				}
			}
		}
	})
	return complaints
}

// importDuties lists work done at import and package variables that change.
func (c *checked) importDuties() []string {
	var complaints []string
	for _, file := range c.files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil && decl.Name.Name == "init" {
					complaints = append(complaints, c.at(decl, "work at import: func init"))
				}
			case *ast.GenDecl:
				complaints = append(complaints, c.initialWork(decl)...)
			}
		}
	}
	c.inspect(func(n ast.Node) {
		for _, changed := range changedBy(n) {
			if v := c.packageVariable(changed); v != "" {
				complaints = append(complaints, c.at(n, "package variable "+v+" changes"))
			}
		}
	})
	return complaints
}

// initialWork lists dear calls in the initial values of package variables,
// those inside function literals excepted: they run later.
func (c *checked) initialWork(decl *ast.GenDecl) []string {
	var complaints []string
	ast.Inspect(decl, func(n ast.Node) bool {
		if _, later := n.(*ast.FuncLit); later {
			return false
		}
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && atImport[c.qualifier(sel)] {
				complaints = append(complaints, c.at(call, "work at import: "+c.qualifier(sel)+"."+sel.Sel.Name))
			}
		}
		return true
	})
	return complaints
}

// changedBy returns the expressions that a statement assigns to, deletes from
// or, for a variable as a whole, takes the address of: reading one row of a
// table through a pointer is no change.
func changedBy(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if id, whole := n.X.(*ast.Ident); whole && n.Op == token.AND {
			return []ast.Expr{id}
		}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// packageVariable returns the name of the package variable that an expression
// is, or is a part of, "" where it is none.
func (c *checked) packageVariable(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			if v, ok := c.uses[x].(*types.Var); ok && c.pkg != nil && v.Parent() == c.pkg.Scope() {
				return x.Name
			}
			return ""
		default:
			return ""
		}
	}
}

// qualifier returns the import path that a selector's left side names, "" where
// it names none.
func (c *checked) qualifier(sel *ast.SelectorExpr) string {
	if id, ok := sel.X.(*ast.Ident); ok {
		if name, ok := c.uses[id].(*types.PkgName); ok {
			return name.Imported().Path()
		}
	}
	return ""
}

func (c *checked) inspect(visit func(ast.Node)) {
	for _, file := range c.files {
		ast.Inspect(file, func(n ast.Node) bool {
			visit(n)
			return true
		})
	}
}

func (c *checked) at(n ast.Node, complaint string) string { return place(c.fset, n) + ": " + complaint }

// place is a node's file and line, the file below the current folder where it
// lies there.
func place(fset *token.FileSet, n ast.Node) string {
	pos := fset.Position(n.Pos())
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, pos.Filename); err == nil && filepath.IsAbs(pos.Filename) {
			pos.Filename = rel
		}
	}
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}
