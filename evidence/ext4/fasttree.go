package ext4

import (
	"fmt"
	"slices"

	"lagan/evidence"
)

// extentRun is a run, and whether it is allocated but unwritten, which reads as a hole.
type extentRun struct {
	run
	unwritten bool
}

// decodeExtent decodes a struct ext4_extent.
func decodeExtent(b []byte) extentRun {
	n := uint64(extentLen(b))
	e := extentRun{run: run{lblk: uint64(le.Uint32(b)), n: n}, unwritten: le.Uint16(b[4:]) > extInitMaxLen}
	e.pblk = uint64(le.Uint32(b[8:])) | uint64(le.Uint16(b[6:]))<<32
	return e
}

// fileRuns are the runs of a file with content, in order, while they are being changed.
type fileRuns struct{ runs []run }

// maxRuns bounds the runs that are held at once.
const maxRuns = 2 << 20

// setRange maps a part of a file, or unmaps it. Unwritten extents become
// holes: they are read the same. Files without extents are passed over, as the
// kernel's replay fails on them.
func (r *fastReplay) setRange(ino uint32, e extentRun) error {
	if e.n == 0 || e.lblk+e.n > maxLogical {
		return fmt.Errorf("inode %d: fast commit with %d blocks from %#x: %w", ino, e.n, e.lblk, evidence.ErrCorrupt)
	}
	in, err := r.get(ino)
	if err != nil || in.flags&flagExtents == 0 || in.flags&flagInlineData != 0 {
		return gone(err)
	}
	f, err := r.load(in)
	if err != nil {
		return err
	}
	r.runs -= len(f.runs)
	f.cut(e.lblk, e.n)
	if e.pblk != 0 && !e.unwritten {
		f.add(e.run)
	}
	r.runs += len(f.runs)
	return r.checkRuns()
}

func (r *fastReplay) checkRuns() error {
	if r.runs > maxRuns {
		return fmt.Errorf("fast commits that change files of more than %d extents: %w", maxRuns, evidence.ErrUnsupported)
	}
	return nil
}

// load reads the runs of a file.
func (r *fastReplay) load(in *inode) (*fileRuns, error) {
	if f := r.files[in.ino]; f != nil {
		return f, nil
	}
	f := &fileRuns{}
	for u, err := range r.fs.mapping(in).runs(maxLogical) {
		if err != nil {
			return nil, err
		}
		if u.pblk != 0 {
			f.add(u)
			if r.runs++; r.runs > maxRuns {
				return nil, r.checkRuns()
			}
		}
	}
	r.files[in.ino] = f
	return f, nil
}

// at returns the index of the first run that ends behind a logical block.
func (f *fileRuns) at(lblk uint64) int {
	i, _ := slices.BinarySearchFunc(f.runs, lblk, func(u run, lblk uint64) int {
		if u.lblk+u.n <= lblk {
			return -1
		}
		return 1
	})
	return i
}

// cut removes n blocks from lblk on.
func (f *fileRuns) cut(lblk, n uint64) {
	end := lblk + n
	from := f.at(lblk)
	to := from
	var kept []run
	for ; to < len(f.runs) && f.runs[to].lblk < end; to++ {
		u := f.runs[to]
		if u.lblk < lblk {
			kept = append(kept, run{u.lblk, lblk - u.lblk, u.pblk})
		}
		if u.lblk+u.n > end {
			kept = append(kept, run{end, u.lblk + u.n - end, u.pblk + end - u.lblk})
		}
	}
	f.runs = slices.Replace(f.runs, from, to, kept...)
}

// add inserts a run where there is none.
func (f *fileRuns) add(u run) {
	i := f.at(u.lblk)
	if i > 0 {
		if p := &f.runs[i-1]; p.lblk+p.n == u.lblk && p.pblk+p.n == u.pblk {
			p.n += u.n
			return
		}
	}
	f.runs = slices.Insert(f.runs, i, u)
}

// writeRuns builds the tree of extents for the runs of a file.
func (r *fastReplay) writeRuns(ino uint32) error {
	f := r.files[ino]
	var level []byte // entries of the level that is being built
	for _, u := range f.runs {
		for u.n > 0 {
			n := min(u.n, extInitMaxLen)
			level = le.AppendUint32(level, uint32(u.lblk))
			level = le.AppendUint16(level, uint16(n))
			level = le.AppendUint16(level, uint16(u.pblk>>32))
			level = le.AppendUint32(level, uint32(u.pblk))
			u = run{u.lblk + n, u.n - n, u.pblk + n}
		}
	}
	in, err := r.fs.inode(ino)
	if err != nil {
		return err
	}
	depth := 0
	for ; len(level) > iBlockSize-extEntrySize; depth++ {
		if level, err = r.writeLevel(in, level, depth); err != nil {
			return err
		}
	}
	return r.editInode(ino, func(raw []byte) {
		root := raw[iBlock:][:iBlockSize]
		clear(root)
		putExtentHeader(root, len(level)/extEntrySize, iBlockSize/extEntrySize-1, depth)
		copy(root[extEntrySize:], level)
		le.PutUint32(raw[0x20:], le.Uint32(raw[0x20:])|flagExtents)
	})
}

// writeLevel puts entries into blocks and returns the entries that point to these.
func (r *fastReplay) writeLevel(in *inode, entries []byte, depth int) ([]byte, error) {
	perBlock := (r.fs.sb.blockSize() - extEntrySize) / extEntrySize
	var above []byte
	for part := range slices.Chunk(entries, perBlock*extEntrySize) {
		blk, b, err := r.newBlock()
		if err != nil {
			return nil, fmt.Errorf("inode %d: %w", in.ino, err)
		}
		putExtentHeader(b, len(part)/extEntrySize, perBlock, depth)
		copy(b[extEntrySize:], part)
		if end := extEntrySize * (1 + perBlock); r.fs.sb.metadataCsum() {
			le.PutUint32(b[end:], crc32c(in.seed(r.fs.sb), b[:end]))
		}
		above = append(above, part[:4]...)
		above = le.AppendUint32(above, uint32(blk))
		above = le.AppendUint16(above, uint16(blk>>32))
		above = append(above, 0, 0)
	}
	return above, nil
}

func putExtentHeader(b []byte, entries, limit, depth int) {
	le.PutUint16(b, extMagic)
	le.PutUint16(b[2:], uint16(entries))
	le.PutUint16(b[4:], uint16(limit))
	le.PutUint16(b[6:], uint16(depth))
	le.PutUint32(b[8:], 0) // eh_generation
}

// newBlock returns a free block, empty, to be filled.
func (r *fastReplay) newBlock() (uint64, []byte, error) {
	blk, err := r.alloc.take()
	if err != nil {
		return 0, nil, err
	}
	b, err := r.editBytes(r.fs.offset(blk), r.fs.sb.blockSize())
	clear(b)
	return blk, b, err
}

// allocator finds free blocks, each once, as the kernel's replay does
// (ext4_mb_new_blocks_simple): the first that the bitmaps leave free and that
// no fast commit gives to a file.
type allocator struct {
	fs       *FS
	reserved []run // sorted by block before the first use
	sorted   bool
	group    uint32
	bit      int
	bitmap   []byte
}

func (a *allocator) reserve(blk, n uint64) { a.reserved = append(a.reserved, run{pblk: blk, n: n}) }

func (a *allocator) take() (uint64, error) {
	if !a.sorted {
		slices.SortFunc(a.reserved, func(x, y run) int {
			if x.pblk < y.pblk {
				return -1
			}
			return 1
		})
		// Where ranges overlap, the later one reaches as far as all before it.
		for i := 1; i < len(a.reserved); i++ {
			if p, u := a.reserved[i-1], &a.reserved[i]; p.pblk+p.n > u.pblk+u.n {
				u.n = p.pblk + p.n - u.pblk
			}
		}
		a.sorted = true
	}
	sb := a.fs.sb
	ratio := uint64(1) << (sb.clusterBits - sb.blockBits)
	for ; a.group < sb.groups; a.group, a.bit, a.bitmap = a.group+1, 0, nil {
		if a.bitmap == nil && !a.load() {
			continue
		}
		for ; a.bit < int(sb.blocksPerGroup/ratio) && a.bit/8 < len(a.bitmap); a.bit++ {
			blk := sb.firstBlock + uint64(a.group)*sb.blocksPerGroup + uint64(a.bit)*ratio
			if a.bitmap[a.bit/8]>>(a.bit%8)&1 == 0 && a.fs.validBlocks(blk, 1) && int64((blk+1)<<sb.blockBits) <= a.fs.size && !a.taken(blk) {
				a.bit++
				return blk, nil
			}
		}
	}
	return 0, fmt.Errorf("no free block for what a fast commit adds: %w", evidence.ErrCorrupt)
}

// taken says whether a block is reserved.
func (a *allocator) taken(blk uint64) bool {
	i, _ := slices.BinarySearchFunc(a.reserved, blk, func(u run, blk uint64) int {
		if u.pblk <= blk {
			return -1
		}
		return 1
	})
	return i > 0 && blk < a.reserved[i-1].pblk+a.reserved[i-1].n
}

// load reads the group's bitmap of blocks; groups whose bitmap was never
// written (EXT4_BG_BLOCK_UNINIT) are left out.
func (a *allocator) load() bool {
	sb := a.fs.sb
	d, err := a.fs.bytes(a.fs.descAt(a.group, 0), sb.descSize)
	if err != nil || sb.groupsCounted() && le.Uint16(d[0x12:])&bgBlockUninit != 0 {
		return false
	}
	blk := uint64(le.Uint32(d)) // bg_block_bitmap_lo
	if sb.descSize >= descSize64 {
		blk |= uint64(le.Uint32(d[0x20:])) << 32 // bg_block_bitmap_hi
	}
	a.bitmap, err = a.fs.block(blk)
	return err == nil
}

const bgBlockUninit = 0x0002 // EXT4_BG_BLOCK_UNINIT
