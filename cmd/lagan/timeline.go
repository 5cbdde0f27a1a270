package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/timeline"
)

// timelineFlags are the flags of the timeline command.
type timelineFlags struct {
	containers   []string
	scope        string
	format       string
	since, until string
	with         []string
}

var scopes = []string{string(analyzer.ScopeAll), string(analyzer.ScopeContainers), string(analyzer.ScopeNode)}

func newTimelineCommand(u *ui) *cobra.Command {
	var f timelineFlags
	cmd := u.command(verb{
		use:   "timeline EVIDENCE",
		short: "the node's timeline, for Timesketch and mactime",
		long: `Write what happened, in time order: the files of the node and of its containers, the lives
of containers and images. A file of an image's layer is told once, however many containers
share the layer; a container's own records are what it added, changed or deleted.
A bodyfile has files alone, in the order of the disk, for mactime to sort.`,
		examples: `
  lagan timeline node.img.zst -o timeline.jsonl
  lagan timeline node.img.zst --scope containers --since 2026-10-01 -o containers.jsonl
  lagan timeline /dev/nvme1n1 --scope node --format bodyfile | mactime -b - -d -z UTC`,
		min: 1, max: 1,
		run: func(n *analyzer.Node, args []string) error { return u.timeline(n, f) },
	})
	cmd.Flags().StringArrayVar(&f.containers, "container", nil, "only this CONTAINER (repeatable)")
	cmd.Flags().StringVar(&f.scope, "scope", scopes[0], "all, containers or node")
	cmd.Flags().StringArrayVar(&f.with, "with", nil, "tell FILE too: CloudTrail, GuardDuty, VPC flow or Kubernetes audit logs (repeatable)")
	cmd.Flags().StringVar(&f.format, "format", "", formatHelp())
	cmd.Flags().StringVar(&f.since, "since", "", "leave out what was before TIME (2026-11-22, 2026-11-22T10:00:00Z)")
	cmd.Flags().StringVar(&f.until, "until", "", "leave out what was at or after TIME")
	fileFlags(cmd, "with")
	check := cmd.Args
	cmd.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return err
		}
		return f.check(u.outFile)
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

// check finds wrong flags before the evidence is opened, and settles the format.
func (f *timelineFlags) check(out string) error {
	if !slices.Contains(scopes, f.scope) {
		return usageError{fmt.Errorf("--scope takes all, containers or node, not %q", f.scope)}
	}
	if f.format == "" {
		if byName, ok := timeline.FormatOf(out); ok {
			f.format = string(byName)
		}
	}
	if _, err := timeline.ParseFormat(f.format); err != nil {
		return usageError{err}
	}
	for _, t := range []string{f.since, f.until} {
		if _, err := parseTime(t); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// parseTime reads a day or an RFC 3339 time; "" is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-11-22 or 2026-11-22T10:00:00Z", s)
}

func (u *ui) timeline(n *analyzer.Node, f timelineFlags) error {
	o := analyzer.TimelineOptions{Scope: analyzer.Scope(f.scope)}
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
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		o.With = append(o.With, analyzer.Companion{Name: filepath.Base(name), R: file})
	}
	format, err := timeline.ParseFormat(f.format)
	if err != nil {
		return err
	}
	options := timeline.Options{TempDir: u.tempDir}
	if options.Since, err = parseTime(f.since); err != nil {
		return err
	}
	if options.Until, err = parseTime(f.until); err != nil {
		return err
	}
	return u.write(func(w io.Writer) error {
		tw, err := timeline.NewWriter(options, timeline.Output{W: w, Format: format})
		if err != nil {
			return err
		}
		defer tw.Close()
		if err := n.Timeline(u.ctx, o, tw.Add); err != nil {
			return err
		}
		if err := tw.Finish(u.ctx); err != nil {
			return err
		}
		if u.outFile != "" && format == timeline.JSONL && !u.quiet {
			defer fmt.Fprintf(u.stderr, "lagan: %d events; import with: timesketch_importer --timeline_name %s %s\n", tw.Events(), "NAME", u.outFile)
		}
		return nil
	})
}
