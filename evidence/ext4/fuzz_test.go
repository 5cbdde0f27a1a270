package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// ours says whether an error is one that a reader may return.
func ours(err error) bool {
	return errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat)
}

// exercise reads everything there is in an image, each directory once, and
// returns how many errors and warnings there were.
func exercise(t testing.TB, r io.ReaderAt, size int64, accept func(error) bool) (told int) {
	t.Helper()
	var w warnings
	defer func() { told += len(w.told()) }()
	check := func(err error) {
		if err != nil {
			if told++; !accept(err) {
				t.Errorf("an error of no kind: %v", err)
			}
		}
	}
	fs, err := Open(r, size, w.options())
	if err != nil {
		check(err)
		return told
	}
	evidence.Describe(fs)
	seen := map[evidence.Ino]bool{fs.Root(): true}
	for queue := []evidence.Ino{fs.Root()}; len(queue) > 0; queue = queue[1:] {
		ino := queue[0]
		info, err := fs.Stat(ino)
		check(err)
		_, err = fs.Xattrs(ino)
		check(err)
		switch {
		case info.Type == evidence.TypeFile:
			f, err := fs.Open(ino)
			if check(err); err == nil {
				_, err = io.CopyN(io.Discard, f, min(f.Size(), 1<<20))
				check(err)
			}
		case info.Type == evidence.TypeSymlink:
			_, err := fs.ReadLink(ino)
			check(err)
		case info.Type == evidence.TypeDir:
			for e, err := range fs.ReadDir(ino) {
				if check(err); err == nil && !seen[e.Ino] {
					seen[e.Ino] = true
					queue = append(queue, e.Ino)
				}
			}
		}
	}
	var dirs []evidence.Ino
	for in, err := range fs.Inodes() {
		if check(err); err == nil && in.Info.Type == evidence.TypeDir {
			dirs = append(dirs, in.Ino)
		}
	}
	for _, err := range fs.Entries(dirs) {
		check(err)
	}
	for _, err := range fs.Deleted() {
		check(err)
	}
	for r, err := range fs.Recovered() {
		check(err)
		if r.Content != nil {
			_, err := r.Content.ReadAt(make([]byte, 4096), 0)
			_ = err // a read past the end of the device
		}
	}
	return told
}

// patched is an image with some bytes changed.
type patched struct {
	image []byte
	bytes map[int64]byte
}

func (p patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(p.image).ReadAt(b, off)
	for at, v := range p.bytes {
		if i := at - off; i >= 0 && i < int64(n) {
			b[i] = v
		}
	}
	return n, err
}

// interesting are the places of an image where a change matters: not the
// content of files, and nothing that is 0xaa.
func interesting(image []byte) (out []int64) {
	for at := superOffset; at < len(image); at += 16 {
		if b := image[at : at+16]; !bytes.Equal(b, bytes.Repeat([]byte{0xaa}, 16)) && !bytes.Equal(b, make([]byte, 16)) {
			out = append(out, int64(at))
		}
	}
	return out
}

// FuzzImage changes bytes of whole filesystems: of each 4 bytes of the input
// three choose the place and one is written there.
func FuzzImage(f *testing.F) {
	var bases [][]byte
	var places [][]int64
	for i, name := range images {
		bases = append(bases, unpacked(f, name))
		places = append(places, interesting(bases[i]))
		f.Add(byte(i), []byte{0, 0, 0, 0, 0, 1, 0, 255})
	}
	f.Fuzz(func(t *testing.T, base byte, patch []byte) {
		i := int(base) % len(bases)
		p := patched{bases[i], map[int64]byte{}}
		for ; len(patch) >= 4 && len(p.bytes) < 64; patch = patch[4:] {
			n := int(patch[0])<<16 | int(patch[1])<<8 | int(patch[2])
			p.bytes[places[i][n/16%len(places[i])]+int64(n%16)] = patch[3]
		}
		exercise(t, p, int64(len(p.image)), ours)
	})
}

// TestMutants does the same with a fixed seed; LAGAN_MUTANTS says how often.
func TestMutants(t *testing.T) {
	count := needs.Rounds(60, 12)
	if n, err := strconv.Atoi(os.Getenv("LAGAN_MUTANTS")); err == nil {
		count = n
	}
	for k, name := range images {
		image := unpacked(t, name)
		places := interesting(image)
		rng := rand.New(rand.NewPCG(uint64(k), 42))
		for range count {
			p := patched{image, map[int64]byte{}}
			for range 1 + rng.IntN(24) {
				v := []byte{0, 1, 0x7f, 0x80, 0xff, byte(rng.Uint32())}[rng.IntN(6)]
				p.bytes[places[rng.IntN(len(places))]+rng.Int64N(16)] = v
			}
			if rng.IntN(4) == 0 { // one structure in the place of another
				from, to := places[rng.IntN(len(places))]&^255, places[rng.IntN(len(places))]&^255
				for i := range int64(256) {
					p.bytes[to+i] = image[from+i]
				}
			}
			exercise(t, p, int64(len(image)), ours)
			if t.Failed() {
				t.Fatalf("%s with %v", name, p.bytes)
			}
		}
	}
}

var errDisk = errors.New("the disk failed")

// failing fails its nth read, or cuts it short.
type failing struct {
	io.ReaderAt
	left  int
	short bool
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.left--; f.left != 0 {
		return f.ReaderAt.ReadAt(b, off)
	}
	if f.short {
		n, _ := f.ReaderAt.ReadAt(b[:len(b)/2], off)
		return n, io.ErrUnexpectedEOF
	}
	return 0, errDisk
}

// TestFaults fails every read in turn: what is lost is said.
func TestFaults(t *testing.T) {
	image, want := unpacked(t, "fscrypt"), golden(t, "fscrypt")
	accept := func(err error) bool {
		return ours(err) || errors.Is(err, errDisk) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	for _, short := range []bool{false, true} {
		for n := 1; ; n += needs.Rounds(1, 7) {
			f := &failing{bytes.NewReader(image), n, short}
			exercise(t, f, int64(len(image)), accept)
			if f.left > 0 {
				break
			}
			var w warnings
			f = &failing{bytes.NewReader(image), n, short}
			fs, err := Open(f, int64(len(image)), w.options())
			if err != nil {
				continue
			}
			if got, errs := listing(fs); len(errs)+len(w.told()) == 0 {
				compare(t, want, got)
			}
		}
	}
}

// TestTruncated cuts images at many places: what is lost is said.
func TestTruncated(t *testing.T) {
	for _, name := range images {
		image := unpacked(t, name)
		rng := rand.New(rand.NewPCG(7, 7))
		for range needs.Rounds(12, 3) {
			n := rng.IntN(len(image))
			if told := exercise(t, bytes.NewReader(image[:n]), int64(n), ours); told == 0 {
				t.Errorf("%s cut at %#x: nothing is said", name, n)
			}
		}
	}
}

func FuzzSuper(f *testing.F) {
	for _, name := range images {
		f.Add(unpacked(f, name)[superOffset : superOffset+superSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sb, err := parseSuper(b)
		if err != nil && (sb != nil || !ours(err)) {
			t.Errorf("%v, %v", sb, err)
		}
	})
}

func FuzzExtents(f *testing.F) {
	f.Add(extents(1, 4, [3]uint64{0, 0, 3}), extents(0, 84, [3]uint64{0, 9, 10}), true)
	f.Add(extents(0, 4, [3]uint64{0, 2, 10}, [3]uint64{5, 1, 20}), []byte{}, true)
	f.Add(bytes.Repeat([]byte{3, 0, 0, 0}, 15), bytes.Repeat([]byte{3, 0, 0, 0}, 256), false)
	f.Fuzz(func(t *testing.T, root, block []byte, tree bool) {
		m := &mapping{fs: crafted(map[uint64][]byte{3: block, 4: block}), extents: tree}
		copy(m.root[:], root)
		next, n := uint64(0), 0
		for r, err := range m.runs(1 << 33) {
			if err != nil && !ours(err) || r.lblk != next || r.n == 0 || err == nil && r.pblk != 0 && !m.fs.validBlocks(r.pblk, r.n) {
				t.Fatalf("%+v, %v; next is %d", r, err, next)
			}
			if next += r.n; n > 1<<12 { // of a block map there are 2^24
				break
			}
			n++
		}
	})
}

func FuzzDirBlock(f *testing.F) {
	f.Add(slices.Concat(entry(2, 12, "."), entry(2, 12, ".."), entry(12, 1000, "a")), false, false)
	f.Add(slices.Concat(entry(12, 40, "0123456789abcdef"), entry(13, 984, "0123456789abcdef0")), true, true)
	f.Fuzz(func(t *testing.T, b []byte, encrypted, folded bool) {
		if len(b) > 1<<16 {
			return
		}
		d := &dir{fs: crafted(nil), ino: 2, encrypted: encrypted, folded: folded, hashed: !folded, version: dxHashHalfMD4}
		n := 0
		err := d.each(b, func(e dirent) bool {
			if err := d.check(e); err == nil && d.shown(e) == "" {
				t.Errorf("%+v has no name", e)
			} else if err != nil && !ours(err) {
				t.Error(err)
			}
			n++
			return true
		})
		if err != nil && !ours(err) || n > len(b)/12 {
			t.Errorf("%d entries, %v", n, err)
		}
		block := append(b, make([]byte, 1024)...)[:1024]
		dirSum(1, block)
		d.begins(block)
	})
}

func FuzzXattrs(f *testing.F) {
	f.Add([]byte("\x01\x01\x18\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00a\x00\x00\x00\x00\x00\x00\x00hi"))
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x06\x00\x02\x00\x04\x00\xe8\x03\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names := nameSet{}
		err := xattrEntries(b, func(e xattrEntry) error {
			if got := names.intern(e); got != e.fullName() {
				t.Errorf("%q and %q", got, e.fullName())
			}
			_, err := e.value(b)
			return err
		})
		if err != nil && !ours(err) {
			t.Error(err)
		}
		if v := aclFromDisk(b); len(v) > 2*len(b)+4 {
			t.Errorf("%d bytes of %d", len(v), len(b))
		}
	})
}

// benchImage makes an image with many files; LAGAN_BENCH_IMAGE names another.
func benchImage(b *testing.B) (io.ReaderAt, int64) {
	path := os.Getenv("LAGAN_BENCH_IMAGE")
	if path == "" {
		image := unpacked(b, "inline")
		return bytes.NewReader(image), int64(len(image))
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return f, st.Size()
}

// BenchmarkScan reads all metadata in the order of the disk.
func BenchmarkScan(b *testing.B) {
	r, size := benchImage(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		fs, err := Open(r, size, evidence.Options{})
		if err != nil {
			b.Fatal(err)
		}
		n = 0
		var dirs []evidence.Ino
		for in := range fs.Inodes() {
			if n++; in.Info.Type == evidence.TypeDir {
				dirs = append(dirs, in.Ino)
			}
		}
		for range fs.Entries(dirs) {
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "inodes/s")
}

// BenchmarkFragmented reads a file of many extents.
func BenchmarkFragmented(b *testing.B) {
	image := unpacked(b, "inline")
	fs := opened(b, image)
	e, err := fs.Lookup(rootIno, "fragmented")
	if err != nil {
		b.Fatal(err)
	}
	info, _ := fs.Stat(e.Ino)
	b.SetBytes(info.Size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sum(fs, e.Ino); err != nil {
			b.Fatal(fmt.Errorf("reading: %w", err))
		}
	}
}
