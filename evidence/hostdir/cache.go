//go:build linux

package hostdir

import (
	"container/list"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// fdCache keeps the descriptors that were used last. One that is in use is not closed.
type fdCache struct {
	mu     sync.Mutex
	max    int
	byIno  map[evidence.Ino]*list.Element
	order  *list.List // of *openFD, used last first
	closed bool
}

type openFD struct {
	ino   evidence.Ino
	fd    int
	users int
	gone  bool // no longer in the cache: the last user closes it
}

func newCache(size int) fdCache {
	return fdCache{max: size, byIno: map[evidence.Ino]*list.Element{}, order: list.New()}
}

// get returns the descriptor of a handle, opened where it isn't yet, and what
// gives it back.
func (c *fdCache) get(ino evidence.Ino, open func() (int, error)) (int, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.use(ino); e != nil {
		return e.fd, func() { c.release(e) }, nil
	}
	c.mu.Unlock() // a slow filesystem keeps nobody else waiting
	fd, err := open()
	c.mu.Lock()
	if err != nil {
		return 0, nil, err
	}
	if c.closed {
		unix.Close(fd)
		return 0, nil, fs.ErrClosed
	}
	if e := c.use(ino); e != nil { // another was faster
		unix.Close(fd)
		return e.fd, func() { c.release(e) }, nil
	}
	e := &openFD{ino: ino, fd: fd, users: 1}
	c.byIno[ino] = c.order.PushFront(e)
	for c.order.Len() > c.max {
		c.drop(c.order.Back())
	}
	return fd, func() { c.release(e) }, nil
}

// cached returns the descriptor of a handle if it is open.
func (c *fdCache) cached(ino evidence.Ino) (int, func(), bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.use(ino)
	if e == nil {
		return 0, nil, false
	}
	return e.fd, func() { c.release(e) }, true
}

func (c *fdCache) use(ino evidence.Ino) *openFD {
	el := c.byIno[ino]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	e := el.Value.(*openFD)
	e.users++
	return e
}

func (c *fdCache) release(e *openFD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users == 0 && e.gone {
		unix.Close(e.fd)
	}
}

// drop takes a descriptor out of the cache.
func (c *fdCache) drop(el *list.Element) {
	e := c.order.Remove(el).(*openFD)
	delete(c.byIno, e.ino)
	if e.gone = true; e.users == 0 {
		unix.Close(e.fd)
	}
}

func (c *fdCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}
