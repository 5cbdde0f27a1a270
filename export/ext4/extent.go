package ext4

import (
	"encoding/binary"
	"fmt"
)

// extent maps length blocks of a file from logical on.
type extent struct {
	logical uint32
	length  uint16
	start   int64
}

// extents collects those of one file, in order.
type extents []extent

// add maps one more block.
func (e *extents) add(logical, block int64) {
	if n := len(*e); n > 0 {
		last := &(*e)[n-1]
		if int64(last.logical)+int64(last.length) == logical && last.start+int64(last.length) == block && last.length < maxExtentLen {
			last.length++
			return
		}
	}
	*e = append(*e, extent{uint32(logical), 1, block})
}

// node is an entry of an extent tree: an extent or an index.
type extentNode struct {
	logical uint32
	bytes   [extentEntry]byte
}

// tree writes the blocks of the extents' tree, and returns i_block and how many
// blocks it took: ext4_extents.h.
func (w *Writer) tree(list extents) (root [inlineBlock]byte, blocks int64, err error) {
	le := binary.LittleEndian
	level := make([]extentNode, len(list))
	for i, e := range list {
		level[i].logical = e.logical
		b := level[i].bytes[:]
		le.PutUint32(b[0:], e.logical)
		le.PutUint16(b[4:], e.length)
		le.PutUint16(b[6:], uint16(e.start>>32))
		le.PutUint32(b[8:], uint32(e.start))
	}
	depth := uint16(0)
	for ; len(level) > extentsInRoot; depth++ {
		var above []extentNode
		for len(level) > 0 {
			n := min(len(level), extentsInBlock)
			at, err := w.alloc()
			if err != nil {
				return root, blocks, fmt.Errorf("extents: %w", err)
			}
			b := make([]byte, blockSize)
			putExtents(b, level[:n], extentsInBlock, depth)
			if err := w.write(b, at); err != nil {
				return root, blocks, err
			}
			index := extentNode{logical: level[0].logical}
			le.PutUint32(index.bytes[0:], level[0].logical)
			le.PutUint32(index.bytes[4:], uint32(at))
			le.PutUint16(index.bytes[8:], uint16(at>>32))
			above = append(above, index)
			level = level[n:]
			blocks++
		}
		level = above
	}
	putExtents(root[:], level, extentsInRoot, depth)
	return root, blocks, nil
}

func putExtents(b []byte, list []extentNode, limit, depth uint16) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], extentMagic)
	le.PutUint16(b[2:], uint16(len(list)))
	le.PutUint16(b[4:], limit)
	le.PutUint16(b[6:], depth)
	for i := range list {
		copy(b[(i+1)*extentEntry:], list[i].bytes[:])
	}
}
