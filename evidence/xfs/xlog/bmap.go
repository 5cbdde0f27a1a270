package xlog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"lagan/evidence"
)

const (
	maxExtentLen   = 1<<21 - 1 // XFS_MAX_BMBT_EXTLEN
	maxBmapLevels  = 9         // XFS_BM_MAXLEVELS of the smallest blocks
	longBlockV5    = 72        // XFS_BTREE_LBLOCK_CRC_LEN
	shortBlockV5   = 56        // XFS_BTREE_SBLOCK_CRC_LEN
	nullFSBlock    = ^uint64(0)
	nullAGBlock    = ^uint32(0)
	agfBnoRoot     = 16 // agf_bno_root
	agfBnoLevel    = 28
	magicAGF       = 0x58414746 // XAGF
	magicAB3B      = 0x41423342 // AB3B
	inodeFormatOff = 5
)

// maxForkExtents bounds the work on forks over a whole replay: unfinished
// mapping operations are a handful, files of a million extents are rare.
const maxForkExtents = 1 << 21

// mapping is an extent of a fork, in blocks.
type mapping struct {
	off, block, count uint64
	unwritten         bool
}

func (m mapping) end() uint64 { return m.off + m.count }

// getMapping decodes struct xfs_bmbt_rec.
func getMapping(b []byte) mapping {
	l0, l1 := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	return mapping{off: l0 &^ (1 << 63) >> 9, block: l0&0x1ff<<43 | l1>>21, count: l1 & maxExtentLen, unwritten: l0>>63 != 0}
}

// putMapping encodes struct xfs_bmbt_rec.
func putMapping(b []byte, m mapping) {
	l0, l1 := m.off<<9|m.block>>43, m.block<<21|m.count
	if m.unwritten {
		l0 |= 1 << 63
	}
	binary.BigEndian.PutUint64(b, l0)
	binary.BigEndian.PutUint64(b[8:], l1)
}

// fork is one fork of an inode, read whole to be changed and written back.
type fork struct {
	rp       *replayer
	ino      uint64
	at       int64  // of the inode
	d        []byte // the inode
	attr     bool
	maps     []mapping
	blocks   []uint64 // of its btree
	used     int      // of these, for the new btree
	released int64    // blocks that the fork no longer maps, less those it newly does
}

// openFork reads an inode's fork through what was replayed so far.
func (rp *replayer) openFork(ino uint64, attr bool) (*fork, error) {
	g := &rp.geo
	at, ok := g.offset(ino >> g.InopBlog)
	if !ok || !g.V5 {
		return nil, fmt.Errorf("inode %d: no such inode: %w", ino, evidence.ErrCorrupt)
	}
	at += int64(ino&(1<<g.InopBlog-1)) * int64(g.InodeSize)
	f := &fork{rp: rp, ino: ino, at: at, d: make([]byte, g.InodeSize), attr: attr}
	if err := rp.ov.read(f.d, at); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	if be.Uint16(f.d) != magicInode || f.d[4] < 3 || be.Uint64(f.d[inodeInumber:]) != ino || int(f.d[inodeForkOff])*8 > g.InodeSize-inodeCoreV3 {
		return nil, fmt.Errorf("inode %d: none at %#x: %w", ino, at, evidence.ErrCorrupt)
	}
	return f, f.load()
}

// area returns the bytes of the fork in the inode.
func (f *fork) area() []byte {
	b := f.d[inodeCoreV3:]
	n := int(f.d[inodeForkOff]) * 8
	switch {
	case f.attr && n == 0:
		return nil
	case f.attr:
		return b[n:]
	case n > 0:
		return b[:n]
	}
	return b
}

// format returns the byte that holds the fork's format.
func (f *fork) format() *byte {
	if f.attr {
		return &f.d[inodeAFormat]
	}
	return &f.d[inodeFormatOff]
}

// load reads the fork's mappings.
func (f *fork) load() error {
	area, be := f.area(), binary.BigEndian
	switch *f.format() {
	case formatExtents:
		n := f.extents()
		if n > uint64(len(area)/16) {
			return fmt.Errorf("inode %d: %d extents in a fork of %#x bytes: %w", f.ino, n, len(area), evidence.ErrCorrupt)
		}
		for i := range int(n) {
			f.maps = append(f.maps, getMapping(area[i*16:]))
		}
	case formatBtree:
		level, n, room := int(be.Uint16(area)), int(be.Uint16(area[2:])), (len(area)-4)/16
		if level == 0 || level > maxBmapLevels || n > room {
			return fmt.Errorf("inode %d: btree root of level %d with %d records: %w", f.ino, level, n, evidence.ErrCorrupt)
		}
		for i := range n {
			if err := f.loadBlock(be.Uint64(area[4+room*8+i*8:]), level-1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("inode %d: fork of format %d has no mappings: %w", f.ino, *f.format(), evidence.ErrCorrupt)
	}
	if !slices.IsSortedFunc(f.maps, func(a, b mapping) int {
		if a.end() <= b.off {
			return -1
		}
		return 1
	}) {
		return fmt.Errorf("inode %d: mappings out of order: %w", f.ino, evidence.ErrCorrupt)
	}
	return nil
}

// btreeBlock reads a block of the fork's btree. The level is what the parent
// says, so that a walk ends even where blocks point at each other.
func (f *fork) btreeBlock(fsb uint64, level int) ([]byte, int64, error) {
	off, ok := f.rp.geo.offset(fsb)
	if !ok {
		return nil, 0, fmt.Errorf("inode %d: btree block %#x: %w", f.ino, fsb, evidence.ErrCorrupt)
	}
	b := make([]byte, f.rp.geo.BlockSize)
	if err := f.rp.ov.read(b, off); err != nil {
		return nil, 0, err
	}
	be := binary.BigEndian
	width := 16 // a record; a key and a pointer
	if be.Uint32(b) != magicBMA3 || int(be.Uint16(b[4:])) != level || int(be.Uint16(b[6:])) > (len(b)-longBlockV5)/width {
		return nil, 0, fmt.Errorf("inode %d: btree block at %#x: %w", f.ino, off, evidence.ErrCorrupt)
	}
	return b, off, nil
}

func (f *fork) loadBlock(fsb uint64, level int) error {
	b, _, err := f.btreeBlock(fsb, level)
	if err != nil {
		return err
	}
	f.blocks = append(f.blocks, fsb)
	n := int(binary.BigEndian.Uint16(b[6:]))
	f.rp.forkExtents += n + 64 // a block costs a read
	if f.rp.forkExtents > maxForkExtents {
		return fmt.Errorf("inode %d: more than %d extents to change: %w", f.ino, maxForkExtents, evidence.ErrCorrupt)
	}
	room := (len(b) - longBlockV5) / 16
	for i := range n {
		if level == 0 {
			f.maps = append(f.maps, getMapping(b[longBlockV5+i*16:]))
			continue
		}
		if err := f.loadBlock(binary.BigEndian.Uint64(b[longBlockV5+room*8+i*8:]), level-1); err != nil {
			return err
		}
	}
	return nil
}

// extents returns the number of extents that the inode says the fork has.
func (f *fork) extents() uint64 {
	be := binary.BigEndian
	big := be.Uint64(f.d[inodeFlags2:])&flag2NREXT64 != 0
	switch {
	case f.attr && big:
		return uint64(be.Uint32(f.d[inodeNExtents:]))
	case f.attr:
		return uint64(be.Uint16(f.d[inodeNExtents+4:]))
	case big:
		return be.Uint64(f.d[inodeNREXT64:])
	}
	return uint64(be.Uint32(f.d[inodeNExtents:]))
}

func (f *fork) setExtents(n uint64) {
	be := binary.BigEndian
	big := be.Uint64(f.d[inodeFlags2:])&flag2NREXT64 != 0
	switch {
	case f.attr && big:
		be.PutUint32(f.d[inodeNExtents:], uint32(n))
	case f.attr:
		be.PutUint16(f.d[inodeNExtents+4:], uint16(n))
	case big:
		be.PutUint64(f.d[inodeNREXT64:], n)
	default:
		be.PutUint32(f.d[inodeNExtents:], uint32(n))
	}
}

// from returns the part of the mapping from block off of the file on.
func (m mapping) from(off uint64) mapping {
	return mapping{off, m.block + off - m.off, m.end() - off, m.unwritten}
}

// split parts mappings into those outside of the ranges and those inside. Both
// lists are in order, and so are the results.
func split(maps, ranges []mapping) (outside, inside []mapping) {
	for _, m := range maps {
		for m.count > 0 {
			for len(ranges) > 0 && ranges[0].end() <= m.off {
				ranges = ranges[1:]
			}
			if len(ranges) == 0 || ranges[0].off >= m.end() {
				outside = append(outside, m)
				break
			}
			r := ranges[0]
			if r.off > m.off {
				outside = append(outside, mapping{m.off, m.block, r.off - m.off, m.unwritten})
				m = m.from(r.off)
			}
			end := min(m.end(), r.end())
			inside = append(inside, mapping{m.off, m.block, end - m.off, m.unwritten})
			m = m.from(end)
		}
	}
	return outside, inside
}

// cut takes the mappings of the ranges out and returns them.
func (f *fork) cut(ranges ...mapping) []mapping {
	kept, taken := split(f.maps, ranges)
	f.maps = kept
	for _, m := range taken {
		f.released += int64(m.count)
	}
	return taken
}

// put adds mappings, which are in order, where there are none. Neighbours that
// are contiguous become one, as the kernel joins them.
func (f *fork) put(maps ...mapping) error {
	out := make([]mapping, 0, len(f.maps)+len(maps))
	old := f.maps
	for len(old) > 0 || len(maps) > 0 {
		var m mapping
		fresh := len(old) == 0 || len(maps) > 0 && maps[0].off < old[0].off
		if fresh {
			m, maps = maps[0], maps[1:]
			f.released -= int64(m.count)
		} else {
			m, old = old[0], old[1:]
		}
		if len(out) == 0 {
			out = append(out, m)
			continue
		}
		switch last := &out[len(out)-1]; {
		case last.end() > m.off:
			return fmt.Errorf("inode %d: block %#x is mapped already: %w", f.ino, m.off, evidence.ErrCorrupt)
		case last.end() == m.off && last.block+last.count == m.block && last.unwritten == m.unwritten && last.count+m.count <= maxExtentLen:
			last.count += m.count
		default:
			out = append(out, m)
		}
	}
	f.maps = out
	return nil
}

// save writes the fork back: as extents in the inode if they fit, else as a new
// btree in the blocks of the old one. One that it lacks is taken from free
// space; the free space btrees don't say so, since nothing allocates after replay.
func (f *fork) save() error {
	area, be := f.area(), binary.BigEndian
	had := len(f.blocks)
	f.used = 0
	if len(f.maps) <= len(area)/16 {
		*f.format() = formatExtents
		clear(area)
		for i, m := range f.maps {
			putMapping(area[i*16:], m)
		}
	} else {
		*f.format() = formatBtree
		if err := f.buildBtree(area); err != nil {
			return err
		}
	}
	f.setExtents(uint64(len(f.maps)))
	blocks := int64(be.Uint64(f.d[inodeNBlocks:])) - f.released + int64(f.used-had)
	be.PutUint64(f.d[inodeNBlocks:], uint64(max(blocks, 0)))
	putCRC(f.d, inodeCRC)
	f.rp.changed(object{f.ino, 0})
	return f.rp.ov.write(f.d, f.at)
}

// child is a block of a btree, as the level above names it.
type child struct{ key, fsb uint64 }

// buildBtree writes the mappings as a btree with its root in area.
func (f *fork) buildBtree(area []byte) error {
	be := binary.BigEndian
	per, room := (f.rp.geo.BlockSize-longBlockV5)/16, (len(area)-4)/16
	n := len(f.maps)
	key := func(i int) uint64 { return f.maps[i].off }
	put := func(b []byte, j, i int) { putMapping(b[longBlockV5+j*16:], f.maps[i]) }
	for level := range maxBmapLevels {
		children, err := f.buildLevel(level, per, n, key, put)
		if err != nil {
			return err
		}
		n = len(children)
		if n > room {
			key = func(i int) uint64 { return children[i].key }
			put = func(b []byte, j, i int) {
				be.PutUint64(b[longBlockV5+j*8:], children[i].key)
				be.PutUint64(b[longBlockV5+per*8+j*8:], children[i].fsb)
			}
			continue
		}
		clear(area)
		be.PutUint16(area, uint16(level+1))
		be.PutUint16(area[2:], uint16(n))
		for i, c := range children {
			be.PutUint64(area[4+i*8:], c.key)
			be.PutUint64(area[4+room*8+i*8:], c.fsb)
		}
		return nil
	}
	return fmt.Errorf("inode %d: btree of more than %d levels: %w", f.ino, maxBmapLevels, evidence.ErrCorrupt)
}

// buildLevel writes n entries into blocks of per: put places entry i as the j-th of a block.
func (f *fork) buildLevel(level, per, n int, key func(i int) uint64, put func(b []byte, j, i int)) ([]child, error) {
	out := make([]child, (n+per-1)/per)
	for i := range out {
		fsb, err := f.block(f.used)
		if err != nil {
			return nil, err
		}
		f.used++
		out[i] = child{key(i * per), fsb}
	}
	for i, c := range out {
		b := make([]byte, f.rp.geo.BlockSize)
		m := min(per, n-i*per)
		for j := range m {
			put(b, j, i*per+j)
		}
		left, right := nullFSBlock, nullFSBlock
		if i > 0 {
			left = out[i-1].fsb
		}
		if i+1 < len(out) {
			right = out[i+1].fsb
		}
		if err := f.putBlock(b, c.fsb, level, m, left, right); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// putBlock writes a block of the fork's btree (xfs_btree_init_block).
func (f *fork) putBlock(b []byte, fsb uint64, level, n int, left, right uint64) error {
	be := binary.BigEndian
	off, ok := f.rp.geo.offset(fsb)
	if !ok {
		return fmt.Errorf("inode %d: btree block %#x: %w", f.ino, fsb, evidence.ErrCorrupt)
	}
	be.PutUint32(b, magicBMA3)
	be.PutUint16(b[4:], uint16(level))
	be.PutUint16(b[6:], uint16(n))
	be.PutUint64(b[8:], left)
	be.PutUint64(b[16:], right)
	be.PutUint64(b[24:], uint64(off/basicBlock))
	be.PutUint64(b[32:], f.rp.stampLSN)
	copy(b[40:], f.rp.geo.MetaUUID[:])
	be.PutUint64(b[56:], f.ino)
	putCRC(b, 64)
	return f.rp.ov.write(b, off)
}

// block returns the i-th block for a new btree: one of the old btree, or a free one.
func (f *fork) block(i int) (uint64, error) {
	if i < len(f.blocks) {
		return f.blocks[i], nil
	}
	fsb, err := f.rp.freeBlock(uint32(f.ino >> (f.rp.geo.InopBlog + f.rp.geo.AgBlkLog)))
	if err == nil {
		f.blocks = append(f.blocks, fsb)
	}
	return fsb, err
}

// freeBlock takes a block that the btree of free space of a group lists, the
// lowest one not taken yet. It looks at so many leaves at most as one search deserves.
func (rp *replayer) freeBlock(ag uint32) (uint64, error) {
	const maxLeaves = 1024
	g, be := &rp.geo, binary.BigEndian
	first := uint64(ag) << g.AgBlkLog
	at, ok := g.offset(first)
	agf := make([]byte, basicBlock)
	if !ok {
		return 0, fmt.Errorf("group %d: %w", ag, evidence.ErrCorrupt)
	}
	if err := rp.ov.read(agf, at+int64(g.SectorSize)); err != nil {
		return 0, err
	}
	bno, level := be.Uint32(agf[agfBnoRoot:]), int(be.Uint32(agf[agfBnoLevel:]))
	b := make([]byte, g.BlockSize)
	for seen := 0; be.Uint32(agf) == magicAGF && bno != nullAGBlock && level > 0 && level <= maxBmapLevels && seen < maxLeaves; seen++ {
		at, ok := g.offset(first | uint64(bno))
		if !ok {
			break
		}
		if err := rp.ov.read(b, at); err != nil {
			return 0, err
		}
		if be.Uint32(b) != magicAB3B || int(be.Uint16(b[4:])) != level-1 {
			break
		}
		if level > 1 { // down the leftmost pointer; keys are 8 bytes, pointers 4
			level--
			bno = be.Uint32(b[shortBlockV5+(len(b)-shortBlockV5)/12*8:])
			continue
		}
		if fsb, ok := rp.take(first, b); ok {
			return fsb, nil
		}
		bno = be.Uint32(b[12:]) // bb_rightsib
	}
	return 0, fmt.Errorf("group %d: no free block for a btree: %w", ag, evidence.ErrCorrupt)
}

// take takes a block that a leaf of the free space btree lists.
func (rp *replayer) take(first uint64, leaf []byte) (uint64, bool) {
	be := binary.BigEndian
	n := min(int(be.Uint16(leaf[6:])), (len(leaf)-shortBlockV5)/8)
	for i := range n {
		start, count := be.Uint32(leaf[shortBlockV5+i*8:]), be.Uint32(leaf[shortBlockV5+i*8+4:])
		for c := uint64(start); c < uint64(start)+uint64(min(count, 4096)) && c < uint64(rp.geo.AGBlocks); c++ {
			if _, taken := rp.taken[first|c]; !taken {
				rp.taken[first|c] = struct{}{}
				return first | c, true
			}
		}
	}
	return 0, false
}
