package tarfs

// chunkSize is how many elements are allocated at once.
const chunkSize = 4096

// chunked is a list that never moves what is in it: a slice that grows to
// millions of elements would be copied, and take twice as much, each time.
type chunked[T any] struct {
	chunks [][]T
	n      int
}

func (c *chunked[T]) len() int { return c.n }

func (c *chunked[T]) at(i uint32) *T { return &c.chunks[i/chunkSize][i%chunkSize] }

func (c *chunked[T]) add(v T) uint32 {
	if c.n%chunkSize == 0 {
		c.chunks = append(c.chunks, make([]T, 0, chunkSize))
	}
	last := &c.chunks[len(c.chunks)-1]
	*last = append(*last, v)
	c.n++
	return uint32(c.n - 1)
}
