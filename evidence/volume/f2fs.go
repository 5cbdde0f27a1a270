package volume

import (
	"encoding/binary"
	"io"
	"unicode/utf16"

	"lagan/evidence"
	"lagan/internal/bin"
)

// What is named of F2FS, which is not read: struct f2fs_super_block
// (include/linux/f2fs_fs.h), of which there are two (F2FS_SUPER_OFFSET in each of
// the first two blocks).
const (
	f2fsMagic     = 0xf2f52010 // F2FS_SUPER_MAGIC
	f2fsSuperSize = 0xc00
	f2fsLogBlock  = 0x10
	f2fsBlocks    = 0x24 // block_count
	f2fsUUID      = 0x6c
	f2fsName      = 0x7c // volume_name, MAX_VOLUME_NAME of UTF-16
	f2fsNameUnits = 512
	f2fsFeature   = 0x884
)

var f2fsSupers = []int64{0x400, 0x1400}

// f2fsFeatures are F2FS_FEATURE_*, as mkfs.f2fs -O names them; "" is one that it doesn't take.
var f2fsFeatures = []string{"encrypt", "blkzoned", "atomic_write", "extra_attr", "project_quota", "inode_checksum", "flexible_inline_xattr", "quota", "inode_crtime",
	"lost_found", "verity", "sb_checksum", "casefold", "compression", "ro"}

// describeF2FS reads the first superblock that is one.
func describeF2FS(r io.ReaderAt) (evidence.Description, bool) {
	b := make([]byte, f2fsSuperSize)
	for _, off := range f2fsSupers {
		n, _ := r.ReadAt(b, off) // what can't be read is no superblock
		if n < f2fsFeature+4 || binary.LittleEndian.Uint32(b) != f2fsMagic {
			continue
		}
		le := binary.LittleEndian
		// Blocks are pages: 4 KiB to 64 KiB.
		log := le.Uint32(b[f2fsLogBlock:])
		blocks := le.Uint64(b[f2fsBlocks:])
		if log < 12 || log > 16 || blocks > 1<<46 {
			continue
		}
		d := evidence.Description{Type: "f2fs", UUID: bin.UUID(b[f2fsUUID:]), Label: utf16Label(b[f2fsName:], f2fsNameUnits), Size: int64(blocks << log), BlockSize: 1 << log}
		for i, name := range f2fsFeatures {
			if le.Uint32(b[f2fsFeature:])>>i&1 != 0 {
				d.Features = append(d.Features, name)
			}
		}
		return d, true
	}
	return evidence.Description{}, false
}

// utf16Label reads a name of up to n units that ends with a zero.
func utf16Label(b []byte, n int) string {
	var units []uint16
	for i := range n {
		u := binary.LittleEndian.Uint16(b[2*i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
