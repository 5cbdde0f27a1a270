package xfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand"
	"strings"
	"sync/atomic"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// patched is an image with a few bytes changed, without a copy of the image.
type patched struct {
	io.ReaderAt
	at map[int64]byte
}

func (p patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, off)
	for at, v := range p.at {
		if at >= off && at < off+int64(n) {
			b[at-off] = v
		}
	}
	return n, err
}

// counted counts the bytes that are read: what a reader does for a bad image is
// measured by them, since time says as much of the machine.
type counted struct {
	io.ReaderAt
	read atomic.Int64
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, off)
	c.read.Add(int64(n))
	return n, err
}

// ours says whether an error is one that readers may give.
func ours(err error) bool {
	return err == nil || errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), " is a ")
}

// exercise calls everything that an FS has, and returns how many entries it gave.
func exercise(t testing.TB, f *FS) int {
	t.Helper()
	check := func(err error) {
		if !ours(err) {
			t.Fatalf("an error that is none of ours: %v", err)
		}
	}
	var dirs []evidence.Ino
	count := 0
	for i, err := range f.Inodes() {
		check(err)
		if i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
		if count++; count > 20000 {
			t.Fatal("more inodes than the image can hold")
		}
	}
	for _, err := range f.Entries(dirs) {
		check(err)
		if count++; count > 200000 {
			t.Fatal("more entries than the image can hold")
		}
	}
	for _, err := range f.Deleted() {
		check(err)
	}
	for r, err := range f.Recovered() {
		check(err)
		if r.Content != nil {
			_, err := r.Content.ReadAt(make([]byte, 4096), 0)
			_ = err // a read past the end of the device
		}
	}
	buf := make([]byte, 16<<10)
	steps := 0
	enough := errors.New("enough")
	err := evidence.Walk(f, f.Root(), func(_ string, e evidence.Entry, info evidence.Info, err error) error {
		check(err)
		if steps++; steps > 3000 { // folders that are linked twice make endless trees
			return enough
		}
		if info.Type == evidence.TypeSymlink {
			_, err := f.ReadLink(e.Ino)
			check(err)
		}
		_, err = f.Xattrs(e.Ino)
		check(err)
		if info.Type == evidence.TypeFile {
			r, err := f.Open(e.Ino)
			check(err)
			for off := int64(0); err == nil && off < 2<<20; off += int64(len(buf)) {
				_, err = r.ReadAt(buf, off)
				check(err)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		check(err)
	}
	return count
}

// metadata lists where the blocks of an image are that hold metadata, which is where damage matters.
func metadata(f *FS) []int64 {
	var out []int64
	add := func(off int64, n int) {
		for i := range n {
			out = append(out, off+int64(i))
		}
	}
	block := int(f.sb.blockSize)
	for agno := range f.sb.agCount {
		add(f.agOffset(agno), 4*int(f.sb.sectSize))
		agi, _ := f.agi(agno)
		add(f.agOffset(agno)+int64(be.Uint32(agi[agiRoot:]))*int64(block), block)
	}
	for i := range f.Inodes() {
		off, _ := f.inodeOffset(uint64(i.Ino))
		add(off, int(f.sb.inodeSize))
		d, _ := f.inode(uint64(i.Ino))
		if d.format == fmtBtree {
			k, _ := f.dataBlocks(&d)
			root, _ := k.rootBlock()
			for n := range root.n {
				off, _ := f.blockOffset(root.ptr(n), 1)
				add(off, block)
			}
		}
		if k, err := f.attrBlocks(&d); err == nil && d.remoteAttrs() {
			for e := range k.all(0) {
				off, _ := f.blockOffset(e.start, 1)
				add(off, block)
			}
		}
		if k, err := f.dataBlocks(&d); err == nil && (d.typ() == evidence.TypeDir || d.remoteTarget()) {
			for e := range k.all(0) {
				off, _ := f.blockOffset(e.start, 1)
				add(off, block)
			}
		}
	}
	return out
}

// TestMutants reads images of which bytes of metadata were changed. A bad
// checksum keeps nothing from being decoded.
func TestMutants(t *testing.T) {
	rounds := needs.Rounds(100, 15)
	for _, name := range []string{"shapes.img.zst", "v4.img.zst"} {
		t.Run(name, func(t *testing.T) {
			image := unpack(t, name)
			intact := &counted{ReaderAt: bytes.NewReader(image)}
			f, err := Open(intact, int64(len(image)), evidence.Options{NoJournal: true})
			if err != nil {
				t.Fatal(err)
			}
			whole := exercise(t, f)
			where := metadata(f)
			rng := rand.New(rand.NewSource(7))
			kept := 0
			for range rounds {
				p := patched{ReaderAt: strings.NewReader(string(image)), at: map[int64]byte{}}
				for range 1 + rng.Intn(12) {
					at := where[rng.Intn(len(where))]
					p.at[at] = byte(rng.Intn(256))
					if rng.Intn(2) == 0 {
						p.at[at] = image[at] ^ 1<<rng.Intn(8)
					}
				}
				in := &counted{ReaderAt: p}
				f, err := Open(in, int64(len(image)), evidence.Options{NoJournal: true})
				if !ours(err) {
					t.Fatalf("%v: %v", p.at, err)
				}
				if err != nil {
					continue
				}
				if n := exercise(t, f); n > whole/2 {
					kept++
				}
				if read, usual := in.read.Load(), intact.read.Load(); read > 4*usual {
					t.Fatalf("%v: %d bytes were read, of the intact image %d", p.at, read, usual)
				}
			}
			// Damage costs what it hits: most of the tree outlives a dozen bad bytes.
			if kept < rounds*3/4 {
				t.Errorf("only %d of %d mutants kept half of their entries", kept, rounds)
			}
		})
	}
}

// TestTruncated reads what is left of images that were cut short.
func TestTruncated(t *testing.T) {
	image := unpack(t, "shapes.img.zst")
	for _, size := range []int{0, 1, 511, 512, 4096, 1 << 20, 7<<20 + 3, len(image) - 1} {
		f, _, err := openBytes(image[:size], evidence.Options{})
		if !ours(err) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err == nil {
			exercise(t, f)
		}
		if size < 264 && !errors.Is(err, evidence.ErrFormat) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// failing is an image of which every nth read fails, or one sector can't be read.
type failing struct {
	io.ReaderAt
	nth, bad int64
	count    *atomic.Int64
}

var errIO = fmt.Errorf("input/output error: %w", io.ErrUnexpectedEOF)

func (r failing) ReadAt(b []byte, off int64) (int, error) {
	if count := r.count.Add(1); r.nth > 0 && count%r.nth == 0 {
		return 0, errIO
	}
	if r.bad >= 0 && off <= r.bad && r.bad < off+int64(len(b)) {
		n, _ := r.ReaderAt.ReadAt(b[:r.bad-off], off)
		return n, errIO
	}
	return r.ReaderAt.ReadAt(b, off)
}

// TestReadErrors has reads fail: a bad sector costs what is in it only.
func TestReadErrors(t *testing.T) {
	image := string(unpack(t, "shapes.img.zst"))
	for nth := int64(2); nth < 40; nth += int64(needs.Rounds(3, 12)) {
		f, err := Open(failing{strings.NewReader(image), nth, -1, new(atomic.Int64)}, int64(len(image)), evidence.Options{})
		if err == nil {
			exercise(t, f)
		}
	}
	whole, _, err := openBytes([]byte(image), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := evidence.Lookup(whole, whole.Root(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := whole.inodeOffset(uint64(entry.Ino))
	f, err := Open(failing{strings.NewReader(image), 0, bad, new(atomic.Int64)}, int64(len(image)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat(entry.Ino); err == nil {
		t.Error("an inode that can't be read was read")
	}
	total, failed := 0, 0
	for _, err := range f.Inodes() {
		if total++; err != nil {
			failed++
		}
	}
	if failed != 1 || total < 120 {
		t.Errorf("%d inodes, %d errors", total, failed)
	}
}

// TestBackupSuperblock destroys the primary superblock in several ways.
func TestBackupSuperblock(t *testing.T) {
	whole := unpack(t, "shapes.img.zst")
	f, _, err := openBytes(whole, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := readAll(t, f)
	for _, c := range []struct {
		name     string
		from, to int
	}{{"zeroed sector", 0, 512}, {"magic", 0, 4}, {"geometry", 84, 92}, {"checksum", 224, 228}, {"root", 56, 64}, {"zeroed 4096 bytes", 0, 4096}} {
		t.Run(c.name, func(t *testing.T) {
			image := append([]byte{}, whole...)
			clear(image[c.from:c.to])
			f, warnings, err := openBytes(image, evidence.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(*warnings) == 0 || !strings.Contains(fmt.Sprint(*warnings), "superblock") {
				t.Errorf("warnings: %v", *warnings)
			}
			compare(t, want, readAll(t, f))
		})
	}
	all := append([]byte{}, whole...)
	for agno := range f.sb.agCount {
		clear(all[f.agOffset(agno):][:512])
	}
	if _, _, err := openBytes(all, evidence.Options{}); !errors.Is(err, evidence.ErrFormat) {
		t.Errorf("without a superblock: %v", err)
	}
}

// TestBadChecksum expects one warning for each object, and its content.
func TestBadChecksum(t *testing.T) {
	image := unpack(t, "shapes.img.zst")
	f, _, err := openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := readAll(t, f)
	entry, err := evidence.Lookup(f, f.Root(), "leaf")
	if err != nil {
		t.Fatal(err)
	}
	off, _ := f.inodeOffset(uint64(entry.Ino))
	image[off+diCRC] ^= 1
	d, _ := f.inode(uint64(entry.Ino))
	k, err := f.dataBlocks(&d)
	if err != nil {
		t.Fatal(err)
	}
	for pos := range f.dirBlocks(&k) {
		image[pos.off+dir3CRC] ^= 1
	}
	image[f.agOffset(1)+2*int64(f.sb.sectSize)+agiCRC] ^= 1
	f, warnings, err := openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, want, readAll(t, f))
	checkScan(t, f)
	counts := make(map[string]int)
	for _, w := range *warnings {
		if counts[w.Error()]++; !strings.Contains(w.Error(), "bad checksum") {
			t.Error(w)
		}
	}
	for text, n := range counts {
		if n != 1 {
			t.Errorf("%d times: %s", n, text)
		}
	}
	if len(counts) < 4 {
		t.Errorf("warnings: %v", *warnings)
	}
}

// fixChecksum makes the checksum of b right again.
func fixChecksum(b []byte, off int) {
	binary.LittleEndian.PutUint32(b[off:], 0)
	binary.LittleEndian.PutUint32(b[off:], crc32.Checksum(b, castagnoli))
}

// TestForeignBlocks expects blocks with good checksums that belong to others to be refused.
func TestForeignBlocks(t *testing.T) {
	image := unpack(t, "shapes.img.zst")
	f, _, err := openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := evidence.Lookup(f, f.Root(), "leaf")
	if err != nil {
		t.Fatal(err)
	}
	d, _ := f.inode(uint64(entry.Ino))
	k, _ := f.dataBlocks(&d)
	blocks := 0
	for pos := range f.dirBlocks(&k) {
		if blocks++; blocks == 2 {
			b := image[pos.off:][:f.sb.blockSize<<f.sb.dirBlkLog]
			be.PutUint64(b[dir3Owner:], 99)
			fixChecksum(b, dir3CRC)
		}
	}
	f, _, err = openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	for _, err := range f.ReadDir(entry.Ino) {
		if err != nil {
			bad++
			if !errors.Is(err, evidence.ErrCorrupt) || !strings.Contains(err.Error(), "belongs to inode 99") {
				t.Error(err)
			}
			continue
		}
		good++
	}
	if bad != 1 || good < 20 || good >= 200 {
		t.Errorf("%d entries, %d errors", good, bad)
	}
}
