package analyzer

import (
	"math"
	"slices"
	"sort"

	"lagan/evidence"
)

// inoList is a list of handles, in chunks of chunkNodes, of four bytes each
// where the handles of a chunk are near each other.
type inoList struct {
	chunks []inoChunk
	n      int
	last   evidence.Ino
	sorted bool // each is larger than the one before
}

type inoChunk struct {
	base  evidence.Ino
	small []uint32       // on top of base
	large []evidence.Ino // all of them, where one is not near base
}

func (l *inoList) len() int { return l.n }

func (l *inoList) add(ino evidence.Ino) {
	l.sorted = l.n == 0 || l.sorted && ino > l.last
	l.last = ino
	if l.n&(chunkNodes-1) == 0 {
		l.chunks = append(l.chunks, inoChunk{base: ino, small: make([]uint32, 0, chunkNodes)})
	}
	l.n++
	c := &l.chunks[len(l.chunks)-1]
	far := ino < c.base || ino-c.base > math.MaxUint32
	switch {
	case c.large != nil:
		c.large = append(c.large, ino)
	case far:
		c.large = make([]evidence.Ino, 0, chunkNodes)
		for _, d := range c.small {
			c.large = append(c.large, c.base+evidence.Ino(d))
		}
		c.small, c.large = nil, append(c.large, ino)
	default:
		c.small = append(c.small, uint32(ino-c.base))
	}
}

// at returns the i-th handle.
func (l *inoList) at(i int32) evidence.Ino {
	c := &l.chunks[i>>chunkShift]
	if i &= chunkNodes - 1; c.large != nil {
		return c.large[i]
	}
	return c.base + evidence.Ino(c.small[i])
}

// find returns where a handle is in the list, which is sorted; -1: nowhere.
func (l *inoList) find(ino evidence.Ino) int32 {
	k := sort.Search(len(l.chunks), func(k int) bool { return l.chunks[k].base > ino }) - 1
	if k < 0 {
		return -1
	}
	c := &l.chunks[k]
	var i int
	var ok bool
	if c.large != nil {
		i, ok = slices.BinarySearch(c.large, ino)
	} else if d := ino - c.base; d <= math.MaxUint32 {
		i, ok = slices.BinarySearch(c.small, uint32(d))
	}
	if !ok {
		return -1
	}
	return int32(k<<chunkShift | i)
}

// bytes is about how much memory the list takes.
func (l *inoList) bytes() (n int64) {
	for i := range l.chunks {
		n += int64(cap(l.chunks[i].small))*4 + int64(cap(l.chunks[i].large))*8
	}
	return n
}
