// Package vhd reads Microsoft's (and Connectix') virtual hard disks: fixed,
// dynamic, and differencing ones where the caller gives the parent.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// image; fuzzed. A wrong checksum is a warning.
package vhd

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// On-disk facts: "Virtual Hard Disk Image Format Specification", version 1.0,
// Microsoft, 2006. Integers are big-endian.
const (
	sector        = 512
	footerSize    = 512
	oldFooterSize = 511 // Virtual PC before 2004
	footerCookie  = "conectix"
	dynamicCookie = "cxsparse"
	dynamicSize   = 1024

	offFooterSum  = 64
	offDynamicSum = 36

	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4

	unusedBlock = 0xffffffff // in the block allocation table

	tableCache = 8 << 20
)

// Parent is the disk below a differencing one.
type Parent interface {
	io.ReaderAt
	Size() int64
}

// Options apply to the opening of a disk.
type Options struct {
	// Parent returns the disk with this name and unique id, both out of
	// evidence. Where it is nil, a differencing disk is refused.
	Parent func(name, id string) (Parent, error)
	// Warn, if set, is told of what was read past.
	Warn func(error)
}

// Image is a disk in a VHD file. ReadAt may be called from several goroutines.
type Image struct {
	r         io.ReaderAt
	size      int64
	id        string
	fixed     bool
	blockSize int64
	bitmap    int64 // bytes of the bitmap before each block
	bat       int64
	entries   int64
	parent    Parent
	table     *piece.Table
}

// Is reports whether a file is a VHD: by its first bytes, where a dynamic one
// has a copy of the footer, or its last ones.
func Is(r io.ReaderAt, size int64) bool {
	for _, off := range []int64{0, size - footerSize, size - oldFooterSize} {
		b := make([]byte, len(footerCookie))
		if off >= 0 && piece.Full(r, b, off) == nil && string(b) == footerCookie {
			return true
		}
	}
	return false
}

// Open reads the footer, or its copy where it is damaged or cut off. It returns
// evidence.ErrFormat for another format.
func Open(r io.ReaderAt, fileSize int64, o Options) (*Image, error) {
	im := &Image{r: r, table: piece.NewTable(r, binary.BigEndian, tableCache)}
	f, err := findFooter(r, fileSize, o)
	if err != nil {
		return nil, fmt.Errorf("vhd: %w", err)
	}
	c := bin.BE(f)
	c.Skip(16) // Cookie, Features, File Format Version
	dynamic := c.U64()
	c.Seek(48)
	im.size = int64(c.U64()) // Current Size
	c.Skip(4)                // Disk Geometry
	kind := c.U32()
	c.Skip(4) // Checksum
	im.id = hex.EncodeToString(c.Bytes(16))
	if im.size < 0 {
		return nil, fmt.Errorf("vhd: a disk of %#x bytes: %w", uint64(im.size), evidence.ErrCorrupt)
	}
	switch kind {
	case typeFixed:
		im.fixed = true
		return im, nil
	case typeDynamic, typeDifferencing:
		if err := im.readDynamic(int64(dynamic), kind == typeDifferencing, o); err != nil {
			return nil, fmt.Errorf("vhd: %w", err)
		}
		return im, nil
	}
	return nil, fmt.Errorf("vhd: disk type %d: %w", kind, evidence.ErrUnsupported)
}

// findFooter returns the best of the footer, the copy of it, and the old kind.
// One with a wrong checksum is taken for want of a better, with a warning.
func findFooter(r io.ReaderAt, size int64, o Options) ([]byte, error) {
	var second []byte
	for _, off := range []int64{size - footerSize, 0, size - oldFooterSize} {
		b := make([]byte, footerSize)
		if off < 0 {
			continue
		}
		if n, err := r.ReadAt(b, off); n < oldFooterSize {
			if err != io.EOF {
				return nil, err
			}
			continue
		}
		if string(b[:len(footerCookie)]) != footerCookie {
			continue
		}
		if checksum(b, offFooterSum) == binary.BigEndian.Uint32(b[offFooterSum:]) {
			return b, nil
		}
		if second == nil {
			second = b
		}
	}
	if second == nil {
		return nil, evidence.ErrFormat
	}
	if o.Warn != nil {
		o.Warn(fmt.Errorf("vhd: the footer's checksum is wrong: %w", evidence.ErrCorrupt))
	}
	return second, nil
}

// checksum is the complement of the sum of all bytes but the checksum's own.
func checksum(b []byte, at int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// readDynamic decodes the Dynamic Disk Header at off.
func (im *Image) readDynamic(off int64, differencing bool, o Options) error {
	b := make([]byte, dynamicSize)
	if off < 0 {
		return fmt.Errorf("dynamic header at offset %#x: %w", uint64(off), evidence.ErrCorrupt)
	}
	if err := piece.Full(im.r, b, off); err != nil || string(b[:len(dynamicCookie)]) != dynamicCookie {
		return errors.Join(fmt.Errorf("no dynamic header at offset %#x: %w", off, evidence.ErrCorrupt), err)
	}
	if checksum(b, offDynamicSum) != binary.BigEndian.Uint32(b[offDynamicSum:]) && o.Warn != nil {
		o.Warn(fmt.Errorf("vhd: dynamic header at offset %#x: wrong checksum: %w", off, evidence.ErrCorrupt))
	}
	c := bin.BE(b)
	c.Skip(16) // Cookie, Data Offset
	im.bat = int64(c.U64())
	c.Skip(4) // Header Version
	im.entries, im.blockSize = int64(c.U32()), int64(c.U32())
	c.Skip(4) // Checksum
	parentID := c.Bytes(16)
	c.Skip(8) // Parent Time Stamp, Reserved
	name := c.Bytes(512)
	if im.bat < 0 || im.blockSize < sector || im.blockSize&(im.blockSize-1) != 0 {
		return fmt.Errorf("dynamic header at offset %#x: blocks of %d bytes: %w", off, im.blockSize, evidence.ErrCorrupt)
	}
	im.bitmap = (im.blockSize/sector + 8*sector - 1) / (8 * sector) * sector // a bit a sector, in whole sectors
	if !differencing {
		return nil
	}
	return im.openParent(decodeName(name), hex.EncodeToString(parentID), o)
}

func (im *Image) openParent(name, id string, o Options) error {
	if o.Parent == nil {
		return fmt.Errorf("the disk holds only what differs from its parent %q: %w", name, evidence.ErrUnsupported)
	}
	var err error
	if im.parent, err = o.Parent(name, id); err != nil {
		return fmt.Errorf("parent %q: %w", name, err)
	}
	return nil
}

// decodeName decodes a name in UTF-16, big-endian, up to its first NUL.
func decodeName(b []byte) string {
	var u []uint16
	for ; len(b) >= 2; b = b[2:] {
		c := binary.BigEndian.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// ID returns the disk's unique id, in hex: a differencing disk names its parent by it.
func (im *Image) ID() string { return im.id }

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, im.size, func(p []byte, off int64) (int, error) {
		return piece.ReadExtents(p, off, im.locate)
	})
}

func (im *Image) locate(off int64) (piece.Extent, error) {
	if im.fixed {
		return piece.Extent{Len: im.size - off, From: im.r, Off: off}, nil
	}
	n, within := off/im.blockSize, off%im.blockSize
	left := im.blockSize - within
	if n >= im.entries {
		return piece.Extent{}, fmt.Errorf("vhd: offset %#x of the disk is beyond the table's %d blocks: %w", off, im.entries, evidence.ErrCorrupt)
	}
	at, err := im.table.U32(im.bat + n*4)
	switch {
	case err != nil:
		return piece.Extent{}, fmt.Errorf("vhd: block allocation table: %w: %w", evidence.ErrCorrupt, err)
	case at == unusedBlock:
		return im.below(off, left), nil
	}
	block := int64(at) * sector
	if im.parent != nil {
		return im.differing(off, block)
	}
	// A dynamic disk's bitmap says what was written; the rest is zeros in the block too.
	return piece.Extent{Len: left, From: im.r, Off: block + im.bitmap + within}, nil
}

// differing finds one sector of a block that has some of its own; its bitmap
// says which, the first sector in the highest bit.
func (im *Image) differing(off, block int64) (piece.Extent, error) {
	within := off % im.blockSize
	left := sector - off%sector
	word, err := im.table.U32(block + within/sector/32*4)
	if err != nil {
		return piece.Extent{}, fmt.Errorf("vhd: sector bitmap: %w: %w", evidence.ErrCorrupt, err)
	}
	if word>>(31-within/sector%32)&1 == 0 {
		return im.below(off, left), nil
	}
	return piece.Extent{Len: left, From: im.r, Off: block + im.bitmap + within}, nil
}

// below is a part that only a parent can have.
func (im *Image) below(off, left int64) piece.Extent {
	if im.parent == nil || off >= im.parent.Size() {
		return piece.Extent{Len: left}
	}
	return piece.Extent{Len: min(left, im.parent.Size()-off), From: im.parent, Off: off}
}
