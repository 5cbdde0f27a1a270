// Package squashfs reads Squashfs 4.0, the read-only compressed filesystem of
// root images (Bottlerocket, snaps, live systems): gzip, xz, lzma, lz4, lzo and
// zstd blocks, fragments, sparse blocks, extended attributes.
//
// It follows the on-disk format of fs/squashfs/squashfs_fs.h and the kernel's
// reading of it (super.c, inode.c, dir.c, file.c, fragment.c, xattr.c).
//
// Input is hostile: no panic, no hang, nothing allocated by a size that the image
// claims beyond a block's (1 MiB); fuzzed. Squashfs records one time, of
// modification, in seconds; the others are left unknown. Not read: versions
// before 4, and xz blocks with a filter for machine code (mksquashfs -Xbcj).
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// FS is one Squashfs image. Its methods may be called from several goroutines.
// An inode's handle is its place in the inode table.
type FS struct {
	r    io.ReaderAt
	size int64
	o    evidence.Options
	sb   super
	dec  decoder

	xattrTable uint64 // where the attributes themselves are
	xattrIDs   uint32

	mu        sync.Mutex
	metadata  blockCache // 8 KiB each
	fragments blockCache
}

// How many decompressed blocks are kept: 1 MiB of metadata, which inodes,
// directories and tables come from by turns, and some blocks of tails.
const (
	metadataBlocks = 128
	fragmentBlocks = 4
)

// super is struct squashfs_super_block, decoded.
type super struct {
	inodes, mkfsTime, blockSize, fragments uint32
	compression, blockLog, flags, ids      uint16
	root, used                             uint64
	idTable, xattrTable, inodeTable        uint64
	dirTable, fragmentTable                uint64
}

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
)

// Open opens the image in r, of size bytes. evidence.ErrFormat says that it is none.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	raw := make([]byte, superSize)
	if n, err := r.ReadAt(raw, 0); n < superSize {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, evidence.ErrFormat
		}
		return nil, fmt.Errorf("superblock: %w", err)
	}
	switch binary.LittleEndian.Uint32(raw) {
	case superMagic:
	case superMagicSwap:
		return nil, fmt.Errorf("squashfs of a big-endian machine, before version 4: %w", evidence.ErrUnsupported)
	default:
		return nil, evidence.ErrFormat
	}
	f := &FS{r: r, size: size, o: o}
	f.metadata.max, f.fragments.max = metadataBlocks, fragmentBlocks
	if err := f.readSuper(raw); err != nil {
		return nil, err
	}
	if err := f.readXattrTable(); err != nil {
		o.Warning(fmt.Errorf("extended attributes: %w", err))
	}
	return f, nil
}

// readSuper decodes and checks the superblock: squashfs_fill_super (super.c).
func (f *FS) readSuper(raw []byte) error {
	c := bin.LE(raw)
	c.Skip(4)
	s := &f.sb
	s.inodes, s.mkfsTime, s.blockSize, s.fragments = c.U32(), c.U32(), c.U32(), c.U32()
	s.compression, s.blockLog, s.flags, s.ids = c.U16(), c.U16(), c.U16(), c.U16()
	major, minor := c.U16(), c.U16()
	s.root, s.used = c.U64(), c.U64()
	s.idTable, s.xattrTable, s.inodeTable = c.U64(), c.U64(), c.U64()
	s.dirTable, s.fragmentTable = c.U64(), c.U64()
	switch {
	case major != majorVersion:
		return fmt.Errorf("squashfs %d.%d: %w", major, minor, evidence.ErrUnsupported)
	case compNames[s.compression] == "":
		return fmt.Errorf("squashfs with compressor %d: %w", s.compression, evidence.ErrUnsupported)
	case s.blockLog < minBlockLog || s.blockLog > maxBlockLog || s.blockSize != 1<<s.blockLog:
		return fmt.Errorf("superblock: block size %d, 2^%d: %w", s.blockSize, s.blockLog, evidence.ErrCorrupt)
	case s.inodeTable >= s.used || s.dirTable >= s.used || s.idTable >= s.used:
		return fmt.Errorf("superblock: tables at %#x, %#x, %#x of %#x bytes: %w", s.inodeTable, s.dirTable, s.idTable, s.used, evidence.ErrCorrupt)
	}
	if s.used > uint64(f.size) {
		f.o.Warning(fmt.Errorf("squashfs of %d bytes in a volume of %d: %w", s.used, f.size, evidence.ErrCorrupt))
	}
	f.dec.kind = s.compression
	return nil
}

// readXattrTable reads struct squashfs_xattr_id_table.
func (f *FS) readXattrTable() error {
	if f.sb.xattrTable == invalidBlock {
		return nil
	}
	b := make([]byte, 16)
	if err := f.read(b, f.sb.xattrTable); err != nil {
		return err
	}
	f.xattrTable, f.xattrIDs = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
	return nil
}

// read reads from the image, all or an error.
func (f *FS) read(b []byte, pos uint64) error {
	if pos > uint64(f.size) || uint64(len(b)) > uint64(f.size)-pos {
		return fmt.Errorf("%d bytes at %#x, outside of the image: %w", len(b), pos, evidence.ErrCorrupt)
	}
	n, err := f.r.ReadAt(b, int64(pos))
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes at %#x, outside of the image: %w", len(b), pos, evidence.ErrCorrupt)
	}
	return err
}

// Root implements evidence.FS.
func (f *FS) Root() evidence.Ino { return evidence.Ino(f.sb.root) }

// Describe implements evidence.Describer. Squashfs has no label and no UUID.
func (f *FS) Describe() evidence.Description {
	d := evidence.Description{
		Type: "squashfs", Size: int64(min(f.sb.used, 1<<62)), BlockSize: int(f.sb.blockSize), Created: time.Unix(int64(f.sb.mkfsTime), 0).UTC(),
		Features: []string{compNames[f.sb.compression]}, Journal: evidence.Journal{State: evidence.JournalNone},
	}
	for i, name := range flagNames {
		if name != "" && f.sb.flags&(1<<i) != 0 {
			d.Features = append(d.Features, name)
		}
	}
	return d
}
