package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestFileFlags checks that every flag that names a file for reading is marked
// so: the confined process could not open it otherwise.
func TestFileFlags(t *testing.T) {
	marked := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			isMarked := isFileFlag(f)
			if isMarked {
				marked++
			}
			if strings.Contains(f.Usage, "FILE") && !isMarked {
				t.Errorf("%s --%s names a file: mark it with fileFlags", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand(&ui{}))
	if marked == 0 {
		t.Error("no flag is marked: the test looks in the wrong place")
	}
}
