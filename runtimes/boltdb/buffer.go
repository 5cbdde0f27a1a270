package boltdb

import (
	"io"
	"sync"
)

// A tree's pages lie near each other where they were written together, and each
// read of a file of the evidence costs a search of its extents and a call of the
// system: blocks of several pages are read at once and kept. A file is read three
// times (its structure, what is shared, the records), so that all of one that is
// no larger than what is kept is read once.
const (
	blockSize  = 64 << 10
	wholeSlots = 1024 // a file of 64 MiB, of which it takes what is read of it
	blockSlots = 64   // by the block's number: 4 MiB of a larger one
)

// blocks reads through a cache of blocks.
type blocks struct {
	r     io.ReaderAt
	size  int64
	whole bool // all of it is kept that was read

	mu   sync.Mutex
	kept []block
}

type block struct {
	number int64 // of the block and 1; 0: empty
	data   []byte
}

func newBlocks(r io.ReaderAt, size int64) *blocks {
	slots := max(size, 0)/blockSize + 1
	whole := slots <= wholeSlots
	if !whole {
		slots = blockSlots
	}
	return &blocks{r: r, size: size, whole: whole, kept: make([]block, slots)}
}

// bytes returns bytes that are not to be changed: those that are kept, where they
// are kept for good, else a copy.
func (b *blocks) bytes(off, n int64) ([]byte, error) {
	if b.whole {
		b.mu.Lock()
		data := b.view(off, n)
		b.mu.Unlock()
		if data != nil {
			return data, nil
		}
	}
	p := make([]byte, n)
	return p, readFull(b, p, off)
}

// ReadAt implements io.ReaderAt. What isn't in one block, and what can't be read
// as part of one, is read as it is.
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	data := b.view(off, int64(len(p)))
	n := copy(p, data) // before another block takes its place
	b.mu.Unlock()
	if data != nil {
		return n, nil
	}
	return b.r.ReadAt(p, off)
}

// view returns bytes as they are kept; nil where they aren't in one block. b.mu
// is held. Of a file that is kept as a whole they stay as they are, of another
// one until the next call.
func (b *blocks) view(off, n int64) []byte {
	number := off / blockSize
	at := off - number*blockSize
	if off < 0 || n <= 0 || n > blockSize-at {
		return nil
	}
	k := &b.kept[number%int64(len(b.kept))]
	if k.number != number+1 {
		want := min(blockSize, max(b.size-number*blockSize, 0))
		if b.whole || int64(cap(k.data)) < want {
			k.data = make([]byte, want)
		}
		k.number, k.data = 0, k.data[:want]
		if got, err := b.r.ReadAt(k.data, number*blockSize); got < len(k.data) || err != nil && err != io.EOF {
			return nil
		}
		k.number = number + 1
	}
	if at+n > int64(len(k.data)) {
		return nil
	}
	return k.data[at : at+n : at+n]
}
