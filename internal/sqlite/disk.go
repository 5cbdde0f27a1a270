package sqlite

// The database file: www.sqlite.org/fileformat2.html, section 1.
const (
	headerMagic = "SQLite format 3\x00"
	headerSize  = 100
	// Offsets in the header; integers are big-endian.
	offPageSize = 16 // u16, 1 stands for 65536
	offReserved = 20 // u8, bytes at each page's end that are not used
	offPages    = 28 // u32, size in pages
	offEncoding = 56 // u32

	encodingUTF8    = 1
	encodingUTF16LE = 2
	encodingUTF16BE = 3

	minPageSize = 512
	maxPageSize = 65536
	minUsable   = 480
)

// B-tree pages: section 1.6.
const (
	tableInterior = 0x05
	tableLeaf     = 0x0d

	leafHeader     = 8  // type u8, free u16, cells u16, start u16, fragments u8
	interiorHeader = 12 // and the rightmost child u32
)

// The write-ahead log: section 4.
const (
	walMagicLE     = 0x377f0682 // checksums over little-endian words
	walMagicBE     = 0x377f0683
	walHeaderSize  = 32 // magic, version, page size, sequence, salt1, salt2, checksum1, checksum2
	frameHeader    = 24 // page, pages after commit or 0, salt1, salt2, checksum1, checksum2
	walFileVersion = 3007000
)

// The rollback journal: section 3.
const (
	journalMagic      = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
	journalHeaderSize = 28 // magic, records, nonce, pages, sector size, page size
	journalToTheEnd   = 0xffffffff
)

// Limits of what is followed.
const (
	// maxDepth bounds a b-tree: BTCURSOR_MAX_DEPTH in btreeInt.h is 20.
	maxDepth = 20
	// MaxValue bounds one row. Podman's largest, a container's configuration, has some 20 KiB.
	MaxValue = 64 << 20
	// maxColumns is SQLITE_MAX_COLUMN's upper bound (limits.html).
	maxColumns = 32767
	// maxFrames bounds the frames of a log that are looked at: 64 GiB in pages of 4 KiB.
	maxFrames = 16 << 20
)
