package ext4

import (
	"fmt"
	"io"

	"lagan/evidence"
)

// Open opens a regular file. Holes and unwritten extents read as zeros. An
// encrypted file is evidence.ErrUnsupported: without a key the kernel opens it
// no more than we do.
func (fs *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	in, err := fs.get(ino)
	if err != nil {
		return nil, err
	}
	switch {
	case in.typ() != evidence.TypeFile:
		return nil, fmt.Errorf("inode %d is no regular file but a %s", ino, in.typ())
	case in.flags&flagEncrypt != 0:
		return nil, fmt.Errorf("inode %d: content is encrypted (fscrypt): %w", ino, evidence.ErrUnsupported)
	case in.flags&flagCompr != 0 && fs.sb.incompat&incompatCompression != 0:
		return nil, fmt.Errorf("inode %d: content is compressed (e2compr): %w", ino, evidence.ErrUnsupported)
	case in.size < 0:
		return nil, fmt.Errorf("inode %d: size %#x: %w", ino, uint64(in.size), evidence.ErrCorrupt)
	}
	return fs.content(in), nil
}

// Place implements evidence.Placer.
func (fs *FS) Place(ino evidence.Ino) (int64, bool) {
	in, err := fs.get(ino)
	if err != nil || in.typ() != evidence.TypeFile || in.flags&flagInlineData != 0 {
		return 0, false
	}
	m := fs.mapping(in)
	r, err := m.find(0)
	if err == nil && r.pblk == 0 && r.n > 0 { // a hole: what is behind it
		r, err = m.find(r.n)
	}
	if err != nil || r.pblk == 0 {
		return 0, false
	}
	return int64(r.pblk) * int64(fs.sb.blockSize()), true
}

// content returns what is in an inode, up to its size.
func (fs *FS) content(in *inode) *io.SectionReader {
	size := max(in.size, 0)
	if in.flags&flagInlineData != 0 {
		head, tail := fs.inline(in)
		return io.NewSectionReader(inlineFile(string(head)+string(tail)), 0, size)
	}
	return io.NewSectionReader(&file{fs.mapping(in)}, 0, size)
}

// inline returns the two places of inline data: i_block, and the value of the
// attribute system.data (ext4_read_inline_data in inline.c).
func (fs *FS) inline(in *inode) (head, tail []byte) {
	err := fs.inodeXattrs(in, func(e xattrEntry, region []byte) error {
		if e.index == xattrSystemIndex && string(e.name) == "data" && e.inum == 0 {
			var err error
			tail, err = e.value(region)
			return err
		}
		return nil
	})
	if err != nil {
		fs.warn(object{inXattr, uint64(in.ino)}, fmt.Errorf("inode %d: looking for inline data: %w", in.ino, err))
	}
	return in.block[:], tail
}

// inlineFile reads inline data, and zeros behind it.
type inlineFile string

func (f inlineFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(f)) {
		n = copy(p, f[off:])
	}
	clear(p[n:])
	return len(p), nil
}

// file reads the blocks of an inode. It has no end: io.SectionReader gives it one.
type file struct{ m *mapping }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at offset %d", off)
	}
	done := 0
	for done < len(p) {
		n, err := f.readRun(p[done:], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readRun reads what lies in one piece on the volume, or is a hole.
func (f *file) readRun(p []byte, off int64) (int, error) {
	fs := f.m.fs
	bits := fs.sb.blockBits
	at := uint64(off) >> bits
	in := uint64(off) & (1<<bits - 1)
	r, err := f.m.find(at)
	if err != nil {
		return 0, err
	}
	// Runs that follow one another on the volume too are read as one.
	for r.pblk != 0 && r.n<<bits-in < uint64(len(p)) {
		next, err := f.m.find(at + r.n)
		if err != nil || next.pblk != r.pblk+r.n {
			break
		}
		r.n += next.n
	}
	if r.n < 1<<(63-bits) {
		p = p[:min(uint64(len(p)), r.n<<bits-in)]
	}
	if r.pblk == 0 {
		clear(p)
		return len(p), nil
	}
	pos := fs.offset(r.pblk) + int64(in)
	if pos+int64(len(p)) > fs.size {
		have := max(0, fs.size-pos)
		if have == 0 {
			return 0, fmt.Errorf("inode %d: offset %#x is behind the end of the volume: %w", f.m.ino, pos, evidence.ErrCorrupt)
		}
		p = p[:have]
	}
	if err := readFull(fs.dev, p, pos); err != nil {
		return 0, fmt.Errorf("inode %d: %w", f.m.ino, err)
	}
	return len(p), nil
}
