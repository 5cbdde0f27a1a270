// Package volume finds the parts of a disk that may hold a filesystem: GPT and
// MBR partitions, logical ones among them, or the whole disk where it has no
// table; and it names by its magic number what lies in each.
//
// The parser is lagan's own. github.com/diskfs/go-diskfs v1.9.4 sizes its
// buffer of partition entries by the disk's word alone, loops without end where
// the size of an entry is 0, gives up the whole table for one bad checksum or boot
// flag, and doesn't know logical partitions; it serves as second opinion in the tests.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// disk. A table that contradicts itself is read as far as it can be; what is
// wrong with it is told to the caller's warn.
package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"lagan/evidence"
)

// Schemes of partitioning.
const (
	SchemeNone = "none" // no table: one volume, the whole disk
	SchemeGPT  = "gpt"
	SchemeMBR  = "mbr"
	SchemeLVM  = "lvm2" // a logical volume, made by Assemble
	SchemeMD   = "md"   // an array, made by Assemble
)

// Volume is a part of a disk.
type Volume struct {
	io.ReaderAt // the volume's own bytes; its end is io.EOF

	Index      int    // place in the result of Scan, from 1
	Number     int    // of the partition, as the kernel numbers it; 0 without a table
	Start      int64  // byte offset on the disk, or on the array for a partition of one
	Size       int64  // bytes, no more than the disk has
	Scheme     string // one of the Scheme constants
	Type       string // GUID of the partition type, lower-case, or MBR type such as 0x83; kind of a logical volume, level of an array
	TypeName   string // what Type means, "" where unknown
	Name       string // the partition's name in a GPT; group/volume; the array's name
	UUID       string // PARTUUID: the partition's GUID, or disk signature and number; the logical volume's or array's
	SectorSize int    // bytes; what the table counts in
	Attributes uint64 // of a GPT partition
}

// Scan returns the volumes of a disk of size bytes in the order of their
// numbers. What is wrong and was read past is told to warn, which may be nil.
// The error is that of reading the disk's first bytes.
func Scan(r io.ReaderAt, size int64, warn func(error)) ([]Volume, error) {
	if warn == nil {
		warn = func(error) {}
	}
	s := &scanner{r: r, size: size, warn: warn}
	vols, err := s.scan()
	if err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	if vols == nil {
		vols = []Volume{{ReaderAt: io.NewSectionReader(r, 0, size), Size: size, Scheme: SchemeNone, SectorSize: 512}}
	}
	for i := range vols {
		vols[i].Index = i + 1
	}
	return vols, nil
}

type scanner struct {
	r    io.ReaderAt
	size int64
	warn func(error)
}

// scan asks for what leaves least room for chance first: a GPT at its place, a
// filesystem that covers the disk, a GPT at the end of the disk, an MBR.
func (s *scanner) scan() ([]Volume, error) {
	first, err := s.read(0, mbrSize)
	if err != nil {
		return nil, err
	}
	primary, primaryErr := s.primaryGPT()
	if primary != nil && primaryErr == nil {
		return s.gptVolumes(primary), nil
	}
	table, tableErr := parseMBR(first)
	whole := Identify(s.whole())
	if whole != "" && !s.mbrHolds(table, tableErr) {
		return nil, nil
	}
	backup := s.backupGPT(primary)
	switch {
	case backup != nil:
		s.warn(fmt.Errorf("the first partition table is damaged, its copy at offset %#x is used: %w", backup.offset, orMissing(primaryErr)))
		return s.gptVolumes(backup), nil
	case primary != nil:
		s.warn(fmt.Errorf("the partition table is damaged and has no good copy; it is used as it is: %w", primaryErr))
		return s.gptVolumes(primary), nil
	case tableErr != nil:
		return nil, nil
	}
	vols := s.mbrVolumes(table)
	if table.protective() {
		s.warn(fmt.Errorf("the disk had a GPT, neither it nor its copy is there: %w", evidence.ErrCorrupt))
		if len(vols) == 0 {
			return nil, nil
		}
	}
	return vols, nil
}

var errNoHeader = fmt.Errorf("no GPT header at its place: %w", evidence.ErrCorrupt)

func orMissing(err error) error {
	if err == nil {
		return errNoHeader
	}
	return err
}

// mbrHolds reports whether an MBR is to be believed although the disk has the
// magic of a filesystem too: one of the partitions has to hold something. The
// magic is a remainder then, from before the disk was partitioned.
func (s *scanner) mbrHolds(t *mbr, err error) bool {
	if err != nil || t.protective() || !t.plausible(s.size) {
		return false
	}
	for _, v := range s.mbrVolumes(t) {
		if v.Start > 0 && Identify(v.ReaderAt) != "" {
			return true
		}
	}
	return false
}

func (s *scanner) whole() *io.SectionReader { return io.NewSectionReader(s.r, 0, s.size) }

// section returns the volume's bytes; a partition that goes past the end of the
// disk is cut there, one that begins past it has none.
func (s *scanner) section(v Volume) Volume {
	start, length := v.Start, v.Size
	switch {
	case start >= s.size:
		s.warn(fmt.Errorf("partition %d begins at offset %#x, the image ends at %#x: is it cut short? %w", v.Number, start, s.size, evidence.ErrCorrupt))
		start, length = s.size, 0
	case length > s.size-start:
		s.warn(fmt.Errorf("partition %d ends at offset %#x, the image at %#x: is it cut short? %w", v.Number, start+length, s.size, evidence.ErrCorrupt))
		length = s.size - start
	}
	v.Size = length
	v.ReaderAt = io.NewSectionReader(s.r, start, length)
	return v
}

// read returns n bytes at off, or fewer at the end of the disk.
func (s *scanner) read(off int64, n int) ([]byte, error) {
	if off < 0 || off >= s.size {
		return nil, nil
	}
	b := make([]byte, n)
	n, err := s.r.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("at offset %#x: %w", off, err)
	}
	return b[:n], nil
}

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
