package xfs

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"lagan/evidence"
)

// Open opens a regular file. Holes and unwritten extents read as zeros.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	d, err := f.inode(uint64(ino))
	if err != nil {
		return nil, err
	}
	switch size := int64(d.size); {
	case d.typ() != evidence.TypeFile:
		return nil, fmt.Errorf("inode %d is a %s, not a regular file", ino, d.typ())
	case size < 0:
		return nil, fmt.Errorf("inode %d: size %#x: %w", ino, d.size, evidence.ErrCorrupt)
	case d.flags&flagRealtime != 0 && size > 0 && d.nextents > 0:
		return nil, fmt.Errorf("inode %d: content on the realtime device: %w", ino, evidence.ErrUnsupported)
	case d.format == fmtLocal && d.size > uint64(len(d.dataFork())):
		return nil, fmt.Errorf("inode %d: %d bytes in the inode: %w", ino, d.size, evidence.ErrCorrupt)
	case d.format == fmtLocal: // no kernel writes this (xfs_dinode_verify_fork), but it can mean one thing only
		return io.NewSectionReader(localFile(d.dataFork()[:d.size]), 0, size), nil
	}
	k, err := f.dataBlocks(&d)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(&file{fork: k}, 0, int64(d.size)), nil
}

// Place implements evidence.Placer.
func (f *FS) Place(ino evidence.Ino) (int64, bool) {
	d, err := f.inode(uint64(ino))
	if err != nil || d.typ() != evidence.TypeFile || d.format == fmtLocal {
		return 0, false
	}
	k, err := f.dataBlocks(&d)
	if err != nil {
		return 0, false
	}
	r := file{fork: k}
	e, err := r.extent(0)
	if err == nil && e.unwritten && e.count > 0 { // or a hole: what is behind it
		e, err = r.extent(e.count)
	}
	if err != nil || e.unwritten {
		return 0, false
	}
	off, err := f.blockOffset(e.start, 1)
	return off, err == nil
}

type localFile []byte

func (l localFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(p, l[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// file reads the content of a data fork, without an end: the SectionReader around it knows the size.
type file struct {
	fork fork
	last atomic.Pointer[span] // where the last read ended
}

// ReadAt reads len(p) bytes, extent by extent.
func (r *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	f := r.fork.fs
	done := 0
	for done < len(p) {
		at := uint64(off) + uint64(done)
		e, err := r.extent(at >> f.sb.blockLog)
		if err != nil {
			return done, err
		}
		within := at - e.off<<f.sb.blockLog
		n := len(p) - done
		// Compared in blocks: the bytes of a hole may exceed 64 bits.
		if blocks := (within + uint64(n) + uint64(f.sb.blockSize) - 1) >> f.sb.blockLog; blocks > e.count {
			n = int(e.count<<f.sb.blockLog - within)
		}
		q := p[done : done+n]
		if e.unwritten {
			clear(q)
			done += n
			continue
		}
		got, err := r.read(q, e, within)
		done += got
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// read reads what lies within bytes into the extent.
func (r *file) read(p []byte, e extent, within uint64) (int, error) {
	f := r.fork.fs
	skip, in := within>>f.sb.blockLog, within&uint64(f.sb.blockSize-1)
	blocks := (in + uint64(len(p)) + uint64(f.sb.blockSize) - 1) >> f.sb.blockLog
	pos, err := f.blockOffset(e.start+skip, blocks)
	if err != nil {
		return 0, r.fork.corrupt("extent at block %#x: %v", e.off, err)
	}
	pos += int64(in)
	n, err := f.dev.ReadAt(p, pos)
	if n == len(p) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, evidence.ErrCorrupt)
	}
	return n, fmt.Errorf("inode %d: reading content at offset %#x: %w", r.fork.ino, pos+int64(n), err)
}

// extent returns the extent or hole that holds a block.
func (r *file) extent(block uint64) (extent, error) {
	s := r.last.Load()
	if s == nil || block < s.lo || block >= s.hi {
		found, err := r.fork.find(block)
		if err != nil {
			return extent{}, err
		}
		s = &found
		r.last.Store(s)
	}
	return s.lookup(block), nil
}
