package lvm

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sort"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// thinPool is a pool of blocks, mapped by a B-tree of B-trees: by the number
// of a thin device, then by the block's number on it.
type thinPool struct {
	meta, data *mapping
	root       uint64
	chunk      int64 // bytes of a block
	nodes      *piece.Cache[uint64]
	warn       func(error)
	name       string
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// thin maps the segment of a thin volume.
func (g *volumeGroup) thin(s *group, above []string) (func(int64) (piece.Extent, error), error) {
	pool, err := g.pool(s.text("thin_pool"), above)
	if err != nil {
		return nil, fmt.Errorf("pool %q: %w", s.text("thin_pool"), err)
	}
	device := s.number("device_id", 24)
	if device < 0 {
		return nil, fmt.Errorf("no device_id: %w", evidence.ErrCorrupt)
	}
	var origin *mapping
	if name := s.text("external_origin"); name != "" {
		if origin, err = g.open(name, above); err != nil {
			return nil, fmt.Errorf("external origin %q: %w", name, err)
		}
	}
	root, found, err := pool.lookup(pool.root, uint64(device))
	switch {
	case err != nil:
		return nil, err
	case !found: // never written to
		return func(off int64) (piece.Extent, error) { return below(origin, off, math.MaxInt64-off), nil }, nil
	}
	return func(off int64) (piece.Extent, error) {
		left := pool.chunk - off%pool.chunk
		v, found, err := pool.lookup(root, uint64(off/pool.chunk))
		switch {
		case err != nil:
			return piece.Extent{}, err
		case !found:
			return below(origin, off, left), nil
		}
		block := v >> thinTimeBits
		if block > uint64(pool.data.size/pool.chunk) {
			return piece.Extent{}, fmt.Errorf("block %d of a pool of %d: %w", block, pool.data.size/pool.chunk, evidence.ErrCorrupt)
		}
		return piece.Extent{Len: left, From: pool.data, Off: int64(block)*pool.chunk + off%pool.chunk}, nil
	}, nil
}

// below is what a thin volume doesn't have itself.
func below(origin *mapping, off, length int64) piece.Extent {
	if origin == nil || off >= origin.size {
		return piece.Extent{Len: length}
	}
	return piece.Extent{Len: min(length, origin.size-off), From: origin, Off: off}
}

// pool opens a thin pool once for all volumes in it.
func (g *volumeGroup) pool(name string, above []string) (*thinPool, error) {
	if p := g.pools[name]; p != nil {
		return p, nil
	}
	s := g.text.sub("logical_volumes").sub(name).sub("segment1")
	if s.text("type") != "thin-pool" {
		return nil, fmt.Errorf("no thin pool: %w", evidence.ErrCorrupt)
	}
	meta, err := g.open(s.text("metadata"), above)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	data, err := g.open(s.text("pool"), above)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	p := &thinPool{meta: meta, data: data, nodes: piece.NewCache[uint64](thinNodeCache), warn: g.warn, name: g.name + "/" + name}
	if err := p.readSuperblock(); err != nil {
		return nil, err
	}
	g.pools[name] = p
	return p, nil
}

func (p *thinPool) readSuperblock() error {
	b := make([]byte, thinBlock)
	if err := piece.Full(p.meta, b, 0); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	c := bin.LE(b)
	c.Seek(offThinMagic)
	if c.U64() != thinMagic {
		return fmt.Errorf("superblock without its magic: %w", evidence.ErrCorrupt)
	}
	p.checkSum(b, thinSBXor, 0)
	c.Seek(offThinRoots)
	p.root = c.U64()
	c.Seek(offThinChunk)
	chunk := c.U32()
	if chunk < thinMinChunk || chunk > thinMaxChunk {
		return fmt.Errorf("blocks of %d sectors: %w", chunk, evidence.ErrCorrupt)
	}
	p.chunk = int64(chunk) * sector
	return nil
}

// checkSum warns of a block whose checksum is wrong: a CRC-32C that isn't
// inverted, over what follows it (dm_bm_checksum).
func (p *thinPool) checkSum(b []byte, xor uint32, block uint64) {
	if ^crc32.Checksum(b[4:], castagnoli)^xor != binary.LittleEndian.Uint32(b) {
		p.warn(fmt.Errorf("lvm: thin pool %s: metadata block %d: wrong checksum: %w", p.name, block, evidence.ErrCorrupt))
	}
}

// lookup finds a key in the B-tree whose root is in a block.
func (p *thinPool) lookup(block, key uint64) (v uint64, found bool, err error) {
	for range maxThinDepth {
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
	return 0, false, fmt.Errorf("thin pool %s: a B-tree of more than %d levels: %w", p.name, maxThinDepth, evidence.ErrCorrupt)
}

// readNode reads a node and checks that its keys and values lie in it.
func (p *thinPool) readNode(block uint64) ([]byte, error) {
	b := make([]byte, thinBlock)
	if block > math.MaxInt64/thinBlock {
		return nil, fmt.Errorf("thin pool %s: metadata block %d: %w", p.name, block, evidence.ErrCorrupt)
	}
	if err := piece.Full(p.meta, b, int64(block)*thinBlock); err != nil {
		return nil, fmt.Errorf("thin pool %s: metadata block %d: %w: %w", p.name, block, evidence.ErrCorrupt, err)
	}
	c := bin.LE(b)
	c.Skip(4)
	flags := c.U32()
	c.Skip(8)
	entries, most, valueSize := c.U32(), c.U32(), c.U32()
	if entries > most || most > (thinBlock-nodeHeader)/16 || valueSize != 8 || flags&(nodeInternal|nodeLeaf) == 0 {
		return nil, fmt.Errorf("thin pool %s: metadata block %d is no node: %d of %d entries: %w", p.name, block, entries, most, evidence.ErrCorrupt)
	}
	p.checkSum(b, thinNodeXor, block)
	return b, nil
}
