package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

// extents builds a node of an extent tree: entries of (logical block, length
// or 0, physical block).
func extents(depth, limit uint16, entries ...[3]uint64) []byte {
	b := binary.LittleEndian.AppendUint16(nil, extMagic)
	b = le.AppendUint16(b, uint16(len(entries)))
	b = le.AppendUint16(b, limit)
	b = le.AppendUint16(b, depth)
	b = le.AppendUint32(b, 0)
	for _, e := range entries {
		b = le.AppendUint32(b, uint32(e[0]))
		if depth > 0 {
			b = le.AppendUint32(b, uint32(e[2]))
			b = le.AppendUint16(b, uint16(e[2]>>32))
			b = le.AppendUint16(b, 0)
		} else {
			b = le.AppendUint16(b, uint16(e[1]))
			b = le.AppendUint16(b, uint16(e[2]>>32))
			b = le.AppendUint32(b, uint32(e[2]))
		}
	}
	return b
}

// crafted is a filesystem of 1 KiB blocks without a superblock, for decoders alone.
func crafted(blocks map[uint64][]byte) *FS {
	const count = 64
	image := make([]byte, count<<10)
	for blk, b := range blocks {
		copy(image[blk<<10:], b)
	}
	sb := &super{blocks: count, blockBits: 10, clusterBits: 10, inodes: 1000, inodesPerGroup: 1000, groups: 1, inodeSize: 256, firstIno: 11,
		incompat: incompatFiletype}
	return &FS{dev: bytes.NewReader(image), size: int64(len(image)), sb: sb, warned: map[object]struct{}{}}
}

func TestExtents(t *testing.T) {
	type want struct {
		lblk, n, pblk uint64
		bad           bool
	}
	for name, c := range map[string]struct {
		root   []byte
		blocks map[uint64][]byte
		want   []want
	}{
		"two and a hole": {root: extents(0, 4, [3]uint64{0, 2, 10}, [3]uint64{5, 1, 20}),
			want: []want{{0, 2, 10, false}, {2, 3, 0, false}, {5, 1, 20, false}, {6, 4, 0, false}}},
		"unwritten": {root: extents(0, 4, [3]uint64{0, 32768 + 4, 10}), want: []want{{0, 4, 0, false}, {4, 6, 0, false}}},
		"longest":   {root: extents(0, 4, [3]uint64{0, 32768, 10}), want: []want{{0, 10, 0, true}}},
		"none":      {root: extents(0, 4), want: []want{{0, 10, 0, false}}},
		"unsorted":  {root: extents(0, 4, [3]uint64{5, 1, 20}, [3]uint64{0, 2, 10}), want: []want{{0, 10, 0, true}}},
		"overlap":   {root: extents(0, 4, [3]uint64{0, 4, 20}, [3]uint64{3, 2, 10}), want: []want{{0, 10, 0, true}}},
		"of nothing": {root: extents(0, 4, [3]uint64{0, 0, 20}, [3]uint64{3, 2, 10}),
			want: []want{{0, 3, 0, false}, {3, 2, 10, false}, {5, 5, 0, false}}},
		"outside":      {root: extents(0, 4, [3]uint64{0, 1, 10}, [3]uint64{1, 1, 64}), want: []want{{0, 1, 10, false}, {1, 1, 0, true}, {2, 8, 0, false}}},
		"too deep":     {root: extents(6, 4, [3]uint64{0, 0, 3}), want: []want{{0, 10, 0, true}}},
		"to itself":    {root: extents(1, 4, [3]uint64{0, 0, 3}), blocks: map[uint64][]byte{3: extents(1, 84, [3]uint64{0, 0, 3})}, want: []want{{0, 10, 0, true}}},
		"index of 0":   {root: extents(1, 4), want: []want{{0, 10, 0, true}}},
		"no magic":     {root: make([]byte, iBlockSize), want: []want{{0, 10, 0, true}}},
		"too many":     {root: extents(0, 1, [3]uint64{0, 1, 10}, [3]uint64{1, 1, 11}), want: []want{{0, 10, 0, true}}},
		"beyond":       {root: extents(0, 400), want: []want{{0, 10, 0, false}}},
		"out of reach": {root: extents(1, 4, [3]uint64{0, 0, 3}, [3]uint64{4, 0, 4}), blocks: map[uint64][]byte{3: extents(0, 84, [3]uint64{3, 2, 10}, [3]uint64{6, 1, 20}), 4: extents(0, 84, [3]uint64{4, 1, 30})}, want: []want{{0, 4, 0, true}, {4, 1, 30, false}, {5, 5, 0, false}}},
		"one lost":     {root: extents(1, 4, [3]uint64{2, 0, 3}, [3]uint64{4, 0, 999}), blocks: map[uint64][]byte{3: extents(0, 84, [3]uint64{2, 1, 10})}, want: []want{{0, 2, 0, false}, {2, 1, 10, false}, {3, 1, 0, false}, {4, 6, 0, true}}},
	} {
		m := &mapping{fs: crafted(c.blocks), extents: true}
		copy(m.root[:], c.root)
		var got []want
		for r, err := range m.runs(10) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, want{r.lblk, r.n, r.pblk, err != nil})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPointers(t *testing.T) {
	pointers := func(n ...uint32) (b []byte) {
		for _, v := range n {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	root := pointers(10, 11, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7) // 5, 6 and 7 lead on
	fs := crafted(map[uint64][]byte{5: pointers(30, 31, 32), 6: pointers(0, 8), 8: pointers(40), 7: pointers(7, 99)})
	m := &mapping{fs: fs}
	copy(m.root[:], root)
	for _, c := range []struct {
		at, n, pblk uint64
		bad         bool
	}{
		{0, 2, 10, false}, {2, 1, 0, false}, {3, 1, 20, false}, {4, 8, 0, false},
		{12, 3, 30, false}, {15, 253, 0, false}, // a block holds 256
		{12 + 256, 256, 0, false}, {12 + 256 + 256, 1, 40, false}, {12 + 256 + 257, 255, 0, false},
		{12 + 256 + 65536, 1, 7, false},               // through block 7 thrice
		{12 + 256 + 65536 + 65536, 65536, 0, true},    // through 99
		{12 + 256 + 65536 + 1<<24, 1 << 31, 0, false}, // past the third level
	} {
		r, err := m.find(c.at)
		if (err != nil) != c.bad || r.pblk != c.pblk || r.n != c.n && r.n < 1<<31 {
			t.Errorf("block %d: %+v, %v; want %+v", c.at, r, err, c)
		}
	}
}

// entry builds a directory entry.
func entry(ino uint32, recLen int, name string) []byte {
	b := le.AppendUint32(nil, ino)
	b = le.AppendUint16(b, uint16(recLen))
	b = append(b, byte(len(name)), 1)
	b = append(b, name...)
	return append(b, make([]byte, max(0, min(recLen, 1024)-len(b)))...)
}

func TestDirBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want string
		bad  bool
	}{
		"plain":         {slices.Concat(entry(2, 12, "."), entry(2, 12, ".."), entry(12, 1000, "a")), "a", false},
		"unused first":  {slices.Concat(entry(0, 12, "x"), entry(12, 1012, "a")), "a", false},
		"length 0":      {slices.Concat(entry(12, 12, "a"), entry(13, 0, "b"), make([]byte, 900)), "a", true},
		"odd length":    {slices.Concat(entry(12, 12, "a"), entry(13, 13, "b"), make([]byte, 900)), "a", true},
		"name too long": {slices.Concat(entry(12, 12, "a"), entry(13, 12, "bcdefgh"), make([]byte, 900)), "a", true},
		"past the end":  {slices.Concat(entry(12, 12, "a"), entry(13, 2000, "b")), "a", true},
		"cut short":     {append(entry(12, 12, "a"), 1, 2, 3, 4), "a", true},
		"empty":         {nil, "", false},
		"zeros":         {make([]byte, 1024), "", true},
		"slash":         {slices.Concat(entry(12, 12, "a/b"), entry(13, 1012, "c")), "!c", false},
		"no name":       {slices.Concat(entry(12, 12, ""), entry(13, 1012, "c")), "!c", false},
		"NUL":           {slices.Concat(entry(12, 12, "a\x00"), entry(13, 1012, "c")), "!c", false},
		"inode":         {slices.Concat(entry(1001, 12, "a"), entry(13, 1012, "c")), "!c", false},
	} {
		d := &dir{fs: crafted(nil), ino: 2}
		got := ""
		err := d.each(c.b, func(e dirent) bool {
			if err := d.check(e); err != nil {
				if !errors.Is(err, evidence.ErrCorrupt) {
					t.Errorf("%s: %v", name, err)
				}
				got += "!"
			} else {
				got += string(e.name)
			}
			return true
		})
		if got != c.want || (err != nil) != c.bad || err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestXattrEntries(t *testing.T) {
	entry := func(index byte, name string, offs uint16, size uint32) []byte {
		b := append([]byte{byte(len(name)), index}, le.AppendUint16(nil, offs)...)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 0), size), 0)
		b = append(b, name...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
		bad  bool
	}{
		"one":            {append(entry(1, "a", 24, 2), 0, 0, 0, 0, 'h', 'i'), "user.a=hi", false},
		"empty value":    {append(entry(4, "overlay.metacopy", 0, 0), 0, 0, 0, 0), "trusted.overlay.metacopy=", false},
		"not shown":      {append(entry(xattrSystemIndex, "data", 0, 0), 0, 0, 0, 0), "=", false},
		"value outside":  {append(entry(1, "a", 24, 3), 0, 0, 0, 0, 'h', 'i'), "user.a!", false},
		"size huge":      {append(entry(1, "a", 24, 1<<32-1), 0, 0, 0, 0), "user.a!", false},
		"name outside":   {entry(1, "a", 24, 2)[:17], "user.a!", false},
		"cut short":      {[]byte{1, 1, 0, 0, 0}, "", true},
		"without an end": {entry(1, "abcd", 0, 0), "user.abcd=", false},
	} {
		got := ""
		err := xattrEntries(c.b, func(e xattrEntry) error {
			v, err := e.value(c.b)
			got += e.fullName()
			if err != nil {
				got += "!"
				return nil
			}
			got += "=" + string(v)
			return nil
		})
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

// TestSuperRefuses changes one field of a sound superblock at a time.
func TestSuperRefuses(t *testing.T) {
	image := unpacked(t, "inline")
	for name, c := range map[string]struct {
		at  int
		v   uint32
		err error
	}{
		"magic":            {0x38, 0, evidence.ErrFormat},
		"block size":       {0x18, 377579286, evidence.ErrCorrupt},
		"inode size 0":     {0x58, 0, evidence.ErrCorrupt},
		"inode size odd":   {0x58, 257, evidence.ErrCorrupt},
		"zero groups":      {0x04, 0, evidence.ErrCorrupt},
		"inodes per group": {0x28, 0, evidence.ErrCorrupt},
		"blocks per group": {0x20, 0, evidence.ErrCorrupt},
		"descriptors":      {0xfe, 0, evidence.ErrCorrupt},
		"first block":      {0x14, 9, evidence.ErrCorrupt},
		"unknown feature":  {0x60, 0x80000042, evidence.ErrUnsupported},
		"a journal":        {0x60, 0x8, evidence.ErrUnsupported},
	} {
		b := slices.Clone(image[superOffset : superOffset+superSize])
		le.PutUint32(b[c.at:], c.v)
		if _, err := parseSuper(b); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

// TestBackup loses the superblock, and the descriptors too.
func TestBackup(t *testing.T) {
	for _, name := range images {
		image := unpacked(t, name)
		at := int64(superOffset)
		for _, n := range []int64{superSize, 2 * superSize} {
			damaged := slices.Clone(image)
			clear(damaged[at : at+n])
			var w warnings
			fs, err := Open(bytes.NewReader(damaged), int64(len(damaged)), w.options())
			if name == "fscrypt" { // has one group alone
				if !errors.Is(err, evidence.ErrFormat) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			compare(t, golden(t, name), list(t, fs))
			if len(w.told()) == 0 || !strings.Contains(w.told()[0], "copy") {
				t.Errorf("%s: nothing said of the lost superblock: %q", name, w.told())
			}
		}
		copy(image, "XFSB")
		clear(image[at : at+superSize])
		if _, err := Open(bytes.NewReader(image), int64(len(image)), evidence.Options{}); !errors.Is(err, evidence.ErrFormat) {
			t.Errorf("%s: an XFS over an old ext filesystem: %v", name, err)
		}
	}
}

// TestChecksums flips one bit in each kind of object: a warning, and the content all the same.
func TestChecksums(t *testing.T) {
	image := unpacked(t, "inline")
	sound := opened(t, image)
	want := golden(t, "inline")
	e, err := sound.Lookup(rootIno, "huge")
	if err != nil {
		t.Fatal(err)
	}
	huge, _ := sound.get(e.Ino)
	r, _ := sound.mapping(huge).find(1)
	inodeAt, _ := sound.inodeAt(rootIno)
	e, _ = sound.Lookup(rootIno, "ea800")
	withBlock, _ := sound.get(e.Ino)
	e, _ = sound.Lookup(rootIno, "fragmented")
	deep, _ := sound.get(e.Ino)
	node := uint64(le.Uint32(deep.block[16:]))
	for name, c := range map[string]struct {
		at   int64
		says string
	}{
		"superblock": {superOffset + 0x7f, "superblock"}, // the label
		"descriptor": {sound.descAt(0, 0) + 0x10, "descriptor of group 0"},
		"inode":      {inodeAt + 0x98, "inode 2: bad checksum"}, // i_version_hi
		"directory":  {sound.offset(r.pblk) + 1023, "directory inode"},
		"attributes": {sound.offset(withBlock.xattrBlock) + 0x1c, "attribute block"},
		"extents":    {sound.offset(node) + 8, "extents in block"},
	} {
		damaged := slices.Clone(image)
		damaged[c.at] ^= 0x40
		var w warnings
		fs, err := Open(bytes.NewReader(damaged), int64(len(damaged)), w.options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compare(t, want, list(t, fs))
		list(t, fs)
		if len(w.told()) != 1 || !strings.Contains(w.told()[0], c.says) {
			t.Errorf("%s: %d warnings %q, want one of %q", name, len(w.told()), w.told(), c.says)
		}
	}
}

// TestSparse reads a file of 2^60 bytes at its ends.
func TestSparse(t *testing.T) {
	fs := crafted(map[uint64][]byte{10: []byte("begin")})
	in := &inode{ino: 12, mode: 0o100644, flags: flagExtents, size: 1 << 60}
	copy(in.block[:], extents(0, 4, [3]uint64{0, 1, 10}))
	f := fs.content(in)
	for _, at := range []int64{0, 1 << 31, 1 << 42, 1<<60 - 4096} {
		b := bytes.Repeat([]byte{1}, 4096)
		if n, err := f.ReadAt(b, at); n != len(b) || err != nil && err != io.EOF {
			t.Errorf("at %#x: %d, %v", at, n, err)
		}
		if at == 0 && !bytes.HasPrefix(b, []byte("begin")) || at > 0 && bytes.ContainsFunc(b, func(r rune) bool { return r != 0 }) {
			t.Errorf("at %#x: %q", at, b[:8])
		}
	}
}
