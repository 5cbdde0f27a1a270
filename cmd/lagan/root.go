package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
)

const exitStatusHelp = `
Exit status:
  0  all was read
  1  nothing could be done; the message says what, where and what to try
  2  wrong usage
  3  done, but some of the evidence could not be read: each such place is a
     warning on standard error and, where the output carries records, a record`

const rootHelp = `lagan reads the disk of a Kubernetes, Docker or Podman node without mounting it:
a disk or an image of one goes in; containers, their merged filesystems, what
they changed and a timeline come out. The evidence is never written to.

EVIDENCE is a block device, the image of a disk (raw, split, packed, E01, qcow2,
VMDK, VHD, VHDX, VDI), a tar of a tree, a mounted root or a runtime's folder.
CONTAINER is an id or how it begins (4 characters or more), a name or
NAMESPACE/POD/CONTAINER; @node is the node's own tree, @image:NAME an image's.`

// usageTemplate is cobra's, in another order: help ends with the examples and
// the exit statuses, where a terminal shows them last.
const usageTemplate = `Usage:
  {{if .Runnable}}{{.UseLine}}{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

"lagan COMMAND --help" has a command's flags and examples.
{{end}}`

// usageError is a mistake in how the command was called.
type usageError struct{ error }

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return (&ui{ctx: ctx, stdout: stdout, stderr: stderr}).run(args)
}

// runConfined is run in a process of its own, which gives up what it doesn't need.
func runConfined(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	u := &ui{ctx: ctx, stdout: stdout, stderr: stderr, sandbox: true, kept: keeperOf()}
	detach, err := u.attach()
	if err != nil {
		fmt.Fprintf(stderr, "lagan: %v\n", err)
		return exitFailed
	}
	code := u.run(args)
	detach(code)
	return code
}

func (u *ui) run(args []string) int {
	stdout, stderr := u.stdout, u.stderr
	cmd := newRootCommand(u)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(u.ctx)
	u.endProgress()
	switch {
	case err == nil && u.gaps+u.findings > 0:
		return exitPartial
	case err == nil:
		return exitOK
	}
	var elsewhere ended
	if errors.As(err, &elsewhere) {
		return int(elsewhere)
	}
	fmt.Fprintf(stderr, "lagan: %s\n", errorText(err))
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// errorText keeps the line breaks of our own lists and nothing else that could
// act on a terminal. What a signal ended says so, wherever it was.
func errorText(err error) string {
	if errors.Is(err, context.Canceled) && !strings.HasPrefix(err.Error(), "interrupted") {
		return "interrupted"
	}
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		if lines[i] = text.ForTerminal(l); i > 0 && !strings.HasPrefix(l, "  ") {
			// A name of the evidence may hold line breaks: what follows one is set
			// in, so that it passes for no message of its own.
			lines[i] = "  " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

func newRootCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "lagan COMMAND EVIDENCE [ARGUMENT...]",
		Short:         "offline forensic analyzer of container nodes' disks",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; `lagan help commands` lists them", args[0])}
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return u.inChild(cmd) },
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see `%s --help`", flagError(err), c.CommandPath())}
	})
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetUsageTemplate(usageTemplate)
	u.addFlags(cmd.PersistentFlags())
	if err := cmd.MarkPersistentFlagFilename("layer"); err != nil {
		panic(err) // no such flag: a mistake in this program
	}
	cmd.AddCommand(
		newInfoCommand(u), newContainersCommand(u), newImagesCommand(u), newInspectCommand(u),
		newPodsCommand(u), newSnapshotsCommand(u), newContentsCommand(u), newVolumesCommand(u), newSecretsCommand(u), newNetworksCommand(u), newNamespacesCommand(u), newTasksCommand(u), newSwarmCommand(u), newPluginsCommand(u), newBuildsCommand(u), newWhichCommand(u),
		newLsCommand(u), newCatCommand(u), newFindCommand(u), newDiffCommand(u), newLogsCommand(u), newTimelineCommand(u), newRecoverCommand(u),
		newVerifyCommand(u), newHistoryCommand(u), newExportCommand(u), newBundleCommand(u), newMountCommand(u), newBatchCommand(u), newVersionCommand(u), newCeCommand(u), newDeCommand(u), newManCommand(), newFindingsCommand(u), newReportCommand(u), newCheckpointCommand(u),
	)
	addHelp(cmd)
	return cmd
}

// verb describes one command. Its long help ends with examples and exit statuses.
type verb struct {
	use, short, long, examples string
	alias                      string
	min, max                   int // arguments
	run                        func(n *analyzer.Node, args []string) error
	// check, where set, looks at the command's own flags before any evidence is opened.
	check func() error
	// readsNothing lets the command go on where no filesystem was found.
	readsNothing bool
}

// command makes a cobra command of a verb: the evidence is opened first, and
// what was a gap is told and counted at the end.
func (u *ui) command(v verb) *cobra.Command {
	cmd := &cobra.Command{
		Use:     v.use,
		Short:   v.short,
		Long:    v.long,
		Example: strings.Trim(v.examples, "\n") + "\n" + exitStatusHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < v.min || len(args) > v.max {
				return usageError{fmt.Errorf("usage: lagan %s; see `%s --help`", v.use, c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if v.check != nil {
				if err := v.check(); err != nil {
					return err
				}
			}
			if err := u.makeCache(); err != nil {
				return err
			}
			if err := u.confine(c, args[0], false); err != nil {
				return err
			}
			n, err := u.open(args[0])
			if err != nil {
				return err
			}
			defer n.Close()
			if err := u.confine(c, args[0], true); err != nil {
				return err
			}
			if n.Tree == nil && !v.readsNothing {
				return fmt.Errorf("%s: %w; `lagan info` shows what was recognised", args[0], analyzer.ErrNoFilesystem)
			}
			err = v.run(n, args)
			u.reportGaps(n)
			return err
		},
	}
	if v.alias != "" {
		cmd.Aliases = []string{v.alias}
	}
	return cmd
}

// open opens the evidence as the flags say.
func (u *ui) open(path string) (*analyzer.Node, error) {
	if err := u.checkFlags(path); err != nil {
		return nil, err
	}
	limit, err := u.memoryLimit()
	if err != nil {
		return nil, err
	}
	o := analyzer.Options{
		MaxMemory: limit, Begin: u.begin(), Filesystems: filesystems,
		Disks: u.disks, Snapshot: snapshotName(u.snapshot), Volume: u.volume, NoJournal: u.noJournal, TempDir: u.tempDir, CacheDir: u.cacheDir, NoScan: u.noScan, Trace: u.verbose, Timeout: u.timeout, TellFiles: u.tellsFiles,
		Progress: u.progress, Gap: u.gap,
	}
	for _, r := range u.dataRoots {
		kind, path, ok := strings.Cut(r, "=")
		if !ok || !strings.HasPrefix(path, "/") {
			return nil, usageError{fmt.Errorf("--data-root takes KIND=/PATH, such as docker=/srv/docker, not %q", r)}
		}
		name, err := analyzer.RuntimeNamed(kind)
		if err != nil {
			return nil, usageError{fmt.Errorf("--data-root: %w", err)}
		}
		o.DataRoots = append(o.DataRoots, analyzer.DataRoot{Kind: name, Path: path})
	}
	for _, m := range u.mounts {
		volume, path, ok := strings.Cut(m, "=")
		index, err := strconv.Atoi(volume)
		if !ok || err != nil || index < 1 || !strings.HasPrefix(path, "/") {
			return nil, usageError{fmt.Errorf("--mount takes VOLUME=/PATH, such as 2=/var/lib/containerd, not %q", m)}
		}
		o.Mounts = append(o.Mounts, analyzer.MountOption{Volume: index, Path: path})
	}
	for _, l := range u.layers {
		layer, err := analyzer.ParseLayerOption(l)
		if err != nil {
			return nil, usageError{err}
		}
		o.Layers = append(o.Layers, layer)
	}
	n, err := analyzer.Open(u.ctx, path, o)
	u.endProgress()
	if err != nil {
		return nil, err
	}
	if err := u.checkOutputs(n); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// makeCache makes the folder of --cache, for its owner alone: what is kept in it
// is evidence.
func (u *ui) makeCache() error {
	if u.cacheDir == "" {
		return nil
	}
	if err := os.MkdirAll(u.cacheDir, 0o700); err != nil {
		return fmt.Errorf("making the folder of --cache: %w", err)
	}
	return nil
}

// snapshotName takes the forms that qemu-img's -l and qemu-nbd's --load-snapshot
// take: an id or a name, snapshot.id=ID, snapshot.name=NAME.
func snapshotName(s string) string {
	for _, prefix := range []string{"snapshot.id=", "snapshot.name="} {
		if value, ok := strings.CutPrefix(s, prefix); ok {
			return value
		}
	}
	return s
}

// checkOutputs refuses an output that is one of the files that the evidence is in.
func (u *ui) checkOutputs(n *analyzer.Node) error {
	for _, e := range n.Evidence {
		for _, file := range e.Files {
			for _, out := range u.outFiles {
				if inside, err := within(file, out); err == nil && inside {
					return usageError{fmt.Errorf("-o %s is part of the evidence, which is never written to", out)}
				}
			}
		}
	}
	return nil
}
