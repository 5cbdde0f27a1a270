package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/checkpoint"
	"lagan/evidence"
	"lagan/findings"
	"lagan/internal/text"
)

// checkpointFlags are the flags of the checkpoint command.
type checkpointFlags struct {
	find             findFlags
	list, diff       bool
	memory, strings  bool
	pid, around, min int
	search, regex    string
	pattern          *regexp.Regexp
	gaps             []analyzer.Gap
}

// gap tells what could not be read, and keeps it for the records.
func (f *checkpointFlags) gap(u *ui, g analyzer.Gap) {
	f.gaps = append(f.gaps, g)
	u.gap(g)
}

// close ends the output; what could not be read becomes records of it, where it is JSON.
func (f *checkpointFlags) close(p *printer) error {
	if p.format == "json" || p.format == "jsonl" {
		for _, g := range f.gaps {
			if err := p.json(warning{g}); err != nil {
				return err
			}
		}
	}
	return p.close(&analyzer.Node{})
}

func newCheckpointCommand(u *ui) *cobra.Command {
	var f checkpointFlags
	cmd := &cobra.Command{
		Use:   "checkpoint PATH...",
		Short: "what a checkpoint of a container holds: processes, files, sockets, memory",
		Long: `Read checkpoints of containers, as the kubelet, CRI-O, containerd and Podman make
them with CRIU: archives that are given, or those that lie in the kubelet's folder
on a disk. Processes with their command lines, environment, executables (deleted, or
not the image's), open files and sockets; mounts, sizes, CRIU's statistics; what the
container had changed and deleted; and what of it to look at first.

With several archives, or --list, a line for each; --diff compares two. --search and --search-regex
look into the memory of all processes or of --pid's; --strings prints the texts in it;
--memory writes it whole, in the order of its addresses.`,
		Example: `  lagan checkpoint checkpoint-web_default-nginx-2026-11-22T09:31:07Z.tar
  lagan checkpoint web.tar -O json | jq '.[0].processes[] | select(.exe_deleted)'
  lagan checkpoint node.img.zst --list
  lagan checkpoint before.tar after.tar --diff
  lagan checkpoint web.tar --pid 31 --search stratum --context 64
  lagan checkpoint web.tar --pid 31 --memory -o 31.mem` + "\n" + exitStatusHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("usage: lagan checkpoint PATH...; see `%s --help`", c.CommandPath())}
			}
			return f.check(u, args)
		},
		RunE: func(c *cobra.Command, args []string) error { return u.checkpoint(c, args, &f) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.list, "list", false, "a line for each checkpoint")
	fl.BoolVar(&f.diff, "diff", false, "compare two archives: what the second has more, less or other")
	fl.IntVar(&f.pid, "pid", 0, "only this process")
	fl.StringVar(&f.search, "search", "", "look for TEXT in memory")
	fl.StringVar(&f.regex, "search-regex", "", "look for a regular expression in memory")
	fl.IntVar(&f.around, "context", 32, "bytes to show before and after what is found")
	fl.BoolVar(&f.strings, "strings", false, "print the texts in memory")
	fl.IntVar(&f.min, "min-length", 6, "of texts")
	fl.BoolVar(&f.memory, "memory", false, "write the memory of --pid")
	fl.StringArrayVar(&f.find.rules, "rules", nil, "rules of your own: a YAML FILE or a folder of them (repeatable)")
	fl.StringArrayVar(&f.find.indicators, "ioc", nil, "FILE of indicators, one a line (repeatable)")
	fileFlags(cmd, "rules", "ioc")
	return cmd
}

func (f *checkpointFlags) check(u *ui, args []string) error {
	modes := 0
	for _, on := range []bool{f.list, f.diff, f.memory, f.strings, f.search != "" || f.regex != ""} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return usageError{errors.New("--list, --diff, --memory, --strings and --search exclude each other")}
	case f.diff && len(args) != 2:
		return usageError{errors.New("--diff compares two archives")}
	case f.memory && (f.pid <= 0 || len(args) != 1):
		return usageError{errors.New("--memory writes the memory of one process of one archive: give --pid")}
	case f.search != "" && f.regex != "":
		return usageError{errors.New("--search and --search-regex exclude each other")}
	case f.around < 0 || f.around > 1<<16 || f.min < 1 || f.pid < 0:
		return usageError{errors.New("--context, --min-length and --pid take a positive number; --context at most 65536")}
	}
	if f.search != "" || f.regex != "" {
		pattern := f.regex
		if f.search != "" {
			pattern = regexp.QuoteMeta(f.search)
		}
		var err error
		if f.pattern, err = regexp.Compile(pattern); err != nil {
			return usageError{fmt.Errorf("--search-regex: %w", err)}
		}
	}
	return nil
}

// checkpoint opens what is given, archives and evidence that holds some, and does what the flags say.
func (u *ui) checkpoint(cmd *cobra.Command, args []string, f *checkpointFlags) error {
	o, done, err := f.find.options(u)
	defer done()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if err := u.confine(cmd, args[0], false); err != nil {
			return err
		}
	}
	var all []*analyzer.Checkpoint
	for _, name := range args {
		if err := u.checkFlags(name); err != nil {
			return err
		}
		c, err := analyzer.OpenCheckpoint(u.ctx, name, analyzer.Options{TempDir: u.tempDir, CacheDir: u.cacheDir})
		if err == nil {
			defer c.Close()
			for _, p := range c.Problems {
				f.gap(u, analyzer.Gap{Object: c.Name, Message: p.Error()})
			}
			all = append(all, c)
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if analyzer.IsCheckpoint(err) {
			return fmt.Errorf("%s: %w", name, err)
		}
		n, other := u.open(name)
		if errors.Is(other, fs.ErrNotExist) {
			return other
		}
		if other != nil {
			return fmt.Errorf("%s is no archive of a checkpoint (%w), and no other evidence: %w", name, err, other)
		}
		defer n.Close()
		found := n.Checkpoints()
		f.gaps = append(f.gaps, n.Gaps()...)
		if len(found) == 0 {
			return fmt.Errorf("%s: no checkpoint lies in the kubelet's folder on it", name)
		}
		all = append(all, found...)
	}
	err = u.checkpointOutput(all, o, f)
	u.endProgress()
	return err
}

func (u *ui) checkpointOutput(all []*analyzer.Checkpoint, o analyzer.FindOptions, f *checkpointFlags) error {
	switch {
	case f.diff:
		return u.write(func(w io.Writer) error { return u.checkpointDiff(w, all[0], all[1], f) })
	case f.memory:
		return u.write(func(w io.Writer) error {
			ps, err := all[0].ProcessesOf(uint32(f.pid))
			if err != nil {
				return err
			}
			return checkpoint.Memory(u.ctx, all[0].Source(), ps, func(_ *checkpoint.Process, _ uint64, b []byte) error {
				_, err := w.Write(b)
				return err
			})
		})
	case f.pattern != nil || f.strings:
		return u.write(func(w io.Writer) error { return u.checkpointMemory(w, all, f) })
	}
	return u.write(func(w io.Writer) error {
		if u.output == "table" && !f.list && len(all) == 1 {
			return u.checkpointTree(w, all[0], o, uint32(f.pid))
		}
		p := u.newPrinter(w, checkpointColumns)
		for _, c := range all {
			r, err := u.checkpointRecord(c, o, uint32(f.pid))
			if err != nil {
				return err
			}
			if err := p.print(r); err != nil {
				return err
			}
		}
		return f.close(p)
	})
}

// checkpointMemory prints what is found in memory: PID, address, text.
func (u *ui) checkpointMemory(w io.Writer, all []*analyzer.Checkpoint, f *checkpointFlags) error {
	p := u.newPrinter(w, hitColumns)
	pattern, around := f.pattern, f.around
	if f.strings {
		pattern, around = regexp.MustCompile(fmt.Sprintf(`[\t\x20-\x7e]{%d,}`, min(f.min, 1000))), 0
	}
	for _, c := range all {
		ps, err := c.ProcessesOf(uint32(f.pid))
		if err != nil {
			return err
		}
		err = checkpoint.Search(u.ctx, c.Source(), ps, pattern, around, func(h checkpoint.Hit) error { return p.print(&hitRecord{c.Name, h}) })
		if errors.Is(err, evidence.ErrCorrupt) {
			f.gap(u, analyzer.Gap{Object: c.Name, Message: err.Error()})
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return f.close(p)
}

var hitColumns = columns{table: []string{"PID", "ADDRESS", "TEXT"}, wide: []string{"archive", "pid", "address", "text"}}

type hitRecord struct {
	archive string
	h       checkpoint.Hit
}

func (r *hitRecord) appendJSON(dst []byte) ([]byte, error) {
	shown, _ := text.ForJSON(string(r.h.Text))
	archive, _ := text.ForJSON(r.archive)
	return appendValue(dst, struct {
		Archive string `json:"archive"`
		PID     uint32 `json:"pid"`
		Address string `json:"address"`
		Text    string `json:"text"`
		Raw     []byte `json:"text_raw"`
	}{archive, r.h.PID, fmt.Sprintf("%#x", r.h.Address), shown, r.h.Text})
}

func (r *hitRecord) row(wide bool) []string {
	row := []string{fmt.Sprint(r.h.PID), fmt.Sprintf("%#x", r.h.Address), strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f {
			return '.'
		}
		return c
	}, strings.ToValidUTF8(string(r.h.Text), "."))}
	if wide {
		return append([]string{r.archive}, row...)
	}
	return row
}

// checkpointDiff prints what two checkpoints differ in: a line with + for what the
// second has, and - for what only the first has.
func (u *ui) checkpointDiff(w io.Writer, a, b *analyzer.Checkpoint, f *checkpointFlags) error {
	p := u.newPrinter(w, columns{table: []string{"", "WHAT", "PROCESS", "VALUE"}, wide: []string{"change", "what", "pid", "value"}})
	before, after := facts(a), facts(b)
	var keys []fact
	for k := range before {
		if !after[k] {
			keys = append(keys, k)
		}
	}
	for k := range after {
		if !before[k] {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y fact) int {
		return strings.Compare(fmt.Sprintf("%s %010d %s %v", x.what, x.pid, x.value, after[x]), fmt.Sprintf("%s %010d %s %v", y.what, y.pid, y.value, after[y]))
	})
	for _, k := range keys {
		sign := "-"
		if after[k] {
			sign = "+"
		}
		if err := p.print(&factRecord{sign, k}); err != nil {
			return err
		}
	}
	return f.close(p)
}

// fact is one thing that a checkpoint says.
type fact struct {
	what  string
	pid   uint32
	value string
}

func facts(c *analyzer.Checkpoint) map[fact]bool {
	out := make(map[fact]bool)
	add := func(what string, pid uint32, value string) {
		if value != "" {
			out[fact{what, pid, value}] = true
		}
	}
	add("image", 0, c.Image)
	for _, m := range c.Mounts {
		add("mount", 0, m.Destination+" from "+m.Source)
	}
	for _, x := range c.Changed {
		add("changed", 0, fmt.Sprintf("%s (%d bytes)", x.Path, x.Size))
	}
	for _, d := range c.Deleted {
		add("deleted", 0, d)
	}
	for _, p := range c.Processes {
		add("process", p.PID, p.Comm+" "+strings.Join(p.Cmdline, " "))
		add("executable", p.PID, p.Exe)
		add("cwd", p.PID, p.Cwd)
		add("root", p.PID, p.Root)
		add("memory", p.PID, fmt.Sprintf("%d bytes", p.Memory))
		for _, e := range p.Env {
			add("environment", p.PID, e)
		}
		for _, x := range p.Files {
			add("file", p.PID, x.Type+" "+x.Path)
		}
		for _, s := range p.Sockets {
			add("socket", p.PID, socketText(&s))
		}
	}
	return out
}

type factRecord struct {
	sign string
	fact
}

func (r *factRecord) appendJSON(dst []byte) ([]byte, error) {
	value, _ := text.ForJSON(r.value)
	return appendValue(dst, struct {
		Change string `json:"change"`
		What   string `json:"what"`
		PID    uint32 `json:"pid,omitempty"`
		Value  string `json:"value"`
	}{map[string]string{"+": "added", "-": "removed"}[r.sign], r.what, r.pid, value})
}

func (r *factRecord) row(bool) []string {
	pid := ""
	if r.pid != 0 {
		pid = fmt.Sprint(r.pid)
	}
	return []string{r.sign, r.what, pid, r.value}
}

// recordOf is a checkpoint's record with its findings.
func (u *ui) checkpointRecord(c *analyzer.Checkpoint, o analyzer.FindOptions, pid uint32) (*checkpointRecord, error) {
	ps, err := c.ProcessesOf(pid)
	if err != nil {
		return nil, err
	}
	found, err := analyzer.CheckpointFindings(u.ctx, c, o)
	if err != nil {
		return nil, err
	}
	r := &checkpointRecord{c: c, processes: ps}
	for _, f := range found {
		if f.Severity >= findings.Low {
			r.found = append(r.found, f.Record())
		}
	}
	return r, nil
}
