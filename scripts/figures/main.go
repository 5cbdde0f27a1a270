// Command figures measures the shape of each package of the module: sizes of
// files and functions, interfaces, comments, tests. It prints one row a
// package, and with -worst the functions, files and names that are past the aim.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// The aims: what a package is measured against.
const (
	maxFunction = 90  // lines
	maxFile     = 500 // lines
	maxMethods  = 5   // of an interface
)

// figures are those of one package, its tests counted apart.
type figures struct {
	pkg                    string
	files, largest         int
	lines, comments, tests int // lines with code or comment, lines of comment, lines of tests
	functions              []int
	methods                int // of the largest interface
	undocumented           int
	fuzz, benchmarks       int
	third                  map[string]bool
}

type worst struct {
	what  string
	value int
}

func main() {
	list := flag.Bool("worst", false, "list what is past the aim")
	flag.Parse()
	packages := map[string]*figures{}
	var past []worst
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(p, ".go"):
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(p))
		if packages[dir] == nil {
			packages[dir] = &figures{pkg: dir, third: map[string]bool{}}
		}
		return packages[dir].measure(p, &past)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
	if *list {
		slices.SortFunc(past, func(a, b worst) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.what, b.what)) })
		for _, w := range past {
			fmt.Printf("%5d  %s\n", w.value, w.what)
		}
		return
	}
	print(packages)
}

func (f *figures) measure(path string, past *[]worst) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, source, parser.ParseComments)
	if err != nil {
		return err
	}
	lines := strings.Count(string(source), "\n")
	if strings.HasSuffix(path, "_test.go") {
		f.tests += lines
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				f.fuzz += count(strings.HasPrefix(fn.Name.Name, "Fuzz"))
				f.benchmarks += count(strings.HasPrefix(fn.Name.Name, "Benchmark"))
			}
		}
		return nil
	}
	f.files++
	f.lines += lines
	if f.largest = max(f.largest, lines); lines > maxFile {
		*past = append(*past, worst{path + ": lines of a file", lines})
	}
	for _, g := range file.Comments {
		f.comments += set.Position(g.End()).Line - set.Position(g.Pos()).Line + 1
	}
	for _, i := range file.Imports {
		if name := strings.Trim(i.Path.Value, `"`); strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
			f.third[name] = true
		}
	}
	for _, d := range file.Decls {
		f.declaration(set, path, file.Name.Name, d, past)
	}
	return nil
}

func (f *figures) declaration(set *token.FileSet, path, pkg string, d ast.Decl, past *[]worst) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		n := set.Position(d.End()).Line - set.Position(d.Pos()).Line + 1
		f.functions = append(f.functions, n)
		if n > maxFunction {
			*past = append(*past, worst{path + ": lines of " + d.Name.Name, n})
		}
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && pkg != "main" {
			f.undocumented++
			*past = append(*past, worst{path + ": no comment on " + d.Name.Name, 0})
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			f.spec(path, pkg, d, s, past)
		}
	}
}

func (f *figures) spec(path, pkg string, d *ast.GenDecl, s ast.Spec, past *[]worst) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if i, ok := s.Type.(*ast.InterfaceType); ok {
			n := i.Methods.NumFields()
			if f.methods = max(f.methods, n); n > maxMethods {
				*past = append(*past, worst{path + ": methods of " + s.Name.Name, n})
			}
		}
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil && pkg != "main" {
			f.undocumented++
			*past = append(*past, worst{path + ": no comment on " + s.Name.Name, 0})
		}
	case *ast.ValueSpec:
		if d.Doc != nil || s.Doc != nil || s.Comment != nil || pkg == "main" {
			return
		}
		for _, n := range s.Names {
			if n.IsExported() {
				f.undocumented++
				*past = append(*past, worst{path + ": no comment on " + n.Name, 0})
			}
		}
	}
}

// exportedReceiver says whether a method is of an exported type; functions are.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func print(packages map[string]*figures) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PACKAGE\tFILES\tLARGEST\tFUNC P50\tP90\tMAX\tMETHODS\tUNDOC\tCOMMENT %\tLINES\tTEST LINES\tFUZZ\tBENCH\tTHIRD")
	total := &figures{pkg: "all", third: map[string]bool{}}
	var names []string
	for name := range packages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := packages[name]
		f.print(w)
		total.add(f)
	}
	total.print(w)
	w.Flush()
}

func (f *figures) add(o *figures) {
	f.files += o.files
	f.largest = max(f.largest, o.largest)
	f.lines += o.lines
	f.comments += o.comments
	f.tests += o.tests
	f.functions = append(f.functions, o.functions...)
	f.methods = max(f.methods, o.methods)
	f.undocumented += o.undocumented
	f.fuzz += o.fuzz
	f.benchmarks += o.benchmarks
	for name := range o.third {
		f.third[name] = true
	}
}

func (f *figures) print(w *tabwriter.Writer) {
	slices.Sort(f.functions)
	share := 0
	if f.lines > 0 {
		share = 100 * f.comments / f.lines
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", f.pkg, f.files, f.largest, at(f.functions, 50), at(f.functions, 90), at(f.functions, 100),
		f.methods, f.undocumented, share, f.lines, f.tests, f.fuzz, f.benchmarks, len(f.third))
}

// at is the value that so many per cent of the sorted values don't exceed.
func at(sorted []int, percent int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
