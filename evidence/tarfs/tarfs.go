// Package tarfs reads an archive of a tree that tar made: of a node's root, or
// of a runtime's data root. It knows the formats of POSIX (ustar, pax), GNU tar,
// star and libarchive, and those before them: times to the nanosecond, extended
// attributes, hard links, devices (overlayfs' whiteouts among them), sparse files.
//
// The archive is read once, headers only, and kept as an index; contents,
// attributes and sparse maps are read from it when they are asked for. Of
// several members with one name the last counts. Folders that have no header of
// their own get permissions 0755 and no times. What no archive says is left out:
// the number of a folder's links, the times that only some writers keep. Inodes
// are numbered in the order of the archive.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// archive; fuzzed. Behind what is no header reading goes on at the next one,
// with a warning.
package tarfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// FS is the tree in an archive.
type FS struct {
	r    io.ReaderAt
	size int64
	t    *tree
}

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
)

// Open reads the headers of an archive of size bytes. It returns
// evidence.ErrFormat for another format.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	f := &FS{r: r, size: size, t: newTree()}
	in := newReader(r, size, windowSize)
	head, err := in.bytes(0, block)
	if err != nil || !isHeader(head) {
		return nil, fmt.Errorf("tar: %w", evidence.ErrFormat)
	}
	if err := f.read(in, o.Warning); err != nil && err != errCut {
		if errors.Is(err, evidence.ErrFormat) {
			return nil, fmt.Errorf("tar: %w", err)
		}
		o.Warning(err) // what was read before it is a tree
	}
	return f, nil
}

// Is reports whether head begins as an archive does: with a header whose
// checksum is right.
func Is(head []byte) bool { return len(head) >= block && isHeader(head[:block]) }

// isHeader also looks at the name, which the archives before POSIX have no magic beside.
func isHeader(b []byte) bool {
	if !sumOK(b) || b[0] == 0 {
		return false
	}
	return bytes.HasPrefix(b[offMagic:], []byte(magicUstar)) || allZero(b[offMagic:]) && strings.ContainsRune("\x00012345", rune(b[offType]))
}

// Describe says what kind of archive it is.
func (f *FS) Describe() evidence.Description {
	return evidence.Description{Type: "tar", Size: f.size, Journal: evidence.Journal{State: evidence.JournalNone}}
}

// Root returns the handle of the root.
func (f *FS) Root() evidence.Ino { return rootNode }

func (f *FS) node(ino evidence.Ino) (*node, error) {
	if ino < rootNode || ino >= evidence.Ino(f.t.nodes.len()) {
		return nil, fmt.Errorf("tar: inode %d: %w", ino, fs.ErrNotExist)
	}
	return f.t.nodes.at(uint32(ino)), nil
}

// Stat returns what the headers say of an inode.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	n, err := f.node(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	i := evidence.Info{Inode: uint64(ino), Type: n.typ, Perm: n.perm, UID: n.uid, GID: n.gid, Nlink: n.nlink, Size: n.size}
	switch n.typ {
	case evidence.TypeChar, evidence.TypeBlock:
		i.Major, i.Minor, i.Size = uint32(n.size>>32), uint32(n.size), 0
	case evidence.TypeSymlink:
		i.Size = int64(len(f.target(n)))
	}
	i.Mtime, i.Atime, i.Ctime = n.time(mtime), n.time(atime), n.time(ctime)
	if n.hasBirth {
		i.Btime = f.t.births[uint32(ino)].time()
	}
	return i, nil
}

func (f *FS) target(n *node) string { return *f.t.targets.at(uint32(n.size)) }

func (n *node) time(kind int) time.Time { return stamp{n.sec[kind], n.nsec[kind]}.time() }

func (s stamp) time() time.Time {
	if s.nsec == absent {
		return time.Time{}
	}
	return time.Unix(s.sec, int64(s.nsec)).UTC()
}

// ReadDir yields the entries in the order of the archive.
func (f *FS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		n, err := f.node(ino)
		if err == nil && n.typ != evidence.TypeDir {
			err = fmt.Errorf("tar: inode %d is a %s, not a directory: %w", ino, n.typ, evidence.ErrCorrupt)
		}
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		var order []uint32
		for e := n.children; e != 0; e = f.t.entries.at(e).sibling {
			order = append(order, e)
		}
		for _, e := range slices.Backward(order) {
			if !yield(f.entry(e), nil) {
				return
			}
		}
	}
}

func (f *FS) entry(e uint32) evidence.Entry {
	x := f.t.entries.at(e)
	return evidence.Entry{Name: x.name, Ino: evidence.Ino(x.node), Type: f.t.nodes.at(x.node).typ}
}

// Lookup returns the entry called name, or fs.ErrNotExist.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if _, err := f.node(dir); err != nil {
		return evidence.Entry{}, err
	}
	e := f.t.lookup(uint32(dir), name)
	if e == 0 {
		return evidence.Entry{}, fs.ErrNotExist
	}
	return f.entry(e), nil
}

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	n, err := f.node(ino)
	if err != nil {
		return "", err
	}
	if n.typ != evidence.TypeSymlink {
		return "", fmt.Errorf("tar: inode %d is a %s, not a symbolic link: %w", ino, n.typ, evidence.ErrCorrupt)
	}
	return f.target(n), nil
}

// Xattrs returns the extended attributes in an inode's headers.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	n, err := f.node(ino)
	if err != nil || !n.hasX {
		return map[string][]byte{}, err
	}
	h, _, err := f.again(ino, n)
	if err != nil {
		return nil, err
	}
	if h.xattrs == nil {
		h.xattrs = map[string][]byte{}
	}
	return h.xattrs, nil
}

// again reads the headers of an inode with all that is in them.
func (f *FS) again(ino evidence.Ino, n *node) (*header, *reader, error) {
	r := newReader(f.r, f.size, 4<<10)
	r.xattrs = true
	start := n.data - int64(n.back)
	h, err := r.next(start)
	if err != nil {
		return nil, nil, fmt.Errorf("tar: headers of inode %d at offset %#x: %w", ino, start, err)
	}
	return h, r, nil
}

// Open returns a reader of a regular file's content. What lies behind the end
// of an archive that was cut is an error of the reads that ask for it.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	n, err := f.node(ino)
	if err != nil {
		return nil, err
	}
	if n.typ != evidence.TypeFile {
		return nil, fmt.Errorf("tar: inode %d is a %s, not a regular file: %w", ino, n.typ, evidence.ErrCorrupt)
	}
	if !n.sparse {
		return io.NewSectionReader(&content{f.r, n.data, f.size}, 0, n.size), nil
	}
	h, r, err := f.again(ino, n)
	if err != nil {
		return nil, err
	}
	segs, err := h.segments(r)
	if err != nil {
		return nil, fmt.Errorf("tar: inode %d: %w", ino, err)
	}
	return io.NewSectionReader(&sparseFile{&content{f.r, 0, f.size}, n.size, segs}, 0, n.size), nil
}

// content is a part of the archive.
type content struct {
	r     io.ReaderAt
	start int64
	end   int64 // of the archive
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, c.start+off)
	if n < len(p) && (err == nil || err == io.EOF) {
		err = fmt.Errorf("tar: offset %#x is behind the end of the archive: %w", c.end, evidence.ErrCorrupt)
	}
	return n, err
}
