package analyzer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"lagan/evidence"
)

// index is all inodes and names of one filesystem, read in the order of the
// disk and kept compactly: about 100 bytes an inode and 13 and its name an
// entry, in few large allocations without pointers. A disk of a million inodes
// takes some 160 MB so, and as evidence.Info values three times that.
type index struct {
	fsys   evidence.FS
	nodes  []node  // in the order of ino
	extras []extra // of the few inodes that have one; 0 is none
	edges  []edge  // grouped by directory
	first  []int32 // first[d] is where the edges of nodes[d] begin
	names  []byte
}

// node is an evidence.Info, packed.
type node struct {
	ino      evidence.Ino
	inode    uint64
	size     int64
	sec      [4]int64 // mtime, atime, ctime, btime
	nsec     [4]int32 // noTime: unknown
	uid, gid uint32
	nlink    uint32
	extra    int32
	perm     uint16
	typ      evidence.Type
	journal  bool
}

// extra is what only some inodes have.
type extra struct {
	target       string
	xattrs       []string
	major, minor uint32
}

type edge struct {
	dir, child int32 // places in nodes
	name       uint32
	length     uint8
}

const noTime = -1

// maxNodes is the most inodes of one filesystem that are indexed; ext4's own limit is 2^32.
const maxNodes = math.MaxInt32

func pack(ino evidence.Ino, i *evidence.Info) node {
	n := node{
		ino: ino, inode: i.Inode, size: i.Size, uid: i.UID, gid: i.GID, nlink: i.Nlink,
		perm: i.Perm, typ: i.Type, journal: i.FromJournal,
	}
	for k, t := range [4]time.Time{i.Mtime, i.Atime, i.Ctime, i.Btime} {
		if t.IsZero() {
			n.nsec[k] = noTime
			continue
		}
		n.sec[k], n.nsec[k] = t.Unix(), int32(t.Nanosecond())
	}
	return n
}

func (n *node) time(k int) time.Time {
	if n.nsec[k] == noTime {
		return time.Time{}
	}
	return time.Unix(n.sec[k], int64(n.nsec[k])).UTC()
}

// newIndex reads all of a filesystem: in the order of the disk where the
// filesystem can, else by walking. warn is told of what could not be read.
func newIndex(fsys evidence.FS, root evidence.Ino, warn func(error)) (*index, error) {
	x := &index{fsys: fsys, extras: make([]extra, 1)}
	if s, ok := fsys.(evidence.Scanner); ok {
		if err := x.scan(s, warn); err != nil {
			return nil, err
		}
	} else if err := x.walk(root, warn); err != nil {
		return nil, err
	}
	x.group()
	return x, nil
}

func (x *index) add(ino evidence.Ino, info *evidence.Info, target string, xattrs []string) error {
	if len(x.nodes) >= maxNodes {
		return fmt.Errorf("more than %d inodes: %w", maxNodes, evidence.ErrUnsupported)
	}
	n := pack(ino, info)
	device := info.Type == evidence.TypeChar || info.Type == evidence.TypeBlock
	if target != "" || len(xattrs) > 0 || device {
		n.extra = int32(len(x.extras))
		x.extras = append(x.extras, extra{target, xattrs, info.Major, info.Minor})
	}
	x.nodes = append(x.nodes, n)
	return nil
}

func (x *index) scan(s evidence.Scanner, warn func(error)) error {
	for i, err := range s.Inodes() {
		if err != nil {
			warn(err)
			continue
		}
		if err := x.add(i.Ino, &i.Info, i.Target, i.Xattrs); err != nil {
			return err
		}
	}
	x.sortNodes()
	var dirs []evidence.Ino
	for i := range x.nodes {
		if x.nodes[i].typ == evidence.TypeDir {
			dirs = append(dirs, x.nodes[i].ino)
		}
	}
	last, lastPlace := evidence.Ino(0), int32(-1)
	for e, err := range s.Entries(dirs) {
		if err != nil {
			warn(err)
			continue
		}
		if e.Dir != last || lastPlace < 0 {
			last, lastPlace = e.Dir, x.place(e.Dir)
		}
		child := x.place(e.Ino)
		if child < 0 {
			warn(fmt.Errorf("directory inode %d: entry %q points to inode %d, which is not in use: %w", e.Dir, e.Name, e.Ino, evidence.ErrCorrupt))
			continue
		}
		if err := x.link(lastPlace, child, e.Name); err != nil {
			return err
		}
	}
	return nil
}

func (x *index) sortNodes() {
	byIno := func(a, b node) int { return cmp.Compare(a.ino, b.ino) }
	if !slices.IsSortedFunc(x.nodes, byIno) {
		slices.SortFunc(x.nodes, byIno)
	}
}

// place returns where an inode is in nodes, or -1.
func (x *index) place(ino evidence.Ino) int32 {
	i, ok := slices.BinarySearchFunc(x.nodes, ino, func(n node, ino evidence.Ino) int { return cmp.Compare(n.ino, ino) })
	if !ok {
		return -1
	}
	return int32(i)
}

func (x *index) link(dir, child int32, name string) error {
	if dir < 0 || len(name) > math.MaxUint8 || len(x.names)+len(name) > math.MaxUint32 || len(x.edges) >= maxNodes {
		return errors.New("more names than can be indexed")
	}
	x.edges = append(x.edges, edge{dir, child, uint32(len(x.names)), uint8(len(name))})
	x.names = append(x.names, name...)
	return nil
}

// walk fills the index of a filesystem that has no order of its own, such as a
// folder on the analyst's machine.
func (x *index) walk(root evidence.Ino, warn func(error)) error {
	type found struct {
		dir, child evidence.Ino
		name       string
	}
	var all []found
	seen := make(map[evidence.Ino]bool)
	above := []evidence.Ino{root}
	err := evidence.Walk(x.fsys, root, func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			warn(fmt.Errorf("%q: %w", "/"+path, err))
			if info.Type == evidence.TypeUnknown {
				return nil
			}
		}
		depth := len(evidence.Split(path))
		if depth > 0 {
			all = append(all, found{above[depth-1], e.Ino, e.Name})
		}
		if info.Type == evidence.TypeDir {
			above = append(above[:depth], e.Ino)
		}
		if seen[e.Ino] {
			return nil
		}
		seen[e.Ino] = true
		target, xattrs := x.details(e.Ino, info, path, warn)
		return x.add(e.Ino, &info, target, xattrs)
	})
	if err != nil {
		return err
	}
	x.sortNodes()
	for _, f := range all {
		if err := x.link(x.place(f.dir), x.place(f.child), f.name); err != nil {
			return err
		}
	}
	return nil
}

func (x *index) details(ino evidence.Ino, info evidence.Info, path string, warn func(error)) (string, []string) {
	var target string
	var err error
	if info.Type == evidence.TypeSymlink {
		if target, err = x.fsys.ReadLink(ino); err != nil {
			warn(fmt.Errorf("%q: %w", "/"+path, err))
		}
	}
	attrs, err := x.fsys.Xattrs(ino)
	if err != nil {
		warn(fmt.Errorf("%q: %w", "/"+path, err))
	}
	names := make([]string, 0, len(attrs))
	for k := range attrs {
		names = append(names, k)
	}
	slices.Sort(names)
	return target, names
}

// group sorts the entries by directory, keeping their order within it.
func (x *index) group() {
	x.first = make([]int32, len(x.nodes)+1)
	for i := range x.edges {
		x.first[x.edges[i].dir+1]++
	}
	for i := 1; i < len(x.first); i++ {
		x.first[i] += x.first[i-1]
	}
	next := slices.Clone(x.first)
	sorted := make([]edge, len(x.edges))
	for _, e := range x.edges {
		sorted[next[e.dir]] = e
		next[e.dir]++
	}
	x.edges = sorted
}

func (x *index) name(e edge) []byte { return x.names[e.name : e.name+uint32(e.length)] }
