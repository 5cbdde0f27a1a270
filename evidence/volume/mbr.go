package volume

import (
	"fmt"
	"io"

	"lagan/evidence"
	"lagan/internal/bin"
)

// record is one of the four entries of an MBR or EBR.
type record struct {
	status byte // BootIndicator: 0x80 or 0
	typ    byte // OSType
	start  uint32
	length uint32
}

func (r record) empty() bool { return r.typ == typeEmpty || r.length == 0 }

func (r record) extended() bool {
	return r.typ == typeExtendedCHS || r.typ == typeExtendedLBA || r.typ == typeExtendedLinux
}

// mbr is a master boot record.
type mbr struct {
	diskID  uint32
	records [mbrRecords]record
}

// parseMBR decodes a sector, or says why it is no MBR: no signature, or no
// record that could be one. The boot sector of a FAT, which has the signature too, has code there.
func parseMBR(b []byte) (*mbr, error) {
	if len(b) < mbrSize || b[offMBRSignature] != 0x55 || b[offMBRSignature+1] != 0xaa {
		return nil, evidence.ErrFormat
	}
	t := &mbr{}
	c := bin.LE(b)
	c.Seek(offMBRDiskID)
	t.diskID = c.U32()
	c.Seek(offMBRPartitions)
	used := 0
	for i := range t.records {
		r := record{status: c.U8()}
		c.Skip(3) // StartingCHS
		r.typ = c.U8()
		c.Skip(3) // EndingCHS
		r.start, r.length = c.U32(), c.U32()
		t.records[i] = r
		// Linux takes any other boot flag for a sign of something else than an MBR (msdos_partition).
		if r.status&0x7f != 0 {
			return nil, evidence.ErrFormat
		}
		if !r.empty() {
			used++
		}
	}
	if used == 0 {
		return nil, evidence.ErrFormat
	}
	return t, nil
}

// protective reports whether the MBR stands before a GPT.
func (t *mbr) protective() bool {
	for _, r := range t.records {
		if r.typ == typeProtective {
			return true
		}
	}
	return false
}

// plausible reports whether every partition begins on the disk, behind the
// MBR, and none lies in another.
func (t *mbr) plausible(size int64) bool {
	for i, r := range t.records {
		if r.empty() {
			continue
		}
		if r.start == 0 || int64(r.start)*int64(sectorSizes[0]) >= size {
			return false
		}
		for _, q := range t.records[:i] {
			if !q.empty() && uint64(r.start) < uint64(q.start)+uint64(q.length) && uint64(q.start) < uint64(r.start)+uint64(r.length) {
				return false
			}
		}
	}
	return true
}

// mbrVolumes returns primary partitions, then logical ones. The table doesn't
// say how large its sectors are: 512 bytes, unless only with the other size
// something is found where partitions begin.
func (s *scanner) mbrVolumes(t *mbr) []Volume {
	best, known := []Volume(nil), 0
	var told []error
	for _, sector := range sectorSizes {
		var errs []error
		q := &scanner{r: s.r, size: s.size, warn: func(err error) { errs = append(errs, err) }}
		vols := q.mbrVolumesOf(t, sector)
		n := 0
		for _, v := range vols {
			if Identify(v.ReaderAt) != "" {
				n++
			}
		}
		if best == nil || n > known {
			best, known, told = vols, n, errs
		}
	}
	for _, err := range told {
		s.warn(err)
	}
	return best
}

func (s *scanner) mbrVolumesOf(t *mbr, sector int) []Volume {
	vols, logical := []Volume{}, mbrRecords
	for i, r := range t.records {
		switch {
		case r.empty(), r.typ == typeProtective:
		case r.extended():
			vols = append(vols, s.logicalVolumes(t, r, sector, &logical)...)
		default:
			vols = append(vols, s.mbrVolume(t, r, int64(r.start), i+1, sector))
		}
	}
	return inOrder(vols)
}

// inOrder puts primary partitions before the logical ones.
func inOrder(vols []Volume) []Volume {
	out := make([]Volume, 0, len(vols))
	for _, v := range vols {
		if v.Number <= mbrRecords {
			out = append(out, v)
		}
	}
	for _, v := range vols {
		if v.Number > mbrRecords {
			out = append(out, v)
		}
	}
	return out
}

// logicalVolumes follows the chain of EBRs in an extended partition: in each, a
// record whose start counts from the EBR is a logical partition, and one
// of an extended type, whose start counts from the extended partition, is the next EBR
// (parse_extended, block/partitions/msdos.c).
func (s *scanner) logicalVolumes(t *mbr, ext record, sector int, number *int) []Volume {
	var vols []Volume
	seen := map[int64]bool{}
	for at, links := int64(ext.start), 0; ; links++ {
		off := at * int64(sector)
		if seen[at] || links >= maxLogical {
			s.warn(fmt.Errorf("the chain of logical partitions comes back to, or doesn't end before, offset %#x: %w", off, evidence.ErrCorrupt))
			return vols
		}
		seen[at] = true
		b, err := s.read(off, mbrSize)
		if err != nil {
			s.warn(fmt.Errorf("reading a logical partition's record: %w", err))
			return vols
		}
		ebr, err := parseMBR(b)
		if err != nil {
			// An extended partition may be empty.
			if links > 0 || !allZero(b) {
				s.warn(fmt.Errorf("no record of a logical partition at offset %#x: %w", off, evidence.ErrCorrupt))
			}
			return vols
		}
		next := int64(-1)
		for _, r := range ebr.records {
			switch {
			case r.empty():
			case r.extended():
				if next < 0 {
					next = int64(ext.start) + int64(r.start)
				}
			default:
				*number++
				vols = append(vols, s.mbrVolume(t, r, at+int64(r.start), *number, sector))
			}
		}
		if next < 0 {
			return vols
		}
		at = next
	}
}

// mbrVolume returns the volume of a record; start is counted in sectors from
// the start of the disk, and fits: two 32-bit numbers make it.
func (s *scanner) mbrVolume(t *mbr, r record, start int64, number, sector int) Volume {
	v := Volume{
		Scheme:     SchemeMBR,
		SectorSize: sector,
		Number:     number,
		Start:      start * int64(sector),
		Size:       int64(r.length) * int64(sector),
		Type:       fmt.Sprintf("0x%02x", r.typ),
		TypeName:   mbrTypes[r.typ],
	}
	if t.diskID != 0 {
		v.UUID = fmt.Sprintf("%08x-%02x", t.diskID, number)
	}
	return s.section(v)
}

var _ io.ReaderAt = Volume{}
