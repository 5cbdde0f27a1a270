package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// told are the documents whose names of packages, functions and files must be there.
var told = []string{design, "docs/extending.md", "CONTRIBUTING.md"}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	dotted   = regexp.MustCompile(`^([A-Za-z]\w*)((?:\.[A-Za-z]\w*)+)(?:\{.*\}|\(.*\))?$`)
	pathLike = regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)+/?$`)
)

// standard are packages of the standard library that the documents name.
var standard = map[string]bool{"io": true, "fs": true, "fstest": true, "iter": true}

// declared has what the module declares: "analyzer.Open", "Node.View", "overlay.Merge",
// and fields as "Rootfs.Upper"; and "analyzer" alone for each package.
func declared(t *testing.T) map[string]bool {
	out := map[string]bool{}
	sources(t, func(rel string) {
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(module, rel), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		pkg := f.Name.Name
		if pkg == "main" && path.Dir(rel) != "cmd/lagan" {
			pkg = path.Base(path.Dir(rel))
		}
		out[pkg] = true
		put := func(names ...string) {
			short := strings.Join(names, ".")
			out[short], out[pkg+"."+short] = true, true
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					put(d.Name.Name)
				} else {
					put(receiver(d.Recv.List[0].Type), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					declare(s, put)
				}
			}
		}
	})
	return out
}

func declare(s ast.Spec, put func(...string)) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			put(n.Name)
		}
	case *ast.TypeSpec:
		put(s.Name.Name)
		var members *ast.FieldList
		switch x := s.Type.(type) {
		case *ast.StructType:
			members = x.Fields
		case *ast.InterfaceType:
			members = x.Methods
		default:
			return
		}
		for _, m := range members.List {
			for _, n := range m.Names {
				put(s.Name.Name, n.Name)
			}
		}
	}
}

// functions names the functions of a file that are no methods.
func functions(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	}
	return names
}

// receiver names the type that a method is of.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// TestNames looks up every package.Function, Type.Method and path in the
// documents about the code, so that none outlives what it names.
func TestNames(t *testing.T) {
	have := declared(t)
	checked := 0
	for _, doc := range told {
		b, err := os.ReadFile(filepath.Join(module, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeSpan.FindAllStringSubmatch(string(b), -1) {
			name := m[1]
			switch parts := dotted.FindStringSubmatch(name); {
			case parts != nil && isFile(name):
			case parts != nil && standard[parts[1]]:
			case parts != nil && !have[parts[1]+parts[2]]:
				t.Errorf("%s names %s, which no package declares", doc, name)
			case parts == nil && pathLike.MatchString(name) && !exists(name):
				t.Errorf("%s names %s, which isn't there", doc, name)
			}
			checked++
		}
	}
	if checked < 100 {
		t.Errorf("only %d names were looked up", checked)
	}
}

// isFile says that a name with a dot is a file's, such as daemon.json.
func isFile(name string) bool {
	switch path.Ext(name) {
	case ".go", ".json", ".log", ".md", ".mod", ".txt", ".yaml", ".html", ".verity":
		return true
	}
	return false
}

// exists says whether a path of the documents is one of the module's: from its
// root, where NAME stands for any, or an import of others.
func exists(name string) bool {
	if strings.Contains(name, "NAME") || strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && name[0] != '.' {
		return true
	}
	_, err := os.Stat(filepath.Join(module, name))
	return err == nil
}
