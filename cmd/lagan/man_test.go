package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestManual checks that every command has a page that groff can't misread, and
// each shell its completions.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	root := newRootCommand(&ui{})
	if err := writeManual(root, dir); err != nil {
		t.Fatal(err)
	}
	macros := map[string]bool{".TH": true, ".SH": true, ".B": true, ".BR": true, ".TP": true, ".PP": true, ".nf": true, ".fi": true}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		b, err := os.ReadFile(filepath.Join(dir, "man1", strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(b)) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(line, ".") && !macros[word] {
				t.Errorf("%s: %q is no macro", c.CommandPath(), line)
			}
		}
		for _, part := range []string{".SH NAME\n", ".SH SYNOPSIS\n", ".SH EXIT STATUS\n"} {
			if !strings.Contains(string(b), part) {
				t.Errorf("%s has no %q", c.CommandPath(), part)
			}
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				visit(sub)
			}
		}
	}
	visit(root)
	for _, name := range []string{"lagan.bash", "_lagan", "lagan.fish"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(b), "lagan") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
