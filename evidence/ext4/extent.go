package ext4

import (
	"fmt"
	"iter"
	"sync/atomic"

	"lagan/evidence"
)

// run is a stretch of a file: n blocks from logical block lblk, which lie from
// physical block pblk, or nowhere (0: a hole or unwritten, read as zeros).
type run struct {
	lblk, n, pblk uint64
}

// mapping finds a file's blocks, one node of its tree at a time: memory does
// not depend on the file's size. It may be used by several goroutines.
type mapping struct {
	fs      *FS
	ino     uint32
	seed    uint32
	extents bool
	root    [iBlockSize]byte
	last    atomic.Pointer[leaf]
}

// leaf is a lowest node, for the logical blocks from lo up to hi: extents, or
// block numbers.
type leaf struct {
	lo, hi  uint64
	entries []byte
}

func (fs *FS) mapping(in *inode) *mapping {
	return &mapping{fs: fs, ino: in.ino, seed: in.seed(fs.sb), extents: in.flags&flagExtents != 0, root: in.block}
}

// runs yields the runs that cover the first end blocks, holes among them. Of a
// part that can't be found it yields the error, with its extent.
func (m *mapping) runs(end uint64) iter.Seq2[run, error] {
	return func(yield func(run, error) bool) {
		for at := uint64(0); at < end; {
			r, err := m.find(at)
			r.n = max(1, min(r.n, end-at))
			if !yield(r, err) {
				return
			}
			at += r.n
		}
	}
}

// find returns the run that begins at a logical block. Beside an error, n is
// how far that reaches.
func (m *mapping) find(at uint64) (run, error) {
	if at >= maxLogical {
		return run{lblk: at, n: 1 << 62}, nil
	}
	l := m.last.Load()
	if l == nil || at < l.lo || at >= l.hi {
		var err error
		var gap uint64
		if m.extents {
			l, gap, err = m.extentLeaf(at)
		} else {
			l, gap, err = m.pointerLeaf(at)
		}
		if l == nil {
			return run{lblk: at, n: gap}, err
		}
		m.last.Store(l)
	}
	if m.extents {
		return m.findExtent(l, at)
	}
	return m.findPointer(l, at)
}

// extentLeaf goes down the tree of extents to the leaf that covers a logical
// block; without one it says how far the hole or the damage reaches.
func (m *mapping) extentLeaf(at uint64) (*leaf, uint64, error) {
	node := m.root[:]
	depth := int(le.Uint16(node[6:]))
	where := "in the inode"
	lo, hi := uint64(0), uint64(maxLogical)
	if depth > maxExtentDepth {
		return nil, hi - at, fmt.Errorf("inode %d: extent tree of depth %d: %w", m.ino, depth, evidence.ErrCorrupt)
	}
	for {
		entries, empty, err := checkExtents(node, depth, lo, hi)
		if empty {
			m.fs.warn(object{inTree, uint64(m.ino)}, fmt.Errorf("inode %d: extents %s: one of no blocks: %w", m.ino, where, evidence.ErrCorrupt))
		}
		if err != nil {
			return nil, hi - at, fmt.Errorf("inode %d: extents %s: %w", m.ino, where, err)
		}
		if depth == 0 {
			return &leaf{lo, hi, entries}, 0, nil
		}
		i := searchExtents(entries, at)
		if i < 0 {
			return nil, uint64(le.Uint32(entries)) - at, nil
		}
		e := entries[i*extEntrySize:]
		lo = uint64(le.Uint32(e))
		if len(e) > extEntrySize {
			hi = uint64(le.Uint32(e[extEntrySize:]))
		}
		blk := uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32 // ei_leaf
		where = fmt.Sprintf("in block %#x", blk)
		if node, err = m.fs.block(blk); err != nil {
			return nil, hi - at, fmt.Errorf("inode %d: reading extents: %w", m.ino, err)
		}
		if m.fs.sb.metadataCsum() && !extentSum(m.seed, node) {
			m.fs.warn(object{inExtents, blk}, fmt.Errorf("inode %d: extents %s: bad checksum: %w", m.ino, where, evidence.ErrCorrupt))
		}
		depth--
	}
}

// checkExtents returns the entries of a node after checks as in
// __ext4_ext_check in extents.c: sorted, apart, within the logical blocks that
// the level above leaves them. An extent of no blocks is passed over.
func checkExtents(node []byte, depth int, lo, hi uint64) (entries []byte, empty bool, err error) {
	magic, n, limit, d := le.Uint16(node), int(le.Uint16(node[2:])), int(le.Uint16(node[4:])), int(le.Uint16(node[6:]))
	switch {
	case magic != extMagic:
		return nil, false, fmt.Errorf("magic %#x: %w", magic, evidence.ErrCorrupt)
	case d != depth:
		return nil, false, fmt.Errorf("depth %d instead of %d: %w", d, depth, evidence.ErrCorrupt)
	case n > limit || extEntrySize*(n+1) > len(node) || n == 0 && depth > 0:
		return nil, false, fmt.Errorf("%d entries of %d in %d bytes: %w", n, limit, len(node), evidence.ErrCorrupt)
	}
	entries = node[extEntrySize : extEntrySize*(n+1)]
	next := lo
	for i := range n {
		e := entries[i*extEntrySize:]
		at, count := uint64(le.Uint32(e)), uint64(1)
		if depth == 0 {
			count = uint64(extentLen(e))
		}
		if at < next || at >= hi || at+count > maxLogical {
			return nil, empty, fmt.Errorf("entry %d for logical block %#x, after %#x and up to %#x: %w", i, at, next, hi, evidence.ErrCorrupt)
		}
		empty = empty || count == 0
		next = at + count
	}
	return entries, empty, nil
}

// extentLen returns ee_len without the mark of an unwritten extent.
func extentLen(e []byte) int {
	n := int(le.Uint16(e[4:]))
	if n > extInitMaxLen {
		n -= extInitMaxLen
	}
	return n
}

// searchExtents returns the last entry that begins at or before a logical block, or -1.
func searchExtents(entries []byte, at uint64) int {
	lo, hi := 0, len(entries)/extEntrySize
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if uint64(le.Uint32(entries[mid*extEntrySize:])) <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

func (m *mapping) findExtent(l *leaf, at uint64) (run, error) {
	i := searchExtents(l.entries, at)
	if i >= 0 {
		e := l.entries[i*extEntrySize:]
		start, n := uint64(le.Uint32(e)), uint64(extentLen(e))
		if at < start+n {
			r := run{lblk: at, n: min(start+n, l.hi) - at}
			if le.Uint16(e[4:]) > extInitMaxLen {
				return r, nil // unwritten
			}
			blk := uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32 // ee_start
			if !m.fs.validBlocks(blk, n) {
				return r, fmt.Errorf("inode %d: logical block %#x at blocks %#x to %#x: %w", m.ino, at, blk, blk+n, evidence.ErrCorrupt)
			}
			r.pblk = blk + at - start
			return r, nil
		}
	}
	end := l.hi
	if next := (i + 1) * extEntrySize; next < len(l.entries) {
		end = uint64(le.Uint32(l.entries[next:]))
	}
	return run{lblk: at, n: end - at}, nil
}

// pointerLeaf goes down the map of indirect blocks (ext4_block_to_path in
// indirect.c) to the block numbers around a logical block; without them it
// says how far the hole or the damage reaches.
func (m *mapping) pointerLeaf(at uint64) (*leaf, uint64, error) {
	if at < directBlocks {
		return &leaf{0, directBlocks, m.root[:4*directBlocks]}, 0, nil
	}
	per := uint64(m.fs.sb.blockSize() / 4)
	lo, span := uint64(directBlocks), per // of the tree at this level
	for level := 1; level <= indirectLevel; level++ {
		if at < lo+span {
			ptr := le.Uint32(m.root[4*(directBlocks+level-1):])
			return m.pointerTree(at, lo, span, uint64(ptr))
		}
		lo += span
		span *= per
	}
	return nil, maxLogical - at, nil
}

func (m *mapping) pointerTree(at, lo, span, blk uint64) (*leaf, uint64, error) {
	per := uint64(m.fs.sb.blockSize() / 4)
	for {
		if blk == 0 {
			return nil, lo + span - at, nil
		}
		b, err := m.fs.block(blk)
		if err != nil {
			return nil, lo + span - at, fmt.Errorf("inode %d: reading indirect block: %w", m.ino, err)
		}
		if span == per {
			return &leaf{lo, lo + per, b}, 0, nil
		}
		span /= per
		i := (at - lo) / span
		lo += i * span
		blk = uint64(le.Uint32(b[4*i:]))
	}
}

func (m *mapping) findPointer(l *leaf, at uint64) (run, error) {
	p := l.entries[4*(at-l.lo):]
	first := uint64(le.Uint32(p))
	n := uint64(1)
	for ; n < uint64(len(p)/4); n++ {
		v := uint64(le.Uint32(p[4*n:]))
		if first == 0 && v != 0 || first != 0 && v != first+n {
			break
		}
	}
	r := run{lblk: at, n: n}
	if first != 0 {
		if !m.fs.validBlocks(first, 1) {
			r.n = 1
			return r, fmt.Errorf("inode %d: logical block %#x at block %#x: %w", m.ino, at, first, evidence.ErrCorrupt)
		}
		r.n = min(n, m.fs.sb.blocks-first)
		r.pblk = first
	}
	return r, nil
}
