package volume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"unicode/utf16"

	"lagan/evidence"
	"lagan/internal/bin"
)

// gpt is a GPT header with its partition array.
type gpt struct {
	offset     int64 // of the header
	sectorSize int
	alternate  uint64 // AlternateLBA
	entries    []byte
	entrySize  int
	diskGUID   string
}

// primaryGPT reads the header in the disk's second sector, whichever size its
// sectors are. It returns nil where none is; a table beside an error where its
// checksums don't agree with it.
func (s *scanner) primaryGPT() (*gpt, error) {
	var damaged *gpt
	var damage error
	for _, sector := range sectorSizes {
		t, err := s.gptAt(1, sector)
		switch {
		case t != nil && err == nil:
			return t, nil
		case damage == nil:
			damaged, damage = t, err
		}
	}
	return damaged, damage
}

// backupGPT reads the copy at the end of the disk, or where a damaged first
// header says that it is.
func (s *scanner) backupGPT(primary *gpt) *gpt {
	if primary != nil && primary.alternate > 1 {
		if t, err := s.gptAt(primary.alternate, primary.sectorSize); t != nil && err == nil {
			return t
		}
	}
	for _, sector := range sectorSizes {
		if s.size < int64(3*sector) {
			continue
		}
		if t, err := s.gptAt(uint64(s.size/int64(sector)-1), sector); t != nil && err == nil {
			return t
		}
	}
	return nil
}

// gptAt reads the header in sector lba. An error beside a table says that it
// may be used for want of a better; nil and an error, that it can't be.
func (s *scanner) gptAt(lba uint64, sector int) (*gpt, error) {
	off, ok := byteOffset(lba, sector)
	if !ok {
		return nil, nil
	}
	b, err := s.read(off, sector)
	if err != nil {
		return nil, err
	}
	if len(b) < gptHeaderMin || string(b[:len(gptSignature)]) != gptSignature {
		return nil, nil
	}
	c := bin.LE(b)
	c.Skip(8 + 4) // Signature, Revision
	headerSize, headerCRC := c.U32(), c.U32()
	c.Skip(4) // Reserved
	myLBA := c.U64()
	t := &gpt{offset: off, sectorSize: sector, alternate: c.U64()}
	c.Skip(8 + 8) // FirstUsableLBA, LastUsableLBA
	t.diskGUID = guid(c.Bytes(16))
	entryLBA, count, entrySize, entriesCRC := c.U64(), c.U32(), c.U32(), c.U32()

	damage := checkHeader(b, off, headerSize, headerCRC)
	if myLBA != lba && damage == nil {
		damage = fmt.Errorf("GPT header at offset %#x says that it stands in sector %d: %w", off, myLBA, evidence.ErrCorrupt)
	}
	if err := s.readEntries(t, entryLBA, count, entrySize); err != nil {
		return nil, err
	}
	if damage == nil && crc32.ChecksumIEEE(t.entries) != entriesCRC {
		damage = fmt.Errorf("GPT partition array of the header at offset %#x: wrong checksum: %w", off, evidence.ErrCorrupt)
	}
	return t, damage
}

// checkHeader compares the header's checksum, which is taken with its own field as zero.
func checkHeader(b []byte, off int64, size, want uint32) error {
	if size < gptHeaderMin || int64(size) > int64(len(b)) {
		return fmt.Errorf("GPT header at offset %#x has a size of %d: %w", off, size, evidence.ErrCorrupt)
	}
	h := append([]byte(nil), b[:size]...)
	clear(h[16:20])
	if crc32.ChecksumIEEE(h) != want {
		return fmt.Errorf("GPT header at offset %#x: wrong checksum: %w", off, evidence.ErrCorrupt)
	}
	return nil
}

func (s *scanner) readEntries(t *gpt, lba uint64, count, size uint32) error {
	if size < gptEntryMin || size > maxGPTEntrySize || size%8 != 0 {
		return fmt.Errorf("GPT header at offset %#x: partition entries of %d bytes: %w", t.offset, size, evidence.ErrCorrupt)
	}
	if count > maxGPTEntries {
		s.warn(fmt.Errorf("GPT header at offset %#x: %d partition entries, the first %d are read: %w", t.offset, count, maxGPTEntries, evidence.ErrUnsupported))
		count = maxGPTEntries
	}
	off, ok := byteOffset(lba, t.sectorSize)
	if !ok {
		return fmt.Errorf("GPT header at offset %#x: partition array in sector %d: %w", t.offset, lba, evidence.ErrCorrupt)
	}
	b, err := s.read(off, int(count*size))
	if err != nil {
		return err
	}
	t.entries, t.entrySize = b, int(size)
	return nil
}

func (s *scanner) gptVolumes(t *gpt) []Volume {
	vols := []Volume{}
	for at := 0; at+t.entrySize <= len(t.entries); at += t.entrySize {
		e := t.entries[at : at+t.entrySize]
		if allZero(e[:16]) {
			continue
		}
		c := bin.LE(e)
		v := Volume{Scheme: SchemeGPT, SectorSize: t.sectorSize, Number: at/t.entrySize + 1}
		v.Type = guid(c.Bytes(16))
		v.TypeName = gptTypes[v.Type]
		v.UUID = guid(c.Bytes(16))
		first, last := c.U64(), c.U64()
		v.Attributes = c.U64()
		v.Name = entryName(e[offGPTEntryName : offGPTEntryName+sizeGPTEntryName])
		start, ok1 := byteOffset(first, t.sectorSize)
		end, ok2 := byteOffset(last, t.sectorSize)
		if !ok1 || !ok2 || last < first {
			s.warn(fmt.Errorf("GPT partition %d goes from sector %d to %d; it is left out: %w", v.Number, first, last, evidence.ErrCorrupt))
			continue
		}
		v.Start, v.Size = start, end-start+int64(t.sectorSize)
		vols = append(vols, s.section(v))
	}
	return vols
}

// byteOffset returns the offset of a sector, and whether a disk can be so large.
func byteOffset(lba uint64, sector int) (int64, bool) {
	if lba >= math.MaxInt64/uint64(sector) {
		return 0, false
	}
	return int64(lba) * int64(sector), true
}

// guid writes a GUID as text: its first three fields are little-endian.
func guid(b []byte) string {
	if len(b) < 16 {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// entryName decodes the name of a partition, up to its first NUL.
func entryName(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
