package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/containerlog"
	"lagan/artifacts/lines"
	"lagan/evidence"
	"lagan/runtimes"
)

// LogEntry is one line of a container's output. Text is valid until the next one is asked for.
type LogEntry struct {
	Time   time.Time
	Source string // stdout, stderr
	Text   []byte // without the line feed at its end
	// Unended says that no line feed ended the line: the container ended first,
	// or what follows is lost.
	Unended bool
	Flags   string // CRI's tags
	Path    string // of the file that it lies in, as the node names it
	Offset  int64  // in that file, unpacked
}

// ErrNoLogs says that the node's disk holds no output of a container.
var ErrNoLogs = errors.New("no log of it is on the disk")

// Logs calls fn for each line that a container wrote to its standard output
// and error, the oldest first, from every rotated and packed file. What can't
// be read is a gap.
func (n *Node) Logs(ctx context.Context, c *Container, fn func(*LogEntry) error) error {
	sets := n.logSets(c)
	if len(sets) == 0 {
		return fmt.Errorf("%s: %w%s", c.DisplayName(), ErrNoLogs, whereLogsWent(c))
	}
	for i := range sets {
		if err := n.readLogs(ctx, c.store.Volume, &sets[i], fn); err != nil {
			return err
		}
	}
	return nil
}

func whereLogsWent(c *Container) string {
	switch {
	case c.LogDriver != "":
		return ": its log driver is " + c.LogDriver
	case c.LogPath != "":
		return ": it was to be " + c.LogPath
	}
	return ""
}

// logForm is how a runtime keeps output.
type logForm struct {
	name string // of the parser, in records
	read func(io.Reader) iter.Seq2[containerlog.Entry, error]
}

var (
	jsonFile = logForm{"docker_json_log", containerlog.JSONFile}
	local    = logForm{"docker_local_log", containerlog.Local}
	criLog   = logForm{"cri_log", containerlog.CRI}
)

// logSet is one log with its rotated files, the oldest first.
type logSet struct {
	form  logForm
	tree  evidence.FS
	files []logFile
}

type logFile struct {
	path string
	ino  evidence.Ino
}

// logSets finds the logs of a container.
func (n *Node) logSets(c *Container) []logSet {
	var sets []logSet
	add := func(form logForm, base string) {
		if base == "" {
			return
		}
		for _, s := range sets {
			if slices.ContainsFunc(s.files, func(f logFile) bool { return f.path == base }) {
				return
			}
		}
		tree, files := n.rotated(c, base)
		if len(files) == 0 && c.Removed {
			tree, files = n.deletedLogs(base)
		}
		if len(files) > 0 {
			sets = append(sets, logSet{form, tree, files})
		}
	}
	switch {
	case c.Runtime == runtimes.Docker:
		dir := path.Join(c.StorePath, "containers", c.ID) // moby daemon/container
		add(jsonFile, path.Join(dir, c.ID+"-json.log"))
		add(local, path.Join(dir, "local-logs/container.log"))
		add(local, path.Join(dir, "container-cached.log"))
		if strings.HasSuffix(c.LogPath, "-json.log") {
			add(jsonFile, c.LogPath)
		}
	case c.Labels[nerdctlStateDir] != "":
		add(jsonFile, path.Join(c.Labels[nerdctlStateDir], c.ID+"-json.log"))
	default:
		add(criLog, c.LogPath)
	}
	return sets
}

// nerdctlStateDir is the label in which nerdctl keeps a container's folder (its pkg/labels).
const nerdctlStateDir = "nerdctl/state-dir"

// rotated finds a log and what rotation made of it, the oldest first: names
// that add .1, .2.gz (Docker: the higher the older) or .20261122-092400.gz (the
// kubelet) to the log's own.
func (n *Node) rotated(c *Container, base string) (evidence.FS, []logFile) {
	tree, dir, err := n.inNode(c, path.Dir(base))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.gap(c.store.Volume, c.DisplayName(), err)
		}
		return nil, nil
	}
	return tree, n.rotatedIn(tree, dir, base)
}

func (n *Node) rotatedIn(tree evidence.FS, dir evidence.Ino, base string) []logFile {
	type rotatedFile struct {
		logFile
		age rotation
	}
	var found []rotatedFile
	names := make(map[string]bool)
	for e, err := range tree.ReadDir(dir) {
		if err != nil {
			n.gap(0, path.Dir(base), err)
			continue
		}
		age, ok := rotationOf(e.Name, path.Base(base))
		if !ok {
			continue
		}
		ino := e.Ino
		name := path.Join(path.Dir(base), e.Name)
		if age.current { // may be a link: of Kubernetes' to Docker's own
			if ino, err = evidence.Resolve(tree, tree.Root(), name, true); err != nil {
				continue
			}
		}
		if info, err := tree.Stat(ino); err != nil || info.Type != evidence.TypeFile {
			continue
		}
		names[e.Name] = true
		found = append(found, rotatedFile{logFile{name, ino}, age})
	}
	slices.SortFunc(found, func(a, b rotatedFile) int { return a.age.compare(b.age) })
	var files []logFile
	for _, f := range found {
		plain := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".gz"), ".tmp")
		if plain != path.Base(f.path) && names[plain] {
			continue // the packing was interrupted: what it packed is still there
		}
		files = append(files, f.logFile)
	}
	return files
}

// rotation is the age of a rotated file.
type rotation struct {
	current bool
	number  int    // 0: by stamp
	stamp   string // the later the younger
}

func rotationOf(name, base string) (rotation, bool) {
	rest, ok := strings.CutPrefix(name, base)
	if !ok {
		return rotation{}, false
	}
	if rest == "" {
		return rotation{current: true}, true
	}
	rest, ok = strings.CutPrefix(rest, ".")
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, ".tmp"), ".gz")
	if !ok || rest == "" {
		return rotation{}, false
	}
	if number, err := strconv.Atoi(rest); err == nil && number > 0 && len(rest) < 8 {
		return rotation{number: number}, true
	}
	return rotation{stamp: rest}, rest[0] >= '0' && rest[0] <= '9'
}

func (a rotation) compare(b rotation) int {
	switch {
	case a.current != b.current:
		if a.current {
			return 1
		}
		return -1
	case a.number != b.number:
		return b.number - a.number
	}
	return strings.Compare(a.stamp, b.stamp)
}

// readLogs reads the files of one log as one sequence. The error is fn's, or the context's.
func (n *Node) readLogs(ctx context.Context, volume int, set *logSet, fn func(*LogEntry) error) error {
	at := 0 // the file that is being read
	bad := make([]int, len(set.files))
	pieces := func(yield func(containerlog.Entry, error) bool) {
		for at = range set.files {
			if !n.readLog(ctx, volume, set, at, yield) {
				return
			}
		}
	}
	var failed error
	n.guard(volume, set.files[len(set.files)-1].path, func() error {
		for e, err := range containerlog.Join(pieces) {
			if err != nil {
				if bad[at]++; bad[at] <= maxBad {
					n.gap(volume, set.files[at].path, err)
				}
				continue
			}
			out := LogEntry{Time: e.Time, Source: e.Source, Text: e.Text, Unended: e.More || e.Unended, Flags: e.Flags, Path: set.files[e.File].path, Offset: e.Offset}
			if failed = fn(&out); failed != nil {
				return nil
			}
		}
		return nil
	})
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// readLog yields the pieces of one file, and says whether to go on.
func (n *Node) readLog(ctx context.Context, volume int, set *logSet, at int, yield func(containerlog.Entry, error) bool) (more bool) {
	more = true
	n.guard(volume, set.files[at].path, func() error {
		file, err := set.tree.Open(set.files[at].ino)
		if err != nil {
			return err
		}
		r, done := lines.Unpack(file)
		defer done()
		for e, err := range set.form.read(r) {
			e.File = at
			if ctx.Err() != nil || !yield(e, err) {
				more = false
				return nil
			}
		}
		return nil
	})
	return more
}
