package ext4

import (
	"fmt"
	"io"
	"slices"

	"lagan/evidence"
)

// maxMemory bounds what changed blocks may take. Fast commits of the usual
// area of 256 blocks change a few thousand blocks at most.
const maxMemory = 64 << 20

// memory is a device of which some blocks were changed, in memory. Changes end
// before the filesystem is handed out: after that it is read only.
type memory struct {
	base    io.ReaderAt
	bits    uint
	changed map[uint64][]byte
	order   []uint64 // the changed blocks, sorted
}

func newMemory(base io.ReaderAt, bits uint) *memory {
	return &memory{base: base, bits: bits, changed: map[uint64][]byte{}}
}

// edit returns a block that may be changed.
func (m *memory) edit(blk uint64) ([]byte, error) {
	if b, ok := m.changed[blk]; ok {
		return b, nil
	}
	if (len(m.order)+1)<<m.bits > maxMemory {
		return nil, fmt.Errorf("more than %d bytes of changed blocks: %w", maxMemory, evidence.ErrUnsupported)
	}
	b := make([]byte, 1<<m.bits)
	if err := readFull(m.base, b, int64(blk<<m.bits)); err != nil {
		return nil, err
	}
	m.changed[blk] = b
	i, _ := slices.BinarySearch(m.order, blk)
	m.order = slices.Insert(m.order, i, blk)
	return b, nil
}

// in returns the changed blocks among n bytes at off.
func (m *memory) in(off, n int64) []uint64 {
	if off < 0 || n <= 0 {
		return nil
	}
	from, _ := slices.BinarySearch(m.order, uint64(off)>>m.bits)
	to, _ := slices.BinarySearch(m.order, uint64(off+n-1)>>m.bits+1)
	return m.order[from:to]
}

// ReadAt reads the device as it was changed.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.base.ReadAt(p, off)
	for _, blk := range m.in(off, int64(n)) {
		at := int64(blk<<m.bits) - off
		if at < 0 {
			copy(p[:n], m.changed[blk][-at:])
		} else {
			copy(p[at:n], m.changed[blk])
		}
	}
	return n, err
}

// Overlaid says whether any of n bytes at off may differ from the volume.
func (m *memory) Overlaid(off, n int64) bool {
	if len(m.in(off, n)) > 0 {
		return true
	}
	o, ok := m.base.(interface{ Overlaid(off, n int64) bool })
	return !ok || o.Overlaid(off, n)
}

// forget drops the chunk of a size that holds the byte at off, whose block was changed.
func (c *cache) forget(off, chunk int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, off&^(chunk-1))
	delete(c.old, off&^(chunk-1))
}
