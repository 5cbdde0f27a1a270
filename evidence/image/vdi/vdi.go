// Package vdi reads VirtualBox's disk images, dynamic and fixed ones.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// image; fuzzed. Differencing and undo images are refused, and said.
package vdi

import (
	"encoding/binary"
	"fmt"
	"io"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// On-disk facts: VDICore.h of VirtualBox, and block/vdi.c of QEMU. Integers are little-endian.
const (
	signature    = 0xbeda107f
	offSignature = 0x40 // behind a line of text
	offType      = 0x4c
	offBlocks    = 0x154 // where the block map and the data are
	offDiskSize  = 0x170
	headerSize   = 0x188

	typeDynamic = 1
	typeFixed   = 2

	blockFree = 0xffffffff // never written
	blockZero = 0xfffffffe // written as zeros, then discarded

	tableCache = 4 << 20
)

// Image is a disk in a VDI file. ReadAt may be called from several goroutines.
type Image struct {
	r         io.ReaderAt
	size      int64
	blockSize int64
	stride    int64 // of a block in the file: a block may have extra data
	extra     int64 // before a block's bytes
	blockMap  int64
	blocks    int64
	data      int64
	table     *piece.Table
}

// Is reports whether a file that begins with head is a VDI.
func Is(head []byte) bool {
	return len(head) >= offSignature+4 && binary.LittleEndian.Uint32(head[offSignature:]) == signature
}

// Open reads the header. It returns evidence.ErrFormat for another format.
func Open(r io.ReaderAt) (*Image, error) {
	b := make([]byte, headerSize)
	n, err := r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("vdi: %w", err)
	}
	b = b[:n]
	if !Is(b) {
		return nil, fmt.Errorf("vdi: %w", evidence.ErrFormat)
	}
	c := bin.LE(b)
	c.Seek(offSignature + 4)
	version := c.U32()
	c.Seek(offType)
	kind := c.U32()
	c.Seek(offBlocks)
	im := &Image{r: r, table: piece.NewTable(r, binary.LittleEndian, tableCache)}
	im.blockMap, im.data = int64(c.U32()), int64(c.U32())
	c.Seek(offDiskSize)
	im.size = int64(c.U64())
	im.blockSize, im.extra, im.blocks = int64(c.U32()), int64(c.U32()), int64(c.U32())
	im.stride = im.blockSize + im.extra
	switch {
	case c.Err() != nil:
		return nil, fmt.Errorf("vdi: header: %w: %w", evidence.ErrCorrupt, c.Err())
	case version>>16 != 1:
		return nil, fmt.Errorf("vdi: version %#x: %w", version, evidence.ErrUnsupported)
	case kind != typeDynamic && kind != typeFixed:
		return nil, fmt.Errorf("vdi: the image holds only what differs from another (type %d): %w", kind, evidence.ErrUnsupported)
	case im.size < 0 || im.blockSize < 512 || im.blockSize > 1<<30 || im.extra > 1<<30:
		return nil, fmt.Errorf("vdi: a disk of %#x bytes in blocks of %#x: %w", im.size, im.blockSize, evidence.ErrCorrupt)
	}
	return im, nil
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, im.size, func(p []byte, off int64) (int, error) {
		return piece.ReadExtents(p, off, im.locate)
	})
}

func (im *Image) locate(off int64) (piece.Extent, error) {
	n, within := off/im.blockSize, off%im.blockSize
	left := im.blockSize - within
	if n >= im.blocks {
		return piece.Extent{}, fmt.Errorf("vdi: offset %#x of the disk is beyond the block map's %d blocks: %w", off, im.blocks, evidence.ErrCorrupt)
	}
	at, err := im.table.U32(im.blockMap + n*4)
	switch {
	case err != nil:
		return piece.Extent{}, fmt.Errorf("vdi: block map: %w: %w", evidence.ErrCorrupt, err)
	case at == blockFree || at == blockZero:
		return piece.Extent{Len: left}, nil
	}
	return piece.Extent{Len: left, From: im.r, Off: im.data + int64(at)*im.stride + im.extra + within}, nil
}
