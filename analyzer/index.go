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
// disk and kept compactly: about 80 bytes an inode and 16 and its name an
// entry, in large allocations without pointers. A disk of a million inodes
// takes some 130 MB so, and as evidence.Info values three times that.
type index struct {
	fsys   evidence.FS
	inos   []evidence.Ino // the handle of each node
	order  []int32        // nodes in the order of inos; nil where that is the order they are in
	chunks [][]node       // of chunkNodes each, so that no node is ever copied
	extras []extra        // of the few inodes that have one; 0 is none
	edges  [][]edge       // of chunkNodes each
	count  int32          // of edges
	names  [][]byte       // of nameBlock bytes each
	head   []int32        // the first edge of each directory; 0 none
	tail   []int32        // and the last
}

const (
	chunkShift = 12
	chunkNodes = 1 << chunkShift

	nameShift = 20
	nameBlock = 1 << nameShift
)

// node returns the i-th inode.
func (x *index) node(i int32) *node { return &x.chunks[i>>chunkShift][i&(chunkNodes-1)] }

func (x *index) len() int { return len(x.inos) }

// node is an evidence.Info in 64 bytes, a processor's cache line: on a machine
// that has to find the memory first, its size is most of what an inode costs.
type node struct {
	size     int64
	times    [4]packedTime // mtime, atime, ctime, btime
	uid, gid uint32
	nlink    uint32
	extra    int32
	perm     uint16
	typ      evidence.Type
	journal  bool
	_        uint32
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
	return uint64(x.inos[i])
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

// edge is one entry of a directory. Those of one directory are a list, in the
// order in which they were read.
type edge struct {
	child  int32
	next   int32 // 0: the last
	name   uint32
	length uint8
}

// edge returns the i-th entry, from 1.
func (x *index) edge(i int32) *edge { return &x.edges[i>>chunkShift][i&(chunkNodes-1)] }

// maxNodes is the most inodes of one filesystem that are indexed; ext4's own limit is 2^32.
const maxNodes = math.MaxInt32

func pack(n *node, i *evidence.Info) {
	*n = node{
		size: i.Size, uid: i.UID, gid: i.GID, nlink: i.Nlink, perm: i.Perm, typ: i.Type, journal: i.FromJournal,
		times: [4]packedTime{packTime(i.Mtime), packTime(i.Atime), packTime(i.Ctime), packTime(i.Btime)},
	}
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
	x.tail = nil // only link needs it
	return x, nil
}

func (x *index) add(ino evidence.Ino, info *evidence.Info, target string, xattrs []string) error {
	if x.len() >= maxNodes {
		return fmt.Errorf("more than %d inodes: %w", maxNodes, evidence.ErrUnsupported)
	}
	if x.len()&(chunkNodes-1) == 0 {
		x.chunks = append(x.chunks, make([]node, chunkNodes))
	}
	if len(x.inos) == cap(x.inos) { // twofold: append alone copies five times as much
		x.inos = slices.Grow(x.inos, max(len(x.inos), chunkNodes))
	}
	x.inos = append(x.inos, ino)
	n := x.node(int32(x.len() - 1))
	pack(n, info)
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
	for i, ino := range x.inos {
		if x.node(int32(i)).typ == evidence.TypeDir {
			dirs = append(dirs, ino)
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

// sort makes the nodes, which are complete now, findable by their handle.
func (x *index) sort() {
	x.head, x.tail = make([]int32, x.len()), make([]int32, x.len())
	if slices.IsSorted(x.inos) {
		return
	}
	x.order = make([]int32, x.len())
	for i := range x.order {
		x.order[i] = int32(i)
	}
	slices.SortStableFunc(x.order, func(a, b int32) int { return cmp.Compare(x.inos[a], x.inos[b]) })
}

// place returns the node of a handle, or -1.
func (x *index) place(ino evidence.Ino) int32 {
	if x.order == nil {
		if i, ok := slices.BinarySearch(x.inos, ino); ok {
			return int32(i)
		}
		return -1
	}
	i, ok := slices.BinarySearchFunc(x.order, ino, func(i int32, ino evidence.Ino) int { return cmp.Compare(x.inos[i], ino) })
	if !ok {
		return -1
	}
	return x.order[i]
}

func (x *index) link(dir, child int32, name string) error {
	if dir < 0 || child < 0 || len(name) > math.MaxUint8 || x.count >= maxNodes-1 || len(x.names) >= math.MaxUint32>>nameShift {
		return errors.New("more names than can be indexed")
	}
	x.count++
	if len(x.edges) == 0 || x.count&(chunkNodes-1) == 0 {
		x.edges = append(x.edges, make([]edge, chunkNodes))
	}
	last := len(x.names) - 1
	if last < 0 || len(x.names[last])+len(name) > nameBlock {
		x.names = append(x.names, make([]byte, 0, nameBlock))
		last++
	}
	*x.edge(x.count) = edge{child: child, name: uint32(last<<nameShift | len(x.names[last])), length: uint8(len(name))}
	x.names[last] = append(x.names[last], name...)
	if x.tail[dir] == 0 {
		x.head[dir] = x.count
	} else {
		x.edge(x.tail[dir]).next = x.count
	}
	x.tail[dir] = x.count
	return nil
}

// name returns the bytes of an entry's name.
func (x *index) name(e *edge) []byte {
	at := e.name & (nameBlock - 1)
	return x.names[e.name>>nameShift][at : at+uint32(e.length)]
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
