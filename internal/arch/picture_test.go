package arch

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the picture of imports in docs/design.md again")

const design = "docs/design.md"

// module is the folder of the module, from this one.
var module = filepath.Join("..", "..")

// sources calls fn for each Go file of the module, by its path below the module.
func sources(t *testing.T, fn func(rel string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(module, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(module, p)
		if err == nil && strings.HasSuffix(p, ".go") {
			files++
			fn(filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 500 {
		t.Fatalf("only %d files were seen: the test looks in the wrong place", files)
	}
}

// imports returns what a file of the module imports.
func imports(t *testing.T, rel string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(module, rel), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// section returns where in a document the first block of code after a heading lies.
func section(t *testing.T, text, heading string) (from, to int) {
	t.Helper()
	const fence = "\n```\n"
	at := strings.Index(text, "\n## "+heading+"\n")
	if at < 0 {
		t.Fatalf("%s has no heading %q", design, heading)
	}
	open := strings.Index(text[at:], fence)
	if open < 0 {
		t.Fatalf("%s: %q shows nothing", design, heading)
	}
	from = at + open + len(fence)
	end := strings.Index(text[from-1:], fence)
	if end < 0 {
		t.Fatalf("%s: %q doesn't end", design, heading)
	}
	return from, from + end
}

func readDesign(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(module, design))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// forTests says that a package is imported by tests and by other such packages alone.
func forTests(pkg string) bool {
	return strings.HasSuffix(pkg, "test") || pkg == "fixtures" || pkg == "internal/needs" || pkg == "internal/arch" || strings.HasPrefix(pkg, "scripts")
}

// partOf is the piece of the picture that a package belongs to.
func partOf(pkg string) string {
	top, below, deep := strings.Cut(pkg, "/")
	switch {
	case top == "internal" || top == "cmd":
		return pkg
	case deep && top == "evidence":
		if kind, _, _ := strings.Cut(below, "/"); kind == "image" || kind == "volume" {
			return "evidence/" + kind
		}
		return "evidence/*"
	case deep && (top == "runtimes" || top == "artifacts"):
		return top + "/*"
	}
	return top
}

// picture draws which part imports which others of the module: those that
// nothing imports first.
func picture(t *testing.T) string {
	parts := map[string]map[string]bool{}
	sources(t, func(rel string) {
		pkg := path.Dir(rel)
		if strings.HasSuffix(rel, "_test.go") || forTests(pkg) {
			return
		}
		from := partOf(pkg)
		if parts[from] == nil {
			parts[from] = map[string]bool{}
		}
		for _, name := range imports(t, rel) {
			if own, ok := strings.CutPrefix(name, "lagan/"); ok && partOf(own) != from {
				parts[from][partOf(own)] = true
			}
		}
	})
	var out strings.Builder
	for len(parts) > 0 {
		for _, name := range uppermost(t, parts) {
			fmt.Fprintf(&out, "%-16s -> %s\n", name, strings.Join(slices.Sorted(maps.Keys(parts[name])), " "))
			delete(parts, name)
		}
	}
	return strings.ReplaceAll(out.String(), " -> \n", " -> none\n")
}

// uppermost names the parts that none of the others imports.
func uppermost(t *testing.T, parts map[string]map[string]bool) (names []string) {
	t.Helper()
	for name := range parts {
		imported := func(other string) bool { return parts[other][name] }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(parts)), imported) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatalf("these import each other in a circle: %q", slices.Sorted(maps.Keys(parts)))
	}
	slices.Sort(names)
	return names
}

// TestPicture holds the picture in docs/design.md against what the files import.
func TestPicture(t *testing.T) {
	text, want := readDesign(t), picture(t)
	from, to := section(t, text, "Direction")
	if text[from:to] == want {
		return
	}
	if !*update {
		t.Fatalf("%s shows other imports than there are; go test ./internal/arch -update draws them:\n%s", design, want)
	}
	if err := os.WriteFile(filepath.Join(module, design), []byte(text[:from]+want+text[to:]), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMap holds the list of folders in docs/design.md against those that there are.
func TestMap(t *testing.T) {
	text := readDesign(t)
	from, to := section(t, text, "Where everything lives")
	named, above := map[string]bool{}, ""
	for line := range strings.Lines(text[from:to]) {
		here := above
		for i, word := range strings.Fields(line) {
			folder, ok := strings.CutSuffix(strings.Trim(word, ",;:"), "/")
			if i > 0 && !ok {
				continue // prose
			}
			at := ""
			for _, below := range []string{here, above, ""} {
				if info, err := os.Stat(filepath.Join(module, below, folder)); err == nil && info.IsDir() && at == "" {
					at = path.Join(below, folder)
				}
			}
			if at == "" {
				t.Errorf("%s names %s, which isn't there", design, word)
			}
			named[at] = true
			if i == 0 {
				here = at
			}
			if i == 0 && line[0] != ' ' {
				above = at
			}
		}
	}
	sources(t, func(rel string) {
		for dir := path.Dir(rel); !named[dir]; dir = path.Dir(dir) {
			if dir == "." {
				t.Errorf("%s says nothing of %s", design, path.Dir(rel))
				named[path.Dir(rel)] = true
				return
			}
		}
	})
}

// TestRanks finds rules about packages that there aren't.
func TestRanks(t *testing.T) {
	met := map[string]bool{}
	sources(t, func(rel string) {
		for _, r := range ranks {
			if matches(r.pkg, path.Dir(rel)) {
				met[r.pkg] = true
				return
			}
		}
		t.Errorf("no rule says what %s may import", rel)
	})
	for _, r := range ranks {
		if !met[r.pkg] {
			t.Errorf("%s has a rule, and is not there", r.pkg)
		}
	}
}
