package tarfs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"strings"

	"lagan/evidence"
)

// node is an inode. What is rarely asked for, attributes and the map of a sparse
// file, stays in the archive.
type node struct {
	data     int64  // offset of the content
	size     int64  // of a device: its numbers; of a symbolic link: the place of its target
	back     uint32 // how far before data its first header is; 0 for a folder that has none
	uid, gid uint32
	nlink    uint32
	parent   uint32
	children uint32 // the entry that was added last
	nsec     [mainTimes]uint32
	sec      [mainTimes]int64
	perm     uint16
	typ      evidence.Type
	hasX     bool
	sparse   bool
	hasBirth bool // there is a time of creation, in tree.births
}

// mainTimes are the times that every node has room for.
const mainTimes = 3

// entry is a name in a folder. It is on two chains: of its folder, and of those
// whose hash is the same.
type entry struct {
	name    string
	dir     uint32
	node    uint32
	sibling uint32
	chain   uint32
}

// tree is what the headers make. Node 0 and entry 0 are none; node 1 is the root.
type tree struct {
	nodes   chunked[node]
	entries chunked[entry]
	targets chunked[string]
	births  map[uint32]stamp
	hashes  map[uint64]uint32
	seed    maphash.Seed
	names   int64 // bytes of names and targets
}

const rootNode = 1

func newTree() *tree {
	t := &tree{births: map[uint32]stamp{}, hashes: map[uint64]uint32{}, seed: maphash.MakeSeed()}
	t.nodes.add(node{})
	t.entries.add(entry{})
	t.nodes.add(impliedDir(rootNode))
	t.nodes.at(rootNode).nlink = 1
	return t
}

// impliedDir is a folder of which the archive has the content alone.
func impliedDir(parent uint32) node {
	return node{typ: evidence.TypeDir, perm: 0o755, parent: parent, nsec: [mainTimes]uint32{absent, absent, absent}}
}

// hash mixes a folder's number (with the golden ratio, so that neighbours fall
// far apart) into that of the name.
func (t *tree) hash(dir uint32, name string) uint64 {
	return maphash.String(t.seed, name) ^ uint64(dir)*0x9e3779b97f4a7c15
}

// lookup returns the place of an entry, or 0.
func (t *tree) lookup(dir uint32, name string) uint32 {
	e := t.hashes[t.hash(dir, name)]
	for e != 0 && (t.entries.at(e).dir != dir || t.entries.at(e).name != name) {
		e = t.entries.at(e).chain
	}
	return e
}

// child returns what a folder has by a name, or 0.
func (t *tree) child(dir uint32, name string) uint32 {
	return t.entries.at(t.lookup(dir, name)).node
}

var (
	errMany  = fmt.Errorf("more than %d entries: %w", maxEntries, evidence.ErrUnsupported)
	errNames = fmt.Errorf("names of more than %d MiB: %w", maxNames>>20, evidence.ErrUnsupported)
)

// link gives a node a name, in place of what had it.
func (t *tree) link(dir uint32, name string, n uint32) error {
	if e := t.lookup(dir, name); e != 0 {
		x := t.entries.at(e)
		t.nodes.at(x.node).nlink--
		x.node = n
		t.nodes.at(n).nlink++
		return nil
	}
	if t.entries.len() >= maxEntries {
		return errMany
	}
	if t.names += int64(len(name)); t.names > maxNames {
		return errNames
	}
	h, d := t.hash(dir, name), t.nodes.at(dir)
	e := t.entries.add(entry{strings.Clone(name), dir, n, d.children, t.hashes[h]})
	t.hashes[h], d.children = e, e
	t.nodes.at(n).nlink++
	return nil
}

// add makes a node with a name.
func (t *tree) add(dir uint32, name string, n node) (uint32, error) {
	if t.nodes.len() >= maxEntries {
		return 0, errMany
	}
	n.parent = dir
	ino := t.nodes.add(n)
	return ino, t.link(dir, name, ino)
}

// parentOf returns the folder that a name lies in, and its last element. Folders
// without a header are made; symbolic links on the way lead where they lead
// inside the archive, as where it is unpacked.
func (t *tree) parentOf(name string) (uint32, string, error) {
	todo := cleaned(name)
	if len(todo) == 0 {
		return rootNode, "", nil
	}
	base := todo[len(todo)-1]
	todo = todo[:len(todo)-1]
	dir := uint32(rootNode)
	for links := 0; len(todo) > 0; {
		e := todo[0]
		todo = todo[1:]
		if e == ".." {
			dir = t.nodes.at(dir).parent
			continue
		}
		at := t.child(dir, e)
		if at == 0 {
			var err error
			if at, err = t.add(dir, e, impliedDir(dir)); err != nil {
				return 0, "", err
			}
		}
		switch n := t.nodes.at(at); n.typ {
		case evidence.TypeDir:
			dir = at
		case evidence.TypeSymlink:
			if links++; links > maxLinks {
				return 0, "", fmt.Errorf("too many symbolic links: %w", evidence.ErrCorrupt)
			}
			target := *t.targets.at(uint32(n.size))
			if strings.HasPrefix(target, "/") {
				dir = rootNode
			}
			todo = append(evidence.Split(target), todo...)
		default:
			return 0, "", fmt.Errorf("%q on the way is a %s: %w", e, n.typ, evidence.ErrCorrupt)
		}
	}
	return dir, base, nil
}

// cleaned returns the elements of a name, ".." applied; above the root is the root.
func cleaned(name string) []string {
	var out []string
	for _, e := range evidence.Split(name) {
		if e == ".." {
			out = out[:max(len(out)-1, 0)]
			continue
		}
		out = append(out, e)
	}
	return out
}

// member puts one member of the archive into the tree.
func (t *tree) member(h *header) error {
	if len(h.name) > maxPath || len(h.link) > maxPath {
		return fmt.Errorf("a name of %d bytes: %w", max(len(h.name), len(h.link)), evidence.ErrUnsupported)
	}
	if strings.ContainsRune(h.name, 0) || strings.ContainsRune(h.link, 0) {
		return fmt.Errorf("a name with a NUL in it: %w", evidence.ErrCorrupt)
	}
	dir, base, err := t.parentOf(h.name)
	if err != nil {
		return err
	}
	if len(base) > maxName {
		return fmt.Errorf("a name of %d bytes: %w", len(base), evidence.ErrUnsupported)
	}
	if h.kind == kindLink {
		return t.hardLink(dir, base, h)
	}
	n, err := t.newNode(h)
	if err != nil {
		return err
	}
	old := uint32(rootNode)
	if base != "" {
		old = t.child(dir, base)
	}
	if o := t.nodes.at(old); old != 0 && o.typ == evidence.TypeDir {
		switch {
		case n.typ == evidence.TypeDir:
			n.children, n.parent, n.nlink = o.children, o.parent, o.nlink
			*o = n
			t.setBirth(old, h)
			return nil
		case o.children != 0 || old == rootNode:
			return fmt.Errorf("a %s in the place of a folder: %w", n.typ, evidence.ErrCorrupt)
		}
	}
	ino, err := t.add(dir, base, n)
	if err == nil {
		t.setBirth(ino, h)
	}
	return err
}

// setBirth keeps the time of creation, which few archives have.
func (t *tree) setBirth(ino uint32, h *header) {
	if b := h.times[btime]; b.nsec != absent {
		t.births[ino] = b
		t.nodes.at(ino).hasBirth = true
	}
}

// hardLink gives the file that a link names another name.
func (t *tree) hardLink(dir uint32, base string, h *header) error {
	at, last, err := t.parentOf(h.link)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.link, err)
	}
	n := t.child(at, last)
	if n == 0 || t.nodes.at(n).typ == evidence.TypeDir || base == "" {
		return fmt.Errorf("hard link to %q, which is no file of the archive: %w", h.link, evidence.ErrCorrupt)
	}
	if old := t.child(dir, base); old != 0 && t.nodes.at(old).typ == evidence.TypeDir {
		return fmt.Errorf("a hard link in the place of a folder: %w", evidence.ErrCorrupt)
	}
	return t.link(dir, base, n)
}

var types = map[byte]evidence.Type{
	kindFile: evidence.TypeFile, kindFileOld: evidence.TypeFile, kindCont: evidence.TypeFile, kindGNUSparse: evidence.TypeFile,
	kindDir: evidence.TypeDir, kindGNUDir: evidence.TypeDir, kindSymlink: evidence.TypeSymlink,
	kindChar: evidence.TypeChar, kindBlock: evidence.TypeBlock, kindFIFO: evidence.TypeFIFO,
}

// errMore says that a member goes on from another volume of the archive.
var errMore = fmt.Errorf("the rest of a file that another volume of the archive begins: join the volumes first: %w", evidence.ErrUnsupported)

func (t *tree) newNode(h *header) (node, error) {
	typ, known := types[h.kind]
	switch {
	case h.kind == kindGNUMore:
		return node{}, errMore
	case !known:
		typ = evidence.TypeFile // as POSIX has it for kinds that aren't known
	case h.socket:
		typ = evidence.TypeSocket
	case typ == evidence.TypeFile && strings.HasSuffix(h.name, "/"):
		typ = evidence.TypeDir // as archives before POSIX have it
	}
	if h.data-h.start > math.MaxUint32 {
		return node{}, fmt.Errorf("headers of %d bytes: %w", h.data-h.start, evidence.ErrUnsupported)
	}
	n := node{data: h.data, back: uint32(h.data - h.start), typ: typ, perm: uint16(h.mode & 0o7777), uid: uint32(h.uid), gid: uint32(h.gid), hasX: h.hasX}
	for i := range mainTimes {
		n.sec[i], n.nsec[i] = h.times[i].sec, h.times[i].nsec
	}
	switch typ {
	case evidence.TypeFile:
		n.size, n.sparse = h.size, h.sparse != notSparse
	case evidence.TypeSymlink:
		if t.names += int64(len(h.link)); t.names > maxNames {
			return node{}, errNames
		}
		n.perm, n.size = 0o777, int64(t.targets.add(strings.Clone(h.link)))
	case evidence.TypeChar, evidence.TypeBlock:
		n.size = h.major<<32 | h.minor&math.MaxUint32
	}
	return n, nil
}

// read puts the whole archive into the tree. What is wrong with it is told to
// warn, and reading goes on behind it.
func (f *FS) read(r *reader, warn func(error)) error {
	lost := 0
	for off := int64(0); ; {
		h, err := r.next(off)
		switch {
		case err == nil:
			if off, err = f.take(r, h, warn); err != nil {
				return err
			}
			continue
		case off == 0 && f.t.nodes.len() == 2 && (errors.Is(err, errHeader) || err == errEnd || err == errNoMark):
			return evidence.ErrFormat
		case err == errNoMark:
			warn(fmt.Errorf("tar: offset %#x: %w: is it cut short? %w", off, err, evidence.ErrCorrupt))
			return nil
		case err == errEnd:
			if off = r.behindEnd(off); off < 0 {
				return nil
			}
			warn(fmt.Errorf("tar: behind the end of the archive another one follows at offset %#x; it is read too, as by tar -i: %w", off, evidence.ErrCorrupt))
		default:
			from := off
			if off = r.resync(off + block); off < 0 {
				warn(fmt.Errorf("tar: offset %#x: %w; what follows, up to offset %#x, is lost", from, asCorrupt(err), r.size))
				return nil
			}
			warn(fmt.Errorf("tar: offset %#x: %w; the next header is at offset %#x", from, asCorrupt(err), off))
		}
		if lost++; lost > maxLost {
			return fmt.Errorf("tar: offset %#x: no header %d times: %w", off, maxLost, evidence.ErrCorrupt)
		}
	}
}

// asCorrupt says of an end of the file that it is none of the archive.
func asCorrupt(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
	}
	return err
}

// take puts a member into the tree and returns where the next header is.
func (f *FS) take(r *reader, h *header, warn func(error)) (next int64, err error) {
	if !r.hasContent(h) {
		h.stored = 0
	}
	next = h.data + padded(h.stored)
	if _, known := types[h.kind]; !known && h.kind != kindLink && h.kind != kindGNUMore {
		warn(fmt.Errorf("tar: %.300q at offset %#x is of kind %q, which isn't known, and read as a file: %w", h.name, h.start, h.kind, evidence.ErrUnsupported))
	}
	switch err := f.t.member(h); {
	case errors.Is(err, errMany), errors.Is(err, errNames):
		return 0, fmt.Errorf("tar: offset %#x: %w", h.start, err)
	case err != nil:
		warn(fmt.Errorf("tar: %.300q at offset %#x is left out: %w", h.name, h.start, err))
	case h.data+h.stored > r.size:
		warn(fmt.Errorf("tar: the archive ends at offset %#x, in the content of %.300q: %w", r.size, h.name, evidence.ErrCorrupt))
	}
	if next > r.size {
		next = r.size
		if h.data+h.stored > r.size {
			return next, errCut
		}
	}
	return next, nil
}

// errCut ends the reading of an archive that was cut, which has been told.
var errCut = errors.New("cut")

// behindEnd returns where another archive begins behind the zeros at off, or -1.
func (r *reader) behindEnd(off int64) int64 {
	for ; off+block <= r.size; off += block {
		b, err := r.bytes(off, block)
		if err != nil {
			return -1
		}
		if !allZero(b) {
			if sumOK(b) && string(b[offMagic:offMagic+len(magicUstar)]) == magicUstar {
				return off
			}
			return -1
		}
	}
	return -1
}

// resync returns the offset of the next block that is a header beyond doubt, or -1.
func (r *reader) resync(off int64) int64 {
	for ; off+block <= r.size; off += block {
		b, err := r.bytes(off, block)
		if err != nil {
			return -1
		}
		if string(b[offMagic:offMagic+len(magicUstar)]) == magicUstar && sumOK(b) {
			return off
		}
	}
	return -1
}
