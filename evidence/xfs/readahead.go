package xfs

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
)

const (
	// readLargest is the largest single read of a scan; larger ones gain nothing.
	readLargest = 1 << 20
	// readGap is the largest gap that is read through rather than skipped: a
	// disk reads that much in the time that another request takes.
	readGap = 64 << 10
	// readsAhead is the number of reads that wait for being used.
	readsAhead = 3
)

// piece is a part of the device that a scan wants.
type piece struct {
	off  int64
	n    int
	id   int    // the caller's
	have []byte // its bytes, where they needn't be read
}

// stretch is one large read, and the pieces in it.
type stretch struct {
	pieces []piece
	buf    []byte // from the first piece's offset on, as far as could be read
	taken  bool   // the buffer, from those that are free
}

// readAhead reads the pieces, which are in the order of the device, in large
// reads that run ahead in a goroutine of their own, and gives fn each in turn.
// The bytes are valid during the call only. False ends the reading. passed, where
// it is not nil, is given what was read between two pieces, before the second.
func readAhead(r io.ReaderAt, size int64, pieces []piece, passed func(off int64, b []byte), fn func(p piece, b []byte, err error) bool) {
	reads := make(chan stretch)
	free := make(chan []byte, readsAhead)
	done := make(chan struct{})
	for range readsAhead {
		free <- nil
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(reads)
		for len(pieces) > 0 {
			s := stretch{pieces: pieces[:stretchLen(pieces)]}
			pieces = pieces[len(s.pieces):]
			if s.pieces[0].have == nil {
				select {
				case s.buf = <-free:
				case <-done:
					return
				}
				s.taken = true
				s.read(r, size)
			}
			select {
			case reads <- s:
			case <-done:
				return
			}
		}
	})
	defer reader.Wait()
	defer close(done)
	for s := range reads {
		for i, p := range s.pieces {
			if p.have != nil {
				s.pieces[i].have = nil // may be all that holds the memory
				if !fn(p, p.have, nil) {
					return
				}
				continue
			}
			if from, to := s.between(i); passed != nil && from < to {
				passed(s.pieces[0].off+from, s.buf[from:to])
			}
			b, err := s.piece(r, size, p)
			if !fn(p, b, err) {
				return
			}
		}
		if s.taken {
			free <- s.buf
		}
	}
}

// stretchLen returns how many of the pieces one read takes.
func stretchLen(pieces []piece) int {
	first := pieces[0].off
	end := first + int64(pieces[0].n)
	if pieces[0].have != nil {
		return 1
	}
	for i, p := range pieces[1:] {
		if p.have != nil || p.off > end+readGap || p.off+int64(p.n) > first+readLargest || p.off < first {
			return i + 1
		}
		end = max(end, p.off+int64(p.n))
	}
	return len(pieces)
}

func (s *stretch) read(r io.ReaderAt, size int64) {
	first := s.pieces[0].off
	end := first
	for _, p := range s.pieces {
		end = max(end, p.off+int64(p.n))
	}
	end = min(end, size)
	if n := end - first; n <= 0 {
		s.buf = s.buf[:0]
	} else if int64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	} else {
		s.buf = s.buf[:n]
	}
	n := 0
	// What a panic of r leaves unread is read again by piece, in the goroutine
	// of whoever called, where a panic can be recovered from.
	defer func() {
		_ = recover()
		s.buf = s.buf[:max(n, 0)]
	}()
	n, _ = r.ReadAt(s.buf, first)
}

// between returns the part of the buffer that lies before the i-th piece and
// behind the one before.
func (s *stretch) between(i int) (from, to int64) {
	if i == 0 {
		return 0, 0
	}
	first, last := s.pieces[0].off, s.pieces[i-1]
	return last.off + int64(last.n) - first, min(s.pieces[i].off-first, int64(len(s.buf)))
}

// piece returns the bytes of p. Where the large read failed, what lies behind
// the bad place is read once more by itself.
func (s *stretch) piece(r io.ReaderAt, size int64, p piece) ([]byte, error) {
	at := p.off - s.pieces[0].off
	if at+int64(p.n) <= int64(len(s.buf)) {
		return s.buf[at : at+int64(p.n)], nil
	}
	if p.off > size-int64(p.n) {
		return nil, fmt.Errorf("offset %#x: %d bytes beyond the end of the volume: %w", p.off, p.n, evidence.ErrCorrupt)
	}
	b := make([]byte, p.n)
	if n, err := r.ReadAt(b, p.off); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %d bytes at offset %#x: %w", p.n, p.off, err)
	}
	return b, nil
}
