// Package memfs is an evidence.FS in memory, for tests: trees as small as a
// rule needs, with any attribute and any contradiction.
//
// A path's directories are made as needed. What the methods are given is not
// checked; the zero Info of a new entry is filled so that an entry's number,
// type, link count and size are right.
package memfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// Node is one inode. It may be changed until the FS is read.
type Node struct {
	Ino     evidence.Ino
	Info    evidence.Info
	Data    []byte
	Target  string
	X       map[string][]byte
	Entries []evidence.Entry // of a directory, in its order
	Err     error            // returned by every method that is asked for the inode
}

// FS is the tree. Its root is inode 2.
type FS struct {
	nodes map[evidence.Ino]*Node
	next  evidence.Ino
}

var _ evidence.FS = (*FS)(nil)

// Epoch is the time of everything that was not given one.
var Epoch = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

const root = 2

// New returns a tree with an empty root.
func New() *FS {
	f := &FS{nodes: map[evidence.Ino]*Node{}, next: root}
	f.node(evidence.TypeDir, 0o755)
	return f
}

func (f *FS) node(typ evidence.Type, perm uint16) *Node {
	n := &Node{Ino: f.next, X: map[string][]byte{}, Info: evidence.Info{
		Inode: uint64(f.next), Type: typ, Perm: perm, Nlink: 1, Mtime: Epoch, Atime: Epoch, Ctime: Epoch, Btime: Epoch,
	}}
	f.nodes[n.Ino] = n
	f.next++
	return n
}

// At returns the inode at path, which must be there.
func (f *FS) At(path string) *Node {
	n := f.nodes[root]
	for _, name := range evidence.Split(path) {
		i := slices.IndexFunc(n.Entries, func(e evidence.Entry) bool { return e.Name == name })
		if i < 0 {
			panic("memfs: no " + path)
		}
		n = f.nodes[n.Entries[i].Ino]
	}
	return n
}

// Dir makes a directory, and those above it, and returns it; one that is there is returned.
func (f *FS) Dir(path string) *Node {
	n := f.nodes[root]
	for _, name := range evidence.Split(path) {
		i := slices.IndexFunc(n.Entries, func(e evidence.Entry) bool { return e.Name == name })
		if i < 0 {
			c := f.node(evidence.TypeDir, 0o755)
			n.Entries = append(n.Entries, evidence.Entry{Name: name, Ino: c.Ino, Type: evidence.TypeDir})
			n = c
			continue
		}
		n = f.nodes[n.Entries[i].Ino]
	}
	return n
}

func (f *FS) add(path string, n *Node) *Node {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	d := f.Dir(dir)
	d.Entries = append(d.Entries, evidence.Entry{Name: name, Ino: n.Ino, Type: n.Info.Type})
	return n
}

// File makes a regular file.
func (f *FS) File(path, content string) *Node {
	n := f.node(evidence.TypeFile, 0o644)
	n.Data, n.Info.Size = []byte(content), int64(len(content))
	return f.add(path, n)
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(path, target string) *Node {
	n := f.node(evidence.TypeSymlink, 0o777)
	n.Target, n.Info.Size = target, int64(len(target))
	return f.add(path, n)
}

// Device makes an inode of another type: a device with its numbers, a FIFO, a socket.
func (f *FS) Device(path string, typ evidence.Type, major, minor uint32) *Node {
	n := f.node(typ, 0o600)
	n.Info.Major, n.Info.Minor = major, minor
	return f.add(path, n)
}

// Link gives an inode another name.
func (f *FS) Link(path string, n *Node) *Node {
	n.Info.Nlink++
	return f.add(path, n)
}

// Set sets an attribute and returns the inode.
func (n *Node) Set(name, value string) *Node {
	n.X[name] = []byte(value)
	return n
}

func (f *FS) get(ino evidence.Ino) (*Node, error) {
	n, ok := f.nodes[ino]
	if !ok {
		return nil, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	return n, n.Err
}

// Root implements evidence.FS.
func (f *FS) Root() evidence.Ino { return root }

// Stat implements evidence.FS.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	n, err := f.get(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	return n.Info, nil
}

// ReadDir implements evidence.FS. A directory with an Err yields its entries,
// and the error after them.
func (f *FS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		n, err := f.get(ino)
		if n == nil || n.Info.Type != evidence.TypeDir {
			yield(evidence.Entry{}, fmt.Errorf("inode %d is not a directory: %w", ino, evidence.ErrCorrupt))
			return
		}
		for _, e := range n.Entries {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(evidence.Entry{}, err)
		}
	}
}

// ReadLink implements evidence.FS.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	n, err := f.get(ino)
	if err != nil {
		return "", err
	}
	if n.Info.Type != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d is not a symbolic link: %w", ino, evidence.ErrCorrupt)
	}
	return n.Target, nil
}

// Xattrs implements evidence.FS.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	return maps.Clone(n.X), nil
}

// Open implements evidence.FS.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	if n.Info.Type != evidence.TypeFile {
		return nil, fmt.Errorf("inode %d is not a regular file: %w", ino, evidence.ErrCorrupt)
	}
	return io.NewSectionReader(bytes.NewReader(n.Data), 0, int64(len(n.Data))), nil
}
