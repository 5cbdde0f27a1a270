// Package erofs reads EROFS, the read-only filesystem of containerd's erofs
// snapshotter, of composefs and of read-only roots: all layouts (plain, inline,
// chunks, compressed with LZ4, LZMA, DEFLATE and Zstandard, with tails, fragments
// and shared clusters, extents), several devices, 48-bit addresses, metadata in
// a metabox, extended attributes inline, shared and with long prefixes.
//
// It follows the on-disk format of fs/erofs/erofs_fs.h (Linux 6.18) and the
// kernel's reading of it in super.c, inode.c, data.c, zmap.c, xattr.c.
//
// Input is hostile: no panic, no hang, nothing allocated by a size that the image
// claims beyond the constants here; fuzzed. EROFS records one time, of
// modification; the others are left unknown. What a directory holds is read
// until 16 of its blocks were corrupt.
package erofs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// FS is one EROFS image. Its methods may be called from several goroutines.
type FS struct {
	device
	o    evidence.Options
	sb   super
	devs []device // the extra ones, in the order of the device table
	// meta is where inodes and directories' indexes are, box the same for inode
	// numbers with metaboxBit: nil where there is none.
	meta, box io.ReaderAt
	packed    io.ReaderAt // the inode that fragments are in, or nil
	prefixes  []longPrefix
	lzmaDict  uint32
	zstd      zstdPool
}

// device is a block device or blob of the image.
type device struct {
	r      io.ReaderAt
	size   int64 // of r; 0 where the device isn't given
	start  uint64
	length uint64 // in the image's unified address space, bytes
	tag    string
}

// super is struct erofs_super_block, decoded.
type super struct {
	checksum, compat, incompat uint32
	blockBits                  uint8
	extSlots                   uint8
	root, packed, metabox      uint64
	inodes, epoch              uint64
	fixedNsec, buildTime       uint32
	blocks                     uint64
	metaBlock, xattrBlock      uint32
	uuid                       []byte
	label                      []byte
	algs                       uint16
	devices, devSlot           uint16
	prefixCount                uint8
	prefixStart                uint32
}

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
)

// Open opens the image in r, of size bytes. evidence.ErrFormat says that it is none.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	return OpenDevices(r, size, nil, o)
}

// Device is one of the further devices or blobs that an image spreads over.
type Device struct {
	R    io.ReaderAt
	Size int64
}

// OpenDevices opens an image that has a device table (mkfs.erofs --blobdev,
// images merged by containerd), with its devices in the order of the table.
// Files on a device that isn't given are there, and can't be opened.
func OpenDevices(r io.ReaderAt, size int64, devices []Device, o evidence.Options) (*FS, error) {
	f := &FS{device: device{r: r, size: size}, o: o, meta: r}
	raw := make([]byte, superSize+extSlotSize)
	if n, err := r.ReadAt(raw, superOffset); n < superSize {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, evidence.ErrFormat
		}
		return nil, fmt.Errorf("superblock at %#x: %w", superOffset, err)
	}
	if binary.LittleEndian.Uint32(raw) != superMagic {
		return nil, evidence.ErrFormat
	}
	f.sb = decodeSuper(raw)
	if err := f.checkSuper(); err != nil {
		return nil, err
	}
	f.checkChecksum()
	if err := f.readDevices(devices); err != nil {
		return nil, err
	}
	if err := f.readCompression(); err != nil {
		return nil, err
	}
	if err := f.openSpecial(); err != nil {
		return nil, err
	}
	f.readPrefixes()
	return f, nil
}

func decodeSuper(raw []byte) super {
	c := bin.LE(raw)
	c.Skip(4)
	s := super{checksum: c.U32(), compat: c.U32(), blockBits: c.U8(), extSlots: c.U8()}
	rootOrHigh := uint64(c.U16())
	s.inodes, s.epoch, s.fixedNsec = c.U64(), c.U64(), c.U32()
	s.blocks, s.metaBlock, s.xattrBlock = uint64(c.U32()), c.U32(), c.U32()
	s.uuid, s.label = c.Bytes(16), c.Bytes(16)
	s.incompat, s.algs = c.U32(), c.U16()
	s.devices, s.devSlot = c.U16(), c.U16()
	c.Skip(1) // dirblkbits, looked at in checkSuper
	s.prefixCount, s.prefixStart = c.U8(), c.U32()
	s.packed = c.U64()
	c.Skip(4) // xattr_filter_reserved, reserved
	s.buildTime = c.U32()
	root64 := c.U64()
	c.Skip(8)
	s.metabox = c.U64()
	s.root = rootOrHigh
	if s.incompat&incompat48Bit != 0 && root64 != 0 {
		s.root = root64
		s.blocks |= rootOrHigh << 32
	}
	return s
}

func (f *FS) checkSuper() error {
	s := &f.sb
	if s.blockBits < minBlockBits || s.blockBits > maxBlockBits {
		return fmt.Errorf("superblock at %#x: block size 2^%d: %w", superOffset, s.blockBits, evidence.ErrCorrupt)
	}
	if unknown := s.incompat &^ supportedIncompat; unknown != 0 {
		return fmt.Errorf("erofs with incompatible features %#x: %w", unknown, evidence.ErrUnsupported)
	}
	if s.incompat&incompatMetabox != 0 && s.extSlots == 0 {
		return fmt.Errorf("superblock at %#x: a metabox, and no room for its inode number: %w", superOffset, evidence.ErrCorrupt)
	}
	f.length = s.blocks << s.blockBits
	if f.length > uint64(f.size) {
		f.o.Warning(fmt.Errorf("erofs of %d bytes in a volume of %d: %w", f.length, f.size, evidence.ErrCorrupt))
	}
	return nil
}

// checksumSeed is the state of CRC-32C after the magic and four zeros, from
// which erofs_superblock_csum_verify goes on.
const checksumSeed = 0x5045B54A

// checkChecksum warns of a superblock that doesn't have the checksum it claims.
func (f *FS) checkChecksum() {
	if f.sb.compat&compatSuperChecksum == 0 {
		return
	}
	n := 1 << f.sb.blockBits
	if n > superOffset {
		n -= superOffset
	}
	b := make([]byte, n-8) // maxBlockBits bounds it
	if err := readFull(f.r, b, superOffset+8); err != nil {
		f.o.Warning(fmt.Errorf("checking the superblock: %w", err))
		return
	}
	seed := uint32(checksumSeed)
	if have := ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), b); have != f.sb.checksum {
		f.o.Warning(fmt.Errorf("superblock at %#x: checksum %#x, recorded %#x: %w", superOffset, have, f.sb.checksum, evidence.ErrCorrupt))
	}
}

// readDevices reads the device table: erofs_scan_devices (super.c).
func (f *FS) readDevices(given []Device) error {
	if f.sb.incompat&incompatDevices == 0 || f.sb.devices == 0 {
		return nil
	}
	slot := make([]byte, devSlotSize)
	for i := range int(f.sb.devices) {
		at := (int64(f.sb.devSlot) + int64(i)) * devSlotSize
		if err := readFull(f.r, slot, at); err != nil {
			return fmt.Errorf("device slot at %#x: %w", at, err)
		}
		c := bin.LE(slot)
		d := device{tag: printable(c.Bytes(64))}
		blocks, start := uint64(c.U32()), uint64(c.U32())
		blocks |= uint64(c.U32()) << 32
		start |= uint64(c.U16()) << 32
		d.start, d.length = start<<f.sb.blockBits, blocks<<f.sb.blockBits
		if i < len(given) {
			d.r, d.size = given[i].R, given[i].Size
		}
		f.devs = append(f.devs, d)
	}
	return nil
}

// openSpecial opens the inodes that hold metadata and tails of others.
func (f *FS) openSpecial() error {
	if f.sb.incompat&incompatMetabox != 0 {
		if f.sb.metabox&metaboxBit != 0 {
			return fmt.Errorf("superblock at %#x: the metabox inode is in the metabox: %w", superOffset, evidence.ErrCorrupt)
		}
		r, err := f.openNid(f.sb.metabox, specialCache)
		if err != nil {
			return fmt.Errorf("metabox inode %d: %w", f.sb.metabox, err)
		}
		f.box = r
	}
	if f.sb.incompat&incompatFragments != 0 && f.sb.packed != 0 {
		r, err := f.openNid(f.sb.packed, specialCache)
		if err != nil {
			return fmt.Errorf("packed inode %d: %w", f.sb.packed, err)
		}
		f.packed = r
	}
	return nil
}

// printable returns the bytes before the first NUL.
func printable(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// at reads from a device of the image: 0 is the primary one, whose addresses
// may also lie in the ranges of others (erofs_map_dev, data.c).
func (f *FS) at(dev int, pos uint64, b []byte) error {
	d := &f.device
	switch {
	case dev > len(f.devs):
		return fmt.Errorf("device %d of %d: %w", dev, len(f.devs), evidence.ErrCorrupt)
	case dev > 0:
		d = &f.devs[dev-1]
		if d.r == nil && d.start > 0 && d.start+pos < uint64(f.size) {
			// All devices in one image, one behind the other.
			d, pos = &f.device, d.start+pos
		}
	default:
		for i := range f.devs {
			if e := &f.devs[i]; e.r != nil && e.start > 0 && pos >= e.start && pos-e.start < e.length {
				d, pos = e, pos-e.start
				break
			}
		}
	}
	if d.r == nil {
		return fmt.Errorf("device %d (%q) is not given: %w", dev, d.tag, evidence.ErrUnsupported)
	}
	if pos > uint64(d.size) || uint64(len(b)) > uint64(d.size)-pos {
		return fmt.Errorf("%d bytes at %#x, outside of the image: %w", len(b), pos, evidence.ErrCorrupt)
	}
	return readFull(d.r, b, int64(pos))
}

// readFull reads all of b; io.EOF with it all is no error.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes at %#x, outside of the image: %w", len(b), off, evidence.ErrCorrupt)
	}
	return err
}

// Root implements evidence.FS.
func (f *FS) Root() evidence.Ino { return evidence.Ino(f.sb.root) }

// Describe implements evidence.Describer.
func (f *FS) Describe() evidence.Description {
	h := hex.EncodeToString(f.sb.uuid)
	d := evidence.Description{
		Type: "erofs", Label: printable(f.sb.label), Size: int64(min(f.length, 1<<62)), BlockSize: 1 << f.sb.blockBits,
		UUID: h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:],
		// Before 6.15 epoch was build_time, and the addend was not there.
		Created: time.Unix(int64(f.sb.epoch)+int64(f.sb.buildTime), int64(f.sb.fixedNsec)).UTC(),
		Journal: evidence.Journal{State: evidence.JournalNone},
	}
	for i, name := range compatNames {
		if f.sb.compat&(1<<i) != 0 {
			d.Features = append(d.Features, name)
		}
	}
	for i, name := range incompatNames {
		if f.sb.incompat&(1<<i) != 0 {
			d.Features = append(d.Features, name)
		}
	}
	return d
}

// blockCount returns how many blocks n bytes need; sizes are checked to be under 2^62.
func (f *FS) blockCount(n uint64) uint64 {
	return (n + 1<<f.sb.blockBits - 1) >> f.sb.blockBits
}
