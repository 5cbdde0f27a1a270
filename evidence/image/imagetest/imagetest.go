// Package imagetest has what the tests of the disk containers share: a disk to
// pack, the tools that pack it, and the comparison with what is unpacked.
package imagetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// Disk returns size bytes of what a disk has: zeros, text, noise, lone sectors;
// always the same for one size.
func Disk(size int) []byte {
	d := make([]byte, size)
	rng := rand.New(rand.NewSource(int64(size)))
	text := []byte("evidence of what a node did, ")
	for at := 0; at < size; {
		n := min(1+rng.Intn(200_000), size-at)
		switch rng.Intn(5) {
		case 0: // noise
			rng.Read(d[at : at+n])
		case 1: // text
			for i := 0; i < n; i += len(text) {
				copy(d[at+i:at+n], text)
			}
		case 2: // one sector
			binary.LittleEndian.PutUint64(d[at/512*512:], rng.Uint64())
		}
		at += n
	}
	return d
}

// Write puts b into a file of the test's own folder.
func Write(tb testing.TB, name string, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Run runs a tool that makes fixtures.
func Run(tb testing.TB, tool string, args ...string) string {
	tb.Helper()
	out, err := exec.Command(needs.Tool(tb, tool), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	return string(out)
}

// File opens a file for the length of the test.
func File(tb testing.TB, path string) (*os.File, int64) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	return f, st.Size()
}

// Image is a disk that a container was opened as.
type Image interface {
	io.ReaderAt
	Size() int64
}

// Compare reads the image as a whole and 10,000 times at random, and compares
// with the disk that it was made of.
func Compare(tb testing.TB, im Image, want []byte) {
	tb.Helper()
	if im.Size() != int64(len(want)) {
		tb.Fatalf("size %d, want %d", im.Size(), len(want))
	}
	whole := make([]byte, len(want))
	if n, err := im.ReadAt(whole, 0); n != len(want) || err != nil && err != io.EOF {
		tb.Fatalf("read %d of %d: %v", n, len(want), err)
	}
	if !bytes.Equal(whole, want) {
		at := 0
		for whole[at] == want[at] {
			at++
		}
		tb.Fatalf("the disk differs from offset %#x on", at)
	}
	rng := rand.New(rand.NewSource(1))
	p := make([]byte, 300_000)
	for i := range 10_000 {
		n := 1 + rng.Intn(5000)
		if i%100 == 0 {
			n = len(p)
		}
		off := rng.Intn(len(want) + 10)
		got, err := im.ReadAt(p[:n], int64(off))
		if end := min(off+n, len(want)); off < len(want) && (got != end-off || !bytes.Equal(p[:got], want[off:end])) {
			tb.Fatalf("%d bytes at %#x: %d read, %v, or other ones", n, off, got, err)
		}
		if (err == io.EOF) != (off+n > len(want)) || err != nil && err != io.EOF {
			tb.Fatalf("%d bytes at %#x of %#x: %v", n, off, len(want), err)
		}
	}
}

// Fuzz reads an image that was opened from fuzzed bytes, if it was, at some
// places. Every error has to be one of the readers' own.
func Fuzz(tb testing.TB, im Image, err error) {
	tb.Helper()
	if err == nil && im != nil {
		size := im.Size()
		if size < 0 {
			tb.Fatalf("size %d", size)
		}
		p := make([]byte, 70_000)
		for _, off := range []int64{0, 1, size / 3, size / 2, size - 70_000, size - 1, size} {
			if off < 0 {
				continue
			}
			var n int
			n, err = im.ReadAt(p, off)
			if n < 0 || n > len(p) || n < len(p) && err == nil {
				tb.Fatalf("%d bytes at %#x, %v", n, off, err)
			}
			check(tb, err)
		}
	}
	check(tb, err)
}

func check(tb testing.TB, err error) {
	tb.Helper()
	for _, ours := range []error{nil, evidence.ErrCorrupt, evidence.ErrFormat, evidence.ErrUnsupported, fs.ErrNotExist, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, ours) {
			return
		}
	}
	tb.Errorf("error of another kind: %v", err)
}
