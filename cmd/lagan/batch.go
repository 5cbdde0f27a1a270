package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lagan/batch"
	"lagan/internal/confine"
)

// batchFlags are the flags of the batch command.
type batchFlags struct {
	tasks    []string
	index    string
	each     int
	parallel int
	shards   bool
	hash     bool
	metrics  string
	allow    bool

	inherited []string // flags for the process of each snapshot
}

func newBatchCommand(u *ui) *cobra.Command {
	var f batchFlags
	cmd := &cobra.Command{
		Use:   "batch MANIFEST -o DIR",
		Short: "many snapshots at once, on one machine or on a cluster's",
		Long: `Do the same for many pieces of evidence: each gets a folder DIR/NAME with containers.jsonl,
images.jsonl, diff.jsonl, findings.jsonl, timeline.jsonl, report.html and run.json, as --tasks asks. A folder is
whole or absent, and _DONE in it is written last. A second run leaves what is done of the same
evidence, by the same version with the same options, and does the rest; one failure stops nothing.

MANIFEST is a folder of evidence, or a file: a path a line, CSV (evidence,name,disks,options) or JSON
lines of these fields. disks are separated by semicolons, options are flags such as --volume 2.

A cluster's engine does one snapshot a task: the shard to do is --index, or what Slurm, Kubernetes
(an Indexed Job) or AWS Batch say in the environment; --shards prints how many there are.`,
		Example: strings.Trim(`
  lagan batch snapshots/ -o out
  lagan batch snapshots.csv -o out --tasks containers,diff --metrics /var/lib/node_exporter/lagan.prom
  sbatch --array=0-$(($(lagan batch snapshots.csv --shards) - 1)) scripts/batch/slurm.sh snapshots.csv out
  lagan batch merge out -o merged
  lagan batch compare out monday tuesday`, "\n") + "\n" + exitStatusHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("usage: lagan batch MANIFEST -o DIR; see `%s --help`", c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			f.inherited = inherit(c.Flags())
			return u.batch(args[0], &f)
		},
	}
	cmd.Flags().StringSliceVar(&f.tasks, "tasks", taskNames(), "what to write of each snapshot")
	cmd.Flags().StringVar(&f.index, "index", "", "do this shard, from 0; all: every one, whatever the environment says")
	cmd.Flags().IntVar(&f.each, "per-shard", 1, "snapshots of a shard")
	cmd.Flags().BoolVar(&f.shards, "shards", false, "print how many shards there are, and do nothing")
	cmd.Flags().IntVar(&f.parallel, "parallel", 1, "snapshots to work on at the same time")
	cmd.Flags().BoolVar(&f.hash, "hash", false, "SHA-256 of the evidence's files, for run.json")
	cmd.Flags().BoolVar(&f.allow, "allow-gaps", false, "end with status 0 where everything was done, gaps or not (run.json has them)")
	cmd.Flags().StringVar(&f.metrics, "metrics", "", "keep figures in a file for Prometheus's textfile collector")
	cmd.AddCommand(newBatchMergeCommand(u), newBatchCompareCommand(u), newBatchChildCommand(u))
	return cmd
}

// batch does what the manifest says, or the shard of it that is asked for.
func (u *ui) batch(manifest string, f *batchFlags) error {
	tasks, err := f.check(u)
	if err != nil {
		return usageError{err}
	}
	all, err := batch.ReadManifest(manifest)
	if err != nil {
		return err
	}
	if f.shards {
		fmt.Fprintln(u.stdout, batch.Shards(len(all), f.each))
		return nil
	}
	if all, err = f.shard(all); err != nil {
		return usageError{err}
	}
	if err := u.batchPlace(manifest, all, f); err != nil {
		return err
	}
	outcomes, err := batch.Run(u.ctx, all, u.batchOptions(f, tasks, len(all)))
	if err != nil {
		return fmt.Errorf("interrupted: what is finished stays, and the same command does the rest: %w", err)
	}
	err = u.batchEnd(outcomes)
	if f.allow {
		u.gaps -= gapsOf(outcomes)
	}
	return err
}

func (f *batchFlags) check(u *ui) ([]batchTask, error) {
	if err := u.checkFlags(""); err != nil {
		return nil, err
	}
	switch {
	case f.each < 1 || f.parallel < 1:
		return nil, errors.New("--per-shard and --parallel take a number from 1")
	case f.shards:
		return nil, nil
	case u.outFile == "":
		return nil, errors.New("batch needs -o DIR, where each snapshot gets a folder")
	case len(u.disks) > 0:
		return nil, errors.New("--disk is for one snapshot: name further disks in the manifest")
	}
	u.outFile = filepath.Clean(u.outFile)
	return chooseTasks(f.tasks)
}

// shard returns the snapshots to do.
func (f *batchFlags) shard(all []batch.Snapshot) ([]batch.Snapshot, error) {
	if f.index == "all" {
		return all, nil
	}
	index, variable, err := batch.Index(os.Getenv)
	if f.index != "" {
		variable = "--index"
		if index, err = strconv.Atoi(f.index); err != nil {
			err = fmt.Errorf("--index takes a number or all, not %q", f.index)
		}
	}
	if err != nil || variable == "" {
		return all, err
	}
	if all, err = batch.Shard(all, f.each, index); err != nil {
		err = fmt.Errorf("%s: %w", variable, err)
	}
	return all, err
}

// batchPlace makes the folder for results, away from all evidence, and confines
// the process, which reads no evidence but its sizes and, with --hash, its bytes: it
// starts a process for each snapshot, which confines itself further.
func (u *ui) batchPlace(manifest string, all []batch.Snapshot, f *batchFlags) error {
	a := confine.Access{Read: []string{"/proc/self/uid_map"}, Write: []string{u.spoolDir(), u.outFile}, Itself: true}
	if u.cacheDir != "" {
		a.Write = append(a.Write, u.cacheDir)
	}
	for _, l := range u.layers {
		if _, file, ok := strings.Cut(l, "="); ok {
			a.Read = append(a.Read, file)
		}
	}
	if err := u.outside(manifest, "-o", u.outFile); err != nil {
		return err // of a folder of evidence it would be a part the next time
	}
	for _, s := range all {
		for _, e := range append([]string{s.Evidence}, s.Disks...) {
			if err := u.outside(e, "-o", u.outFile); err != nil {
				return err
			}
			a.Read = append(a.Read, readable(e, false)...)
			reach(&a, e)
		}
	}
	if f.metrics != "" {
		a.Write = append(a.Write, filepath.Dir(f.metrics))
	}
	if err := os.MkdirAll(u.outFile, 0o755); err != nil {
		return err
	}
	if !u.sandbox || u.noSandbox {
		return nil
	}
	_, err := confine.Apply(a)
	return err
}

func (u *ui) batchOptions(f *batchFlags, tasks []batchTask, total int) batch.Options {
	config := fmt.Sprintf("%v %v %v %v %q %q %q", u.noJournal, u.noScan, u.volume, u.timeout, u.dataRoots, u.mounts, u.layers)
	for _, t := range tasks {
		config += " " + t.name
	}
	var ended []batch.Outcome
	var lost error // metrics that can't be written are told once
	return batch.Options{
		Dir: u.outFile, Version: version(), Config: config, Args: os.Args[1:], Jobs: f.parallel, Hash: f.hash,
		Work: func(ctx context.Context, s batch.Snapshot, folder string) (batch.Result, error) {
			o := snapshotOrder{Snapshot: s, Folder: folder}
			for _, t := range tasks {
				o.Tasks = append(o.Tasks, t.name)
			}
			return u.snapshotElsewhere(ctx, o, f.inherited)
		},
		Ended: func(o batch.Outcome) {
			ended = append(ended, o)
			u.say("%d of %d: %s %s", len(ended), total, o.Snapshot.Name, o.State)
			if f.metrics == "" {
				return
			}
			if err := batch.WriteFile(f.metrics, batch.Metrics(ended, total, time.Now())); err != nil && lost == nil {
				lost = err
				fmt.Fprintf(u.stderr, "lagan: --metrics: %v\n", err)
			}
		},
	}
}

func gapsOf(all []batch.Outcome) (n int) {
	for i := range all {
		n += all[i].Result.Gaps
	}
	return n
}

// batchEnd prints what came of each snapshot. Nothing done at all is a failure.
func (u *ui) batchEnd(all []batch.Outcome) error {
	failed := 0
	p := u.newPrinter(u.stdout, outcomeColumns)
	for i := range all {
		if all[i].State == batch.Failed {
			failed++
		}
		u.gaps += all[i].Result.Gaps
		if err := p.print((*outcomeRecord)(&all[i])); err != nil {
			return err
		}
	}
	if err := p.finish(); err != nil {
		return err
	}
	if failed == len(all) {
		return fmt.Errorf("none of %d snapshots could be done", failed)
	}
	u.gaps += failed
	return nil
}

var outcomeColumns = columns{
	table: []string{"SNAPSHOT", "STATE", "SECONDS", "GAPS", "WHY"},
	wide:  []string{"snapshot", "state", "seconds", "gaps", "why", "evidence"},
}

// outcomeRecord is a line of a batch's report.
type outcomeRecord batch.Outcome

func (o *outcomeRecord) why() string {
	if o.Err == nil {
		return ""
	}
	return strings.ReplaceAll(o.Err.Error(), "\n", "; ")
}

func (o *outcomeRecord) row(wide bool) []string {
	cells := []string{o.Snapshot.Name, string(o.State), strconv.FormatFloat(o.Seconds, 'f', 1, 64), strconv.Itoa(o.Result.Gaps), o.why()}
	if wide {
		cells = append(cells, o.Snapshot.Evidence)
	}
	return cells
}

func (o *outcomeRecord) appendJSON(dst []byte) ([]byte, error) {
	return appendValue(dst, struct {
		Snapshot string         `json:"snapshot"`
		Evidence string         `json:"evidence"`
		State    batch.State    `json:"state"`
		Seconds  float64        `json:"seconds"`
		Gaps     int            `json:"gaps"`
		Counts   map[string]int `json:"counts,omitempty"`
		Why      string         `json:"why,omitempty"`
	}{o.Snapshot.Name, o.Snapshot.Evidence, o.State, o.Seconds, o.Result.Gaps, o.Result.Counts, o.why()})
}

func newBatchMergeCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "merge DIR -o NEWDIR",
		Short: "join the results of a batch",
		Long: `Join the results of all finished snapshots in DIR: one timeline in the order of time, one file of
containers, of images, of changes and of findings. Each record says its snapshot. Memory stays bounded.`,
		Example: "  lagan batch merge out -o merged\n" + exitStatusHelp,
		Args:    exactly(1, "lagan batch merge DIR -o NEWDIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if u.outFile == "" {
				return usageError{errors.New("batch merge needs -o NEWDIR")}
			}
			m, err := batch.Merge(u.ctx, args[0], filepath.Clean(u.outFile))
			if err != nil {
				return err
			}
			u.say("%d snapshots, %d events", m.Snapshots, m.Lines[batch.TimelineFile])
			return nil
		},
	}
}

func newBatchCompareCommand(u *ui) *cobra.Command {
	var events bool
	cmd := &cobra.Command{
		Use:   "compare DIR NAME NAME",
		Short: "what two snapshots of a node differ in",
		Long: `Print which containers, images, changed files and findings the second of two snapshots of a batch
has (+), lacks (-) and has otherwise (~) than the first, and how many events of the timeline one alone has. Events
that only the second has happened since, or say that they did earlier; those that only the first has were lost:
a log was emptied, a file replaced or its times set.`,
		Example: "  lagan batch compare out node1-monday node1-tuesday\n  lagan batch compare out node1-monday node1-tuesday --events -O csv\n" + exitStatusHelp,
		Args:    exactly(3, "lagan batch compare DIR NAME NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := u.checkFlags(""); err != nil {
				return err
			}
			return u.write(func(w io.Writer) error {
				p := u.newPrinter(w, differenceColumns)
				tell := func(d batch.Difference) error { return p.print((*differenceRecord)(&d)) }
				err := batch.Compare(u.ctx, args[0], args[1], args[2], tell)
				if err == nil {
					err = batch.CompareEvents(u.ctx, args[0], args[1], args[2], events, tell)
				}
				return errors.Join(err, p.finish())
			})
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "each event that one timeline alone has, in the order of time")
	return cmd
}

// exactly wants so many arguments.
func exactly(n int, usage string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("usage: %s; see `%s --help`", usage, c.CommandPath())}
		}
		return nil
	}
}

var differenceColumns = columns{wide: []string{"change", "file", "name", "key", "fields"}}

// differenceRecord is a line of what two snapshots differ in.
type differenceRecord batch.Difference

func (d *differenceRecord) row(wide bool) []string {
	var changed []string
	for _, f := range d.Fields {
		old, now := orNothing(f.Old), orNothing(f.New)
		if !wide {
			old, now = inShort(old), inShort(now)
		}
		changed = append(changed, fmt.Sprintf("%s: %s -> %s", f.Name, old, now))
	}
	what := strings.TrimSuffix(d.File, ".jsonl")
	if wide {
		return []string{d.Change, what, d.Name, d.Key, strings.Join(changed, "; ")}
	}
	sign := map[string]string{batch.Added: "+", batch.Removed: "-", batch.Changed: "~"}[d.Change]
	cells := []string{sign, what, d.Name}
	if d.File == batch.TimelineFile && d.Key != "" {
		cells[2] = d.Key + " " + d.Name
	}
	if len(changed) > 0 {
		cells = append(cells, strings.Join(changed, "; "))
	}
	return cells
}

// maxShown is how much of a value a table shows; JSON and CSV have all of it.
const maxShown = 80

func inShort(v string) string {
	if len(v) <= maxShown {
		return v
	}
	return strings.ToValidUTF8(v[:maxShown], "") + "..."
}

func orNothing(v []byte) string {
	if v == nil {
		return "nothing"
	}
	return string(v)
}

func (d *differenceRecord) appendJSON(dst []byte) ([]byte, error) {
	return appendValue(dst, (*batch.Difference)(d))
}
