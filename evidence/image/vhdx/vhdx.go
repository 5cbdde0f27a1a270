// Package vhdx reads Microsoft's virtual hard disks of the second generation:
// fixed and dynamic ones, and differencing ones where the caller gives the parent. A
// log that was not yet carried out when the file was copied is replayed in memory.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// image; fuzzed. A wrong checksum of one of two copies is passed over.
package vhdx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

const tableCache = 8 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Parent is the disk below a differencing one.
type Parent interface {
	io.ReaderAt
	Size() int64
}

// Options apply to the opening of a disk.
type Options struct {
	// Parent returns the disk that has one of these names, strings out of
	// evidence, and one of these ids. Where it is nil, a differencing disk is refused.
	Parent func(names, ids []string) (Parent, error)
	// Warn, if set, is told of what was read past.
	Warn func(error)
}

func (o Options) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// Image is a disk in a VHDX file. ReadAt may be called from several goroutines.
type Image struct {
	r          io.ReaderAt // with the log replayed
	size       int64
	blockSize  int64
	sectorSize int64
	perBitmap  int64 // payload blocks between two entries of bitmap blocks
	bat        int64
	batSize    int64 // bytes
	parent     Parent
	id         string
	replayed   int // log entries
	table      *piece.Table
}

// Is reports whether a file that begins with head is a VHDX.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(magicFile)) }

// Open reads headers, log and metadata of a file of size bytes. It returns
// evidence.ErrFormat for another format.
func Open(r io.ReaderAt, size int64, o Options) (*Image, error) {
	b := make([]byte, len(magicFile))
	if n, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("vhdx: %w", err)
	} else if !Is(b[:n]) {
		return nil, fmt.Errorf("vhdx: %w", evidence.ErrFormat)
	}
	im := &Image{r: r}
	h, err := readHeader(r)
	if err != nil {
		return nil, fmt.Errorf("vhdx: %w", err)
	}
	im.id = h.dataID.String()
	if h.logID != (guidBytes{}) {
		l, err := replay(r, size, h, o)
		if err != nil {
			return nil, fmt.Errorf("vhdx: log: %w", err)
		}
		im.r, im.replayed = l, l.entries
	}
	im.table = piece.NewTable(im.r, binary.LittleEndian, tableCache)
	meta, err := im.readRegions()
	if err != nil {
		return nil, fmt.Errorf("vhdx: %w", err)
	}
	if err := im.readMetadata(meta, o); err != nil {
		return nil, fmt.Errorf("vhdx: metadata: %w", err)
	}
	return im, nil
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// ID returns the DataWriteGuid, as a parent locator writes it: a disk that holds
// the changes of this one names it.
func (im *Image) ID() string { return im.id }

// Replayed returns the number of log entries that were replayed.
func (im *Image) Replayed() int { return im.replayed }

type guidBytes [16]byte

// guid turns the text of a GUID into its bytes on the disk: the first three fields are little-endian.
func guid(s string) guidBytes {
	var g guidBytes
	raw, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		panic(err) // a constant of this package
	}
	copy(g[:], []byte{raw[3], raw[2], raw[1], raw[0], raw[5], raw[4], raw[7], raw[6]})
	copy(g[8:], raw[8:])
	return g
}

// String writes a GUID as a parent locator has it.
func (g guidBytes) String() string {
	return fmt.Sprintf("{%08x-%04x-%04x-%x-%x}", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]), binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

// sumOK compares the CRC-32C of b, taken with its own field as zero.
func sumOK(b []byte) bool {
	want := binary.LittleEndian.Uint32(b[offChecksum:])
	sum := crc32.Update(0, castagnoli, b[:offChecksum])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[offChecksum+4:]) == want
}

// header is what is needed of the file's current header.
type header struct {
	sequence  uint64
	dataID    guidBytes // changes when the disk's content does
	logID     guidBytes
	logOff    int64
	logLength int64
}

// readHeader takes the valid header with the higher sequence number.
func readHeader(r io.ReaderAt) (header, error) {
	var best header
	found := false
	for _, off := range headerOffs {
		b := make([]byte, headerSize)
		if piece.Full(r, b, off) != nil || string(b[:4]) != magicHeader || !sumOK(b) {
			continue
		}
		c := bin.LE(b)
		c.Skip(8)
		h := header{sequence: c.U64()}
		c.Skip(16) // FileWriteGuid
		h.dataID = guidBytes(c.Bytes(16))
		h.logID = guidBytes(c.Bytes(16))
		c.Skip(2) // LogVersion
		if version := c.U16(); version != 1 {
			return header{}, fmt.Errorf("version %d: %w", version, evidence.ErrUnsupported)
		}
		h.logLength, h.logOff = int64(c.U32()), int64(c.U64())
		if !found || h.sequence > best.sequence {
			best, found = h, true
		}
	}
	if !found {
		return header{}, fmt.Errorf("neither header at offset %#x and %#x is valid: %w", headerOffs[0], headerOffs[1], evidence.ErrCorrupt)
	}
	return best, nil
}

// readRegions finds the BAT and the metadata, whose offset it returns.
func (im *Image) readRegions() (meta int64, err error) {
	var b []byte
	for _, off := range regionOffs {
		t := make([]byte, regionSize)
		if piece.Full(im.r, t, off) == nil && string(t[:4]) == magicRegion && sumOK(t) {
			b = t
			break
		}
	}
	if b == nil {
		return 0, fmt.Errorf("neither region table at offset %#x and %#x is valid: %w", regionOffs[0], regionOffs[1], evidence.ErrCorrupt)
	}
	c := bin.LE(b)
	c.Skip(8)
	count := c.U32()
	c.Skip(4)
	for range min(count, maxRegions) {
		id := guidBytes(c.Bytes(16))
		off, length, flags := int64(c.U64()), int64(c.U32()), c.U32()
		switch {
		case off < mib:
			return 0, fmt.Errorf("region at offset %#x: %w", uint64(off), evidence.ErrCorrupt)
		case id == regionBAT:
			im.bat, im.batSize = off, length
		case id == regionMetadata:
			meta = off
		case flags&regionRequired != 0:
			return 0, fmt.Errorf("region %x: %w", id, evidence.ErrUnsupported)
		}
	}
	if im.bat == 0 || meta == 0 {
		return 0, fmt.Errorf("no BAT or no metadata in the region table: %w", evidence.ErrCorrupt)
	}
	return meta, nil
}

// readMetadata reads the disk's shape from the items of the metadata region.
func (im *Image) readMetadata(region int64, o Options) error {
	b := make([]byte, 64*kib)
	if err := piece.Full(im.r, b, region); err != nil || string(b[:8]) != magicMetadata {
		return errors.Join(fmt.Errorf("no table at offset %#x: %w", region, evidence.ErrCorrupt), err)
	}
	items := map[guidBytes][]byte{}
	c := bin.LE(b)
	c.Skip(10)
	count := c.U16()
	c.Skip(20)
	for range min(count, maxMetadata) {
		id := guidBytes(c.Bytes(16))
		off, length, flags := int64(c.U32()), int64(c.U32()), c.U32()
		c.Skip(4)
		switch id {
		case itemFileParameters, itemDiskSize, itemSectorSize, itemParentLocator:
			if length > maxMetaItem || off > maxMetaItem {
				return fmt.Errorf("item at %#x of %d bytes: %w", off, length, evidence.ErrCorrupt)
			}
			item := make([]byte, length)
			if err := piece.Full(im.r, item, region+off); err != nil {
				return fmt.Errorf("item at offset %#x: %w: %w", region+off, evidence.ErrCorrupt, err)
			}
			items[id] = item
		case itemDiskID, itemPhysicalSize:
		default:
			if flags&metaRequired != 0 {
				return fmt.Errorf("item %x: %w", id, evidence.ErrUnsupported)
			}
		}
	}
	return im.setShape(items, o)
}

func (im *Image) setShape(items map[guidBytes][]byte, o Options) error {
	c := bin.LE(bytes.Join([][]byte{first(items[itemFileParameters], 8), first(items[itemDiskSize], 8), first(items[itemSectorSize], 4)}, nil))
	blockSize, flags := int64(c.U32()), c.U32()
	im.size, im.sectorSize = int64(c.U64()), int64(c.U32())
	im.blockSize = blockSize
	switch {
	case c.Err() != nil:
		return fmt.Errorf("an item is missing: %w", evidence.ErrCorrupt)
	case blockSize < minBlockSize || blockSize > maxBlockSize || blockSize&(blockSize-1) != 0:
		return fmt.Errorf("blocks of %#x bytes: %w", blockSize, evidence.ErrCorrupt)
	case im.sectorSize != 512 && im.sectorSize != 4096:
		return fmt.Errorf("sectors of %d bytes: %w", im.sectorSize, evidence.ErrCorrupt)
	case im.size < 0 || im.size > maxDiskSize:
		return fmt.Errorf("a disk of %#x bytes: %w", uint64(im.size), evidence.ErrCorrupt)
	}
	im.perBitmap = sectorsPerBitmap * im.sectorSize / blockSize
	if flags&flagHasParent == 0 {
		return nil
	}
	names, ids := parentNames(items[itemParentLocator])
	if o.Parent == nil {
		return fmt.Errorf("the disk holds only what differs from its parent %q: %w", names, evidence.ErrUnsupported)
	}
	var err error
	if im.parent, err = o.Parent(names, ids); err != nil {
		return fmt.Errorf("parent %q: %w", names, err)
	}
	return nil
}

// first returns the first n bytes of an item, or none where it is shorter, which the cursor then meets.
func first(b []byte, n int) []byte {
	if len(b) < n {
		return nil
	}
	return b[:n]
}

// parentNames returns the paths in a parent locator, and the ids that the
// parent's DataWriteGuid may be.
func parentNames(b []byte) (names, ids []string) {
	c := bin.LE(b)
	c.Skip(16 + 2) // LocatorType, Reserved
	for range c.U16() {
		keyOff, valueOff := c.U32(), c.U32()
		keyLen, valueLen := c.U16(), c.U16()
		if c.Err() != nil {
			break
		}
		switch key, value := text(b, keyOff, keyLen), text(b, valueOff, valueLen); key {
		case "relative_path", "absolute_win32_path", "volume_path":
			names = append(names, value)
		case "parent_linkage", "parent_linkage2":
			ids = append(ids, strings.ToLower(value))
		}
	}
	return names, ids
}

func text(b []byte, off uint32, length uint16) string {
	if uint64(off)+uint64(length) > uint64(len(b)) {
		return ""
	}
	b = b[off : off+uint32(length)]
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
