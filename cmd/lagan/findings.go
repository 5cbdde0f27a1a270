package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/findings"
	"lagan/internal/text"
)

// findFlags are the flags of what looks for findings.
type findFlags struct {
	rules, indicators, with []string
	minimum                 string
	noVerify, noRecover     bool
}

func (f *findFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.rules, "rules", nil, "rules of your own: a YAML FILE or a folder of them, sigma rules too (repeatable)")
	cmd.Flags().StringArrayVar(&f.indicators, "ioc", nil, "FILE of indicators, one a line: hashes, addresses, networks, domains, paths, names (repeatable)")
	cmd.Flags().StringArrayVar(&f.with, "with", nil, "read FILE too: CloudTrail, GuardDuty, VPC flow or Kubernetes audit logs (repeatable)")
	cmd.Flags().BoolVar(&f.noVerify, "no-verify", false, "don't compare images with their digests and the node's programs with their packages, which reads all of them")
	cmd.Flags().BoolVar(&f.noRecover, "no-recover", false, "don't look for traces of removed containers in journals and free space")
	fileFlags(cmd, "rules", "ioc", "with")
}

func newFindingsCommand(u *ui) *cobra.Command {
	var f findFlags
	cmd := u.command(verb{
		use:   "findings EVIDENCE",
		short: "what to look at first, with the evidence for it",
		long: `Hold all that is read of the node (files, changes of containers, logs, histories,
logins, the set-up of containers and images) against rules, and print what they
find, the severest first: rule, ATT&CK technique, container, evidence with its
times, and in JSON why it may be harmless.

Rules are YAML in the form of sigma rules; --rules adds your own. Of sigma's own
rules those of the category file_event and of the product linux are read as they
are, as far as a disk can tell what they ask for. --ioc looks for indicators in
every name, file, command, log line and configuration.`,
		examples: `
  lagan findings node.img.zst
  lagan findings node.img.zst -v --min-level informational
  lagan findings node.img.zst --rules sigma/rules/linux --ioc bad.txt -O jsonl`,
		min: 1, max: 1,
		check: func() error { u.tellsFiles = true; return f.check() },
		run:   func(n *analyzer.Node, _ []string) error { return u.findingsOf(n, f) },
	})
	f.add(cmd)
	cmd.Flags().StringVar(&f.minimum, "min-level", "low", "least severity: informational, low, medium, high or critical")
	return cmd
}

func (f *findFlags) check() error {
	if _, ok := findings.ParseSeverity(f.minimum); f.minimum != "" && !ok {
		return usageError{fmt.Errorf("--min-level takes informational, low, medium, high or critical, not %q", f.minimum)}
	}
	return nil
}

// options reads the files that the flags name. close closes those that are read later.
func (f *findFlags) options(u *ui) (o analyzer.FindOptions, close func(), err error) {
	var files []*os.File
	close = func() {
		for _, x := range files {
			x.Close()
		}
	}
	if o.Rules, err = findings.Default(); err != nil {
		return o, close, err
	}
	for _, name := range f.rules {
		if err := u.loadRules(o.Rules, name); err != nil {
			return o, close, err
		}
	}
	var lists []io.Reader
	for _, name := range f.indicators {
		file, err := openFor("ioc", name)
		if err != nil {
			return o, close, err
		}
		files = append(files, file)
		lists = append(lists, file, strings.NewReader("\n"))
	}
	if len(lists) > 0 {
		if o.Indicators, err = findings.ReadIndicators(io.MultiReader(lists...)); err != nil {
			return o, close, fmt.Errorf("--ioc %s: %w", strings.Join(f.indicators, ", "), err)
		}
	}
	for _, name := range f.with {
		file, err := openFor("with", name)
		if err != nil {
			return o, close, err
		}
		files = append(files, file)
		o.With = append(o.With, analyzer.Companion{Name: filepath.Base(name), R: file})
	}
	o.NoVerify, o.NoRecover = f.noVerify, f.noRecover
	return o, close, nil
}

// loadRules reads a file of rules, or all below a folder. Rules that can't be
// used are told; a file without any that can is an error.
func (u *ui) loadRules(s *findings.Set, name string) error {
	before := len(s.Rules)
	var bad []error
	err := filepath.WalkDir(name, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := filepath.Ext(p); p != name && ext != ".yml" && ext != ".yaml" {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := s.Load(p, b); err != nil {
			bad = append(bad, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("--rules: %w", err)
	}
	if len(s.Rules) == before {
		return fmt.Errorf("--rules %s: no rule can be used: %w", name, errors.Join(bad...))
	}
	for i, err := range bad {
		if i >= maxTold && !u.verbose {
			fmt.Fprintf(u.stderr, "lagan: and %d more files with rules that can't be used; -v lists them\n", len(bad)-i)
			break
		}
		fmt.Fprintf(u.stderr, "lagan: left out: %s\n", errorText(err))
	}
	return nil
}

func (u *ui) findingsOf(n *analyzer.Node, f findFlags) error {
	o, done, err := f.options(u)
	defer done()
	if err != nil {
		return err
	}
	all, err := n.Findings(u.ctx, o)
	if err != nil {
		return err
	}
	least, _ := findings.ParseSeverity(f.minimum)
	all = slices.DeleteFunc(all, func(x *findings.Finding) bool { return x.Severity < least })
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, findingColumns)
		for _, x := range all {
			if err := u.printFinding(p, x); err != nil {
				return err
			}
		}
		return p.close(n)
	})
}

// shownEvidence is how much evidence of a finding a table shows.
const shownEvidence = 4

// printFinding prints a finding; tables and CSV have a line for each piece of evidence.
func (u *ui) printFinding(p *printer, x *findings.Finding) error {
	r := x.Record()
	switch u.output {
	case "json", "jsonl":
		return p.print(&findingRecord{r, nil})
	case "table":
		if err := p.print(&findingRecord{r, nil}); err != nil {
			return err
		}
	}
	for i := range r.Evidence {
		if i == shownEvidence && u.output == "table" && !u.verbose && x.Total > shownEvidence+1 {
			return p.print(&moreRecord{x.Total - i})
		}
		if err := p.print(&findingRecord{r, &r.Evidence[i]}); err != nil {
			return err
		}
	}
	return nil
}

var findingColumns = columns{
	table: []string{"SEVERITY", "RULE", "TECHNIQUE", "OBJECT", "FINDING"},
	wide: []string{"severity", "rule", "title", "techniques", "object", "container_id", "image", "kind", "place", "path", "field", "value", "offset",
		"time", "time_of", "change", "mode", "uid", "gid", "size", "sha256", "mtime", "atime", "ctime", "btime", "false_positives"},
}

// findingRecord is a finding, or one piece of its evidence.
type findingRecord struct {
	findings.Record
	e *findings.EvidenceRecord
}

func (r *findingRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, &r.Record) }

func (r *findingRecord) row(wide bool) []string {
	switch {
	case wide:
		return r.wideRow()
	case r.e == nil:
		techniques := strings.Join(r.Techniques[:min(len(r.Techniques), 2)], " ")
		return []string{r.Severity, r.Rule, techniques, r.Object, r.Title}
	}
	e := r.e
	s := "  " + e.Place
	if e.Value != "" && e.Value != e.Path && !strings.HasSuffix(e.Place, e.Value) {
		s += "  " + e.Field + ": " + cutText(e.Value, 160)
	}
	if e.Time != "" {
		s += "  (" + e.TimeOf + " " + shortTime(e.Time) + ")"
	}
	return []string{"", "", "", "", s}
}

// cutText cuts a text to a number of characters.
func cutText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}

func (r *findingRecord) wideRow() []string {
	id := ""
	if r.e.Container != nil {
		id = r.e.Container.ID
	}
	offset := ""
	if r.e.Offset != nil {
		offset = fmt.Sprint(*r.e.Offset)
	}
	e := r.e
	row := []string{r.Severity, r.Rule, r.Title, strings.Join(r.Techniques, " "), r.Object, id, r.Image, e.Kind, e.Place, e.Path, e.Field, e.Value, offset, e.Time, e.TimeOf}
	f := e.File
	if f == nil {
		return append(row, make([]string, len(findingColumns.wide)-len(row)-1)...)
	}
	row = append(row, f.Change, f.Mode, fmt.Sprint(f.UID), fmt.Sprint(f.GID), fmt.Sprint(f.Size), f.SHA256, f.Mtime, f.Atime, f.Ctime, f.Btime)
	return append(row, r.FalsePositives)
}

// moreRecord says how much evidence a table leaves out.
type moreRecord struct{ n int }

func (r *moreRecord) appendJSON(dst []byte) ([]byte, error) { return dst, nil }

func (r *moreRecord) row(bool) []string {
	return []string{"", "", "", "", text.ForTerminal(fmt.Sprintf("  and %d more; -v lists them", r.n))}
}
