package arch

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestShownCommands: what the documents tell a reader to run is there. What `lagan`
// itself prints is compared elsewhere; here are the tests with their names, the
// programs in scripts with their flags, and make's targets.
func TestShownCommands(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(module, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	docs, _ := filepath.Glob(filepath.Join(module, "docs", "*.md"))
	docs = append(docs, filepath.Join(module, "README.md"), filepath.Join(module, "CONTRIBUTING.md"), filepath.Join(module, "fixtures", "README.md"))
	checked := 0
	for _, doc := range docs {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shown(string(b)) {
			words := strings.Fields(strings.NewReplacer("'", "", `"`, "").Replace(line))
			for len(words) > 0 && strings.Contains(words[0], "=") { // the environment
				words = words[1:]
			}
			switch {
			case len(words) > 1 && words[0] == "make":
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[1]) + `:`).Match(makefile) {
					t.Errorf("%s: make has no %q", doc, words[1])
				}
			case len(words) > 2 && words[0] == "go" && words[1] == "run" && strings.HasPrefix(words[2], "./"):
				checkProgram(t, doc, words[2], words[3:])
			case len(words) > 2 && words[0] == "go" && words[1] == "test":
				checkTest(t, doc, words[2:])
			default:
				continue
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("only %d commands were looked up", checked)
	}
}

// shown returns the spans of code and the lines of blocks of code.
func shown(page string) (out []string) {
	inBlock := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = !inBlock
		case inBlock:
			out = append(out, strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// checkProgram looks for the folder of a program, and for its flags in its sources.
func checkProgram(t *testing.T, doc, dir string, args []string) {
	files, _ := filepath.Glob(filepath.Join(module, dir, "*.go"))
	if len(files) == 0 {
		t.Errorf("%s: %s is no program", doc, dir)
		return
	}
	if dir == "./cmd/lagan" {
		return // whose flags the tests of its transcripts know
	}
	var source strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	for _, a := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if strings.HasPrefix(a, "-") && !strings.Contains(source.String(), `"`+name+`"`) {
			t.Errorf("%s: %s has no flag -%s", doc, dir, name)
		}
	}
}

// checkTest looks for the packages of a go test, and for what -run and -bench name in them.
func checkTest(t *testing.T, doc string, args []string) {
	var names, pattern []string
	for i, a := range args {
		if a == "-run" || a == "-bench" || a == "-fuzz" {
			pattern = append(pattern, args[min(i+1, len(args)-1)])
		}
		if dir := strings.TrimSuffix(a, "/..."); strings.HasPrefix(a, "./") && dir != "." {
			files, _ := filepath.Glob(filepath.Join(module, dir, "*_test.go"))
			if len(files) == 0 && dir == a {
				t.Errorf("%s: %s has no tests", doc, a)
			}
			for _, f := range files {
				parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, functions(parsed)...)
			}
		}
	}
	for _, p := range pattern {
		for one := range strings.SplitSeq(strings.Split(p, "/")[0], "|") {
			re, err := regexp.Compile(one)
			if err != nil || len(names) > 0 && one != "^$" && !slices.ContainsFunc(names, re.MatchString) {
				t.Errorf("%s: no test of %q is called %q, %v", doc, args, one, err)
			}
		}
	}
}
