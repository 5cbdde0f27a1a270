package squashfs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/squashfs"
	"lagan/internal/needs"
)

func TestOpenErrors(t *testing.T) {
	good := unpack(t, "gzip")
	for _, c := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  error
	}{
		{"empty", func([]byte) []byte { return nil }, evidence.ErrFormat},
		{"another magic", func(b []byte) []byte { b[0] ^= 1; return b }, evidence.ErrFormat},
		{"big-endian", func(b []byte) []byte { copy(b, "sqsh"); return b }, evidence.ErrUnsupported},
		{"cut in the superblock", func(b []byte) []byte { return b[:90] }, evidence.ErrFormat},
		{"version 3", func(b []byte) []byte { b[28] = 3; return b }, evidence.ErrUnsupported},
		{"unknown compressor", func(b []byte) []byte { b[20] = 9; return b }, evidence.ErrUnsupported},
		{"block size 2^31", func(b []byte) []byte { b[22] = 31; return b }, evidence.ErrCorrupt},
		{"block size other than its logarithm", func(b []byte) []byte { b[13] = 1; return b }, evidence.ErrCorrupt},
		{"tables behind the end", func(b []byte) []byte { b[70] = 1; return b }, evidence.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.spoil(slices.Clone(good))
			f, err := squashfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
			if f != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
}

// TestTruncated: an image without its end keeps what is in front.
func TestTruncated(t *testing.T) {
	b := unpack(t, "gzip-4k")
	for cut := len(b) - 4096; cut > 4096; cut -= len(b) / 7 {
		f, err := squashfs.Open(bytes.NewReader(b[:cut]), int64(cut), evidence.Options{})
		if err != nil {
			if !ours(err) {
				t.Fatal(err)
			}
			continue
		}
		exercise(f, func(err error) {
			if !ours(err) {
				t.Errorf("cut at %#x: %v", cut, err)
			}
		})
	}
}

// TestMutants changes single bytes of every image, at places that a fixed seed chose.
func TestMutants(t *testing.T) {
	n := needs.Rounds(60, 10)
	for name := range golden {
		b := unpack(t, name)
		rng := rand.New(rand.NewPCG(3, uint64(len(name))))
		for range n {
			m := slices.Clone(b)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(m))
				if rng.IntN(2) == 0 {
					at = len(m) - 1 - rng.IntN(min(len(m), 8192)) // where metadata is
				}
				m[at] = byte(rng.Uint32())
			}
			f, err := squashfs.Open(bytes.NewReader(m), int64(len(m)), evidence.Options{})
			if err != nil {
				if !ours(err) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			exercise(f, func(err error) {
				if !ours(err) {
					t.Errorf("%s: %v", name, err)
				}
			})
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

// TestReadErrors: a read that fails is handed up as it is.
func TestReadErrors(t *testing.T) {
	b := unpack(t, "lz4")
	for n := 0; n < 60; n += 3 {
		f, err := squashfs.Open(&failing{bytes.NewReader(b), n}, int64(len(b)), evidence.Options{})
		if err != nil {
			if !errors.Is(err, errSector) {
				t.Fatalf("read %d: %v", n, err)
			}
			continue
		}
		said := false
		exercise(f, func(err error) { said = said || errors.Is(err, errSector) })
		if !said {
			t.Fatalf("read %d fails and nothing is said", n)
		}
	}
}
