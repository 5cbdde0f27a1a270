package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/find"
)

var diffColumns = columns{
	wide: append(append([]string{"change"}, fileColumns...), "changed", "old_sha256"),
}

func newDiffCommand(u *ui) *cobra.Command {
	var tests fileTests
	var lists hashLists
	var where *find.Expr
	var ids bool
	cmd := u.command(verb{
		use:   "diff EVIDENCE CONTAINER",
		short: "what a container changed against its image",
		long: `Print what the container added (A), changed (C) and deleted (D) against its image, as
docker diff does. JSON and CSV add type, owner, mode, times, hashes and what changed.
` + hashListsHelp,
		examples: `
  lagan diff node.img.zst tomcat-prod
  lagan diff node.img.zst tomcat-prod --output jsonl | jq 'select(.change=="added") | .path'`,
		min: 2, max: 2,
		check: func() (err error) {
			if err := lists.check(); err != nil {
				return err
			}
			where, err = tests.expr()
			return err
		},
		run: func(n *analyzer.Node, args []string) error {
			c, err := n.FindContainer(args[1])
			if err != nil {
				return err
			}
			sets, err := lists.open(n)
			if err != nil {
				return err
			}
			return u.write(func(w io.Writer) error {
				p := u.newPrinter(w, diffColumns)
				err := n.Changes(u.ctx, c, analyzer.ChangeOptions{Hash: u.output != "table", Where: where, Sets: sets, ContainerIDs: ids}, func(ch analyzer.Change) error {
					return p.print(newChangeRecord(ch))
				})
				if err != nil {
					return fmt.Errorf("%s: %w", c.DisplayName(), err)
				}
				return p.close(n)
			})
		},
	})
	tests.addFlags(cmd)
	lists.addFlags(cmd)
	cmd.Flags().BoolVar(&ids, "container-ids", false, containerIDsUsage)
	return cmd
}

// changeRecord is a fileRecord whose table is docker diff's.
type changeRecord struct{ fileRecord }

func newChangeRecord(ch analyzer.Change) *changeRecord {
	return &changeRecord{fileRecord{File: ch.File, layers: ch.Layers, change: ch.Kind, changed: ch.Changed, oldSHA256: ch.OldSHA256}}
}

func (r *changeRecord) row(wide bool) []string {
	if wide {
		return r.wideRow()
	}
	return []string{r.change.Letter(), r.Path + marks(r.Known, r.Matches)}
}
