package btrfs

import (
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// On-disk facts, by the kernel's names (include/uapi/linux/btrfs_tree.h,
// fs/btrfs/fs.h). All integers are little-endian, no structure is padded.

// Where the superblock and its copies lie (fs/btrfs/disk-io.h, btrfs_sb_offset).
var superOffsets = [...]int64{64 << 10, 64 << 20, 256 << 30}

const (
	superMagic = "_BHRfS_M" // BTRFS_MAGIC
	superSize  = 4096       // BTRFS_SUPER_INFO_SIZE
	csumSize   = 32         // BTRFS_CSUM_SIZE, the room for one

	sysChunkArrayAt   = 0x32b
	sysChunkArraySize = 2048 // BTRFS_SYSTEM_CHUNK_ARRAY_SIZE
	superRootsAt      = 0xb2b
	superRootSize     = 168 // struct btrfs_root_backup
	superRoots        = 4   // BTRFS_NUM_BACKUP_ROOTS

	minBlock = 4 << 10  // of sectors and nodes
	maxBlock = 64 << 10 // BTRFS_MAX_METADATA_BLOCKSIZE
	maxLevel = 8        // BTRFS_MAX_LEVEL
)

// Kinds of checksums (enum btrfs_csum_type).
const (
	csumCRC32C  = 0
	csumXXHash  = 1
	csumSHA256  = 2
	csumBlake2b = 3
)

// feature is one bit of incompat_flags, with the name that btrfs-progs gives it.
type feature struct {
	bit  uint64
	name string
}

const (
	featureNoHoles        = 1 << 9
	featureMetadataUUID   = 1 << 10
	featureExtentTreeV2   = 1 << 13
	featureRAIDStripeTree = 1 << 14
)

var incompatFeatures = []feature{
	{1 << 0, "mixed-backref"}, {1 << 1, "default-subvol"}, {1 << 2, "mixed-bg"}, {1 << 3, "compress-lzo"}, {1 << 4, "compress-zstd"},
	{1 << 5, "big-metadata"}, {1 << 6, "extref"}, {1 << 7, "raid56"}, {1 << 8, "skinny-metadata"}, {featureNoHoles, "no-holes"},
	{featureMetadataUUID, "metadata-uuid"}, {1 << 11, "raid1c34"}, {1 << 12, "zoned"}, {featureExtentTreeV2, "extent-tree-v2"},
	{featureRAIDStripeTree, "raid-stripe-tree"}, {1 << 16, "simple-quota"}, {1 << 17, "remap-tree"},
}

var compatROFeatures = []feature{
	{1 << 0, "free-space-tree"}, {1 << 1, "free-space-tree-valid"}, {1 << 2, "verity"}, {1 << 3, "block-group-tree"},
}

// supportedIncompat are the features that this package reads past or reads. Of
// zoned filesystems the superblock is a log in the first zones: theirs is not
// where this package looks, unless the device has conventional zones there.
const supportedIncompat = 1<<13 - 1 | featureRAIDStripeTree | 1<<16

// Objects (BTRFS_*_OBJECTID).
const (
	rootTreeObject    = 1
	chunkTreeObject   = 3
	fsTreeObject      = 5
	csumTreeObject    = 7
	firstChunkObject  = 256
	firstFreeObject   = 256
	lastFreeObject    = ^uint64(256) + 1 // -256
	orphanObject      = ^uint64(5) + 1   // -5
	treeLogObject     = ^uint64(6) + 1   // -6
	treeLogFixup      = ^uint64(7) + 1   // -7
	extentCsumObject  = ^uint64(10) + 1  // -10
	emptySubvolObject = 2                // BTRFS_EMPTY_SUBVOL_DIR_OBJECTID
)

// Types of items (BTRFS_*_KEY).
const (
	itemInode      = 1
	itemInodeRef   = 12
	itemInodeExtra = 13 // INODE_EXTREF
	itemXattr      = 24
	itemOrphan     = 48
	itemDirLog     = 60 // DIR_LOG_ITEM
	itemDirLogIdx  = 72 // DIR_LOG_INDEX
	itemDir        = 84
	itemDirIndex   = 96
	itemExtentData = 108
	itemExtentCsum = 128
	itemRoot       = 132
	itemRootBack   = 144
	itemRootRef    = 156
	itemDevice     = 216
	itemChunk      = 228
)

// key is struct btrfs_key, by which the items of a tree are ordered.
type key struct {
	object uint64
	typ    uint8
	offset uint64
}

const keySize = 17

func (k key) less(o key) bool {
	if k.object != o.object {
		return k.object < o.object
	}
	if k.typ != o.typ {
		return k.typ < o.typ
	}
	return k.offset < o.offset
}

func (k key) String() string { return fmt.Sprintf("(%d %d %d)", int64(k.object), k.typ, k.offset) }

func decodeKey(b []byte) key {
	return key{binary.LittleEndian.Uint64(b), b[8], binary.LittleEndian.Uint64(b[9:])}
}

// Tree blocks: struct btrfs_header, then struct btrfs_key_ptr or btrfs_item.
const (
	headerSize  = 101
	keyPtrSize  = keySize + 8 + 8
	itemSize    = keySize + 4 + 4
	headerFSID  = 0x20
	headerAddr  = 0x30
	headerGen   = 0x50
	headerOwner = 0x58
	headerCount = 0x60
	headerLevel = 0x64
)

// super is struct btrfs_super_block, as far as it is used.
type super struct {
	fsid, metadataUUID [16]byte
	address            uint64
	generation         uint64
	root, chunkRoot    uint64
	logRoot            uint64
	totalBytes         uint64
	rootDir            uint64
	devices            uint64
	sectorSize         uint32
	nodeSize           uint32
	sysChunks          []byte
	chunkGeneration    uint64
	compatRO, incompat uint64
	csumType           uint16
	rootLevel          uint8
	chunkLevel         uint8
	logLevel           uint8
	devID              uint64
	devUUID            [16]byte
	label              string
	backups            []backup
	csumOK             bool
}

// backup is struct btrfs_root_backup: where roots were up to four commits ago.
type backup struct {
	root, generation           uint64
	chunkRoot, chunkGeneration uint64
	rootLevel, chunkLevel      uint8
}

func decodeSuper(b []byte) super {
	var s super
	c := bin.LE(b)
	c.Skip(csumSize)
	copy(s.fsid[:], c.Bytes(16))
	s.address = c.U64()
	c.Skip(8) // flags
	c.Skip(8) // magic
	s.generation, s.root, s.chunkRoot, s.logRoot = c.U64(), c.U64(), c.U64(), c.U64()
	c.Skip(8) // log_root_transid
	s.totalBytes = c.U64()
	c.Skip(8) // bytes_used
	s.rootDir, s.devices = c.U64(), c.U64()
	s.sectorSize, s.nodeSize = c.U32(), c.U32()
	c.Skip(8) // leafsize, stripesize
	sysSize := c.U32()
	s.chunkGeneration = c.U64()
	c.Skip(8) // compat_flags
	s.compatRO, s.incompat = c.U64(), c.U64()
	s.csumType = c.U16()
	s.rootLevel, s.chunkLevel, s.logLevel = c.U8(), c.U8(), c.U8()
	s.devID = c.U64() // dev_item
	c.Skip(58)
	copy(s.devUUID[:], c.Bytes(16))
	c.Skip(16)
	s.label = cString(c.Bytes(256))
	c.Skip(16) // cache_generation, uuid_tree_generation
	copy(s.metadataUUID[:], c.Bytes(16))
	if s.incompat&featureMetadataUUID == 0 {
		s.metadataUUID = s.fsid
	}
	s.sysChunks = b[sysChunkArrayAt : sysChunkArrayAt+min(int(min(sysSize, sysChunkArraySize)), sysChunkArraySize)]
	for i := range superRoots {
		c.Seek(superRootsAt + i*superRootSize)
		var r backup
		r.root, r.generation, r.chunkRoot, r.chunkGeneration = c.U64(), c.U64(), c.U64(), c.U64()
		c.Seek(superRootsAt + i*superRootSize + 152) // after the other roots, sizes and four unused words
		r.rootLevel, r.chunkLevel = c.U8(), c.U8()
		if r.root != 0 {
			s.backups = append(s.backups, r)
		}
	}
	return s
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// Kinds of chunks (BTRFS_BLOCK_GROUP_*).
const (
	groupRAID0   = 1 << 3
	groupRAID1   = 1 << 4
	groupDUP     = 1 << 5
	groupRAID10  = 1 << 6
	groupRAID5   = 1 << 7
	groupRAID6   = 1 << 8
	groupRAID1C3 = 1 << 9
	groupRAID1C4 = 1 << 10

	groupStriped = groupRAID0 | groupRAID10 | groupRAID5 | groupRAID6

	chunkSize  = 48 // struct btrfs_chunk without stripes
	stripeSize = 32 // struct btrfs_stripe
)

// chunk is struct btrfs_chunk with where it begins in the logical address space.
type chunk struct {
	start, length uint64
	stripeLen     uint64
	typ           uint64
	subStripes    uint16
	stripes       []stripe
}

type stripe struct{ dev, offset uint64 }

func decodeChunk(start uint64, b []byte) (chunk, error) {
	c := bin.LE(b)
	k := chunk{start: start}
	k.length = c.U64()
	c.Skip(8) // owner
	k.stripeLen, k.typ = c.U64(), c.U64()
	c.Skip(12) // io_align, io_width, sector_size
	n := int(c.U16())
	k.subStripes = c.U16()
	if c.Err() != nil || n == 0 || n > c.Len()/stripeSize {
		return k, fmt.Errorf("chunk at %#x: %d stripes in %d bytes: %w", start, n, len(b), evidence.ErrCorrupt)
	}
	for range n {
		k.stripes = append(k.stripes, stripe{c.U64(), c.U64()})
		c.Skip(16) // dev_uuid
	}
	return k, k.check()
}

// rootItem is struct btrfs_root_item, as far as it is used.
type rootItem struct {
	generation, address, flags uint64
	refs                       uint32
	level                      uint8
	uuid, parentUUID           [16]byte
	changed, created           time.Time
	lastSnapshot               uint64
}

const (
	rootItemOld     = 239 // up to and with level; the size before Linux 3.7
	rootSubvolRO    = 1 << 0
	inodeItemSize   = 160
	rootFlagsOffset = 208
)

func decodeRootItem(b []byte) (rootItem, error) {
	var r rootItem
	c := bin.LE(b)
	c.Skip(inodeItemSize)
	r.generation = c.U64()
	c.Skip(8) // root_dirid
	r.address = c.U64()
	c.Skip(16) // byte_limit, bytes_used
	r.lastSnapshot, r.flags = c.U64(), c.U64()
	r.refs = c.U32()
	c.Skip(keySize + 1) // drop_progress, drop_level
	r.level = c.U8()
	if c.Err() != nil {
		return r, fmt.Errorf("root item of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	// What follows is valid if generation_v2 equals generation: an older
	// kernel leaves it as it was (btrfs_read_root_item, fs/btrfs/root-tree.c).
	if c.U64() == r.generation && c.Len() >= 16+16+16+4*8+4*12 {
		copy(r.uuid[:], c.Bytes(16))
		copy(r.parentUUID[:], c.Bytes(16))
		c.Skip(16 + 4*8) // received_uuid, ctransid, otransid, stransid, rtransid
		r.changed, r.created = timespec(c), timespec(c)
	}
	return r, nil
}

// inodeItem is struct btrfs_inode_item.
type inodeItem struct {
	generation, transid        uint64
	size, nbytes               uint64
	nlink, uid, gid, mode      uint32
	rdev, flags                uint64
	atime, ctime, mtime, otime time.Time
}

// BTRFS_INODE_* flags.
const inodeNoDataSum = 1 << 0

func decodeInode(b []byte) (inodeItem, error) {
	var i inodeItem
	c := bin.LE(b)
	i.generation, i.transid, i.size, i.nbytes = c.U64(), c.U64(), c.U64(), c.U64()
	c.Skip(8) // block_group
	i.nlink, i.uid, i.gid, i.mode = c.U32(), c.U32(), c.U32(), c.U32()
	i.rdev, i.flags = c.U64(), c.U64()
	c.Skip(8 + 4*8) // sequence, reserved
	i.atime, i.ctime, i.mtime, i.otime = timespec(c), timespec(c), timespec(c), timespec(c)
	if c.Err() != nil {
		return i, fmt.Errorf("inode item of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	return i, nil
}

// timespec reads a struct btrfs_timespec.
func timespec(c *bin.Cursor) time.Time {
	sec, nsec := int64(c.U64()), c.U32()
	if c.Err() != nil {
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

// dirItem is struct btrfs_dir_item, which entries of directories and extended
// attributes have in common. Several whose names have one hash share an item.
type dirItem struct {
	location key
	typ      uint8
	name     []byte
	data     []byte
}

const dirItemSize = 30

// nextDirItem decodes the first dir item of b and returns what follows it.
func nextDirItem(b []byte) (dirItem, []byte, error) {
	if len(b) < dirItemSize {
		return dirItem{}, nil, fmt.Errorf("directory item of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	d := dirItem{location: decodeKey(b), typ: b[29] &^ dirEncrypted}
	data := int(binary.LittleEndian.Uint16(b[25:]))
	name := int(binary.LittleEndian.Uint16(b[27:]))
	if len(b) < dirItemSize+name+data {
		return d, nil, fmt.Errorf("directory item with a name of %d and data of %d bytes in %d: %w", name, data, len(b), evidence.ErrCorrupt)
	}
	d.name = b[dirItemSize : dirItemSize+name]
	d.data = b[dirItemSize+name : dirItemSize+name+data]
	return d, b[dirItemSize+name+data:], nil
}

// dirEncrypted is BTRFS_FT_ENCRYPTED, a flag beside the type.
const dirEncrypted = 0x80

// entryTypes are the types of directory entries (BTRFS_FT_*).
var entryTypes = [...]evidence.Type{
	evidence.TypeUnknown, evidence.TypeFile, evidence.TypeDir, evidence.TypeChar, evidence.TypeBlock, evidence.TypeFIFO, evidence.TypeSocket, evidence.TypeSymlink,
}

// Kinds of extents (BTRFS_FILE_EXTENT_*) and of compression.
const (
	extentInline   = 0
	extentRegular  = 1
	extentPrealloc = 2

	compressNone = 0
	compressZlib = 1
	compressLZO  = 2
	compressZstd = 3
)

// fileExtent is struct btrfs_file_extent_item at an offset of a file.
type fileExtent struct {
	fileOffset  uint64
	length      uint64 // in the file
	ramBytes    uint64 // of the extent, decompressed
	generation  uint64
	compression uint8
	typ         uint8
	disk        uint64 // logical address; 0: a hole
	diskLength  uint64
	offset      uint64 // of the file's part in the extent, decompressed
	inline      []byte
}

func decodeExtent(at uint64, b []byte) (fileExtent, error) {
	e := fileExtent{fileOffset: at}
	c := bin.LE(b)
	e.generation, e.ramBytes = c.U64(), c.U64()
	e.compression = c.U8()
	encryption, encoding := c.U8(), c.U16()
	e.typ = c.U8()
	if c.Err() != nil {
		return e, fmt.Errorf("extent of %d bytes at offset %#x of the file: %w", len(b), at, evidence.ErrCorrupt)
	}
	if encryption != 0 || encoding != 0 {
		return e, fmt.Errorf("extent with encryption %d, encoding %d: %w", encryption, encoding, evidence.ErrUnsupported)
	}
	if e.typ == extentInline {
		e.inline = c.Rest()
		e.length = e.ramBytes
		return e, nil
	}
	e.disk, e.diskLength, e.offset, e.length = c.U64(), c.U64(), c.U64(), c.U64()
	if c.Err() != nil || e.typ > extentPrealloc {
		return e, fmt.Errorf("extent of type %d, %d bytes, at offset %#x of the file: %w", e.typ, len(b), at, evidence.ErrCorrupt)
	}
	if at+e.length < at || e.offset+e.length < e.offset {
		return e, fmt.Errorf("extent of %#x bytes at offset %#x of the file: %w", e.length, at, evidence.ErrCorrupt)
	}
	return e, nil
}
