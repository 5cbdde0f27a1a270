package main

import (
	"errors"
	"io"
	"path/filepath"

	"lagan/analyzer"
	"lagan/report"

	"github.com/spf13/cobra"
)

func newReportCommand(u *ui) *cobra.Command {
	var f findFlags
	var asJSON, noHash bool
	cmd := u.command(verb{
		use:   "report EVIDENCE -o FILE.html",
		short: "one page of HTML that shows what was found, and where",
		long: `Write one page of HTML that stands by itself: what to look at first, a timeline that
zooms, pods and containers with their findings, what the suspicious ones changed,
logins and commands, disks and runtimes, hashes, and how to check each value. It asks
for nothing of a network, and what an attacker wrote is shown as text only.

The page stays under 10 MB: what is left out of it is counted in it.
--json writes the same content as data.`,
		examples: `
  lagan report node.img.zst -o node.html
  lagan report node.img.zst --rules ours.yaml --ioc bad.txt -o node.html
  lagan report node.img.zst --json | jq '.findings[] | [.severity, .title]'`,
		min: 1, max: 1,
		check: func() error {
			u.tellsFiles = true
			if u.outFile == "" && !asJSON {
				return usageError{errors.New("report writes a page of HTML: give -o FILE.html, or --json")}
			}
			return nil
		},
		run: func(n *analyzer.Node, args []string) error {
			o, done, err := f.options(u)
			defer done()
			if err != nil {
				return err
			}
			d, err := n.Report(u.ctx, analyzer.ReportOptions{Find: o, NoHash: noHash, Version: version(), Command: f.again(u, args[0], noHash)})
			if err != nil {
				return err
			}
			return u.write(func(w io.Writer) error {
				if asJSON {
					return report.WriteJSON(w, d)
				}
				return report.WriteHTML(w, d)
			})
		},
	})
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the same content as JSON")
	cmd.Flags().BoolVar(&noHash, "no-hash", false, "leave out the hashes of the disks, for which each is read whole")
	return cmd
}

// again is the command that makes the report again: files by their names alone,
// for it is to be the same wherever they lie.
func (f *findFlags) again(u *ui, evidence string, noHash bool) []string {
	out := []string{"report", filepath.Base(evidence)}
	for _, d := range u.disks {
		out = append(out, "--disk", filepath.Base(d))
	}
	for _, flag := range []struct {
		name   string
		values []string
	}{{"--rules", f.rules}, {"--ioc", f.indicators}, {"--with", f.with}} {
		for _, v := range flag.values {
			out = append(out, flag.name, filepath.Base(v))
		}
	}
	for _, flag := range []struct {
		name string
		on   bool
	}{{"--no-verify", f.noVerify}, {"--no-recover", f.noRecover}, {"--no-hash", noHash}, {"--no-journal", u.noJournal}} {
		if flag.on {
			out = append(out, flag.name)
		}
	}
	return append(out, "-o", "report.html")
}
