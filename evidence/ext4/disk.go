package ext4

// What is on the disk, named as in the kernel's fs/ext4/ext4.h,
// ext4_extents.h and xattr.h; the layout is described in
// Documentation/filesystems/ext4. All integers are little-endian.

// struct ext4_super_block: 1024 bytes at offset 1024.
const (
	superOffset  = 1024
	superSize    = 1024
	superMagicAt = 0x38
	superCsumAt  = 0x3fc // s_checksum
	superMagic   = 0xef53
)

// s_feature_compat.
const (
	compatHasJournal   = 0x4
	compatDirIndex     = 0x20
	compatSparseSuper2 = 0x200
	compatOrphanFile   = 0x1000
)

// s_feature_incompat.
const (
	incompatCompression = 0x1
	incompatFiletype    = 0x2
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompatExtents     = 0x40
	incompat64Bit       = 0x80
	incompatMMP         = 0x100
	incompatFlexBG      = 0x200
	incompatEAInode     = 0x400
	incompatDirdata     = 0x1000
	incompatCsumSeed    = 0x2000
	incompatLargeDir    = 0x4000
	incompatInlineData  = 0x8000
	incompatEncrypt     = 0x10000
	incompatCasefold    = 0x20000
)

// supportedIncompat are the features without which nothing can be read.
// Compression (e2compr) concerns single files, which say so themselves.
const supportedIncompat = incompatCompression | incompatFiletype | incompatRecover | incompatMetaBG |
	incompatExtents | incompat64Bit | incompatMMP | incompatFlexBG | incompatEAInode | incompatDirdata |
	incompatCsumSeed | incompatLargeDir | incompatInlineData | incompatEncrypt | incompatCasefold

// s_feature_ro_compat.
const (
	roSparseSuper  = 0x1
	roLargeFile    = 0x2
	roBtreeDir     = 0x4
	roHugeFile     = 0x8
	roGdtCsum      = 0x10
	roBigalloc     = 0x200
	roMetadataCsum = 0x400
)

// s_state.
const stateErrors = 0x2 // EXT4_ERROR_FS: the kernel met damage

// s_flags.
const (
	flagSignedHash   = 0x1
	flagUnsignedHash = 0x2
)

// Inode numbers that every filesystem reserves.
const (
	rootIno         = 2
	goodOldFirstIno = 11
)

const goodOldInodeSize = 128

// struct ext4_group_desc; 32 bytes without the 64bit feature.
const (
	descSizeMin   = 32
	descSize64    = 64
	descCsumAt    = 0x1e   // bg_checksum
	bgInodeUninit = 0x0001 // EXT4_BG_INODE_UNINIT
)

// i_flags.
const (
	flagCompr      = 0x4
	flagEncrypt    = 0x800
	flagIndex      = 0x1000
	flagHugeFile   = 0x40000
	flagExtents    = 0x80000
	flagEAInode    = 0x200000
	flagInlineData = 0x10000000
	flagCasefold   = 0x40000000
)

// The tree of extents (ext4_extents.h): a header, then entries of the same
// size; a block of it ends with a checksum.
const (
	extMagic     = 0xf30a
	extEntrySize = 12
	// EXT_INIT_MAX_LEN: a longer ee_len marks an unwritten extent of ee_len-32768 blocks.
	extInitMaxLen = 1 << 15
	// EXT4_MAX_EXTENT_DEPTH: four blocks of 1 KiB address 2^32 blocks, five are more than enough.
	maxExtentDepth = 5
	// Logical block numbers have 32 bits.
	maxLogical = 1 << 32
)

// i_block: 15 block numbers, or an extent tree's root, or a short target, or data.
const (
	iBlockSize    = 60
	directBlocks  = 12 // EXT4_NDIR_BLOCKS
	indirectLevel = 3  // single, double, triple
)

// struct ext4_dir_entry_2.
const (
	dirEntryHeader = 8
	ftDirCsum      = 0xde // EXT4_FT_DIR_CSUM, in the tail of a leaf
	dirTailSize    = 12   // struct ext4_dir_entry_tail
	dxRootCountAt  = 32   // dx_countlimit in the first block: after ., .. and dx_root_info
	dxNodeCountAt  = 8    // in an interior block: after the empty entry
)

// dx_hash_version.
const (
	dxHashLegacy = iota
	dxHashHalfMD4
	dxHashTEA
	dxHashLegacyUnsigned
	dxHashHalfMD4Unsigned
	dxHashTEAUnsigned
)

// Extended attributes (xattr.h).
const (
	xattrMagic       = 0xea020000
	xattrBlockHeader = 32
	xattrEntrySize   = 16
	xattrSystemIndex = 7 // EXT4_XATTR_INDEX_SYSTEM: system.data, which listxattr(2) leaves out
	xattrACLAccess   = 2
	xattrACLDefault  = 3
)

// xattrPrefix is by e_name_index; "" where the kernel shows no such attribute
// (ext4_xattr_handler_map in xattr.c).
var xattrPrefix = [...]string{
	1:               "user.",
	xattrACLAccess:  "system.posix_acl_access",
	xattrACLDefault: "system.posix_acl_default",
	4:               "trusted.",
	6:               "security.",
	10:              "gnu.",
}

// The orphan file (struct ext4_orphan_block_tail).
const (
	orphanMagic    = 0x0b10ca04
	orphanTailSize = 8
)

// The names of features, as dumpe2fs prints them, by bit.
var (
	compatNames = [32]string{0: "dir_prealloc", 1: "imagic_inodes", 2: "has_journal", 3: "ext_attr", 4: "resize_inode",
		5: "dir_index", 6: "lazy_bg", 8: "snapshot_bitmap", 9: "sparse_super2", 10: "fast_commit", 11: "stable_inodes", 12: "orphan_file"}
	incompatNames = [32]string{0: "compression", 1: "filetype", 2: "needs_recovery", 3: "journal_dev", 4: "meta_bg",
		6: "extent", 7: "64bit", 8: "mmp", 9: "flex_bg", 10: "ea_inode", 12: "dirdata", 13: "metadata_csum_seed",
		14: "large_dir", 15: "inline_data", 16: "encrypt", 17: "casefold"}
	roCompatNames = [32]string{0: "sparse_super", 1: "large_file", 3: "huge_file", 4: "uninit_bg", 5: "dir_nlink",
		6: "extra_isize", 8: "quota", 9: "bigalloc", 10: "metadata_csum", 11: "replica", 12: "read-only",
		13: "project", 14: "shared_blocks", 15: "verity", 16: "orphan_present"}
)
