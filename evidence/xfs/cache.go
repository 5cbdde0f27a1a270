package xfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
)

// Metadata that is asked for at random (a walk, a lookup) is read in pages, of
// which the last used are kept: an inode's neighbours are usually asked for next.
const (
	pageSize    = 32 << 10 // a chunk of 64 inodes of the usual 512 bytes
	cacheShards = 16
	shardPages  = 24 // 16 shards of 24 pages of 32 KiB: 12 MiB
)

// pageCache holds pages of the device. A page's bytes never change, so that
// slices of it may be handed out and outlive its stay in the cache.
type pageCache struct {
	r      io.ReaderAt
	size   int64
	shards [cacheShards]shard
}

type shard struct {
	mu    sync.Mutex
	pages map[int64]*page
	ring  [shardPages]*page // in the order of arrival
	hand  int
}

type page struct {
	n    int64
	data []byte
	used bool // since the hand passed last
}

// read returns n bytes at off, which the caller must not change.
func (c *pageCache) read(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > c.size-int64(n) {
		return nil, fmt.Errorf("offset %#x: %d bytes beyond the end of the volume: %w", off, n, evidence.ErrCorrupt)
	}
	first := off / pageSize
	at := int(off % pageSize)
	if at+n <= pageSize {
		if data := c.page(first); at+n <= len(data) {
			return data[at : at+n : at+n], nil
		}
	}
	return c.direct(off, n)
}

// direct reads past the cache: what spans pages, and what lies in a page of
// which another part can't be read.
func (c *pageCache) direct(off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if got, err := c.r.ReadAt(b, off); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %d bytes at offset %#x: %w", n, off, err)
	}
	return b, nil
}

// page returns page n, or as much of its beginning as can be read.
func (c *pageCache) page(n int64) []byte {
	s := &c.shards[n%cacheShards]
	s.mu.Lock()
	if p := s.pages[n]; p != nil {
		p.used = true
		s.mu.Unlock()
		return p.data
	}
	s.mu.Unlock()
	want := min(pageSize, c.size-n*pageSize)
	data := make([]byte, want)
	got, _ := c.r.ReadAt(data, n*pageSize) // what is missing is read again, by itself
	if int64(got) < want {
		return data[:got] // not kept: the next try may read more
	}
	s.insert(n, data)
	return data
}

// put keeps a copy of page n.
func (c *pageCache) put(n int64, data []byte) {
	c.shards[n%cacheShards].insert(n, bytes.Clone(data))
}

func (s *shard) insert(n int64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages == nil {
		s.pages = make(map[int64]*page, shardPages)
	}
	if s.pages[n] == nil {
		s.keep(&page{n: n, data: data})
	}
}

// keep puts p in the place of a page that was not used since the hand passed it.
func (s *shard) keep(p *page) {
	for range shardPages {
		old := s.ring[s.hand]
		if old == nil || !old.used {
			break
		}
		old.used = false
		s.hand = (s.hand + 1) % shardPages
	}
	if old := s.ring[s.hand]; old != nil {
		delete(s.pages, old.n)
	}
	s.ring[s.hand] = p
	s.pages[p.n] = p
	s.hand = (s.hand + 1) % shardPages
}
