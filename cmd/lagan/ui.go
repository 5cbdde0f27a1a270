package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"lagan/analyzer"
	"lagan/internal/confine"
	"lagan/internal/isolate"
	"lagan/internal/text"
	"lagan/mount"
)

// ui holds what every command shares. Its rules: results go to standard output
// or -o, everything else to standard error; messages begin with "lagan:", in
// lower case, without a full stop; names out of the evidence are escaped
// wherever a terminal could see them; a warning is one line.
type ui struct {
	ctx            context.Context
	stdout, stderr io.Writer

	output       string
	outFile      string   // the last of outFiles
	outFiles     []string // more than one for the timeline alone
	severalOut   bool
	progressMode string
	verbose      bool
	quiet        bool
	jobs         int
	noJournal    bool
	disks        []string
	snapshot     string
	volume       int
	dataRoots    []string
	noScan       bool
	mounts       []string
	layers       []string
	tempDir      string
	cacheDir     string
	noSandbox    bool
	timeout      time.Duration
	maxMemory    string
	isolate      bool
	tellsFiles   bool // the command tells the files of the whole evidence

	child       *isolate.Child // where this process was started to read evidence for another one
	kept        *mount.Kept    // where another process mounts for this one
	sandbox     bool           // this is a process of its own, which may be confined
	confinement confine.State

	started     time.Time
	task        string // whose progress is shown
	taskStarted time.Time
	taskDone    int64
	shown       time.Time
	showing     bool
	gaps        int
	findings    int // of verify, which the exit status tells
	gapsTold    int
}

// maxTold bounds the warnings that are printed one by one without -v.
const maxTold = 50

var outputs = []string{"table", "json", "jsonl", "csv"}

func (u *ui) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&u.output, "output", "O", "table", "table, json, jsonl or csv")
	f.VarP(outFlag{u}, "out", "o", "write to FILE, whole or not at all")
	f.StringVar(&u.progressMode, "progress", "auto", "auto, plain or none: how far it is, on standard error")
	f.BoolVarP(&u.verbose, "verbose", "v", false, "say more; list every warning")
	f.BoolVarP(&u.quiet, "quiet", "q", false, "print no warnings (the exit status still counts them)")
	f.IntVar(&u.jobs, "jobs", 0, "how many things to do at once (0: one a processor)")
	f.BoolVar(&u.noJournal, "no-journal", false, "leave a dirty journal unreplayed and show the stale view")
	f.StringArrayVar(&u.disks, "disk", nil, "a further disk of the same node, or the one that an image holds the changes of (repeatable)")
	f.StringVar(&u.snapshot, "load-snapshot", "", "read this internal snapshot of a qcow2 image, an id or a name as info lists them")
	f.IntVar(&u.volume, "volume", 0, "read only this volume, as info numbers them")
	f.StringArrayVar(&u.dataRoots, "data-root", nil, "KIND=PATH: a runtime's data root that no configuration names (repeatable)")
	f.BoolVar(&u.noScan, "no-scan", false, "look for data roots where they are configured or usual, not in the whole tree")
	f.StringArrayVar(&u.mounts, "mount", nil, "VOLUME=/PATH: where a volume belongs in the node's tree (repeatable)")
	f.StringArrayVar(&u.layers, "layer", nil, "DIGEST=FILE: a layer's blob from elsewhere, in place of a folder that is missing (repeatable); ls, cat: the one layer to be shown")
	f.StringVar(&u.cacheDir, "cache", "", "folder that keeps what was unpacked for the next command")
	f.StringVar(&u.tempDir, "temp", "", "folder for what has to be unpacked")
	f.DurationVar(&u.timeout, "timeout", 0, "give up on one object (a filesystem, a container, a log) after this time, such as 90s (0: never)")
	f.StringVar(&u.maxMemory, "max-memory", "", "give up on the objects that are being read when more memory than this is in use, such as 4GiB (default three quarters of the machine's; 0: never)")
	f.BoolVar(&u.isolate, "isolate", false, "read the evidence in a process of its own: one that dies is started again without what killed it")
	f.BoolVar(&u.noSandbox, "no-sandbox", false, "don't confine the process to the evidence, the output and the folder for what is unpacked")
	f.SortFlags = false
}

// checkFlags finds what is wrong with the flags before any evidence is touched.
func (u *ui) checkFlags(evidence string) error {
	if !slices.Contains(outputs, u.output) {
		return usageError{fmt.Errorf("--output takes %s, not %q", strings.Join(outputs, ", "), u.output)}
	}
	if !slices.Contains([]string{"auto", "plain", "none"}, u.progressMode) {
		return usageError{fmt.Errorf("--progress takes auto, plain or none, not %q", u.progressMode)}
	}
	if u.volume < 0 {
		return usageError{fmt.Errorf("--volume takes a number as `lagan info` gives it, not %d", u.volume)}
	}
	if u.jobs < 0 {
		return usageError{fmt.Errorf("--jobs takes a positive number, or 0 for one a processor, not %d", u.jobs)}
	}
	if u.jobs > 0 {
		runtime.GOMAXPROCS(u.jobs) // readers and writers take their parallelism from it
	}
	if len(u.outFiles) > 1 && !u.severalOut {
		return usageError{fmt.Errorf("-o is given %d times, and this command writes one file", len(u.outFiles))}
	}
	for _, out := range u.outFiles {
		if err := u.outside(evidence, "-o", out); err != nil {
			return err
		}
	}
	return nil
}

// outside refuses what would change the evidence.
func (u *ui) outside(evidence, what, path string) error {
	for _, e := range append([]string{evidence}, u.disks...) {
		if e == "" {
			continue // a command without evidence of its own
		}
		inside, err := within(e, path)
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, path, err)
		}
		if inside {
			return usageError{fmt.Errorf("%s %s lies in the evidence, which is never written to", what, path)}
		}
	}
	return nil
}

// outFlag is -o, which may be given several times.
type outFlag struct{ u *ui }

// String implements pflag.Value.
func (o outFlag) String() string {
	if o.u == nil {
		return ""
	}
	return o.u.outFile
}

// Type implements pflag.Value.
func (outFlag) Type() string { return "string" }

// Set implements pflag.Value.
func (o outFlag) Set(name string) error {
	name = behindLinks(name)
	o.u.outFile = name
	if name != "" {
		o.u.outFiles = append(o.u.outFiles, name)
	}
	return nil
}

// within says whether the file that out would make is the evidence or lies in it.
func within(evidence, out string) (bool, error) {
	real, err := filepath.EvalSymlinks(evidence)
	if err != nil {
		return false, nil // opening it will say so better
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(out))
	if err != nil {
		return false, err
	}
	target := filepath.Join(dir, filepath.Base(out))
	if abs, err := filepath.Abs(real); err == nil {
		real = abs
	}
	if abs, err := filepath.Abs(target); err == nil {
		target = abs
	}
	return target == real || strings.HasPrefix(target, strings.TrimSuffix(real, "/")+"/"), nil
}

// gap is told of each gap as it is found.
func (u *ui) gap(g analyzer.Gap) {
	u.gaps++
	if u.quiet || (u.gapsTold >= maxTold && !u.verbose) {
		return
	}
	u.gapsTold++
	u.endProgress()
	fmt.Fprintf(u.stderr, "lagan: warning: %s\n", text.ForTerminal(g.String()))
}

func (u *ui) reportGaps(n *analyzer.Node) {
	u.endProgress()
	if more := u.gaps - u.gapsTold; more > 0 && !u.quiet {
		fmt.Fprintf(u.stderr, "lagan: and %d more warnings; -v lists them\n", more)
	}
	for _, line := range n.Usage() {
		u.say("%s", line)
	}
}

// progress shows how far a task is, for work over a second.
func (u *ui) progress(task string, done, total int64) {
	now := time.Now()
	if u.started.IsZero() {
		u.started = now
	}
	if task != u.task || done < u.taskDone {
		u.task, u.taskStarted = task, now
	}
	u.taskDone = done
	terminal := isTerminal(u.stderr)
	every := 200 * time.Millisecond
	if !terminal {
		every = 5 * time.Second
	}
	if u.quiet || u.progressMode == "none" || (u.progressMode == "auto" && !terminal) ||
		now.Sub(u.started) < time.Second || now.Sub(u.shown) < every {
		return
	}
	u.shown = now
	line := task
	if total > 0 {
		line = fmt.Sprintf("%s: %d %%%s", task, 100*done/total, u.remaining(now, done, total))
	} else if done > 0 {
		line = fmt.Sprintf("%s: %d", task, done)
	}
	if terminal && u.progressMode == "auto" {
		fmt.Fprintf(u.stderr, "\r\x1b[K%s", text.ForTerminal(line))
		u.showing = true
		return
	}
	fmt.Fprintf(u.stderr, "lagan: %s\n", text.ForTerminal(line))
}

// remaining is how much of a task was done, and an estimate of how long the rest
// takes, once there is anything to judge by.
func (u *ui) remaining(now time.Time, done, total int64) string {
	counts := fmt.Sprintf(" (%d of %d)", done, total)
	spent := now.Sub(u.taskStarted)
	if done <= 0 || done > total || spent < time.Second {
		return counts
	}
	left := time.Duration(float64(spent) / float64(done) * float64(total-done)).Round(time.Second)
	return fmt.Sprintf("%s, about %v left", counts, left)
}

func (u *ui) endProgress() {
	if u.showing {
		fmt.Fprint(u.stderr, "\r\x1b[K")
		u.showing = false
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// openFor opens a file that a flag names.
func openFor(flag, name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return f, nil
}

// parseTime reads the time that a flag gives: a day, or a time of RFC 3339's with
// or without its end, in UTC where no zone is given; "" is the zero time.
func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--%s takes a time such as 2026-11-22 or 2026-11-22T10:00:00Z, not %q", flag, s)}
}

// flagError says in this program's words what pflag says in its own: of a flag
// that isn't there, and of a value that a flag doesn't take, which ones it does.
func flagError(err error) error {
	var none *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &none) && none.GetSpecifiedShortnames() != "":
		return fmt.Errorf("there is no flag -%s", none.GetSpecifiedName())
	case errors.As(err, &none):
		return fmt.Errorf("there is no flag --%s", none.GetSpecifiedName())
	case errors.As(err, &bare) && bare.GetSpecifiedShortnames() != "":
		return fmt.Errorf("-%s takes a value", bare.GetSpecifiedName())
	case errors.As(err, &bare):
		return fmt.Errorf("--%s takes a value", bare.GetSpecifiedName())
	case !errors.As(err, &invalid):
		return err
	}
	takes := map[string]string{"int": "a number", "int64": "a number", "uint": "a number", "uint32": "a number", "duration": "a time such as 90s or 5m", "bool": "true or false"}[invalid.GetFlag().Value.Type()]
	if takes == "" {
		return err
	}
	return fmt.Errorf("--%s takes %s, not %q", invalid.GetFlag().Name, takes, invalid.GetValue())
}
