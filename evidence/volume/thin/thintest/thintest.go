// Package thintest writes thin pools for tests, as the kernel's thin pool
// target lays them out, on as many blocks as one node of a B-tree can have.
package thintest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
)

const (
	block = 4096
	// Chunk is the size of a pool's blocks.
	Chunk = 64 << 10
	// perNode is how many entries of 8 bytes a node has room for (calc_max_entries, dm-btree.c).
	perNode = 252
)

// Pool returns the metadata and the data of a pool whose devices have the
// contents given, by number. Blocks of zeros are not mapped, and equal blocks
// at one place of several devices are shared, as snapshots share them.
func Pool(devices map[uint64][]byte) (meta, data []byte) {
	type at struct {
		place   int
		content string
	}
	shared := make(map[at]uint64)
	roots := make(map[uint64]uint64)
	meta = make([]byte, 2*block) // the superblock and the root of all devices
	zeros := make([]byte, Chunk)
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		mapped := make(map[uint64]uint64)
		for i, piece := range slices.Collect(slices.Chunk(devices[id], Chunk)) {
			piece = append(slices.Clone(piece), zeros[len(piece):]...)
			if bytes.Equal(piece, zeros) {
				continue
			}
			key := at{i, string(piece)}
			if _, ok := shared[key]; !ok {
				shared[key] = uint64(len(data) / Chunk)
				data = append(data, piece...)
			}
			mapped[uint64(i)] = shared[key]<<24 | 1
		}
		roots[id] = uint64(len(meta) / block)
		meta = append(meta, node(mapped, uint64(len(meta)/block))...)
	}
	copy(meta[block:], node(roots, 1))
	le := binary.LittleEndian
	sb := meta[:block]
	le.PutUint64(sb[32:], 27022010)
	le.PutUint32(sb[40:], 2)
	le.PutUint64(sb[64:], uint64(len(data)/Chunk))
	le.PutUint64(sb[320:], 1)
	le.PutUint32(sb[336:], Chunk/512)
	le.PutUint32(sb[340:], block/512)
	sum(sb, 160774)
	return meta, data
}

// node is a leaf of a B-tree whose keys and values are numbers.
func node(values map[uint64]uint64, number uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, block)
	le.PutUint32(b[4:], 2)
	le.PutUint64(b[8:], number)
	le.PutUint32(b[16:], uint32(len(values)))
	le.PutUint32(b[20:], perNode)
	le.PutUint32(b[24:], 8)
	for i, k := range slices.Sorted(maps.Keys(values)) {
		le.PutUint64(b[32+8*i:], k)
		le.PutUint64(b[32+8*perNode+8*i:], values[k])
	}
	sum(b, 121107)
	return b
}

func sum(b []byte, xor uint32) {
	binary.LittleEndian.PutUint32(b, ^crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli))^xor)
}
