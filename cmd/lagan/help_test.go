package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// TestScreen holds lagan's own help to one screen that names every command.
func TestScreen(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"help"}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) > 23 { // and the prompt
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if len(l) > 80 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
	named := strings.Fields(out.String())
	for _, c := range newRootCommand(&ui{}).Commands() {
		if c.IsAvailableCommand() && !slices.Contains(named, c.Name()) {
			t.Errorf("%s is not named", c.Name())
		}
	}
	for _, topic := range []string{"commands", "flags"} {
		out.Reset()
		if code := run(t.Context(), []string{"help", topic}, &out, &errs); code != 0 || bytes.Count(out.Bytes(), []byte("\n")) < 15 {
			t.Errorf("help %s: exit %d: %s", topic, code, out.String())
		}
	}
}

// exampleOf finds lagan's own part in a line of examples, such as "$(lagan batch x --shards)".
var exampleOf = regexp.MustCompile(`lagan ((?:'[^']*'|\\[()]|[^'|&;)\\])*)`)

// examples returns the arguments of each example of a command's help.
func examples(t *testing.T, c *cobra.Command) (all [][]string) {
	text, _, _ := strings.Cut(c.Example, exitStatusHelp)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		m := exampleOf.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: no example of lagan: %s", c.Name(), line)
			continue
		}
		all = append(all, words(strings.NewReplacer(`\(`, "(", `\)`, ")").Replace(m[1])))
	}
	return all
}

// TestExamplesParse has each command's help show examples that its own flags take.
func TestExamplesParse(t *testing.T) {
	for _, c := range newRootCommand(&ui{}).Commands() {
		if !c.IsAvailableCommand() || !c.HasExample() {
			if c.IsAvailableCommand() && c.Name() != "version" {
				t.Errorf("%s has no examples", c.Name())
			}
			continue
		}
		for _, args := range examples(t, c) {
			root := newRootCommand(&ui{ctx: t.Context(), stdout: io.Discard, stderr: io.Discard})
			cmd, rest, err := root.Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil {
				t.Errorf("lagan %s: %v", strings.Join(args, " "), err)
			}
		}
	}
}

// runElsewhere are the commands whose examples only parse here: a mount blocks.
var runElsewhere = []string{"mount"}

// TestExamples runs them, each over the first disk of the fixtures that has what
// it names.
func TestExamples(t *testing.T) {
	needs.Time(t)
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const rule = "title: ours\nid: ours\nlevel: high\nlogsource: {product: linux, category: file_event}\ndetection: {selection: {TargetFilename: /nowhere}, condition: selection}\n"
	t.Chdir(t.TempDir())
	write("bad.txt", "203.0.113.77\n")
	write("ours.yaml", rule)
	write("sigma/rules/linux/x.yml", rule)
	small := fixtures.Path("crio.img.zst")
	write("snapshots.csv", "evidence,name\n"+small+",monday\n"+small+",tuesday\n")
	if err := os.Mkdir("snapshots", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(small, "snapshots/monday.img.zst"); err != nil {
		t.Fatal(err)
	}
	for _, c := range newRootCommand(&ui{}).Commands() {
		if c.IsAvailableCommand() && !slices.Contains(runElsewhere, c.Name()) {
			for k, args := range examples(t, c) {
				t.Run(fmt.Sprintf("%s %d", c.Name(), k+1), func(t *testing.T) { runExample(t, args) })
			}
		}
	}
}

func runExample(t *testing.T, args []string) {
	var said []string
	for _, disk := range append(fixtures.Names, "checkpoint") {
		path := fixtures.Path("../checkpoint/testdata/web.tar.gz")
		if disk != "checkpoint" {
			path = fixtures.Disk(t, disk)
		}
		all := slices.Clone(args)
		for i, a := range all {
			switch {
			case a == "node.img.zst" || a == "/dev/nvme1n1" || strings.HasSuffix(a, ".tar") && args[0] == "checkpoint" && i > 0 && all[i-1] != "-o":
				all[i] = path
			case strings.HasPrefix(a, "/var/lib/node_exporter"):
				all[i] = filepath.Base(a)
			}
		}
		for i, a := range all { // an output of the disk before
			if a == "-o" && all[0] != "batch" {
				os.RemoveAll(all[i+1])
			}
		}
		if all[0] == "batch" && slices.Contains(all, "out") && slices.Contains(all, "-o") && all[1] != "merge" {
			os.RemoveAll("out")
		}
		var errs bytes.Buffer
		start := time.Now()
		code := run(t.Context(), all, io.Discard, &errs)
		if code == exitOK || code == exitPartial {
			t.Logf("lagan %s: %v", strings.Join(all, " "), time.Since(start).Round(time.Millisecond))
			return
		}
		said = append(said, fmt.Sprintf("%s: exit %d: %s", disk, code, errs.String()))
	}
	t.Errorf("lagan %s runs over none of the disks:\n%s", strings.Join(args, " "), strings.Join(said, "\n"))
}
