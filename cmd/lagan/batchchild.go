package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/batch"
	"lagan/internal/confine"
	"lagan/internal/isolate"
)

// batchChild is the hidden command that does one snapshot of a batch, in a process
// of its own: what kills it is left out, and other snapshots don't notice.
const batchChild = "snapshot"

// snapshotOrder is what a batch asks of such a process.
type snapshotOrder struct {
	Snapshot batch.Snapshot `json:"snapshot"`
	Folder   string         `json:"folder"`
	Tasks    []string       `json:"tasks"`
}

// snapshotAnswer is what came of it.
type snapshotAnswer struct {
	Result batch.Result `json:"result"`
	Error  string       `json:"error,omitempty"`
}

func newBatchChildCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use: batchChild, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if u.child == nil {
				return usageError{errors.New("batch starts this by itself")}
			}
			var o snapshotOrder
			if err := json.Unmarshal(u.child.Request, &o); err != nil {
				return err
			}
			r, err := u.snapshotHere(&o)
			a := snapshotAnswer{Result: r}
			if err != nil {
				a.Error = err.Error()
			}
			return u.child.Answer(a)
		},
	}
}

// snapshotHere does one snapshot, confined to it.
func (u *ui) snapshotHere(o *snapshotOrder) (r batch.Result, err error) {
	tasks, err := chooseTasks(o.Tasks)
	if err != nil {
		return r, err
	}
	own, err := u.forSnapshot(u.ctx, o.Snapshot)
	if err != nil {
		return r, err
	}
	if err := own.confineSnapshot(o); err != nil {
		return r, err
	}
	return own.doSnapshot(o.Snapshot, o.Folder, tasks)
}

// confineSnapshot leaves the process the snapshot's evidence and folder alone.
func (u *ui) confineSnapshot(o *snapshotOrder) error {
	if !u.sandbox || u.noSandbox {
		return nil
	}
	a := confine.Access{Read: []string{"/proc/self/uid_map"}, Write: []string{u.spoolDir(), o.Folder}}
	if u.cacheDir != "" {
		a.Write = append(a.Write, u.cacheDir)
	}
	for _, l := range u.layers {
		if _, file, ok := strings.Cut(l, "="); ok {
			a.Read = append(a.Read, file)
		}
	}
	for _, e := range append([]string{o.Snapshot.Evidence}, o.Snapshot.Disks...) {
		a.Read = append(a.Read, readable(e, false)...)
		reach(&a, e)
	}
	_, err := confine.Apply(a)
	return err
}

// inherit are the flags of a batch that each snapshot's process is given too.
func inherit(flags *pflag.FlagSet) (args []string) {
	flags.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "no-journal", "volume", "data-root", "no-scan", "mount", "layer", "timeout", "temp", "cache", "verbose", "quiet", "jobs", "no-sandbox", "max-memory":
		default:
			return
		}
		values := []string{f.Value.String()}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = s.GetSlice()
		}
		for _, v := range values {
			args = append(args, "--"+f.Name+"="+v)
		}
	})
	return args
}

// snapshotElsewhere does one snapshot in a process of its own. Where the system
// has no way to hand one over what it needs, it is done here.
func (u *ui) snapshotElsewhere(ctx context.Context, o snapshotOrder, flags []string) (r batch.Result, err error) {
	if !u.sandbox || runtime.GOOS == "windows" {
		return u.snapshotHere(&o)
	}
	for _, path := range []*string{&o.Folder, &o.Snapshot.Evidence} {
		if analyzer.SnapshotOf(*path) != "" {
			continue // no path
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return r, err
		}
	}
	limit, err := u.memoryLimit()
	if err != nil {
		return r, err
	}
	null, err := os.CreateTemp(u.spoolDir(), "lagan-output-*") // nothing is printed there
	if err != nil {
		return r, err
	}
	os.Remove(null.Name())
	defer null.Close()
	end, err := isolate.Run(ctx, isolate.Job{
		Args: append([]string{"batch", batchChild}, flags...), Request: o, Stdout: null, Memory: limit + limit/8,
		Died: func(d isolate.Death) {
			u.say("%s: the reader of %s died: %s; again without it", o.Snapshot.Name, d.Object, d.Why)
		},
	})
	if err != nil {
		return r, err
	}
	if _, err := io.Copy(u.stderr, strings.NewReader(string(end.Said))); err != nil {
		return r, err
	}
	var a snapshotAnswer
	if err := json.Unmarshal(end.Answer, &a); err != nil {
		return r, fmt.Errorf("the process for %s ended with status %d and said nothing", o.Snapshot.Name, end.Code)
	}
	if a.Error != "" {
		return a.Result, errors.New(a.Error)
	}
	return a.Result, nil
}
