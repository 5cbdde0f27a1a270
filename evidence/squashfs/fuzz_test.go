package squashfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/squashfs"
)

// ours says whether an error is one that a reader of evidence gives.
func ours(err error) bool {
	return errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat) || errors.Is(err, fs.ErrNotExist)
}

// exercise reads all of an image, within bounds, and hands every error to check.
func exercise(f *squashfs.FS, check func(error)) {
	budget := 64 << 20
	n := 0
	evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if n++; n > 5000 || budget < 0 {
			return io.ErrShortBuffer
		}
		if err != nil {
			check(err)
			return nil
		}
		if _, err := f.Xattrs(e.Ino); err != nil {
			check(err)
		}
		switch i.Type {
		case evidence.TypeFile:
			r, err := f.Open(e.Ino)
			if err != nil {
				check(err)
				return nil
			}
			got, err := io.CopyN(io.Discard, r, min(r.Size(), 1<<20))
			budget -= int(got)
			if err != nil {
				check(err)
			}
			if r.Size() > 0 {
				if _, err := r.ReadAt(make([]byte, 1), r.Size()-1); err != nil {
					check(err)
				}
			}
		case evidence.TypeSymlink:
			if _, err := f.ReadLink(e.Ino); err != nil {
				check(err)
			}
		case evidence.TypeDir:
			if _, err := f.Lookup(e.Ino, "many"); err != nil {
				check(err)
			}
		}
		return nil
	})
}

// FuzzOpen changes bytes of an image: none may lead to a panic, to a read
// without end, or to another error than the readers'.
func FuzzOpen(f *testing.F) {
	names := slices.Sorted(maps.Keys(golden))
	images := map[string][]byte{}
	for i, name := range names {
		images[name] = unpack(f, name)
		f.Add(uint8(i), uint32(16), []byte{0xff, 0xff, 1}, uint32(32), []byte{0x24})
		f.Add(uint8(i), uint32(len(images[name])-300), []byte{0x03, 0x00}, uint32(0x80), []byte{0xff, 0xff, 0xff, 0x7f})
	}
	f.Fuzz(func(t *testing.T, which uint8, at1 uint32, patch1 []byte, at2 uint32, patch2 []byte) {
		b := slices.Clone(images[names[int(which)%len(names)]])
		copy(b[at1%uint32(len(b)):], patch1)
		copy(b[at2%uint32(len(b)):], patch2)
		img, err := squashfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
		if err != nil {
			if img != nil || !ours(err) {
				t.Fatalf("%v, %v", img, err)
			}
			return
		}
		exercise(img, func(err error) {
			if !ours(err) {
				t.Errorf("an error not of ours: %v", err)
			}
		})
	})
}
