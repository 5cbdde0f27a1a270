package ext4

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
)

// chunkSize is what is read at once of metadata: the largest block, and near
// enough to what a disk reads as fast as a single block.
const chunkSize = 64 << 10

// minBlockChunk is what is read at once of blocks that stand alone: those of folders
// lie scattered where there are many small ones, and most of a larger piece would
// be read in vain. Inode tables are dense.
const minBlockChunk = 8 << 10

// maxKept bounds the bytes of each of a cache's two generations.
const maxKept = 4 << 20

// cache keeps the chunks that were read last. A chunk is never changed, so
// slices of it may be kept.
type cache struct {
	mu       sync.Mutex
	now, old map[int64][]byte
	kept     int // bytes in now
}

func (c *cache) get(at int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.now[at]
	if !ok {
		if b, ok = c.old[at]; ok {
			c.add(at, b)
		}
	}
	return b
}

func (c *cache) put(at int64, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(at, b)
}

func (c *cache) add(at int64, b []byte) {
	if c.now == nil || c.kept >= maxKept {
		c.now, c.old, c.kept = make(map[int64][]byte), c.now, 0
	}
	c.now[at] = b
	c.kept += len(b)
}

// readFull reads len(b) bytes at off, or fails.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at offset %#x: %w", len(b), off, err)
}

// bytes returns n bytes of metadata at off, which lie in one chunk and must
// not be changed.
func (fs *FS) bytes(off int64, n int) ([]byte, error) {
	return fs.piece(&fs.cache, off, n, chunkSize)
}

// piece is bytes with a cache and the size of its chunks.
func (fs *FS) piece(cache *cache, off int64, n int, chunk int64) ([]byte, error) {
	if off < 0 || off+int64(n) > fs.size {
		return nil, fmt.Errorf("offset %#x is behind the end of the volume: %w", off, evidence.ErrCorrupt)
	}
	start := off &^ (chunk - 1)
	in := int(off - start)
	if c := cache.get(start); c != nil {
		return c[in : in+n : in+n], nil
	}
	c := make([]byte, min(chunk, fs.size-start))
	if err := readFull(fs.dev, c, start); err != nil {
		// What is asked for may be readable where its neighbours are not.
		b := make([]byte, n)
		return b, readFull(fs.dev, b, off)
	}
	cache.put(start, c)
	return c[in : in+n : in+n], nil
}

// validBlocks says whether n blocks from blk lie in the filesystem (ext4_inode_block_valid).
func (fs *FS) validBlocks(blk, n uint64) bool {
	return blk > fs.sb.firstBlock && blk < fs.sb.blocks && n <= fs.sb.blocks-blk
}

// block returns one block of metadata, which must not be changed.
func (fs *FS) block(blk uint64) ([]byte, error) {
	if !fs.validBlocks(blk, 1) {
		return nil, fmt.Errorf("block %#x is not in the filesystem: %w", blk, evidence.ErrCorrupt)
	}
	return fs.piece(&fs.blocks, int64(blk<<fs.sb.blockBits), fs.sb.blockSize(), fs.blockChunk())
}

// blockChunk is how much is read at once for a block that stands alone.
func (fs *FS) blockChunk() int64 { return max(minBlockChunk, int64(fs.sb.blockSize())) }

// offset returns where a block lies on the volume.
func (fs *FS) offset(blk uint64) int64 { return int64(blk << fs.sb.blockBits) }
