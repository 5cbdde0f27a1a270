package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newLsCommand(u *ui) *cobra.Command {
	var o analyzer.ListOptions
	var mounts bool
	var tests fileTests
	var lists hashLists
	cmd := u.command(verb{
		use:   "ls EVIDENCE CONTAINER [PATH]",
		short: "list files of a container's merged view, or of the node",
		long: `List a folder of the merged view, as the kernel's overlay would show it. With -R, PATH itself and all below it. PATH
may be a pattern in quotes: * ? and [...] also match names that begin with a dot. --name, --newer, --type and
their like keep what they match, in all folders below PATH with -R.
` + hashListsHelp,
		examples: `
  lagan ls node.img.zst web-front /etc
  lagan ls node.img.zst kube-system/aws-node-x2b7k/aws-node -R --upper
  lagan ls node.img.zst @node /root -R --hash --output jsonl`,
		min: 2, max: 3,
		check: func() (err error) {
			if err := lists.check(); err != nil {
				return err
			}
			o.Where, err = tests.expr()
			return err
		},
		run: func(n *analyzer.Node, args []string) error {
			path := "/"
			var err error
			if o.Sets, err = lists.open(n); err != nil {
				return err
			}
			if len(args) > 2 {
				path = args[2]
			}
			return u.ls(n, args[1], path, mounts, o)
		},
	})
	cmd.Flags().BoolVarP(&o.Recursive, "recursive", "R", false, "the path itself and everything below it")
	cmd.Flags().BoolVar(&o.Hash, "hash", false, "add each regular file's SHA-256")
	cmd.Flags().BoolVar(&o.UpperOnly, "upper", false, "only what the container wrote")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	tests.addFlags(cmd)
	lists.addFlags(cmd)
	return cmd
}

// findTree returns the tree that an argument names, with what was mounted into it if that is asked for.
func findTree(n *analyzer.Node, spec string, mounts bool) (*analyzer.Tree, error) {
	tree, err := n.FindTree(spec)
	if err != nil || !mounts {
		return tree, err
	}
	if tree.Container == nil {
		return nil, usageError{fmt.Errorf("--mounts: %s is not a container, only they have mounts", spec)}
	}
	return n.WithMounts(tree)
}

func (u *ui) ls(n *analyzer.Node, spec, path string, mounts bool, o analyzer.ListOptions) error {
	tree, err := findTree(n, spec, mounts)
	if err != nil {
		return err
	}
	if o.UpperOnly && tree.Container == nil {
		return usageError{fmt.Errorf("--upper: %s is not a container, only they have an upper layer", spec)}
	}
	paths, err := n.Glob(tree, path)
	if err != nil {
		return err
	}
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, lsColumns)
		done := int64(0)
		for _, path := range paths {
			err := n.List(u.ctx, tree, path, o, func(f analyzer.File) error {
				done++
				u.progress("listing files", done, 0)
				return p.print(recordOf(&f))
			})
			if err != nil {
				return err
			}
		}
		return p.close(n)
	})
}
