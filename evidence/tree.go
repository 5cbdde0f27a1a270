package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxLinks bounds the symbolic links followed for one path, as Linux does (MAXSYMLINKS, include/linux/namei.h).
const maxLinks = 40

// maxDepth bounds the depth of a walk. Linux has no limit, but a path of more
// than PATH_MAX/2 elements can't be named in one call, and a loop of
// directories, which only a corrupt filesystem has, must end.
const maxDepth = 4096

// Lookup returns the entry called name in dir, or fs.ErrNotExist. A directory
// that is read only in part yields what stands in the part that was read.
func Lookup(fsys FS, dir Ino, name string) (Entry, error) {
	if l, ok := fsys.(Lookuper); ok {
		return l.Lookup(dir, name)
	}
	var failed error
	for e, err := range fsys.ReadDir(dir) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if e.Name == name {
			return e, nil
		}
	}
	if failed != nil {
		return Entry{}, failed
	}
	return Entry{}, fs.ErrNotExist
}

// Lookuper is an FS that finds a name without reading the whole directory.
type Lookuper interface {
	// Lookup returns fs.ErrNotExist where dir has no such name.
	Lookup(dir Ino, name string) (Entry, error)
}

// Resolve walks a slash-separated path from root, which stands for / : ".." at
// root stays there, and absolute link targets begin there, so that nothing
// outside root is ever reached. Symbolic links on the way are followed; one at
// the end only if follow is set.
func Resolve(fsys FS, root Ino, path string, follow bool) (Ino, error) {
	stack := []Ino{root}
	todo := Split(path)
	slices.Reverse(todo)
	links := 0
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if name == ".." {
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		e, err := Lookup(fsys, stack[len(stack)-1], name)
		if err != nil {
			return 0, &fs.PathError{Op: "resolve", Path: path, Err: err}
		}
		typ := e.Type
		if typ == TypeUnknown {
			info, err := fsys.Stat(e.Ino)
			if err != nil {
				return 0, &fs.PathError{Op: "resolve", Path: path, Err: err}
			}
			typ = info.Type
		}
		switch {
		case typ == TypeSymlink && (len(todo) > 0 || follow):
			if links++; links > maxLinks {
				return 0, &fs.PathError{Op: "resolve", Path: path, Err: errors.New("too many symbolic links")}
			}
			target, err := fsys.ReadLink(e.Ino)
			if err != nil {
				return 0, &fs.PathError{Op: "resolve", Path: path, Err: err}
			}
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			more := Split(target)
			slices.Reverse(more)
			todo = append(todo, more...)
		case typ != TypeDir && len(todo) > 0:
			return 0, &fs.PathError{Op: "resolve", Path: path, Err: errors.New("not a directory")}
		default:
			stack = append(stack, e.Ino)
		}
	}
	return stack[len(stack)-1], nil
}

// ReadFile returns the content of the regular file at path below root, links
// followed inside root. A file over limit bytes is an error: the size comes
// from the evidence.
func ReadFile(fsys FS, root Ino, path string, limit int64) ([]byte, error) {
	ino, err := Resolve(fsys, root, path, true)
	if err != nil {
		return nil, err
	}
	b, err := ReadInode(fsys, ino, limit)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return b, nil
}

// ReadInode returns the content of a regular file of at most limit bytes.
func ReadInode(fsys FS, ino Ino, limit int64) ([]byte, error) {
	r, err := fsys.Open(ino)
	if err != nil {
		return nil, err
	}
	if r.Size() > limit {
		return nil, fmt.Errorf("%d bytes, more than the %d that such a file may have", r.Size(), limit)
	}
	// Documents are small and many: the size that the file claims says how much
	// room to begin with, up to a bound.
	b := bytes.NewBuffer(make([]byte, 0, min(r.Size(), readRoom)+bytes.MinRead))
	if _, err := b.ReadFrom(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readRoom bounds the room that ReadInode makes before it has read anything.
const readRoom = 64 << 10

// List returns the entries of a directory in name order, and what could not be read of it.
func List(fsys FS, dir Ino) ([]Entry, error) {
	var out []Entry
	var failed error
	for e, err := range fsys.ReadDir(dir) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, failed
}

// WalkFunc is told of each inode of a walk: its path below the walk's start
// ("" for the start itself, else "a/b"), its entry, and what Stat said, or the
// error that kept it from being read. SkipDir leaves a directory's content
// out; any other error ends the walk.
type WalkFunc func(path string, e Entry, info Info, err error) error

// SkipDir is returned by a WalkFunc that doesn't want to see what is in a directory.
var SkipDir = fs.SkipDir

// maxNames bounds how often a walk enters one directory. On a sound filesystem
// a directory has one name; in a merged view redirects may give it a few, and
// crafted ones would otherwise double the tree at each level.
const maxNames = 64

// Walk visits start and all below it, directories before their content, names
// in byte order. It follows no link. A directory that contains itself, or has
// very many names, is reported as ErrCorrupt and not entered again.
func Walk(fsys FS, start Ino, fn WalkFunc) error {
	info, err := fsys.Stat(start)
	w := walker{fsys: fsys, fn: fn, entered: map[Ino]uint8{}}
	err = w.walk("", Entry{Ino: start, Type: info.Type}, info, err)
	if errors.Is(err, SkipDir) {
		return nil
	}
	return err
}

type walker struct {
	fsys    FS
	fn      WalkFunc
	above   []Ino // the directories that the walk is in
	entered map[Ino]uint8
}

func (w *walker) walk(path string, e Entry, info Info, statErr error) error {
	if err := w.fn(path, e, info, statErr); err != nil {
		return err
	}
	if statErr != nil || info.Type != TypeDir {
		return nil
	}
	if slices.Contains(w.above, e.Ino) || len(w.above) >= maxDepth {
		return w.fn(path, e, info, fmt.Errorf("directory inode %d is inside itself: %w", info.Inode, ErrCorrupt))
	}
	if w.entered[e.Ino] == maxNames {
		return w.fn(path, e, info, fmt.Errorf("directory inode %d has more than %d names: %w", info.Inode, maxNames, ErrCorrupt))
	}
	w.entered[e.Ino]++
	w.above = append(w.above, e.Ino)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	children, err := List(w.fsys, e.Ino)
	if err != nil {
		if err := w.fn(path, e, info, fmt.Errorf("reading directory: %w", err)); err != nil {
			return err
		}
	}
	for _, c := range children {
		ci, err := w.fsys.Stat(c.Ino)
		if err == nil {
			c.Type = ci.Type
		}
		name := c.Name
		if path != "" {
			name = path + "/" + c.Name
		}
		if err := w.walk(name, c, ci, err); err != nil && !errors.Is(err, SkipDir) {
			return err
		}
	}
	return nil
}

// Sub returns the tree below dir as an FS of its own. Optional abilities of
// fsys that concern the whole volume are not passed on.
func Sub(fsys FS, dir Ino) FS { return subtree{fsys, dir} }

type subtree struct {
	FS
	root Ino
}

func (s subtree) Root() Ino { return s.root }

// Above returns the tree that this is a part of: handles are the same in both.
func (s subtree) Above() FS { return s.FS }

func (s subtree) Lookup(dir Ino, name string) (Entry, error) { return Lookup(s.FS, dir, name) }
