package qcow2

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/internal/piece"
)

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAtOnAllCores(p, off, im.size, 1<<im.clusterBits, func(p []byte, off int64) (int, error) {
		return piece.ReadExtents(p, off, im.locate)
	})
}

// locate finds the bytes at off by way of the L1 and an L2 table.
func (im *Image) locate(off int64) (piece.Extent, error) {
	within := off & (1<<im.clusterBits - 1)
	left := int64(1)<<im.clusterBits - within
	entry, bitmap, err := im.entries(off)
	switch {
	case err != nil:
		return piece.Extent{}, err
	case im.isPacked(entry):
		return piece.Extent{Len: left, From: im.packed, Off: off}, nil
	case im.extended:
		return im.subcluster(off, entry, bitmap), nil
	case entry&flagZero != 0 && im.version == 3:
		return piece.Extent{Len: left}, nil
	case entry&im.offsetMask() == 0:
		return im.below(off, left), nil
	}
	return im.plain(int64(entry&im.offsetMask()), within, left), nil
}

// entries returns the L2 entry of an offset and, with extended entries, its
// bitmap; 0 where there is no L2 table.
func (im *Image) entries(off int64) (entry, bitmap uint64, err error) {
	entryBits := uint(3)
	if im.extended {
		entryBits = 4
	}
	cluster := off >> im.clusterBits
	i := cluster >> im.l2Bits
	if i >= int64(im.l1Size) {
		return 0, 0, nil
	}
	l1, err := im.tables.U64(im.l1 + i*8)
	if l1 &= im.offsetMask(); err != nil || l1 == 0 {
		return 0, 0, err
	}
	at := int64(l1) + cluster&(1<<im.l2Bits-1)<<entryBits
	if entry, err = im.tables.U64(at); err == nil && im.extended {
		bitmap, err = im.tables.U64(at + 8)
	}
	return entry, bitmap, err
}

func (im *Image) offsetMask() uint64 {
	if im.version == 1 {
		return maskOffset1
	}
	return maskOffset
}

func (im *Image) isPacked(entry uint64) bool {
	if im.version == 1 {
		return entry&flagCompressed1 != 0
	}
	return entry&flagCompressed != 0
}

// subcluster finds an offset by its cluster's bitmap: the lower half says which
// subclusters are allocated, the upper half which read as zeros.
func (im *Image) subcluster(off int64, entry, bitmap uint64) piece.Extent {
	subBits := im.clusterBits - 5
	within := off & (1<<im.clusterBits - 1)
	left := int64(1)<<subBits - off&(1<<subBits-1)
	n := uint(within >> subBits)
	switch {
	case bitmap>>(subclusters+n)&1 != 0:
		return piece.Extent{Len: left}
	case bitmap>>n&1 == 0:
		return im.below(off, left)
	}
	return im.plain(int64(entry&maskOffset), within, left)
}

// plain is a part of a cluster that isn't packed. The last one of a file may
// be cut: what was never written behind it is zeros.
func (im *Image) plain(cluster, within, left int64) piece.Extent {
	switch rest := im.fileSize - cluster - within; {
	case cluster < im.fileSize && rest <= 0:
		return piece.Extent{Len: left}
	case rest > 0:
		left = min(left, rest)
	}
	return piece.Extent{Len: left, From: im.r, Off: cluster + within}
}

// below is a part that only a backing file can have; behind its end are zeros.
func (im *Image) below(off, left int64) piece.Extent {
	if im.backing == nil || off >= im.backing.Size() {
		return piece.Extent{Len: left}
	}
	return piece.Extent{Len: min(left, im.backing.Size()-off), From: im.backing, Off: off}
}

// unpacked reads packed clusters by their offset on the disk.
type unpacked struct{ im *Image }

func (u *unpacked) ReadAt(p []byte, off int64) (int, error) {
	start := off &^ (1<<u.im.clusterBits - 1)
	b, err := u.im.clusters.Get(start, func() ([]byte, error) { return u.im.unpack(start) })
	if err != nil {
		return 0, err
	}
	return copy(p, b[off-start:]), nil
}

// unpack unpacks the cluster at an offset of the disk.
func (im *Image) unpack(off int64) ([]byte, error) {
	entry, _, err := im.entries(off)
	if err != nil {
		return nil, err
	}
	at, length := im.packedAt(entry)
	// A cluster that packing would have made longer isn't packed.
	packed := make([]byte, min(length, 2<<im.clusterBits))
	n, err := im.r.ReadAt(packed, at)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("qcow2: packed cluster at offset %#x: %w", at, err)
	}
	b, err := im.decompress(packed[:n])
	if err != nil {
		return nil, fmt.Errorf("qcow2: packed cluster at offset %#x: %w: %w", at, evidence.ErrCorrupt, err)
	}
	return b, nil
}

// packedAt decodes the entry of a packed cluster: its offset in the file and,
// above it, the number of further sectors that it goes over; in version 1, of bytes.
func (im *Image) packedAt(entry uint64) (at, length int64) {
	if im.version == 1 {
		lengthAt := 63 - im.clusterBits
		return int64(entry & (1<<lengthAt - 1)), int64(entry & maskOffset1 >> lengthAt)
	}
	sectorsAt := 62 - (im.clusterBits - 8)
	at = int64(entry & (1<<sectorsAt - 1))
	sectors := int64(entry & (flagCompressed - 1) >> sectorsAt)
	return at, (sectors+1)*compressedSector - at%compressedSector
}

// decompress unpacks as much as a cluster has: behind it stands the start of
// the next one, in the sector that they share.
func (im *Image) decompress(packed []byte) ([]byte, error) {
	z, ok := im.unpackers.Get().(*unpacker)
	if !ok {
		var err error
		if z, err = newUnpacker(im.compression); err != nil {
			return nil, err
		}
	}
	defer im.unpackers.Put(z)
	if err := z.reset(packed); err != nil {
		return nil, err
	}
	out := make([]byte, 1<<im.clusterBits)
	_, err := io.ReadFull(z, out)
	return out, err
}

// unpacker is a decoder that is used again and again.
type unpacker struct {
	io.Reader
	reset func(packed []byte) error
}

func newUnpacker(compression byte) (*unpacker, error) {
	if compression == compressionDeflate {
		z := flate.NewReader(nil)
		return &unpacker{z, func(b []byte) error { return z.(flate.Resetter).Reset(bytes.NewReader(b), nil) }}, nil
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderLowmem(true), zstd.WithDecodeBuffersBelow(0))
	return &unpacker{z, func(b []byte) error { return z.Reset(bytes.NewReader(b)) }}, err
}
