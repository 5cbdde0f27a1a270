package vmdk

// On-disk facts: "Virtual Disk Format 5.0", VMware, 2011; for the ESX
// copy-on-write format also block/vmdk.c of QEMU. Integers are little-endian,
// offsets and sizes count sectors.
const (
	sector = 512

	magicSparse     = "KDMV" // SparseExtentHeader: magicNumber 0x564d444b
	magicCOW        = "COWD"
	magicSESparse   = "\xbe\xba\xfe\xca\x00\x00\x00\x00" // SESparseConstHeader: 0x00000000cafebabe
	magicDescriptor = "# Disk DescriptorFile"

	headerSize = 79 // of SparseExtentHeader, up to compressAlgorithm
	cowHeader  = 32
	// gdAtEnd, as gdOffset, says that a copy of the header with the right one is the footer.
	gdAtEnd = 1<<64 - 1
	// footerBack is where the footer is, from the end of the file: an
	// end-of-stream marker follows it.
	footerBack = 2 * sector
)

// Flags of SparseExtentHeader.
const (
	flagRedundantGD = 1 << 1 // rgdOffset is valid
	flagZeroGTE     = 1 << 2 // a grain table entry of 1 is a grain of zeros
	flagCompressed  = 1 << 16
	flagMarkers     = 1 << 17
)

const (
	compressNone    = 0
	compressDeflate = 1

	gteZero = 1
	cowGTEs = 4096 // entries of a grain table of the ESX format

	markerHeader = 12 // GrainMarker up to data: lba, size
	markerEOS    = 0

	noParent = "ffffffff" // parentCID
)

const (
	minGTEs = 1
	maxGTEs = 1 << 16 // QEMU takes 512 at most; VMware writes 512 (COWD: 4096)
	// maxGrain bounds the memory of one packed grain: VMware writes 64 KiB.
	maxGrain = 16 << 20
	// maxDescriptor bounds the text that describes a disk: 20 sectors are reserved for it.
	maxDescriptor = 256 << 10
	// maxExtents bounds the files of a disk: 62 TiB in 2 GiB files, and more.
	maxExtents = 40_000
	// maxFound bounds what is remembered of a stream without its tables: 256 GiB in grains of 64 KiB.
	maxFound = 4 << 20
)
