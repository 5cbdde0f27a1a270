package journal

import (
	"bytes"
	"fmt"

	"lagan/evidence"
	"lagan/internal/bin"
)

// The layout is systemd's docs/JOURNAL_FILE_FORMAT.md and
// src/libsystemd/sd-journal/journal-def.h. Integers are little-endian, objects
// begin at multiples of eight bytes.

var signature = []byte("LPKSHHRH")

// The header's flags. A reader must know the incompatible ones.
const (
	compressedXZ   = 1 << 0 // HEADER_INCOMPATIBLE_COMPRESSED_XZ
	compressedLZ4  = 1 << 1
	keyedHash      = 1 << 2
	compressedZstd = 1 << 3
	compact        = 1 << 4
	knownFlags     = compressedXZ | compressedLZ4 | keyedHash | compressedZstd | compact

	sealed           = 1 << 0 // HEADER_COMPATIBLE_SEALED
	sealedContinuous = 1 << 2
)

// State is what a journal's writer said of it.
type State uint8

// The states of a journal. Online means that it was not closed: it was being
// written when the disk was copied, or the machine stopped without warning.
const (
	Offline State = iota
	Online
	Archived
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Offline:
		return "offline"
	case Online:
		return "online"
	case Archived:
		return "archived"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Sizes of the header: that of the first versions, to head_entry_monotonic,
// and what is read of the present one.
const (
	minHeader  = 208
	readHeader = 272
)

// Header is what the head of a journal says.
type Header struct {
	Compatible   uint32
	Incompatible uint32
	State        State
	FileID       [16]byte
	MachineID    [16]byte
	SeqnumID     [16]byte

	headerSize, arenaSize uint64
	tailObject            uint64
	entryArray            uint64
	Objects, Entries      uint64
	HeadSeqnum            uint64
	TailSeqnum            uint64
}

// Compact says whether offsets have 32 bits.
func (h *Header) Compact() bool { return h.Incompatible&compact != 0 }

// Sealed says whether the journal carries Forward Secure Sealing's tags. They
// are not verified: the key is kept elsewhere.
func (h *Header) Sealed() bool { return h.Compatible&(sealed|sealedContinuous) != 0 }

func decodeHeader(b []byte) (Header, error) {
	var h Header
	c := bin.LE(b)
	if !bytes.Equal(c.Bytes(8), signature) {
		return h, fmt.Errorf("no journal: %w", evidence.ErrFormat)
	}
	h.Compatible = c.U32()
	h.Incompatible = c.U32()
	h.State = State(c.U8())
	c.Skip(7)
	copy(h.FileID[:], c.Bytes(16))
	copy(h.MachineID[:], c.Bytes(16))
	c.Skip(16) // tail_entry_boot_id
	copy(h.SeqnumID[:], c.Bytes(16))
	h.headerSize = c.U64()
	h.arenaSize = c.U64()
	c.Skip(4 * 8) // the two hash tables: offset and size
	h.tailObject = c.U64()
	h.Objects = c.U64()
	h.Entries = c.U64()
	h.TailSeqnum = c.U64()
	h.HeadSeqnum = c.U64()
	h.entryArray = c.U64()
	if c.Err() != nil {
		return h, fmt.Errorf("header: %w: %w", c.Err(), evidence.ErrFormat)
	}
	if unknown := h.Incompatible &^ knownFlags; unknown != 0 {
		return h, fmt.Errorf("incompatible flags %#x: %w", unknown, evidence.ErrUnsupported)
	}
	return h, nil
}

// The types of objects.
const (
	objUnused = iota
	objData
	objField
	objEntry
	objDataHashTable
	objFieldHashTable
	objEntryArray
	objTag

	objTypes
)

// The flags of a data object; they are not the header's bits.
const (
	packedXZ   = 1 << 0 // OBJECT_COMPRESSED_XZ
	packedLZ4  = 1 << 1
	packedZstd = 1 << 2
)

// objectHeader is struct ObjectHeader: type, flags, six reserved bytes, size.
const objectHeader = 16

// minObject is the size of each type's object without items or payload; an
// object that holds nothing is not written.
var minObject = [objTypes]uint64{
	objData: 64, objField: 40, objEntry: 64, objDataHashTable: 16,
	objFieldHashTable: 16, objEntryArray: 24, objTag: 64,
}

// Where items and payloads begin.
const (
	entryItems      = 64
	entryArrayItems = 24
	dataPayload     = 64
	dataPayloadIn32 = 72 // compact mode adds tail_entry_array_offset and _n_entries
)

type object struct {
	off   uint64
	typ   uint8
	flags uint8
	size  uint64
}

// maxTime is where VALID_REALTIME ends: 2^55 µs, the year 3111.
const maxTime = 1 << 55
