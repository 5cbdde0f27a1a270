package boltdb

import (
	"io"
	"sync"
)

// A tree's pages lie near each other where they were written together, and each
// read of a file of the evidence costs a search of its extents and a call of the
// system: blocks of several pages are read at once and kept.
const (
	blockSize  = 64 << 10
	blockSlots = 64 // by the block's number: 4 MiB
)

// blocks reads through a cache of blocks.
type blocks struct {
	r    io.ReaderAt
	size int64

	mu   sync.Mutex
	kept [blockSlots]block
}

type block struct {
	number int64 // of the block and 1; 0: empty
	data   []byte
}

// ReadAt implements io.ReaderAt. What isn't in one block, and what can't be read
// as part of one, is read as it is.
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	number := off / blockSize
	at := off - number*blockSize
	if off < 0 || at+int64(len(p)) > blockSize {
		return b.r.ReadAt(p, off)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := &b.kept[number%blockSlots]
	if k.number != number+1 {
		if k.data == nil {
			k.data = make([]byte, 0, min(blockSize, b.size))
		}
		whole := k.data[:min(blockSize, max(b.size-number*blockSize, 0), int64(cap(k.data)))]
		if n, err := b.r.ReadAt(whole, number*blockSize); n < len(whole) || err != nil && err != io.EOF {
			k.number = 0
			return b.r.ReadAt(p, off)
		}
		k.number, k.data = number+1, whole
	}
	if at+int64(len(p)) > int64(len(k.data)) {
		return b.r.ReadAt(p, off)
	}
	return copy(p, k.data[at:]), nil
}
