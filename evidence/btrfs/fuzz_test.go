package btrfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// ours says whether an error is one that a reader may give.
func ours(err error) bool {
	return errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, io.ErrUnexpectedEOF)
}

// maxMet bounds what is looked at of one image: a spoiled one may name a file often.
const maxMet = 3000

// exercise reads all that an image has.
func exercise(t testing.TB, r io.ReaderAt, size int64) {
	check := func(err error) {
		if err != nil && !ours(err) {
			t.Errorf("%v", err)
		}
	}
	f, err := Open(r, size, evidence.Options{Warn: check})
	if err != nil {
		check(err)
		return
	}
	f.Describe()
	met := 0
	evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		check(err)
		if met++; met > maxMet {
			return fs.SkipAll
		}
		_, err = f.Xattrs(e.Ino)
		check(err)
		switch i.Type {
		case evidence.TypeSymlink:
			_, err := f.ReadLink(e.Ino)
			check(err)
		case evidence.TypeFile:
			if s, err := f.Open(e.Ino); err != nil {
				check(err)
			} else {
				_, err := io.Copy(io.Discard, io.LimitReader(s, 1<<20))
				check(err)
			}
		}
		return nil
	})
	met = 0
	var dirs []evidence.Ino
	for i, err := range f.Inodes() {
		check(err)
		if i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
		if met++; met > maxMet {
			break
		}
	}
	for _, err := range f.Entries(dirs) {
		check(err)
		if met++; met > 2*maxMet {
			break
		}
	}
	for _, err := range f.Deleted() {
		check(err)
	}
	for _, err := range f.Subvolumes() {
		check(err)
	}
}

// patched is an image with some bytes changed.
type patched struct {
	image   []byte
	changes map[int64]byte
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(p.image)) {
		return 0, io.EOF
	}
	n := copy(b, p.image[off:])
	for at, c := range p.changes {
		if at >= off && at < off+int64(n) {
			b[at-off] = c
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzImage changes bytes of the tree blocks and the superblock of a small
// image: a block in 4 KiB, a place in it and a value for each. Checksums are
// wrong then, which costs nothing but a warning.
func FuzzImage(f *testing.F) {
	var images [][]byte
	var blocks [][]int
	for _, g := range goldens {
		b := load(f, g.name)
		images = append(images, b)
		blocks = append(blocks, append(treeBlocks(b), int(superOffsets[0])))
	}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{0, 0, 0x60, 0, 255, 3, 0, 0x64, 0, 1, 9, 0, 0x70, 0, 0})
	f.Add(uint8(1), []byte{255, 255, 0x60, 0, 0, 255, 255, 0xc6, 0, 1})
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		n := int(which) % len(images)
		p := &patched{images[n], map[int64]byte{}}
		for ; len(data) >= 5 && len(p.changes) < 40; data = data[5:] {
			block := blocks[n][int(binary.LittleEndian.Uint16(data))%len(blocks[n])]
			p.changes[int64(block)+int64(binary.LittleEndian.Uint16(data[2:])%4096)] = data[4]
		}
		exercise(t, p, int64(len(p.image)))
	})
}

// FuzzDecompress unpacks what no compressor packed.
func FuzzDecompress(f *testing.F) {
	f.Add(uint8(compressLZO), []byte("\x10\x00\x00\x00\x08\x00\x00\x00\x15abcd\x11\x00\x00"), uint16(100))
	f.Add(uint8(compressZlib), []byte("x\x9cKLJNI\x05\x00\x05\xc8\x01\xf0"), uint16(5))
	f.Add(uint8(compressZstd), []byte("\x28\xb5\x2f\xfd\x04\x00\x29\x00\x00abcde"), uint16(5))
	f.Fuzz(func(t *testing.T, kind uint8, packed []byte, size uint16) {
		out, err := decompress(kind%4, packed, int(size), 4096)
		if err != nil && !ours(err) {
			t.Error(err)
		}
		if len(out) > int(size) {
			t.Errorf("%d bytes of %d", len(out), size)
		}
	})
}

// TestReadFaults fails the Nth read, for every N.
func TestReadFaults(t *testing.T) {
	b := load(t, "plain")
	for n := 0; ; n++ {
		r := &faulty{r: bytes.NewReader(b), left: n}
		f, err := Open(r, int64(len(b)), evidence.Options{Warn: func(error) {}})
		if err == nil {
			for range f.Inodes() {
			}
		}
		if r.left >= 0 {
			if n < 10 {
				t.Errorf("only %d reads", n)
			}
			return
		}
	}
}

type faulty struct {
	r    io.ReaderAt
	left int
}

func (f *faulty) ReadAt(b []byte, off int64) (int, error) {
	if f.left--; f.left == -1 {
		return 0, errors.New("medium error")
	}
	return f.r.ReadAt(b, off)
}

func TestTruncated(t *testing.T) {
	b := load(t, "plain")
	for size := 60 << 10; size < len(b); size += needs.Rounds(397, 1985) << 10 {
		exercise(t, bytes.NewReader(b[:size]), int64(size))
	}
}

// TestCorpora reads the images that btrfs-progs keeps of old accidents.
func TestCorpora(t *testing.T) {
	top := needs.Corpora(t)
	needs.Tool(t, "xz")
	images, _ := filepath.Glob(filepath.Join(top, "btrfs-progs", "fuzz-tests", "images", "*.xz"))
	if len(images) == 0 {
		t.Fatal("no images")
	}
	for _, path := range images {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".raw.xz"), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			run(t, "sh", "-c", `xz -dc "$1" > "$2"`, "sh", path, image)
			f, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			exercise(t, f, info.Size())
		})
	}
}
