package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// rootScreen is the help of the whole program: one screen of 24 lines and 80 columns.
const rootScreen = `lagan reads the disk of a Kubernetes, Docker or Podman node without mounting it
and says what ran there, what it changed and when. It never writes to evidence.

  lagan COMMAND EVIDENCE [ARGUMENT...] [FLAG...]

What there is    info containers images pods snapshots contents volumes secrets
                 networks namespaces tasks swarm plugins builds inspect
What happened    timeline logs diff history recover checkpoint
What stands out  findings report verify which
Files            ls cat find export bundle mount
Many disks       batch
Others' syntax   ce de
lagan itself     version help completion

EVIDENCE is a block device, the image of a disk (raw, split, packed, E01, qcow2,
VMDK, VHD, VHDX, VDI), a tar of a tree, a mounted root or a runtime's folder.
CONTAINER is an id or how it begins (4 characters or more), a name or
NAMESPACE/POD/CONTAINER; @node is the node's own tree, @image:NAME an image's.

  lagan timeline node.img.zst -o timeline.jsonl

"lagan COMMAND --help" has a command's flags and examples, "lagan help commands"
a line for each command, "lagan help flags" what all of them take.
`

// addHelp gives the root its screen, and the two topics that it names.
func addHelp(root *cobra.Command) {
	usual := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c == root {
			fmt.Fprint(c.OutOrStdout(), rootScreen)
			return
		}
		usual(c, args)
	})
	commands := &cobra.Command{Use: "commands", Short: "a line for each command"}
	commands.SetHelpFunc(func(c *cobra.Command, _ []string) {
		for _, sub := range root.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(c.OutOrStdout(), "%-11s %s\n", sub.Name(), sub.Short)
			}
		}
	})
	flags := &cobra.Command{Use: "flags", Short: "the flags of every command"}
	flags.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprint(c.OutOrStdout(), root.PersistentFlags().FlagUsages())
	})
	help := &cobra.Command{
		Use: "help [COMMAND]", Short: "help for a command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || c == root && len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q; `lagan help commands` lists them", args[0])}
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
	root.SetHelpCommand(help)
	root.AddCommand(commands, flags)
}
