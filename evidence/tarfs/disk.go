package tarfs

// On-disk facts: pax(1) of POSIX.1-2017, "ustar Interchange Format" and "pax
// Interchange Format"; src/tar.h and doc/tar.texi (sparse formats) of GNU tar;
// star(5) of star; tar(5) of libarchive.
const (
	block = 512

	offMode     = 100
	offUID      = 108
	offGID      = 116
	offSize     = 124
	offMtime    = 136
	offSum      = 148
	offType     = 156
	offLink     = 157
	offMagic    = 257 // "ustar\0" and "00", or GNU's "ustar  \0"
	offDevmajor = 329
	offDevminor = 337
	offPrefix   = 345 // of POSIX and star

	nameSize   = 100
	linkSize   = 100
	prefixSize = 155

	// GNU's header has no prefix, and these in its place.
	offGNUAtime      = 345
	offGNUCtime      = 357
	offGNUSparse     = 386 // pairs of offset and length, 12 digits each
	gnuSparsePairs   = 4
	offGNUIsExtended = 482
	offGNURealSize   = 483
	// A block that goes on with the pairs.
	gnuExtendedPairs = 21
	offExtendedMore  = 504

	// star's has a shorter prefix, times, and its magic at the end.
	starPrefixSize = 131
	offStarAtime   = 476
	offStarCtime   = 488
	offStarMagic   = 508

	magicUstar = "ustar"
	magicGNU   = "ustar  \x00"
	magicStar  = "tar\x00"
)

// Kinds of members (typeflag).
const (
	kindFile      = '0'
	kindFileOld   = '\x00'
	kindLink      = '1'
	kindSymlink   = '2'
	kindChar      = '3'
	kindBlock     = '4'
	kindDir       = '5'
	kindFIFO      = '6'
	kindCont      = '7' // a contiguous file
	kindPax       = 'x' // of the next member
	kindPaxSun    = 'X' // the same, as old Solaris wrote it
	kindPaxGlobal = 'g'
	kindGNUDir    = 'D' // a folder with the list of its names, of incremental archives
	kindGNUName   = 'L'
	kindGNULink   = 'K'
	kindGNUMore   = 'M' // the rest of a file that another volume begins
	kindGNUSparse = 'S'
	kindGNULabel  = 'V'
	kindGNUNames  = 'N'
)

const (
	// maxExtended bounds an extended header: 64 KiB of attributes is what Linux
	// keeps of one inode, and a sparse map may stand beside them.
	maxExtended = 16 << 20
	// maxPath bounds a name and a link's target: PATH_MAX of Linux.
	maxPath = 4096
	// maxName bounds an element of a name: NAME_MAX.
	maxName = 255
	// maxEntries bounds the tree, which takes some 200 bytes an entry.
	maxEntries = 8 << 20
	// maxNames bounds the bytes of all names and targets together.
	maxNames = 512 << 20
	// maxLinks bounds the symbolic links followed for one name, as Linux does.
	maxLinks = 40
	// maxSegments bounds the map of one sparse file.
	maxSegments = 1 << 20
	// maxLost bounds how often reading goes on behind what is no header.
	maxLost = 1000
)
