package volume

import (
	"encoding/binary"
	"io"
	"slices"

	"lagan/evidence"
)

// magic is a byte string at a fixed place. The names are those of blkid(8);
// the places, those of libblkid/src/superblocks in util-linux.
type magic struct {
	name string
	off  int
	text string
}

// magics are asked in this order: a volume that was encrypted, or put under
// LVM or RAID, may show the remainder of an earlier filesystem behind it.
var magics = []magic{
	{"crypto_LUKS", 0, "LUKS\xba\xbe"},
	{"BitLocker", 3, "-FVE-FS-"},
	{"linux_raid_member", 0, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00"},      // v1.1
	{"linux_raid_member", 0x1000, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00"}, // v1.2
	{"bcachefs", 0x1018, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{"bcache", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{"stratis", 0x204, "!Stra0tis\x86\xff\x02^\x41rh"},
	{"ceph_bluestore", 0, "bluestore block device"},
	{"DM_verity_hash", 0, "verity\x00\x00"},
	{"DM_integrity", 0, "integrt\x00"},
	{"thin_pool_metadata", 32, "\xba\x52\x9c\x01\x00\x00\x00\x00"}, // drivers/md/dm-thin-metadata.c
	{"vdo", 0, "dmvdo001"},
	{"xfs", 0, "XFSB"},
	{"btrfs", 0x10040, "_BHRfS_M"},
	{"squashfs", 0, "hsqs"},
	{"squashfs", 0, "sqsh"},
	{"erofs", 0x400, "\xe2\xe1\xf5\xe0"},
	{"f2fs", 0x400, "\x10\x20\xf5\xf2"},
	{"cramfs", 0, "\x45\x3d\xcd\x28"},
	{"cramfs", 0, "\x28\xcd\x3d\x45"},
	{"romfs", 0, "-rom1fs-"},
	{"exfat", 3, "EXFAT   "},
	{"ntfs", 3, "NTFS    "},
	{"ReFS", 3, "ReFS\x00\x00\x00\x00"},
	{"apfs", 0x20, "NXSB"},
	{"hfsplus", 0x400, "H+\x00\x04"},
	{"hfsplus", 0x400, "HX\x00\x05"},
	{"jfs", 0x8000, "JFS1"},
	{"reiserfs", 0x10034, "ReIsErFs"},
	{"reiserfs", 0x10034, "ReIsEr2Fs"},
	{"reiserfs", 0x10034, "ReIsEr3Fs"},
	{"gfs2", 0x10000, "\x01\x16\x19\x70\x00\x00\x00\x01"},
	{"ocfs2", 0x400, "OCFSV2"},
	{"ocfs2", 0x800, "OCFSV2"},
	{"ocfs2", 0x1000, "OCFSV2"},
	{"iso9660", 0x8001, "CD001"},
	{"udf", 0x8001, "BEA01"},
	{"udf", 0x8001, "NSR02"},
	{"udf", 0x8001, "NSR03"},
	{"xfs_external_log", 0, "\xfe\xed\xba\xbe"},
	{"tar", 0x101, "ustar"},
}

// swap areas end their first page with a magic; the size of a page isn't known.
var swapMagics = []string{"SWAPSPACE2", "SWAP-SPACE", "S1SUSPEND\x00", "S2SUSPEND\x00", "LINHIB0001"}

var pageSizes = []int{0x1000, 0x2000, 0x4000, 0x8000, 0x10000}

// identifySize is how much of a volume Identify reads first: up to the
// superblocks at 64 KiB.
const identifySize = 0x10000 + 0x1000

// Identify names what a volume holds by its magic number: a filesystem, or
// what has another volume inside (crypto_LUKS, LVM2_member, linux_raid_member,
// BitLocker); "" where nothing is known. The names are those of blkid(8). It
// doesn't say that the rest is whole.
func Identify(r io.ReaderAt) string {
	b := make([]byte, identifySize)
	n, _ := r.ReadAt(b, 0) // what can't be read isn't recognised
	b = b[:n]
	for _, m := range magics {
		if hasAt(b, m.off, m.text) && confirmed(m.name, b) {
			return m.name
		}
	}
	switch {
	case isLVM(b):
		return "LVM2_member"
	case isSwap(b):
		return "swap"
	case isVFAT(b):
		return "vfat"
	}
	if name := extName(b); name != "" {
		return name
	}
	// The second header of LUKS2 counts where nothing was put over the first.
	for _, off := range []int{0x4000, 0x8000, 0x10000} {
		if hasAt(b, off, "SKUL\xba\xbe") {
			return "crypto_LUKS"
		}
	}
	return identifyFar(r)
}

// describers read what filesystems that lagan has no reader for say of themselves.
var describers = map[string]func(io.ReaderAt) (evidence.Description, bool){
	"f2fs": describeF2FS,
}

// Describe returns what a volume's content, as Identify named it, says of itself;
// its zero value where it says nothing that is known.
func Describe(r io.ReaderAt, content string) evidence.Description {
	if describe := describers[content]; describe != nil {
		if d, ok := describe(r); ok {
			return d
		}
	}
	return evidence.Description{}
}

func hasAt(b []byte, off int, text string) bool {
	return len(b) >= off+len(text) && string(b[off:off+len(text)]) == text
}

// confirmed looks closer where a magic is short or shared.
func confirmed(name string, b []byte) bool {
	switch name {
	case "squashfs":
		// s_major, in the byte order of the magic.
		return len(b) >= 32 && (b[28] == 3 || b[28] == 4 || b[29] == 3 || b[29] == 4)
	case "xfs":
		// sb_blocklog and sb_sectlog (XFS_MIN_BLOCKSIZE_LOG to XFS_MAX_SECTORSIZE_LOG).
		return len(b) >= 0x7a && b[0x78] >= 9 && b[0x78] <= 16
	}
	return true
}

// isLVM reports the label of a physical volume, in one of the first four
// sectors (lib/label/label.h of LVM2).
func isLVM(b []byte) bool {
	for off := 0; off < 4*512; off += 512 {
		if hasAt(b, off, "LABELONE") && hasAt(b, off+24, "LVM2 001") {
			return true
		}
	}
	return false
}

func isSwap(b []byte) bool {
	for _, page := range pageSizes {
		for _, m := range swapMagics {
			if hasAt(b, page-len("SWAPSPACE2"), m) {
				return true
			}
		}
	}
	return false
}

// isVFAT reports a FAT boot sector: the jump at its start, a sector size, and
// the name of the type, which has no say for a driver but which every mkfs writes.
func isVFAT(b []byte) bool {
	if len(b) < 512 || b[0] != 0xe9 && (b[0] != 0xeb || b[2] != 0x90) {
		return false
	}
	sector := binary.LittleEndian.Uint16(b[11:])
	return slices.Contains([]uint16{512, 1024, 2048, 4096}, sector) &&
		(hasAt(b, 0x36, "FAT12   ") || hasAt(b, 0x36, "FAT16   ") || hasAt(b, 0x36, "FAT     ") || hasAt(b, 0x52, "FAT32   "))
}

// Feature bits that tell the generations of ext apart (fs/ext4/ext4.h).
const (
	extHasJournal    = 0x0004
	extJournalDevice = 0x0008
	// What ext2 and ext3 know: filetype, recover, meta_bg; sparse_super, large_file, btree_dir.
	ext3Incompat = 0x0002 | 0x0004 | 0x0010
	ext3ROCompat = 0x0001 | 0x0002 | 0x0004
)

// extName tells ext2, ext3, ext4 and an external journal apart as blkid does: by features.
func extName(b []byte) string {
	const superblock = 0x400
	if !hasAt(b, superblock+0x38, "\x53\xef") || len(b) < superblock+0x68 {
		return ""
	}
	sb := b[superblock:]
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(sb[off:]) }
	// The magic has 16 bits only: look at s_log_block_size (64 KiB) and s_rev_level too.
	if u32(0x18) > 6 || u32(0x4c) > 1 {
		return ""
	}
	compat, incompat, roCompat := u32(0x5c), u32(0x60), u32(0x64)
	switch {
	case incompat&extJournalDevice != 0:
		return "jbd"
	case incompat&^ext3Incompat != 0 || roCompat&^ext3ROCompat != 0:
		return "ext4"
	case compat&extHasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// identifyFar looks for what stands further in, or at the end: ZFS, and the
// md superblocks of versions 1.0 and 0.90. The end is known where r has a Size.
func identifyFar(r io.ReaderAt) string {
	if isZFS(r) {
		return "zfs_member"
	}
	sized, ok := r.(interface{ Size() int64 })
	if !ok {
		return ""
	}
	size := sized.Size()
	b := make([]byte, 8)
	for _, off := range []int64{
		(size/512 - 16) &^ 7 * 512, // super_1_load, drivers/md/md.c: minor version 0
		size&^0xffff - 0x10000,     // MD_NEW_SIZE_SECTORS
	} {
		if n, _ := r.ReadAt(b, max(off, 0)); n == len(b) && off > 0 && string(b[:4]) == "\xfc\x4e\x2b\xa9" && b[4] <= 1 {
			return "linux_raid_member"
		}
	}
	return ""
}

// isZFS looks for uberblocks in the first label: an array of 128 KiB, in units
// of 1 KiB or more (vdev_impl.h of OpenZFS).
func isZFS(r io.ReaderAt) bool {
	const start, length, unit, enough = 128 << 10, 128 << 10, 1 << 10, 4
	b := make([]byte, length)
	n, _ := r.ReadAt(b, start)
	found := 0
	for b = b[:n]; len(b) >= unit; b = b[unit:] {
		if string(b[:8]) == "\x0c\xb1\xba\x00\x00\x00\x00\x00" || string(b[:8]) == "\x00\x00\x00\x00\x00\xba\xb1\x0c" {
			found++
		}
	}
	return found >= enough
}
