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
// disk and kept compactly: about 60 bytes an inode and 5 and its name an entry,
// in large allocations without pointers. A disk of a million inodes takes some
// 90 MB so, and as evidence.Info values four times that.
type index struct {
	fsys       evidence.FS
	inos       inoList  // the handle of each node
	order      []int32  // nodes in the order of inos; nil where that is the order they are in
	chunks     [][]node // of chunkNodes each, so that no node is ever copied
	attributes [][]attributes
	kinds      uint32            // how many attributes there are
	lately     [lateKinds]uint32 // of them, by hash: 1 more than their number
	extras     []extra           // of the few inodes that have one; 0 is none
	names      names
}

const (
	chunkShift = 12
	chunkNodes = 1 << chunkShift
	// lateKinds is how many attributes are found again; the others are kept twice.
	lateKinds = 1 << 9
)

// node returns the i-th inode.
func (x *index) node(i int32) inode {
	n := &x.chunks[i>>chunkShift][i&(chunkNodes-1)]
	return inode{n, &x.attributes[n.kind>>chunkShift][n.kind&(chunkNodes-1)]}
}

func (x *index) len() int { return x.inos.len() }

// bytes is about how much memory the index takes.
func (x *index) bytes() int64 {
	return int64(len(x.chunks)+len(x.attributes)/3)*chunkNodes*48 + x.inos.bytes() + int64(len(x.extras))*120 + x.names.bytes()
}

// inode is an evidence.Info, in parts.
type inode struct {
	*node
	*attributes
}

// node is what differs from inode to inode, in 48 bytes: on a machine that has
// to find the memory first, its size is most of what an inode costs.
type node struct {
	size  int64
	times [4]packedTime // mtime, atime, ctime, btime
	extra int32
	kind  uint32 // which attributes
}

// attributes are what many inodes have in common.
type attributes struct {
	uid, gid uint32
	nlink    uint32
	perm     uint16
	typ      evidence.Type
	journal  bool
}

// kindOf returns the number of attributes, which are kept once where they are
// met again soon enough.
func (x *index) kindOf(a attributes) uint32 {
	h := (a.uid*31+a.gid)*31 + a.nlink*7 + uint32(a.perm) + uint32(a.typ)<<5
	late := &x.lately[(h^h>>9)%lateKinds]
	if k := *late; k > 0 && x.attributes[(k-1)>>chunkShift][(k-1)&(chunkNodes-1)] == a {
		return k - 1
	}
	if x.kinds&(chunkNodes-1) == 0 {
		x.attributes = append(x.attributes, make([]attributes, chunkNodes))
	}
	k := x.kinds
	x.attributes[k>>chunkShift][k&(chunkNodes-1)] = a
	x.kinds++
	*late = k + 1
	return k
}

// packedTime is a time in 34 bits of seconds, from 1901-12-13 to 2446-05-10 as
// ext4 has them, and 30 bits of nanoseconds. Other times stand in extra.times.
type packedTime uint64

const (
	noTime    packedTime = 1<<64 - 1 // unknown
	otherTime packedTime = 1<<64 - 2 // in extra.times
	timeBase             = -1 << 31
	timeRange            = 1 << 34
)

func packTime(t time.Time) packedTime {
	if t.IsZero() {
		return noTime
	}
	sec := t.Unix() - timeBase
	if uint64(sec) >= timeRange {
		return otherTime
	}
	return packedTime(sec)<<30 | packedTime(t.Nanosecond())
}

// time returns one of an inode's times, in seconds and nanoseconds since 1970.
func (x *index) time(n *node, k int) (sec int64, nsec uint32, known bool) {
	switch p := n.times[k]; p {
	case noTime:
		return 0, 0, false
	case otherTime:
		t := x.extras[n.extra].times[k]
		return t.Unix(), uint32(t.Nanosecond()), true
	default:
		return int64(p>>30) + timeBase, uint32(p & (1<<30 - 1)), true
	}
}

// inode returns the number of the i-th inode as the kernel reported it.
func (x *index) inode(i int32) uint64 {
	if e := &x.extras[x.node(i).extra]; e.renumbered {
		return e.inode
	}
	return uint64(x.inos.at(i))
}

// extra is what only some inodes have.
type extra struct {
	target       string
	xattrs       []string
	major, minor uint32
	inode        uint64 // where it is not the handle
	renumbered   bool
	times        *[4]time.Time // where they are outside packedTime's range
}

// maxNodes is the most inodes of one filesystem that are indexed; ext4's own limit is 2^32.
const maxNodes = math.MaxInt32

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
	x.names.tail = nil // only link needs it
	return x, nil
}

func (x *index) add(ino evidence.Ino, info *evidence.Info, target string, xattrs []string) error {
	if x.len() >= maxNodes {
		return fmt.Errorf("more than %d inodes: %w", maxNodes, evidence.ErrUnsupported)
	}
	if x.len()&(chunkNodes-1) == 0 {
		x.chunks = append(x.chunks, make([]node, chunkNodes))
	}
	x.inos.add(ino)
	i := int32(x.len() - 1)
	n := &x.chunks[i>>chunkShift][i&(chunkNodes-1)]
	*n = node{
		size:  info.Size,
		times: [4]packedTime{packTime(info.Mtime), packTime(info.Atime), packTime(info.Ctime), packTime(info.Btime)},
		kind:  x.kindOf(attributes{info.UID, info.GID, info.Nlink, info.Perm, info.Type, info.FromJournal}),
	}
	e := extra{target: target, xattrs: xattrs, major: info.Major, minor: info.Minor}
	if info.Inode != uint64(ino) {
		e.inode, e.renumbered = info.Inode, true
	}
	if slices.Contains(n.times[:], otherTime) {
		e.times = &[4]time.Time{info.Mtime, info.Atime, info.Ctime, info.Btime}
	}
	device := info.Type == evidence.TypeChar || info.Type == evidence.TypeBlock
	if target != "" || len(xattrs) > 0 || device || e.renumbered || e.times != nil {
		n.extra = int32(len(x.extras))
		x.extras = append(x.extras, e)
	}
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
	x.sort()
	var dirs []evidence.Ino
	for i := range int32(x.len()) {
		if x.node(i).typ == evidence.TypeDir {
			dirs = append(dirs, x.inos.at(i))
		}
	}
	last, lastPlace, child := evidence.Ino(0), int32(-1), int32(-1)
	for e, err := range s.Entries(dirs) {
		if err != nil {
			warn(err)
			continue
		}
		if e.Dir != last || lastPlace < 0 {
			last, lastPlace = e.Dir, x.place(e.Dir)
		}
		// Files of one directory were often made one after the other.
		if child++; int(child) >= x.len() || x.inos.at(child) != e.Ino {
			child = x.place(e.Ino)
		}
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

// sort makes the nodes, which are complete now, findable by their handle.
func (x *index) sort() {
	x.names.head, x.names.tail = make([]int32, x.len()), make([]int32, x.len())
	if x.inos.sorted {
		return
	}
	x.order = make([]int32, x.len())
	for i := range x.order {
		x.order[i] = int32(i)
	}
	slices.SortStableFunc(x.order, func(a, b int32) int { return cmp.Compare(x.inos.at(a), x.inos.at(b)) })
}

// place returns the node of a handle, or -1.
func (x *index) place(ino evidence.Ino) int32 {
	if x.order == nil {
		return x.inos.find(ino)
	}
	i, ok := slices.BinarySearchFunc(x.order, ino, func(i int32, ino evidence.Ino) int { return cmp.Compare(x.inos.at(i), ino) })
	if !ok {
		return -1
	}
	return x.order[i]
}

func (x *index) link(dir, child int32, name string) error {
	if dir < 0 || child < 0 {
		return errors.New("more names than can be indexed")
	}
	return x.names.add(dir, child, name)
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
	x.sort()
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
