package ext4

import (
	"io"
	"maps"
	"slices"

	"lagan/evidence"
	"lagan/evidence/remains"
)

// maxOldRuns bounds the runs of one deleted file: as many extents as a tree of two
// levels below the inode holds in blocks of 1 KiB.
const maxOldRuns = 1 << 17

// resolve finds a version's blocks, through extents or indirect blocks as they
// were at its time.
func (h *history) resolve(in *inode, v *version) {
	if in.flags&flagInlineData != 0 || in.size <= 0 || in.typ() != evidence.TypeFile && in.typ() != evidence.TypeDir && in.typ() != evidence.TypeSymlink {
		return
	}
	w := treeWalk{h: h, in: in, v: v, seen: map[uint64]bool{}}
	if in.flags&flagExtents != 0 {
		w.extents(in.block[:], int(le.Uint16(in.block[6:])), 0, maxLogical)
	} else if in.typ() != evidence.TypeSymlink || in.sectors > 0 {
		w.pointers()
	}
	v.missing = w.missing || !w.counted()
}

// treeWalk goes through a version's map of blocks.
type treeWalk struct {
	h       *history
	in      *inode
	v       *version
	seen    map[uint64]bool
	meta    uint64 // blocks of the map itself
	data    uint64
	missing bool
}

func (w *treeWalk) add(r run) {
	if len(w.v.runs) >= maxOldRuns || w.h.runsLeft == 0 {
		w.missing = true
		return
	}
	w.h.runsLeft--
	if r.pblk != 0 {
		w.data += r.n
	}
	if n := len(w.v.runs); n > 0 && r.pblk != 0 {
		if last := &w.v.runs[n-1]; last.pblk != 0 && last.lblk+last.n == r.lblk && last.pblk+last.n == r.pblk {
			last.n += r.n
			return
		}
	}
	w.v.runs = append(w.v.runs, r)
}

// node reads a block of the map as it was at the version's time: its newest
// copy up to then, else what lies on the disk.
func (w *treeWalk) node(blk uint64, valid func([]byte) bool) []byte {
	if w.seen[blk] || !w.h.fs.validBlocks(blk, 1) {
		return nil
	}
	w.seen[blk] = true
	all := w.h.copies[blk]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].age <= w.v.age {
			if b := w.h.bytesOf(all[i]); b != nil && valid(b) {
				return b
			}
			break
		}
	}
	b := make([]byte, w.h.fs.sb.blockSize())
	if readFull(w.h.fs.dev, b, w.h.fs.offset(blk)) != nil || !valid(b) {
		return nil
	}
	return b
}

func (w *treeWalk) extents(node []byte, depth int, lo, hi uint64) {
	if depth > maxExtentDepth {
		w.missing = true
		return
	}
	entries, _, err := checkExtents(node, depth, lo, hi)
	if err != nil {
		w.missing = true
		return
	}
	for ; len(entries) >= extEntrySize; entries = entries[extEntrySize:] {
		at := uint64(le.Uint32(entries))
		if depth == 0 {
			r := run{lblk: at, n: uint64(extentLen(entries)), pblk: uint64(le.Uint32(entries[8:])) | uint64(le.Uint16(entries[6:]))<<32}
			if !w.h.fs.validBlocks(r.pblk, r.n) {
				w.missing = true
				continue
			}
			if le.Uint16(entries[4:]) > extInitMaxLen {
				w.data += r.n // unwritten: it has blocks, and reads as zeros
				continue
			}
			w.add(r)
			continue
		}
		end := hi
		if len(entries) > extEntrySize {
			end = uint64(le.Uint32(entries[extEntrySize:]))
		}
		blk := uint64(le.Uint32(entries[4:])) | uint64(le.Uint16(entries[8:]))<<32
		child := w.node(blk, func(b []byte) bool {
			return le.Uint16(b) == extMagic && int(le.Uint16(b[6:])) == depth-1 && le.Uint16(b[2:]) > 0 &&
				(!w.h.fs.sb.metadataCsum() || extentSum(w.in.seed(w.h.fs.sb), b))
		})
		if child == nil {
			w.missing = true
			continue
		}
		w.meta++
		w.extents(child, depth-1, at, end)
	}
}

func (w *treeWalk) pointers() {
	per := uint64(w.h.fs.sb.blockSize() / 4)
	for i := range uint64(directBlocks) {
		w.pointer(i, uint64(le.Uint32(w.in.block[4*i:])))
	}
	lo, span := uint64(directBlocks), per
	for level := range indirectLevel {
		w.indirect(uint64(le.Uint32(w.in.block[4*(directBlocks+level):])), lo, span)
		lo += span
		span *= per
	}
}

func (w *treeWalk) pointer(at, blk uint64) {
	if blk == 0 {
		return
	}
	if !w.h.fs.validBlocks(blk, 1) {
		w.missing = true
		return
	}
	w.add(run{lblk: at, n: 1, pblk: blk})
}

func (w *treeWalk) indirect(blk, lo, span uint64) {
	if blk == 0 || w.missing {
		return
	}
	b := w.node(blk, func(b []byte) bool {
		// A map holds numbers of blocks; whether they are this file's, the inode's count says.
		for i := 0; i+4 <= len(b); i += 4 {
			if p := uint64(le.Uint32(b[i:])); p != 0 && !w.h.fs.validBlocks(p, 1) {
				return false
			}
		}
		return true
	})
	if b == nil {
		w.missing = true
		return
	}
	w.meta++
	per := uint64(len(b) / 4)
	for i := range per {
		p := uint64(le.Uint32(b[4*i:]))
		if span == per {
			w.pointer(lo+i, p)
		} else {
			w.indirect(p, lo+i*(span/per), span/per)
		}
	}
}

// counted says whether the blocks found are as many as the inode counts.
func (w *treeWalk) counted() bool {
	sb := w.h.fs.sb
	if sb.clusterBits != sb.blockBits {
		return true // counted in clusters, which several extents may share
	}
	have := w.data + w.meta
	if w.in.xattrBlock != 0 {
		have++
	}
	want := w.in.sectors
	if w.in.flags&flagHugeFile == 0 {
		want >>= sb.blockBits - 9
	}
	return have == want || sb.incompat&incompatEAInode != 0 && have <= want
}

// usedBlocks knows the blocks that are in use now.
type usedBlocks struct {
	fs     *FS
	groups map[uint32][]byte
}

// has says whether a block is in use. Where that can't be known, it is taken to be.
func (u *usedBlocks) has(blk uint64) bool {
	sb := u.fs.sb
	if blk < sb.firstBlock {
		return true
	}
	g, bit := u.place(blk)
	bitmap, ok := u.groups[g]
	if !ok {
		bitmap = u.load(g)
		u.groups[g] = bitmap
	}
	return bitmap == nil || bit/8 >= len(bitmap) || bitmap[bit/8]>>(bit%8)&1 != 0
}

func (u *usedBlocks) place(blk uint64) (group uint32, bit int) {
	sb := u.fs.sb
	n := blk - sb.firstBlock
	return uint32(n / sb.blocksPerGroup), int(n % sb.blocksPerGroup >> (sb.clusterBits - sb.blockBits))
}

// load reads a group's bitmap; one that was never written (EXT4_BG_BLOCK_UNINIT) marks nothing.
func (u *usedBlocks) load(g uint32) []byte {
	sb := u.fs.sb
	if g >= sb.groups {
		return nil
	}
	d, err := u.fs.bytes(u.fs.descAt(g, 0), sb.descSize)
	if err != nil {
		return nil
	}
	if sb.groupsCounted() && le.Uint16(d[0x12:])&bgBlockUninit != 0 {
		return make([]byte, sb.blockSize())
	}
	b, err := u.fs.block(bitmapBlock(sb, d))
	if err != nil {
		return nil
	}
	return b
}

func bitmapBlock(sb *super, d []byte) uint64 {
	blk := uint64(le.Uint32(d)) // bg_block_bitmap_lo
	if sb.descSize >= descSize64 {
		blk |= uint64(le.Uint32(d[0x20:])) << 32 // bg_block_bitmap_hi
	}
	return blk
}

// judge says how much of a version's content is left.
func (h *history) judge(r *evidence.Recovered, in *inode, v *version) {
	fs := h.fs
	end := in.blocks(fs.sb)
	var have, lost uint64
	kept := v.runs[:0:0]
	for _, u := range v.runs {
		if u.lblk >= end {
			continue
		}
		u.n = min(u.n, end-u.lblk)
		have += u.n
		for _, part := range h.free(u, v) {
			if part.pblk == lostBlock {
				lost += part.n
			} else {
				kept = append(kept, part)
			}
		}
	}
	r.Content = sectionOf(fs, kept, in.size)
	r.Lost = min(int64(lost<<fs.sb.blockBits), in.size)
	switch {
	case have > 0 && lost == have, have == 0 && v.missing:
		r.State = evidence.ContentTimes
	case lost > 0 || v.missing:
		r.State = evidence.ContentPartly
		if v.missing {
			r.Note = "part of its map of blocks is gone"
		}
	case v.overlaid:
		r.State, r.Lost, r.Note = evidence.ContentPartly, 0, "a file that was deleted later had blocks of it"
	case have > 0 && v.age != now && h.whole != nil && !h.whole[v.age]:
		r.State, r.Note = evidence.ContentUnproven, "the journal lacks transactions since"
	default:
		r.State = evidence.ContentWhole
	}
}

// lostBlock marks a run whose blocks are in use by others.
const lostBlock = ^uint64(0)

// free cuts a run into pieces that are free still and were since, and pieces that are not.
func (h *history) free(u run, v *version) []run {
	if h.blocksLeft < u.n {
		return []run{{lblk: u.lblk, n: u.n, pblk: lostBlock}}
	}
	h.blocksLeft -= u.n
	var out []run
	for i := range u.n {
		p := u.pblk + i
		r := run{lblk: u.lblk + i, n: 1, pblk: p}
		if h.inUse.has(p) || h.reused(p, v) {
			r.pblk = lostBlock
		}
		if n := len(out); n > 0 {
			last := &out[n-1]
			if r.pblk == lostBlock && last.pblk == lostBlock || last.pblk != lostBlock && r.pblk == last.pblk+last.n {
				last.n++
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// reused says whether a later bitmap in the journal marks a block that was free
// after the deletion.
func (h *history) reused(blk uint64, v *version) bool {
	if v.age == now {
		return false
	}
	g, bit := h.inUse.place(blk)
	freed := v.gone != 0 || !v.when.IsZero()
	cleared := false
	for _, b := range h.bitmaps(g) {
		if b.age <= v.age {
			continue
		}
		set := bit/8 >= len(b.bits) || b.bits[bit/8]>>(bit%8)&1 != 0
		switch {
		case !set:
			cleared = true
		case cleared, freed && b.age > v.gone:
			return true
		}
	}
	return false
}

type oldBitmap struct {
	age  int64
	bits []byte
}

// bitmaps returns the older copies of a group's bitmap of blocks, the oldest first.
func (h *history) bitmaps(g uint32) []oldBitmap {
	if h.old == nil {
		h.old = map[uint32][]oldBitmap{}
	}
	all, ok := h.old[g]
	if ok || h.oldBytes > maxMemory {
		return all
	}
	if d, err := h.fs.bytes(h.fs.descAt(g, 0), h.fs.sb.descSize); err == nil && h.log != nil {
		for _, c := range h.copies[bitmapBlock(h.fs.sb, d)] {
			if b := h.bytesOf(c); b != nil {
				all = append(all, oldBitmap{c.age, b})
				h.oldBytes += len(b)
			}
		}
	}
	h.old[g] = all
	return all
}

// claim finds every version's blocks, and marks those of which a later deleted
// file had blocks.
func (h *history) claim() {
	var all []remains.Claim
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			fs := h.quiet()
			var in inode
			fs.decodeInode(&in, ino, v.raw)
			h.resolve(&in, v)
			for _, r := range v.runs {
				if r.pblk != 0 {
					all = append(all, remains.Claim{Start: r.pblk, End: r.pblk + r.n, Age: v.age, Overlaid: &v.overlaid})
				}
			}
		}
	}
	remains.Overlay(all)
}

// sectionOf reads the runs of a file; zeros between them.
func sectionOf(fs *FS, runs []run, size int64) *io.SectionReader {
	pieces := make([]remains.Piece, len(runs))
	for i, r := range runs {
		pieces[i] = remains.Piece{At: int64(r.lblk << fs.sb.blockBits), Disk: fs.offset(r.pblk), Len: int64(r.n << fs.sb.blockBits)}
	}
	return remains.NewReader(fs.dev, pieces, size)
}
