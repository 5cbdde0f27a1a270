package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/mount"
)

func newMountCommand(u *ui) *cobra.Command {
	var o analyzer.ServeOptions
	var all bool
	var cmd *cobra.Command
	cmd = u.command(verb{
		use:   "mount EVIDENCE CONTAINER MOUNTPOINT",
		short: "a read-only folder of a container's files, for other tools",
		long: `Show a tree of the evidence as a folder of this machine, read-only, until Ctrl-C or until someone unmounts
it: a container's merged view, the node (@node, journals replayed), an image (@image:NAME) or, with --all and
without CONTAINER, every container in a folder RUNTIME/NAMESPACE/POD/NAME of its own.

It takes Linux with FUSE: root needs nothing more, an ordinary user the program fusermount3 (package fuse3).
You can read every file, whatever its owner and mode say; nobody else can, unless --allow-other is given.
Types, owners, modes, times, links, device numbers and attributes are the evidence's; attributes that begin with
trusted. show to root alone. Devices don't open, setuid has no effect and nothing can be run from there.
A place that can't be read is an I/O error of the program that reads it, and a warning here. The evidence is
read in a process of its own, confined as other commands are; this one mounts and unmounts for it.`,
		examples: `
  lagan mount node.img.zst web-front /mnt/web
  lagan mount node.img.zst @node /mnt/node & clamscan -r /mnt/node; umount /mnt/node
  lagan mount node.img.zst --all /mnt/containers
  lagan mount node.img.zst tomcat-prod --upper /mnt/changes`,
		min: 2, max: 3,
		check: func() error {
			args := cmd.Flags().Args()
			if want := 3; all == (len(args) == want) {
				return usageError{errors.New("usage: lagan mount EVIDENCE CONTAINER MOUNTPOINT, or lagan mount EVIDENCE --all MOUNTPOINT")}
			}
			folder := args[len(args)-1]
			if err := u.outside(args[0], "the mount point", folder); err != nil {
				return err
			}
			return u.elsewhere(folder, mount.Options{Source: filepath.Base(args[0]), AllowOther: o.AllowOther})
		},
		run: func(n *analyzer.Node, args []string) error {
			folder := args[len(args)-1]
			o.Mounted, o.Busy, o.Kept = u.sayMounted(folder), u.sayBusy(folder), u.kept
			if all {
				return n.ServeAll(u.ctx, folder, o)
			}
			tree, err := n.FindTree(args[1])
			if err != nil {
				return err
			}
			if (o.Upper || o.Mounts) && tree.Container == nil {
				return usageError{fmt.Errorf("--upper and --mounts: %s %w", tree.Name, analyzer.ErrNoUpper)}
			}
			return n.Serve(u.ctx, folder, tree, o)
		},
	})
	cmd.Flags().BoolVar(&all, "all", false, "every container, in a folder of its own")
	cmd.Flags().BoolVar(&o.Upper, "upper", false, "only the folder that the container wrote to, as it lies on the disk: 0:0 devices and attributes mark what it deleted")
	cmd.Flags().BoolVar(&o.Mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	cmd.Flags().BoolVar(&o.AllowOther, "allow-other", false, "let all users of this machine read it")
	cmd.MarkFlagsMutuallyExclusive("upper", "mounts")
	return cmd
}

// say tells the user how far a command is.
func (u *ui) say(format string, args ...any) {
	if u.quiet {
		return
	}
	u.endProgress()
	fmt.Fprintf(u.stderr, "lagan: %s\n", text.ForTerminal(fmt.Sprintf(format, args...)))
}
