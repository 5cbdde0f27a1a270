package squashfs

// The on-disk format, with the kernel's names: fs/squashfs/squashfs_fs.h. All
// integers are little-endian.

const (
	superMagic      = 0x73717368 // "hsqs"
	superMagicSwap  = 0x68737173 // "sqsh": versions before 4 on big-endian machines
	superSize       = 96
	majorVersion    = 4
	maxBlockLog     = 20 // SQUASHFS_FILE_MAX_LOG
	minBlockLog     = 12
	metadataSize    = 8192 // SQUASHFS_METADATA_SIZE, of a block when decompressed
	invalidBlock    = 1<<64 - 1
	invalidFragment = 1<<32 - 1
	invalidXattr    = 1<<32 - 1

	// metadataPlain in a metadata block's length, and dataPlain in a data
	// block's, say that it is not compressed.
	metadataPlain = 1 << 15
	dataPlain     = 1 << 24

	fragmentSize = 16 // struct squashfs_fragment_entry
	xattrIDSize  = 16 // struct squashfs_xattr_id
	idSize       = 4

	maxName  = 256  // SQUASHFS_NAME_LEN
	dirCount = 256  // SQUASHFS_DIR_COUNT, entries under one header
	dirExtra = 3    // a directory's size counts . and .., which are not there
	maxLink  = 4096 // PATH_MAX
)

// Inode types: the l kinds have room for more.
const (
	typeDir = 1 + iota
	typeReg
	typeSymlink
	typeBlock
	typeChar
	typeFIFO
	typeSocket
	typeLDir
	typeLReg
	typeLSymlink
	typeLBlock
	typeLChar
	typeLFIFO
	typeLSocket
)

// Compressors.
const (
	compGzip = 1 + iota
	compLZMA
	compLZO
	compXZ
	compLZ4
	compZstd
)

var compNames = map[uint16]string{compGzip: "gzip", compLZMA: "lzma", compLZO: "lzo", compXZ: "xz", compLZ4: "lz4", compZstd: "zstd"}

// flagNames are unsquashfs -s's words for the superblock's flags, in the order
// of the bits; empty ones mean nothing.
var flagNames = []string{
	"uncompressed_inodes", "uncompressed_data", "", "uncompressed_fragments", "no_fragments", "always_fragments", "duplicates_removed", "exportable",
	"uncompressed_xattrs", "no_xattrs", "compressor_options", "uncompressed_ids",
}

// Extended attributes: the type is the name's prefix; the value may be elsewhere.
const (
	xattrPrefixMask = 0xff
	xattrElsewhere  = 0x100 // SQUASHFS_XATTR_VALUE_OOL
	maxXattrs       = 4096  // of one inode: the kernel lists at most 64 KiB of names
	maxXattrValue   = 64 << 10
)

var xattrPrefixes = []string{"user.", "trusted.", "security."}
