package vhdx

import (
	"fmt"

	"lagan/evidence"
	"lagan/internal/piece"
)

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, im.size, func(p []byte, off int64) (int, error) {
		return piece.ReadExtents(p, off, im.locate)
	})
}

// locate finds the bytes at off by their block's entry in the BAT, in which an
// entry of a bitmap block follows each perBitmap entries of payload blocks.
func (im *Image) locate(off int64) (piece.Extent, error) {
	n, within := off/im.blockSize, off%im.blockSize
	left := im.blockSize - within
	entry, err := im.entry(n + n/im.perBitmap)
	if err != nil {
		return piece.Extent{}, err
	}
	at := int64(entry & offsetMask)
	switch entry & stateMask {
	case blockNotPresent:
		return im.below(off, left), nil
	case blockUndefined, blockZero, blockUnmapped:
		return piece.Extent{Len: left}, nil
	case blockPresent:
		return piece.Extent{Len: left, From: im.r, Off: at + within}, nil
	case blockPartly:
		return im.partly(off, at)
	}
	return piece.Extent{}, fmt.Errorf("vhdx: block %d of the disk is in state %d: %w", n, entry&stateMask, evidence.ErrCorrupt)
}

func (im *Image) entry(i int64) (uint64, error) {
	if i*8+8 > im.batSize {
		return 0, fmt.Errorf("vhdx: entry %d is beyond the BAT's %d bytes: %w", i, im.batSize, evidence.ErrCorrupt)
	}
	v, err := im.table.U64(im.bat + i*8)
	if err != nil {
		return 0, fmt.Errorf("vhdx: BAT: %w: %w", evidence.ErrCorrupt, err)
	}
	if int64(v) < 0 {
		return 0, fmt.Errorf("vhdx: BAT entry %d points to %#x: %w", i, v, evidence.ErrCorrupt)
	}
	return v, nil
}

// partly finds one sector of a block that has some of its own. The bitmap
// block of its group says which: a bit a sector, the lowest bit first.
func (im *Image) partly(off, block int64) (piece.Extent, error) {
	left := im.sectorSize - off%im.sectorSize
	group := im.perBitmap * im.blockSize
	bitmap, err := im.entry(off/group*(im.perBitmap+1) + im.perBitmap)
	if err != nil {
		return piece.Extent{}, err
	}
	bit := off % group / im.sectorSize
	word, err := im.table.U32(int64(bitmap&offsetMask) + bit/32*4)
	switch {
	case err != nil:
		return piece.Extent{}, fmt.Errorf("vhdx: sector bitmap: %w: %w", evidence.ErrCorrupt, err)
	case word>>(bit%32)&1 == 0:
		return im.below(off, left), nil
	}
	return piece.Extent{Len: left, From: im.r, Off: block + off%im.blockSize}, nil
}

// below is a part that only a parent can have.
func (im *Image) below(off, left int64) piece.Extent {
	if im.parent == nil || off >= im.parent.Size() {
		return piece.Extent{Len: left}
	}
	return piece.Extent{Len: min(left, im.parent.Size()-off), From: im.parent, Off: off}
}
