package squashfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"

	"lagan/evidence"
	"lagan/internal/bin"
)

// ReadDir implements evidence.FS: squashfs_readdir (dir.c). The listing is a
// sequence of headers, each with up to 256 entries. It can't be read past what
// is wrong in it.
func (f *FS) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		in, err := f.readInode(dir)
		if err == nil && in.typ != evidence.TypeDir {
			err = fmt.Errorf("inode %d is a %s, not a directory: %w", in.number, in.typ, evidence.ErrCorrupt)
		}
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		if err := f.readDir(in, func(e evidence.Entry) bool { return yield(e, nil) }); err != nil {
			yield(evidence.Entry{}, fmt.Errorf("directory inode %d: %w", in.number, err))
		}
	}
}

// maxDirSize bounds a listing, which little on the disk can decompress to: 3
// million names of 30 bytes.
const maxDirSize = 128 << 20

// readDir calls yield with each entry until it returns false.
func (f *FS) readDir(in inode, yield func(evidence.Entry) bool) error {
	if in.size <= dirExtra {
		return nil
	}
	if in.size > maxDirSize {
		return fmt.Errorf("%d bytes: %w", in.size, evidence.ErrCorrupt)
	}
	c, err := f.at(f.sb.dirTable+in.start, int(in.offset))
	if err != nil {
		return err
	}
	left := in.size - dirExtra
	last := ""
	for left > 0 {
		var head [12]byte
		if left < uint64(len(head)) {
			return fmt.Errorf("%d bytes are no header: %w", left, evidence.ErrCorrupt)
		}
		if err := c.read(head[:]); err != nil {
			return err
		}
		left -= uint64(len(head))
		h := bin.LE(head[:])
		count, start := uint64(h.U32())+1, h.U32()
		if count > dirCount {
			return fmt.Errorf("%d entries under a header: %w", count, evidence.ErrCorrupt)
		}
		for range count {
			e, n, err := readDirent(c, start)
			switch {
			case err != nil:
				return err
			case n > left:
				return fmt.Errorf("entry %q behind the end: %w", e.Name, evidence.ErrCorrupt)
			case e.Name <= last: // sorted, so that no listing repeats without end
				return fmt.Errorf("%q behind %q: %w", e.Name, last, evidence.ErrCorrupt)
			}
			left -= n
			last = e.Name
			if !yield(e) {
				return nil
			}
		}
	}
	return nil
}

// readDirent reads struct squashfs_dir_entry and returns its length.
func readDirent(c *cursor, start uint32) (evidence.Entry, uint64, error) {
	var head [8]byte
	if err := c.read(head[:]); err != nil {
		return evidence.Entry{}, 0, err
	}
	d := bin.LE(head[:])
	offset := d.U16()
	d.Skip(2) // difference of the inode number
	kind, size := d.U16(), int(d.U16())+1
	if size > maxName {
		return evidence.Entry{}, 0, fmt.Errorf("name of %d bytes: %w", size, evidence.ErrCorrupt)
	}
	name := make([]byte, size)
	if err := c.read(name); err != nil {
		return evidence.Entry{}, 0, err
	}
	if bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 || string(name) == "." || string(name) == ".." {
		return evidence.Entry{}, 0, fmt.Errorf("name %q: %w", name, evidence.ErrCorrupt)
	}
	return evidence.Entry{Name: string(name), Ino: evidence.Ino(start)<<16 | evidence.Ino(offset), Type: baseType(kind)}, uint64(len(head) + size), nil
}

// Lookup implements evidence.Lookuper.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	for e, err := range f.ReadDir(dir) {
		if err != nil {
			return evidence.Entry{}, err
		}
		if e.Name == name {
			return e, nil
		}
		if e.Name > name {
			break
		}
	}
	return evidence.Entry{}, fs.ErrNotExist
}
