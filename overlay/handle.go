package overlay

import (
	"encoding/binary"

	"lagan/evidence"
)

// Most inodes of a view are one inode of one layer, and their handle says so
// itself: the layer in 9 bits (maxLayers), the layer's own handle in 54.
// Merged directories, metadata-only copies and what has a problem stand in a
// table, which the highest bit marks.
const (
	tableBit   = 1 << 63
	layerShift = 54
	directMask = 1<<layerShift - 1
)

// handle returns the handle of n, the same for the same content.
func (f *FS) handle(n node) evidence.Ino {
	top := n.stack[0]
	if len(n.stack) == 1 && !n.metacopy && !n.redirected && n.problem == nil && uint64(top.Ino) <= directMask {
		return evidence.Ino(uint64(top.Layer)<<layerShift | uint64(top.Ino))
	}
	key := n.key()
	f.mu.RLock()
	ino, ok := f.index[key]
	f.mu.RUnlock()
	if ok {
		return ino
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ino, ok := f.index[key]; ok {
		return ino
	}
	ino = evidence.Ino(uint64(len(f.nodes)) | tableBit)
	f.nodes = append(f.nodes, &n)
	f.index[key] = ino
	if err := n.contentError(); err != nil {
		f.warning(err)
	}
	return ino
}

// key tells nodes of different content apart. A problem is told by its text:
// the same inode has another one under another name, or none.
func (n *node) key() string {
	b := make([]byte, 0, 16*len(n.stack)+32)
	flags := byte(0)
	if n.redirected {
		flags |= 1
	}
	if n.metacopy {
		flags |= 2
	}
	b = append(b, flags)
	for _, l := range n.stack {
		b = append(binary.AppendUvarint(b, uint64(l.Layer)), 0)
		b = binary.LittleEndian.AppendUint64(b, uint64(l.Ino))
	}
	if n.metacopy {
		b = append(binary.AppendUvarint(b, uint64(n.data.Layer)), 1)
		b = binary.LittleEndian.AppendUint64(b, uint64(n.data.Ino))
	}
	if err := n.contentError(); err != nil {
		b = append(append(b, 2), err.Error()...)
	}
	return string(b)
}

// top returns the inode that a handle's attributes come from.
func (f *FS) top(ino evidence.Ino) (Location, error) {
	if l, ok := f.direct(ino); ok {
		return l, nil
	}
	n, err := f.node(ino)
	if err != nil {
		return Location{}, err
	}
	return n.stack[0], nil
}

// direct decodes a handle that says itself what it stands for.
func (f *FS) direct(ino evidence.Ino) (Location, bool) {
	l := Location{int(ino >> layerShift), ino & directMask}
	return l, ino&tableBit == 0 && l.Layer < len(f.layers)
}

// node returns what a handle stands for. It must not be changed.
func (f *FS) node(ino evidence.Ino) (node, error) {
	if l, ok := f.direct(ino); ok {
		return node{stack: []Location{l}}, nil
	} else if ino&tableBit == 0 {
		return node{}, badHandle(ino)
	}
	i := uint64(ino) &^ tableBit
	f.mu.RLock()
	defer f.mu.RUnlock()
	if i >= uint64(len(f.nodes)) {
		return node{}, badHandle(ino)
	}
	return *f.nodes[i], nil
}
