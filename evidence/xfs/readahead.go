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
	// readBefore and readBehind are what a read takes beside its pieces, for who is
	// told what lies between them: XFS makes a folder's first block just before the
	// inodes of what is in it, and further ones behind.
	readBefore = 16 << 10
	readBehind = 4 << 10
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
	first  int64  // offset of the buffer: the first piece's, or a little before
	end    int64  // of what is read: the last piece's, or a little behind
	buf    []byte // as far as could be read
	taken  bool   // the buffer, from those that are free
}

// readAhead reads the pieces, which are in the order of the device, in large
// reads that run ahead in a goroutine of their own, and gives fn each in turn.
// The bytes are valid during the call only. False ends the reading. passed, where
// it is not nil, is given what was read beside the pieces, in its order among them.
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
		last := int64(0) // where the read before ended
		for len(pieces) > 0 {
			s := stretch{pieces: pieces[:stretchLen(pieces)]}
			pieces = pieces[len(s.pieces):]
			s.bounds(size)
			if passed != nil {
				s.widen(last, size, pieces)
			}
			last = s.end
			if s.pieces[0].have == nil {
				select {
				case s.buf = <-free:
				case <-done:
					return
				}
				s.taken = true
				s.read(r)
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
			if passed != nil {
				s.pass(i, passed)
			}
			b, err := s.piece(r, size, p)
			if !fn(p, b, err) {
				return
			}
		}
		if passed != nil && s.taken {
			s.pass(len(s.pieces), passed)
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

// bounds sets what is to be read: from the first piece to the end of the last.
func (s *stretch) bounds(size int64) {
	s.first = s.pieces[0].off
	s.end = s.first
	for _, p := range s.pieces {
		s.end = max(s.end, p.off+int64(p.n))
	}
	s.end = min(s.end, size)
}

// widen adds what lies beside the pieces and in no other read: last is where the
// one before ended, and next are the pieces of those that follow.
func (s *stretch) widen(last, size int64, next []piece) {
	if last < s.first {
		s.first = max(last, s.first-readBefore, 0)
	}
	if len(next) > 0 {
		size = min(size, next[0].off)
	}
	if s.end < size {
		s.end = min(s.end+readBehind, size)
	}
}

func (s *stretch) read(r io.ReaderAt) {
	if s.readFrom(r) < s.pieces[0].off-s.first { // what nobody asked for can't be read
		s.first = s.pieces[0].off
		s.readFrom(r)
	}
}

// readFrom reads from the first offset to the end, as far as that goes.
func (s *stretch) readFrom(r io.ReaderAt) (got int64) {
	if n := s.end - s.first; n <= 0 {
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
		got = int64(len(s.buf))
	}()
	n, _ = r.ReadAt(s.buf, s.first)
	return 0
}

// pass gives what lies between the i-th piece and the one before, before the first
// one or behind the last.
func (s *stretch) pass(i int, passed func(off int64, b []byte)) {
	from, to := s.first, s.end
	if i > 0 {
		from = s.pieces[i-1].off + int64(s.pieces[i-1].n)
	}
	if i < len(s.pieces) {
		to = s.pieces[i].off
	}
	to = min(to, s.first+int64(len(s.buf)))
	if from < to {
		passed(from, s.buf[from-s.first:to-s.first])
	}
}

// piece returns the bytes of p. Where the large read failed, what lies behind
// the bad place is read once more by itself.
func (s *stretch) piece(r io.ReaderAt, size int64, p piece) ([]byte, error) {
	at := p.off - s.first
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
