package xfs

import (
	"bytes"
	"io"
	"lagan/evidence"
	"lagan/evidence/remains"
	"lagan/evidence/xfs/xlog"
	"maps"
	"slices"
)

// resolve finds a version's extents.
func (h *history) resolve(ino uint64, v *version) {
	f := h.f
	in := h.inode(ino, v)
	switch in.typ() {
	case evidence.TypeFile, evidence.TypeDir, evidence.TypeSymlink:
	default:
		return
	}
	if in.format == fmtLocal {
		return
	}
	if v.data == nil || in.format == fmtExtents && in.nextents*bmbtRec > uint64(len(v.data)) {
		h.fromLiteral(ino, v, &in)
	}
	if v.data == nil {
		v.missing = in.nextents > 0
		return
	}
	if in.format == fmtExtents {
		v.exts = decodeExtents(v.data[:min(len(v.data), int(min(in.nextents, 1<<16))*bmbtRec)])
	} else {
		then := &asOf{h: h, lsn: v.lsn, ino: ino}
		quiet := &FS{dev: then, raw: then, size: f.size, sb: f.sb, opts: evidence.Options{}}
		quiet.cache.r, quiet.cache.size = then, f.size
		k, err := quiet.fork(ino, "data", fmtBtree, v.data, 0)
		if err != nil {
			v.missing = true
			return
		}
		for e, err := range k.all(0) {
			if err != nil || h.extsLeft <= 0 {
				v.missing = true
				break
			}
			h.extsLeft--
			v.exts = append(v.exts, e)
		}
	}
	v.missing = v.missing || !h.counted(&in, v)
}

// fromLiteral takes the extents that a freed inode still holds, where they are
// as many as the log says that it had.
func (h *history) fromLiteral(ino uint64, v *version, in *dinode) {
	raw := h.rawInode(h.f.raw, ino)
	if raw == nil || in.format != fmtExtents || in.nextents == 0 {
		return
	}
	gen := be.Uint32(raw[92:])
	if gen != v.generation() && gen != v.generation()+1 {
		return
	}
	size := dinodeV2Size
	if raw[diVersion] == 3 {
		size = dinodeV3Size
	}
	if need := in.nextents * bmbtRec; need <= uint64(len(raw)-size) && uint64(len(h.leftExtents(raw[size:][:need]))) == in.nextents {
		v.data = bytes.Clone(raw[size:][:need])
	}
}

// counted checks the extents found against the inode's count of blocks, which
// may count those of its attributes and of the B+tree as well.
func (h *history) counted(in *dinode, v *version) bool {
	var sum uint64
	for _, e := range v.exts {
		if _, err := h.f.blockOffset(e.start, e.count); err != nil {
			return false
		}
		sum += e.count
	}
	want := be.Uint64(v.core[diNblocks:])
	if in.format == fmtExtents {
		return uint64(len(v.exts)) == in.nextents && sum <= want
	}
	return sum <= want && uint64(len(v.exts)) == in.nextents
}

// oldMap is a block of a B+tree of extents as a transaction left it.
type oldMap struct {
	lsn   uint64
	block []byte
}

// maxMapped bounds the bytes of such blocks that are kept.
const maxMapped = 64 << 20

// mapBlock keeps a block of a B+tree of extents or of a symbolic link's target: the
// log has the parts of it that changed, over what it was before.
func (h *history) mapBlock(lsn uint64, b *xlog.LoggedBuffer) {
	magic := uint32(magicBMap)
	if h.f.sb.v5() {
		magic = magicBMapCRC
	}
	if b.Len != int(h.f.sb.blockSize) || h.mapped+b.Len > maxMapped {
		return
	}
	all := h.maps[b.Offset]
	block := make([]byte, b.Len)
	if n := len(all); n > 0 {
		copy(block, all[n-1].block)
	} else if n, _ := h.f.raw.ReadAt(block, b.Offset); n < b.Len {
		return
	}
	for _, c := range b.Chunks {
		if c.Offset < len(block) {
			copy(block[c.Offset:], c.Data)
		}
	}
	if m := be.Uint32(block); m != magic && m != magicSymlink {
		return
	}
	if h.maps == nil {
		h.maps = map[int64][]oldMap{}
	}
	h.mapped += b.Len
	h.maps[b.Offset] = append(all, oldMap{lsn, block})
}

// ownerOfBlock is the inode that a block of a B+tree of extents or of a target says it belongs to.
func ownerOfBlock(b []byte) uint64 {
	if be.Uint32(b) == magicSymlink {
		return be.Uint64(b[remoteOwner:])
	}
	return be.Uint64(b[btLongOwner:])
}

// asOf is the device with the blocks of an inode's B+tree of extents as they were at a time.
type asOf struct {
	h   *history
	lsn uint64
	ino uint64
}

func (a *asOf) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.h.f.raw.ReadAt(p, off)
	size := int64(a.h.f.sb.blockSize)
	for at := off &^ (size - 1); at < off+int64(n); at += size {
		all := a.h.maps[at]
		for i := len(all) - 1; i >= 0; i-- {
			b := all[i].block
			if all[i].lsn > a.lsn || a.h.f.sb.v5() && ownerOfBlock(b) != a.ino {
				continue
			}
			if at < off {
				copy(p[:n], b[off-at:])
			} else {
				copy(p[at-off:n], b)
			}
			break
		}
	}
	return n, err
}

// claim finds every version's extents, and marks those of which a later one had blocks.
func (h *history) claim() {
	var all []remains.Claim
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			h.resolve(ino, v)
			for _, e := range v.exts {
				at := h.f.deviceBlock(e.start)
				all = append(all, remains.Claim{Start: at, End: at + e.count, Age: int64(v.lsn), Overlaid: &v.overlaid})
			}
		}
	}
	remains.Overlay(all)
}

// sectionOf reads extents; zeros between them.
func (h *history) sectionOf(exts []extent, size int64) *io.SectionReader {
	f, pieces := h.f, make([]remains.Piece, 0, len(exts))
	for _, e := range exts {
		if pos, err := f.blockOffset(e.start, e.count); err == nil {
			pieces = append(pieces, remains.Piece{At: int64(e.off << f.sb.blockLog), Disk: pos, Len: int64(e.count << f.sb.blockLog)})
		}
	}
	return remains.NewReader(f.dev, pieces, size)
}
