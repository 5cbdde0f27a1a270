package btrfs

import (
	"fmt"
	"iter"
	"slices"

	"lagan/evidence"
)

// tree is one B-tree.
type tree struct {
	fs   *FS
	root block
	id   uint64
}

// item is one item of a leaf. Its data is valid as long as it is wanted.
type item struct {
	key  key
	data []byte
}

// lastKey is after every key.
var lastKey = key{^uint64(0), 255, ^uint64(0)}

// find returns the item of a key, false where there is none.
func (t *tree) find(k key) ([]byte, bool, error) {
	for it, err := range t.items(k, k) {
		if err != nil {
			return nil, false, err
		}
		return it.data, true, nil
	}
	return nil, false, nil
}

// items yields the items from a key to another, both included, in order. What
// can't be read is an error in its place, and what follows it comes after.
func (t *tree) items(from, to key) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		w := walk{t: t, from: from, to: to, yield: yield}
		w.block(t.root, key{}, lastKey)
	}
}

// all yields every item. Leaves are read ahead, in the order of the disk.
func (t *tree) all() iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		w := walk{t: t, to: lastKey, yield: yield, ahead: true}
		w.block(t.root, key{}, lastKey)
	}
}

// walk goes through a tree from left to right. Every block must keep within
// the keys that its parent gives it: so no block is met twice, however a
// hostile tree points to itself, and levels end the depth.
type walk struct {
	t        *tree
	from, to key
	yield    func(item, error) bool
	ahead    bool
}

// block visits a block whose keys are from first on and before limit (or,
// where limit is the last key, up to it). It returns false when the walk ends.
func (w *walk) block(at block, first, limit key) bool {
	n, err := w.t.fs.node(at)
	return w.node(n, err, at, first, limit)
}

func (w *walk) node(n *node, err error, at block, first, limit key) bool {
	if err != nil && !w.yield(item{}, fmt.Errorf("tree %d: %w", int64(w.t.id), err)) {
		return false
	}
	if n == nil || n.count == 0 {
		return true
	}
	last := n.key(n.count - 1)
	if n.key(0).less(first) || first != (key{}) && first != n.key(0) || !last.less(limit) && limit != lastKey {
		return w.yield(item{}, fmt.Errorf("tree %d: tree block %#x: keys %v to %v are not those that its parent says: %w", int64(w.t.id), at.address, n.key(0), last, evidence.ErrCorrupt))
	}
	if n.level == 0 {
		return w.leaf(n)
	}
	return w.inner(n, limit)
}

func (w *walk) leaf(n *node) bool {
	for i := n.search(w.from); i < n.count; i++ {
		k := n.key(i)
		if w.to.less(k) {
			return false
		}
		if !w.yield(item{k, n.data(i)}, nil) {
			return false
		}
	}
	return true
}

func (w *walk) inner(n *node, limit key) bool {
	i := n.search(w.from)
	if i > 0 && (i == n.count || n.key(i) != w.from) {
		i-- // from may be in the child before
	}
	var read map[uint64][]byte
	if w.ahead && n.level == 1 {
		read = w.t.fs.readAhead(n)
	}
	for ; i < n.count; i++ {
		k := n.key(i)
		if w.to.less(k) {
			return false
		}
		next := limit
		if i+1 < n.count {
			next = n.key(i + 1)
		}
		at := n.child(i)
		var c *node
		var err error
		if b := read[at.address]; b != nil {
			c, err = w.t.fs.readNode(at, b)
		} else {
			c, err = w.t.fs.node(at)
		}
		if !w.node(c, err, at, k, next) {
			return false
		}
	}
	return true
}

// maxGap is what is read between two leaves rather than skipped, and
// maxReadAhead what is read at once.
const (
	maxGap       = 64 << 10
	maxReadAhead = 1 << 20
)

// readAhead reads the leaves below a node, of which there are a few hundred,
// in the order of their addresses and as few reads as possible. What could not
// be read, or isn't in one piece on one device, is left out.
func (f *FS) readAhead(n *node) map[uint64][]byte {
	size := uint64(f.super.nodeSize)
	addresses := make([]uint64, 0, n.count)
	for i := range n.count {
		if at := n.child(i); f.cache.get(at) == nil {
			addresses = append(addresses, at.address)
		}
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	out := make(map[uint64][]byte, len(addresses))
	for len(addresses) > 0 {
		start, m := addresses[0], 1
		for m < len(addresses) && addresses[m]-addresses[m-1] <= maxGap+size && addresses[m]+size-start <= maxReadAhead {
			m++
		}
		end := addresses[m-1] + size
		if where, err := f.locate(start); err == nil && where[0].length >= end-start {
			b := make([]byte, end-start)
			if f.readCopy(b, start, 0) == nil {
				for _, a := range addresses[:m] {
					out[a] = b[a-start : a-start+size : a-start+size]
				}
			}
		}
		addresses = addresses[m:]
	}
	return out
}
