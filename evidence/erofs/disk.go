package erofs

// The on-disk format, with the kernel's names: fs/erofs/erofs_fs.h of Linux
// 6.18. All integers are little-endian.

const (
	superOffset = 1024       // EROFS_SUPER_OFFSET
	superMagic  = 0xE0F5E1E2 // EROFS_SUPER_MAGIC_V1
	superSize   = 128
	extSlotSize = 16 // EROFS_SB_EXTSLOT_SIZE
	devSlotSize = 128

	slotBits    = 5 // an inode number counts 32-byte slots from meta_blkaddr
	compactSize = 32
	fullSize    = 64 // struct erofs_inode_extended
	direntSize  = 12
	maxNameLen  = 255

	// minBlockBits and maxBlockBits bound blkszbits: erofs_read_superblock
	// allows 512 bytes to a page, which is 64 KiB on some machines.
	minBlockBits = 9
	maxBlockBits = 16
)

// feature_compat
const (
	compatSuperChecksum    = 0x01
	compatMtime            = 0x02
	compatXattrFilter      = 0x04
	compatSharedInMetabox  = 0x08
	compatPlainXattrPrefix = 0x10
)

// feature_incompat. Two bits have two names each, of features that came together.
const (
	incompatZeroPadding   = 0x001
	incompatComprCfgs     = 0x002 // and BIG_PCLUSTER
	incompatChunked       = 0x004
	incompatDevices       = 0x008 // and COMPR_HEAD2
	incompatTailPacking   = 0x010
	incompatFragments     = 0x020 // and DEDUPE
	incompatXattrPrefixes = 0x040
	incompat48Bit         = 0x080
	incompatMetabox       = 0x100

	supportedIncompat = 0x1ff
)

// featureNames are mkfs.erofs's and dump.erofs's, in the order of the bits.
var compatNames = []string{"sb_csum", "mtime", "xattr_filter", "shared_ea_in_metabox", "plain_xattr_pfx"}
var incompatNames = []string{"0padding", "compr_cfgs", "chunked_file", "device_table", "ztailpacking", "fragments", "xattr_prefixes", "48bit", "metabox"}

// i_format
const (
	formatExtended  = 0x01
	layoutShift     = 1
	layoutMask      = 0x07
	formatNlink1    = 0x10 // of compact inodes that are no directories
	formatSupported = 0x1f
)

// The layouts of an inode's data.
const (
	layoutPlain       = 0
	layoutFull        = 1 // compressed, an index entry a cluster
	layoutInline      = 2 // the last block behind the inode
	layoutCompact     = 3 // compressed, packed index
	layoutChunks      = 4
	layoutUnsupported = 5
)

// The format of chunk-based files.
const (
	chunkBitsMask  = 0x1f
	chunkIndexes   = 0x20
	chunk48Bit     = 0x40
	chunkSupported = 0x7f
)

// metaboxBit in an inode number says that the inode lies in the metabox inode.
const metaboxBit = 1 << 63

const (
	xattrHeaderSize = 12 // struct erofs_xattr_ibody_header
	xattrEntrySize  = 4
	xattrLongPrefix = 0x80
)

// xattrPrefixes are the names that e_name_index stands for.
var xattrPrefixes = map[uint8]string{
	1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 5: "lustre.", 6: "security.",
}

// Compression algorithms; the two above the on-disk ones are how the kernel
// calls uncompressed clusters.
const (
	algLZ4 = iota
	algLZMA
	algDeflate
	algZstd
	algShifted    // as it is
	algInterlaced // each byte at the offset within a block that it has in the file
)

var algNames = [...]string{"lz4", "lzma", "deflate", "zstd", "shifted", "interlaced"}

const (
	// maxPcluster and maxExtent are Z_EROFS_PCLUSTER_MAX_SIZE and
	// Z_EROFS_PCLUSTER_MAX_DSIZE: a compressed cluster and what comes out of it.
	maxPcluster = 1 << 20
	maxExtent   = 12 << 20
	// maxDict is Z_EROFS_LZMA_MAX_DICT_SIZE.
	maxDict = 8 << 20
)

// h_advise of struct z_erofs_map_header
const (
	adviseCompact2B   = 0x01 // of layoutCompact
	adviseExtents     = 0x01 // of layoutFull
	adviseBig1        = 0x02
	adviseBig2        = 0x04
	adviseInline      = 0x08
	adviseInterlaced  = 0x10
	adviseFragment    = 0x20
	adviseRecordShift = 1
	adviseRecordMask  = 3
	headerAllFragment = 1 << 63 // of the header as one integer
	mapHeaderSize     = 8
	lclusterIndexSize = 8
)

// The types of logical clusters, and the flags of their index entries.
const (
	clusterPlain = iota
	clusterHead1
	clusterNonhead
	clusterHead2

	clusterTypeMask = 3
	clusterPartial  = 1 << 15 // Z_EROFS_LI_PARTIAL_REF
	clusterHole     = 1 << 14 // Z_EROFS_LI_HOLE
	clusterBlocks   = 1 << 11 // Z_EROFS_LI_D0_CBLKCNT
)

// struct z_erofs_extent
const (
	extentPartial  = 1 << 27
	extentFmtShift = 28
	extentLenMask  = maxPcluster<<1 - 1
)
