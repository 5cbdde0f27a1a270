package boltdb

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"lagan/evidence"
)

// Where a page that is no part of the tree comes from.
const (
	// FromPrevious: the other meta page leads to it, so that it was part of the tree before the last transaction.
	FromPrevious = "previous transaction"
	// FromFreed: an earlier transaction left it.
	FromFreed = "freed page"
	// FromSlack: it lies behind the high-water mark.
	FromSlack = "page behind the end"
)

// Remnant is a leaf page that is no part of the tree any more: bbolt writes
// changed pages to new places and leaves the old ones as they are until they
// are used again.
type Remnant struct {
	Page   uint64
	Offset int64
	From   string
	// Whole says that every element of the page is where it says, with its value.
	Whole bool
	// Bucket has the page's elements. Buckets among them may lead to pages that
	// hold something else by now.
	Bucket *Bucket
	// Paths are the names by which pages of the file, of the tree or left behind,
	// lead to the page; the last element of each is the bucket's own name.
	Paths [][]string
}

// Bounds of the search for the names of a page.
const (
	maxPaths      = 16
	maxPathDepth  = 12
	maxPointers   = 1 << 20 // kept of a file
	maxRemnants   = 1 << 18
	maxPerPointer = 64 // pages that lead to one page
)

// pointer is an element that leads to a page; a branch's has no name.
type pointer struct {
	page  uint64
	name  string
	named bool
}

// Remnants yields the leaf pages that are no part of the tree, in the order of
// the file. A page whose elements contradict each other is left out.
func (db *DB) Remnants() iter.Seq2[*Remnant, error] {
	return func(yield func(*Remnant, error) bool) {
		var previous *DB
		if p, err := db.Previous(); err == nil {
			previous = p
		}
		pages, failed := db.leftPages()
		up := db.pointers()
		for _, id := range pages {
			r := db.remnant(id)
			if r == nil {
				continue
			}
			switch {
			case previous != nil && previous.inTree(id):
				r.From = FromPrevious
			case id >= db.meta.High:
				r.From = FromSlack
			default:
				r.From = FromFreed
			}
			r.Paths = db.paths(id, up)
			if !yield(r, nil) {
				return
			}
		}
		if failed != nil {
			yield(nil, failed)
		}
	}
}

// inTree says whether a page was met in the walk of the tree.
func (db *DB) inTree(id uint64) bool { _, ok := db.refs[id]; return ok }

// leftPages lists the leaf pages that are no part of the tree.
func (db *DB) leftPages() ([]uint64, error) {
	var out []uint64
	var failed error
	for p, err := range db.Pages() {
		if err != nil {
			failed = err
			continue
		}
		if p.Leaf && !p.Reachable && p.ID >= 2 && len(out) < maxRemnants {
			out = append(out, p.ID)
		}
	}
	return out, failed
}

// remnant reads a page and checks its elements; nil where they make no sense.
func (db *DB) remnant(id uint64) *Remnant {
	p, err := db.readPage(id)
	if err != nil || p.flags != leafPageFlag || p.count == 0 {
		return nil
	}
	whole := db.cutRun(p)
	var last []byte
	read := 0
	b := &Bucket{db: db, path: fmt.Sprintf("page %d", id), inline: p, loose: true}
	b.leaves(p, func(kv KV, err error) bool {
		if err != nil || last != nil && string(last) >= string(kv.Key) {
			whole = false
			return true
		}
		last = kv.Key
		read++
		return true
	})
	if read == 0 {
		return nil
	}
	return &Remnant{Page: id, Offset: p.off, Whole: whole, Bucket: b}
}

// cutRun ends a page before the first of its continuations that was used again,
// and says whether all are as they were.
func (db *DB) cutRun(p *page) bool {
	ps := int64(db.meta.PageSize)
	head := make([]byte, pageHeaderSize)
	for i := int64(1); i*ps < p.size; i++ {
		id := p.id + uint64(i)
		again := db.Reachable(id)
		if !again && readFull(db.r, head, p.off+i*ps) == nil {
			h := decodeHeader(head, db.order())
			again = h.id == id && (h.flags == leafPageFlag || h.flags == branchPageFlag || h.flags == freelistPageFlag)
		}
		if again {
			p.size = i * ps
			return false
		}
	}
	return (int64(p.overflow)+1)*ps == p.size
}

// pointers collects what leads to each page: elements of leaves and branches, of the tree or left behind.
func (db *DB) pointers() map[uint64][]pointer {
	up := map[uint64][]pointer{}
	kept := 0
	add := func(child uint64, p pointer) {
		if child >= 2 && kept < maxPointers && len(up[child]) < maxPerPointer {
			kept++
			up[child] = append(up[child], p)
		}
	}
	for info, err := range db.Pages() {
		if err != nil || !info.Leaf && !info.Branch || info.ID < 2 {
			continue
		}
		p, err := db.readPage(info.ID)
		if err != nil {
			continue
		}
		for i := range int(p.count) {
			if info.Branch {
				if e, err := p.branch(i); err == nil {
					add(e.child, pointer{page: info.ID})
				}
				continue
			}
			e, err := p.leaf(i)
			if err != nil || e.flags&bucketLeafFlag == 0 || e.vsize < bucketHeaderSize {
				continue
			}
			if h, err := p.bytes(e.value, bucketHeaderSize); err == nil {
				add(db.order().Uint64(h), pointer{info.ID, string(e.key), true})
			}
		}
	}
	return up
}

// paths returns the names by which a page can be reached.
func (db *DB) paths(id uint64, up map[uint64][]pointer) [][]string {
	found := map[string][]string{}
	var climb func(id uint64, below []string, depth int, seen []uint64)
	climb = func(id uint64, below []string, depth int, seen []uint64) {
		if len(found) >= maxPaths || depth > maxPathDepth || slices.Contains(seen, id) {
			return
		}
		seen = append(seen[:len(seen):len(seen)], id)
		for _, p := range up[id] {
			names := below
			if p.named {
				names = append([]string{p.name}, below...)
			}
			if len(up[p.page]) == 0 && len(names) > 0 {
				found[fmt.Sprintf("%q", names)] = names
			}
			climb(p.page, names, depth+1, seen)
		}
	}
	climb(id, nil, 0, nil)
	out := make([][]string, 0, len(found))
	for _, k := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[k])
	}
	return out
}

// InTree says whether the bucket begins in a page of the tree.
func (b *Bucket) InTree() bool { return b.inline == nil && b.db.inTree(b.root) }

// Inline says whether the bucket lies in the page that names it: a small one without buckets of its own does.
func (b *Bucket) Inline() bool { return b.inline != nil }

// Values yields the page's values, and those of the small buckets that lie in the
// page itself. path has the names of the buckets in which each stands, below the page.
func (r *Remnant) Values() iter.Seq2[KV, []string] {
	return func(yield func(KV, []string) bool) { values(r.Bucket, nil, yield) }
}

func values(b *Bucket, path []string, yield func(KV, []string) bool) bool {
	for kv, err := range b.All() {
		if err != nil {
			continue
		}
		if !kv.IsBucket() {
			if !yield(kv, path) {
				return false
			}
			continue
		}
		// A bucket on another page is found there, if that is still its page.
		if sub, err := kv.Bucket(); err == nil && sub.Inline() && len(path) < maxPathDepth {
			if !values(sub, append(path[:len(path):len(path)], string(kv.Key)), yield) {
				return false
			}
		}
	}
	return true
}

// Fragment is a stretch of pages that are no part of the tree and bear no header:
// continuations of large values whose first page was used again.
type Fragment struct {
	Page   uint64
	Offset int64
	Data   []byte
}

// maxFragment bounds the bytes of a fragment: larger than any specification of a container.
const maxFragment = 1 << 20

// Fragments yields what is left of large values, in the order of the file.
func (db *DB) Fragments() iter.Seq2[Fragment, error] {
	return func(yield func(Fragment, error) bool) {
		ps := int64(db.meta.PageSize)
		var f Fragment
		flush := func() bool {
			ok := len(f.Data) == 0 || yield(f, nil)
			f = Fragment{}
			return ok
		}
		end := min(db.size/ps, maxPages)
		b := make([]byte, ps)
		for id := int64(2); id < end; id++ {
			if db.Reachable(uint64(id)) {
				if !flush() {
					return
				}
				continue
			}
			if err := readFull(db.r, b, id*ps); err != nil {
				if !flush() || !yield(Fragment{}, fmt.Errorf("page %d: %w: %w", id, err, evidence.ErrCorrupt)) {
					return
				}
				continue
			}
			h := decodeHeader(b, db.order())
			if h.id == uint64(id) || !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
				if !flush() {
					return
				}
				continue
			}
			if len(f.Data) == 0 {
				f.Page, f.Offset = uint64(id), id*ps
			}
			if f.Data = append(f.Data, b...); len(f.Data) >= maxFragment && !flush() {
				return
			}
		}
		flush()
	}
}
