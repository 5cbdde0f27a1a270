package lvm

// On-disk facts: lib/format_text/layout.h and lib/label/label.h of LVM2.
// Integers are little-endian.
const (
	sector = 512

	labelID       = "LABELONE"
	labelType     = "LVM2 001"
	labelSectors  = 4 // the label is in one of the first four sectors
	labelHeader   = 32
	offLabelCRC   = 16 // and what it covers begins behind it
	offLabelArea  = 20 // where pv_header begins, from the label
	pvUUIDSize    = 32
	mdaMagic      = " LVM2 x[5A%r0N*>"
	mdaHeaderSize = 512
	rawLocations  = 4
	rawIgnored    = 1 // flag of a raw_locn: this area isn't kept up to date

	// initialCRC is what LVM begins its CRC-32 with (INITIAL_CRC, lib/misc/crc.h);
	// the result isn't inverted at the end.
	initialCRC = 0xf597a6cf
)

const (
	// maxMetadata bounds the text of a volume group: the default area is 1 MiB.
	maxMetadata = 32 << 20
	// maxAreas bounds the lists of a physical volume's data and metadata areas.
	maxAreas = 16
	// maxStack bounds how deep one logical volume may stand on another.
	maxStack = 16
	// maxSegments bounds the segments of one logical volume.
	maxSegments = 1 << 20
	maxStripes  = 1 << 10
)
