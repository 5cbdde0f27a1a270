// Package boltdb reads the B+tree files of go.etcd.io/bbolt: containerd's
// meta.db and metadata.db, Docker's volume and network stores, Podman's
// bolt_state.db, etcd's snap/db. It follows internal/common of bbolt 1.5.
//
// The library itself maps the file, takes a lock and trusts every offset; on a
// damaged file it faults, panics or doesn't return. This reader works on an
// io.ReaderAt. Input is hostile: every offset is checked, every page is
// reachable in one way only (a page that is named twice is an error), and no
// allocation is larger than what stands in the file and the limits in disk.go.
// A page that can't be read is an error in its place, and the rest goes on.
//
// A file holds two meta pages, each the root of the tree as one transaction
// left it. Open takes the newer, or the older where the newer's tree is damaged
// and the older's less so: a copy of a live file may hold a meta page whose
// tree was not yet written.
package boltdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"lagan/evidence"
)

// DB is the tree of one transaction. Its methods may be called from several goroutines.
type DB struct {
	r      *blocks
	size   int64
	meta   Meta
	others []Meta

	// refs says which element leads to each page of the tree, so that no page
	// is entered from two places and every walk ends.
	refs   map[uint64]ref
	runs   []run // pages of the tree with their continuations, sorted
	faults int   // what Open found wrong in the tree

	mu    sync.Mutex
	cache [cacheSlots]*page
}

// cacheSlots pages are kept, by page number: a walk down from the root meets the same upper pages again.
const cacheSlots = 64

// ref is the place of a pointer to a page: the page and element that hold it. The root's is zero.
type ref struct {
	page  int64 // offset of the pointing page in the file
	index int32
}

// run is a page with its continuations.
type run struct{ first, count uint64 }

// Open reads the meta pages of the bolt file in the first size bytes of r and
// checks the tree. It returns evidence.ErrFormat where r is no bolt file. warn,
// where set, is told what was wrong and read past.
func Open(r io.ReaderAt, size int64, warn func(error)) (*DB, error) {
	if warn == nil {
		warn = func(error) {}
	}
	kept := newBlocks(r, size)
	metas, err := readMetas(kept, size, warn)
	if err != nil {
		return nil, err
	}
	var best *DB
	for _, m := range metas {
		db := newDB(kept, size, m)
		if best == nil || db.faults < best.faults {
			best = db
		}
		if best.faults == 0 {
			break
		}
	}
	for _, m := range metas {
		if m.page != best.meta.page {
			best.others = append(best.others, m)
		}
	}
	if newest := metas[0]; newest.page != best.meta.page {
		warn(fmt.Errorf("tree of transaction %d is damaged, reading transaction %d: %w", newest.TxID, best.meta.TxID, evidence.ErrCorrupt))
	}
	if !best.meta.Sum {
		warn(fmt.Errorf("meta page %d: wrong checksum, read all the same: %w", best.meta.page, evidence.ErrCorrupt))
	}
	if best.faults > 0 {
		warn(fmt.Errorf("tree of transaction %d has %d faults, what stood there is missing: %w", best.meta.TxID, best.faults, evidence.ErrCorrupt))
	}
	return best, nil
}

func newDB(r *blocks, size int64, m Meta) *DB {
	db := &DB{r: r, size: size, meta: m, refs: make(map[uint64]ref)}
	db.verify()
	return db
}

// Meta returns the meta page whose tree this is.
func (db *DB) Meta() Meta { return db.meta }

// Damaged returns how many faults Open found in the tree.
func (db *DB) Damaged() int { return db.faults }

// Previous returns the tree of the other meta page, which is most often the
// state before the last transaction, with what of it was overwritten since
// missing; fs.ErrNotExist where the other meta page can't be used.
func (db *DB) Previous() (*DB, error) {
	if len(db.others) == 0 {
		return nil, fmt.Errorf("other meta page: %w", fs.ErrNotExist)
	}
	p := newDB(db.r, db.size, db.others[0])
	p.others = []Meta{db.meta}
	return p, nil
}

// readMetas returns the usable meta pages: right checksums first, then the newest.
func readMetas(r io.ReaderAt, size int64, warn func(error)) ([]Meta, error) {
	var metas []Meta
	first, err := metaAt(r, size, 0, 0)
	problem := err
	if err == nil {
		metas = append(metas, first)
	} else if !errors.Is(err, evidence.ErrFormat) {
		warn(fmt.Errorf("meta page 0: %w", err))
	}
	// The second stands at the page size, which only the first tells: db.go, getPageSizeFromSecondMeta.
	for ps := int64(minPageSize); ps <= maxPageSize; ps <<= 1 {
		if len(metas) == 1 && metas[0].page == 0 && metas[0].Sum && int64(first.PageSize) != ps {
			continue
		}
		m, err := metaAt(r, size, ps, 1)
		if err != nil {
			if len(metas) == 1 && int64(first.PageSize) == ps {
				warn(fmt.Errorf("meta page 1 at offset %#x: %w", ps, err))
			}
			if !errors.Is(err, evidence.ErrFormat) {
				problem = err
			}
			continue
		}
		if int64(m.PageSize) != ps {
			continue
		}
		metas = append(metas, m)
		break
	}
	if len(metas) == 0 {
		if problem == nil {
			problem = evidence.ErrFormat
		}
		return nil, fmt.Errorf("reading bolt file: %w", problem)
	}
	slices.SortStableFunc(metas, func(a, b Meta) int {
		switch {
		case a.Sum != b.Sum && a.Sum, a.Sum == b.Sum && a.TxID > b.TxID:
			return -1
		case a.Sum != b.Sum || a.TxID < b.TxID:
			return 1
		}
		return 0
	})
	return metas, nil
}

func metaAt(r io.ReaderAt, size, off int64, page int) (Meta, error) {
	var b [pageHeaderSize + metaSize]byte
	if off+int64(len(b)) > size {
		return Meta{}, fmt.Errorf("offset %#x is past the end: %w", off, evidence.ErrFormat)
	}
	if err := readFull(r, b[:], off); err != nil {
		return Meta{}, err
	}
	m, err := decodeMeta(b[pageHeaderSize:])
	m.page = page
	return m, err
}

// readFull fills b from offset off; a reader may return io.EOF with the last bytes.
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

// order is the byte order of the file.
func (db *DB) order() binary.ByteOrder { return db.meta.order }
