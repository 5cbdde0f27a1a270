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
	return aheadOf(1, func(_ int, send func([]T) ([]T, bool)) { produce(send) }, broken)
}

// aheadOf is ahead with n goroutines, whose batches are taken in turn: the k-th
// makes the batches k, k+n, k+2n and so on.
func aheadOf[T any](n int, produce func(k int, send func([]T) ([]T, bool)), broken func(error) T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		done := make(chan struct{})
		lines := make([]*line[T], n)
		for k := range lines {
			l := &line[T]{full: make(chan []T, 2), free: make(chan []T, 4), done: done}
			lines[k] = l
			go func() {
				defer close(l.full)
				// A panic of another goroutine could not be caught by the caller.
				defer func() {
					if p := recover(); p != nil {
						l.send([]T{broken(fmt.Errorf("ext4: reading metadata: %v: %w", p, evidence.ErrCorrupt))})
					}
				}()
				produce(k, l.send)
			}()
		}
		defer func() {
			close(done)
			for _, l := range lines {
				for range l.full {
				}
			}
		}()
		for open, k := n, 0; open > 0; k = (k + 1) % n {
			l := lines[k]
			batch, ok := <-l.full
			switch {
			case !ok && !l.ended:
				l.ended = true
				open--
			case ok && !yield(batch):
				return
			case ok:
				select {
				case l.free <- batch:
				default:
				}
			}
		}
	}
}

// line is the way of batches from one goroutine to who consumes them.
type line[T any] struct {
	full, free chan []T
	done       chan struct{}
	ended      bool
}

// send hands over a batch and gets an empty one, or false where no more are wanted.
func (l *line[T]) send(batch []T) ([]T, bool) {
	select {
	case l.full <- batch:
	case <-l.done:
		return nil, false
	}
	select {
	case b := <-l.free:
		return b[:0], true
	default:
		return nil, true
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
