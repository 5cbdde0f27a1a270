// Package export writes a tree of evidence out: as a tar, as the runtime's own
// export would (Tar), or into a folder (Dir).
//
// The tar follows POSIX pax as archive/tar writes it, names and order as
// moby's pkg/archive (TarWithOptions, addTarFile), extended attributes as star
// keeps them, whiteouts as the OCI image specification has them (layer.md).
//
// Input is hostile: names, links and contents were chosen by an attacker, and
// filesystems may be corrupt. Dir creates files and nothing but files and
// folders unless it is asked for more, all of them inside one os.Root. What
// can't be read is told to Options.Guard, and stands in the export as zeros of
// the same length. Memory doesn't grow with the tree, but for a bounded table
// of hard links.
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"lagan/evidence"
)

// Source is what is exported.
type Source struct {
	FS    evidence.FS
	Start evidence.Ino
	// Path leads from the root of FS to Start, without slashes around it; ""
	// for the root. Names in the export begin with it.
	Path string
	// Upper, if set, is the tree that the uppermost layer of FS lies in: then
	// only that layer is exported, with marks for what it deletes. FS must then
	// be a Layered.
	Upper evidence.FS
}

// Layered is a merged view that knows where its inodes come from.
type Layered interface {
	evidence.FS
	// Origin returns the layer, 0 for the uppermost, and the inode in it.
	Origin(evidence.Ino) (layer int, of evidence.Ino, err error)
	// Opaque says that a directory hides what the layers below have in its place.
	Opaque(evidence.Ino) bool
	// Redirected says that a directory's content comes from another place of the layers below.
	Redirected(evidence.Ino) bool
}

// Options are those of every form of export.
type Options struct {
	// Guard runs what reads one file; its error, or panic, is a gap of that file.
	Guard func(path string, read func() error)
	// Left, if set, is told of each file that the form has no place for: sockets, in a tar.
	Left func(path string, info evidence.Info)
	// Owner, if set, gives the owner inside a container of an owner on the disk:
	// a runtime's tar has that one. Dir and Raw keep the disk's.
	Owner func(uid, gid uint32) (uint32, uint32)
	// NoUserXattrs leaves all attributes but file capabilities out of a tar, as
	// Docker does.
	NoUserXattrs bool
	// Progress, if set, is told how many entries were written.
	Progress func(entries int64)
}

func (o *Options) gap(path string, err error) {
	o.Guard(path, func() error { return err })
}

// item is one name of the tree on its way into the export.
type item struct {
	path     string // without slashes around it; "" for the root
	ino      evidence.Ino
	info     evidence.Info
	whiteout bool // of Source.Upper: the name is deleted
	opaque   bool // of Source.Upper: a directory that hides those below
}

// maxDepth bounds the depth of a walk of an upper layer: PATH_MAX/2.
const maxDepth = 2048

// maxNames bounds how often a walk enters one directory of an upper layer.
const maxNames = 64

// walker calls fn for each item, directories before their content, in name order.
type walker struct {
	ctx     context.Context
	s       Source
	o       *Options
	fn      func(item) error
	view    Layered
	entered map[evidence.Ino]int
}

func walk(ctx context.Context, s Source, o *Options, fn func(item) error) error {
	w := &walker{ctx: ctx, s: s, o: o, fn: fn}
	if s.Upper == nil {
		return w.all(s.Path, s.Start, false)
	}
	var ok bool
	if w.view, ok = s.FS.(Layered); !ok {
		return errors.New("a tree without layers has no uppermost one")
	}
	layer, of, err := w.view.Origin(s.Start)
	if err != nil || layer != 0 {
		return err // nothing of it lies in the uppermost layer
	}
	w.entered = make(map[evidence.Ino]int)
	info, err := w.view.Stat(s.Start)
	if err != nil {
		o.gap("/"+s.Path, err)
		return nil
	}
	return w.found(item{path: s.Path, ino: s.Start, info: info}, of, 0)
}

// all walks the view. The start may be told already.
func (w *walker) all(path string, start evidence.Ino, told bool) error {
	first := true // an entry's name may be empty, as the start's
	return evidence.Walk(w.s.FS, start, func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		full := join(path, rel)
		if err != nil {
			w.o.gap("/"+full, err)
			return nil
		}
		isStart := first
		first = false
		if isStart && told {
			return nil
		}
		if !isStart && !validName(e.Name) {
			w.o.gap("/"+full, fmt.Errorf("name %q: %w", e.Name, evidence.ErrCorrupt))
			return evidence.SkipDir
		}
		return w.fn(item{path: full, ino: e.Ino, info: info})
	})
}

// found tells an inode of the uppermost layer and what is below it there. of
// is the same inode in the layer's own tree.
func (w *walker) found(i item, of evidence.Ino, depth int) error {
	if i.info.Type != evidence.TypeDir {
		return w.fn(i)
	}
	redirected := w.view.Redirected(i.ino)
	// What a redirected directory shows comes from another place: it is told
	// whole, and must not be mixed with what has its name below.
	i.opaque = i.path != "" && (redirected || w.view.Opaque(i.ino))
	if err := w.fn(i); errors.Is(err, evidence.SkipDir) {
		return nil
	} else if err != nil {
		return err
	}
	if redirected {
		return w.all(i.path, i.ino, true)
	}
	if depth >= maxDepth || w.entered[of] >= maxNames {
		w.o.gap("/"+i.path, fmt.Errorf("directory inode %d is inside itself or has many names: %w", i.info.Inode, evidence.ErrCorrupt))
		return nil
	}
	w.entered[of]++
	list, err := evidence.List(w.s.Upper, of)
	if err != nil {
		w.o.gap("/"+i.path, fmt.Errorf("reading directory: %w", err))
	}
	for _, e := range list {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.upper(join(i.path, e.Name), i.ino, e, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// upper tells an entry of the uppermost layer as the view has it: a name that
// the view doesn't have is a whiteout.
func (w *walker) upper(path string, dir evidence.Ino, e evidence.Entry, depth int) error {
	if !validName(e.Name) {
		w.o.gap("/"+path, fmt.Errorf("name %q: %w", e.Name, evidence.ErrCorrupt))
		return nil
	}
	seen, err := evidence.Lookup(w.view, dir, e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		info, err := w.s.Upper.Stat(e.Ino)
		if err != nil {
			w.o.gap("/"+path, err)
		}
		return w.fn(item{path: path, ino: e.Ino, info: info, whiteout: true})
	}
	var info evidence.Info
	var of evidence.Ino
	if err == nil {
		info, err = w.view.Stat(seen.Ino)
	}
	if err == nil {
		var layer int
		if layer, of, err = w.view.Origin(seen.Ino); err == nil && layer != 0 {
			err = fmt.Errorf("the view shows another layer's: %w", evidence.ErrCorrupt)
		}
	}
	if err != nil {
		w.o.gap("/"+path, err)
		return nil
	}
	return w.found(item{path: path, ino: seen.Ino, info: info}, of, depth)
}

func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// validName says whether a directory entry's name is one that leads where it stands.
func validName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// maxFile bounds the content of one file: a sparse file may claim 2^60 bytes.
const maxFile = 1 << 44

const (
	// retryStep is what is given up around a place that can't be read.
	retryStep = 4096
	// maxFailures bounds those places in one file.
	maxFailures = 1000
)

// content reads a file and gives zeros for what can't be read of it, so that
// there are always size bytes.
type content struct {
	ctx       context.Context
	o         *Options
	path      string
	r         io.ReaderAt
	size, off int64
	failures  int
	lost      int64
	first     error // and where it was
}

func (c *content) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if c.off >= c.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), c.size-c.off)]
	n := c.readable(b)
	if n == 0 { // and what follows is tried anew
		n = len(b)
		if c.failures < maxFailures {
			n = min(n, int(retryStep-c.off%retryStep))
		}
		clear(b[:n])
		c.lost += int64(n)
		c.failures++
	}
	c.off += int64(n)
	return n, nil
}

// readable reads what can be read at the current offset, 0 for nothing.
func (c *content) readable(b []byte) (n int) {
	if c.failures >= maxFailures || c.r == nil {
		return 0
	}
	failed := errors.New("internal error") // unless ReadAt returns
	c.o.Guard(c.path, func() error {
		n, failed = c.r.ReadAt(b, c.off)
		return nil
	})
	if n < 0 || n > len(b) {
		n = 0
	}
	if n == 0 && c.first == nil {
		if failed == nil || failed == io.EOF {
			failed = io.ErrUnexpectedEOF
		}
		c.first = fmt.Errorf("at offset %#x: %w", c.off, failed)
	}
	return n
}

// end reports what was lost.
func (c *content) end() {
	if c.lost > 0 && c.first != nil {
		c.o.gap(c.path, fmt.Errorf("%d of %d bytes can't be read and are zeros in the export, the first %w", c.lost, c.size, c.first))
	}
}

// open opens a file's content. One that can't be opened has no bytes, and was reported.
func (o *Options) open(ctx context.Context, fsys evidence.FS, i item) *content {
	c := &content{ctx: ctx, o: o, path: "/" + i.path}
	o.Guard(c.path, func() error {
		if i.info.Size > maxFile || i.info.Size < 0 {
			return fmt.Errorf("%d bytes are too many: exported empty: %w", i.info.Size, evidence.ErrUnsupported)
		}
		r, err := fsys.Open(i.ino)
		if err != nil {
			return fmt.Errorf("exported empty: %w", err)
		}
		c.r, c.size = r, i.info.Size
		return nil
	})
	return c
}

// maxLinkTable bounds the memory of the hard links' table: paths and what a map needs.
const maxLinkTable = 64 << 20

// linkCost is what an entry of the table takes beside its path.
const linkCost = 64

// links remembers the first name of each inode that has several.
type links struct {
	first map[evidence.Ino]string
	bytes int
	full  bool
}

// of returns the name that the inode was exported under, "" for the first time.
func (l *links) of(i item, o *Options) string {
	if i.info.Type == evidence.TypeDir || i.info.Nlink < 2 {
		return ""
	}
	if name, ok := l.first[i.ino]; ok {
		return name
	}
	if l.bytes += len(i.path) + linkCost; l.bytes > maxLinkTable {
		if !l.full {
			o.gap("/"+i.path, fmt.Errorf("more hard links than are kept in %d MiB: from here on each new one is exported as a file of its own", maxLinkTable>>20))
		}
		l.full = true
		return ""
	}
	if l.first == nil {
		l.first = make(map[evidence.Ino]string)
	}
	l.first[i.ino] = i.path
	return ""
}

// attributes reads the extended attributes. What can't be read is reported.
func (o *Options) attributes(fsys evidence.FS, i item) (x map[string][]byte) {
	o.Guard("/"+i.path, func() (err error) {
		if x, err = fsys.Xattrs(i.ino); err != nil {
			return fmt.Errorf("reading attributes: %w", err)
		}
		return nil
	})
	return x
}
