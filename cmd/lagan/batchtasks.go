package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/batch"
	"lagan/report"
)

// batchTask is one file that a batch writes of each snapshot.
type batchTask struct {
	name, file string
	run        func(u *ui, n *analyzer.Node) error
}

// batchTasks are done in this order, whatever order --tasks has.
var batchTasks = []batchTask{
	{"containers", "containers.jsonl", func(u *ui, n *analyzer.Node) error {
		var out []record
		for _, c := range n.Containers() {
			out = append(out, newContainerRecord(c))
		}
		return u.printAll(n, out)
	}},
	{"images", "images.jsonl", func(u *ui, n *analyzer.Node) error {
		var out []record
		for _, i := range n.Images() {
			out = append(out, newImageRecord(i))
		}
		return u.printAll(n, out)
	}},
	{"diff", "diff.jsonl", (*ui).diffAll},
	{"findings", "findings.jsonl", func(u *ui, n *analyzer.Node) error { return u.findingsOf(n, findFlags{}) }},
	{"timeline", batch.TimelineFile, func(u *ui, n *analyzer.Node) error {
		f := timelineFlags{scope: scopes[0]}
		if err := f.settle(u.outFiles); err != nil {
			return err
		}
		return u.timeline(n, &f)
	}},
	{"report", "report.html", func(u *ui, n *analyzer.Node) error {
		var f findFlags
		o, done, err := f.options(u)
		defer done()
		if err != nil {
			return err
		}
		d, err := n.Report(u.ctx, analyzer.ReportOptions{Find: o, NoHash: true, Version: version(), Command: f.again(u, n.Evidence[0].Path, true)})
		if err != nil {
			return err
		}
		return u.write(func(w io.Writer) error { return report.WriteHTML(w, d) })
	}},
}

func taskNames() []string {
	var out []string
	for _, t := range batchTasks {
		out = append(out, t.name)
	}
	return out
}

func chooseTasks(names []string) ([]batchTask, error) {
	for _, n := range names {
		if !slices.Contains(taskNames(), n) {
			return nil, fmt.Errorf("--tasks takes %s, not %q", strings.Join(taskNames(), ", "), n)
		}
	}
	out := slices.Clone(batchTasks)
	return slices.DeleteFunc(out, func(t batchTask) bool { return !slices.Contains(names, t.name) }), nil
}

// doSnapshot opens one snapshot's evidence and does the tasks; u is the
// snapshot's own.
func (u *ui) doSnapshot(s batch.Snapshot, folder string, tasks []batchTask) (r batch.Result, err error) {
	n, err := u.open(s.Evidence)
	if err != nil {
		return r, err
	}
	defer n.Close()
	if n.Tree == nil {
		return r, fmt.Errorf("%s: %w", s.Evidence, analyzer.ErrNoFilesystem)
	}
	r.Counts = map[string]int{}
	for _, t := range tasks {
		u.outFile = filepath.Join(folder, t.file)
		u.outFiles = []string{u.outFile}
		if err := t.run(u, n); err != nil {
			return r, fmt.Errorf("%s: %w", t.name, err)
		}
		if filepath.Ext(t.file) != ".jsonl" {
			continue
		}
		if r.Counts[t.file], err = countRecords(u.outFile); err != nil {
			return r, err
		}
	}
	gaps := n.Gaps()
	r.Gaps, r.Detail = len(gaps), describeBatch(n, gaps)
	for _, e := range n.Evidence {
		r.Bytes += max(e.Size, 0)
	}
	return r, nil
}

// describeBatch is what run.json says of the evidence.
func describeBatch(n *analyzer.Node, gaps []analyzer.Gap) any {
	type volume struct {
		Index      int    `json:"index"`
		Content    string `json:"content,omitempty"`
		UUID       string `json:"uuid,omitempty"`
		MountPoint string `json:"mount_point,omitempty"`
	}
	var d struct {
		Formats []string `json:"formats"`
		Volumes []volume `json:"volumes"`
		Gaps    []string `json:"gaps,omitempty"`
		Fetched []string `json:"fetched,omitempty"`
	}
	d.Fetched = n.Usage()
	for _, e := range n.Evidence {
		d.Formats = append(d.Formats, e.Format)
	}
	for _, v := range n.Volumes {
		d.Volumes = append(d.Volumes, volume{v.Index, v.Content, v.Description.UUID, v.MountPoint})
	}
	for _, g := range gaps {
		d.Gaps = append(d.Gaps, g.String())
	}
	return d
}

// evidenceFlags are those that a manifest may give for one snapshot.
var evidenceFlags = []string{"no-journal", "volume", "data-root", "no-scan", "mount", "layer", "timeout"}

// forSnapshot returns a ui of one snapshot's own.
func (u *ui) forSnapshot(ctx context.Context, s batch.Snapshot) (*ui, error) {
	own := &ui{ctx: ctx, stdout: io.Discard, stderr: u.stderr}
	flags := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
	own.addFlags(flags)
	// The flags' defaults come first, then those of the batch, then the manifest's.
	own.noJournal, own.noScan, own.volume, own.timeout = u.noJournal, u.noScan, u.volume, u.timeout
	own.dataRoots, own.mounts, own.layers = slices.Clone(u.dataRoots), slices.Clone(u.mounts), slices.Clone(u.layers)
	own.tempDir, own.cacheDir, own.verbose = u.tempDir, u.cacheDir, u.verbose
	own.jobs, own.maxMemory, own.child, own.sandbox, own.noSandbox = u.jobs, u.maxMemory, u.child, u.sandbox, u.noSandbox
	own.output, own.progressMode, own.quiet = "jsonl", "none", !u.verbose || u.quiet
	if err := flags.Parse(s.Options); err != nil {
		return nil, fmt.Errorf("options of %s: %w", s.Name, err)
	}
	var refused error
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(evidenceFlags, f.Name) {
			refused = fmt.Errorf("options of %s: --%s is not one of how evidence is opened: --%s", s.Name, f.Name, strings.Join(evidenceFlags, ", --"))
		}
	})
	if flags.NArg() > 0 {
		refused = fmt.Errorf("options of %s: %q is no flag", s.Name, flags.Arg(0))
	}
	own.disks = s.Disks
	return own, refused
}

// printAll prints records where results go.
func (u *ui) printAll(n *analyzer.Node, records []record) error {
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, columns{})
		for _, r := range records {
			if err := p.print(r); err != nil {
				return err
			}
		}
		return p.close(n)
	})
}

// diffAll prints what every container changed, each record with its container.
// One that can't be compared is a gap.
func (u *ui) diffAll(n *analyzer.Node) error {
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, columns{})
		for _, c := range n.Containers() {
			err := n.Changes(u.ctx, c, analyzer.ChangeOptions{Hash: true}, func(ch analyzer.Change) error {
				return p.print(&containerChange{c, newChangeRecord(ch)})
			})
			if u.ctx.Err() != nil {
				return u.ctx.Err()
			}
			if err != nil {
				n.Gap("container "+c.DisplayName(), err)
			}
		}
		return p.close(n)
	})
}

// containerChange is a change with the container that made it.
type containerChange struct {
	c *analyzer.Container
	*changeRecord
}

func (r *containerChange) appendJSON(dst []byte) ([]byte, error) {
	start := len(dst)
	dst, err := appendValue(dst, struct {
		Container string `json:"container"`
		Name      string `json:"container_name"`
	}{r.c.ID, r.c.DisplayName()})
	if err != nil {
		return dst, err
	}
	dst[len(dst)-1] = ',' // and the change's fields follow, in the place of its brace
	at := len(dst)
	if dst, err = r.changeRecord.appendJSON(dst); err != nil {
		return dst[:start], err
	}
	return append(dst[:at], dst[at+1:]...), nil
}

// countRecords counts the lines of a file of results, warnings left out.
func countRecords(path string) (n int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	begin := true // of a line, which may be longer than the buffer
	for {
		line, err := r.ReadSlice('\n')
		if begin && len(line) > 0 && !bytes.HasPrefix(line, []byte(`{"record":"warning"`)) {
			n++
		}
		begin = err == nil
		if err == io.EOF {
			return n, nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return n, err
		}
	}
}
