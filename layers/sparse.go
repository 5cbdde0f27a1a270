package layers

import (
	"archive/tar"
	"fmt"
	"io"
	"math"
	"sync"

	"lagan/evidence"
)

// seeker lets archive/tar skip contents unread, and notes where the one it
// skipped ends: the next header's place, which archive/tar doesn't tell.
type seeker struct {
	counter
	s io.Seeker
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	pos, err := s.s.Seek(offset, whence)
	if err == nil && offset > 0 {
		s.n, s.end = pos, pos+1 // the last byte is read, not sought over: archive/tar, discard
	}
	return pos, err
}

// sparseFile reads a file that its tar keeps without holes, in one of GNU tar's
// forms: archive/tar knows them all and reads forward only, so that what is asked
// for further back is read anew from the file's header.
type sparseFile struct {
	t     *Tar
	start int64

	mu  sync.Mutex
	r   *tar.Reader
	pos int64
}

func (s *sparseFile) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil || off < s.pos {
		r := tar.NewReader(io.NewSectionReader(s.t.data, s.start, math.MaxInt64-s.start))
		if _, err := r.Next(); err != nil {
			return 0, fmt.Errorf("tar at offset %#x: %w: %w", s.start, err, evidence.ErrCorrupt)
		}
		s.r, s.pos = r, 0
	}
	n, err := io.CopyN(io.Discard, s.r, off-s.pos)
	s.pos += n
	if err != nil {
		return 0, err
	}
	m, err := io.ReadFull(s.r, p)
	s.pos += int64(m)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return m, err
}
