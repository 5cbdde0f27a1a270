package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/find"
)

func newCatCommand(u *ui) *cobra.Command {
	var mounts, recursive bool
	var layer string
	var tests fileTests
	var where *find.Expr
	cmd := u.command(verb{
		use:   "cat EVIDENCE CONTAINER PATH",
		short: "print files of a container's merged view, or of the node",
		long: `Print a file. Symbolic links are followed inside the container and never leave it. A pattern in quotes prints all
files that it matches, one after another; --recursive those of a folder. --name, --newer and their like choose among these. --layer LAYER
(upper, a diff id or the store's name of a layer, or the beginning of either) prints what that one has, whatever those above it say.`,
		examples: `
  lagan cat node.img.zst web-front /etc/passwd
  lagan cat node.img.zst @node '/var/log/secure*'
  lagan cat node.img.zst tomcat-prod /tmp/kdevtmpfsi -o kdevtmpfsi
  lagan cat node.img.zst @node /var/spool/cron --recursive --type f`,
		min: 3, max: 3,
		check: func() (err error) {
			if layer, err = u.takeLayer(); err != nil {
				return err
			}
			if layer != "" && mounts {
				return usageError{errors.New("--layer LAYER is one layer as it is: leave out --mounts")}
			}
			where, err = tests.expr()
			return err
		},
		run: func(n *analyzer.Node, args []string) error {
			tree, err := layerOrTree(n, args[1], layer, mounts)
			if err != nil {
				return err
			}
			if !recursive && where == nil && !find.HasMeta(args[2]) {
				return u.cat(tree, args[2])
			}
			return u.catAll(n, tree, args[2], analyzer.ListOptions{Recursive: recursive, Where: where})
		},
	})
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "all regular files below PATH")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	tests.addFlags(cmd)
	return cmd
}

func (u *ui) cat(tree *analyzer.Tree, path string) error {
	ino, err := evidence.Resolve(tree, tree.Root(), path, true)
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Name, err)
	}
	info, err := tree.Stat(ino)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", tree.Name, path, err)
	}
	if info.Type != evidence.TypeFile {
		return fmt.Errorf("%s: %s is a %s; `lagan ls` lists folders", tree.Name, path, info.Type)
	}
	file, err := tree.Open(ino)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", tree.Name, path, err)
	}
	return u.write(func(w io.Writer) error {
		_, err := io.Copy(w, file)
		return err
	})
}

// catAll prints several files. One that can't be read is a gap.
func (u *ui) catAll(n *analyzer.Node, tree *analyzer.Tree, pattern string, o analyzer.ListOptions) error {
	paths, err := n.Glob(tree, pattern)
	if err != nil {
		return err
	}
	return u.write(func(w io.Writer) error {
		for _, path := range paths {
			if err := n.WriteFiles(u.ctx, tree, path, o, w); err != nil {
				return err
			}
		}
		return nil
	})
}
