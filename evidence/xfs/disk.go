package xfs

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// The names and numbers in this file are those of the kernel's
// fs/xfs/libxfs/xfs_format.h and xfs_da_format.h. All integers on the disk are
// big-endian, checksums apart, which are little-endian CRC-32C.

// Magic numbers of blocks.
const (
	magicSB         = 0x58465342 // XFS_SB_MAGIC, "XFSB"
	magicAGF        = 0x58414746 // XFS_AGF_MAGIC, "XAGF"
	magicAGI        = 0x58414749 // XFS_AGI_MAGIC, "XAGI"
	magicInode      = 0x494e     // XFS_DINODE_MAGIC, "IN"
	magicIBT        = 0x49414254 // XFS_IBT_MAGIC, "IABT"
	magicIBTCRC     = 0x49414233 // XFS_IBT_CRC_MAGIC, "IAB3"
	magicBMap       = 0x424d4150 // XFS_BMAP_MAGIC, "BMAP"
	magicBMapCRC    = 0x424d4133 // XFS_BMAP_CRC_MAGIC, "BMA3"
	magicDirBlock   = 0x58443242 // XFS_DIR2_BLOCK_MAGIC, "XD2B"
	magicDirData    = 0x58443244 // XFS_DIR2_DATA_MAGIC, "XD2D"
	magicDir3Block  = 0x58444233 // XFS_DIR3_BLOCK_MAGIC, "XDB3"
	magicDir3Data   = 0x58444433 // XFS_DIR3_DATA_MAGIC, "XDD3"
	magicDANode     = 0xfebe     // XFS_DA_NODE_MAGIC
	magicDA3Node    = 0x3ebe     // XFS_DA3_NODE_MAGIC
	magicDirLeaf1   = 0xd2f1     // XFS_DIR2_LEAF1_MAGIC
	magicDirLeafN   = 0xd2ff     // XFS_DIR2_LEAFN_MAGIC
	magicDir3Leaf1  = 0x3df1     // XFS_DIR3_LEAF1_MAGIC
	magicDir3LeafN  = 0x3dff     // XFS_DIR3_LEAFN_MAGIC
	magicAttrLeaf   = 0xfbee     // XFS_ATTR_LEAF_MAGIC
	magicAttr3Leaf  = 0x3bee     // XFS_ATTR3_LEAF_MAGIC
	magicAttrRemote = 0x5841524d // XFS_ATTR3_RMT_MAGIC, "XARM"
	magicSymlink    = 0x58534c4d // XFS_SYMLINK_MAGIC, "XSLM"
)

// Superblock versions and feature bits (XFS_SB_VERSION_*, XFS_SB_VERSION2_*, XFS_SB_FEAT_*).
const (
	sbVersion4 = 4
	sbVersion5 = 5

	versionNumBits   = 0x000f
	versionAttr      = 0x0010
	versionQuota     = 0x0040
	versionDirV2     = 0x2000
	versionBorg      = 0x4000 // ASCII only case-insensitive
	versionMoreBits  = 0x8000
	version2LazySB   = 0x0002
	version2Attr2    = 0x0008
	version2ProjID32 = 0x0080
	version2FType    = 0x0200

	roCompatFinobt     = 1 << 0
	roCompatRmapbt     = 1 << 1
	roCompatReflink    = 1 << 2
	roCompatInobtCount = 1 << 3
	roCompatKnown      = 1<<4 - 1

	incompatFType       = 1 << 0
	incompatSparse      = 1 << 1
	incompatMetaUUID    = 1 << 2
	incompatBigtime     = 1 << 3
	incompatNeedsRepair = 1 << 4
	incompatNrext64     = 1 << 5
	incompatExchange    = 1 << 6
	incompatParent      = 1 << 7
	incompatMetadir     = 1 << 8
	incompatZoned       = 1 << 9
	incompatZoneGaps    = 1 << 10
)

// supportedIncompat are the incompatible features whose metadata this package
// reads; a filesystem with any other is refused, because what it would show is unknown.
const supportedIncompat = 1<<11 - 1

// Offsets and sizes of the superblock (struct xfs_dsb).
const (
	sbCRC       = 224 // sb_crc
	sectorMin   = 512
	sectorMax   = 32768
	blockMin    = 512
	blockMax    = 65536
	inodeMin    = 256
	inodeMax    = 2048
	dirBlockMax = 65536 // XFS_MAX_BLOCKSIZE bounds folder blocks too
	nullIno     = ^uint64(0)
	maxInode    = 1<<56 - 1 // XFS_MAXINUMBER
)

// Offsets in the allocation group's inode header (struct xfs_agi).
const (
	agiSeqno     = 8
	agiLength    = 12
	agiRoot      = 20
	agiLevel     = 24
	agiUnlinked  = 40
	agiBuckets   = 64 // XFS_AGI_UNLINKED_BUCKETS
	agiCRC       = 312
	agfSeqno     = 8
	agfLength    = 12
	agfCRC       = 216
	nullAgino    = 0xffffffff // NULLAGINO
	inodesChunk  = 64         // XFS_INODES_PER_CHUNK
	holemaskBits = 16         // XFS_INOBT_HOLEMASK_BITS: each stands for four inodes
)

// Sizes of B+tree block headers (struct xfs_btree_block) and of their records.
const (
	btreeShort    = 16 // XFS_BTREE_SBLOCK_LEN
	btreeShortCRC = 56 // XFS_BTREE_SBLOCK_CRC_LEN
	btreeLong     = 24 // XFS_BTREE_LBLOCK_LEN
	btreeLongCRC  = 72 // XFS_BTREE_LBLOCK_CRC_LEN
	inobtRec      = 16 // struct xfs_inobt_rec
	bmbtRec       = 16 // struct xfs_bmbt_rec
	// maxTreeLevels bounds the depth of any B+tree: XFS_BTREE_MAXLEVELS was 9, and the largest
	// that a filesystem can need today (xfs_bmap_compute_maxlevels) is 13.
	maxTreeLevels = 16
)

// Offsets in the inode core (struct xfs_dinode).
const (
	diMode         = 2
	diVersion      = 4
	diFormat       = 5
	diOnlink       = 6
	diUID          = 8
	diGID          = 12
	diNlink        = 16
	diBigNextents  = 24 // v3 with nrext64
	diAtime        = 32
	diMtime        = 40
	diCtime        = 48
	diSize         = 56
	diNextents     = 76
	diAnextents    = 80
	diBigAnextents = 76 // with nrext64
	diForkoff      = 82
	diAformat      = 83
	diFlags        = 90
	diNextUnlinked = 96
	diCRC          = 100
	diFlags2       = 120
	diCrtime       = 144
	diIno          = 152
	diUUID         = 160
	dinodeV2Size   = 100 // where the literal area of v1 and v2 inodes begins
	dinodeV3Size   = 176
)

// Formats of a fork (enum xfs_dinode_fmt) and flags of an inode (XFS_DIFLAG_*, XFS_DIFLAG2_*).
const (
	fmtDev     = 0
	fmtLocal   = 1
	fmtExtents = 2
	fmtBtree   = 3

	flagRealtime  = 1 << 0
	flag2Bigtime  = 1 << 3
	flag2Nrext64  = 1 << 4
	flag2Metadata = 1 << 5
)

// Folder layout (xfs_da_format.h).
const (
	dirLeafOffset  = 1 << 35 // XFS_DIR2_LEAF_OFFSET: folder data lies below
	dirFreeTag     = 0xffff  // XFS_DIR2_DATA_FREE_TAG
	dirDataHdr     = 16      // struct xfs_dir2_data_hdr
	dir3DataHdr    = 64      // struct xfs_dir3_data_hdr
	dirBlockTail   = 8       // struct xfs_dir2_block_tail
	dirLeafEntry   = 8       // struct xfs_dir2_leaf_entry
	dirDataAlign   = 8       // XFS_DIR2_DATA_ALIGN
	daNodeHdr      = 16      // struct xfs_da_node_hdr
	da3NodeHdr     = 64      // struct xfs_da3_node_hdr
	daMaxDepth     = 5       // XFS_DA_NODE_MAXDEPTH
	attrLeafHdr    = 32      // struct xfs_attr_leaf_hdr
	attr3LeafHdr   = 80      // struct xfs_attr3_leaf_hdr
	attrLocal      = 1 << 0  // XFS_ATTR_LOCAL
	attrRoot       = 1 << 1  // XFS_ATTR_ROOT
	attrSecure     = 1 << 2  // XFS_ATTR_SECURE
	attrParent     = 1 << 3  // XFS_ATTR_PARENT
	attrVerity     = 1 << 4  // XFS_ATTR_VERITY
	attrIncomplete = 1 << 7  // XFS_ATTR_INCOMPLETE
	attrRemoteHdr  = 56      // struct xfs_attr3_rmt_hdr
	attrMaxValue   = 65536   // XFS_XATTR_SIZE_MAX
	symlinkHdr     = 56      // struct xfs_dsymlink_hdr
	symlinkMax     = 1024    // XFS_SYMLINK_MAXLEN
)

// Offsets of the self-describing fields of v5 blocks.
const (
	dir3CRC      = 4 // struct xfs_dir3_blk_hdr
	dir3UUID     = 24
	dir3Owner    = 40
	da3CRC       = 12 // struct xfs_da3_blkinfo
	da3UUID      = 32
	da3Owner     = 48
	btShortUUID  = 32 // struct xfs_btree_block_shdr, after the 8 bytes that all have
	btShortOwner = 48
	btShortCRC   = 52
	btLongUUID   = 40 // struct xfs_btree_block_lhdr
	btLongOwner  = 56
	btLongCRC    = 64
	remoteOffset = 4 // struct xfs_attr3_rmt_hdr and struct xfs_dsymlink_hdr
	remoteBytes  = 8
	remoteCRC    = 12
	remoteUUID   = 16
	remoteOwner  = 32
)

// The file types of folder entries (XFS_DIR3_FT_*).
const (
	ftMax = 9
)

var be = binary.BigEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOK recomputes a block's CRC-32C over all of b with the checksum at off
// taken as zero (xfs_verify_cksum, fs/xfs/libxfs/xfs_cksum.h).
func checksumOK(b []byte, off int) bool {
	if off+4 > len(b) {
		return false
	}
	var zero [4]byte
	c := crc32.Update(0, castagnoli, b[:off])
	c = crc32.Update(c, castagnoli, zero[:])
	c = crc32.Update(c, castagnoli, b[off+4:])
	return c == binary.LittleEndian.Uint32(b[off:])
}

// bigtimeEpoch is the number of seconds from the start of the bigtime range,
// 1901, to the Unix epoch (XFS_BIGTIME_EPOCH_OFFSET).
const bigtimeEpoch = 1 << 31

// decodeTime reads an xfs_timestamp: signed 32-bit seconds and nanoseconds,
// or, with bigtime, nanoseconds since December 1901.
func decodeTime(b []byte, bigtime bool) time.Time {
	if bigtime {
		ns := be.Uint64(b)
		return time.Unix(int64(ns/1e9)-bigtimeEpoch, int64(ns%1e9)).UTC()
	}
	return time.Unix(int64(int32(be.Uint32(b))), int64(be.Uint32(b[4:]))).UTC()
}
