package vhdx

// On-disk facts: [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format", version
// 9.0. Integers are little-endian.
const (
	magicFile     = "vhdxfile"
	magicHeader   = "head"
	magicRegion   = "regi"
	magicMetadata = "metadata"
	magicLog      = "loge"
	magicZero     = "zero" // log descriptors
	magicData     = "desc"
	magicSector   = "data" // a data sector of the log

	kib = 1 << 10
	mib = 1 << 20

	headerSize   = 4 * kib
	regionSize   = 64 * kib
	maxRegions   = 2047
	regionEntry  = 32
	metaEntry    = 32
	maxMetadata  = 2047
	maxMetaItem  = mib // of an item and of its offset in the region
	logSector    = 4 * kib
	logEntryHead = 64
	logDescSize  = 32

	offChecksum = 4 // in header, region table and log entry: CRC-32C with this field as zero
)

// Where the headers and the region tables are.
var (
	headerOffs = []int64{64 * kib, 128 * kib}
	regionOffs = []int64{192 * kib, 256 * kib}
)

// Regions and metadata items, as bytes on the disk.
var (
	regionBAT      = guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
	regionMetadata = guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")

	itemFileParameters = guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
	itemDiskSize       = guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
	itemDiskID         = guid("beca12ab-b2e6-4523-93ef-c309e000c746")
	itemSectorSize     = guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
	itemPhysicalSize   = guid("cda348c7-445d-4471-9cc9-e9885251c556")
	itemParentLocator  = guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
)

// Flags of file parameters.
const flagHasParent = 1 << 1

// Flags of a metadata entry and of a region: it has to be understood.
const (
	metaRequired   = 1 << 2
	regionRequired = 1 << 0
)

// States of a payload block: the low bits of its entry in the BAT.
const (
	stateMask        = 7
	blockNotPresent  = 0 // the parent has it
	blockUndefined   = 1
	blockZero        = 2
	blockUnmapped    = 3
	blockPresent     = 6
	blockPartly      = 7 // some sectors are the parent's
	offsetMask       = 0xfffffffffff00000
	bitmapBlockSize  = mib
	sectorsPerBitmap = 8 * bitmapBlockSize
)

const (
	minBlockSize = mib
	maxBlockSize = 256 * mib
	// maxDiskSize is the specification's: 64 TiB.
	maxDiskSize = 64 << 40
	// maxLog bounds the log that is replayed into memory; Hyper-V and QEMU write 1 MiB.
	maxLog = 64 * mib
)
