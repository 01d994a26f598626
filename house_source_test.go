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
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

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
	noticeNewFiles(t)
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

// noticeNewFiles opens every folder of the module, so that go test does not give
// a stored result after a file was added: it cannot see what go list reads.
func noticeNewFiles(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
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
