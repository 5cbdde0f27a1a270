package boltdb

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"lagan/evidence"
)

// maxDepth bounds the depth of one bucket's tree, and that of buckets in
// buckets. A page holds two children at least in any tree worth the name, so
// 64 levels exceed every file.
const maxDepth = 64

// Bucket is one bucket: keys with values, and further buckets.
type Bucket struct {
	db     *DB
	path   string
	root   uint64 // 0: inline
	seq    uint64
	ref    ref
	inline *page
	depth  int
	loose  bool // not of the tree: pages are read wherever they are
}

// KV is one key of a bucket, with a value or a bucket.
type KV struct {
	Key   []byte // not to be changed
	page  *page
	off   int64
	size  int64
	flags uint32
	index int
	in    *Bucket
}

// Root returns the root bucket, whose keys are the top buckets.
func (db *DB) Root() *Bucket {
	return &Bucket{db: db, root: db.meta.Root, seq: db.meta.Sequence}
}

// Bucket returns the bucket at the given path from the root, or fs.ErrNotExist.
func (db *DB) Bucket(path ...string) (*Bucket, error) {
	b := db.Root()
	for _, name := range path {
		next, err := b.Bucket(name)
		if err != nil {
			return nil, err
		}
		b = next
	}
	return b, nil
}

// Sequence returns the highest number that the bucket gave out.
func (b *Bucket) Sequence() uint64 { return b.seq }

// Path returns the bucket's names from the root, joined by slashes, for messages.
func (b *Bucket) Path() string { return b.path }

// IsBucket says whether the key holds a bucket.
func (kv KV) IsBucket() bool { return kv.flags&bucketLeafFlag != 0 }

// Size returns the length of the value in bytes.
func (kv KV) Size() int64 { return kv.size }

// Value reads the value, which is not to be changed. A value over MaxValue bytes is an error.
func (kv KV) Value() ([]byte, error) {
	if kv.size > MaxValue {
		return nil, fmt.Errorf("%s: value of %q has %d bytes, more than %d: %w", kv.in.name(), kv.Key, kv.size, MaxValue, evidence.ErrUnsupported)
	}
	b, err := kv.page.bytes(kv.off, kv.size)
	if err != nil {
		return nil, fmt.Errorf("%s: value of %q: %w", kv.in.name(), kv.Key, err)
	}
	return b, nil
}

// Offset returns where the value stands in the file, for messages.
func (kv KV) Offset() int64 { return kv.page.off + kv.off }

// Bucket opens the bucket that the key holds.
func (kv KV) Bucket() (*Bucket, error) {
	name := kv.in.path + "/" + string(kv.Key)
	if kv.in.path == "" {
		name = string(kv.Key)
	}
	if !kv.IsBucket() {
		return nil, fmt.Errorf("%q is no bucket: %w", name, fs.ErrNotExist)
	}
	if kv.in.inline != nil && !kv.in.loose {
		// Only a bucket without buckets is kept inline: bucket.go, inlineable.
		return nil, fmt.Errorf("bucket %q at offset %#x is inside an inline bucket: %w", name, kv.Offset(), evidence.ErrCorrupt)
	}
	if kv.in.depth >= maxDepth {
		return nil, fmt.Errorf("bucket %q: nested deeper than %d: %w", name, maxDepth, evidence.ErrCorrupt)
	}
	if kv.size < bucketHeaderSize {
		return nil, fmt.Errorf("bucket %q at offset %#x has %d bytes: %w", name, kv.Offset(), kv.size, evidence.ErrCorrupt)
	}
	h, err := kv.page.bytes(kv.off, bucketHeaderSize)
	if err != nil {
		return nil, fmt.Errorf("bucket %q: %w", name, err)
	}
	o := kv.in.db.order()
	b := &Bucket{db: kv.in.db, path: name, root: o.Uint64(h), seq: o.Uint64(h[8:]),
		ref: ref{kv.page.off, int32(kv.index)}, depth: kv.in.depth + 1, loose: kv.in.loose}
	if b.root == 0 {
		b.inline, err = b.db.inlinePage(kv.Offset()+bucketHeaderSize, kv.size-bucketHeaderSize)
		if err != nil {
			return nil, fmt.Errorf("bucket %q: %w", name, err)
		}
	}
	return b, nil
}

func (b *Bucket) name() string {
	if b.path == "" {
		return "root bucket"
	}
	return fmt.Sprintf("bucket %q", b.path)
}

// All yields the bucket's keys in the order of the tree, which is byte order
// where the file is sound. An error stands for the page or key that couldn't
// be read; others may follow it.
func (b *Bucket) All() iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		if b.inline != nil {
			b.leaves(b.inline, yield)
			return
		}
		b.walk(b.root, b.ref, 0, make(map[uint64]bool), yield)
	}
}

// walk yields the keys below page id. It returns false to end the walk. seen
// holds the pages that were entered and are no part of the tree, so that the
// walk of a remnant ends too.
func (b *Bucket) walk(id uint64, from ref, depth int, seen map[uint64]bool, yield func(KV, error) bool) bool {
	var p *page
	var err error
	if b.loose {
		if p, err = b.db.readPage(id); err == nil && p.flags == leafPageFlag {
			b.db.cutRun(p)
		}
	} else {
		p, err = b.db.follow(id, from)
	}
	if err == nil && seen[id] {
		err = fmt.Errorf("page %d is used twice: %w", id, evidence.ErrCorrupt)
	}
	if err != nil {
		return yield(KV{}, fmt.Errorf("%s: %w", b.name(), err))
	}
	if _, ok := b.db.refs[id]; !ok || b.loose {
		seen[id] = true
	}
	if p.flags == leafPageFlag {
		return b.leaves(p, yield)
	}
	if depth >= maxDepth {
		return yield(KV{}, fmt.Errorf("%s: page %d is deeper than %d: %w", b.name(), id, maxDepth, evidence.ErrCorrupt))
	}
	for i := range int(p.count) {
		e, err := p.branch(i)
		if err != nil && !yield(KV{}, fmt.Errorf("%s: %w", b.name(), err)) {
			return false
		}
		if !b.walk(e.child, ref{p.off, int32(i)}, depth+1, seen, yield) {
			return false
		}
	}
	return true
}

// follow reads the page that a pointer leads to, unless another pointer leads there first.
func (db *DB) follow(id uint64, from ref) (*page, error) {
	p, err := db.page(id)
	if err != nil {
		return nil, err
	}
	if owner, ok := db.refs[id]; ok && owner != from {
		return nil, fmt.Errorf("page %d, which the page at offset %#x uses, is used by the page at offset %#x: %w", id, from.page, owner.page, evidence.ErrCorrupt)
	}
	return p, nil
}

// leaves yields the elements of a leaf page. What they hold can't be more than
// the page: elements that overlap would make a small file yield without end.
func (b *Bucket) leaves(p *page, yield func(KV, error) bool) bool {
	room := p.size
	for i := range int(p.count) {
		e, err := p.leaf(i)
		if err == nil {
			if room -= leafElementSize + int64(len(e.key)) + e.vsize; room < 0 {
				err = fmt.Errorf("page at offset %#x: elements up to %d hold more than its %d bytes: %w", p.off, i, p.size, evidence.ErrCorrupt)
			}
		}
		if err != nil {
			if !yield(KV{}, fmt.Errorf("%s: %w", b.name(), err)) {
				return false
			}
			continue
		}
		if !yield(KV{e.key, p, e.value, e.vsize, e.flags, i, b}, nil) {
			return false
		}
	}
	return true
}

// Find returns the key called name, or fs.ErrNotExist. In a damaged tree all
// of the bucket is searched, and what couldn't be read is the error.
func (b *Bucket) Find(name string) (KV, error) {
	if b.inline == nil && b.db.faults == 0 && !b.loose {
		if kv, err := b.seek(name); err == nil {
			return kv, nil
		}
	}
	var failed error
	for kv, err := range b.All() {
		if err != nil {
			failed = errors.Join(failed, err)
		} else if string(kv.Key) == name {
			return kv, nil
		} else if failed == nil && b.db.faults == 0 && string(kv.Key) > name {
			break
		}
	}
	if failed == nil {
		return KV{}, fmt.Errorf("%s: %q: %w", b.name(), name, fs.ErrNotExist)
	}
	return KV{}, fmt.Errorf("looking for %q: %w", name, failed)
}

// seek goes down by the keys of the branches: the last one that is not greater.
func (b *Bucket) seek(name string) (KV, error) {
	key := []byte(name)
	id, from := b.root, b.ref
	for range maxDepth {
		p, err := b.db.follow(id, from)
		if err != nil {
			return KV{}, err
		}
		if p.flags == leafPageFlag {
			for i := range int(p.count) {
				e, err := p.leaf(i)
				if err == nil && bytes.Equal(e.key, key) {
					return KV{e.key, p, e.value, e.vsize, e.flags, i, b}, nil
				}
			}
			return KV{}, fs.ErrNotExist
		}
		next := branchElement{}
		for i := range int(p.count) {
			e, err := p.branch(i)
			if err != nil {
				return KV{}, err
			}
			if i > 0 && bytes.Compare(e.key, key) > 0 {
				break
			}
			next, from = e, ref{p.off, int32(i)}
		}
		id = next.child
	}
	return KV{}, evidence.ErrCorrupt
}

// Bucket returns the bucket called name in b, or fs.ErrNotExist.
func (b *Bucket) Bucket(name string) (*Bucket, error) {
	kv, err := b.Find(name)
	if err != nil {
		return nil, err
	}
	return kv.Bucket()
}

// Get returns the value of the key called name, or fs.ErrNotExist.
func (b *Bucket) Get(name string) ([]byte, error) {
	kv, err := b.Find(name)
	if err != nil {
		return nil, err
	}
	if kv.IsBucket() {
		return nil, fmt.Errorf("%s: %q is a bucket: %w", b.name(), name, fs.ErrNotExist)
	}
	return kv.Value()
}
