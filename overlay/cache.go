package overlay

import (
	"container/list"
	"errors"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
)

// defaultEntries is what a Cache keeps unless told otherwise: at about 50 bytes
// an entry and its name, some 20 MiB.
const defaultEntries = 400_000

// entryCost is what a cached directory counts for beside its entries.
const entryCost = 4

// Cache keeps directories of layers and the overlay's marks on them, for one
// view or for several that share layers. The least recently used are dropped.
type Cache struct {
	mu   sync.Mutex
	max  int
	used int
	dirs map[cacheKey]*list.Element // of *cached
	lru  list.List                  // most recent first
	// asked counts how often a name was looked up in a directory that isn't kept.
	asked map[cacheKey]uint8
}

const (
	// worthListing is how many names are looked up one by one before a directory is listed.
	worthListing = 4
	// maxAsked bounds the directories whose lookups are counted.
	maxAsked = 1 << 16
)

// worth counts a lookup, and says whether the directory is to be listed now:
// layers that many containers share are asked for the same directories again.
func (c *Cache) worth(k cacheKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil || len(c.asked) >= maxAsked {
		c.asked = make(map[cacheKey]uint8)
	}
	n := c.asked[k]
	if n < math.MaxUint8 {
		c.asked[k] = n + 1
	}
	return n+1 == worthListing
}

type cacheKey struct {
	fs  evidence.FS
	ino evidence.Ino
	// prefix is set where the value is the marks that use it.
	prefix string
}

type cached struct {
	key  cacheKey
	list *listing
	mark marks
	cost int
}

// NewCache returns a cache for so many directory entries, 0 for the usual number.
func NewCache(entries int) *Cache {
	if entries <= 0 {
		entries = defaultEntries
	}
	return &Cache{max: entries, dirs: map[cacheKey]*list.Element{}}
}

func (c *Cache) get(k cacheKey) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.dirs[k]
	if !ok {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*cached)
}

func (c *Cache) put(v *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.dirs[v.key]; ok || v.cost > c.max {
		return
	}
	c.dirs[v.key] = c.lru.PushFront(v)
	for c.used += v.cost; c.used > c.max; {
		last := c.lru.Back()
		old := last.Value.(*cached)
		c.lru.Remove(last)
		delete(c.dirs, old.key)
		c.used -= old.cost
	}
}

// listing is one layer's directory, sorted by name.
type listing struct {
	entries []evidence.Entry
	err     error // what could not be read of it
}

// find returns the entry of that name.
func (l *listing) find(name string) (evidence.Entry, bool) {
	i, ok := slices.BinarySearchFunc(l.entries, name, func(e evidence.Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return evidence.Entry{}, false
	}
	return l.entries[i], true
}

// comparableFS says whether an FS may be a map key; a type with slices or maps in
// it, not behind a pointer, may not.
func comparableFS(fsys evidence.FS) bool { return reflect.ValueOf(fsys).Comparable() }

// list returns a layer's directory.
func (f *FS) list(dir Location) *listing {
	fsys := f.layers[dir.Layer].FS
	keyed := f.keyed[dir.Layer]
	k := cacheKey{fs: fsys, ino: dir.Ino}
	if keyed {
		if c := f.cache.get(k); c != nil {
			return c.list
		}
	}
	l := readListing(fsys.ReadDir(dir.Ino))
	if keyed {
		f.cache.put(&cached{key: k, list: l, cost: len(l.entries) + entryCost})
	}
	return l
}

func readListing(seq iter.Seq2[evidence.Entry, error]) *listing {
	l := &listing{}
	sorted := true
	for e, err := range seq {
		if err != nil {
			l.err = errors.Join(l.err, err)
			continue
		}
		if n := len(l.entries); n > 0 && l.entries[n-1].Name > e.Name {
			sorted = false
		}
		l.entries = append(l.entries, e)
	}
	if !sorted {
		slices.SortStableFunc(l.entries, func(a, b evidence.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	return l
}

// find returns an entry of a layer's directory: from the cache, else as the
// layer's filesystem finds names best.
func (f *FS) find(dir Location, name string) (evidence.Entry, bool, error) {
	fsys := f.layers[dir.Layer].FS
	if f.keyed[dir.Layer] {
		k := cacheKey{fs: fsys, ino: dir.Ino}
		c := f.cache.get(k)
		if c == nil && f.cache.worth(k) {
			f.list(dir)
			c = f.cache.get(k)
		}
		if c != nil {
			e, ok := c.list.find(name)
			return e, ok, errUnlessFound(ok, c.list.err)
		}
	}
	if l, ok := fsys.(evidence.Lookuper); ok {
		e, err := l.Lookup(dir.Ino, name)
		if errors.Is(err, errNotExist) {
			return evidence.Entry{}, false, nil
		}
		return e, err == nil, err
	}
	l := f.list(dir)
	e, ok := l.find(name)
	return e, ok, errUnlessFound(ok, l.err)
}

func errUnlessFound(found bool, err error) error {
	if found {
		return nil
	}
	return err
}
