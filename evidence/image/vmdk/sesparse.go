package vmdk

import (
	"encoding/binary"
	"fmt"
	"io"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// On-disk facts: VMDKSESparseConstHeader and what reads it in block/vmdk.c of
// QEMU, after the names in ESXi's hostd.log. Integers are little-endian and of
// 64 bits, offsets and sizes count sectors.
const (
	seVersion       = 0x0000000200000001
	seVolatileMagic = 0xcafecafe
	seHeader        = 208 // of the constant header, up to grains_size
	seVolatile      = 32

	seTableMask      = 0xffffffff00000000 // of an entry of the grain directory
	seTable          = 0x1000000000000000
	seStateMask      = 0xf000000000000000 // of an entry of a grain table
	seStateFree      = 0x0000000000000000
	seStateUnmapped  = 0x1000000000000000 // by the guest; reads as zeros
	seStateZero      = 0x2000000000000000
	seStateAllocated = 0x3000000000000000
)

// seSparse is an SESparse file: ESXi's form of snapshots and of thin disks since 6.5.
type seSparse struct {
	r        io.ReaderAt
	capacity int64 // bytes
	grain    int64 // bytes
	entries  int64 // of a grain table
	gd       int64 // offset of the grain directory
	gdSize   int64 // entries
	gts      int64 // offset of the grain tables
	grains   int64 // offset of the grains

	parent    File
	parentOff int64
	tables    *piece.Table
}

// readSESparse decodes both headers. A journal that ESXi hasn't put in place yet
// is not replayed: it is said, and the tables are read as they are.
func readSESparse(r io.ReaderAt, o Options) (*seSparse, error) {
	b := make([]byte, seHeader)
	if err := piece.Full(r, b, 0); err != nil || string(b[:8]) != magicSESparse {
		return nil, fmt.Errorf("no header of an SESparse extent: %w", evidence.ErrCorrupt)
	}
	c := bin.LE(b)
	c.Skip(8)
	version, capacity, grain, table := c.U64(), c.U64(), c.U64(), c.U64()
	c.Skip(8 + 4*8) // flags, reserved
	volatile := c.U64()
	c.Skip(5 * 8) // size of it; journal_header and journal, offset and size each
	gd, gdSize := c.U64(), c.U64()
	gts := c.U64()
	c.Skip(5 * 8) // size of them; free_bitmap and backmap, offset and size each
	grains := c.U64()
	switch {
	case version != seVersion:
		return nil, fmt.Errorf("SESparse of version %#x: %w", version, evidence.ErrUnsupported)
	case capacity == 0 || capacity > 1<<52 || grain == 0 || grain > maxGrain/sector || table == 0 || table > maxGTEs/(sector/8):
		return nil, fmt.Errorf("SESparse of %d sectors in grains of %d, tables of %d: %w", capacity, grain, table, evidence.ErrCorrupt)
	case max(gd, gdSize, gts, grains, volatile) > 1<<48:
		return nil, fmt.Errorf("SESparse: grain directory of %d sectors in sector %d, tables in %d, grains in %d: %w", gdSize, gd, gts, grains, evidence.ErrCorrupt)
	}
	s := &seSparse{
		r: r, capacity: int64(capacity) * sector, grain: int64(grain) * sector, entries: int64(table) * sector / 8,
		gd: int64(gd) * sector, gdSize: int64(gdSize) * sector / 8, gts: int64(gts) * sector, grains: int64(grains) * sector,
		tables: piece.NewTable(r, binary.LittleEndian, tableCache),
	}
	v := make([]byte, seVolatile)
	if err := piece.Full(r, v, int64(volatile)*sector); err != nil || binary.LittleEndian.Uint64(v) != seVolatileMagic {
		o.warn(fmt.Errorf("vmdk: SESparse without its volatile header in sector %d: %w", volatile, evidence.ErrCorrupt))
	} else if binary.LittleEndian.Uint64(v[24:]) != 0 { // replay_journal
		o.warn(fmt.Errorf("vmdk: an SESparse journal waits to be replayed and isn't: what was written last may be missing: %w", evidence.ErrUnsupported))
	}
	return s, nil
}

// locate finds the bytes at off of the extent.
func (s *seSparse) locate(off int64) (piece.Extent, error) {
	n, within := off/s.grain, off%s.grain
	left := s.grain - within
	entry, err := s.entry(n)
	if err != nil {
		return piece.Extent{}, fmt.Errorf("vmdk: grain of offset %#x: %w: %w", off, evidence.ErrCorrupt, err)
	}
	switch state := entry & seStateMask; {
	case entry == 0 && s.parent != nil && s.parentOff+off < s.parent.Size():
		return piece.Extent{Len: min(left, s.parent.Size()-s.parentOff-off), From: s.parent, Off: s.parentOff + off}, nil
	case entry == seStateFree, state == seStateUnmapped, state == seStateZero:
		return piece.Extent{Len: left}, nil
	case state == seStateAllocated:
		at := entry&0x0fff000000000000>>48 | entry&0x0000ffffffffffff<<12
		if at > 1<<50/uint64(s.grain/sector) {
			return piece.Extent{}, fmt.Errorf("vmdk: grain of offset %#x: number %d: %w", off, at, evidence.ErrCorrupt)
		}
		return piece.Extent{Len: left, From: s.r, Off: s.grains + int64(at)*s.grain + within}, nil
	}
	return piece.Extent{}, fmt.Errorf("vmdk: grain of offset %#x: entry %#x: %w", off, entry, evidence.ErrCorrupt)
}

// entry returns the grain table's entry of grain n, or 0 where there is no table.
func (s *seSparse) entry(n int64) (uint64, error) {
	i := n / s.entries
	if i >= s.gdSize {
		return 0, nil
	}
	gt, err := s.tables.U64(s.gd + 8*i)
	switch {
	case err != nil || gt == 0:
		return 0, err
	case gt&seTableMask != seTable:
		return 0, fmt.Errorf("grain directory: entry %#x", gt)
	}
	return s.tables.U64(s.gts + int64(gt&^uint64(seTableMask))*s.entries*8 + n%s.entries*8)
}
