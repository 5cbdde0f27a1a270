package thin

// On-disk facts: drivers/md/dm-thin-metadata.c (struct thin_disk_superblock) and
// drivers/md/persistent-data/dm-btree-internal.h (struct node_header) of Linux.
// Integers are little-endian.
const (
	sector    = 512
	blockSize = 4096 // of the metadata

	magic        = 27022010
	sbXor        = 160774 // SUPERBLOCK_CSUM_XOR
	nodeXor      = 121107 // BTREE_CSUM_XOR
	nodeInternal = 1
	nodeLeaf     = 2
	nodeHeader   = 32
	timeBits     = 24 // of a mapping: below the block's number

	offMagic  = 32
	offBlocks = 64  // nr_blocks of data_space_map_root
	offRoot   = 320 // data_mapping_root, behind two space map roots of 128 bytes
	offChunk  = 336 // data_block_size, in sectors

	maxChunk = 1 << 30 / sector // DATA_DEV_BLOCK_SIZE_MAX_SECTORS
	minChunk = 128              // 64 KiB
)

const (
	// maxDepth bounds a B-tree: each node has more than a hundred children.
	maxDepth  = 16
	nodeCache = 8 << 20
)

// MaxDevice is the highest number of a thin device: 24 bits (MAX_DEV_ID).
const MaxDevice = 1<<24 - 1
