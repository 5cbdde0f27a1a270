package xfs

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sort"

	"lagan/evidence"
)

// extent maps count blocks of a fork from the fork's block off on to the
// filesystem's blocks from start on.
type extent struct {
	off, start, count uint64
	unwritten         bool // preallocated: reads as zeros
}

// decodeExtent unpacks 128 bits: 1 of state, 54 of offset, 52 of block, 21 of count (xfs_bmbt_disk_get_all).
func decodeExtent(b []byte) extent {
	l0, l1 := be.Uint64(b), be.Uint64(b[8:])
	return extent{
		off:       l0 >> 9 & (1<<54 - 1),
		start:     l0&(1<<9-1)<<43 | l1>>21,
		count:     l1 & (1<<21 - 1),
		unwritten: l0>>63 != 0,
	}
}

// fork is the data or attribute fork of an inode that is kept in blocks.
type fork struct {
	fs    *FS
	ino   uint64
	name  string   // "data" or "attribute"
	exts  []extent // format extents: sorted, and at most as many as fit an inode
	root  []byte   // format btree: struct xfs_bmdr_block
	level int      // of the root
}

// dataBlocks returns the data fork of an inode of format extents or btree.
func (f *FS) dataBlocks(d *dinode) (fork, error) {
	return f.fork(d.ino, "data", d.format, d.dataFork(), d.nextents)
}

// attrBlocks returns the attribute fork of an inode of format extents or btree.
func (f *FS) attrBlocks(d *dinode) (fork, error) {
	return f.fork(d.ino, "attribute", d.aformat, d.attrFork(), d.anextents)
}

func (f *FS) fork(ino uint64, name string, format uint8, b []byte, count uint64) (fork, error) {
	k := fork{fs: f, ino: ino, name: name}
	switch format {
	case fmtExtents:
		if count > uint64(len(b)/bmbtRec) {
			return k, k.corrupt("%d extents don't fit the inode", count)
		}
		k.exts = decodeExtents(b[:int(count)*bmbtRec])
		if !slices.IsSortedFunc(k.exts, byOffset) {
			f.warnOnce(name+" fork", ino, k.corrupt("extents out of order"))
			slices.SortStableFunc(k.exts, byOffset)
		}
	case fmtBtree:
		if len(b) < 4 {
			return k, k.corrupt("no room for a B+tree root")
		}
		k.root, k.level = b, int(be.Uint16(b))
		if k.level == 0 || k.level > maxTreeLevels {
			return k, k.corrupt("B+tree of %d levels", k.level)
		}
	default:
		return k, k.corrupt("format %d", format)
	}
	return k, nil
}

func decodeExtents(b []byte) []extent {
	exts := make([]extent, len(b)/bmbtRec)
	for i := range exts {
		exts[i] = decodeExtent(b[i*bmbtRec:])
	}
	return exts
}

func byOffset(a, b extent) int { return cmp.Compare(a.off, b.off) }

func (k *fork) corrupt(format string, args ...any) error {
	return fmt.Errorf("inode %d: %s fork: %s: %w", k.ino, k.name, fmt.Sprintf(format, args...), evidence.ErrCorrupt)
}

// bmbtBlock is a decoded block of a fork's B+tree, or its root.
type bmbtBlock struct {
	level int
	n     int
	keys  []byte // of 8 bytes, where level > 0
	ptrs  []byte // of 8 bytes, where level > 0
	recs  []byte // of 16 bytes, where level == 0
}

// rootBlock decodes the root that stands in the inode: level, number of records, keys and pointers.
func (k *fork) rootBlock() (bmbtBlock, error) {
	n := int(be.Uint16(k.root[2:]))
	room := (len(k.root) - 4) / 16
	if n > room {
		return bmbtBlock{}, k.corrupt("B+tree root of %d records", n)
	}
	return bmbtBlock{level: k.level, n: n, keys: k.root[4:][:8*n], ptrs: k.root[4+8*room:][:8*n]}, nil
}

// block reads the B+tree block at fsb, which must be of the given level.
func (k *fork) block(fsb uint64, level int) (bmbtBlock, error) {
	off, err := k.fs.blockOffset(fsb, 1)
	if err != nil {
		return bmbtBlock{}, k.corrupt("B+tree: %v", err)
	}
	b, err := k.fs.cache.read(off, int(k.fs.sb.blockSize))
	if err != nil {
		return bmbtBlock{}, fmt.Errorf("inode %d: %s fork: B+tree: %w", k.ino, k.name, err)
	}
	hdr, magic := btreeLong, uint32(magicBMap)
	if k.fs.sb.v5() {
		hdr, magic = btreeLongCRC, magicBMapCRC
	}
	if be.Uint32(b) != magic {
		return bmbtBlock{}, k.corrupt("B+tree block at offset %#x: bad magic number", off)
	}
	if k.fs.sb.v5() {
		if err := k.fs.verify(b, off, bmbtLayout, k.ino, "B+tree block"); err != nil {
			return bmbtBlock{}, err
		}
	}
	n, room := int(be.Uint16(b[6:])), (len(b)-hdr)/16 // a record, and a key with its pointer, take 16 bytes
	if got := int(be.Uint16(b[4:])); got != level || n > room {
		return bmbtBlock{}, k.corrupt("B+tree block at offset %#x: level %d, %d records", off, got, n)
	}
	if level == 0 {
		return bmbtBlock{n: n, recs: b[hdr:][:16*n]}, nil
	}
	return bmbtBlock{level: level, n: n, keys: b[hdr:][:8*n], ptrs: b[hdr+8*room:][:8*n]}, nil
}

func (b *bmbtBlock) key(i int) uint64 { return be.Uint64(b.keys[8*i:]) }
func (b *bmbtBlock) ptr(i int) uint64 { return be.Uint64(b.ptrs[8*i:]) }

// all yields the extents from the fork's block from on, in order. What can't
// be read of a B+tree is an error, and the extents after it follow.
func (k *fork) all(from uint64) iter.Seq2[extent, error] {
	return func(yield func(extent, error) bool) {
		if k.root == nil {
			for _, e := range k.exts {
				if e.off+e.count > from && !yield(e, nil) {
					return
				}
			}
			return
		}
		root, err := k.rootBlock()
		if err != nil {
			yield(extent{}, err)
			return
		}
		k.walk(root, from, make(map[uint64]bool), yield)
	}
}

// walk yields the extents below b. seen holds the blocks met: a block has one parent.
func (k *fork) walk(b bmbtBlock, from uint64, seen map[uint64]bool, yield func(extent, error) bool) bool {
	if b.level == 0 {
		for i := range b.n {
			e := decodeExtent(b.recs[bmbtRec*i:])
			if e.off+e.count > from && !yield(e, nil) {
				return false
			}
		}
		return true
	}
	for i := range b.n {
		if i+1 < b.n && b.key(i+1) <= from {
			continue
		}
		fsb := b.ptr(i)
		if seen[fsb] {
			return yield(extent{}, k.corrupt("B+tree block %#x has two parents", fsb))
		}
		seen[fsb] = true
		child, err := k.block(fsb, b.level-1)
		if err != nil {
			if !yield(extent{}, err) {
				return false
			}
			continue
		}
		if !k.walk(child, from, seen, yield) {
			return false
		}
	}
	return true
}

// span is a stretch of a fork that was looked up: what its extents are, and
// that there are holes between them. It reaches from lo to below hi.
type span struct {
	lo, hi uint64
	exts   []extent
}

// find returns the stretch of the fork that holds the fork's block off: the
// whole fork, or what one leaf of its B+tree holds. Memory stays bounded, however many extents a fork has.
func (k *fork) find(off uint64) (span, error) {
	if k.root == nil {
		return span{hi: ^uint64(0), exts: k.exts}, nil
	}
	b, err := k.rootBlock()
	if err != nil {
		return span{}, err
	}
	s := span{hi: ^uint64(0)}
	for b.level > 0 {
		// The last key that is not above off; what lies before the first key is a hole.
		i := sort.Search(b.n, func(i int) bool { return b.key(i) > off }) - 1
		if i+1 < b.n {
			s.hi = min(s.hi, b.key(i+1))
		}
		if i < 0 {
			return s, nil
		}
		s.lo = max(s.lo, b.key(i))
		if b, err = k.block(b.ptr(i), b.level-1); err != nil {
			return span{}, err
		}
	}
	s.exts = decodeExtents(b.recs)
	if !slices.IsSortedFunc(s.exts, byOffset) {
		return span{}, k.corrupt("B+tree leaf out of order")
	}
	return s, nil
}

// lookup returns the extent of s that holds the block off; where there is none,
// the hole that does, as an extent without a start that reads as zeros.
func (s *span) lookup(off uint64) extent {
	i := sort.Search(len(s.exts), func(i int) bool { return s.exts[i].off > off })
	if i > 0 {
		if e := s.exts[i-1]; off-e.off < e.count {
			return e
		}
	}
	hole := extent{off: off, count: s.hi - off, unwritten: true}
	if i < len(s.exts) {
		hole.count = min(s.hi, s.exts[i].off) - off
	}
	return hole
}

// readBlocks reads count blocks from the fork's block off on, for metadata that
// may lie in several extents. It returns where the first lies on the device. Count is bounded by the caller.
func (k *fork) readBlocks(off, count uint64) ([]byte, int64, error) {
	var out []byte
	first := int64(-1)
	for count > 0 {
		s, err := k.find(off)
		if err != nil {
			return nil, 0, err
		}
		e := s.lookup(off)
		if e.unwritten {
			return nil, 0, k.corrupt("block %#x is a hole", off)
		}
		n := min(count, e.count-(off-e.off))
		pos, err := k.fs.blockOffset(e.start+off-e.off, n)
		if err != nil {
			return nil, 0, k.corrupt("block %#x: %v", off, err)
		}
		b, err := k.fs.cache.read(pos, int(n)<<k.fs.sb.blockLog)
		if err != nil {
			return nil, 0, fmt.Errorf("inode %d: %s fork: %w", k.ino, k.name, err)
		}
		if first < 0 {
			first = pos
			if n == count {
				return b, pos, nil // the usual case, without a copy
			}
		}
		out = append(out, b...)
		off, count = off+n, count-n
	}
	return out, first, nil
}
