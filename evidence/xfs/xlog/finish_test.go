package xlog

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// bui makes the intent of a mapping operation on inode 24.
func (w *logWriter) bui(id, off, block uint64, n, flags uint32) []byte {
	b, o := make([]byte, 48), w.order()
	o.PutUint16(b, itemBUI)
	o.PutUint16(b[2:], 1)
	o.PutUint32(b[4:], 1)
	o.PutUint64(b[8:], id)
	o.PutUint64(b[16:], 24)
	o.PutUint64(b[24:], block)
	o.PutUint64(b[32:], off)
	o.PutUint32(b[40:], n)
	o.PutUint32(b[44:], flags)
	return b
}

// xmi makes the intent of a mapping exchange between inodes 24 and 25.
func (w *logWriter) xmi(off1, off2, n, flags uint64, gen uint32) []byte {
	b, o := make([]byte, maxIntentBody), w.order()
	o.PutUint16(b, itemXMI)
	o.PutUint16(b[2:], 1)
	for i, v := range []uint64{7, 24, 25, uint64(gen)<<32 | 24, off1, off2, n, flags, 2000, 1000} {
		o.PutUint64(b[8+i*8:], v)
	}
	return b
}

// TestBmapIntents finishes mapping operations, in a fork that grows from extents
// to a btree and shrinks back.
func TestBmapIntents(t *testing.T) {
	const at = 24 / 8 * testBlock
	be := binary.BigEndian
	start := func(d disk) {
		b := freeInode(3)
		be.PutUint64(b[inodeInumber:], 24)
		be.PutUint16(b[2:], 0o100644)
		be.PutUint64(b[inodeNBlocks:], 10)
		b[5] = formatExtents
		be.PutUint32(b[inodeNExtents:], 1)
		putMapping(b[inodeCoreV3:], mapping{off: 0, block: 100, count: 10})
		d.put(b, at)
		// Free space: one extent of two blocks.
		agf := make([]byte, 512)
		be.PutUint32(agf, magicAGF)
		be.PutUint32(agf[agfBnoRoot:], 1)
		be.PutUint32(agf[agfBnoLevel:], 1)
		d.put(agf, 512)
		leaf := make([]byte, testBlock)
		be.PutUint32(leaf, magicAB3B)
		be.PutUint16(leaf[6:], 1)
		be.PutUint32(leaf[12:], nullAGBlock)
		be.PutUint32(leaf[shortBlockV5:], 500)
		be.PutUint32(leaf[shortBlockV5+4:], 2)
		d.put(leaf, testBlock)
	}
	check := func(t *testing.T, r *Result, warnings []string, want []mapping, blocks uint64) {
		t.Helper()
		g, _ := GeometryOf(testSuper(true))
		rp := newReplayer(&disklog{dev: r.Image, geo: g}, r.Image, testSize, nil)
		f, err := rp.openFork(24, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.maps) != len(want) || len(warnings) > 0 || f.extents() != uint64(len(want)) {
			t.Fatalf("%d mappings %v, inode says %d, want %d, %v", len(f.maps), f.maps[:min(8, len(f.maps))], f.extents(), len(want), warnings)
		}
		for i := range want {
			if f.maps[i] != want[i] {
				t.Fatalf("%d: %v, want %v", i, f.maps[i], want[i])
			}
		}
		if got := be.Uint64(f.d[inodeNBlocks:]); got != blocks {
			t.Errorf("%d blocks, want %d", got, blocks)
		}
	}
	t.Run("unmap and map", func(t *testing.T) {
		w := dirty()
		done := make([]byte, 16)
		binary.LittleEndian.PutUint16(done, itemBUI+1)
		binary.LittleEndian.PutUint16(done[2:], 1)
		binary.LittleEndian.PutUint64(done[8:], 3)
		w.record(w.trans(7, w.bui(1, 2, 102, 3, bmapUnmap), w.bui(2, 2, 200, 3, bmapMap|bmapUnwritten), w.bui(3, 7, 107, 1, bmapUnmap))...)
		w.record(w.trans(8, done)...)
		r, warnings := replay(t, w, true, start)
		check(t, r, warnings, []mapping{{0, 100, 2, false}, {2, 200, 3, true}, {5, 105, 5, false}}, 10)
		if !strings.Contains(r.Note, "2 block mapping") {
			t.Error(r.Note)
		}
	})
	t.Run("joined", func(t *testing.T) {
		w := dirty()
		w.record(w.trans(7, w.bui(1, 2, 102, 3, bmapUnmap), w.bui(2, 2, 102, 3, bmapMap))...)
		r, warnings := replay(t, w, true, start)
		check(t, r, warnings, []mapping{{0, 100, 10, false}}, 10)
	})
	t.Run("to a btree and back", func(t *testing.T) {
		w := dirty()
		var regions [][]byte
		want := []mapping{{0, 100, 10, false}}
		for i := uint64(0); i < 300; i++ { // more than a leaf of 251 holds
			regions = append(regions, w.bui(i, 100+2*i, 600+i, 1, bmapMap))
			want = append(want, mapping{100 + 2*i, 600 + i, 1, false})
		}
		w.record(w.trans(7, regions...)...)
		r, warnings := replay(t, w, true, start)
		check(t, r, warnings, want, 10+300+2)
		w.record(w.trans(8, w.bui(1000, 100, 600, 598, bmapUnmap), w.bui(1001, 698, 899, 1, bmapUnmap))...)
		r, warnings = replay(t, w, true, start)
		check(t, r, warnings, want[:1], 10)
	})
	t.Run("bad", func(t *testing.T) {
		w := dirty()
		w.record(w.trans(7, w.bui(1, 2, 102, 3, bmapMap), w.bui(2, 50, 1<<50, 3, bmapMap), w.bui(3, 50, 50, 0, bmapMap), w.bui(4, 50, 50, 1, 7), w.bui(5, 50, 50, 1, bmapMap|bmapRealtime))...)
		_, warnings := replay(t, w, true, start)
		if len(warnings) != 5 {
			t.Errorf("%q", warnings)
		}
	})
}

// TestExchange finishes an exchange of mappings between two files.
func TestExchange(t *testing.T) {
	be := binary.BigEndian
	inode := func(d disk, ino uint64, size uint64, maps ...mapping) {
		b := freeInode(3)
		be.PutUint64(b[inodeInumber:], ino)
		be.PutUint16(b[2:], 0o100644)
		be.PutUint64(b[inodeSize:], size)
		be.PutUint64(b[inodeNBlocks:], 10)
		be.PutUint32(b[inodeGen:], uint32(ino))
		b[5] = formatExtents
		be.PutUint32(b[inodeNExtents:], uint32(len(maps)))
		for i, m := range maps {
			putMapping(b[inodeCoreV3+i*16:], m)
		}
		d.put(b, int64(ino)*testInode)
	}
	start := func(d disk) {
		inode(d, 24, 1000, mapping{0, 100, 4, false}, mapping{4, 104, 4, true})
		inode(d, 25, 2000, mapping{10, 200, 10, false})
	}
	for _, tt := range []struct {
		name     string
		intent   func(w *logWriter) []byte
		want     [2][]mapping
		size     uint64
		warnings int
	}{
		{"all", func(w *logWriter) []byte { return w.xmi(0, 10, 12, exchangeSizes, 25) },
			[2][]mapping{{{0, 200, 10, false}}, {{10, 100, 4, false}, {14, 104, 4, true}}}, 2000, 0},
		{"what is written", func(w *logWriter) []byte { return w.xmi(2, 12, 8, exchangeWritten, 25) },
			[2][]mapping{{{0, 100, 2, false}, {2, 202, 2, false}, {4, 104, 4, true}}, {{10, 200, 2, false}, {12, 102, 2, false}, {14, 204, 6, false}}}, 1000, 0},
		{"another generation", func(w *logWriter) []byte { return w.xmi(0, 10, 12, 0, 99) },
			[2][]mapping{{{0, 100, 4, false}, {4, 104, 4, true}}, {{10, 200, 10, false}}}, 1000, 1},
		{"too far", func(w *logWriter) []byte { return w.xmi(0, maxFileBlock, 12, 0, 25) },
			[2][]mapping{{{0, 100, 4, false}, {4, 104, 4, true}}, {{10, 200, 10, false}}}, 1000, 1},
		{"unknown flags", func(w *logWriter) []byte { return w.xmi(0, 10, 12, 1<<20, 25) },
			[2][]mapping{{{0, 100, 4, false}, {4, 104, 4, true}}, {{10, 200, 10, false}}}, 1000, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := dirty()
			w.record(w.trans(7, tt.intent(w))...)
			r, warnings := replay(t, w, true, start)
			if len(warnings) != tt.warnings {
				t.Errorf("%q", warnings)
			}
			g, _ := GeometryOf(testSuper(true))
			rp := newReplayer(&disklog{dev: r.Image, geo: g}, r.Image, testSize, nil)
			for i, want := range tt.want {
				f, err := rp.openFork(24+uint64(i), false)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(f.maps, want) {
					t.Errorf("file %d: %v, want %v", i+1, f.maps, want)
				}
				if size := be.Uint64(f.d[inodeSize:]); i == 0 && size != tt.size {
					t.Errorf("size %d, want %d", size, tt.size)
				}
			}
		})
	}
}

// TestOwners renames the owner of a btree's blocks, as an exchange of whole forks needs.
func TestOwners(t *testing.T) {
	be := binary.BigEndian
	const at = 24 / 8 * testBlock
	w := dirty()
	core := w.logCore(3, 0)
	core[5] = formatBtree
	root := make([]byte, longBlockV5+16)
	be.PutUint16(root[4:], 1)
	be.PutUint16(root[6:], 1)
	be.PutUint64(root[longBlockV5+8:], 300)
	w.record(w.trans(7, w.inodeItem(24, ilogBroot|ilogDOwner, false, core, root)...)...)
	r, warnings := replay(t, w, true, func(d disk) {
		d.put(freeInode(3), at)
		b := make([]byte, testBlock)
		be.PutUint32(b, magicBMA3)
		be.PutUint16(b[6:], 1)
		be.PutUint64(b[56:], 99)
		putMapping(b[longBlockV5:], mapping{0, 400, 1, false})
		d.put(b, 300*testBlock)
	})
	if b := readAt(t, r, 300*testBlock, testBlock); be.Uint64(b[56:]) != 24 || len(warnings) > 0 {
		t.Errorf("owner %d, %q", be.Uint64(b[56:]), warnings)
	}
}
