package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
)

func newCatCommand(u *ui) *cobra.Command {
	var mounts bool
	cmd := u.command(verb{
		use:   "cat EVIDENCE CONTAINER PATH",
		short: "print one file of a container's merged view, or of the node",
		long:  "Print a file. Symbolic links are followed inside the container and never leave it.",
		examples: `
  lagan cat node.img.zst web-front /etc/passwd
  lagan cat node.img.zst @node /var/log/secure
  lagan cat node.img.zst tomcat-prod /tmp/kdevtmpfsi -o kdevtmpfsi`,
		min: 3, max: 3,
		run: func(n *analyzer.Node, args []string) error {
			tree, err := findTree(n, args[1], mounts)
			if err != nil {
				return err
			}
			ino, err := evidence.Resolve(tree, tree.Root(), args[2], true)
			if err != nil {
				return fmt.Errorf("%s: %w", tree.Name, err)
			}
			info, err := tree.Stat(ino)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", tree.Name, args[2], err)
			}
			if info.Type != evidence.TypeFile {
				return fmt.Errorf("%s: %s is a %s; `lagan ls` lists folders", tree.Name, args[2], info.Type)
			}
			file, err := tree.Open(ino)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", tree.Name, args[2], err)
			}
			return u.write(func(w io.Writer) error {
				_, err := io.Copy(w, file)
				return err
			})
		},
	})
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	return cmd
}
