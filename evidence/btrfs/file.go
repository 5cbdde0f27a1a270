package btrfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"sort"
	"sync"

	"lagan/evidence"
)

// Open opens a regular file.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	v, object, err := f.volume(ino)
	if err != nil {
		return nil, err
	}
	i, err := v.inode(object)
	if err != nil {
		return nil, err
	}
	if t := evidence.TypeOfMode(uint16(i.mode)); t != evidence.TypeFile {
		return nil, fmt.Errorf("subvolume %d, inode %d is no file but a %s: %w", v.id, object, t, fs.ErrInvalid)
	}
	r, err := v.reader(object, i)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(r, 0, r.size), nil
}

// reader reads a file's content by its extents.
type reader struct {
	f       *FS
	name    string // for errors
	size    int64
	noSums  bool
	extents []fileExtent // ascending, not overlapping
	failed  error        // why some are missing

	mu    sync.Mutex
	at    int    // of the extent that is decompressed; -1: none
	plain []byte // its content
}

// reader collects the extents of a file.
func (v *subvolume) reader(object uint64, i inodeItem) (*reader, error) {
	r := &reader{f: v.fs, name: fmt.Sprintf("subvolume %d, inode %d", v.id, object), at: -1, noSums: i.flags&inodeNoDataSum != 0}
	if i.size > math.MaxInt64 {
		return nil, fmt.Errorf("%s: size %#x: %w", r.name, i.size, evidence.ErrCorrupt)
	}
	r.size = int64(i.size)
	for it, err := range v.object(object, itemExtentData, itemExtentData) {
		var e fileExtent
		if err == nil {
			e, err = decodeExtent(it.key.offset, it.data)
		}
		if err != nil {
			if r.failed == nil {
				r.failed = fmt.Errorf("%s: %w", r.name, err)
			}
			continue
		}
		if e.length == 0 || e.typ == extentPrealloc || e.typ == extentRegular && e.disk == 0 {
			continue // reads as zeros
		}
		if n := len(r.extents); n > 0 {
			// What begins before the last one ends would be shown by its key
			// (btrfs_get_extent, fs/btrfs/inode.c): the last one is cut.
			if last := &r.extents[n-1]; last.fileOffset+last.length > e.fileOffset {
				last.length = e.fileOffset - last.fileOffset
			}
		}
		r.extents = append(r.extents, e)
	}
	return r, nil
}

// ReadAt reads the file. Where extents could not be found, it fails.
func (r *reader) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: offset %d: %w", r.name, off, fs.ErrInvalid)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	if r.failed != nil {
		return 0, r.failed
	}
	var end error
	if int64(len(b)) > r.size-off {
		b, end = b[:r.size-off], io.EOF
	}
	done := 0
	i := sort.Search(len(r.extents), func(i int) bool {
		return r.extents[i].fileOffset+r.extents[i].length > uint64(off)
	})
	for done < len(b) {
		at := uint64(off) + uint64(done)
		if i == len(r.extents) || r.extents[i].fileOffset >= at+uint64(len(b)-done) {
			clear(b[done:])
			return len(b), end
		}
		e := &r.extents[i]
		if e.fileOffset > at {
			n := int(e.fileOffset - at)
			clear(b[done : done+n])
			done += n
			continue
		}
		n := int(min(uint64(len(b)-done), e.fileOffset+e.length-at))
		if err := r.readExtent(b[done:done+n], i, at-e.fileOffset); err != nil {
			return done, fmt.Errorf("%s, offset %#x: %w", r.name, at, err)
		}
		done += n
		i++
	}
	return done, end
}

// readExtent reads from an offset in the i-th extent's part of the file.
func (r *reader) readExtent(b []byte, i int, off uint64) error {
	e := &r.extents[i]
	if e.compression == compressNone {
		if e.typ == extentInline {
			n := 0
			if off < uint64(len(e.inline)) {
				n = copy(b, e.inline[off:])
			}
			clear(b[n:])
			return nil
		}
		if e.offset+off+uint64(len(b)) > e.diskLength {
			return fmt.Errorf("%#x bytes at %#x of an extent of %#x: %w", len(b), e.offset+off, e.diskLength, evidence.ErrCorrupt)
		}
		return r.f.readData(b, e.disk+e.offset+off, !r.noSums)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at != i {
		plain, err := r.decompress(e)
		if err != nil {
			return err
		}
		r.at, r.plain = i, plain
	}
	n := 0
	if from := e.offset + off; from < uint64(len(r.plain)) {
		n = copy(b, r.plain[from:])
	}
	clear(b[n:])
	return nil
}

// maxCompressed bounds a compressed extent, on disk and in memory: the kernel
// makes none of more (BTRFS_MAX_COMPRESSED, BTRFS_MAX_UNCOMPRESSED, fs/btrfs/compression.h).
const maxCompressed = 128 << 10

func (r *reader) decompress(e *fileExtent) ([]byte, error) {
	if e.ramBytes > maxCompressed || e.diskLength > maxCompressed {
		return nil, fmt.Errorf("compressed extent of %#x bytes in %#x: %w", e.ramBytes, e.diskLength, evidence.ErrCorrupt)
	}
	packed := e.inline
	if e.typ != extentInline {
		packed = make([]byte, e.diskLength)
		if err := r.f.readData(packed, e.disk, !r.noSums); err != nil {
			return nil, err
		}
	}
	plain, err := decompress(e.compression, packed, int(e.ramBytes), int(r.f.super.sectorSize))
	if err != nil {
		return nil, fmt.Errorf("compressed extent at logical address %#x: %w", e.disk, err)
	}
	return plain, nil
}

// readData reads file content, compared with its checksums, which are of whole
// sectors. A copy that disagrees with them is passed over; if all do, the first
// is taken and said.
func (f *FS) readData(b []byte, logical uint64, sums bool) error {
	if !sums || f.csums.root.address == 0 {
		return f.readLogical(b, logical)
	}
	sector := uint64(f.super.sectorSize)
	for len(b) > 0 {
		n := uint64(len(b))
		within := logical % sector
		if within == 0 && n >= sector {
			n -= n % sector
			if err := f.readSectors(b[:n], logical); err != nil {
				return err
			}
		} else {
			whole := make([]byte, sector)
			if err := f.readSectors(whole, logical-within); err != nil {
				return err
			}
			n = uint64(copy(b, whole[within:]))
		}
		b, logical = b[n:], logical+n
	}
	return nil
}

// readSectors is readData for whole sectors.
func (f *FS) readSectors(b []byte, logical uint64) error {
	if err := f.readLogical(b, logical); err != nil {
		return err
	}
	sector := uint64(f.super.sectorSize)
	for at, want := range f.dataSums(logical, logical+uint64(len(b))) {
		if at < logical || (at-logical)%sector != 0 || at-logical > uint64(len(b))-sector {
			continue // an item that isn't aligned
		}
		got := b[at-logical:][:sector]
		if bytes.Equal(checksum(f.super.csumType, got), want) {
			continue
		}
		if !f.readGood(got, at, want) {
			f.warn(fmt.Errorf("data at logical address %#x: bad checksum: %w", at, evidence.ErrCorrupt))
		}
	}
	return nil
}

// readGood reads a sector from the copy that has a checksum.
func (f *FS) readGood(b []byte, logical uint64, want []byte) bool {
	other := make([]byte, len(b))
	for n := 1; n < maxCopies; n++ {
		if f.readCopy(other, logical, n) != nil {
			continue
		}
		if bytes.Equal(checksum(f.super.csumType, other), want) {
			copy(b, other)
			f.warn(fmt.Errorf("data at logical address %#x: bad checksum, copy %d is used: %w", logical, n+1, evidence.ErrCorrupt))
			return true
		}
	}
	return false
}

// dataSums yields the checksums of the sectors between two logical addresses,
// as far as they can be read.
func (f *FS) dataSums(from, to uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		size, sector := csumLength(f.super.csumType), uint64(f.super.sectorSize)
		// An item covers at most what fits a leaf: the one that has the first
		// sector begins so far before it, at most.
		reach := uint64(f.super.nodeSize) / uint64(size) * sector
		start := from - min(from, reach)
		for it, err := range f.csums.items(key{extentCsumObject, itemExtentCsum, start}, key{extentCsumObject, itemExtentCsum, to - 1}) {
			if err != nil || it.key.typ != itemExtentCsum {
				continue
			}
			for i := 0; (i+1)*size <= len(it.data); i++ {
				at := it.key.offset + uint64(i)*sector
				if at+sector <= from {
					continue
				}
				if at >= to {
					break
				}
				if !yield(at, it.data[i*size:(i+1)*size]) {
					return
				}
			}
		}
	}
}
