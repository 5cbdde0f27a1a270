package qcow2

// On-disk facts: docs/interop/qcow2.rst of QEMU; for version 1, block/qcow.c.
// All integers are big-endian.
const (
	magic = "QFI\xfb"

	headerV3 = 104 // the least of version 3

	extensionDataFile = 0x44415441 // name of an external data file
	maxExtensions     = 32         // there are six kinds
)

// Incompatible features (version 3).
const (
	incompatDirty        = 1 << 0 // refcounts may be wrong; they aren't read here
	incompatCorrupt      = 1 << 1
	incompatExternalData = 1 << 2
	incompatCompression  = 1 << 3 // the header names the compression
	incompatExtendedL2   = 1 << 4
	supportedIncompat    = incompatDirty | incompatCorrupt | incompatCompression | incompatExtendedL2
)

// Compression types.
const (
	compressionDeflate = 0
	compressionZstd    = 1
)

// L1 and L2 table entries.
const (
	maskOffset     = 0x00fffffffffffe00 // bits 9 to 55: of a table or a cluster
	flagCompressed = 1 << 62
	flagZero       = 1 << 0 // of a standard L2 entry: reads as zeros

	// In version 1 nothing but the highest bit is a flag.
	maskOffset1     = 1<<63 - 1
	flagCompressed1 = 1 << 63
)

const (
	minClusterBits    = 9
	maxClusterBits    = 21    // MAX_CLUSTER_BITS, block/qcow2.h: 2 MiB
	minL2Bits1        = 9 - 3 // version 1, qcow_open
	maxL2Bits1        = 16 - 3
	subclusters       = 32 // of a cluster, with extended L2 entries
	encryptionNone    = 0
	compressedSector  = 512     // unit of a compressed cluster's length
	maxSnapshots      = 1 << 16 // QCOW_MAX_SNAPSHOTS
	snapshotEntryMin  = 40
	maxSnapshotExtra  = 1024 // QCOW_MAX_SNAPSHOT_EXTRA_DATA
	maxBackingName    = 1023
	maxL1Size         = 32 << 20 // bytes, QCOW_MAX_L1_SIZE
	offIncompatible   = 72
	offCompression    = 104
	headerSizeInBytes = 112 // what is read of it
)
