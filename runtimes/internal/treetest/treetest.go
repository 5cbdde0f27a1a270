// Package treetest makes an evidence.FS of an io/fs.FS, for tests of the
// runtimes: a fstest.MapFS, an archive of real state, a folder of this machine.
package treetest

import (
	"io"
	"io/fs"
	"iter"
	"path"
	"sync"
	"sync/atomic"
	"testing/fstest"

	"lagan/evidence"
)

// Tree is an evidence.FS over an io/fs.FS. Inodes are given out by path.
type Tree struct {
	fsys  fs.FS
	mu    sync.Mutex
	paths []string
	inos  map[string]evidence.Ino
	read  atomic.Int64 // bytes, of all files together
}

// counted is a file of a tree's, which counts what is read of it.
type counted struct {
	io.ReaderAt
	read *atomic.Int64
}

// ReadAt implements io.ReaderAt.
func (c counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, off)
	c.read.Add(int64(n))
	return n, err
}

// New returns the tree of fsys.
func New(fsys fs.FS) *Tree {
	return &Tree{fsys: fsys, paths: []string{"", "."}, inos: map[string]evidence.Ino{".": 1}}
}

// FS returns what the tree is made of.
func (t *Tree) FS() fs.FS { return t.fsys }

// Root returns the root's inode.
func (t *Tree) Root() evidence.Ino { return 1 }

func (t *Tree) ino(p string) evidence.Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.inos[p]
	if !ok {
		i = evidence.Ino(len(t.paths))
		t.paths = append(t.paths, p)
		t.inos[p] = i
	}
	return i
}

func (t *Tree) path(i evidence.Ino) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paths[i]
}

func typeOf(m fs.FileMode) evidence.Type {
	switch m.Type() {
	case 0:
		return evidence.TypeFile
	case fs.ModeDir:
		return evidence.TypeDir
	case fs.ModeSymlink:
		return evidence.TypeSymlink
	}
	return evidence.TypeUnknown
}

// Stat implements evidence.FS.
func (t *Tree) Stat(i evidence.Ino) (evidence.Info, error) {
	fi, err := fs.Lstat(t.fsys, t.path(i))
	if err != nil {
		return evidence.Info{}, err
	}
	return evidence.Info{Inode: uint64(i), Type: typeOf(fi.Mode()), Perm: uint16(fi.Mode().Perm()), Size: fi.Size(), Nlink: 1, Mtime: fi.ModTime().UTC()}, nil
}

// ReadDir implements evidence.FS.
func (t *Tree) ReadDir(i evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		entries, err := fs.ReadDir(t.fsys, t.path(i))
		for _, e := range entries {
			if !yield(evidence.Entry{Name: e.Name(), Ino: t.ino(path.Join(t.path(i), e.Name())), Type: typeOf(e.Type())}, nil) {
				return
			}
		}
		if err != nil {
			yield(evidence.Entry{}, err)
		}
	}
}

// Lookup implements evidence.Lookuper.
func (t *Tree) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	p := path.Join(t.path(dir), name)
	fi, err := fs.Lstat(t.fsys, p)
	if err != nil {
		return evidence.Entry{}, err
	}
	return evidence.Entry{Name: name, Ino: t.ino(p), Type: typeOf(fi.Mode())}, nil
}

// ReadLink implements evidence.FS.
func (t *Tree) ReadLink(i evidence.Ino) (string, error) { return fs.ReadLink(t.fsys, t.path(i)) }

// Xattrs implements evidence.FS: there are none.
func (t *Tree) Xattrs(evidence.Ino) (map[string][]byte, error) { return map[string][]byte{}, nil }

// Open implements evidence.FS.
func (t *Tree) Open(i evidence.Ino) (*io.SectionReader, error) {
	f, err := t.fsys.Open(t.path(i))
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: t.path(i), Err: fs.ErrInvalid}
	}
	return io.NewSectionReader(counted{r, &t.read}, 0, fi.Size()), nil
}

// Files makes a tree of paths and contents.
func Files(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range files {
		out[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return out
}
