package xfs

import (
	"bytes"
	"errors"
	"testing"

	"lagan/evidence"
)

// shapes opens shapes.img, and tells where things are by path.
type shapes struct {
	t     *testing.T
	image []byte
	f     *FS
}

func (s *shapes) inode(path string) (dinode, []byte) {
	s.t.Helper()
	ino, err := evidence.Resolve(s.f, s.f.Root(), path, false)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.f.inode(uint64(ino))
	if err != nil {
		s.t.Fatal(err)
	}
	off, _ := s.f.inodeOffset(d.ino)
	return d, s.image[off:][:len(d.raw)]
}

// attrBlock returns the attribute fork's first block of an inode.
func (s *shapes) attrBlock(path string) []byte {
	s.t.Helper()
	d, _ := s.inode(path)
	k, err := s.f.attrBlocks(&d)
	if err != nil {
		s.t.Fatal(err)
	}
	_, off, err := k.readBlocks(0, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.image[off:][:s.f.sb.blockSize]
}

// TestLoops makes structures that point to themselves, or claim the whole
// device: each must end soon, with an error that says so.
func TestLoops(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(s *shapes)
		read func(f *FS, s *shapes) []error
	}{
		{"directory over a whole group", func(s *shapes) {
			_, raw := s.inode("leaf")
			fork := raw[dinodeV3Size:]
			be.PutUint64(fork, 0)
			be.PutUint64(fork[8:], uint64(s.f.sb.agBlocks)) // from block 0 on
		}, readDirOf("leaf")},
		{"directory of a hundred maps of one block", func(s *shapes) {
			d, raw := s.inode("leaf")
			fork := raw[dinodeV3Size:]
			first := decodeExtent(fork)
			room := len(d.dataFork()) / bmbtRec
			for i := range room {
				be.PutUint64(fork[i*bmbtRec:], uint64(4*i)<<9)
				be.PutUint64(fork[i*bmbtRec+8:], first.start<<21|4)
			}
			be.PutUint32(raw[diNextents:], uint32(room))
		}, entriesOf},
		{"attribute tree that is its own child", func(s *shapes) {
			b := s.attrBlock("x/ea-many")
			be.PutUint32(b[da3NodeHdr+4:], 0)
		}, xattrErrors("x/ea-many")},
		{"attribute tree of too many levels", func(s *shapes) {
			be.PutUint16(s.attrBlock("x/ea-many")[58:], 99)
		}, xattrErrors("x/ea-many")},
		{"extent tree that is its own child", func(s *shapes) {
			_, raw := s.inode("x/fragmented")
			fork := raw[dinodeV3Size:]
			room := (len(fork) - 4) / 16
			child := be.Uint64(fork[4+8*room:])
			be.PutUint16(fork, 3)
			off, err := s.f.blockOffset(child, 1)
			if err != nil {
				s.t.Fatal(err)
			}
			b := s.image[off:][:s.f.sb.blockSize]
			be.PutUint16(b[4:], 2)
			be.PutUint16(b[6:], 1)
			be.PutUint64(b[btreeLongCRC+8*((len(b)-btreeLongCRC)/16):], child)
		}, contentOf("x/fragmented")},
		{"inode tree that is its own child", func(s *shapes) {
			agi, _ := s.f.agi(0)
			root := be.Uint32(agi[agiRoot:])
			b := s.image[int(root)<<s.f.sb.blockLog:][:s.f.sb.blockSize]
			be.PutUint16(b[4:], 1)
			be.PutUint16(b[6:], 2)
			be.PutUint32(b[btreeShortCRC+4*((len(b)-btreeShortCRC)/8):], root)
			be.PutUint32(s.image[2*s.f.sb.sectSize+agiLevel:], 2)
		}, inodesOf},
		{"inode tree of too many levels", func(s *shapes) {
			be.PutUint32(s.image[2*s.f.sb.sectSize+agiLevel:], 1<<30)
		}, inodesOf},
		{"unlinked inodes in a circle", func(s *shapes) {
			d, raw := s.inode("hello")
			be.PutUint32(raw[diNextUnlinked:], uint32(d.ino))
			be.PutUint32(s.image[2*s.f.sb.sectSize+agiUnlinked+4*uint32(d.ino%agiBuckets):], uint32(d.ino))
		}, deletedOf},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &shapes{t: t, image: unpack(t, "shapes.img.zst")}
			var err error
			if s.f, _, err = openBytes(s.image, evidence.Options{}); err != nil {
				t.Fatal(err)
			}
			c.edit(s)
			in := &counted{ReaderAt: bytes.NewReader(s.image)}
			f, err := Open(in, int64(len(s.image)), evidence.Options{NoJournal: true})
			if err != nil {
				t.Fatal(err)
			}
			errs := c.read(f, s)
			if len(errs) == 0 || len(errs) > 2*maxBadBlocks || !errors.Is(errors.Join(errs...), evidence.ErrCorrupt) {
				t.Errorf("%d errors: %v", len(errs), errs[:min(len(errs), 3)])
			}
			if read := in.read.Load(); read > int64(len(s.image)) {
				t.Errorf("%d bytes were read of an image of %d", read, len(s.image))
			}
			exercise(t, f)
		})
	}
}

func readDirOf(path string) func(*FS, *shapes) []error {
	return func(f *FS, s *shapes) (errs []error) {
		d, _ := s.inode(path)
		for _, err := range f.ReadDir(evidence.Ino(d.ino)) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		return errs
	}
}

func xattrErrors(path string) func(*FS, *shapes) []error {
	return func(f *FS, s *shapes) (errs []error) {
		d, _ := s.inode(path)
		_, err := f.Xattrs(evidence.Ino(d.ino))
		return []error{err}
	}
}

func contentOf(path string) func(*FS, *shapes) []error {
	return func(f *FS, s *shapes) (errs []error) {
		d, _ := s.inode(path)
		return []error{readOf(f, evidence.Ino(d.ino))}
	}
}

func entriesOf(f *FS, _ *shapes) (errs []error) {
	var dirs []evidence.Ino
	for i := range f.Inodes() {
		if i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
	}
	for _, err := range f.Entries(dirs) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func inodesOf(f *FS, _ *shapes) (errs []error) {
	for _, err := range f.Inodes() {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func deletedOf(f *FS, _ *shapes) (errs []error) {
	for _, err := range f.Deleted() {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
