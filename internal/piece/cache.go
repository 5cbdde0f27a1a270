package piece

import (
	"container/list"
	"errors"
	"sync"
)

// Cache keeps the pieces that were used last, and the errors of those that
// couldn't be read, so that each is told of once. Two that ask for one piece
// at a time get it from one loading.
type Cache[K comparable] struct {
	mu    sync.Mutex
	max   int64
	held  int64
	byKey map[K]*list.Element
	order *list.List // of *entry[K], used last first
}

type entry[K comparable] struct {
	key  K
	once sync.Once
	b    []byte
	err  error
	cost int64 // what it counts for in held; 0 until it is loaded
}

var errUnfinished = errors.New("reading was broken off")

// entryCost is what an entry takes beside its bytes, so that a cache of errors has its bound too.
const entryCost = 256

// NewCache returns a cache of at most max bytes.
func NewCache[K comparable](max int64) *Cache[K] {
	return &Cache[K]{max: max, byKey: map[K]*list.Element{}, order: list.New()}
}

// Get returns the piece called key, loaded where it isn't held. The bytes must
// not be changed.
func (c *Cache[K]) Get(key K, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	el, held := c.byKey[key]
	if held {
		c.order.MoveToFront(el)
	} else {
		el = c.order.PushFront(&entry[K]{key: key})
		c.byKey[key] = el
	}
	c.mu.Unlock()
	e := el.Value.(*entry[K])
	e.once.Do(func() {
		e.err = errUnfinished // what others get if load panics
		e.b, e.err = load()
		c.account(el, e)
	})
	return e.b, e.err
}

// account adds a loaded entry to what is held, and drops what was used longest ago.
func (c *Cache[K]) account(el *list.Element, e *entry[K]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[e.key] != el {
		return // dropped while it was loaded
	}
	e.cost = int64(len(e.b)) + entryCost
	c.held += e.cost
	for c.held > c.max && c.order.Len() > 1 {
		last := c.order.Back()
		old := last.Value.(*entry[K])
		if last == el {
			return
		}
		c.order.Remove(last)
		delete(c.byKey, old.key)
		c.held -= old.cost
	}
}
