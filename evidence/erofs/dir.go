package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"lagan/evidence"
)

const (
	// maxDirSize bounds a directory: 3 million names of 30 bytes.
	maxDirSize = 128 << 20
	// maxBadBlocks is how many corrupt blocks of a directory are read past.
	// Entries are sorted, so that blocks repeated without end are corrupt too.
	maxBadBlocks = 16
)

// direntTypes are the FT_* numbers of file_type.
var direntTypes = [...]evidence.Type{
	evidence.TypeUnknown, evidence.TypeFile, evidence.TypeDir, evidence.TypeChar, evidence.TypeBlock, evidence.TypeFIFO,
	evidence.TypeSocket, evidence.TypeSymlink,
}

// openDir returns a directory's content.
func (f *FS) openDir(ino evidence.Ino) (io.ReaderAt, uint64, error) {
	in, err := f.readInode(uint64(ino))
	if err != nil {
		return nil, 0, err
	}
	if in.typ() != evidence.TypeDir {
		return nil, 0, fmt.Errorf("inode %d is a %s, not a directory: %w", ino, in.typ(), evidence.ErrCorrupt)
	}
	if in.size > maxDirSize {
		return nil, 0, fmt.Errorf("inode %d: directory of %d bytes: %w", ino, in.size, evidence.ErrCorrupt)
	}
	r, err := f.open(in, fileCache)
	return r, in.size, err
}

// ReadDir implements evidence.FS.
func (f *FS) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		r, size, err := f.openDir(dir)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		block := make([]byte, 1<<f.sb.blockBits)
		bad, last := 0, ""
		for off := uint64(0); off < size; off += uint64(len(block)) {
			b := block[:min(uint64(len(block)), size-off)]
			err := readFull(r, b, int64(off))
			var entries []evidence.Entry
			if err == nil {
				entries, err = decodeDirents(b)
			}
			if err == nil && len(entries) > 0 && off > 0 && entries[0].Name <= last {
				err = fmt.Errorf("names are not in order: %w", evidence.ErrCorrupt)
			}
			if err != nil {
				bad++
				if !yield(evidence.Entry{}, fmt.Errorf("directory inode %d: block at %#x: %w", dir, off, err)) || bad == maxBadBlocks {
					return
				}
			}
			for _, e := range entries {
				last = e.Name
				if e.Name != "." && e.Name != ".." && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// decodeDirents reads one block: struct erofs_dirent each, their names behind
// them (erofs_fill_dentries, dir.c). What comes before an error is good.
func decodeDirents(b []byte) ([]evidence.Entry, error) {
	if len(b) < direntSize {
		return nil, fmt.Errorf("%d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	names := int(binary.LittleEndian.Uint16(b[8:]))
	if names < direntSize || names >= len(b) || names%direntSize != 0 {
		return nil, fmt.Errorf("names at %#x: %w", names, evidence.ErrCorrupt)
	}
	entries := make([]evidence.Entry, 0, names/direntSize)
	for at := 0; at < names; at += direntSize {
		start, end := int(binary.LittleEndian.Uint16(b[at+8:])), len(b)
		if at+direntSize < names {
			end = int(binary.LittleEndian.Uint16(b[at+direntSize+8:]))
		}
		if start < names || start >= end || end > len(b) {
			return entries, fmt.Errorf("name of entry %d from %#x to %#x: %w", at/direntSize, start, end, evidence.ErrCorrupt)
		}
		name := b[start:end]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i] // only the last is padded
		}
		if len(name) == 0 || len(name) > maxNameLen || bytes.IndexByte(name, '/') >= 0 {
			return entries, fmt.Errorf("name of entry %d, %q: %w", at/direntSize, name, evidence.ErrCorrupt)
		}
		e := evidence.Entry{Name: string(name), Ino: evidence.Ino(binary.LittleEndian.Uint64(b[at:]))}
		if t := b[at+10]; int(t) < len(direntTypes) {
			e.Type = direntTypes[t]
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Lookup implements evidence.Lookuper: names are sorted through all blocks.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	r, size, err := f.openDir(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	block := make([]byte, 1<<f.sb.blockBits)
	low, high := uint64(0), f.blockCount(size)
	for low < high {
		mid := low + (high-low)/2
		off := mid << f.sb.blockBits
		b := block[:min(uint64(len(block)), size-off)]
		err := readFull(r, b, int64(off))
		var entries []evidence.Entry
		if err == nil {
			entries, err = decodeDirents(b)
		}
		if err != nil {
			return f.lookupSlowly(dir, name)
		}
		switch {
		case name < entries[0].Name:
			high = mid
		case name > entries[len(entries)-1].Name:
			low = mid + 1
		default:
			for _, e := range entries {
				if e.Name == name {
					return e, nil
				}
			}
			return evidence.Entry{}, fs.ErrNotExist
		}
	}
	return evidence.Entry{}, fs.ErrNotExist
}

// lookupSlowly finds a name in a directory that is corrupt in part.
func (f *FS) lookupSlowly(dir evidence.Ino, name string) (evidence.Entry, error) {
	var failed error
	for e, err := range f.ReadDir(dir) {
		if err != nil {
			failed = err
		} else if e.Name == name {
			return e, nil
		}
	}
	if failed == nil {
		failed = fs.ErrNotExist
	}
	return evidence.Entry{}, failed
}
