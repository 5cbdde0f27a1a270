package xfs

import (
	"cmp"
	"slices"
	"sort"
)

// Where a group's header says that its free space by block is (struct xfs_agf).
const (
	agfBnoRoot  = 16
	agfBnoLevel = 28

	magicABTB    = 0x41425442 // XFS_ABTB_MAGIC, "ABTB"
	magicABTBCRC = 0x41423342 // XFS_ABTB_CRC_MAGIC, "AB3B"
	allocRec     = 8          // struct xfs_alloc_rec
)

// maxFreeExtents bounds the free extents kept of all groups.
const maxFreeExtents = 1 << 24

// freeSpace are the free extents of the filesystem, in blocks of the device.
type freeSpace struct {
	f       *FS
	extents []freeExtent
	unknown map[uint32]bool // groups whose free space can't be read in full
}

type freeExtent struct{ start, count uint64 }

// freeSpace reads the free space B+trees of all groups (xfs_alloc_btree.c).
func (f *FS) freeSpace() *freeSpace {
	s := &freeSpace{f: f, unknown: map[uint32]bool{}}
	for agno := range f.groups() {
		b, err := f.cache.read(f.agOffset(agno)+int64(f.sb.sectSize), int(f.sb.sectSize))
		if err != nil || be.Uint32(b) != magicAGF {
			s.unknown[agno] = true
			continue
		}
		level := int(be.Uint32(b[agfBnoLevel:]))
		if level < 1 || level > maxTreeLevels {
			s.unknown[agno] = true
			continue
		}
		s.block(agno, be.Uint32(b[agfBnoRoot:]), level-1, map[uint32]bool{})
	}
	slices.SortFunc(s.extents, func(a, b freeExtent) int { return cmp.Compare(a.start, b.start) })
	return s
}

func (s *freeSpace) block(agno, agbno uint32, level int, seen map[uint32]bool) {
	f := s.f
	if seen[agbno] || agbno >= f.sb.agLength(agno) || len(s.extents) >= maxFreeExtents {
		s.unknown[agno] = true
		return
	}
	seen[agbno] = true
	magic, hdr := uint32(magicABTB), btreeShort
	if f.sb.v5() {
		magic, hdr = magicABTBCRC, btreeShortCRC
	}
	b, err := f.cache.read(f.agOffset(agno)+int64(agbno)<<f.sb.blockLog, int(f.sb.blockSize))
	if err != nil || be.Uint32(b) != magic || int(be.Uint16(b[4:])) != level {
		s.unknown[agno] = true
		return
	}
	n := int(be.Uint16(b[6:]))
	if level > 0 {
		room := (len(b) - hdr) / (allocRec + 4)
		if n > room {
			s.unknown[agno] = true
			return
		}
		for i := range n {
			s.block(agno, be.Uint32(b[hdr+allocRec*room+4*i:]), level-1, seen)
		}
		return
	}
	if n > (len(b)-hdr)/allocRec {
		s.unknown[agno] = true
		return
	}
	base := uint64(agno) * uint64(f.sb.agBlocks)
	for i := range n {
		r := b[hdr+allocRec*i:]
		s.extents = append(s.extents, freeExtent{base + uint64(be.Uint32(r)), uint64(be.Uint32(r[4:]))})
	}
}

// free says how many of the blocks from start on are free, up to n, and, where
// none is, how many are in use. start counts blocks of the device.
func (s *freeSpace) free(start, n uint64) (count uint64, free bool) {
	if s.unknown[uint32(start/uint64(s.f.sb.agBlocks))] {
		return n, false
	}
	i := sort.Search(len(s.extents), func(i int) bool { return s.extents[i].start > start })
	if i > 0 {
		if e := s.extents[i-1]; start < e.start+e.count {
			return min(n, e.start+e.count-start), true
		}
	}
	if i < len(s.extents) {
		n = min(n, s.extents[i].start-start)
	}
	return n, false
}

// deviceBlock returns the number on the device of a block of the filesystem.
func (f *FS) deviceBlock(fsb uint64) uint64 {
	return fsb>>f.sb.agblkLog*uint64(f.sb.agBlocks) + fsb&(1<<f.sb.agblkLog-1)
}
