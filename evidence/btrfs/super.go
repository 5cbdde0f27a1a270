package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"lagan/evidence"
)

// Device is one of the disks or volumes that a filesystem lies on.
type Device struct {
	R    io.ReaderAt
	Size int64
}

// device is a Device with its number in the filesystem.
type device struct {
	Device
	id uint64
}

// readSuper returns the first superblock of a device that is whole, or else
// the first.
func readSuper(d Device, warn func(error)) (super, error) {
	var best *super
	var problems []error
	missing := false
	b := make([]byte, superSize)
	for _, at := range superOffsets {
		if at+superSize > d.Size {
			break
		}
		if _, err := d.R.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			problems = append(problems, fmt.Errorf("superblock at %#x: %w", at, err))
			continue
		}
		if string(b[0x40:0x48]) != superMagic {
			missing = missing || at == superOffsets[0]
			continue
		}
		s := decodeSuper(append([]byte(nil), b...))
		s.csumOK = checks(s.csumType, b) && s.address == uint64(at)
		if err := s.check(); err != nil {
			problems = append(problems, fmt.Errorf("superblock at %#x: %w", at, err))
			continue
		}
		if !s.csumOK {
			problems = append(problems, fmt.Errorf("superblock at %#x: bad checksum: %w", at, evidence.ErrCorrupt))
		}
		switch {
		case best == nil || s.csumOK && !best.csumOK:
			best = &s
		case s.csumOK && s.generation > best.generation:
			// The kernel writes the first one first, and mounts by no other.
			problems = append(problems, fmt.Errorf("superblock at %#x: of generation %d, newer than %d, which is used: %w", at, s.generation, best.generation, evidence.ErrCorrupt))
		}
	}
	switch {
	case best == nil && len(problems) > 0:
		return super{}, errors.Join(problems...)
	case best == nil:
		return super{}, evidence.ErrFormat
	case missing:
		problems = append(problems, fmt.Errorf("superblock at %#x: no magic, a copy of it is used: %w", superOffsets[0], evidence.ErrCorrupt))
	}
	for _, p := range problems {
		warn(p)
	}
	return *best, nil
}

// check refuses what could not be read with (btrfs_validate_super, fs/btrfs/disk-io.c).
func (s *super) check() error {
	pow2 := func(n uint32) bool { return bits.OnesCount32(n) == 1 }
	switch {
	case !pow2(s.sectorSize) || s.sectorSize < minBlock || s.sectorSize > maxBlock:
		return fmt.Errorf("sector size %d: %w", s.sectorSize, evidence.ErrCorrupt)
	case !pow2(s.nodeSize) || s.nodeSize < s.sectorSize || s.nodeSize > maxBlock:
		return fmt.Errorf("node size %d: %w", s.nodeSize, evidence.ErrCorrupt)
	case s.rootLevel >= maxLevel || s.chunkLevel >= maxLevel || s.logLevel >= maxLevel:
		return fmt.Errorf("tree of level %d: %w", max(s.rootLevel, s.chunkLevel, s.logLevel), evidence.ErrCorrupt)
	case csumLength(s.csumType) == 0:
		return fmt.Errorf("checksums of kind %d: %w", s.csumType, evidence.ErrUnsupported)
	}
	return nil
}

// systemChunks decodes the chunks that the superblock carries, where the chunk
// tree is found with.
func (s *super) systemChunks() ([]chunk, error) {
	var out []chunk
	b := s.sysChunks
	for len(b) > 0 {
		if len(b) < keySize+chunkSize {
			return out, fmt.Errorf("system chunks end in %d bytes: %w", len(b), evidence.ErrCorrupt)
		}
		k := decodeKey(b)
		n := keySize + chunkSize + stripeSize*int(binary.LittleEndian.Uint16(b[keySize+44:]))
		if k.typ != itemChunk || n > len(b) {
			return out, fmt.Errorf("system chunk %v of %d bytes: %w", k, n, evidence.ErrCorrupt)
		}
		c, err := decodeChunk(k.offset, b[keySize:n])
		if err != nil {
			return out, err
		}
		out = append(out, c)
		b = b[n:]
	}
	return out, nil
}
