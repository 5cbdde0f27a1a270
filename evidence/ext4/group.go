package ext4

import (
	"fmt"

	"lagan/evidence"
)

// group is what is needed of a group descriptor (struct ext4_group_desc).
type group struct {
	blockBitmap uint64
	inodeBitmap uint64
	inodeTable  uint64
	used        uint32 // inodes from the table's start that were ever used
	uninit      bool   // the inode bitmap was never written: no inode is in use
}

// descAt returns where a group's descriptor lies (descriptor_loc in super.c);
// copy 0 is the primary table, copy n that of the n-th group.
func (fs *FS) descAt(g, copy uint32) int64 {
	sb := fs.sb
	perBlock := uint32(sb.blockSize() / sb.descSize)
	nr, in := g/perBlock, int64(g%perBlock)*int64(sb.descSize)
	var blk uint64
	if sb.incompat&incompatMetaBG == 0 || nr < sb.firstMetaBG {
		blk = sb.firstBlock + uint64(copy)*sb.blocksPerGroup + 1 + uint64(nr)
		if copy == 0 {
			blk = fs.superBlock() + 1 + uint64(nr)
		}
	} else {
		// In a meta group of as many groups as a block has descriptors, the
		// first, second and last group have a copy of that block.
		home := nr*perBlock + copy
		blk = sb.firstBlock + uint64(home)*sb.blocksPerGroup
		if sb.hasSuper(home) {
			blk++
		}
		if home == 0 && sb.blockBits == 10 && sb.firstBlock == 0 {
			blk++
		}
	}
	return fs.offset(blk) + in
}

// superBlock returns the block that holds the primary superblock.
func (fs *FS) superBlock() uint64 {
	if fs.sb.blockBits == 10 {
		return 1
	}
	return 0
}

// group returns the descriptor of a group. One with a bad checksum is used,
// with a warning, unless a copy of it is sound.
func (fs *FS) group(g uint32) (group, error) {
	if g >= fs.sb.groups {
		return group{}, fmt.Errorf("group %d of %d: %w", g, fs.sb.groups, evidence.ErrCorrupt)
	}
	at := fs.descAt(g, 0)
	b, err := fs.bytes(at, fs.sb.descSize)
	if err == nil {
		d := fs.decodeDesc(b)
		sound, placed := fs.sb.descSum(g, b), fs.placed(d)
		if sound && placed {
			fs.checkBitmaps(g, d)
			return d, nil
		}
		if c, copyAt, ok := fs.groupCopy(g); ok {
			fs.warn(object{inDesc, uint64(g)}, fmt.Errorf("descriptor of group %d at offset %#x is damaged: its copy at %#x is used: %w", g, at, copyAt, evidence.ErrCorrupt))
			return c, nil
		}
		if placed {
			fs.warn(object{inDesc, uint64(g)}, fmt.Errorf("descriptor of group %d at offset %#x: bad checksum: %w", g, at, evidence.ErrCorrupt))
			d.used = fs.sb.inodesPerGroup // what it says of unused inodes is not believed
			return d, nil
		}
		return group{}, fmt.Errorf("descriptor of group %d at offset %#x: inode table at block %#x: %w", g, at, d.inodeTable, evidence.ErrCorrupt)
	}
	if c, copyAt, ok := fs.groupCopy(g); ok {
		fs.warn(object{inDesc, uint64(g)}, fmt.Errorf("descriptor of group %d: %w; its copy at %#x is used", g, err, copyAt))
		return c, nil
	}
	return group{}, fmt.Errorf("descriptor of group %d: %w", g, err)
}

// groupCopy looks for a sound copy of a descriptor. Copies are written by
// mke2fs and resize2fs alone: what they say of unused inodes is old.
func (fs *FS) groupCopy(g uint32) (group, int64, bool) {
	copies := []uint32{1, 3, 5, 7, 9}
	sb := fs.sb
	perBlock := uint32(sb.blockSize() / sb.descSize)
	if meta := sb.incompat&incompatMetaBG != 0 && g/perBlock >= sb.firstMetaBG; meta {
		copies = []uint32{1, perBlock - 1}
	} else if sb.compat&compatSparseSuper2 != 0 {
		copies = sb.backupBGs[:]
	}
	for _, c := range copies {
		if c == 0 || c >= sb.groups {
			continue
		}
		at := fs.descAt(g, c)
		b, err := fs.bytes(at, sb.descSize)
		if err != nil || !sb.descSum(g, b) {
			continue
		}
		if d := fs.decodeDesc(b); fs.placed(d) {
			d.used = sb.inodesPerGroup
			return d, at, true
		}
	}
	return group{}, 0, false
}

func (fs *FS) decodeDesc(b []byte) group {
	sb := fs.sb
	d := group{
		blockBitmap: uint64(le.Uint32(b)),
		inodeBitmap: uint64(le.Uint32(b[0x04:])),
		inodeTable:  uint64(le.Uint32(b[0x08:])),
		used:        sb.inodesPerGroup,
	}
	unused, free := uint32(le.Uint16(b[0x1c:])), uint32(le.Uint16(b[0x0e:]))
	if sb.descSize >= descSize64 {
		d.blockBitmap |= uint64(le.Uint32(b[0x20:])) << 32
		free |= uint32(le.Uint16(b[0x2e:])) << 16
		d.inodeBitmap |= uint64(le.Uint32(b[0x24:])) << 32
		d.inodeTable |= uint64(le.Uint32(b[0x28:])) << 32
		unused |= uint32(le.Uint16(b[0x32:])) << 16
	}
	if sb.groupsCounted() {
		switch {
		case le.Uint16(b[0x12:])&bgInodeUninit != 0:
			// One that counts inodes in use all the same is not believed.
			if d.uninit = free == sb.inodesPerGroup; d.uninit {
				d.used = 0
			}
		case unused <= d.used:
			d.used -= unused
		}
	}
	return d
}

// checkBitmaps warns of bitmaps that can't be where the descriptor says
// (ext4_check_descriptors in super.c).
func (fs *FS) checkBitmaps(g uint32, d group) {
	for _, blk := range []uint64{d.blockBitmap, d.inodeBitmap} {
		if !fs.validBlocks(blk, 1) {
			fs.warn(object{inDesc, uint64(g)}, fmt.Errorf("descriptor of group %d: bitmap at block %#x: %w", g, blk, evidence.ErrCorrupt))
		}
	}
}

// placed says whether the inode table lies in the filesystem.
func (fs *FS) placed(d group) bool {
	n := (uint64(fs.sb.inodesPerGroup)*uint64(fs.sb.inodeSize) + uint64(fs.sb.blockSize()) - 1) >> fs.sb.blockBits
	return fs.validBlocks(d.inodeTable, n)
}
