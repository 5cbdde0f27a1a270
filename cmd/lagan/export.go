package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
)

var exportFormats = []string{"tar"}

func newExportCommand(u *ui) *cobra.Command {
	var o analyzer.ExportOptions
	var format string
	var mounts bool
	cmd := u.command(verb{
		use:   "export EVIDENCE CONTAINER",
		short: "write a container's files as a tar",
		long: `Write the merged view as a tar, in the order and with the names of docker export:
owners, modes, times with nanoseconds, file capabilities and the users' attributes, hard
links, devices. Sockets have no place in a tar, -v names them. A file that can't be read in
whole has zeros in place of what is missing, and is a warning.`,
		examples: `
  lagan export node.img.zst web-front -o web-front.tar
  lagan export node.img.zst tomcat-prod --upper -o changes.tar
  lagan export node.img.zst @node --path /etc | tar -tv`,
		min: 2, max: 2,
		check: func() error {
			if !slices.Contains(exportFormats, format) {
				return usageError{fmt.Errorf("--format takes %s, not %q", strings.Join(exportFormats, ", "), format)}
			}
			if u.outFile == "" && isTerminal(u.stdout) {
				return usageError{errors.New("a tar is not for a terminal: name a file with -o, or pipe it")}
			}
			return nil
		},
		run: func(n *analyzer.Node, args []string) error {
			tree, err := findTree(n, args[1], mounts)
			if err != nil {
				return err
			}
			return u.export(n, tree, o)
		},
	})
	cmd.Flags().StringVar(&format, "format", "tar", strings.Join(exportFormats, ", "))
	cmd.Flags().BoolVar(&o.Upper, "upper", false, "only what the container changed, with .wh. entries for what it deleted")
	cmd.Flags().StringVar(&o.Path, "path", "/", "only this file or folder; names still begin at the root")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	cmd.MarkFlagsMutuallyExclusive("upper", "mounts")
	return cmd
}

func (u *ui) export(n *analyzer.Node, tree *analyzer.Tree, o analyzer.ExportOptions) error {
	if o.Upper && tree.Container == nil {
		return usageError{fmt.Errorf("--upper: %s %w", tree.Name, analyzer.ErrNoUpper)}
	}
	o.Left = u.leftOut()
	return u.write(func(w io.Writer) error { return n.ExportTar(u.ctx, tree, w, o) })
}

// leftOut tells, with -v, which files a tar has no place for.
func (u *ui) leftOut() func(path string, info evidence.Info) {
	if !u.verbose {
		return nil
	}
	return func(path string, info evidence.Info) {
		u.endProgress()
		fmt.Fprintf(u.stderr, "lagan: left out, a %s has no place in a tar: %s\n", info.Type, text.ForTerminal(path))
	}
}
