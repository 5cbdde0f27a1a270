// Package qcow2 reads QEMU's copy-on-write disk images, versions 1 to 3:
// standard and extended L2 tables, zero clusters, clusters packed with deflate or
// zstd, internal snapshots, and a backing file where the caller gives one.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// image; fuzzed. Tables are read through a cache of pages, never as a whole.
// Not read, and said: encryption, an external data file.
package qcow2

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// What is kept in memory: pages of tables, and unpacked clusters.
const (
	tableCache   = 8 << 20
	clusterCache = 32 << 20
)

// maxWindow bounds the memory of a zstd decoder: four of the largest clusters.
const maxWindow = 8 << 20

// Backing is the disk below an image.
type Backing interface {
	io.ReaderAt
	Size() int64
}

// Options apply to the opening of an image.
type Options struct {
	// Backing returns the backing file that the image names, which is a string
	// out of evidence. Where it is nil, an image that needs one is refused.
	Backing func(name string) (Backing, error)
	// Snapshot selects the internal snapshot with this id or name.
	Snapshot string
	// Warn, if set, is told of what was read past.
	Warn func(error)
}

// Snapshot is an internal snapshot.
type Snapshot struct {
	ID, Name string
	Time     time.Time
	Size     int64 // of the disk then
	l1       int64
	l1Size   uint32
}

// Image is a disk in a qcow2 file. ReadAt may be called from several goroutines.
type Image struct {
	r           io.ReaderAt
	fileSize    int64
	size        int64
	version     uint32
	clusterBits uint
	l2Bits      uint // of the number of entries of an L2 table
	extended    bool // L2 entries have a bitmap of subclusters
	l1          int64
	l1Size      uint32
	compression byte
	backing     Backing
	snapshots   []Snapshot
	loaded      string // id of the chosen one

	tables    *piece.Table
	clusters  *piece.Cache[int64] // unpacked, by offset on the disk
	packed    io.ReaderAt
	unpackers sync.Pool // of *unpacker
}

// Is reports whether a file that begins with head is an image of any version.
func Is(head []byte) bool { return len(head) >= 8 && string(head[:4]) == magic }

// ErrNoSnapshot says that an image has no internal snapshot of the wanted name.
var ErrNoSnapshot = fmt.Errorf("no such internal snapshot: %w", fs.ErrNotExist)

// Open reads the header of an image of fileSize bytes. It returns
// evidence.ErrFormat for another format.
func Open(r io.ReaderAt, fileSize int64, o Options) (*Image, error) {
	im := &Image{
		r:        r,
		fileSize: fileSize,
		tables:   piece.NewTable(r, binary.BigEndian, tableCache),
		clusters: piece.NewCache[int64](clusterCache),
	}
	im.packed = &unpacked{im}
	h, err := im.readHeader()
	if err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	if h.incompatible&incompatCorrupt != 0 && o.Warn != nil {
		o.Warn(fmt.Errorf("qcow2: the image is marked as corrupt by who wrote it last: %w", evidence.ErrCorrupt))
	}
	if err := im.readSnapshots(h); err != nil {
		err = fmt.Errorf("qcow2: internal snapshots: %w", err)
		if o.Snapshot != "" {
			return nil, err
		}
		if o.Warn != nil {
			o.Warn(err)
		}
	}
	if err := im.choose(o.Snapshot); err != nil {
		return nil, err
	}
	if err := im.openBacking(h, o); err != nil {
		return nil, err
	}
	return im, nil
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// Snapshots returns the internal snapshots, in the image's order.
func (im *Image) Snapshots() []Snapshot { return im.snapshots }

// Loaded returns the id of the internal snapshot that is read, or "".
func (im *Image) Loaded() string { return im.loaded }

// header is what is needed of the file's header and not kept.
type header struct {
	incompatible uint64
	backingOff   uint64
	backingSize  uint32
	snapshots    uint32
	snapshotsOff uint64
	length       uint32 // of the header; extensions follow it
}

func (im *Image) readHeader() (header, error) {
	var h header
	b := make([]byte, headerSizeInBytes)
	n, err := im.r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return h, err
	}
	b = b[:n]
	if !Is(b) {
		return h, evidence.ErrFormat
	}
	c := bin.BE(b)
	c.Skip(4)
	im.version = c.U32()
	var encryption uint32
	switch im.version {
	case 1:
		encryption = im.decodeV1(c, &h)
	case 2, 3:
		encryption = im.decodeV2(c, &h)
	default:
		return h, fmt.Errorf("version %d: %w", im.version, evidence.ErrUnsupported)
	}
	if err := c.Err(); err != nil {
		return h, fmt.Errorf("header: %w: %w", evidence.ErrCorrupt, err)
	}
	return h, im.checkHeader(h, encryption)
}

// decodeV2 decodes a header of version 2 or 3, behind the version.
func (im *Image) decodeV2(c *bin.Cursor, h *header) (encryption uint32) {
	h.backingOff, h.backingSize = c.U64(), c.U32()
	im.clusterBits, im.size = uint(c.U32()), int64(c.U64())
	encryption = c.U32()
	im.l1Size, im.l1 = c.U32(), int64(c.U64())
	c.Skip(8 + 4) // refcount_table_offset, refcount_table_clusters
	h.snapshots, h.snapshotsOff = c.U32(), c.U64()
	if im.version == 3 {
		h.incompatible = c.U64()
		c.Skip(8 + 8 + 4) // compatible_features, autoclear_features, refcount_order
		h.length = c.U32()
		if h.length > headerV3 && h.incompatible&incompatCompression != 0 {
			im.compression = c.U8()
		}
	}
	im.l2Bits = im.clusterBits - 3
	if im.extended = h.incompatible&incompatExtendedL2 != 0; im.extended {
		im.l2Bits--
	}
	return encryption
}

// decodeV1 decodes a QCowHeader, behind the version.
func (im *Image) decodeV1(c *bin.Cursor, h *header) (encryption uint32) {
	h.backingOff, h.backingSize = c.U64(), c.U32()
	c.Skip(4) // mtime
	im.size = int64(c.U64())
	im.clusterBits, im.l2Bits = uint(c.U8()), uint(c.U8())
	c.Skip(2)
	encryption = c.U32()
	im.l1 = int64(c.U64())
	// The L1 table is as long as the disk makes it.
	if shift := im.clusterBits + im.l2Bits; shift < 63 {
		im.l1Size = uint32(min(im.size>>shift+1, maxL1Size/8))
	}
	return encryption
}

// checkHeader refuses what can't be read, by name, and what can't be.
func (im *Image) checkHeader(h header, encryption uint32) error {
	switch unknown := h.incompatible &^ supportedIncompat; {
	case unknown&incompatExternalData != 0:
		return fmt.Errorf("the data is in another file, %q, which is a raw image on its own: %w", im.dataFile(h), evidence.ErrUnsupported)
	case unknown != 0:
		return fmt.Errorf("incompatible features %#x: %w", unknown, evidence.ErrUnsupported)
	case encryption != encryptionNone:
		return fmt.Errorf("an image encrypted with %s: %w", encryptionName(encryption), evidence.ErrUnsupported)
	case im.compression != compressionDeflate && im.compression != compressionZstd:
		return fmt.Errorf("compression type %d: %w", im.compression, evidence.ErrUnsupported)
	case im.clusterBits < minClusterBits || im.clusterBits > maxClusterBits:
		return fmt.Errorf("clusters of 2^%d bytes: %w", im.clusterBits, evidence.ErrCorrupt)
	case im.version == 1 && (im.l2Bits < minL2Bits1 || im.l2Bits > maxL2Bits1):
		return fmt.Errorf("L2 tables of 2^%d entries: %w", im.l2Bits, evidence.ErrCorrupt)
	case im.size < 0:
		return fmt.Errorf("a disk of %#x bytes: %w", uint64(im.size), evidence.ErrCorrupt)
	case im.l1 < 0 || uint64(im.l1Size)*8 > maxL1Size:
		return fmt.Errorf("L1 table of %d entries at offset %#x: %w", im.l1Size, uint64(im.l1), evidence.ErrCorrupt)
	}
	return nil
}

func encryptionName(method uint32) string {
	switch method {
	case 1:
		return "AES"
	case 2:
		return "LUKS"
	}
	return fmt.Sprintf("method %d", method)
}

// dataFile returns the name of the file that has the data, from the header's extensions.
func (im *Image) dataFile(h header) string {
	off := int64(h.length)
	for range maxExtensions {
		b := make([]byte, 8)
		if piece.Full(im.r, b, off) != nil {
			break
		}
		kind, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if kind == 0 || size > maxBackingName {
			break
		}
		if kind == extensionDataFile {
			name := make([]byte, size)
			if piece.Full(im.r, name, off+8) != nil {
				break
			}
			return string(name)
		}
		off += 8 + (int64(size)+7)&^7
	}
	return ""
}

// readSnapshots lists the snapshot table. What was read is kept beside an error.
func (im *Image) readSnapshots(h header) error {
	if h.snapshots > maxSnapshots || int64(h.snapshotsOff) < 0 {
		return fmt.Errorf("%d of them at offset %#x: %w", h.snapshots, h.snapshotsOff, evidence.ErrCorrupt)
	}
	off := int64(h.snapshotsOff)
	for range h.snapshots {
		b := make([]byte, snapshotEntryMin)
		if err := piece.Full(im.r, b, off); err != nil {
			return fmt.Errorf("offset %#x: %w", off, err)
		}
		c := bin.BE(b)
		s := Snapshot{l1: int64(c.U64()), l1Size: c.U32(), Size: im.size}
		idLen, nameLen := c.U16(), c.U16()
		s.Time = time.Unix(int64(c.U32()), int64(c.U32())).UTC()
		c.Skip(8 + 4) // vm_clock_nsec, vm_state_size
		extraLen := c.U32()
		if extraLen > maxSnapshotExtra || s.l1 < 0 || uint64(s.l1Size)*8 > maxL1Size {
			return fmt.Errorf("offset %#x: %w", off, evidence.ErrCorrupt)
		}
		rest := make([]byte, int(extraLen)+int(idLen)+int(nameLen))
		if err := piece.Full(im.r, rest, off+snapshotEntryMin); err != nil {
			return fmt.Errorf("offset %#x: %w", off, err)
		}
		if extraLen >= 16 { // vm_state_size_large, disk_size
			if size := int64(binary.BigEndian.Uint64(rest[8:])); size >= 0 {
				s.Size = size
			}
		}
		s.ID = string(rest[extraLen : extraLen+uint32(idLen)])
		s.Name = string(rest[extraLen+uint32(idLen):])
		im.snapshots = append(im.snapshots, s)
		off += (snapshotEntryMin + int64(len(rest)) + 7) &^ 7
	}
	return nil
}

// choose takes the tables of a snapshot in place of the image's own. As with
// qemu-img, what is wanted is an id or else a name.
func (im *Image) choose(snapshot string) error {
	if snapshot == "" {
		return nil
	}
	for _, is := range []func(Snapshot) bool{
		func(s Snapshot) bool { return s.ID == snapshot },
		func(s Snapshot) bool { return s.Name == snapshot },
	} {
		if i := slices.IndexFunc(im.snapshots, is); i >= 0 {
			s := im.snapshots[i]
			im.l1, im.l1Size, im.size, im.loaded = s.l1, s.l1Size, s.Size, s.ID
			return nil
		}
	}
	var names []string
	for _, s := range im.snapshots {
		names = append(names, fmt.Sprintf("%s (%s)", s.ID, s.Name))
	}
	return fmt.Errorf("qcow2: %q: %w; the image has %d: %s", snapshot, ErrNoSnapshot, len(names), strings.Join(names, ", "))
}

func (im *Image) openBacking(h header, o Options) error {
	if h.backingOff == 0 {
		return nil
	}
	if h.backingSize > maxBackingName || int64(h.backingOff) < 0 {
		return fmt.Errorf("qcow2: a backing file's name of %d bytes: %w", h.backingSize, evidence.ErrCorrupt)
	}
	name := make([]byte, h.backingSize)
	if err := piece.Full(im.r, name, int64(h.backingOff)); err != nil {
		return fmt.Errorf("qcow2: name of the backing file at offset %#x: %w", h.backingOff, err)
	}
	if o.Backing == nil {
		return fmt.Errorf("qcow2: the image holds only what differs from its backing file %q: %w", name, evidence.ErrUnsupported)
	}
	var err error
	im.backing, err = o.Backing(string(name))
	if err != nil {
		return fmt.Errorf("qcow2: backing file %q: %w", name, err)
	}
	return nil
}
