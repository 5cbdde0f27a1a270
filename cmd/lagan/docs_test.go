package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// documents are the pages whose transcripts are run: blocks marked console, in
// which a line "$ lagan ..." is followed by what it prints. A line "..." stands for any
// lines. go test -update writes what is printed into them.
var documents = []string{"tutorial.md", "coming-from.md", "findings.md", "../README.md"}

// shownLines is how much of an output -update keeps.
const shownLines = 14

func TestDocuments(t *testing.T) {
	needs.Time(t)
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, disk := range map[string]string{"eks-node.img": "eks-xfs", "docker-host.img": "docker-ext4", "podman-host.img": "podman-ext4"} {
		if err := os.Symlink(fixtures.Disk(t, disk), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(fixtures.Path("eks-xfs.img.zst"), filepath.Join(dir, "node.img.zst")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range documents {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(docs, name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			writeBlocks(t, string(b))
			page, commands := runPage(t, string(b), "$ lagan ")
			if commands < 3 {
				t.Errorf("only %d commands were run", commands)
			}
			if *update {
				if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestTryIt runs what the README has a newcomer run first, in the folder that it says.
func TestTryIt(t *testing.T) {
	needs.Time(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Try it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	ran := 0
	for _, line := range regexp.MustCompile("go run ./cmd/lagan ([^`\n]+)").FindAllStringSubmatch(section, -1) {
		args := strings.Fields(line[1])
		dir := t.TempDir()
		for i, a := range args {
			switch {
			case strings.HasPrefix(a, "fixtures/"):
				args[i] = filepath.Join(root, a)
			case i > 0 && args[i-1] == "-o":
				args[i] = filepath.Join(dir, a)
			}
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitOK {
			t.Errorf("%s: exit %d: %s", line[0], code, errs.String())
		}
		if made, err := filepath.Glob(filepath.Join(dir, "*")); out.Len() == 0 && len(made) == 0 {
			t.Errorf("%s: nothing came of it, %v", line[0], err)
		}
		ran++
	}
	if ran < 2 {
		t.Errorf("%d commands were run", ran)
	}
}

// writeBlocks writes the blocks of a page that name a file after their language, for its
// commands to read.
func writeBlocks(t *testing.T, page string) {
	file, content := "", ""
	for line := range strings.Lines(page) {
		switch fence, ok := strings.CutPrefix(line, "```"); {
		case ok && file != "":
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			file, content = "", ""
		case ok:
			_, file, _ = strings.Cut(strings.TrimSpace(fence), " ")
		case file != "":
			content += line
		}
	}
}

// runPage runs the transcripts of a page, in which prompt begins the commands, and
// returns it with what was printed.
func runPage(t *testing.T, page, prompt string) (string, int) {
	var out strings.Builder
	commands, inside := 0, false
	lines := strings.SplitAfter(page, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		out.WriteString(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.HasPrefix(line, "```console") && !inside
		case inside && strings.HasPrefix(line, prompt):
			commands++
			var want []string
			for i+1 < len(lines) && !strings.HasPrefix(lines[i+1], "$ ") && !strings.HasPrefix(lines[i+1], "```") {
				i++
				want = append(want, strings.TrimSuffix(lines[i], "\n"))
			}
			command := strings.TrimSpace(strings.TrimPrefix(line, prompt))
			got := printed(t, command)
			switch {
			case alike(want, got):
			case *update:
				want = got
				if len(want) > shownLines {
					want = append(want[:shownLines:shownLines], "...")
				}
			default:
				t.Errorf("lagan %s prints\n%s\nand not\n%s", command, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, w := range want {
				out.WriteString(w + "\n")
			}
		}
	}
	return out.String(), commands
}

// printed runs a command and returns the lines that it prints.
func printed(t *testing.T, command string) []string {
	var out, errs bytes.Buffer
	if code := run(t.Context(), words(command), &out, &errs); code != exitOK && code != exitPartial {
		t.Errorf("lagan %s: exit %d: %s", command, code, errs.String())
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// words splits a command as a shell would one without variables: single quotes keep words together.
func words(command string) []string {
	var out []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// alike compares lines; "..." stands for any.
func alike(want, got []string) bool {
	for i, w := range want {
		if w == "..." {
			for j := i; j <= len(got); j++ {
				if alike(want[i+1:], got[j:]) {
					return true
				}
			}
			return false
		}
		if i >= len(got) || strings.TrimRight(w, " ") != got[i] {
			return false
		}
	}
	return len(want) == len(got)
}

// TestEveryTranscript finds transcripts in pages that no test runs.
func TestEveryTranscript(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{filepath.Join(root, "scripts", "ebs", "README.md"): true} // by TestEBSPage
	for _, name := range documents {
		run[filepath.Join(root, "docs", name)] = true
	}
	pages := 0
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		pages++
		b, err := os.ReadFile(path)
		inside := false
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "```") {
				inside = strings.HasPrefix(line, "```console") && !inside
			} else if strings.HasPrefix(line, "$ ") && (!inside || !run[path] || !strings.HasPrefix(line, "$ lagan")) {
				t.Errorf("%s: no test runs %q", path, strings.TrimSpace(line))
			}
		}
		return err
	})
	if err != nil || pages < 10 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

func TestAlike(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{{"a\nb", "a\nb", true}, {"a\n...", "a", true}, {"a\n...\nc", "a\nb\nb\nc", true}, {"a", "a\nb", false}, {"...\nc", "a", false}, {"a\nb", "a", false}} {
		if got := alike(strings.Split(c.want, "\n"), strings.Split(c.got, "\n")); got != c.same {
			t.Errorf("%q %q: %v", c.want, c.got, got)
		}
	}
}
