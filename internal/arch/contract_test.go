package arch

import (
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fuzzed = regexp.MustCompile(`^Fuzz[A-Z]`)

// TestContracts has every package with a fuzz target say in its comment what it
// promises of hostile input, and every package have a comment.
func TestContracts(t *testing.T) {
	says, fuzzes, all := map[string]string{}, map[string]bool{}, map[string]bool{}
	sources(t, func(rel string) {
		mode := parser.ParseComments | parser.SkipObjectResolution
		if !strings.HasSuffix(rel, "_test.go") {
			mode |= parser.PackageClauseOnly
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(module, rel), nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Dir(rel)
		if strings.HasSuffix(rel, "_test.go") {
			for _, d := range functions(f) {
				fuzzes[pkg] = fuzzes[pkg] || fuzzed.MatchString(d)
			}
			return
		}
		all[pkg] = true
		if f.Doc != nil {
			says[pkg] += f.Doc.Text()
		}
	})
	for pkg := range all {
		switch text := strings.ToLower(says[pkg]); {
		case text == "":
			t.Errorf("%s has no package comment", pkg)
		case fuzzes[pkg] && !strings.Contains(text, "hostile"):
			t.Errorf("%s is fuzzed, and its comment doesn't say what it promises of hostile input", pkg)
		}
	}
}
