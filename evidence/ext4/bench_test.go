package ext4

import (
	"io"
	"testing"
)

// nodesDisk is a disk of zeros with the nodes of a tree of extents, by their blocks of 4 KiB.
type nodesDisk map[int64][]byte

func (d nodesDisk) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for at := off &^ 4095; at < off+int64(len(p)); at += 4096 {
		if node := d[at>>12]; node != nil && at >= off {
			copy(p[at-off:], node)
		}
	}
	return len(p), nil
}

// node makes a node of a tree of extents.
func node(size, depth int, entries [][]byte) []byte {
	b := make([]byte, 0, size)
	b = le.AppendUint16(b, extMagic)
	b = le.AppendUint16(b, uint16(len(entries)))
	b = le.AppendUint16(b, uint16(size/extEntrySize-1))
	b = le.AppendUint16(b, uint16(depth))
	b = le.AppendUint32(b, 0) // eh_generation
	for _, e := range entries {
		b = append(b, e...)
	}
	return b[:size]
}

// fragmented is a file of so many extents of a block each, none of which lies behind the
// one before, under two levels of index nodes.
func fragmented(extents int) *mapping {
	const leafEntries = 4096/extEntrySize - 1
	disk := nodesDisk{}
	var leaves, entries [][]byte
	for i := range extents {
		e := le.AppendUint32(nil, uint32(i))
		e = le.AppendUint16(e, 1)
		e = le.AppendUint16(e, 0)
		entries = append(entries, le.AppendUint32(e, uint32(1_000_000-3*i)))
		if len(entries) == leafEntries || i == extents-1 {
			blk := int64(10 + len(leaves))
			disk[blk] = node(4096, 0, entries)
			leaves = append(leaves, indexEntry(i+1-len(entries), blk))
			entries = nil
		}
	}
	disk[9] = node(4096, 1, leaves)
	fs := &FS{dev: disk, size: 1 << 40, sb: &super{blocks: 1 << 28, blockBits: 12}}
	m := &mapping{fs: fs, ino: 12, extents: true}
	copy(m.root[:], node(iBlockSize, 2, [][]byte{indexEntry(0, 9)}))
	return m
}

func indexEntry(at int, blk int64) []byte {
	e := le.AppendUint32(nil, uint32(at))
	return append(le.AppendUint32(e, uint32(blk)), 0, 0, 0, 0)
}

const manyExtents = 50_000

func TestManyExtents(t *testing.T) {
	m := fragmented(manyExtents)
	n := uint64(0)
	for r, err := range m.runs(manyExtents) {
		if err != nil || r.n != 1 || r.pblk != 1_000_000-3*n {
			t.Fatalf("extent %d: %+v, %v", n, r, err)
		}
		n++
	}
	if n != manyExtents {
		t.Errorf("%d extents", n)
	}
}

// BenchmarkManyExtents reads a file of 50,000 extents from its beginning to its end.
func BenchmarkManyExtents(b *testing.B) {
	m := fragmented(manyExtents)
	size := int64(manyExtents) << 12
	b.SetBytes(size)
	b.ReportAllocs()
	buf := make([]byte, 64<<10)
	for b.Loop() {
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(&file{m}, 0, size), buf); n != size || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/manyExtents, "ns/extent")
}
