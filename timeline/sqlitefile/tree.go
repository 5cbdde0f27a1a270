package sqlitefile

import (
	"encoding/binary"
	"fmt"
)

// tree is a B-tree that grows at its end alone: keys come in order. A page is
// written when the next cell doesn't fit, and its place goes to the page above.
type tree struct {
	db    *DB
	index bool // the cells of inner pages are entries too
	leaf  page
	inner []*page // from the lowest to the root
	cell  []byte
}

func (db *DB) newTree(index bool) *tree {
	t := &tree{db: db, index: index}
	t.leaf.reset(t.kind(false))
	return t
}

func (t *tree) kind(inner bool) byte {
	switch {
	case t.index && inner:
		return interiorIndex
	case t.index:
		return leafIndex
	case inner:
		return interiorTable
	}
	return leafTable
}

// add appends a leaf's cell. last is the key that the page before it ends with.
func (t *tree) add(cell []byte, last uint64) error {
	if t.leaf.add(cell) {
		return nil
	}
	// An index keeps no entry twice: the page's last one goes up.
	up := appendVarint(t.cell[:0], last)
	if t.index {
		up = append(t.cell[:0], t.leaf.pop()...)
	}
	t.cell = up
	at, err := t.db.page(t.leaf.seal(0))
	if err != nil {
		return err
	}
	t.leaf.reset(t.kind(false))
	if !t.leaf.add(cell) {
		return fmt.Errorf("writing SQLite file: a cell of %d bytes doesn't fit a page", len(cell))
	}
	return t.above(0, at, up)
}

// above gives an inner page a child and the key that divides it from the next.
func (t *tree) above(level int, child uint32, key []byte) error {
	if level == len(t.inner) {
		p := &page{}
		p.reset(t.kind(true))
		t.inner = append(t.inner, p)
	}
	cell := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(key)), child), key...)
	p := t.inner[level]
	if p.add(cell) {
		return nil
	}
	// The last child becomes the rightmost, so that no page is left without a cell.
	last := append([]byte(nil), p.pop()...)
	at, err := t.db.page(p.seal(binary.BigEndian.Uint32(last)))
	if err != nil {
		return err
	}
	p.reset(t.kind(true))
	p.add(cell) // which is far smaller than a page
	return t.above(level+1, at, last[4:])
}

// finish writes what is left and returns the root's page.
func (t *tree) finish() (uint32, error) {
	at, err := t.db.page(t.leaf.seal(0))
	for _, p := range t.inner {
		if err != nil {
			return 0, err
		}
		at, err = t.db.page(p.seal(at))
	}
	return at, err
}
