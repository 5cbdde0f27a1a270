package xlog

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// The physical log, after fs/xfs/libxfs/xfs_log_format.h. Everything in a record
// header and in an op header is big-endian; the items are in the byte order of
// the machine that wrote them, which h_fmt names.
const (
	basicBlock = 512 // BBSIZE: the unit of every log and buffer address

	headerMagic    = 0xFEEDBABE // XLOG_HEADER_MAGIC_NUM, stands where a cycle number would
	cycleDataSize  = 64         // XLOG_CYCLE_DATA_SIZE: cycle words that one header saves
	headerCycles   = cycleDataSize * basicBlock
	maxRecord      = 256 << 10 // XLOG_MAX_RECORD_BSIZE
	maxRecordV1    = 32 << 10  // XLOG_BIG_RECORD_BSIZE
	maxIclogs      = 8         // XLOG_MAX_ICLOGS: records that may be in flight at once
	maxLogBytes    = 1 << 31   // XFS_MAX_LOG_BYTES
	recHeaderSize  = 328       // sizeof(struct xlog_rec_header)
	recHeaderSizeX = 324       // the same on i386, where it isn't padded
	extHeaderSize  = 260       // XLOG_REC_EXT_SIZE
	opHeaderSize   = 12        // sizeof(struct xlog_op_header)

	fmtLinuxLE = 1 // XLOG_FMT_LINUX_LE
	fmtLinuxBE = 2 // XLOG_FMT_LINUX_BE

	clientTransaction = 0x69 // XFS_TRANSACTION
	clientLog         = 0xaa // XFS_LOG

	opStart    = 0x01 // XLOG_START_TRANS
	opCommit   = 0x02 // XLOG_COMMIT_TRANS
	opContinue = 0x04 // XLOG_CONTINUE_TRANS
	opWasCont  = 0x08 // XLOG_WAS_CONT_TRANS
	opEnd      = 0x10 // XLOG_END_TRANS
	opUnmount  = 0x20 // XLOG_UNMOUNT_TRANS

	transMagic      = 0x5452414e // XFS_TRANS_HEADER_MAGIC, "TRAN"
	transHeaderSize = 16         // sizeof(struct xfs_trans_header)
	maxRegions      = 257        // XLOG_MAX_REGIONS_IN_ITEM
)

// Log item types, XFS_LI_*. The type of an intent's "done" item is the intent's plus one.
const (
	itemEFI      = 0x1236
	itemInode    = 0x123b
	itemBuf      = 0x123c
	itemDquot    = 0x123d
	itemQuotaOff = 0x123e
	itemICreate  = 0x123f
	itemRUI      = 0x1240
	itemCUI      = 0x1242
	itemBUI      = 0x1244
	itemATTRI    = 0x1246
	itemXMI      = 0x1248
	itemEFIRT    = 0x124a
	itemRUIRT    = 0x124c
	itemCUIRT    = 0x124e
)

// intentNames are the deferred operations that a log may leave unfinished.
var intentNames = map[uint16]string{
	itemEFI: "extent free", itemRUI: "reverse mapping", itemCUI: "reference count", itemBUI: "block mapping",
	itemATTRI: "attribute", itemXMI: "mapping exchange", itemEFIRT: "realtime extent free",
	itemRUIRT: "realtime reverse mapping", itemCUIRT: "realtime reference count",
}

// struct xfs_buf_log_format
const (
	blfHeaderSize = 20  // up to blf_data_map
	blfChunk      = 128 // XFS_BLF_CHUNK: bytes a bit of the map stands for
	blfInodeBuf   = 1 << 0
	blfCancel     = 1 << 1
	blfUserDquot  = 1 << 2
	blfProjDquot  = 1 << 3
	blfGroupDquot = 1 << 4
	blftShift     = 11 // XFS_BLFT_SHIFT
)

// enum xfs_blft: what a logged buffer holds.
const (
	blftBtree    = 4
	blftAGF      = 5
	blftAGFL     = 6
	blftAGI      = 7
	blftSymlink  = 9
	blftDirBlock = 10
	blftDirData  = 11
	blftDirFree  = 12
	blftDirLeaf1 = 13
	blftDirLeafN = 14
	blftDaNode   = 15
	blftAttrLeaf = 16
	blftAttrRmt  = 17
	blftSB       = 18
	blftRTBitmap = 19
	blftRTSumm   = 20
)

// kind says where a version 5 metadata block keeps what replay looks at and restamps.
type kind struct {
	blft           uint16
	lsn, uuid, crc int
}

var (
	shortBtree = kind{blftBtree, 24, 32, 52} // struct xfs_btree_block, bb_u.s
	longBtree  = kind{blftBtree, 32, 40, 64} // bb_u.l
	// The version 4 magics, which xlog_recover_get_buf_lsn knows too; crc 0 is none.
	shortBtreeV4 = kind{blftBtree, 24, 32, 0}
	longBtreeV4  = kind{blftBtree, 32, 40, 0}
)

// kinds32 are the blocks whose first 32 bits name them (xfs_format.h, xfs_da_format.h).
var kinds32 = map[uint32]kind{
	0x41423342: shortBtree,   // AB3B
	0x41423343: shortBtree,   // AB3C
	0x41425442: shortBtreeV4, // ABTB
	0x41425443: shortBtreeV4, // ABTC
	0x524d4233: shortBtree,   // RMB3
	0x52334643: shortBtree,   // R3FC
	0x46494233: shortBtree,   // FIB3
	0x46494254: shortBtreeV4, // FIBT
	0x49414233: shortBtree,   // IAB3
	0x49414254: shortBtreeV4, // IABT
	magicBMA3:  longBtree,
	magicBMAP:  longBtreeV4,
	0x4d415052: longBtree,                 // MAPR, realtime reverse mapping
	0x52434e54: longBtree,                 // RCNT, realtime reference count
	0x58414746: {blftAGF, 208, 64, 216},   // XAGF
	0x5841464c: {blftAGFL, 24, 8, 32},     // XAFL
	0x58414749: {blftAGI, 320, 296, 312},  // XAGI
	0x58534c4d: {blftSymlink, 48, 16, 12}, // XSLM
	0x58444233: {blftDirBlock, 16, 24, 4}, // XDB3
	0x58444433: {blftDirData, 16, 24, 4},  // XDD3
	0x58444633: {blftDirFree, 16, 24, 4},  // XDF3
	magicSB:    {blftSB, 240, 32, 224},    // XFSB
	0x424d505a: {blftRTBitmap, 24, 32, 4}, // BMPZ, with realtime groups
	0x53554d59: {blftRTSumm, 24, 32, 4},   // SUMY
}

// kinds16 are the blocks that begin with struct xfs_da3_blkinfo.
var kinds16 = map[uint16]kind{
	0x3df1: {blftDirLeaf1, 24, 32, 12},
	0x3dff: {blftDirLeafN, 24, 32, 12},
	0x3bee: {blftAttrLeaf, 24, 32, 12},
	0x3ebe: {blftDaNode, 24, 32, 12},
}

const (
	magicSB     = 0x58465342 // XFSB
	magicBMA3   = 0x424d4133 // BMA3
	magicBMAP   = 0x424d4150 // BMAP
	magicRemote = 0x5841524d // XARM: remote attributes are not logged, so their LSN says nothing
	magicInode  = 0x494e     // IN

	superMetaUUID = 248 // sb_meta_uuid
)

// struct xfs_dinode, and struct xfs_log_dinode, which has the same layout in host order.
const (
	inodeCoreV2    = 96 // up to di_next_unlinked: what version 2 logs
	inodeForkV2    = 100
	inodeCoreV3    = 176
	inodeNREXT64   = 24 // di_big_nextents
	inodeFlushIter = 30
	inodeCtime     = 48
	inodeSize      = 56
	inodeNBlocks   = 64
	inodeNExtents  = 76
	inodeForkOff   = 82
	inodeAFormat   = 83
	inodeGen       = 92
	inodeNextUnl   = 96
	inodeCRC       = 100
	inodeLSN       = 112
	inodeFlags2    = 120
	inodeInumber   = 152
	inodeUUID      = 160

	flag2BigTime = 1 << 3 // XFS_DIFLAG2_BIGTIME
	flag2NREXT64 = 1 << 4 // XFS_DIFLAG2_NREXT64

	formatLocal   = 1 // XFS_DINODE_FMT_LOCAL
	formatExtents = 2
	formatBtree   = 3

	maxFlushIter = 0xffff // DI_MAX_FLUSH
)

// XFS_ILOG_*: what an inode item carries.
const (
	ilogData   = 0x002
	ilogExt    = 0x004
	ilogBroot  = 0x008
	ilogDev    = 0x010
	ilogAData  = 0x040
	ilogAExt   = 0x080
	ilogABroot = 0x100
	ilogDOwner = 0x200
	ilogAOwner = 0x400
	ilogDFork  = ilogData | ilogExt | ilogBroot
	ilogAFork  = ilogAData | ilogAExt | ilogABroot
)

// struct xfs_dqblk
const (
	dquotSize = 136
	dquotCRC  = 108
	dquotLSN  = 112
)

// Superblock feature bits that replay depends on.
const (
	versionNumBits  = 0x000f // XFS_SB_VERSION_NUMBITS
	versionLogV2    = 0x0400 // XFS_SB_VERSION_LOGV2BIT
	incompatMeta    = 1 << 2 // XFS_SB_FEAT_INCOMPAT_META_UUID
	logIncompatKnow = 1 << 0 // XFS_SB_FEAT_INCOMPAT_LOG_XATTRS
)

// Geometry holds the facts of a superblock that log recovery needs.
type Geometry struct {
	BlockSize    int
	SectorSize   int
	InodeSize    int
	InopBlog     uint   // log2 of the inodes in a block
	Blocks       uint64 // sb_dblocks
	AGBlocks     uint32
	AGCount      uint32
	AgBlkLog     uint // log2 of AGBlocks, rounded up: how a block number is split
	InoAlign     uint32
	DirBlockSize int
	LogStart     uint64           // first block of the log; 0 if the log is on another device
	External     *evidence.Device // which that is, where it is here; GeometryOf doesn't know
	LogBlocks    uint32
	LogSectSize  int
	LogSunit     uint32
	V5           bool // metadata carries checksums and log sequence numbers
	LogV2        bool
	VersionNum   uint16
	Features2    uint32
	Compat       uint32
	ROCompat     uint32
	Incompat     uint32
	LogIncompat  uint32
	UUID         [16]byte // what log records carry
	MetaUUID     [16]byte // what metadata blocks carry
}

// GeometryOf decodes the first sector of a filesystem (struct xfs_dsb,
// xfs_format.h). It returns evidence.ErrFormat where that is no XFS superblock
// and evidence.ErrCorrupt where its sizes make no sense.
func GeometryOf(superblock []byte) (Geometry, error) {
	be := binary.BigEndian
	if len(superblock) < basicBlock || be.Uint32(superblock) != magicSB {
		return Geometry{}, fmt.Errorf("superblock: %w", evidence.ErrFormat)
	}
	sb := superblock
	blockLog, dirLog := uint(sb[120]), uint(sb[192])
	g := Geometry{
		SectorSize: int(be.Uint16(sb[102:])), InodeSize: int(be.Uint16(sb[104:])), InopBlog: uint(sb[123]),
		Blocks: be.Uint64(sb[8:]), AGBlocks: be.Uint32(sb[84:]), AGCount: be.Uint32(sb[88:]), AgBlkLog: uint(sb[124]),
		InoAlign: be.Uint32(sb[180:]), LogStart: be.Uint64(sb[48:]), LogBlocks: be.Uint32(sb[96:]),
		LogSectSize: int(be.Uint16(sb[194:])), LogSunit: be.Uint32(sb[196:]),
		VersionNum: be.Uint16(sb[100:]), Features2: be.Uint32(sb[200:]),
	}
	copy(g.UUID[:], sb[32:])
	g.MetaUUID = g.UUID
	g.V5 = g.VersionNum&versionNumBits == 5
	g.LogV2 = g.V5 || g.VersionNum&versionLogV2 != 0
	if g.V5 {
		g.Compat, g.ROCompat, g.Incompat, g.LogIncompat = be.Uint32(sb[208:]), be.Uint32(sb[212:]), be.Uint32(sb[216:]), be.Uint32(sb[220:])
		if g.Incompat&incompatMeta != 0 {
			copy(g.MetaUUID[:], sb[superMetaUUID:])
		}
	}
	// The limits are those of xfs_validate_sb_common (libxfs/xfs_sb.c).
	switch {
	case blockLog < 9 || blockLog > 16 || be.Uint32(sb[4:]) != 1<<blockLog:
		return Geometry{}, fmt.Errorf("superblock: block size %d: %w", be.Uint32(sb[4:]), evidence.ErrCorrupt)
	case blockLog+dirLog > 16:
		return Geometry{}, fmt.Errorf("superblock: directory block size 2^%d: %w", blockLog+dirLog, evidence.ErrCorrupt)
	case g.InodeSize < 256 || g.InodeSize > 2048 || g.InodeSize&(g.InodeSize-1) != 0 || g.InodeSize<<g.InopBlog != 1<<blockLog:
		return Geometry{}, fmt.Errorf("superblock: inode size %d: %w", g.InodeSize, evidence.ErrCorrupt)
	case g.AGBlocks == 0 || g.AGCount == 0 || g.AgBlkLog > 31 || uint64(g.AGBlocks) > 1<<g.AgBlkLog:
		return Geometry{}, fmt.Errorf("superblock: %d groups of %d blocks: %w", g.AGCount, g.AGBlocks, evidence.ErrCorrupt)
	case g.Blocks > uint64(g.AGCount)*uint64(g.AGBlocks) || g.Blocks > 1<<62>>blockLog:
		return Geometry{}, fmt.Errorf("superblock: %d blocks: %w", g.Blocks, evidence.ErrCorrupt)
	}
	g.BlockSize, g.DirBlockSize = 1<<blockLog, 1<<(blockLog+dirLog)
	return g, nil
}

// offset returns where a filesystem block lies, in bytes, and whether there is such a block.
func (g *Geometry) offset(fsblock uint64) (int64, bool) {
	ag, bno := fsblock>>g.AgBlkLog, fsblock&(1<<g.AgBlkLog-1)
	if ag >= uint64(g.AGCount) || bno >= uint64(g.AGBlocks) {
		return 0, false
	}
	return int64(ag*uint64(g.AGBlocks)+bno) * int64(g.BlockSize), true
}

// bytes returns the size of the filesystem.
func (g *Geometry) bytes() int64 { return int64(g.Blocks) * int64(g.BlockSize) }

// forkStart returns where an inode's data fork begins.
func (g *Geometry) forkStart() int {
	if g.V5 {
		return inodeCoreV3
	}
	return inodeForkV2
}
