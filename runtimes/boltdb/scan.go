package boltdb

import (
	"cmp"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"lagan/evidence"
)

// verify walks the tree once, buckets in buckets included, notes which element
// leads to each page and counts what is wrong.
func (db *DB) verify() {
	db.verifyBucket(db.Root())
	slices.SortFunc(db.runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(db.runs); i++ {
		if prev := db.runs[i-1]; db.runs[i].first-prev.first < prev.count {
			db.faults++ // two pages share their continuations
		}
	}
}

func (db *DB) verifyBucket(b *Bucket) {
	if b.inline != nil {
		db.verifyLeaf(b, b.inline)
		return
	}
	db.verifyPage(b, b.root, b.ref, 0)
}

func (db *DB) verifyPage(b *Bucket, id uint64, from ref, depth int) {
	if _, met := db.refs[id]; met || depth > maxDepth {
		db.faults++
		return
	}
	p, err := db.page(id)
	if err != nil {
		db.faults++
		return
	}
	db.refs[id] = from
	db.runs = append(db.runs, run{id, uint64(p.overflow) + 1})
	if (int64(p.overflow)+1)*int64(db.meta.PageSize) > p.size {
		db.faults++ // the file ends before the page does
	}
	if p.flags == leafPageFlag {
		db.verifyLeaf(b, p)
		return
	}
	for i := range int(p.count) {
		e, err := p.branch(i)
		if err != nil {
			db.faults++
		}
		db.verifyPage(b, e.child, ref{p.off, int32(i)}, depth+1)
	}
}

func (db *DB) verifyLeaf(b *Bucket, p *page) {
	var last []byte
	b.leaves(p, func(kv KV, err error) bool {
		if err != nil {
			db.faults++
			return true
		}
		if last != nil && string(last) >= string(kv.Key) {
			db.faults++
		}
		last = kv.Key
		if !kv.IsBucket() {
			return true
		}
		sub, err := kv.Bucket()
		if err != nil {
			db.faults++
			return true
		}
		db.verifyBucket(sub)
		return true
	})
}

// Reachable says whether page id, or the page that it continues, is part of the tree.
func (db *DB) Reachable(id uint64) bool {
	if id < 2 || id == db.meta.Freelist {
		return true
	}
	i, found := slices.BinarySearchFunc(db.runs, id, func(r run, id uint64) int { return cmp.Compare(r.first, id) })
	return found || i > 0 && id-db.runs[i-1].first < db.runs[i-1].count
}

// PageInfo is what a page's header says of it.
type PageInfo struct {
	ID       uint64
	Offset   int64
	Leaf     bool
	Branch   bool
	Count    int
	Overflow uint32 // further pages that the page continues on
	// Reachable says that the page is part of the tree. Others hold remnants of earlier transactions.
	Reachable bool
}

// Pages yields every page of the file that bears its own number in its header:
// those of the tree, and those that earlier transactions left behind, past the
// high-water mark too. Continuations and blank pages are left out.
func (db *DB) Pages() iter.Seq2[PageInfo, error] {
	return func(yield func(PageInfo, error) bool) {
		ps := int64(db.meta.PageSize)
		b := make([]byte, pageHeaderSize)
		end := db.size
		if end/ps > maxPages {
			end = maxPages * ps
			if !yield(PageInfo{}, fmt.Errorf("%d pages, of which %d are looked at: %w", db.size/ps, maxPages, evidence.ErrUnsupported)) {
				return
			}
		}
		for off := int64(0); off+pageHeaderSize <= end; off += ps {
			if err := readFull(db.r, b, off); err != nil {
				if !yield(PageInfo{}, fmt.Errorf("page at offset %#x: %w", off, err)) {
					return
				}
				continue
			}
			h := decodeHeader(b, db.order())
			if h.id != uint64(off/ps) || h.flags&^(branchPageFlag|leafPageFlag|metaPageFlag|freelistPageFlag) != 0 || h.flags == 0 {
				continue
			}
			if !yield(PageInfo{h.id, off, h.flags == leafPageFlag, h.flags == branchPageFlag, int(h.count), h.overflow, db.Reachable(h.id)}, nil) {
				return
			}
		}
	}
}

// Leaf yields the elements of one leaf page, part of the tree or not. Buckets
// among them lead to pages that may hold something else by now.
func (db *DB) Leaf(id uint64) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		p, err := db.readPage(id)
		if err == nil && p.flags != leafPageFlag {
			err = fmt.Errorf("page %d is no leaf: %w", id, evidence.ErrCorrupt)
		}
		if err != nil {
			yield(KV{}, err)
			return
		}
		(&Bucket{db: db, path: fmt.Sprintf("page %d", id)}).leaves(p, yield)
	}
}

// maxPages bounds the pages of a file that Pages and Freelist look at: 64 GiB in pages of 4 KiB.
const maxPages = 16 << 20

// Freelist returns the numbers of the pages that the file says are free, or
// fs.ErrNotExist where it was written without that list.
func (db *DB) Freelist() ([]uint64, error) {
	id, ps := db.meta.Freelist, int64(db.meta.PageSize)
	if id == noFreelist {
		return nil, fmt.Errorf("freelist: %w", fs.ErrNotExist)
	}
	if id < 2 || id >= db.meta.High || id >= uint64(db.size/ps) {
		return nil, fmt.Errorf("freelist in page %d of %d: %w", id, db.meta.High, evidence.ErrCorrupt)
	}
	off := int64(id) * ps
	b := make([]byte, pageHeaderSize+8)
	if err := readFull(db.r, b, off); err != nil {
		return nil, fmt.Errorf("freelist: %w", err)
	}
	h := decodeHeader(b, db.order())
	if h.id != id || h.flags != freelistPageFlag {
		return nil, fmt.Errorf("freelist at offset %#x is page %d with flags %#x: %w", off, h.id, h.flags, evidence.ErrCorrupt)
	}
	count, at := uint64(h.count), off+pageHeaderSize
	if count == manyFree {
		count, at = db.order().Uint64(b[pageHeaderSize:]), at+8
	}
	end := min(off+(int64(h.overflow)+1)*ps, db.size)
	if count > maxPages || int64(count)*8 > end-at {
		return nil, fmt.Errorf("freelist at offset %#x holds %d pages: %w", off, count, evidence.ErrCorrupt)
	}
	list := make([]byte, count*8)
	if err := readFull(db.r, list, at); err != nil {
		return nil, fmt.Errorf("freelist: %w", err)
	}
	free := make([]uint64, count)
	for i := range free {
		free[i] = db.order().Uint64(list[i*8:])
	}
	return free, nil
}
