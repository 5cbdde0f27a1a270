package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/timeline"
)

// timelineFlags are the flags of the timeline command.
type timelineFlags struct {
	containers       []string
	scope            string
	format           string
	plaso            int
	since, until     string
	grep             string
	kinds            []string
	with             []string
	hash, merged     bool
	removed          bool
	noFindings       bool
	companion        bool
	stats, histogram bool

	formats []timeline.Format // of each output
	filter  timeline.Filter
}

var scopes = []string{string(analyzer.ScopeAll), string(analyzer.ScopeContainers), string(analyzer.ScopeNode)}

func newTimelineCommand(u *ui) *cobra.Command {
	var f timelineFlags
	cmd := u.command(verb{
		use:   "timeline EVIDENCE",
		short: "the node's timeline, for Timesketch, plaso, Elasticsearch and mactime",
		long: `Write what happened, in time order: the files of the node and of its containers, the lives
of containers, pods and images, the logs of all of them, and what starts by itself. A file of an
image's layer is told once, however many containers share the layer; a container's own records
are what it added, changed or deleted.
-o may be given several times, with endings that tell the formats: .jsonl, .csv, .l2tcsv, .tln, .body,
.plaso, .ndjson. All are written in one pass.
A bodyfile has files alone, in the order of the disk, for mactime to sort.`,
		examples: `
  lagan timeline node.img.zst -o timeline.jsonl
  lagan timeline node.img.zst --scope containers --since 2026-10-01 -o containers.jsonl -o containers.plaso
  lagan timeline node.img.zst --kinds 'syslog:ssh:*' --kinds systemd:journal --grep '203\.0\.113\.'
  lagan timeline node.img.zst --stats
  lagan timeline /dev/nvme1n1 --scope node --format bodyfile | mactime -b - -d -z UTC`,
		min: 1, max: 1,
		run: func(n *analyzer.Node, args []string) error { return u.timeline(n, &f) },
	})
	cmd.Flags().StringArrayVar(&f.containers, "container", nil, "only this CONTAINER (repeatable)")
	cmd.Flags().StringVar(&f.scope, "scope", scopes[0], "all, containers or node")
	cmd.Flags().StringArrayVar(&f.with, "with", nil, "tell FILE too: CloudTrail, GuardDuty, VPC flow, Kubernetes audit or EKS control plane logs (repeatable)")
	cmd.Flags().StringVar(&f.format, "format", "", formatHelp())
	cmd.Flags().IntVar(&f.plaso, "plaso-format", timeline.PlasoNewest, "version of plaso's storage: "+plasoHelp())
	cmd.Flags().StringVar(&f.since, "since", "", "leave out what was before TIME (2026-11-22, 2026-11-22T10:00:00Z)")
	cmd.Flags().StringVar(&f.until, "until", "", "leave out what was at or after TIME")
	fileFlags(cmd, "with")
	cmd.Flags().StringVar(&f.grep, "grep", "", "keep what matches the regular expression, in the message or any field")
	cmd.Flags().StringSliceVar(&f.kinds, "kinds", nil, "keep these data_types; * stands for anything (fs:stat, 'syslog:*')")
	cmd.Flags().BoolVar(&f.hash, "hash", false, "SHA-256 of regular files, each read once")
	cmd.Flags().BoolVar(&f.removed, "removed", false, "tell removed containers and deleted files too (lagan recover), with the tag removed")
	cmd.Flags().BoolVar(&f.merged, "merged", false, "tell the whole merged view of each container, not only what it changed")
	cmd.Flags().BoolVar(&f.noFindings, "no-findings", false, "tell no findings (lagan findings), which are told with the tag lagan_finding")
	cmd.Flags().BoolVar(&f.companion, "companion", false, "write tags, a sigma mapping, saved searches and an index template to companion/ beside -o")
	cmd.Flags().BoolVar(&f.stats, "stats", false, "print counts by kind, container and day; events only where -o is given")
	cmd.Flags().BoolVar(&f.histogram, "histogram", false, "print a bar for each day; events only where -o is given")
	check := cmd.Args
	cmd.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return err
		}
		u.severalOut = true
		u.tellsFiles = len(f.containers) == 0 || slices.Contains(f.containers, "@node")
		return f.check(u.outFiles)
	}
	return cmd
}

func formatHelp() string {
	s := ""
	for i, f := range timeline.Formats {
		if i > 0 {
			s += ", "
		}
		s += string(f)
	}
	return s + " (default: as -o ends, else " + string(timeline.Formats[0]) + ")"
}

func plasoHelp() string {
	s := make([]string, len(timeline.PlasoVersions))
	for i, v := range timeline.PlasoVersions {
		s[i] = strconv.Itoa(v)
	}
	return strings.Join(s, " or ")
}

// check finds wrong flags before the evidence is opened, and settles the formats.
func (f *timelineFlags) check(outs []string) error {
	if !slices.Contains(scopes, f.scope) {
		return usageError{fmt.Errorf("--scope takes all, containers or node, not %q", f.scope)}
	}
	if !slices.Contains(timeline.PlasoVersions, f.plaso) {
		return usageError{fmt.Errorf("--plaso-format takes %s, not %d", plasoHelp(), f.plaso)}
	}
	if f.companion && len(outs) == 0 {
		return usageError{fmt.Errorf("--companion writes beside the output: give -o FILE")}
	}
	for i, out := range outs {
		if slices.Contains(outs[:i], out) {
			return usageError{fmt.Errorf("-o %s is given twice", out)}
		}
	}
	if err := f.settle(outs); err != nil {
		return usageError{err}
	}
	if err := f.parseFilter(); err != nil {
		return usageError{err}
	}
	return nil
}

// settle chooses the format of each output: as its name ends. --format goes
// before the ending of a single one, and is that of endings that tell nothing.
func (f *timelineFlags) settle(outs []string) error {
	format, err := timeline.ParseFormat(f.format)
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	f.formats = nil
	for _, out := range outs {
		byName, ok := timeline.FormatOf(out)
		if !ok || f.format != "" && len(outs) == 1 {
			byName = format
		}
		f.formats = append(f.formats, byName)
	}
	if len(outs) == 0 && !f.stats && !f.histogram {
		f.formats = []timeline.Format{format}
	}
	return nil
}

func (f *timelineFlags) parseFilter() (err error) {
	if f.filter.Since, err = parseTime("since", f.since); err != nil {
		return err
	}
	if f.filter.Until, err = parseTime("until", f.until); err != nil {
		return err
	}
	if f.filter.Kinds, err = timeline.ParseKinds(f.kinds); err != nil {
		return err
	}
	if f.grep != "" {
		if f.filter.Grep, err = regexp.Compile(f.grep); err != nil {
			return fmt.Errorf("--grep: %w", err)
		}
	}
	return nil
}

func (u *ui) timeline(n *analyzer.Node, f *timelineFlags) error {
	o := analyzer.TimelineOptions{Scope: analyzer.Scope(f.scope), Hash: f.hash, Merged: f.merged, Removed: f.removed}
	// A bodyfile has files and nothing else.
	o.FilesOnly = !f.stats && !f.histogram && !slices.ContainsFunc(f.formats, func(t timeline.Format) bool { return t != timeline.Bodyfile })
	if !f.noFindings && !o.FilesOnly {
		o.Find = &analyzer.FindOptions{NoVerify: true, NoRecover: true}
	}
	for _, spec := range f.containers {
		if spec == "@node" {
			o.Scope = analyzer.ScopeNode
			continue
		}
		c, err := n.FindContainer(spec)
		if err != nil {
			return err
		}
		o.Containers = append(o.Containers, c)
	}
	for _, name := range f.with {
		file, err := openFor("with", name)
		if err != nil {
			return err
		}
		defer file.Close()
		o.With = append(o.With, analyzer.Companion{Name: filepath.Base(name), R: file})
	}
	if len(u.outFiles) == 0 {
		var outs []timeline.Output
		if len(f.formats) > 0 {
			outs = append(outs, timeline.Output{W: u.stdout, Format: f.formats[0]})
		}
		return u.writeTimeline(n, f, o, outs)
	}
	return u.writeFiles(u.outFiles, func(files []*os.File) error {
		var outs []timeline.Output
		for i, file := range files {
			out := timeline.Output{W: file, Format: f.formats[i]}
			if out.Format != timeline.Plaso { // which is not written from one end to the other
				early := newEarlyWriter(file)
				defer early.Close()
				out.W = early
			}
			outs = append(outs, out)
		}
		return u.writeTimeline(n, f, o, outs)
	})
}

// sortMemory is how much memory sorting may take: what a disk of many files
// leaves of the whole, at most what is of use and at least what sorts at all.
func sortMemory(n *analyzer.Node) int64 {
	const whole, most, least = 296 << 20, 160 << 20, 48 << 20
	return min(max(whole-n.IndexSize(), least), most)
}

// writeTimeline writes the events to each output, and what was counted to
// standard output.
func (u *ui) writeTimeline(n *analyzer.Node, f *timelineFlags, o analyzer.TimelineOptions, outs []timeline.Output) error {
	w, err := timeline.NewWriter(timeline.Options{
		Memory: sortMemory(n), TempDir: u.tempDir, PlasoVersion: f.plaso, Filter: f.filter, Stats: f.stats || f.histogram, Progress: func(done, total int64) { u.progress("writing events", done, total) },
	}, outs...)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := n.Timeline(u.ctx, o, w.Add); err != nil {
		return err
	}
	if err := w.Finish(u.ctx); err != nil {
		return err
	}
	if f.companion {
		if err := writeCompanion(filepath.Join(filepath.Dir(u.outFiles[0]), "companion")); err != nil {
			return err
		}
	}
	u.sayImport(w.Events(), f)
	if w.Stats() != nil {
		u.endProgress()
		return u.printStats(n, w.Stats(), f)
	}
	return nil
}

// sayImport ends with the command that brings the events to Timesketch.
func (u *ui) sayImport(events int64, f *timelineFlags) {
	for i, out := range u.outFiles {
		if format := f.formats[i]; !u.quiet && (format == timeline.JSONL || format == timeline.Plaso) {
			u.endProgress()
			fmt.Fprintf(u.stderr, "lagan: %d events; import with: timesketch_importer --timeline_name NAME %s\n", events, out)
			return
		}
	}
}

// writeCompanion writes what goes with a timeline into a folder.
func writeCompanion(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range timeline.Companions() {
		if err := os.WriteFile(filepath.Join(dir, c.Name), c.Content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
