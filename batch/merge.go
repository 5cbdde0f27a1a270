package batch

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lagan/internal/durable"
)

// TimelineFile is the file of results that is in the order of time.
const TimelineFile = "timeline.jsonl"

const (
	// maxOpen is how many files are merged at once: of more, parts are merged first.
	maxOpen = 128
	// maxLine bounds a line of results; the longest that timelines have are a few MiB.
	maxLine = 64 << 20
	// lineBuffer is what is read of a file at once.
	lineBuffer = 64 << 10
)

// Merged says what Merge wrote.
type Merged struct {
	Snapshots int
	Lines     map[string]int64 // by file
}

// Merge joins the results of all snapshots below dir that are done: a file of
// each name, in which every record says which snapshot it is of. Timelines
// become one in the order of time; records of the other files follow each
// other, by snapshot. out is a new folder, whole or absent. Memory is bounded by
// maxOpen buffers and lines, whatever there is to merge.
func Merge(ctx context.Context, dir, out string) (Merged, error) {
	m := Merged{Lines: map[string]int64{}}
	names, err := doneIn(dir)
	if err != nil {
		return m, fmt.Errorf("folder of a batch: %w", err)
	}
	if len(names) == 0 {
		return m, fmt.Errorf("%s holds no finished snapshot", dir)
	}
	m.Snapshots = len(names)
	if _, err := os.Lstat(out); err == nil {
		return m, fmt.Errorf("%s is there already", out)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+tempPart)
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(tmp)
	files, err := resultFiles(dir, names)
	if err != nil {
		return m, err
	}
	for _, name := range files {
		join := concatenate
		if name == TimelineFile {
			join = mergeOrdered
		}
		var runs []source
		for _, n := range names {
			if path := filepath.Join(dir, n, name); exists(path) {
				runs = append(runs, source{path: path, snapshot: n})
			}
		}
		if m.Lines[name], err = join(ctx, runs, filepath.Join(tmp, name)); err != nil {
			return m, fmt.Errorf("merging %s: %w", name, err)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return m, err
	}
	return m, durable.Folder(tmp, out)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// doneIn returns the names of the snapshots below dir that are done.
func doneIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if e.IsDir() && goodName.MatchString(e.Name()) && exists(filepath.Join(dir, e.Name(), DoneFile)) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// resultFiles returns the names of the files of JSON lines that snapshots have.
func resultFiles(dir string, names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		list, err := os.ReadDir(filepath.Join(dir, n))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if strings.HasSuffix(e.Name(), ".jsonl") && !slices.Contains(out, e.Name()) {
				out = append(out, e.Name())
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// source is one file to merge. Without a snapshot its lines have theirs already.
type source struct {
	path     string
	snapshot string
}

// lines reads one source.
type lines struct {
	f    *os.File
	r    *bufio.Reader
	tail []byte // what is put in the place of a line's last brace
	long []byte
	line []byte // without its end
	key  int64
	turn int
}

func (s source) open(turn int) (*lines, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	l := &lines{f: f, r: bufio.NewReaderSize(f, lineBuffer), turn: turn}
	if s.snapshot != "" {
		l.tail = []byte(`,"snapshot":"` + s.snapshot + `"}`) // a name needs no escapes
	}
	return l, nil
}

// next reads a line; false at the end.
func (l *lines) next() (bool, error) {
	l.long = l.long[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = part
		if len(l.long) > 0 || err == bufio.ErrBufferFull {
			l.long = append(l.long, part...)
			l.line = l.long
		}
		switch {
		case len(l.long) > maxLine:
			return false, fmt.Errorf("%s: a line of more than %d MiB", l.f.Name(), maxLine>>20)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(l.line) == 0:
			return false, nil
		case err != nil && err != io.EOF:
			return false, err
		}
		l.line = bytes.TrimRight(l.line, "\r\n")
		if len(l.line) < 2 || l.line[0] != '{' || l.line[len(l.line)-1] != '}' {
			return false, fmt.Errorf("%s: a line that is no record: %.80q", l.f.Name(), l.line)
		}
		l.key = timeOf(l.line)
		return true, nil
	}
}

func (l *lines) write(w *bufio.Writer) error {
	body := l.line
	if l.tail != nil {
		body = body[:len(body)-1]
	}
	w.Write(body)
	w.Write(l.tail)
	return w.WriteByte('\n')
}

var nanoseconds = []byte(`"timestamp_nanoseconds":"`)

// timeOf returns the time of an event. It stands near the line's beginning, and
// before all that the evidence could have put there. Times past what 64 bits
// hold are the first or the last.
func timeOf(line []byte) int64 {
	_, rest, ok := bytes.Cut(line, nanoseconds)
	if !ok {
		return math.MinInt64
	}
	digits, _, _ := bytes.Cut(rest, []byte{'"'})
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return n // ParseInt's own nearest value
	}
	return n
}

// queue has the source with the earliest line first; equal times come in the
// order of the sources.
type queue []*lines

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].key != q[j].key {
		return q[i].key < q[j].key
	}
	return q[i].turn < q[j].turn
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*lines)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// mergeOrdered merges sources that are in order, by parts where there are many.
func mergeOrdered(ctx context.Context, runs []source, out string) (int64, error) {
	for pass := 0; len(runs) > maxOpen; pass++ {
		var merged []source
		for i := 0; i < len(runs); i += maxOpen {
			part := fmt.Sprintf("%s.part-%d-%d", out, pass, i)
			group := runs[i:min(len(runs), i+maxOpen)]
			if _, err := mergeSome(ctx, group, part); err != nil {
				return 0, err
			}
			for _, r := range group {
				if r.snapshot == "" { // a part of the pass before
					if err := os.Remove(r.path); err != nil {
						return 0, err
					}
				}
			}
			merged = append(merged, source{path: part})
		}
		runs = merged
	}
	n, err := mergeSome(ctx, runs, out)
	for _, r := range runs {
		if r.snapshot == "" {
			err = errors.Join(err, os.Remove(r.path))
		}
	}
	return n, err
}

func mergeSome(ctx context.Context, runs []source, out string) (n int64, err error) {
	var q queue
	var open []*lines
	defer func() {
		for _, l := range open {
			l.f.Close()
		}
	}()
	for i, r := range runs {
		l, err := r.open(i)
		if err != nil {
			return 0, err
		}
		open = append(open, l)
		more, err := l.next()
		if err != nil {
			return 0, err
		}
		if more {
			q = append(q, l)
		}
	}
	heap.Init(&q)
	return writeTo(out, func(w *bufio.Writer) (n int64, err error) {
		for len(q) > 0 {
			if n++; n%4096 == 0 && ctx.Err() != nil {
				return n, ctx.Err()
			}
			l := q[0]
			if err := l.write(w); err != nil {
				return n, err
			}
			before := l.key
			more, err := l.next()
			switch {
			case err != nil:
				return n, err
			case !more:
				heap.Pop(&q)
				continue
			case l.key < before:
				return n, fmt.Errorf("%s is not in the order of time: %.80q", l.f.Name(), l.line)
			}
			heap.Fix(&q, 0)
		}
		return n, nil
	})
}

func concatenate(ctx context.Context, runs []source, out string) (int64, error) {
	return writeTo(out, func(w *bufio.Writer) (n int64, err error) {
		for _, r := range runs {
			l, err := r.open(0)
			if err != nil {
				return n, err
			}
			more, err := l.next()
			for ; more && err == nil && ctx.Err() == nil; more, err = l.next() {
				n++
				if err := l.write(w); err != nil {
					l.f.Close()
					return n, err
				}
			}
			l.f.Close()
			if err = errors.Join(err, ctx.Err()); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

func writeTo(path string, write func(*bufio.Writer) (int64, error)) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	n, err := write(w)
	if err == nil {
		err = w.Flush()
	}
	return n, errors.Join(err, f.Close())
}
