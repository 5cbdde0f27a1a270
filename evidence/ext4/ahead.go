package ext4

import (
	"fmt"
	"iter"

	"lagan/evidence"
)

// ahead runs produce in a goroutine, a few batches ahead of who consumes them,
// so that reading and decoding go on while results are worked on. produce
// hands over a batch and gets an empty one back, or false when it is to stop.
// The goroutine has ended when the sequence has.
func ahead[T any](produce func(send func([]T) ([]T, bool)), broken func(error) T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		full, free := make(chan []T, 2), make(chan []T, 4)
		done := make(chan struct{})
		send := func(batch []T) ([]T, bool) {
			select {
			case full <- batch:
			case <-done:
				return nil, false
			}
			select {
			case b := <-free:
				return b[:0], true
			default:
				return nil, true
			}
		}
		go func() {
			defer close(full)
			// A panic of another goroutine could not be caught by the caller.
			defer func() {
				if p := recover(); p != nil {
					send([]T{broken(fmt.Errorf("ext4: reading metadata: %v: %w", p, evidence.ErrCorrupt))})
				}
			}()
			produce(send)
		}()
		defer func() {
			close(done)
			for range full {
			}
		}()
		for batch := range full {
			if !yield(batch) {
				return
			}
			select {
			case free <- batch:
			default:
			}
		}
	}
}

const (
	// readSize is what is read at once of tables and of neighbouring blocks.
	readSize = 1 << 20
	// readGap is how much is read in vain rather than sought over.
	readGap = 64 << 10
)

// span is n blocks on the disk, and whose they are.
type span struct {
	blk uint64
	n   uint32
	own int32
	at  uint64 // logical block of the first
}

// readSpans reads spans, which are sorted by block, neighbours together, and
// calls fn with each block of each.
func (fs *FS) readSpans(spans []span, buf []byte, fn func(s span, i uint32, b []byte, err error) bool) {
	size := fs.sb.blockSize()
	for len(spans) > 0 {
		start, end, n := fs.joinSpans(spans, len(buf))
		have := buf[:end-start]
		failed := readFull(fs.dev, have, start)
		for _, s := range spans[:n] {
			at := fs.offset(s.blk) - start
			for i := range s.n {
				b := have[at : at+int64(size)]
				var err error
				if failed != nil {
					b, err = fs.block(s.blk + uint64(i))
				}
				if !fn(s, i, b, err) {
					return
				}
				at += int64(size)
			}
		}
		spans = spans[n:]
	}
}

// joinSpans returns the bytes of as many spans as are worth one read of at
// most limit bytes. The first is cut short where it alone is longer.
func (fs *FS) joinSpans(spans []span, limit int) (start, end int64, n int) {
	start = fs.offset(spans[0].blk)
	end = start
	for ; n < len(spans); n++ {
		s := spans[n]
		from, to := fs.offset(s.blk), fs.offset(s.blk+uint64(s.n))
		if n > 0 && (from > end+readGap || max(to, end)-start > int64(limit)) {
			break
		}
		end = max(end, to)
	}
	return start, end, n
}
