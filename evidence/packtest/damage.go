package packtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// Ours says whether an error is one that a reader of evidence gives.
func Ours(err error) bool {
	return errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat) || errors.Is(err, fs.ErrNotExist)
}

// Exercise reads all of an image, within bounds, and hands every error to check.
func Exercise(f evidence.FS, check func(error)) {
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
			if _, err := evidence.Lookup(f, e.Ino, "many"); err != nil {
				check(err)
			}
		}
		return nil
	})
}

// read opens an image that may be damaged and reads all of it; fail is told of
// errors that are none of a reader's.
func (f Format) read(b []byte, fail func(error)) {
	fsys, err := f.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		if fsys != nil || !Ours(err) {
			fail(err)
		}
		return
	}
	Exercise(fsys, func(err error) {
		if !Ours(err) {
			fail(err)
		}
	})
}

// TestTruncated cuts the end off an image: what is in front is kept.
func (f Format) TestTruncated(t *testing.T, name string) {
	b := f.Unpack(t, name)
	for cut := len(b) - 4096; cut > 4096; cut -= len(b) / 7 {
		f.read(b[:cut], func(err error) { t.Errorf("cut at %#x: %v", cut, err) })
	}
}

// TestMutants changes single bytes of every image, at places that a fixed seed chose.
func (f Format) TestMutants(t *testing.T) {
	for name := range f.Golden {
		b := f.Unpack(t, name)
		rng := rand.New(rand.NewPCG(3, uint64(len(name))))
		for range needs.Rounds(60, 10) {
			m := slices.Clone(b)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(m))
				if rng.IntN(2) == 0 {
					at = f.Near(rng, len(m))
				}
				m[at] = byte(rng.Uint32())
			}
			f.read(m, func(err error) { t.Errorf("%s: %v", name, err) })
		}
	}
}

// failing fails every read from the nth on.
type failing struct {
	r    io.ReaderAt
	left int
}

var errSector = errors.New("bad sector")

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errSector
	}
	return f.r.ReadAt(b, off)
}

// TestReadErrors fails reads, each time from a later one on, up to the last:
// the error is handed up as it is.
func (f Format) TestReadErrors(t *testing.T, name string, last, step int) {
	b := f.Unpack(t, name)
	for n := 0; n < last; n += step {
		fsys, err := f.Open(&failing{bytes.NewReader(b), n}, int64(len(b)), evidence.Options{})
		if err != nil {
			if !errors.Is(err, errSector) {
				t.Fatalf("read %d: %v", n, err)
			}
			continue
		}
		said := false
		Exercise(fsys, func(err error) { said = said || errors.Is(err, errSector) })
		if !said {
			t.Fatalf("read %d fails and nothing is said", n)
		}
	}
}

// Patches are changes to an image: what comes instead at two places.
type Patches struct {
	At1    uint32
	Bytes1 []byte
	At2    uint32
	Bytes2 []byte
}

// Fuzz changes bytes of an image: none may lead to a panic, to a read without
// end, or to another error than the readers'. seeds are made for each image.
func (f Format) Fuzz(fz *testing.F, seeds func(size int) []Patches) {
	names := slices.Sorted(maps.Keys(f.Golden))
	images := map[string][]byte{}
	for i, name := range names {
		images[name] = f.Unpack(fz, name)
		for _, p := range seeds(len(images[name])) {
			fz.Add(uint8(i), p.At1, p.Bytes1, p.At2, p.Bytes2)
		}
	}
	fz.Fuzz(func(t *testing.T, which uint8, at1 uint32, patch1 []byte, at2 uint32, patch2 []byte) {
		b := slices.Clone(images[names[int(which)%len(names)]])
		copy(b[at1%uint32(len(b)):], patch1)
		copy(b[at2%uint32(len(b)):], patch2)
		f.read(b, func(err error) { t.Errorf("an error not of ours: %v", err) })
	})
}
