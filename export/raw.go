package export

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/export/ext4"
)

// RawFile is what Raw writes to. What is never written must read as zeros.
type RawFile = ext4.File

// maxRaw bounds the names of an image, whose list is in memory: some hundred
// bytes each.
const maxRaw = 64 << 20

// Raw writes the source as the image of an ext4 filesystem; see ext4. Its root
// is the source's: names begin there also where only a part is exported. Change
// and birth times are the source's too. Of Source.Upper it is the layer as
// overlayfs keeps one: whiteouts are devices 0:0, opaque directories have their
// attribute. What ext4 has no place for is told to o.Guard.
//
// The same source and label give the same image.
func Raw(ctx context.Context, f RawFile, s Source, o Options, label string) error {
	r := &rawWriter{ctx: ctx, s: s, o: &o}
	r.nodes = make([]rawNode, ext4.FirstInode, 1024)
	r.nodes[ext4.Root] = rawNode{typ: evidence.TypeDir, parent: ext4.Root, implied: true, links: 1}
	r.above = []uint32{ext4.Root}
	if err := r.parents(); err != nil {
		return err
	}
	if err := walk(ctx, s, &o, r.plan); err != nil {
		return err
	}
	uuid := sha256.Sum256([]byte("lagan " + label))
	r.w = ext4.New(f, ext4.Options{Bytes: r.bytes, Inodes: uint32(len(r.nodes) - 1), Label: label, UUID: [16]byte(uuid[:])})
	for number := range r.nodes {
		if number != ext4.Root && number < ext4.FirstInode {
			continue
		}
		if err := r.write(uint32(number)); err != nil {
			return fmt.Errorf("writing %q: %w", r.path(uint32(number)), err)
		}
	}
	return r.w.Finish()
}

// rawNode is an inode of the image that is planned; its number is its place in the list.
type rawNode struct {
	ino      evidence.Ino // of the source
	name     string       // its first
	parent   uint32       // of its first name
	links    uint32
	typ      evidence.Type
	whiteout bool
	opaque   bool
	implied  bool // a directory that the source has no item for
	children []rawEntry
}

type rawEntry struct {
	name   string
	number uint32
}

type rawWriter struct {
	ctx   context.Context
	s     Source
	o     *Options
	w     *ext4.Writer
	nodes []rawNode
	above []uint32 // directories that the walk is in, the root first
	paths []string // of those, without the root's
	first map[evidence.Ino]uint32
	bytes int64
	buf   []byte
	done  int64
}

// parents plans the directories that the source's path leads through.
func (r *rawWriter) parents() error {
	elements := evidence.Split(r.s.Path)
	for k := range max(len(elements)-1, 0) {
		i := item{path: strings.Join(elements[:k+1], "/"), info: evidence.Info{Type: evidence.TypeDir}}
		number, err := r.add(i, elements[k])
		if err != nil {
			return err
		}
		r.nodes[number].implied = true
		r.enter(i.path, number)
	}
	return nil
}

func (r *rawWriter) enter(path string, number uint32) {
	r.above, r.paths = append(r.above, number), append(r.paths, path)
}

// plan gives an item its number and its place.
func (r *rawWriter) plan(i item) error {
	if i.path == "" {
		root := &r.nodes[ext4.Root]
		root.ino, root.implied, root.opaque = i.ino, false, i.opaque
		return nil
	}
	dir, base := "", i.path
	if at := strings.LastIndexByte(i.path, '/'); at >= 0 {
		dir, base = i.path[:at], i.path[at+1:]
	}
	for len(r.paths) > 0 && r.paths[len(r.paths)-1] != dir {
		r.above, r.paths = r.above[:len(r.above)-1], r.paths[:len(r.paths)-1]
	}
	err := r.check(&i, base)
	if dir := r.nodes[r.above[len(r.above)-1]].children; err == nil && len(dir) > 0 && dir[len(dir)-1].name == base { // a walk is in name order
		err = fmt.Errorf("its name is there twice: %w", evidence.ErrCorrupt)
	}
	if err != nil {
		r.o.gap("/"+i.path, err)
		if i.info.Type == evidence.TypeDir {
			return evidence.SkipDir
		}
		return nil
	}
	if number, ok := r.linked(i); ok {
		r.nodes[number].links++
		r.link(base, number)
		return nil
	}
	number, err := r.add(i, base)
	if err == nil && i.info.Type == evidence.TypeDir {
		r.enter(i.path, number)
	}
	return err
}

// check says whether the image has a place for an item.
func (r *rawWriter) check(i *item, base string) error {
	if err := ext4.CheckName(base); err != nil {
		return err
	}
	if i.whiteout {
		return nil
	}
	in := ext4.Inode{Info: i.info}
	if i.info.Type == evidence.TypeSymlink {
		in.Target = r.o.target(r.s.FS, *i)
	}
	return in.Check()
}

// linked finds the inode of an earlier name.
func (r *rawWriter) linked(i item) (uint32, bool) {
	if i.whiteout || i.info.Type == evidence.TypeDir || i.info.Nlink < 2 {
		return 0, false
	}
	number, ok := r.first[i.ino]
	if ok && r.nodes[number].links < ext4.MaxLinks {
		return number, true
	}
	if ok {
		r.o.gap("/"+i.path, fmt.Errorf("more than %d names of one inode: from here on it is another's: %w", ext4.MaxLinks, ext4.ErrNoPlace))
	}
	return 0, false
}

func (r *rawWriter) add(i item, base string) (uint32, error) {
	if len(r.nodes) >= maxRaw {
		return 0, fmt.Errorf("more than %d files: %w", maxRaw, evidence.ErrUnsupported)
	}
	number := uint32(len(r.nodes))
	n := rawNode{ino: i.ino, name: base, parent: r.above[len(r.above)-1], links: 1, typ: i.info.Type, whiteout: i.whiteout, opaque: i.opaque}
	if i.whiteout {
		n.typ = evidence.TypeChar
	}
	if n.typ == evidence.TypeFile {
		r.bytes = min(r.bytes+(i.info.Size+4095)&^4095, maxFile) // past which the image is full anyway
	}
	r.bytes += 4096 // of the directory, of attributes
	r.nodes = append(r.nodes, n)
	if i.info.Nlink > 1 && n.typ != evidence.TypeDir && !i.whiteout {
		if r.first == nil {
			r.first = make(map[evidence.Ino]uint32)
		}
		r.first[i.ino] = number
	}
	r.link(base, number)
	return number, nil
}

// link gives an inode a name in the innermost directory.
func (r *rawWriter) link(base string, number uint32) {
	dir := &r.nodes[r.above[len(r.above)-1]]
	dir.children = append(dir.children, rawEntry{base, number})
}

// path returns the first name of an inode, for messages.
func (r *rawWriter) path(number uint32) string {
	var names []string
	for number != ext4.Root {
		names = append(names, r.nodes[number].name)
		number = r.nodes[number].parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// write writes one planned inode.
func (r *rawWriter) write(number uint32) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	n := &r.nodes[number]
	i := item{path: strings.TrimPrefix(r.path(number), "/"), ino: n.ino, whiteout: n.whiteout}
	in := r.inode(n, i)
	i.info = in.Info
	if r.done++; r.o.Progress != nil {
		r.o.Progress(r.done)
	}
	switch n.typ {
	case evidence.TypeDir:
		list := make([]ext4.Entry, len(n.children))
		for k, c := range n.children {
			list[k] = ext4.Entry{Name: c.name, Number: c.number, Type: r.nodes[c.number].typ}
		}
		err := r.w.Dir(number, in, n.parent, list)
		n.children = nil
		return err
	case evidence.TypeFile:
		c := r.o.open(r.ctx, r.s.FS, i)
		defer c.end()
		return r.w.File(number, in, c, &r.buf)
	}
	if n.typ == evidence.TypeSymlink {
		if in.Target = r.o.target(r.s.FS, i); in.Check() != nil {
			return errors.New("its target changed while it was exported")
		}
	}
	return r.w.Other(number, in)
}

// inode reads what is known of a planned inode.
func (r *rawWriter) inode(n *rawNode, i item) ext4.Inode {
	in := ext4.Inode{Links: n.links}
	from := r.s.FS
	if n.whiteout {
		from = r.s.Upper
	}
	if n.implied {
		in.Perm = 0o755
	} else {
		r.o.Guard("/"+i.path, func() (err error) {
			in.Info, err = from.Stat(n.ino)
			return err
		})
	}
	in.Type = n.typ
	if n.whiteout {
		in.Perm, in.Major, in.Minor = 0, 0, 0
	} else if !n.implied {
		in.Xattrs = r.attributes(i)
	}
	if n.opaque {
		if in.Xattrs == nil {
			in.Xattrs = make(map[string][]byte)
		}
		in.Xattrs["trusted.overlay.opaque"] = []byte("y")
	}
	if !ext4.TimeFits(in.Mtime) || !ext4.TimeFits(in.Ctime) || !ext4.TimeFits(in.Atime) || !ext4.TimeFits(in.Btime) {
		r.o.gap("/"+i.path, fmt.Errorf("a time outside of 1901 to 2446 is the nearest of these: %w", ext4.ErrNoPlace))
	}
	return in
}

// attributes reads those that the image has a place for.
func (r *rawWriter) attributes(i item) map[string][]byte {
	all := r.o.attributes(r.s.FS, i)
	for name, value := range all {
		if err := ext4.CheckXattr(name, value); err != nil {
			r.o.gap("/"+i.path, err)
			delete(all, name)
		}
	}
	if err := ext4.CheckXattrs(all); err != nil {
		r.o.gap("/"+i.path, fmt.Errorf("left out: %w", err))
		return nil
	}
	return all
}
