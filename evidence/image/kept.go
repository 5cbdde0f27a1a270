package image

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Spooled is a stream that was kept in a private file, where it can be read
// anywhere. ReadAt may be called from several goroutines.
type Spooled interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Spool keeps all of r in a private sparse file without a name in dir, or in
// the system's temporary folder where dir is empty. need is what will come at
// least. r bounds what comes out of it. What was kept before an error of r's is
// returned beside that; nil where the file can't be written.
func Spool(ctx context.Context, dir string, r io.Reader, need int64) (Spooled, error) {
	s, err := newSpool(dir, need)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, bufferSize)
	for {
		n, readErr := io.ReadFull(r, buf)
		if err := s.write(buf[:n]); err != nil {
			s.Close()
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			s.Close()
			return nil, err
		}
		if readErr == nil {
			continue
		}
		if err := s.Truncate(s.size); err != nil {
			s.Close()
			return nil, err
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF && atEnd(r) {
			return s, nil
		}
		return s, readErr
	}
}

// atEnd tells the end of a stream from one that was cut short, both of which
// io.ReadFull calls by one name: the latter says it again.
func atEnd(r io.Reader) bool {
	_, err := r.Read(make([]byte, 1))
	return err == io.EOF
}

// OpenBytes opens a file for its own bytes, whatever they are, as Open does.
func OpenBytes(path string) (Spooled, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if f.device {
		f.Close()
		return nil, fmt.Errorf("%q: %w", path, os.ErrInvalid)
	}
	return f, nil
}
