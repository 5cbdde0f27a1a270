package ewf

// On-disk facts: "Expert Witness Compression Format specification", libewf
// project, which describes what EnCase 1 to 7, FTK Imager, SMART and linen write.
// Integers are little-endian; checksums are Adler-32.
const (
	magicEWF  = "EVF\x09\x0d\x0a\xff\x00"
	magicLEF  = "LVF\x09\x0d\x0a\xff\x00" // logical evidence: files, no disk
	magicEWF2 = "EVF2\x0d\x0a\x81\x00"    // Ex01
	magicLEF2 = "LEF2\x0d\x0a\x81\x00"    // Lx01

	fileHeader       = 13 // signature, 0x01, segment number, 0x0000
	offSegmentNumber = 9

	sectionHeader = 76 // type, next section, size, padding, checksum
	offSectionSum = 72

	volumeSize      = 1052 // of the data of "volume" and "disk"
	volumeSizeSMART = 94

	tableHeader = 24 // entries, padding, base offset, padding, checksum
	offTableSum = 20

	flagPacked = 1 << 31 // of a table entry: the chunk is a zlib stream
	chunkSum   = 4       // bytes of checksum behind a chunk that isn't packed

	error2Header = 520
)

const (
	// maxSegments is the number of names from .E01 to .ZZZ: 99, then 22 x 26 x 26.
	maxSegments = 99 + 22*26*26
	// maxSections bounds the sections of one segment: tables of 16375 chunks in
	// a segment of terabytes come to fewer.
	maxSections = 1 << 16
	// maxEntries bounds one table: EnCase writes 65534 at most, and some tools more.
	maxEntries = 1 << 22
	// maxTables bounds what is remembered of an image: 16375 chunks of 32 KiB each, 500 TiB.
	maxTables = 1 << 20
	// maxChunk bounds the memory of a chunk: EnCase offers 32768 sectors.
	maxChunk = 16 << 20
	// maxHeader bounds the text of a header section, unpacked.
	maxHeader = 1 << 20
)
