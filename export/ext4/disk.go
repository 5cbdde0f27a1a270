package ext4

// The layout that is written. Names and offsets are those of fs/ext4/ext4.h
// (struct ext4_super_block, ext4_group_desc, ext4_inode), ext4_extents.h,
// xattr.h and namei.c (struct dx_root) of Linux 6.18.

const (
	blockSize       = 4096
	logBlockSize    = 2 // blockSize = 1024 << logBlockSize
	superOffset     = 1024
	superSize       = 1024
	superMagic      = 0xef53
	blocksPerGroup  = 8 * blockSize // one block of bitmap
	inodesPerGroup  = 8192          // as mke2fs has it: one for 16 KiB
	inodeSize       = 256
	extraSize       = 32 // i_extra_isize: all fields that Linux knows
	tableBlocks     = inodesPerGroup * inodeSize / blockSize
	descSize        = 32
	descsPerBlock   = blockSize / descSize
	maxBlocks       = 1<<32 - 1
	rootInode       = 2
	firstInode      = 11  // s_first_ino
	maxName         = 255 // EXT4_NAME_LEN
	sectorsPerBlock = blockSize / 512
	// maxFile is what extents can map: 2^32 blocks less one (EXT_MAX_BLOCKS).
	maxFile = maxBlocks * blockSize
)

// MaxLinks is how many names an inode can have (EXT4_LINK_MAX).
const MaxLinks = 65000

// s_feature_compat, s_feature_incompat, s_feature_ro_compat.
const (
	compatExtAttr     = 0x8
	compatDirIndex    = 0x20
	incompatFiletype  = 0x2
	incompatExtents   = 0x40
	incompatEAInode   = 0x400
	roSparseSuper     = 0x1
	roLargeFile       = 0x2
	roHugeFile        = 0x8
	roDirNlink        = 0x20
	roExtraIsize      = 0x40
	mountXattrUser    = 0x4 // s_default_mount_opts
	mountACL          = 0x8
	stateValid        = 1 // s_state
	errorsContinue    = 1 // s_errors
	revDynamic        = 1 // s_rev_level
	noMaxMounts       = 0xffff
	hashHalfMD4       = 1 // s_def_hash_version
	flagsUnsignedHash = 2 // s_flags
)

// i_flags.
const (
	flagIndex   = 0x1000
	flagExtents = 0x80000
	flagEAInode = 0x200000
)

// i_mode's types, and the types of directory entries (EXT4_FT_*).
const (
	modeFIFO, dirFIFO     = 0o010000, 5
	modeChar, dirChar     = 0o020000, 3
	modeDir, dirDir       = 0o040000, 2
	modeBlock, dirBlock   = 0o060000, 4
	modeFile, dirFile     = 0o100000, 1
	modeLink, dirLink     = 0o120000, 7
	modeSocket, dirSocket = 0o140000, 6
)

// Extents: struct ext4_extent_header, ext4_extent, ext4_extent_idx.
const (
	extentMagic    = 0xf30a
	extentEntry    = 12                                      // header and entries alike
	extentsInRoot  = 4                                       // of i_block
	extentsInBlock = (blockSize - extentEntry) / extentEntry // eh_max
	maxExtentLen   = 1 << 15                                 // EXT_INIT_MAX_LEN
	inlineBlock    = 60                                      // bytes of i_block
	maxTarget      = blockSize - 1                           // of a symbolic link
	dirEntryHead   = 8                                       // struct ext4_dir_entry_2 without the name
	dxRootHead     = 32                                      // . and .. and dx_root_info
	dxNodeHead     = 8                                       // an empty entry
	dxEntry        = 8                                       // struct dx_entry
	dxInRoot       = (blockSize - dxRootHead) / dxEntry      // limit
	dxInNode       = (blockSize - dxNodeHead) / dxEntry      // limit
	dxInfoLength   = 8                                       // sizeof(struct dx_root_info)
	hashEOF        = 0x7fffffff                              // EXT4_HTREE_EOF_32BIT
	linearBlocks   = 2                                       // directories of more get an index
	xattrMagic     = 0xea020000                              // both headers'
	xattrHead      = 32                                      // struct ext4_xattr_header
	xattrEntryHead = 16                                      // struct ext4_xattr_entry without the name
	xattrInInode   = inodeSize - 128 - extraSize - 4         // behind the magic
	maxXattrValue  = 1 << 16                                 // XATTR_SIZE_MAX
	maxTime        = int64(1)<<34 - int64(1)<<31 - 1         // of 34 bits: Documentation/filesystems/ext4/inodes.rst
	minTime        = -int64(1) << 31
)

// e_name_index and the prefixes that they stand for: xattr.h. The others of system.
// are of the filesystem itself.
var xattrPrefixes = [...]struct {
	prefix string
	index  byte
	whole  bool // nothing follows
}{
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"user.", 1, false},
	{"trusted.", 4, false},
	{"security.", 6, false},
}
