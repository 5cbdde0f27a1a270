package xfs

import (
	"bytes"
	"testing"

	"lagan/evidence"
)

// Every target demands that nothing panics and that errors are ours; a decoder
// that fails gives nothing.

// fuzzFS is a small filesystem whose geometry the decoders of blocks are run with.
func fuzzFS(t testing.TB, name string) *FS {
	f, _, err := openBytes(unpack(t, name), evidence.Options{NoJournal: true, Warn: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// blocksOf gives a block of each kind that shapes.img holds.
func blocksOf(t testing.TB, f *FS, kind func(d *dinode) (fork, bool), add func([]byte)) {
	for i := range f.Inodes() {
		d, err := f.inode(uint64(i.Ino))
		if err != nil {
			t.Fatal(err)
		}
		k, ok := kind(&d)
		if !ok {
			continue
		}
		for e := range k.all(0) {
			if off, err := f.blockOffset(e.start, 1); err == nil {
				b, _ := f.cache.read(off, int(f.sb.blockSize))
				add(bytes.Clone(b))
				break
			}
		}
	}
}

func FuzzSuper(f *testing.F) {
	for _, name := range []string{"shapes.img.zst", "v4.img.zst"} {
		f.Add(unpack(f, name)[:512])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSuper(b)
		if !ours(err) {
			t.Fatal(err)
		}
		if err != nil || s.check() != nil {
			return
		}
		s.features()
		s.notices(int64(len(b)))
		fsys, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
		if !ours(err) {
			t.Fatal(err)
		}
		if err == nil {
			exercise(t, fsys)
		}
	})
}

func FuzzInode(f *testing.F) {
	v5, v4 := fuzzFS(f, "shapes.img.zst"), fuzzFS(f, "v4.img.zst")
	for _, fsys := range []*FS{v5, v4} {
		for i := range fsys.Inodes() {
			if d, err := fsys.inode(uint64(i.Ino)); err == nil && d.ino%5 == 0 {
				f.Add(bytes.Clone(d.raw), fsys == v5)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, crc bool) {
		fsys := v4
		if crc {
			fsys = v5
		}
		raw := make([]byte, fsys.sb.inodeSize)
		copy(raw, b)
		d, err := fsys.decodeInode(64, 0, raw)
		if !ours(err) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		fsys.info(&d)
		fsys.target(&d)
		count := 0
		entry := func([]byte, uint64, uint8) bool { count++; return true }
		fsys.shortForm(64, shortFormBytes(&d), entry)
		fsys.eachAttr(&d, func(_ *fork, a attr) { count += len(a.fullName()) })
		if k, err := fsys.dataBlocks(&d); err == nil {
			for range k.all(0) {
				count++
			}
			r := file{fork: k}
			r.ReadAt(make([]byte, 5000), int64(d.size>>1))
		} else if !ours(err) {
			t.Fatal(err)
		}
		if count > 1<<20 {
			t.Fatalf("%d things in one inode", count)
		}
	})
}

func FuzzDirBlock(f *testing.F) {
	v5, v4 := fuzzFS(f, "shapes.img.zst"), fuzzFS(f, "v4.img.zst")
	for _, fsys := range []*FS{v5, v4} {
		for i := range fsys.Inodes() {
			d, err := fsys.inode(uint64(i.Ino))
			if err != nil || d.typ() != evidence.TypeDir || d.format == fmtLocal {
				continue
			}
			k, _ := fsys.dataBlocks(&d)
			for pos := range fsys.dirBlocks(&k) {
				if b, _, err := fsys.dirData(&k, pos); err == nil {
					f.Add(bytes.Clone(b), fsys == v5)
				}
				break
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, crc bool) {
		fsys := v4
		if crc {
			fsys = v5
		}
		block := make([]byte, fsys.sb.blockSize<<fsys.sb.dirBlkLog)
		copy(block, b)
		_, err := fsys.dirBlock(99, block, 0, func(name []byte, _ uint64, _ uint8) bool {
			if len(name) == 0 || bytes.ContainsAny(name, "/\x00") || isDot(name) {
				t.Fatalf("name %q", name)
			}
			return true
		})
		if !ours(err) {
			t.Fatal(err)
		}
	})
}

func FuzzAttrLeaf(f *testing.F) {
	v5 := fuzzFS(f, "shapes.img.zst")
	blocksOf(f, v5, func(d *dinode) (fork, bool) {
		k, err := v5.attrBlocks(d)
		return k, err == nil && d.remoteAttrs()
	}, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		block := make([]byte, v5.sb.blockSize)
		copy(block, b)
		w := attrWalk{f: v5, k: &fork{fs: v5, ino: 99, name: "attribute"}, seen: make(map[uint32]bool), fn: func(a attr) {
			if len(a.name) == 0 || len(a.name) > 255 {
				t.Fatalf("name of %d bytes", len(a.name))
			}
			if v, ok := convertACL(a.value); ok && len(v)%8 != 4 {
				t.Fatalf("ACL of %d bytes", len(v))
			}
		}}
		w.leaf(block, 0)
		w.node(block, 0, -1)
		for _, err := range w.failed {
			if !ours(err) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzImage changes bytes of a whole filesystem: v is xored onto its metadata from the nth byte on.
func FuzzImage(f *testing.F) {
	images := [2][]byte{unpack(f, "shapes.img.zst"), unpack(f, "v4.img.zst")}
	var where [2][]int64
	for i, image := range images {
		fsys, _, err := openBytes(image, evidence.Options{NoJournal: true})
		if err != nil {
			f.Fatal(err)
		}
		where[i] = metadata(fsys)
	}
	for n := range uint32(20) {
		f.Add(n*977, []byte{0xff, 1}, n%2 == 0)
	}
	f.Fuzz(func(t *testing.T, n uint32, v []byte, crc bool) {
		i := 1
		if crc {
			i = 0
		}
		p := patched{ReaderAt: bytes.NewReader(images[i]), at: make(map[int64]byte)}
		for j, x := range v[:min(len(v), 64)] {
			at := where[i][(int(n)+j)%len(where[i])]
			p.at[at] = images[i][at] ^ x
		}
		fsys, err := Open(p, int64(len(images[i])), evidence.Options{NoJournal: true})
		if !ours(err) {
			t.Fatal(err)
		}
		if err == nil {
			exercise(t, fsys)
		}
	})
}
