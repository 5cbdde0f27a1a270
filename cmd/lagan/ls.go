package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newLsCommand(u *ui) *cobra.Command {
	var o analyzer.ListOptions
	var mounts, versions bool
	var layer string
	var tests fileTests
	var lists hashLists
	cmd := u.command(verb{
		use:   "ls EVIDENCE CONTAINER [PATH]",
		short: "list files of a container's merged view, or of the node",
		long: `List a folder of the merged view, as the kernel's overlay would show it. With -R, PATH itself and all below it. PATH
may be a pattern in quotes: * ? and [...] also match names that begin with a dot. --name, --newer, --type and
their like keep what they match, in all folders below PATH with -R.

--all-versions prints what each layer has at PATH, the uppermost first: what is shown, what that hides, and whiteouts.
--layer lists one layer as it is: upper, a diff id or the store's name of it, or the beginning of either.
` + hashListsHelp,
		examples: `
  lagan ls node.img.zst web-front /etc
  lagan ls node.img.zst default/web-7c5ddbdf54-x2k9q/nginx -R --upper
  lagan ls node.img.zst @node /root -R --hash --output jsonl`,
		min: 2, max: 3,
		check: func() (err error) {
			if layer, err = u.takeLayer(); err != nil {
				return err
			}
			if layer != "" && (versions || mounts || o.UpperOnly) {
				return usageError{errors.New("--layer LAYER is one layer as it is: leave out --all-versions, --mounts and --upper")}
			}
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
			tree, err := layerOrTree(n, args[1], layer, mounts)
			if err != nil {
				return err
			}
			if versions {
				return u.versions(n, tree, path, o)
			}
			return u.ls(n, tree, args[1], path, o)
		},
	})
	cmd.Flags().BoolVarP(&o.Recursive, "recursive", "R", false, "the path itself and everything below it")
	cmd.Flags().BoolVar(&o.Hash, "hash", false, "add each regular file's SHA-256")
	cmd.Flags().BoolVar(&o.UpperOnly, "upper", false, "only what the container wrote")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	cmd.Flags().BoolVar(&versions, "all-versions", false, "what each layer has at PATH")
	cmd.MarkFlagsMutuallyExclusive("all-versions", "recursive")
	cmd.MarkFlagsMutuallyExclusive("all-versions", "upper")
	tests.addFlags(cmd)
	lists.addFlags(cmd)
	cmd.Flags().BoolVar(&o.ContainerIDs, "container-ids", false, containerIDsUsage)
	return cmd
}

const containerIDsUsage = "owners as seen inside a container that has a user namespace of its own, not the disk's"

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

// takeLayer takes the one --layer that names a layer to be shown, and no file.
func (u *ui) takeLayer() (layer string, err error) {
	var files []string
	for _, l := range u.layers {
		switch {
		case strings.Contains(l, "="):
			files = append(files, l)
		case layer != "":
			return "", usageError{errors.New("--layer names one layer, or DIGEST=FILE")}
		default:
			layer = l
		}
	}
	u.layers = files
	return layer, nil
}

// layerOrTree returns the tree that an argument names, or one layer of it.
func layerOrTree(n *analyzer.Node, spec, layer string, mounts bool) (*analyzer.Tree, error) {
	tree, err := findTree(n, spec, mounts)
	if err != nil || layer == "" {
		return tree, err
	}
	return n.LayerTree(tree, layer)
}

var layerVersionColumns = columns{
	table: []string{"STATE", "LAYER", "MODE", "UID", "GID", "SIZE", "MODIFIED", "PATH"},
	wide:  append([]string{"state"}, fileColumns...),
}

// layerVersionRecord is a fileRecord with the layer before it.
type layerVersionRecord struct{ fileRecord }

func (r *layerVersionRecord) row(wide bool) []string {
	if wide {
		return append([]string{r.state}, r.wideRow()...)
	}
	cells := r.fileRecord.row(false)
	return append([]string{r.state, shortDigest(r.Layer), cells[0]}, cells[2:]...)
}

func (u *ui) versions(n *analyzer.Node, tree *analyzer.Tree, path string, o analyzer.ListOptions) error {
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, layerVersionColumns)
		err := n.Versions(tree, path, o, func(v analyzer.Version) error {
			return p.print(&layerVersionRecord{fileRecord{File: v.File, state: string(v.State)}})
		})
		if err != nil {
			return err
		}
		return p.close(n)
	})
}

func (u *ui) ls(n *analyzer.Node, tree *analyzer.Tree, spec, path string, o analyzer.ListOptions) error {
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
				return p.print(&fileRecord{File: f})
			})
			if err != nil {
				return err
			}
		}
		return p.close(n)
	})
}
