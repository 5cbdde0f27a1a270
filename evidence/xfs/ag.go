package xfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"lagan/evidence"
)

// chunk is a record of the inode B+tree: 64 inodes of an allocation group that
// lie one after the other (struct xfs_inobt_rec).
type chunk struct {
	start    uint32 // number of the first inode in its group
	holemask uint16 // of each four inodes that were never made, where chunks are sparse
	free     uint64 // bit n: inode start+n is free
}

// made tells whether the chunk's nth inode exists on the disk.
func (c chunk) made(n int) bool { return c.holemask>>(n/(inodesChunk/holemaskBits))&1 == 0 }

// isFree tells whether the chunk's nth inode is unused.
func (c chunk) isFree(n int) bool { return c.free>>n&1 != 0 }

// agi reads the header that says where a group's inodes are (struct xfs_agi).
func (f *FS) agi(agno uint32) ([]byte, error) {
	off := f.agOffset(agno) + 2*int64(f.sb.sectSize)
	b, err := f.cache.read(off, int(f.sb.sectSize))
	if err != nil {
		return nil, fmt.Errorf("inode header of group %d: %w", agno, err)
	}
	if be.Uint32(b) != magicAGI || be.Uint32(b[agiSeqno:]) != agno {
		return nil, fmt.Errorf("inode header of group %d at offset %#x: bad magic or group number: %w", agno, off, evidence.ErrCorrupt)
	}
	if f.sb.v5() && !checksumOK(b, agiCRC) {
		f.warnOnce("agi", uint64(agno), fmt.Errorf("inode header of group %d at offset %#x: bad checksum: %w", agno, off, evidence.ErrCorrupt))
	}
	return b, nil
}

// checkAGF checks the header that says where a group's free space is (struct
// xfs_agf). Nothing is read by it; damage to it is told.
func (f *FS) checkAGF(agno uint32) {
	off := f.agOffset(agno) + int64(f.sb.sectSize)
	b, err := f.cache.read(off, int(f.sb.sectSize))
	switch {
	case err != nil:
	case be.Uint32(b) != magicAGF || be.Uint32(b[agfSeqno:]) != agno:
		err = fmt.Errorf("offset %#x: bad magic or group number: %w", off, evidence.ErrCorrupt)
	case f.sb.v5() && !checksumOK(b, agfCRC):
		err = fmt.Errorf("offset %#x: bad checksum: %w", off, evidence.ErrCorrupt)
	}
	if err != nil {
		f.warnOnce("agf", uint64(agno), fmt.Errorf("free space header of group %d: %w", agno, err))
	}
}

// chunks returns a group's inode chunks in the order of their numbers, and what
// could not be read of the tree that lists them.
func (f *FS) chunks(agno uint32) ([]chunk, error) {
	f.checkAGF(agno)
	b, err := f.agi(agno)
	if err != nil {
		return nil, err
	}
	w := inobtWalk{f: f, agno: agno, seen: make(map[uint32]bool)}
	level := int(be.Uint32(b[agiLevel:]))
	if level < 1 || level > maxTreeLevels {
		return nil, w.corrupt("%d levels", level)
	}
	w.block(be.Uint32(b[agiRoot:]), level-1)
	slices.SortStableFunc(w.out, func(a, b chunk) int { return cmp.Compare(a.start, b.start) })
	// A chunk that overlaps the one before it would give inodes twice.
	kept := w.out[:0]
	for _, c := range w.out {
		if n := len(kept); n > 0 && uint64(c.start) < uint64(kept[n-1].start)+inodesChunk {
			w.fail(w.corrupt("chunk %#x overlaps another", c.start))
			continue
		}
		kept = append(kept, c)
	}
	return kept, errors.Join(w.failed...)
}

// maxBadInobt bounds the errors kept of one group's tree.
const maxBadInobt = 100

// inobtWalk collects the chunks of one group.
type inobtWalk struct {
	f      *FS
	agno   uint32
	seen   map[uint32]bool
	out    []chunk
	failed []error
}

func (w *inobtWalk) corrupt(format string, args ...any) error {
	return fmt.Errorf("inode B+tree of group %d: %s: %w", w.agno, fmt.Sprintf(format, args...), evidence.ErrCorrupt)
}

func (w *inobtWalk) fail(err error) {
	if len(w.failed) < maxBadInobt {
		w.failed = append(w.failed, err)
	}
}

// block reads the tree's block agbno, which must be of the given level.
func (w *inobtWalk) block(agbno uint32, level int) {
	if w.seen[agbno] {
		w.fail(w.corrupt("block %#x has two parents", agbno))
		return
	}
	w.seen[agbno] = true
	if agbno >= w.f.sb.agLength(w.agno) {
		w.fail(w.corrupt("block %#x is outside the group", agbno))
		return
	}
	off := w.f.agOffset(w.agno) + int64(agbno)<<w.f.sb.blockLog
	b, err := w.f.cache.read(off, int(w.f.sb.blockSize))
	if err != nil {
		w.fail(fmt.Errorf("inode B+tree of group %d: %w", w.agno, err))
		return
	}
	hdr, err := w.check(b, off)
	if err != nil {
		w.fail(err)
		return
	}
	n, own := int(be.Uint16(b[6:])), int(be.Uint16(b[4:]))
	room := (len(b) - hdr) / 8 // keys and pointers of 4 bytes each
	if level == 0 {
		room = (len(b) - hdr) / inobtRec
	}
	if own != level || n > room {
		w.fail(w.corrupt("block at offset %#x: level %d, %d records", off, own, n))
		return
	}
	for i := range n {
		if level > 0 {
			w.block(be.Uint32(b[hdr+4*room+4*i:]), level-1)
		} else {
			w.record(b[hdr+inobtRec*i:])
		}
	}
}

// check verifies a block and returns the size of its header.
func (w *inobtWalk) check(b []byte, off int64) (int, error) {
	magic, hdr := uint32(magicIBT), btreeShort
	if w.f.sb.v5() {
		magic, hdr = magicIBTCRC, btreeShortCRC
	}
	if be.Uint32(b) != magic {
		return 0, w.corrupt("block at offset %#x: bad magic number", off)
	}
	if !w.f.sb.v5() {
		return hdr, nil
	}
	if !checksumOK(b, btShortCRC) {
		w.f.warnOnce("block", uint64(off), w.corrupt("block at offset %#x: bad checksum", off))
		return hdr, nil
	}
	if be.Uint32(b[btShortOwner:]) != w.agno || [16]byte(b[btShortUUID:]) != w.f.sb.metaUUID {
		return 0, w.corrupt("block at offset %#x is of another group or filesystem", off)
	}
	return hdr, nil
}

// record decodes a chunk. With sparse inodes its free count gives up three of
// its bytes, for the holes and the number of inodes made.
func (w *inobtWalk) record(b []byte) {
	c := chunk{start: be.Uint32(b), free: be.Uint64(b[8:])}
	if w.f.sb.incompat&incompatSparse != 0 {
		c.holemask = be.Uint16(b[4:])
	}
	if uint64(c.start)>>w.f.sb.inopbLog >= uint64(w.f.sb.agLength(w.agno)) {
		w.fail(w.corrupt("chunk %#x is outside the group", c.start))
		return
	}
	// Chunks don't overlap: there can't be more than the group has room for.
	if uint64(len(w.out)) > uint64(w.f.sb.agLength(w.agno))<<w.f.sb.inopbLog/inodesChunk {
		w.fail(w.corrupt("more than %d chunks", len(w.out)))
		return
	}
	w.out = append(w.out, c)
}

// inoOf makes an inode number of its parts (XFS_AGINO_TO_INO).
func (f *FS) inoOf(agno, agino uint32) uint64 {
	return uint64(agno)<<(f.sb.agblkLog+f.sb.inopbLog) | uint64(agino)
}
