package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// What is kept of one extent: pages of tables, and unpacked grains.
const (
	tableCache = 4 << 20
	grainCache = 32 << 20
)

// sparse is a file of grains, found by a grain directory and grain tables.
type sparse struct {
	r        io.ReaderAt
	fileSize int64
	capacity int64 // bytes
	grain    int64 // bytes
	gtes     int64 // entries of a grain table
	gd       int64 // offset of the grain directory
	gdSize   int64 // entries
	packed   bool
	zeroGTE  bool

	descriptorOff, descriptorSize uint64

	parent    File
	parentOff int64 // of this extent in the parent

	tables  *piece.Table
	grains  *piece.Cache[int64] // unpacked, by offset in the extent
	unpack  io.ReaderAt
	inflate sync.Pool
	// Without tables: the offsets of grains' markers by the grains' numbers, and
	// the number behind the last, where what was cut off begins.
	found map[int64]int64
	cutAt int64
}

// openSparse reads the header of an extent, or its footer where that is the better one.
func openSparse(r io.ReaderAt, size int64, o Options) (*sparse, error) {
	s := newSparse(r, size)
	gd, overhead, err := s.readHeader(0)
	if err != nil {
		return nil, err
	}
	if gd == gdAtEnd {
		footer := newSparse(r, size)
		if gd, _, err = footer.readHeader(size - footerBack); err == nil && gd != gdAtEnd {
			footer.descriptorOff, footer.descriptorSize = s.descriptorOff, s.descriptorSize
			s = footer
		} else {
			o.warn(fmt.Errorf("vmdk: the stream ends without its footer: it was cut short, what it has is found by its markers: %w", evidence.ErrCorrupt))
			return s, s.scanMarkers(int64(overhead) * sector)
		}
	}
	if gd > 1<<52 {
		return nil, fmt.Errorf("grain directory in sector %d: %w", gd, evidence.ErrCorrupt)
	}
	s.gd = int64(gd) * sector
	return s, nil
}

func newSparse(r io.ReaderAt, size int64) *sparse {
	s := &sparse{
		r:        r,
		fileSize: size,
		tables:   piece.NewTable(r, binary.LittleEndian, tableCache),
		grains:   piece.NewCache[int64](grainCache),
	}
	s.unpack = (*unpacked)(s)
	return s
}

// readHeader decodes the SparseExtentHeader at off.
func (s *sparse) readHeader(off int64) (gd, overhead uint64, err error) {
	b := make([]byte, headerSize)
	if off < 0 {
		return 0, 0, fmt.Errorf("header: %w", evidence.ErrCorrupt)
	}
	if err := piece.Full(s.r, b, off); err != nil {
		return 0, 0, fmt.Errorf("header at offset %#x: %w: %w", off, evidence.ErrCorrupt, err)
	}
	if string(b[:4]) != magicSparse {
		return 0, 0, fmt.Errorf("no header at offset %#x: %w", off, evidence.ErrCorrupt)
	}
	c := bin.LE(b)
	c.Skip(4)
	version, flags := c.U32(), c.U32()
	capacity, grain := c.U64(), c.U64()
	s.descriptorOff, s.descriptorSize = c.U64(), c.U64()
	gtes, rgd, gd := c.U32(), c.U64(), c.U64()
	overhead = c.U64()
	c.Skip(1 + 4) // uncleanShutdown, the line-end characters
	algorithm := c.U16()
	switch {
	case version == 0 || version > 3:
		return 0, 0, fmt.Errorf("version %d: %w", version, evidence.ErrUnsupported)
	case algorithm != compressNone && algorithm != compressDeflate:
		return 0, 0, fmt.Errorf("compression %d: %w", algorithm, evidence.ErrUnsupported)
	case overhead > 1<<52:
		return 0, 0, fmt.Errorf("header at offset %#x: overhead of %d sectors: %w", off, overhead, evidence.ErrCorrupt)
	}
	if gd == 0 && flags&flagRedundantGD != 0 {
		gd = rgd
	}
	s.packed = flags&flagCompressed != 0
	s.zeroGTE = flags&flagZeroGTE != 0
	return gd, overhead, s.setShape(capacity, grain, uint64(gtes))
}

// setShape takes sizes in sectors, after a look at them.
func (s *sparse) setShape(capacity, grain, gtes uint64) error {
	switch {
	case capacity == 0 || capacity > 1<<52:
		return fmt.Errorf("a capacity of %d sectors: %w", capacity, evidence.ErrCorrupt)
	case grain == 0 || grain&(grain-1) != 0 || grain > maxGrain/sector:
		return fmt.Errorf("grains of %d sectors: %w", grain, evidence.ErrCorrupt)
	case gtes < minGTEs || gtes > maxGTEs:
		return fmt.Errorf("grain tables of %d entries: %w", gtes, evidence.ErrCorrupt)
	}
	s.capacity, s.grain, s.gtes = int64(capacity)*sector, int64(grain)*sector, int64(gtes)
	grains := (s.capacity + s.grain - 1) / s.grain
	s.gdSize = (grains + s.gtes - 1) / s.gtes
	return nil
}

// openCOW opens an ESX copy-on-write file as a disk on its own.
func (im *Image) openCOW(r io.ReaderAt, size int64, o Options) error {
	s, err := readCOW(r, size)
	if err != nil {
		return err
	}
	o.warn(fmt.Errorf("vmdk: an ESX file without its descriptor: what its parent has reads as zeros: give the small .vmdk beside it: %w", evidence.ErrUnsupported))
	return im.add(s.capacity, s.locate)
}

// readCOW decodes a COWDisk_Header.
func readCOW(r io.ReaderAt, size int64) (*sparse, error) {
	b := make([]byte, cowHeader)
	if err := piece.Full(r, b, 0); err != nil || string(b[:4]) != magicCOW {
		return nil, errors.Join(fmt.Errorf("no header of an ESX extent: %w", evidence.ErrCorrupt), err)
	}
	c := bin.LE(b)
	c.Skip(4 + 4 + 4) // magicNumber, version, flags
	sectors, grain, gd := c.U32(), c.U32(), c.U32()
	s := newSparse(r, size)
	s.gd = int64(gd) * sector
	return s, s.setShape(uint64(sectors), uint64(grain), cowGTEs)
}

// locate finds the bytes at off of the extent.
func (s *sparse) locate(off int64) (piece.Extent, error) {
	n, within := off/s.grain, off%s.grain
	left := s.grain - within
	at, err := s.grainAt(n)
	switch {
	case err != nil:
		return piece.Extent{}, err
	case at == 0 && s.parent != nil && s.parentOff+off < s.parent.Size():
		return piece.Extent{Len: min(left, s.parent.Size()-s.parentOff-off), From: s.parent, Off: s.parentOff + off}, nil
	case at == 0, at == gteZero*sector && s.zeroGTE:
		return piece.Extent{Len: left}, nil
	case s.packed:
		return piece.Extent{Len: left, From: s.unpack, Off: off}, nil
	}
	return piece.Extent{Len: left, From: s.r, Off: at + within}, nil
}

// grainAt returns the offset in the file of grain n, or 0.
func (s *sparse) grainAt(n int64) (int64, error) {
	if s.found != nil && n >= s.cutAt {
		return 0, fmt.Errorf("vmdk: the stream was cut off before sector %d: %w", n*(s.grain/sector), evidence.ErrCorrupt)
	}
	if s.found != nil {
		return s.found[n], nil
	}
	i := n / s.gtes
	if i >= s.gdSize {
		return 0, nil
	}
	gt, err := s.tables.U32(s.gd + i*4)
	if err != nil {
		return 0, fmt.Errorf("vmdk: grain directory: %w: %w", evidence.ErrCorrupt, err)
	}
	if gt == 0 {
		return 0, nil
	}
	gte, err := s.tables.U32(int64(gt)*sector + n%s.gtes*4)
	if err != nil {
		return 0, fmt.Errorf("vmdk: grain table: %w: %w", evidence.ErrCorrupt, err)
	}
	return int64(gte) * sector, nil
}

// unpacked reads the grains of a packed extent by their offset in it.
type unpacked sparse

func (u *unpacked) ReadAt(p []byte, off int64) (int, error) {
	s := (*sparse)(u)
	start := off / s.grain * s.grain
	b, err := s.grains.Get(start, func() ([]byte, error) { return s.unpackGrain(start / s.grain) })
	if err != nil {
		return 0, err
	}
	return copy(p, b[off-start:]), nil
}

// unpackGrain unpacks a grain: a marker with its number and length stands before the data.
func (s *sparse) unpackGrain(n int64) ([]byte, error) {
	at, err := s.grainAt(n)
	if err != nil {
		return nil, err
	}
	marker := make([]byte, markerHeader)
	if err := piece.Full(s.r, marker, at); err != nil {
		return nil, fmt.Errorf("vmdk: grain at offset %#x: %w: %w", at, evidence.ErrCorrupt, err)
	}
	c := bin.LE(marker)
	lba, size := c.U64(), c.U32()
	if lba != uint64(n*(s.grain/sector)) || int64(size) > 2*s.grain+sector {
		return nil, fmt.Errorf("vmdk: grain at offset %#x: it is for sector %d, of %d packed bytes: %w", at, lba, size, evidence.ErrCorrupt)
	}
	packed := make([]byte, size)
	if err := piece.Full(s.r, packed, at+markerHeader); err != nil {
		return nil, fmt.Errorf("vmdk: grain at offset %#x: %w: %w", at, evidence.ErrCorrupt, err)
	}
	b, err := s.inflateGrain(packed, min(s.grain, s.capacity-n*s.grain))
	if err != nil {
		return nil, fmt.Errorf("vmdk: grain at offset %#x: %w: %w", at, evidence.ErrCorrupt, err)
	}
	return b, nil
}

// inflateGrain unpacks at least need bytes: the disk's last grain may be short.
func (s *sparse) inflateGrain(packed []byte, need int64) ([]byte, error) {
	out := make([]byte, s.grain)
	z, ok := s.inflate.Get().(io.ReadCloser)
	var err error
	if ok {
		err = z.(zlib.Resetter).Reset(bytes.NewReader(packed), nil)
	} else {
		z, err = zlib.NewReader(bytes.NewReader(packed))
	}
	if err != nil {
		return nil, err
	}
	defer s.inflate.Put(z)
	n, err := io.ReadFull(z, out)
	if int64(n) >= need {
		return out, nil
	}
	return nil, err
}

// scanMarkers finds the grains of a stream without its tables.
func (s *sparse) scanMarkers(off int64) error {
	s.found = map[int64]int64{}
	b := make([]byte, markerHeader+4)
	for off > 0 && off < s.fileSize && len(s.found) < maxFound {
		if piece.Full(s.r, b, off) != nil {
			break
		}
		c := bin.LE(b)
		val, size, typ := c.U64(), int64(c.U32()), c.U32()
		if size == 0 { // a marker of metadata, val sectors long
			if typ == markerEOS || val > 1<<40 {
				break
			}
			off += sector + int64(val)*sector
			continue
		}
		grain := s.grain / sector
		if val%uint64(grain) != 0 || val > 1<<52 || size > 2*s.grain+sector || off+markerHeader+size > s.fileSize {
			break
		}
		s.found[int64(val)/grain] = off
		s.cutAt = max(s.cutAt, int64(val)/grain+1)
		off += (markerHeader + size + sector - 1) / sector * sector
	}
	if len(s.found) == 0 {
		return fmt.Errorf("no grain in the stream: %w", evidence.ErrCorrupt)
	}
	return nil
}
