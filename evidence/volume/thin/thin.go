// Package thin reads device-mapper thin pools: a device of metadata that maps
// the blocks of thin devices to those of a device of data. LVM, dockerd's
// devicemapper driver and containerd's devmapper snapshotter keep such pools.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the pool;
// fuzzed. A wrong checksum is warned of, and the block read all the same.
package thin

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"sort"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// Device is where a pool's metadata or its data lie.
type Device interface {
	io.ReaderAt
	Size() int64
}

// Pool is a pool of blocks, mapped by a B-tree of B-trees: by the number of a
// thin device, then by the block's number on it.
type Pool struct {
	name       string
	meta, data Device
	root       uint64
	chunk      int64 // bytes of a block
	nodes      *piece.Cache[uint64]
	warn       func(error)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Is says whether r begins with the superblock of a pool's metadata.
func Is(r io.ReaderAt) bool {
	var b [8]byte
	return piece.Full(r, b[:], offMagic) == nil && binary.LittleEndian.Uint64(b[:]) == magic
}

// DataSize returns how many bytes the pool's data has, as its metadata says: the
// device that they lie on has these, and less than one block more.
func DataSize(meta io.ReaderAt) (size, chunk int64, err error) {
	b := make([]byte, blockSize)
	if err := piece.Full(meta, b, 0); err != nil {
		return 0, 0, fmt.Errorf("superblock: %w", err)
	}
	c := bin.LE(b)
	c.Seek(offMagic)
	if c.U64() != magic {
		return 0, 0, fmt.Errorf("superblock without its magic: %w", evidence.ErrFormat)
	}
	c.Seek(offChunk)
	sectors := c.U32()
	if sectors < minChunk || sectors > maxChunk {
		return 0, 0, fmt.Errorf("blocks of %d sectors: %w", sectors, evidence.ErrCorrupt)
	}
	c.Seek(offBlocks)
	blocks := c.U64()
	chunk = int64(sectors) * sector
	if blocks > uint64(math.MaxInt64/chunk) {
		return 0, 0, fmt.Errorf("%d blocks: %w", blocks, evidence.ErrCorrupt)
	}
	return int64(blocks) * chunk, chunk, nil
}

// Open reads a pool's superblock. What is wrong with the metadata is told to
// warn, under the pool's name.
func Open(name string, meta, data Device, warn func(error)) (*Pool, error) {
	p := &Pool{name: name, meta: meta, data: data, nodes: piece.NewCache[uint64](nodeCache), warn: warn}
	_, chunk, err := DataSize(meta)
	if err != nil {
		return nil, err
	}
	b := make([]byte, blockSize)
	if err := piece.Full(meta, b, 0); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	p.checkSum(b, sbXor, 0)
	p.root = binary.LittleEndian.Uint64(b[offRoot:])
	p.chunk = chunk
	return p, nil
}

// checkSum warns of a block whose checksum is wrong: a CRC-32C that isn't
// inverted, over what follows it (dm_bm_checksum).
func (p *Pool) checkSum(b []byte, xor uint32, block uint64) {
	if ^crc32.Checksum(b[4:], castagnoli)^xor != binary.LittleEndian.Uint32(b) {
		p.warn(fmt.Errorf("thin pool %s: metadata block %d: wrong checksum: %w", p.name, block, evidence.ErrCorrupt))
	}
}

// Map says where a thin device's blocks lie.
type Map struct {
	pool *Pool
	root uint64
}

// Map returns the map of a thin device; the error is fs.ErrNotExist for one that
// the pool doesn't have. LVM's are also in the pool only when they were written to.
func (p *Pool) Map(device uint64) (*Map, error) {
	root, found, err := p.lookup(p.root, device)
	if err == nil && !found {
		err = fmt.Errorf("thin pool %s has no device %d: %w", p.name, device, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return &Map{p, root}, nil
}

// Locate finds the bytes at an offset of the device, as far as one block has
// them. mapped is false where the device has none.
func (m *Map) Locate(off int64) (e piece.Extent, mapped bool, err error) {
	p := m.pool
	left := p.chunk - off%p.chunk
	v, found, err := p.lookup(m.root, uint64(off/p.chunk))
	if err != nil || !found {
		return piece.Extent{Len: left}, false, err
	}
	block := v >> timeBits
	if block > uint64(p.data.Size()/p.chunk) {
		return piece.Extent{}, false, fmt.Errorf("block %d of a pool of %d: %w", block, p.data.Size()/p.chunk, evidence.ErrCorrupt)
	}
	return piece.Extent{Len: left, From: p.data, Off: int64(block)*p.chunk + off%p.chunk}, true, nil
}

// Volume is a thin device as a disk, zeros where it was never written to.
// ReadAt may be called from several goroutines.
type Volume struct {
	m    *Map
	size int64
}

// Volume returns a thin device of size bytes, which the pool doesn't know:
// who made the device does.
func (p *Pool) Volume(device uint64, size int64) (*Volume, error) {
	m, err := p.Map(device)
	if err != nil {
		return nil, err
	}
	return &Volume{m, size}, nil
}

// Size returns the number of bytes of the device.
func (v *Volume) Size() int64 { return v.size }

// ReadAt implements io.ReaderAt.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, v.size, func(p []byte, off int64) (int, error) {
		return piece.ReadExtents(p, off, func(off int64) (piece.Extent, error) {
			e, _, err := v.m.Locate(off)
			return e, err
		})
	})
}

// lookup finds a key in the B-tree whose root is in a block.
func (p *Pool) lookup(block, key uint64) (v uint64, found bool, err error) {
	for range maxDepth {
		b, err := p.nodes.Get(block, func() ([]byte, error) { return p.readNode(block) })
		if err != nil {
			return 0, false, err
		}
		c := bin.LE(b)
		c.Skip(4)
		flags := c.U32()
		c.Skip(8)
		entries, most := int(c.U32()), int(c.U32())
		keyAt := func(i int) uint64 { return binary.LittleEndian.Uint64(b[nodeHeader+8*i:]) }
		valueAt := func(i int) uint64 { return binary.LittleEndian.Uint64(b[nodeHeader+8*most+8*i:]) }
		i := sort.Search(entries, func(i int) bool { return keyAt(i) > key }) - 1
		switch {
		case i < 0:
			return 0, false, nil
		case flags&nodeLeaf != 0:
			return valueAt(i), keyAt(i) == key, nil
		}
		block = valueAt(i)
	}
	return 0, false, fmt.Errorf("thin pool %s: a B-tree of more than %d levels: %w", p.name, maxDepth, evidence.ErrCorrupt)
}

// readNode reads a node and checks that its keys and values lie in it.
func (p *Pool) readNode(block uint64) ([]byte, error) {
	b := make([]byte, blockSize)
	if block > math.MaxInt64/blockSize {
		return nil, fmt.Errorf("thin pool %s: metadata block %d: %w", p.name, block, evidence.ErrCorrupt)
	}
	if err := piece.Full(p.meta, b, int64(block)*blockSize); err != nil {
		return nil, fmt.Errorf("thin pool %s: metadata block %d: %w: %w", p.name, block, evidence.ErrCorrupt, err)
	}
	c := bin.LE(b)
	c.Skip(4)
	flags := c.U32()
	c.Skip(8)
	entries, most, valueSize := c.U32(), c.U32(), c.U32()
	if entries > most || most > (blockSize-nodeHeader)/16 || valueSize != 8 || flags&(nodeInternal|nodeLeaf) == 0 {
		return nil, fmt.Errorf("thin pool %s: metadata block %d is no node: %d of %d entries: %w", p.name, block, entries, most, evidence.ErrCorrupt)
	}
	p.checkSum(b, nodeXor, block)
	return b, nil
}
