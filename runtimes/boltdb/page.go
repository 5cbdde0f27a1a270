package boltdb

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// page is a branch or leaf page, or the leaf page of an inline bucket, which
// stands inside another page's value.
type page struct {
	header
	off   int64  // in the file
	size  int64  // with all continuations; of an inline page, what the value holds
	start []byte // its first bytes, elements included
	r     *DB
}

// page returns the page with the given number, which must be a branch or leaf of the tree's range.
func (db *DB) page(id uint64) (*page, error) {
	slot := id % cacheSlots
	db.mu.Lock()
	p := db.cache[slot]
	db.mu.Unlock()
	if p != nil && p.id == id {
		return p, nil
	}
	if id < 2 || id >= db.meta.High {
		return nil, fmt.Errorf("page %d of %d: %w", id, db.meta.High, evidence.ErrCorrupt)
	}
	p, err := db.readPage(id)
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	db.cache[slot] = p
	db.mu.Unlock()
	return p, nil
}

// readPage reads any branch or leaf page of the file, part of the tree or not.
func (db *DB) readPage(id uint64) (*page, error) {
	ps := int64(db.meta.PageSize)
	if id > uint64(db.size/ps) {
		return nil, fmt.Errorf("page %d at offset %#x is past the end of the file: %w", id, id*uint64(ps), evidence.ErrCorrupt)
	}
	off := int64(id) * ps
	if off+pageHeaderSize > db.size {
		return nil, fmt.Errorf("page %d at offset %#x is past the end of the file: %w", id, off, evidence.ErrCorrupt)
	}
	b, err := db.r.bytes(off, min(ps, db.size-off))
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	p := &page{header: decodeHeader(b, db.order()), off: off, r: db}
	if p.id != id {
		return nil, fmt.Errorf("page %d at offset %#x says that it is page %d: %w", id, off, p.id, evidence.ErrCorrupt)
	}
	// A run whose last pages are missing still has its first ones.
	p.size = min((int64(p.overflow)+1)*ps, db.size-off)
	return p, p.load(b)
}

// inlinePage reads the page of an inline bucket from the n bytes at off.
func (db *DB) inlinePage(off, n int64) (*page, error) {
	if n < pageHeaderSize || n > maxPageSize {
		return nil, fmt.Errorf("inline bucket of %d bytes at offset %#x: %w", n, off, evidence.ErrCorrupt)
	}
	b, err := db.r.bytes(off, n)
	if err != nil {
		return nil, fmt.Errorf("inline bucket: %w", err)
	}
	p := &page{header: decodeHeader(b, db.order()), off: off, size: n, r: db}
	if p.flags != leafPageFlag {
		return nil, fmt.Errorf("inline bucket at offset %#x has page flags %#x: %w", off, p.flags, evidence.ErrCorrupt)
	}
	return p, p.load(b)
}

// load checks the kind and makes sure that start holds all elements.
func (p *page) load(b []byte) error {
	if p.flags != branchPageFlag && p.flags != leafPageFlag {
		return fmt.Errorf("page at offset %#x has flags %#x: %w", p.off, p.flags, evidence.ErrCorrupt)
	}
	table := pageHeaderSize + int64(p.count)*leafElementSize // both kinds' elements have 16 bytes
	if table > p.size {
		return fmt.Errorf("page at offset %#x: %d elements in %d bytes: %w", p.off, p.count, p.size, evidence.ErrCorrupt)
	}
	// The continuations hold large values, which are read when they are asked for.
	if int64(len(b)) < table {
		more, err := p.r.r.bytes(p.off, table)
		if err != nil {
			return fmt.Errorf("page at offset %#x: %w", p.off, err)
		}
		b = more
	}
	p.start = b
	return nil
}

// bytes returns n bytes of the page, from its start or from the file.
func (p *page) bytes(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > p.size || n > p.size-off {
		return nil, fmt.Errorf("page at offset %#x: bytes %#x+%#x of %#x: %w", p.off, off, n, p.size, evidence.ErrCorrupt)
	}
	if off+n <= int64(len(p.start)) {
		return p.start[off : off+n : off+n], nil
	}
	return p.r.r.bytes(p.off+off, n)
}

// leafElement is one element of a leaf page.
type leafElement struct {
	flags uint32
	key   []byte
	value int64 // offset in the page
	vsize int64
}

func (p *page) leaf(i int) (leafElement, error) {
	o, b := p.element(i)
	pos, ksize, vsize := int64(o.Uint32(b[4:])), int64(o.Uint32(b[8:])), int64(o.Uint32(b[12:]))
	at := pageHeaderSize + int64(i)*leafElementSize + pos
	key, err := p.key(i, at, ksize)
	if err != nil {
		return leafElement{}, err
	}
	if at+ksize+vsize > p.size {
		return leafElement{key: key}, fmt.Errorf("page at offset %#x: value of element %d, %d bytes, is past its end: %w", p.off, i, vsize, evidence.ErrCorrupt)
	}
	return leafElement{o.Uint32(b), key, at + ksize, vsize}, nil
}

// branchElement is one element of a branch page.
type branchElement struct {
	key   []byte
	child uint64
}

func (p *page) branch(i int) (branchElement, error) {
	o, b := p.element(i)
	pos, ksize, child := int64(o.Uint32(b)), int64(o.Uint32(b[4:])), o.Uint64(b[8:])
	key, err := p.key(i, pageHeaderSize+int64(i)*branchElementSize+pos, ksize)
	// The child is sound even where the key is not.
	return branchElement{key, child}, err
}

// element returns the 16 bytes of element i, which load has made sure of.
func (p *page) element(i int) (binary.ByteOrder, []byte) {
	at := pageHeaderSize + i*leafElementSize
	return p.r.order(), p.start[at : at+leafElementSize]
}

func (p *page) key(i int, at, ksize int64) ([]byte, error) {
	if ksize > maxKeySize {
		return nil, fmt.Errorf("page at offset %#x: key of element %d has %d bytes: %w", p.off, i, ksize, evidence.ErrCorrupt)
	}
	return p.bytes(at, ksize)
}
